"""New columns: how many stand out from chance, and their first step."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.objective import PendingEvaluation, make_objective
from skprecgd.optim import rank_path
from skprecgd.optim.directions import GaussNewton, Local
from skprecgd.optim.metric import Metric
from skprecgd.optim.path.cluster import Cluster
from skprecgd.optim.path.rank_path import recover
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.tuning import GrowthTuning, PathTuning
from skprecgd.unknown.base import unknown_of


def completion(seed, *, n=300, rank=4, oversampling=8, **how):
    triples, truth = make_matrix_completion(
        n,
        rank=rank,
        oversampling=oversampling,
        format="triples",
        random_state=seed,
        **how,
    )
    entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
    return make_objective(entries, triples.values), truth


def test_all_equal_directions_and_no_more(global_random_seed):
    objective, truth = completion(global_random_seed)
    _, values, v = Cluster(objective).triplets(None, 1, 9)
    assert len(values) == truth.rank
    span = np.linalg.qr(truth.right)[0]
    overlaps = np.linalg.svd(span.T @ v, compute_uv=False)
    assert overlaps.min() > 0.8


def test_noise_has_no_directions(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    cells = rng.choice(200 * 200, 4000, replace=False)
    entries = EntryMeasurements(*np.divmod(cells, 200), (200, 200))
    objective = make_objective(entries, rng.standard_normal(4000))
    assert len(Cluster(objective).triplets(None, 1, 9)[1]) == 1
    assert len(Cluster(objective).triplets(None, 2, 9)[1]) == 2


@pytest.mark.parametrize("kappa", [1, 1e4])
def test_any_sufficient_search_rank_is_the_same_fit(kappa, global_random_seed):
    """To the last bit: cross-validation breaks ties by the order of the ranks."""
    objective, truth = completion(global_random_seed, condition_number=kappa)
    short, long = (rank_path(objective, k, tol=1e-9) for k in (4, 9))
    assert [s.rank for s in short.stages] == [s.rank for s in long.stages]
    np.testing.assert_array_equal(short.factors.left, long.factors.left)
    assert truth.relative_error(long.factors.left, long.factors.right) < 1e-7


def test_every_rank_where_they_are_kept(global_random_seed):
    objective, _ = completion(global_random_seed)
    path = rank_path(objective, 9, keep_factors=True)
    assert [s.rank for s in path.stages] == [1, 2, 3, 4]
    assert len(rank_path(objective, 9).stages) < 4


def test_one_by_one_where_entries_are_scarce(global_random_seed):
    objective, truth = completion(global_random_seed, oversampling=2.5)
    path = rank_path(objective, 4)
    assert [s.rank for s in path.stages][-2:] == [3, 4]
    assert truth.relative_error(path.factors.left, path.factors.right) < 1e-7


def test_a_callback_stops_also_where_a_stage_ends(global_random_seed):
    objective, _ = completion(global_random_seed, n=100, condition_number=100)
    n_lines = len(rank_path(objective, 4, tol=1e-6).history)
    for k in range(1, n_lines):
        path = rank_path(
            objective, 4, tol=1e-6, callback=lambda r, k=k: r.iteration == k - 1
        )
        assert len(path.history) == k
        assert path.message.startswith("Stopped by the callback.")


# --------------------------------------------------------------------------------------
# New columns that get their length from the first step with them
# --------------------------------------------------------------------------------------


def sensing(seed, *, rank=3, n=16, kappa=1e3, symmetric=False, per_unknown=4):
    A, y, truth = make_matrix_sensing(
        n,
        rank=rank,
        n_measurements=per_unknown * rank * (2 * n - rank),
        condition_number=kappa,
        symmetric=symmetric,
        random_state=seed,
    )
    return make_objective(DenseMeasurements(A), y), truth


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_step_with_new_columns_solves_for_all(symmetric, global_random_seed):
    """As least squares in the tangent space at the columns old and new."""
    rng = np.random.default_rng(global_random_seed)
    objective, _ = sensing(global_random_seed, symmetric=symmetric)
    objective, _ = objective.normalised()
    blocks = rng.standard_normal((1 if symmetric else 2, 16, 2)) / 8
    ahead = SymmetricFactor(*blocks) if symmetric else FactorPair(*blocks)
    behind = ahead.without_last(1)
    start = PendingEvaluation(**vars(objective.evaluate(behind)), ahead=ahead)
    here = start.linearised
    gradient = objective.gradient(here)
    local = Local(objective, here, gradient, Metric(ahead))
    direction = GaussNewton(max_inner=500, forcing=1e-12)(local)
    columns = [
        objective.measurements.forward_tangent(
            ahead.left, ahead.right, move.left, move.right
        )
        for move in map(ahead.shaped, np.eye(ahead.flat().size))
    ]
    design, residual = np.stack(columns, axis=1), objective.targets - start.state
    best = design @ np.linalg.lstsq(design, residual, rcond=1e-10)[0]
    found = design @ direction.flat()
    size = np.linalg.norm(best)
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-6 * size)
    # The full step leads to just that, but for a term of the second order.
    reached = behind.moved(start.direction_from_here(direction), 1.0)
    first = direction.left @ ahead.right.T + ahead.left @ direction.right.T
    rest = direction.moved(ahead.moved(behind, -1.0), -0.5)
    expected = behind.matrix() + first + rest.matrix()
    np.testing.assert_allclose(reached.matrix(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("share", [0.0, np.inf])
def test_recovers_with_columns_measured_or_not(symmetric, share, global_random_seed):
    objective, truth = sensing(global_random_seed, symmetric=symmetric)
    tuning = PathTuning(growth=GrowthTuning(measured_later=share))
    settings = PathSettings(unknown=unknown_of(symmetric), tol=1e-10, tuning=tuning)
    path = recover(objective, 6, settings)
    assert path.factors.rank == truth.rank
    assert truth.relative_error(path.factors.left, path.factors.right) < 1e-8
    steps = path.history["step"]
    # Every stage begins where the last one ended, or where new columns took it.
    loss = path.history["loss"]
    begins = np.flatnonzero(np.isnan(steps))[1:]
    assert np.all((loss[begins] == loss[begins - 1]) == (share == 0))


def test_a_step_size_of_ones_own_measures_new_columns(global_random_seed):
    objective, truth = sensing(global_random_seed, kappa=3)
    path = rank_path(objective, 6, step_size=0.5, tol=1e-8)
    assert truth.relative_error(path.factors.left, path.factors.right) < 1e-6


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_a_fit_that_ends_on_the_way(max_iter, global_random_seed):
    """The factors are those of the loss that is told."""
    objective, _ = sensing(global_random_seed)
    path = rank_path(objective, 6, max_iter=max_iter, early_stopping=False)
    loss = objective.evaluate(path.factors).loss
    assert loss == pytest.approx(path.loss, rel=1e-9)
