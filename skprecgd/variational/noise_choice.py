"""Which noise entries have but that of columns: the same, loud rows, heavy tails.

Each is suggested by what a fit without it leaves, is tried, and is kept if it pays.
Heavy tails and loud rows must raise the evidence, and do more than that: heavy tails
must predict entries better that are left out, since bounded and clumped numbers look
heavy-tailed to the evidence alone; loud rows must make columns needless, which had
followed their noise. The same noise in all columns needs no proof where the entries of
a column are too few to tell its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.model import Model
from skprecgd.variational.noise import EqualNoise, NoiseOfBoth, NoiseOfLines
from skprecgd.variational.tail import HeavyTail, Histogram
from skprecgd.variational.tuning import CHOICE, ChoiceTuning

# Median of the size of a standard normal number.
_NORMAL_MIDDLE = 0.6745


@dataclass(frozen=True)
class NoiseChoice(ABC):
    """A kind of noise that entries may have.

    Attributes
    ----------
    tuning : ChoiceTuning
    """

    tuning: ChoiceTuning = CHOICE

    def _many_repeat(self, entries: NoisyEntries) -> bool:
        """Whether many entries are the most frequent number of their column.

        Densities of numbers that repeat have no bound: all others would be loud, or in
        a tail.
        """
        most = entries.lines.most_frequent(of_long=entries.columns_are_long)
        repeated = float(most[most > 1].sum())
        return repeated >= self.tuning.repeated * entries.lines.n_entries

    @abstractmethod
    def is_suggested(self, model: Model) -> bool:
        """Whether what a model leaves looks like that noise."""

    @abstractmethod
    def added_to(self, model: Model) -> Model:
        """The same model, which is to learn that noise."""

    def pays(self, before: Model, after: Model) -> bool:
        """Whether the evidence is higher, and predictions are better."""
        gain = after.evidence() - before.evidence()
        trivial = gain <= 0.0 or after.explains_most
        return not trivial and self._predicts_better(before, after)

    def is_futile(self, before: Model, after: Model) -> bool:
        """Whether it is plain after a few steps that it will not pay."""
        return after.evidence() < before.evidence()

    def is_promising(self, before: Model, after: Model) -> bool:
        """Whether further steps are worthwhile: it pays, or the evidence soars."""
        soars = self.tuning.promising * before.entries.count
        gain = after.evidence() - before.evidence()
        return gain > soars or self.pays(before, after)

    def prefers(self, model: Model, other: Model) -> bool:
        """Whether another model with that noise takes the place of one with it."""
        return other.evidence() > model.evidence()

    def _predicts_better(self, before: Model, after: Model) -> bool:
        """Whether predictions are better with it; true of what needs no such proof."""
        return True


@dataclass(frozen=True)
class SameNoise(NoiseChoice):
    """All columns have the same noise, in units of their own spread.

    With hardly more entries than components, a column is explained by them whatever it
    holds: that a few columns seem to have no noise is chance, but the components follow
    these. Neither the evidence nor entries that are left out one at a time can tell,
    for both take the noise for known.
    """

    def is_suggested(self, model: Model) -> bool:
        noise = model.noise
        if not isinstance(noise, NoiseOfLines) or model.rank == 0:
            return False
        counts = model.entries.counts[0 if model.entries.columns_are_long else 1]
        return bool(np.median(counts) < self.tuning.telling * model.rank)

    def added_to(self, model: Model) -> Model:
        other = model.copied()
        level = max(model.noise.mean_square, model.noise.tuning.least)
        other.noise = EqualNoise(model.entries.sides, model.entries.count, level)
        return other

    def is_futile(self, before: Model, after: Model) -> bool:
        return False

    def pays(self, before: Model, after: Model) -> bool:
        return not after.explains_most


@dataclass(frozen=True)
class LoudRows(NoiseChoice):
    """Rows have noise of their own, times that of the columns."""

    def is_suggested(self, model: Model) -> bool:
        if not isinstance(model.noise, NoiseOfLines) or model.rank == 0:
            return False
        left = model.left_out(self.tuning.some)
        of_columns = model.entries.columns_are_long
        rows = left.columns if of_columns else left.rows
        precision = model.noise.long[left.rows] * model.noise.short[left.columns]
        squares = np.bincount(rows, precision * left.studentised)
        counts = np.bincount(rows).astype(float)
        alike = NoiseOfLines((len(counts), 1), counts, of_long=True)
        gain, n_rows = alike.gain(squares), np.count_nonzero(counts)
        least = max(self.tuning.loud * len(rows), self.tuning.loud_row * n_rows)
        return gain > least and not self._many_repeat(model.entries)

    def added_to(self, model: Model) -> Model:
        other = model.copied()
        counts = model.entries.counts[1 if model.entries.columns_are_long else 0]
        assert isinstance(other.noise, NoiseOfLines)
        other.noise = NoiseOfBoth(other.noise, counts)
        return other

    def is_futile(self, before: Model, after: Model) -> bool:
        # Noise of the rows that is found at once, and makes no column needless, will
        # make none: the noise of rows that columns follow shows late.
        found = self.tuning.found * before.entries.count
        gain = after.evidence() - before.evidence()
        return gain < 0.0 or (gain > found and after.rank == before.rank)

    def is_promising(self, before: Model, after: Model) -> bool:
        return after.rank < before.rank and super().is_promising(before, after)

    def _predicts_better(self, before: Model, after: Model) -> bool:
        if after.rank >= before.rank:
            return False
        compared = _Comparison.of(before, after, self.tuning.most)
        if after.rank <= self.tuning.needless * before.rank:
            return self._is_no_worse(compared)
        return compared.better > self.tuning.clearly

    def prefers(self, model: Model, other: Model) -> bool:
        # Where most rows are quiet, those that tell what columns have in common look
        # loud beside them, and the evidence gives up the columns that predict them.
        return super().prefers(model, other) and self._is_no_worse(
            _Comparison.of(model, other, self.tuning.most)
        )

    def _is_no_worse(self, compared: _Comparison) -> bool:
        """Whether predictions are not clearly worse, or most of them are better.

        A few loud rows, which columns had followed, look better before.
        """
        clearly = self.tuning.clearly
        most = compared.cut(self.tuning.cap)
        return compared.better > -clearly or most.better > clearly


@dataclass(frozen=True)
class HeavyTails(NoiseChoice):
    """Each entry has noise of its own."""

    def is_suggested(self, model: Model) -> bool:
        if model.tail is not None:
            return False
        residual, side = model.residual(), model.short_side
        unit = residual.mean_square(side)
        if unit == 0.0:
            return False
        counts = residual.occurrences(side, unit)
        freedom, gain = Histogram.of_occurrences(counts).best()
        if freedom >= self.tuning.heavy or gain <= self.tuning.heavy_gain:
            return False
        return not self._many_repeat(model.entries)

    def added_to(self, model: Model) -> Model:
        other = model.copied()
        other.tail = HeavyTail.of(model.entries.lines.first_shares())
        # What spikes have made of the noise of their columns would hide them.
        middle = model.residual().median_size() / _NORMAL_MIDDLE
        other.noise = model.noise.restarted(max(middle**2, model.noise.tuning.least))
        return other

    def _predicts_better(self, before: Model, after: Model) -> bool:
        assert after.tail is not None
        gain = after.evidence() - before.evidence()
        clearly = self.tuning.clearly
        compared = _Comparison.of(before, after, self.tuning.most)
        if gain <= self.tuning.wild * before.entries.count:
            return compared.better > clearly and after.tail.freedom < self.tuning.heavy
        capped = compared.cut(self.tuning.cap)
        return compared.better > -clearly and capped.better > clearly


@dataclass(frozen=True)
class _Comparison:
    """Squared residuals of entries that are left out of two models.

    Attributes
    ----------
    before, after : ndarray of shape (n_entries,)
    """

    before: Array
    after: Array

    @classmethod
    def of(cls, before: Model, after: Model, most: int) -> _Comparison:
        """Of so many entries at most."""
        models = before, after
        return cls(*(model.left_out(most).residual ** 2 for model in models))

    @property
    def better(self) -> float:
        """By how many standard errors their mean is smaller."""
        return _standard_errors(self.before - self.after)

    def cut(self, cap: float) -> _Comparison:
        """With residuals no larger than so many robust standard deviations."""
        most = np.median(self.before) * (cap / _NORMAL_MIDDLE) ** 2
        return _Comparison(np.minimum(self.before, most), np.minimum(self.after, most))

    def without_wildest(self, share: float) -> _Comparison:
        """Without a share of the entries, one at least: the largest after."""
        n_left = len(self.after) - max(1, int(share * len(self.after)))
        kept = np.argsort(self.after)[:n_left]
        return _Comparison(self.before[kept], self.after[kept])


def errs_less_in_most(
    model: Model, other: Model, tuning: ChoiceTuning = CHOICE
) -> bool:
    """Whether another model predicts most entries better, whatever it does of the rest.

    Parameters
    ----------
    model, other : Model
        Of the same entries. Errors are told in the units of the other.
    tuning : ChoiceTuning
    """
    entries, its = model.entries, other.entries
    if entries.shape != its.shape:
        return False
    left, right = model.left_out(tuning.most), other.left_out(tuning.most)
    columns = left.rows if entries.columns_are_long else left.columns
    ratio = (entries.units.scale / its.units.scale)[columns]
    compared = _Comparison((ratio * left.residual) ** 2, right.residual**2)
    return compared.without_wildest(tuning.wildest).better > tuning.clearly


def _standard_errors(numbers: Array) -> float:
    """The mean, in units of its standard error."""
    error = float(np.std(numbers)) / np.sqrt(len(numbers))
    return float(np.mean(numbers)) / error if error > 0 else 0.0
