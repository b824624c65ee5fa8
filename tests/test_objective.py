"""The objective: value, gradient, ray and curvature as a function of the factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from _helpers import LogCosh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.sparse.linalg import aslinearoperator

from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.losses import SquaredLoss, SummedLoss
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
    LinearOperatorMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
)
from skprecgd.objective import (
    FullObjective,
    Objective,
    Quartic,
    SampledObjective,
    make_objective,
)
from skprecgd.objective.penalty import as_penalty
from skprecgd.optim import rank_path
from skprecgd.testing import check_measurements, check_objective


def draw_factors(rng, shape, rank, symmetric, dtype=np.float64):
    left = rng.standard_normal((shape[0], rank)).astype(dtype)
    if symmetric:
        return SymmetricFactor(left)
    return FactorPair(left, rng.standard_normal((shape[1], rank)).astype(dtype))


def dense(rng, shape, dtype):
    return DenseMeasurements(rng.standard_normal((30, *shape)).astype(dtype))


def dense_large_stack(rng, shape, dtype):
    # Few columns against the shape: tangents go through the contracted stack.
    return DenseMeasurements(rng.standard_normal((30, 12, 12)).astype(dtype))


def sparse_rows(rng, shape, dtype):
    flat = rng.standard_normal((30, shape[0] * shape[1]))
    flat[rng.random(flat.shape) < 0.5] = 0
    return SparseMeasurements(sparse.csr_array(flat.astype(dtype)), shape)


def entries(rng, shape, dtype):
    rows, columns = rng.integers(shape[0], size=30), rng.integers(shape[1], size=30)
    return EntryMeasurements(rows, columns, shape, dtype)


def rank_one(rng, shape, dtype):
    a, b = (rng.standard_normal((30, n)).astype(dtype) for n in shape)
    return RankOneMeasurements(a, b)


def operator(rng, shape, dtype):
    flat = rng.standard_normal((30, shape[0] * shape[1])).astype(dtype)
    return LinearOperatorMeasurements(aslinearoperator(flat), shape)


KINDS = [dense, dense_large_stack, sparse_rows, entries, rank_one, operator]


def sampled(rng, kind, shape, dtype=np.float64, loss=None, alpha=0.0):
    measurements = kind(rng, shape, dtype)
    targets = 3 * rng.standard_normal(len(measurements))
    return make_objective(measurements, targets, loss, alpha)


# --------------------------------------------------------------------------------------
# Derivatives
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [None, LogCosh()], ids=["squared", "log_cosh"])
def test_sampled_objective(kind, loss, symmetric, alpha, rng):
    shape = (5, 5) if symmetric else (5, 4)
    objective = sampled(rng, kind, shape, loss=loss, alpha=alpha)
    factors = draw_factors(rng, objective.matrix_shape, 2, symmetric)
    check_objective(objective, factors)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    "wrap", [np.asarray, sparse.csr_array, sparse.csc_array, aslinearoperator]
)
def test_full_objective(wrap, symmetric, alpha, rng):
    shape = (5, 5) if symmetric else (5, 4)
    X = rng.standard_normal(shape)
    objective = make_objective(FullObservation(shape), wrap(X), alpha=alpha)
    assert type(objective) is FullObjective
    check_objective(objective, draw_factors(rng, shape, 2, symmetric))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_sampled_objective_in_single_precision(kind, symmetric, rng):
    objective = sampled(rng, kind, (5, 5), np.float32, alpha=0.3)
    assert objective.dtype == np.float32
    factors = draw_factors(rng, objective.matrix_shape, 2, symmetric, np.float32)
    check_objective(objective, factors)
    evaluation = objective.evaluate(factors)
    assert objective.gradient(evaluation).dtype == np.float32
    assert objective.curvature(evaluation)(factors).dtype == np.float32
    assert objective.ray(evaluation, factors).advance(0.5).factors.dtype == np.float32


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    "wrap", [np.asarray, sparse.csr_array, sparse.csc_array, aslinearoperator]
)
def test_full_objective_in_single_precision(wrap, symmetric, rng):
    X = wrap(rng.standard_normal((5, 5)).astype(np.float32))
    objective = FullObjective(X, as_penalty(0.3))
    assert objective.dtype == np.float32
    factors = draw_factors(rng, (5, 5), 2, symmetric, np.float32)
    check_objective(objective, factors)
    assert objective.gradient(objective.evaluate(factors)).dtype == np.float32


@settings(max_examples=30)
@given(
    n_rows=st.integers(1, 6),
    n_columns=st.integers(1, 6),
    rank=st.integers(1, 7),
    kind=st.sampled_from([dense, sparse_rows, entries, rank_one]),
    alpha=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_and_rank(n_rows, n_columns, rank, kind, alpha, seed):
    rng = np.random.default_rng(seed)
    objective = sampled(rng, kind, (n_rows, n_columns), alpha=alpha)
    factors = draw_factors(rng, (n_rows, n_columns), rank, False)
    check_objective(objective, factors, seed)


@pytest.mark.parametrize("symmetric", [False, True])
def test_at_the_solution_and_at_zero(symmetric, rng):
    """Where the residual, or the model, vanishes."""
    truth = draw_factors(rng, (5, 5), 2, symmetric)
    measurements = dense(rng, (5, 5), np.float64)
    y = measurements.forward(truth.left, truth.right)
    for objective in (
        make_objective(measurements, y),
        FullObjective(truth.matrix()),
    ):
        check_objective(objective, truth)
        check_objective(objective, truth.times(0.0))
        evaluation = objective.evaluate(truth)
        assert evaluation.loss <= 1e-14 * objective.data_norm**2
        assert objective.gradient(evaluation).inner(truth) == pytest.approx(
            0, abs=1e-12 * objective.data_norm**2
        )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contracted_measurements(symmetric, dtype, rng):
    """Large enough to be contracted, and in single precision where compiled."""
    measurements = DenseMeasurements(rng.standard_normal((500, 400)).astype(dtype))
    assert measurements.contracts(3)
    assert check_measurements(measurements, 3) < 1e4 * np.finfo(dtype).eps
    objective = make_objective(measurements, rng.standard_normal(500))
    check_objective(objective, draw_factors(rng, (20, 20), 3, symmetric, dtype))


@pytest.mark.parametrize("from_zero", [False, True])
@pytest.mark.parametrize("keeps_adjoint", [False, True])
def test_the_gradient_in_the_matrix_grows_along(from_zero, keeps_adjoint, rng):
    measurements = dense(rng, (6, 5), np.float64)
    measurements.keeps_adjoint = keeps_adjoint
    objective = make_objective(measurements, rng.standard_normal(len(measurements)))
    factors = draw_factors(rng, (6, 5), 2, False)
    evaluation = None if from_zero else objective.evaluate(factors)
    if from_zero:
        factors = factors.times(0.0)
        objective.matrix_gradient_at_zero()
    else:
        objective.matrix_gradient(evaluation)
    u, v = (np.linalg.qr(rng.standard_normal((n, 1)))[0] for n in (6, 5))
    growth = objective.growth(evaluation, u, v)
    grown = factors.grown(u, np.array([growth.length]), v)
    there = growth.arrive(grown)
    assert ("S" in there.kept) == keeps_adjoint
    expected = objective.matrix_gradient(objective.evaluate(grown))
    np.testing.assert_allclose(
        objective.matrix_gradient(there), expected, rtol=0, atol=1e-12
    )


def test_gauss_newton_is_the_hessian_at_zero_residual(rng):
    """There the quartic's second-order term is half of ``<d, H d>``."""
    truth, direction = (draw_factors(rng, (5, 4), 2, False) for _ in range(2))
    measurements = dense(rng, (5, 4), np.float64)
    objective = make_objective(
        measurements, measurements.forward(truth.left, truth.right)
    )
    evaluation = objective.evaluate(truth)
    product = objective.curvature(evaluation)(direction)
    ray = objective.ray(evaluation, direction)
    assert direction.inner(product) == pytest.approx(2 * ray.coefficients[2], rel=1e-10)


