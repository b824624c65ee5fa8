"""The noise of the entries: of one variance, of one for each line, or known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from scipy.special import digamma, gammaln

from skprecgd._runtime.typing import Array
from skprecgd.kernels import Learned
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

    def learned(self, counts: Array) -> Learned:
        """How the noise of the longer side is learned on the way."""
        return Learned((-1.0, 0.0), counts)

    @abstractmethod
    def update(self, long_squares: Array, short_squares: Array) -> None:
        """Learn from the expected squared residuals of the lines of each side.

        Those of the shorter side, but not of the longer, are weighted by the noise of
        the longer.
        """

    @abstractmethod
    def evidence(self, short_squares: Array) -> float:
        """Expected log density of the entries, less what the noise costs."""

    @property
    def is_equal(self) -> bool:
        """Whether the variance is the same everywhere."""
        return True

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

    @property
    def freedom(self) -> float:
        return self.count

    def evidence(self, short_squares: Array) -> float:
        logs = self.count * np.log(2 * np.pi * self.variance)
        return -0.5 * float(logs + np.sum(short_squares) / self.variance)


@dataclass
class KnownNoise(EqualNoise):
    """Noise whose variance was given."""

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
    """

    sides: tuple[int, int]
    counts: Array
    of_long: bool
    tuning: NoiseTuning = field(default=NoiseTuning())

    def __post_init__(self) -> None:
        self.long, self.short = np.ones(self.sides[0]), np.ones(self.sides[1])
        self.strength, self._level, self._age = self.tuning.first_strength, 1.0, 0
        self._shape = self._rate = 0.5 * (self.strength + self.counts)
        # The prior that the posterior goes with.
        self._given = self.strength, self._level

    def learned(self, counts: Array) -> Learned:
        if not self.of_long:
            return super().learned(counts)
        return Learned((self.strength, self.strength * self._level), counts)

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
        logs = digamma(self._shape) - np.log(self._rate)
        fit = self.counts @ (logs - np.log(2 * np.pi)) - short_squares @ self.short
        return 0.5 * float(fit) - self._divergence(logs)

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
        tuning = self.tuning
        strengths = np.geomspace(tuning.weakest, tuning.strongest, tuning.strengths)
        levels = self._levels(strengths, squares)
        s, total = strengths[:, None], strengths[:, None] + self.counts
        own = strengths * levels
        each = -0.5 * total * np.log(0.5 * (own[:, None] + squares)) + gammaln(
            total / 2
        )
        each += 0.5 * s * np.log(0.5 * own[:, None]) - gammaln(s / 2)
        return float(strengths[np.argmax(each.sum(axis=1))])

    def _levels(self, strengths: Array, squares: Array) -> Array:
        """The level that goes with each strength."""
        levels, s = np.full(len(strengths), self._level), strengths[:, None]
        for _ in range(self.tuning.rounds):
            rates = (s + self.counts) / (s * levels[:, None] + squares)
            levels = np.maximum(len(squares) / rates.sum(axis=1), self.tuning.least)
        return levels
