"""Coordinates of rows in a given row space, from the entries that are visible."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from skprecgd._numerics import slabs
from skprecgd._typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss

_CHUNK_NUMBERS = 1 << 22
# Newton steps for all rows together, cuts of one of them, and the relative length of a
# step that says that nothing more happens.
_MAX_NEWTON = 100
_MAX_CUTS = 30
_NEWTON_TOLERANCE = 1e-10


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
    products = _row_products(basis)
    # What is left of a complete row is only as exact as the basis is orthonormal.
    rounding = float(np.finfo(basis.dtype if hidden else np.float64).eps)
    out = np.empty((pattern.shape[0], r))
    for part in _parts(out):
        rows = pattern[part]
        normal = _normal_matrices(_with_values(rows, np.ones(rows.nnz)), products, r)
        if hidden:
            normal = np.eye(r) - normal
        normal += np.diag(ridge)
        rhs = right_hand_side[part].astype(np.float64)
        # The basis is orthonormal: no eigenvalue is larger than one.
        out[part] = _solve(normal, rhs, rounding)
    return out.astype(basis.dtype)


def fit_rows(
    loss: Loss,
    visible: sparse.csr_array,
    basis: Array,
    offsets: Array,
    ridge: Array,
) -> Array:
    """Coordinates of each row with the lowest loss, one small convex problem a row.

    Minimises ``sum_j loss(basis_j z + offset_j, x_j) + z^T diag(ridge) z / 2`` over
    the visible entries j of a row, by Newton steps (with the curvature's bound where
    the loss gives one), for all rows at once.

    Parameters
    ----------
    loss : Loss
    visible : csr_array of shape (n_rows, n_columns)
        Its stored values are the visible entries, explicit zeros included.
    basis : ndarray of shape (n_columns, r)
    offsets : ndarray of shape (n_columns,)
        Added to the predictions.
    ridge : ndarray of shape (r,)

    Returns
    -------
    ndarray of shape (n_rows, r)
    """
    r = basis.shape[1]
    dtype, basis = basis.dtype, basis.astype(np.float64)
    products = _row_products(basis)
    out = np.zeros((visible.shape[0], r))
    for part in _parts(out):
        for stage in loss.from_blunt():
            problem = _RowProblem(stage, visible[part], basis, offsets)
            out[part] = _newton(problem, products, ridge, out[part])
    return out.astype(dtype)


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
    products = _row_products(factor)
    out = np.zeros((weights.shape[0], r))
    traces = weights @ np.sum(np.square(factor, dtype=np.float64), axis=1)
    # `_solve` takes 1 for the largest eigenvalue there can be.
    top = float(np.max(traces, initial=0.0)) + ridge
    if top == 0.0:
        return out.astype(factor.dtype)
    eps = float(np.finfo(factor.dtype).eps)
    for part in _parts(out):
        normal = _normal_matrices(weights[part], products, r) + ridge * np.eye(r)
        rhs = right_hand_side[part].astype(np.float64) / top
        out[part] = _solve(normal / top, rhs, eps / 1e2)
    return out.astype(factor.dtype)


def _parts(coordinates: Array) -> Iterator[slice]:
    """As many rows at a time as their normal matrices leave room for."""
    n_rows, r = coordinates.shape
    return slabs((n_rows, r * r), _CHUNK_NUMBERS)


class _RowProblem:
    """The losses of some rows as functions of their predictions."""

    def __init__(
        self, loss: Loss, visible: sparse.csr_array, basis: Array, offsets: Array
    ) -> None:
        self.loss, self.basis, self.pattern = loss, basis, visible
        self.n_rows = visible.shape[0]
        self.columns = visible.indices
        self.rows = np.repeat(np.arange(self.n_rows), np.diff(visible.indptr))
        self.targets = visible.data.astype(np.float64)
        self.start = offsets[self.columns].astype(np.float64)

    def products(self, z: Array) -> Array:
        return sampled_product(z, self.basis, self.rows, self.columns)

    def gradient(self, predictions: Array) -> Array:
        with np.errstate(over="ignore"):
            return self.loss.gradient(predictions, self.targets)

    def curvature(self, predictions: Array) -> Array:
        if self.loss.has_curvature:
            return self.loss.curvature(predictions, self.targets)
        return np.full_like(predictions, self.loss.typical_curvature(self.targets))

    def sums(self, values: Array) -> Array:
        """Sum of the entries' values in each row."""
        return np.bincount(self.rows, weights=values, minlength=self.n_rows)


