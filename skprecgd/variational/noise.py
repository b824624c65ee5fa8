"""The noise of the entries: of one variance, of one for each line, or known.

Lines are those of one side, or of both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from scipy.special import digamma, gammaln

from skprecgd._runtime.typing import Array
from skprecgd.variational.tuning import NoiseTuning


class Noise(ABC):
    """Inverse variances of the noise, which is that of an entry's two lines multiplied.

    Attributes
    ----------
    long, short : ndarray
        Inverse variances of the lines of each side.
    mean_square : float
        Expected squared residual of an entry, once it is known.
    """

    long: Array
    short: Array
    tuning: NoiseTuning
    mean_square: float = np.inf

    @property
    def rate(self) -> tuple[float, float]:
        """How the noise of the longer side is learned on the way.

        See `skprecgd.kernels.Learned`.
        """
        return -1.0, 0.0

    @property
    def long_are_alike(self) -> bool:
        """Whether the lines of the longer side have the same noise: one."""
        return True

    @abstractmethod
    def update(self, long_squares: Array, short_squares: Array) -> None:
        """Learn from the expected squared residuals of the lines of each side.

        Those of the shorter side, but not of the longer, are weighted by the noise of
        the longer.
        """

    @abstractmethod
    def restarted(self, level: float) -> Noise:
        """Noise of the same kind before anything is learned, of about that variance."""

    @abstractmethod
    def evidence(self, short_squares: Array) -> float:
        """Expected log density of the entries, less what the noise costs."""

    def precision(self, *, of_long: bool) -> Array:
        """Inverse variances of the lines of a side, the other side being as usual."""
        lines, other = (self.long, self.short) if of_long else (self.short, self.long)
        return lines * other[0]

    @property
    def is_equal(self) -> bool:
        """Whether the variance is the same everywhere."""
        return True

    @property
    def of_rows(self) -> NoiseOfLines | None:
        """That of the rows of the data, if it differs beside that of the columns."""
        return None

    @property
    def freedom(self) -> float | Array:
        """From how many entries the variance is known (of each line that has its own);
        infinite if it was given."""
        return np.inf


@dataclass
class EqualNoise(Noise):
    """Noise of the same variance everywhere.

    Attributes
    ----------
    sides : tuple of int
    count : float
        Number of entries.
    variance : float
    """

    sides: tuple[int, int]
    count: float
    variance: float = 1.0
    tuning: NoiseTuning = field(default=NoiseTuning())

    def __post_init__(self) -> None:
        self.long = np.ones(self.sides[0])
        self.short = np.full(self.sides[1], 1.0 / self.variance)

    def update(self, long_squares: Array, short_squares: Array) -> None:
        self.mean_square = float(np.sum(short_squares)) / self.count
        self.variance = max(self.mean_square, self.tuning.least)
        self.short = np.full(self.sides[1], 1.0 / self.variance)

    def restarted(self, level: float) -> Noise:
        return EqualNoise(self.sides, self.count, level, self.tuning)

    @property
    def freedom(self) -> float:
        return self.count

    def evidence(self, short_squares: Array) -> float:
        logs = self.count * np.log(2 * np.pi * self.variance)
        return -0.5 * float(logs + np.sum(short_squares) / self.variance)


@dataclass
class KnownNoise(EqualNoise):
    """Noise whose variance was given."""

    def restarted(self, level: float) -> Noise:
        return self

    @property
    def freedom(self) -> float:
        return np.inf

    def update(self, long_squares: Array, short_squares: Array) -> None:
        self.mean_square = float(np.sum(short_squares)) / self.count


@dataclass
class NoiseOfLines(Noise):
    """Noise of its own variance in each line of one side.

    The inverse variances have the prior ``Gamma(s / 2, s level / 2)`` with learned
    strength s: lines with few entries share the level of all, and without end of s all
    lines do.

    Attributes
    ----------
    sides : tuple of int
    counts : ndarray
        Entries of each line of that side.
    of_long : bool
        Whether it is the longer side.
    learns_level : bool, default=True
        Whether the level is learned.
    level : float, default=1.0
        Where it begins.
    """

    sides: tuple[int, int]
    counts: Array
    of_long: bool
    learns_level: bool = True
    level: float = 1.0
    tuning: NoiseTuning = field(default=NoiseTuning())

    def __post_init__(self) -> None:
        own = np.full(len(self.counts), 1.0 / self.level)
        self.long, self.short = np.ones(self.sides[0]), np.ones(self.sides[1])
        if self.of_long:
            self.long = own
        else:
            self.short = own
        self.strength, self._level, self._age = (
            self.tuning.first_strength,
            self.level,
            0,
        )
        self._shape = 0.5 * (self.strength + self.counts)
        self._rate = self._shape * self.level
        # The prior that the posterior goes with.
        self._given = self.strength, self._level

    @property
    def rate(self) -> tuple[float, float]:
        if not self.of_long:
            return super().rate
        return self.strength, self.strength * self._level

    @property
    def long_are_alike(self) -> bool:
        return not self.of_long

    def restarted(self, level: float) -> Noise:
        return replace(self, level=level)

    @property
    def freedom(self) -> Array:
        return 2.0 * self._shape

    @property
    def is_equal(self) -> bool:
        return self.strength >= self.tuning.strongest

    def update(self, long_squares: Array, short_squares: Array) -> None:
        squares = np.maximum(long_squares if self.of_long else short_squares, 0.0)
        mean = float(squares.sum() / self.counts.sum())
        self.mean_square = max(mean, self.tuning.least)
        least = max(self.tuning.least, self.tuning.most_exact * self.mean_square)
        squares = np.maximum(squares, least * self.counts)
        if self.of_long:
            # The lines have learned their noise with the prior as it was.
            self._set(squares)
        if self._age % self.tuning.every == 0:
            self.strength = self._best_strength(squares)
        self._age += 1
        self._level = float(self._levels(np.array([self.strength]), squares)[0])
        if not self.of_long:
            self._set(squares)
            self.short = self._shape / self._rate
        else:
            self.long = self._shape / self._rate

    def evidence(self, short_squares: Array) -> float:
        fit = self.counts.sum() * np.log(2 * np.pi) + short_squares @ self.short
        return self.balance - 0.5 * float(fit)

    @property
    def balance(self) -> float:
        """What the precisions add to the evidence, less what they cost."""
        logs = digamma(self._shape) - np.log(self._rate)
        return 0.5 * float(self.counts @ logs) - self._divergence(logs)

    def gain(self, squares: Array) -> float:
        """By how much the log density rises if lines may differ.

        Parameters
        ----------
        squares : ndarray
            Expected squared residuals of the lines, as for `update`.
        """
        each = self._log_densities(np.maximum(squares, self.tuning.least * self.counts))
        return float(each.max() - each[-1])

    def _divergence(self, logs: Array) -> float:
        """From the prior to the posterior of the inverse variances."""
        strength, level = self._given
        half, own = 0.5 * strength, 0.5 * strength * level
        shape, rate = self._shape, self._rate
        posterior = shape * np.log(rate) - gammaln(shape) + (shape - 1) * logs - shape
        prior = half * np.log(own) - gammaln(half) + (half - 1) * logs
        return float(np.sum(posterior - prior + own * shape / rate))

    def _set(self, squares: Array) -> None:
        self._given = self.strength, self._level
        self._shape = 0.5 * (self.strength + self.counts)
        self._rate = 0.5 * (self.strength * self._level + squares)

    def _best_strength(self, squares: Array) -> float:
        """The strength under which the squared residuals are most likely."""
        return float(self._strengths[np.argmax(self._log_densities(squares))])

    @property
    def _strengths(self) -> Array:
        """Those that are tried; the last of them makes all lines alike."""
        tuning = self.tuning
        return np.geomspace(tuning.weakest, tuning.strongest, tuning.strengths)

    def _log_densities(self, squares: Array) -> Array:
        """Of the squared residuals under each strength, up to a constant."""
        strengths = self._strengths
        levels = self._levels(strengths, squares)
        s, total = strengths[:, None], strengths[:, None] + self.counts
        own = strengths * levels
        each = -0.5 * total * np.log(0.5 * (own[:, None] + squares)) + gammaln(
            total / 2
        )
        each += 0.5 * s * np.log(0.5 * own[:, None]) - gammaln(s / 2)
        return np.asarray(each.sum(axis=1))

    def _levels(self, strengths: Array, squares: Array) -> Array:
        """The level that goes with each strength."""
        levels, s = np.full(len(strengths), self._level), strengths[:, None]
        if not self.learns_level:
            return levels
        for _ in range(self.tuning.rounds):
            rates = (s + self.counts) / (s * levels[:, None] + squares)
            levels = np.maximum(len(squares) / rates.sum(axis=1), self.tuning.least)
        return levels


class NoiseOfBoth(Noise):
    """Noise of its own variance in each row, times one of its own in each column.

    Parameters
    ----------
    of_columns : NoiseOfLines
        The noise of the columns of the data.
    counts : ndarray
        Entries of each row of the data.
    """

    def __init__(self, of_columns: NoiseOfLines, counts: Array) -> None:
        self.tuning = of_columns.tuning
        self._columns = of_columns
        self._rows = NoiseOfLines(
            of_columns.sides, counts, not of_columns.of_long, learns_level=False
        )
        self._multiply()

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._columns, other._rows = copy(self._columns), copy(self._rows)
        return other

    def _multiply(self) -> None:
        columns, rows = self._columns, self._rows
        long, short = (columns, rows) if columns.of_long else (rows, columns)
        self.long, self.short = long.long, short.short
        self.mean_square = columns.mean_square

    @property
    def rate(self) -> tuple[float, float]:
        return (self._columns if self._columns.of_long else self._rows).rate

    @property
    def long_are_alike(self) -> bool:
        return False

    def restarted(self, level: float) -> Noise:
        return NoiseOfBoth(replace(self._columns, level=level), self._rows.counts)

    def update(self, long_squares: Array, short_squares: Array) -> None:
        self._columns.update(long_squares, short_squares)
        self._rows.update(long_squares, short_squares)
        self._multiply()

    def precision(self, *, of_long: bool) -> Array:
        lines = self._columns if self._columns.of_long == of_long else self._rows
        return lines.long if of_long else lines.short

    @property
    def is_equal(self) -> bool:
        return False

    @property
    def of_rows(self) -> NoiseOfLines:
        return self._rows

    @property
    def freedom(self) -> Array:
        return self._columns.freedom

    def evidence(self, short_squares: Array) -> float:
        fit = self._rows.counts.sum() * np.log(2 * np.pi) + short_squares @ self.short
        return self._columns.balance + self._rows.balance - 0.5 * float(fit)
