"""The squared loss with every entry observed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from skprecgd._linalg.numerics import dot, gram, norm, working_dtype
from skprecgd._linalg.stored import without_duplicates
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.losses import SquaredLoss
from skprecgd.objective.base import Evaluation, Growth, Objective, relative
from skprecgd.objective.rays import Quartic, Ray


class FullObjective(Objective):
    """Squared loss with every entry observed: ``||L R^T - X||_F^2 / 2 + ridge``.

    Works with ``X R``, ``X^T L`` and Gram matrices; the residual is never formed,
    so a sparse X stays sparse. The price: a value below about 1e-16 of
    ``||X||^2`` cannot be told from zero, so convergence is judged by the gradient.

    Parameters
    ----------
    X : ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
    alpha : float, default=0.0
    """

    def __init__(self, X: Any, alpha: float = 0.0, *, unit: float = 1.0) -> None:
        self.X = without_duplicates(X) if sparse.issparse(X) else X
        self.matrix_shape = (int(X.shape[0]), int(X.shape[1]))
        self.dtype = working_dtype(np.dtype(X.dtype))
        self.alpha = float(alpha)
        self.loss = SquaredLoss()
        # X itself is never copied: products are divided by the unit instead.
        self._unit = unit

    @property
    def large_products(self) -> bool:
        return bool(getattr(self.X, "large_products", isinstance(self.X, np.ndarray)))

    @property
    def solved_by_svd(self) -> bool:
        return True

    @property
    def n_measurements(self) -> int:
        return self.matrix_shape[0] * self.matrix_shape[1]

    @cached_property
    def data_norm(self) -> float:
        if hasattr(self.X, "frobenius_norm"):
            return self.X.frobenius_norm() / self._unit
        if isinstance(self.X, LinearOperator):
            return _operator_norm(self.X) / self._unit
        return norm(self.X.data if sparse.issparse(self.X) else self.X) / self._unit

    @property
    def resolution(self) -> float:
        # The loss is a difference of terms of the size of the data's norm squared.
        return float(np.sqrt(64 * np.finfo(self.dtype).eps))

    def normalised(self) -> tuple[FullObjective, float]:
        unit = self.data_norm
        if unit == 0.0:
            return self, 1.0
        return FullObjective(self.X, self.alpha / unit, unit=unit * self._unit), unit

    def noise_share(self, noise_variance: float) -> float:
        return noise_variance * self.matrix_shape[0] * self.matrix_shape[1]

    def evaluate(self, factors: Factors) -> Evaluation:
        return self._evaluation(factors, *self._products(factors))

    def matrix_gradient(self, evaluation: Evaluation) -> LinearOperator:
        left, right = evaluation.factors.left, evaluation.factors.right
        low_rank = aslinearoperator(left) @ aslinearoperator(right.T)
        return low_rank + self.matrix_gradient_at_zero()

    def matrix_gradient_at_zero(self) -> LinearOperator:
        return (-1.0 / self._unit) * aslinearoperator(self.X)

    def gradient(self, evaluation: Evaluation) -> Factors:
        factors = evaluation.factors
        g = self._model_gradient(factors, factors).moved(
            factors.joined(*evaluation.state), -1.0
        )
        return g.moved(factors.ridge_gradient(), self.alpha) if self.alpha else g

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
        ridge = self.alpha * factors.multiplicity

        def product(direction: Factors) -> Factors:
            model = self._model_gradient(factors, direction, tangent=True)
            return model.moved(direction, ridge) if ridge else model

        return product

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        slope = dot(u, self._times(v))
        if evaluation is not None:
            factors = evaluation.factors
            slope -= dot(factors.left.T @ u, factors.right.T @ v)
        return Growth(max(0.0, slope - self.alpha), self.evaluate)

    def _times(self, block: Array) -> Array:
        return np.asarray(self.X @ block) / self.dtype.type(self._unit)

    def _products(self, factors: Factors) -> tuple[Array, Array]:
        """``X R`` and ``X^T L``: in one pass where the data offer it."""
        left, right, unit = factors.left, factors.right, self.dtype.type(self._unit)
        if hasattr(self.X, "both_products"):
            x_right, x_left = self.X.both_products(left, right)
        else:
            x_right, x_left = self.X @ right, self.X.T @ left
        return np.asarray(x_right) / unit, np.asarray(x_left) / unit

    def _evaluation(
        self, factors: Factors, x_right: Array, x_left: Array
    ) -> Evaluation:
        left, right = factors.left, factors.right
        model = float(np.vdot(gram(left), gram(right)))
        loss = 0.5 * (self.data_norm**2 - 2 * dot(left, x_right) + model)
        loss = max(loss, 0.0)
        ridge = 0.5 * self.alpha * factors.ridge() if self.alpha else 0.0
        return Evaluation(
            factors,
            loss,
            loss + ridge,
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
        curvature = 0.5 * linear_sq + residual_quadratic
        if self.alpha:
            curvature += 0.5 * self.alpha * d.ridge()
        quartic = 0.5 * np.vdot(gram_dl, gram_dr)
        return np.array(
            [evaluation.value, slope, curvature, linear_quadratic, quartic], dtype=float
        )


def _operator_norm(operator: LinearOperator) -> float:
    """Frobenius norm of an operator, by its products with the identity in blocks."""
    n_columns = operator.shape[1]
    squares = []
    for start in range(0, n_columns, 256):
        width = min(256, n_columns - start)
        block = np.zeros((n_columns, width))
        block[np.arange(start, start + width), np.arange(width)] = 1.0
        squares.append(norm(operator.matmat(block)))
    return norm(np.array(squares))
