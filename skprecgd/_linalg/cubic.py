"""Roots of a cubic polynomial, each to the accuracy that its coefficients allow.

An exact step is a root of such a cubic. The eigenvalues of a companion matrix would be
accurate relative to the largest root only, and near a solution the step is a small one.
"""

from __future__ import annotations

from math import copysign, sqrt

# Factor on the estimated distance of the outermost root from the inflection point, so
# that Newton's method starts beyond that root: the real root of x^3 = x + 1.
_OUTSIDE = 1.324718
# Share of a Newton step that is taken, so that rounding cannot lead past the root.
_SHORT = 1 - 1e-15
# Newton steps at most. Near a triple root each one covers a third of the distance.
_MOST_STEPS = 100


def cubic_roots(c0: float, c1: float, c2: float, c3: float) -> list[float]:
    """Real parts of the roots of ``c0 + c1 x + c2 x^2 + c3 x^3``.

    Newton's method finds the outermost real root. Dividing by it (deflation) leaves a
    quadratic, whose coefficients are computed from the end where this is stable.

    Parameters
    ----------
    c0, c1, c2, c3 : float
        Leading coefficients may be zero; the ratios of the others to the first that is
        not zero must not overflow.

    Returns
    -------
    list of float
        Three numbers, fewer for a lower degree. A complex pair gives its real part
        twice.

    References
    ----------
    .. [1] W. Kahan, "To Solve a Real Cubic Equation", lecture notes, University of
       California at Berkeley, 1986.
    """
    if c3 == 0.0:
        return _quadratic_roots(c0, c1, c2)
    b0, b1, b2 = c0 / c3, c1 / c3, c2 / c3
    # No root is larger than twice the unit, so nothing overflows in this unit.
    unit = max(abs(b2), sqrt(abs(b1)), abs(b0) ** (1 / 3))
    if unit == 0.0:
        return [0.0, 0.0, 0.0]
    b0, b1, b2 = b0 / unit / unit / unit, b1 / unit / unit, b2 / unit
    x = _outermost_root(b0, b1, b2)
    d1 = x + b2
    d0 = d1 * x + b1
    if x * x > abs(b0 / x if x else 0.0):
        d0 = -b0 / x
        d1 = (d0 - b1) / x
    return [unit * root for root in (x, *_quadratic_roots(d0, d1, 1.0))]


def _outermost_root(b0: float, b1: float, b2: float) -> float:
    """The real root of ``x^3 + b2 x^2 + b1 x + b0`` farthest from its inflection."""
    x = -b2 / 3
    value, slope = _at(x, b0, b1, b2)
    away = abs(value) ** (1 / 3)
    if slope < 0:
        away = _OUTSIDE * max(away, sqrt(-slope))
    side = copysign(1.0, -value)
    x += side * away
    # From outside, the steps lead towards the root and never beyond.
    for _ in range(_MOST_STEPS):
        value, slope = _at(x, b0, b1, b2)
        following = x - _SHORT * value / slope if slope else x
        if not side * following < side * x:
            break
        x = following
    return x


def _at(x: float, b0: float, b1: float, b2: float) -> tuple[float, float]:
    """Value and slope of the cubic."""
    d1 = x + b2
    d0 = d1 * x + b1
    return d0 * x + b0, (x + d1) * x + d0


def _quadratic_roots(c0: float, c1: float, c2: float) -> list[float]:
    """Real parts of the roots of ``c0 + c1 x + c2 x^2``."""
    if c2 == 0.0:
        return [-c0 / c1] if c1 else []
    half = -0.5 * c1
    discriminant = half * half - c0 * c2
    if discriminant < 0:
        return [half / c2, half / c2]
    q = half + copysign(sqrt(discriminant), half)
    return [q / c2, c0 / q if q else 0.0]
