"""Counts that differ by orders of magnitude: starts, held-out losses, verdicts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.factors import FactorPair
from skprecgd.initialization import spectral
from skprecgd.losses import PoissonLoss, make_loss
from skprecgd.measurements import FullObservation
from skprecgd.objective import make_objective
from skprecgd.optim import minimize
from skprecgd.optim.loop import Journal, descend
from skprecgd.optim.result import Status
from skprecgd.optim.solvers import make_method
from skprecgd.optim.stopping import Progress


def counts(seed, size=10.0, shape=(40, 25)):
    """Counts whose logarithmic means have rank two and this largest size."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((shape[0], 2)) @ rng.standard_normal((2, shape[1]))
    z *= size / np.max(np.abs(z))
    return rng.poisson(np.exp(z)).astype(float), z


def explained(z, X):
    """D^2: the share of the deviance of the best constant that is gone."""
    loss = PoissonLoss()
    constant = np.full_like(X, loss.constant(X.ravel()))
    return 1 - loss.value(z, X) / loss.value(constant, X)


def independence(X):
    """The logarithmic means where rows and columns are independent."""
    means = np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum()
    return np.log(np.maximum(means, 1e-12))


def fitted(X, n_components=2, **options):
    model = PrecGDFactorization(n_components, loss="poisson", random_state=0, **options)
    model.fit(X)
    return model, model.left_ @ model.right_.T


# --------------------------------------------------------------------------------------
# Starts
# --------------------------------------------------------------------------------------


def objective_of(X):
    return make_objective(FullObservation(X.shape), X, PoissonLoss())


@pytest.mark.parametrize("size", [1.0, 5.0, 15.0, 25.0])
def test_a_spectral_start_is_better_than_zero(size, global_random_seed):
    X, _ = counts(global_random_seed, size)
    objective = objective_of(X)
    start = objective.evaluate(spectral(objective, 2))
    assert start.relative_residual < 1


def test_a_spectral_start_of_a_symmetric_matrix(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    u = rng.standard_normal((12, 1))
    X = rng.poisson(np.exp(10 * u @ u.T / np.max(u**2))).astype(float)
    objective = objective_of(X)
    start = objective.evaluate(spectral(objective, 1, symmetric=True))
    assert start.relative_residual < 1


def test_starts_of_bounded_curvature_keep_their_length(global_random_seed):
    X, _ = counts(global_random_seed, 2.0)
    objective = make_objective(FullObservation(X.shape), 1.0 * (X > 1))
    s = np.linalg.svd(1.0 * (X > 1), compute_uv=False)
    np.testing.assert_allclose(spectral(objective, 2).singular_values(), s[:2])


@pytest.mark.parametrize("early_stopping", ["auto", False])
@pytest.mark.parametrize("size", [5.0, 10.0])
def test_a_fixed_rank(size, early_stopping, global_random_seed):
    X, z = counts(global_random_seed, size)
    _, found = fitted(X, rank_search="fixed", early_stopping=early_stopping, tol=1e-4)
    # The true means, or what fits the counts better than those.
    assert explained(found, X) > explained(z, X) - 0.1


def test_a_fixed_rank_in_sensing(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = rng.standard_normal((300, 10, 6))
    M = rng.standard_normal((10, 2)) @ rng.standard_normal((2, 6))
    z = np.einsum("nij,ij->n", A, M)
    y = rng.poisson(np.exp(8.0 * z / np.max(np.abs(z))))
    model = PrecGDMatrixSensing(2, loss="poisson", rank_search="fixed", tol=1e-5)
    assert model.fit(A, y).score(A, y) > 0.9


# --------------------------------------------------------------------------------------
# Held-out counts
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10.0, 15.0])
def test_no_worse_than_independence(size, global_random_seed):
    """A few large counts neither stop the fit on its way nor hide a second rank."""
    X, _ = counts(global_random_seed, size)
    model, found = fitted(X)
    assert model.converged_
    assert explained(found, X) > explained(independence(X), X)
    assert explained(found, X) > 0.9


@pytest.mark.parametrize("random_state", range(4))
def test_any_held_out_share(random_state):
    X, _ = counts(2)
    model = PrecGDFactorization(2, loss="poisson", random_state=random_state).fit(X)
    assert model.n_components_ == 2
    assert explained(model.left_ @ model.right_.T, X) > 0.95


def test_small_counts_are_not_overfitted(global_random_seed):
    """Fresh counts of the same means: held-out ones still end the fit."""
    rng = np.random.default_rng(global_random_seed)
    X, z = counts(global_random_seed, 1.0, shape=(60, 40))
    fresh = rng.poisson(np.exp(z)).astype(float)
    model, found = fitted(X)
    assert model.n_components_ == 1
    assert explained(found, fresh) > -0.25


def test_overdispersed_counts_are_not_overfitted(global_random_seed):
    """Their loss is above that of chance at any rank."""
    rng = np.random.default_rng(global_random_seed)
    _, z = counts(global_random_seed, 2.0, shape=(60, 40))
    X, fresh = (
        rng.poisson(np.exp(z + 3) * rng.exponential(size=z.shape)) for _ in "ab"
    )
    _, found = fitted(X.astype(float))
    assert explained(found, fresh.astype(float)) > -0.25


