"""Coordinates of new rows with holes: rows that show nothing, null directions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skprecgd import PrecGDFactorization, PrecGDFactorizationCV
from skprecgd.losses import make_loss

LOSSES = ["squared", "logistic", "huber", "absolute", "poisson"]

# --------------------------------------------------------------------------------------
# Rows that show nothing
# --------------------------------------------------------------------------------------


def labels(seed, *, holes):
    """A matrix that suits every loss: rank one, rounded to zeros and ones."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal(30), rng.standard_normal(8)
    X = (np.outer(u, v) + 0.3 * rng.standard_normal((30, 8)) > 0).astype(float)
    if holes:
        X[rng.integers(30, size=20), rng.integers(8, size=20)] = np.nan
    return X


def assert_centre_for_nothing(model, dtype=np.float64):
    z = model.transform(np.full((3, 8), np.nan, dtype))
    assert z.dtype == dtype
    assert_array_equal(z, np.zeros((3, model.n_components_)))
    centre = make_loss(model.loss).mean(np.broadcast_to(model.center_, (3, 8)))
    assert_allclose(model.inverse_transform(z), centre, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_where_no_row_shows_anything(loss, holes, dtype, global_random_seed):
    X = labels(global_random_seed, holes=holes).astype(dtype)
    model = PrecGDFactorization(2, loss=loss, tol=1e-3, random_state=0).fit(X)
    assert_centre_for_nothing(model, dtype)


@pytest.mark.parametrize(
    "options",
    [{"outlier_fraction": 0.1}, {"loss": "huber", "center": "columns"}, {"alpha": 0.1}],
    ids=lambda options: "-".join(options),
)
def test_where_no_row_shows_anything_with_options(options, global_random_seed):
    X = labels(global_random_seed, holes=True)
    model = PrecGDFactorization(1, tol=1e-3, random_state=0, **options).fit(X)
    assert_centre_for_nothing(model)


def test_where_no_row_shows_anything_after_cross_validation(global_random_seed):
    X = labels(global_random_seed, holes=True)
    model = PrecGDFactorizationCV([1, 2], loss="logistic", tol=1e-3, random_state=0)
    assert_centre_for_nothing(model.fit(X))


def test_a_chunk_that_shows_nothing(global_random_seed):
    array = pytest.importorskip("dask.array")
    X = labels(global_random_seed, holes=False)
    model = PrecGDFactorization(2, loss="logistic", tol=1e-3, random_state=0).fit(X)
    rows = np.vstack([np.full((3, 8), np.nan), X[:4]])
    z = model.transform(array.from_array(rows, chunks=(3, 8))).compute()
    assert_array_equal(z[:3], 0.0)
    assert_allclose(z[3:], model.transform(X[:4]), rtol=1e-8, atol=1e-8)


# --------------------------------------------------------------------------------------
# Components that are rounding
# --------------------------------------------------------------------------------------


def low_rank(seed, shape=(50, 20), rank=3, dtype=np.float64):
    """Training data, and new rows of the same row space with holes and without."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((rank, shape[1]))
    X, new = (rng.standard_normal((n, rank)) @ basis for n in (shape[0], 30))
    holes = np.where(rng.random(new.shape) < 0.3, np.nan, new)
    return X.astype(dtype), holes.astype(dtype), new.astype(dtype)


def completed(model, rows):
    return model.inverse_transform(model.transform(rows))


@pytest.mark.parametrize("n_components", [3, 4])
def test_a_matrix_of_rank_three(n_components):
    X = np.array([[5, 2, 2, 1], [10, 1, 2, 7], [3, 1, 1, 1], [8, 4, 2, 2]], float)
    model = PrecGDFactorization(n_components).fit(X)
    row = np.array([[np.nan, 2, 4, 5]])
    assert_allclose(completed(model, row), [[11.0, 2, 4, 5]], rtol=1e-10)


@pytest.mark.parametrize("solver", ["auto", "precgd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [None, "columns", "both"])
def test_more_components_than_rank(center, dtype, solver, global_random_seed):
    X, holes, new = low_rank(global_random_seed, dtype=dtype)
    model = PrecGDFactorization(10, center=center, solver=solver).fit(X)
    assert model.n_components_ == 10 + (center == "both")
    rtol = 1e-8 if dtype == np.float64 else 1e-3
    error = np.linalg.norm(completed(model, holes) - new) / np.linalg.norm(new)
    assert error < rtol
    assert model.score(new) > 1 - rtol


@pytest.mark.parametrize("form", ["sparse", "dask"])
def test_more_components_than_rank_in_other_forms(form, global_random_seed):
    X, holes, new = low_rank(global_random_seed)
    if form == "sparse":
        data = sparse.csr_array(X)
    else:
        data = pytest.importorskip("dask.array").from_array(X, chunks=(17, 20))
    model = PrecGDFactorization(10).fit(data)
    assert_allclose(completed(model, holes), new, atol=1e-8 * np.max(np.abs(new)))


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_rounding_is_relative_to_what_was_subtracted(offset, global_random_seed):
    X, holes, new = low_rank(global_random_seed)
    model = PrecGDFactorization(10, center="columns").fit(X + offset)
    error = np.linalg.norm(completed(model, holes + offset) - offset - new)
    assert error < 1e-13 * offset * np.linalg.norm(new)


def test_a_small_component_is_no_rounding(global_random_seed):
    """1e-10 of the largest is a thousand times what rounding leaves."""
    rng = np.random.default_rng(global_random_seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, 2)))[0] for n in (30, 12))
    model = PrecGDFactorization(4).fit((u * [1.0, 1e-10]) @ v.T)
    row = 3.0 * v[:, 1]
    visible = np.where(np.arange(12) < 8, row, np.nan)
    # What remains of the error is that of the direction itself.
    assert_allclose(completed(model, visible[None])[0], row, atol=1e-4)


def test_complete_rows_are_projected_on_all_components(global_random_seed):
    X, holes, _ = low_rank(global_random_seed)
    model = PrecGDFactorization(10).fit(X)
    rng = np.random.default_rng(global_random_seed)
    rows = rng.standard_normal((5, 20))
    expected = rows @ model.components_.T
    assert_array_equal(model.transform(rows), expected)
    # Also beside rows with holes.
    mixed = model.transform(np.vstack([rows, holes]))
    assert_allclose(mixed[:5], expected, atol=1e-12)


def test_components_that_the_ridge_removed(global_random_seed):
    X, holes, _ = low_rank(global_random_seed, rank=8)
    s = np.linalg.svd(X, compute_uv=False)
    model = PrecGDFactorization(6, alpha=0.5 * (s[3] + s[4])).fit(X)
    assert_array_equal(model.singular_values_[4:], 0.0)
    fitted = model.left_ @ model.right_.T
    assert_allclose(completed(model, X), fitted, atol=1e-10 * s[0])
    assert_array_equal(model.transform(holes)[:, 4:], 0.0)


def test_data_that_are_all_zero():
    model = PrecGDFactorization(2).fit(np.zeros((6, 4)))
    rows = np.array([[np.nan, 1.0, 2.0, 3.0]])
    assert_array_equal(model.transform(rows), np.zeros((1, 2)))


# --------------------------------------------------------------------------------------
# Counts of any size
# --------------------------------------------------------------------------------------


def small_counts(seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20)) / 2
    return rng.poisson(np.exp(z)).astype(dtype)


def fitted_to_counts(X):
    return PrecGDFactorization(5, loss="poisson", alpha=0, random_state=0).fit(X)


def slopes_of_rows(model, z, rows):
    """Slopes of the loss in each coordinate, as shares of the sums that cancel."""
    visible = ~np.isnan(rows)
    means = np.exp(np.where(visible, z @ model.components_, 0))
    pull = np.where(visible, means - rows, 0) @ model.components_.T
    return np.abs(pull) / np.nansum(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("unit", [1e3, 1e6, 1e10, 1e12, 1e14, 1e18, 1e24])
@pytest.mark.parametrize("holes", [False, True])
def test_coordinates_of_counts_in_other_units(unit, holes, global_random_seed):
    """Where the counts outweigh the prior, they are the most likely ones."""
    X = small_counts(global_random_seed)
    model = fitted_to_counts(X)
    rows = unit * (X[:3] + 1)
    if holes:
        rows[:, ::4] = np.nan
    z = model.transform(rows)
    assert np.all(slopes_of_rows(model, z, rows) < 1e4 / unit + 1e-9)


@pytest.mark.parametrize("unit", [1e-300, 1e100, 1e280])
def test_coordinates_of_counts_beyond_all_bounds(unit, global_random_seed):
    X = small_counts(global_random_seed)
    assert np.all(np.isfinite(fitted_to_counts(X).transform(unit * X[:3])))


def test_coordinates_of_large_counts_in_single_precision(global_random_seed):
    X = small_counts(global_random_seed, np.float32)
    model = fitted_to_counts(X)
    rows = np.float32(1e12) * (X[:3] + 1)
    z = model.transform(rows)
    assert z.dtype == np.float32
    double = fitted_to_counts(X.astype(np.float64))
    double.components_ = model.components_.astype(np.float64)
    assert_allclose(z, double.transform(rows.astype(np.float64)), rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e3, 1e7, 1e10])
def test_rows_of_large_counts_are_found_again(size, dtype, global_random_seed):
    """Those fitted already, and what was hidden of them from what is left."""
    rng = np.random.default_rng(global_random_seed)
    z = np.outer(rng.standard_normal(40), rng.standard_normal(30))
    X = rng.poisson(size * np.exp(z / z.std())).astype(dtype)
    model = PrecGDFactorization(4, loss="poisson", random_state=0).fit(X)
    fitted = model.left_ @ model.right_.T
    again = model.transform(X) @ model.components_
    assert_allclose(again, fitted, atol=5 * size**-0.5 + 1e-3 * (dtype == np.float32))
    assert model.score(X) > 0.9
