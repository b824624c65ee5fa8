"""Loss of (measurements of the factors) plus ridge, as a function of the factors.

``f(L, R) = 1/(m s c) sum_i loss(<A_i, L R^T>, y_i) + alpha/2 (||L||^2 + ||R||^2)``

with m measurements, s their mean squared entry and c the typical curvature of the
loss. So normalised, the curvature of f in the matrix is about one whatever the
measurements, and ``sqrt(2 f)`` is the size of the error: the damping rules and
the step sizes build on it. With the squared loss, minimising f over factors of
sufficient rank is minimising ``phi(M) + alpha ||M||_*``.

An objective is a pure function: it holds data, never an iterate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.utils import check_random_state

from skprecgd._arrays import empty
from skprecgd._cubic import cubic_roots
from skprecgd._numerics import (
    dot,
    falling_until,
    gram,
    norm,
    sum_with_error,
    working_dtype,
)
from skprecgd._rows import solve_weighted_rows
from skprecgd._typing import Array, RandomState
from skprecgd.factors import FactorPair, Factors
from skprecgd.kernels import ray_point, ray_sums, squared_distance
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.measurements import FullObservation, Measurements

# Rounding of a value, as a share of it.
_VALUE_ROUNDING = 16 * float(np.finfo(np.float64).eps)
# Rounding of a polynomial, as a share of its terms: their coefficients are sums, too.
_SUM_ROUNDING = 1e4 * float(np.finfo(np.float64).eps)
# Of the coefficients of a polynomial, what is smaller beside the largest is zero.
_TINY = 1e16 * float(np.finfo(np.float64).tiny)
# A step that has to be cut more often than this leads nowhere.
_MAX_HALVINGS = 60


@dataclass(frozen=True)
class Evaluation:
    """What is known at one point; products with the data are never repeated.

    Attributes
    ----------
    factors : Factors
    loss : float
        The data part of the objective.
    value : float
        `loss` plus the ridge.
    relative_residual : float
        ``sqrt(loss / loss at zero)``.
    state : object
        Products with the data that the objective reuses (private to it).
    ahead : Factors or None
        Where the next step is to be linearised, if not at `factors`: these have columns
        of zeros in the place of some of its columns.
    kept : dict
        Small results that are asked for more than once (private to the objective).
    """

    factors: Factors
    loss: float
    value: float
    relative_residual: float
    state: Any
    ahead: Factors | None = field(default=None, kw_only=True)
    kept: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)


@dataclass(frozen=True)
class Growth:
    """A rank-one term that is added to a point.

    Attributes
    ----------
    length : float
        Its singular value, the exact minimiser.
    arrive : callable
        Factors of the sum -> Evaluation.
    """

    length: float
    arrive: Callable[[Factors], Evaluation]


class Ray(ABC):
    """The objective along ``factors + t * direction``."""

    @abstractmethod
    def value(self, t: float) -> float:
        """Objective at step t, without a further pass over the data."""

    @abstractmethod
    def advance(self, t: float) -> Evaluation:
        """Evaluation at step t, without a further pass over the data."""

    @abstractmethod
    def minimizer(self) -> float:
        """The minimiser along the ray, without a further pass over the data."""


class Quartic(Ray):
    """Squared loss along a ray: a polynomial of degree four in the step.

    Parameters
    ----------
    coefficients : ndarray of shape (5,)
        Constant term first.
    advance : callable
        Step -> Evaluation.
    """

    def __init__(
        self, coefficients: Array, advance: Callable[[float], Evaluation]
    ) -> None:
        self.coefficients = coefficients
        self._advance = advance

    def value(self, t: float) -> float:
        return float(np.polyval(self.coefficients[::-1], t))

    def minimizer(self) -> float:
        # Plain numbers: arrays of five would take ten times as long.
        a = [float(coefficient) for coefficient in self.coefficients]
        if not all(isfinite(coefficient) for coefficient in a):
            return 0.0
        cubic = [a[1], 2 * a[2], 3 * a[3], 4 * a[4]]
        # A subnormal coefficient would overflow when the others are divided by it.
        least = _TINY * max(abs(coefficient) for coefficient in cubic)
        roots = cubic_roots(*(c if abs(c) >= least else 0.0 for c in cubic))
        best = lowest = 0.0
        # Nearly double roots may come out as a complex pair: their real part is a
        # candidate, too, since the best one is chosen by value. Of two that are as
        # good, the step forward.
        for step in sorted(roots, reverse=True):
            change = self._change(a, step)
            # Far out a decrease may be nothing but the rounding of huge terms: along a
            # direction without a quadratic part, that part is rounding, too.
            terms = self._change([abs(c) for c in a], abs(step))
            if change < lowest and -change >= _SUM_ROUNDING * terms:
                best, lowest = step, change
        return best

    @staticmethod
    def _change(a: Sequence[float], t: float) -> float:
        """The polynomial without its constant term."""
        return t * (a[1] + t * (a[2] + t * (a[3] + t * a[4])))

    def advance(self, t: float) -> Evaluation:
        return self._advance(t)


class Objective(ABC):
    """Contract of an objective; see the module's docstring for the formula."""

    matrix_shape: tuple[int, int]
    dtype: np.dtype
    alpha: float
    loss: Loss
    can_split: bool = False
    """Whether there is a list of measurements, of which some can be held out."""

    @property
    @abstractmethod
    def n_measurements(self) -> int:
        """How many numbers were measured."""

    @property
    @abstractmethod
    def large_products(self) -> bool:
        """Whether products with the data are large enough for several BLAS threads."""

    @property
    @abstractmethod
    def data_norm(self) -> float:
        """``sqrt(2 * loss at zero)``: for the squared loss about ``||M||_F``."""

    @property
    def resolution(self) -> float:
        """Relative residual below which the loss is rounding only."""
        return 0.0

    @property
    def targets_are_drawn(self) -> bool:
        """Whether the targets are labels or counts, which no fit can explain."""
        return False

    @abstractmethod
    def normalised(self) -> tuple[Self, float]:
        """The same problem for ``M / unit``, with unit data norm, and `unit`."""

    def split(
        self, n_held_out: int, rng: np.random.RandomState
    ) -> tuple[Objective, Objective]:
        """Two objectives, normalised alike: of most measurements, and of the others.

        Parameters
        ----------
        n_held_out : int
            How many random measurements make up the second.
        rng : RandomState

        Raises
        ------
        NotImplementedError
            Unless `can_split`.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to hold out.")

    def gain(self, evaluation: Evaluation, other: Evaluation) -> tuple[float, float]:
        """By how much the loss is less at another point, and the error of that.

        Parameters
        ----------
        evaluation, other : Evaluation

        Returns
        -------
        difference, standard_error : float
            Over measurements drawn like these.

        Raises
        ------
        NotImplementedError
            Unless `can_split`.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to hold out.")

    @abstractmethod
    def noise_share(self, noise_variance: float) -> float:
        """What noise of that variance per measurement adds to ``2 * loss``."""

    @abstractmethod
    def evaluate(self, factors: Factors) -> Evaluation:
        """Value and predictions at a point."""

    def balanced(self, evaluation: Evaluation) -> Evaluation:
        """The same matrix by balanced factors."""
        return self.evaluate(evaluation.factors.balanced())

    def sharpened(self, evaluation: Evaluation, tol: float) -> Objective | None:
        """The objective with less rounding in its loss, or None; see `Loss.sharpened`.

        Parameters
        ----------
        evaluation : Evaluation
            A minimum of this one.
        tol : float
            Relative residual that is wanted.
        """
        return None

    @abstractmethod
    def matrix_gradient(self, evaluation: Evaluation) -> Any:
        """``S``, the gradient of the loss in the matrix (array or operator)."""

    @abstractmethod
    def gradient(self, evaluation: Evaluation) -> Factors:
        """Gradient of the objective in the factors."""

    @abstractmethod
    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        """The objective along a direction: one fused pass over the data."""

    @abstractmethod
    def curvature(self, evaluation: Evaluation) -> Callable[[Factors], Factors]:
        """The Gauss-Newton Hessian at a point: direction -> Hessian @ direction."""

    def contracts(self, rank: int) -> bool:
        """Whether a pass at a point spares `curvature_in` all others there."""
        return False

    def curvature_in(
        self, evaluation: Evaluation, roots: Sequence[Array]
    ) -> Callable[[Array], Array]:
        """`curvature` in other coordinates, on the numbers of a direction in a row.

        Parameters
        ----------
        evaluation : Evaluation
        roots : sequence of ndarray of shape (r, r)
            Per block W: the coordinates are those of ``direction W^-T``.
        """
        product, factors = self.curvature(evaluation), evaluation.factors
        transposed = [root.T for root in roots]

        def times(numbers: Array) -> Array:
            direction = factors.shaped(numbers).times_right(transposed)
            return product(direction).times_right(roots).flat()

        return times

    def curvature_product(self, evaluation: Evaluation, direction: Factors) -> Factors:
        """Gauss-Newton Hessian times one direction."""
        return self.curvature(evaluation)(direction)

    def block_move(self, evaluation: Evaluation, gradient: Array, block: int) -> Any:
        """Gauss-Newton move of one factor, where there is a closed form; else None.

        Parameters
        ----------
        evaluation : Evaluation
        gradient : ndarray of shape (n_rows, r) or (n_columns, r)
            The objective's, in that block.
        block : {0, 1}
            The left or the right factor of a pair.
        """
        return None

    @abstractmethod
    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        """Exact step along ``u v^T`` (unit vectors) from a point or from zero.

        Of length 0 where the ridge outweighs the slope: the term would not pay.
        """

    @abstractmethod
    def matrix_gradient_at_zero(self) -> Any:
        """``S`` at ``M = 0``."""


