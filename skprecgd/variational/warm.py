"""Where the iteration goes on from, when there are more entries than it has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import Lines, Totals, packed_of, unpacked
from skprecgd.variational.entries import Units
from skprecgd.variational.given import GivenInMemory, Useful
from skprecgd.variational.model import Model
from skprecgd.variational.noise import EqualNoise
from skprecgd.variational.noise_choice import HeavyTails, LoudRows, SameNoise
from skprecgd.variational.rows import ColumnPosterior


@dataclass(frozen=True)
class Start:
    """What was learned of the columns of a matrix.

    Attributes
    ----------
    rank : int
        Number of factors, r.
    units : Units
        Of the columns.
    mean : ndarray of shape (n_columns, f)
        Of the factors and the offset of each, if columns have some.
    second : ndarray of shape (n_columns, f, f)
    precision : ndarray of shape (n_columns,)
        Inverse variances of their noise; zero for those without entries.
    row_prior, column_prior : ndarray
        Prior variances of factors and offsets of rows and columns.
    centre : float
        Prior mean of the offsets of columns.
    rows_differ, has_tail : bool
        Whether rows have noise of their own, and whether it has heavy tails.
    """

    rank: int
    units: Units
    mean: Array
    second: Array
    precision: Array
    row_prior: Array
    column_prior: Array
    centre: float
    rows_differ: bool
    has_tail: bool

    @classmethod
    def of(cls, model: Model, columns: ColumnPosterior) -> Self:
        """Where an iteration has ended.

        Parameters
        ----------
        model : Model
        columns : ColumnPosterior
            What it says of all columns.
        """
        of_long = model.entries.columns_are_long
        coordinates = model.coordinates
        side = coordinates.long if of_long else coordinates.short
        second = unpacked(columns.second, coordinates.at)
        priors = model.long_prior, model.short_prior
        column_prior, row_prior = priors if of_long else priors[::-1]
        return cls(
            model.rank,
            columns.units,
            columns.mean[:, side.free],
            second[:, side.free[:, None], side.free],
            columns.precision,
            row_prior,
            column_prior,
            model.centre,
            model.noise.of_rows is not None,
            model.tail is not None,
        )

    def among(self, positions: Array, n_columns: int) -> Start:
        """The same columns at other positions, among more of which nothing is known.

        All columns have offsets, and the same unit.

        Parameters
        ----------
        positions : ndarray of int
            Of the columns.
        n_columns : int
        """
        f = len(self.column_prior)
        mean = np.zeros((n_columns, f))
        mean[:, -1] = self.centre
        second = mean[:, :, None] * mean[:, None, :] + np.diag(self.column_prior)
        precision = np.zeros(n_columns)
        mean[positions], second[positions] = self.mean, self.second
        precision[positions] = self.precision
        units = self.units.at(np.zeros(n_columns, dtype=np.intp))
        return replace(self, units=units, mean=mean, second=second, precision=precision)

    def begun(self, offsets: Model, given: GivenInMemory, useful: Useful) -> Model:
        """A model without factors, with those that were learned.

        Parameters
        ----------
        offsets : Model
            Before anything is learned.
        given : GivenInMemory
        useful : Useful
        """
        model = offsets.copied()
        of_long = model.entries.columns_are_long
        n_short, r = model.entries.sides[1], self.rank
        scale = np.sqrt(self.row_prior[:r] * self.column_prior[:r])
        model.centre = self.centre
        model._add(np.zeros((n_short, r)), scale)
        priors = self.column_prior.copy(), self.row_prior.copy()
        model.long_prior, model.short_prior = priors if of_long else priors[::-1]
        lines = self._lines_of_rows(model, given) if of_long else self._lines(model)
        kept = useful.rows if of_long else useful.columns
        mean, second = lines.mean[kept], lines.second[kept]
        totals = Totals(second.sum(axis=0), 0.0, np.zeros(len(model.short_prior)))
        model.short = Lines(mean, second, np.zeros(len(kept)), totals)
        return self._with_noise(model)

    def _with_noise(self, model: Model) -> Model:
        """The model with the noise that there was, before anything is learned of it."""
        if SameNoise().is_suggested(model):
            entries = model.entries
            model.noise = EqualNoise(entries.sides, entries.count)
        elif self.rows_differ:
            model = LoudRows().added_to(model)
        return HeavyTails().added_to(model) if self.has_tail else model

    def _lines(self, model: Model) -> Lines:
        """The columns in the coordinates of a model."""
        of_long, coordinates = model.entries.columns_are_long, model.coordinates
        side = coordinates.long if of_long else coordinates.short
        n, size, free = len(self.mean), coordinates.size, side.free
        mean, second = np.zeros((n, size)), np.zeros((n, size, size))
        mean[:, free], second[:, free[:, None], free] = self.mean, self.second
        if side.fixed is not None:
            mean[:, side.fixed] = second[:, side.fixed, side.fixed] = 1.0
            second[:, free, side.fixed] = second[:, side.fixed, free] = self.mean
        packed = packed_of(second)
        nothing = Totals(packed.sum(axis=0), 0.0, np.zeros(len(free)))
        return Lines(mean, packed, np.zeros(n), nothing)

    def _lines_of_rows(self, model: Model, given: GivenInMemory) -> Lines:
        """The rows, given the columns as they are known."""
        columns = self._lines(model)
        told = ColumnPosterior(
            self.units,
            columns.mean,
            columns.second,
            self.precision,
            (self.precision > 0).astype(np.float64),
            model.unknown_line(of_long=False),
        )
        return told.lines(given.matrix, given.weights)
