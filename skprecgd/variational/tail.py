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
from skprecgd.kernels import Tail
from skprecgd.variational.tuning import TAIL, TailTuning


@dataclass(frozen=True)
class HeavyTail:
    """The precisions of the entries, and from which distribution they come.

    Attributes
    ----------
    share : ndarray of shape (n_entries,)
        Expected precisions.
    often : ndarray of shape (n_entries,) or None
        How often each entry was made.
    given : ndarray of shape (n_entries,) or None
        By what precisions differ beside that.
    freedom : float
        Degrees of freedom, to be used from now on.
    used : float
        Degrees of freedom from which the precisions were found.
    age : int
        Steps since the tail began.
    tuning : TailTuning
    """

    share: Array
    often: Array | None
    given: Array | None
    freedom: float
    used: float
    age: int = 0
    tuning: TailTuning = TAIL

    @classmethod
    def of(
        cls,
        n_entries: int,
        often: Array | None,
        given: Array | None,
        tuning: TailTuning = TAIL,
    ) -> HeavyTail:
        """As it is before anything is learned."""
        first = tuning.first_freedom
        return cls(np.ones(n_entries), often, given, first, first, tuning=tuning)

    @property
    def in_kernel(self) -> Tail:
        return Tail(self.freedom, self.share, self.given)

    def expected(self, squares: Array) -> Array:
        """Expected precisions, of squared residuals in units of the noise."""
        given = 1.0 if self.given is None else self.given
        return np.asarray((self.freedom + 1.0) / (self.freedom + given * squares))

    def after(self, share: Array) -> HeavyTail:
        """With the precisions that were found, from which the freedom is learned."""
        freedom, used = self.freedom, self.freedom
        if self.age % self.tuning.every == 0:
            # The squared residuals from which they were found.
            squares = np.maximum((used + 1.0) / share - used, 0.0)
            freedom = Histogram.of(squares, self.often, self.tuning).freedom()
        age = self.age + 1
        return replace(self, share=share, freedom=freedom, used=used, age=age)

    def evidence(self) -> float:
        """What the precisions add to the evidence, less what they cost.

        Their density and that of their posterior, expected, but for the part that
        holds squared residuals.
        """
        df, a = self.used, 0.5 * (self.used + 1.0)
        each = a * np.log(self.share) - 0.5 * df * self.share
        constant = 0.5 * df * np.log(0.5 * df) - gammaln(0.5 * df)
        constant += a - a * np.log(a) + gammaln(a)
        if self.often is None:
            return float(np.sum(each) + constant * len(each))
        return float(self.often @ each + constant * self.often.sum())


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
        # Smaller ones are alike: none of them is in a tail.
        logs = np.log(np.maximum(squares, tuning.least_square))
        first = float(np.log(tuning.least_square))
        bins = ((logs - first) / tuning.width).astype(np.int64)
        counts = np.bincount(bins, often).astype(float)
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
            By how much the mean log density is higher than that of normal residuals.
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
