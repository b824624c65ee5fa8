"""`minimize`: every solver gets there, and says truly why it stopped."""

from __future__ import annotations

import numpy as np
import pytest
from _helpers import LogCosh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd.datasets import make_low_rank, make_matrix_sensing, make_phase_retrieval
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.initialization import nystrom, random, spectral
from skprecgd.losses import Loss
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
    LinearOperatorMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
    as_measurements,
)
from skprecgd.objective import FullObjective, make_objective
from skprecgd.objective.penalty import as_penalty
from skprecgd.optim import History, Record, Status, minimize
from skprecgd.optim.directions import Conjugate, GaussNewton, Local, Steepest
from skprecgd.optim.metric import Metric
from skprecgd.optim.solvers import SOLVERS

SYMMETRIC = pytest.mark.parametrize("symmetric", [False, True], ids=["pair", "psd"])
STEPS = pytest.mark.parametrize("step_size", ["exact", "backtracking", "polyak", 0.5])
DAMPED = ["precgd", "precgd-cg", "gauss-newton"]
# Random feedback is a control that need not descend: see test_feedback.py.
DESCENDING = sorted(name for name, solver in SOLVERS.items() if solver.descends)
# Those that take a pair of factors only have no symmetric case.
FOR_BOTH = sorted(name for name, solver in SOLVERS.items() if not solver.pair_only)


def sensing(seed, symmetric=False, n_measurements=240, noise=0.0, **arguments):
    """A small problem, its objective and its truth."""
    arguments = {"rank": 2, "condition_number": 2.0, **arguments}
    A, y, truth = make_matrix_sensing(
        6,
        None if symmetric else 5,
        n_measurements=n_measurements,
        symmetric=symmetric,
        noise=noise,
        random_state=seed,
        **arguments,
    )
    return make_objective(as_measurements(A, truth.shape), y), truth


def error_of(result, truth):
    return truth.relative_error(result.factors.left, result.factors.right)


def gradient_norm(objective, factors):
    gradient = objective.gradient(objective.evaluate(factors))
    return Metric(factors).dual_norm(gradient)


# --------------------------------------------------------------------------------------
# Every solver, damping and step recovers the truth
# --------------------------------------------------------------------------------------


@STEPS
@SYMMETRIC
@pytest.mark.parametrize(
    ("solver", "damping"),
    [
        ("gd", "auto"),
        ("scaledgd", "auto"),
        *((s, d) for s in DAMPED for d in ("sqrt_loss", "dual_norm", 1e-3)),
        ("precgd", "geometric"),
        ("gauss-newton", "geometric"),
    ],
)
def test_at_the_true_rank(solver, damping, step_size, symmetric, global_random_seed):
    objective, truth = sensing(global_random_seed, symmetric)
    start = spectral(objective, 2, symmetric=symmetric)
    result = minimize(
        objective,
        start,
        solver=solver,
        damping=damping,
        step_size=step_size,
        max_iter=500,
        tol=1e-8,
    )
    assert result.status in (Status.RESIDUAL, Status.STATIONARY)
    assert result.converged
    assert error_of(result, truth) < 1e-6


@STEPS
@SYMMETRIC
@pytest.mark.parametrize("damping", ["sqrt_loss", "dual_norm"])
@pytest.mark.parametrize("solver", DAMPED)
def test_above_the_true_rank(solver, damping, step_size, symmetric, global_random_seed):
    """The case PrecGD is for: damping that follows the error keeps the rate linear."""
    objective, truth = sensing(global_random_seed, symmetric)
    result = minimize(
        objective,
        spectral(objective, 4, symmetric=symmetric),
        solver=solver,
        damping=damping,
        step_size=step_size,
        max_iter=300,
        tol=1e-8,
    )
    assert result.status in (Status.RESIDUAL, Status.STATIONARY)
    assert error_of(result, truth) < 1e-6
    assert result.factors.rank == 4


@SYMMETRIC
def test_precgd_beats_gradient_descent_above_the_rank(symmetric, global_random_seed):
    objective, truth = sensing(global_random_seed, symmetric)
    start = spectral(objective, 4, symmetric=symmetric)
    errors = {
        solver: error_of(
            minimize(objective, start, solver=solver, max_iter=80, tol=0.0), truth
        )
        for solver in ("gd", "precgd", "precgd-cg")
    }
    assert errors["precgd"] < 1e-5 * errors["gd"]
    assert errors["precgd-cg"] < 1e-5 * errors["gd"]


@pytest.mark.parametrize("init", [spectral, nystrom, random])
@SYMMETRIC
def test_from_every_start(init, symmetric, global_random_seed):
    objective, truth = sensing(global_random_seed, symmetric)
    start = init(objective, 3, symmetric=symmetric, random_state=global_random_seed)
    result = minimize(objective, start, solver="precgd-cg", max_iter=500, tol=1e-9)
    assert result.converged
    assert error_of(result, truth) < 1e-7


