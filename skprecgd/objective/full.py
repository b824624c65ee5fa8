"""The squared loss with every entry observed."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from skprecgd._linalg.energy_svd import energy_svd
from skprecgd._linalg.matrices import Matrix, ScaledMatrix, as_matrix
from skprecgd._linalg.numerics import dot, gram, working_dtype
from skprecgd._linalg.stored import without_duplicates
from skprecgd._linalg.truncated_svd import TruncatedSvd, truncated_svd
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.factors import Factors
from skprecgd.losses import SquaredLoss
from skprecgd.objective.base import Evaluation, Growth, Objective, Ray, relative
from skprecgd.objective.penalty import NO_PENALTY, Penalty
from skprecgd.objective.rays import Quartic


class FullObjective(Objective):
    """Squared loss with every entry observed: ``||L R^T - X||_F^2 / 2 + penalty``.

    It is computed from ``X R``, ``X^T L`` and Gram matrices. The residual is never
    formed, so a sparse X stays sparse. The price is that a value below about 1e-16 of
    ``||X||^2`` cannot be told from zero, so convergence is judged by the gradient.

    Parameters
    ----------
    X : Matrix, ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
        Anything that `as_matrix` takes.
    penalty : Penalty, default=NO_PENALTY
    unit : float, default=1.0
        The number by which X is divided. X is never copied: products are divided.

    Attributes
    ----------
    X : Matrix
        The data, not divided by the unit.
    """

    has_closed_form = True

    def __init__(
        self, X: Any, penalty: Penalty = NO_PENALTY, *, unit: float = 1.0
    ) -> None:
        self.X = as_matrix(without_duplicates(X) if sparse.issparse(X) else X)
        self.matrix_shape = (int(X.shape[0]), int(X.shape[1]))
        self.dtype = working_dtype(np.dtype(X.dtype))
        self.loss = SquaredLoss()
        self.penalty_of_sum = penalty
        self._unit = unit
        self._found: TruncatedSvd | None = None

    @property
    def large_products(self) -> bool:
        return self.X.large_products

    @property
    def n_measurements(self) -> int:
        return self.matrix_shape[0] * self.matrix_shape[1]

    @cached_property
    def data_norm(self) -> float:
        return self.X.frobenius_norm() / self._unit

    @property
    def resolution(self) -> float:
        # The loss is a difference of terms as large as the squared norm of the data.
        return float(np.sqrt(64 * np.finfo(self.dtype).eps))

    def normalised(self) -> tuple[FullObjective, float]:
        unit = self.data_norm
        if unit == 0.0:
            return self, 1.0
        penalty = self.penalty_of_sum.times(1.0 / unit)
        made = FullObjective(self.X, penalty, unit=unit * self._unit)
        made.target_unit = self.target_unit * unit
        return made, unit

    @property
    def complete_matrix(self) -> Matrix:
        return self.X

    def decomposed(self, found: TruncatedSvd) -> FullObjective:
        made = copy(self)
        made._found = found
        return made

    def truncated_svd(
        self,
        rank: int,
        *,
        tol: float | None,
        max_blocks: int,
        random_state: RandomState = None,
    ) -> TruncatedSvd:
        if self._found is not None and rank <= len(self._found.s):
            return self._found.leading(rank)
        decompose = energy_svd if tol is None else partial(truncated_svd, tol=tol)
        return decompose(
            self.X,
            rank,
            max_blocks=max_blocks,
            random_state=random_state,
            size=self.data_norm,
        )

    def noise_share(self, noise_variance: float) -> float:
        return noise_variance * self.matrix_shape[0] * self.matrix_shape[1]

    def evaluate(self, factors: Factors) -> Evaluation:
        return self._evaluation(factors, *self._products(factors))

    def matrix_gradient(self, evaluation: Evaluation) -> LinearOperator:
        left, right = evaluation.factors.left, evaluation.factors.right
        low_rank = aslinearoperator(left) @ aslinearoperator(right.T)
        return low_rank + self.matrix_gradient_at_zero()

    def matrix_gradient_at_zero(self) -> LinearOperator:
        # The operator claims double precision even for float32 data, so that
        # eigensolvers use it.
        dtype = np.result_type(self.X.dtype, np.float64)
        return ScaledMatrix(self.X, -1.0 / self._unit, dtype)

    def gradient(self, evaluation: Evaluation) -> Factors:
        factors = evaluation.factors
        g = self._model_gradient(factors, factors).moved(
            factors.joined(*evaluation.state), -1.0
        )
        return self.penalty.added(g, factors)

    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        factors = evaluation.factors
        x_right, x_left = evaluation.state
        xd_right, xd_left = self._products(direction)
        coefficients = self._polynomial(evaluation, direction, xd_right, xd_left)

        def advance(t: float) -> Evaluation:
            step = self.dtype.type(t)
            return self._evaluation(
                factors.moved(direction, t),
                x_right + step * xd_right,
                x_left + step * xd_left,
            )

        return Quartic(coefficients, advance)

    def curvature(self, evaluation: Evaluation) -> Callable[[Factors], Factors]:
        factors = evaluation.factors

        def product(direction: Factors) -> Factors:
            model = self._model_gradient(factors, direction, tangent=True)
            return self.penalty.added(model, direction)

        return product

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        slope = dot(u, self.X.times(v) / self.dtype.type(self._unit))
        if evaluation is not None:
            factors = evaluation.factors
            slope -= dot(factors.left.T @ u, factors.right.T @ v)
        curvature = float(np.vdot(gram(u), gram(v)))
        return Growth(self.penalty.excess(slope) / curvature, self.evaluate)

    def _products(self, factors: Factors) -> tuple[Array, Array]:
        """``X R`` and ``X^T L``."""
        unit = self.dtype.type(self._unit)
        x_right, x_left = self.X.both_products(factors.left, factors.right)
        return x_right / unit, x_left / unit

    def _evaluation(
        self, factors: Factors, x_right: Array, x_left: Array
    ) -> Evaluation:
        left, right = factors.left, factors.right
        model = float(np.vdot(gram(left), gram(right)))
        loss = 0.5 * (self.data_norm**2 - 2 * dot(left, x_right) + model)
        loss = max(loss, 0.0)
        return Evaluation(
            factors,
            loss,
            loss + self.penalty.value(factors),
            relative(loss, self.data_norm),
            (x_right, x_left),
        )

    def _model_gradient(
        self, factors: Factors, direction: Factors, *, tangent: bool = False
    ) -> Factors:
        """Gradient of ``||M||^2 / 2`` at M = L R^T or at a tangent matrix."""
        left, right = factors.left, factors.right
        to_left = direction.left @ (right.T @ right)
        to_right = direction.right @ (left.T @ left)
        if tangent:
            to_left = to_left + left @ (direction.right.T @ right)
            to_right = to_right + right @ (direction.left.T @ left)
        return factors.joined(to_left, to_right)

    def _polynomial(
        self, evaluation: Evaluation, d: Factors, xd_right: Array, xd_left: Array
    ) -> Array:
        factors = evaluation.factors
        left, right, d_left, d_right = factors.left, factors.right, d.left, d.right
        cross_left, cross_right = left.T @ d_left, right.T @ d_right
        gram_dl, gram_dr = gram(d_left), gram(d_right)
        linear_sq = (
            np.vdot(gram_dl, gram(right))
            + np.vdot(gram(left), gram_dr)
            + 2 * np.vdot(cross_left, cross_right.T)
        )
        residual_quadratic = np.vdot(cross_left, cross_right) - dot(d_left, xd_right)
        linear_quadratic = np.vdot(gram_dl, cross_right) + np.vdot(cross_left, gram_dr)
        slope = self.gradient(evaluation).inner(d)
        curvature = 0.5 * linear_sq + residual_quadratic + self.penalty.value(d)
        quartic = 0.5 * np.vdot(gram_dl, gram_dr)
        return np.array(
            [evaluation.value, slope, curvature, linear_quadratic, quartic], dtype=float
        )
