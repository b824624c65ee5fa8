"""Sampled products in plain NumPy: gathers through buffers that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skprecgd._typing import Array

# Two gathered blocks of this many numbers stay in a second-level cache.
_BUFFER = 1 << 16


def sampled_product(left: Array, right: Array, rows: Array, columns: Array) -> Array:
    """Entries ``(left @ right.T)[rows, columns]``.

    Parameters
    ----------
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
    rows, columns : ndarray of int, shape (n_entries,)

    Returns
    -------
    ndarray of shape (n_entries,)
    """
    out = np.empty(len(rows), dtype=np.result_type(left, right))
    for chunk in _chunks(len(rows), left.shape[1]):
        np.einsum(
            "ij,ij->i",
            left.take(rows[chunk], axis=0),
            right.take(columns[chunk], axis=0),
            out=out[chunk],
        )
    return out


def sampled_ray(
    left: Array,
    right: Array,
    d_left: Array,
    d_right: Array,
    rows: Array,
    columns: Array,
) -> tuple[Array, Array]:
    """Sampled ``d_left @ right.T + left @ d_right.T`` and ``d_left @ d_right.T``."""
    r = left.shape[1]
    both_left = np.hstack([left, d_left])
    both_right = np.hstack([d_right, right])
    dtype = np.result_type(left, right, d_left, d_right)
    linear = np.empty(len(rows), dtype=dtype)
    quadratic = np.empty(len(rows), dtype=dtype)
    for chunk in _chunks(len(rows), 2 * r):
        x = both_left.take(rows[chunk], axis=0)
        y = both_right.take(columns[chunk], axis=0)
        np.einsum("ij,ij->i", x, y, out=linear[chunk])
        np.einsum("ij,ij->i", x[:, r:], y[:, :r], out=quadratic[chunk])
    return linear, quadratic


def _chunks(n_entries: int, width: int) -> Iterator[slice]:
    size = max(1, _BUFFER // max(1, width))
    for start in range(0, n_entries, size):
        yield slice(start, start + size)
