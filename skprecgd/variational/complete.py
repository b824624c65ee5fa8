"""Variational Bayes of a complete matrix, in closed form from its singular values.

The model is ``X = U V^T + E``, with Gaussian noise of one variance, independent
Gaussian priors of the factors' entries, one variance for each column of each factor,
and independent factors in the posterior. Noise and prior variances are learned: they
minimise the free energy, which bounds minus the logarithm of the evidence.

Where every entry is observed, the global minimum is known: the singular vectors are
those of the data, and each singular value is shrunk by itself, to zero unless it stands
out of the noise. What is left is the variance of the noise, a search in one dimension
([1]_, [2]_). The notation below is for a matrix of L rows and M >= L columns,
``ratio = L / M``. A singular value s has the relative energy ``x = s^2 / (M noise)``,
and if it carries signal, the odds ``t = s * posterior mean / (M noise)``, the larger
root of ``x t = (1 + t) (ratio + t)``. Then

    2 * free energy = L M log(2 pi noise) + M sum(x)
                      + M sum over signal of [log(1 + t) + ratio log(1 + t/ratio) - t].

The last sum is of negative terms: a value carries signal if its term is. At a minimum
over the noise, the sum of x over the values without signal and of ``1 + ratio +
ratio/t`` over those with it is L, so that fewer than ``L / (1 + ratio)`` carry signal.

References
----------
.. [1] S. Nakajima, M. Sugiyama, S. D. Babacan, R. Tomioka, "Global analytic solution of
   fully-observed variational Bayesian matrix factorization", JMLR 14, 2013.
.. [2] S. Nakajima, R. Tomioka, M. Sugiyama, S. D. Babacan, "Condition for perfect
   dimensionality recovery by variational Bayesian PCA", JMLR 16, 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from skprecgd._runtime.typing import Array

# Relative accuracy is asked for; SciPy wants a positive absolute one beside it.
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class CompleteTuning:
    """The numbers that tune the search for the noise.

    Attributes
    ----------
    points : int
        Points of a piece between two thresholds at which the slope is looked at. Its
        zeros lie far apart, because the terms of different sign that it is the sum of
        change over factors of the noise.
    lost : float
        Share of its terms below which a sum of squares that is known as a difference
        only is lost to rounding.
    chance : float
        A singular value below this share of the least one to expect of noise is none of
        noise: that would be a chance of about this size.
    """

    points: int = 5
    lost: float = 1e-13
    chance: float = 1e-3


COMPLETE = CompleteTuning()


@dataclass(frozen=True)
class CompletePosterior:
    """The global minimum of the free energy of a complete matrix.

    Attributes
    ----------
    noise_scale : float
        Standard deviation of the noise, in units of the data.
    singular_values : ndarray of shape (n_components,)
        Posterior means of the singular values that carry signal, descending.
    prior_variances : ndarray of shape (n_components,)
        Of the entries of a column of either factor: only their product is determined,
        and both are taken equal.
    free_energy : float
        In natural units: minus it is a lower bound of the logarithm of the evidence of
        the data, so that it compares ranks, and other models of the same data. It is
        minus infinity where all singular values are zero.
    """

    noise_scale: float
    singular_values: Array
    prior_variances: Array
    free_energy: float

    @property
    def n_components(self) -> int:
        """How many singular values carry signal."""
        return len(self.singular_values)

    @property
    def noise_variance(self) -> float:
        """Infinite or zero where it is too large or small for a number."""
        return self.noise_scale * self.noise_scale


def complete_posterior(
    singular_values: Array,
    shape: tuple[int, int],
    *,
    size: float | None = None,
    rounding: float = 0.0,
    max_components: int | None = None,
    tuning: CompleteTuning = COMPLETE,
) -> CompletePosterior:
    """The posterior of a complete matrix, noise and prior variances learned.

    Parameters
    ----------
    singular_values : array-like of shape (k,)
        Those of the matrix, descending: all ``min(shape)``, or the k leading ones. Only
        these can carry signal.
    shape : tuple of int
        Directions in which the matrix can vary: its shape, less the lines that are
        zero and those that centring takes.
    size : float, default=None
        Frobenius norm of the matrix; needed unless all singular values are given.
    rounding : float, default=0.0
        Size up to which a singular value is nothing but rounding. The noise is not
        taken for smaller than that. Where some values are that small and noise would
        have made them larger, there is none, and all values above carry signal.
    max_components : int, default=None
        Most singular values that may carry signal.
    tuning : CompleteTuning

    Returns
    -------
    CompletePosterior

    Notes
    -----
    Work is proportional to the square of the number of values, at the most.
    """
    s = np.asarray(singular_values, dtype=np.float64)[: min(shape)]
    unit = float(s[0]) if len(s) else 0.0
    if unit == 0.0:
        return CompletePosterior(0.0, np.empty(0), np.empty(0), -np.inf)
    s = s / unit
    size = None if size is None else size / unit
    spectrum = _Spectrum.of(s, shape, size, tuning)
    search = _Search(spectrum, rounding / unit, max_components, tuning)
    return search.minimum().posterior(unit)


@dataclass(frozen=True)
class _Spectrum:
    """Singular values of a matrix whose largest one is 1.

    Attributes
    ----------
    s : ndarray of shape (k,)
    rest : float
        Sum of the squares of the others.
    shorter, longer : int
        Sides of the matrix.
    """

    s: Array
    rest: float
    shorter: int
    longer: int

    @classmethod
    def of(
        cls,
        s: Array,
        shape: tuple[int, int],
        size: float | None,
        tuning: CompleteTuning,
    ) -> _Spectrum:
        shorter, longer = sorted(shape)
        n_others = shorter - len(s)
        if n_others == 0 or size is None:
            return cls(s, 0.0, shorter, longer)
        total, known = size * size, float(s @ s)
        rest = total - known
        if rest < tuning.lost * total:
            # The edge of the singular values of noise tells how large the others are.
            edge = 1.0 + np.sqrt(shorter / longer)
            rest = n_others * float(s[-1] / edge) ** 2
        return cls(s, rest, shorter, longer)

    @property
    def ratio(self) -> float:
        return self.shorter / self.longer

    @property
    def threshold(self) -> float:
        """Least relative energy of a singular value that carries signal."""
        t = _least_odds(self.ratio)
        return (1.0 + t) * (1.0 + self.ratio / t)

    def beyond(self, n: int) -> float:
        """Sum of the squares of all but the n leading values."""
        return float(self.s[n:] @ self.s[n:]) + self.rest

    def noise_at(self, s: Any) -> Any:
        """Variances of the noise for which singular values are at the threshold."""
        return s**2 / (self.longer * self.threshold)

    def odds(self, noise: float, n: int) -> Array:
        """Odds of the leading values; they carry signal."""
        excess = self.s[:n] ** 2 / (self.longer * noise) - (1.0 + self.ratio)
        # The square root has no argument below zero but by rounding.
        spread = np.sqrt(np.maximum(excess * excess - 4.0 * self.ratio, 0.0))
        return np.asarray(0.5 * (excess + spread))


@dataclass(frozen=True)
class _Minimum:
    """A variance of the noise, and how many singular values carry signal beside it."""

    spectrum: _Spectrum
    noise: float
    n: int

    @property
    def free_energy(self) -> float:
        """Twice the free energy, for each of the longer side's lines."""
        spectrum, ratio = self.spectrum, self.spectrum.ratio
        t = spectrum.odds(self.noise, self.n)
        # What is left of an energy when its odds are taken off would be lost in a
        # difference of the two where there is hardly any noise.
        left = 1.0 + ratio + ratio / t
        with_signal = float(np.sum(np.log1p(t) + ratio * np.log1p(t / ratio) + left))
        without = spectrum.beyond(self.n) / (spectrum.longer * self.noise)
        return spectrum.shorter * float(np.log(self.noise)) + with_signal + without

    def posterior(self, unit: float) -> CompletePosterior:
        """The solution for a largest singular value of that size."""
        spectrum, scale = self.spectrum, float(np.sqrt(self.noise))
        t, s = spectrum.odds(self.noise, self.n), spectrum.s[: self.n]
        n_entries = spectrum.shorter * spectrum.longer
        in_units = n_entries * (np.log(2.0 * np.pi) + 2.0 * np.log(unit))
        return CompletePosterior(
            scale * unit,
            spectrum.longer * self.noise * t / s * unit,
            scale * np.sqrt(t / spectrum.shorter) * unit,
            float(0.5 * (in_units + spectrum.longer * self.free_energy)),
        )


