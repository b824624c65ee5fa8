"""Step rules: they see a ray and a slope, and nothing else."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.base import clone

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.measurements import DenseMeasurements
from skprecgd.objective import Quartic, Ray, make_objective
from skprecgd.optim.metric import Metric
from skprecgd.optim.steps import (
    STEP_RULES,
    BacktrackingStep,
    ExactStep,
    FixedStep,
    PolyakStep,
    StepRule,
    make_step,
)


class FunctionRay(Ray):
    """Any function of the step; `evaluations` counts how often it was asked."""

    def __init__(self, function):
        self.function = function
        self.evaluations = 0

    def value(self, t):
        self.evaluations += 1
        return self.function(t)

    def advance(self, t):
        raise AssertionError("a step rule does not advance")

    def minimizer(self):
        return minimize_scalar(self.function).x


def descent_ray(seed, symmetric=False, alpha=0.0):
    """Ray and slope along a preconditioned gradient of a random problem."""
    rng = np.random.default_rng(seed)
    measurements = DenseMeasurements(rng.standard_normal((20, 5, 5)))
    objective = make_objective(measurements, rng.standard_normal(20), alpha=alpha)
    left, right = rng.standard_normal((2, 5, 2))
    factors = SymmetricFactor(left) if symmetric else FactorPair(left, right)
    evaluation = objective.evaluate(factors)
    gradient = objective.gradient(evaluation)
    metric = Metric(factors, float(np.sqrt(2 * evaluation.loss)))
    direction = metric.apply(gradient).times(-1.0)
    return objective.ray(evaluation, direction), gradient.inner(direction)


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, symmetric=st.booleans(), alpha=st.sampled_from([0.0, 0.5]))
def test_exact_step_is_the_global_minimiser(seed, symmetric, alpha):
    ray, slope = descent_ray(seed, symmetric, alpha)
    step = ExactStep()(ray, slope)
    grid = np.linspace(-20, 20, 2001)
    start = grid[np.argmin(np.polyval(ray.coefficients[::-1], grid))]
    best = minimize_scalar(
        ray.value, bracket=(start - 0.02, start, start + 0.02), tol=1e-12
    )
    assert ray.value(step) <= best.fun * (1 + 1e-10)
    assert ray.value(step) < ray.value(0.0)


def test_exact_step_asks_the_ray():
    assert ExactStep()(FunctionRay(lambda t: np.cosh(t - 2)), -1.0) == pytest.approx(2)


@given(seed=seeds, symmetric=st.booleans(), share=st.sampled_from([0.01, 0.25, 0.49]))
def test_backtracking_keeps_its_promise(seed, symmetric, share):
    ray, slope = descent_ray(seed, symmetric)
    step = BacktrackingStep(share)(ray, slope)
    assert 0 < step <= 1
    assert ray.value(step) <= ray.value(0.0) + share * step * slope
    # The first that does: twice the step breaks the promise, or is the first tried.
    if step < 1:
        assert ray.value(2 * step) > ray.value(0.0) + share * 2 * step * slope


def test_backtracking_starts_at_one_and_halves():
    tried = []

    def value(t):
        tried.append(t)
        return 1 - t if t <= 0.2 else 5.0

    assert BacktrackingStep()(FunctionRay(value), -1.0) == 0.125
    assert tried == [0.0, 1.0, 0.5, 0.25, 0.125]


def test_backtracking_grows_again():
    rule = BacktrackingStep()
    assert rule(FunctionRay(lambda t: 1 - t if t <= 0.1 else 5), -1.0) == 0.0625
    steps = [rule(FunctionRay(lambda t: 1 - t), -1.0) for _ in range(6)]
    assert steps == [0.125, 0.25, 0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_backtracking_steps_back_from_overflow(bad):
    ray = FunctionRay(lambda t: 1 - t if t < 1e-3 else bad)
    assert BacktrackingStep()(ray, -1.0) == 2.0**-10


def test_backtracking_gives_up():
    ray = FunctionRay(lambda t: 1.0 if t == 0 else 2.0)
    rule = BacktrackingStep()
    assert rule(ray, -1.0) == 0.0
    assert ray.evaluations < 100
    # And starts afresh where it last succeeded.
    assert rule(FunctionRay(lambda t: 1 - t), -1.0) == 1.0


def test_backtracking_does_not_take_rounding_for_progress():
    """Uphill: a step so small that the value does not change decreases nothing."""
    assert BacktrackingStep()(FunctionRay(lambda t: 1 + t), -1.0) == 0.0


@given(seed=seeds)
def test_polyak(seed):
    ray, slope = descent_ray(seed)
    step = PolyakStep()(ray, slope)
    assert step == pytest.approx(ray.value(0.0) / -slope, rel=1e-14)
    assert PolyakStep(0.1)(ray, slope) == pytest.approx(
        (ray.value(0.0) - 0.1) / -slope, rel=1e-14
    )


def test_polyak_is_exact_for_a_quadratic_with_known_optimum():
    """(f - f*) / slope is half the way to the optimum of a parabola."""
    ray = Quartic(np.array([3.0, -2.0, 0.5, 0.0, 0.0]), lambda t: None)
    optimum = ray.value(2.0)
    assert PolyakStep(optimum)(ray, -2.0) == 1.0


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_polyak_takes_no_step_uphill(slope):
    assert PolyakStep()(FunctionRay(lambda t: 1 + t), slope) == 0.0


def test_fixed():
    ray = FunctionRay(lambda t: 1 - t)
    assert FixedStep(0.5)(ray, -1.0) == 0.5
    assert ray.evaluations == 0


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("auto", ExactStep),
        ("exact", ExactStep),
        ("backtracking", BacktrackingStep),
        ("polyak", PolyakStep),
        (0.5, FixedStep),
        (1, FixedStep),
        (np.float32(0.5), FixedStep),
    ],
)
def test_make_step(value, kind):
    assert type(make_step(value)) is kind


def test_every_name_makes_a_rule_of_its_own():
    for name in STEP_RULES:
        rule = make_step(name)
        assert isinstance(rule, StepRule)
        assert rule is not make_step(name)


def test_make_step_keeps_an_instance():
    rule = PolyakStep(0.5)
    assert make_step(rule) is rule


def test_backtracking_rules_share_no_memory():
    first, second = (make_step("backtracking") for _ in range(2))
    first(FunctionRay(lambda t: 1 - t if t < 1e-3 else 5), -1.0)
    assert second(FunctionRay(lambda t: 1 - t), -1.0) == 1.0


@pytest.mark.parametrize("value", ["newton", 0, 0.0, -0.5, np.nan, np.inf])
def test_make_step_errors(value):
    with pytest.raises(ValueError, match=r"step_size must be one of .* got"):
        make_step(value)


@pytest.mark.parametrize("value", [None, [0.5], np.ones(2)])
def test_make_step_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match=r"step_size must be one of .* got"):
        make_step(value)


RULES = pytest.mark.parametrize(
    "rule", [ExactStep(), FixedStep(0.5), PolyakStep(0.1), BacktrackingStep(0.1)]
)


@RULES
def test_rules_are_values(rule):
    """They compare, print, and can be copied and saved, as their parameters do."""
    for copy in (clone(rule, safe=False), pickle.loads(pickle.dumps(rule))):
        assert copy is not rule
        assert copy == rule
        assert repr(copy) == repr(rule)
    model = PrecGDMatrixSensing(step_size=rule)
    assert clone(model).step_size == rule
    assert repr(rule) in repr(model)
    assert FixedStep(0.25) != rule


def test_what_backtracking_remembers_is_no_part_of_its_value():
    used = BacktrackingStep()
    used(FunctionRay(lambda t: 1 - t if t < 1e-3 else 5), -1.0)
    assert used == BacktrackingStep()
    assert repr(used) == "BacktrackingStep(share=0.25)"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FixedStep(0.0), r"step must be a number > 0, got 0\.0"),
        (lambda: FixedStep(np.nan), r"step must be a number > 0, got nan"),
        (lambda: BacktrackingStep(1.0), r"share must be between 0 and 1, got 1\.0"),
        (lambda: BacktrackingStep(-0.1), r"share must be between 0 and 1, got -0\.1"),
    ],
)
def test_rules_refuse_what_has_no_meaning(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("exact", ExactStep()),
        ("backtracking", BacktrackingStep()),
        ("polyak", PolyakStep()),
        (0.5, FixedStep(0.5)),
    ],
)
@pytest.mark.parametrize("solver", ["auto", "precgd"])
def test_a_rule_is_what_its_name_is(name, rule, solver, global_random_seed):
    """To the last bit, fit after fit, and the rule as it was before."""
    A, y, _ = make_matrix_sensing(
        12, 9, rank=2, n_measurements=160, random_state=global_random_seed
    )
    before = pickle.dumps(rule)
    options = {"matrix_shape": (12, 9), "solver": solver, "early_stopping": False}
    named, first, second = (
        PrecGDMatrixSensing(3, step_size=step, max_iter=60, tol=0, **options).fit(A, y)
        for step in (name, rule, rule)
    )
    np.testing.assert_array_equal(first.left_, named.left_)
    np.testing.assert_array_equal(second.left_, named.left_)
    np.testing.assert_array_equal(first.history_["step"], named.history_["step"])
    assert pickle.dumps(rule) == before
