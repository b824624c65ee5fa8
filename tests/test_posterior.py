"""Rows that know how uncertain they are."""

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_completion
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.objective import Weights, make_objective
from skprecgd.optim.path.posterior import Posterior
from skprecgd.unknown.base import GENERAL
from skprecgd.unknown.offsets import CENTERS, WithOffsets


def completion(seed, *, n=60, rank=2, oversampling=3.0, scale=1.0, **kwargs):
    triples, truth = make_matrix_completion(
        n,
        n - 10,
        rank=rank,
        oversampling=oversampling,
        min_per_line=rank + 2,
        format="triples",
        random_state=seed,
        **kwargs,
    )
    entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
    return make_objective(entries, scale * triples.values), truth


def with_offsets(seed, center, **kwargs):
    """Entries of the same matrices with offsets, and what is searched for."""
    objective, truth = completion(seed, **kwargs)
    entries, rng = objective.measurements, np.random.default_rng(seed)
    size, (n_rows, n_columns) = np.std(objective.targets), truth.shape
    rows, columns = np.zeros(n_rows), np.full(n_columns, 0.5 * size)
    if center != "mean":
        columns = size * rng.standard_normal(n_columns)
    if center == "both":
        rows = size * rng.standard_normal(n_rows)
    targets = objective.targets + rows[entries.row_index]
    targets = targets + columns[entries.column_index]
    unknown = WithOffsets(center, tuple(np.ones(n, bool) for n in truth.shape))
    whole = truth.matrix + rows[:, None] + columns
    return make_objective(entries, targets), unknown, whole


def stepped(objective, rank, n_steps, start=None, unknown=GENERAL):
    posterior = Posterior(objective, rank, start, unknown=unknown)
    for _ in range(n_steps):
        posterior.step()
    return posterior


def expected_products(right):
    """E v v^T of each column of the matrix."""
    return right.covariance + right.mean[:, :, None] * right.mean[:, None, :]


def left_covariances(objective, nu, before):
    """Those of the left rows that a step finds, given the state before it."""
    entries, side = objective.measurements, before.coordinates.long
    pattern = np.zeros(objective.matrix_shape)
    pattern[entries.row_index, entries.column_index] = 1.0
    grams = np.einsum("ij,jkl->ikl", pattern, expected_products(before.right)) / nu
    free = np.ix_(side.free, side.free)
    own = [] if side.offset is None else [before.offset_prior[0]]
    systems = grams[:, *free] + np.diag(1 / np.append(before.prior, own))
    covariances = np.zeros_like(grams)
    covariances[:, *free] = np.linalg.inv(systems)
    return covariances


def test_a_row_solves_its_expected_least_squares(global_random_seed):
    """Against the problem of one column of the matrix, written out."""
    objective, _ = completion(global_random_seed)
    posterior = stepped(objective, 3, 2)
    before, nu = posterior.state, posterior.noise**2
    posterior.step()
    left, right = posterior.state.left, posterior.state.right
    entries = objective.measurements
    at = entries.column_index == 4
    rows = entries.row_index[at]
    y = objective.targets[at] / before.unit
    system = np.diag(nu / before.prior)
    covariances = left_covariances(objective, nu, before)
    for u, covariance in zip(left[rows], covariances[rows], strict=True):
        system += np.outer(u, u) + covariance
    mean = np.linalg.solve(system, left[rows].T @ y)
    np.testing.assert_allclose(right.mean[4], mean, rtol=1e-8)
    np.testing.assert_allclose(
        right.covariance[4], nu * np.linalg.inv(system), rtol=1e-7
    )


