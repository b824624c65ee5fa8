"""Exact block steps: monotone, least squares in each block, and they recover."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.initialization import nystrom, random, spectral
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
    MultiOutputMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
    as_measurements,
)
from skprecgd.objective import make_objective
from skprecgd.optim import Status, minimize
from skprecgd.optim.directions import Alternating, GaussNewton, Local, solve_block
from skprecgd.optim.metric import Metric

SHAPE = (7, 6)
BLOCKS = ["alternating", "alternating-scaledgd"]


def kinds(rng):
    """Overdetermined measurements of a 7 x 6 matrix of every kind."""
    stack = rng.standard_normal((90, *SHAPE))
    thinned = np.where(rng.random((90, 42)) < 0.5, 0.0, stack.reshape(90, 42))
    repeated = rng.integers(0, SHAPE, size=(90, 2))
    samples = MultiOutputMeasurements(rng.standard_normal((15, 7)), 6)
    return {
        "dense": DenseMeasurements(stack),
        "sparse": SparseMeasurements(as_csr(thinned), SHAPE),
        "entries": EntryMeasurements(*repeated.T, SHAPE),
        "rank one": RankOneMeasurements(stack[:, :, 0], stack[:, 0, :]),
        "full": FullObservation(SHAPE),
        "outputs": samples,
        "some outputs": samples[rng.permutation(90)[:70]],
    }


def as_csr(rows):
    from scipy import sparse

    return sparse.csr_array(rows)


KINDS = list(kinds(np.random.default_rng(0)))


def problem(kind, seed, alpha=0.0):
    rng = np.random.default_rng(seed)
    measurements = kinds(rng)[kind]
    y = rng.standard_normal(measurements.n_measurements)
    if kind == "full":
        y = y.reshape(SHAPE)
    objective = make_objective(measurements, y, alpha=alpha)
    start = FactorPair(rng.standard_normal((7, 2)), rng.standard_normal((6, 2)))
    return objective, start


def block_optimum(objective, factors, block):
    """The block's least squares by the normal equations, column by column."""
    size = factors.blocks[block].size
    at_zero = FactorPair(*(b * (i != block) for i, b in enumerate(factors.blocks)))

    def gradient(point):
        full = objective.gradient(objective.evaluate(point))
        return full.blocks[block].ravel()

    constant = gradient(at_zero)
    columns = []
    for unit in np.eye(size):
        blocks = list(at_zero.blocks)
        blocks[block] = unit.reshape(factors.blocks[block].shape)
        columns.append(gradient(FactorPair(*blocks)) - constant)
    solution = np.linalg.lstsq(np.array(columns).T, -constant, rcond=1e-12)[0]
    return solution.reshape(factors.blocks[block].shape)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_step_is_the_least_squares_solution(
    kind, block, alpha, global_random_seed
):
    objective, start = problem(kind, global_random_seed, alpha)
    evaluation = objective.evaluate(start)
    local = Local(objective, evaluation, objective.gradient(evaluation), Metric(start))
    move = solve_block(local, block)
    assert not np.any(move.blocks[1 - block])
    expected = block_optimum(objective, start, block)
    found = start.moved(move, 1.0).blocks[block]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_larger_gradient_first_then_in_turn(kind, global_random_seed):
    objective, start = problem(kind, global_random_seed)
    moved = []
    factors = start
    for _ in range(4):
        result = minimize(objective, factors, solver="alternating", max_iter=1, tol=0)
        changes = [
            np.linalg.norm(a - b)
            for a, b in zip(result.factors.blocks, factors.blocks, strict=True)
        ]
        assert min(changes) == pytest.approx(0, abs=1e-12)
        moved.append(int(np.argmax(changes)))
        # The unit step is the exact one.
        assert result.history["step"][1] == pytest.approx(1.0, rel=1e-5)
        factors = result.factors
    assert moved in ([0, 1, 0, 1], [1, 0, 1, 0])


@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_monotone_and_ends_where_no_block_can_improve(kind, alpha, global_random_seed):
    objective, start = problem(kind, global_random_seed, alpha)
    result = minimize(objective, start, solver="alternating", tol=1e-5, max_iter=3000)
    assert result.converged
    factors = result.factors
    losses = result.history["loss"]
    if alpha == 0:
        assert np.all(np.diff(losses) <= 1e-12 * losses[0])
    value = objective.evaluate(factors).value
    for block in (0, 1):
        blocks = list(factors.blocks)
        blocks[block] = block_optimum(objective, factors, block)
        best = objective.evaluate(FactorPair(*blocks)).value
        assert value <= best * (1 + 1e-7)