def test_squared_loss_through_the_general_branch(rng):
    """A loss object that only behaves like the squared one: the same numbers."""

    class Disguised(LogCosh):
        def value(self, z, y):
            return 0.5 * float(np.sum((z - y) ** 2))

        def gradient(self, z, y):
            return z - y

        def curvature(self, z, y):
            return np.ones_like(z)

    measurements = dense(rng, (5, 4), np.float64)
    y = rng.standard_normal(30)
    factors, direction = (draw_factors(rng, (5, 4), 2, False) for _ in range(2))
    plain = make_objective(measurements, y, alpha=0.2)
    general = make_objective(measurements, y, Disguised(), 0.2)
    assert general.data_norm == pytest.approx(plain.data_norm, rel=1e-12)
    at = [objective.evaluate(factors) for objective in (plain, general)]
    assert at[1].value == pytest.approx(at[0].value, rel=1e-12)
    rays = [
        objective.ray(evaluation, direction)
        for objective, evaluation in zip((plain, general), at, strict=True)
    ]
    for t in (0.0, 0.5, -2.0):
        assert rays[1].value(t) == pytest.approx(rays[0].value(t), rel=1e-11)
    downhill = plain.gradient(at[0]).times(-1.0)
    rays = [
        objective.ray(evaluation, downhill)
        for objective, evaluation in zip((plain, general), at, strict=True)
    ]
    steps = [ray.minimizer() for ray in rays]
    assert rays[0].value(steps[0]) <= rays[1].value(steps[1]) * (1 + 1e-12)
    # Nine tenths of the slope are gone, at least, so 99 % of the decrease is there.
    decreases = [at[0].value - rays[0].value(step) for step in steps]
    assert decreases[1] > 0.9 * decreases[0]


