"""The squared loss over measurements in chunks: predictions stay with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import UNIT, dot, norm, sum_with_error
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.graph import Broadcast
from skprecgd.distributed.measurements import (
    ChunkedMeasurements,
    RandomShare,
    values_at,
)
from skprecgd.distributed.weights import ChunkedWeights
from skprecgd.factors import Factors
from skprecgd.kernels import ray_point
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import Measurements
from skprecgd.measurements.base import Tangent
from skprecgd.objective import Evaluation, Growth, Objective, Quartic, Ray
from skprecgd.objective.base import relative
from skprecgd.objective.penalty import NO_PENALTY, Penalty
from skprecgd.objective.weights import ONCE, WeightedLoss


@dataclass(frozen=True)
class _State:
    """Predictions, lazy and kept with the chunks, and the data's gradient if known."""

    z: list[Any]
    products: tuple[Array, Array] | None = None


class ChunkedObjective(Objective):
    """Squared loss over `ChunkedMeasurements`; see `make_objective` for the formula.

    An iteration is two passes: one for the ray, and one that moves the predictions and
    computes the next gradient. Predictions and targets stay with the chunks; the
    factors go out, and a gradient and a few sums come back.

    Parameters
    ----------
    measurements : ChunkedMeasurements
    targets : list
        One array for each chunk, lazy or not.
    penalty : Penalty, default=NO_PENALTY
    weights : ChunkedWeights, default=None
        How often each measurement was made, and how precisely; None is once each, all
        of them equally precise.
    """

    can_split = True

    def __init__(
        self,
        measurements: ChunkedMeasurements,
        targets: list[Any],
        penalty: Penalty = NO_PENALTY,
        weights: ChunkedWeights | None = None,
    ) -> None:
        self.measurements, self.targets = measurements, graph.as_lazy(targets)
        self.weights = weights
        self.matrix_shape = measurements.matrix_shape
        self.dtype = measurements.dtype
        self.loss = SquaredLoss()
        self.penalty_of_sum = penalty
        alike = WeightedLoss(self.loss, ONCE, self.dtype)
        self._costs = (
            Broadcast(alike)
            if weights is None
            else weights.costs(self.loss, self.dtype)
        )

    @property
    def n_measurements(self) -> float:
        return self.n_samples if self.weights is None else self.weights.count

    @property
    def n_samples(self) -> int:
        return self.measurements.n_measurements

    @property
    def known_variance(self) -> float | None:
        return None if self.weights is None else self.weights.unit_variance

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    @cached_property
    def mean_square(self) -> float:
        """Mean squared entry of the measurement matrices, each with its weight."""
        if self.weights is None:
            return self.measurements.mean_square
        return self.measurements.weighted_mean_square_of(self.weights.of_losses())

    @cached_property
    def weight(self) -> float:
        # Precisions have mean one, so the count is the sum of all weights.
        # Measurements that see nothing leave the targets what they are.
        scale = self.n_measurements * (self.mean_square or 1.0)
        return 1.0 / scale if scale > 0 else 0.0

    @cached_property
    def _scale(self) -> float:
        """The same for the losses as the chunks have them, with a unit of weights."""
        return self.weight * (1.0 if self.weights is None else self.weights.unit)

    @cached_property
    def data_norm(self) -> float:
        sizes = graph.gathered(graph.call_each(_size, self.targets, self._costs))
        return norm(np.array(sizes)) * float(np.sqrt(self._scale))

    def normalised(self) -> tuple[ChunkedObjective, float]:
        near, size = self._of_unit_size()
        unit = near.data_norm
        if unit == 0.0:
            return near, 1.0 / size
        calls = graph.call_each(_scaled, self.targets, common=(unit, self.dtype))
        targets = graph.persisted(calls)
        penalty = near.penalty_of_sum.times(1.0 / unit)
        made = near._with(near.measurements, targets, penalty, self.weights)
        made.target_unit = self.target_unit * unit
        return made, unit / size

    def _of_unit_size(self) -> tuple[ChunkedObjective, float]:
        """The same problem with measurement matrices divided by a number, and that.

        The matrix takes the number. It is one unless their squares are not safe.
        """
        if UNIT.is_ordinary(float(np.sqrt(self.mean_square))):
            return self, 1.0
        measurements, size = self.measurements.of_unit_size()
        if size == 1.0:
            return self, 1.0
        assert isinstance(measurements, ChunkedMeasurements)
        penalty = self.penalty_of_sum.times(1.0 / size)
        made = ChunkedObjective(measurements, self.targets, penalty, self.weights)
        return made, size

    def noise_share(self, noise_variance: float) -> float:
        return noise_variance * self.weight * self.n_measurements

    def split(
        self, n_held_out: int, rng: np.random.RandomState
    ) -> tuple[ChunkedObjective, ChunkedObjective]:
        lengths = np.array(self.measurements.lengths)
        # Every chunk holds out its share, rounded so that the sum is right.
        edges = np.concatenate([[0], np.cumsum(lengths)]) * (n_held_out / lengths.sum())
        counts = np.diff(np.round(edges).astype(int))
        seeds = rng.randint(np.iinfo(np.int32).max, size=len(lengths))

        def part(held_out: bool) -> ChunkedObjective:
            drawn = zip(lengths, counts, seeds, strict=True)
            return self._subset(
                [RandomShare(int(n), int(k), int(s), held_out) for n, k, s in drawn]
            )

        return part(False), part(True)

    def _subset(self, local: list[RandomShare]) -> ChunkedObjective:
        calls = graph.call_each(values_at, self.targets, local)
        targets = graph.persisted(calls)
        weights = None if self.weights is None else self.weights.selected(local)
        return self._with(
            self.measurements.selected(local), targets, self.penalty_of_sum, weights
        )

    def _with(
        self,
        measurements: ChunkedMeasurements,
        targets: list[Any],
        penalty: Penalty,
        weights: ChunkedWeights | None,
    ) -> ChunkedObjective:
        """The same objective of other data, normalised like this one."""
        made = ChunkedObjective(measurements, targets, penalty, weights)
        made.mean_square, made.target_unit = self.mean_square, self.target_unit
        return made

    def gain(self, evaluation: Evaluation, other: Evaluation) -> tuple[float, float]:
        z, other_z = evaluation.state.z, other.state.z
        calls = graph.call_each(_gains, self.targets, self._costs, z, other_z)
        total, squares = graph.gathered(graph.summed(calls))
        w = self.weight
        return sum_with_error(self.n_measurements, w * total, w**2 * squares)

    # ---- one point

    def evaluate(self, factors: Factors) -> Evaluation:
        z, totals = graph.unpacked(self._each(_evaluated, factors), 2)
        total, z = graph.gathered_and_persisted(graph.summed(totals), z)
        return self._evaluation(factors, total, _State(z))

    def gradient(self, evaluation: Evaluation) -> Factors:
        factors, state = evaluation.factors, evaluation.state
        products = state.products
        if products is None:
            calls = self._each(_products, factors, state.z, common=(self._weight,))
            to_left, to_right = graph.unpacked(calls, 2)
            blocks, to_right = graph.gathered((to_left, graph.summed(to_right)))
            products = self.measurements.gathered_rows(blocks), to_right
        g = factors.joined(*products)
        return self.penalty.added(g, factors)

    def matrix_gradient(self, evaluation: Evaluation) -> Any:
        return self._adjoint(evaluation.state.z)

    def matrix_gradient_at_zero(self) -> Any:
        return self._adjoint([0.0] * len(self.targets))

    def _adjoint(self, z: list[Any]) -> Any:
        calls = graph.call_each(
            _slopes, self.targets, self._costs, z, common=(self._weight,)
        )
        slopes = graph.persisted(calls)
        return self.measurements.adjoint_of(slopes)

    # ---- along a direction

    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        factors, z = evaluation.factors, evaluation.state.z
        rows_of = self.measurements.rows_of
        d_left, d_right = rows_of(direction.left), direction.right
        calls = self._each(_ray, factors, z, d_left, common=(d_right,))
        lines, polynomials = graph.unpacked(calls, 2)
        polynomial, lines = graph.gathered_and_persisted(
            graph.summed(polynomials), lines
        )
        penalty = self.penalty.along(factors, direction)

        def advance(t: float) -> Evaluation:
            return self._advanced(factors.moved(direction, t), z, lines, t)

        return Quartic(self._scale * polynomial + penalty, advance)

    def _advanced(
        self, factors: Factors, z: list[Any], lines: list[Any], t: float
    ) -> Evaluation:
        """The evaluation at step t, with its gradient, in one pass."""
        calls = self._each(_advanced, factors, z, lines, common=(self._weight, t))
        z, totals, to_left, to_right = graph.unpacked(calls, 4)
        sums = graph.summed(totals), graph.summed(to_right)
        (blocks, total, to_right), z = graph.gathered_and_persisted((to_left, *sums), z)
        products = self.measurements.gathered_rows(blocks), to_right
        return self._evaluation(factors, total, _State(z, products))

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        z = [0.0] * len(self.targets) if evaluation is None else evaluation.state.z
        rows = self.measurements.rows_of(u)
        parts = self.measurements.parts
        calls = graph.call_each(
            _growth, parts, self._costs, self.targets, z, rows, common=(v,)
        )
        slope, curvature = self._scale * graph.gathered(graph.summed(calls))
        slope = self.penalty.excess(slope)
        return Growth(slope / curvature if curvature > 0 else 0.0, self.evaluate)

    def curvature(self, evaluation: Evaluation) -> Callable[[Factors], Factors]:
        factors, a = evaluation.factors, self.measurements
        contracted = a.contracted(factors.left, factors.right)

        def product(direction: Factors) -> Factors:
            d_left, common = a.rows_of(direction.left), (direction.right, self._weight)
            if contracted is None:
                calls = self._each(_curvature, factors, d_left, common=common)
            else:
                known = self._costs, self.targets, d_left
                calls = graph.call_each(
                    _curvature_of, contracted, *known, common=common
                )
            to_left, to_right = graph.unpacked(calls, 2)
            blocks, to_right = graph.gathered((to_left, graph.summed(to_right)))
            both = factors.joined(a.gathered_rows(blocks), to_right)
            return self.penalty.added(both, direction)

        return product

    # ---- helpers

    @property
    def _weight(self) -> Any:
        return self.dtype.type(self._scale)

    def _each(
        self,
        function: Callable[..., Any],
        factors: Factors,
        *columns: Any,
        common: tuple[Any, ...] = (),
    ) -> list[Any]:
        """Lazy calls by chunk.

        ``function(part, costs, targets, left rows, *columns, right, *common)``
        """
        a = self.measurements
        return graph.call_each(
            function,
            a.parts,
            self._costs,
            self.targets,
            a.rows_of(factors.left),
            *columns,
            common=(factors.right, *common),
        )

    def _evaluation(self, factors: Factors, total: float, state: _State) -> Evaluation:
        loss = self._scale * float(total)
        value = loss + self.penalty.value(factors)
        residual = relative(loss, self.data_norm)
        return Evaluation(factors, loss, value, residual, state)


