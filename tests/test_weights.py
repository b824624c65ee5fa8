"""Weights of measurements: a frequency repeats a measurement, a precision weighs it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from skprecgd.distributed import ChunkedMeasurements
from skprecgd.distributed.objective import ChunkedObjective
from skprecgd.distributed.weights import chunked_weights
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.kernels import ray_sums, squared_distance
from skprecgd.losses import (
    AbsoluteLoss,
    HuberLoss,
    LogisticLoss,
    PoissonLoss,
    SquaredLoss,
    robust_scale,
    weighted_median,
)
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    MultiOutputMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
)
from skprecgd.objective import Weights, make_objective
from skprecgd.objective.penalty import as_penalty
from skprecgd.robust import Corruption, TrimmedObjective

SHAPE = (6, 6)
N = 48
LOSSES = [SquaredLoss(), HuberLoss(), AbsoluteLoss(), LogisticLoss(), PoissonLoss()]


def dense(rng):
    return DenseMeasurements(rng.standard_normal((N, *SHAPE)))


def entries(rng):
    rows, columns = rng.integers(6, size=(2, N))
    return EntryMeasurements(rows, columns, SHAPE)


def rank_one(rng):
    return RankOneMeasurements(*rng.standard_normal((2, N, 6)))


def sparse_rows(rng):
    flat = rng.standard_normal((N, 36)) * (rng.random((N, 36)) < 0.3)
    return SparseMeasurements(sparse.csr_array(flat), SHAPE)


def multi_output(rng):
    return MultiOutputMeasurements(rng.standard_normal((8, 6)), 6)


KINDS = [dense, entries, rank_one, sparse_rows, multi_output]


def problem(kind, loss, rng):
    """Measurements, targets the loss has a meaning for, and how often each was made."""
    measurements = kind(rng)
    y = measurements.forward(*rng.standard_normal((2, 6, 2)))
    y = y + 0.3 * rng.standard_normal(N)
    if isinstance(loss, LogisticLoss):
        y = (y > 0).astype(float)
    if isinstance(loss, PoissonLoss):
        y = rng.poisson(np.exp(0.3 * y)).astype(float)
    return measurements, y, rng.integers(1, 4, size=N)


def weighted_and_repeated(kind, loss, rng, alpha=0.0):
    measurements, y, often = problem(kind, loss, rng)
    weights = Weights(frequency=often.astype(float))
    again = np.repeat(np.arange(N), often)
    return (
        make_objective(measurements, y, loss, alpha, weights=weights),
        make_objective(measurements[again], y[again], loss, alpha),
        again,
    )


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def assert_same_factors(found, expected):
    for a, b in zip(found.blocks, expected.blocks, strict=True):
        assert np.linalg.norm(a - b) <= 1e-12 * np.linalg.norm(b)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_frequency_repeats_a_measurement(kind, loss, rng):
    once, repeated, again = weighted_and_repeated(kind, loss, rng, alpha=0.1)
    assert once.n_measurements == repeated.n_measurements == len(again)
    assert once.n_samples == N
    assert_same(once.weight, repeated.weight)
    assert_same(once.noise_share(0.7), repeated.noise_share(0.7))
    # The scale that some losses take from the data.
    assert_same(*(getattr(f.loss, "scale", 1.0) for f in (once, repeated)))
    (once, unit), (repeated, other_unit) = once.normalised(), repeated.normalised()
    assert_same(unit, other_unit)
    assert_same(once.data_norm, repeated.data_norm)
    start, move = (FactorPair(*rng.standard_normal((2, 6, 2))) for _ in range(2))
    here, there = once.evaluate(start), repeated.evaluate(start)
    assert_same([here.loss, here.value], [there.loss, there.value])
    assert_same(here.relative_residual, there.relative_residual)
    assert_same_factors(once.gradient(here), repeated.gradient(there))
    assert_same_factors(once.curvature(here)(move), repeated.curvature(there)(move))
    rays = once.ray(here, move), repeated.ray(there, move)
    assert_same(*([ray.value(t) for t in (0.1, -0.3)] for ray in rays))
    assert_same(rays[0].minimizer(), rays[1].minimizer())
    u, v = np.linalg.qr(rng.standard_normal((6, 2)))[0].T[:, :, None]
    grown = once.growth(here, u, v).length, repeated.growth(there, u, v).length
    np.testing.assert_allclose(*grown, rtol=1e-9)
    other = FactorPair(*rng.standard_normal((2, 6, 2)))
    gains = once.gain(here, once.evaluate(other))
    assert_same(gains, repeated.gain(there, repeated.evaluate(other)))


@pytest.mark.parametrize("block", [0, 1])
def test_rows_in_closed_form(block, rng):
    once, repeated, _ = weighted_and_repeated(entries, SquaredLoss(), rng, alpha=0.1)
    here, there = (
        f.evaluate(FactorPair(*np.ones((2, 6, 2)))) for f in (once, repeated)
    )
    gradient = once.gradient(here).blocks[block]
    found = once.block_move(here, gradient, block)
    expected = repeated.block_move(there, gradient, block)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_symmetric_unknowns(rng):
    once, repeated, _ = weighted_and_repeated(dense, SquaredLoss(), rng)
    x = SymmetricFactor(rng.standard_normal((6, 2)))
    pairs = [(f, f.evaluate(x)) for f in (once, repeated)]
    assert_same_factors(*(f.gradient(at) for f, at in pairs))
    assert_same_factors(*(f.curvature(at)(x) for f, at in pairs))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_keep_their_weights(kind, rng):
    """Frequencies and precisions beside the chunks do what they do in memory."""
    measurements, y, often = problem(kind, SquaredLoss(), rng)
    precision = rng.uniform(0.5, 2.0, size=N)
    precision /= np.average(precision, weights=often)
    weights = Weights(often.astype(float), precision)
    whole = make_objective(measurements, y, alpha=0.1, weights=weights)
    parts = slice(0, 10), slice(10, 30), slice(30, N)
    chunks = ChunkedMeasurements([measurements[part] for part in parts])
    kept = chunked_weights(chunks, weights)
    chunked = ChunkedObjective(chunks, chunks.targets(y), as_penalty(0.1), kept)
    assert chunked.n_measurements == whole.n_measurements
    assert_same(chunked.weight, whole.weight)
    (chunked, unit), (whole, other_unit) = chunked.normalised(), whole.normalised()
    assert_same(unit, other_unit)
    start, move = (FactorPair(*rng.standard_normal((2, 6, 2))) for _ in range(2))
    here, there = chunked.evaluate(start), whole.evaluate(start)
    assert_same(here.loss, there.loss)
    assert_same_factors(chunked.gradient(here), whole.gradient(there))
    assert_same_factors(chunked.curvature(here)(move), whole.curvature(there)(move))
    rays = chunked.ray(here, move), whole.ray(there, move)
    assert_same(*(ray.minimizer() for ray in rays))
    forth, back = (ray.advance(0.3) for ray in rays)
    assert_same_factors(chunked.gradient(forth), whole.gradient(back))
    np.testing.assert_allclose(
        np.asarray(chunked.matrix_gradient(here) @ np.eye(6)),
        np.asarray(whole.matrix_gradient(there) @ np.eye(6)),
        rtol=1e-10,
        atol=1e-12 * whole.data_norm,
    )
    u, v = np.linalg.qr(rng.standard_normal((6, 2)))[0].T[:, :, None]
    assert chunked.growth(here, u, v).length == pytest.approx(
        whole.growth(there, u, v).length, rel=1e-9
    )
    assert_same(
        chunked.gain(here, forth), whole.gain(there, whole.evaluate(back.factors))
    )
    held_out = chunked.split(7, np.random.RandomState(0))
    assert [part.n_samples for part in held_out] == [N - 7, 7]
    counts = sum(part.n_measurements for part in held_out)
    assert counts == whole.n_measurements


def test_weights_of_one_are_none(rng):
    measurements, y, _ = problem(dense, SquaredLoss(), rng)
    plain = make_objective(measurements, y)
    weighted = make_objective(measurements, y, weights=Weights(np.ones(N), np.ones(N)))
    at = FactorPair(*rng.standard_normal((2, 6, 2)))
    assert_same(weighted.evaluate(at).loss, plain.evaluate(at).loss)


def test_a_precision_leaves_the_number_of_measurements(rng):
    """Known noise: the weighted problem is that of standardised measurements."""
    measurements, y, _ = problem(dense, SquaredLoss(), rng)
    variance = rng.uniform(0.1, 4.0, size=N)
    mean = 1 / np.mean(1 / variance)
    objective = make_objective(measurements, y, weights=Weights(None, mean / variance))
    assert objective.n_measurements == N
    root = np.sqrt(mean / variance)
    scaled = make_objective(
        DenseMeasurements(root[:, None, None] * measurements.stack.reshape(N, *SHAPE)),
        root * y,
    )
    at = FactorPair(*rng.standard_normal((2, 6, 2)))
    assert_same(objective.weight, scaled.weight)
    assert_same(objective.evaluate(at).loss, scaled.evaluate(at).loss)
    assert_same(objective.noise_share(mean), scaled.noise_share(mean))


@pytest.mark.parametrize("kind", [dense, entries])
def test_gross_errors_are_told_as_if_repeated(kind, rng):
    measurements, y, often = problem(kind, SquaredLoss(), rng)
    y[rng.permutation(N)[:4]] += 1e3
    again = np.repeat(np.arange(N), often)
    weights = Weights(frequency=often.astype(float))
    once = Corruption(0.2, measurements, weights)
    repeated = Corruption(0.2, measurements[again], Weights())
    residual = y - np.median(y)
    found = repeated.positions(residual[again])
    assert len(found) > 0
    np.testing.assert_array_equal(once.positions(residual), np.unique(again[found]))
    objective = TrimmedObjective(measurements, y, 0.2, weights)
    other = TrimmedObjective(measurements[again], y[again], 0.2)
    at = FactorPair(*rng.standard_normal((2, 6, 2)))
    move = FactorPair(*rng.standard_normal((2, 6, 2)))
    here, there = objective.evaluate(at), other.evaluate(at)
    assert_same([objective.data_norm, here.loss], [other.data_norm, there.loss])
    rays = objective.ray(here, move), other.ray(there, move)
    np.testing.assert_allclose(*(r.coefficients for r in rays), rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_median_of_repeated_values(n, rng):
    values, often = rng.standard_normal(n), rng.integers(1, 5, size=n)
    expected = np.median(np.repeat(values, often))
    assert weighted_median(values, often) == pytest.approx(expected, rel=1e-14)
    zeros = values * (rng.random(n) < 0.3)
    repeated = robust_scale(np.repeat(zeros, often))
    assert robust_scale(zeros, often.astype(float)) == pytest.approx(
        repeated, rel=1e-12
    )


@pytest.mark.parametrize("n", [10, 1 << 17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_sums_are_their_definitions(n, dtype, rng):
    """Below and above the size from which compiled kernels take over."""
    z, y, z1, z2 = rng.standard_normal((4, n)).astype(dtype)
    weights = rng.uniform(0.1, 3.0, size=n).astype(dtype)
    vectors = [a.astype(float) for a in (z - y, z1, z2)]
    pairs = [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]
    w = weights.astype(float)
    expected = [float(np.sum(w * vectors[a] * vectors[b])) for a, b in pairs]
    sizes = [float(np.sum(w * np.abs(vectors[a] * vectors[b]))) for a, b in pairs]
    error = np.abs(ray_sums(z, y, z1, z2, weights) - expected)
    rounding = 100 * float(np.finfo(dtype).eps)
    assert np.all(error <= rounding * np.array(sizes))
    found = squared_distance(z, y, weights)
    assert found == pytest.approx(expected[0], rel=rounding)