@pytest.mark.parametrize("kind", ["flat", "sparse", "operator", "rank_one"])
def test_kinds_of_measurements(kind, global_random_seed):
    seed = global_random_seed
    if kind == "rank_one":
        objective, truth = sensing(seed, kind="rank_one", n_measurements=300)
    else:
        objective, truth = sensing(seed)
        stack = objective.measurements.stack
        wrapped = {
            "flat": lambda: DenseMeasurements(stack, truth.shape),
            "sparse": lambda: SparseMeasurements(sparse.csr_array(stack), truth.shape),
            "operator": lambda: LinearOperatorMeasurements(
                aslinearoperator(stack), truth.shape
            ),
        }
        objective = make_objective(wrapped[kind](), objective.targets)
    result = minimize(
        objective, spectral(objective, 3), solver="precgd-cg", max_iter=500, tol=1e-9
    )
    assert result.converged
    assert error_of(result, truth) < 1e-7


def test_phase_retrieval(global_random_seed):
    A, y, truth = make_phase_retrieval(
        6, rank=1, n_measurements=200, random_state=global_random_seed
    )
    objective = make_objective(RankOneMeasurements(A), y)
    start = spectral(objective, 2, symmetric=True)
    result = minimize(objective, start, solver="precgd-cg", max_iter=500, tol=1e-9)
    assert error_of(result, truth) < 1e-6


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "gauss-newton"])
def test_completion(solver, global_random_seed):
    truth = make_low_rank(30, 25, rank=2, random_state=global_random_seed)
    cells = np.random.default_rng(global_random_seed).permutation(750)[:600]
    rows, columns = np.divmod(cells, 25)
    measurements = EntryMeasurements(rows, columns, truth.shape)
    objective = make_objective(measurements, truth.entries(rows, columns))
    result = minimize(
        objective, spectral(objective, 2), solver=solver, max_iter=500, tol=1e-9
    )
    assert result.converged
    assert error_of(result, truth) < 1e-7


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "gauss-newton"])
@SYMMETRIC
def test_single_precision(solver, symmetric, global_random_seed):
    objective, truth = sensing(global_random_seed, symmetric, dtype=np.float32)
    assert objective.dtype == np.float32
    start = spectral(objective, 3, symmetric=symmetric)
    result = minimize(objective, start, solver=solver, max_iter=500, tol=1e-5)
    assert result.converged
    assert result.factors.dtype == np.float32
    assert error_of(result, truth) < 1e-4


# --------------------------------------------------------------------------------------
# Complete data: iterations with a closed form
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [2, 4])
def test_heron(rank, global_random_seed):
    """ScaledGD with step 1/2 on a PSD matrix is Heron's iteration: quadratic."""
    truth = make_low_rank(
        8,
        rank=2,
        symmetric=True,
        condition_number=10.0,
        random_state=global_random_seed,
    )
    objective = FullObjective(truth.matrix)
    # A sketch that misses a direction makes the first step overshoot by far: Heron
    # comes back from that by halving, but `minimize` calls it divergence before.
    states = np.random.RandomState(global_random_seed)
    start = nystrom(objective, rank, symmetric=True, random_state=states)
    while start.singular_values()[1] < 1e-3 * start.singular_values()[0]:
        start = nystrom(objective, rank, symmetric=True, random_state=states)
    errors = []
    for n in range(1, 25):
        result = minimize(
            objective, start, solver="scaledgd", step_size=0.5, max_iter=n, tol=1e-13
        )
        errors.append(error_of(result, truth))
    assert errors[-1] < 1e-11
    before, after = np.array(errors[:-1]), np.array(errors[1:])
    fast = (before < 0.05) & (before > 1e-7)
    assert np.any(fast)
    # e' = e^2 / (2 (1 + e)) for each singular value, relative to that value.
    assert np.all(after[fast] <= 10 * before[fast] ** 2 + 1e-14)


@pytest.mark.parametrize("shape", [(8, 6), (6, 8), (1, 5), (5, 1)])
def test_nystrom_and_a_unit_step_are_exact(shape, global_random_seed):
    """``R = X^T L (L^T L)^-1`` with L spanning the column space: one step."""
    rank = min(2, *shape)
    truth = make_low_rank(*shape, rank=rank, random_state=global_random_seed)
    objective = FullObjective(truth.matrix)
    start = nystrom(objective, rank, random_state=global_random_seed)
    for solver in ("scaledgd", "gauss-newton"):
        result = minimize(
            objective, start, solver=solver, step_size=1.0, damping=0.0, tol=1e-6
        )
        assert result.n_iter <= 2
        assert error_of(result, truth) < 1e-11