# Functions that run on a chunk --------------------------------------------------------


def _scaled(targets: Array, unit: float, dtype: np.dtype) -> Array:
    return (targets.astype(np.float64) / unit).astype(dtype)


def _size(targets: Array, costs: WeightedLoss) -> float:
    return costs.size(targets, 1.0)


def _slopes(targets: Array, costs: WeightedLoss, z: Any, weight: Any) -> Array:
    # The predictions of the zero matrix are given as a single 0.
    return costs.slopes(np.broadcast_to(z, targets.shape), targets, weight)


def _gains(targets: Array, costs: WeightedLoss, z: Array, other_z: Array) -> Array:
    return costs.gain(z, other_z, targets)


def _evaluated(
    part: Measurements, costs: WeightedLoss, targets: Array, left: Array, right: Array
) -> tuple[Array, float]:
    z = part.forward(left, right)
    return z, costs.total(z, targets)


def _products(
    part: Measurements,
    costs: WeightedLoss,
    targets: Array,
    left: Array,
    z: Array,
    right: Array,
    weight: Any,
) -> tuple[Array, Array]:
    return part.adjoint_products(costs.slopes(z, targets, weight), left, right)


def _ray(
    part: Measurements,
    costs: WeightedLoss,
    targets: Array,
    left: Array,
    z: Array,
    d_left: Array,
    right: Array,
    d_right: Array,
) -> tuple[tuple[Array, Array], Array | None]:
    z1, z2 = part.forward_ray(left, right, d_left, d_right)
    return (z1, z2), costs.polynomial(z, targets, z1, z2)


