"""The squared loss over measurements in chunks: predictions stay with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import dot, norm, sum_with_error
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.measurements import ChunkedMeasurements, Draw, taken
from skprecgd.factors import Factors
from skprecgd.kernels import ray_point, ray_sums, squared_distance
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import Measurements
from skprecgd.measurements.base import Tangent
from skprecgd.objective import Evaluation, Growth, Objective, Quartic, Ray
from skprecgd.objective.base import relative
from skprecgd.objective.rays import ridge_polynomial


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
        By chunk; arrays, lazy or not.
    alpha : float, default=0.0
    """

    can_split = True

    def __init__(
        self, measurements: ChunkedMeasurements, targets: list[Any], alpha: float = 0.0
    ) -> None:
        self.measurements, self.targets = measurements, graph.lazy(targets)
        self.matrix_shape = measurements.matrix_shape
        self.dtype = measurements.dtype
        self.loss = SquaredLoss()
        self.alpha = float(alpha)

    @property
    def n_measurements(self) -> int:
        return self.measurements.n_measurements

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    @cached_property
    def weight(self) -> float:
        """What each measurement's loss is multiplied with."""
        scale = self.measurements.mean_square
        return 1.0 / (max(1, self.n_measurements) * scale) if scale > 0 else 0.0

    @cached_property
    def data_norm(self) -> float:
        sizes, _ = graph.run(graph.each(norm, self.targets))
        return norm(np.array(sizes)) * float(np.sqrt(self.weight))

    def normalised(self) -> tuple[ChunkedObjective, float]:
        unit = self.data_norm
        if unit == 0.0:
            return self, 1.0
        calls = graph.each(_scaled, self.targets, common=(unit, self.dtype))
        _, targets = graph.run(None, calls)
        return self._with(self.measurements, targets, self.alpha / unit), unit

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
                [Draw(int(n), int(k), int(s), held_out) for n, k, s in drawn]
            )

        return part(False), part(True)

    def _subset(self, local: list[Draw]) -> ChunkedObjective:
        calls = graph.each(taken, self.targets, local)
        _, targets = graph.run(None, calls)
        return self._with(self.measurements.selected(local), targets, self.alpha)

    def _with(
        self, measurements: ChunkedMeasurements, targets: list[Any], alpha: float
    ) -> ChunkedObjective:
        """The same objective of other data, normalised like this one."""
        measurements.mean_square = self.measurements.mean_square
        return ChunkedObjective(measurements, targets, alpha)

    def gain(self, evaluation: Evaluation, other: Evaluation) -> tuple[float, float]:
        z, other_z = evaluation.state.z, other.state.z
        calls = graph.each(_gains, self.targets, z, other_z)
        total, squares = graph.run(graph.total(calls))[0]
        w = self.weight
        return sum_with_error(self.n_measurements, w * total, w**2 * squares)

    # ---- one point

    def evaluate(self, factors: Factors) -> Evaluation:
        calls = self._each(_evaluated, factors, self.targets)
        z, squares = graph.split(calls, 2)
        square, z = graph.run(graph.total(squares), z)
        return self._evaluation(factors, square, _State(z))

    def gradient(self, evaluation: Evaluation) -> Factors:
        factors, state = evaluation.factors, evaluation.state
        products = state.products
        if products is None:
            calls = self._each(
                _products, factors, state.z, self.targets, common=(self._weight,)
            )
            to_left, to_right = graph.split(calls, 2)
            (blocks, to_right), _ = graph.run((to_left, graph.total(to_right)))
            products = self.measurements.gathered_rows(blocks), to_right
        g = factors.joined(*products)
        return g.moved(factors.ridge_gradient(), self.alpha) if self.alpha else g

    def matrix_gradient(self, evaluation: Evaluation) -> Any:
        return self._adjoint(evaluation.state.z)

    def matrix_gradient_at_zero(self) -> Any:
        return self._adjoint([0.0] * len(self.targets))

    def _adjoint(self, z: list[Any]) -> Any:
        calls = graph.each(_slopes, self.targets, z, common=(self._weight,))
        _, slopes = graph.run(None, calls)
        return self.measurements.adjoint_of(slopes)

    # ---- along a direction

    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        factors, z = evaluation.factors, evaluation.state.z
        rows_of = self.measurements.rows_of
        calls = self._each(
            _ray,
            factors,
            z,
            self.targets,
            rows_of(direction.left),
            common=(direction.right,),
        )
        lines, sums = graph.split(calls, 2)
        s, lines = graph.run(graph.total(sums), lines)
        s00, s01, s11, s02, s12, s22 = s
        data = [0.5 * s00, s01, 0.5 * s11 + s02, s12, 0.5 * s22]
        ridge = self.alpha * ridge_polynomial(factors, direction)

        def advance(t: float) -> Evaluation:
            return self._advanced(factors.moved(direction, t), z, lines, t)

        return Quartic(self.weight * np.array(data) + ridge, advance)

    def _advanced(
        self, factors: Factors, z: list[Any], lines: list[Any], t: float
    ) -> Evaluation:
        """The point at step t, with its gradient: they are one pass."""
        calls = self._each(
            _advanced, factors, z, self.targets, lines, common=(self._weight, t)
        )
        z, squares, to_left, to_right = graph.split(calls, 4)
        sums = graph.total(squares), graph.total(to_right)
        (blocks, square, to_right), z = graph.run((to_left, *sums), z)
        products = self.measurements.gathered_rows(blocks), to_right
        return self._evaluation(factors, square, _State(z, products))

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        z = [0.0] * len(self.targets) if evaluation is None else evaluation.state.z
        rows = self.measurements.rows_of(u)
        calls = graph.each(
            _growth, self.measurements.parts, z, self.targets, rows, common=(v,)
        )
        slope, curvature = self.weight * graph.run(graph.total(calls))[0]
        slope = max(0.0, slope - self.alpha)
        return Growth(slope / curvature if curvature > 0 else 0.0, self.evaluate)

    def curvature(self, evaluation: Evaluation) -> Callable[[Factors], Factors]:
        factors, a = evaluation.factors, self.measurements
        contracted = a.contracted(factors.left, factors.right)
        ridge = self.alpha * factors.multiplicity

        def product(direction: Factors) -> Factors:
            d_left, common = a.rows_of(direction.left), (direction.right, self._weight)
            if contracted is None:
                calls = self._each(_curvature, factors, d_left, common=common)
            else:
                calls = graph.each(_curvature_of, contracted, d_left, common=common)
            to_left, to_right = graph.split(calls, 2)
            (blocks, to_right), _ = graph.run((to_left, graph.total(to_right)))
            both = factors.joined(a.gathered_rows(blocks), to_right)
            return both.moved(direction, ridge) if ridge else both

        return product

    # ---- helpers

    @property
    def _weight(self) -> Any:
        return self.dtype.type(self.weight)

    def _each(
        self,
        function: Callable[..., Any],
        factors: Factors,
        *columns: Any,
        common: tuple[Any, ...] = (),
    ) -> list[Any]:
        """Lazy ``function(part, left rows, *columns, right, *common)`` by chunk."""
        a = self.measurements
        return graph.each(
            function,
            a.parts,
            a.rows_of(factors.left),
            *columns,
            common=(factors.right, *common),
        )

    def _evaluation(self, factors: Factors, square: float, state: _State) -> Evaluation:
        loss = 0.5 * self.weight * float(square)
        ridge = 0.5 * self.alpha * factors.ridge() if self.alpha else 0.0
        residual = relative(loss, self.data_norm)
        return Evaluation(factors, loss, loss + ridge, residual, state)


