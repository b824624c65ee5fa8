"""Completion close to the least number of entries that determine the matrix."""

import numpy as np
import pytest

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.measurements import EntryMeasurements, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import rank_path
from skprecgd.optim.loop import Journal
from skprecgd.optim.path.lone import has_lone_line
from skprecgd.optim.path.rank_path import recover
from skprecgd.optim.path.scarce import explain
from skprecgd.optim.path.settings import NoiseJudge, PathSettings
from skprecgd.optim.path.walk import Walk
from skprecgd.optim.result import Status


def problem(seed, *, n=200, rank=3, oversampling=1.6, condition_number=100.0, **kwargs):
    triples, truth = make_matrix_completion(
        n,
        rank=rank,
        oversampling=oversampling,
        condition_number=condition_number,
        min_per_line=rank + 2,
        format="triples",
        random_state=seed,
        **kwargs,
    )
    entries = EntryMeasurements(triples.rows, triples.columns, (n, n))
    return make_objective(entries, triples.values), truth


@pytest.mark.parametrize("condition_number", [1.0, 1e2, 1e4])
def test_recovers_from_few_entries(condition_number):
    """At most one of three draws may be beyond reach: the entries are few."""
    errors = []
    for seed in range(3):
        objective, truth = problem(
            seed, n=150, oversampling=1.5, condition_number=condition_number
        )
        result = rank_path(objective, 6, tol=1e-10, random_state=0)
        errors.append(truth.relative_error(result.factors.left, result.factors.right))
        assert result.factors.rank <= 6
    assert np.median(errors) < 1e-6


@pytest.mark.parametrize("symmetric", [False, True])
def test_recovers_from_few_gaussian_measurements(symmetric, global_random_seed):
    """Equal singular values hide each other: the path ends at a rank too high."""
    n, rank = 25, 2
    unknowns = (
        rank * (2 * n - rank) if not symmetric else rank * (2 * n - rank + 1) // 2
    )
    errors = []
    for seed in range(3):
        A, y, truth = make_matrix_sensing(
            n,
            rank=rank,
            n_measurements=round(1.3 * unknowns),
            symmetric=symmetric,
            random_state=10 * global_random_seed + seed,
        )
        objective = make_objective(as_measurements(A, (n, n)), y)
        result = rank_path(objective, 5, symmetric=symmetric, tol=1e-10, random_state=0)
        errors.append(truth.relative_error(result.factors.left, result.factors.right))
    assert np.median(errors) < 1e-6


