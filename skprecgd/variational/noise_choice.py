"""Which noise entries have beside that of columns: loud rows, heavy tails.

Either is suggested by what a fit without it leaves, is tried, and is kept if the
evidence is higher and it pays for more than densities: heavy tails must predict entries
better that are left out, since bounded and clumped numbers look heavy-tailed to the
evidence alone; loud rows must make columns needless, which had followed their noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.variational.left_out import left_out_residuals
from skprecgd.variational.model import Model
from skprecgd.variational.noise import NoiseOfBoth, NoiseOfLines
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

    @abstractmethod
    def is_suggested(self, model: Model) -> bool:
        """Whether what a model leaves looks like that noise."""

    @abstractmethod
    def added_to(self, model: Model) -> Model:
        """The same model, which is to learn that noise."""

    @abstractmethod
    def pays(self, before: Model, after: Model) -> bool:
        """Whether predictions are better with it, the evidence being higher."""


@dataclass(frozen=True)
class LoudRows(NoiseChoice):
    """Rows have noise of their own, times that of the columns."""

    def is_suggested(self, model: Model) -> bool:
        noise, of_columns = model.noise, model.entries.columns_are_long
        if not isinstance(noise, NoiseOfLines):
            return False
        squares = model.short.squares if of_columns else model.long_squares
        counts = model.entries.counts[1 if of_columns else 0]
        rows = NoiseOfLines(noise.sides, counts, not of_columns, learns_level=False)
        return rows.gain(squares) > self.tuning.loud * model.entries.count

    def added_to(self, model: Model) -> Model:
        other = model.copied()
        counts = model.entries.counts[1 if model.entries.columns_are_long else 0]
        assert isinstance(other.noise, NoiseOfLines)
        other.noise = NoiseOfBoth(other.noise, counts)
        return other

    def pays(self, before: Model, after: Model) -> bool:
        return after.rank < before.rank


@dataclass(frozen=True)
class HeavyTails(NoiseChoice):
    """Each entry has noise of its own."""

    def is_suggested(self, model: Model) -> bool:
        if model.tail is not None:
            return False
        residual = _standardised(model)
        scale = float(np.mean(residual**2))
        if scale == 0.0:
            return False
        # Columns that count little, as all but a few of their entries are the same, are
        # where tails are seen.
        freedom, gain = Histogram.of(residual**2 / scale, None).best()
        return freedom < self.tuning.heavy and gain > self.tuning.heavy_gain

    def added_to(self, model: Model) -> Model:
        other, weights = model.copied(), model.entries.weights
        often = _of_pattern(model, weights.frequency)
        given = _of_pattern(model, weights.precision)
        other.tail = HeavyTail.of(len(model.entries.pattern.values), often, given)
        # What spikes have made of the noise of their columns would hide them.
        middle = float(np.median(np.abs(_residual(model)))) / _NORMAL_MIDDLE
        other.noise = model.noise.restarted(max(middle**2, model.noise.tuning.least))
        return other

    def pays(self, before: Model, after: Model) -> bool:
        assert after.tail is not None
        if after.exact:
            # Where many numbers are the same, the scale of the noise may vanish.
            return False
        first, second = (
            left_out_residuals(model, self.tuning.most) for model in (before, after)
        )
        squares = first**2, second**2
        gain = after.evidence() - before.evidence()
        clearly, better = self.tuning.clearly, _standard_errors(squares[0] - squares[1])
        if gain <= self.tuning.wild * before.entries.count:
            return better > clearly and after.tail.freedom < self.tuning.heavy
        most = (self.tuning.cap * np.median(np.abs(first)) / _NORMAL_MIDDLE) ** 2
        capped = np.minimum(first**2, most) - np.minimum(second**2, most)
        return better > -clearly and _standard_errors(capped) > clearly


def _standard_errors(numbers: Array) -> float:
    """The mean, in units of its standard error."""
    error = float(np.std(numbers)) / np.sqrt(len(numbers))
    return float(np.mean(numbers)) / error if error > 0 else 0.0


def _residual(model: Model) -> Array:
    """What the means leave of the entries."""
    pattern = model.entries.pattern
    if not model.coordinates.size:
        return pattern.values
    means = model.long_mean, model.short.mean
    return pattern.values - sampled_product(
        *means, model.entries.lines, pattern.indices
    )


def _standardised(model: Model) -> Array:
    """What the means leave of the entries, in units of the noise."""
    precision = model.precisions
    given = _of_pattern(model, model.entries.weights.precision)
    if given is not None:
        precision = precision * given
    return _residual(model) * np.sqrt(precision)


def _of_pattern(model: Model, each: Array | None) -> Array | None:
    """Numbers of the entries in the order of the pattern."""
    return None if each is None else np.asarray(model.entries.matrix(each).data)
