"""Groups of rows and columns that share no observed entry: each as if fitted alone."""

from __future__ import annotations

import importlib.util
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd._estimators.groups import GroupTuning, n_fitted, warn_about_groups
from skprecgd._linalg.groups import Groups
from skprecgd.display import RankPathDisplay
from skprecgd.measurements import EntryMeasurements
from skprecgd.optim.path.groups import relative_size

NAN = np.nan
GROUPS = "groups of rows and columns that share none"
pytestmark = pytest.mark.filterwarnings(f"ignore:.*{GROUPS}:UserWarning")


def low_rank(rng, shape, rank=2):
    return rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))


def with_holes(rng, matrix, share=0.6):
    """About a share of the entries, so that they are connected."""
    seen = rng.random(matrix.shape) < share
    seen[0], seen[:, 0] = True, True
    return np.where(seen, matrix, NAN)


def side_by_side(rng, *parts):
    """Parts that share no row and no column, shuffled, and where each stands."""
    shape = tuple(sum(part.shape[k] for part in parts) for k in range(2))
    X = np.full(shape, NAN)
    rows, columns = rng.permutation(shape[0]), rng.permutation(shape[1])
    places = []
    for part in parts:
        at = np.sort(rows[: part.shape[0]]), np.sort(columns[: part.shape[1]])
        rows, columns = rows[part.shape[0] :], columns[part.shape[1] :]
        X[np.ix_(*at)] = part
        places.append(at)
    return X, places


def between(shape, places):
    """Mask of the entries that belong to no group."""
    mask = np.ones(shape, dtype=bool)
    for at in places:
        mask[np.ix_(*at)] = False
    return mask


def matrix_of(model):
    return model.left_ @ model.right_.T + getattr(model, "center_", 0.0)


def completed(model, X):
    return model.inverse_transform(model.transform(X))


