"""Coordinates of rows in a given row space, from the entries that are visible."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skprecgd._typing import Array

_CHUNK_NUMBERS = 1 << 22


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


def solve_weighted_rows(
    weights: sparse.csr_array, right_hand_side: Array, factor: Array, ridge: float
) -> Array:
    """Minimisers z_i of ``sum_j w_ij (f_j z_i)^2 / 2 + ridge |z_i|^2 / 2 - b_i z_i``.

    Parameters
    ----------
    weights : csr_array of shape (n_rows, n_columns)
        Not negative; stored entries are the visible ones.
    right_hand_side : ndarray of shape (n_rows, r)
        The b_i.
    factor : ndarray of shape (n_columns, r)
        The f_j.
    ridge : float

    Returns
    -------
    ndarray of shape (n_rows, r)
        The solution of least norm where a row sees too little.
    """
    r = factor.shape[1]
    upper = np.triu_indices(r)
    products = (factor[:, upper[0]] * factor[:, upper[1]]).astype(np.float64)
    out = np.zeros((weights.shape[0], r))
    packed = np.asarray(weights @ products)
    diagonal = np.flatnonzero(upper[0] == upper[1])
    # `_solve` takes 1 for the largest eigenvalue there can be.
    top = float(np.max(packed[:, diagonal].sum(axis=1), initial=0.0)) + ridge
    if top == 0.0:
        return out.astype(factor.dtype)
    chunk = max(1, _CHUNK_NUMBERS // (r * r))
    eps = float(np.finfo(factor.dtype).eps)
    for start in range(0, len(out), chunk):
        part = slice(start, start + chunk)
        normal = np.empty((len(packed[part]), r, r))
        normal[:, upper[0], upper[1]] = packed[part]
        normal[:, upper[1], upper[0]] = packed[part]
        normal += ridge * np.eye(r)
        rhs = right_hand_side[part].astype(np.float64) / top
        out[part] = _solve(normal / top, rhs, eps / 1e2)
    return out.astype(factor.dtype)


def _solve(normal: Array, right_hand_side: Array, rounding: float) -> Array:
    """Minimum-norm solutions of a batch of positive semidefinite systems."""
    values, vectors = np.linalg.eigh(normal)
    # The basis is orthonormal, so 1 is the largest possible eigenvalue, and one at
    # rounding level belongs to a direction the row does not see.
    seen = values > 1e3 * rounding
    inverse = np.where(seen, 1.0 / np.where(seen, values, 1.0), 0.0)
    rotated = np.einsum("nij,ni->nj", vectors, right_hand_side)
    return np.einsum("nij,nj->ni", vectors, inverse * rotated)
