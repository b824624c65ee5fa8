"""The variational iteration: its evidence rises, and is what the formulas say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import sparse

from skprecgd.kernels import unpacked
from skprecgd.objective import Weights
from skprecgd.variational.assumed import learn_posterior
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.model import Model
from skprecgd.variational.recipe import make_noise

CENTRES = (None, "mean", "columns", "both")
SHAPES = ((30, 20), (20, 30))


def noisy(rng, shape, share=0.5, rank=2, noise=0.3, mean=1.0):
    """Noisy entries and the matrix without noise."""
    n_rows, n_columns = shape
    truth = rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_columns))
    truth += mean + 0.5 * rng.normal(size=n_columns)
    seen = rng.random(shape) < share
    # Every line shows something.
    seen[np.arange(n_rows), np.arange(n_rows) % n_columns] = True
    seen[np.arange(n_columns) % n_rows, np.arange(n_columns)] = True
    rows, columns = np.nonzero(seen)
    data = truth + noise * rng.normal(size=shape)
    return rows, columns, data[rows, columns], truth


def model_of(rng, shape, center, kind, weights=None):
    rows, columns, values, _ = noisy(rng, shape)
    given = Weights() if weights is None else weights(len(values))
    entries = NoisyEntries.of(rows, columns, values, shape, center, given)
    return Model(entries, make_noise(entries, kind, None))


def as_matrix(rows, columns, values, shape):
    return sparse.csr_array((values, (rows, columns)), shape=shape)


def completed(posterior):
    return posterior.rows.mean @ posterior.columns.basis.T + posterior.columns.offsets


@pytest.mark.parametrize(("shape", "center"), list(product(SHAPES, CENTRES)))
def test_evidence_never_falls(shape, center, rng):
    model = model_of(rng, shape, center, "uniform")
    found = []
    for rank in (0, 4):
        if rank:
            model.grow(rank)
            # The start is no step of the iteration.
            model.step()
            found = []
        for _ in range(25):
            model.step()
            found.append(model.evidence())
        rises = np.diff(found)
        assert np.all(rises >= -1e-9 * np.abs(found[-1])), rises.min()


@pytest.mark.parametrize("center", CENTRES)
def test_evidence_never_falls_with_noise_of_columns(center, rng):
    """The shorter side learns its noise last, so that every step is an ascent."""
    model = model_of(rng, (30, 20), center, "columns")
    model.grow(4)
    model.step()
    found = []
    for _ in range(25):
        model.step(drop=True)
        found.append(model.evidence())
    # The strength of the prior is one of a coarse grid.
    assert np.all(np.diff(found) >= -1e-3 * np.abs(found[-1]))


def test_evidence_never_falls_with_weights(rng):
    def weights(n):
        often = rng.integers(1, 4, n).astype(float)
        precise = rng.uniform(0.5, 2, n)
        return Weights(often, precise / np.average(precise, weights=often))

    model = model_of(rng, (30, 20), "both", "uniform", weights)
    model.grow(3)
    model.step()
    found = []
    for _ in range(20):
        model.step()
        found.append(model.evidence())
    assert np.all(np.diff(found) >= -1e-9 * np.abs(found[-1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_evidence_is_that_of_the_formula(shape, rng):
    """Expected log density less the divergences, entry by entry and line by line."""
    model = model_of(rng, shape, None, "uniform")
    model.grow(3)
    for _ in range(4):
        model.step()
    # One more half-step of the longer side belongs to other moments of the shorter.
    entries, variance = model.entries, model.noise.variance
    seconds = unpacked(model.short.second, model.coordinates.at)
    covariances = seconds - np.einsum("ni,nj->nij", model.short.mean, model.short.mean)
    divergence = 0.0
    for mean, covariance in zip(model.short.mean, covariances, strict=True):
        squares = mean**2 + np.diag(covariance)
        own = squares / model.short_prior - 1 + np.log(model.short_prior)
        divergence += 0.5 * (own.sum() - np.linalg.slogdet(covariance)[1])
    n_long = entries.sides[0]
    long = n_long * np.log(model.long_prior).sum() - model.long_totals.log_determinant
    squares = unpacked(model.long_totals.second, model.coordinates.at)
    long += np.sum(np.diag(squares) / model.long_prior) - 3 * n_long
    # With the noise at its optimum, the expected squares are the number of entries.
    density = -0.5 * entries.count * (np.log(2 * np.pi * variance) + 1)
    expected = density - divergence - 0.5 * long
    np.testing.assert_allclose(model.evidence(), expected, rtol=1e-8)


@pytest.mark.parametrize("center", CENTRES)
def test_both_sides_end_with_equal_moments_along_the_axes(center, rng):
    model = model_of(rng, (30, 20), center, "uniform")
    model.grow(3)
    for _ in range(3):
        model.step()
    at = model.coordinates.at
    long = unpacked(model.long_totals.second, at)[:3, :3] / 30
    short = unpacked(model.short.totals.second, at)[:3, :3] / 20
    np.testing.assert_allclose(long, np.diag(np.diag(long)), atol=1e-10 * long.max())
    np.testing.assert_allclose(short, long, atol=1e-10 * long.max())


@pytest.mark.parametrize("center", [None, "both"])
def test_leaving_out_a_column_raises_the_evidence_or_is_not_done(center, rng):
    model = model_of(rng, (30, 20), center, "uniform")
    model.grow(6)
    for _ in range(3):
        model.step()
    kept = model.copied()
    for _ in range(30):
        kept.step()
        model.step(drop=True)
    assert model.rank < kept.rank
    assert model.evidence() > kept.evidence()


@pytest.mark.parametrize("kind", ["uniform", "columns"])
def test_chance_goes_several_columns_at_a_time_but_a_quarter_at_most(kind, rng):
    rows, columns = np.nonzero(rng.random((120, 80)) < 0.5)
    values = rng.normal(size=len(rows))
    entries = NoisyEntries.of(rows, columns, values, (120, 80))
    model = Model(entries, make_noise(entries, kind, None))
    model.grow(12)
    ranks = [model.rank]
    while ranks[-1] and len(ranks) < 30:
        model.step(drop=True)
        ranks.append(model.rank)
    dropped = -np.diff(ranks)
    assert ranks[-1] <= 1
    assert dropped.max() > 1
    assert np.all(dropped <= np.maximum(1, np.array(ranks[:-1]) // 4))


@pytest.mark.parametrize(("shape", "center"), list(product(SHAPES, CENTRES)))
def test_signal_noise_and_offsets_are_found(shape, center, rng):
    shape = (4 * shape[0], 4 * shape[1])
    rows, columns, values, truth = noisy(rng, shape)
    posterior = learn_posterior(
        as_matrix(rows, columns, values, shape), 8, center=center
    )
    # Offsets that the model lacks are components.
    missing = {None: 1, "mean": 1, "columns": 0, "both": 0}[center]
    assert posterior.n_signal in (2, 2 + missing)
    np.testing.assert_allclose(np.mean(posterior.noise_variance), 0.09, rtol=0.2)
    error = np.sqrt(np.mean((completed(posterior) - truth) ** 2))
    assert error < 0.15


@pytest.mark.parametrize("center", CENTRES)
def test_pure_noise_has_no_columns(center, rng):
    rows, columns, values, _truth = noisy(rng, (60, 40), share=0.4)
    values = 2.0 + rng.normal(size=len(values))
    X = as_matrix(rows, columns, values, (60, 40))
    posterior = learn_posterior(X, 6, center=center)
    assert posterior.n_signal == (1 if center is None else 0)
    np.testing.assert_allclose(np.mean(posterior.noise_variance), 1.0, rtol=0.15)


@pytest.mark.parametrize("center", [None, "columns"])
def test_columns_may_have_any_unit(center, rng):
    rows, columns, values, _ = noisy(rng, (40, 25))
    units = 10.0 ** rng.integers(-8, 9, 25)
    X = as_matrix(rows, columns, values, (40, 25))
    scaled = as_matrix(rows, columns, values * units[columns], (40, 25))
    one, other = (learn_posterior(each, 5, center=center) for each in (X, scaled))
    np.testing.assert_allclose(completed(other) / units, completed(one), rtol=1e-8)
    np.testing.assert_allclose(
        other.noise_variance / units**2, one.noise_variance, rtol=1e-8
    )
    logs = np.log(units) @ np.bincount(columns, minlength=25)
    np.testing.assert_allclose(other.evidence + logs, one.evidence, rtol=1e-8)


@pytest.mark.parametrize("center", CENTRES)
@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_all_data_may_have_any_unit(center, unit, rng):
    rows, columns, values, _ = noisy(rng, (40, 25))
    X = as_matrix(rows, columns, values, (40, 25))
    one, other = (learn_posterior(each, 5, center=center) for each in (X, X * unit))
    np.testing.assert_allclose(
        completed(other) / unit, completed(one), rtol=1e-6, atol=1e-8
    )


def test_entries_of_weight_two_count_twice(rng):
    """As the same entry in two columns of... two rows that are one and the same."""
    rows, columns, values, _ = noisy(rng, (30, 20))
    X = as_matrix(rows, columns, values, (30, 20))
    often = np.full(len(values), 3.0)
    thrice = learn_posterior(X, 4, center="both", weights=Weights(often))
    once = learn_posterior(X, 4, center="both")
    assert np.mean(thrice.noise_variance) < np.mean(once.noise_variance) * 1.2
    # Three times the evidence leaves a narrower posterior: more of the data is kept.
    size = [np.std(completed(each)) for each in (once, thrice)]
    assert size[1] > size[0]


def test_a_known_variance_is_not_learned(rng):
    rows, columns, values, _ = noisy(rng, (60, 40))
    X = as_matrix(rows, columns, values, (60, 40))
    posterior = learn_posterior(X, 5, center="columns", noise_variance=0.25)
    np.testing.assert_allclose(posterior.noise_variance, 0.25)
    more = learn_posterior(X, 5, center="columns", noise_variance=25.0)
    assert more.n_signal == 0


def test_constant_and_empty_columns_say_nothing_of_the_others(rng):
    rows, columns, values, _ = noisy(rng, (30, 20))
    X = as_matrix(rows, columns, values, (30, 20))
    wide = sparse.csr_array(sparse.hstack([X, np.full((30, 1), 7.0)]))
    wide.resize((30, 22))
    alone = learn_posterior(X, 4, center="columns")
    beside = learn_posterior(wide, 4, center="columns")
    np.testing.assert_allclose(completed(beside)[:, :20], completed(alone), rtol=1e-9)
    np.testing.assert_array_equal(completed(beside)[:, 20], 7.0)
    np.testing.assert_allclose(completed(beside)[:, 21], wide.data.mean())