@pytest.mark.parametrize("solver", ["precgd-cg", "gauss-newton"])
@SYMMETRIC
def test_ridge_thresholds_the_singular_values(solver, symmetric, global_random_seed):
    """The minimiser of ``||M - X||^2 / 2 + alpha ||M||_*`` is known."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((6, 6)) if symmetric else rng.standard_normal((7, 5))
    if symmetric:
        X = X @ X.T
    u, s, vt = np.linalg.svd(X, full_matrices=False)
    alpha = 0.5 * (s[2] + s[3])
    expected = (u * np.maximum(s - alpha, 0)) @ vt
    objective = FullObjective(X, as_penalty(alpha))
    start = spectral(objective, 3, symmetric=symmetric)
    result = minimize(objective, start, solver=solver, max_iter=2000, tol=1e-9)
    assert result.status is Status.STATIONARY
    error = np.linalg.norm(result.factors.matrix() - expected)
    assert error < 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "scaledgd"])
@SYMMETRIC
def test_complete_data_to_a_small_tol(solver, symmetric, global_random_seed):
    """The value cannot be told from zero below 1e-16, so it must not decide alone."""
    truth = make_low_rank(
        9, rank=2, symmetric=symmetric, random_state=global_random_seed
    )
    objective = FullObjective(truth.matrix)
    start = random(objective, 2, symmetric=symmetric, random_state=global_random_seed)
    result = minimize(objective, start, solver=solver, max_iter=500, tol=1e-12)
    assert result.converged
    assert error_of(result, truth) < 1e-10


# --------------------------------------------------------------------------------------
# Why it stopped
# --------------------------------------------------------------------------------------


def test_status_residual(global_random_seed):
    objective, _ = sensing(global_random_seed)
    result = minimize(objective, spectral(objective, 2), solver="precgd-cg", tol=1e-4)
    assert result.status is Status.RESIDUAL
    assert result.relative_residual <= 1e-4
    left = f"{result.relative_residual:.2g}"
    assert result.message == f"{Status.RESIDUAL.value} Relative residual {left}."


@pytest.mark.parametrize("solver", DESCENDING)
def test_status_stationary(solver, global_random_seed):
    """With noise the residual stays, the gradient goes."""
    objective, _ = sensing(global_random_seed, noise=0.5)
    result = minimize(objective, spectral(objective, 2), solver=solver, tol=1e-5)
    assert result.status is Status.STATIONARY
    assert result.relative_residual > 0.01
    assert result.gradient_norm <= 1.0001e-5 * objective.data_norm


@pytest.mark.parametrize("max_iter", [0, 1, 7])
def test_status_max_iter(max_iter, global_random_seed):
    objective, _ = sensing(global_random_seed)
    result = minimize(objective, spectral(objective, 2), max_iter=max_iter, tol=1e-12)
    assert result.status is Status.MAX_ITER
    assert not result.converged
    assert len(result.history) == max_iter + 1
    assert result.n_iter == max(1, max_iter)


def test_tol_zero_runs_on(global_random_seed):
    objective, _ = sensing(global_random_seed)
    result = minimize(objective, spectral(objective, 2), tol=0.0, max_iter=150)
    assert result.n_iter == 150
    assert result.status is Status.MAX_ITER


@pytest.mark.parametrize("step_size", [10.0, 1e3, 1e20, 1e160])
@pytest.mark.parametrize(
    ("solver", "symmetric"),
    [*((s, False) for s in sorted(SOLVERS)), *((s, True) for s in FOR_BOTH)],
)
def test_status_diverged(solver, symmetric, step_size, global_random_seed):
    objective, _ = sensing(global_random_seed, symmetric)
    start = spectral(objective, 2, symmetric=symmetric)
    result = minimize(
        objective,
        start,
        solver=solver,
        step_size=step_size,
        random_state=global_random_seed,
    )
    assert result.status is Status.DIVERGED
    assert not result.converged
    # The best iterate is kept: the start, unless a step by random feedback happened to
    # lead downhill first.
    losses = result.history["loss"]
    assert result.loss == np.nanmin(losses)
    if result.loss < losses[0]:
        assert solver.startswith("feedback")
        return
    np.testing.assert_allclose(
        result.factors.matrix(), start.matrix(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("solver", ["gd", "precgd", "precgd-cg", "gauss-newton"])
@pytest.mark.parametrize("step_size", [2.0, 3.0])
def test_a_step_that_does_not_converge_is_not_called_converged(
    solver, step_size, global_random_seed
):
    """Too large to converge, too small to blow up: it wanders about."""
    objective, truth = sensing(global_random_seed)
    start = spectral(objective, 4)
    result = minimize(objective, start, solver=solver, step_size=step_size, max_iter=60)
    if error_of(result, truth) > 1e-3:
        assert not result.converged, result.status


@pytest.mark.parametrize(
    ("solver", "damping"),
    [("gd", "auto"), ("precgd", 1e-3), ("precgd-cg", 1e-3), ("precgd-cg", "geometric")],
)
@SYMMETRIC
def test_a_step_rule_that_goes_up_at_times_is_not_at_precision(
    solver, damping, symmetric, global_random_seed
):
    """Polyak's step is not monotone: ten iterations without a new low prove nothing."""
    objective, truth = sensing(global_random_seed, symmetric, condition_number=3.0)
    result = minimize(
        objective,
        spectral(objective, 4, symmetric=symmetric),
        solver=solver,
        damping=damping,
        step_size="polyak",
        max_iter=300,
        tol=1e-10,
    )
    if result.status is Status.PRECISION:
        assert error_of(result, truth) < 1e-7


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "gauss-newton"])
@pytest.mark.parametrize("step_size", ["exact", "backtracking"])
@SYMMETRIC
def test_status_precision(solver, step_size, symmetric, global_random_seed):
    objective, truth = sensing(global_random_seed, symmetric)
    result = minimize(
        objective,
        spectral(objective, 2, symmetric=symmetric),
        solver=solver,
        step_size=step_size,
        tol=1e-30,
        max_iter=1000,
    )
    assert result.status is Status.PRECISION
    assert result.converged
    assert result.n_iter < 500
    assert error_of(result, truth) < 1e-13


