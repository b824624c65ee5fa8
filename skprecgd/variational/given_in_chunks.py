"""Entries as they are given, in chunks of whole rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from skprecgd._linalg.numerics import most_frequent
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.kernels import unchecked_csr
from skprecgd.objective import Weights
from skprecgd.variational.entries import (
    NoisyEntries,
    Units,
    Within,
    are_columns_long,
)
from skprecgd.variational.given import GivenEntries, GivenInMemory, Useful
from skprecgd.variational.lines_in_chunks import LinesInChunks
from skprecgd.variational.lines_in_memory import LinesInMemory, lines_of
from skprecgd.variational.rows import ColumnPosterior, RowPosterior


class GivenInChunks(GivenEntries):
    """The entries of a data matrix in chunks of whole rows.

    Parameters
    ----------
    parts : list
        A lazy `GivenInMemory` for each chunk, of its rows alone.
    slices : list of slice
        Their rows, ascending.
    shape : tuple of int
    """

    def __init__(
        self, parts: list[Any], slices: list[slice], shape: tuple[int, int]
    ) -> None:
        self.parts, self.slices, self.shape = parts, slices, shape

    def _sum(self, function: Callable[..., Any], *columns: Any, **how: Any) -> Any:
        calls = graph.call_each(function, self.parts, *columns, **how)
        return graph.gathered(graph.summed(calls))

    def _of_rows(self, blocks: list[Array], elsewhere: Any = 0.0) -> Array:
        """Numbers of the rows of all chunks, and those of rows in none of them."""
        whole = np.full((self.shape[0], *blocks[0].shape[1:]), elsewhere)
        for rows, block in zip(self.slices, blocks, strict=True):
            whole[rows] = block
        return whole

    def _rows_of(self, numbers: Array) -> list[Array]:
        return [numbers[rows] for rows in self.slices]

    def largest(self) -> Array:
        calls = graph.call_each(_largest, self.parts)
        return np.max(graph.gathered(calls), axis=0)

    def sums(
        self,
        shift: Array,
        scale: Array,
        powers: Sequence[int],
        within: Within | None = None,
    ) -> Array:
        common = shift, scale, tuple(powers), within
        return np.asarray(self._sum(_sums, common=common))

    @cached_property
    def column_counts(self) -> Array:
        return np.asarray(self._sum(_column_counts))

    def few(self, most: int) -> GivenInMemory | None:
        if self._sum(_n_entries) > most:
            return None
        parts: list[GivenInMemory] = graph.gathered(self.parts)
        counts = self._of_rows([np.diff(part.matrix.indptr) for part in parts], 0)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices, values = (
            np.concatenate([getattr(part.matrix, name) for part in parts])
            for name in ("indices", "data")
        )
        matrix = unchecked_csr(indptr, indices, values, self.shape)
        return GivenInMemory(matrix, Weights.joined([part.weights for part in parts]))

    def seen_rows(self, columns: Array) -> Array:
        calls = graph.call_each(_seen_rows, self.parts, common=(columns,))
        return self._of_rows(graph.gathered(calls), False)

    def noisy(self, useful: Useful, units: Units, center: str | None) -> NoisyEntries:
        ends = np.searchsorted(useful.rows, [rows.stop for rows in self.slices])
        slices = _slices(ends)
        used = [k for k, lines in enumerate(slices) if lines.stop > lines.start]
        items = [self.parts[k] for k in used]
        slices = [slices[k] for k in used]
        own = [
            useful.rows[slices[n]] - self.slices[k].start for n, k in enumerate(used)
        ]
        at, common = units.at(useful.columns), (useful.columns, useful.trust)
        if are_columns_long(useful.shape):
            lines = self._turned(useful, items, own, slices, (*common, at))
        else:
            parts = graph.call_each(_lines_of_rows, items, own, common=(*common, at))
            # Tasks of a cluster take longer to be told of than most of ours to run, so
            # that what every sweep would begin with is done once.
            parts = list(graph.persisted(parts))
            lines = LinesInChunks(parts, slices, useful.shape[1])
        return NoisyEntries(lines, useful.shape, center, at)

    def _turned(
        self,
        useful: Useful,
        items: list[Any],
        own: list[Array],
        slices: list[slice],
        common: tuple[Any, ...],
    ) -> LinesInChunks:
        """Chunks of whole columns, kept with dask: each takes its part of every one."""
        n_rows, n_columns = useful.shape
        n = min(len(items), n_columns)
        blocks = _slices(np.arange(1, n + 1) * n_columns // n)
        calls = graph.call_each(
            _cut_by_columns, items, own, slices, common=(*common, blocks)
        )
        pieces = graph.unpacked(calls, n)
        parts = graph.call_each(_lines_of_columns, pieces, blocks, common=(n_rows,))
        return LinesInChunks(list(graph.persisted(parts)), blocks, n_rows)

    def rows(self, columns: ColumnPosterior) -> RowPosterior:
        """See `GivenEntries.rows`; the precisions of single entries stay there."""
        calls = graph.call_each(_rows, self.parts, common=(columns,))
        parts = graph.gathered(calls)
        mean, squares, noise = (
            self._of_rows([part[k] for part in parts], elsewhere)
            for k, elsewhere in enumerate((0.0, 0.0, 1.0))
        )
        return RowPosterior(mean, squares, noise, np.zeros(0))

    def row_counts(self, trust: Array) -> Array:
        calls = graph.call_each(_row_counts, self.parts, common=(trust,))
        return self._of_rows(graph.gathered(calls))

    def log_precisions(self) -> float:
        return float(self._sum(_log_precisions))

    def squares_left(
        self, left: Array, right: Array, offsets: Array, scale: Array
    ) -> Array:
        common = right, offsets, scale
        return np.asarray(self._sum(_squares_left, self._rows_of(left), common=common))

    def line_counts(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        masks = self._rows_of(rows)
        calls = graph.call_each(_line_counts, self.parts, masks, common=(columns,))
        down, across = graph.unpacked(calls, 2)
        blocks, found = graph.gathered((down, graph.summed(across)))
        return self._of_rows(blocks, 0), found

    def most_frequent(self, rows: Array, columns: Array) -> Array:
        """See `GivenEntries.most_frequent`; the entries come to the client for this.

        It is asked where there are hardly more of them than unknowns.
        """
        masks = self._rows_of(rows)
        calls = graph.call_each(_within, self.parts, masks, common=(columns,))
        pairs = graph.gathered(calls)
        across, values = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
        return most_frequent(across, values, self.shape[1])


def _slices(ends: Array) -> list[slice]:
    starts = [0, *ends[:-1]]
    return [slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


# Functions that run on a chunk --------------------------------------------------------


def _largest(part: GivenInMemory) -> Array:
    return part.largest()


def _sums(
    part: GivenInMemory,
    shift: Array,
    scale: Array,
    powers: tuple[int, ...],
    within: Within | None,
) -> Array:
    return part.sums(shift, scale, powers, within)


def _n_entries(part: GivenInMemory) -> int:
    return int(part.matrix.nnz)


def _column_counts(part: GivenInMemory) -> Array:
    return part.column_counts


def _seen_rows(part: GivenInMemory, columns: Array) -> Array:
    return part.seen_rows(columns)


def _lines_of_rows(
    part: GivenInMemory, rows: Array, columns: Array, trust: Array, units: Units
) -> LinesInMemory:
    useful = Useful(rows, columns, trust)
    own, across, values, weights = part.useful(useful)
    scaled = (values - units.shift[across]) / units.scale[across]
    often, precision = weights.frequency, weights.precision
    return lines_of(own, across, scaled, useful.shape, often, precision)


class _Piece(NamedTuple):
    """Entries of some columns in a chunk of rows, by positions among the useful."""

    rows: Array
    columns: Array
    values: Array
    often: Array | None
    precision: Array | None


def _cut_by_columns(
    part: GivenInMemory,
    rows: Array,
    whole: slice,
    columns: Array,
    trust: Array,
    units: Units,
    blocks: list[slice],
) -> tuple[_Piece, ...]:
    own, across, values, weights = part.useful(Useful(rows, columns, trust))
    scaled = (values - units.shift[across]) / units.scale[across]
    order = np.argsort(across, kind="stable")
    own, across, scaled = own[order] + whole.start, across[order], scaled[order]
    weights = weights.at(order)
    pieces = []
    for block in blocks:
        a, b = np.searchsorted(across, [block.start, block.stop])
        here = weights.at(slice(a, b))
        at = own[a:b], across[a:b] - block.start, scaled[a:b]
        pieces.append(_Piece(*at, here.frequency, here.precision))
    return tuple(pieces)


def _lines_of_columns(
    pieces: list[_Piece], columns: slice, n_rows: int
) -> LinesInMemory:
    rows, across, values = (
        np.concatenate([piece[k] for piece in pieces]) for k in range(3)
    )
    often, precision = (
        None if pieces[0][k] is None else np.concatenate([piece[k] for piece in pieces])
        for k in (3, 4)
    )
    sides = columns.stop - columns.start, n_rows
    return lines_of(across, rows, values, sides, often, precision)


def _rows(part: GivenInMemory, columns: ColumnPosterior) -> tuple[Array, Array, Array]:
    found = part.rows(columns)
    return found.mean, found.squares, found.noise


def _row_counts(part: GivenInMemory, trust: Array) -> Array:
    return part.row_counts(trust)


def _log_precisions(part: GivenInMemory) -> float:
    return part.log_precisions()


def _squares_left(
    part: GivenInMemory, left: Array, right: Array, offsets: Array, scale: Array
) -> Array:
    return part.squares_left(left, right, offsets, scale)


def _line_counts(
    part: GivenInMemory, rows: Array, columns: Array
) -> tuple[Array, Array]:
    return part.line_counts(rows, columns)


def _within(part: GivenInMemory, rows: Array, columns: Array) -> tuple[Array, Array]:
    return part.within(rows, columns)
