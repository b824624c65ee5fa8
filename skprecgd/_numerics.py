"""Small numerical helpers every layer may use."""

from __future__ import annotations

import numpy as np

from skprecgd._typing import Array

_BLOCK = 1 << 16
# Below this a sum of squares may have lost terms to underflow.
_SAFE_SQUARE = 1e-280


def dot(a: Array, b: Array) -> float:
    """Inner product of two arrays of equal shape, accumulated in float64.

    Losses and step sizes are differences of such sums: accumulated in float32
    they would lose the digits the exact step needs.
    """
    a, b = a.ravel(), b.ravel()
    if a.dtype == np.float64 and b.dtype == np.float64:
        return float(np.dot(a, b))
    return float(
        sum(
            np.dot(
                a[i : i + _BLOCK].astype(np.float64),
                b[i : i + _BLOCK].astype(np.float64),
            )
            for i in range(0, a.size, _BLOCK)
        )
    )


def norm(a: Array) -> float:
    """Euclidean (Frobenius) norm that neither overflows nor underflows."""
    a = a.ravel(order="K")
    with np.errstate(over="ignore", under="ignore"):
        square = dot(a, a)
    if np.isfinite(square) and square > _SAFE_SQUARE:
        return float(np.sqrt(square))
    largest = float(np.max(np.abs(a), initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    scaled = a.astype(np.float64) / largest
    return largest * float(np.sqrt(np.dot(scaled, scaled)))


def gram(a: Array) -> Array:
    """``a.T @ a`` in float64, shape (r, r)."""
    return np.asarray(a.T @ a, dtype=np.float64)


def working_dtype(*dtypes: np.dtype) -> np.dtype:
    """float32 if every one of `dtypes` is float32, else float64."""
    if dtypes and all(np.dtype(d) == np.float32 for d in dtypes):
        return np.dtype(np.float32)
    return np.dtype(np.float64)