@SYMMETRIC
def test_status_precision_with_noise(symmetric, global_random_seed):
    objective, _ = sensing(global_random_seed, symmetric, noise=0.5)
    start = spectral(objective, 2, symmetric=symmetric)
    result = minimize(objective, start, solver="precgd-cg", tol=1e-30)
    assert result.status is Status.PRECISION
    # The value rests on noise, so it no longer tells points this close apart.
    assert result.gradient_norm < 1e-8 * objective.data_norm


def test_status_callback(global_random_seed):
    objective, _ = sensing(global_random_seed)
    seen = []

    def callback(record):
        seen.append(record)
        return record.iteration == 3

    result = minimize(objective, spectral(objective, 2), callback=callback, tol=1e-12)
    assert result.status is Status.CALLBACK
    assert not result.converged
    assert result.n_iter == 3
    assert [r.iteration for r in seen] == [0, 1, 2, 3]
    # In the units of the data, as the history is.
    numbers, expected = ([r[:-1] for r in lines] for lines in (seen, result.history))
    np.testing.assert_allclose(numbers, expected, rtol=1e-14)
    assert {r.phase for r in seen} == {"fit (precgd)"}
    assert all(isinstance(r, Record) for r in seen)


@pytest.mark.parametrize("answer", [None, False, 0, "go on"])
def test_only_true_stops(answer, global_random_seed):
    objective, _ = sensing(global_random_seed)
    result = minimize(
        objective,
        spectral(objective, 2),
        callback=lambda record: answer,
        max_iter=3,
        tol=0.0,
    )
    assert result.status is Status.MAX_ITER


def test_an_error_in_a_callback_is_not_swallowed(global_random_seed):
    objective, _ = sensing(global_random_seed)

    def callback(record):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        minimize(objective, spectral(objective, 2), callback=callback)


def test_interrupted_in_a_callback(global_random_seed):
    objective, _ = sensing(global_random_seed)
    start = spectral(objective, 2)

    def callback(record):
        if record.iteration == 4:
            raise KeyboardInterrupt

    result = minimize(objective, start, callback=callback, tol=1e-12)
    expected = minimize(objective, start, max_iter=4, tol=1e-12)
    assert result.status is Status.INTERRUPTED
    assert not result.converged
    np.testing.assert_array_equal(result.factors.matrix(), expected.factors.matrix())
    assert result.loss == expected.loss
    assert result.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-12)


class Interrupting(DenseMeasurements, checked=True):
    """Raises KeyboardInterrupt in the middle of a product."""

    def __init__(self, stack, matrix_shape, method, after):
        super().__init__(stack, matrix_shape)
        self.method, self.left = method, after
        # Otherwise every step takes a product of each kind.
        self.keeps_adjoint = method == "ray_and_back"

    def _count(self, method):
        if method == self.method:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

    def forward_ray(self, left, right, d_left, d_right):
        self._count("forward_ray")
        return super().forward_ray(left, right, d_left, d_right)

    def ray_and_back(self, *arguments):
        self._count("ray_and_back")
        return super().ray_and_back(*arguments)

    def adjoint(self, weights):
        self._count("adjoint")
        return super().adjoint(weights)


@pytest.mark.parametrize("method", ["forward_ray", "adjoint", "ray_and_back"])
@pytest.mark.parametrize("after", [1, 5])
def test_interrupted_in_a_product(method, after, global_random_seed):
    objective, _ = sensing(global_random_seed)
    start = spectral(objective, 2)
    measurements = Interrupting(
        objective.measurements.stack, objective.matrix_shape, method, after
    )
    result = minimize(make_objective(measurements, objective.targets), start, tol=1e-12)
    assert result.status is Status.INTERRUPTED
    # The last accepted iterate: `after` steps were completed when it was raised.
    expected = minimize(objective, start, max_iter=after, tol=1e-12)
    np.testing.assert_allclose(
        result.factors.matrix(), expected.factors.matrix(), rtol=1e-10, atol=1e-12
    )
    assert objective.evaluate(result.factors).loss == pytest.approx(result.loss)
    # Unknown, if the interrupt came before it was computed there; never another one.
    assert np.isnan(result.gradient_norm) or result.gradient_norm == pytest.approx(
        gradient_norm(objective, result.factors), rel=1e-6
    )


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_every_solver_keeps_single_precision(solver, global_random_seed):
    objective, _ = sensing(global_random_seed, dtype=np.float32)
    result = minimize(
        objective,
        spectral(objective, 3),
        solver=solver,
        max_iter=5,
        random_state=global_random_seed,
    )
    assert result.factors.dtype == np.float32


