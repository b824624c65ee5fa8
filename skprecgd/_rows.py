"""Coordinates of rows in a given row space, from the entries that are visible."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skprecgd._typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.robust import largest_of_lines, line_limits

_CHUNK_NUMBERS = 1 << 22
# Fits of a row before its gross errors are taken as they are; most need five.
_MAX_ROUNDS = 50


def solve_rows(
    pattern: sparse.csr_array,
    right_hand_side: Array,
    basis: Array,
    ridge: Array,
    *,
    hidden: bool = False,
) -> Array:
    """Least-squares coordinates of each row, one small problem a row.

    Minimises ``sum_j (x_j - basis_j z)^2 + z^T diag(ridge) z`` over the visible
    entries j of a row.

    Parameters
    ----------
    pattern : csr_array of shape (n_rows, n_columns)
        Its stored positions are the visible entries, explicit zeros included.
    right_hand_side : ndarray of shape (n_rows, r)
        ``sum_j x_j basis_j`` over the visible entries.
    basis : ndarray of shape (n_columns, r)
        Orthonormal columns.
    ridge : ndarray of shape (r,)
    hidden : bool, default=False
        The stored positions are instead the few entries of a complete row that are
        *not* visible.

    Returns
    -------
    ndarray of shape (n_rows, r)
        The solution of least norm where a row sees too little.
    """
    r = basis.shape[1]
    upper = np.triu_indices(r)
    products = (basis[:, upper[0]] * basis[:, upper[1]]).astype(np.float64)
    # What is left of a complete row is only as exact as the basis is orthonormal.
    rounding = float(np.finfo(basis.dtype if hidden else np.float64).eps)
    out = np.empty((pattern.shape[0], r))
    chunk = max(1, _CHUNK_NUMBERS // (r * r))
    for start in range(0, pattern.shape[0], chunk):
        rows = pattern[start : start + chunk]
        ones = sparse.csr_array(
            (np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape
        )
        packed = np.asarray(ones @ products)
        normal = np.empty((len(packed), r, r))
        normal[:, upper[0], upper[1]] = packed
        normal[:, upper[1], upper[0]] = packed
        if hidden:
            normal = np.eye(r) - normal
        normal += np.diag(ridge)
        out[start : start + chunk] = _solve(
            normal, right_hand_side[start : start + chunk].astype(np.float64), rounding
        )
    return out.astype(basis.dtype)


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


def _solve(normal: Array, right_hand_side: Array, rounding: float) -> Array:
    """Minimum-norm solutions of a batch of positive semidefinite systems."""
    values, vectors = np.linalg.eigh(normal)
    # The basis is orthonormal, so 1 is the largest possible eigenvalue, and one at
    # rounding level belongs to a direction the row does not see.
    seen = values > 1e3 * rounding
    inverse = np.where(seen, 1.0 / np.where(seen, values, 1.0), 0.0)
    rotated = np.einsum("nij,ni->nj", vectors, right_hand_side)
    return np.einsum("nij,nj->ni", vectors, inverse * rotated)