def distance(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def fitted_alone(model, part, **given):
    rank = min(model.n_components, *part.shape)
    return clone(model).set_params(n_components=rank).fit(part, **given)


# ---- the right answers


def test_a_lone_entry_is_not_lost():
    X = np.array([[6, 2, NAN], [3, 1, NAN], [NAN, NAN, 5]])
    model = PrecGDFactorization(1).fit(X)
    wanted = [[6, 2, 0], [3, 1, 0], [0, 0, 5]]
    np.testing.assert_allclose(completed(model, X), wanted, atol=1e-12)
    np.testing.assert_allclose(matrix_of(model), wanted, atol=1e-12)
    np.testing.assert_array_equal(model.groups_.rows, [0, 0, 1])
    np.testing.assert_array_equal(model.groups_.columns, [0, 0, 1])
    assert model.n_components_ == 2
    assert model.converged_


@pytest.mark.parametrize(("n_groups", "n_components"), [(2, 2), (5, 4), (2, 4)])
def test_each_group_is_completed_and_nothing_between_them(n_groups, n_components, rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(n_groups)]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    model = PrecGDFactorization(n_components).fit(X)
    for found in (completed(model, X), matrix_of(model)):
        for part, at in zip(parts, places, strict=True):
            assert distance(found[np.ix_(*at)], part) < 1e-6
        assert np.all(found[between(X.shape, places)] == 0)
    assert model.n_components_ == 2 * n_groups
    assert model.groups_.n_groups == n_groups


def test_groups_of_any_scale_are_found(rng):
    scales = [1.0, 1e-9, 1e9]
    parts = [scale * low_rank(rng, (20, 12)) for scale in scales]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    found = completed(PrecGDFactorization(3).fit(X), X)
    for part, at in zip(parts, places, strict=True):
        assert distance(found[np.ix_(*at)], part) < 1e-6


def test_noise_is_left_out_as_if_fitted_alone(rng):
    parts = [low_rank(rng, (40, 30)) for _ in range(2)]
    noisy = [
        with_holes(rng, part + 0.1 * rng.standard_normal(part.shape)) for part in parts
    ]
    X, places = side_by_side(rng, *noisy)
    model = PrecGDFactorization(5, random_state=0)
    found = completed(model.fit(X), X)
    for part, hole, at in zip(parts, noisy, places, strict=True):
        alone = completed(fitted_alone(model, hole), hole)
        here = found[np.ix_(*at)]
        assert distance(here, part) < 1.05 * distance(alone, part)


MODELS = {
    "plain": {},
    "mean": {"center": "mean"},
    "columns": {"center": "columns"},
    "both": {"center": "both", "n_components": 4},
    "only offsets": {"center": "both", "n_components": 1, "max_iter": 50, "alpha": 0},
    "ridge": {"alpha": 0.5},
    "fixed": {"rank_search": "fixed", "n_components": 2, "alpha": 0},
    "alternating": {
        "solver": "alternating",
        "rank_search": "fixed",
        "n_components": 2,
        "alpha": 0,
    },
    "held out": {"early_stopping": True, "alpha": 0},
    "learned": {"n_components": 8},
    "not held out": {"early_stopping": False, "n_components": 2, "alpha": 0},
    "noise": {"noise_variance": "auto", "tol": 1e-6},
    "huber": {"loss": "huber", "tol": 1e-6},
    "absolute": {"loss": "absolute", "n_components": 2, "tol": 1e-3},
    "outliers": {"outlier_fraction": 0.05, "tol": 1e-6, "early_stopping": False},
    "random": {
        "init": "random",
        "n_components": 2,
        "rank_search": "fixed",
        "alpha": 0,
    },
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_every_setting_fits_a_group_as_if_alone(name, rng):
    model = PrecGDFactorization(
        **{"n_components": 3, "random_state": 0, **MODELS[name]}
    )
    parts = [
        with_holes(rng, scale * (1 + low_rank(rng, shape)))
        for scale, shape in [(1, (30, 16)), (100, (12, 18))]
    ]
    X, places = side_by_side(rng, *parts)
    model.fit(X)
    whole, rows = matrix_of(model), completed(model, X)
    for part, at in zip(parts, places, strict=True):
        alone = fitted_alone(model, part)
        wanted = matrix_of(alone)
        assert distance(whole[np.ix_(*at)], wanted) < 1e-8
        assert distance(rows[np.ix_(*at)], completed(alone, part)) < 1e-8
        np.testing.assert_allclose(model.center_[at[1]], alone.center_)
        errors = model.outliers_.toarray()[np.ix_(*at)]
        np.testing.assert_allclose(errors, alone.outliers_.toarray(), atol=1e-6)
    centre = np.broadcast_to(model.center_, X.shape)
    mask = between(X.shape, places)
    np.testing.assert_allclose(whole[mask], centre[mask], rtol=1e-12)
    np.testing.assert_allclose(rows[mask], centre[mask], rtol=1e-12)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_labels_and_counts_of_a_group_are_fitted_as_if_alone(loss, rng):
    parts = []
    for shape in [(40, 30), (30, 30)]:
        signal = low_rank(rng, shape, 1)
        if loss == "logistic":
            drawn = (rng.random(shape) < 1 / (1 + np.exp(-2 * signal))).astype(float)
        else:
            drawn = rng.poisson(np.exp(np.clip(signal, -2, 2))).astype(float)
        parts.append(with_holes(rng, drawn))
    X, places = side_by_side(rng, *parts)
    model = PrecGDFactorization(2, loss=loss, random_state=0).fit(X)
    found = completed(model, X)
    for part, at in zip(parts, places, strict=True):
        alone = completed(fitted_alone(model, part), part)
        assert distance(found[np.ix_(*at)], alone) < 1e-8
    unknown = {"logistic": 0.5, "poisson": 1.0}[loss]
    assert np.all(found[between(X.shape, places)] == unknown)


def test_weights_and_variances_of_a_group_mean_what_they_do_alone(rng):
    parts = [with_holes(rng, low_rank(rng, shape)) for shape in [(20, 12), (14, 10)]]
    parts = [part + 0.1 * rng.standard_normal(part.shape) for part in parts]
    X, places = side_by_side(rng, *parts)
    often = rng.integers(1, 4, X.shape).astype(float)
    variance = rng.uniform(0.5, 2.0, X.shape) * np.where(
        rng.random(X.shape) < 0.5, 1, 9
    )
    model = PrecGDFactorization(2, alpha=0.3, noise_variance=variance)
    z = model.fit_transform(X, entry_weight=often)
    found = model.inverse_transform(z)
    for part, at in zip(parts, places, strict=True):
        cells = np.ix_(*at)
        alone = clone(model).set_params(noise_variance=variance[cells])
        wanted = alone.fit_transform(part, entry_weight=often[cells])
        assert distance(found[cells], alone.inverse_transform(wanted)) < 1e-8
    np.testing.assert_array_equal(model.noise_variance_, variance)


def test_complete_groups_are_a_truncated_svd(rng):
    parts = [low_rank(rng, shape, 3) for shape in [(9, 7), (6, 8)]]
    X, places = side_by_side(rng, *parts)
    found = completed(PrecGDFactorization(2).fit(X), X)
    for part, at in zip(parts, places, strict=True):
        u, s, vt = np.linalg.svd(part)
        wanted = (u[:, :2] * s[:2]) @ vt[:2]
        assert distance(found[np.ix_(*at)], wanted) < 1e-6


def test_a_ridge_thresholds_a_group_of_one_row():
    X = np.array([[3, 4, NAN, NAN], [NAN, NAN, 6, 8], [NAN, NAN, 3, 4]])
    model = PrecGDFactorization(1, alpha=1.0).fit(X)
    # The norm of the row is 5, and the ridge takes 1 of it.
    np.testing.assert_allclose(matrix_of(model)[0], [2.4, 3.2, 0, 0], rtol=1e-9)


def test_hundreds_of_lone_entries_are_kept(rng):
    part, values = low_rank(rng, (60, 40)), rng.uniform(1, 2, 300)
    lone = [np.array([[value]]) for value in values]
    X, places = side_by_side(rng, with_holes(rng, part), *lone)
    model = PrecGDFactorization(3).fit(X)
    found = completed(model, X)
    assert distance(found[np.ix_(*places[0])], part) < 1e-6
    seen = ~np.isnan(X)
    assert distance(found[seen], X[seen]) < 1e-6
    assert model.groups_.n_groups == 301
    assert model.n_components_ == 302


# ---- components and rows


def test_a_component_belongs_to_one_group(rng):
    # Equal singular values, which a decomposition of the whole matrix would mix.
    part = low_rank(rng, (10, 8))
    X, places = side_by_side(rng, part, part)
    X[places[0][0][0], places[0][1][0]] = NAN
    model = PrecGDFactorization(2).fit(X)
    gram = model.components_ @ model.components_.T
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-12)
    assert np.all(np.diff(model.singular_values_) <= 0)
    for component in model.components_:
        touched = [np.any(component[at[1]] != 0) for at in places]
        assert sum(touched) == 1


def test_a_new_row_is_completed_in_every_group_that_it_touches(rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(2)]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    model = PrecGDFactorization(2).fit(X)
    rows = np.full((3, X.shape[1]), NAN)
    full = np.zeros((3, X.shape[1]))
    for k, (part, at) in enumerate(zip(parts, places, strict=True)):
        full[k, at[1]] = full[2, at[1]] = part[3]
        rows[k, at[1][:5]] = rows[2, at[1][:5]] = part[3, :5]
    assert distance(completed(model, rows), full) < 1e-6
    assert distance(completed(model, full), full) < 1e-6


def test_score_of_groups_is_that_of_hidden_entries(rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(2)]
    X, _ = side_by_side(rng, *(with_holes(rng, part, 0.8) for part in parts))
    assert PrecGDFactorization(2, random_state=0).fit(X).score(X) > 1 - 1e-9


def test_rows_and_columns_without_entries_are_in_no_group(rng):
    X, _ = side_by_side(
        rng, *(with_holes(rng, low_rank(rng, (20, 12))) for _ in range(2))
    )
    X = np.pad(X, ((0, 1), (1, 0)), constant_values=NAN)
    with pytest.warns(UserWarning, match="have no observed entry"):
        model = PrecGDFactorization(3, center="mean").fit(X)
    assert model.groups_.rows[-1] == model.groups_.columns[0] == -1
    assert model.groups_.n_groups == 2
    np.testing.assert_allclose(model.center_[0], np.nanmean(X))


# ---- what is said


def test_one_warning_says_so(rng):
    X, _ = side_by_side(
        rng, with_holes(rng, low_rank(rng, (20, 12))), low_rank(rng, (5, 4))
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        PrecGDFactorization(2).fit(X)
    assert len(said) == 1
    assert said[0].filename == __file__
    for text in (GROUPS, "20 x 12", "5 x 4", "groups_", "the centre"):
        assert text in str(said[0].message)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_one_group_is_not_worth_a_word(share, rng):
    X = with_holes(rng, low_rank(rng, (12, 9)), share)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = PrecGDFactorization(2).fit(X).groups_
    np.testing.assert_array_equal(groups.rows, np.zeros(12))
    np.testing.assert_array_equal(groups.columns, np.zeros(9))


def test_the_result_is_that_of_all_groups(rng):
    parts = [low_rank(rng, shape) for shape in [(30, 20), (20, 12)]]
    holes = [with_holes(rng, part) for part in parts]
    X, _ = side_by_side(rng, *holes)
    model = PrecGDFactorization(3).fit(X)
    alone = [fitted_alone(model, part) for part in holes]
    assert model.n_iter_ == sum(fit.n_iter_ for fit in alone)
    assert len(model.history_) == sum(len(fit.history_) for fit in alone)
    np.testing.assert_array_equal(np.unique(model.history_["group"]), [0, 1])
    assert np.all(np.diff(model.history_["iteration"]) > 0)
    assert model.converged_
    assert model.stop_reason_.startswith("2 groups")


def test_the_path_of_the_largest_group_is_drawn(rng):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    parts = [low_rank(rng, (40, 30), 3), low_rank(rng, (20, 12), 1)]
    X, _ = side_by_side(rng, *(with_holes(rng, part, 0.8) for part in parts))
    model = PrecGDFactorization(4).fit(X)
    display = RankPathDisplay.from_estimator(model)
    assert display.rank_line_.get_xdata()[0] == 3
    assert np.max(display.train_line_.get_xdata()) == 3
    matplotlib.pyplot.close("all")


def test_the_group_that_did_not_converge_is_named(rng):
    hard = with_holes(rng, low_rank(rng, (20, 12), 4), 0.7)
    X, _ = side_by_side(rng, low_rank(rng, (30, 20)), hard)
    with pytest.warns(ConvergenceWarning, match=r"group 1 \(20 x 12\) of 2: max_iter"):
        model = PrecGDFactorization(4, max_iter=4, alpha=0).fit(X)
    assert not model.converged_
    assert "max_iter was reached" in model.stop_reason_


def test_ctrl_c_keeps_the_groups_that_are_fitted(rng):
    class PressedAtGroup1:
        """Standard output that is interrupted when the second group begins."""

        def __init__(self):
            self.before = -1

        def write(self, line):
            if line.split()[:1] and line.split()[0].isdigit():
                now = int(line.split()[0])
                if now < self.before:
                    raise KeyboardInterrupt
                self.before = now

        def flush(self):
            """Nothing to do."""

    parts = [low_rank(rng, shape) for shape in [(30, 20), (20, 12), (9, 8)]]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    model = PrecGDFactorization(2, verbose=2)
    with pytest.raises(KeyboardInterrupt), redirect_stdout(PressedAtGroup1()):
        model.fit(X)
    found = completed(model, X)
    assert distance(found[np.ix_(*places[0])], parts[0]) < 1e-6
    assert np.all(found[np.ix_(*places[2])] == 0)
    assert "Interrupted" in model.stop_reason_


def test_the_noise_of_all_groups_is_pooled(rng):
    parts = [
        with_holes(rng, low_rank(rng, shape) + 0.3 * rng.standard_normal(shape), 0.9)
        for shape in [(60, 50), (40, 40)]
    ]
    X, _ = side_by_side(rng, *parts, np.ones((1, 1)))
    model = PrecGDFactorization(2, noise_variance="auto", tol=1e-6, alpha=0).fit(X)
    assert model.noise_variance_ == pytest.approx(0.09, rel=0.2)
    learned = PrecGDFactorization(4).fit(X)
    assert np.mean(learned.noise_variance_) == pytest.approx(0.09, rel=0.2)


# ---- starts


def test_a_warm_start_continues_each_group(rng):
    X, _ = side_by_side(
        rng, *(with_holes(rng, low_rank(rng, (30, 20))) for _ in range(3))
    )
    model = PrecGDFactorization(2, warm_start=True).fit(X)
    before, cold = matrix_of(model), model.n_iter_
    model.fit(X)
    assert model.n_iter_ < cold / 3
    assert distance(matrix_of(model), before) < 1e-6


def test_a_given_start_is_cut_to_each_group(rng):
    parts = [low_rank(rng, (20, 12)), low_rank(rng, (8, 1), 1)]
    X, places = side_by_side(rng, with_holes(rng, parts[0]), parts[1])
    init = [rng.standard_normal((n, 2)) for n in X.shape]
    found = matrix_of(PrecGDFactorization(2, init=init).fit(X))
    for part, at in zip(parts, places, strict=True):
        assert distance(found[np.ix_(*at)], part) < 1e-6


# ---- kinds of data


def test_sparse_data_and_single_precision(rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(2)]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    csr = sparse.csr_array(np.nan_to_num(X).astype(np.float32))
    model = PrecGDFactorization(2, missing_values=0, tol=1e-5).fit(csr)
    found = completed(model, csr)
    assert found.dtype == model.components_.dtype == np.float32
    for part, at in zip(parts, places, strict=True):
        assert distance(found[np.ix_(*at)], part) < 1e-3


def test_complete_sparse_data_are_one_group():
    X = sparse.block_diag([np.ones((3, 2)), np.ones((4, 3))], format="csr")
    model = PrecGDFactorization(2).fit(X)
    assert model.groups_.n_groups == 1


def test_cross_validation_fits_groups_alone(rng):
    parts = [low_rank(rng, (40, 30)) for _ in range(2)]
    noisy = [
        with_holes(rng, part + 0.1 * rng.standard_normal(part.shape)) for part in parts
    ]
    X, places = side_by_side(rng, *noisy)
    model = PrecGDFactorizationCV([1, 2, 3, 4], random_state=0).fit(X)
    assert model.best_params_["n_components"] == 2
    assert model.n_components_ == 4
    assert model.best_score_ > 0.98
    assert [stage.rank for stage in model.rank_path_.stages] == [1, 2]
    found = completed(model, X)
    for part, at in zip(parts, places, strict=True):
        assert distance(found[np.ix_(*at)], part) < 0.05


@pytest.mark.parametrize("center", ["mean", "columns", "both"])
def test_cross_validation_takes_offsets_of_each_group(center, rng):
    parts = [
        size * (5 + rng.standard_normal((30, 1)) + rng.standard_normal(20))
        for size in (1, 100)
    ]
    X, _ = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    # The data have no noise, so that other candidates would be none the better.
    model = PrecGDFactorizationCV([1, 2, 3], alpha=0, center=center, random_state=0)
    assert model.fit(X).best_score_ > 1 - 1e-6


def test_folds_may_fall_into_more_groups_than_the_data(rng):
    # One entry connects two groups, so that the fold without it has two.
    parts = [low_rank(rng, (20, 12), 1) for _ in range(2)]
    X, places = side_by_side(rng, *(with_holes(rng, part, 0.8) for part in parts))
    X[places[0][0][0], places[1][1][0]] = 1.0
    model = PrecGDFactorizationCV([1, 2], random_state=0).fit(X)
    assert model.groups_.n_groups == 1
    assert np.all(np.isfinite(model.cv_results_["mean_test_score"]))


# ---- single entries as measurements


def test_sensing_of_entries_fits_groups_alone(rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(3)]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    measurements, y = observed_entries(X)
    model = PrecGDMatrixSensing(4).fit(measurements, y)
    for part, at in zip(parts, places, strict=True):
        assert distance(model.matrix_[np.ix_(*at)], part) < 1e-6
    assert np.all(model.matrix_[between(X.shape, places)] == 0)
    assert model.groups_.n_groups == 3
    assert model.certificate_.relative_gap < 1e-6
    assert model.score(measurements, y) > 1 - 1e-9


def test_outliers_of_sensed_groups_come_in_the_order_of_the_input(rng):
    parts = [low_rank(rng, (30, 30)) for _ in range(2)]
    X, places = side_by_side(rng, *(with_holes(rng, part, 0.9) for part in parts))
    errors = np.zeros(X.shape)
    for at in places:
        errors[at[0][2], at[1][3]] = 30.0
    measurements, y = observed_entries(X + errors)
    wrong = errors[measurements.cells()]
    model = PrecGDMatrixSensing(3, outlier_fraction=0.1).fit(measurements, y)
    np.testing.assert_allclose(model.outliers_, wrong, atol=1e-3)


def test_symmetric_sensing_takes_the_graph_of_the_rows(rng):
    """Entry (i, j) connects i with j, which are a row and a column at once."""
    factors = [rng.standard_normal((15, 2)) for _ in range(2)]
    i, j, values = [], [], []
    for first, x in zip([0, 15], factors, strict=True):
        down, across = np.triu_indices(15)
        kept = (rng.random(len(down)) < 0.8) | (down == across) | (down == 0)
        i, j = np.append(i, down[kept] + first), np.append(j, across[kept] + first)
        values = np.append(values, (x @ x.T)[down, across][kept])
    measurements = EntryMeasurements(i.astype(int), j.astype(int), (30, 30))
    model = PrecGDMatrixSensing(3, symmetric=True).fit(measurements, values)
    for first, x in zip([0, 15], factors, strict=True):
        here = slice(first, first + 15)
        assert distance(model.matrix_[here, here], x @ x.T) < 1e-6
    assert np.all(model.matrix_[:15, 15:] == 0)
    np.testing.assert_array_equal(model.left_, model.right_)
    np.testing.assert_array_equal(model.groups_.rows, model.groups_.columns)


@pytest.mark.parametrize("value", [4.0, -4.0])
def test_a_lone_entry_of_the_diagonal_is_a_square(value, rng):
    x = rng.uniform(1, 2, 3)
    i, j = np.triu_indices(3)
    measurements = EntryMeasurements(np.append(i, 3), np.append(j, 3), (4, 4))
    y = np.append(np.outer(x, x)[i, j], value)
    model = PrecGDMatrixSensing(1, symmetric=True).fit(measurements, y)
    wanted = np.zeros((4, 4))
    wanted[:3, :3], wanted[3, 3] = np.outer(x, x), max(value, 0)
    np.testing.assert_allclose(model.matrix_, wanted, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_lone_entries_are_sensed_and_cross_validated(alpha, rng):
    lone = [np.array([[value]]) for value in rng.uniform(1, 2, 20)]
    row = np.array([[3.0, 4.0]])
    part = low_rank(rng, (30, 20), 1)
    X, places = side_by_side(rng, with_holes(rng, part, 0.8), row, *lone)
    for model in (PrecGDMatrixSensing(1), PrecGDMatrixSensingCV([1], random_state=0)):
        model.set_params(alpha=alpha).fit(*observed_entries(X))
        for entry, at in zip(lone, places[2:], strict=True):
            found = model.matrix_[np.ix_(*at)]
            np.testing.assert_allclose(found, entry - alpha, rtol=1e-8)
        found = model.matrix_[np.ix_(*places[1])]
        np.testing.assert_allclose(found, row * (1 - alpha / 5), rtol=1e-8)
    assert model.best_score_ > 0.95


def test_symmetric_sensing_joins_what_rows_and_columns_alone_do_not(rng):
    # Off the diagonal, rows 0 and 1 share no column, but they are columns themselves.
    x = rng.uniform(1, 2, 3)
    i, j = np.array([0, 1, 2, 0]), np.array([1, 2, 0, 0])
    model = PrecGDMatrixSensing(1, symmetric=True, init="random", random_state=0)
    model.fit(EntryMeasurements(i, j, (3, 3)), x[i] * x[j])
    assert model.groups_.n_groups == 1
    assert distance(model.matrix_, np.outer(x, x)) < 1e-6


def test_dense_measurements_are_one_group(rng):
    M = low_rank(rng, (6, 5), 1)
    A = rng.standard_normal((40, 30))
    model = PrecGDMatrixSensing(2, matrix_shape=(6, 5)).fit(A, A @ M.ravel())
    assert model.groups_.n_groups == 1


def test_cross_validated_sensing_fits_groups_alone(rng):
    parts = [low_rank(rng, (30, 20)) for _ in range(2)]
    X, places = side_by_side(rng, *(with_holes(rng, part, 0.8) for part in parts))
    model = PrecGDMatrixSensingCV([1, 2, 3], alpha=0, random_state=0)
    model.fit(*observed_entries(X))
    assert model.best_score_ > 1 - 1e-6
    for part, at in zip(parts, places, strict=True):
        assert distance(model.matrix_[np.ix_(*at)], part) < 1e-6


# ---- which rows and columns are connected


def by_scipy(seen, symmetric):
    """The component of every row and column that shows something."""
    n_rows, n_columns = seen.shape
    first = 0 if symmetric else n_rows
    size = first + n_columns
    rows, columns = np.nonzero(seen)
    links = np.ones(len(rows)), (rows, columns + first)
    graph = sparse.coo_array(links, shape=(size, size))
    labels = connected_components(graph.tocsr(), directed=False)[1]
    return labels[:n_rows], labels[first:]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_groups_are_the_connected_components(seed, symmetric):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 40, 2)
    if symmetric:
        shape[1] = shape[0]
    seen = rng.random(shape) < rng.random() * 3 / min(shape)
    seen[0, 0] = True
    rows, columns = np.nonzero(seen)
    measurements = EntryMeasurements(rows, columns, tuple(shape))
    groups = measurements.groups(symmetric=symmetric)
    there = [seen.any(axis=1), seen.any(axis=0)]
    if symmetric:
        there = [there[0] | there[1]] * 2
    ours, theirs = [], []
    found = groups.rows, groups.columns
    for own, wanted, mask in zip(found, by_scipy(seen, symmetric), there, strict=True):
        assert np.all((own >= 0) == mask)
        ours, theirs = np.append(ours, own[mask]), np.append(theirs, wanted[mask])
    pairs = set(zip(ours, theirs, strict=True))
    assert len(pairs) == len(set(ours)) == len(set(theirs)) == groups.n_groups
    sizes = np.bincount(groups.rows[rows])
    assert np.all(np.diff(sizes) <= 0)
    if importlib.util.find_spec("dask"):
        from skprecgd.distributed import ChunkedMeasurements

        halves = (
            [measurements[::2], measurements[1::2]] if len(rows) > 1 else [measurements]
        )
        chunked = ChunkedMeasurements(halves).groups(symmetric=symmetric)
        for again, own in zip((chunked.rows, chunked.columns), found, strict=True):
            assert len(set(zip(again, own, strict=True))) == len(set(own))


def test_long_chains_are_followed():
    """Each row shares one column with the next, so that no few sweeps reach all."""
    rows, columns = np.repeat(np.arange(500), 2), np.arange(1000) // 2
    columns[1::2] += 1
    groups = EntryMeasurements(rows, columns, (500, 501)).groups()
    assert groups.n_groups == 1
    cut = columns != 250
    groups = EntryMeasurements(rows[cut], columns[cut], (500, 501)).groups()
    assert groups.n_groups == 2
    assert groups.columns[250] == -1


def test_the_smallest_of_very_many_groups_are_left_out():
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    groups = Groups(labels, labels)
    # Two components of 32 numbers each for every group but the last.
    for most, count in [(1, 1), (64, 1), (127, 1), (128, 2), (159, 2), (160, 3)]:
        assert n_fitted(groups, 2, GroupTuning(most_numbers=most)) == count
    with pytest.warns(UserWarning, match="all but the 2 smallest"):
        warn_about_groups(groups, 2, "zero", GroupTuning(most_numbers=1))


# ---- data in chunks


def in_chunks(X, n_chunks=3):
    da = pytest.importorskip("dask.array")
    return da.from_array(X, chunks=(-(-len(X) // n_chunks), X.shape[1]))


@pytest.mark.parametrize("center", [None, "mean", "columns"])
def test_groups_of_chunks_are_those_in_memory(center, rng):
    parts = [1 + low_rank(rng, shape) for shape in [(30, 20), (24, 16)]]
    X, _ = side_by_side(
        rng, *(with_holes(rng, part) for part in parts), np.full((1, 1), 5.0)
    )
    model = PrecGDFactorization(3, center=center, random_state=0)
    memory, chunks = clone(model).fit(X), clone(model).fit(in_chunks(X))
    for side in ("rows", "columns"):
        ours, theirs = (getattr(m.groups_, side) for m in (chunks, memory))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(chunks.center_, memory.center_)
    assert distance(matrix_of(chunks), matrix_of(memory)) < 1e-6
    lazy = chunks.transform(in_chunks(X)).compute()
    np.testing.assert_allclose(lazy, chunks.transform(X))


def test_weights_of_chunks_decide_what_is_connected(rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(2)]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    X[places[0][0][0], places[1][1][0]] = 1.0
    often = np.where(between(X.shape, places), 0.0, 1.0)
    model = PrecGDFactorization(2).fit(in_chunks(X), entry_weight=often)
    assert model.groups_.n_groups == 2
    for part, at in zip(parts, places, strict=True):
        assert distance(matrix_of(model)[np.ix_(*at)], part) < 1e-6


def test_chunks_that_later_chunks_connect_are_one_group():
    X = np.full((3, 3), NAN)
    X[0, 0], X[1, 1], X[2] = 1.0, 1.0, 1.0
    model = PrecGDFactorization(1).fit(in_chunks(X))
    assert model.groups_.n_groups == 1
    np.testing.assert_allclose(matrix_of(model), np.ones((3, 3)), rtol=1e-6)


def triples_in_chunks(X, lines):
    """The entries of X in two partitions, which overlap in rows if `lines` is 1."""
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    cells = np.nonzero(~np.isnan(X))
    order = np.argsort(cells[lines], kind="stable")
    frame = pd.DataFrame(
        {
            "row": cells[0][order],
            "column": cells[1][order],
            "value": X[cells][order],
        }
    )
    chunks = dd.from_pandas(frame, npartitions=3, sort=False)
    names = {"row": "row", "column": "column", "value": "value"}
    return observed_entries(chunks, **names, matrix_shape=X.shape)


@pytest.mark.parametrize("options", [{}, {"loss": "huber", "tol": 1e-6}])
@pytest.mark.parametrize("lines", [0, 1])
def test_sensing_of_triples_in_chunks_fits_groups_alone(lines, options, rng):
    parts = [low_rank(rng, (20, 12)) for _ in range(3)]
    X, places = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    measurements, y = triples_in_chunks(X, lines)
    model = PrecGDMatrixSensing(3, **options).fit(measurements, y)
    assert model.groups_.n_groups == 3
    for part, at in zip(parts, places, strict=True):
        assert distance(model.matrix_[np.ix_(*at)], part) < 1e-5
    assert np.all(model.matrix_[between(X.shape, places)] == 0)


def test_weights_of_triples_in_chunks_mean_what_they_do_alone(rng):
    parts = [
        low_rank(rng, shape) + 0.1 * rng.standard_normal(shape)
        for shape in [(20, 12), (14, 10)]
    ]
    X, _ = side_by_side(rng, *(with_holes(rng, part) for part in parts))
    measurements, y = triples_in_chunks(X, 0)
    often = rng.integers(1, 4, len(y)).astype(float)
    variance = rng.uniform(0.5, 2.0, len(y))
    model = PrecGDMatrixSensing(
        2, alpha=0.3, noise_variance=variance, early_stopping=False
    )
    found = clone(model).fit(measurements, y, often).matrix_
    memory = EntryMeasurements(*measurements.cells(), X.shape)
    wanted = clone(model).fit(memory, np.asarray(y), often).matrix_
    assert distance(found, wanted) < 1e-6


def test_a_group_of_zeros_has_no_part_in_the_residual():
    """A start that leaves something of it leaves an infinite multiple."""
    shares, sizes = np.array([0.5, np.inf]), np.array([2.0, 0.0])
    assert relative_size(shares, sizes) == 0.5