# --------------------------------------------------------------------------------------
# The same problem in different forms
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_full_objective_is_the_sampled_one_over_all_entries(
    symmetric, alpha, normalise, rng
):
    shape = (5, 5) if symmetric else (6, 4)
    X = rng.standard_normal(shape)
    rows, columns = np.divmod(np.arange(X.size), shape[1])
    by_entries = make_objective(
        EntryMeasurements(rows, columns, shape), X.ravel(), alpha=alpha
    )
    whole = make_objective(FullObservation(shape), X, alpha=alpha)
    parts = FullObservation(shape), X.ravel(), SquaredLoss(), as_penalty(alpha)
    flat = SampledObjective(*parts)
    factors, direction = (draw_factors(rng, shape, 2, symmetric) for _ in range(2))
    seen = []
    for objective in (by_entries, whole, flat):
        if normalise:
            objective, unit = objective.normalised()
            assert unit == pytest.approx(np.linalg.norm(X), rel=1e-14)
        evaluation = objective.evaluate(factors)
        gradient = objective.gradient(evaluation)
        product = objective.curvature(evaluation)(direction)
        identity = np.eye(shape[1])
        u, v = (
            b[:, 0] / np.linalg.norm(b[:, 0]) for b in (factors.left, factors.right)
        )
        seen.append(
            [
                objective.data_norm,
                evaluation.loss,
                evaluation.value,
                evaluation.relative_residual,
                objective.noise_share(0.7),
                *gradient.blocks,
                *product.blocks,
                objective.ray(evaluation, direction).coefficients,
                objective.matrix_gradient(evaluation) @ identity,
                objective.matrix_gradient_at_zero() @ identity,
                objective.growth(evaluation, u[:, None], v[:, None]).length,
                objective.growth(None, u[:, None], -v[:, None]).length,
                objective.growth(None, u[:, None], v[:, None]).length,
            ]
        )
    for other in seen[1:]:
        for found, expected in zip(other, seen[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("wrap", [sparse.csr_array, sparse.csc_array, aslinearoperator])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_forms_of_complete_data_agree(wrap, dtype, rng):
    X = (5 * rng.standard_normal((6, 4))).astype(dtype)
    X[rng.random(X.shape) < 0.4] = 0
    work = np.float32 if dtype is np.float32 else np.float64
    factors = draw_factors(rng, (6, 4), 2, False, work)
    found, expected = FullObjective(wrap(X)), FullObjective(X)
    tolerance = 1e3 * float(np.finfo(work).eps)
    assert found.dtype == work
    assert found.data_norm == pytest.approx(np.linalg.norm(X), rel=tolerance)
    evaluations = [objective.evaluate(factors) for objective in (found, expected)]
    assert evaluations[0].value == pytest.approx(evaluations[1].value, rel=tolerance)
    for block, other in zip(
        found.gradient(evaluations[0]).blocks,
        expected.gradient(evaluations[1]).blocks,
        strict=True,
    ):
        np.testing.assert_allclose(block, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.coo_array, sparse.csc_array])
def test_cells_stored_twice_are_summed(kind, rng):
    """As SciPy does everywhere; the norm of the stored numbers is another one."""
    rows, columns = [0, 0, 1, 2, 2], [1, 1, 0, 2, 2]
    values = np.array([1.0, 4.0, 2.0, 3.0, -1.0])
    twice = sparse.coo_array((values, (rows, columns)), shape=(3, 4))
    if kind is not sparse.coo_array:
        # Unlike `tocsr`, this keeps the duplicates.
        lines = np.array(rows if kind is sparse.csr_array else columns)
        others = np.array(columns if kind is sparse.csr_array else rows)
        order = np.argsort(lines, kind="stable")
        size = 3 if kind is sparse.csr_array else 4
        starts = np.searchsorted(lines[order], np.arange(size + 1))
        twice = kind((values[order], others[order], starts), shape=(3, 4))
    assert twice.nnz == 5
    X = twice.toarray()
    objective, expected = FullObjective(twice), FullObjective(X)
    factors = draw_factors(rng, (3, 4), 2, False)
    assert objective.data_norm == pytest.approx(np.linalg.norm(X), rel=1e-14)
    assert objective.evaluate(factors).loss == pytest.approx(
        expected.evaluate(factors).loss, rel=1e-12
    )
    assert twice.nnz == 5


def test_norm_of_an_operator_wider_than_its_blocks(rng):
    X = rng.standard_normal((3, 600))
    objective = FullObjective(aslinearoperator(X))
    assert objective.data_norm == pytest.approx(np.linalg.norm(X), rel=1e-12)


def test_subset_is_weighted_like_a_problem_of_its_own(rng):
    objective = sampled(rng, entries, (5, 4), alpha=0.2)
    index = np.array([3, 0, 7, 7])
    subset = objective.subset(index)
    factors = draw_factors(rng, (5, 4), 2, False)
    residual = objective.evaluate(factors).state - objective.targets
    expected = 0.5 * np.mean(residual[index] ** 2) / objective.measurements.mean_square
    assert subset.evaluate(factors).loss == pytest.approx(expected, rel=1e-12)
    assert subset.penalty_of_sum == objective.penalty_of_sum
    check_objective(subset, factors)


def test_sparse_data_are_never_made_dense(rng):
    X = sparse.random_array(
        (10**5, 10**5), density=1e-8, random_state=rng, format="csr"
    )
    objective = FullObjective(X, as_penalty(0.1))
    factors = draw_factors(rng, (10**5, 10**5), 2, False)
    evaluation = objective.evaluate(factors)
    direction = objective.gradient(evaluation)
    objective.ray(evaluation, direction).advance(0.1)
    objective.matrix_gradient(evaluation) @ factors.right


# --------------------------------------------------------------------------------------
# Normalisation
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "rank_one", "operator"])
def test_value_is_half_the_squared_error(kind, rng):
    """For Gaussian measurements of any size: ``f ~ ||M - M*||^2 / 2``."""
    shape, n = (6, 5), 6000
    truth, point = (draw_factors(rng, shape, 2, False) for _ in range(2))
    if kind == "dense":
        measurements = DenseMeasurements(37.0 * rng.standard_normal((n, *shape)))
    elif kind == "rank_one":
        measurements = RankOneMeasurements(
            rng.standard_normal((n, 6)), 0.01 * rng.standard_normal((n, 5))
        )
    else:
        stack = 37.0 * rng.standard_normal((n, 30))
        measurements = LinearOperatorMeasurements(aslinearoperator(stack), shape)
    y = measurements.forward(truth.left, truth.right)
    objective = make_objective(measurements, y)
    size = np.linalg.norm(truth.matrix())
    expected = 0.5 * np.linalg.norm(point.matrix() - truth.matrix()) ** 2
    # An operator's mean square is estimated from 8 probes of 30 numbers each.
    tolerance = 0.6 if kind == "operator" else 0.25
    assert objective.evaluate(point).value == pytest.approx(expected, rel=tolerance)
    assert objective.data_norm == pytest.approx(size, rel=tolerance)
    gradient = objective.matrix_gradient_at_zero() @ np.eye(5)
    assert np.linalg.norm(gradient + truth.matrix()) < (0.1 + tolerance) * size


