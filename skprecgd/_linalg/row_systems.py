"""Least-squares problems of single rows, many of them solved at a time."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import largest_sizes, slabs
from skprecgd._runtime.typing import Array

# Numbers of the normal matrices that are formed at a time (32 MB of float64).
_CHUNK_NUMBERS = 1 << 22


def solve_rows(
    pattern: sparse.csr_array,
    right_hand_side: Array,
    basis: Array,
    ridge: Array,
    *,
    hidden: bool = False,
    weights: Array | None = None,
) -> Array:
    """Least-squares coordinates of each row, one small problem a row.

    Minimises ``sum_j w_j (x_j - basis_j z)^2 + z^T diag(ridge) z`` over the visible
    entries j of a row.

    Parameters
    ----------
    pattern : csr_array of shape (n_rows, n_columns)
        Its stored positions are the visible entries, explicit zeros included.
    right_hand_side : ndarray of shape (n_rows, r)
        ``sum_j w_j x_j basis_j`` over the visible entries.
    basis : ndarray of shape (n_columns, r)
        Orthonormal columns.
    ridge : ndarray of shape (r,) or (n_rows, r)
    hidden : bool, default=False
        The stored positions are instead the few entries of a complete row that are
        *not* visible.
    weights : ndarray of shape (nnz,), default=None
        The w_j of the stored positions, at most one. None is one.

    Returns
    -------
    ndarray of shape (n_rows, r)
        The solution of least norm where a row has too few visible entries.
    """
    r = basis.shape[1]
    products = row_products(basis)
    # With hidden entries, ``basis.T @ basis`` is taken to be the identity, which is
    # only as exact as the basis is orthonormal.
    rounding = float(np.finfo(basis.dtype if hidden else np.float64).eps)
    out = np.empty((pattern.shape[0], r))
    if weights is not None:
        pattern = with_values(pattern, weights)
    diagonal = np.arange(r)
    ridge = np.broadcast_to(ridge, out.shape)
    for part in row_slabs(out):
        rows = pattern[part]
        if weights is None:
            rows = with_values(rows, np.ones(rows.nnz))
        normal = normal_matrices(rows, products, r)
        if hidden:
            normal = np.eye(r) - normal
        normal[:, diagonal, diagonal] += ridge[part]
        rhs = right_hand_side[part].astype(np.float64)
        # The basis is orthonormal and weights are at most one: so are eigenvalues.
        out[part] = solve_systems(normal, rhs, rounding)
    return out.astype(basis.dtype)


def weighted_least_squares(
    visible: sparse.csr_array, weights: Array, basis: Array, ridge: Array
) -> Array:
    """Coordinates of each row, whose entries have weights of any size.

    Parameters
    ----------
    visible : csr_array of shape (n_rows, n_columns)
        Its stored values are the visible entries, explicit zeros included.
    weights : ndarray of shape (nnz,)
        See `solve_rows`.
    basis, ridge
        See `solve_rows`.

    Returns
    -------
    ndarray of shape (n_rows, r)
    """
    lines = np.repeat(np.arange(visible.shape[0]), np.diff(visible.indptr))
    largest = largest_sizes(lines, weights, visible.shape[0])
    largest[largest == 0] = 1.0
    # Dividing the problem of a row by a number leaves its solution.
    weights, ridge = weights / largest[lines], ridge / largest[:, None]
    weighted = with_values(visible, weights * visible.data)
    return solve_rows(visible, weighted @ basis, basis, ridge, weights=weights)


def solve_weighted_rows(
    weights: sparse.csr_array, right_hand_side: Array, factor: Array, ridge: Any
) -> Array:
    """Minimisers z_i of ``sum_j w_ij (f_j z_i)^2 / 2 + ridge_i |z_i|^2 / 2 - b_i z_i``.

    Parameters
    ----------
    weights : csr_array of shape (n_rows, n_columns)
        Not negative; stored entries are the visible ones.
    right_hand_side : ndarray of shape (n_rows, r)
        The b_i.
    factor : ndarray of shape (n_columns, r)
        The f_j.
    ridge : float or ndarray of shape (n_rows,)

    Returns
    -------
    ndarray of shape (n_rows, r)
        The solution of least norm where a row has too few visible entries.
    """
    r = factor.shape[1]
    products = row_products(factor)
    out = np.zeros((weights.shape[0], r))
    traces = weights @ np.sum(np.square(factor, dtype=np.float64), axis=1)
    # The systems are divided by a bound of their eigenvalues, because `solve_systems`
    # compares eigenvalues with 1.
    ridge = np.broadcast_to(np.asarray(ridge, np.float64), traces.shape)
    top = float(np.max(traces + ridge, initial=0.0))
    if top == 0.0:
        return out.astype(factor.dtype)
    eps = float(np.finfo(factor.dtype).eps)
    for part in row_slabs(out):
        normal = normal_matrices(weights[part], products, r)
        normal += ridge[part, None, None] * np.eye(r)
        rhs = right_hand_side[part].astype(np.float64) / top
        out[part] = solve_systems(normal / top, rhs, eps / 1e2)
    return out.astype(factor.dtype)


def row_slabs(coordinates: Array) -> Iterator[slice]:
    """Slices of rows whose normal matrices hold at most `_CHUNK_NUMBERS` numbers."""
    n_rows, r = coordinates.shape
    return slabs((n_rows, r * r), _CHUNK_NUMBERS)


def row_products(basis: Array) -> Array:
    """Upper triangle of ``b b^T`` for every row b, shape (n, r (r + 1) / 2)."""
    upper = np.triu_indices(basis.shape[1])
    return (basis[:, upper[0]] * basis[:, upper[1]]).astype(np.float64)


def with_values(pattern: sparse.csr_array, values: Array) -> sparse.csr_array:
    # The constructor would scan the pattern again, which costs a single row its time.
    changed = copy(pattern)
    changed.data = values
    return changed


def normal_matrices(weights: sparse.csr_array, products: Array, r: int) -> Array:
    """``sum_j w_j b_j b_j^T`` for each row of weights, shape (n_rows, r, r)."""
    upper = np.triu_indices(r)
    packed = np.asarray(weights @ products)
    normal = np.empty((len(packed), r, r))
    normal[:, upper[0], upper[1]] = packed
    normal[:, upper[1], upper[0]] = packed
    return normal


def solve_systems(
    normal: Array, right_hand_side: Array, rounding: float, *, relative: bool = False
) -> Array:
    """Minimum-norm solutions of a batch of positive semidefinite systems.

    An eigenvalue at rounding level belongs to a direction that the entries of the row
    do not determine, and is left out. That level is relative to 1, or with `relative`
    to the largest eigenvalue of the same system.
    """
    values, vectors = np.linalg.eigh(normal)
    largest = values[:, -1:] if relative else 1.0
    seen = values > 1e3 * rounding * largest
    inverse = np.where(seen, 1.0 / np.where(seen, values, 1.0), 0.0)
    rotated = np.einsum("nij,ni->nj", vectors, right_hand_side)
    return np.einsum("nij,nj->ni", vectors, inverse * rotated)
