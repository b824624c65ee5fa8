"""Noisy measurements that are no single entries: what is learned of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.linear_model import BayesianRidge

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing
from skprecgd.measurements import (
    DenseMeasurements,
    RankOneMeasurements,
    as_measurements,
)
from skprecgd.objective import Weights
from skprecgd.variational.bilinear import PairModel, SquareModel
from skprecgd.variational.gaussian import FullSpread, Gaussian
from skprecgd.variational.iterative import Products
from skprecgd.variational.measured import NoisyMeasurements, Normal
from skprecgd.variational.sensing import _settled, learn_sensing
from skprecgd.variational.tuning import ITERATIVE, SENSING

SHAPE = (9, 7)
KINDS = ("dense", "rank_one")
BOTH = pytest.mark.parametrize("symmetric", [False, True])
# Systems that are formed from all pairs of cells, from the design, and not at all.
FORMS = {
    "cells": Normal,
    "design": Products,
    "products": lambda data: Products(data, replace(ITERATIVE, most_unknowns=0)),
}
PRECISE = replace(ITERATIVE, most_unknowns=0, tol=1e-11, steps=500)


def shape_of(symmetric):
    return (SHAPE[0], SHAPE[0]) if symmetric else SHAPE


def problem(seed, symmetric=False, noise=0.3, n=150, kind="dense"):
    return make_matrix_sensing(
        *shape_of(symmetric),
        rank=2,
        n_measurements=n,
        noise=noise,
        symmetric=symmetric,
        kind=kind,
        random_state=seed,
    )


def data_of(X, y, symmetric=False, weights=None):
    measurements = as_measurements(X, shape_of(symmetric))
    given = Weights() if weights is None else weights
    return NoisyMeasurements.of(measurements, y, given, symmetric=symmetric)


def model_of(data, form=Normal):
    return (SquareModel if data.symmetric else PairModel)(form(data))


def estimator(symmetric=False, **options):
    shape = shape_of(symmetric)
    return PrecGDMatrixSensing(6, matrix_shape=shape, symmetric=symmetric, **options)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


# ---- the formulas


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_a_side_is_a_linear_regression_where_the_other_is_known(
    kind, symmetric, global_random_seed
):
    # The covariances are the inverse of J^T J / noise + 1 / prior, J being the design.
    X, y, _ = problem(global_random_seed, symmetric, kind=kind)
    data = data_of(X, y, symmetric)
    rng = np.random.default_rng(global_random_seed)
    n_rows, n_columns = data.shape
    right = rng.normal(size=(n_columns, 2))
    prior, noise = np.array([0.5, 2.0]), 0.7
    known = Gaussian(right, FullSpread.none(n_columns, 2), 0.0, np.ones(2))
    matrices = np.vstack([rows for _, rows in data.stacks()])
    J = (matrices.reshape(-1, *data.shape) @ right).reshape(len(y), -1)
    precision = J.T @ J / noise + np.diag(np.tile(1 / prior, n_rows))
    target = rng.normal(size=(n_rows, 2))
    for form in (Normal(data), Products(data), Products(data, PRECISE)):
        system = form.system(0, known, prior, noise, 1.0)
        expected = (precision @ target.ravel()).reshape(target.shape)
        assert_allclose(system.times(target), expected, rtol=1e-9)
        assert_allclose(system.solve(expected), target, rtol=0, atol=1e-6)
    spread, log = Normal(data).system(0, known, prior, noise, 1.0).spread()
    inverse = np.linalg.inv(precision).reshape(n_rows, 2, n_rows, 2)
    assert_allclose(spread.pairs, inverse, rtol=1e-8, atol=1e-10)
    assert_allclose(log, -np.linalg.slogdet(precision)[1], rtol=1e-10)


def test_a_known_side_gives_bayesian_ridge(global_random_seed):
    # One column of prior and noise that are learned, beside a factor of ones.
    rng = np.random.default_rng(global_random_seed)
    A = rng.normal(size=(80, 12))
    y = A @ rng.normal(size=12) + 0.5 * rng.normal(size=80)
    data = NoisyMeasurements.of(DenseMeasurements(A, (12, 1)), y)
    known = Gaussian(np.ones((1, 1)), FullSpread.none(1, 1), 0.0, np.ones(1))
    normal, prior, noise = Normal(data), np.ones(1), 1.0
    for _ in range(500):
        system = normal.system(0, known, prior, noise, 1.0)
        mean = system.solve(normal.seen / noise)
        spread, log = system.spread()
        side = Gaussian(mean, spread, log, prior).with_prior(0.0, shared=False)
        freedom = 12 - float(spread.total()[0, 0] / prior[0])
        squares = normal.squares - 2 * np.sum(mean * normal.seen)
        squares += float(np.sum(mean * normal.times(mean, np.ones((1, 1)))))
        prior, noise = side.prior, (squares + noise * freedom) / normal.count
    ridge = BayesianRidge(fit_intercept=False, tol=1e-10, max_iter=1000)
    ridge.set_params(alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0).fit(A, y)
    unit = data.size / data.measurements.size
    assert_allclose(unit * mean[:, 0], ridge.coef_, rtol=1e-4)
    assert_allclose(noise * data.size**2, 1 / ridge.alpha_, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_never_falls(kind, global_random_seed):
    X, y, _ = problem(global_random_seed, kind=kind)
    model = model_of(data_of(X, y))
    model.grow(4)
    model.step()
    found = []
    for _ in range(40):
        model.step()
        found.append(model.evidence())
    assert np.all(np.diff(found) >= -1e-9 * np.abs(found[:-1]))


def test_evidence_is_that_of_the_formula(global_random_seed):
    # The expected squares by draws from the posterior, the divergences by their sums.
    X, y, _ = problem(global_random_seed, n=60)
    data = data_of(X, y)
    model = model_of(data)
    model.grow(2)
    for _ in range(5):
        model.step()
    rng = np.random.default_rng(global_random_seed)
    drawn = []
    for side in model.sides:
        size = side.mean.size
        root = np.linalg.cholesky(side.spread.pairs.reshape(size, size))
        draws = rng.normal(size=(20_000, size)) @ root.T + side.mean.ravel()
        drawn.append(draws.reshape(-1, *side.mean.shape))
        covariance = root @ root.T
        prior = np.tile(side.prior, side.n)
        inner = (np.diag(covariance) + side.mean.ravel() ** 2) / prior - 1
        logs = np.sum(np.log(prior)) - np.linalg.slogdet(covariance)[1]
        assert_allclose(side.divergence(), 0.5 * (np.sum(inner) + logs), rtol=1e-8)
    matrices = np.vstack([rows for _, rows in data.stacks()])
    products = (drawn[0] @ drawn[1].transpose(0, 2, 1)).reshape(20_000, -1)
    squares = np.mean(np.sum((data.targets - products @ matrices.T) ** 2, axis=1))
    # The noise is where the evidence is highest, so that it is the mean square; a turn
    # of the factors changes neither.
    assert_allclose(model.noise * len(y), squares, rtol=0.02)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_traces_by_probes_are_those_of_exact_systems(
    kind, symmetric, global_random_seed
):
    X, y, _ = problem(global_random_seed, symmetric, n=200, kind=kind)
    found = []
    for form in FORMS.values():
        model = model_of(data_of(X, y, symmetric), form)
        model.grow(2)
        for _ in range(5):
            model.point_step(0.1)
        for _ in range(30):
            model.step()
        found.append(model)
    exact, *others = found
    for other in others:
        assert_allclose(other.noise, exact.noise, rtol=0.1)
        assert_allclose(other.sides[0].prior, exact.sides[0].prior, rtol=0.15)
        assert abs(other.evidence() - exact.evidence()) < 0.02 * len(y)
        matrices = [m.sides[0].mean @ m.sides[-1].mean.T for m in (other, exact)]
        assert relative(*matrices) < 0.1


@BOTH
def test_variances_of_measurements_by_draws_are_those_of_covariances(
    symmetric, global_random_seed
):
    X, y, _ = problem(global_random_seed, symmetric, n=200)
    new, _, _ = problem(global_random_seed + 1, symmetric, n=300)
    posteriors = [
        learn_sensing(
            as_measurements(X, shape_of(symmetric)),
            y,
            4,
            symmetric=symmetric,
            tuning=replace(SENSING, most_cells=most),
        )
        for most in (SENSING.most_cells, 1)
    ]
    measurements = as_measurements(new, shape_of(symmetric))
    exact, other = (each.measured.std(measurements) for each in posteriors)
    assert_allclose(np.median(other), np.median(exact), rtol=0.1)


@BOTH
def test_the_evidence_is_that_of_the_last_step(symmetric, monkeypatch):
    """Also where a column might leave as late as may be."""
    X, y, _ = problem(0, symmetric, n=200)
    kind, after = SquareModel if symmetric else PairModel, []
    step = kind.step

    def told(model):
        step(model)
        after.append(model.evidence())

    model = kind(Normal(data_of(X, y, symmetric)), None, SENSING)
    model.grow(4)
    monkeypatch.setattr(kind, "step", told)
    last = replace(SENSING, most_steps=10, first_steps=9, settled=0.0)
    settled = _settled(model.copied(), last)
    assert np.min(settled.shares_known()) < SENSING.vanished
    assert settled.evidence() == after[-1]


# ---- the fit


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_rank_are_found(kind, symmetric, global_random_seed):
    X, y, truth = problem(global_random_seed, symmetric, n=300, kind=kind)
    model = estimator(symmetric).fit(X, y)
    assert "2 of 6 columns carry signal" in model.stop_reason_
    assert model.converged_
    clean = y.std() / np.sqrt(1 + 0.3**2)
    assert_allclose(np.sqrt(model.noise_variance_), 0.3 * clean, rtol=0.35)
    assert relative(model.matrix_, truth.matrix) < 0.25
    assert len(model.factor_scales_) >= 2
    assert np.all(np.diff(model.factor_scales_) <= 0)
    assert np.isfinite(model.lower_bound_)
    assert not hasattr(model, "certificate_")


@BOTH
def test_all_forms_of_the_same_measurements_give_the_same_matrix(
    symmetric, global_random_seed
):
    X, y, _ = problem(global_random_seed, symmetric)
    expected = estimator(symmetric).fit(X, y)
    for form in (sparse.csr_array(X), aslinearoperator(X)):
        model = estimator(symmetric).fit(form, y)
        assert_allclose(model.matrix_, expected.matrix_, rtol=0, atol=1e-6)
        assert_allclose(model.lower_bound_, expected.lower_bound_, rtol=1e-8)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_without_noise_nothing_is_learned(kind, symmetric, global_random_seed):
    X, y, _ = problem(global_random_seed, symmetric, noise=0.0, kind=kind)
    model = estimator(symmetric, random_state=0).fit(X, y)
    plain = estimator(symmetric, random_state=0, alpha=0.0).fit(X, y)
    assert_allclose(model.matrix_, plain.matrix_, rtol=0, atol=1e-12)
    assert not hasattr(model, "lower_bound_")


@BOTH
@pytest.mark.parametrize("unit", [1e-100, 3.0, 1e100])
def test_targets_may_have_any_unit(unit, symmetric, global_random_seed):
    X, y, _ = problem(global_random_seed, symmetric)
    model = estimator(symmetric).fit(X, y)
    other = estimator(symmetric).fit(X, unit * y)
    size = np.max(np.abs(model.matrix_))
    assert_allclose(other.matrix_ / unit, model.matrix_, rtol=0, atol=1e-6 * size)
    variance = other.noise_variance_ / unit / unit
    assert_allclose(variance, model.noise_variance_, rtol=1e-6)
    shift = len(y) * np.log(unit)
    assert_allclose(other.lower_bound_ + shift, model.lower_bound_, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-30, 3.0, 1e30])
def test_measurements_may_have_any_unit(unit, global_random_seed):
    X, y, _ = problem(global_random_seed)
    model, other = estimator().fit(X, y), estimator().fit(unit * X, y)
    size = np.max(np.abs(model.matrix_))
    assert_allclose(unit * other.matrix_, model.matrix_, rtol=0, atol=1e-6 * size)
    std = model.predict(X, return_std=True)[1]
    assert_allclose(other.predict(unit * X, return_std=True)[1], std, rtol=1e-6)


@BOTH
def test_single_precision_stays(symmetric, global_random_seed):
    X, y, _ = problem(global_random_seed, symmetric)
    exact = estimator(symmetric).fit(X, y)
    model = estimator(symmetric).fit(X.astype(np.float32), y.astype(np.float32))
    mean, std = model.predict(X.astype(np.float32), return_std=True)
    assert model.matrix_.dtype == mean.dtype == std.dtype == np.float32
    assert relative(model.matrix_, exact.matrix_) < 1e-2


def test_a_measurement_of_weight_two_counts_twice(global_random_seed):
    X, y, _ = problem(global_random_seed)
    often = np.random.default_rng(global_random_seed).integers(1, 3, len(y))
    known = {"noise_variance": 4.0}
    repeated = np.repeat(np.arange(len(y)), often)
    expected = estimator(**known).fit(X[repeated], y[repeated])
    model = estimator(**known).fit(X, y, sample_weight=often)
    size = np.max(np.abs(expected.matrix_))
    assert_allclose(model.matrix_, expected.matrix_, rtol=0, atol=1e-6 * size)


def test_a_known_variance_is_not_learned(global_random_seed):
    X, y, _ = problem(global_random_seed)
    model = estimator(noise_variance=7.0).fit(X, y)
    assert model.noise_variance_ == 7.0
    assert model.predict(X, return_std=True)[1].min() > np.sqrt(7.0)
    assert not hasattr(estimator(noise_variance=0.0).fit(X, y), "lower_bound_")


@BOTH
def test_pure_noise_is_no_matrix(symmetric, rng):
    n_rows, n_columns = shape_of(symmetric)
    X = rng.normal(size=(400, n_rows * n_columns))
    y = rng.normal(size=400)
    model = estimator(symmetric).fit(X, y)
    assert "no column carries signal" in model.stop_reason_
    assert np.std(X @ model.matrix_.ravel()) < 0.6


@BOTH
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_learning_is_no_worse_than_zero_or_the_default(
    noise, symmetric, global_random_seed
):
    X, y, truth = problem(global_random_seed, symmetric, noise=noise, n=120)
    model = estimator(symmetric).fit(X, y)
    plain = estimator(symmetric, alpha=0.0).fit(X, y)
    found, without = (relative(m.matrix_, truth.matrix) for m in (model, plain))
    assert found < 1.02
    assert found < 1.3 * without


def test_a_rank_that_is_hardly_determined_does_not_explain_noise_away():
    # Rank 3 has 57 unknowns and leaves nothing of 58 measurements, half of them noise;
    # held-out measurements then choose rank 1, which leaves two thirds.
    X, y, _ = make_matrix_sensing(
        20,
        rank=2,
        n_measurements=58,
        kind="rank_one",
        symmetric=True,
        noise=1.0,
        random_state=11,
    )
    model = PrecGDMatrixSensing(6, matrix_shape=(20, 20), symmetric=True)
    model.set_params(random_state=0).fit(X, y)
    assert hasattr(model, "lower_bound_")
    assert "Noise of about" in model.stop_reason_


# ---- how sure


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_new_measurements(kind, symmetric, global_random_seed):
    covered = []
    for seed in range(5 * global_random_seed, 5 * global_random_seed + 5):
        X, y, truth = problem(seed, symmetric, n=200, kind=kind)
        new, y_new, _ = problem(seed + 1000, symmetric, n=500, kind=kind)
        A = as_measurements(new, shape_of(symmetric))
        clean = A.forward(truth.left, truth.right)
        own = as_measurements(X, shape_of(symmetric)).forward(truth.left, truth.right)
        sd = 0.3 * np.sqrt(np.mean(own**2))
        y_new = clean + sd * np.random.default_rng(seed).normal(size=len(clean))
        mean, std = estimator(symmetric).fit(X, y).predict(new, return_std=True)
        covered.append(np.mean(np.abs(y_new - mean) < 1.645 * std))
    assert 0.83 < np.mean(covered) < 0.96


def test_no_standard_deviations_without_learned_noise(global_random_seed):
    X, y, _ = problem(global_random_seed, noise=0.0)
    model = estimator().fit(X, y)
    with pytest.raises(ValueError, match="learned the noise of its measurements"):
        model.predict(X, return_std=True)
    X, y, _ = problem(global_random_seed)
    model = estimator(store_pattern=False).fit(X, y)
    with pytest.raises(ValueError, match="store_pattern=True"):
        model.predict(X, return_std=True)


# ---- what measurements tell of themselves


@pytest.mark.parametrize("form", ["dense", "sparse", "rank_one", "operator"])
def test_stacked_and_design_are_those_of_the_matrices(form, rng):
    n_rows, n_columns = SHAPE
    a, b = rng.normal(size=(11, n_rows)), rng.normal(size=(11, n_columns))
    A = (a[:, :, None] * b[:, None, :]).reshape(11, -1)
    kinds = {
        "dense": as_measurements(A, SHAPE),
        "sparse": as_measurements(sparse.csr_array(A), SHAPE),
        "rank_one": RankOneMeasurements(a, b),
        "operator": as_measurements(aslinearoperator(A), SHAPE),
    }
    measurements = kinds[form]
    assert_allclose(measurements.stacked(slice(2, 6)), A[2:6], rtol=1e-12)
    assert_allclose(measurements.scaled(2.0).stacked(slice(0, 3)), 2 * A[:3], rtol=1e-9)
    matrices = A.reshape(-1, *SHAPE)
    right, left = rng.normal(size=(n_columns, 3)), rng.normal(size=(n_rows, 3))
    assert_allclose(measurements.design(right, 0), matrices @ right, atol=1e-12)
    expected = matrices.transpose(0, 2, 1) @ left
    assert_allclose(measurements.design(left, 1), expected, atol=1e-12)
