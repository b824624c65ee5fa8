"""The search for a minimum along a line by its slope; sums by group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprecgd._linalg.numerics import first_minimum, slab_bincount

positive = st.floats(1e-6, 1e6)


@given(minimum=positive, first=positive, power=st.sampled_from([1, 3]))
def test_finds_the_minimum(minimum, first, power):
    def slope(t):
        return (t / minimum - 1) ** power

    t = first_minimum(slope, slope(0.0), first)
    assert abs(slope(t)) <= 0.1
    close = first_minimum(slope, slope(0.0), first, accuracy=1e-9)
    assert abs(slope(close)) <= 1e-9


def test_a_newton_step_is_taken_as_it_is():
    asked = []

    def slope(t):
        asked.append(t)
        return t - 2.0

    assert first_minimum(slope, -2.0, 2.0) == 2.0
    assert asked == [2.0]


@pytest.mark.parametrize("start", [0.0, 1.0, np.nan])
def test_nothing_falls(start):
    assert first_minimum(lambda t: 1.0, start, 1.0) == 0.0


def test_overflow_is_too_far():
    def slope(t):
        return np.exp(t) - 5.0 if t < 700 else np.inf

    t = first_minimum(slope, -4.0, 1e5)
    assert abs(slope(t)) <= 0.4


def test_no_minimum():
    """The slope never comes up to zero: as far as it gets, and finite."""
    t = first_minimum(lambda t: -np.exp(-t), -1.0, 0.01)
    assert np.exp(-t) <= 0.1
    assert 0 < first_minimum(lambda t: -1.0, -1.0, 1.0, max_trials=5) < np.inf


@pytest.mark.parametrize("n", [30, 2_500_000])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_tally_is_bincount(dtype, n, global_random_seed):
    """The many are counted a slab at a time."""
    rng = np.random.default_rng(global_random_seed)
    groups = rng.integers(5, size=n).astype(dtype)
    weights = rng.standard_normal(n)
    np.testing.assert_array_equal(
        slab_bincount(groups, 8), np.bincount(groups, minlength=8)
    )
    sums = slab_bincount(groups, 8, lambda part: weights[part])
    expected = np.bincount(groups, weights, minlength=8)
    np.testing.assert_allclose(sums, expected, rtol=1e-14, atol=1e-15 * n)
    assert slab_bincount(groups[:0], 3).tolist() == [0, 0, 0]