def make_objective(
    measurements: Measurements,
    targets: Any,
    loss: Loss | None = None,
    alpha: float = 0.0,
) -> Objective:
    """The objective of a recovery problem.

    Parameters
    ----------
    measurements : Measurements
        What was measured.
    targets : array-like of shape (n_measurements,)
        The measured numbers. For `FullObservation` the data matrix itself: dense,
        sparse or a LinearOperator of shape ``(n_rows, n_columns)``.
    loss : Loss, default=None
        None is the squared loss. Constants of it that depend on the scale of the
        data are filled in from the targets.
    alpha : float, default=0.0
        Ridge on both factors, that is a nuclear-norm penalty on the matrix, in
        units of the singular values of the matrix.

    Returns
    -------
    Objective

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> make_objective(FullObservation((2, 2)), np.diag([3.0, 4.0])).data_norm
    5.0
    """
    loss = SquaredLoss() if loss is None else loss
    if isinstance(measurements, FullObservation) and loss.name == "squared":
        if tuple(targets.shape) != measurements.matrix_shape:
            raise ValueError(
                f"The data have shape {tuple(targets.shape)}, but the measurements "
                f"are of a matrix of shape {measurements.matrix_shape}."
            )
        return FullObjective(targets, alpha)
    targets = np.asarray(targets).ravel()
    loss.target_check(targets)
    return SampledObjective(measurements, targets, loss.relative_to(targets), alpha)