def test_offsets_of_a_row_are_part_of_its_least_squares(global_random_seed):
    """Beside those of the columns, which count with their uncertainty."""
    objective, unknown, _ = with_offsets(global_random_seed, "both")
    posterior = stepped(objective, 3, 2, unknown=unknown)
    before, nu = posterior.state, posterior.noise**2
    posterior.step()
    left, right = posterior.state.left, posterior.state.right
    # Coordinates of a column: components, a constant, its own offset.
    np.testing.assert_array_equal(right.mean[:, 3], 1.0)
    np.testing.assert_array_equal(left[:, 4], 1.0)
    entries, free = objective.measurements, [0, 1, 2, 4]
    at = entries.column_index == 4
    rows = entries.row_index[at]
    y = objective.targets[at] / before.unit
    gram, covariances = np.zeros((5, 5)), left_covariances(objective, nu, before)
    for u, covariance in zip(left[rows], covariances[rows], strict=True):
        gram += np.outer(u, u) + covariance
    ridge = nu / np.append(before.prior, before.offset_prior[1])
    system = gram[np.ix_(free, free)] + np.diag(ridge)
    rhs = (left[rows].T @ y)[free] - gram[free, 3]
    np.testing.assert_allclose(
        right.mean[4, free], np.linalg.solve(system, rhs), rtol=1e-8
    )
    covariance = right.covariance[4][np.ix_(free, free)]
    np.testing.assert_allclose(covariance, nu * np.linalg.inv(system), rtol=1e-7)
    assert not right.covariance[4, 3].any()


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("start", [None, 0])
def test_finds_a_matrix_with_offsets(center, start, global_random_seed):
    objective, unknown, whole = with_offsets(
        global_random_seed, center, oversampling=6.0
    )
    random = None if start is None else np.random.RandomState(start)
    posterior = stepped(objective, 2, 80, random, unknown)
    factors = posterior.factors()
    assert factors.rank == 2
    assert posterior.noise < 1e-2
    assert np.linalg.norm(factors.matrix() - whole) < 0.02 * np.linalg.norm(whole)


@pytest.mark.parametrize("center", CENTERS)
def test_a_column_is_added_beside_offsets(center, global_random_seed):
    objective, unknown, whole = with_offsets(
        global_random_seed, center, oversampling=6.0, condition_number=3.0
    )
    posterior = stepped(objective, 1, 60, unknown=unknown)
    posterior.grow()
    for _ in range(60):
        posterior.step()
    posterior.forget_worst_lines(2.0)
    for _ in range(40):
        posterior.step()
    matrix = posterior.factors().matrix()
    assert np.linalg.norm(matrix - whole) < 0.02 * np.linalg.norm(whole)


@pytest.mark.parametrize("center", CENTERS)
def test_the_left_factor_does_not_remember_what_it_was(center, global_random_seed):
    """A step finds it from the right one, so that its covariances are not kept."""
    objective, unknown, _ = with_offsets(global_random_seed, center)
    one, other = (stepped(objective, 2, 3, unknown=unknown) for _ in range(2))
    one.state.left[:] = np.nan
    one.step()
    other.step()
    np.testing.assert_array_equal(one.state.left, other.state.left)
    np.testing.assert_array_equal(one.state.right.second, other.state.right.second)


def drawn(means, covariances, rng):
    """A draw from the Gaussians of all rows."""
    values, vectors = np.linalg.eigh(covariances)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return means + np.einsum("nij,nj->ni", roots, rng.standard_normal(means.shape))


@pytest.mark.parametrize("center", [None, "both"])
def test_the_noise_is_the_expected_residual(center, global_random_seed):
    """Against draws from the Gaussians."""
    objective, unknown = completion(global_random_seed)[0], GENERAL
    if center is not None:
        objective, unknown, _ = with_offsets(global_random_seed, center)
    posterior = stepped(objective, 2, 2, unknown=unknown)
    covariances = left_covariances(objective, posterior.noise**2, posterior.state)
    posterior.step()
    rng = np.random.RandomState(global_random_seed)
    entries, state = objective.measurements, posterior.state
    squares = []
    for _ in range(300):
        left = drawn(state.left, covariances, rng)
        right = drawn(state.right.mean, state.right.covariance, rng)
        fitted = entries.forward(left, right) * state.unit
        squares.append(np.mean((objective.targets - fitted) ** 2))
    expected = (posterior.noise * state.unit) ** 2
    error = 5 * np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - expected) < error


@pytest.mark.parametrize("center", [None, *CENTERS])
def test_an_entry_made_twice_counts_twice(center, global_random_seed):
    objective, unknown = completion(global_random_seed, noise=0.1)[0], GENERAL
    if center is not None:
        objective, unknown, _ = with_offsets(global_random_seed, center, noise=0.1)
    entries, targets = objective.measurements, objective.targets
    often = np.random.RandomState(global_random_seed).randint(1, 3, len(targets))
    repeated = EntryMeasurements(
        np.repeat(entries.row_index, often),
        np.repeat(entries.column_index, often),
        objective.matrix_shape,
    )
    twice = make_objective(repeated, np.repeat(targets, often))
    weighted = make_objective(entries, targets, weights=Weights(often.astype(float)))
    one, other = (
        stepped(each, 2, 5, np.random.RandomState(0), unknown)
        for each in (twice, weighted)
    )
    np.testing.assert_allclose(one.state.left, other.state.left, rtol=1e-6, atol=1e-9)
    assert np.isclose(one.noise, other.noise, rtol=1e-8)


