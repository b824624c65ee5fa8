"""What counts as missing, and what is made of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import make_matrix_completion
from skprecgd.optim import RANK_SEARCHES

CENTERS = [None, "mean", "columns", "both"]
SPARSE = {
    "csr_array": sparse.csr_array,
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
}


def low_rank(shape, rank, seed, offset=0.0):
    rng = np.random.default_rng(seed)
    return offset + rng.standard_normal((shape[0], rank)) @ rng.standard_normal(
        (rank, shape[1])
    )


def holes(matrix, share, seed, missing=np.nan):
    """`matrix` with a random share of its entries missing, a quarter kept."""
    rng = np.random.default_rng([seed, 1])
    hidden = rng.random(matrix.shape) < share
    # Diagonals stay, so that every row and every column can be recovered.
    band = np.add.outer(np.arange(matrix.shape[0]), np.arange(matrix.shape[1]))
    hidden &= band % 4 > 0
    return np.where(hidden, missing, matrix)


def search_rank(rank_search, rank):
    """An upper bound for the path; the rank itself where nothing limits overfitting."""
    return rank if rank_search == "fixed" else rank + 2


def completed(model, X):
    return model.inverse_transform(model.fit_transform(X))


def relative(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


# -- the rules --------------------------------------------------------------------


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_nan_in_dense_is_missing(rank_search, order, global_random_seed):
    truth = low_rank((40, 25), 2, global_random_seed)
    X = np.asarray(holes(truth, 0.4, global_random_seed), order=order)
    before = X.copy()
    model = PrecGDFactorization(search_rank(rank_search, 2), rank_search=rank_search)
    assert relative(completed(model, X), truth) < 1e-7
    assert_array_equal(X, before)


def test_zeros_of_dense_are_values_by_default(global_random_seed):
    # Rows 0 to 9 are exact zeros, hidden entries are NaN.
    truth = low_rank((40, 25), 2, global_random_seed)
    truth[:10] = 0.0
    X = holes(truth, 0.4, global_random_seed)
    result = completed(PrecGDFactorization(3), X)
    assert relative(result, truth) < 1e-7
    assert np.abs(result[:10]).max() < 1e-6


@pytest.mark.parametrize("container", SPARSE)
def test_not_stored_is_zero_by_default(container, global_random_seed):
    dense = low_rank((15, 9), 4, global_random_seed)
    dense[np.abs(dense) < 1.0] = 0.0
    X = SPARSE[container](dense)
    model = PrecGDFactorization(3).fit(X)
    same = PrecGDFactorization(3).fit(dense)
    assert_allclose(model.singular_values_, same.singular_values_, rtol=1e-10)
    assert_allclose(model.transform(X), same.transform(dense), atol=1e-9)
    assert model.n_components_ == 3


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
def test_zero_means_missing_on_request(rank_search, global_random_seed):
    truth = low_rank((40, 25), 2, global_random_seed)
    X = holes(truth, 0.4, global_random_seed, missing=0.0)
    model = PrecGDFactorization(
        search_rank(rank_search, 2), missing_values=0, rank_search=rank_search
    )
    assert relative(completed(model, X), truth) < 1e-7


@pytest.mark.parametrize("container", SPARSE)
@pytest.mark.parametrize("center", CENTERS)
def test_sparse_equals_dense(container, center, global_random_seed):
    truth = low_rank((30, 20), 2, global_random_seed, offset=2.0)
    dense = holes(truth, 0.4, global_random_seed)
    stored = np.nan_to_num(dense, nan=0.0)
    options = {"n_components": 4, "center": center, "random_state": 0}
    options |= {"max_iter": 10, "tol": 0, "early_stopping": False}
    from_nan = PrecGDFactorization(**options)
    from_zero = PrecGDFactorization(missing_values=0, **options)
    from_sparse = PrecGDFactorization(missing_values=0, **options)
    z = from_nan.fit_transform(dense)
    assert_array_equal(from_zero.fit_transform(stored), z)
    assert_array_equal(from_sparse.fit_transform(SPARSE[container](stored)), z)
    assert_array_equal(from_sparse.components_, from_nan.components_)
    assert_array_equal(from_sparse.center_, from_nan.center_)
    assert from_sparse.score(SPARSE[container](stored)) == from_nan.score(dense)


@pytest.mark.parametrize("container", ["csr_array", "csc_array"])
def test_explicit_zeros_are_observed(container, global_random_seed):
    truth = low_rank((30, 20), 2, global_random_seed)
    truth[:, :4] = 0.0
    dense = holes(truth, 0.4, global_random_seed)
    cells = np.nonzero(~np.isnan(dense))
    X = SPARSE[container](sparse.coo_array((dense[cells], cells), shape=dense.shape))
    assert X.nnz == len(cells[0])
    n_stored = X.nnz
    model = PrecGDFactorization(4, missing_values=0, random_state=0)
    with warnings.catch_warnings():
        # The first columns hold nothing but zeros, and are not empty.
        warnings.simplefilter("error")
        result = completed(model, X)
    assert X.nnz == n_stored
    same = PrecGDFactorization(4, random_state=0)
    assert_array_equal(result, completed(same, dense))


def test_dense_zeros_and_nan_are_never_confused(global_random_seed):
    truth = low_rank((30, 20), 2, global_random_seed)
    as_nan = holes(truth, 0.4, global_random_seed)
    as_zero = np.nan_to_num(as_nan, nan=0.0)
    # The same numbers, complete: the zeros are values, and spoil the rank.
    complete = PrecGDFactorization(2).fit(as_zero)
    missing = PrecGDFactorization(2).fit(as_nan)
    assert (
        relative(complete.inverse_transform(complete.transform(as_zero)), truth) > 0.1
    )
    assert relative(missing.inverse_transform(missing.transform(as_nan)), truth) < 1e-7


def test_complete_data_without_missing_values(global_random_seed):
    # missing_values=0 on a matrix without a zero: nothing is missing, and the fit
    # by entries finds what the fit of complete data finds.
    truth = low_rank((25, 16), 3, global_random_seed)
    complete = PrecGDFactorization(3).fit(truth)
    entries = PrecGDFactorization(5, missing_values=0).fit(truth)
    assert entries.n_components_ == 3
    assert_allclose(
        entries.singular_values_, complete.singular_values_, rtol=1e-6, atol=0
    )
    assert_allclose(
        entries.inverse_transform(entries.transform(truth)), truth, atol=1e-6
    )


def test_integers_and_float32(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    truth = np.outer(rng.integers(1, 5, 30), rng.integers(1, 5, 20))
    X = holes(truth, 0.3, global_random_seed, missing=0).astype(np.int64)
    for data, dtype in [(X, np.float64), (X.astype(np.float32), np.float32)]:
        model = PrecGDFactorization(1, missing_values=0, tol=1e-5)
        z = model.fit_transform(data)
        assert z.dtype == model.components_.dtype == dtype
        assert relative(model.inverse_transform(z), truth) < 1e-4


def test_entries_as_samples_agree(global_random_seed):
    # The same problem, taken the other way in.
    truth = low_rank((40, 25), 2, global_random_seed)
    X = holes(truth, 0.4, global_random_seed)
    sensing = PrecGDMatrixSensing(4).fit(*observed_entries(X))
    result = completed(PrecGDFactorization(4), X)
    assert_allclose(sensing.matrix_, result, rtol=0, atol=1e-6 * np.abs(truth).max())


# -- transform --------------------------------------------------------------------


def test_missing_entries_after_a_complete_fit(global_random_seed):
    truth = low_rank((60, 20), 3, global_random_seed, offset=1.0)
    model = PrecGDFactorization(3, center="columns").fit(truth[:40])
    X = holes(truth[40:], 0.4, global_random_seed)
    z = model.transform(X)
    assert_allclose(z, model.transform(truth[40:]), atol=1e-7 * np.abs(truth).max())
    assert relative(model.inverse_transform(z), truth[40:]) < 1e-7


def test_complete_rows_after_an_incomplete_fit(global_random_seed):
    truth = low_rank((60, 20), 3, global_random_seed)
    model = PrecGDFactorization(5).fit(holes(truth[:40], 0.3, global_random_seed))
    for X in (truth[40:], sparse.csr_array(truth[40:])):
        z = model.transform(X)
        assert_allclose(z, truth[40:] @ model.components_.T, atol=1e-10)
        assert relative(model.inverse_transform(z), truth[40:]) < 1e-6


@pytest.mark.parametrize("center", CENTERS)
def test_row_without_entries(center, global_random_seed):
    truth = low_rank((40, 20), 2, global_random_seed, offset=2.0)
    model = PrecGDFactorization(4, center=center)
    model.fit(holes(truth, 0.3, global_random_seed))
    some = np.vstack([truth[:2], np.full((1, 20), np.nan)])
    for X in (some, some[2:]):
        z = model.transform(X)
        assert_array_equal(z[-1], np.zeros(model.n_components_))
        assert_array_equal(model.inverse_transform(z)[-1], model.center_)


def test_row_with_too_few_entries_gets_the_smallest_fit(global_random_seed):
    truth = low_rank((40, 20), 3, global_random_seed)
    model = PrecGDFactorization(3).fit(truth)
    row = np.full((1, 20), np.nan)
    row[0, 5] = 2.0
    z = model.transform(row)
    direction = model.components_[:, 5]
    assert_allclose(z[0], 2.0 * direction / (direction @ direction), rtol=1e-8)
    assert_allclose(model.inverse_transform(z)[0, 5], 2.0, rtol=1e-8)


def test_rows_are_transformed_one_by_one(global_random_seed):
    truth = low_rank((40, 20), 3, global_random_seed)
    X = holes(truth, 0.4, global_random_seed)
    model = PrecGDFactorization(4).fit(X)
    alone = np.vstack([model.transform(row[np.newaxis]) for row in X])
    assert_allclose(alone, model.transform(X), rtol=0, atol=1e-8 * np.abs(alone).max())


# -- centres ----------------------------------------------------------------------


def test_what_the_centres_are(global_random_seed):
    """The mean is one number; the others are means of the completed columns."""
    truth = low_rank((30, 12), 2, global_random_seed, offset=3.0)
    X = holes(truth, 0.4, global_random_seed)
    options = {"n_components": 2, "max_iter": 5, "tol": 0, "alpha": 0}
    options["early_stopping"] = False
    fit = {c: PrecGDFactorization(center=c, **options).fit(X) for c in CENTERS}
    assert_array_equal(fit[None].center_, np.zeros(12))
    assert np.ptp(fit["mean"].center_) == 0
    for center in ("columns", "both"):
        model = fit[center]
        matrix = model.left_ @ model.right_.T + model.center_
        assert_allclose(model.center_, matrix.mean(axis=0), rtol=1e-12)


def test_centre_of_complete_data(global_random_seed):
    dense = low_rank((30, 12), 2, global_random_seed, offset=3.0)
    dense[dense < 1.0] = 0.0
    for X in (dense, sparse.csr_array(dense), sparse.csc_array(dense)):
        fit = {c: PrecGDFactorization(3, center=c).fit(X) for c in CENTERS}
        assert_array_equal(fit[None].center_, np.zeros(12))
        assert_allclose(fit["mean"].center_, np.full(12, dense.mean()), rtol=1e-12)
        assert_allclose(fit["columns"].center_, dense.mean(axis=0), rtol=1e-12)
        assert_allclose(fit["both"].center_, dense.mean(axis=0), rtol=1e-12)
        for center in CENTERS:
            # The recovered matrix is the factors plus the centre, and transform
            # followed by inverse_transform arrives at it.
            model = fit[center]
            matrix = model.left_ @ model.right_.T + model.center_
            result = model.inverse_transform(model.transform(X))
            assert_allclose(result, matrix, rtol=0, atol=1e-9 * dense.max())


def test_nothing_but_offsets(global_random_seed):
    """Row and column offsets, and no component that stands for anything."""
    rng = np.random.default_rng(global_random_seed)
    truth = rng.standard_normal(30)[:, np.newaxis] + rng.standard_normal(20) + 4.0
    X = holes(truth, 0.4, global_random_seed)
    for data in (X, truth):
        model = PrecGDFactorization(1, center="both")
        assert relative(completed(model, data), truth) < 1e-9
        assert model.n_components_ == 2
        s = model.singular_values_
        assert s[1] <= 1e-12 * s[0]
        # The constant row spans the row space.
        assert_allclose(np.abs(model.components_[0]), 1 / np.sqrt(20), rtol=1e-9)


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_row_offsets_are_one_component_more(n_components, global_random_seed):
    truth = low_rank((30, 20), 2, global_random_seed, offset=3.0)
    X = holes(truth, 0.3, global_random_seed)
    options = {"center": "both", "max_iter": 9, "tol": 0, "alpha": 0}
    options["early_stopping"] = False
    for data in (X, truth):
        model = PrecGDFactorization(n_components, **options).fit(data)
        assert model.n_components_ <= n_components + 1
        assert model.components_.shape == (model.n_components_, 20)
        assert_allclose(
            model.components_ @ model.components_.T,
            np.eye(model.n_components_),
            atol=1e-10,
        )


def test_offsets_alone_are_a_least_squares_fit(global_random_seed):
    """A ridge above the data leaves no component, and is not on the offsets."""
    rng = np.random.default_rng(global_random_seed)
    X = holes(rng.standard_normal((12, 9)), 0.4, global_random_seed)
    rows, columns = np.nonzero(~np.isnan(X))
    design = np.zeros((len(rows), 12 + 9))
    design[np.arange(len(rows)), rows] = 1.0
    design[np.arange(len(rows)), 12 + columns] = 1.0
    y = X[rows, columns]
    expected = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    model = PrecGDFactorization(1, center="both", alpha=1e3).fit(X)
    fitted = model.left_ @ model.right_.T + model.center_
    assert_allclose(fitted[rows, columns], expected, rtol=0, atol=1e-9)


# -- invariances ------------------------------------------------------------------


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("complete", [True, False])
def test_fit_transform_is_fit_then_transform(center, complete, global_random_seed):
    X = low_rank((30, 20), 2, global_random_seed, offset=1.0)
    if not complete:
        X = holes(X, 0.4, global_random_seed)
    options = {"n_components": 3, "center": center, "random_state": 0, "alpha": 0.1}
    options |= {"max_iter": 20, "tol": 0}
    together = PrecGDFactorization(**options)
    apart = PrecGDFactorization(**options)
    assert_array_equal(together.fit_transform(X), apart.fit(X).transform(X))
    assert_array_equal(together.components_, apart.components_)


# Ten steps from the spectral start on data of full rank: an order of rows or columns
# must not show, converged or not.
TEN_STEPS = {
    "n_components": 3,
    "alpha": 0,
    "solver": "precgd",
    "rank_search": "fixed",
    "max_iter": 10,
    "tol": 0,
}


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(CENTERS), st.floats(0.0, 0.5))
def test_permutation(seed, center, share):
    rng = np.random.default_rng(seed)
    X = holes(rng.standard_normal((24, 16)) + 1.0, share, seed)
    rows, columns = rng.permutation(24), rng.permutation(16)
    plain = completed(PrecGDFactorization(center=center, **TEN_STEPS), X)
    permuted = completed(
        PrecGDFactorization(center=center, **TEN_STEPS), X[rows][:, columns]
    )
    assert relative(permuted, plain[rows][:, columns]) < 1e-7


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, "mean", "both"]))
def test_transpose(seed, center):
    rng = np.random.default_rng(seed)
    X = holes(rng.standard_normal((24, 16)) + 1.0, 0.3, seed)
    model = PrecGDFactorization(center=center, **TEN_STEPS).fit(X)
    flipped = PrecGDFactorization(center=center, **TEN_STEPS).fit(X.T)
    matrix = model.left_ @ model.right_.T + model.center_
    transposed = flipped.left_ @ flipped.right_.T + flipped.center_
    assert relative(transposed, matrix.T) < 1e-7


def test_generated_problems(global_random_seed):
    X, truth = make_matrix_completion(
        60,
        40,
        rank=3,
        oversampling=5,
        min_per_line=6,
        format="sparse",
        condition_number=100,
        random_state=global_random_seed,
    )
    model = PrecGDFactorization(8, missing_values=0)
    assert truth.relative_error(completed(model, X)) < 1e-6