@pytest.mark.parametrize("step_size", [3.0, 1e2, 1e8])
@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_what_is_kept_is_never_worse_than_zero(solver, step_size, global_random_seed):
    """A start may be: then steps that are too long lead to the zero matrix."""
    objective, _ = sensing(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    far = [100 * rng.standard_normal((n, 2)) for n in objective.matrix_shape]
    at_zero = 0.5 * objective.data_norm**2
    for start in (spectral(objective, 2), FactorPair(*far)):
        result = minimize(
            objective,
            start,
            solver=solver,
            step_size=step_size,
            max_iter=20,
            random_state=global_random_seed,
        )
        if result.status is not Status.DIVERGED:
            # Then these steps are not too long for that solver.
            assert step_size < 1e8
            continue
        assert result.loss <= at_zero * (1 + 1e-12)
        assert objective.evaluate(result.factors).loss == pytest.approx(result.loss)
        worse = objective.evaluate(start).loss > at_zero
        if worse and "worse than the zero matrix" in result.message:
            assert result.relative_residual == pytest.approx(1.0)
            assert not result.factors.matrix().any()


def test_every_status_is_a_sentence():
    for status in Status:
        assert status.value.endswith(".")
    converged = {s for s in Status if s.converged}
    assert converged.isdisjoint(
        {
            Status.MAX_ITER,
            Status.DIVERGED,
            Status.CALLBACK,
            Status.INTERRUPTED,
            Status.SLOW,
        }
    )


# --------------------------------------------------------------------------------------
# What comes back
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["gd", "precgd", "gauss-newton"])
@pytest.mark.parametrize("step_size", ["exact", 1.5, 3.0])
@SYMMETRIC
def test_result_belongs_to_its_factors(
    solver, step_size, symmetric, global_random_seed
):
    """Loss, residual and gradient are those of the best point, not of the last."""
    objective, _ = sensing(global_random_seed, symmetric, noise=0.1)
    start = spectral(objective, 3, symmetric=symmetric)
    result = minimize(
        objective, start, solver=solver, step_size=step_size, max_iter=6, tol=1e-12
    )
    at = objective.evaluate(result.factors)
    assert result.loss == pytest.approx(at.loss, rel=1e-9)
    assert result.relative_residual == pytest.approx(at.relative_residual, rel=1e-9)
    assert result.gradient_norm == pytest.approx(
        gradient_norm(objective, result.factors), rel=1e-6
    )
    assert result.loss == pytest.approx(np.min(result.history["loss"]), rel=1e-9)


def test_history(global_random_seed):
    objective, _ = sensing(global_random_seed, noise=0.1)
    start = spectral(objective, 3)
    result = minimize(objective, start, max_iter=20, tol=1e-12)
    history = result.history
    assert isinstance(history, History)
    assert len(history) == len(list(history)) == result.n_iter + 1
    assert history.columns == (
        "iteration",
        "rank",
        "loss",
        "relative_residual",
        "gradient_norm",
        "step",
        "damping",
        "validation_loss",
        "seconds",
        "phase",
    )
    np.testing.assert_array_equal(history["iteration"], np.arange(result.n_iter + 1))
    assert np.all(history["rank"] == 3)
    first = objective.evaluate(start)
    assert history["loss"][0] == pytest.approx(first.loss, rel=1e-10)
    assert history["gradient_norm"][0] == pytest.approx(
        gradient_norm(objective, start), rel=1e-8
    )
    np.testing.assert_allclose(
        history["relative_residual"],
        np.sqrt(2 * history["loss"]) / objective.data_norm,
        rtol=1e-10,
    )
    assert np.isnan(history["step"][0])
    assert np.all(history["step"][1:] > 0)
    assert np.all(np.isnan(history["validation_loss"]))
    assert np.all(np.diff(history["seconds"]) >= 0)
    # The exact step never goes up.
    assert np.all(np.diff(history["loss"]) <= 1e-12 * history["loss"][0])
    with pytest.raises(KeyError, match=r"'cost' is not one of the columns"):
        history["cost"]


def test_history_as_dict_and_text(global_random_seed):
    objective, _ = sensing(global_random_seed)
    history = minimize(objective, spectral(objective, 2), max_iter=3).history
    table = history.to_dict()
    assert list(table) == list(history.columns)
    for column, values in table.items():
        np.testing.assert_array_equal(values, history[column])
    *lines, end = str(history).splitlines()
    assert len(lines) == 1 + len(history)
    assert end.startswith(f"({len(history)} iterations in ")
    assert lines[0].split() == list(history.columns)
    assert lines[2].split()[:2] == ["1", "2"]
    assert lines[2].endswith(" fit (precgd)")
    assert len({len(line) for line in lines}) == 1
    pytest.importorskip("pandas")
    frame = history.to_frame()
    assert list(frame.columns) == list(history.columns)
    np.testing.assert_array_equal(frame["loss"], history["loss"])


def test_empty_history():
    assert len(History()) == 0
    assert History()["loss"].shape == (0,)
    assert len(str(History()).splitlines()) == 1


@pytest.mark.parametrize(
    ("damping", "expected"),
    [
        ("auto", lambda h, o: np.sqrt(2 * h["loss"])),
        ("sqrt_loss", lambda h, o: np.sqrt(2 * h["loss"])),
        ("dual_norm", lambda h, o: h["gradient_norm"]),
        ("geometric", lambda h, o: 0.9 ** h["iteration"] * o.data_norm),
        (0.01, lambda h, o: np.full(len(h), 0.01 * o.data_norm)),
        (0.0, lambda h, o: np.zeros(len(h))),
    ],
    ids=["auto", "sqrt_loss", "dual_norm", "geometric", "0.01", "0"],
)
@pytest.mark.parametrize("scale", [1e-50, 1.0, 1e50])
def test_damping_follows_its_rule(damping, expected, scale, global_random_seed):
    """In the units of the data: eta scales like the singular values."""
    objective, _ = sensing(global_random_seed, noise=0.1)
    objective = make_objective(objective.measurements, scale * objective.targets)
    result = minimize(objective, spectral(objective, 3), damping=damping, max_iter=8)
    np.testing.assert_allclose(
        result.history["damping"] / scale,
        expected(result.history, objective) / scale,
        rtol=1e-9,
    )


