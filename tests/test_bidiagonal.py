"""Leading singular triplets, as exactly as they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd._linalg.bidiagonal import Bidiagonalization, spectrum


def matrix(rng, shape, values, dtype=np.float64):
    q = np.linalg.qr(rng.standard_normal((shape[0], len(values))))[0]
    w = np.linalg.qr(rng.standard_normal((shape[1], len(values))))[0]
    return ((q * values) @ w.T).astype(dtype)


def never(values, errors):
    return False


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stops_at_the_accuracy_asked_for(wrap, shape, dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = matrix(rng, shape, 2.0 ** -np.arange(20), dtype)
    search = Bidiagonalization(wrap(X), np.random.RandomState(0))

    def enough(values, errors):
        return len(values) >= 2 and np.all(errors[:2] <= 0.05 * values[:2])

    search.until(enough)
    u, s, v = search.triplets(2)
    assert (u.dtype, v.dtype) == (dtype, dtype)
    assert len(search.values) < 15
    np.testing.assert_allclose(s, [1, 0.5], rtol=0.05)
    # The error is that of the triplet, whichever way round.
    misses = np.hypot(
        np.linalg.norm(X @ v - u * s, axis=0), np.linalg.norm(X.T @ u - v * s, axis=0)
    )
    assert np.all(misses <= 0.0501 * s)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 3),
    st.sampled_from([1e-100, 1.0, 1e100]),
    st.integers(0, 2**31 - 1),
)
def test_to_the_end_it_is_the_decomposition(n_rows, n_columns, rank, scale, seed):
    """Equal values and values of zero, too, which no Krylov space holds."""
    rng = np.random.RandomState(seed)
    values = np.ones(min(rank, n_rows, n_columns))
    X = scale * matrix(rng, (n_rows, n_columns), values)
    search = Bidiagonalization(X, rng)
    search.until(never)
    u, s, v = search.triplets(min(n_rows, n_columns))
    expected = np.linalg.svd(X, compute_uv=False)
    np.testing.assert_allclose(s, expected, atol=1e-13 * scale)
    np.testing.assert_allclose((u * s) @ v.T, X, atol=1e-13 * scale)
    np.testing.assert_allclose(u.T @ u, np.eye(len(s)), atol=1e-13)
    np.testing.assert_allclose(v.T @ v, np.eye(len(s)), atol=1e-13)


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("shape", [(30, 20), (99, 3), (130, 20), (20, 130)])
def test_small_arrays_and_all_others(wrap, shape, global_random_seed):
    """The same triplets, whichever way they are found."""
    rng = np.random.default_rng(global_random_seed)
    X = matrix(rng, shape, [3.0, 2.0, 1.0])
    found = spectrum(wrap(X), np.random.RandomState(0))
    found.until(lambda values, errors: np.sum(errors <= 1e-9 * values) >= 2)
    u, s, v = found.triplets(2)
    np.testing.assert_allclose(found.values[:2], [3, 2], rtol=1e-9)
    np.testing.assert_allclose(X @ v, u * s, atol=1e-7)
    np.testing.assert_allclose(X.T @ u, v * s, atol=1e-7)
