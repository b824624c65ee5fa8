"""Entries by the lines of the longer side, in the memory of one process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import most_frequent, slabs
from skprecgd._runtime.typing import Array
from skprecgd.kernels import (
    Learned,
    Lines,
    Pattern,
    Sweep,
    Tail,
    packed_of,
    packed_squares,
    sampled_product,
    uncertain_lines,
    uncertain_rows,
)
from skprecgd.variational.entry_lines import (
    EntryLines,
    LeftOut,
    LongSide,
    Residual,
    Shares,
    ShortSide,
    Swept,
)
from skprecgd.variational.tail import expected_share, occurrences

# Numbers of products of second moments that are held at a time (32 MB).
_NUMBERS = 1 << 22
# An entry never explains itself altogether: double precision of what is left.
_LEAST = 0.05


@dataclass(frozen=True)
class LongMeans(LongSide):
    """The means of the lines of the longer side, in memory.

    Attributes
    ----------
    mean : ndarray of shape (n_long, size)
    """

    mean: Array

    def mean_of(self, coordinate: int) -> float:
        return float(self.mean[:, coordinate].mean())

    def squares(self) -> Array:
        return np.asarray(np.sum(self.mean**2, axis=0))

    def turned(self, turn: Array) -> LongMeans:
        return LongMeans(self.mean @ turn.T)

    def kept(self, coordinates: Array) -> LongMeans:
        return LongMeans(self.mean[:, coordinates])

    def grown(self, first: int, count: int) -> LongMeans:
        return LongMeans(np.insert(self.mean, [first] * count, 0.0, axis=1))


@dataclass(frozen=True)
class SharesInMemory(Shares):
    """The expected precisions of entries, in the order of the pattern.

    Attributes
    ----------
    share : ndarray of shape (n_entries,)
    often : ndarray of shape (n_entries,) or None
        How often each entry was made.
    """

    share: Array
    often: Array | None

    def sums(self) -> tuple[float, float, float]:
        logs = np.log(self.share)
        if self.often is None:
            return float(np.sum(logs)), float(np.sum(self.share)), len(logs)
        often = self.often
        return float(often @ logs), float(often @ self.share), float(often.sum())

    def occurrences(self, freedom: float) -> Array:
        # The squared residuals from which they were found.
        squares = np.maximum((freedom + 1.0) / self.share - freedom, 0.0)
        return occurrences(squares, self.often)


@dataclass(frozen=True)
class LinesInMemory(EntryLines):
    """The entries of some lines of the longer side, in memory.

    Attributes
    ----------
    pattern : Pattern
        By lines of the longer side, with weights: frequencies times precisions.
    n_short : int
        Lines of the shorter side.
    often, precision : ndarray of shape (n_entries,) or None
        How often entries were made, and how precisely.
    """

    pattern: Pattern
    n_short: int
    often: Array | None
    precision: Array | None

    @property
    def sides(self) -> tuple[int, int]:  # type: ignore[override]
        return len(self.pattern.indptr) - 1, self.n_short

    @property
    def n_entries(self) -> int:  # type: ignore[override]
        return len(self.pattern.values)

    @cached_property
    def along(self) -> Array:
        """The line of the longer side of each entry."""
        lines = np.arange(self.sides[0], dtype=np.int32)
        return np.repeat(lines, np.diff(self.pattern.indptr))

    @cached_property
    def counts(self) -> tuple[Array, Array]:  # type: ignore[override]
        n_long, n_short = self.sides
        short = np.bincount(self.pattern.indices, self.often, n_short)
        long = np.diff(self.pattern.indptr)
        if self.often is not None:
            long = np.bincount(self.along, self.often, n_long)
        return long.astype(float), short.astype(float)

    def responding(self, values: Array, precision: Array) -> LinesInMemory:
        """The same places with other values and precisions, made as often."""
        weights = precision if self.often is None else precision * self.often
        pattern = self.pattern._replace(values=values, weights=weights)
        other = replace(self, pattern=pattern, precision=precision)
        # What does not depend on values is not found again.
        other.__dict__.update(along=self.along, counts=self.counts)
        return other

    def matrix(self, numbers: Array) -> sparse.csr_array:
        """Numbers of the entries; zeros are stored."""
        indptr, indices = self.pattern.indptr, self.pattern.indices
        return sparse.csr_array((numbers, indices, indptr), shape=self.sides)

    def seen(self, shares: Shares | None) -> Pattern:
        """The entries, with the precisions that heavy tails leave them."""
        if shares is None:
            return self.pattern
        each = _share_of(shares)
        if self.pattern.weights is not None:
            each = each * self.pattern.weights
        return self.pattern._replace(weights=each)

    def precisions(self, side: ShortSide) -> Array:
        """Inverse variances of the noise that entries have of their lines."""
        short = side.others.precision[self.pattern.indices]
        return short if side.noise is None else side.noise[self.along] * short

    # -- what the iteration asks ------------------------------------------------------

    def unknown_lines(self, size: int) -> LongMeans:
        return LongMeans(np.zeros((self.sides[0], size)))

    def first_shares(self) -> SharesInMemory:
        return SharesInMemory(np.ones(self.n_entries), self.often)

    def swept(self, side: ShortSide, shares: Shares | None) -> Swept:
        sweep = self.sweep(side, shares)
        squares = sweep.squares if side.learns_noise else np.zeros(0)
        told = None if sweep.share is None else SharesInMemory(sweep.share, self.often)
        sums = sweep.totals, squares, sweep.grams, sweep.moments
        return Swept(LongMeans(sweep.mean), *sums, told)

    def sweep(self, side: ShortSide, shares: Shares | None) -> Sweep:
        """What the kernel finds of all lines."""
        noise = np.ones(self.sides[0]) if side.noise is None else side.noise
        tail = None
        if shares is not None:
            tail = Tail(side.freedom, _share_of(shares), self.precision)
        # Counts are read only if lines learn noise of their own.
        counts = self.counts[0] if side.learns_noise else noise
        learned = Learned(side.rate, counts)
        at = self.pattern, side.others, side.unknown, noise, learned
        return uncertain_rows(*at, tail)

    def squares_alone(
        self, side: ShortSide, shares: Shares | None
    ) -> tuple[Array, Array]:
        pattern, (n_long, n_short) = self.seen(shares), self.sides
        squares = pattern.values**2
        if pattern.weights is not None:
            squares = squares * pattern.weights
        short = side.others.precision[pattern.indices]
        long = 1.0 if side.noise is None else side.noise[self.along]
        return (
            np.bincount(self.along, squares * short, n_long),
            np.bincount(pattern.indices, squares * long, n_short),
        )

    def shares_alone(self, side: ShortSide, shares: Shares) -> SharesInMemory:
        squares = self.precisions(side) * self.pattern.values**2
        share = expected_share(squares, side.freedom, self.precision)
        return SharesInMemory(share, self.often)

    def lines(self, side: ShortSide, shares: Shares | None) -> Lines:
        return self._lines(side, shares, slice(None))

    def _lines(self, side: ShortSide, shares: Shares | None, which: slice) -> Lines:
        """Some of the lines."""
        pattern, others = self.seen(shares), side.others
        scaled = others.precision[:, None]
        ones = np.ones(len(pattern.values))
        each = ones if pattern.weights is None else pattern.weights
        gaps = self.matrix(each)[which]
        rows = self.matrix(each * pattern.values)[which]
        moments = np.zeros((gaps.shape[0], others.mean.shape[1] + 1))
        moments[:, :-1] = rows @ (scaled * others.mean)
        grams = np.asarray(gaps @ (scaled * others.second))
        noise = np.ones(self.sides[0]) if side.noise is None else side.noise
        unknown = side.unknown.of_lines(which)
        return uncertain_lines(grams, moments, noise[which], unknown)

    def residual(self, long: LongSide, short: Array) -> ResidualInMemory:
        assert isinstance(long, LongMeans)
        values = self.pattern.values
        if short.shape[1]:
            at = self.along, self.pattern.indices
            values = values - sampled_product(long.mean, short, *at)
        return ResidualInMemory(self, values)

    def left_out(self, side: ShortSide, shares: Shares | None, most: int) -> LeftOut:
        return self.left_out_of(side, shares, 0, -(-self.n_entries // most))

    def left_out_of(
        self, side: ShortSide, shares: Shares | None, first: int, every: int
    ) -> LeftOut:
        """See `EntryLines.left_out`: of every so many lines, from the first.

        A line explains a share of each of its entries with the entry itself, which is
        its posterior variance in units of the noise (the leverage of a ridge
        regression), and so does that of the other side.
        """
        pattern, others = self.seen(shares), side.others
        which = (self.along >= first) & ((self.along - first) % every == 0)
        columns, values = pattern.indices[which], pattern.values[which]
        at = self.along[which], columns
        if not others.mean.shape[1]:
            return LeftOut(values, values**2, *at)
        rows = (at[0] - first) // every
        precision = self.precisions(side)[which]
        if pattern.weights is not None:
            precision = precision * pattern.weights[which]
        long = self._lines(side, shares, slice(first, None, every))
        twice = packed_of(2.0 - np.eye(others.mean.shape[1]))
        by_long = twice * (long.second - packed_squares(long.mean)), others.second
        spread = others.second - packed_squares(others.mean)
        by_short = twice * long.second, spread
        left = values - sampled_product(long.mean, others.mean, rows, columns)
        studentised = left**2
        for part in slabs((len(left), long.second.shape[1]), _NUMBERS):
            own = np.ones(len(rows[part]))
            for ours, theirs in (by_long, by_short):
                share = sampled_product(ours, theirs, rows[part], columns[part])
                own *= np.maximum(1.0 - precision[part] * share, _LEAST)
            own = np.maximum(own, _LEAST)
            left[part] /= own
            studentised[part] /= own
        return LeftOut(left, studentised, *at)

    def most_frequent(self, *, of_long: bool) -> Array:
        lines = self.along if of_long else self.pattern.indices
        n = self.sides[0 if of_long else 1]
        return most_frequent(lines, self.pattern.values, n)


@dataclass(frozen=True)
class ResidualInMemory(Residual):
    """What the means leave of entries in memory.

    Attributes
    ----------
    lines : LinesInMemory
    values : ndarray of shape (n_entries,)
        In the order of the pattern.
    """

    lines: LinesInMemory
    values: Array

    def whitened(self, side: ShortSide, shares: Shares | None) -> sparse.csr_array:
        pattern, short = self.lines.seen(shares), side.others.precision
        numbers = self.values * np.sqrt(short / short.max())[pattern.indices]
        if side.noise is not None:
            numbers = numbers * np.sqrt(side.noise)[self.lines.along]
        if pattern.weights is not None:
            numbers = numbers * pattern.weights
        return self.lines.matrix(numbers)

    def median_size(self) -> float:
        return float(np.median(np.abs(self.values)))

    def mean_square(self, side: ShortSide) -> float:
        return float(np.mean(self.squares(side)))

    def occurrences(self, side: ShortSide, unit: float) -> Array:
        # Columns that count little, as all but a few of their entries are the same, are
        # where tails are seen.
        return occurrences(self.squares(side) / unit, None)

    def squares(self, side: ShortSide) -> Array:
        """The squares, in units of the noise."""
        precision = self.lines.precisions(side)
        if self.lines.precision is not None:
            precision = precision * self.lines.precision
        return np.asarray(precision * self.values**2)


def _share_of(shares: Shares) -> Array:
    assert isinstance(shares, SharesInMemory)
    return shares.share


def in_order(
    lines: Array, others: Array, values: Array, sides: tuple[int, int]
) -> tuple[Pattern, Array | slice]:
    """The pattern of entries by lines of the longer side, and their order in it.

    Parameters
    ----------
    lines, others : ndarray of int, shape (n_entries,)
        Of the longer and of the shorter side.
    values : ndarray of shape (n_entries,)
    sides : tuple of int
    """
    order: Array | slice = slice(None)
    if np.any(lines[1:] < lines[:-1]):
        order = np.argsort(lines, kind="stable")
    counts = np.bincount(lines, minlength=sides[0])
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    across = np.ascontiguousarray(others[order].astype(np.int32))
    return Pattern(starts, across, values[order], None), order


def lines_of(
    lines: Array,
    others: Array,
    values: Array,
    sides: tuple[int, int],
    often: Array | None,
    precision: Array | None,
) -> LinesInMemory:
    """Entries in any order by the lines of the longer side; see `in_order`."""
    pattern, order = in_order(lines, others, values, sides)
    often = None if often is None else often[order]
    precision = None if precision is None else precision[order]
    weights = often if precision is None else precision
    if often is not None and precision is not None:
        weights = often * precision
    pattern = pattern._replace(weights=weights)
    return LinesInMemory(pattern, sides[1], often, precision)