@pytest.mark.parametrize("scale", [1e-50, 1.0, 1e50])
@pytest.mark.parametrize("damping", ["auto", "variance_proxy"])
def test_damping_with_known_noise(damping, scale, global_random_seed):
    objective, _ = sensing(global_random_seed, noise=0.1)
    objective = make_objective(objective.measurements, scale * objective.targets)
    variance = (0.1 * scale) ** 2
    result = minimize(
        objective,
        spectral(objective, 3),
        damping=damping,
        noise_variance=variance,
        max_iter=8,
    )
    expected = np.sqrt(
        np.abs(2 * result.history["loss"] - objective.noise_share(variance))
    )
    np.testing.assert_allclose(
        result.history["damping"] / scale, expected / scale, rtol=1e-8
    )


@settings(max_examples=25)
@given(
    exponent=st.integers(-100, 100),
    solver=st.sampled_from(["precgd", "precgd-cg", "gauss-newton"]),
    symmetric=st.booleans(),
    full=st.booleans(),
    alpha=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 50),
)
def test_scale(exponent, solver, symmetric, full, alpha, seed):
    """Data times c give the result times c, and the same history but for its units."""
    c = 10.0**exponent
    base, truth = sensing(seed, symmetric, noise=0.1)
    results = []
    for scale in (1.0, c):
        if full:
            objective = FullObjective(scale * truth.matrix, as_penalty(alpha * scale))
        else:
            targets = scale * base.targets
            objective = make_objective(base.measurements, targets, None, alpha * scale)
        rng = np.random.default_rng(seed)
        blocks = rng.standard_normal((2, *truth.shape))[:, :, :2]
        start = (
            SymmetricFactor(blocks[0])
            if symmetric
            else FactorPair(blocks[0], blocks[1, : truth.shape[1]])
        )
        results.append(
            minimize(
                objective, start.scaled(scale), solver=solver, max_iter=6, tol=1e-6
            )
        )
    plain, scaled = results
    matrix = plain.factors.matrix()
    np.testing.assert_allclose(
        scaled.factors.matrix() / c, matrix, atol=1e-6 * np.abs(matrix).max()
    )
    assert scaled.loss / c / c == pytest.approx(plain.loss, rel=1e-5, abs=1e-9)
    assert scaled.status is plain.status
    assert scaled.n_iter == plain.n_iter
    np.testing.assert_allclose(
        scaled.history["relative_residual"],
        plain.history["relative_residual"],
        rtol=1e-5,
        atol=1e-7,
    )


@given(exponent=st.integers(-60, 60))
@settings(max_examples=10)
def test_scale_of_the_measurements(exponent):
    """Measurements times c with targets times c: the same matrix."""
    c = 10.0**exponent
    objective, truth = sensing(3)
    scaled = make_objective(
        DenseMeasurements(c * objective.measurements.stack, truth.shape),
        c * objective.targets,
    )
    start = spectral(scaled, 2)
    result = minimize(scaled, start, solver="precgd-cg", tol=1e-9)
    assert result.converged
    assert error_of(result, truth) < 1e-7


def test_start_is_not_modified(global_random_seed):
    objective, _ = sensing(global_random_seed)
    start = spectral(objective, 2)
    before = [b.copy() for b in start.blocks]
    minimize(objective, start, max_iter=5)
    for block, copy in zip(start.blocks, before, strict=True):
        np.testing.assert_array_equal(block, copy)


def test_deterministic(global_random_seed):
    objective, _ = sensing(global_random_seed)
    start = spectral(objective, 3)
    first, second = (minimize(objective, start, solver="precgd-cg") for _ in range(2))
    np.testing.assert_array_equal(first.factors.left, second.factors.left)


