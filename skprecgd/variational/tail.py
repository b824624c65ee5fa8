"""Noise with heavy tails: Student's t, where each entry has a precision of its own.

An entry's precision w is drawn from ``Gamma(df / 2, df / 2)``, in units of that of its
row and column. Its posterior is ``Gamma((df + 1) / 2, (df + d) / 2)``, where d is the
expected squared residual in units of the noise: entries that fit badly count little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from skprecgd._runtime.typing import Array
from skprecgd.variational.entry_lines import Shares
from skprecgd.variational.tuning import TAIL, TailTuning


@dataclass(frozen=True)
class HeavyTail:
    """The precisions of the entries, and from which distribution they come.

    Attributes
    ----------
    shares : Shares
        Expected precisions.
    freedom : float
        Degrees of freedom, to be used from now on.
    used : float
        Degrees of freedom from which the precisions were found.
    age : int
        Steps since the tail began.
    tuning : TailTuning
    """

    shares: Shares
    freedom: float
    used: float
    age: int = 0
    tuning: TailTuning = TAIL

    @classmethod
    def of(cls, shares: Shares, tuning: TailTuning = TAIL) -> HeavyTail:
        """As it is before anything is learned."""
        first = tuning.first_freedom
        return cls(shares, first, first, tuning=tuning)

    def after(self, shares: Shares) -> HeavyTail:
        """With the precisions that were found, from which the freedom is learned."""
        freedom, used = self.freedom, self.freedom
        if self.age % self.tuning.every == 0:
            counts = shares.occurrences(used)
            freedom = Histogram.of_occurrences(counts, self.tuning).freedom()
        age = self.age + 1
        return replace(self, shares=shares, freedom=freedom, used=used, age=age)

    def evidence(self) -> float:
        """What the precisions add to the evidence, less what they cost.

        Their density and that of their posterior, expected, but for the part that
        holds squared residuals.
        """
        df, a = self.used, 0.5 * (self.used + 1.0)
        logs, total, count = self.shares.sums()
        constant = 0.5 * df * np.log(0.5 * df) - gammaln(0.5 * df)
        constant += a - a * np.log(a) + gammaln(a)
        return float(a * logs - 0.5 * df * total + constant * count)


def expected_share(squares: Array, freedom: float, precision: Array | None) -> Array:
    """Expected precisions of entries.

    Parameters
    ----------
    squares : ndarray of shape (n_entries,)
        Squared residuals in units of the noise of their lines.
    freedom : float
    precision : ndarray of shape (n_entries,) or None
        By what precisions differ beside that.
    """
    given = 1.0 if precision is None else precision
    return np.asarray((freedom + 1.0) / (freedom + given * squares))


def occurrences(
    squares: Array, often: Array | None, tuning: TailTuning = TAIL
) -> Array:
    """How often there are squared residuals of each size, shape (n_bins,).

    Parameters
    ----------
    squares : ndarray of shape (n,)
    often : ndarray of shape (n,) or None
        How often each was made.
    tuning : TailTuning
    """
    # Smaller ones are alike: none of them is in a tail.
    logs = np.log(np.clip(squares, tuning.least_square, tuning.most_square))
    bins = ((logs - np.log(tuning.least_square)) / tuning.width).astype(np.int64)
    return np.bincount(bins, often, tuning.n_bins).astype(float)


@dataclass(frozen=True)
class Histogram:
    """How often squared residuals of each size occur, by their logarithms.

    Attributes
    ----------
    squares : ndarray of shape (n_bins,)
        In units of the noise.
    counts : ndarray of shape (n_bins,)
    tuning : TailTuning
    """

    squares: Array
    counts: Array
    tuning: TailTuning

    @classmethod
    def of(
        cls, squares: Array, often: Array | None, tuning: TailTuning = TAIL
    ) -> Histogram:
        """Of squared residuals that were made as often as is said."""
        return cls.of_occurrences(occurrences(squares, often, tuning), tuning)

    @classmethod
    def of_occurrences(cls, counts: Array, tuning: TailTuning = TAIL) -> Histogram:
        """Of how often there are squared residuals of each size."""
        first = float(np.log(tuning.least_square))
        middles = np.exp(first + tuning.width * (np.arange(len(counts)) + 0.5))
        used = counts > 0
        return cls(middles[used], counts[used], tuning)

    def freedom(self) -> float:
        """The degrees of freedom under which these are most likely."""
        tried = self.tuning.tried
        return float(tried[np.argmax(self._log_densities(np.ones(len(tried))))])

    def best(self) -> tuple[float, float]:
        """The degrees of freedom if the unit is not known, and what they gain.

        Returns
        -------
        freedom : float
        gain : float
            By how much the mean log density is higher than with the lightest tail.
        """
        tried = self.tuning.tried
        units = np.full(len(tried), self.counts @ self.squares / self.counts.sum())
        for _ in range(self.tuning.rounds):
            # The unit at which expected squares are one (expectation maximisation).
            shares = (tried[:, None] + 1.0) / (
                tried[:, None] + self.squares / units[:, None]
            )
            units = (shares * self.squares) @ self.counts / self.counts.sum()
        each = self._log_densities(units)
        k = int(np.argmax(each))
        return float(tried[k]), float(each[k] - each[-1]) / self.counts.sum()

    def _log_densities(self, units: Array) -> Array:
        """Of all residuals, for the degrees of freedom that are tried."""
        df, total = self.tuning.tried, self.counts.sum()
        logs = np.log1p(self.squares / units[:, None] / df[:, None]) @ self.counts
        each = gammaln(0.5 * (df + 1)) - gammaln(0.5 * df) - 0.5 * np.log(df * units)
        return np.asarray(total * each - 0.5 * (df + 1) * logs)
