"""Published methods as settings (user guide, "Published methods"): each at its rate."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.initialization import random, spectral
from skprecgd.losses import AbsoluteLoss
from skprecgd.measurements import DenseMeasurements, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import minimize
from skprecgd.optim.metric import ConstantDamping
from skprecgd.optim.steps import PolyakStep

N, RANK, SEARCH_RANK = 20, 2, 4


def sensing(seed, kappa=1.0, per_freedom=10, noise=0.0):
    """Gaussian measurements in number for a near-isometry on matrices of low rank."""
    A, y, truth = make_matrix_sensing(
        N,
        N,
        rank=RANK,
        n_measurements=per_freedom * RANK * (2 * N - RANK),
        condition_number=kappa,
        noise=noise,
        random_state=seed,
    )
    return make_objective(as_measurements(A, truth.shape), y), truth


def iterations(seed, kappa, **options):
    """To a solution from a small random start, rank unknown."""
    objective, truth = sensing(seed, kappa)
    start = random(objective, SEARCH_RANK, random_state=seed)
    result = minimize(objective, start, tol=1e-8, max_iter=1500, **options)
    assert result.converged
    assert truth.relative_error(result.factors.matrix()) < 1e-5
    return result.n_iter


@pytest.mark.slow
def test_scaledgd_lambda(global_random_seed):
    """Constant damping at sigma_min, tiny start: a rate that hardly knows kappa."""
    counts = {}
    for kappa in (1.0, 100.0):
        objective, _ = sensing(global_random_seed, kappa)
        start = random(objective, SEARCH_RANK, random_state=global_random_seed)
        result = minimize(
            objective,
            start.scaled(1e-12),
            damping=1 / np.hypot(1, 1 / kappa) / kappa,
            step_size=0.5,
            max_iter=1000,
            tol=0,
        )
        residuals = result.history["relative_residual"]
        assert residuals[-1] < 1e-4
        counts[kappa] = int(np.argmax(residuals < 1e-4))
    assert counts[100.0] < 10 * counts[1.0]
    gd = minimize(objective, start, solver="gd", max_iter=counts[100.0], tol=0)
    assert gd.relative_residual > 1e-4


@pytest.mark.slow
def test_scaledgd_lambda_needs_a_tiny_start(global_random_seed):
    """Constant damping slows spare columns down as the identity does."""
    objective, _ = sensing(global_random_seed)
    start = random(objective, SEARCH_RANK, random_state=global_random_seed)
    options = {"step_size": 0.5, "max_iter": 200, "tol": 0}
    constant = minimize(objective, start, damping=1.0, **options)
    following = minimize(objective, start, damping="sqrt_loss", **options)
    assert constant.relative_residual > 1e3 * following.relative_residual


def test_agn(global_random_seed):
    """Alternating, undamped, fixed step: linear whatever kappa and the search rank."""
    counts = [
        iterations(
            global_random_seed, kappa, solver="alternating-scaledgd", step_size=0.5
        )
        for kappa in (1.0, 100.0)
    ]
    assert max(counts) < 2 * min(counts)
    # The same with exact steps is ScaledASD.
    exact = iterations(global_random_seed, 100.0, solver="alternating-scaledgd")
    assert exact < max(counts)


def test_the_agn_update_written_out(global_random_seed):
    """U+ = U - eta E V (V^T V)^-1, then V+ = V - eta E+^T U+ (U+^T U+)^-1."""
    objective, truth = sensing(global_random_seed, 3.0)
    measurements, y = objective.measurements, objective.targets
    rng = np.random.default_rng(global_random_seed)
    u, v = rng.standard_normal((2, N, RANK))
    result = minimize(
        objective,
        FactorPair(u, v),
        solver="alternating-scaledgd",
        step_size=0.5,
        max_iter=4,
        tol=0,
    )
    scale = len(y) * measurements.mean_square

    def residual():
        return measurements.adjoint(measurements.forward(u, v) - y) / scale

    for _ in range(2):
        u = u - 0.5 * residual() @ v @ np.linalg.inv(v.T @ v)
        v = v - 0.5 * residual().T @ u @ np.linalg.inv(u.T @ u)
    np.testing.assert_allclose(result.factors.left, u, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(result.factors.right, v, rtol=1e-8, atol=1e-9)
    assert truth.shape == (N, N)


def test_apgd(global_random_seed):
    """The same iteration with noise: at a linear rate to the least-squares error."""
    objective, truth = sensing(global_random_seed, 10.0, noise=0.1)
    start = random(objective, RANK, random_state=global_random_seed)
    result = minimize(
        objective, start, solver="alternating-scaledgd", step_size=0.5, tol=1e-6
    )
    best = minimize(
        objective, spectral(objective, RANK), solver="gauss-newton", tol=1e-6
    )
    assert result.converged
    error, oracle = (truth.relative_error(r.factors.matrix()) for r in (result, best))
    assert error == pytest.approx(oracle, rel=1e-3)


@pytest.mark.parametrize("kappa", [1.0, 100.0])
def test_gnmr(kappa, global_random_seed):
    """Faster than linear, at 3 measurements per degree of freedom."""
    objective, truth = sensing(global_random_seed, kappa, per_freedom=3)
    result = minimize(
        objective,
        spectral(objective, RANK),
        solver="gauss-newton",
        step_size=1.0,
        tol=1e-11,
        max_iter=50,
    )
    assert result.converged
    assert truth.relative_error(result.factors.matrix()) < 1e-9
    # In two steps, since the last one need not go further than was asked.
    residuals = result.history["relative_residual"]
    assert residuals[-1] < 1e-6 * residuals[-3]


@pytest.mark.parametrize("kappa", [2.0, 20.0])
def test_opsa(kappa, global_random_seed):
    """One in ten measurements is anything; twice the rank; Polyak and exact steps."""
    rng = np.random.default_rng(global_random_seed)
    A, y, truth = make_matrix_sensing(
        N,
        N,
        rank=RANK,
        n_measurements=16 * N * RANK,
        condition_number=kappa,
        random_state=global_random_seed,
    )
    hit = rng.random(len(y)) < 0.1
    y[hit] += 10 * np.abs(y).max() * rng.choice([-1.0, 1.0], hit.sum())
    measurements = DenseMeasurements(A, truth.shape)
    objective = make_objective(measurements, y, AbsoluteLoss(smoothing=1e-6))
    kept = np.abs(y) <= np.quantile(np.abs(y), 0.9)
    trimmed = make_objective(measurements[kept], y[kept])
    start = spectral(trimmed, 2 * RANK)
    start = FactorPair(2 * start.left, start.right / 2)
    scaled, unit = objective.normalised()
    optimum = scaled.evaluate(FactorPair(truth.left, truth.right).scaled(1 / unit))
    polyak = minimize(
        objective,
        start,
        solver="precgd",
        damping=ConstantDamping(2 * truth.singular_values[-1] / unit),
        step_size=PolyakStep(optimum.value),
        max_iter=400,
        tol=0,
    )
    assert truth.relative_error(polyak.factors.matrix()) < 1e-4
    # Exact steps and the damping of PrecGD need to know neither the optimal value
    # nor the smallest singular value.
    exact = minimize(objective, start, solver="precgd")
    assert exact.converged
    assert truth.relative_error(exact.factors.matrix()) < 1e-6
