"""Block Krylov truncated SVD against the full decomposition.

Most matrices here are so small that LAPACK would decompose them; `ITERATE` forbids it.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.linalg import subspace_angles
from scipy.sparse.linalg import aslinearoperator

from skprecgd._linalg.matrices import Matrix, as_matrix
from skprecgd._linalg.svd_tuning import DirectSvd, SinglePrecision, SvdTuning
from skprecgd._linalg.truncated_svd import truncated_svd

# No array is small enough, and no share of its triplets large enough, for LAPACK.
ITERATE = SvdTuning(direct=DirectSvd(size=0, share=1.0))

WRAPS = {
    "dense": np.asarray,
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
    "operator": aslinearoperator,
}


def with_spectrum(rng, shape, s):
    k = min(shape)
    u = np.linalg.qr(rng.standard_normal((shape[0], k)))[0]
    v = np.linalg.qr(rng.standard_normal((shape[1], k)))[0]
    full = np.zeros(k)
    full[: len(s)] = s
    return (u * full) @ v.T


def check(X, result, rank, tol=1e-7, gap=True):
    """Shapes, orthonormal vectors, the right values, the right triplets."""
    dense = X.toarray() if sparse.issparse(X) else X
    eps = float(np.finfo(dense.dtype).eps)
    u, s, v = result.u, result.s, result.v
    assert (u.shape, s.shape, v.shape) == (
        (dense.shape[0], rank),
        (rank,),
        (dense.shape[1], rank),
    )
    assert all(np.all(np.isfinite(a)) for a in (u, s, v))
    assert np.all(s >= 0)
    assert np.all(np.diff(s) <= 4 * eps * s[0])
    noise = 200 * eps
    np.testing.assert_allclose(u.T @ u, np.eye(rank), atol=noise)
    np.testing.assert_allclose(v.T @ v, np.eye(rank), atol=noise)
    exact = dense.astype(np.float64)
    full_u, full_s, full_vt = np.linalg.svd(exact, full_matrices=False)
    # Values are right to the square of what the vectors are.
    np.testing.assert_allclose(s, full_s[:rank], atol=noise * full_s[0])
    residual = np.linalg.norm(exact @ v - u * s, axis=0)
    assert np.all(residual <= max(10 * tol, noise) * full_s[0])
    if gap and rank < len(full_s):
        angles = [
            np.max(subspace_angles(v.astype(float), full_vt[:rank].T)),
            np.max(subspace_angles(u.astype(float), full_u[:, :rank])),
        ]
        share = (full_s[rank - 1] - full_s[rank]) / full_s[0]
        assert max(angles) <= 100 * (tol + 100 * eps / share)


# --------------------------------------------------------------------------------------
# Against the full decomposition
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRAPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (70, 70)])
def test_decaying_spectrum(kind, dtype, shape, rng):
    X = with_spectrum(rng, shape, 0.7 ** np.arange(60)).astype(dtype)
    result = truncated_svd(WRAPS[kind](X), 5, random_state=0, tuning=ITERATE)
    assert result.converged
    assert result.u.dtype == result.v.dtype == dtype
    check(X, result, 5)


@pytest.mark.parametrize("kind", WRAPS)
def test_random_matrix(kind, rng):
    """A flat spectrum, the hard case: gaps of a percent."""
    X = rng.standard_normal((80, 60))
    result = truncated_svd(WRAPS[kind](X), 4, random_state=0, tuning=ITERATE)
    assert result.converged
    check(X, result, 4, gap=False)


@pytest.mark.parametrize("kind", ["csr", "csc", "operator"])
def test_sparse_above_the_dense_size(kind, global_random_seed):
    """As it is tuned for users of sparse data."""
    X = sparse.random_array(
        (700, 500),
        density=0.02,
        random_state=np.random.default_rng(global_random_seed),
        format="csr",
    )
    wrapped = X.tocsc() if kind == "csc" else WRAPS[kind](X)
    result = truncated_svd(wrapped, 4, random_state=global_random_seed)
    assert result.converged
    assert result.n_blocks > 1
    check(X, result, 4, gap=False)


@pytest.mark.parametrize("n_columns", [1, 3, 40, 100])
@pytest.mark.parametrize("wide", [False, True])
def test_long_and_thin_sparse_data(n_columns, wide, rng):
    """Soon there is no further column to add."""
    X = sparse.random_array(
        (900, n_columns), density=0.3, random_state=rng, format="csr"
    )
    X = X.T.tocsr() if wide else X
    rank = min(3, n_columns)
    result = truncated_svd(X, rank, random_state=0)
    assert result.converged
    check(X, result, rank, gap=False)


def test_dense_above_the_dense_size(rng):
    X = with_spectrum(rng, (400, 300), 1.0 / np.arange(1, 301))
    result = truncated_svd(X, 6, random_state=0)
    assert result.converged
    assert result.n_blocks > 1
    check(X, result, 6)


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("rank", [2, 20])
def test_sparse_data_are_never_made_dense(kind, rank, monkeypatch, rng):
    X = WRAPS[kind](rng.standard_normal((30, 20)))
    monkeypatch.setattr(type(X), "toarray", None)
    assert truncated_svd(X, rank).converged


def test_small_dense_data_are_decomposed_at_once(rng):
    X = rng.standard_normal((30, 20))
    result = truncated_svd(X, 3)
    assert (result.n_blocks, result.error, result.converged) == (1, 0.0, True)
    check(X, result, 3, tol=1e-12)


@settings(max_examples=40)
@given(
    n_rows=st.integers(1, 40),
    n_columns=st.integers(1, 40),
    data=st.data(),
    decay=st.sampled_from([0.3, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    use_iteration=st.booleans(),
)
def test_any_shape_and_rank(n_rows, n_columns, data, decay, seed, use_iteration):
    """Up to rank min(shape), with the iteration and without."""
    rank = data.draw(st.integers(1, min(n_rows, n_columns)))
    rng = np.random.default_rng(seed)
    k = min(n_rows, n_columns)
    X = with_spectrum(rng, (n_rows, n_columns), decay ** np.arange(k))
    tuning = ITERATE if use_iteration else SvdTuning()
    result = truncated_svd(X, rank, random_state=seed % 1000, tuning=tuning)
    assert result.converged
    check(X, result, rank, gap=False)


@pytest.mark.parametrize("rank", [1, 10, 30])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (30, 30)])
def test_rank_up_to_the_smaller_side(rank, shape, rng):
    X = rng.standard_normal(shape)
    result = truncated_svd(X, rank, random_state=0, tuning=ITERATE)
    assert result.converged
    check(X, result, rank, gap=False)


# --------------------------------------------------------------------------------------
# Degenerate spectra
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("true_rank", [1, 3, 5])
@pytest.mark.parametrize("rank", [3, 7])
@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_exactly_low_rank(kind, true_rank, rank, dtype, rng):
    X = with_spectrum(rng, (80, 60), 2.0 ** -np.arange(true_rank)).astype(dtype)
    result = truncated_svd(WRAPS[kind](X), rank, random_state=0, tuning=ITERATE)
    assert result.converged
    check(X, result, rank, gap=False)
    eps = float(np.finfo(dtype).eps)
    assert np.all(result.s[true_rank:] <= 100 * eps * result.s[0])


@pytest.mark.parametrize("shape", [(80, 60), (60, 80), (5, 3), (1, 1)])
@pytest.mark.parametrize("use_iteration", [False, True])
@pytest.mark.parametrize("kind", WRAPS)
def test_zero_matrix(kind, use_iteration, shape):
    rank = min(2, *shape)
    tuning = ITERATE if use_iteration else SvdTuning()
    X = WRAPS[kind](np.zeros(shape))
    result = truncated_svd(X, rank, random_state=0, tuning=tuning)
    assert result.converged
    assert np.all(result.s == 0)
    np.testing.assert_allclose(result.u.T @ result.u, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(result.v.T @ result.v, np.eye(rank), atol=1e-12)


@pytest.mark.parametrize(
    "s",
    [
        np.ones(60),
        np.repeat([4.0, 2.0, 1.0], [3, 3, 54]),
        np.repeat([4.0, 1.0, 0.0], [5, 5, 50]),
        np.r_[np.ones(4), 0.5 * np.ones(56)],
        np.r_[1.0, 1 + 1e-9, 1 + 2e-9, 0.3 * np.ones(57)],
    ],
    ids=["identity", "threes", "fives", "four and flat", "nearly equal"],
)
@pytest.mark.parametrize("rank", [2, 4, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_repeated_singular_values(s, rank, dtype, rng):
    """Vectors are then any basis; values and residuals are still determined."""
    X = with_spectrum(rng, (80, 60), np.sort(s)[::-1]).astype(dtype)
    result = truncated_svd(X, rank, random_state=0, max_blocks=200, tuning=ITERATE)
    assert result.converged
    check(X, result, rank, gap=False)


def test_identity_matrix():
    X = sparse.eye_array(300, format="csr")
    result = truncated_svd(X, 5, random_state=0, tuning=ITERATE)
    assert result.converged
    np.testing.assert_allclose(result.s, 1, rtol=1e-12)


def test_condition_number_beyond_the_square_root_of_precision(rng):
    """By QR of the image: a Gram matrix would lose everything below 1e-8."""
    X = with_spectrum(rng, (80, 60), 10.0 ** -np.arange(12.0))
    result = truncated_svd(X, 12, random_state=0, tuning=ITERATE)
    np.testing.assert_allclose(result.s, 10.0 ** -np.arange(12.0), rtol=1e-3)


def test_columns_and_rows_of_zeros(rng):
    X = with_spectrum(rng, (80, 60), 0.6 ** np.arange(60))
    X[:, 10:30] = 0
    X[5:20] = 0
    result = truncated_svd(sparse.csr_array(X), 3, random_state=0, tuning=ITERATE)
    assert result.converged
    check(X, result, 3)


@pytest.mark.parametrize("exponent", [-100, -30, 30, 100])
@pytest.mark.parametrize("use_iteration", [False, True])
def test_scale(exponent, use_iteration, rng):
    how = {"random_state": 0, "tuning": ITERATE if use_iteration else SvdTuning()}
    X = with_spectrum(rng, (80, 60), 0.7 ** np.arange(60))
    plain = truncated_svd(X, 4, **how)
    scaled = truncated_svd(10.0**exponent * X, 4, **how)
    assert scaled.converged
    assert scaled.n_blocks == plain.n_blocks
    np.testing.assert_allclose(scaled.s / 10.0**exponent, plain.s, rtol=1e-10)
    np.testing.assert_allclose(np.abs(scaled.u), np.abs(plain.u), atol=1e-6)


# --------------------------------------------------------------------------------------
# Stopping
# --------------------------------------------------------------------------------------


def test_max_blocks(rng):
    X = rng.standard_normal((200, 150))
    result = truncated_svd(X, 3, max_blocks=2, random_state=0, tuning=ITERATE)
    assert result.n_blocks == 2
    assert not result.converged
    assert result.error > 1e-7
    # Still the best of its span: orthonormal, values from below.
    np.testing.assert_allclose(result.u.T @ result.u, np.eye(3), atol=1e-12)
    exact = np.linalg.svd(X, compute_uv=False)[:3]
    assert np.all(result.s <= exact * (1 + 1e-12))
    assert np.all(result.s >= 0.7 * exact)


def test_smaller_tol_takes_more_blocks_and_is_more_accurate(rng):
    X = with_spectrum(rng, (300, 250), 1.0 / np.arange(1, 251))
    _, _, vt = np.linalg.svd(X)
    blocks, errors = [], []
    for tol in (1e-2, 1e-5, 1e-10):
        result = truncated_svd(X, 3, tol=tol, random_state=0, tuning=ITERATE)
        blocks.append(result.n_blocks)
        errors.append(np.max(subspace_angles(result.v, vt[:3].T)))
        assert result.converged
        assert result.error <= tol
        assert errors[-1] <= 10 * tol
    assert blocks == sorted(blocks)
    assert blocks[0] < blocks[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tol_beyond_precision_ends(dtype, rng):
    X = with_spectrum(rng, (120, 100), 0.8 ** np.arange(100)).astype(dtype)
    result = truncated_svd(
        X, 4, tol=0.0, max_blocks=300, random_state=0, tuning=ITERATE
    )
    assert result.n_blocks < 300
    check(X, result, 4, tol=1e-12)


def test_restarts_keep_what_was_found(rng):
    """More blocks than are kept: the span is cut back and goes on."""
    X = with_spectrum(rng, (400, 380), np.linspace(2, 1, 380))
    result = truncated_svd(X, 2, tol=1e-5, random_state=0, tuning=ITERATE)
    # The bases hold ten blocks and the wanted part.
    assert result.n_blocks > 15
    assert result.converged
    check(X, result, 2, tol=1e-5, gap=False)


def test_deterministic(rng):
    X = rng.standard_normal((90, 70))
    first, second, other = (
        truncated_svd(X, 3, random_state=seed, tuning=ITERATE) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.v, second.v)
    np.testing.assert_allclose(first.s, other.s, rtol=1e-10)


def test_data_are_not_modified(rng):
    X = rng.standard_normal((90, 70))
    before = X.copy()
    truncated_svd(X, 3, random_state=0, tuning=ITERATE)
    np.testing.assert_array_equal(X, before)


def test_integer_data(rng):
    X = rng.integers(-5, 6, size=(90, 70))
    result = truncated_svd(X, 3, random_state=0, tuning=ITERATE)
    assert result.u.dtype == np.float64
    check(X.astype(float), result, 3, gap=False)


# --------------------------------------------------------------------------------------
# Single precision, where the tolerance is loose
# --------------------------------------------------------------------------------------

SINGLE_KINDS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
}


class Watched(Matrix):
    """A matrix that writes down which precisions it is iterated in, in turn."""

    def __init__(self, X, runs):
        self._inner = as_matrix(X)
        self._runs = runs
        self.reads_once = self._inner.reads_once
        super().__init__(self._inner.shape, self._inner.dtype)

    def times(self, block):
        return self._inner.times(block)

    def transposed_times(self, block):
        return self._inner.transposed_times(block)

    def frobenius_norm(self):
        return self._inner.frobenius_norm()

    def left_basis(self, capacity):
        self._runs.append(self.dtype)
        return self._inner.left_basis(capacity)

    def in_single(self, size, tuning):
        scaled, factor = self._inner.in_single(size, tuning)
        return Watched(scaled, self._runs), factor

    def _transpose(self):
        return Watched(self._inner.T, self._runs)


@pytest.mark.parametrize("kind", SINGLE_KINDS)
@pytest.mark.parametrize("shape", [(400, 300), (300, 400)])
@pytest.mark.parametrize("exponent", [-300, -100, 0, 100, 300])
@pytest.mark.parametrize("copied", [False, True])
def test_loose_tol_in_single_precision(kind, shape, exponent, copied, rng):
    single = SinglePrecision(copied=1 << 26 if copied else 0, slab=3001)
    how = {"tol": 0.05, "random_state": 0, "tuning": SvdTuning(single=single)}
    X = with_spectrum(rng, shape, 1.0 / np.arange(1, 301))
    given = SINGLE_KINDS[kind](X * 10.0**exponent)
    before = given.copy()
    runs = []
    result = truncated_svd(Watched(given, runs), 6, **how)
    assert runs == [np.float32]
    assert result.converged
    assert result.u.dtype == result.s.dtype == result.v.dtype == np.float64
    for side in (result.u, result.v):
        np.testing.assert_allclose(side.T @ side, np.eye(6), atol=1e-13)
    s = result.s / 10.0**exponent
    np.testing.assert_allclose(s, 1.0 / np.arange(1, 7), rtol=0.05**2)
    residual = np.linalg.norm(X @ result.v - result.u * s, axis=0)
    assert np.all(residual <= 0.05 * s[0])
    assert abs(given - before).max() == 0.0


def exact_values(s):
    return np.concatenate([s, np.zeros(8)])[:8]


@pytest.mark.parametrize(
    "s",
    [
        np.array([3.0, 2.0, 1.0]),
        np.repeat([3.0, 2.0, 1.0], 3),
        10.0 ** -np.arange(12.0),
    ],
    ids=["low rank", "repeated", "steep"],
)
def test_double_precision_where_rounding_would_show(s, rng):
    X = with_spectrum(rng, (150, 120), s)
    how = {"tol": 0.05, "random_state": 0, "tuning": ITERATE}
    runs = []
    result = truncated_svd(Watched(X, runs), 8, **how)
    assert runs == [np.float32, np.float64]
    assert result.converged
    if len(s) == 3:
        # Also where the blocks allowed are just those that are needed.
        few = truncated_svd(X, 8, max_blocks=1, **how)
        np.testing.assert_allclose(few.s, exact_values(s), atol=1e-11)
    exact = exact_values(s)
    np.testing.assert_allclose(result.s[:3], exact[:3], rtol=1e-12)
    np.testing.assert_allclose(result.s, exact, atol=1e-11)


@pytest.mark.parametrize("tol", [1e-7, 0.05])
@pytest.mark.parametrize("max_blocks", [1, 2])
def test_as_many_vectors_as_wanted_however_few_blocks(tol, max_blocks, rng):
    X = with_spectrum(rng, (400, 300), 1.0 / np.arange(1, 301))
    result = truncated_svd(
        X, 60, tol=tol, max_blocks=max_blocks, random_state=0, tuning=ITERATE
    )
    assert not result.converged
    assert result.u.shape == (400, 60)
    np.testing.assert_allclose(result.v.T @ result.v, np.eye(60), atol=1e-12)
    assert np.all(result.s <= (1 + 1e-6) / np.arange(1, 61))
