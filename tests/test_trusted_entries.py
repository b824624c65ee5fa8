"""Noisy data of which a share is wrong: what is trusted, and what is learned of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    observed_entries,
)
from skprecgd._linalg.tails import tail_level
from skprecgd.datasets import make_robust_pca
from skprecgd.measurements import FullObservation
from skprecgd.robust import CorruptedTail

CENTERS = [None, "mean", "columns", "both"]
SEEDS = st.integers(0, 2**32 - 1)

TAILS = {
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "normal": lambda rng, n: rng.standard_normal(n),
    "Laplace": lambda rng, n: rng.laplace(size=n),
    "t(3)": lambda rng, n: rng.standard_t(3, n),
    "Cauchy": lambda rng, n: rng.standard_t(1, n),
    "log-normal": lambda rng, n: np.exp(1.5 * rng.standard_normal(n)),
}


# ---- the tail of a distribution


@pytest.mark.parametrize("tail", TAILS)
@given(seed=SEEDS, n=st.sampled_from([100, 1000, 20_000]))
def test_numbers_of_one_distribution_fit_its_tail(tail, seed, n):
    sizes = np.abs(TAILS[tail](np.random.default_rng(seed), n))
    assert tail_level(sizes, 0.3) == np.inf


@pytest.mark.parametrize("tail", ["uniform", "normal", "Laplace", "t(3)"])
@given(seed=SEEDS)
def test_numbers_beyond_a_gap_do_not(tail, seed):
    rng = np.random.default_rng(seed)
    sizes = np.abs(TAILS[tail](rng, 5000))
    top = np.quantile(sizes, 0.99)
    wrong = rng.random(5000) < 0.05
    sizes[wrong] = top * rng.uniform(3.0, 9.0, wrong.sum())
    level = tail_level(sizes, 0.3)
    assert np.mean(sizes[wrong] > level) > 0.95
    assert np.mean(sizes[~wrong] > level) < 0.03


@given(seed=SEEDS, c=st.sampled_from([1e-200, 1e-8, 1e8, 1e200]))
def test_the_unit_of_sizes_does_not_matter(seed, c):
    rng = np.random.default_rng(seed)
    sizes = np.abs(rng.standard_normal(1000))
    sizes[:40] += 30.0
    level = tail_level(sizes, 0.3)
    assert 3.0 < level < 30.0
    assert tail_level(c * sizes, 0.3) / c == pytest.approx(level, rel=1e-6)


def test_sizes_count_as_often_as_they_are_there(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    sizes = np.abs(rng.standard_normal(400))
    sizes[:20] += 30.0
    twice = tail_level(np.repeat(sizes, 2), 0.3)
    assert tail_level(sizes, 0.3, np.full(400, 2.0)) == pytest.approx(twice, rel=0.1)


def test_zeros_are_no_part_of_a_distribution(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    sizes = np.append(np.abs(rng.standard_normal(500)), np.zeros(4000))
    assert tail_level(sizes, 0.3) == np.inf
    assert tail_level(np.zeros(100), 0.3) == np.inf
    assert tail_level(np.ones(3), 0.3) == np.inf


def test_no_line_loses_more_than_half_of_its_entries(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    residual = rng.standard_normal((20, 30))
    residual[3] += 1e3
    found = CorruptedTail(0.3, FullObservation((20, 30))).positions(residual.ravel())
    assert np.count_nonzero(found // 30 == 3) <= 15


# ---- noisy data with errors


def spiked(seed, center, *, shape=(120, 50), share=0.05, holes=0.0, freedom=None):
    """A matrix of rank 3, the same with noise, and where it is wrong.

    The noise of the columns differs unless the centre takes them to have one unit.
    """
    rng, (n, m) = np.random.default_rng(seed), shape
    truth = rng.normal(size=(n, 3)) @ rng.normal(size=(3, m))
    own_units = center in (None, "columns")
    noise = 0.3 * (np.exp(0.5 * rng.normal(size=m)) if own_units else np.ones(m))
    truth = truth + (8.0 if center == "mean" else 0.0)
    if center in ("columns", "both"):
        truth = truth + 5.0 * rng.normal(size=m)
    if center == "both":
        truth = truth + 3.0 * rng.normal(size=(n, 1))
    kind = rng.normal if freedom is None else lambda size: rng.standard_t(freedom, size)
    X = truth + noise * kind(size=(n, m))
    wrong = rng.random((n, m)) < share
    sizes = rng.choice([-1, 1], (n, m)) * rng.uniform(5, 20, (n, m))
    X = np.where(wrong, X + sizes * truth.std(axis=0), X)
    return truth, np.where(rng.random((n, m)) < holes, np.nan, X), wrong, noise


def robust(X, **parameters):
    given = {"n_components": "auto", "outlier_fraction": "auto", "random_state": 0}
    return PrecGDFactorization(**{**given, **parameters}).fit(X)


def matrix(model):
    return model.left_ @ model.right_.T + model.center_


@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("center", CENTERS)
def test_what_is_learned_is_that_of_the_entries_that_are_right(
    center, holes, global_random_seed
):
    truth, X, wrong, noise = spiked(global_random_seed, center, holes=holes)
    model = robust(X, center=center)
    assert model.converged_
    found, seen = model.outliers_.toarray() != 0, ~np.isnan(X)
    assert np.mean(found[wrong & seen]) > 0.97
    assert np.mean(found[~wrong]) < 0.005
    known = PrecGDFactorization("auto", center=center, random_state=0)
    known.fit(np.where(wrong, np.nan, X))

    def error(model):
        return np.sqrt(np.mean(((matrix(model) - truth) / noise) ** 2))

    assert error(model) < 1.15 * error(known)
    assert_allclose(np.sqrt(np.mean(model.noise_variance_ / noise**2)), 1, rtol=0.2)
    fitted = model.inverse_transform(model.transform(X))
    assert np.linalg.norm(fitted - matrix(model)) < 0.05 * np.linalg.norm(truth)


@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("center", [None, "columns"])
def test_units_of_columns_do_not_decide_what_is_wrong(
    center, holes, global_random_seed
):
    _, X, _, _ = spiked(global_random_seed, center, holes=holes)
    units = 2.0 ** np.random.default_rng(0).integers(-40, 40, X.shape[1])
    base, scaled = robust(X, center=center), robust(X * units, center=center)
    same = (base.outliers_.toarray() != 0) == (scaled.outliers_.toarray() != 0)
    assert np.mean(same) > 0.999
    error = np.linalg.norm(matrix(scaled) / units - matrix(base))
    assert error < 0.02 * np.linalg.norm(matrix(base))


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_heavy_tails_are_no_errors(holes, global_random_seed):
    _, X, _, _ = spiked(
        global_random_seed, "columns", holes=holes, share=0.0, freedom=3
    )
    assert robust(X, center="columns").outliers_.nnz < 0.002 * X.size


@pytest.mark.parametrize("load", [load_diabetes, load_wine, load_breast_cancer])
@pytest.mark.parametrize("n_components", ["auto", 3])
def test_tables_without_errors_lose_nothing(load, n_components):
    X = load().data
    model = robust(X, n_components=n_components, center="columns")
    assert model.outliers_.nnz == 0
    assert "Noise" in model.stop_reason_


def test_real_detail_is_no_error(global_random_seed):
    X = load_digits().data
    X = X[:, X.std(axis=0) > 0]
    assert robust(X, center="columns").outliers_.nnz < 0.01 * X.size
    rng = np.random.default_rng(global_random_seed)
    wrong = rng.random(X.shape) < 0.05
    spikes = rng.choice([-1, 1], X.shape) * rng.uniform(5, 20, X.shape) * X.std(axis=0)
    model = robust(np.where(wrong, X + spikes, X), center="columns")
    found = model.outliers_.toarray() != 0
    # Of the bound, 30 %, almost nothing is used but by errors: precision was 0.17.
    assert np.mean(wrong[found]) > 0.7
    assert np.mean(found[wrong]) > 0.99
    errors = (matrix(model) - X)[wrong] / np.broadcast_to(X.std(axis=0), X.shape)[wrong]
    # The cells themselves have root mean square 1.
    assert np.sqrt(np.mean(errors**2)) < 0.92


@pytest.mark.parametrize("center", ["mean", "columns", "both"])
@pytest.mark.parametrize("observed", [1.0, 0.6])
@pytest.mark.parametrize("n_components", [6, "auto"])
def test_offsets_of_data_without_noise_are_exact(
    center, observed, n_components, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    X, errors, truth = make_robust_pca(
        100,
        80,
        rank=3,
        outlier_fraction=0.05,
        outlier_scale=100,
        observed_fraction=observed,
        random_state=global_random_seed,
    )
    offsets = np.full((100, 80), 7.0)
    if center != "mean":
        offsets = offsets + 5 * rng.normal(size=80)
    if center == "both":
        offsets = offsets + 3 * rng.normal(size=(100, 1))
    model = robust(X + offsets, n_components=n_components, center=center)
    whole = truth.matrix + offsets
    assert np.linalg.norm(matrix(model) - whole) < 1e-7 * np.linalg.norm(whole)
    assert model.outliers_.nnz == errors.nnz
    A, y = observed_entries(X + offsets)
    other = PrecGDMatrixSensing(6, outlier_fraction="auto", center=center).fit(A, y)
    assert np.linalg.norm(other.matrix_ - whole) < 1e-7 * np.linalg.norm(whole)


def test_errors_of_any_size_leave_the_centre_alone(global_random_seed):
    truth, X, wrong, _ = spiked(global_random_seed, "columns")
    other = np.where(wrong, 1e9 * X, X)
    base, model = robust(X, center="columns"), robust(other, center="columns")
    assert_allclose(model.center_, base.center_, atol=0.05)
    assert np.linalg.norm(matrix(model) - matrix(base)) < 0.02 * np.linalg.norm(truth)


# ---- every kind of use


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_new_rows_are_as_robust(holes, global_random_seed):
    truth, X, wrong, noise = spiked(
        global_random_seed, "columns", shape=(200, 50), holes=holes
    )
    model = robust(X[:120], center="columns")
    told = model.inverse_transform(model.transform(X[120:]))
    error = np.sqrt(np.mean(((told - truth[120:]) / noise) ** 2))
    right = np.where(wrong, np.nan, X)
    known = PrecGDFactorization("auto", center="columns").fit(right[:120])
    best = known.inverse_transform(known.transform(right[120:]))
    assert error < 1.25 * np.sqrt(np.mean(((best - truth[120:]) / noise) ** 2))
    nothing = np.full((1, 50), np.nan)
    assert_allclose(model.transform(nothing), np.zeros((1, model.n_components_)))


def test_how_sure_what_was_wrong_is(global_random_seed):
    truth, X, wrong, _ = spiked(global_random_seed, "columns")
    model = robust(X, center="columns")
    rows, columns = np.nonzero(wrong)
    low, high = model.interval(rows, columns, level=0.9)
    # Of the matrix alone, which is nearer than a number with noise.
    inside = (low <= truth[wrong]) & (truth[wrong] <= high)
    assert np.mean(inside) > 0.9
    mean, std = model.predict_entries(rows, columns, return_std=True)
    assert_allclose(mean, matrix(model)[wrong], atol=1e-8 * np.max(np.abs(truth)))
    assert np.all(std > 0)


def test_sensing_of_noisy_entries_is_factorization(global_random_seed):
    _, X, _, _ = spiked(global_random_seed, "columns", holes=0.3)
    base = robust(X, n_components=6, center="columns")
    A, y = observed_entries(X)
    order = np.random.default_rng(0).permutation(len(y))
    model = PrecGDMatrixSensing(
        6, outlier_fraction="auto", center="columns", random_state=0
    )
    model.fit(A[order], y[order])
    assert_allclose(model.matrix_, matrix(base), atol=1e-6 * np.nanmax(np.abs(X)))
    cells = A.row_index[order], A.column_index[order]
    found = base.outliers_.toarray()[cells]
    assert_array_equal(model.outliers_ != 0, found != 0)


def test_single_precision_stays(global_random_seed):
    _, X, _, _ = spiked(global_random_seed, "columns")
    base = robust(X, center="columns")
    model = robust(X.astype(np.float32), center="columns")
    assert model.left_.dtype == model.outliers_.dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert np.linalg.norm(matrix(model) - matrix(base)) < 0.01 * np.linalg.norm(
        matrix(base)
    )


def test_weights_and_given_noise(global_random_seed):
    truth, X, wrong, noise = spiked(global_random_seed, "columns")
    rng = np.random.default_rng(global_random_seed)
    weight = rng.integers(1, 3, X.shape).astype(float)
    model = PrecGDFactorization(6, outlier_fraction="auto", center="columns")
    model.fit(X, entry_weight=weight)
    variances = PrecGDFactorization(
        6, outlier_fraction="auto", center="columns", noise_variance=noise**2
    ).fit(X)
    for each in (model, variances):
        found = each.outliers_.toarray() != 0
        assert np.mean(found[wrong]) > 0.95
        assert np.mean(found[~wrong]) < 0.01
        errors = (matrix(each) - truth) / noise
        assert np.sqrt(np.mean(errors**2)) < 0.6
    assert_array_equal(variances.noise_variance_, noise**2)


def test_groups_have_errors_of_their_own(global_random_seed):
    _, first, wrong, _ = spiked(global_random_seed, "columns", shape=(80, 40))
    _, second, others, _ = spiked(global_random_seed + 1, "columns", shape=(60, 30))
    X = np.full((140, 70), np.nan)
    X[:80, :40], X[80:, 40:] = first, second
    with pytest.warns(UserWarning, match="fall into 2 groups"):
        model = robust(X, n_components=6, center="columns")
    found = model.outliers_.toarray() != 0
    assert np.mean(found[:80, :40][wrong]) > 0.95
    assert np.mean(found[80:, 40:][others]) > 0.95
    assert not found[:80, 40:].any()
    assert model.transform(X).shape == (140, model.n_components_)


def test_the_turned_table_has_the_same_errors(global_random_seed):
    _, X, _, _ = spiked(global_random_seed, "mean")
    model, turned = (robust(data, center="mean", noise="uniform") for data in (X, X.T))
    assert_array_equal(
        model.outliers_.toarray() != 0, turned.outliers_.toarray().T != 0
    )
    scale = np.max(np.abs(matrix(model)))
    assert_allclose(matrix(model), matrix(turned).T, atol=1e-6 * scale)


def test_the_same_fit_again(global_random_seed):
    _, X, _, _ = spiked(global_random_seed, "columns")
    model = robust(X, n_components=5, center="columns", warm_start=True)
    first, errors = matrix(model), model.outliers_.toarray()
    model.fit(X)
    assert_allclose(matrix(model), first, atol=1e-8 * np.max(np.abs(first)))
    assert_array_equal(model.outliers_.toarray() != 0, errors != 0)


def test_cross_validation_takes_both(global_random_seed):
    _, X, _, _ = spiked(global_random_seed, "columns", shape=(60, 30), holes=0.2)
    search = PrecGDFactorizationCV(
        [1, 3], outlier_fraction="auto", center="columns", cv=2, random_state=0
    )
    search.fit(X)
    assert search.n_components_ == 3
    assert search.outliers_.nnz > 0


def test_a_rank_too_low_is_said(global_random_seed):
    _, X, _, _ = spiked(global_random_seed, "columns")
    with pytest.warns(UserWarning, match="leaves out what is no noise"):
        robust(X, n_components=1, center="columns")


def test_held_out_entries_do_not_choose_beside_a_prior():
    model = PrecGDFactorization(2, outlier_fraction=0.1, early_stopping=True)
    with pytest.raises(ValueError, match="early_stopping=True needs a number"):
        model.fit(np.random.default_rng(0).normal(size=(20, 10)))


def test_explaining_by_more_numbers_than_there_are_is_no_explanation():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8)) + 3.0
    model = robust(X, n_components=8)
    assert model.outliers_.nnz == 0
    assert model.noise_variance_ is not None
    assert "Noise" in model.stop_reason_


# ---- explanations that are none


@pytest.mark.parametrize("bound", [0.1, "auto"])
@pytest.mark.parametrize("kind", ["binary", "counts"])
def test_numbers_that_repeat_are_not_explained_by_leaving_out_the_rest(
    kind, bound, rng
):
    """Most zeros of a table are explained by zeros, and the ones are no errors."""
    M = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 20))
    data = (M > 0) * 1.0 if kind == "binary" else rng.poisson(0.3 * np.exp(0.6 * M))
    hidden = rng.random(M.shape) < 0.2
    X = np.where(hidden, np.nan, data)
    model = PrecGDFactorization(8, center="columns", outlier_fraction=bound).fit(X)
    completed = model.left_ @ model.right_.T + model.center_
    error, of_means = (
        np.sqrt(np.mean((guess - data)[hidden] ** 2))
        for guess in (completed, np.nanmean(X, axis=0) + 0 * data)
    )
    assert error <= 1.05 * of_means


@pytest.mark.parametrize("bound", [0.05, 0.1, "auto"])
@pytest.mark.parametrize("rank", [5, 10, "auto"])
def test_smooth_tables_with_errors_and_holes_are_completed(rank, bound, rng):
    """Columns that nearly follow from one another, as economic series do."""
    times = np.linspace(0, 1, 200)[:, None]
    curves = np.hstack(
        [times, np.exp(times), np.sin(7 * times), rng.normal(size=(200, 2))]
    )
    units = 10.0 ** rng.uniform(-2, 3, 12)
    table = (
        curves @ rng.normal(size=(5, 12)) + 0.02 * rng.normal(size=(200, 12))
    ) * units
    spread = table.std(axis=0)
    hidden = rng.random(table.shape) < 0.1
    wrong = ~hidden & (rng.random(table.shape) < 0.03)
    given = table + np.where(wrong, 10 * spread * rng.normal(size=table.shape), 0.0)
    X = np.where(hidden, np.nan, given)
    model = PrecGDFactorization(rank, center="columns", outlier_fraction=bound).fit(X)
    completed = model.left_ @ model.right_.T + model.center_
    error, of_means = (
        np.sqrt(np.mean((((guess - table) / spread)[hidden]) ** 2))
        for guess in (completed, np.nanmean(X, axis=0) + 0 * table)
    )
    assert error < 0.5 * of_means
