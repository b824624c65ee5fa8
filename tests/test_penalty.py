"""The ridge on the factors against its formula."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.objective.penalty import as_penalty


def points(rng, symmetric):
    """A point, a direction and something to add to."""
    if symmetric:
        return [SymmetricFactor(rng.standard_normal((5, 2))) for _ in range(3)]
    shapes = [(5, 2), (4, 2)]
    return [FactorPair(*(rng.standard_normal(s) for s in shapes)) for _ in range(3)]


def formula(alpha, factors):
    squares = np.sum(factors.left**2) + np.sum(factors.right**2)
    return 0.5 * alpha * squares


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("symmetric", [False, True])
def test_value_gradient_and_curvature(alpha, symmetric, rng):
    ridge = as_penalty(alpha)
    point, direction, base = points(rng, symmetric)
    assert ridge.value(point) == pytest.approx(formula(alpha, point), rel=1e-14)
    # The slope of a quadratic function is exactly its central difference.
    ahead, behind = (formula(alpha, point.moved(direction, t)) for t in (1.0, -1.0))
    slope = ridge.added(base, point).inner(direction) - base.inner(direction)
    assert slope == pytest.approx(0.5 * (ahead - behind), rel=1e-12, abs=1e-12)
    bend = ridge.added(base, direction).inner(direction) - base.inner(direction)
    second = ahead - 2 * formula(alpha, point) + behind
    assert bend == pytest.approx(second, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("symmetric", [False, True])
def test_along_a_direction(alpha, symmetric, rng):
    point, direction, _ = points(rng, symmetric)
    coefficients = as_penalty(alpha).along(point, direction)
    assert coefficients.shape == (5,)
    for t in (-1.3, 0.0, 0.7):
        expected = formula(alpha, point.moved(direction, t))
        assert np.polyval(coefficients[::-1], t) == pytest.approx(expected, rel=1e-12)


def test_of_the_matrix_it_is_the_nuclear_norm(rng):
    point, _, _ = points(rng, symmetric=False)
    nuclear = np.linalg.svd(point.matrix(), compute_uv=False).sum()
    assert as_penalty(0.3).value(point.balanced()) == pytest.approx(0.3 * nuclear)
    assert as_penalty(0.3).value(point) >= 0.3 * nuclear


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.7), (0.3, 0.0), (-1.0, 0.0)])
def test_a_new_column_pays_beyond_the_ridge(slope, expected):
    assert as_penalty(0.3).excess(slope) == pytest.approx(expected)