def test_value_over_all_entries_is_exactly_half_the_squared_error(rng):
    truth, point = (draw_factors(rng, (6, 5), 2, False) for _ in range(2))
    objective = FullObjective(truth.matrix())
    expected = 0.5 * np.linalg.norm(point.matrix() - truth.matrix()) ** 2
    assert objective.evaluate(point).value == pytest.approx(expected, rel=1e-12)
    assert objective.evaluate(point).relative_residual == pytest.approx(
        np.sqrt(2 * expected) / np.linalg.norm(truth.matrix()), rel=1e-12
    )


@settings(max_examples=40)
@given(
    exponent=st.integers(-100, 100),
    measurement_exponent=st.integers(-50, 50),
    kind=st.sampled_from(["full", "entries", "dense"]),
    symmetric=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_scale(exponent, measurement_exponent, kind, symmetric, seed):
    """Data times c: values times c squared, gradients times c, no under/overflow."""
    rng = np.random.default_rng(seed)
    c, a = 10.0**exponent, 10.0**measurement_exponent
    X = rng.standard_normal((5, 5))
    stack = rng.standard_normal((30, 5, 5))
    factors, direction = (draw_factors(rng, (5, 5), 2, symmetric) for _ in range(2))

    def problem(c, a):
        if kind == "full":
            return FullObjective(c * X, as_penalty(0.1 * c))
        if kind == "entries":
            a, measurements = 1.0, entries(np.random.default_rng(seed), (5, 5), float)
            return make_objective(measurements, c * X.ravel()[:1].repeat(30), None, c)
        y = np.tensordot(stack, X)
        return make_objective(
            DenseMeasurements(a * stack), c * (a * y), alpha=0.1 * c * a * a
        )

    objective, reference = problem(c, a), problem(1.0, 1.0)
    assert objective.data_norm == pytest.approx(c * reference.data_norm, rel=1e-12)
    at, expected = (
        o.evaluate(f) for o, f in ((objective, factors.scaled(c)), (reference, factors))
    )
    assert at.value / c / c == pytest.approx(expected.value, rel=1e-11)
    assert at.relative_residual == pytest.approx(expected.relative_residual, rel=1e-11)

    unit_scale, unit = objective.normalised()
    reference, reference_unit = reference.normalised()
    assert unit == pytest.approx(c * reference_unit, rel=1e-12)
    assert unit_scale.data_norm == pytest.approx(1, rel=1e-12)
    at, expected = (o.evaluate(factors) for o in (unit_scale, reference))
    assert at.value == pytest.approx(expected.value, rel=1e-11)
    for block, other in zip(
        unit_scale.gradient(at).blocks, reference.gradient(expected).blocks, strict=True
    ):
        np.testing.assert_allclose(block, other, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(
        unit_scale.ray(at, direction).coefficients,
        reference.ray(expected, direction).coefficients,
        rtol=1e-9,
        atol=1e-10,
    )


@pytest.mark.parametrize("exponent", [-100, -50, 50, 100])
def test_double_targets_of_single_measurements_keep_their_scale(exponent):
    """The targets must not be rounded to float32 before they are normalised."""
    rng = np.random.default_rng(0)
    measurements = dense(rng, (5, 4), np.float32)
    y = rng.standard_normal(30)
    scaled, unit = make_objective(measurements, 10.0**exponent * y).normalised()
    plain, plain_unit = make_objective(measurements, y).normalised()
    assert unit == pytest.approx(10.0**exponent * plain_unit, rel=1e-5)
    np.testing.assert_allclose(scaled.targets, plain.targets, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-15, 1e-10, 1e10, 1e15])
def test_small_and_large_measurements_in_single_precision(scale):
    """``weight`` is the square of their inverse and may not fit into float32."""
    rng = np.random.default_rng(0)
    factors = draw_factors(rng, (5, 4), 2, False, np.float32)
    stack = rng.standard_normal((30, 5, 4)).astype(np.float32)
    y = rng.standard_normal(30).astype(np.float32)
    gradients = []
    for c in (1.0, scale):
        objective = make_objective(
            DenseMeasurements(stack * np.float32(c)), y * np.float32(c)
        )
        gradients.append(objective.gradient(objective.evaluate(factors)))
    for block, expected in zip(gradients[1].blocks, gradients[0].blocks, strict=True):
        np.testing.assert_allclose(block, expected, rtol=1e-3, atol=1e-4)


def test_noise_share_is_what_noise_adds(rng):
    truth = draw_factors(rng, (6, 5), 2, False)
    measurements = DenseMeasurements(3 * rng.standard_normal((4000, 6, 5)))
    y = measurements.forward(truth.left, truth.right)
    objective = make_objective(measurements, y + 0.5 * rng.standard_normal(4000))
    loss = objective.evaluate(truth).loss
    assert objective.noise_share(0.25) == pytest.approx(2 * loss, rel=0.1)
    full = FullObjective(truth.matrix() + 0.5 * rng.standard_normal((6, 5)))
    assert full.noise_share(0.25) == pytest.approx(0.25 * 30)


# --------------------------------------------------------------------------------------
# Growth
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1e3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["full", dense, entries])
@pytest.mark.parametrize("from_zero", [False, True])
def test_growth_is_the_minimiser(kind, symmetric, alpha, from_zero, rng):
    shape = (5, 5) if symmetric else (5, 4)
    if kind == "full":
        objective: Objective = FullObjective(
            3 * rng.standard_normal(shape), as_penalty(alpha)
        )
    else:
        objective = sampled(rng, kind, shape, alpha=alpha)
    factors = draw_factors(rng, shape, 1, symmetric)
    factors = factors.times(0.0) if from_zero else factors
    u = rng.standard_normal((shape[0], 1))
    v = u if symmetric else rng.standard_normal((shape[1], 1))
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    evaluation = objective.evaluate(factors)
    for sign in (1, -1):
        if symmetric and sign < 0:
            continue
        growth = objective.growth(None if from_zero else evaluation, sign * u, v)
        size = growth.length
        assert np.isfinite(size)
        assert size >= 0
        best = minimize_scalar(
            lambda t, sign=sign: (
                objective.evaluate(factors.grown(sign * u, np.array([t]), v)).value
                if not symmetric
                else objective.evaluate(factors.grown(u, np.array([t]), u)).value
            ),
            bounds=(0, 10 * (size + objective.data_norm)),
            method="bounded",
            options={"xatol": 1e-10},
        ).x
        assert size == pytest.approx(best, rel=1e-5, abs=1e-4 * objective.data_norm)
        there = factors.grown(sign * u, np.array([size]), v)
        arrived, expected = growth.arrive(there), objective.evaluate(there)
        assert arrived.factors is there
        assert arrived.value == pytest.approx(expected.value, rel=1e-12)
        # And what is known there.
        for found, block in zip(
            objective.gradient(arrived).blocks,
            objective.gradient(expected).blocks,
            strict=True,
        ):
            close = 1e-12 * objective.data_norm
            np.testing.assert_allclose(found, block, rtol=1e-9, atol=close)


