"""Linear models with many outputs: products, selections, reduced-rank regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score

from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import (
    DenseMeasurements,
    MultiOutputMeasurements,
    multi_output,
)
from skprecgd.objective import make_objective


def samples(seed, n=40, p=8):
    return np.random.default_rng(seed).standard_normal((n, p))


def test_the_measurement_matrices(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = samples(global_random_seed, 5, 4)
    A = MultiOutputMeasurements(X, 3)
    formed = DenseMeasurements([np.outer(x, e) for x in X for e in np.eye(3)], (4, 3))
    left, right = rng.standard_normal((4, 2)), rng.standard_normal((3, 2))
    np.testing.assert_allclose(A.forward(left, right), formed.forward(left, right))
    weights = rng.standard_normal(15)
    np.testing.assert_allclose(A.adjoint(weights) @ np.eye(3), formed.adjoint(weights))
    assert A.mean_square == pytest.approx(formed.mean_square)
    np.testing.assert_array_equal(A.sample_index, np.repeat(np.arange(5), 3))
    np.testing.assert_array_equal(A.target_index, np.tile(np.arange(3), 5))


def test_selections_measure_what_was_selected(global_random_seed):
    """Whole samples, samples in another order, outputs out of order, a few of them."""
    X = samples(global_random_seed)
    A = MultiOutputMeasurements(X, 3)
    left, right = np.eye(8), np.random.default_rng(1).standard_normal((3, 8))
    everything = (X @ right.T).ravel()
    train, test = next(GroupKFold(4).split(A, groups=A.sample_index))
    chosen = train[: 3 * 5][np.r_[3:6, 0:3]]
    for part, index in [
        (A[train], train),
        (A[test], test),
        (A[train][: 3 * 5][np.r_[3:6, 0:3]], chosen),
        (A[[0, 1, 2, 3]], np.arange(4)),
        (A[[1, 0, 2]], np.array([1, 0, 2])),
    ]:
        np.testing.assert_allclose(part.forward(left, right), everything[index])
        np.testing.assert_array_equal(part.target_index, index % 3)
        # No sample is kept of which nothing is measured.
        assert len(part.X) == len(np.unique(index // 3))


class CountedMeasurements(MultiOutputMeasurements, checked=True):
    """Counts its passes over X, and how many columns each multiplies."""

    def __init__(self, X, n_targets):
        super().__init__(X, n_targets)
        self.passes = []

    def _times(self, block):
        self.passes.append(("X", block.shape[1]))
        return super()._times(block)

    def _transposed_times(self, block):
        self.passes.append(("X.T", block.shape[1]))
        return super()._transposed_times(block)


def test_passes_over_the_samples(global_random_seed):
    """An iteration: one fused product for the ray, two for the gradient."""
    rng = np.random.default_rng(global_random_seed)
    A = CountedMeasurements(samples(global_random_seed), 30)
    objective = make_objective(A, rng.standard_normal(len(A)))
    from skprecgd.factors import FactorPair

    factors = FactorPair(rng.standard_normal((8, 2)), rng.standard_normal((30, 2)))
    evaluation = objective.evaluate(factors)
    assert A.passes == [("X", 2)]
    gradient = objective.gradient(evaluation)
    assert A.passes[1:] == [("X.T", 2), ("X", 2)]
    ray = objective.ray(evaluation, gradient.times(-1.0))
    assert A.passes[3:] == [("X", 4)]
    ray.advance(ray.minimizer())
    product = objective.curvature(evaluation)
    product(gradient)
    product(gradient)
    assert A.passes[4:] == [("X", 2), *2 * [("X", 2), ("X.T", 2)]]


def reduced_rank_regression(X, Y, rank):
    """The closed form: least squares, projected on leading output directions."""
    least_squares = np.linalg.lstsq(X, Y, rcond=None)[0]
    v = np.linalg.svd(X @ least_squares, full_matrices=False)[2][:rank].T
    return least_squares @ v @ v.T


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("condition_number", [1.0, 30.0])
def test_reduced_rank_regression(container, condition_number, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = samples(global_random_seed, 80, 10)
    X *= np.geomspace(1.0, 1.0 / condition_number, 10)
    M = rng.standard_normal((10, 2)) @ rng.standard_normal((2, 25))
    Y = X @ M
    Y += 0.1 * Y.std() * rng.standard_normal(Y.shape)
    A, y = multi_output(container(X), Y)
    model = PrecGDMatrixSensing(2, alpha=0, early_stopping=False, tol=1e-8).fit(A, y)
    expected = reduced_rank_regression(X, Y, 2)
    assert model.converged_
    size = np.linalg.norm(X @ expected)
    assert np.linalg.norm(X @ (model.matrix_ - expected)) < 1e-5 * size
    predicted = model.predict(MultiOutputMeasurements(container(X), 25))
    np.testing.assert_allclose(predicted.reshape(80, 25), X @ model.matrix_)


def test_whole_samples_are_held_out_by_groups(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = samples(global_random_seed, 60)
    Y = X @ np.outer(rng.standard_normal(8), rng.standard_normal(12))
    A, y = multi_output(X, Y)
    scores = cross_val_score(
        PrecGDMatrixSensing(2), A, y, groups=A.sample_index, cv=GroupKFold(3)
    )
    assert np.all(scores > 0.999)


def test_missing_outputs_and_offset(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = samples(global_random_seed, 60)
    frozen = rng.standard_normal((8, 15))
    change = rng.standard_normal((8, 2)) @ rng.standard_normal((2, 15))
    Y = X @ (frozen + change)
    Y[rng.random(Y.shape) < 0.3] = np.nan
    for offset in (frozen, sparse.csr_array(frozen)):
        A, y = multi_output(X, Y, offset=offset)
        assert len(A) == len(y) == np.sum(~np.isnan(Y))
        model = PrecGDMatrixSensing(5, tol=1e-9).fit(A, y)
        assert model.n_components_ == 2
        np.testing.assert_allclose(model.matrix_, change, atol=1e-6)


def test_many_outputs_are_never_multiplied_out(global_random_seed):
    """The back-projection of many outputs stays an operator."""
    rng = np.random.default_rng(global_random_seed)
    X = samples(global_random_seed, 12, 6)
    n_targets = 20_000
    right = rng.standard_normal((n_targets, 1))
    A, y = multi_output(X, X @ rng.standard_normal((6, 1)) @ right.T)
    adjoint = A.adjoint(y)
    assert adjoint.shape == (6, n_targets)
    assert not isinstance(adjoint, np.ndarray)
    model = PrecGDMatrixSensing(2, tol=1e-6, max_iter=50).fit(A, y)
    assert model.n_components_ == 1
    assert model.score(A, y) > 1 - 1e-9


def test_an_adapter_of_tilted_digits(global_random_seed):
    """A twentieth of the parameters, and more of the way than gradient descent."""
    rng = np.random.default_rng(global_random_seed)
    images, labels = load_digits(return_X_y=True)
    tilted = rotate(images.reshape(-1, 8, 8), 25, axes=(1, 2), reshape=False, order=1)
    waves = RBFSampler(
        gamma=1e-4, n_components=300, random_state=global_random_seed
    ).fit(images)
    features, tilted = (
        waves.transform(pictures) for pictures in (images, tilted.reshape(-1, 64))
    )
    order = rng.permutation(len(labels))
    train, adapt, test = order[:800], order[800:1100], order[1100:]
    codes = rng.choice([-1.0, 1.0], size=(10, 150))

    def ridge(X, Y):
        return Ridge(1e-2, fit_intercept=False).fit(X, Y).coef_.T

    def accuracy(coefficients):
        scores = tilted[test] @ coefficients @ codes.T
        return np.mean(scores.argmax(axis=1) == labels[test])

    frozen = ridge(features[train], codes[labels[train]])
    X, Y = tilted[adapt], codes[labels[adapt]]
    full = accuracy(frozen + ridge(X, Y - X @ frozen))
    A, y = multi_output(X, Y, offset=frozen)
    fits = {
        solver: PrecGDMatrixSensing(
            5, solver=solver, rank_search="fixed", max_iter=60, tol=0
        ).fit(A, y)
        for solver in ("precgd-cg", "gd")
    }
    adapter = fits["precgd-cg"]
    assert adapter.left_.size + adapter.right_.size < 0.051 * frozen.size
    gained = accuracy(frozen + adapter.matrix_) - accuracy(frozen)
    assert gained > 0.5 * (full - accuracy(frozen))
    losses = {solver: model.history_["loss"][-1] for solver, model in fits.items()}
    assert losses["precgd-cg"] < 0.95 * losses["gd"]


def test_float32():
    X = samples(0).astype(np.float32)
    A, y = multi_output(X, (X @ X[:8]).astype(np.float32))
    assert A.dtype == y.dtype == np.float32
    assert A[::2].dtype == np.float32


@pytest.mark.parametrize(
    ("X", "Y", "offset", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), None, "X has 3 samples and Y 4"),
        (np.ones((3, 2)), np.ones(3), None, "Y must be a real 2-D array, got 1-D"),
        (np.ones((3, 2)), np.ones((3, 2)) * 1j, None, "Y must be a real 2-D array"),
        (np.ones((3, 2)), np.full((3, 2), np.inf), None, "Y holds infinity"),
        (np.ones((3, 2)), np.full((3, 2), np.nan), None, "no observed entry"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), None, "X holds NaN or infinity"),
        (sparse.csr_array([[np.inf]]), np.ones((1, 2)), None, "X holds NaN or inf"),
        (sparse.csr_array([[1j]]), np.ones((1, 2)), None, "X is complex"),
        (np.ones(3), np.ones((3, 2)), None, "X must be 2-D, got 1-D"),
        (np.ones((3, 2)), np.ones((3, 4)), np.ones((4, 2)), r"\(2, 4\), got \(4, 2\)"),
    ],
)
def test_bad_input(X, Y, offset, message):
    with pytest.raises(ValueError, match=message):
        multi_output(X, Y, offset=offset)
