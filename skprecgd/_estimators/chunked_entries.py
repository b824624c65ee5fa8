"""Single entries in chunks, from which noise and prior are learned where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import EntryData
from skprecgd._estimators.noisy_data import NoisyData
from skprecgd._linalg.numerics import norm
from skprecgd._linalg.offsets import SWEEPS, at_least_something
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.measurements import Measurements
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.given_in_chunks import GivenInChunks
from skprecgd.variational.posterior import Posterior


@dataclass(frozen=True)
class ChunkedEntries(NoisyData):
    """Entries in chunks of whole rows.

    Attributes
    ----------
    parts : list
        A lazy `EntryData` for each chunk, of its rows alone.
    slices : list of slice
        Their rows, ascending.
    shape : tuple of int
    dtype : dtype
    unit_variance : float or None
        See `Weights`.
    """

    parts: list[Any]
    slices: list[slice]
    shape: tuple[int, int]
    dtype: np.dtype
    unit_variance: float | None

    @classmethod
    def of(
        cls, measurements: ChunkedMeasurements, targets: Any, weights: Weights = ONCE
    ) -> ChunkedEntries:
        """Entries that were measured.

        Where chunks share rows, the entries are put together by rows, and kept so.

        Parameters
        ----------
        measurements : ChunkedMeasurements
            Of single entries.
        targets : ndarray, dask array or list by chunk
        weights : Weights
            Their arrays may be lazy like the targets.
        """
        a, nothing = measurements, [None] * len(measurements.parts)
        given = weights.frequency, weights.precision
        columns = (nothing if each is None else a.targets(each) for each in given)
        targets, n_rows = graph.as_lazy(a.targets(targets)), a.matrix_shape[0]
        parts = graph.call_each(_entries, a.parts, targets, *columns)
        slices = a.slices or [slice(0, n_rows)] * len(parts)
        filled = [k for k, length in enumerate(a.lengths) if length]
        filled.sort(key=lambda k: slices[k].start)
        parts, slices = [parts[k] for k in filled], [slices[k] for k in filled]
        if not _are_disjoint(slices):
            parts, slices = _by_rows(parts, slices, n_rows)
        return cls(parts, slices, a.matrix_shape, a.dtype, weights.unit_variance)

    # -- the contract -----------------------------------------------------------------

    @property
    def n_entries(self) -> int:
        return self._totals[0]

    @property
    def mean_frequency(self) -> float:
        count, often = self._totals
        return often / count

    @cached_property
    def _totals(self) -> tuple[int, float]:
        """How many entries there are, and how often these were made."""
        calls = graph.call_each(_totals, self.parts)
        count, often = graph.gathered(graph.summed(calls))
        return int(count), float(often)

    def without_repeats(self) -> ChunkedEntries:
        repeated = graph.gathered(graph.call_each(_are_repeated, self.parts))
        if not any(repeated):
            return self
        parts = graph.persisted(graph.call_each(_without_repeats, self.parts))
        return replace(self, parts=list(parts))

    def given(self, often: float = 1.0) -> GivenInChunks:
        parts = graph.call_each(_given, self.parts, common=(often,))
        return GivenInChunks(parts, self.slices, self.shape)

    def distributions(
        self, posterior: Posterior, often: float, *, rows_differ: bool
    ) -> None:
        """Nothing: which entries were observed stays with the chunks."""
        return None

    # -- offsets ----------------------------------------------------------------------

    def offsets(self, center: str | None) -> tuple[Array, Array]:
        """Row and column offsets, as `skprecgd._linalg.offsets.entry_offsets` has them.

        A sweep is one pass, in which chunks find the offsets of their rows.
        """
        n_rows, n_columns = self.shape
        zeros, ones = np.zeros(n_columns), np.ones(n_columns)
        rows = np.zeros(n_rows)
        if center is None:
            return rows, zeros
        given = self.given()
        weight, sums = given.sums(zeros, ones, (0, 1))
        mean = float(sums.sum()) / float(weight.sum())
        if center == "mean":
            return rows, np.full(n_columns, mean)
        columns = sums / at_least_something(weight)
        columns = np.where(weight > 0, columns, mean)
        if center == "columns":
            return rows, columns
        size = float(np.sqrt(given.sums(mean * ones, ones, (2,)).sum()))
        changed, blocks = np.inf, [rows[part] for part in self.slices]
        for _ in range(SWEEPS.most):
            calls = graph.call_each(_swept, self.parts, blocks, common=(columns,))
            found, sums = graph.unpacked(calls, 2)
            blocks, (total, moved) = graph.gathered((found, graph.summed(sums)))
            columns = np.where(weight > 0, total / at_least_something(weight), mean)
            before, changed = changed, float(np.sqrt(moved))
            if changed <= SWEEPS.small * size and not changed < 0.9 * before:
                break
        for part, block in zip(self.slices, blocks, strict=True):
            rows[part] = block
        seen = given.seen_rows(np.ones(n_columns, dtype=bool))
        shift = np.average(rows, weights=seen)
        rows = np.where(seen, rows - shift, 0.0)
        return rows, np.where(weight > 0, columns + shift, columns)


def less(
    offsets: Offsets, measurements: ChunkedMeasurements, values: list[Any]
) -> list[Any]:
    """Lazy values of entries in chunks without offsets; see `Offsets.subtracted`."""
    if offsets.are_zero:
        return values
    n_rows = measurements.matrix_shape[0]
    slices = measurements.slices or [slice(0, n_rows)] * len(values)
    rows = [offsets.rows[part] for part in slices]
    common = (offsets.columns,)
    return graph.call_each(_less, measurements.parts, values, rows, common=common)


def _are_disjoint(slices: Sequence[slice]) -> bool:
    """Whether no row is in two of the slices, which ascend."""
    return all(a.stop <= b.start for a, b in pairwise(slices))


def _by_rows(
    parts: list[Any], slices: list[slice], n_rows: int
) -> tuple[list[Any], list[slice]]:
    """The entries in chunks that share no row: each takes its part of every one."""
    edges = np.arange(len(parts) + 1) * n_rows // len(parts)
    blocks = [slice(int(a), int(b)) for a, b in pairwise(edges) if a < b]
    calls = graph.call_each(_cut_by_rows, parts, slices, common=(blocks,))
    pieces = graph.unpacked(calls, len(blocks))
    lengths = [block.stop - block.start for block in blocks]
    return list(graph.persisted(graph.call_each(_joined, pieces, lengths))), blocks


# Functions that run on a chunk --------------------------------------------------------


def _entries(
    part: Measurements, targets: Array, often: Array | None, precision: Array | None
) -> EntryData:
    cells = part.cells()
    assert cells is not None
    weights = Weights(often, precision)
    return EntryData(*cells, targets, part.matrix_shape, weights).in_order()


def _less(part: Measurements, values: Array, rows: Array, columns: Array) -> Array:
    cells = part.cells()
    assert cells is not None
    return Offsets(rows, columns).subtracted(values, *cells)


def _cut_by_rows(
    part: EntryData, own: slice, blocks: list[slice]
) -> tuple[EntryData, ...]:
    rows = part.rows + own.start
    pieces = []
    for block in blocks:
        a, b = np.searchsorted(rows, [block.start, block.stop])
        here = part.where(slice(a, b))
        pieces.append(replace(here, rows=rows[a:b] - block.start))
    return tuple(pieces)


def _joined(pieces: list[EntryData], n_rows: int) -> EntryData:
    rows, columns, values = (
        np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("rows", "columns", "values")
    )
    weights = Weights.joined([piece.weights for piece in pieces])
    shape = n_rows, pieces[0].shape[1]
    return EntryData(rows, columns, values, shape, weights).in_order()


def _totals(part: EntryData) -> tuple[int, float]:
    return part.n_entries, part.weights.count(part.n_entries)


def _are_repeated(part: EntryData) -> bool:
    return part.without_repeats() is not part


def _without_repeats(part: EntryData) -> EntryData:
    found = part.without_repeats()
    if found.weights.frequency is None:
        # Other chunks have repeats.
        often = np.ones(found.n_entries)
        found = replace(found, weights=replace(found.weights, frequency=often))
    return found


def _given(part: EntryData, often: float) -> GivenInMemory:
    return part.given(often)


def _swept(
    part: EntryData, rows: Array, columns: Array
) -> tuple[Array, tuple[Array, float]]:
    """Offsets of rows given those of columns, sums for these, and what has changed."""
    each = part.weights.of_losses
    weights = np.ones(part.n_entries) if each is None else each
    n_rows, n_columns = part.shape
    total = at_least_something(np.bincount(part.rows, weights, n_rows))
    left = weights * (part.values - columns[part.columns])
    found = np.bincount(part.rows, left, n_rows) / total
    beside = weights * (part.values - found[part.rows])
    sums = np.bincount(part.columns, beside, n_columns)
    return found, (sums, norm((found - rows)[part.rows]) ** 2)
