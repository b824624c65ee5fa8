"""Draws of the noise: inverse variances of lines, given squared residuals."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.special import gammaln

from skprecgd._runtime.typing import Array
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.noise import Noise
from skprecgd.variational.tuning import NOISE, NoiseTuning


class Precisions(ABC):
    """Inverse variances of the noise of the lines of one side.

    Attributes
    ----------
    values : ndarray of shape (n,)
    """

    values: Array

    @abstractmethod
    def draw(self, squares: Array, rng: np.random.Generator) -> None:
        """Draw them, given the squared residuals of each line.

        These are weighted, and in units of the noise of the other side.
        """

    @property
    def typical(self) -> float:
        """Of a line of which nothing is known."""
        return float(self.values[0])


class GivenPrecisions(Precisions):
    """Those that stay what they are."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def draw(self, squares: Array, rng: np.random.Generator) -> None:
        pass


class CommonPrecision(Precisions):
    """One for all lines.

    Parameters
    ----------
    values : ndarray of shape (n,)
        At the start.
    count : float
        Number of entries.
    least : float
        Mean squared residual below which an entry's cannot fall.
    """

    def __init__(self, values: Array, count: float, least: float) -> None:
        self.values, self.count, self.least = values, count, least

    def draw(self, squares: Array, rng: np.random.Generator) -> None:
        total = max(float(squares.sum()), self.least * self.count)
        drawn = 2.0 * rng.standard_gamma(0.5 * self.count) / total
        self.values = np.full(len(self.values), drawn)


class PrecisionsOfLines(Precisions):
    """One for each line, with the prior ``Gamma(s / 2, s level / 2)``.

    The strength s is drawn from a few, without regard to the lines' own precisions,
    which are drawn next.

    Parameters
    ----------
    values : ndarray of shape (n,)
        At the start.
    counts : ndarray of shape (n,)
        Entries of each line.
    least : float
        Mean squared residual below which an entry's cannot fall.
    level : float or None
        Variance of which all lines are alike; None if it is drawn, too.
    """

    def __init__(
        self,
        values: Array,
        counts: Array,
        least: float,
        level: float | None,
        tuning: NoiseTuning = NOISE,
    ) -> None:
        self.values, self.counts, self.least = values, counts, least
        self.tuning, self._moves = tuning, level is None
        self.level = 1.0 / float(np.mean(values)) if level is None else level
        self.strengths = np.geomspace(
            tuning.weakest, tuning.strongest, tuning.strengths
        )
        halves, (different, often) = (
            0.5 * self.strengths,
            np.unique(counts, return_counts=True),
        )
        each = gammaln(halves[:, None] + 0.5 * different) @ often
        self._constants = each - len(counts) * gammaln(halves)
        self.strength, self._age = tuning.first_strength, 0

    def draw(self, squares: Array, rng: np.random.Generator) -> None:
        squares = np.maximum(squares, self.least * self.counts)
        if self._age % self.tuning.every == 0:
            self.strength = self._strength(squares, rng)
        self._age += 1
        shape = 0.5 * (self.strength + self.counts)
        rate = 0.5 * (self.strength * self.level + squares)
        self.values = rng.standard_gamma(shape) / rate
        if self._moves:
            half = 0.5 * self.strength
            drawn = rng.standard_gamma(half * len(self.values))
            self.level = max(float(drawn / (half * self.values.sum())), self.least)

    @property
    def typical(self) -> float:
        return 1.0 / self.level

    def _strength(self, squares: Array, rng: np.random.Generator) -> float:
        s = self.strengths
        fits = [(k + self.counts) @ np.log1p(squares / (k * self.level)) for k in s]
        logs = self.counts.sum() * np.log(s * self.level)
        each = self._constants - 0.5 * (np.array(fits) + logs)
        chances = np.exp(each - each.max())
        return float(rng.choice(s, p=chances / chances.sum()))


def precisions_of(
    noise: Noise, entries: NoisyEntries, kind: str, *, is_given: bool
) -> tuple[Precisions, Precisions]:
    """Those of the longer and of the shorter side, as they were learned.

    Parameters
    ----------
    noise : Noise
    entries : NoisyEntries
    kind : {"uniform", "columns", "auto"}
        "auto": of columns times rows.
    is_given : bool
        Whether the variance was given.
    """
    starts = noise.long, noise.short
    if is_given:
        return GivenPrecisions(starts[0]), GivenPrecisions(starts[1])
    tuning = noise.tuning
    if kind == "uniform":
        common = CommonPrecision(starts[1], entries.count, tuning.least)
        return GivenPrecisions(starts[0]), common
    least = max(tuning.least, tuning.most_exact * noise.mean_square)
    sides: list[Precisions] = []
    for k, start in enumerate(starts):
        of_columns = entries.columns_are_long == (k == 0)
        if of_columns or kind == "auto":
            # Where rows and columns have a factor each, that of rows is one on average.
            # The squares of either are in units of the other.
            level, floor = (None, least) if of_columns else (1.0, tuning.most_exact)
            side = PrecisionsOfLines(start, entries.counts[k], floor, level)
            sides.append(side)
        else:
            sides.append(GivenPrecisions(start))
    return sides[0], sides[1]