# --------------------------------------------------------------------------------------
# Edges and errors
# --------------------------------------------------------------------------------------


def test_targets_of_wrong_length():
    measurements = entries(np.random.default_rng(0), (5, 4), np.float64)
    with pytest.raises(ValueError, match=r"y has 3 values for 30 measurements"):
        make_objective(measurements, np.ones(3))


def test_complete_data_of_wrong_shape():
    with pytest.raises(ValueError, match=r"\(3, 4\)|\(4, 3\)"):
        make_objective(FullObservation((4, 3)), np.ones((3, 4)))


@pytest.mark.parametrize("kind", [dense, entries, "full"])
def test_all_targets_zero(kind):
    rng = np.random.default_rng(0)
    if kind == "full":
        objective: Objective = FullObjective(np.zeros((5, 4)))
    else:
        objective = make_objective(kind(rng, (5, 4), np.float64), np.zeros(30))
    assert objective.data_norm == 0
    same, unit = objective.normalised()
    assert (same, unit) == (objective, 1.0)
    factors = draw_factors(rng, (5, 4), 2, False)
    assert objective.evaluate(factors).value > 0
    assert objective.evaluate(factors.times(0.0)).relative_residual == 0
    check_objective(objective, factors)


def test_measurements_that_are_all_zero():
    objective = make_objective(DenseMeasurements(np.zeros((3, 2, 2))), np.ones(3))
    factors = draw_factors(np.random.default_rng(0), (2, 2), 1, False)
    evaluation = objective.evaluate(factors)
    assert np.isfinite(evaluation.value)
    assert objective.gradient(evaluation).inner(factors) == 0


