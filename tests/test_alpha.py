"""What numbers for `alpha` and `alpha_scaling` mean, whatever the data are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import EntryMeasurements

TOL = 1e-9
OPTIONS = {"tol": TOL, "max_iter": 3000}


def table(rng, shape=(20, 14), noise=0.3):
    """A noisy matrix of rank two whose rows show between two and all of the columns."""
    n_rows, n_columns = shape
    X = rng.standard_normal((n_rows, 2)) @ rng.standard_normal((2, n_columns))
    X += noise * rng.standard_normal(shape)
    shares = np.linspace(0.15, 1.0, n_rows)[:, None]
    hidden = rng.random(shape) > shares
    hidden[:, :2] = False
    return np.where(hidden, np.nan, X)


def matrix(model):
    return model.left_ @ model.right_.T


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def soft_impute(X, alpha, weights=None, n_iter=1500):
    """Minimiser of ``sum w (x - m)^2 / 2 + alpha ||M||_*`` by proximal gradients."""
    weights = np.where(np.isnan(X), 0.0, 1.0 if weights is None else weights)
    filled, steepest = np.nan_to_num(X), weights.max()
    M = np.zeros_like(filled)
    for _ in range(n_iter):
        gradient = weights * (M - filled)
        u, s, vt = np.linalg.svd(M - gradient / steepest, full_matrices=False)
        M = (u * np.maximum(s - alpha / steepest, 0)) @ vt
    return M


# ---- the units -----------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_of_entries_it_is_the_sum_of_squares_and_the_nuclear_norm(alpha, rng):
    X = table(rng)
    expected = soft_impute(X, alpha)
    model = PrecGDFactorization(14, alpha=alpha, **OPTIONS).fit(X)
    assert distance(matrix(model), expected) < 1e-6
    sensed = PrecGDMatrixSensing(alpha=alpha, **OPTIONS).fit(*observed_entries(X))
    assert distance(sensed.matrix_, expected) < 1e-6


def test_weights_multiply_the_squares(rng):
    X = table(rng)
    often = rng.integers(1, 4, X.shape).astype(float)
    expected = soft_impute(X, 2.0, often)
    model = PrecGDFactorization(14, alpha=2.0, **OPTIONS).fit(X, entry_weight=often)
    assert distance(matrix(model), expected) < 1e-6


def test_an_array_of_variances_divides_the_squares(rng):
    X = table(rng)
    variance = rng.uniform(0.2, 4.0, X.shape)
    expected = soft_impute(X, 2.0, 1.0 / variance)
    model = PrecGDFactorization(14, alpha=2.0, noise_variance=variance, **OPTIONS)
    assert distance(matrix(model.fit(X)), expected) < 1e-6


def test_of_complete_data_it_thresholds_the_singular_values(rng):
    X = rng.standard_normal((12, 9))
    s = np.linalg.svd(X, compute_uv=False)
    model = PrecGDFactorization(9, alpha=1.5, tol=1e-12).fit(X)
    np.testing.assert_allclose(
        model.singular_values_, np.maximum(s - 1.5, 0), atol=1e-9 * s[0]
    )
    # As entries, they are the same problem.
    sensed = PrecGDMatrixSensing(alpha=1.5, **OPTIONS).fit(*observed_entries(X))
    assert distance(sensed.matrix_, matrix(model)) < 1e-6


def test_of_measurements_it_is_their_sum(global_random_seed):
    """Measured twice, a matrix takes twice the ridge."""
    A, y, _ = make_matrix_sensing(
        8, rank=2, n_measurements=50, noise=0.1, random_state=global_random_seed
    )
    options = {"matrix_shape": (8, 8), **OPTIONS}
    once = PrecGDMatrixSensing(alpha=0.7, **options).fit(A, y)
    twice = np.concatenate([A, A]), np.concatenate([y, y])
    both = PrecGDMatrixSensing(alpha=1.4, **options).fit(*twice)
    assert distance(both.matrix_, once.matrix_) < 1e-6
    counted = PrecGDMatrixSensing(alpha=1.4, **options).fit(A, y, np.full(50, 2.0))
    assert distance(counted.matrix_, once.matrix_) < 1e-6


@pytest.mark.parametrize(
    ("loss", "scaling"), [("squared", 0.0), ("squared", 1.0), ("huber", 1.0)]
)
def test_data_times_a_number_take_alpha_times_that_number(loss, scaling, rng):
    X, c = table(rng), 1e5
    options = {"loss": loss, "alpha_scaling": scaling, "tol": 1e-7, "max_iter": 3000}
    plain = PrecGDFactorization(14, alpha=0.2, **options).fit(X)
    times = PrecGDFactorization(14, alpha=0.2 * c, **options).fit(c * X)
    assert np.linalg.norm(matrix(plain)) > 0
    assert distance(matrix(times), c * matrix(plain)) < 1e-4
    assert times.alpha_max_ == pytest.approx(c * plain.alpha_max_, rel=1e-9)


def test_the_absolute_loss_has_the_unit_of_the_ridge(rng):
    X = table(rng)
    options = {"loss": "absolute", "alpha": 2.0, "tol": 1e-6, "max_iter": 3000}
    plain = PrecGDFactorization(14, **options).fit(X)
    times = PrecGDFactorization(14, **options).fit(1e6 * X)
    assert np.linalg.norm(matrix(plain)) > 0
    assert distance(matrix(times), 1e6 * matrix(plain)) < 1e-4


def test_chunks_mean_the_same(rng):
    dask = pytest.importorskip("dask")
    da = pytest.importorskip("dask.array")
    X = table(rng)
    often = rng.integers(1, 4, X.shape).astype(float)
    for scaling in (0.0, 1.0):
        model = PrecGDFactorization(14, alpha=1.0, alpha_scaling=scaling, **OPTIONS)
        expected = matrix(model.fit(X, entry_weight=often))
        largest = model.alpha_max_
        chunks = da.from_array(X, chunks=(10, 14))
        model.set_params(tol=1e-6)
        with dask.config.set(scheduler="synchronous"):
            found = matrix(model.fit(chunks, entry_weight=often))
        assert distance(found, expected) < 1e-4
        assert model.alpha_max_ == pytest.approx(largest, rel=1e-9)


@pytest.mark.filterwarnings("ignore:The observed entries fall into:UserWarning")
def test_groups_minimise_one_sum(rng):
    """Two groups in one matrix have the ridge that each of them has alone."""
    parts = [table(rng), 3.0 * table(rng, (15, 12))]
    X = np.full((35, 26), np.nan)
    X[:20, :14], X[20:, 14:] = parts
    for scaling in (0.0, 1.0):
        model = PrecGDFactorization(12, alpha=1.0, alpha_scaling=scaling, **OPTIONS)
        alone = [matrix(model.fit(part)) for part in parts]
        largest = model.alpha_max_
        found = matrix(model.fit(X))
        assert distance(found[:20, :14], alone[0]) < 1e-8
        assert distance(found[20:, 14:], alone[1]) < 1e-8
        assert model.alpha_max_ >= largest
        rows = model.transform(X) @ model.components_
        assert distance(rows, found) < 1e-6
    assert distance(soft_impute(X, 1.0), soft_impute_of_parts(parts, 1.0)) < 1e-8


def soft_impute_of_parts(parts, alpha):
    blocks = [soft_impute(part, alpha) for part in parts]
    return sparse.block_diag(blocks).toarray()


# ---- the ridge that leaves nothing ---------------------------------------------------


def assert_nothing_is_left_from_there_on(model, fit):
    largest = fit(model.set_params(alpha=0.5)).alpha_max_
    some = fit(model.set_params(alpha=0.99 * largest))
    assert some.singular_values_[0] > 0
    assert some.alpha_max_ == pytest.approx(largest, rel=1e-9)
    assert fit(model.set_params(alpha=1.01 * largest)).singular_values_[0] == 0


@pytest.mark.parametrize("scaling", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("center", [None, "columns"])
@pytest.mark.parametrize("loss", ["squared", "huber", "logistic", "poisson"])
def test_alpha_max_of_entries(loss, center, scaling, rng):
    X = table(rng)
    if loss in ("logistic", "poisson"):
        center, X = None, np.where(np.isnan(X), np.nan, (X > 0) * 1.0)
    model = PrecGDFactorization(
        3, loss=loss, center=center, alpha_scaling=scaling, max_iter=3000, tol=1e-6
    )
    assert_nothing_is_left_from_there_on(model, lambda m: m.fit(X))


def test_alpha_max_is_a_singular_value_of_the_data(rng):
    X = table(rng)
    model = PrecGDFactorization(3, alpha=1.0, center="columns").fit(X)
    filled = np.nan_to_num(X - np.nanmean(X, axis=0))
    assert model.alpha_max_ == pytest.approx(np.linalg.norm(filled, 2), rel=1e-9)
    complete = np.nan_to_num(X)
    model.fit(complete)
    centred = complete - complete.mean(axis=0)
    assert model.alpha_max_ == pytest.approx(np.linalg.norm(centred, 2), rel=1e-9)


@pytest.mark.parametrize("symmetric", [False, True])
def test_alpha_max_of_measurements(symmetric, global_random_seed):
    A, y, _ = make_matrix_sensing(
        8,
        rank=2,
        n_measurements=50,
        noise=0.1,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(3, matrix_shape=(8, 8), symmetric=symmetric)
    assert_nothing_is_left_from_there_on(model, lambda m: m.fit(A, y))
    adjoint = np.einsum("k,kij->ij", y, np.reshape(A, (50, 8, 8)))
    expected = np.linalg.norm(adjoint, 2)
    if symmetric:
        expected = np.linalg.eigvalsh(0.5 * (adjoint + adjoint.T))[-1]
    assert model.alpha_max_ == pytest.approx(expected, rel=1e-9)


def test_alpha_max_is_there_only_beside_a_ridge(rng):
    X = table(rng)
    model = PrecGDFactorization(2, alpha=1.0).fit(X)
    assert hasattr(model, "alpha_max_")
    assert not hasattr(model.set_params(alpha=0.0).fit(X), "alpha_max_")
    cv = PrecGDFactorizationCV([1, 2], alpha=[1.0, 2.0], cv=2).fit(X)
    assert cv.alpha_max_ == pytest.approx(np.linalg.norm(np.nan_to_num(X), 2), rel=1e-9)


# ---- held-out entries beside a number ------------------------------------------------


def test_held_out_entries_choose_the_rank_beside_a_ridge(rng):
    X = table(rng, (60, 40), noise=0.5)
    options = {"alpha": 0.01, "tol": 1e-6, "random_state": 0}
    fits = [
        PrecGDFactorization(8, early_stopping=asked, **options).fit(X)
        for asked in (True, "auto", False)
    ]
    # A small ridge hardly keeps noise out; held-out entries do.
    assert fits[0].n_components_ < fits[1].n_components_ == fits[2].n_components_
    assert "held-out" in fits[0].stop_reason_
    assert not any("held-out" in fit.stop_reason_ for fit in fits[1:])
    # The refit has the ridge that was given.
    rank = fits[0].n_components_
    fixed = PrecGDFactorization(rank, early_stopping=False, **options).fit(X)
    assert distance(matrix(fits[0]), matrix(fixed)) < 1e-3


def test_share_and_patience_of_the_hold_out_act_beside_a_ridge(rng):
    X = table(rng, (60, 40), noise=0.5)
    options = {"alpha": 0.01, "tol": 1e-4, "early_stopping": True, "random_state": 0}
    n = int(np.sum(~np.isnan(X)))
    said = PrecGDFactorization(8, validation_fraction=0.3, **options).fit(X)
    assert f"explains {round(0.3 * n)} held-out" in said.stop_reason_
    visited = []
    for patience in (1, 5):
        model = PrecGDFactorization(8, n_iter_no_change=patience, **options).fit(X)
        last = re.search(r"of 1 to (\d) is the lowest", model.stop_reason_)
        visited.append(int(last[1]))
    assert visited[0] < visited[1]


@pytest.mark.filterwarnings("ignore:cv.* hides up to:UserWarning")
@pytest.mark.filterwarnings("ignore:.*no observed entry:UserWarning")
def test_a_fold_has_the_alpha_that_is_given(rng):
    """Each of two folds scores the fit to the other one with that alpha."""
    X = table(rng)
    A, y = observed_entries(X)
    order = rng.permutation(len(y))
    folds = [(order[::2], order[1::2]), (order[1::2], order[::2])]
    cv = PrecGDMatrixSensingCV([4], alpha=4.0, cv=folds).fit(A, y)
    for k, (train, test) in enumerate(folds):
        model = PrecGDMatrixSensing(4, early_stopping=False)
        given, less = (
            model.set_params(alpha=alpha)
            .fit(A.rows(train), y[train])
            .score(A.rows(test), y[test])
            for alpha in (4.0, 2.0)
        )
        found = cv.cv_results_[f"split{k}_test_score"][0]
        # Stages are not solved to the end.
        assert abs(found - given) < 0.1 * abs(found - less)


# ---- rows and columns by their numbers of entries ------------------------------------


def als_wr(X, strength, power, rank, rng, n_sweeps=1000):
    """Alternating least squares, the ridge of a line being its count to a power."""
    seen, counts = ~np.isnan(X), []
    factors = [rng.standard_normal((n, rank)) for n in X.shape]
    for axis in (1, 0):
        counts.append(strength * np.sum(seen, axis=axis).astype(float) ** power)
    for _ in range(n_sweeps):
        for side, (data, mask) in enumerate([(X, seen), (X.T, seen.T)]):
            other = factors[1 - side]
            for i, visible in enumerate(mask):
                basis = other[visible]
                normal = basis.T @ basis + counts[side][i] * np.eye(rank)
                factors[side][i] = np.linalg.solve(normal, basis.T @ data[i, visible])
    return factors[0] @ factors[1].T


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_it_is_alternating_least_squares_with_weighted_regularisation(power, rng):
    X = table(rng, (16, 12))
    seen, strength = ~np.isnan(X), 0.3
    expected = als_wr(X, strength, power, 12, rng)
    means = seen.sum(axis=1).mean() * seen.sum(axis=0).mean()
    alpha = strength * means ** (power / 2)
    model = PrecGDFactorization(12, alpha=alpha, alpha_scaling=power, **OPTIONS).fit(X)
    assert distance(matrix(model), expected) < 1e-5
    sensed = PrecGDMatrixSensing(12, alpha=alpha, alpha_scaling=power, **OPTIONS)
    sensed.fit(*observed_entries(X))
    assert distance(sensed.matrix_, expected) < 1e-5
    assert sensed.certificate_.relative_gap < 1e-6
    # A ridge that does not count leaves another matrix.
    plain = PrecGDFactorization(12, alpha=alpha, **OPTIONS).fit(X)
    assert distance(matrix(plain), expected) > 1e-3


@pytest.mark.parametrize("solver", ["precgd-cg", "gauss-newton", "alternating"])
def test_every_solver_finds_the_same(solver, rng):
    X = table(rng)
    options = {"alpha": 1.0, "alpha_scaling": 1.0, **OPTIONS}
    expected = matrix(PrecGDFactorization(14, **options).fit(X))
    found = matrix(PrecGDFactorization(14, solver=solver, **options).fit(X))
    assert distance(found, expected) < 1e-5


def test_the_certificate_bounds_the_gap(rng):
    X = table(rng)
    options = {"alpha": 1.0, "alpha_scaling": 1.0, "tol": 1e-9}
    A, y = observed_entries(X)
    gaps = [
        PrecGDMatrixSensing(rank, max_iter=3000, **options)
        .fit(A, y)
        .certificate_.relative_gap
        for rank in (1, 12)
    ]
    assert gaps[1] < 1e-7 < 1e-3 < gaps[0]


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_training_rows_keep_their_coordinates(loss, rng):
    X = table(rng)
    if loss == "logistic":
        X = np.where(np.isnan(X), np.nan, (X > 0) * 1.0)
    model = PrecGDFactorization(8, loss=loss, alpha=0.5, alpha_scaling=1.0, **OPTIONS)
    z = model.fit_transform(X)
    assert distance(z, model.left_ * np.sqrt(model.singular_values_)) < 1e-5
    assert np.isfinite(model.score(X))


def test_a_new_row_has_the_ridge_of_what_it_shows(rng):
    """Its coordinates minimise the objective with the right factor fixed."""
    X = table(rng)
    model = PrecGDFactorization(8, alpha=1.0, alpha_scaling=1.0, **OPTIONS).fit(X)
    counts = np.sum(~np.isnan(X), axis=0)
    roots = np.sqrt(counts / counts.mean())[:, None]
    # The right factor at the lowest penalty: balanced, once its rows are scaled.
    rows = np.sum(~np.isnan(X), axis=1)
    row_roots = np.sqrt(rows / rows.mean())[:, None]
    _, s, vt = np.linalg.svd(row_roots * matrix(model) * roots.T, full_matrices=False)
    k = model.n_components_
    right = (vt[:k].T * np.sqrt(s[:k])) / roots
    new = rng.standard_normal((5, 14))
    new[rng.random(new.shape) < 0.5] = np.nan
    new[4] = rng.standard_normal(14)
    found = model.inverse_transform(model.transform(new))
    for row, predicted in zip(new, found, strict=True):
        seen = ~np.isnan(row)
        basis, ridge = right[seen], seen.sum() / rows.mean()
        left = np.linalg.solve(basis.T @ basis + ridge * np.eye(k), basis.T @ row[seen])
        np.testing.assert_allclose(predicted, right @ left, atol=1e-6)


def test_weights_are_counted(rng):
    """An entry of weight two is two entries."""
    X = table(rng)
    A, y = observed_entries(X)
    often = rng.integers(1, 4, len(y))
    model = PrecGDMatrixSensing(6, alpha=1.0, alpha_scaling=1.0, **OPTIONS)
    expected = model.fit(A, y, often).matrix_
    rows, columns = (np.repeat(lines, often) for lines in A.cells())
    repeated = EntryMeasurements(rows, columns, X.shape)
    found = model.fit(repeated, np.repeat(y, often)).matrix_
    assert distance(found, expected) < 1e-6


def test_equal_counts_are_the_plain_ridge(rng):
    X = rng.standard_normal((9, 7))
    plain = PrecGDFactorization(7, alpha=1.0).fit(X)
    counted = PrecGDFactorization(7, alpha=1.0, alpha_scaling=1.0).fit(X)
    np.testing.assert_array_equal(matrix(counted), matrix(plain))


def test_single_precision_stays_single(rng):
    X = table(rng)
    options = {"alpha": 1.0, "alpha_scaling": 1.0}
    expected = matrix(PrecGDFactorization(6, tol=1e-8, **options).fit(X))
    model = PrecGDFactorization(6, tol=1e-4, **options).fit(X.astype(np.float32))
    assert model.left_.dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert distance(matrix(model), expected) < 1e-2


@pytest.mark.filterwarnings("ignore:.*no observed entry:UserWarning")
def test_a_row_without_an_entry_is_zero(rng):
    X = table(rng)
    X[3] = np.nan
    model = PrecGDFactorization(6, alpha=1.0, alpha_scaling=1.0, **OPTIONS).fit(X)
    assert np.linalg.norm(matrix(model)[3]) < 1e-12 * np.linalg.norm(matrix(model))
    np.testing.assert_array_equal(model.transform(X)[3], 0.0)


def test_symmetric_rows_count_as_row_and_column(rng):
    """The upper triangle of X X^T against plain gradient descent from the solution."""
    x = rng.standard_normal((10, 2))
    rows, columns = np.triu_indices(10)
    kept = rng.random(len(rows)) < np.where(rows < 4, 0.9, 0.5)
    A = EntryMeasurements(rows[kept], columns[kept], (10, 10))
    y = A.forward(x, x) + 0.3 * rng.standard_normal(len(A))
    model = PrecGDMatrixSensing(
        4, symmetric=True, alpha=1.0, alpha_scaling=1.0, **OPTIONS
    ).fit(A, y)
    counts = np.bincount(rows[kept], minlength=10)
    counts += np.bincount(columns[kept], minlength=10)
    d = counts / counts[counts > 0].mean()
    roots = np.sqrt(d)[:, None]
    scaled = roots * model.matrix_ * roots.T
    residual = sparse.csr_array(
        (A.forward(model.left_, model.right_) - y, A.cells()), shape=(10, 10)
    ).toarray()
    gradient = 0.5 * (residual + residual.T) / (roots * roots.T)
    # Optimality: S + alpha is positive, and zero on the range of the matrix.
    least = np.linalg.eigvalsh(gradient + np.eye(10))[0]
    assert least > -1e-6
    assert np.sum((gradient + np.eye(10)) * scaled) == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(scaled) > 0.1


def test_other_measurements_refuse_it(global_random_seed):
    A, y, _ = make_matrix_sensing(
        6, rank=1, n_measurements=40, random_state=global_random_seed
    )
    model = PrecGDMatrixSensing(matrix_shape=(6, 6), alpha_scaling=1.0)
    for parameters in ({"alpha": 1.0}, {"alpha": 0.0}):
        with pytest.raises(ValueError, match=r"alpha_scaling=1\.0 needs .* entries"):
            clone(model).set_params(**parameters).fit(A, y)


def test_a_learned_prior_refuses_it(global_random_seed):
    X, _ = make_matrix_completion(
        20, 15, rank=1, observed_fraction=0.6, random_state=global_random_seed
    )
    model = PrecGDFactorization(2, alpha="auto", alpha_scaling=1.0)
    with pytest.raises(
        ValueError, match=r"alpha_scaling=1\.0 needs a number for alpha"
    ):
        model.fit(X)
