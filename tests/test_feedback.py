"""Random feedback: the optimum iff the search rank reaches the rank, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.initialization import random, spectral
from skprecgd.losses import Loss
from skprecgd.measurements import (
    EntryMeasurements,
    FullObservation,
    MultiOutputMeasurements,
    as_measurements,
)
from skprecgd.objective import make_objective
from skprecgd.optim import Status, minimize

SOLVERS = pytest.mark.parametrize("solver", ["feedback", "feedback-star"])
RANK = 3


def low_rank(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((15, RANK)) @ rng.standard_normal((RANK, 12))


def fitted(X, solver, search_rank, seed, **options):
    objective = make_objective(FullObservation(X.shape), X)
    start = random(objective, search_rank, random_state=seed)
    options = {"max_iter": 3000, "tol": 1e-6, "random_state": seed} | options
    return minimize(objective, start, solver=solver, **options)


def error(result, X):
    return np.linalg.norm(result.factors.matrix() - X) / np.linalg.norm(X)


@SOLVERS
@pytest.mark.parametrize("search_rank", [3, 6])
def test_optimal_from_the_rank_on(solver, search_rank, global_random_seed):
    X = low_rank(global_random_seed)
    result = fitted(X, solver, search_rank, global_random_seed, tol=1e-3)
    assert error(result, X) < 0.05


@SOLVERS
def test_far_from_optimal_below_the_rank(solver, global_random_seed):
    """A flat spectrum of 12, two components: the random subspace decides."""
    rng = np.random.default_rng(global_random_seed)
    u = np.linalg.qr(rng.standard_normal((40, 2)))[0]
    v = np.linalg.qr(rng.standard_normal((30, 2)))[0]
    tail = rng.standard_normal((40, 10)) @ rng.standard_normal((10, 30))
    X = 2 * u @ v.T + tail / np.linalg.norm(tail)
    s = np.linalg.svd(X, compute_uv=False)
    best = np.linalg.norm(s[2:])
    feedback = fitted(X, solver, 2, global_random_seed, max_iter=600)
    descent = fitted(X, "precgd-cg", 2, global_random_seed)
    assert np.linalg.norm(descent.factors.matrix() - X) < 1.0001 * best
    assert np.linalg.norm(feedback.factors.matrix() - X) > 1.01 * best
    # It stands still there, and does not call that a solution.
    assert feedback.status is Status.MAX_ITER
    last = feedback.history["loss"][-50:]
    assert np.ptp(last) < 1e-3 * last[-1]


@SOLVERS
def test_the_left_factor_aligns_with_the_feedback(solver, global_random_seed):
    X = low_rank(global_random_seed)
    history = fitted(X, solver, RANK, global_random_seed, max_iter=200).history
    alignment = history["alignment"]
    assert np.all(np.abs(alignment) <= 1 + 1e-12)
    assert np.mean(alignment[-100:]) > max(0.1, alignment[0])
    table = history.to_dict()
    np.testing.assert_array_equal(table["alignment"], alignment)
    assert str(history).splitlines()[0].split() == list(table)


def test_other_solvers_report_no_alignment(global_random_seed):
    X = low_rank(global_random_seed)
    history = fitted(X, "precgd", RANK, global_random_seed, max_iter=3).history
    assert "alignment" not in history.columns
    assert "alignment" not in str(history)
    with pytest.raises(KeyError, match="'alignment' is not one of the columns"):
        history["alignment"]


def test_the_written_out_iteration(global_random_seed):
    """dL = (Y - L R^T) R, dR = (Y - L R^T)^T B, over the stated bound."""
    X = low_rank(global_random_seed)
    X /= np.linalg.norm(X)
    rng = np.random.RandomState(global_random_seed)
    rng = np.random.RandomState(rng.randint(np.iinfo(np.int32).max))
    feedback = rng.standard_normal((15, 2)) / np.sqrt(15)
    start = np.random.default_rng(global_random_seed)
    left, right = start.standard_normal((15, 2)), start.standard_normal((12, 2))
    objective = make_objective(FullObservation(X.shape), X)
    result = minimize(
        objective,
        FactorPair(left, right),
        solver="feedback",
        step_size=0.3,
        max_iter=5,
        tol=0,
        random_state=np.random.RandomState(global_random_seed),
    )
    for _ in range(5):
        residual = X - left @ right.T
        size = [np.linalg.norm(b, 2) for b in (left, right, feedback)]
        step = 0.3 / (size[1] ** 2 + size[0] * size[2] + size[2] ** 2)
        left, right = (
            left + step * residual @ right,
            right + step * residual.T @ feedback,
        )
    np.testing.assert_allclose(result.factors.left, left, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(result.factors.right, right, rtol=1e-7, atol=1e-9)


def test_the_left_factor_of_feedback_star_is_optimal(global_random_seed):
    X = low_rank(global_random_seed)
    result = fitted(X, "feedback-star", 2, global_random_seed, max_iter=7)
    assert result.n_iter == 7
    left, right = result.factors.blocks
    np.testing.assert_allclose(left, X @ np.linalg.pinv(right).T, rtol=1e-5, atol=1e-6)


@SOLVERS
@pytest.mark.parametrize("kind", ["dense", "entries", "outputs"])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_every_kind_of_measurements(solver, kind, alpha, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    M = rng.standard_normal((8, 2)) @ rng.standard_normal((2, 7))
    if kind == "dense":
        measurements = as_measurements(rng.standard_normal((300, 8, 7)))
    elif kind == "entries":
        cells = rng.permutation(56)
        measurements = EntryMeasurements(*np.divmod(cells, 7), (8, 7))
    else:
        measurements = MultiOutputMeasurements(rng.standard_normal((60, 8)), 7)
    y = measurements.forward(M, np.eye(7))
    objective = make_objective(measurements, y, alpha=alpha)
    start = random(objective, 4, random_state=global_random_seed)
    result = minimize(
        objective, start, solver=solver, tol=0.05, random_state=global_random_seed
    )
    assert result.relative_residual < 0.1


@SOLVERS
def test_estimators(solver, global_random_seed):
    X = low_rank(global_random_seed)
    options = {
        "solver": solver,
        "rank_search": "fixed",
        "init": "random",
        "tol": 0.01,
        "random_state": global_random_seed,
    }
    first, second = (PrecGDFactorization(5, **options).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.left_, second.left_)
    assert first.converged_
    # Independent of the start, though one seed serves both.
    assert abs(first.history_["alignment"][0]) < 0.7


@SOLVERS
@pytest.mark.parametrize("step_size", ["exact", "backtracking", "polyak"])
def test_line_searches_are_refused(solver, step_size):
    objective = make_objective(*observed_entries(low_rank(0)))
    with pytest.raises(
        ValueError, match=f"'{solver}' needs .* step_size='{step_size}' looks for"
    ):
        minimize(objective, spectral(objective, 2), solver=solver, step_size=step_size)


@SOLVERS
def test_other_refusals(solver):
    A, y, _ = make_matrix_sensing(
        5, rank=1, n_measurements=40, symmetric=True, random_state=0
    )
    options = {"solver": solver, "rank_search": "fixed"}
    with pytest.raises(ValueError, match="needs two factors; a symmetric matrix"):
        PrecGDMatrixSensing(2, symmetric=True, **options).fit(A, y)
    with pytest.raises(ValueError, match="rank_search='path' grows the rank by the"):
        PrecGDMatrixSensing(2, solver=solver).fit(A, y)


def test_feedback_star_needs_the_squared_loss():
    class Cosh(Loss):
        name = "cosh"
        curvature_bound = 1.0
        homogeneous = False

        def value(self, z, y):
            return float(np.sum(np.log(np.cosh(z - y))))

        def gradient(self, z, y):
            return np.tanh(z - y)

        def curvature(self, z, y):
            return 1 / np.cosh(z - y) ** 2

    A, y, truth = make_matrix_sensing(6, 5, rank=1, n_measurements=90, random_state=0)
    objective = make_objective(as_measurements(A, (6, 5)), y, Cosh())
    start = spectral(objective, 2)
    with pytest.raises(ValueError, match=r"needs loss='squared'.*loss='cosh'"):
        minimize(objective, start, solver="feedback-star")
    result = minimize(objective, start, solver="feedback", tol=1e-3, random_state=0)
    assert truth.relative_error(result.factors.matrix()) < 0.1
