"""Roots of cubics: real ones to the last digits, of whatever size."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skprecgd._linalg.cubic import cubic_roots

EPS = np.finfo(float).eps
coefficients = st.builds(
    lambda sign, digits, size: sign * digits * 10.0**size,
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.floats(1, 10),
    st.integers(-30, 30),
)


def missed(root, cubic):
    """By how much of its terms the polynomial is not zero, without rounding."""
    terms = [Fraction(c) * Fraction(root) ** k for k, c in enumerate(cubic)]
    size = sum(abs(term) for term in terms)
    return float(abs(sum(terms)) / size) if size else 0.0


@given(cubic=st.tuples(*[coefficients] * 4))
def test_real_roots_solve(cubic):
    """One real root at least, and as many in all as the degree."""
    roots = cubic_roots(*cubic)
    if not roots:
        assert not any(cubic[1:])
        return
    assert len(roots) == max(k for k, c in enumerate(cubic) if c)
    if cubic[3]:
        # The others may be the real part of a pair.
        assert min(missed(root, cubic) for root in roots) < 16 * EPS


@given(
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    sizes=st.tuples(*[st.floats(-12, 12)] * 3),
    scale=st.integers(-100, 100),
)
def test_roots_of_every_size(signs, sizes, scale):
    """Where none are close, each root has nearly all digits."""
    expected = np.sort(
        [sign * 10.0**size for sign, size in zip(signs, sizes, strict=True)]
    )
    gaps = np.abs(np.subtract.outer(expected, expected)) + np.diag(np.full(3, np.inf))
    # A root is known to the rounding of the coefficients times its condition.
    near = np.min(gaps / np.maximum.outer(np.abs(expected), np.abs(expected)))
    assume(near >= 1e-3)
    a, b, c = (Fraction(root) for root in expected)
    cubic = [-a * b * c, a * b + a * c + b * c, -(a + b + c), Fraction(1)]
    found = np.sort(
        cubic_roots(*(float(coefficient) * 10.0**scale for coefficient in cubic))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@given(
    real=st.floats(-3, 3), size=st.integers(-8, 8), part=st.floats(-3, 3),
    imaginary=st.floats(0.1, 3),
)  # fmt: skip
def test_real_part_of_a_pair(real, size, part, imaginary):
    """Of a complex pair twice."""
    real, square = real * 10.0**size, part**2 + imaginary**2
    cubic = [-real * square, square + 2 * real * part, -(real + 2 * part), 1.0]
    found = np.array(cubic_roots(*cubic))
    expected = np.sort([real, part, part])
    np.testing.assert_allclose(np.sort(found), expected, atol=1e-6 * (1 + abs(real)))


@pytest.mark.parametrize(
    ("cubic", "expected"),
    [
        ([0, 0, 0, 0], []),
        ([1, 0, 0, 0], []),
        ([-2, 1, 0, 0], [2]),
        ([2, -3, 1, 0], [1, 2]),
        ([0, 0, 1, 0], [0, 0]),
        ([0, 0, 0, 1], [0, 0, 0]),
        ([-1, 3, -3, 1], [1, 1, 1]),
        ([0, -1, 0, 1], [-1, 0, 1]),
        ([0, 1, 0, 1], [0, 0, 0]),
        ([-1e-200, 1, 0, 1e-200], [1e-200, -5e-201, -5e-201]),
        ([-6e300, 11e300, -6e300, 1e300], [1, 2, 3]),
        ([-6e-300, 11e-300, -6e-300, 1e-300], [1, 2, 3]),
    ],
)
def test_special_cases(cubic, expected):
    found = np.sort(cubic_roots(*map(float, cubic)))
    np.testing.assert_allclose(found, np.sort(expected), rtol=1e-5, atol=1e-230)