def test_lone_line(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    left, right = rng.standard_normal((400, 2)), rng.standard_normal((300, 2))
    assert not has_lone_line(FactorPair(left, right))
    spike = np.zeros((400, 1))
    spike[3] = 1e3
    factors = FactorPair(np.hstack([left, spike]), rng.standard_normal((300, 3)))
    assert has_lone_line(factors)


def test_noise_on_few_entries_is_not_explained(global_random_seed):
    """A rank that agrees with any numbers is no answer, and says so."""
    objective, _ = problem(global_random_seed, noise=0.3, oversampling=2.0)
    result = rank_path(objective, 12, random_state=0, max_iter=300)
    assert "residual cannot reach tol" in result.message


def walk_on(objective, callback=None):
    scaled, unit = objective.normalised()
    settings = PathSettings(tol=1e-10)
    return Walk(scaled, settings, Journal(callback, unit), np.random.RandomState(0))


@pytest.mark.parametrize("seed", [4, 16, 17])
def test_noisy_scarce_entries(seed):
    """Draws on which the path ends in wrong optima once a tenth is held out."""
    objective, truth = problem(
        seed, n=100, oversampling=2.2, condition_number=1.0, noise=0.05
    )
    result = rank_path(objective, 6, random_state=0)
    assert result.factors.rank == 3
    assert truth.relative_error(result.factors.left, result.factors.right) < 0.1


@pytest.mark.parametrize(("seed", "early_stopping"), [(1, "auto"), (3, False)])
def test_a_wrong_optimum_of_the_path_is_left(seed, early_stopping):
    """Draws on which the path ends in one at the true rank, with all entries."""
    objective, truth = problem(
        seed, rank=4, oversampling=1.8, condition_number=1.0, noise=0.05
    )
    result = rank_path(objective, 4, early_stopping=early_stopping, random_state=0)
    assert truth.relative_error(result.factors.left, result.factors.right) < 0.1


@pytest.mark.parametrize("after", range(90, 600, 170))
@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_an_end_asked_for_ends_the_choice_of_a_rank(after, how):
    objective, _ = problem(4, n=100, oversampling=2.2, condition_number=1.0, noise=0.05)
    calls = []

    def ask(record):
        calls.append(record.rank)
        if len(calls) == after and how == "interrupt":
            raise KeyboardInterrupt
        return len(calls) >= after

    result = rank_path(objective, 6, random_state=0, callback=ask)
    wanted = Status.INTERRUPTED if how == "interrupt" else Status.CALLBACK
    assert result.status is wanted
    # What is still to be done, a refit say, is asked once more each.
    assert after <= len(calls) < after + 10


def test_without_a_path(global_random_seed):
    """It does not need what the path found, and tells of itself."""
    objective, truth = problem(global_random_seed, oversampling=2.5)
    walk = walk_on(objective)
    factors = explain(walk, 6).outcome.evaluation.factors
    unit = walk.journal.unit
    assert factors.rank == truth.rank
    assert truth.relative_error(unit * factors.left, factors.right) < 1e-6
    assert "uncertain rows" in walk.summary()
    assert walk.stages[-1].rank == truth.rank
    # Its steps have the noise for a damping, and no gradient.
    steps = np.isnan(walk.journal.history["gradient_norm"])
    noise = walk.journal.history["damping"][steps]
    assert noise[-1] < 1e-2 * noise[0]


class Says(NoiseJudge):
    """A judge that has found so many columns in the noise."""

    def __init__(self, columns):
        self.columns = columns

    def signal(self):
        return self.columns


@pytest.mark.parametrize(("signal", "in_doubt"), [(1, True), (3, True), (4, False)])
def test_noise_is_in_doubt_while_a_rank_may_explain_it(
    signal, in_doubt, global_random_seed
):
    """Entries for three columns do not explain four that stand out of the noise."""
    objective, _ = problem(global_random_seed, n=60, noise=0.3, oversampling=1.2)
    settings = PathSettings(judge=Says(signal))
    result = recover(objective, 8, settings, random_state=0)
    assert result.status is Status.NOISE
    assert ("uncertain rows" in result.message) == in_doubt


def test_a_callback_stops_it(global_random_seed):
    objective, _ = problem(global_random_seed, oversampling=2.5)
    walk = walk_on(objective, callback=lambda record: True)
    assert explain(walk, 6).outcome is None
    assert walk.n_iter == 1


def few_gaussian(seed):
    A, y, _ = make_matrix_sensing(20, rank=2, n_measurements=92, random_state=seed)
    return make_objective(as_measurements(A, (20, 20)), y)


def test_ranks_below_the_least_are_not_started_afresh(global_random_seed):
    walks = [walk_on(few_gaussian(global_random_seed)) for _ in range(2)]
    for walk, least in zip(walks, (1, 2), strict=True):
        explain(walk, 3, least)
    assert walks[1].n_iter < walks[0].n_iter


@pytest.mark.parametrize("after", [1, 5, 40])
def test_a_callback_ends_the_shrinking_ridge(after, global_random_seed):
    calls = []

    def callback(record):
        calls.append(record)
        return len(calls) >= after

    walk = walk_on(few_gaussian(global_random_seed), callback=callback)
    assert getattr(explain(walk, 3), "outcome", None) is None
    assert len(calls) == after


def test_an_interrupt_keeps_the_path(global_random_seed):
    """What the path has found so far is the result."""
    on_the_path = []

    def interrupted(record):
        # Steps with uncertain rows have no gradient, and are the first without.
        if np.isnan(record.gradient_norm):
            raise KeyboardInterrupt
        on_the_path.append(record)

    objective, _ = problem(
        global_random_seed, oversampling=1.3, condition_number=1.0, n=60
    )
    result = rank_path(objective, 3, tol=1e-10, random_state=0, callback=interrupted)
    assert result.status is Status.INTERRUPTED
    last = on_the_path[-1]
    assert result.factors.rank == last.rank == 3
    assert result.relative_residual == pytest.approx(last.relative_residual, rel=0.1)


def test_scale_does_not_matter(global_random_seed):
    X, _ = make_matrix_completion(
        100, rank=2, oversampling=1.8, min_per_line=4, random_state=global_random_seed
    )
    fits = [
        PrecGDFactorization(4, random_state=0, tol=1e-8).fit(X * scale)
        for scale in (1.0, 2.0**200)
    ]
    assert fits[0].n_components_ == fits[1].n_components_
    np.testing.assert_allclose(
        fits[0].singular_values_, fits[1].singular_values_ / 2.0**200, rtol=1e-6
    )


def test_equal_components_below_the_edge_of_chance_are_found():
    """Nothing stands out of what looks like noise; the rank asked for explains it."""
    triples, truth = make_matrix_completion(
        1000,
        rank=5,
        oversampling=1.25,
        min_per_line=7,
        format="triples",
        random_state=0,
    )
    entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
    model = PrecGDMatrixSensing(5, random_state=0).fit(entries, triples.values)
    assert truth.relative_error(model.left_, model.right_) < 1e-6
