"""The objective for any loss of a list of measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._linalg.numerics import (
    UNIT,
    dot,
    first_minimum,
    largest_size,
    norm,
    sum_with_error,
    working_dtype,
)
from skprecgd._linalg.products import all_finite
from skprecgd._runtime.arrays import empty
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.factors import FactorPair, Factors
from skprecgd.kernels import ray_point
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.measurements import Measurements
from skprecgd.objective.base import (
    Evaluation,
    GrossErrors,
    Growth,
    Objective,
    ObservedEntries,
    Ray,
    relative,
)
from skprecgd.objective.penalty import NO_PENALTY, Penalty
from skprecgd.objective.rays import Quartic, SampledRay
from skprecgd.objective.weights import ONCE, WeightedLoss, Weights


class SampledObjective(Objective):
    """Objective over a finite list of measurements; see `make_objective`."""

    can_split = True

    def __init__(
        self,
        measurements: Measurements,
        targets: Array,
        loss: Loss,
        penalty: Penalty = NO_PENALTY,
        weights: Weights = ONCE,
    ) -> None:
        if len(targets) != measurements.n_measurements:
            raise ValueError(
                f"y has {len(targets)} values for {measurements.n_measurements} "
                "measurements; they must agree."
            )
        self.measurements = measurements
        self.matrix_shape = measurements.matrix_shape
        self.dtype = measurements.dtype
        self.of_complex = measurements.of_complex
        # Targets are cast to the measurements' dtype only after they are brought to
        # unit scale: float64 targets may lie outside the range of float32.
        self.targets = targets.astype(working_dtype(targets.dtype), copy=False)
        self.loss = loss
        self.penalty_of_sum = penalty
        self.weights = weights
        self.costs = WeightedLoss(loss, weights, self.dtype, weights.unit)

    @cached_property
    def n_measurements(self) -> float:
        return self.weights.count(len(self.targets))

    @property
    def n_samples(self) -> int:
        return len(self.targets)

    @property
    def known_variance(self) -> float | None:
        return self.weights.unit_variance

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    @property
    def plain_least_squares(self) -> bool:
        return self.loss.least_squares and not self.penalty_of_sum.shrinks

    @property
    def targets_are_drawn(self) -> bool:
        return self.loss.drawn(self.targets)

    @cached_property
    def typical_curvature(self) -> float:
        """The curvature of the loss, by which the objective is divided."""
        return self.loss.typical_curvature(self.targets, self.weights.of_losses)

    @cached_property
    def mean_square(self) -> float:
        """Mean squared entry of the measurement matrices, each with its weight.

        Whatever a fit does starts from here, so the adjoint is checked first.
        """
        self.measurements.check_adjoint()
        each = self.weights.of_losses
        if each is None:
            return self.measurements.mean_square
        return self.measurements.weighted_mean_square(each)

    @cached_property
    def weight(self) -> float:
        # Precisions have mean one, so the count is the sum of all weights.
        # Measurements that see nothing leave the targets what they are.
        scale = (self.mean_square or 1.0) * self.typical_curvature
        scale *= self.n_measurements
        return 1.0 / scale if scale > 0 else 0.0

    @cached_property
    def _scale(self) -> float:
        """The same for the losses as `costs` has them, whose weights have a unit."""
        return self.weight * self.costs.unit

    @cached_property
    def data_norm(self) -> float:
        return self.costs.size(self.targets, self._scale)

    def split(
        self, n_held_out: int, rng: np.random.RandomState
    ) -> tuple[SampledObjective, SampledObjective]:
        order = rng.permutation(len(self.targets))
        held_out, kept = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
        return self.subset(kept), self.subset(held_out)

    def normalised(self) -> tuple[SampledObjective, float]:
        near, first = self._near_unit_scale()
        unit = near.data_norm
        if not self.loss.homogeneous or unit == 0.0:
            return near, first
        scaled = near._in_units(unit)
        targets = scaled.targets.astype(self.dtype, copy=False)
        return scaled._with(targets=targets), first * unit

    def _near_unit_scale(self) -> tuple[SampledObjective, float]:
        """The same problem for ``M / unit`` in numbers whose squares are safe.

        Nothing changes unless measurement matrices or targets are very small or very
        large. They are divided by powers of two, so that nothing is rounded.
        """
        near, unit, size = self, 1.0, 1.0
        if not UNIT.is_ordinary(float(np.sqrt(self.mean_square))):
            measurements, size = self.measurements.of_unit_size()
        if size != 1.0:
            # Predictions stay what they are, so the matrix takes the unit.
            penalty = self.penalty_of_sum.times(1.0 / size)
            near = near._with(measurements=measurements, penalty=penalty)
        if self.loss.homogeneous:
            unit = UNIT.unit(largest_size(self.targets), self.targets.dtype)
        if unit != 1.0:
            near = near._in_units(unit)
        return near, unit / size

    def _in_units(self, unit: float) -> SampledObjective:
        """The same problem for targets, and a matrix, that are divided by `unit`."""
        made = self._with(
            targets=np.divide(self.targets, unit, dtype=np.float64),
            loss=self.loss.rescaled(1.0 / unit),
        )
        if self.penalty_of_sum.shrinks:
            # Over its typical curvature, every loss takes the square of the unit.
            curvature = made.typical_curvature / self.typical_curvature
            made.penalty_of_sum = self.penalty_of_sum.times(curvature / unit)
        made.target_unit *= unit
        return made

    def noise_share(self, noise_variance: float) -> float:
        return noise_variance * self.weight * self.n_measurements

    def subset(self, index: Array) -> SampledObjective:
        """The objective of some of the measurements, normalised like the whole."""
        part = self._with(
            measurements=self.measurements.rows(index),
            targets=self.targets[index],
            weights=self.weights.at(index),
        )
        part.mean_square = self.mean_square
        part.typical_curvature = self.typical_curvature
        return part

    def gain(self, evaluation: Evaluation, other: Evaluation) -> tuple[float, float]:
        total, squares = self.costs.gain(evaluation.state, other.state, self.targets)
        w = self.weight
        return sum_with_error(self.n_measurements, w * total, w**2 * squares)

    def effective_number(self, evaluation: Evaluation) -> float:
        return self.costs.effective_number(evaluation.state, self.targets)

    def evaluate(self, factors: Factors) -> Evaluation:
        z = self.measurements.forward(factors.left, factors.right)
        return self._evaluation(factors, z)

    def balanced(self, evaluation: Evaluation) -> Evaluation:
        factors = self.penalty.balanced(evaluation.factors)
        return evaluation.by_factors(
            factors, evaluation.loss + self.penalty.value(factors)
        )

    def sharpened(self, evaluation: Evaluation, tol: float) -> SampledObjective | None:
        # A penalty leaves residuals of its own, and its size is relative to this loss.
        if self.penalty_of_sum.shrinks:
            return None
        finest = max(tol, float(np.sqrt(np.finfo(self.dtype).eps)))
        loss = self.loss.sharpened(
            evaluation.state, self.targets, finest, self.weights.frequency
        )
        return None if loss is None else self.with_loss(loss)

    def with_loss(self, loss: Loss) -> SampledObjective:
        """The same data with another loss, whose constants are known."""
        return self._with(loss=loss)

    def with_penalty(self, penalty: Penalty) -> SampledObjective:
        made = self._with(penalty=penalty.times(1.0 / self.weight))
        made.penalty = penalty
        return made

    def observed_entries(self) -> ObservedEntries | None:
        cells = self.measurements.cells() if self.measurements.single_entries else None
        return (
            None
            if cells is None
            else ObservedEntries(*cells, self.targets, self.weights.of_losses)
        )

    def mean_square_residual(
        self,
        factors: Factors,
        relative_residual: float,
        gross: GrossErrors | None = None,
        unit: float = 1.0,
    ) -> float:
        alike = self.weights.precision is None
        if gross is None and alike and self.loss.least_squares:
            return super().mean_square_residual(factors, relative_residual, unit=unit)
        z = self.measurements.forward(factors.left, factors.right)
        weights = self.weights
        if gross is not None:
            counts = gross.values == 0
            z, y, weights = z[counts], self.targets[counts], weights.at(counts)
        else:
            y = self.targets
        squares = 2 * SquaredLoss().total(z / unit, y / unit, weights.frequency)
        return squares / weights.count(len(y))

    def matrix_gradient(self, evaluation: Evaluation) -> Any:
        if not self.measurements.keeps_adjoint:
            return self.measurements.adjoint(self._slopes(evaluation.state))
        # The gradient in the factors, growth and the certificate all need S.
        kept = evaluation.kept
        if "S" not in kept:
            kept["S"] = self.measurements.adjoint(self._slopes(evaluation.state))
        return kept["S"]

    def matrix_gradient_at_zero(self) -> Any:
        return self.matrix_gradient(self.at_zero)

    def sign_flipped_gradient(
        self, evaluation: Evaluation | None, random_state: RandomState
    ) -> Any:
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
        return self.penalty.added(g, factors)

    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        z, factors = evaluation.state, evaluation.factors
        z1, z2, S = self._measured_ray(evaluation, direction)
        penalty = self.penalty.along(factors, direction)

        def advance(t: float) -> Evaluation:
            there = factors.moved(direction, t)
            return self._reached(there, self._ray_point(evaluation, z1, z2, t), S, t)

        polynomial = self._polynomial(evaluation, z1, z2)
        if polynomial is not None:
            return Quartic(self._scale * polynomial + penalty, advance)

        def minimum() -> float:
            return self._minimum_along(z, z1, z2, penalty)

        return SampledRay(advance, evaluation.value, minimum)

    def _polynomial(self, evaluation: Evaluation, z1: Array, z2: Array) -> Any:
        """The sum of the losses along a ray as a polynomial in the step, or None."""
        return self.costs.polynomial(evaluation.state, self.targets, z1, z2)

    def _ray_point(self, evaluation: Evaluation, z1: Array, z2: Array, t: float) -> Any:
        """The predictions at a step along a ray."""
        return ray_point(evaluation.state, z1, z2, t)

    def _measured_ray(
        self, evaluation: Evaluation, direction: Factors
    ) -> tuple[Array, Array, _CarriedGradient | None]:
        """Both measurements of a ray, and S along it if the same pass computes it."""
        blocks = evaluation.factors.left, evaluation.factors.right
        moves = direction.left, direction.right
        if not self._carries(evaluation):
            return *self.measurements.forward_ray(*blocks, *moves), None
        z1, z2, S1, S2 = self.measurements.ray_and_back(
            *blocks, *moves, self._curvature_weights(evaluation.state)
        )
        return z1, z2, _CarriedGradient(evaluation.kept, S1, S2)

    def _carries(self, evaluation: Evaluation) -> bool:
        """Whether S is known at the point and can be updated along straight lines."""
        # S is linear in the predictions for the squared loss only. Near an exact fit
        # rounding of the predictions dominates, so that S has to be summed afresh.
        linear = self.loss.least_squares
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
        if not all_finite(np.asarray(weights)):
            raise ValueError(
                f"The curvature of loss={self.loss.name!r} is NaN or infinite where "
                f"the objective is {evaluation.value:.3g}; it must be finite there."
            )

        def product(direction: Factors) -> Factors:
            both = factors.joined(
                *tangent.normal(direction.left, direction.right, weights)
            )
            return self.penalty.added(both, direction)

        return product

    def contracts(self, rank: int) -> bool:
        return not self.penalty_of_sum.shrinks and self.measurements.contracts(rank)

    def curvature_in(
        self, evaluation: Evaluation, roots: Sequence[Array]
    ) -> Callable[[Array], Array]:
        factors = evaluation.factors
        there = None
        if self.contracts(factors.rank):
            # A move of one factor is multiplied by the other one, which takes its root.
            there = factors.other_times_right(roots)
        if there is None:
            return super().curvature_in(evaluation, roots)
        product = self.curvature(replace(evaluation, factors=there))

        def times(numbers: Array) -> Array:
            return product(there.shaped(numbers)).flat()

        return times

    def block_move(self, evaluation: Evaluation, gradient: Array, block: int) -> Any:
        factors = evaluation.factors
        if not factors.moves_by_rows(block, penalised=self.penalty.shrinks):
            return None
        weights = np.empty(len(self.targets), self.dtype)
        weights[:] = self._curvature_weights(evaluation.state)
        other = factors.multipliers()[block]
        move = self.measurements.row_solutions(
            weights, gradient, other, self.penalty.of_lines(block), block
        )
        return None if move is None else -move

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        here = evaluation or self.at_zero
        z, S = here.state, None
        if self._carries(here):
            rank_one, back = self.measurements.forward_and_back(
                u, v, self._curvature_weights(z)
            )
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
        if self.loss.least_squares:
            # The closed form; measurements that are left out have curvature weight 0.
            slope = -dot(self._slopes(z), rank_one)
            weighted = empty(len(z), self.dtype)
            np.multiply(self._curvature_weights(z), rank_one, out=weighted)
            curvature = dot(weighted, rank_one)
            return self.penalty.excess(slope) / curvature if curvature > 0 else 0.0
        flat = np.zeros_like(rank_one)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._minimum_along(
                z, rank_one, flat, [0.0, self.penalty.threshold, 0.0]
            )

    def _minimum_along(self, z: Array, z1: Array, z2: Array, penalty: Any) -> float:
        """A step close to the first minimum of the objective along a ray.

        The predictions are ``z + t z1 + t^2 z2``.

        `penalty` are the coefficients of the penalty as a polynomial in t.
        """
        pull = self.costs.pull(z, self.targets)
        start = self._scale * dot(pull, z1) + penalty[1]
        first = 1.0
        if self.loss.has_curvature:
            curvature = dot(self._curvature_weights(z) * z1, z1)
            curvature += 2 * (self._scale * dot(pull, z2) + penalty[2])
            first = -start / curvature if 0 < curvature < np.inf else 1.0

        def slope(t: float) -> float:
            pull = self.costs.pull(ray_point(z, z1, z2, t), self.targets)
            along = self._scale * dot(pull, z1 + self.dtype.type(2 * t) * z2)
            return along + penalty[1] + 2 * t * penalty[2]

        return first_minimum(slope, start, first)

    def _curvature_weights(self, z: Array) -> Any:
        return self.costs.curvatures(z, self.targets, self._scale)

    def _evaluation(self, factors: Factors, z: Array) -> Evaluation:
        loss = self._scale * self.costs.total(z, self.targets)
        value = loss + self.penalty.value(factors)
        return Evaluation(factors, loss, value, relative(loss, self.data_norm), z)

    def _reached(
        self, factors: Factors, z: Array, S: _CarriedGradient | None, t: float
    ) -> Evaluation:
        """The evaluation at step t of a line, with S if that is updated."""
        there = self._evaluation(factors, z)
        if S is not None:
            there.kept.update(S.at(t))
        return there

    @property
    def at_zero(self) -> Evaluation:
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
        slopes = self.costs.slopes(z, self.targets, self._scale)
        return slopes.astype(self.dtype, copy=False)

    def _with(self, **changed: Any) -> Self:
        """The same kind of objective with other parts."""
        made = type(self)(**{**self._parts(), **changed})
        made.target_unit = self.target_unit
        if not changed.keys() & {"measurements", "weights"}:
            # The mean square may be that of the whole of which this is a part (see
            # `subset`), and may have taken a pass over the measurements.
            made.mean_square = self.mean_square
        return made

    def _parts(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "measurements": self.measurements,
            "targets": self.targets,
            "loss": self.loss,
            "penalty": self.penalty_of_sum,
            "weights": self.weights,
        }


class _CarriedGradient:
    """The gradient in the matrix along a ray, ``S + t S1 + t^2 S2``.

    Parameters
    ----------
    kept : dict
        `Evaluation.kept` at the start of the ray, which holds S.
    linear, quadratic : ndarray of shape `matrix_shape`
    """

    def __init__(self, kept: dict[str, Any], linear: Array, quadratic: Array) -> None:
        self._start, self._linear, self._quadratic = kept["S"], linear, quadratic
        # The rounding errors of S do not shrink with it; half its digits must be right.
        self._least = float(np.sqrt(np.finfo(self._start.dtype).eps))
        # The largest norm since S was last summed afresh determines those errors.
        largest = kept.get("largest S")
        self._largest = norm(self._start) if largest is None else largest

    def at(self, t: float) -> dict[str, Any]:
        """Items for `Evaluation.kept` at a step; none if too few digits are right."""
        start, linear, quadratic = self._start, self._linear, self._quadratic
        S = ray_point(start.ravel(), linear.ravel(), quadratic.ravel(), t)
        size = norm(S)
        if not size > self._least * self._largest:
            return {}
        S = S.reshape(start.shape)
        return {"S": S, "largest S": max(size, self._largest)}
