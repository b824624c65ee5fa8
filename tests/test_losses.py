"""Pointwise losses against their definitions."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from _helpers import LogCosh
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special
from sklearn.metrics import log_loss, mean_poisson_deviance

from skprecgd.losses import (
    LOSSES,
    AbsoluteLoss,
    HuberLoss,
    LogisticLoss,
    Loss,
    PoissonLoss,
    SquaredLoss,
    make_loss,
    robust_scale,
)
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
# The others
# --------------------------------------------------------------------------------------


def targets_for(loss, rng, size):
    if isinstance(loss, PoissonLoss):
        return rng.poisson(2.0, size).astype(float)
    if isinstance(loss, LogisticLoss):
        return np.where(
            rng.random(size) < 0.5, rng.random(size), rng.integers(2, size=size)
        )
    return rng.standard_normal(size)


# A loss, and whether its curvature is the second derivative.
OTHERS = [
    (HuberLoss(), False),
    (HuberLoss(threshold=2.0), False),
    (AbsoluteLoss(), False),
    (AbsoluteLoss(power=1.5, smoothing=0.5), False),
    (LogisticLoss(), True),
    (PoissonLoss(), True),
]
ROBUST = [loss for loss, exact in OTHERS if not exact]


@pytest.mark.parametrize(("loss", "exact"), OTHERS, ids=str)
def test_contract(loss, exact, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y = targets_for(loss, rng, 40)
    z = 3 * rng.standard_normal(40)
    if isinstance(loss, HuberLoss):
        # A difference quotient means nothing across the kink of the gradient.
        kink = np.abs(np.abs(z - y) - loss.delta) < 1e-3
        z[kink] += 0.01
    assert check_loss(loss, z, y, exact_curvature=exact) < 1e-6


@pytest.mark.parametrize(("loss", "exact"), OTHERS, ids=str)
def test_zero_where_the_prediction_is_perfect(loss, exact, global_random_seed):
    """And as exact near there as rounding of the prediction allows."""
    rng = np.random.default_rng(global_random_seed)
    perfect = rng.standard_normal(30)
    y = loss.mean(perfect)
    curvature = loss.curvature(perfect, y)
    assert loss.value(perfect, y) <= 1e-28 * np.sum(curvature)
    for step in (1e-3, 1e-7, 1e-10):
        expected = 0.5 * np.sum(curvature) * step**2
        near = loss.value(perfect + step * np.sign(perfect), y)
        # The difference to the target has lost digits, and it enters squared.
        assert near == pytest.approx(expected, rel=10 * step + 1e-14 / step)


@pytest.mark.parametrize("loss", ROBUST, ids=str)
@pytest.mark.parametrize("factor", [1e-100, 0.3, 1e100])
def test_rescaled(loss, factor, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    z, y = rng.standard_normal((2, 20))
    power = getattr(loss, "power", 2)
    scaled = loss.rescaled(factor)
    value = scaled.value(factor * z, factor * y)
    assert value == pytest.approx(factor**power * loss.value(z, y), rel=1e-12)
    # The objective divides by the curvature, so it changes with the factor squared.
    assert value / scaled.curvature_bound == pytest.approx(
        factor**2 * loss.value(z, y) / loss.curvature_bound, rel=1e-12
    )
    assert scaled.rescaled(1 / factor).delta == pytest.approx(loss.delta, rel=1e-12)


@pytest.mark.parametrize("loss", ROBUST, ids=str)
def test_scale_is_taken_from_the_targets(loss, global_random_seed):
    y = np.random.default_rng(global_random_seed).standard_normal(1000)
    found = loss.relative_to(y)
    assert 0.8 < found.scale < 1.2
    assert loss.relative_to(1e-80 * y).scale == pytest.approx(1e-80 * found.scale)
    assert found.relative_to(5 * y) is found
    y[:300] = 1e6
    assert 0.8 < loss.relative_to(y).scale < 2.0
    given = type(loss)(scale=3.0)
    assert given.relative_to(y) is given


def test_robust_scale_of_zeros():
    assert robust_scale(np.zeros(3)) == 1.0
    assert robust_scale(np.array([0.0, 0.0, 3.0, 0.0])) == 1.5


@given(pairs)
def test_huber(points):
    z, y = np.array(points).T
    r = np.abs(z - y)
    loss = HuberLoss(threshold=2.0)
    expected = np.where(r <= 2, r**2 / 2, 2 * (r - 1))
    assert loss.value(z, y) == pytest.approx(np.sum(expected), rel=1e-12)
    wide = HuberLoss(threshold=1e4)
    assert wide.value(z, y) == pytest.approx(SquaredLoss().value(z, y), rel=1e-12)


@given(pairs, st.sampled_from([1.0, 1.3, 1.9]))
def test_absolute(points, power):
    z, y = np.array(points).T
    r = np.abs(z - y)
    loss = AbsoluteLoss(power, smoothing=1e-9)
    assert loss.value(z, y) == pytest.approx(np.sum(r**power), rel=1e-7, abs=1e-7)
    # Rounded off from below, by no more than delta^p.
    smooth = AbsoluteLoss(power, smoothing=0.5)
    gap = np.sum(r**power) - smooth.value(z, y)
    assert -1e-9 <= gap <= len(r) * 0.5**power + 1e-9


@given(st.lists(st.tuples(st.floats(-40, 40), st.floats(0, 1)), min_size=1))
def test_logistic(points):
    z, y = np.array(points).T
    loss = LogisticLoss()
    p = special.expit(z)
    expected = special.rel_entr(y, p) + special.rel_entr(1 - y, special.expit(-z))
    assert loss.value(z, y) == pytest.approx(np.sum(expected), rel=1e-9, abs=1e-12)
    assert loss.value(-z, 1 - y) == pytest.approx(loss.value(z, y), rel=1e-6, abs=1e-12)
    np.testing.assert_array_equal(loss.mean(z), p)


def test_logistic_far_out():
    loss = LogisticLoss()
    z, y = np.array([1e3, -1e3, 1e3]), np.array([1.0, 0.0, 0.0])
    assert loss.value(z, y) == 1e3
    np.testing.assert_array_equal(loss.gradient(z, y), [0.0, 0.0, 1.0])
    assert np.isfinite(loss.value(np.array([-800.0]), np.array([1e-300])))


def test_deviances_are_those_of_scikit_learn(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    z = rng.standard_normal(50)
    labels = np.append(rng.integers(2, size=48), [0, 1]).astype(float)
    logistic = LogisticLoss()
    assert logistic.value(z, labels) == pytest.approx(
        log_loss(labels, logistic.mean(z), normalize=False)
    )
    counts = rng.poisson(2.0, 50).astype(float)
    poisson = PoissonLoss()
    assert 2 * poisson.value(z, counts) == pytest.approx(
        50 * mean_poisson_deviance(counts, poisson.mean(z))
    )


@pytest.mark.parametrize(
    "loss", [SquaredLoss(), *(loss for loss, _ in OTHERS)], ids=str
)
def test_pointwise_losses_add_up(loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y = targets_for(loss, rng, 31)
    z = rng.standard_normal(31)
    found = loss.pointwise(z, y)
    assert float(np.sum(found)) == pytest.approx(loss.value(z, y))
    np.testing.assert_allclose(found, Loss.pointwise(loss, z, y), rtol=1e-10)


@pytest.mark.parametrize(
    "loss", [SquaredLoss(), *(loss for loss, _ in OTHERS)], ids=str
)
def test_constant(loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y = targets_for(loss, rng, 31)
    found = optimize.minimize_scalar(
        lambda c: loss.value(np.full(31, c), y), bracket=(-1.0, 1.0), tol=1e-12
    )
    best = loss.value(np.full(31, loss.constant(y)), y)
    assert best <= found.fun * (1 + 1e-10)
    if loss.homogeneous:
        at = loss.rescaled(1e-100).constant(1e-100 * y)
        assert at == pytest.approx(1e-100 * loss.constant(y), rel=1e-6)
        assert loss.constant(np.full(3, 7.0)) == 7.0


def test_constant_of_targets_without_a_finite_one():
    assert LogisticLoss().constant(np.ones(3)) == np.inf
    assert PoissonLoss().constant(np.zeros(3)) == -np.inf


def test_typical_curvature():
    counts = np.array([1.0, 5.0, 0.0])
    assert PoissonLoss().typical_curvature(counts) == 2.0
    assert PoissonLoss().typical_curvature(np.zeros(2)) == 1.0
    assert LogisticLoss().typical_curvature(counts) == 0.25


@pytest.mark.parametrize(
    ("loss", "y", "sentence"),
    [
        (
            LogisticLoss(),
            [-1.0, 1.0, 1.0],
            r"in \[0, 1\].*from -1 to 1\. Pass \(y \+ 1",
        ),
        (LogisticLoss(), [0.0, 2.0], r"in \[0, 1\].*from 0 to 2\.$"),
        (LogisticLoss(), [0.0, np.nan], r"loss='logistic' needs finite targets"),
        (PoissonLoss(), [0.0, -1.0, 3.0], r"needs targets >= 0.*smallest is -1"),
        (HuberLoss(), [0.0, np.inf], r"loss='huber' needs finite targets"),
    ],
)
def test_target_check(loss, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        loss.target_check(np.array(y))


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (
            HuberLoss,
            {"threshold": 0.0},
            r"HuberLoss needs a positive, finite threshold",
        ),
        (
            HuberLoss,
            {"scale": -1.0},
            r"HuberLoss needs a positive, finite scale, got -1",
        ),
        (AbsoluteLoss, {"smoothing": np.inf}, r"finite smoothing, got inf"),
        (AbsoluteLoss, {"scale": np.nan}, r"finite scale, got nan"),
        (AbsoluteLoss, {"power": 2.0}, r"1 <= power < 2, got 2\.0.*loss='squared'"),
        (AbsoluteLoss, {"power": 0.5}, r"1 <= power < 2, got 0\.5"),
    ],
)
def test_constants_are_checked(kind, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**options)


@pytest.mark.parametrize("name", LOSSES)
def test_names(name):
    loss = make_loss(name)
    assert loss.name == name
    assert make_loss(loss) is loss
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert repr(loss).startswith(type(loss).__name__)


def test_make_loss():
    assert make_loss(None) == SquaredLoss()
    with pytest.raises(ValueError, match=r"loss must be one of .*'huber'.*got 'hinge'"):
        make_loss("hinge")


# --------------------------------------------------------------------------------------
# check_loss finds what is wrong
# --------------------------------------------------------------------------------------


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


class NoCurvature(LogCosh):
    curvature = Loss.curvature


def test_check_loss_without_a_curvature(global_random_seed):
    z, y = np.random.default_rng(global_random_seed).standard_normal((2, 40))
    assert not NoCurvature().has_curvature
    assert LogCosh().has_curvature
    assert check_loss(NoCurvature(), z, y) < 1e-7
    with pytest.raises(ValueError, match=r"loss='log_cosh' has no curvature"):
        NoCurvature().curvature(z, y)


def test_check_loss_finds_a_bound_that_is_none():
    z, y = np.random.default_rng(0).standard_normal((2, 40))
    with pytest.raises(AssertionError, match=r"excess of the second derivative"):
        check_loss(LowCurvature(), z, y, exact_curvature=False)


def test_check_loss_wants_vectors_of_equal_length():
    with pytest.raises(AssertionError, match=r"equally long"):
        check_loss(SquaredLoss(), [1.0, 2.0], [1.0])