def test_evaluation_belongs_to_its_point(rng):
    """Advancing along a ray leaves the evaluation it started from alone."""
    objective = sampled(rng, dense, (5, 4))
    evaluation = objective.evaluate(draw_factors(rng, (5, 4), 2, False))
    state, value = evaluation.state.copy(), evaluation.value
    ray = objective.ray(evaluation, objective.gradient(evaluation).times(-1.0))
    ray.advance(0.5)
    objective.gradient(evaluation)
    np.testing.assert_array_equal(evaluation.state, state)
    assert evaluation.value == value


def test_targets_are_not_modified(rng):
    measurements = dense(rng, (5, 4), np.float64)
    y = rng.standard_normal(30)
    before = y.copy()
    objective, _ = make_objective(measurements, y).normalised()
    check_objective(objective, draw_factors(rng, (5, 4), 2, False))
    np.testing.assert_array_equal(y, before)


# --------------------------------------------------------------------------------------
# The quartic
# --------------------------------------------------------------------------------------


def advance_nowhere(t):
    raise AssertionError("the minimiser needs no evaluation")


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 8),
    sizes=st.tuples(st.integers(-12, 2), st.integers(-6, 6), st.integers(-6, 6)),
)
def test_minimiser_of_the_quartic(seed, n, sizes):
    """Half the squared norm of ``r0 + t r1 + t^2 r2``: no point is better."""
    r = np.random.default_rng(seed).standard_normal((3, n))
    r0, r1, r2 = r * 10.0 ** np.array(sizes)[:, None]
    coefficients = np.array(
        [r0 @ r0, 2 * r0 @ r1, r1 @ r1 + 2 * r0 @ r2, 2 * r1 @ r2, r2 @ r2]
    )
    ray = Quartic(0.5 * coefficients, advance_nowhere)
    step = ray.minimizer()
    # Steps of every size, on both sides, and around the one found.
    grid = 10.0 ** np.linspace(-20, 20, 4001)
    grid = np.concatenate([[0.0], grid, -grid, step * np.linspace(0.5, 1.5, 101)])
    # From the residual and not from the coefficients, which cancel near a zero.
    t = np.append(step, grid)[:, None]
    values = 0.5 * np.sum((r0 + t * (r1 + t * r2)) ** 2, axis=1)
    best = np.min(values)
    # A second zero, at -r1 / r2 when the two are parallel, is as good up to rounding.
    rounding = 1e-14 * np.linalg.norm(r1) ** 2 / np.linalg.norm(r2)
    allowed = 1e-6 * (values[1] - best) + 1e-14 * best + rounding**2
    assert values[0] <= best + allowed