@pytest.mark.parametrize("start", [None, 0])
def test_finds_the_matrix(start, global_random_seed):
    objective, truth = completion(global_random_seed, oversampling=4.0)
    random = None if start is None else np.random.RandomState(start)
    posterior = stepped(objective, truth.rank, 80, random)
    factors = posterior.factors()
    assert posterior.noise < 1e-2
    assert truth.relative_error(factors.left, factors.right) < 1e-2


def test_grows_to_the_rank(global_random_seed):
    """The noise of a rank too low is what that rank cannot explain."""
    objective, truth = completion(
        global_random_seed, rank=3, oversampling=4.0, condition_number=30.0
    )
    posterior = stepped(objective, 1, 60)
    noises = [posterior.noise]
    for _ in range(2):
        posterior.grow()
        for _ in range(60):
            posterior.step()
        noises.append(posterior.noise)
    assert noises[2] < 0.1 * noises[1] < 0.1 * noises[0]
    factors = posterior.factors()
    assert factors.rank == truth.rank
    assert truth.relative_error(factors.left, factors.right) < 1e-2


def test_columns_in_the_noise_are_left_out(global_random_seed):
    objective, truth = completion(global_random_seed, oversampling=5.0, noise=0.3)
    posterior = stepped(objective, 4, 150)
    assert posterior.factors().rank == truth.rank


def test_forgets_no_lines_of_entries_with_noise(global_random_seed):
    objective, _ = completion(global_random_seed, n=200, oversampling=5.0, noise=0.3)
    posterior = stepped(objective, 2, 30)
    before, noise = posterior.state.left.copy(), posterior.noise
    assert not posterior.forget_worst_lines(10.0)
    np.testing.assert_array_equal(posterior.state.left, before)
    assert posterior.noise == noise


def test_forgets_only_lines_that_went_wrong(global_random_seed):
    objective, _ = completion(global_random_seed, n=200, oversampling=5.0, noise=0.3)
    # A line with as many entries as others, and all of them wrong.
    entries, targets = objective.measurements, objective.targets.copy()
    wrong = 7
    at = entries.row_index == wrong
    signs = np.random.RandomState(global_random_seed).choice([-1, 1], at.sum())
    targets[at] = 1e3 * np.abs(targets).max() * signs
    posterior = stepped(make_objective(entries, targets), 2, 1)
    before, noise = posterior.state.left.copy(), posterior.noise
    assert posterior.forget_worst_lines(10.0)
    after = posterior.state.left
    assert np.all(after[wrong] == 0)
    # Two lines in a hundred; the others stay as they are.
    changed = np.any(after != before, axis=1)
    assert changed.sum() == 4
    assert np.isclose(posterior.noise, 10 * noise)


def test_measurements_of_many_entries_are_refused():
    objective = make_objective(DenseMeasurements(np.ones((3, 4, 4))), np.ones(3))
    with pytest.raises(ValueError, match="needs observed entries"):
        Posterior(objective, 1)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_scale_does_not_matter(scale, global_random_seed):
    once, _ = completion(global_random_seed)
    scaled, _ = completion(global_random_seed, scale=scale)
    noises = [stepped(objective, 2, 10).noise for objective in (once, scaled)]
    assert np.isclose(*noises, rtol=1e-6)


def test_single_precision_stays(global_random_seed):
    objective, _ = completion(global_random_seed)
    entries = EntryMeasurements(
        objective.measurements.row_index,
        objective.measurements.column_index,
        objective.matrix_shape,
    )
    single = make_objective(entries, objective.targets.astype(np.float32))
    assert stepped(single, 2, 5).factors().dtype == single.dtype


def test_lines_without_entries_stay_unknown(global_random_seed):
    objective, _ = completion(global_random_seed, oversampling=4.0)
    entries = objective.measurements
    seen = (entries.row_index != 3) & (entries.column_index != 5)
    factors = stepped(objective.subset(np.flatnonzero(seen)), 2, 60).factors()
    assert np.all(factors.left[3] == 0)
    assert np.all(factors.right[5] == 0)
    assert objective.subset(np.flatnonzero(seen)).evaluate(factors).loss < 1e-3
