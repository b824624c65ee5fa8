"""Starts that are given: in any units, of any use, or the solution itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.losses import AbsoluteLoss
from skprecgd.optim import RANK_SEARCHES, SOLVERS

UNITS = [1e-6, 1e-3, 1e3, 1e6]
LOSSES = ["squared", "huber", "absolute"]
# These reach a solution on the small problems below within the iterations allowed.
FAST = sorted({"auto", *SOLVERS} - {"gd", "feedback", "feedback-star"})


def completion(seed, noise=0.0, **shape):
    shape = {"rank": 2, "oversampling": 5} | shape
    return make_matrix_completion(
        30, 20, min_per_line=5, noise=noise, random_state=seed, **shape
    )


def sensing(seed, symmetric=False):
    return make_matrix_sensing(
        10,
        10 if symmetric else 8,
        rank=2,
        n_measurements=120,
        symmetric=symmetric,
        random_state=seed,
    )


def matrix_of(model):
    return model.left_ @ model.right_.T


def balanced(matrix, rank):
    u, s, vt = np.linalg.svd(matrix)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, vt[:rank].T * root


# -- other units ------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_warm_start_follows_the_units_of_the_data(unit, loss, global_random_seed):
    X, truth = completion(global_random_seed)
    model = PrecGDFactorization(2, loss=loss, warm_start=True).fit(X)
    model.fit(unit * X)
    assert truth.relative_error(matrix_of(model) / unit) < 1e-7
    # The matrix is the same one, and only its length had to be found.
    assert model.n_iter_ <= 5


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_warm_start_of_sensing(unit, symmetric, global_random_seed):
    A, y, truth = sensing(global_random_seed, symmetric)
    shape = truth.left.shape[0], truth.right.shape[0]
    model = PrecGDMatrixSensing(
        3, matrix_shape=shape, symmetric=symmetric, warm_start=True
    ).fit(A, y)
    model.fit(A, unit * y)
    assert truth.relative_error(model.matrix_ / unit) < 1e-7
    assert model.n_iter_ <= 5


@pytest.mark.parametrize("unit", [1e-12, *UNITS, 1e12])
@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_pair_in_other_units(unit, rank_search, dtype, global_random_seed):
    X, truth = completion(global_random_seed)
    pair = tuple(
        (np.sqrt(unit) * block).astype(dtype) for block in balanced(truth.matrix, 2)
    )
    model = PrecGDFactorization(2, init=pair, rank_search=rank_search).fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-7
    assert model.n_iter_ <= (1 if dtype is np.float64 else 20)


def test_factors_of_very_different_size(global_random_seed):
    X, truth = completion(global_random_seed)
    left, right = balanced(truth.matrix, 2)
    for a, b in ((1e6, 1e-6), (1e200, 1e-3), (1e200, 1e200), (1e-200, 1e-200)):
        model = PrecGDFactorization(2, init=(a * left, b * right)).fit(X)
        assert truth.relative_error(matrix_of(model)) < 1e-7


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_the_length_of_a_start_allows_for_the_ridge(alpha, global_random_seed):
    # Complete data of rank one: the solution is the matrix, less alpha.
    rng = np.random.default_rng(global_random_seed)
    u, v = (x / np.linalg.norm(x) for x in (rng.normal(size=12), rng.normal(size=9)))
    X = 5.0 * np.outer(u, v)
    model = PrecGDFactorization(
        1, init=(1e3 * u[:, None], v[:, None]), alpha=alpha, solver="precgd"
    ).fit(X)
    assert_allclose(model.singular_values_, [5.0 - alpha], rtol=1e-9)
    # The start has that length already.
    assert_allclose(model.history_["loss"][0], alpha**2 / 2, rtol=1e-6)


# -- of no use --------------------------------------------------------------------


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("start", ["zeros", "opposite"])
def test_a_start_that_is_no_better_than_zero_is_dropped(
    start, rank_search, global_random_seed
):
    X, truth = completion(global_random_seed)
    left, right = balanced(truth.matrix, 2)
    pair = (0 * left, 0 * right) if start == "zeros" else (-left, right)
    usual = PrecGDFactorization(2, rank_search=rank_search).fit(X)
    model = PrecGDFactorization(2, init=pair, rank_search=rank_search).fit(X)
    assert_array_equal(model.left_, usual.left_)
    assert model.n_iter_ == usual.n_iter_ > 1


def test_a_symmetric_start_of_zeros(global_random_seed):
    A, y, truth = sensing(global_random_seed, symmetric=True)
    zeros = np.zeros((10, 3))
    model = PrecGDMatrixSensing(3, symmetric=True, init=(zeros, zeros)).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-7


def test_columns_of_zeros_are_filled(global_random_seed):
    # No step would move a column that is zero in both factors.
    X, truth = completion(global_random_seed)
    pair = [block.copy() for block in balanced(truth.matrix, 2)]
    pair[0][:, 1] = pair[1][:, 1] = 0.0
    model = PrecGDFactorization(2, init=tuple(pair), rank_search="fixed").fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-7


def test_one_factor_may_be_zero(global_random_seed):
    # The start of Nystrom's kind: the first step gives it a length.
    X, truth = completion(global_random_seed)
    left, right = balanced(truth.matrix, 2)
    model = PrecGDFactorization(2, init=(left, 0 * right), rank_search="fixed").fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-7


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("holes", [True, False])
@pytest.mark.parametrize("solver", ["auto", "gauss-newton"])
def test_data_that_are_all_zero_after_any_fit(loss, holes, solver, global_random_seed):
    X, truth = completion(global_random_seed)
    X = X if holes else truth.matrix
    model = PrecGDFactorization(2, loss=loss, solver=solver, warm_start=True).fit(X)
    model.fit(0 * X)
    assert model.converged_
    assert_array_equal(
        model.inverse_transform(model.transform(0 * X)), 0 * truth.matrix
    )
    # And from there back to data.
    model.fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-6


# -- other problems ---------------------------------------------------------------


@pytest.mark.parametrize("before", [1, 2, 4])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_warm_start_with_another_number_of_components(
    before, after, global_random_seed
):
    X, _ = completion(global_random_seed, condition_number=3)
    # Without noise: of rank two.
    options = {"alpha": 0, "early_stopping": False}
    model = PrecGDFactorization(before, warm_start=True, **options).fit(X)
    model.set_params(n_components=after).fit(X)
    fresh = PrecGDFactorization(after, **options).fit(X)
    assert model.n_components_ == fresh.n_components_ == min(after, 2)
    assert_allclose(matrix_of(model), matrix_of(fresh), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "centers", [(None, "columns"), ("both", None), ("mean", "both")]
)
def test_a_warm_start_after_the_centre_changed(centers, global_random_seed):
    X, truth = completion(global_random_seed, rank=1, oversampling=8)
    X, matrix = X + 3.0, truth.matrix + 3.0
    model = PrecGDFactorization(4, center=centers[0], warm_start=True).fit(X)
    model.set_params(center=centers[1]).fit(X)
    completed = model.left_ @ model.right_.T + model.center_
    assert np.linalg.norm(completed - matrix) < 1e-6 * np.linalg.norm(matrix)


def test_a_warm_start_after_the_loss_changed(global_random_seed):
    # The components of the first fit are labels, those of the second one log-odds.
    X, _ = completion(global_random_seed)
    labels = np.where(np.isnan(X), np.nan, (X > 0).astype(float))
    parameters = {"alpha": 0.5, "tol": 1e-6}
    model = PrecGDFactorization(2, warm_start=True, **parameters).fit(labels)
    model.set_params(loss="logistic").fit(labels)
    fresh = PrecGDFactorization(2, loss="logistic", **parameters).fit(labels)
    assert_allclose(model.history_["loss"][-1], fresh.history_["loss"][-1], rtol=0.01)


# -- the solution itself ----------------------------------------------------------


def refitted(model, *data):
    """The matrix of a fit, and of the same fit once more from its solution."""
    model.set_params(warm_start=True, random_state=0).fit(*data)
    assert model.converged_
    first = matrix_of(model)
    score = model.score(*data)
    model.fit(*data)
    assert model.converged_
    assert model.n_iter_ == 1
    assert_allclose(matrix_of(model), first, rtol=0, atol=1e-7 * np.linalg.norm(first))
    assert_allclose(model.score(*data), score, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("solver", FAST)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_fit_from_its_own_solution_ends_at_once(
    solver, rank_search, noise, global_random_seed
):
    X, _ = completion(global_random_seed, noise)
    refitted(
        PrecGDFactorization(2, solver=solver, rank_search=rank_search, tol=1e-6), X
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_sensing_from_its_own_solution(symmetric, global_random_seed):
    A, y, _ = sensing(global_random_seed, symmetric)
    y = y + 0.1 * np.random.default_rng(global_random_seed).normal(size=len(y))
    shape = (10, 10) if symmetric else (10, 8)
    refitted(PrecGDMatrixSensing(4, matrix_shape=shape, symmetric=symmetric), A, y)


@pytest.mark.parametrize("center", ["mean", "columns", "both"])
@pytest.mark.parametrize(
    "loss", ["squared", "huber", AbsoluteLoss(smoothing=0.1), "absolute"]
)
def test_centred_fits_from_their_own_solution(loss, center, global_random_seed):
    X, _ = completion(global_random_seed, noise=0.1)
    refitted(PrecGDFactorization(3, loss=loss, center=center, tol=1e-6), 2.0 + X)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_labels_and_counts_from_their_own_solution(loss, global_random_seed):
    X, _ = completion(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    size = np.exp(X / np.nanstd(X) / 2)
    counts = np.where(np.isnan(X), np.nan, rng.poisson(np.nan_to_num(size)))
    refitted(
        PrecGDFactorization(2, loss=loss),
        counts if loss == "poisson" else np.minimum(counts, 1),
    )


@pytest.mark.parametrize(
    "parameters",
    [{"alpha": 1.0}, {"outlier_fraction": 0.1}, {"noise_variance": "auto"}],
    ids=str,
)
def test_other_fits_from_their_own_solution(parameters, global_random_seed):
    X, _ = completion(global_random_seed, noise=0.1)
    refitted(PrecGDFactorization(3, **parameters), X)


def test_a_fit_that_is_asked_for_something_else_goes_on(global_random_seed):
    X, _ = completion(global_random_seed, noise=0.1)
    model = PrecGDFactorization(1, warm_start=True, alpha=1.0).fit(X)
    model.set_params(n_components=2).fit(X)
    assert model.n_components_ == 2
    model.set_params(alpha=2.0).fit(X)
    fresh = PrecGDFactorization(2, alpha=2.0).fit(X)
    assert_allclose(model.singular_values_, fresh.singular_values_, rtol=0, atol=1e-6)
