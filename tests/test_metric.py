"""The preconditioner against explicit inverses, the damping rules against formulas."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.measurements import DenseMeasurements
from skprecgd.objective import FullObjective, make_objective
from skprecgd.optim.metric import (
    DAMPING_RULES,
    ConstantDamping,
    DampingState,
    DualNormDamping,
    GeometricDamping,
    Metric,
    SqrtLossDamping,
    VarianceProxyDamping,
    make_damping,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SYMMETRIC = pytest.mark.parametrize("symmetric", [False, True])


def draw(rng, symmetric, rank=3, dtype=np.float64):
    left = rng.standard_normal((7, rank)).astype(dtype)
    if symmetric:
        return SymmetricFactor(left)
    return FactorPair(left, rng.standard_normal((5, rank)).astype(dtype))


def others(factors):
    """Per block, the factor it is multiplied with, in float64."""
    blocks = factors.blocks if len(factors.blocks) == 1 else factors.blocks[::-1]
    return [block.astype(np.float64) for block in blocks]


def inverses(factors, damping):
    """What the metric inverts: Gram + eta I, twice for a symmetric factor."""
    return [
        np.linalg.inv(factors.multiplicity * (b.T @ b + damping * np.eye(factors.rank)))
        for b in others(factors)
    ]


# --------------------------------------------------------------------------------------
# Metric
# --------------------------------------------------------------------------------------


@DTYPES
@SYMMETRIC
@pytest.mark.parametrize("damping", [0.0, 0.7, 1e3])
def test_against_the_explicit_inverse(symmetric, dtype, damping, rng):
    factors, gradient = (draw(rng, symmetric, dtype=dtype) for _ in range(2))
    metric = Metric(factors, damping)
    applied = metric.apply(gradient)
    assert type(applied) is type(gradient)
    assert applied.dtype == dtype
    square = 0.0
    # The inverse amplifies rounding by the condition number.
    conditions = [np.linalg.cond(b) ** 2 for b in others(factors)]
    tolerance = 100 * float(np.finfo(dtype).eps) * max(conditions)
    for block, found, inverse in zip(
        gradient.blocks, applied.blocks, inverses(factors, damping), strict=True
    ):
        expected = block.astype(np.float64) @ inverse
        np.testing.assert_allclose(
            found, expected, atol=tolerance * np.linalg.norm(expected)
        )
        square += np.sum(expected * block)
    assert metric.dual_norm(gradient) == pytest.approx(np.sqrt(square), rel=tolerance)
    whitened = gradient.times_right(metric.roots())
    assert whitened.dtype == dtype
    assert whitened.inner(whitened) == pytest.approx(square, rel=tolerance)
    assert gradient.inner(applied) == pytest.approx(square, rel=tolerance)


@SYMMETRIC
@pytest.mark.parametrize("ranks", [(1, 2), (2, 4), (2, 5)])
def test_singular_gram_is_pseudo_inverted(symmetric, ranks, rng):
    """Search rank above the rank: directions out of the range get no step."""
    rank, search_rank = ranks
    # Many draws: a zero eigenvalue comes out as anything up to about 20 epsilon.
    for _ in range(40):
        thin = draw(rng, symmetric, rank=rank)
        mix = np.linalg.qr(rng.standard_normal((search_rank, search_rank)))[0][:rank]
        factors = type(thin)(*(b @ mix for b in thin.blocks))
        gradient = draw(rng, symmetric, rank=search_rank)
        applied = Metric(factors).apply(gradient)
        square = 0.0
        for block, found, other in zip(
            gradient.blocks, applied.blocks, others(factors), strict=True
        ):
            # pinv(B^T B), by way of B, whose range is easier to tell.
            half = np.linalg.pinv(other, rcond=1e-6)
            expected = block @ half @ half.T / factors.multiplicity
            error = np.linalg.norm(found - expected)
            assert error <= 1e-6 * np.linalg.norm(expected)
            square += np.sum(expected * block)
        found = Metric(factors).dual_norm(gradient)
        assert found == pytest.approx(np.sqrt(square), rel=1e-6)


@SYMMETRIC
def test_gram_of_zero(symmetric, rng):
    factors, gradient = draw(rng, symmetric).times(0.0), draw(rng, symmetric)
    undamped = Metric(factors)
    assert undamped.dual_norm(gradient) == 0
    assert undamped.apply(gradient).inner(gradient) == 0
    damped = Metric(factors, 0.5).apply(gradient)
    for found, block in zip(damped.blocks, gradient.blocks, strict=True):
        np.testing.assert_allclose(
            found, block / (0.5 * factors.multiplicity), rtol=1e-13
        )


def test_one_factor_zero(rng):
    """The Nystrom start: R = 0, so L gets no step and R a full one."""
    left = rng.standard_normal((7, 3))
    factors = FactorPair(left, np.zeros((5, 3)))
    gradient = draw(rng, False)
    applied = Metric(factors).apply(gradient)
    assert np.all(applied.left == 0)
    np.testing.assert_allclose(
        applied.right, gradient.right @ np.linalg.inv(left.T @ left), rtol=1e-10
    )


@SYMMETRIC
@pytest.mark.parametrize("damping", [0.0, 1e-3, 10.0])
def test_damped_is_a_metric_of_its_own(symmetric, damping, rng):
    factors, gradient = (draw(rng, symmetric) for _ in range(2))
    undamped = Metric(factors, 0.3)
    before = undamped.dual_norm(gradient)
    damped = undamped.damped(damping)
    direct = Metric(factors, damping)
    assert damped.damping == damping
    assert undamped.damping == 0.3
    assert damped.dual_norm(gradient) == direct.dual_norm(gradient)
    assert undamped.dual_norm(gradient) == before
    for a, b in zip(
        damped.apply(gradient).blocks, direct.apply(gradient).blocks, strict=True
    ):
        np.testing.assert_array_equal(a, b)


@SYMMETRIC
def test_identity_is_plain_gradient_descent(symmetric, rng):
    """One number for all blocks: the largest eigenvalue of the Gram matrices."""
    factors, gradient = (draw(rng, symmetric) for _ in range(2))
    top = max(np.linalg.norm(b, 2) ** 2 for b in others(factors))
    applied = Metric(factors, identity=True).apply(gradient)
    for found, block in zip(applied.blocks, gradient.blocks, strict=True):
        np.testing.assert_allclose(
            found, block / (factors.multiplicity * top), rtol=1e-12, atol=1e-15
        )


@given(
    exponent=st.integers(-100, 100),
    symmetric=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_scale(exponent, symmetric, seed):
    """For c times the matrix and c times the damping, steps scale like the factors."""
    rng = np.random.default_rng(seed)
    c = 10.0**exponent
    factors, gradient = (draw(rng, symmetric) for _ in range(2))
    scaled = Metric(factors.scaled(c), 0.3 * c)
    reference = Metric(factors, 0.3)
    assert scaled.dual_norm(gradient) == pytest.approx(
        reference.dual_norm(gradient) / np.sqrt(c), rel=1e-9
    )


@given(mix=st.integers(0, 2**32 - 1), symmetric=st.booleans(), damping=st.floats(0, 10))
def test_rotating_the_factors_changes_nothing(mix, symmetric, damping):
    """``(L Q)(R Q)^T = L R^T``: the step in the matrix is the same."""
    rng = np.random.default_rng(mix)
    factors, gradient = (draw(rng, symmetric) for _ in range(2))
    q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotated, rotated_gradient = (
        type(f)(*(b @ q for b in f.blocks)) for f in (factors, gradient)
    )
    step = Metric(factors, damping).apply(gradient)
    rotated_step = Metric(rotated, damping).apply(rotated_gradient)
    for a, b in zip(step.blocks, rotated_step.blocks, strict=True):
        np.testing.assert_allclose(a @ q, b, rtol=1e-6, atol=1e-7 * np.abs(b).max())


def test_undamped_steps_are_invariant_under_any_change_of_basis(rng):
    """ScaledGD: ``L B, R B^-T`` for any invertible B, not only rotations."""
    factors, gradient = (draw(rng, False) for _ in range(2))
    basis = rng.standard_normal((3, 3)) + 3 * np.eye(3)
    back = np.linalg.inv(basis)
    changed = FactorPair(factors.left @ basis, factors.right @ back.T)
    changed_gradient = FactorPair(gradient.left @ back.T, gradient.right @ basis)
    step = Metric(factors).apply(gradient)
    changed_step = Metric(changed).apply(changed_gradient)
    np.testing.assert_allclose(
        changed_step.left @ changed.right.T, step.left @ factors.right.T, atol=1e-9
    )
    np.testing.assert_allclose(
        changed.left @ changed_step.right.T, factors.left @ step.right.T, atol=1e-9
    )
    assert Metric(changed).dual_norm(changed_gradient) == pytest.approx(
        Metric(factors).dual_norm(gradient), rel=1e-9
    )


def test_dual_norm_is_about_the_error_that_can_be_removed(rng):
    """``||P(M - M*)||`` for the tangent space, up to a factor sqrt(2)."""
    truth, point = (draw(rng, False) for _ in range(2))
    objective = FullObjective(truth.matrix())
    gradient = objective.gradient(objective.evaluate(point))
    error = point.matrix() - truth.matrix()
    u, v = np.linalg.qr(point.left)[0], np.linalg.qr(point.right)[0]
    expected = np.hypot(np.linalg.norm(error @ v), np.linalg.norm(u.T @ error))
    assert Metric(point).dual_norm(gradient) == pytest.approx(expected, rel=1e-8)


# --------------------------------------------------------------------------------------
# Damping
# --------------------------------------------------------------------------------------


@pytest.fixture
def state(rng):
    measurements = DenseMeasurements(rng.standard_normal((30, 7, 5)))
    objective = make_objective(measurements, rng.standard_normal(30), alpha=0.1)
    point = draw(rng, False)
    evaluation = objective.evaluate(point)
    dual_norm = Metric(point).dual_norm(objective.gradient(evaluation))
    return DampingState(evaluation, objective, dual_norm, 7)


def test_sqrt_loss(state):
    # The data part: the ridge says nothing about the error.
    expected = np.sqrt(2 * state.evaluation.loss)
    assert SqrtLossDamping()(state) == pytest.approx(expected, rel=1e-14)
    assert SqrtLossDamping(0.1)(state) == pytest.approx(0.1 * expected, rel=1e-14)


def test_sqrt_loss_is_the_size_of_the_error(rng):
    truth, point = (draw(rng, False) for _ in range(2))
    objective = FullObjective(truth.matrix())
    state = DampingState(objective.evaluate(point), objective, np.nan, 0)
    assert SqrtLossDamping()(state) == pytest.approx(
        np.linalg.norm(point.matrix() - truth.matrix()), rel=1e-10
    )


def test_dual_norm(state):
    assert DualNormDamping()(state) == state.undamped_dual_norm
    assert DualNormDamping(2.0)(state) == 2 * state.undamped_dual_norm


@pytest.mark.parametrize("share", [0.0, 0.5, 1e4])
def test_variance_proxy(state, share):
    expected = np.sqrt(abs(2 * state.evaluation.loss - share))
    assert VarianceProxyDamping(share)(state) == pytest.approx(expected, rel=1e-14)


def test_geometric(state):
    expected = 0.9**7 * state.objective.data_norm
    assert GeometricDamping()(state) == pytest.approx(expected, rel=1e-14)
    assert GeometricDamping(0.5)(state) == pytest.approx(
        0.5**7 * state.objective.data_norm, rel=1e-14
    )


def test_constant(state):
    expected = 0.25 * state.objective.data_norm
    assert ConstantDamping(0.25)(state) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("value", "share", "kind"),
    [
        ("auto", None, SqrtLossDamping),
        ("auto", 0.1, VarianceProxyDamping),
        ("sqrt_loss", None, SqrtLossDamping),
        ("sqrt_loss", 0.1, SqrtLossDamping),
        ("dual_norm", None, DualNormDamping),
        ("variance_proxy", 0.1, VarianceProxyDamping),
        ("geometric", None, GeometricDamping),
        (0, None, ConstantDamping),
        (0.5, None, ConstantDamping),
        (np.float32(0.5), None, ConstantDamping),
    ],
)
def test_make_damping(value, share, kind):
    assert type(make_damping(value, share)) is kind


def test_every_name_makes_a_rule(state):
    for name in DAMPING_RULES:
        assert make_damping(name, 0.1)(state) >= 0


def test_auto_follows_from_the_loss():
    """The dual norm, where the loss does not measure the error."""
    assert make_damping("auto", measures_error=False) == DualNormDamping()
    assert make_damping("sqrt_loss", measures_error=False) == SqrtLossDamping()


@pytest.mark.parametrize(
    "rule",
    [
        SqrtLossDamping(2.0),
        DualNormDamping(0.5),
        GeometricDamping(0.8),
        ConstantDamping(0.1),
        VarianceProxyDamping(0.01),
    ],
    ids=repr,
)
def test_rules_are_values(rule):
    """They compare, print, and can be copied and saved, as their parameters do."""
    for copy in (clone(rule, safe=False), pickle.loads(pickle.dumps(rule))):
        assert copy is not rule
        assert copy == rule
        assert hash(copy) == hash(rule)
    model = PrecGDMatrixSensing(damping=rule)
    assert clone(model).damping == rule
    assert repr(rule) in repr(model)


@pytest.mark.parametrize("kind", [SqrtLossDamping, DualNormDamping, ConstantDamping])
@pytest.mark.parametrize("factor", [-0.1, np.nan, np.inf])
def test_rules_refuse_what_has_no_meaning(kind, factor):
    with pytest.raises(ValueError, match=r"factor must be a number >= 0, got"):
        kind(factor)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("sqrt_loss", SqrtLossDamping()),
        ("dual_norm", DualNormDamping()),
        ("geometric", GeometricDamping()),
        (0.01, ConstantDamping(0.01)),
    ],
)
def test_a_rule_is_what_its_name_is(name, rule, global_random_seed):
    A, y, _ = make_matrix_sensing(
        12, 9, rank=2, n_measurements=160, random_state=global_random_seed
    )
    options = {"matrix_shape": (12, 9), "early_stopping": False}
    named, given = (
        PrecGDMatrixSensing(3, damping=damping, max_iter=60, tol=0, **options).fit(A, y)
        for damping in (name, rule)
    )
    np.testing.assert_array_equal(given.left_, named.left_)
    np.testing.assert_array_equal(given.history_["damping"], named.history_["damping"])


def test_make_damping_keeps_an_instance():
    rule = SqrtLossDamping(0.5)
    assert make_damping(rule) is rule


@pytest.mark.parametrize("value", ["sqrt", -0.1, np.nan, np.inf])
def test_make_damping_errors(value):
    with pytest.raises(ValueError, match=r"damping must be one of .* got"):
        make_damping(value)


@pytest.mark.parametrize("value", [None, [1.0], np.ones(2)])
def test_make_damping_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match=r"damping must be one of .* got"):
        make_damping(value)


def test_variance_proxy_needs_the_variance():
    with pytest.raises(ValueError, match=r"needs noise_variance, got None"):
        make_damping("variance_proxy")
