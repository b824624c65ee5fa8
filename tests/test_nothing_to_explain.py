"""Data and ridges that leave nothing to find: zeros, at once and without a warning."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.optim import RANK_SEARCHES

LOSSES = ["squared", "huber", "absolute"]


def matrix(seed, *, holes):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12, 8))
    if holes:
        X[rng.random(X.shape) < 0.3] = np.nan
    return X


def assert_zero(model):
    """The solution is the zero matrix, to the last bit."""
    assert model.converged_
    assert model.n_iter_ == 1
    assert_array_equal(model.singular_values_, np.zeros(model.n_components_))
    assert_array_equal(model.left_, np.zeros_like(model.left_))


def test_constant_data_that_are_centred():
    # What is left is rounding, which the ridge outweighs.
    X = np.full((6, 4), 0.1)
    model = PrecGDFactorization(2, solver="gauss-newton", center="mean", alpha=0.1)
    assert_zero(model.fit(X))
    assert_allclose(model.inverse_transform(model.transform(X)), X)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("init", ["spectral", "random", "nystrom"])
@pytest.mark.parametrize("holes", [True, False])
def test_a_ridge_far_above_the_data(loss, rank_search, init, holes, global_random_seed):
    X = matrix(global_random_seed, holes=holes)
    model = PrecGDFactorization(
        2, loss=loss, alpha=1e6, rank_search=rank_search, init=init
    )
    assert_zero(model.fit(X))
    assert_array_equal(model.explained_variance_ratio_, np.zeros(model.n_components_))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alpha", [1e-29, 1e-28, 1e-20, 1e3])
@pytest.mark.parametrize("holes", [True, False])
def test_a_ridge_far_above_small_data_in_single_precision(
    loss, alpha, holes, global_random_seed
):
    X = (1e-30 * matrix(global_random_seed, holes=holes)).astype(np.float32)
    model = PrecGDFactorization(2, loss=loss, alpha=alpha).fit(X)
    assert model.left_.dtype == np.float32
    # The absolute loss and the ridge have the same unit, which is then no matter.
    if alpha > (1e-28 if loss != "absolute" else 1.0):
        assert_zero(model)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_sensing_with_a_ridge_far_above_the_data(loss, symmetric, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, y = rng.standard_normal((60, 16)), rng.standard_normal(60)
    model = PrecGDMatrixSensing(2, symmetric=symmetric, loss=loss, alpha=1e6)
    assert_zero(model.fit(A, y))


def test_a_ridge_just_above_and_just_below_the_data(global_random_seed):
    # The least ridge whose solution is zero is the norm of the gradient at zero: here
    # that of the data.
    rng = np.random.default_rng(global_random_seed)
    u, v = (x / np.linalg.norm(x) for x in (rng.normal(size=12), rng.normal(size=9)))
    X = 3.0 * np.outer(u, v)
    assert_zero(PrecGDFactorization(2, alpha=3.001, solver="precgd-cg").fit(X))
    below = PrecGDFactorization(2, alpha=2.999, solver="precgd-cg").fit(X)
    assert_allclose(below.singular_values_[0], 0.001, rtol=1e-6)


@pytest.mark.parametrize("noise_variance", [None, "auto"])
def test_measurements_that_see_nothing(noise_variance, global_random_seed):
    y = np.random.default_rng(global_random_seed).normal(size=12)
    model = PrecGDMatrixSensing(2, matrix_shape=(3, 6), noise_variance=noise_variance)
    model.fit(np.zeros((12, 18)), y)
    assert_array_equal(model.matrix_, np.zeros((3, 6)))
    assert_array_equal(model.predict(np.zeros((12, 18))), np.zeros(12))
    if noise_variance:
        assert 0.1 * np.mean(y**2) < model.noise_variance_ < 1e3 * np.mean(y**2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("holes", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_data_that_are_zero(loss, holes, dtype, global_random_seed):
    X = 0 * matrix(global_random_seed, holes=holes).astype(dtype)
    model = PrecGDFactorization(2, loss=loss).fit(X)
    assert model.converged_
    completed = model.inverse_transform(model.transform(X))
    assert_array_equal(completed, np.zeros_like(completed))


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_a_matrix_without_components_have_zero_coordinates(
    loss, global_random_seed
):
    X = matrix(global_random_seed, holes=True)
    model = PrecGDFactorization(2, loss=loss, alpha=1e6).fit(X)
    assert_array_equal(model.transform(X), 0.0)
    assert_array_equal(model.inverse_transform(model.transform(X)), 0.0)
    assert np.isfinite(model.score(X))
