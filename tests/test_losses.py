"""Pointwise losses against their definitions."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprecgd.losses import Loss, SquaredLoss
from skprecgd.testing import check_loss

numbers = st.floats(-1e3, 1e3).map(lambda x: round(x, 6))
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20)


@given(pairs)
def test_squared_loss_keeps_the_contract(points):
    z, y = np.array(points).T
    check_loss(SquaredLoss(), z, y)


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1.0, 1e8, 1e100])
def test_contract_at_any_scale(scale, global_random_seed):
    z, y = scale * np.random.default_rng(global_random_seed).standard_normal((2, 30))
    assert check_loss(SquaredLoss(), z, y) < 1e-6


@given(pairs)
def test_squared_loss_is_half_the_squared_residual(points):
    z, y = np.array(points).T
    loss = SquaredLoss()
    assert loss.value(z, y) == pytest.approx(0.5 * np.sum((z - y) ** 2), rel=1e-12)
    np.testing.assert_array_equal(loss.gradient(z, y), z - y)
    np.testing.assert_array_equal(loss.curvature(z, y), np.ones_like(z))


def test_attributes():
    loss = SquaredLoss()
    assert (loss.name, loss.curvature_bound, loss.homogeneous) == ("squared", 1.0, True)
    assert type(pickle.loads(pickle.dumps(loss))) is SquaredLoss


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_targets_must_be_finite(bad):
    with pytest.raises(ValueError, match=r"loss='squared' needs finite targets"):
        SquaredLoss().target_check(np.array([1.0, bad]))


# --------------------------------------------------------------------------------------
# check_loss finds what is wrong
# --------------------------------------------------------------------------------------


class LogCosh(Loss):
    """A loss that is neither quadratic nor homogeneous: right in every respect."""

    name = "log_cosh"
    curvature_bound = 1.0
    homogeneous = False

    def value(self, z, y):
        r = np.abs(z - y)
        return float(np.sum(r + np.log1p(np.exp(-2 * r)) - np.log(2)))

    def gradient(self, z, y):
        return np.tanh(z - y)

    def curvature(self, z, y):
        return 1 / np.cosh(z - y) ** 2


class WrongGradient(LogCosh):
    def gradient(self, z, y):
        return np.sinh(z - y)


class WrongCurvature(LogCosh):
    def curvature(self, z, y):
        return np.ones_like(z)


class LowCurvature(LogCosh):
    def curvature(self, z, y):
        return 0.5 * super().curvature(z, y)


class NegativeCurvature(LogCosh):
    def curvature(self, z, y):
        return -super().curvature(z, y)


class LowBound(LogCosh):
    curvature_bound = 0.5


class Mean(LogCosh):
    def value(self, z, y):
        return super().value(z, y) / len(z)


class NotHomogeneous(LogCosh):
    homogeneous = True


class SinglePrecisionLost(LogCosh):
    def gradient(self, z, y):
        return np.tanh(z.astype(np.float64) - y)


class AcceptsNaN(LogCosh):
    def target_check(self, y):
        return None


class WritesToPredictions(LogCosh):
    def gradient(self, z, y):
        z -= 0 * z + 1e-3
        return super().gradient(z, y)


def test_check_loss_accepts_a_right_one(global_random_seed):
    z, y = np.random.default_rng(global_random_seed).standard_normal((2, 40))
    assert check_loss(LogCosh(), z, y) < 1e-7
    # An upper bound instead of the second derivative, if so declared.
    assert check_loss(WrongCurvature(), z, y, exact_curvature=False) < 1e-7


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (WrongGradient, r"WrongGradient: gradient against difference quotients"),
        (WrongCurvature, r"curvature against difference quotients"),
        (NegativeCurvature, r"curvature is negative"),
        (LowBound, r"above curvature_bound = 0\.5"),
        (Mean, r"value against the sum"),
        (NotHomogeneous, r"homogeneous"),
        (SinglePrecisionLost, r"float64 for float32"),
        (AcceptsNaN, r"target_check accepts NaN"),
        (WritesToPredictions, r"writes to its arguments"),
    ],
)
def test_check_loss_finds(kind, sentence, global_random_seed):
    z, y = np.random.default_rng(global_random_seed).standard_normal((2, 40))
    with pytest.raises(AssertionError, match=sentence):
        check_loss(kind(), z, y)


def test_check_loss_finds_a_bound_that_is_none():
    z, y = np.random.default_rng(0).standard_normal((2, 40))
    with pytest.raises(AssertionError, match=r"excess of the second derivative"):
        check_loss(LowCurvature(), z, y, exact_curvature=False)


def test_check_loss_wants_vectors_of_equal_length():
    with pytest.raises(AssertionError, match=r"equally long"):
        check_loss(SquaredLoss(), [1.0, 2.0], [1.0])
