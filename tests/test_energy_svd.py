"""Leading triplets by captured energy: no less of it than the randomized method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import linalg, sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.decomposition import TruncatedSVD

from skprecgd._linalg.energy_svd import energy_svd
from skprecgd._linalg.offsets import subtract
from skprecgd._linalg.svd_tuning import ENERGY, GramRoute

# No Gram matrix is formed, whatever the size and the rank.
BY_KRYLOV = replace(ENERGY, gram=GramRoute(size=0, columns=0.0, share=np.inf))
SPECTRA = {
    "harmonic": lambda i: 1.0 / i,
    "slow": lambda i: i**-0.3,
    "quadratic": lambda i: i**-2.0,
    "geometric": lambda i: 0.9**i,
    "steep": lambda i: 0.5**i,
    "linear": lambda i: 1.0 - i / (len(i) + 1.0),
    "flat": np.ones_like,
    "plateau": lambda i: np.where(i <= 30, 2.0, 1.0 / np.sqrt(i)),
    "gap": lambda i: np.where(i <= 12, 10.0, 1.0 / i),
    "one large": lambda i: np.where(i <= 1, 1e3, 1.0 / np.sqrt(i)),
    "low rank and noise": lambda i: np.where(i <= 12, 1.0 / i, 1e-4),
}


def of_spectrum(s, shape, rng):
    """A matrix with these singular values, and random vectors."""
    u, v = (np.linalg.qr(rng.standard_normal((n, len(s))))[0] for n in shape)
    return (u * s) @ v.T


def numbers(n):
    return np.arange(1.0, n + 1)


def energy(X, v):
    """What the span of v, made orthonormal, captures of the squared norm of X."""
    return float(np.linalg.norm(X @ np.linalg.qr(v.astype(float))[0]) ** 2)


def assert_captures_enough(X, found, rank, *, resolved=1e-13):
    """As much energy as TruncatedSVD, and singular values to 1e-4."""
    X = np.asarray(X, dtype=float)
    s = linalg.svdvals(X)
    theirs = TruncatedSVD(rank, random_state=0).fit(X).components_.T
    left = np.sum(s[rank:] ** 2)
    # To seven digits of what no matrix of the rank captures, or to rounding.
    short = energy(X, theirs) - energy(X, found.v)
    assert short <= 1e-7 * left + resolved * np.sum(s**2)
    beyond = s[rank] if rank < len(s) else 0.0
    apart = (s[:rank] > 1.05 * beyond) & (s[:rank] > np.sqrt(resolved) * s[0])
    assert_allclose(found.s[apart], s[:rank][apart], rtol=1e-4)


def assert_triplets(X, found, rank, *, rounding=1e-9):
    """Orthonormal vectors, and ``X v = s u``, or ``X^T u = s v`` if X is wide."""
    for side in (found.u, found.v):
        assert_allclose(side.T @ side, np.eye(rank), rtol=0, atol=rounding)
    short, long = (found.u, found.v) if len(X) < X.shape[1] else (found.v, found.u)
    image = (X.T if len(X) < X.shape[1] else X) @ short
    assert_allclose(image, long * found.s, rtol=0, atol=rounding * found.s[0])
    assert np.all(np.diff(found.s) <= 0)


@pytest.mark.parametrize("tuning", [ENERGY, BY_KRYLOV], ids=["default", "krylov"])
@pytest.mark.parametrize("shape", [(330, 240), (240, 330)])
@pytest.mark.parametrize("rank", [1, 4, 12, 40])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_energy_and_values(spectrum, rank, shape, tuning, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = of_spectrum(SPECTRA[spectrum](numbers(min(shape))), shape, rng)
    found = energy_svd(X, rank, random_state=global_random_seed, tuning=tuning)
    assert found.converged
    assert_captures_enough(X, found, rank)
    assert_triplets(X, found, rank)


@pytest.mark.parametrize("rank", [1, 12])
@pytest.mark.parametrize("spectrum", ["harmonic", "slow", "flat", "one large"])
def test_float32(spectrum, rank, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = of_spectrum(SPECTRA[spectrum](numbers(260)), (300, 260), rng)
    X = X.astype(np.float32)
    found = energy_svd(X, rank, random_state=global_random_seed, tuning=BY_KRYLOV)
    assert found.u.dtype == found.s.dtype == found.v.dtype == np.float32
    assert_captures_enough(X, found, rank, resolved=1e-6)
    assert_triplets(X.astype(float), found, rank, rounding=1e-4)


@pytest.mark.parametrize("tuning", [ENERGY, BY_KRYLOV], ids=["default", "krylov"])
@pytest.mark.parametrize("true_rank", [0, 1, 7, 20])
def test_rank_deficient_data(true_rank, tuning, global_random_seed):
    """Zeros are found as zeros, and the vectors beside them are orthonormal."""
    rng = np.random.default_rng(global_random_seed)
    rank, shape = 20, (280, 260)
    X = of_spectrum(1.0 / numbers(true_rank), shape, rng)
    found = energy_svd(X, rank, random_state=global_random_seed, tuning=tuning)
    expected = np.append(1.0 / numbers(true_rank), np.zeros(rank - true_rank))
    assert_allclose(found.s, expected, rtol=1e-9, atol=1e-12)
    assert_triplets(X, found, rank)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("exponent", [-90, -30, 30, 90])
def test_scale_changes_nothing(exponent, dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = of_spectrum(1.0 / numbers(270), (290, 270), rng).astype(dtype)
    scale = 2.0**exponent if dtype == np.float32 else 2.0 ** (8 * exponent)
    options = {"random_state": global_random_seed, "tuning": BY_KRYLOV}
    scaled = energy_svd(X * dtype(scale), 10, **options)
    assert_allclose(scaled.s / dtype(scale), energy_svd(X, 10, **options).s, rtol=1e-5)
    exact = linalg.svdvals(X.astype(float))[:10]
    assert_allclose(scaled.s / dtype(scale), exact, rtol=1e-4)
    assert scaled.converged


def test_a_repeated_value_is_found_as_often_as_it_is_there(global_random_seed):
    """Blocks of 16 columns see it 16 times at first."""
    rng = np.random.default_rng(global_random_seed)
    s = np.where(numbers(300) <= 45, 1.0, 0.5 / np.sqrt(numbers(300)))
    X = of_spectrum(s, (320, 300), rng)
    found = energy_svd(X, 50, random_state=global_random_seed, tuning=BY_KRYLOV)
    assert_allclose(found.s[:45], 1.0, rtol=1e-6)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("shape", [(500, 350), (350, 500)])
def test_sparse_is_dense(container, shape, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = sparse.random_array(shape, density=0.05, rng=rng, data_sampler=rng.normal)
    X = container(X * (1.0 / np.sqrt(numbers(shape[1]))))
    found = energy_svd(X, 10, random_state=global_random_seed, tuning=BY_KRYLOV)
    assert_captures_enough(X.toarray(), found, 10)
    assert_triplets(X.toarray(), found, 10)


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_centred_sparse_data_are_not_formed(dtype, mean, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = sparse.random_array((400, 300), density=0.1, rng=rng, data_sampler=rng.normal)
    X = sparse.csr_array(X * (1.0 / np.sqrt(numbers(300)))).astype(dtype)
    X.data += dtype(mean)
    columns = np.asarray(X.mean(axis=0, dtype=float)).ravel()
    centred = X.toarray().astype(float) - columns
    found = energy_svd(
        subtract(X, np.zeros(400), columns), 8, random_state=0, tuning=BY_KRYLOV
    )
    resolved = 1e-13 if dtype == np.float64 else 1e-6
    assert_captures_enough(centred, found, 8, resolved=resolved)


def test_an_operator_is_only_multiplied(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = of_spectrum(1.0 / numbers(200), (240, 200), rng)
    found = energy_svd(aslinearoperator(X), 6, random_state=global_random_seed)
    assert_captures_enough(X, found, 6)


def test_max_blocks_is_obeyed_and_said(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = of_spectrum(numbers(300) ** -0.2, (320, 300), rng)
    found = energy_svd(X, 20, max_blocks=3, random_state=0, tuning=BY_KRYLOV)
    assert found.n_blocks == 3
    assert not found.converged
    assert_triplets(X, found, 20)


@pytest.mark.parametrize("tuning", [ENERGY, BY_KRYLOV], ids=["default", "krylov"])
@given(
    n_rows=st.integers(1, 40),
    n_columns=st.integers(1, 40),
    share=st.floats(0.0, 1.0),
    power=st.floats(0.0, 4.0),
    seed=st.integers(0, 2**20),
)
def test_any_shape_and_rank(tuning, n_rows, n_columns, share, power, seed):
    """Also one row, one column, and as many triplets as there are."""
    rng = np.random.default_rng(seed)
    most = min(n_rows, n_columns)
    rank = max(1, round(share * most))
    X = of_spectrum(numbers(most) ** -power, (n_rows, n_columns), rng)
    found = energy_svd(X, rank, random_state=seed, tuning=tuning)
    assert found.converged
    s = linalg.svdvals(X)
    beyond = s[rank] if rank < most else 0.0
    apart = s[:rank] > 1.05 * beyond
    assert_allclose(found.s[apart], s[:rank][apart], rtol=1e-4, atol=1e-12 * s[0])
    best = np.sum(s[:rank] ** 2)
    assert best - energy(X, found.v) <= 1e-3 * (np.sum(s**2) - best) + 1e-12 * s[0] ** 2
    assert_triplets(X, found, rank)
