"""The objective along a straight line in the factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from skprecgd._linalg.cubic import cubic_roots
from skprecgd._runtime.typing import Array
from skprecgd.objective.base import Evaluation, Ray

# Relative rounding error of a value of the objective.
_VALUE_ROUNDING = 16 * float(np.finfo(np.float64).eps)
# Rounding error of a polynomial, relative to its terms, whose coefficients are sums.
_SUM_ROUNDING = 1e4 * float(np.finfo(np.float64).eps)
# Coefficients below this share of the largest one count as zero.
_TINY = 1e16 * float(np.finfo(np.float64).tiny)
# Most halvings of a step, after which the direction counts as leading nowhere.
_MAX_HALVINGS = 60


class Quartic(Ray):
    """Squared loss along a ray: a polynomial of degree four in the step.

    Parameters
    ----------
    coefficients : ndarray of shape (5,)
        Constant term first.
    advance : callable
        Step -> Evaluation.
    """

    def __init__(
        self, coefficients: Array, advance: Callable[[float], Evaluation]
    ) -> None:
        self.coefficients = coefficients
        self._advance = advance

    def value(self, t: float) -> float:
        return float(np.polyval(self.coefficients[::-1], t))

    def minimizer(self) -> float:
        # Python floats, because arrays of five numbers would take ten times as long.
        a = [float(coefficient) for coefficient in self.coefficients]
        if not all(isfinite(coefficient) for coefficient in a):
            return 0.0
        cubic = [a[1], 2 * a[2], 3 * a[3], 4 * a[4]]
        # A subnormal coefficient would overflow when the others are divided by it.
        least = _TINY * max(abs(coefficient) for coefficient in cubic)
        roots = cubic_roots(*(c if abs(c) >= least else 0.0 for c in cubic))
        best = lowest = 0.0
        # Nearly double roots may come out as a complex pair: their real part is a
        # candidate, too, since the best one is chosen by value. Among equally good
        # steps the largest wins.
        for step in sorted(roots, reverse=True):
            change = self._change(a, step)
            # Far out, a decrease may be the rounding error of huge terms, for example
            # along a direction whose quadratic part is nothing but rounding.
            terms = self._change([abs(c) for c in a], abs(step))
            if change < lowest and -change >= _SUM_ROUNDING * terms:
                best, lowest = step, change
        return best

    @staticmethod
    def _change(a: Sequence[float], t: float) -> float:
        """The polynomial without its constant term."""
        return t * (a[1] + t * (a[2] + t * (a[3] + t * a[4])))

    def advance(self, t: float) -> Evaluation:
        return self._advance(t)


class SampledRay(Ray):
    """Any loss along a ray, evaluated pointwise, without a pass over the data."""

    def __init__(
        self,
        advance: Callable[[float], Evaluation],
        value: float,
        minimum: Callable[[], float],
    ) -> None:
        self._advance = advance
        self._at_zero = value
        self._minimum = minimum

    def value(self, t: float) -> float:
        return self._at_zero if t == 0 else self._advance(t).value

    def advance(self, t: float) -> Evaluation:
        return self._advance(t)

    def minimizer(self) -> float:
        t = self._minimum()
        # Where rounding hides the decrease of the value, the slope still shows it.
        allowed = self._at_zero + _VALUE_ROUNDING * abs(self._at_zero)
        for _ in range(_MAX_HALVINGS):
            if self.value(t) <= allowed:
                return t
            t *= 0.5
        return 0.0
