"""Noisy entries of a data matrix, in units of their own spread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import largest_sizes
from skprecgd._linalg.offsets import at_least_something
from skprecgd._runtime.typing import Array
from skprecgd.kernels import Pattern
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE

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
        columns: Array,
        values: Array,
        n_columns: int,
        center: str | None,
        each: Array | None,
        *,
        own: bool = True,
        rounding: float = ROUNDING,
    ) -> Units:
        """The observed mean and spread, of each column or of all.

        An overall mean, or offsets of rows, presuppose that the columns have the same
        unit.

        Parameters
        ----------
        columns, values : ndarray of shape (n_entries,)
        n_columns : int
        center : {None, "mean", "columns", "both"}
            Without a centre nothing is shifted, and the spread is the root mean square.
        each : ndarray of shape (n_entries,) or None
            Weights.
        own : bool, default=True
            Whether each column may have a scale of its own.
        rounding : float
            Spread of numbers that are taken for equal, in machine epsilons of the
            largest.
        """
        together = np.zeros_like(columns)
        shifted = columns if center == "columns" else together
        own = own and center in (None, "columns")
        weights = np.ones(len(values)) if each is None else each
        # Squares of numbers in their own unit neither overflow nor underflow.
        unit = _largest(columns if own else together, values, n_columns)
        numbers = values / unit[columns]
        mean = np.zeros(n_columns)
        if center is not None:
            mean = _means(shifted, weights, numbers, n_columns)
        deviations = numbers - mean[shifted]
        scaled = columns if own else together
        spread = np.sqrt(_means(scaled, weights, deviations**2, n_columns))
        equal = rounding * np.finfo(values.dtype).eps
        varies = spread > equal * (1.0 if center is None else np.abs(mean))
        spread = np.where(varies, spread, 1.0)
        if not own:
            unit, spread, varies = (
                np.full(n_columns, number[0]) for number in (unit, spread, varies)
            )
        if center != "columns":
            mean = np.full(n_columns, mean[0])
        else:
            empty = np.bincount(columns, minlength=n_columns) == 0
            mean[empty] = _means(together, weights, values, 1)[0] / unit[empty]
            varies = varies & ~empty
        return cls(mean * unit, spread * unit, varies, not own)

    def at(self, columns: Array) -> Units:
        """The units of some columns."""
        parts = self.shift[columns], self.scale[columns], self.varies[columns]
        return Units(*parts, self.are_one)


def _largest(groups: Array, values: Array, n: int) -> Array:
    """The largest size in each group, and one where all is zero."""
    largest = largest_sizes(groups, values, n)
    largest[largest == 0] = 1.0
    return largest if groups.any() else np.full(n, largest[0])


def _means(groups: Array, weights: Array, values: Array, n: int) -> Array:
    total = at_least_something(np.bincount(groups, weights, n))
    return np.asarray(np.bincount(groups, weights * values, n) / total)


@dataclass(frozen=True)
class NoisyEntries:
    """Entries of a matrix without empty lines, its longer side being its rows.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (n_entries,)
        Of the data, sorted by rows.
    values : ndarray of shape (n_entries,)
        In units of the spread.
    shape : tuple of int
    center : {None, "mean", "columns", "both"}
    units : Units
    weights : Weights
    """

    rows: Array
    columns: Array
    values: Array
    shape: tuple[int, int]
    center: str | None
    units: Units
    weights: Weights = ONCE

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
        """Entries as they are given, each row and column having one.

        Parameters
        ----------
        rows, columns, values : ndarray of shape (n_entries,)
        shape : tuple of int
        center : {None, "mean", "columns", "both"}
        weights : Weights
        units : Units, default=None
            None is those of `Units.of`.
        """
        values = values.astype(np.float64)
        if units is None:
            each = weights.of_losses
            units = Units.of(columns, values, shape[1], center, each)
        scaled = (values - units.shift[columns]) / units.scale[columns]
        return cls(rows, columns, scaled, shape, center, units, weights)

    def counting(self, share: Array) -> NoisyEntries:
        """The same, where entries of a column count as a share (n_columns,) of one."""
        if np.all(share == 1.0):
            return self
        often, each = self.weights.frequency, share[self.columns]
        frequency = each if often is None else often * each
        return replace(self, weights=replace(self.weights, frequency=frequency))

    @property
    def columns_are_long(self) -> bool:
        """Whether the matrix has more columns than rows."""
        return self.shape[1] > self.shape[0]

    @cached_property
    def pattern(self) -> Pattern:
        """The entries by lines of the longer side."""
        matrix = self.matrix(self.values)
        weights = self.weights.of_losses
        if weights is not None:
            weights = self.matrix(weights).data
        return Pattern(matrix.indptr, matrix.indices, matrix.data, weights)

    def matrix(self, numbers: Array) -> sparse.csr_array:
        """Numbers of the entries, by lines of the longer side; zeros are stored."""
        return sparse.csr_array(
            (numbers[self._order], self._across, self._starts), shape=self.sides
        )

    def patterned(self, numbers: Array) -> sparse.csr_array:
        """Numbers that are in the order of the pattern as a matrix."""
        pattern = self.pattern
        return sparse.csr_array(
            (numbers, pattern.indices, pattern.indptr), shape=self.sides
        )

    @cached_property
    def lines(self) -> Array:
        """The line of the longer side of each entry, in the order of the pattern."""
        return np.repeat(np.arange(self.sides[0]), np.diff(self.pattern.indptr))

    @property
    def sides(self) -> tuple[int, int]:
        """Numbers of lines of the longer side, and of the other."""
        n_rows, n_columns = self.shape
        return (n_columns, n_rows) if self.columns_are_long else (n_rows, n_columns)

    @cached_property
    def counts(self) -> tuple[Array, Array]:
        """How many entries the lines of each side have, as often as they were made."""
        often = self.weights.frequency
        along = self.columns if self.columns_are_long else self.rows
        across = self.rows if self.columns_are_long else self.columns
        pairs = zip((along, across), self.sides, strict=True)
        counts = [np.bincount(lines, often, n).astype(float) for lines, n in pairs]
        return counts[0], counts[1]

    @cached_property
    def count(self) -> float:
        """Number of entries, each as often as it was made."""
        return float(self.counts[0].sum())

    @cached_property
    def _order(self) -> Array | slice:
        if not self.columns_are_long:
            return slice(None)
        return np.argsort(self.columns, kind="stable")

    @cached_property
    def _across(self) -> Array:
        across = self.rows if self.columns_are_long else self.columns
        return np.ascontiguousarray(across[self._order].astype(np.int32))

    @cached_property
    def _starts(self) -> Array:
        along = self.columns if self.columns_are_long else self.rows
        counts = np.bincount(along, minlength=self.sides[0])
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
