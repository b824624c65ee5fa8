"""What was learned of noisy entries, in the units of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import packed_squares
from skprecgd.variational.entries import NoisyEntries, Units, Within
from skprecgd.variational.given import GivenEntries, Useful
from skprecgd.variational.gross import (
    are_gross,
    are_one_number,
    range_without_errors,
)
from skprecgd.variational.informed_model import InformedModel
from skprecgd.variational.model import Model
from skprecgd.variational.prior_means import (
    NOTHING_NEW,
    NewLines,
    of_all_lines,
    of_new_lines,
    uncertain_map,
)
from skprecgd.variational.recipe import (
    Learned,
)
from skprecgd.variational.rows import ColumnPosterior, RowPosterior
from skprecgd.variational.spread import trust_in_columns
from skprecgd.variational.warm import Start


@dataclass(frozen=True)
class ColumnNoise:
    """The noise of the columns of a data matrix.

    Attributes
    ----------
    variance : ndarray of shape (n_columns,)
        In squared units of the data.
    freedom : ndarray of shape (n_columns,)
        From how many entries it is known; infinite where it was given.
    is_equal : bool
        Whether it is the same in all columns.
    """

    variance: Array
    freedom: Array
    is_equal: bool

    @property
    def in_short(self) -> float | Array:
        """One number if it is the same in all columns."""
        return float(self.variance[0]) if self.is_equal else self.variance


@dataclass(frozen=True)
class Posterior:
    """Everything that was learned of a data matrix.

    Attributes
    ----------
    columns : ColumnPosterior or ColumnDraws
    rows : RowPosterior
    row_offset : bool
        Whether the last coordinate of rows is their offset.
    rank : int
        Number of factors.
    n_signal : int
        How many of them the evidence pays for.
    evidence : float
        Lower bound of the log density of the entries.
    noise : ColumnNoise
    row_counts : ndarray of shape (n_rows,)
        How many entries tell of the noise of each row.
    factor_scales : ndarray of shape (rank,)
        Standard deviation of what each factor adds to an entry before it is seen.
    exact : bool
        Whether no noise is left.
    missed : float
        What one more column than allowed would add to the evidence, for each of its
        degrees of freedom.
    model : Model or None
        The end of the iteration, in the units of the entries' own spread; None where it
        took none.
    problem : Problem or None
        What was asked; None where the answer is known in closed form.
    new_lines : NewLines
        What features tell of other rows and columns.
    """

    columns: Any
    rows: RowPosterior
    row_offset: bool
    rank: int
    n_signal: int
    evidence: float
    noise: ColumnNoise
    row_counts: Array
    factor_scales: Array
    exact: bool
    missed: float
    model: Model | None
    problem: Problem | None
    new_lines: NewLines = NOTHING_NEW

    @property
    def n_draws(self) -> int:
        """Of how many draws the means are; zero if there was no need of any."""
        return self.columns.n_draws

    @property
    def start(self) -> Start | None:
        """Where to go on from with more entries; None if these are to be fitted anew.

        Of a variational posterior. Columns that have not varied may do so with more
        entries, and have no unit yet; one offset of all is no coordinate of a line.
        """
        model = self.model
        if model is None or self.exact or self.rank == 0:
            return None
        if model.coordinates.flat or not self.columns.units.varies.all():
            return None
        return Start.of(model, self.columns)

    @property
    def noise_variance(self) -> float | Array:
        """The variance of the noise: one number if it is the same in all columns."""
        return self.noise.in_short


@dataclass(frozen=True)
class Problem:
    """Entries of the lines that say something, within the whole matrix.

    Attributes
    ----------
    entries : NoisyEntries
    given : GivenEntries
        All entries.
    useful : Useful
        The lines of `entries`.
    units : Units
        Of all columns.
    trusts : bool, default=False
        Whether all columns are trusted, whatever they hold.
    """

    entries: NoisyEntries
    given: GivenEntries
    useful: Useful
    units: Units
    trusts: bool = False

    @classmethod
    def of(
        cls,
        given: GivenEntries,
        center: str | None,
        *,
        own: bool,
        units: Units | None = None,
        within: Within | None = None,
        trusts: bool = False,
    ) -> Problem:
        """The problem of some entries, whose columns may have their own units.

        Equal entries of a column in its own unit say nothing of factors. Units that are
        given are those of all columns. Otherwise they are those of the numbers within
        some range.
        """
        sums = partial(given.sums, within=within)
        at = given.largest(), sums, center
        units = Units.of(*at, own=own) if units is None else units
        if not units.varies.any():
            # Nothing varies by much more than rounding, which is then all there is.
            units = Units.of(*at, own=own, rounding=0.0)
        told = units.varies & (given.column_counts > 0)
        if not told.any():
            told = given.column_counts > 0
        kept = np.flatnonzero(told)
        trust = np.ones(len(kept))
        if own and not trusts:
            trust = trust_in_columns(units, given.column_counts, sums)[kept]
        useful = Useful(np.flatnonzero(given.seen_rows(told)), kept, trust)
        return cls(given.noisy(useful, units, center), given, useful, units, trusts)

    def of_part(self, given: GivenEntries) -> Problem:
        """The problem of some of the entries, in the same units."""
        own, center = not self.units.are_one, self.entries.center
        units, trusts = self.units, self.trusts
        return Problem.of(given, center, own=own, units=units, trusts=trusts)

    def with_trust(self) -> Problem:
        """The same with trust in all columns, however few entries tell their spread."""
        useful = replace(self.useful, trust=np.ones(len(self.useful.columns)))
        entries = self.given.noisy(useful, self.units, self.entries.center)
        return replace(self, entries=entries, useful=useful, trusts=True)

    def without_gross_errors(self) -> Problem | None:
        """The same in units without them, or None if there are none."""
        given, center, kept = self.given, self.entries.center, self.useful.columns
        counts = given.column_counts[kept]
        gross = are_gross(self.useful.trust, counts)
        if gross.any():
            gross &= ~are_one_number(self.entries, counts)
        if not gross.any():
            return None
        which = np.zeros(given.shape[1], dtype=bool)
        which[kept] = gross
        within = range_without_errors(given, center, which, self.units)
        return Problem.of(given, center, own=True, within=within)

    def posterior(self, learned: Learned) -> Posterior:
        """What was learned, for all rows and columns and in the units of the data."""
        model = learned.model
        columns = self.columns(model)
        factor_scales = self.spread * np.sqrt(model.scales[0] * model.scales[1])
        rows = self.given.rows(columns)
        return Posterior(
            columns,
            rows,
            self.entries.center == "both",
            model.rank,
            learned.n_signal,
            learned.evidence + self._of_units(),
            self._noise(model),
            self._row_counts(),
            factor_scales,
            learned.exact,
            learned.missed,
            model,
            self,
            self._new_lines(model) if isinstance(model, InformedModel) else NOTHING_NEW,
        )

    def _new_lines(self, model: InformedModel) -> NewLines:
        of_long, scale = self.entries.columns_are_long, float(self.units.scale[0])
        of_rows = model.regressions(of_long=not of_long)
        rows, row_map = of_new_lines(of_rows), uncertain_map(of_rows)
        columns = of_new_lines(model.regressions(of_long=of_long))
        if columns is None:
            return NewLines(rows, row_map=row_map)
        # The last coordinates of rows and columns are their offsets.
        basis = scale * columns[:, : model.rank]
        basis = np.hstack([basis, np.zeros((len(basis), 1))])
        return NewLines(rows, basis, scale * columns[:, -1], row_map)

    def _row_counts(self) -> Array:
        """How many entries tell of the noise of each row."""
        trust = np.zeros(self.given.shape[1])
        trust[self.useful.columns] = self.useful.trust
        return self.given.row_counts(trust)

    def _of_units(self) -> float:
        """What the units add to the log density."""
        entries = self.entries
        # An entry that counts little has a density like any other.
        own = entries.counts[0 if entries.columns_are_long else 1]
        counts = own / self.useful.trust
        logs = -float(counts @ np.log(entries.units.scale))
        return logs + 0.5 * self.given.log_precisions()

    def columns(self, model: Model) -> ColumnPosterior:
        """What a model says of all columns."""
        coordinates, kept = model.coordinates, self.useful.columns
        of_long = self.entries.columns_are_long
        side = coordinates.long if of_long else coordinates.short
        lines = model.long_lines() if of_long else model.short
        n_columns = self.given.shape[1]
        mean = np.zeros((n_columns, coordinates.size))
        second = np.zeros((n_columns, lines.second.shape[1]))
        precision = np.zeros(n_columns)
        if side.fixed is not None:
            mean[:, side.fixed] = lines.mean[0, side.fixed]
        if side.offset is not None and self.units.are_one:
            # Nothing is known of other columns but that they are like these.
            mean[:, side.offset] = model.centre
        mean[kept], second[kept] = lines.mean, lines.second
        precision[kept] = model.precision_of_columns
        trust = np.zeros(n_columns)
        trust[kept] = self.useful.trust
        unknown = model.unknown_line(of_long=not of_long)
        of_rows, tail = model.noise.of_rows, model.tail
        expected, told = None, None
        if isinstance(model, InformedModel):
            expected = of_all_lines(model.regressions(of_long=not of_long))
            told = of_all_lines(model.regressions(of_long=of_long))
            if told is not None:
                others = np.setdiff1d(np.arange(n_columns), kept)
                mean[np.ix_(others, side.free)] += told[others]
                second[others] = packed_squares(mean[others])
                own = coordinates.at[side.free, side.free]
                precision_of_prior = model.unknown_line(of_long=of_long).precision
                second[np.ix_(others, own)] += 1.0 / precision_of_prior
        return ColumnPosterior(
            *(self.units, mean, second, precision, trust, unknown),
            strength=np.inf if of_rows is None else of_rows.strength,
            freedom=np.inf if tail is None else tail.freedom,
            expected=expected,
            knows_unseen=told is not None,
        )

    @property
    def spread(self) -> float:
        """Root mean square of the units of the columns."""
        return float(np.sqrt(np.mean(self.entries.units.scale**2)))

    def _noise(self, model: Model) -> ColumnNoise:
        """The noise of all columns; those of equal numbers have none."""
        n_columns = self.given.shape[1]
        equal = self.units.are_one and model.noise.is_equal
        freedom = np.full(n_columns, np.inf)
        freedom[self.useful.columns] = model.noise.freedom
        return self.noise_of(model.precision_of_columns, freedom, is_equal=equal)

    def noise_of(
        self, precision: Array, freedom: Array, *, is_equal: bool
    ) -> ColumnNoise:
        """The noise of all columns, given the inverse variances of the kept ones."""
        own = self.entries.units.scale**2 / precision
        variances = np.full(len(freedom), own.mean())
        if not is_equal:
            variances[self.given.column_counts > 0] = 0.0
        variances[self.useful.columns] = own
        return ColumnNoise(variances, freedom, is_equal)
