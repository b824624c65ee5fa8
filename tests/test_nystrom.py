"""ScaledGD from a Nystrom start: digits double, or one step is exact (ICLR 2025).

The objective of complete data resolves its loss to about 1e-16 of the data's norm
squared, so errors are measured against the truth, at every number of iterations.
"""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd import PrecGDFactorization
from skprecgd.datasets import make_low_rank, make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.initialization import nystrom, random, spectral
from skprecgd.measurements import FullObservation, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import minimize
from skprecgd.optim.steps import FixedStep


class Recorder(FixedStep):
    """A constant step that keeps every iterate; the best one need not be the last."""

    def __call__(self, ray, slope):
        self.__dict__.setdefault("visited", []).append(ray.advance(self.step).factors)
        return self.step


def errors(X, start, n_iter, step_size):
    """Relative errors after 1, 2, ... steps of ScaledGD."""
    objective = make_objective(FullObservation(X.shape), X)
    step = Recorder(step_size)
    minimize(
        objective,
        start(objective),
        solver="scaledgd",
        step_size=step,
        max_iter=n_iter,
        tol=0,
    )
    unit, size = objective.data_norm, np.linalg.norm(X)
    return np.array(
        [np.linalg.norm(unit * f.matrix() - X) / size for f in step.visited]
    )


def psd(seed, kappa=100.0):
    return make_low_rank(
        40, rank=3, condition_number=kappa, symmetric=True, random_state=seed
    ).matrix


@pytest.mark.parametrize("search_rank", [3, 6])
def test_symmetric_digits_double(search_rank, global_random_seed):
    """Step 1/2 is Heron's iteration for a square root, within the range of A."""
    X = psd(global_random_seed)

    def start(objective):
        return nystrom(
            objective, search_rank, symmetric=True, random_state=global_random_seed
        )

    found = errors(X, start, 12, 0.5)
    assert found[-1] < 1e-13
    last = found[(found < 1e-2) & (found > 1e-7)]
    after = found[1 + np.flatnonzero((found < 1e-2) & (found > 1e-7))]
    assert len(last) > 0
    # Relative to the smallest eigenvalue, 1 / kappa of the norm.
    assert np.all(after <= 100 * last**2 + 1e-13)


@pytest.mark.parametrize("kappa", [1.0, 100.0])
def test_no_sketch_is_unlucky(kappa, global_random_seed):
    """Nor does the first step overshoot so far that it is taken for divergence."""
    X = psd(global_random_seed, kappa)
    objective = make_objective(FullObservation(X.shape), X)
    for seed in range(40):
        start = nystrom(objective, 3, symmetric=True, random_state=seed)
        result = minimize(
            objective, start, solver="scaledgd", step_size=0.5, tol=1e-7, max_iter=12
        )
        assert result.converged
        assert np.all(result.history["relative_residual"] < 30)


def test_a_random_start_only_halves_the_error(global_random_seed):
    X = psd(global_random_seed, kappa=2.0)

    def start(objective):
        return random(objective, 3, symmetric=True, random_state=global_random_seed)

    found = errors(X, start, 30, 0.5)
    assert found[-1] > 1e-10
    late = found[20:]
    np.testing.assert_allclose(late[1:] / late[:-1], 0.5, rtol=0.05)


@pytest.mark.parametrize("search_rank", [3, 6])
@pytest.mark.parametrize("kappa", [1.0, 100.0])
def test_asymmetric_one_step_is_exact(kappa, search_rank, global_random_seed):
    X = make_low_rank(
        40, 45, rank=3, condition_number=kappa, random_state=global_random_seed
    ).matrix

    def start(objective):
        return nystrom(objective, search_rank, random_state=global_random_seed)

    # The Gram matrix of the sketch squares the condition number.
    objective = make_objective(FullObservation(X.shape), X)
    conditioning = np.linalg.svd(start(objective).left, compute_uv=False)[[0, 2]]
    level = 1e-14 * (conditioning[0] / conditioning[1]) ** 2
    assert errors(X, start, 1, 1.0)[0] < 10 * level + 1e-13


def test_below_the_rank_one_step_is_the_range_finder(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((20, 15))
    objective = make_objective(FullObservation(X.shape), X)
    start = nystrom(objective, 4, random_state=global_random_seed)
    result = minimize(
        objective, start, solver="scaledgd", step_size=1.0, max_iter=1, tol=0
    )
    q = np.linalg.qr(start.left)[0]
    np.testing.assert_allclose(result.factors.matrix(), q @ q.T @ X, atol=1e-10)
    assert isinstance(result.factors, FactorPair)


@pytest.mark.parametrize("symmetric", [False, True])
def test_sensing_from_both_starts(symmetric, global_random_seed):
    A, y, truth = make_matrix_sensing(
        15,
        None if symmetric else 12,
        rank=2,
        n_measurements=350,
        condition_number=3,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    objective = make_objective(as_measurements(A, truth.shape), y)
    counts = {}
    for init in (nystrom, spectral):
        start = init(objective, 2, symmetric=symmetric, random_state=global_random_seed)
        result = minimize(objective, start, solver="scaledgd", tol=1e-8)
        assert truth.relative_error(result.factors.matrix()) < 1e-6
        counts[init] = result.n_iter
    # One product replaces an eigensolver, at the price of a few iterations.
    assert counts[nystrom] <= counts[spectral] + 40


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_gauss_newton_from_a_start_without_residual(rank, global_random_seed):
    """The Nystrom start of complete data of its rank is exact, at times to the bit."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((24, 2)) @ rng.standard_normal((2, 18))
    model = PrecGDFactorization(
        rank, solver="gauss-newton", init="nystrom", damping="dual_norm", tol=1e-7
    )
    for seed in range(5):
        model.set_params(random_state=seed).fit(X)
        np.testing.assert_allclose(
            model.left_ @ model.right_.T, X, atol=1e-6 * np.abs(X).max()
        )
