"""With a ridge the problem is convex in the matrix: there is one optimum."""

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import EntryMeasurements, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import certificate, rank_path


def sensing(seed, symmetric=False):
    A, y, _ = make_matrix_sensing(
        12,
        rank=2,
        n_measurements=100,
        noise=0.1,
        symmetric=symmetric,
        random_state=seed,
    )
    return as_measurements(A, (12, 12)), y


def completion(seed):
    triples, _ = make_matrix_completion(
        15,
        12,
        rank=2,
        observed_fraction=0.6,
        noise=0.1,
        random_state=seed,
        format="triples",
    )
    return EntryMeasurements(triples.rows, triples.columns, (15, 12)), triples.values


def proximal_gradient(measurements, y, alpha, n_iter=4000):
    """Minimiser of ``||A(M) - y||^2 / 2 + alpha ||M||_*``, accelerated."""
    identity = np.eye(measurements.matrix_shape[0] * measurements.matrix_shape[1])
    cells = identity.reshape(-1, *measurements.matrix_shape)
    design = np.stack([measurements.forward(c, np.eye(c.shape[1])) for c in cells], 1)
    lipschitz = np.linalg.norm(design, 2) ** 2
    point = previous = np.zeros(measurements.matrix_shape)
    momentum = 1.0
    for _ in range(n_iter):
        residual = design @ point.ravel() - y
        gradient = (design.T @ residual).reshape(point.shape)
        u, s, vt = np.linalg.svd(point - gradient / lipschitz, full_matrices=False)
        current = (u * np.maximum(s - alpha / lipschitz, 0)) @ vt
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        point = current + (momentum - 1) / following * (current - previous)
        previous, momentum = current, following
    residual = design @ previous.ravel() - y
    nuclear = np.linalg.svd(previous, compute_uv=False).sum()
    return previous, 0.5 * residual @ residual + alpha * nuclear


def norm_of_adjoint(measurements, y):
    """``||sum_k y_k A_k||_2``, from the products of each column."""
    adjoint = measurements.adjoint(y)
    return np.linalg.norm(np.asarray(adjoint @ np.eye(adjoint.shape[1])), 2)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("problem", [sensing, completion])
def test_the_path_ends_at_the_convex_optimum(problem, share, global_random_seed):
    measurements, y = problem(global_random_seed)
    alpha = share * norm_of_adjoint(measurements, y)
    objective = make_objective(measurements, y, alpha=alpha)
    rank = min(objective.matrix_shape)
    result = rank_path(objective, rank, tol=1e-10, max_iter=3000, random_state=0)
    value = objective.evaluate(result.factors).value
    expected, least = proximal_gradient(measurements, y, alpha)
    assert value <= objective.weight * least * (1 + 1e-6)
    scale = np.linalg.norm(expected)
    assert np.linalg.norm(result.factors.matrix() - expected) < 1e-3 * scale
    # Optimality: no singular value of the gradient exceeds the ridge.
    found = certificate(objective, result.factors)
    assert found.violation < 1e-4 * objective.penalty.threshold


def test_a_ridge_above_the_largest_singular_value_leaves_nothing(global_random_seed):
    measurements, y = sensing(global_random_seed)
    alpha = 1.01 * norm_of_adjoint(measurements, y)
    result = rank_path(make_objective(measurements, y, alpha=alpha), 5, random_state=0)
    assert np.linalg.norm(result.factors.matrix()) < 1e-6 * np.linalg.norm(y)