def spread(seed, *, spread=2.0, mean=100.0):
    """Counts with logarithmic means of rank three, and which of them are hidden."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40))
    z = spread * z / z.std() + np.log(mean)
    return rng.poisson(np.exp(z)).astype(float), z, rng.random(z.shape) < 0.3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 3, 9, 13])
def test_a_misleading_draw_of_held_out_counts(seed, dtype):
    """A fit that misses a few counts by far is a reason for another draw."""
    X, z, hidden = spread(seed)
    model, found = fitted(np.where(hidden, np.nan, X).astype(dtype), n_components=6)
    assert model.converged_
    assert PoissonLoss().value(found[~hidden], X[~hidden]) < np.sum(~hidden)
    assert np.median(np.abs(found - z)[hidden]) < 0.05


def test_many_counts_that_are_missed_are_what_the_data_are(global_random_seed):
    """Where the means themselves are drawn, no other counts are held out."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.poisson(20 * rng.exponential(size=(60, 40))).astype(float)
    objective = objective_of(X)
    zero = objective.evaluate(FactorPair(np.zeros((60, 1)), np.zeros((40, 1))))
    assert objective.effective_number(zero) > 200
    X[3, 5] = 1e6
    objective = objective_of(X)
    assert objective.effective_number(objective.evaluate(zero.factors)) < 2


@pytest.mark.parametrize("mean", [10.0, 1e3, 1e7])
def test_hidden_counts_are_predicted_as_well_as_fitted_ones(mean, global_random_seed):
    """A score predicts entries from a part of their row alone."""
    X, _, _ = spread(global_random_seed, spread=1.5, mean=mean)
    model, found = fitted(X, n_components=6)
    assert 1 - model.score(X) < 4 * (1 - explained(found, X))


def test_where_the_held_out_loss_was_lowest_before_the_end(global_random_seed):
    """A stationary point that held-out data advise against is no reason for a refit."""
    X, _ = counts(global_random_seed, 1.0)
    objective = make_objective(FullObservation(X.shape), X, make_loss("huber"))
    calls = []

    def rises(evaluation):
        calls.append(evaluation)
        return float(len(calls))

    start = objective.evaluate(spectral(objective, 1))
    outcome = descend(
        objective,
        start,
        make_method("precgd-cg", objective),
        Journal(validation_loss=rises),
        max_iter=1000,
        tol=1e-3,
        progress=Progress(of_gradient=True, window=1000, patience=10, chance=0.0),
    )
    assert outcome.evaluation is start
    assert outcome.status is Status.SLOW


# --------------------------------------------------------------------------------------
# Verdicts
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "gauss-newton"])
def test_nothing_above_the_loss_at_zero_has_converged(solver):
    """Steps from so far off change nothing that a number could show."""
    X, _ = counts(2)
    u, s, vt = np.linalg.svd((X - 1) / np.mean(X), full_matrices=False)
    back_projection = FactorPair.from_svd(u[:, :2], s[:2], vt[:2].T)
    result = minimize(objective_of(X), back_projection, solver=solver)
    assert result.relative_residual > 1e80
    assert result.status is Status.WORSE_THAN_ZERO
    assert not result.converged
    assert result.message.startswith(Status.WORSE_THAN_ZERO.value)


@pytest.mark.parametrize("size", [1.0, 4.0, 12.0])
@pytest.mark.parametrize("loss", ["squared", "logistic", "huber", "poisson"])
def test_a_given_start_far_off(loss, size, global_random_seed):
    X, _ = counts(global_random_seed, 3.0)
    X = 1.0 * (X > 1) if loss == "logistic" else X
    init = np.full((40, 2), size), np.full((25, 2), size)
    model = PrecGDFactorization(2, loss=loss, init=init, rank_search="fixed", tol=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(np.where(np.arange(25) > 0, X, np.nan))
    measured = make_loss(loss).relative_to(X.ravel())
    found = (model.left_ @ model.right_.T)[:, 1:].ravel()
    y = X[:, 1:].ravel()
    if model.converged_:
        assert measured.value(found, y) <= measured.value(0 * y, y) * (1 + 1e-6)


def test_means_and_scores_are_numbers_however_far_off(global_random_seed):
    """A user of single precision meets means above 1e38 soon."""
    z = np.array([-1e4, 0.0, 89.0, 1e4], dtype=np.float32)
    means = PoissonLoss().mean(z)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, [0, 1, *[np.finfo(np.float32).max] * 2])
    X, _ = counts(global_random_seed)
    far = 1e3 * np.ones((len(X), 1)), np.ones((X.shape[1], 1))
    model = PrecGDFactorization(1, loss="poisson", init=far, rank_search="fixed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.set_params(solver="gd", step_size=1e-12, max_iter=1).fit(X)
    assert np.isfinite(model.score(X))
    assert np.all(np.isfinite(model.inverse_transform(model.transform(X))))