def test_quartic_values():
    ray = Quartic(np.array([1.0, -2.0, 0.5, 0.25, 0.125]), advance_nowhere)
    for t in (-1.0, 0.0, 0.5, 3.0):
        expected = 1 - 2 * t + 0.5 * t**2 + 0.25 * t**3 + 0.125 * t**4
        assert ray.value(t) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("coefficients", "step"),
    [
        ([1, -2, 1, 0, 0], 1.0),  # a parabola
        ([1, 0, -2, 0, 1], None),  # two minima, both at distance 1
        ([1, -0.1, -2, 0, 1], 1.0125),  # the deeper of two
        ([1, 0, 1, 0, 1], 0.0),
        ([1, 0, 0, 0, 0], 0.0),
        ([0, 0, 0, 0, 0], 0.0),
        ([1, -4, 6, -4, 1], 1.0),  # fourfold root
        ([np.nan, 1, 1, 1, 1], 0.0),
        ([1, np.inf, 1, 1, 1], 0.0),
        ([1, -2, 1, 0, 1e-320], 1.0),  # a leading coefficient that underflows
        ([1, -2, 1, 1e-310, 1e-320], 1.0),
        ([1e-300, -2e-300, 1e-300, 0, 0], 1.0),
        ([1e300, -2e300, 1e300, 0, 0], 1.0),
    ],
)
def test_minimiser_in_special_cases(coefficients, step):
    found = Quartic(np.array(coefficients, dtype=float), advance_nowhere).minimizer()
    if step is None:
        assert abs(found) == pytest.approx(1.0, rel=1e-6)
    else:
        assert found == pytest.approx(step, rel=1e-3, abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30))
