"""Coordinates of rows that hold gross errors."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skprecgd._linalg.row_systems import solve_rows
from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.robust import largest_of_lines, line_limits

# Fits of a row before its gross errors are taken as they are; most need five.
_MAX_ROUNDS = 50


def trimmed_rows(
    visible: sparse.csr_array,
    basis: Array,
    ridge: Array,
    fraction: float,
    level: float,
) -> Array:
    """As `solve_rows`, of the entries that are no gross errors.

    Fit and leave out in turn, each row by itself: what a row leaves out are its largest
    residuals, as many as `robust.line_limits` allows, if they exceed `level`.

    Parameters
    ----------
    visible : csr_array of shape (n_rows, n_columns)
        The visible entries, explicit zeros included.
    basis : ndarray of shape (n_columns, r)
        Orthonormal columns.
    ridge : ndarray of shape (r,)
    fraction : float
        Upper bound of the corrupted share of a row.
    level : float

    Returns
    -------
    ndarray of shape (n_rows, r)
    """
    limits = line_limits(np.diff(visible.indptr), fraction)
    out = np.zeros((visible.shape[0], basis.shape[1]), dtype=basis.dtype)
    pending = np.arange(visible.shape[0])
    before: Array | None = None
    for _ in range(_MAX_ROUNDS):
        part = visible[pending]
        lines = np.repeat(np.arange(len(pending)), np.diff(part.indptr))
        fitted = sampled_product(out[pending], basis, lines, part.indices)
        sizes = np.abs(part.data - fitted)
        large = np.flatnonzero(sizes > level)
        errors = np.zeros(part.nnz, dtype=bool)
        errors[large] = largest_of_lines(sizes[large], lines[large], limits[pending])
        moved = np.ones(len(pending), dtype=bool)
        if before is not None:
            moved = np.bincount(lines[errors != before], minlength=len(pending)) > 0
        if not moved.any():
            break
        pending, before = pending[moved], errors[moved[lines]]
        kept = _where(part[moved], ~before)
        out[pending] = solve_rows(kept, kept @ basis, basis, ridge)
    return out


def _where(matrix: sparse.csr_array, mask: Array) -> sparse.csr_array:
    """The stored entries where `mask` is true, and no others."""
    indptr = np.concatenate([[0], np.cumsum(mask)])[matrix.indptr]
    return sparse.csr_array(
        (matrix.data[mask], matrix.indices[mask], indptr), shape=matrix.shape
    )
