"""Noisy entries of a data matrix, in units of their own spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from skprecgd._linalg.numerics import largest_sizes
from skprecgd._linalg.offsets import at_least_something
from skprecgd._runtime.typing import Array
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.entry_lines import EntryLines
from skprecgd.variational.lines_in_memory import LinesInMemory, lines_of

ColumnSums = Callable[[Array, Array, Sequence[int]], Array]
# The least and the largest numbers of each column that are counted.
Within = tuple[Array, Array]
"""Shift, scale and powers -> sums of the columns; see `column_sums`."""

# Spread of numbers that are equal but for rounding, in machine epsilons of the largest.
ROUNDING = 16.0


@dataclass(frozen=True)
class Units:
    """What columns were shifted and divided by.

    Attributes
    ----------
    shift, scale : ndarray of shape (n_columns,)
        Numbers of the data are ``shift + scale * number``.
    varies : ndarray of bool, shape (n_columns,)
        Whether a column has a scale: others are their shift.
    are_one : bool
        Whether all columns have the same.
    """

    shift: Array
    scale: Array
    varies: Array
    are_one: bool

    @classmethod
    def of(
        cls,
        largest: Array,
        sums: ColumnSums,
        center: str | None,
        *,
        own: bool = True,
        rounding: float = ROUNDING,
    ) -> Units:
        """The observed mean and spread, of each column or of all.

        An overall mean, or offsets of rows, presuppose that the columns have the same
        unit.

        Parameters
        ----------
        largest : ndarray of shape (n_columns,)
            Largest size among the entries of each column.
        sums : callable
            See `column_sums`, of which the first arguments are given.
        center : {None, "mean", "columns", "both"}
            Without a centre nothing is shifted, and the spread is the root mean square.
        own : bool, default=True
            Whether each column may have a scale of its own.
        rounding : float
            Spread of numbers that are taken for equal, in machine epsilons of the
            largest.
        """
        n_columns = len(largest)
        own = own and center in (None, "columns")
        # Squares of numbers in their own unit neither overflow nor underflow.
        unit = largest if own else np.full(n_columns, np.max(largest, initial=0.0))
        unit = np.where(unit == 0.0, 1.0, unit)
        weight, first = sums(np.zeros(n_columns), unit, (0, 1))
        mean = np.zeros(n_columns)
        if center is not None:
            mean = _means(weight, first, each=center == "columns")
        second = sums(mean * unit, unit, (2,))[0]
        spread = np.sqrt(_means(weight, second, each=own))
        size = np.ones(n_columns) if center is None else np.abs(mean)
        equal = rounding * np.finfo(np.float64).eps * (size if own else size[0])
        varies = spread > equal
        spread = np.where(varies, spread, 1.0)
        if center == "columns":
            empty = weight == 0.0
            overall = float(np.sum(unit * first)) / float(np.sum(weight))
            mean = np.where(empty, overall / unit, mean)
            varies = varies & ~empty
        return cls(mean * unit, spread * unit, varies, not own)

    def at(self, columns: Array) -> Units:
        """The units of some columns."""
        parts = self.shift[columns], self.scale[columns], self.varies[columns]
        return Units(*parts, self.are_one)


def column_sums(
    columns: Array,
    values: Array,
    each: Array | None,
    n_columns: int,
    shift: Array,
    scale: Array,
    powers: Sequence[int],
    within: Within | None = None,
) -> Array:
    """Weighted sums over the entries of each column.

    Parameters
    ----------
    columns, values : ndarray of shape (n_entries,)
    each : ndarray of shape (n_entries,) or None
        Weights.
    n_columns : int
    shift, scale : ndarray of shape (n_columns,)
        Numbers are ``(value - shift) / scale``.
    powers : sequence of int
        Of the numbers that are summed.
    within : tuple of two ndarrays of shape (n_columns,), optional
        The least and the largest values that are summed.

    Returns
    -------
    ndarray of shape (len(powers), n_columns)
    """
    if within is not None:
        counted = (values >= within[0][columns]) & (values <= within[1][columns])
        columns, values = columns[counted], values[counted]
        each = None if each is None else each[counted]
    numbers = (values - shift[columns]) / scale[columns]
    sums = np.empty((len(powers), n_columns))
    for k, power in enumerate(powers):
        terms = numbers**power if power else None
        if each is not None:
            terms = each if terms is None else each * terms
        sums[k] = np.bincount(columns, terms, n_columns)
    return sums


def _means(weight: Array, sums: Array, *, each: bool) -> Array:
    """The mean of each column, or that of all for each of them."""
    if each:
        return np.asarray(sums / at_least_something(weight))
    return np.full(len(sums), float(np.sum(sums)) / float(np.sum(weight)))


@dataclass(frozen=True)
class NoisyEntries:
    """Entries of a matrix without empty lines, its longer side being its rows.

    Attributes
    ----------
    lines : EntryLines
        In units of the spread.
    shape : tuple of int
    center : {None, "mean", "columns", "both"}
    units : Units
    """

    lines: EntryLines
    shape: tuple[int, int]
    center: str | None
    units: Units

    @classmethod
    def of(
        cls,
        rows: Array,
        columns: Array,
        values: Array,
        shape: tuple[int, int],
        center: str | None = None,
        weights: Weights = ONCE,
        units: Units | None = None,
    ) -> NoisyEntries:
        """Entries in memory as they are given, each row and column having one.

        Parameters
        ----------
        rows, columns, values : ndarray of shape (n_entries,)
            Sorted by rows.
        shape : tuple of int
        center : {None, "mean", "columns", "both"}
        weights : Weights
        units : Units, default=None
            None is those of `Units.of`.
        """
        values = values.astype(np.float64)
        if units is None:
            sums = partial(column_sums, columns, values, weights.of_losses, shape[1])
            largest = largest_sizes(columns, values, shape[1])
            units = Units.of(largest, sums, center)
        scaled = (values - units.shift[columns]) / units.scale[columns]
        along, across = rows, columns
        if are_columns_long(shape):
            along, across = columns, rows
        lines = lines_of(
            *(along, across, scaled, sides_of(shape)),
            weights.frequency,
            weights.precision,
        )
        return cls(lines, shape, center, units)

    @property
    def columns_are_long(self) -> bool:
        """Whether the matrix has more columns than rows."""
        return are_columns_long(self.shape)

    @property
    def sides(self) -> tuple[int, int]:
        """Numbers of lines of the longer side, and of the other."""
        return self.lines.sides

    @property
    def counts(self) -> tuple[Array, Array]:
        """How many entries the lines of each side have, as often as they were made."""
        return self.lines.counts

    @cached_property
    def count(self) -> float:
        """Number of entries, each as often as it was made."""
        return float(self.counts[0].sum())

    @property
    def in_memory(self) -> LinesInMemory:
        """The entries one by one."""
        assert isinstance(self.lines, LinesInMemory)
        return self.lines


def are_columns_long(shape: tuple[int, int]) -> bool:
    """Whether the longer side of a matrix is that of its columns."""
    return shape[1] > shape[0]


def sides_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Numbers of lines of the longer side of a matrix, and of the other."""
    return max(shape), min(shape)
