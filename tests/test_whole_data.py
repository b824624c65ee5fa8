"""A loose bound on outliers does no harm where few numbers explain the data.

A bound above the true share leaves room for wrong matrices: what disagrees with one is
left out. With every measurement explained at no higher rank, there is nothing to leave
out; and a few errors are errors, not components of a higher rank, nor one among many.
"""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing

N_DRAWS = 4
BOUNDS = [0.1, "auto"]


def low_rank(rng, shape, rank):
    return rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))


def two_thirds_of(matrix, rng):
    X = matrix.copy()
    X.flat[rng.permutation(X.size)[: X.size // 3]] = np.nan
    return X


def sums_over_ranges(rng, shape, n):
    """Each measurement is the sum over a range of a row."""
    A = np.zeros((n, *shape))
    for one in A:
        row = rng.integers(shape[0])
        first, last = np.sort(rng.choice(shape[1] + 1, 2, replace=False))
        one[row, first:last] = 1
    return A


def with_errors(matrix, rng, errors):
    """The matrix with these errors, and where they are, in rows."""
    X, wrong = matrix.copy(), np.zeros(matrix.shape, dtype=bool)
    places = rng.permutation(X.size)[: len(errors)]
    X.flat[places] += errors
    wrong.flat[places] = True
    return X, wrong


def relative_error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
def test_entries_without_errors(shape, bound, global_random_seed):
    """400 of 600 entries of rank 2: a third component explained nothing but errors."""
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([global_random_seed, draw])
        matrix = low_rank(rng, shape, 2)
        X = two_thirds_of(matrix, rng)
        model = PrecGDFactorization(5, outlier_fraction=bound).fit(X)
        assert model.n_components_ == 2
        assert model.outliers_.nnz == 0
        assert model.converged_
        assert relative_error(model.left_ @ model.right_.T, matrix) < 1e-6


@pytest.mark.parametrize("bound", BOUNDS)
def test_sums_that_overlap_without_errors(bound, global_random_seed):
    """Two opposite errors in neighbours agree with every sum of both or of neither."""
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([global_random_seed, draw])
        matrix = low_rank(rng, (20, 16), 2)
        A = sums_over_ranges(rng, matrix.shape, 700)
        y = np.einsum("kij,ij->k", A, matrix)
        model = PrecGDMatrixSensing(5, outlier_fraction=bound, random_state=0)
        model.fit(A, y)
        assert model.n_components_ == 2
        assert not model.outliers_.any()
        assert model.converged_
        assert relative_error(model.matrix_, matrix) < 1e-6


def test_a_fixed_rank(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    matrix = low_rank(rng, (20, 16), 2)
    A = sums_over_ranges(rng, matrix.shape, 700)
    y = np.einsum("kij,ij->k", A, matrix)
    model = PrecGDMatrixSensing(2, outlier_fraction="auto", rank_search="fixed")
    model.fit(A, y)
    assert not model.outliers_.any()
    assert relative_error(model.matrix_, matrix) < 1e-6


def test_the_reason_is_said(global_random_seed):
    """It is the second search that explained the data."""
    rng = np.random.default_rng(global_random_seed)
    matrix = low_rank(rng, (20, 16), 2)
    A = sums_over_ranges(rng, matrix.shape, 700)
    y = np.einsum("kij,ij->k", A, matrix)
    model = PrecGDMatrixSensing(5, outlier_fraction="auto", random_state=0).fit(A, y)
    assert "explains the measurements that a fit with outliers" in model.stop_reason_
    assert model.n_iter_ >= len(model.history_) / 2


@pytest.mark.parametrize("bound", BOUNDS)
def test_true_errors_cost_a_few_steps_more(bound, global_random_seed):
    """Those that find out that nothing without outliers explains the data."""
    A, y, truth = make_matrix_sensing(
        12,
        10,
        rank=2,
        n_measurements=250,
        outlier_fraction=0.05,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(5, matrix_shape=(12, 10), outlier_fraction=bound)
    model.fit(A, y)
    assert np.count_nonzero(model.outliers_) == round(0.05 * len(y))
    assert truth.relative_error(model.matrix_) < 1e-6
    # That attempt is no part of the history.
    assert model.history_["relative_residual"][-1] < 1e-8
    n_steps = np.sum(np.isfinite(model.history_["step"]))
    assert n_steps < model.n_iter_ <= n_steps + 5


LOOSE_BOUNDS = [0.25, "auto"]


@pytest.mark.parametrize("bound", LOOSE_BOUNDS)
@pytest.mark.parametrize("n_wrong", [1, 4])
def test_a_few_wrong_entries_are_no_components(n_wrong, bound, global_random_seed):
    """Rank 3 and an error take fewer numbers than rank 4: 323 and not 424."""
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([global_random_seed, draw])
        matrix = low_rank(rng, (60, 50), 3)
        X, wrong = with_errors(matrix, rng, np.full(n_wrong, 100.0))
        model = PrecGDFactorization(6, outlier_fraction=bound).fit(X)
        assert model.n_components_ == 3
        assert np.array_equal(model.outliers_.toarray() != 0, wrong)
        assert model.converged_
        assert relative_error(model.left_ @ model.right_.T, matrix) < 1e-6


@pytest.mark.parametrize("bound", LOOSE_BOUNDS)
def test_a_hundredth_is_wrong_and_not_a_third(bound, global_random_seed):
    """A wrong matrix of rank 6 agreed with all but 874 entries of 3000."""
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([global_random_seed, draw])
        matrix = low_rank(rng, (60, 50), 3)
        X, wrong = with_errors(matrix, rng, 10 * rng.standard_normal(30))
        model = PrecGDFactorization(6, outlier_fraction=bound).fit(X)
        assert model.n_components_ == 3
        assert not np.any(model.outliers_.toarray()[~wrong])
        assert relative_error(model.left_ @ model.right_.T, matrix) < 1e-6


def test_the_tighter_bound_is_said():
    """Here both the whole data and the bound that was asked for mislead."""
    rng = np.random.default_rng(2)
    matrix = low_rank(rng, (60, 50), 3)
    X, wrong = matrix.copy(), rng.choice(matrix.size, 1, replace=False)
    X.flat[wrong] += 100
    model = PrecGDFactorization(6, outlier_fraction="auto").fit(X)
    assert "tighter bound on outliers" in model.stop_reason_
    # The same fit again is the end of itself.
    again = PrecGDFactorization(6, outlier_fraction="auto", warm_start=True)
    assert again.fit(X).fit(X).n_components_ == 3
    assert relative_error(again.left_ @ again.right_.T, matrix) < 1e-6


def test_fewer_outliers_at_a_fixed_rank(global_random_seed):
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([global_random_seed, draw])
        matrix = low_rank(rng, (60, 50), 3)
        X, wrong = with_errors(matrix, rng, np.full(4, 100.0))
        model = PrecGDFactorization(3, outlier_fraction="auto", rank_search="fixed")
        model.fit(X)
        assert np.array_equal(model.outliers_.toarray() != 0, wrong)
        assert relative_error(model.left_ @ model.right_.T, matrix) < 1e-6


def test_a_given_start_may_have_more_columns_than_are_tried():
    rng = np.random.default_rng(2)
    matrix = low_rank(rng, (60, 50), 3)
    X = matrix.copy()
    X.flat[rng.choice(matrix.size, 1, replace=False)] += 100
    init = rng.standard_normal((60, 4)), rng.standard_normal((50, 4))
    model = PrecGDFactorization(6, outlier_fraction="auto", init=init).fit(X)
    assert np.all(np.isfinite(model.left_))
