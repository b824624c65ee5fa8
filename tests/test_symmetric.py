"""A symmetric model for a matrix that is not, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd import PrecGDMatrixSensing

N, RANK = 20, 2


@pytest.fixture
def problem(global_random_seed):
    """Gaussian measurements of a matrix: ``problem(matrix, n) -> A, y``."""
    rng = np.random.default_rng(global_random_seed)
    basis = np.linalg.qr(rng.standard_normal((N, RANK)))[0]

    def measured(matrix, n_measurements):
        A = rng.standard_normal((n_measurements, N * N))
        return A, A @ matrix.ravel()

    return basis, measured


def error(model, truth):
    return np.linalg.norm(model.matrix_ - truth) / np.linalg.norm(truth)


def test_a_psd_matrix_as_a_factor_pair(problem):
    basis, measured = problem
    truth = basis @ np.diag([2.0, 1.0]) @ basis.T
    A, y = measured(truth, 250)
    pair = PrecGDMatrixSensing(4).fit(A, y)
    assert pair.n_components_ == RANK
    assert error(pair, truth) < 1e-6
    # Symmetric as far as the fit is finished, no further.
    assert np.abs(pair.matrix_ - pair.matrix_.T).max() < 1e-6
    assert pair.left_ is not pair.right_


def test_a_psd_matrix_from_too_few_measurements_for_a_pair(problem):
    basis, measured = problem
    truth = basis @ np.diag([2.0, 1.0]) @ basis.T
    # 39 degrees of freedom of the symmetric model, 76 of the pair.
    A, y = measured(truth, 70)
    model = PrecGDMatrixSensing(4, symmetric=True).fit(A, y)
    pair = PrecGDMatrixSensing(4, alpha=0.0).fit(A, y)
    assert error(model, truth) < 1e-6
    # No rank of a pair that 70 measurements determine explains them.
    assert "held-out measurements" in pair.stop_reason_
    assert error(pair, truth) > 0.05


@pytest.mark.parametrize("kind", ["indefinite", "not symmetric"])
def test_no_psd_matrix_explains_the_data(problem, kind):
    basis, measured = problem
    # What the nearest positive semidefinite matrix misses of each.
    if kind == "indefinite":
        truth, missed = basis @ np.diag([2.0, -1.0]) @ basis.T, np.sqrt(1 / 5)
    else:
        truth, missed = np.outer(basis[:, 0], basis[:, 1]), np.sqrt(3 / 4)
    A, y = measured(truth, 300)
    # No warning: a least-squares fit is found, it only does not explain the data.
    options = {"symmetric": True, "alpha": 0.0, "random_state": 0}
    model = PrecGDMatrixSensing(4, **options).fit(A, y)
    residual = model.history_["relative_residual"][-1]
    assert missed / 2 < residual < 1.5 * missed
    assert "residual cannot reach tol" in model.stop_reason_
    assert np.linalg.eigvalsh(model.matrix_)[0] > -1e-12
    assert error(model, truth) > 0.9 * missed
    # With factor pairs there is nothing wrong with the data.
    pair = PrecGDMatrixSensing(4, random_state=0).fit(A, y)
    assert error(pair, truth) < 1e-6
