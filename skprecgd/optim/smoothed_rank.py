"""Completion from scarce entries: a smoothed rank, sharpened until it is the rank.

Close to the least number of entries that determine the matrix, every descent at a
fixed rank has wrong local optima. Here no rank is fixed. With W built from the
singular values of the last iterate, those below eps replaced by eps, each step solves

``min <X, W^-1/2 X W^-1/2>  such that  X agrees with every observed entry``

which majorises the sum of ``log max(sigma_i, eps)``; then eps shrinks a little
(iteratively reweighted least squares: Kuemmerle, Mayrink Verdun, ICML 2021). The
solution is a matrix of low rank plus a sparse one, so a step is a weighted
least-squares problem in the tangent space of the low-rank part, and a few leading
singular triplets. The matrix is explained as soon as the directions above eps,
polished by Gauss-Newton, leave no residual.

Three things are ours. eps shrinks at a fixed rate, where the published rule needs
the rank. Rows and columns are weighted by the root of their number of entries (the
weighted trace norm of Salakhutdinov and Srebro, NeurIPS 2010). And lines on which a
spurious direction concentrates are set aside until the others are explained.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from skprecgd._typing import Array
from skprecgd.factors import FactorPair, Factors
from skprecgd.initialization import leading_triplets
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import SampledObjective
from skprecgd.optim.conjugate_gradients import conjugate_gradients

# eps shrinks by a tenth a step: at 0.8 the iterate is left behind, and 0.95 costs
# twice the steps for no more successes.
_SHRINKAGE = 0.9
# The least-squares problem of a step is solved to this share of its first residual:
# the next step changes its weights anyway.
_INNER_TOLERANCE = 0.1
_MAX_INNER = 100
# Singular triplets need no more digits than the weights made of them.
_TRIPLET_TOLERANCE = 1e-2
# A direction this far above eps no longer feels it, and is worth a polish.
_CLEAR = 3.0
# eps after a part of the entries was set aside, relative to where it was.
_SETBACK = 10.0
_LANCZOS_SEED = 0


@dataclass
class LineWeights:
    """Weights of rows and columns, under which the rank of a matrix is the same."""

    rows: Array
    columns: Array

    @classmethod
    def by_count(cls, entries: EntryMeasurements, dtype: np.dtype) -> LineWeights:
        """Root of the number of entries, relative to the mean; 1 where none is."""
        weights = []
        indices = (entries.row_index, entries.column_index)
        for index, size in zip(indices, entries.matrix_shape, strict=True):
            counts = np.bincount(index, minlength=size)
            counts = np.where(counts > 0, counts, len(index) / size)
            weights.append(np.sqrt(counts * (size / len(index))).astype(dtype))
        return cls(*weights)

    def weigh(self, objective: SampledObjective) -> SampledObjective:
        """The completion of the weighted matrix."""
        entries = objective.measurements
        assert isinstance(entries, EntryMeasurements)
        at_rows = self.rows[entries.row_index]
        targets = objective.targets * at_rows * self.columns[entries.column_index]
        return SampledObjective(entries, targets, objective.loss)

    def unweigh(self, factors: FactorPair) -> FactorPair:
        """Factors of the matrix itself, balanced."""
        return FactorPair(
            factors.left / self.rows[:, None], factors.right / self.columns[:, None]
        ).balanced()


class SmoothedRank:
    """The iteration; `step` sharpens the rank by one notch.

    Parameters
    ----------
    objective : SampledObjective
        Squared loss of observed entries, no ridge.
    n_directions : int
        Directions of the low-rank part, at most.
    held_up : float, default=1.0
        eps stays above this share of the first singular value that is left out.

    Attributes
    ----------
    u, s, v : ndarray
        Leading singular triplets of the iterate, one more than `n_directions`.
    eps : float
    """

    def __init__(
        self, objective: SampledObjective, n_directions: int, held_up: float = 1.0
    ) -> None:
        self.objective = objective
        self.n_directions = n_directions
        self.held_up = held_up
        n_rows, n_columns = objective.matrix_shape
        # The loss averages over entries: as a share of the cells this turns its
        # gradient into the residual itself.
        self._density = len(objective.targets) / (n_rows * n_columns)
        zero = FactorPair(np.zeros((n_rows, 1)), np.zeros((n_columns, 1)))
        self._decompose(zero, objective.matrix_gradient_at_zero())
        self.eps = float(self.s[0])

    @property
    def rank(self) -> int:
        """Number of directions above eps."""
        return int(np.sum(self.s > self.eps))

    @property
    def clear(self) -> bool:
        """Whether every direction above eps is well above it."""
        rank = self.rank
        return rank > 0 and bool(self.s[rank - 1] > _CLEAR * self.eps)

    def factors(self) -> FactorPair:
        """The low-rank part: the directions above eps, at least one."""
        rank = max(1, min(self.rank, self.n_directions))
        return FactorPair.from_svd(self.u[:, :rank], self.s[:rank], self.v[:, :rank])

    def step(self) -> None:
        """Shrink eps, solve the weighted least-squares problem, decompose."""
        left_out = self.held_up * float(self.s[-1])
        self.eps = max(_SHRINKAGE * self.eps, min(self.eps, left_out))
        rank = min(self.rank, self.n_directions)
        if rank == 0:
            return
        u, s, v = self.u[:, :rank], self.s[:rank], self.v[:, :rank]
        weights = _TangentWeights(u, s, v, self.eps, self._density)
        solution = _solve(self.objective, weights)
        low_rank = FactorPair(
            np.hstack([solution.left, u]), np.hstack([v, solution.right])
        )
        evaluation = self.objective.evaluate(low_rank)
        self._decompose(low_rank, self.objective.matrix_gradient(evaluation))

    def on(self, objective: SampledObjective) -> SmoothedRank:
        """The same state on other entries."""
        other = copy(self)
        other.objective = objective
        return other

    def set_back(self) -> None:
        """Raise eps, so that directions may change once more."""
        self.eps = min(_SETBACK * self.eps, float(self.s[0]))

    def leverage(self) -> tuple[Array, Array]:
        """How much of the directions lies in each row and each column; mean one."""
        rank = max(1, min(self.rank, self.n_directions))
        rows, columns = (
            np.sum(basis[:, :rank] ** 2, axis=1) * (len(basis) / rank)
            for basis in (self.u, self.v)
        )
        return rows, columns

    def _decompose(self, low_rank: FactorPair, gradient: LinearOperator) -> None:
        iterate = _low_rank_plus(low_rank, -self._density, gradient)
        count = min(self.n_directions + 1, *self.objective.matrix_shape)
        u, s, v = leading_triplets(
            iterate, count, _LANCZOS_SEED, tol=_TRIPLET_TOLERANCE
        )
        dtype = self.objective.dtype
        self.u, self.s, self.v = u.astype(dtype), s, v.astype(dtype)


def _low_rank_plus(
    low_rank: FactorPair, scale: float, matrix: LinearOperator
) -> LinearOperator:
    left, right = low_rank.left, low_rank.right
    product = aslinearoperator(left) @ aslinearoperator(right.T)
    return product + scale * aslinearoperator(matrix)


class _TangentWeights:
    """The quadratic form of the weights in the tangent space at ``U diag(s) V^T``.

    A tangent matrix is held as ``dL V^T + U dR^T`` with dR orthogonal to V, so that
    its norm is that of (dL, dR). Eliminating the part outside the tangent space from
    the least-squares problem leaves ``eps^2 / (s_i s_j - eps^2)`` on the block
    between U and V, and the same with eps for one of the s outside it.
    """

    def __init__(self, u: Array, s: Array, v: Array, eps: float, density: float):
        self.u, self.s, self.v = u, s, v
        eps2 = eps * eps
        # In units of the objective, whose curvature is one on random matrices.
        self._inner = eps2 / (np.outer(s, s) - eps2) / density
        self._outer = eps / (s - eps) / density

    def apply(self, d: FactorPair) -> FactorPair:
        """The form's matrix times a tangent matrix."""
        return self._scaled(d, self._inner, self._outer)

    def precondition(self, d: FactorPair) -> FactorPair:
        """Divide by the form plus the objective's mean curvature."""
        return self._scaled(d, 1 / (1 + self._inner), 1 / (1 + self._outer))

    def project(self, d: Factors) -> FactorPair:
        """Drop what the other factor already describes."""
        return FactorPair(d.left, d.right - self.v @ (self.v.T @ d.right))

    def _scaled(self, d: FactorPair, inner: Array, outer: Array) -> FactorPair:
        dtype = d.dtype
        block = self.u.T @ d.left
        inside = self.u @ (block * (inner - outer).astype(dtype))
        outer = outer.astype(dtype)
        return FactorPair(d.left * outer + inside, d.right * outer)


def _solve(objective: SampledObjective, weights: _TangentWeights) -> FactorPair:
    """The least-squares problem of a step, from the last iterate's low-rank part."""
    point = FactorPair(weights.u, weights.v)
    data_curvature = objective.curvature(objective.evaluate(point))

    def product(d: FactorPair) -> FactorPair:
        return weights.project(data_curvature(d)).moved(weights.apply(d), 1.0)

    start = FactorPair(
        weights.u * weights.s.astype(point.dtype), np.zeros_like(weights.v)
    )
    data = point.gradient_from(objective.matrix_gradient_at_zero()).times(-1.0)
    return conjugate_gradients(
        product,
        weights.project(data).moved(product(start), -1.0),
        weights.precondition,
        start,
        max_steps=_MAX_INNER,
        tolerance=_INNER_TOLERANCE,
    )