@dataclass(frozen=True)
class _Search:
    """The search for the noise: every minimum, one piece after another.

    Between two thresholds the same values carry signal, and the free energy is smooth.
    It has no minimum at a threshold, where the lower of two branches changes, so its
    minima are zeros of its slope, or the least noise that is allowed.

    Attributes
    ----------
    spectrum : _Spectrum
    rounding : float
    max_components : int or None
    tuning : CompleteTuning
    """

    spectrum: _Spectrum
    rounding: float
    max_components: int | None
    tuning: CompleteTuning

    def minimum(self) -> _Minimum:
        """The global minimum, or that without noise where no noise is possible."""
        found = min(self._minima(), key=lambda found: found.free_energy)
        spectrum, least = self.spectrum, self._least
        if least.n == len(spectrum.s) or spectrum.s[least.n] > self.rounding:
            return found
        # Noise lifts all singular values. The free energy hardly heeds those that are
        # zero in spite of it.
        expected = np.sqrt(found.noise / spectrum.longer)
        return least if spectrum.s[-1] < self.tuning.chance * expected else found

    @cached_property
    def _thresholds(self) -> Array:
        """Variances of the noise up to which the values carry signal, descending."""
        return np.asarray(
            self.spectrum.noise_at(self.spectrum.s[: self.max_components])
        )

    @property
    def _least(self) -> _Minimum:
        """All that is more than rounding carries signal."""
        rounding = max(self.rounding, float(np.finfo(np.float64).eps))
        least = self.spectrum.noise_at(rounding)
        return _Minimum(self.spectrum, least, int(np.sum(self._thresholds > least)))

    def _minima(self) -> Iterator[_Minimum]:
        spectrum, thresholds = self.spectrum, self._thresholds
        mean = spectrum.beyond(0) / (spectrum.shorter * spectrum.longer)
        yield self._least
        least = self._least.noise
        if mean > least and not np.any(thresholds[:1] > mean):
            yield _Minimum(spectrum, mean, 0)
        edges = np.append(thresholds, 0.0)
        # No minimum has as many with signal as that.
        too_many = int(np.ceil(spectrum.shorter / (1.0 + spectrum.ratio)))
        for n in range(1, min(len(edges), too_many)):
            low, high = max(edges[n], least), edges[n - 1]
            if low < high:
                yield from self._of_piece(n, low, high)

    def _of_piece(self, n: int, low: float, high: float) -> Iterator[_Minimum]:
        """The minima between two variances of the noise, with n values of signal."""
        others = self.spectrum.beyond(n)
        points = np.geomspace(low, high, self.tuning.points)
        slopes = [self._slope(point, n, others) for point in points]
        for k in range(1, len(points)):
            if slopes[k - 1] < 0.0 <= slopes[k]:
                ends = points[k - 1], points[k]
                noise = brentq(self._slope, *ends, args=(n, others), xtol=_TINY)
                yield _Minimum(self.spectrum, float(noise), n)

    def _slope(self, noise: float, n: int, others: float) -> float:
        """Derivative of the free energy with respect to the logarithm of the noise."""
        spectrum, ratio = self.spectrum, self.spectrum.ratio
        with_signal = n * (1.0 + ratio) + ratio * np.sum(1 / spectrum.odds(noise, n))
        without = others / (spectrum.longer * noise)
        return float(spectrum.shorter - with_signal - without)


@lru_cache
def _least_odds(ratio: float) -> float:
    """The odds from which on a singular value carries signal.

    The positive zero of ``log(1 + t) + ratio log(1 + t/ratio) - t``, which rises up to
    the square root of the ratio and falls from there on.
    """

    def gain(t: float) -> float:
        return float(np.log1p(t) + ratio * np.log1p(t / ratio) - t)

    low = float(np.sqrt(ratio))
    high = 2.0 * low
    while gain(high) > 0.0:
        high *= 2.0
    return float(brentq(gain, low, high, xtol=_TINY))