@pytest.mark.parametrize("init", [spectral, nystrom, random])
@pytest.mark.parametrize("search_rank", [2, 4])
@pytest.mark.parametrize("solver", BLOCKS)
def test_sensing(solver, search_rank, init, global_random_seed):
    A, y, truth = make_matrix_sensing(
        12,
        10,
        rank=2,
        n_measurements=240,
        condition_number=5,
        random_state=global_random_seed,
    )
    objective = make_objective(as_measurements(A, (12, 10)), y)
    start = init(objective, search_rank, random_state=global_random_seed)
    result = minimize(objective, start, solver=solver, tol=1e-8, max_iter=2000)
    assert result.status in (Status.RESIDUAL, Status.STATIONARY)
    assert truth.relative_error(result.factors.matrix()) < 1e-6


def completion(seed):
    return make_matrix_completion(
        60, 50, rank=2, oversampling=5, condition_number=10, random_state=seed
    )


def test_completion_along_the_path(global_random_seed):
    X, truth = completion(global_random_seed)
    model = PrecGDFactorization(5, solver="alternating", tol=1e-8).fit(X)
    assert model.converged_
    assert model.n_components_ == 2
    assert truth.relative_error(model.left_ @ model.right_.T) < 1e-6


def test_completion_with_ridge(global_random_seed):
    """The nuclear-norm problem is convex in the matrix: one value, whatever solves."""
    X, _ = completion(global_random_seed)
    objective = make_objective(*observed_entries(X), alpha=0.5)
    values = []
    for solver in ("alternating", "gauss-newton"):
        result = minimize(objective, spectral(objective, 5), solver=solver, tol=1e-5)
        assert result.converged
        values.append(objective.evaluate(result.factors).value)
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_damping_only_helps_the_inner_iteration(kind, global_random_seed):
    objective, start = problem(kind, global_random_seed)
    evaluation = objective.evaluate(start)
    gradient = objective.gradient(evaluation)
    undamped, damped = (
        solve_block(Local(objective, evaluation, gradient, Metric(start, eta)), 1).right
        for eta in (0.0, 1.0)
    )
    np.testing.assert_allclose(undamped, damped, atol=1e-4 * np.abs(damped).max())


def test_rows_without_entries_stay_where_they_are(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((8, 2)) @ rng.standard_normal((2, 7))
    X[3] = np.nan
    X[0, 5] = np.nan
    objective = make_objective(*observed_entries(X))
    start = FactorPair(rng.standard_normal((8, 2)), rng.standard_normal((7, 2)))
    result = minimize(objective, start, solver="alternating", max_iter=9, tol=0)
    assert result.loss < objective.evaluate(start).loss
    np.testing.assert_allclose(result.factors.left[3], start.left[3], rtol=1e-14)


def test_alternating_scaledgd_with_a_unit_step_is_exact_on_complete_data(
    global_random_seed,
):
    """A*A = I, so a block's preconditioned gradient is its least-squares move."""
    objective, start = problem("full", global_random_seed)
    exact = block_optimum(objective, start, 0)
    result = minimize(
        objective,
        start,
        solver="alternating-scaledgd",
        step_size=1.0,
        max_iter=1,
        tol=0,
    )
    np.testing.assert_allclose(result.factors.left, exact, rtol=1e-9)
    np.testing.assert_allclose(result.factors.right, start.right, rtol=1e-14)


@pytest.mark.parametrize("solver", BLOCKS)
def test_a_symmetric_unknown_has_no_blocks(solver):
    A, y, _ = make_matrix_sensing(
        5, rank=1, n_measurements=40, symmetric=True, random_state=0
    )
    message = f"solver='{solver}' needs two factors; a symmetric matrix X X\\^T has one"
    with pytest.raises(ValueError, match=message):
        PrecGDMatrixSensing(2, symmetric=True, solver=solver).fit(A, y)
    objective = make_objective(as_measurements(A, (5, 5)), y)
    with pytest.raises(ValueError, match=message):
        minimize(objective, spectral(objective, 1, symmetric=True), solver=solver)


def test_gauss_newton_restricted_to_a_block_is_the_same_step(global_random_seed):
    """With one factor at zero the other's block is all there is to the Hessian."""
    objective, start = problem("dense", global_random_seed)
    start = FactorPair(np.zeros_like(start.left), start.right)
    evaluation = objective.evaluate(start)
    local = Local(
        objective, evaluation, objective.gradient(evaluation), Metric(start, 0.1)
    )
    newton = GaussNewton(forcing=1e-7)(local)
    np.testing.assert_allclose(
        newton.left, Alternating()(local).left, rtol=1e-3, atol=1e-5
    )