def test_backtracking_rules_of_two_runs_share_no_memory(global_random_seed):
    objective, _ = sensing(global_random_seed)
    start = spectral(objective, 3)
    runs = [
        minimize(objective, start, step_size="backtracking", max_iter=5, tol=0.0)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(runs[0].history["step"], runs[1].history["step"])


# --------------------------------------------------------------------------------------
# Edges and errors
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_all_targets_zero_from_a_start_that_is_not(full, global_random_seed):
    """The start explains nothing of zero data, so it is no solution."""
    rng = np.random.default_rng(global_random_seed)
    if full:
        objective = FullObjective(np.zeros((6, 5)))
    else:
        base, _ = sensing(global_random_seed)
        objective = make_objective(base.measurements, np.zeros(len(base.targets)))
    start = FactorPair(rng.standard_normal((6, 2)), rng.standard_normal((5, 2)))
    result = minimize(objective, start, max_iter=200)
    error = np.linalg.norm(result.factors.matrix()) / np.linalg.norm(start.matrix())
    assert error < 1e-2 or not result.converged


@pytest.mark.parametrize("full", [False, True])
def test_all_targets_zero_from_zero(full, global_random_seed):
    if full:
        objective = FullObjective(np.zeros((6, 5)))
    else:
        base, _ = sensing(global_random_seed)
        objective = make_objective(base.measurements, np.zeros(len(base.targets)))
    result = minimize(objective, spectral(objective, 2))
    assert result.converged
    assert np.all(result.factors.matrix() == 0)


def test_one_by_one_matrix():
    objective = FullObjective(np.array([[4.0]]))
    result = minimize(objective, FactorPair(np.ones((1, 1)), np.ones((1, 1))), tol=1e-7)
    assert result.converged
    np.testing.assert_allclose(result.factors.matrix(), [[4.0]], rtol=1e-6)


def test_integer_start_is_a_start(global_random_seed):
    """Whole numbers must not turn the iteration into whole-number arithmetic."""
    objective, truth = sensing(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    blocks = [rng.integers(-2, 3, size=(n, 3)) for n in truth.shape]
    result = minimize(objective, FactorPair(*blocks), solver="precgd-cg", tol=1e-8)
    assert result.converged
    assert error_of(result, truth) < 1e-6


def test_factors_of_another_shape():
    objective, _ = sensing(0)
    with pytest.raises(ValueError, match=r"\(5, 5\) matrix do not fit .*\(6, 5\)"):
        minimize(objective, FactorPair(np.ones((5, 2)), np.ones((5, 2))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "newton"}, r"solver must be one of .*'precgd'.* got 'newton'"),
        ({"damping": "none"}, r"damping must be one of .* got 'none'"),
        ({"damping": -1.0}, r"damping must be .* got -1"),
        ({"step_size": 0.0}, r"step_size must be .* got 0"),
        ({"step_size": "armijo"}, r"step_size must be .* got 'armijo'"),
        ({"damping": "variance_proxy"}, r"needs noise_variance"),
    ],
)
def test_errors(arguments, message):
    objective, _ = sensing(0)
    with pytest.raises(ValueError, match=message):
        minimize(objective, spectral(objective, 2), **arguments)


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "gauss-newton"])
def test_another_loss(solver, global_random_seed):
    base, truth = sensing(global_random_seed)
    objective = make_objective(base.measurements, base.targets, LogCosh())
    start = random(base, 2, random_state=global_random_seed)
    result = minimize(objective, start, solver=solver, max_iter=500, tol=1e-6)
    assert result.converged
    assert error_of(result, truth) < 1e-4


class WithoutCurvature(LogCosh):
    curvature = Loss.curvature


def test_gauss_newton_needs_a_curvature(global_random_seed):
    base, truth = sensing(global_random_seed)
    objective = make_objective(base.measurements, base.targets, WithoutCurvature())
    start = random(base, 2, random_state=global_random_seed)
    with pytest.raises(ValueError, match=r"'gauss-newton' needs a loss with a curvat"):
        minimize(objective, start, solver="gauss-newton")
    result = minimize(objective, start, solver="precgd-cg", max_iter=500, tol=1e-6)
    assert result.converged
    assert error_of(result, truth) < 1e-4


# --------------------------------------------------------------------------------------
# Directions
# --------------------------------------------------------------------------------------


def local_at(objective, factors, damping):
    evaluation = objective.evaluate(factors)
    gradient = objective.gradient(evaluation)
    return Local(objective, evaluation, gradient, Metric(factors, damping))


def random_point(seed, symmetric, rank=2):
    rng = np.random.default_rng(seed)
    if symmetric:
        return SymmetricFactor(rng.standard_normal((6, rank)))
    return FactorPair(rng.standard_normal((6, rank)), rng.standard_normal((5, rank)))


@SYMMETRIC
def test_every_direction_goes_down(symmetric, global_random_seed):
    objective, _ = sensing(global_random_seed, symmetric)
    for direction in (Steepest(), Conjugate(), GaussNewton()):
        point = random_point(global_random_seed, symmetric)
        for _ in range(5):
            local = local_at(objective, point, 0.1)
            d = direction(local)
            assert local.gradient.inner(d) < 0
            ray = objective.ray(local.evaluation, d)
            point = ray.advance(ray.minimizer()).factors


