"""Starts: spectral, Nystrom, random, given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles
from scipy.sparse.linalg import aslinearoperator

from skprecgd._linalg.leading import leading_eigenpairs, leading_right, leading_triplets
from skprecgd.datasets import make_low_rank, make_matrix_sensing
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.initialization import (
    STARTS,
    make_start,
    nystrom,
    random,
    spectral,
)
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.objective import FullObjective, make_objective
from skprecgd.unknown.base import unknown_of

SYMMETRIC = pytest.mark.parametrize("symmetric", [False, True], ids=["pair", "psd"])


def problem(rng, symmetric=False, dtype=np.float64, n=40):
    shape = (6, 6) if symmetric else (6, 5)
    measurements = DenseMeasurements(rng.standard_normal((n, *shape)).astype(dtype))
    return make_objective(measurements, rng.standard_normal(n))


def back_projection(objective):
    identity = np.eye(objective.matrix_shape[1], dtype=objective.dtype)
    return -np.asarray(objective.matrix_gradient_at_zero() @ identity)


# --------------------------------------------------------------------------------------
# Spectral
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_spectral_is_the_truncated_svd_of_the_back_projection(rank, rng):
    objective = problem(rng)
    start = spectral(objective, rank)
    assert type(start) is FactorPair
    assert start.rank == rank
    u, s, vt = np.linalg.svd(back_projection(objective))
    np.testing.assert_allclose(
        start.matrix(), (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-12 * s[0]
    )
    # Balanced, singular values descending.
    for block in start.blocks:
        np.testing.assert_allclose(block.T @ block, np.diag(s[:rank]), atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_symmetric_spectral_takes_the_positive_part(rank, rng):
    objective = problem(rng, symmetric=True)
    start = spectral(objective, rank, symmetric=True)
    assert type(start) is SymmetricFactor
    assert start.rank == rank
    B = back_projection(objective)
    values, vectors = np.linalg.eigh((B + B.T) / 2)
    kept = np.argsort(values)[::-1][:rank]
    positive = np.maximum(values[kept], 0)
    np.testing.assert_allclose(
        start.matrix(),
        (vectors[:, kept] * positive) @ vectors[:, kept].T,
        atol=1e-12 * np.abs(values).max(),
    )


def test_symmetric_spectral_of_a_negative_matrix_is_zero(rng):
    x = rng.standard_normal((6, 2))
    start = spectral(FullObjective(-x @ x.T), 3, symmetric=True)
    assert start.rank == 3
    np.testing.assert_allclose(start.matrix(), 0, atol=1e-12)


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
def test_spectral_of_complete_data_is_the_truncated_svd(wrap, rng):
    X = rng.standard_normal((7, 5))
    u, s, vt = np.linalg.svd(X, full_matrices=False)
    start = spectral(FullObjective(wrap(X)), 2)
    np.testing.assert_allclose(start.matrix(), (u[:, :2] * s[:2]) @ vt[:2], atol=1e-12)


@SYMMETRIC
def test_spectral_is_near_the_truth(symmetric, global_random_seed):
    """Normalised, the back-projection is the truth plus sampling noise."""
    A, y, truth = make_matrix_sensing(
        8,
        rank=2,
        n_measurements=6000,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    objective = make_objective(DenseMeasurements(50 * A, (8, 8)), 50 * y)
    start = spectral(objective, 2, symmetric=symmetric)
    assert truth.relative_error(start.left, start.right) < 0.25


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["entries", "sparse", "dense"])
def test_spectral_of_a_large_matrix(kind, symmetric, global_random_seed):
    """Where the decomposition is iterative."""
    n, rank = 260, 3
    truth = make_low_rank(
        n,
        rank=3,
        condition_number=5.0,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    rng = np.random.default_rng(global_random_seed)
    if kind == "entries":
        rows, columns = np.divmod(rng.permutation(n * n)[:20_000], n)
        measurements = EntryMeasurements(rows, columns, (n, n))
        objective = make_objective(measurements, truth.entries(rows, columns))
    else:
        wrap = np.asarray if kind == "dense" else sparse.csr_array
        objective = FullObjective(wrap(truth.matrix))
    start = spectral(
        objective, rank, symmetric=symmetric, random_state=global_random_seed
    )
    B = back_projection(objective)
    if symmetric:
        values, vectors = np.linalg.eigh((B + B.T) / 2)
        expected = (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T
    else:
        u, s, vt = np.linalg.svd(B)
        expected = (u[:, :rank] * s[:rank]) @ vt[:rank]
    error = np.linalg.norm(start.matrix() - expected)
    assert error < 1e-8 * np.linalg.norm(expected)
    again = spectral(
        objective, rank, symmetric=symmetric, random_state=global_random_seed
    )
    np.testing.assert_array_equal(start.left, again.left)


@pytest.mark.parametrize("rank", [1, 3, 4])
@SYMMETRIC
def test_spectral_of_a_large_matrix_of_lower_rank(rank, symmetric, rng):
    """A rank-2 matrix has only two triplets to give; the others are zero."""
    x = rng.standard_normal((260, 2))
    X = x @ x.T if symmetric else x @ rng.standard_normal((2, 240))
    start = spectral(
        FullObjective(sparse.csr_array(X)), rank, symmetric=symmetric, random_state=0
    )
    assert start.rank == rank
    s = np.linalg.svd(X, compute_uv=False)
    found = np.zeros(rank)
    found[:] = start.singular_values()
    np.testing.assert_allclose(found, s[:rank], atol=1e-6 * s[0])


@pytest.mark.parametrize("n", [6, 260])
@SYMMETRIC
@pytest.mark.parametrize("name", sorted(STARTS))
def test_all_data_zero(name, symmetric, n):
    objective = FullObjective(sparse.csr_array((n, n)))
    start = STARTS[name](objective, 2, symmetric=symmetric, random_state=0)
    assert start.rank == 2
    assert np.all(start.matrix() == 0)
    assert all(np.all(np.isfinite(b)) for b in start.blocks)


# --------------------------------------------------------------------------------------
# Nystrom
# --------------------------------------------------------------------------------------


@SYMMETRIC
def test_nystrom_lies_in_the_range(symmetric, global_random_seed):
    truth = make_low_rank(
        9, rank=3, symmetric=symmetric, random_state=global_random_seed
    )
    objective = FullObjective(truth.matrix)
    start = nystrom(objective, 3, symmetric=symmetric, random_state=global_random_seed)
    assert start.rank == 3
    assert np.max(subspace_angles(start.left, truth.left)) < 1e-6
    assert np.linalg.norm(start.left) == pytest.approx(np.sqrt(objective.data_norm))
    if not symmetric:
        assert np.all(start.right == 0)


def test_nystrom_is_a_sketch_of_the_back_projection(rng):
    objective = problem(rng)
    start = nystrom(objective, 2, random_state=0)
    # As many columns as there are: the two combinations that show most of B.
    sketch = np.random.RandomState(0).standard_normal((5, 5))
    seen = back_projection(objective) @ sketch
    u, s, _ = np.linalg.svd(seen)
    scale = np.linalg.norm(start.left) / np.linalg.norm(s[:2])
    np.testing.assert_allclose(
        start.left @ start.left.T, scale**2 * (u[:, :2] * s[:2] ** 2) @ u[:, :2].T
    )


# --------------------------------------------------------------------------------------
# Random
# --------------------------------------------------------------------------------------


@SYMMETRIC
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_random_is_small_against_the_data(symmetric, scale, rng):
    X = scale * rng.standard_normal((6, 6))
    objective = FullObjective(X)
    start = random(objective, 2, symmetric=symmetric, random_state=0)
    size = np.linalg.norm(start.matrix()) / scale
    assert size == pytest.approx(1e-2 * np.linalg.norm(X) / scale, rel=1e-10)


def test_random_uses_both_dimensions():
    start = random(FullObjective(np.ones((7, 4))), 2, random_state=0)
    assert start.left.shape == (7, 2)
    assert start.right.shape == (4, 2)
    assert np.linalg.matrix_rank(start.matrix()) == 2


# --------------------------------------------------------------------------------------
# What all starts share
# --------------------------------------------------------------------------------------


@SYMMETRIC
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(STARTS))
def test_make_start(name, dtype, symmetric, rng):
    objective = problem(rng, symmetric, dtype)
    start, again, other = (
        make_start(name, objective, 3, unknown_of(symmetric), seed)
        for seed in (4, 4, 5)
    )
    assert start.dtype == dtype
    assert start.matrix_shape == objective.matrix_shape
    assert start.rank == 3
    assert type(start) is (SymmetricFactor if symmetric else FactorPair)
    np.testing.assert_array_equal(start.left, again.left)
    if name != "spectral":
        assert not np.array_equal(start.left, other.left)


@pytest.mark.parametrize("name", sorted(STARTS))
@pytest.mark.parametrize("exponent", [-100, -30, 30, 100])
def test_starts_scale_with_the_data(name, exponent, rng):
    c = 10.0**exponent
    measurements = DenseMeasurements(rng.standard_normal((40, 6, 5)))
    y = rng.standard_normal(40)
    plain, scaled = (
        make_start(name, make_objective(measurements, k * y), 2, random_state=0)
        for k in (1.0, c)
    )
    np.testing.assert_allclose(scaled.left / np.sqrt(c), plain.left, rtol=1e-9)
    np.testing.assert_allclose(scaled.right / np.sqrt(c), plain.right, rtol=1e-9)


def test_random_state_instance_is_advanced(rng):
    objective = problem(rng)
    state = np.random.RandomState(0)
    first, second = (
        make_start("random", objective, 2, random_state=state) for _ in "ab"
    )
    assert not np.array_equal(first.left, second.left)


def test_given_pair(rng):
    objective = problem(rng, dtype=np.float32)
    left, right = rng.standard_normal((6, 2)), rng.standard_normal((5, 2))
    start = make_start((left, right), objective, 2)
    assert start.dtype == np.float32
    np.testing.assert_allclose(start.left, left, rtol=1e-6)
    np.testing.assert_allclose(start.right, right, rtol=1e-6)
    # Lists, and whole numbers, will do.
    lists = make_start([np.ones((6, 2), int).tolist(), np.ones((5, 2))], objective, 2)
    assert lists.dtype == np.float32
    assert lists.matrix()[0, 0] == 2


def test_given_pair_is_copied(rng):
    objective = problem(rng)
    left, right = rng.standard_normal((6, 2)), rng.standard_normal((5, 2))
    start = make_start((left, right), objective, 2)
    left[0, 0] = 77
    assert start.left[0, 0] != 77


def test_given_symmetric(rng):
    objective = problem(rng, symmetric=True)
    x = rng.standard_normal((6, 2))
    start = make_start((x, x), objective, 2, unknown_of(True))
    assert type(start) is SymmetricFactor
    np.testing.assert_array_equal(start.left, x)
    with pytest.raises(ValueError, match=r"left equal to right"):
        make_start((x, -x), objective, 2, unknown_of(True))


GOOD = (np.ones((6, 2)), np.ones((5, 2)))


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("svd", r"init must be one of \['nystrom', 'random', 'spectral'\].*got 'svd'"),
        ((GOOD[0],), r"pair \(left, right\), got 1 items"),
        ((*GOOD, GOOD[0]), r"got 3 items"),
        ((GOOD[1], GOOD[0]), r"\(6, 2\) and \(5, 2\), got \(5, 2\) and \(6, 2\)"),
        ((np.ones((6, 3)), np.ones((5, 3))), r"got \(6, 3\) and \(5, 3\)"),
        ((np.full((6, 2), np.nan), GOOD[1]), r"NaN or infinity"),
        ((GOOD[0], np.full((5, 2), np.inf)), r"NaN or infinity"),
    ],
    ids=["name", "one", "three", "swapped", "rank", "nan", "infinity"],
)
def test_errors(init, message):
    objective = problem(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        make_start(init, objective, 2)


def test_given_complex_pair_is_refused():
    """Dropping the imaginary part with a mere warning would be a silent change."""
    objective = problem(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"complex"):
        make_start((GOOD[0] * 1j, GOOD[1]), objective, 2)


@pytest.mark.parametrize("rank", [0, -1, 6])
@pytest.mark.parametrize("name", sorted(STARTS))
def test_rank_out_of_range(name, rank):
    objective = problem(np.random.default_rng(0))
    bound = r"at most min\(matrix_shape\)=5" if rank > 0 else "at least 1"
    with pytest.raises(ValueError, match=rf"n_components={rank} must be {bound}"):
        STARTS[name](objective, rank)


@pytest.mark.parametrize("name", sorted(STARTS))
def test_symmetric_needs_a_square_matrix(name):
    objective = problem(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"symmetric=True needs a square matrix.*6, 5"):
        STARTS[name](objective, 2, symmetric=True)


# --------------------------------------------------------------------------------------
# The decompositions behind the spectral start
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (230, 250), (250, 230), (1, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leading_triplets(wrap, shape, dtype, rng):
    rank = min(3, *shape)
    q = np.linalg.qr(rng.standard_normal((shape[0], rank)))[0]
    w = np.linalg.qr(rng.standard_normal((shape[1], rank)))[0]
    known = 2.0 ** -np.arange(rank)
    X = ((q * known) @ w.T + 1e-3 * rng.standard_normal(shape) / sum(shape)).astype(
        dtype
    )
    u, s, v = leading_triplets(wrap(X), rank, 0)
    assert (u.shape, s.shape, v.shape) == ((shape[0], rank), (rank,), (shape[1], rank))
    tolerance = 1e-4 if dtype is np.float32 else 1e-10
    expected = np.linalg.svd(X.astype(float), compute_uv=False)[:rank]
    np.testing.assert_allclose(s, expected, rtol=tolerance)
    np.testing.assert_allclose(u.T @ u, np.eye(rank), atol=tolerance)
    np.testing.assert_allclose(X @ v, u * s, atol=tolerance)


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (150, 120), (250, 230)])
def test_leading_right_vectors_to_a_few_digits(wrap, shape, rng):
    q = np.linalg.qr(rng.standard_normal((shape[0], 3)))[0]
    w = np.linalg.qr(rng.standard_normal((shape[1], 3)))[0]
    X = (q * [4.0, 2.0, 1.0]) @ w.T + 1e-3 * rng.standard_normal(shape) / sum(shape)
    s, v = leading_right(wrap(X), 2, 0, tol=1e-3)
    assert (s.shape, v.shape) == ((2,), (shape[1], 2))
    np.testing.assert_allclose(s, [4, 2], rtol=1e-2)
    np.testing.assert_allclose(v.T @ v, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(X @ v, axis=0), s, rtol=1e-2)


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("n", [8, 240])
def test_leading_eigenpairs_of_the_symmetric_part(wrap, n, rng):
    x = np.linalg.qr(rng.standard_normal((n, 3)))[0]
    skew = rng.standard_normal((n, n))
    X = (x * [3.0, 1.0, -5.0]) @ x.T + (skew - skew.T)
    values, vectors = leading_eigenpairs(wrap(X), 2, 0)
    np.testing.assert_allclose(values, [3, 1], rtol=1e-9)
    np.testing.assert_allclose(
        (X + X.T) @ vectors / 2, vectors * values, atol=1e-8 * np.abs(X).max()
    )
