"""Weights of measurements in chunks, kept beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.measurements import ChunkedMeasurements, values_at
from skprecgd.losses import Loss
from skprecgd.objective.weights import WeightedLoss, Weights


@dataclass(frozen=True)
class ChunkedWeights:
    """The `Weights` of each chunk's measurements.

    Attributes
    ----------
    parts : list
        One `Weights` for each chunk, lazy and kept with dask.
    count : float
        How many measurements there are, each counted as often as it was made.
    unit, unit_variance : float, float or None
        See `Weights`; the unit is that of all chunks together.
    """

    parts: list[Any]
    count: float
    unit: float = 1.0
    unit_variance: float | None = None

    @classmethod
    def of(
        cls, parts: list[Any], lengths: list[int], unit_variance: float | None
    ) -> ChunkedWeights:
        """Keep lazy parts where their chunks are, and count the measurements."""
        known, parts = graph.gathered_and_persisted(
            graph.call_each(_count_and_unit, parts, lengths), parts
        )
        counts, units = zip(*known, strict=True)
        return cls(parts, float(np.sum(counts)), max(units), unit_variance)

    def of_losses(self) -> list[Any]:
        """The factors of the losses: a lazy array for each chunk."""
        return graph.call_each(_of_losses, self.parts)

    def costs(self, loss: Loss, dtype: np.dtype) -> list[Any]:
        """The weighted loss of each chunk, kept with dask."""
        common = loss, dtype, self.unit
        calls = graph.call_each(_weighted_loss, self.parts, common=common)
        return list(graph.persisted(calls))

    def selected(self, local: list[Any]) -> ChunkedWeights:
        """The weights at the `local` positions of each chunk (or `RandomShare`)."""
        calls = graph.call_each(_at, self.parts, local)
        lengths = [len(index) for index in local]
        return self.of(calls, lengths, self.unit_variance)


def chunked_weights(
    measurements: ChunkedMeasurements, weights: Weights
) -> ChunkedWeights | None:
    """The weights of measurements in chunks; None where all are one.

    Parameters
    ----------
    measurements : ChunkedMeasurements
    weights : Weights
        Its arrays may be in memory, dask arrays, or lists by chunk; see
        `ChunkedMeasurements.targets`.
    """
    given = weights.frequency, weights.precision
    if all(values is None for values in given) and weights.unit_variance is None:
        return None
    nothing = [None] * len(measurements.parts)
    columns = (nothing if w is None else measurements.targets(w) for w in given)
    parts = graph.call_each(Weights, *columns)
    return ChunkedWeights.of(parts, measurements.lengths, weights.unit_variance)


def weights_of_group(
    measurements: ChunkedMeasurements, weights: Weights, chunks: list[int], index: Any
) -> Weights:
    """The weights of the entries of a group, as if there were no others.

    Parameters
    ----------
    measurements : ChunkedMeasurements
        All of them.
    weights : Weights
        Their weights; see `chunked_weights`.
    chunks, index : list
        From `ChunkedMeasurements.of_group`.

    Returns
    -------
    Weights
        Its arrays are lists by chunk.
    """

    def cut(values: Any) -> Any:
        if values is None:
            return None
        parts = measurements.targets(values)
        return graph.call_each(values_at, [parts[k] for k in chunks], index)

    often, precision = cut(weights.frequency), cut(weights.precision)
    if precision is None:
        return Weights(often, None, weights.unit_variance)
    once = [None] * len(chunks)
    sums = graph.gathered(graph.call_each(_precision_sums, precision, often or once))
    total, count = np.sum(sums, axis=0)
    mean, unit = float(total / count), weights.unit_variance
    relative: Any = graph.call_each(_divided, precision, common=(mean,))
    return Weights(often, relative, None if unit is None else unit / mean)


# Functions that run on a chunk --------------------------------------------------------


def _count_and_unit(weights: Weights, length: int) -> tuple[float, float]:
    return weights.count(length), weights.unit


def _precision_sums(precision: Array, often: Array | None) -> Array:
    """The sum of the precisions, each as often as it counts, and of the counts."""
    counts = np.ones_like(precision) if often is None else often
    return np.array([np.sum(counts * precision), np.sum(counts)])


def _divided(values: Array, unit: float) -> Array:
    return values / unit


def _of_losses(weights: Weights) -> Array | None:
    return weights.of_losses


def _weighted_loss(
    weights: Weights, loss: Loss, dtype: np.dtype, unit: float
) -> WeightedLoss:
    return WeightedLoss(loss, weights, dtype, unit)


def _at(weights: Weights, index: Any) -> Weights:
    return weights.at(np.asarray(index))
