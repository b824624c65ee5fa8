"""The unknown: factors of a low-rank matrix and their tangent vectors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd.factors import FactorPair, SymmetricFactor


def pair(rng, n_rows=7, n_columns=5, rank=3, dtype=np.float64):
    return FactorPair(
        rng.standard_normal((n_rows, rank)).astype(dtype),
        rng.standard_normal((n_columns, rank)).astype(dtype),
    )


def symmetric(rng, n=7, rank=3, dtype=np.float64):
    return SymmetricFactor(rng.standard_normal((n, rank)).astype(dtype))


MAKERS = pytest.mark.parametrize("make", [pair, symmetric])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def close(found, expected, dtype=np.float64, factor=100):
    size = max(np.linalg.norm(expected), np.finfo(dtype).tiny)
    relative_error = np.linalg.norm(found - expected) / size
    assert relative_error <= factor * np.finfo(dtype).eps


@MAKERS
@DTYPES
def test_shapes_and_dtype(make, dtype, rng):
    factors = make(rng, dtype=dtype)
    assert factors.rank == 3
    assert factors.dtype == dtype
    assert factors.matrix_shape == factors.matrix().shape
    assert factors.matrix().dtype == dtype
    close(factors.matrix(), factors.left @ factors.right.T, dtype)


def test_symmetric_factor_is_one_array(rng):
    factor = symmetric(rng)
    # The very object: measurements look for it, to do half the work.
    assert factor.left is factor.right
    close(factor.matrix(), factor.matrix().T)


@MAKERS
@DTYPES
def test_svd(make, dtype, rng):
    factors = make(rng, dtype=dtype)
    u, s, v = factors.svd()
    assert (u.shape, s.shape, v.shape) == (
        (factors.matrix_shape[0], 3),
        (3,),
        (factors.matrix_shape[1], 3),
    )
    close((u * s) @ v.T, factors.matrix(), dtype)
    close(u.T @ u, np.eye(3), dtype)
    close(v.T @ v, np.eye(3), dtype)
    assert np.all(np.diff(s) <= 0)
    close(s, np.linalg.svd(factors.matrix(), compute_uv=False)[:3], dtype)
    close(factors.singular_values(), s, dtype)


@MAKERS
def test_svd_resolves_small_singular_values(make, rng):
    # By QR of the factors; from Gram matrices 1e-10 would be lost.
    scales = np.array([1.0, 1e-5, 1e-10])
    q = np.linalg.qr(rng.standard_normal((7, 3)))[0] * np.sqrt(scales)
    w = np.linalg.qr(rng.standard_normal((5, 3)))[0] * np.sqrt(scales)
    factors = FactorPair(q, w) if make is pair else SymmetricFactor(q)
    np.testing.assert_allclose(factors.singular_values(), scales, rtol=1e-5)


@MAKERS
def test_balanced(make, rng):
    factors = make(rng)
    balanced = factors.balanced()
    close(balanced.matrix(), factors.matrix())
    gram = np.diag(factors.singular_values())
    close(balanced.left.T @ balanced.left, gram)
    close(balanced.right.T @ balanced.right, gram)


@MAKERS
def test_truncated_is_the_best_approximation(make, rng):
    factors = make(rng)
    truncated = factors.truncated(2)
    assert truncated.rank == 2
    assert type(truncated) is type(factors)
    u, s, vt = np.linalg.svd(factors.matrix())
    close(truncated.matrix(), (u[:, :2] * s[:2]) @ vt[:2])


@MAKERS
@DTYPES
def test_grown_adds_a_matrix(make, dtype, rng):
    factors = make(rng, dtype=dtype)
    n_rows, n_columns = factors.matrix_shape
    u = np.linalg.qr(rng.standard_normal((n_rows, 2)))[0]
    v = u if make is symmetric else np.linalg.qr(rng.standard_normal((n_columns, 2)))[0]
    s = np.array([2.0, 0.5])
    grown = factors.grown(u, s, v)
    assert grown.rank == 5
    assert grown.dtype == dtype
    close(grown.matrix(), factors.matrix() + (u * s) @ v.T, dtype)


@MAKERS
@DTYPES
def test_from_svd_inverts_svd(make, dtype, rng):
    factors = make(rng, dtype=dtype)
    close(type(factors).from_svd(*factors.svd()).matrix(), factors.matrix(), dtype)


@MAKERS
@DTYPES
def test_arithmetic_of_tangent_vectors(make, dtype, rng):
    point, direction = make(rng, dtype=dtype), make(rng, dtype=dtype)
    moved = point.moved(direction, 0.3)
    assert moved.dtype == dtype
    for b, p, d in zip(moved.blocks, point.blocks, direction.blocks, strict=True):
        close(b, p + dtype(0.3) * d, dtype)
    for b, p in zip(point.times(-2.0).blocks, point.blocks, strict=True):
        np.testing.assert_array_equal(b, -2 * p)
    expected = sum(
        float(np.sum(a.astype(float) * b))
        for a, b in zip(point.blocks, direction.blocks, strict=True)
    )
    assert point.inner(direction) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@MAKERS
@DTYPES
def test_flat_numbers_take_their_shapes_again(make, dtype, rng):
    factors = make(rng, dtype=dtype)
    numbers = factors.flat()
    assert numbers.shape == (sum(b.size for b in factors.blocks),)
    again = factors.times(0.0).shaped(numbers)
    assert type(again) is type(factors)
    for found, expected in zip(again.blocks, factors.blocks, strict=True):
        np.testing.assert_array_equal(found, expected)


@MAKERS
@DTYPES
def test_every_block_times_its_own_matrix(make, dtype, rng):
    factors = make(rng, dtype=dtype)
    size = (factors.rank, factors.rank)
    matrices = [rng.standard_normal(size).astype(dtype) for _ in factors.blocks]
    for found, block, matrix in zip(
        factors.times_right(matrices).blocks, factors.blocks, matrices, strict=True
    ):
        close(found, block @ matrix, dtype)


def test_the_factor_beside_a_block_times_the_blocks_matrix(rng):
    matrices = rng.standard_normal((2, 3, 3))
    factors = pair(rng)
    found = factors.other_times_right(matrices)
    close(found.left, factors.left @ matrices[1])
    close(found.right, factors.right @ matrices[0])
    factor = symmetric(rng)
    found = factor.other_times_right(matrices[:1])
    close(found.left, factor.left @ matrices[0])


@MAKERS
@DTYPES
@pytest.mark.parametrize("count", [0, 1, 3])
def test_without_the_last_columns(make, dtype, count, rng):
    factors = make(rng, dtype=dtype)
    found = factors.without_last(count)
    assert found.dtype == dtype
    assert found.rank == 3
    matrix = factors.left[:, : 3 - count] @ factors.right[:, : 3 - count].T
    close(found.matrix(), matrix, dtype)


@MAKERS
def test_scaled_scales_the_matrix(make, rng):
    factors = make(rng)
    close(factors.scaled(4e-100).matrix(), 4e-100 * factors.matrix())


@MAKERS
def test_points_are_immutable_in_use(make, rng):
    factors = make(rng)
    before = [b.copy() for b in factors.blocks]
    direction = make(rng)
    factors.moved(direction, 0.5)
    factors.times(2.0)
    factors.balanced()
    factors.truncated(1)
    factors.metric_grams()
    for block, copy in zip(factors.blocks, before, strict=True):
        np.testing.assert_array_equal(block, copy)


@MAKERS
def test_ridge_is_twice_the_nuclear_norm_when_balanced(make, rng):
    factors = make(rng)
    nuclear = np.sum(factors.singular_values())
    assert factors.balanced().ridge() == pytest.approx(2 * nuclear, rel=1e-12)
    assert factors.ridge() >= 2 * nuclear * (1 - 1e-12)


def test_metric_grams_are_those_of_the_other_factor(rng):
    factors = pair(rng)
    grams = factors.metric_grams()
    close(grams[0], factors.right.T @ factors.right)
    close(grams[1], factors.left.T @ factors.left)
    factor = symmetric(rng)
    assert len(factor.metric_grams()) == 1
    close(factor.metric_grams()[0], factor.left.T @ factor.left)


@pytest.mark.parametrize(
    "wrap", [np.asarray, sparse.csr_array, sparse.csc_array, aslinearoperator]
)
@MAKERS
def test_gradient_from_is_the_chain_rule(wrap, make, rng):
    factors, direction = make(rng), make(rng)
    # Not symmetric, for the symmetric factor too: measurements need not be.
    adjoint = rng.standard_normal(factors.matrix_shape)
    gradient = factors.gradient_from(wrap(adjoint))
    tangent = direction.left @ factors.right.T + factors.left @ direction.right.T
    assert gradient.inner(direction) == pytest.approx(
        float(np.sum(adjoint * tangent)), rel=1e-11, abs=1e-11
    )


def test_symmetric_svd_of_more_columns_than_rank(rng):
    x = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 4))
    s = SymmetricFactor(x).singular_values()
    assert s.shape == (4,)
    assert np.all(s >= 0)
    assert np.all(s[2:] <= 1e-14 * s[0])


@pytest.mark.parametrize("shape", [(1, 6, 1), (6, 1, 1), (4, 4, 4), (1, 1, 1)])
def test_extreme_shapes(shape, rng):
    n_rows, n_columns, rank = shape
    factors = pair(rng, n_rows, n_columns, rank)
    close(factors.balanced().matrix(), factors.matrix())
    if n_rows == n_columns:
        factor = symmetric(rng, n_rows, rank)
        close(factor.balanced().matrix(), factor.matrix())


@given(exponent=st.integers(-140, 140), seed=st.integers(0, 2**32 - 1))
def test_balancing_at_any_scale(exponent, seed):
    """Neither overflow nor underflow, also when one factor is huge and one tiny."""
    factors = pair(np.random.default_rng(seed))
    unbalanced = FactorPair(
        factors.left * 10.0**exponent, factors.right * 10.0**-exponent
    )
    close(unbalanced.balanced().matrix(), factors.matrix(), factor=1e3)


@MAKERS
def test_zero_matrix(make):
    factors = make(np.random.default_rng(0)).times(0.0)
    assert np.all(factors.singular_values() == 0)
    assert np.all(factors.balanced().matrix() == 0)
    assert factors.ridge() == 0


@MAKERS
def test_pickle(make, rng):
    factors = make(rng)
    again = pickle.loads(pickle.dumps(factors))
    assert type(again) is type(factors)
    np.testing.assert_array_equal(again.matrix(), factors.matrix())


@MAKERS
def test_integer_arrays_become_floating(make):
    """A step of 0.5 in integer arithmetic would silently be no step."""
    factors = make(np.random.default_rng(0)).times(10.0)
    whole = type(factors)(*(np.rint(b).astype(int) for b in factors.blocks))
    half = whole.times(0.5)
    close(half.matrix(), 0.25 * whole.matrix().astype(float))


def test_factors_with_different_ranks_are_refused():
    with pytest.raises(ValueError, match=r"columns|rank"):
        FactorPair(np.ones((4, 2)), np.ones((3, 1)))
