"""The rank chosen inside a fit: the lowest that judges as well as any."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils import check_random_state

from skprecgd.datasets import make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.losses import HuberLoss, LogisticLoss
from skprecgd.measurements import DenseMeasurements, FullObservation, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import rank_path
from skprecgd.optim.loop import Journal
from skprecgd.optim.path.held_out import HeldOutPath
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.walk import Walk
from skprecgd.optim.result import Status
from skprecgd.robust import TrimmedObjective


def problem(seed, *, noise=0.3, rank=2):
    A, y, _ = make_matrix_sensing(
        14, 12, rank=rank, n_measurements=250, noise=noise, random_state=seed
    )
    return DenseMeasurements(A), y


def draw(seed, shape, rank=2):
    rng = np.random.default_rng(seed)
    return FactorPair(*(rng.standard_normal((n, rank)) for n in shape))


@pytest.mark.parametrize("loss", [None, HuberLoss(), LogisticLoss()])
def test_gain_is_a_sum_over_measurements(loss, global_random_seed):
    A, y = problem(global_random_seed)
    y = (y > 0).astype(float) if isinstance(loss, LogisticLoss) else y
    objective = make_objective(A, y, loss)
    points = [
        objective.evaluate(draw(global_random_seed + k, A.matrix_shape)) for k in (0, 1)
    ]
    # Of one measurement at a time there is no error, and all together make the sum.
    each = [
        objective.subset(np.array([k])).evaluate(point.factors).loss
        for point in points
        for k in range(len(y))
    ]
    each = np.subtract(*np.reshape(each, (2, len(y)))) / len(y)
    gain, error = objective.gain(*points)
    assert gain == pytest.approx(points[0].loss - points[1].loss)
    assert gain == pytest.approx(each.sum())
    assert error == pytest.approx(each.std(ddof=1) * np.sqrt(len(y)))


def test_gain_of_gross_errors_is_nothing(global_random_seed):
    """What counts as an outlier at both points tells them not apart."""
    A, y = problem(global_random_seed, noise=0.0)
    wrong = y.copy()
    wrong[:10] += 1e4 * np.std(y)
    points = [draw(global_random_seed + k, A.matrix_shape) for k in (0, 1)]
    left_out = make_objective(A[10:], y[10:])
    trimmed = TrimmedObjective(A, wrong, 10 / len(y))
    gains = [o.gain(*map(o.evaluate, points)) for o in (trimmed, left_out)]
    units = [o.weight for o in (trimmed, left_out)]
    np.testing.assert_allclose(gains[0][0] / units[0], gains[1][0] / units[1])


def test_complete_data_have_nothing_to_hold_out(global_random_seed):
    factors = draw(global_random_seed, (9, 8))
    objective = make_objective(FullObservation((9, 8)), factors.matrix())
    point = objective.evaluate(factors)
    with pytest.raises(NotImplementedError, match="nothing to hold out"):
        objective.gain(point, point)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_lowest_rank_as_good_as_the_best(rank, global_random_seed):
    A, y = problem(global_random_seed, rank=rank)
    objective, unit = make_objective(A, y).normalised()
    # The split that the path makes: it draws from the same numbers.
    split, numbers = (check_random_state(global_random_seed) for _ in range(2))
    settings = PathSettings(keep_factors=True)
    path = HeldOutPath(Walk(objective, settings, Journal(None, unit), numbers))
    _, judge = objective.split(path.n_held_out, split)
    chosen = path.best(8).rank
    stages = path.walk.stages
    losses = [stage.validation_loss for stage in stages]
    best = stages[int(np.argmin(losses))]

    def behind(rank):
        stage = next(stage for stage in stages if stage.rank == rank)
        points = (s.factors.scaled(1 / unit) for s in (stage, best))
        gain, error = judge.gain(*map(judge.evaluate, points))
        return gain - error

    assert chosen <= best.rank
    if chosen < best.rank:
        assert behind(chosen) <= 0
    if chosen > 1:
        assert behind(chosen - 1) > 0


@pytest.mark.slow
def test_no_rank_too_many_where_few_are_held_out(global_random_seed):
    """By the least held-out loss alone, four of ten such fits keep noise."""
    found = []
    for seed in range(8):
        A, y, _ = make_matrix_sensing(
            30,
            rank=2,
            n_measurements=300,
            symmetric=True,
            noise=0.01,
            random_state=8 * global_random_seed + seed,
        )
        objective = make_objective(as_measurements(A), y)
        path = rank_path(objective, 6, symmetric=True, random_state=seed)
        found.append(path.factors.rank)
    assert min(found) == 2
    assert np.median(found) == 2


def test_a_trial_that_the_user_ends_has_chosen_nothing(global_random_seed):
    A, y = problem(global_random_seed)
    path = rank_path(
        make_objective(A, y), 8, early_stopping=True, callback=lambda record: True
    )
    assert path.status is Status.CALLBACK
    assert "held-out" not in path.message
