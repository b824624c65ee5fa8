"""Entries as they are given, row by row and in the units of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import largest_sizes, most_frequent
from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.objective import Weights
from skprecgd.variational.entries import NoisyEntries, Units, Within, column_sums
from skprecgd.variational.rows import ColumnPosterior, RowPosterior


@dataclass(frozen=True)
class Useful:
    """The lines that say something, and how much their entries count.

    Attributes
    ----------
    rows, columns : ndarray of int
        Ascending.
    trust : ndarray of shape (n_columns,)
        As how many an entry of one of these columns counts.
    """

    rows: Array
    columns: Array
    trust: Array

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)


class GivenEntries(ABC):
    """The entries of a data matrix, as a posterior is learned from them.

    Attributes
    ----------
    shape : tuple of int
    """

    shape: tuple[int, int]

    @abstractmethod
    def largest(self) -> Array:
        """The largest size among the entries of each column."""

    @abstractmethod
    def sums(
        self,
        shift: Array,
        scale: Array,
        powers: Sequence[int],
        within: Within | None = None,
    ) -> Array:
        """Weighted sums of the entries of each column; see `column_sums`."""

    @property
    @abstractmethod
    def column_counts(self) -> Array:
        """How many entries each column has, as often as they were made."""

    @abstractmethod
    def few(self, most: int) -> GivenInMemory | None:
        """All entries in memory, if they are so many at most."""

    @abstractmethod
    def seen_rows(self, columns: Array) -> Array:
        """Which rows have an entry in one of some columns, as a mask.

        Parameters
        ----------
        columns : ndarray of bool, shape (n_columns,)
        """

    @abstractmethod
    def noisy(self, useful: Useful, units: Units, center: str | None) -> NoisyEntries:
        """The useful entries, as they are iterated on.

        Parameters
        ----------
        useful : Useful
        units : Units
            Of all columns.
        center : {None, "mean", "columns", "both"}
        """

    @abstractmethod
    def rows(self, columns: ColumnPosterior) -> RowPosterior:
        """What the columns say of all rows."""

    @abstractmethod
    def row_counts(self, trust: Array) -> Array:
        """How many entries each row has, of columns that count so much."""

    @abstractmethod
    def log_precisions(self) -> float:
        """The sum of the logarithms of the entries' own precisions."""

    @abstractmethod
    def squares_left(
        self, left: Array, right: Array, offsets: Array, scale: Array
    ) -> Array:
        """Weighted sums of the squares that a matrix leaves of each column.

        Parameters
        ----------
        left, right : ndarray of shape (n_rows, r), (n_columns, r)
        offsets, scale : ndarray of shape (n_columns,)
            The matrix is ``left @ right.T + offsets``; what it leaves is divided by
            the scale before it is squared.
        """

    @abstractmethod
    def line_counts(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        """How many entries rows and columns have within some of them.

        Parameters
        ----------
        rows, columns : ndarray of bool, shape (n_rows,), (n_columns,)
        """

    @abstractmethod
    def most_frequent(self, rows: Array, columns: Array) -> Array:
        """How often the most frequent number of each column is in some of the rows.

        Parameters
        ----------
        rows, columns
            See `line_counts`.
        """


@dataclass(frozen=True)
class GivenInMemory(GivenEntries):
    """The entries of a data matrix in memory.

    Attributes
    ----------
    matrix : csr_array of shape (n_rows, n_columns)
        Whatever is stored is observed, explicit zeros too.
    weights : Weights
        Of the stored entries.
    """

    matrix: sparse.csr_array
    weights: Weights

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self.matrix.shape[0]), int(self.matrix.shape[1])

    @cached_property
    def row_index(self) -> Array:
        """The row of each entry."""
        rows = np.arange(self.shape[0], dtype=np.int32)
        return np.repeat(rows, np.diff(self.matrix.indptr))

    @cached_property
    def values(self) -> Array:
        return np.asarray(self.matrix.data, np.float64)

    def largest(self) -> Array:
        return largest_sizes(self.matrix.indices, self.values, self.shape[1])

    def sums(
        self,
        shift: Array,
        scale: Array,
        powers: Sequence[int],
        within: Within | None = None,
    ) -> Array:
        at = self.matrix.indices, self.values, self.weights.of_losses, self.shape[1]
        return column_sums(*at, shift, scale, powers, within)

    @cached_property
    def column_counts(self) -> Array:
        often = self.weights.frequency
        return np.bincount(self.matrix.indices, often, self.shape[1]).astype(float)

    def few(self, most: int) -> GivenInMemory | None:
        return self if self.matrix.nnz <= most else None

    def seen_rows(self, columns: Array) -> Array:
        of_these = self.row_index[columns[self.matrix.indices]]
        return np.bincount(of_these, minlength=self.shape[0]) > 0

    def noisy(self, useful: Useful, units: Units, center: str | None) -> NoisyEntries:
        rows, columns, values, weights = self.useful(useful)
        at = units.at(useful.columns)
        return NoisyEntries.of(rows, columns, values, useful.shape, center, weights, at)

    def useful(self, useful: Useful) -> tuple[Array, Array, Array, Weights]:
        """The useful entries by positions among the useful lines, and their weights."""
        rows, columns = self.row_index, self.matrix.indices
        values, weights = self.values, self.weights
        if len(useful.columns) < self.shape[1]:
            told = np.zeros(self.shape[1], dtype=bool)
            told[useful.columns] = True
            which = told[columns]
            if not which.all():
                rows, columns, values = rows[which], columns[which], values[which]
                weights = weights.at(which)
            columns = np.searchsorted(useful.columns, columns)
        if len(useful.rows) < self.shape[0]:
            rows = np.searchsorted(useful.rows, rows)
        if np.any(useful.trust != 1.0):
            often, share = weights.frequency, useful.trust[columns]
            often = share if often is None else often * share
            weights = Weights(often, weights.precision, weights.unit_variance)
        return rows, columns, values, weights

    def rows(self, columns: ColumnPosterior) -> RowPosterior:
        return columns.rows(self.matrix, self.weights)

    def row_counts(self, trust: Array) -> Array:
        often = self.weights.frequency
        each = np.ones(self.matrix.nnz) if often is None else often
        return np.asarray(with_values(self.matrix, each) @ trust)

    def log_precisions(self) -> float:
        precision, often = self.weights.precision, self.weights.frequency
        if precision is None:
            return 0.0
        logs = np.log(precision)
        return float(np.sum(logs if often is None else often * logs))

    def squares_left(
        self, left: Array, right: Array, offsets: Array, scale: Array
    ) -> Array:
        cells = self.row_index, self.matrix.indices
        fitted = sampled_product(left, right, *cells) + offsets[cells[1]]
        squares = ((self.values - fitted) / scale[cells[1]]) ** 2
        each = self.weights.of_losses
        if each is not None:
            squares *= each
        return np.bincount(cells[1], squares, self.shape[1])

    def line_counts(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        which = rows[self.row_index] & columns[self.matrix.indices]
        down, across = self.row_index[which], self.matrix.indices[which]
        n_rows, n_columns = self.shape
        return np.bincount(down, minlength=n_rows), np.bincount(
            across, minlength=n_columns
        )

    def most_frequent(self, rows: Array, columns: Array) -> Array:
        across, values = self.within(rows, columns)
        return most_frequent(across, values, self.shape[1])

    def within(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        """The columns and values of the entries in some rows and columns."""
        across = self.matrix.indices
        which = rows[self.row_index] & columns[across]
        return across[which], self.values[which]