@SYMMETRIC
def test_conjugate_starts_steepest_and_forgets_on_restart(
    symmetric, global_random_seed
):
    objective, _ = sensing(global_random_seed, symmetric)
    first, second = (
        local_at(objective, random_point(global_random_seed + i, symmetric), 0.1)
        for i in range(2)
    )
    conjugate = Conjugate()
    steepest = [Steepest()(local) for local in (first, second)]
    for found, expected in zip(
        conjugate(first).blocks, steepest[0].blocks, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    conjugate.restart()
    for found, expected in zip(
        conjugate(second).blocks, steepest[1].blocks, strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@SYMMETRIC
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_gauss_newton_solves_the_linearised_problem(
    symmetric, alpha, global_random_seed
):
    base, _ = sensing(global_random_seed, symmetric)
    objective = make_objective(base.measurements, base.targets, alpha=alpha)
    local = local_at(objective, random_point(global_random_seed, symmetric), 0.1)
    direction = GaussNewton(max_inner=500, forcing=1e-10)(local)
    product = objective.curvature(local.evaluation)(direction)
    residual = product.moved(local.gradient, 1.0)
    size = np.sqrt(local.gradient.inner(local.gradient))
    assert np.sqrt(residual.inner(residual)) < 1e-7 * size


def test_gauss_newton_converges_superlinearly(global_random_seed):
    objective, _ = sensing(global_random_seed)
    start = spectral(objective, 2)
    result = minimize(objective, start, solver="gauss-newton", tol=1e-12)
    assert result.converged
    assert result.n_iter <= 10


class Counted(DenseMeasurements, checked=True):
    """Counts how often the stack is read, and by what."""

    contractions = adjoints = 0

    def adjoint(self, *arguments):
        self.adjoints += 1
        return super().adjoint(*arguments)

    def tangent(self, left, right):
        self.contractions += self.contracts(left.shape[1])
        return super().tangent(left, right)


@pytest.mark.parametrize("tol", [1e-3, 1e-7, 1e-10, 1e-12])
def test_what_a_gauss_newton_step_reads(tol, global_random_seed):
    A, y, _ = make_matrix_sensing(
        20, rank=2, n_measurements=250, random_state=global_random_seed
    )
    measurements = Counted(A)
    objective = make_objective(measurements, y)
    start = spectral(objective, 2)
    before = measurements.adjoints
    result = minimize(objective, start, solver="gauss-newton", tol=tol)
    assert result.converged
    # One contraction a step, but for at most one, which does with that before it.
    assert result.n_iter - 1 <= measurements.contractions <= result.n_iter
    assert result.relative_residual <= tol
    # The gradient follows along the ray until it has lost half of its digits: at the
    # start, once it has, and where the data are met as closely.
    assert measurements.adjoints - before <= 3


def test_the_last_step_may_do_with_the_linearisation_before(global_random_seed):
    """It need not fall quadratically, if tol is not far."""
    A, y, _ = make_matrix_sensing(
        20, rank=2, n_measurements=250, random_state=global_random_seed
    )
    spared = 0
    for tol in 10.0 ** -np.arange(3, 13):
        measurements = Counted(A)
        objective = make_objective(measurements, y)
        start = spectral(objective, 2)
        result = minimize(objective, start, solver="gauss-newton", tol=tol)
        spared += result.n_iter - measurements.contractions
    assert spared > 0


def test_the_gradient_in_the_matrix_is_summed_once(global_random_seed):
    A, y, truth = make_matrix_sensing(
        6, rank=1, n_measurements=30, random_state=global_random_seed
    )
    measurements = Counted(A)
    objective = make_objective(measurements, y)
    evaluation = objective.evaluate(FactorPair(truth.left, -truth.right))
    gradient = objective.gradient(evaluation)
    S = objective.matrix_gradient(evaluation)
    np.testing.assert_allclose(gradient.left, S @ evaluation.factors.right)
    assert measurements.adjoints == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_in_the_matrix_goes_along_a_ray(dtype, global_random_seed):
    """One pass a step; summed afresh once most of its digits are gone."""
    A, y, _ = make_matrix_sensing(
        10, rank=2, n_measurements=300, random_state=global_random_seed
    )
    measurements = Counted(A.astype(dtype))
    objective, _ = make_objective(measurements, y.astype(dtype)).normalised()
    eps = float(np.finfo(dtype).eps)
    evaluation = objective.evaluate(spectral(objective, 3))
    measurements.adjoints = 0
    largest = np.linalg.norm(objective.matrix_gradient(evaluation))
    direction, sums = Conjugate(), []
    for _ in range(30):
        gradient = objective.gradient(evaluation)
        metric = Metric(evaluation.factors, float(np.sqrt(2 * evaluation.loss)))
        local = Local(objective, evaluation, gradient, metric)
        ray = objective.ray(evaluation, direction(local))
        evaluation = ray.advance(ray.minimizer())
        found = objective.matrix_gradient(evaluation)
        z = measurements.forward(evaluation.factors.left, evaluation.factors.right)
        expected = measurements.adjoint(objective.weight * (z - objective.targets))
        measurements.adjoints -= 1
        assert np.linalg.norm(found - expected) <= 100 * eps * largest
        sums.append(measurements.adjoints)
        if measurements.adjoints > 1:
            break
    assert sums[0] == 1
    # Its norm has lost half of the digits, and not before.
    small = np.linalg.norm(found) <= np.sqrt(eps) * largest
    assert (sums[-1] == 2) == small


def test_full_observation_through_make_objective(global_random_seed):
    truth = make_low_rank(6, 5, rank=2, random_state=global_random_seed)
    X = truth.matrix
    dense, flat = (
        minimize(
            make_objective(FullObservation(truth.shape), data),
            nystrom(FullObjective(X), 2, random_state=0),
            solver="precgd-cg",
            tol=1e-6,
        )
        for data in (X, sparse.csr_array(X))
    )
    np.testing.assert_allclose(dense.factors.matrix(), flat.factors.matrix(), rtol=1e-6)
    assert error_of(dense, truth) < 1e-5