def test_rounding_has_no_minimiser(seed, n):
    """With ``r2 = eps r1`` a second minimum lies near ``-1 / eps``, low in theory."""
    r0, r1 = np.random.default_rng(seed).standard_normal((2, n))
    r2 = 1e-17 * r1
    coefficients = np.array(
        [r0 @ r0, 2 * r0 @ r1, r1 @ r1 + 2 * r0 @ r2, 2 * r1 @ r2, r2 @ r2]
    )
    step = Quartic(0.5 * coefficients, advance_nowhere).minimizer()
    assert step == pytest.approx(-(r0 @ r1) / (r1 @ r1), rel=1e-6, abs=1e-12)


def test_one_column(global_random_seed):
    """Where the fit is linear in all but the scale."""
    rng = np.random.default_rng(global_random_seed)
    for _ in range(50):
        A, y = rng.uniform(size=(20, 3)), rng.integers(0, 2, 20).astype(float)
        objective = make_objective(DenseMeasurements(A, (3, 1)), y)
        result = rank_path(objective, 1, early_stopping=False)
        assert result.converged
        best = np.linalg.lstsq(A, y, rcond=None)[0]
        np.testing.assert_allclose(result.factors.matrix()[:, 0], best, atol=1e-6)


# --------------------------------------------------------------------------------------
# check_objective finds what is wrong
# --------------------------------------------------------------------------------------


class WrongGradient(SampledObjective):
    def gradient(self, evaluation):
        return super().gradient(evaluation).times(1.001)


class FlatterThanItSays(SummedLoss):
    name = "flatter than it says"
    curvature_bound = 1.0
    homogeneous = True

    def pointwise(self, z, y):
        return 0.5 * (z - y) ** 2

    def gradient(self, z, y):
        return 0.9 * (z - y)

    def curvature(self, z, y):
        return np.ones_like(z)


class WrongEverywhere(SampledObjective):
    """Gradient and chain rule agree, and both are too small."""

    def __init__(self, measurements, targets, loss, penalty):
        super().__init__(measurements, targets, FlatterThanItSays(), penalty)


class WrongRay(SampledObjective):
    def ray(self, evaluation, direction):
        ray = super().ray(evaluation, direction)
        ray.coefficients[3] *= 1.01
        return ray


class StalePredictions(SampledObjective):
    def ray(self, evaluation, direction):
        ray = super().ray(evaluation, direction)

        def stale(t):
            return replace(ray.advance(t), state=evaluation.state, kept={})

        return Quartic(ray.coefficients, stale)


class WrongCurvature(SampledObjective):
    def curvature(self, evaluation):
        product = super().curvature(evaluation)
        return lambda direction: product(direction).times(1.01)


class Lopsided(SampledObjective):
    def curvature(self, evaluation):
        product = super().curvature(evaluation)
        n = evaluation.factors.left.shape[0]
        weights = np.linspace(1, 2, n)[:, None]

        def lopsided(direction):
            left, right = product(direction).blocks
            return FactorPair(weights * left, right)

        return lopsided


class Indefinite(SampledObjective):
    def curvature(self, evaluation):
        product = super().curvature(evaluation)
        return lambda direction: product(direction).times(-1.0)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (WrongGradient, r"WrongGradient: block 0 of gradient against the chain rule"),
        (WrongEverywhere, r"falls with the power 1\.0\d of the step"),
        (WrongRay, r"ray\.value"),
        (StalePredictions, r"gradient after ray\.advance"),
        (WrongCurvature, r"f''\(0\)"),
        (Lopsided, r"<d, H e> against <H d, e>"),
        (Indefinite, r"not positive semidefinite"),
    ],
)
def test_check_objective_finds(kind, sentence, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    measurements = dense(rng, (5, 4), np.float64)
    broken = kind(measurements, rng.standard_normal(30), SquaredLoss(), as_penalty(0.1))
    factors = draw_factors(rng, (5, 4), 2, False)
    with pytest.raises(AssertionError, match=sentence):
        check_objective(broken, factors, global_random_seed)
