"""The certificate: never below the true gap, and falling with the error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from skprecgd import observed_entries
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.initialization import spectral
from skprecgd.measurements import FullObservation, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import certificate, minimize


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_bound_is_never_below_the_gap_of_a_soft_thresholded_svd(
    alpha, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((12, 9))
    objective = make_objective(FullObservation(X.shape), X, alpha=alpha)
    s = np.linalg.svd(X, compute_uv=False)
    shrunk = np.maximum(s - alpha, 0)
    optimum = 0.5 * np.sum((s - shrunk) ** 2) + alpha * np.sum(shrunk)
    for _ in range(20):
        factors = FactorPair(rng.standard_normal((12, 3)), rng.standard_normal((9, 3)))
        bound = certificate(objective, factors).with_trace_bound(np.sum(shrunk))
        gap = objective.evaluate(factors).value - optimum
        assert gap <= bound.gap * (1 + 1e-9)


def test_symmetric_bound_falls_with_the_error(global_random_seed):
    A, y, truth = make_matrix_sensing(
        15,
        rank=2,
        n_measurements=200,
        symmetric=True,
        random_state=global_random_seed,
    )
    objective = make_objective(as_measurements(A, (15, 15)), y)
    rng = np.random.default_rng(global_random_seed)
    noise = rng.standard_normal((15, 4))
    start = SymmetricFactor(np.pad(truth.left, ((0, 0), (0, 2))) + 1e-2 * noise)
    relative = []
    for max_iter in (1, 20, 200):
        result = minimize(objective, start, max_iter=max_iter, tol=1e-12)
        bound = certificate(objective, result.factors).with_trace_bound(
            np.sum(truth.singular_values)
        )
        # The optimum is zero: the measurements are exact.
        assert result.loss <= bound.gap
        relative.append(bound.relative_gap)
    assert relative[2] < 1e-3 * relative[1] < 1e-3 * relative[0]


def test_completion_at_scale(global_random_seed):
    """The gradient stays sparse, and Lanczos finds what a dense SVD finds."""
    X, truth = make_matrix_completion(
        500, 400, rank=3, oversampling=12, random_state=global_random_seed
    )
    measurements, y = observed_entries(X)
    objective = make_objective(measurements, y)
    start = spectral(objective, 3, random_state=0)
    last = np.inf
    for n_iter in (1, 10, 100):
        result = minimize(objective, start, solver="precgd-cg", max_iter=n_iter)
        found = certificate(objective, result.factors, random_state=0)
        gradient = objective.matrix_gradient(objective.evaluate(result.factors))
        assert sparse.issparse(gradient)
        largest = np.linalg.norm(gradient.toarray(), 2)
        assert found.violation == pytest.approx(largest, rel=1e-6)
        bound = found.with_trace_bound(np.sum(truth.singular_values))
        assert result.loss <= bound.gap
        assert bound.gap < last
        last = bound.gap
    assert found.relative_gap < 1e-3


def test_a_wrong_trace_bound_is_refused():
    objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    factors = FactorPair(np.ones((3, 1)), np.ones((2, 1)))
    with pytest.raises(ValueError, match="trace_bound must be >= 0, got -1"):
        certificate(objective, factors).with_trace_bound(-1)
