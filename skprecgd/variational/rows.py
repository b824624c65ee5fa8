"""Rows of a data matrix, given what was learned of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import norm, slabs
from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import (
    Lines,
    Unknown,
    line_means,
    packed_of,
    sampled_product,
    uncertain_lines,
    unchecked_csr,
)
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.entries import Units
from skprecgd.variational.tuning import ROWS

# Numbers of the systems of rows that are summed at a time (8 MB).
_NUMBERS = 1 << 20


@dataclass(frozen=True)
class ColumnPosterior:
    """What the columns of a data matrix say of a row: its prior, and their Gaussians.

    An entry is ``shift_j + scale_j <x_i, y_j>`` plus noise, where some coordinates of
    the row x_i are to be found, and one may be given.

    Attributes
    ----------
    units : Units
    mean : ndarray of shape (n_columns, size)
    second : ndarray of shape (n_columns, size (size + 1) / 2)
        Packed second moments.
    precision : ndarray of shape (n_columns,)
        Inverse variances of the noise, in units of the scale; zero for columns that
        say nothing.
    trust : ndarray of shape (n_columns,)
        As how many an entry counts.
    unknown : Unknown
        Of a row.
    strength : float
        How many entries the prior of a row's own noise counts as; infinite if rows have
        none.
    freedom : float
        Degrees of freedom of the noise of an entry; infinite if it is normal.
    expected : ndarray of shape (n_rows, f), default=None
        What features of the rows of the fit add to their prior means.
    knows_unseen : bool, default=False
        Whether features tell of columns without entries, and second moments are theirs.
    """

    units: Units
    mean: Array
    second: Array
    precision: Array
    trust: Array
    unknown: Unknown
    strength: float = np.inf
    freedom: float = np.inf
    expected: Array | None = None
    knows_unseen: bool = False
    n_draws: ClassVar[int] = 0

    @property
    def weight(self) -> Array:
        """Inverse variances of the noise, as much as entries count."""
        return self.trust * self.precision

    @property
    def basis(self) -> Array:
        """What each coordinate of a row adds to its entries, (n_columns, f)."""
        return self.units.scale[:, None] * self.mean[:, self.unknown.free]

    @property
    def offsets(self) -> Array:
        """The entries of a row whose coordinates are zero, (n_columns,)."""
        fixed = self.unknown.fixed
        if fixed is None:
            return self.units.shift
        own = self.unknown.value * self.mean[:, fixed]
        return self.units.shift + self.units.scale * own

    def whole(self, coordinates: Array) -> Array:
        """All coordinates of rows, (n_rows, size), of those that are to be found."""
        unknown = self.unknown
        out = np.zeros((len(coordinates), self.mean.shape[1]))
        out[:, unknown.free] = coordinates
        if unknown.fixed is not None:
            out[:, unknown.fixed] = unknown.value
        return out

    def rows(self, entries: sparse.csr_array, weights: Weights = ONCE) -> RowPosterior:
        """The rows that show some entries.

        Parameters
        ----------
        entries : csr_array of shape (n_rows, n_columns)
            The visible ones; explicit zeros are values.
        weights : Weights
            In the order of the stored values.
        """
        parts = slabs((entries.shape[0], self.second.shape[1]), _NUMBERS)
        return RowPosterior.of([self._solved(entries, weights, part) for part in parts])

    def means(self, entries: sparse.csr_array, weights: Weights = ONCE) -> Array:
        """The posterior means of `rows`, at less cost where nothing else is learned.

        Parameters
        ----------
        entries : csr_array of shape (n_rows, n_columns)
        weights : Weights
        """
        if self.learns_of_rows:
            return self.rows(entries, weights).mean
        parts = slabs((entries.shape[0], self.second.shape[1]), _NUMBERS)
        return np.concatenate(
            [_Shown.of(self, entries, weights, part).means() for part in parts]
        )

    def lines(self, entries: sparse.csr_array, weights: Weights) -> Lines:
        """The rows with their second moments, all in memory, of no own noise.

        Parameters
        ----------
        entries : csr_array of shape (n_rows, n_columns)
        weights : Weights
        """
        shown = _Shown.of(self, entries, weights, slice(0, entries.shape[0]))
        return shown.lines(np.ones(len(shown.counts)), np.ones(len(shown.values)))

    def squares_of(
        self, rows: RowPosterior, entries: sparse.csr_array, weights: Weights
    ) -> Array:
        """Expected squared residuals of rows that were found: they are known."""
        return rows.squares

    def unknown_rows(self, part: slice) -> Unknown:
        """What is to be found of some rows, which are those of the fit or plain."""
        if self.expected is None:
            return self.unknown
        pull = self.unknown.pull + self.unknown.precision * self.expected[part]
        return replace(self.unknown, pull=pull)

    def _solved(
        self, entries: sparse.csr_array, weights: Weights, part: slice
    ) -> RowPosterior:
        """Some rows: their noise and that of their entries are learned in turn."""
        shown = _Shown.of(self, entries, weights, part)
        noise, share = np.ones(len(shown.counts)), np.ones(len(shown.values))
        lines = shown.lines(noise, share)
        for _ in range(ROWS.most_rounds if self.learns_of_rows else 0):
            before = lines.mean
            if np.isfinite(self.strength):
                least = np.maximum(lines.squares, 0.0)
                noise = (self.strength + shown.counts) / (self.strength + least)
            if np.isfinite(self.freedom):
                squares = noise[shown.rows] * shown.squares(lines)
                share = (self.freedom + 1.0) / (self.freedom + squares)
            lines = shown.lines(noise, share)
            if norm(lines.mean - before) <= ROWS.tol * norm(lines.mean):
                break
        free = self.unknown.free
        return RowPosterior(lines.mean[:, free], lines.squares, noise, share)

    @property
    def learns_of_rows(self) -> bool:
        """Whether rows, or entries, have noise of their own that is to be found."""
        return bool(np.isfinite(self.strength) or np.isfinite(self.freedom))


@dataclass(frozen=True)
class RowPosterior:
    """What is known of rows.

    Attributes
    ----------
    mean : ndarray of shape (n_rows, f)
        Posterior means of the coordinates; zero for rows that show nothing.
    squares : ndarray of shape (n_rows,)
        Expected squared residuals of the entries, in units of the noise of the columns,
        as much as they count.
    noise : ndarray of shape (n_rows,)
        Inverse variances of the noise of the rows, times that of the columns.
    share : ndarray of shape (nnz,)
        Expected precisions of the entries, in units of those.
    """

    mean: Array
    squares: Array
    noise: Array
    share: Array

    @classmethod
    def of(cls, parts: Sequence[RowPosterior]) -> RowPosterior:
        """All of some parts."""
        names = ("mean", "squares", "noise", "share")
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
        )


@dataclass(frozen=True)
class _Shown:
    """The visible entries of some rows, beside the columns.

    Attributes
    ----------
    columns : ColumnPosterior
    pattern : csr_array of shape (n_rows, n_columns)
        How much each entry counts.
    precision : ndarray of shape (n_entries,) or float
        By what precisions differ beside those of the columns.
    values : ndarray of shape (n_entries,)
        In units of the columns.
    unknown : Unknown
        Of the rows.
    """

    columns: ColumnPosterior
    pattern: sparse.csr_array
    precision: Array | float
    values: Array
    unknown: Unknown

    @classmethod
    def of(
        cls,
        columns: ColumnPosterior,
        entries: sparse.csr_array,
        weights: Weights,
        part: slice,
    ) -> _Shown:
        own = slice(entries.indptr[part.start], entries.indptr[part.stop])
        index, units = entries.indices[own], columns.units
        values = (entries.data[own] - units.shift[index]).astype(np.float64)
        weights = weights.at(own)
        each = weights.of_losses
        each = np.ones(len(values)) if each is None else each
        if part == slice(0, entries.shape[0]):
            pattern = with_values(entries, each)
        else:
            indptr = entries.indptr[part.start : part.stop + 1] - own.start
            shape = part.stop - part.start, entries.shape[1]
            pattern = unchecked_csr(indptr, index, each, shape)
        precision = 1.0 if weights.precision is None else weights.precision
        scaled = values / units.scale[index]
        return cls(columns, pattern, precision, scaled, columns.unknown_rows(part))

    @cached_property
    def rows(self) -> Array:
        """The row of each entry."""
        return np.repeat(np.arange(self.pattern.shape[0]), np.diff(self.pattern.indptr))

    @cached_property
    def counts(self) -> Array:
        """How many entries each row has, as much as they count."""
        return self._summed(self.pattern.data / self.precision, self.columns.trust)

    def _summed(self, numbers: Array, of_columns: Array) -> Array:
        """Numbers of the entries times those of their columns, summed by rows."""
        each = numbers * of_columns[self.pattern.indices]
        return np.bincount(self.rows, each, self.pattern.shape[0])

    def lines(self, noise: Array, share: Array) -> Lines:
        """The rows, given the noise of them and of their entries."""
        each = self.pattern.data * share
        squares = self._summed(each * self.values**2, self.columns.weight)
        grams, moments = self._sums(each, squares)
        return uncertain_lines(grams, moments, noise, self.unknown)

    def means(self) -> Array:
        """The means of the rows, whose noise is that of the columns alone."""
        n_rows = self.pattern.shape[0]
        # Only squared residuals would take the sums of squares.
        grams, moments = self._sums(self.pattern.data, np.zeros(n_rows))
        return line_means(grams, moments, np.ones(n_rows), self.unknown)

    def _sums(self, each: Array, squares: Array) -> tuple[Array, Array]:
        """Gram matrices and moments of rows whose entries count as said."""
        columns = self.columns
        scaled = columns.weight[:, None]
        gaps, values = (
            with_values(self.pattern, numbers) for numbers in (each, each * self.values)
        )
        grams = np.asarray(gaps @ (scaled * columns.second))
        moments = np.empty((len(grams), columns.mean.shape[1] + 1))
        moments[:, :-1], moments[:, -1] = values @ (scaled * columns.mean), squares
        return grams, moments

    def squares(self, lines: Lines) -> Array:
        """Expected squared residuals of the entries, in units of the columns' noise."""
        columns, index = self.columns, self.pattern.indices
        twice = packed_of(2.0 - np.eye(columns.mean.shape[1]))
        at = self.rows, index
        squares = self.values**2
        squares -= 2.0 * self.values * sampled_product(lines.mean, columns.mean, *at)
        squares += sampled_product(lines.second * twice, columns.second, *at)
        precision = columns.precision[index] * self.precision
        return np.asarray(precision * np.maximum(squares, 0.0))
