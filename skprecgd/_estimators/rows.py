"""Coordinates of rows in a given row space, from the entries that are visible."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skprecgd._linalg.row_systems import (
    normal_matrices,
    row_products,
    row_slabs,
    solve_systems,
    with_values,
)
from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss

# Newton steps for all rows together, cuts of one of them, and the relative length of a
# step that says that nothing more happens.
_MAX_NEWTON = 100
_MAX_CUTS = 30
_NEWTON_TOLERANCE = 1e-10


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
    products = row_products(basis)
    out = np.zeros((visible.shape[0], r))
    for part in row_slabs(out):
        for stage in loss.continuation():
            problem = _RowProblem(stage, visible[part], basis, offsets)
            out[part] = _newton(problem, products, ridge, out[part])
    return out.astype(dtype)


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
        gradient = with_values(problem.pattern, pull) @ problem.basis + ridge * z
        weights = with_values(problem.pattern, problem.curvature(predictions))
        normal = normal_matrices(weights, products, r) + np.diag(ridge)
        step = -solve_systems(normal, gradient, np.finfo(np.float64).eps, relative=True)
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