def _newton(problem: _RowProblem, products: Array, ridge: Array, start: Array) -> Array:
    r, z = len(ridge), start
    predictions = problem.start + problem.products(z)
    for _ in range(_MAX_NEWTON):
        pull = problem.gradient(predictions)
        gradient = _with_values(problem.pattern, pull) @ problem.basis + ridge * z
        weights = _with_values(problem.pattern, problem.curvature(predictions))
        normal = _normal_matrices(weights, products, r) + np.diag(ridge)
        step = -_solve(normal, gradient, np.finfo(np.float64).eps, relative=True)
        ahead = problem.products(step)
        length = _row_lengths(problem, predictions, ahead, z, step, gradient, ridge)
        z = z + length[:, None] * step
        predictions = predictions + length[problem.rows] * ahead
        if np.linalg.norm(step) <= _NEWTON_TOLERANCE * np.linalg.norm(z):
            break
    return z


def _row_lengths(
    problem: _RowProblem,
    predictions: Array,
    ahead: Array,
    z: Array,
    step: Array,
    gradient: Array,
    ridge: Array,
) -> Array:
    """Each row's own length of its step: 1, halved while the slope has turned.

    The losses are convex, so a slope that has not become steep upwards says that the
    minimum along the step was not overshot by much.
    """
    start = np.abs(np.einsum("ij,ij->i", gradient, step))
    length = np.ones(problem.n_rows)
    for _ in range(_MAX_CUTS):
        at = predictions + length[problem.rows] * ahead
        moved = z + length[:, None] * step
        with np.errstate(over="ignore", invalid="ignore"):
            slope = problem.sums(problem.gradient(at) * ahead)
        slope += np.einsum("ij,ij->i", ridge * moved, step)
        steep = ~(slope <= 0.5 * start) & (start > 0)
        if not steep.any():
            break
        length[steep] *= 0.5
    return length


def _row_products(basis: Array) -> Array:
    """Products of a row's entries, the upper triangle: shape (n, r (r + 1) / 2)."""
    upper = np.triu_indices(basis.shape[1])
    return (basis[:, upper[0]] * basis[:, upper[1]]).astype(np.float64)


def _with_values(pattern: sparse.csr_array, values: Array) -> sparse.csr_array:
    return sparse.csr_array(
        (values, pattern.indices, pattern.indptr), shape=pattern.shape
    )


def _normal_matrices(weights: sparse.csr_array, products: Array, r: int) -> Array:
    """``sum_j w_j b_j b_j^T`` for each row of weights, shape (n_rows, r, r)."""
    upper = np.triu_indices(r)
    packed = np.asarray(weights @ products)
    normal = np.empty((len(packed), r, r))
    normal[:, upper[0], upper[1]] = packed
    normal[:, upper[1], upper[0]] = packed
    return normal


def _solve(
    normal: Array, right_hand_side: Array, rounding: float, *, relative: bool = False
) -> Array:
    """Minimum-norm solutions of a batch of positive semidefinite systems.

    An eigenvalue at rounding level, of one or of the largest in its own system, belongs
    to a direction the row does not see.
    """
    values, vectors = np.linalg.eigh(normal)
    largest = values[:, -1:] if relative else 1.0
    seen = values > 1e3 * rounding * largest
    inverse = np.where(seen, 1.0 / np.where(seen, values, 1.0), 0.0)
    rotated = np.einsum("nij,ni->nj", vectors, right_hand_side)
    return np.einsum("nij,nj->ni", vectors, inverse * rotated)
