"""Data mapped from a file: never copied whole, and single precision stays single."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing
from skprecgd.measurements import DenseMeasurements
from skprecgd.testing import check_measurements


def mapped(path, X):
    file = np.memmap(path / "X.dat", dtype=X.dtype, mode="w+", shape=X.shape)
    file[:] = X
    file.flush()
    return np.memmap(path / "X.dat", dtype=X.dtype, mode="r", shape=X.shape)


def peak(call):
    """Largest number of bytes that Python and NumPy held in the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def low_rank(rng, n_rows, n_columns, dtype=np.float32):
    scale = 0.5 ** np.arange(4)
    X = (rng.standard_normal((n_rows, 4)) * scale) @ rng.standard_normal((4, n_columns))
    return (X + 0.001 * rng.standard_normal(X.shape)).astype(dtype)


@pytest.mark.parametrize("center", [None, "columns", "both"])
def test_factorization(tmp_path, center, global_random_seed):
    X = low_rank(np.random.default_rng(global_random_seed), 40000, 200)
    file = mapped(tmp_path, X)
    model = PrecGDFactorization(3, center=center, tol=1e-7, random_state=0)
    # The basis has 46 columns for the 200 of X; two are used at a time.
    assert peak(lambda: model.fit(file)) < 0.75 * X.nbytes
    assert model.left_.dtype == np.float32
    small = slice(2000)
    part = PrecGDFactorization(3, center=center, tol=1e-10, random_state=0)
    ours = part.fit(file[small])
    values = ours.singular_values_
    theirs = part.fit(X[small])
    np.testing.assert_allclose(values, theirs.singular_values_, rtol=1e-4)
    rows = model.transform(file[small])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, model.transform(X[small]), atol=1e-4)


def test_factorization_with_holes(tmp_path, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = low_rank(rng, 8000, 600)
    hidden = rng.random(X.shape) > 0.001
    hidden[np.arange(8000), np.arange(8000) % 600] = False
    X[hidden] = np.nan
    file = mapped(tmp_path, X)
    model = PrecGDFactorization(2, max_iter=2, tol=0)
    # Of X itself, only slabs are looked at.
    assert peak(lambda: model.fit(file)) < 0.5 * X.nbytes
    fitted = model.left_
    np.testing.assert_array_equal(fitted, model.fit(X).left_)


def sensing(seed):
    A, y, _ = make_matrix_sensing(
        30, rank=2, n_measurements=3000, noise=0.1, random_state=seed
    )
    return A.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("solver", ["auto", "gauss-newton"])
def test_sensing(tmp_path, solver, global_random_seed):
    A, y = sensing(global_random_seed)
    file = mapped(tmp_path, A)
    options = {"solver": solver, "tol": 1e-4, "random_state": 0}
    # The noise makes the fit hold measurements out: those left are no copy either.
    model = PrecGDMatrixSensing(3, early_stopping=True, **options)
    slab = 2**20 * A.itemsize
    # Kernels are compiled at their first call, which takes memory, too.
    model.fit(file, y)
    assert peak(lambda: model.fit(file, y)) < 0.3 * A.nbytes + 2 * slab
    assert model.left_.dtype == np.float32
    assert "held-out" in model.stop_reason_
    found = model.matrix_
    model.fit(A, y)
    np.testing.assert_allclose(found, model.matrix_, atol=1e-3 * np.abs(found).max())


def test_rows_keep_the_contract(tmp_path, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = DenseMeasurements(mapped(tmp_path, rng.standard_normal((20, 12))), (4, 3))
    check_measurements(A)
    check_measurements(A[rng.permutation(20)][3:])
    np.testing.assert_allclose(A[3:].mean_square, np.mean(np.asarray(A.stack[3:]) ** 2))
