"""Rows that know how uncertain they are."""

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_completion
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.objective import make_objective
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


def test_a_row_solves_its_expected_least_squares(global_random_seed):
    """Against the problem of one column of the matrix, written out."""
    objective, _ = completion(global_random_seed)
    posterior = stepped(objective, 3, 2)
    nu, prior = posterior.noise**2, posterior.state.prior
    posterior.step()
    left, right = posterior.state.left, posterior.state.right
    entries = objective.measurements
    at = entries.column_index == 4
    rows = entries.row_index[at]
    y = objective.targets[at] / posterior.state.unit
    system = np.diag(nu / prior)
    for u, covariance in zip(left.mean[rows], left.covariance[rows], strict=True):
        system += np.outer(u, u) + covariance
    mean = np.linalg.solve(system, left.mean[rows].T @ y)
    np.testing.assert_allclose(right.mean[4], mean, rtol=1e-8)
    np.testing.assert_allclose(
        right.covariance[4], nu * np.linalg.inv(system), rtol=1e-8
    )


def test_offsets_of_a_row_are_part_of_its_least_squares(global_random_seed):
    """Beside those of the columns, which count with their uncertainty."""
    objective, unknown, _ = with_offsets(global_random_seed, "both")
    posterior = stepped(objective, 3, 2, unknown=unknown)
    nu, state = posterior.noise**2, posterior.state
    posterior.step()
    left, right = posterior.state.left, posterior.state.right
    # Columns of the right factor: own offset, a constant, components.
    np.testing.assert_array_equal(right.mean[:, 1], 1.0)
    np.testing.assert_array_equal(left.mean[:, 0], 1.0)
    entries, free = objective.measurements, [0, 2, 3, 4]
    at = entries.column_index == 4
    rows = entries.row_index[at]
    y = objective.targets[at] / state.unit
    gram = np.zeros((5, 5))
    for u, covariance in zip(left.mean[rows], left.covariance[rows], strict=True):
        gram += np.outer(u, u) + covariance
    ridge = nu / np.append(state.offset_prior[1], state.prior)
    system = gram[np.ix_(free, free)] + np.diag(ridge)
    rhs = (left.mean[rows].T @ y)[free] - gram[free, 1]
    np.testing.assert_allclose(
        right.mean[4, free], np.linalg.solve(system, rhs), rtol=1e-8
    )
    covariance = right.covariance[4][np.ix_(free, free)]
    np.testing.assert_allclose(covariance, nu * np.linalg.inv(system), rtol=1e-8)
    assert not right.covariance[4, 1].any()


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


def test_the_noise_is_the_expected_residual(global_random_seed):
    """Against draws from the Gaussians."""
    objective, _ = completion(global_random_seed)
    posterior = stepped(objective, 2, 3)
    rng = np.random.RandomState(global_random_seed)
    entries, state = objective.measurements, posterior.state
    squares = []
    for _ in range(300):
        left, right = (
            rows.mean
            + np.einsum(
                "nij,nj->ni",
                np.linalg.cholesky(rows.covariance),
                rng.standard_normal(rows.mean.shape),
            )
            for rows in (state.left, state.right)
        )
        drawn = entries.forward(left, right) * state.unit
        squares.append(np.mean((objective.targets - drawn) ** 2))
    expected = (posterior.noise * state.unit) ** 2
    error = 5 * np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - expected) < error


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
    before, noise = posterior.state.left.mean.copy(), posterior.noise
    assert not posterior.forget_worst_lines(10.0)
    np.testing.assert_array_equal(posterior.state.left.mean, before)
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
    before, noise = posterior.state.left.mean.copy(), posterior.noise
    assert posterior.forget_worst_lines(10.0)
    after = posterior.state.left.mean
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
