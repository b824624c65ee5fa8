"""Entries by the lines of the longer side, in chunks of whole lines.

Each chunk is asked what `LinesInMemory` says of its lines, and what it says is summed.
Means and second moments of the shorter side go out, and sums for that side come back.
Nothing is kept of the lines: means are found again from what they were found from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.matrices import Matrix
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.kernels import Lines, Totals
from skprecgd.variational.entry_lines import (
    EntryLines,
    LeftOut,
    LongSide,
    Residual,
    Shares,
    ShortSide,
    Swept,
)
from skprecgd.variational.lines_in_memory import (
    LinesInMemory,
    LongMeans,
    ResidualInMemory,
    SharesInMemory,
)

# Bits of a number by which a median is narrowed down in one pass (of 64).
_DIGIT = 16
# Most frequent numbers of a line that a chunk tells: one that makes up more than this
# part of all entries of the line is among those of some chunk.
_FREQUENT = 32


@dataclass(frozen=True)
class SharesInChunks(Shares):
    """The expected precisions of entries, kept with dask.

    Attributes
    ----------
    values : list
        A lazy array for each chunk.
    totals : tuple of float
    counts : ndarray of shape (n_bins,)
        See `Shares`; for the degrees of freedom from which they were found.
    """

    values: list[Any]
    totals: tuple[float, float, float]
    counts: Array

    def sums(self) -> tuple[float, float, float]:
        return self.totals

    def occurrences(self, freedom: float) -> Array:
        return self.counts


@dataclass(frozen=True)
class _Source:
    """What lines were found from."""

    side: ShortSide
    shares: Shares | None


@dataclass(frozen=True)
class LongInChunks(LongSide):
    """The means of the lines of the longer side, by what they were found from.

    Attributes
    ----------
    n_lines : int
    source : _Source or None
        None where nothing has been found.
    turn : ndarray of shape (size, size_then)
        The coordinates are those that were found times the transpose.
    total : ndarray of shape (size,)
        Sum over all lines.
    gram : ndarray of shape (size, size)
        Sum of the products of each line with itself.
    """

    n_lines: int
    source: _Source | None
    turn: Array
    total: Array
    gram: Array

    def mean_of(self, coordinate: int) -> float:
        return float(self.total[coordinate]) / self.n_lines

    def squares(self) -> Array:
        return np.diag(self.gram)

    def turned(self, turn: Array) -> LongInChunks:
        return replace(
            self,
            turn=turn @ self.turn,
            total=turn @ self.total,
            gram=turn @ self.gram @ turn.T,
        )

    def kept(self, coordinates: Array) -> LongInChunks:
        return self.turned(np.eye(len(self.total))[coordinates])

    def grown(self, first: int, count: int) -> LongInChunks:
        return self.turned(np.insert(np.eye(len(self.total)), [first] * count, 0.0, 0))


class LinesInChunks(EntryLines):
    """The entries of a matrix in chunks of whole lines of its longer side.

    Parameters
    ----------
    parts : list
        A lazy `LinesInMemory` for each chunk.
    slices : list of slice
        Their lines, ascending.
    n_short : int
    """

    def __init__(self, parts: list[Any], slices: list[slice], n_short: int) -> None:
        self.parts, self.slices = parts, slices
        self.sides = slices[-1].stop, n_short
        facts = graph.unpacked(graph.call_each(_facts, parts), 2)
        along, (across, n_entries) = graph.gathered((facts[0], graph.summed(facts[1])))
        self.n_entries = int(n_entries)
        self.counts = np.concatenate(along), across

    # -- calls of the chunks ----------------------------------------------------------

    def each(
        self,
        function: Callable[..., Any],
        side: ShortSide,
        shares: Shares | None,
        *columns: Any,
        common: Sequence[Any] = (),
    ) -> list[Any]:
        """Lazy calls ``function(part, noise, share, *columns, side, *common)``."""
        noise: list[Any] = [None] * len(self.parts)
        if side.noise is not None:
            noise = [side.noise[lines] for lines in self.slices]
        told: list[Any] = [None] * len(self.parts)
        if shares is not None:
            assert isinstance(shares, SharesInChunks)
            told = shares.values
        alike = replace(side, noise=None)
        return graph.call_each(
            function, self.parts, noise, told, *columns, common=(alike, *common)
        )

    # -- what the iteration asks ------------------------------------------------------

    def unknown_lines(self, size: int) -> LongInChunks:
        nothing = np.zeros((size, 0)), np.zeros(size), np.zeros((size, size))
        return LongInChunks(self.sides[0], None, *nothing)

    def first_shares(self) -> SharesInChunks:
        shares = graph.persisted(graph.call_each(_ones, self.parts))
        count = float(self.counts[0].sum())
        return SharesInChunks(shares, (0.0, count, count), np.zeros(0))

    def swept(self, side: ShortSide, shares: Shares | None) -> Swept:
        found, own, kept = self._swept(side, shares)
        second, determinant, diagonal, grams, moments, total, gram, *tail = found
        turn, source = np.eye(len(total)), _Source(side, shares)
        return Swept(
            LongInChunks(self.sides[0], source, turn, total, gram),
            Totals(second, float(determinant), diagonal),
            np.concatenate(own) if own else np.zeros(0),
            grams,
            moments,
            None if shares is None else SharesInChunks(kept, *_of_tail(tail)),
        )

    def _swept(
        self, side: ShortSide, shares: Shares | None
    ) -> tuple[Any, list[Array], list[Any]]:
        """The sums of a sweep, squares of the lines, and lazy precisions of entries.

        Of lines and entries only what the noise asks for.
        """
        if shares is None and not side.learns_noise:
            # Sums alone are no parts of a result, each of which would be a task.
            calls = self.each(_sums_swept, side, None)
            return graph.gathered(graph.summed(calls)), [], []
        calls = self.each(_swept, side, shares)
        sums, squares, told = graph.unpacked(calls, 3)
        wanted = graph.summed(sums), squares if side.learns_noise else []
        kept = told if shares is not None else []
        (found, own), kept = graph.gathered_and_persisted(wanted, kept)
        return found, own, kept

    def squares_alone(
        self, side: ShortSide, shares: Shares | None
    ) -> tuple[Array, Array]:
        calls = self.each(_squares_alone, side, shares)
        long, short = graph.unpacked(calls, 2)
        wanted = long if side.learns_noise else [], graph.summed(short)
        own, other = graph.gathered(wanted)
        return np.concatenate(own) if own else np.zeros(0), other

    def shares_alone(self, side: ShortSide, shares: Shares) -> SharesInChunks:
        told, sums = graph.unpacked(self.each(_shares_alone, side, shares), 2)
        tail, kept = graph.gathered_and_persisted(graph.summed(sums), told)
        return SharesInChunks(kept, *_of_tail(tail))

    def lines(self, side: ShortSide, shares: Shares | None) -> Lines:
        parts = graph.gathered(list(self.each(_lines, side, shares)))
        totals = [part.totals for part in parts]
        return Lines(
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.second for part in parts]),
            np.concatenate([part.squares for part in parts]),
            Totals(
                np.sum([each.second for each in totals], axis=0),
                float(sum(each.log_determinant for each in totals)),
                np.sum([each.log_diagonal for each in totals], axis=0),
            ),
        )

    def residual(self, long: LongSide, short: Array) -> ResidualInChunks:
        assert isinstance(long, LongInChunks)
        if long.source is None:
            return ResidualInChunks(self, graph.call_each(_values, self.parts))
        at, common = (long.source.side, long.source.shares), (long.turn, short)
        return ResidualInChunks(self, self.each(_residual, *at, common=common))

    def left_out(self, side: ShortSide, shares: Shares | None, most: int) -> LeftOut:
        every = -(-self.n_entries // most)
        firsts = [-lines.start % every for lines in self.slices]
        calls = self.each(_left_out, side, shares, firsts, common=(every,))
        parts = graph.gathered(calls)
        starts = [lines.start for lines in self.slices]
        return LeftOut(
            np.concatenate([part.residual for part in parts]),
            np.concatenate([part.studentised for part in parts]),
            np.concatenate([p.rows + a for p, a in zip(parts, starts, strict=True)]),
            np.concatenate([part.columns for part in parts]),
        )

    def most_frequent(self, *, of_long: bool) -> Array:
        """See `EntryLines.most_frequent`.

        Of lines that lie in several chunks, no number that makes up less than a
        `_FREQUENT`th of one is counted.
        """
        if of_long:
            calls = graph.call_each(_most_frequent, self.parts)
            return np.concatenate(graph.gathered(calls))
        calls = graph.call_each(_frequent, self.parts, common=(_FREQUENT,))
        told = np.unique(np.concatenate(graph.gathered(calls)), axis=0)
        calls = graph.call_each(_occurrences_of, self.parts, common=(told,))
        counts = graph.gathered(graph.summed(calls))
        most = np.zeros(self.sides[1], dtype=np.int64)
        np.maximum.at(most, told["line"], counts)
        return most


class ResidualInChunks(Residual):
    """What the means leave of entries in chunks.

    Parameters
    ----------
    lines : LinesInChunks
    values : list
        A lazy array for each chunk.
    """

    def __init__(self, lines: LinesInChunks, values: list[Any]) -> None:
        self._lines, self._values = lines, values

    @cached_property
    def _kept(self) -> list[Any]:
        """The values, kept with dask for questions that take several passes."""
        return list(graph.persisted(self._values))

    def whitened(self, side: ShortSide, shares: Shares | None) -> Matrix:
        calls = self._lines.each(_whitened, side, shares, self._values)
        return _LinesMatrix(self._lines, list(graph.persisted(calls)))

    def median_size(self) -> float:
        n = self._lines.n_entries
        low, high = self._size_at((n - 1) // 2), self._size_at(n // 2)
        return 0.5 * low + 0.5 * high

    def _size_at(self, rank: int) -> float:
        """The size that so many others do not exceed: its bits, a digit a pass."""
        prefix = 0
        for level in range(64 // _DIGIT):
            common = prefix, level
            calls = graph.call_each(_digits, self._kept, common=common)
            ends = np.cumsum(graph.gathered(graph.summed(calls)))
            digit = int(np.searchsorted(ends, rank, side="right"))
            rank -= int(ends[digit - 1]) if digit else 0
            prefix = (prefix << _DIGIT) | digit
        return float(np.array([prefix], np.uint64).view(np.float64)[0])

    def mean_square(self, side: ShortSide) -> float:
        calls = self._lines.each(_sum_of_squares, side, None, self._kept)
        return float(graph.gathered(graph.summed(calls))) / self._lines.n_entries

    def occurrences(self, side: ShortSide, unit: float) -> Array:
        calls = self._lines.each(_occurrences, side, None, self._kept, common=(unit,))
        return np.asarray(graph.gathered(graph.summed(calls)))


class _LinesMatrix(Matrix):
    """A sparse matrix whose rows are the lines of the longer side.

    Parameters
    ----------
    lines : LinesInChunks
    numbers : list
        A lazy array for each chunk.
    """

    def __init__(self, lines: LinesInChunks, numbers: list[Any]) -> None:
        super().__init__(lines.sides, np.float64)
        self._lines, self._numbers = lines, numbers

    def times(self, block: Array) -> Array:
        return np.concatenate(graph.gathered(self._each(_times, common=(block,))))

    def transposed_times(self, block: Array) -> Array:
        blocks = [block[lines] for lines in self._lines.slices]
        return np.asarray(graph.gathered(graph.summed(self._each(_back, blocks))))

    def gram(self) -> Array:
        return np.asarray(graph.gathered(graph.summed(self._each(_gram))))

    def gram_operator(self) -> LinearOperator:
        def times(block: Array) -> Array:
            calls = self._each(_gram_times, common=(block,))
            return np.asarray(graph.gathered(graph.summed(calls)))

        n = self.shape[1]
        return LinearOperator((n, n), matvec=times, matmat=times, dtype=self.dtype)

    def _each(self, function: Callable[..., Any], *columns: Any, **how: Any) -> Any:
        parts = self._lines.parts
        return graph.call_each(function, parts, self._numbers, *columns, **how)


def _of_tail(sums: Sequence[Array]) -> tuple[tuple[float, float, float], Array]:
    """The sums over precisions, and how often there are which squared residuals."""
    totals, counts = sums
    return (float(totals[0]), float(totals[1]), float(totals[2])), counts


# Functions that run on a chunk --------------------------------------------------------


def _facts(part: LinesInMemory) -> tuple[Array, tuple[Array, int]]:
    long, short = part.counts
    return long, (short, part.n_entries)


def _ones(part: LinesInMemory) -> Array:
    return np.ones(part.n_entries)


def _here(
    part: LinesInMemory, noise: Array | None, share: Array | None, side: ShortSide
) -> tuple[ShortSide, SharesInMemory | None]:
    """What the lines of a chunk are found from."""
    shares = None if share is None else SharesInMemory(share, part.often)
    return replace(side, noise=noise), shares


def _told(shares: SharesInMemory, freedom: float) -> tuple[Array, Array]:
    return np.array(shares.sums()), shares.occurrences(freedom)


def _swept(
    part: LinesInMemory, noise: Array | None, share: Array | None, side: ShortSide
) -> tuple[tuple[Any, ...], Array, Array | None]:
    sweep = part.sweep(*_here(part, noise, share, side))
    mean, totals = sweep.mean, sweep.totals
    sums: list[Any] = [*totals, sweep.grams, sweep.moments]
    sums += [mean.sum(axis=0), mean.T @ mean]
    if sweep.share is not None:
        sums += _told(SharesInMemory(sweep.share, part.often), side.freedom)
    return tuple(sums), sweep.squares, sweep.share


def _sums_swept(
    part: LinesInMemory, noise: None, share: None, side: ShortSide
) -> tuple[Any, ...]:
    return _swept(part, noise, share, side)[0]


def _squares_alone(
    part: LinesInMemory, noise: Array | None, share: Array | None, side: ShortSide
) -> tuple[Array, Array]:
    return part.squares_alone(*_here(part, noise, share, side))


def _shares_alone(
    part: LinesInMemory, noise: Array | None, share: Array, side: ShortSide
) -> tuple[Array, tuple[Array, Array]]:
    here, shares = _here(part, noise, share, side)
    assert shares is not None
    found = part.shares_alone(here, shares)
    return found.share, _told(found, side.freedom)


def _lines(
    part: LinesInMemory, noise: Array | None, share: Array | None, side: ShortSide
) -> Lines:
    return part.lines(*_here(part, noise, share, side))


def _values(part: LinesInMemory) -> Array:
    return part.pattern.values


def _residual(
    part: LinesInMemory,
    noise: Array | None,
    share: Array | None,
    side: ShortSide,
    turn: Array,
    short: Array,
) -> Array:
    mean = part.sweep(*_here(part, noise, share, side)).mean
    return part.residual(LongMeans(mean @ turn.T), short).values


def _whitened(
    part: LinesInMemory,
    noise: Array | None,
    share: Array | None,
    values: Array,
    side: ShortSide,
) -> Array:
    here = _here(part, noise, share, side)
    return np.asarray(ResidualInMemory(part, values).whitened(*here).data)


def _sum_of_squares(
    part: LinesInMemory,
    noise: Array | None,
    share: None,
    values: Array,
    side: ShortSide,
) -> float:
    here, _ = _here(part, noise, share, side)
    return float(np.sum(ResidualInMemory(part, values).squares(here)))


def _occurrences(
    part: LinesInMemory,
    noise: Array | None,
    share: None,
    values: Array,
    side: ShortSide,
    unit: float,
) -> Array:
    here, _ = _here(part, noise, share, side)
    return ResidualInMemory(part, values).occurrences(here, unit)


def _left_out(
    part: LinesInMemory,
    noise: Array | None,
    share: Array | None,
    first: int,
    side: ShortSide,
    every: int,
) -> LeftOut:
    return part.left_out_of(*_here(part, noise, share, side), first, every)


def _digits(values: Array, prefix: int, level: int) -> Array:
    """How often each digit of the sizes occurs among those with the digits before."""
    bits = np.abs(values).view(np.uint64)
    if level:
        bits = bits[bits >> np.uint64(64 - _DIGIT * level) == np.uint64(prefix)]
    digits = (bits >> np.uint64(64 - _DIGIT * (level + 1))) & np.uint64(2**_DIGIT - 1)
    return np.bincount(digits.astype(np.int64), minlength=2**_DIGIT)


def _most_frequent(part: LinesInMemory) -> Array:
    return part.most_frequent(of_long=True)


_NUMBER = np.dtype([("line", np.int64), ("value", np.float64)])


def _numbers_of(part: LinesInMemory) -> tuple[Array, Array]:
    """The different numbers of lines of the shorter side, and how often they are."""
    numbers = np.empty(part.n_entries, _NUMBER)
    numbers["line"], numbers["value"] = part.pattern.indices, part.pattern.values
    return np.unique(numbers, return_counts=True)


def _frequent(part: LinesInMemory, most: int) -> Array:
    """The most frequent numbers of each line of the shorter side."""
    numbers, counts = _numbers_of(part)
    order = np.lexsort((-counts, numbers["line"]))
    numbers = numbers[order]
    starts = np.searchsorted(numbers["line"], numbers["line"])
    return np.asarray(numbers[np.arange(len(numbers)) - starts < most])


def _occurrences_of(part: LinesInMemory, wanted: Array) -> Array:
    """How often there are some numbers, which are sorted."""
    numbers, counts = _numbers_of(part)
    at = np.searchsorted(numbers, wanted)
    there = np.minimum(at, max(0, len(numbers) - 1))
    if not len(numbers):
        return np.zeros(len(wanted), dtype=np.int64)
    return np.where(numbers[there] == wanted, counts[there], 0)


def _times(part: LinesInMemory, numbers: Array, block: Array) -> Array:
    return np.asarray(part.matrix(numbers) @ block)


def _back(part: LinesInMemory, numbers: Array, block: Array) -> Array:
    return np.asarray(part.matrix(numbers).T @ block)


def _gram(part: LinesInMemory, numbers: Array) -> Array:
    matrix = part.matrix(numbers)
    return np.asarray((matrix.T @ matrix).toarray())


def _gram_times(part: LinesInMemory, numbers: Array, block: Array) -> Array:
    matrix = part.matrix(numbers)
    return np.asarray(matrix.T @ (matrix @ block))