class SampledObjective(Objective):
    """Objective over a finite list of measurements; see `make_objective`."""

    can_split = True

    def __init__(
        self,
        measurements: Measurements,
        targets: Array,
        loss: Loss,
        alpha: float = 0.0,
    ) -> None:
        if len(targets) != measurements.n_measurements:
            raise ValueError(
                f"y has {len(targets)} values for {measurements.n_measurements} "
                "measurements; they must agree."
            )
        self.measurements = measurements
        self.matrix_shape = measurements.matrix_shape
        self.dtype = measurements.dtype
        # Not cast to the measurements' dtype before they are brought to unit scale:
        # float64 targets may lie outside the range of float32.
        self.targets = targets.astype(working_dtype(targets.dtype), copy=False)
        self.loss = loss
        self.alpha = float(alpha)

    @property
    def n_measurements(self) -> int:
        return len(self.targets)

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    @property
    def targets_are_drawn(self) -> bool:
        return self.loss.drawn(self.targets)

    @cached_property
    def typical_curvature(self) -> float:
        """The curvature of the loss that counts as one."""
        return self.loss.typical_curvature(self.targets)

    @cached_property
    def weight(self) -> float:
        """What each measurement's loss is multiplied with."""
        scale = self.measurements.mean_square * self.typical_curvature
        return 1.0 / (max(1, len(self.targets)) * scale) if scale > 0 else 0.0

    @cached_property
    def data_norm(self) -> float:
        if isinstance(self.loss, SquaredLoss):
            return norm(self.targets) * float(np.sqrt(self.weight))
        zero = np.zeros_like(self.targets)
        return float(np.sqrt(2 * self.weight * self.loss.value(zero, self.targets)))

    def split(
        self, n_held_out: int, rng: np.random.RandomState
    ) -> tuple[SampledObjective, SampledObjective]:
        order = rng.permutation(len(self.targets))
        held_out, kept = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
        return self.subset(kept), self.subset(held_out)

    def normalised(self) -> tuple[SampledObjective, float]:
        unit = self.data_norm
        if not self.loss.homogeneous or unit == 0.0:
            return self, 1.0
        targets = np.divide(self.targets, unit, dtype=np.float64)
        targets = targets.astype(self.dtype, copy=False)
        loss = self.loss.rescaled(1.0 / unit)
        return self._with(self.measurements, targets, loss, self.alpha / unit), unit

    def noise_share(self, noise_variance: float) -> float:
        return noise_variance * self.weight * len(self.targets)

    def subset(self, index: Array) -> SampledObjective:
        """The objective of some of the measurements, normalised like the whole."""
        part = self._with(
            self.measurements.rows(index), self.targets[index], self.loss, self.alpha
        )
        part.measurements.mean_square = self.measurements.mean_square
        part.typical_curvature = self.typical_curvature
        return part

    def gain(self, evaluation: Evaluation, other: Evaluation) -> tuple[float, float]:
        costs = [
            self.loss.pointwise(e.state, self.targets) for e in (evaluation, other)
        ]
        each = self.weight * (costs[0] - costs[1])
        return sum_with_error(len(each), float(np.sum(each)), dot(each, each))

    def evaluate(self, factors: Factors) -> Evaluation:
        z = self.measurements.forward(factors.left, factors.right)
        return self._evaluation(factors, z)

    def balanced(self, evaluation: Evaluation) -> Evaluation:
        # What is known of the matrix stays true.
        factors, loss = evaluation.factors.balanced(), evaluation.loss
        value = loss + self._ridge(factors)
        return replace(evaluation, factors=factors, value=value, ahead=None)

    def sharpened(self, evaluation: Evaluation, tol: float) -> SampledObjective | None:
        # A ridge leaves residuals of its own, and is weighed against this loss.
        if self.alpha > 0:
            return None
        finest = max(tol, float(np.sqrt(np.finfo(self.dtype).eps)))
        loss = self.loss.sharpened(evaluation.state, self.targets, finest)
        return None if loss is None else self.with_loss(loss)

    def with_loss(self, loss: Loss) -> SampledObjective:
        """The same data with another loss, whose constants are known."""
        return self._with(self.measurements, self.targets, loss, self.alpha)

    def matrix_gradient(self, evaluation: Evaluation) -> Any:
        if not self.measurements.keeps_adjoint:
            return self.measurements.adjoint(self._slopes(evaluation.state))
        # Wanted for the gradient in the factors, for growth and for the certificate.
        kept = evaluation.kept
        if "S" not in kept:
            kept["S"] = self.measurements.adjoint(self._slopes(evaluation.state))
        return kept["S"]

    def matrix_gradient_at_zero(self) -> Any:
        return self.matrix_gradient(self.at_zero)

    def sign_flipped_gradient(
        self, evaluation: Evaluation | None, random_state: RandomState
    ) -> Any:
        """`matrix_gradient` with the signs of the residuals drawn anew: all chance.

        Parameters
        ----------
        evaluation : Evaluation or None
            None is the zero matrix.
        random_state : int, RandomState instance or None
        """
        slopes = self._slopes((evaluation or self.at_zero).state)
        bits = check_random_state(random_state).bytes(-(-len(slopes) // 8))
        flipped = np.unpackbits(np.frombuffer(bits, np.uint8), count=len(slopes))
        np.negative(slopes, out=slopes, where=flipped.view(bool))
        return self.measurements.adjoint(slopes)

    def gradient(self, evaluation: Evaluation) -> Factors:
        factors = evaluation.factors
        if self.measurements.keeps_adjoint:
            g = factors.gradient_from(self.matrix_gradient(evaluation))
        else:
            slopes = self._slopes(evaluation.state)
            g = factors.joined(
                *self.measurements.adjoint_products(slopes, factors.left, factors.right)
            )
        return g.moved(factors.ridge_gradient(), self.alpha) if self.alpha else g

    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        z, factors = evaluation.state, evaluation.factors
        z1, z2, S = self._measured_ray(evaluation, direction)
        ridge = np.zeros(5)
        if self.alpha:
            ridge = self.alpha * ridge_polynomial(factors, direction)

        def advance(t: float) -> Evaluation:
            there = factors.moved(direction, t)
            return self._reached(there, ray_point(z, z1, z2, t), S, t)

        if isinstance(self.loss, SquaredLoss):
            s00, s01, s11, s02, s12, s22 = ray_sums(z, self.targets, z1, z2)
            data = [0.5 * s00, s01, 0.5 * s11 + s02, s12, 0.5 * s22]
            coefficients = self.weight * np.array(data)
            return Quartic(coefficients + ridge, advance)

        def minimum() -> float:
            return self._minimum_along(z, z1, z2, ridge)

        return _SampledRay(advance, evaluation.value, minimum)

    def _measured_ray(
        self, evaluation: Evaluation, direction: Factors
    ) -> tuple[Array, Array, _CarriedGradient | None]:
        """Both measurements of a ray, and S along it where that comes with them."""
        blocks = evaluation.factors.left, evaluation.factors.right
        moves = direction.left, direction.right
        if not self._carries(evaluation):
            return *self.measurements.forward_ray(*blocks, *moves), None
        z1, z2, S1, S2 = self.measurements.ray_and_back(*blocks, *moves, self.weight)
        return z1, z2, _CarriedGradient(evaluation.kept, S1, S2)

    def _carries(self, evaluation: Evaluation) -> bool:
        """Whether S is known at the point, and follows along straight lines."""
        # It is linear in the predictions with the squared loss only. Close to the data,
        # their rounding is part of it.
        linear = isinstance(self.loss, SquaredLoss)
        close = evaluation.relative_residual**2 < np.finfo(self.dtype).eps
        return linear and not close and "S" in evaluation.kept

    def curvature(self, evaluation: Evaluation) -> Callable[[Factors], Factors]:
        if not self.loss.has_curvature:
            raise ValueError(
                "solver='gauss-newton' needs a loss with a curvature; "
                f"loss={self.loss.name!r} has none."
            )
        factors = evaluation.factors
        tangent = self.measurements.tangent(factors.left, factors.right)
        weights = self._curvature_weights(evaluation.state)
        ridge = self.alpha * factors.multiplicity

        def product(direction: Factors) -> Factors:
            both = factors.joined(
                *tangent.normal(direction.left, direction.right, weights)
            )
            return both.moved(direction, ridge) if ridge else both

        return product

    def contracts(self, rank: int) -> bool:
        return self.alpha == 0 and self.measurements.contracts(rank)

    def curvature_in(
        self, evaluation: Evaluation, roots: Sequence[Array]
    ) -> Callable[[Array], Array]:
        factors = evaluation.factors
        if not self.contracts(factors.rank):
            return super().curvature_in(evaluation, roots)
        # What stands to the right of a move of one factor is the other factor.
        there = factors.other_times_right(roots)
        product = self.curvature(replace(evaluation, factors=there))

        def times(numbers: Array) -> Array:
            return product(factors.shaped(numbers)).flat()

        return times

    def block_move(self, evaluation: Evaluation, gradient: Array, block: int) -> Any:
        if not self.measurements.single_entries:
            return None
        # Every row of the factor meets its own entries only: a small problem each.
        per_entry = self._curvature_weights(evaluation.state)
        weights = self.measurements.adjoint(per_entry * np.ones_like(self.targets))
        other = evaluation.factors.blocks[1 - block]
        if block == 1:
            weights = weights.T.tocsr()
        return -solve_weighted_rows(weights, gradient, other, self.alpha)

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        here = evaluation or self.at_zero
        z, S = here.state, None
        if self._carries(here):
            rank_one, back = self.measurements.forward_and_back(u, v, self.weight)
            S = _CarriedGradient(here.kept, back, np.zeros_like(back))
        else:
            rank_one = self.measurements.forward(u, v)
        length = self._length(z, rank_one)

        def arrive(factors: Factors) -> Evaluation:
            out = empty(len(z), np.result_type(z, rank_one))
            np.multiply(rank_one, rank_one.dtype.type(length), out=out)
            out += z
            return self._reached(factors, out, S, length)

        return Growth(length, arrive)

    def _length(self, z: Array, rank_one: Array) -> float:
        """The exact step from predictions z along a rank-one term's measurements."""
        if isinstance(self.loss, SquaredLoss):
            # In closed form, by curvature weights that may leave measurements out.
            slope = -dot(self._slopes(z), rank_one)
            weighted = empty(len(z), self.dtype)
            np.multiply(self._curvature_weights(z), rank_one, out=weighted)
            curvature = dot(weighted, rank_one)
            return max(0.0, slope - self.alpha) / curvature if curvature > 0 else 0.0
        flat = np.zeros_like(rank_one)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._minimum_along(z, rank_one, flat, [0.0, self.alpha, 0.0])

    def _minimum_along(self, z: Array, z1: Array, z2: Array, ridge: Any) -> float:
        """About the first minimum of the objective along ``z + t z1 + t^2 z2``.

        `ridge` are the coefficients of the ridge as a polynomial in t.
        """
        pull = self.loss.gradient(z, self.targets)
        start = self.weight * dot(pull, z1) + ridge[1]
        first = 1.0
        if self.loss.has_curvature:
            curvature = dot(self._curvature_weights(z) * z1, z1)
            curvature += 2 * (self.weight * dot(pull, z2) + ridge[2])
            first = -start / curvature if curvature > 0 else 1.0

        def slope(t: float) -> float:
            pull = self.loss.gradient(ray_point(z, z1, z2, t), self.targets)
            along = self.weight * dot(pull, z1 + self.dtype.type(2 * t) * z2)
            return along + ridge[1] + 2 * t * ridge[2]

        return falling_until(slope, start, first)

    def _curvature_weights(self, z: Array) -> Any:
        weight = self.dtype.type(self.weight)
        if isinstance(self.loss, SquaredLoss):
            return weight
        return weight * self.loss.curvature(z, self.targets)

    def _evaluation(self, factors: Factors, z: Array) -> Evaluation:
        if isinstance(self.loss, SquaredLoss):
            loss = 0.5 * self.weight * squared_distance(z, self.targets)
        else:
            loss = self.weight * self.loss.value(z, self.targets)
        value = loss + self._ridge(factors)
        return Evaluation(factors, loss, value, relative(loss, self.data_norm), z)

    def _reached(
        self, factors: Factors, z: Array, S: _CarriedGradient | None, t: float
    ) -> Evaluation:
        """The evaluation at step t of a line, with S where it comes along."""
        there = self._evaluation(factors, z)
        if S is not None:
            there.kept.update(S.at(t))
        return there

    def _ridge(self, factors: Factors) -> float:
        return 0.5 * self.alpha * factors.ridge() if self.alpha else 0.0

    @property
    def at_zero(self) -> Evaluation:
        """The evaluation of the zero matrix, by factors of rank 0."""
        z = empty(len(self.targets), self.targets.dtype)
        z.fill(0)
        none = FactorPair(*(np.zeros((n, 0), self.dtype) for n in self.matrix_shape))
        return replace(self._evaluation(none, z), kept=self._kept_at_zero)

    @cached_property
    def _kept_at_zero(self) -> dict[str, Any]:
        return {}

    def _slopes(self, z: Array) -> Array:
        """Derivative of the objective with respect to each value, an array of its own.

        Weighted before the adjoint, so that very small or very large measurement
        matrices neither underflow nor overflow in the products.
        """
        if isinstance(self.loss, SquaredLoss):
            dtype = np.result_type(z, self.targets)
            slopes = np.subtract(z, self.targets, out=empty(len(z), dtype))
            slopes *= dtype.type(self.weight)
        else:
            slopes = self.loss.gradient(z, self.targets)
            slopes = slopes * slopes.dtype.type(self.weight)
        return slopes.astype(self.dtype, copy=False)

    def _with(
        self, measurements: Measurements, targets: Array, loss: Loss, alpha: float
    ) -> SampledObjective:
        """The same kind of objective of other data."""
        return SampledObjective(measurements, targets, loss, alpha)


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
        self.X = _canonical(X) if sparse.issparse(X) else X
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


class _CarriedGradient:
    """The gradient in the matrix along a ray, ``S + t S1 + t^2 S2``.

    Parameters
    ----------
    kept : dict
        Of the evaluation the ray starts from, with S.
    linear, quadratic : ndarray of shape `matrix_shape`
    """

    def __init__(self, kept: dict[str, Any], linear: Array, quadratic: Array) -> None:
        self._start, self._linear, self._quadratic = kept["S"], linear, quadratic
        # Its rounding does not get smaller with it: half the digits are to be left.
        self._least = float(np.sqrt(np.finfo(self._start.dtype).eps))
        # The largest since S was summed afresh: its rounding is what S has.
        largest = kept.get("largest S")
        self._largest = norm(self._start) if largest is None else largest

    def at(self, t: float) -> dict[str, Any]:
        """What there is to keep at a step: nothing where too few digits are left."""
        start, linear, quadratic = self._start, self._linear, self._quadratic
        S = ray_point(start.ravel(), linear.ravel(), quadratic.ravel(), t)
        size = norm(S)
        if not size > self._least * self._largest:
            return {}
        S = S.reshape(start.shape)
        return {"S": S, "largest S": max(size, self._largest)}


class _SampledRay(Ray):
    """Any loss along a ray: evaluated pointwise, no pass over the measurements."""

    def __init__(
        self,
        advance: Callable[[float], Evaluation],
        value: float,
        minimum: Callable[[], float],
    ) -> None:
        self._advance = advance
        self._at_zero = value
        self._minimum = minimum

    def value(self, t: float) -> float:
        return self._at_zero if t == 0 else self._advance(t).value

    def advance(self, t: float) -> Evaluation:
        return self._advance(t)

    def minimizer(self) -> float:
        t = self._minimum()
        # Where rounding hides the decrease of the value, the slope still shows it.
        allowed = self._at_zero + _VALUE_ROUNDING * abs(self._at_zero)
        for _ in range(_MAX_HALVINGS):
            if self.value(t) <= allowed:
                return t
            t *= 0.5
        return 0.0


def ridge_polynomial(factors: Factors, direction: Factors) -> Array:
    """Coefficients of half the squared norm of both factors along a ray."""
    mult = factors.multiplicity
    return np.array(
        [
            0.5 * factors.ridge(),
            mult * factors.inner(direction),
            0.5 * direction.ridge(),
            0.0,
            0.0,
        ]
    )


def relative(loss: float, data_norm: float) -> float:
    if data_norm > 0:
        return float(np.sqrt(2 * loss)) / data_norm
    return np.inf if loss > 0 else 0.0


def _canonical(X: Any) -> Any:
    """CSR or CSC without duplicates, whose stored values are the entries."""
    X = X if X.format in ("csr", "csc") else X.tocsr()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


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