# What runs on a chunk -----------------------------------------------------------------


def _scaled(targets: Array, unit: float, dtype: np.dtype) -> Array:
    return (targets.astype(np.float64) / unit).astype(dtype)


def _slopes(targets: Array, z: Any, weight: Any) -> Array:
    return (z - targets) * weight


def _evaluated(
    part: Measurements, left: Array, targets: Array, right: Array
) -> tuple[Array, float]:
    z = part.forward(left, right)
    return z, squared_distance(z, targets)


def _gains(targets: Array, z: Array, other_z: Array) -> Array:
    each = 0.5 * ((z - targets) ** 2 - (other_z - targets) ** 2)
    return np.array([np.sum(each, dtype=np.float64), dot(each, each)])


def _products(
    part: Measurements, left: Array, z: Array, targets: Array, right: Array, weight: Any
) -> tuple[Array, Array]:
    return part.adjoint_products(_slopes(targets, z, weight), left, right)


def _ray(
    part: Measurements,
    left: Array,
    z: Array,
    targets: Array,
    d_left: Array,
    right: Array,
    d_right: Array,
) -> tuple[tuple[Array, Array], Array]:
    z1, z2 = part.forward_ray(left, right, d_left, d_right)
    return (z1, z2), ray_sums(z, targets, z1, z2)


def _advanced(
    part: Measurements,
    left: Array,
    z: Array,
    targets: Array,
    line: tuple[Array, Array],
    right: Array,
    weight: Any,
    t: float,
) -> tuple[Array, float, Array, Array]:
    z = ray_point(z, *line, t)
    to_left, to_right = _products(part, left, z, targets, right, weight)
    return z, squared_distance(z, targets), to_left, to_right


def _growth(part: Measurements, z: Any, targets: Array, u: Array, v: Array) -> Array:
    rank_one = part.forward(u, v)
    return np.array([dot(targets - z, rank_one), dot(rank_one, rank_one)])


def _curvature(
    part: Measurements,
    left: Array,
    d_left: Array,
    right: Array,
    d_right: Array,
    weight: Any,
) -> tuple[Array, Array]:
    z1 = part.forward_tangent(left, right, d_left, d_right)
    return part.adjoint_products(weight * z1, left, right)


def _curvature_of(
    tangent: Tangent, d_left: Array, d_right: Array, weight: Any
) -> tuple[Array, Array]:
    return tangent.normal(d_left, d_right, weight)