def _advanced(
    part: Measurements,
    costs: WeightedLoss,
    targets: Array,
    left: Array,
    z: Array,
    line: tuple[Array, Array],
    right: Array,
    weight: Any,
    t: float,
) -> tuple[Array, float, Array, Array]:
    z = ray_point(z, *line, t)
    products = _products(part, costs, targets, left, z, right, weight)
    return z, costs.total(z, targets), *products


def _growth(
    part: Measurements, costs: WeightedLoss, targets: Array, z: Any, u: Array, v: Array
) -> Array:
    rank_one = part.forward(u, v)
    z = np.broadcast_to(z, targets.shape)
    pull = costs.slopes(z, targets, -1.0)
    curvatures = costs.curvatures(z, targets, 1.0)
    return np.array([dot(pull, rank_one), dot(curvatures * rank_one, rank_one)])


def _curvature(
    part: Measurements,
    costs: WeightedLoss,
    targets: Array,
    left: Array,
    d_left: Array,
    right: Array,
    d_right: Array,
    weight: Any,
) -> tuple[Array, Array]:
    z1 = part.forward_tangent(left, right, d_left, d_right)
    # The curvature of the squared loss does not depend on the predictions, so any will
    # do.
    weights = costs.curvatures(targets, targets, weight)
    return part.adjoint_products(weights * z1, left, right)


def _curvature_of(
    tangent: Tangent,
    costs: WeightedLoss,
    targets: Array,
    d_left: Array,
    d_right: Array,
    weight: Any,
) -> tuple[Array, Array]:
    weights = costs.curvatures(targets, targets, weight)
    return tangent.normal(d_left, d_right, weights)
