"""What a path decides: whether to hold out, which solvers, how many columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_sensing
from skprecgd.factors import FactorPair
from skprecgd.losses import AbsoluteLoss, HuberLoss, LogisticLoss
from skprecgd.measurements import DenseMeasurements, EntryMeasurements, FullObservation
from skprecgd.objective import make_objective
from skprecgd.objective.penalty import as_penalty
from skprecgd.optim import SOLVERS, rank_path
from skprecgd.optim.path.early_stopping import (
    HoldOut,
    LowestHeldOutLoss,
    when_to_hold_out,
)
from skprecgd.optim.path.rank_path import recover
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.strategy import Strategy
from skprecgd.optim.path.tuning import (
    GrowthTuning,
    HoldOutTuning,
    PathTuning,
    StageTuning,
)
from skprecgd.robust import TrimmedObjective
from skprecgd.unknown.base import GENERAL

SHAPE = (40, 30)


def entries(n, loss=None, alpha=0.0, *, labels=False):
    """An objective of `n` entries of a 40 x 30 matrix: numbers, or zeros and ones."""
    rng = np.random.default_rng(0)
    cells = rng.permutation(SHAPE[0] * SHAPE[1])[:n]
    y = rng.standard_normal(n)
    measurements = EntryMeasurements(*np.divmod(cells, SHAPE[1]), SHAPE)
    return make_objective(measurements, (y > 0) * 1.0 if labels else y, loss, alpha)


def full():
    return make_objective(FullObservation(SHAPE), np.ones(SHAPE))


# -- early stopping -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "objective", "max_rank", "when"),
    [
        ("auto", entries(500), 4, HoldOut.IF_UNEXPLAINED),
        (True, entries(500), 4, HoldOut.AT_ONCE),
        (np.True_, entries(500), 4, HoldOut.AT_ONCE),
        (False, entries(500), 4, HoldOut.NEVER),
        # A ridge keeps the residual up by itself.
        ("auto", entries(500, alpha=1.0), 4, HoldOut.NEVER),
        (True, entries(500, alpha=1.0), 4, HoldOut.AT_ONCE),
        # Labels are drawn, and with a link one rank is a choice, too.
        ("auto", entries(500, LogisticLoss(), labels=True), 4, HoldOut.AT_ONCE),
        ("auto", entries(500, LogisticLoss(), labels=True), 1, HoldOut.AT_ONCE),
        (False, entries(500, LogisticLoss(), labels=True), 4, HoldOut.NEVER),
        # Nothing to choose, nothing to choose by, nothing to hold out.
        (True, entries(500), 1, HoldOut.NEVER),
        (True, entries(49), 4, HoldOut.NEVER),
        (True, full(), 4, HoldOut.NEVER),
    ],
)
def test_when_measurements_are_held_out(asked, objective, max_rank, when):
    settings = PathSettings(early_stopping=asked)
    assert when_to_hold_out(objective, settings, max_rank) is when


def test_how_many_measurements_are_enough_to_hold_out():
    settings = PathSettings(tuning=PathTuning(hold_out=HoldOutTuning(least=501)))
    assert when_to_hold_out(entries(500), settings, 4) is HoldOut.NEVER


def test_a_path_ends_after_stages_without_a_lower_loss():
    lowest = LowestHeldOutLoss(share=0.1, patience=2)
    losses = [9.0, 8.5, 7.0, 6.5, 6.4]
    assert [lowest.goes_on(k, loss) for k, loss in enumerate(losses)] == [
        *[True] * 4,
        False,
    ]
    assert lowest.factors == 2


# -- solvers and patience -------------------------------------------------------------


def strategy(objective, *, held_out=False, **settings):
    return Strategy(objective, PathSettings(**settings), judged_by_held_out=held_out)


def solvers(phases):
    return [phase.solver.name for phase in phases]


def test_newton_finishes_a_stage_where_measurements_are_scarce():
    # Rank 1 has 69 degrees of freedom, and four measurements each are plenty.
    assert GENERAL.degrees_of_freedom(SHAPE, 1) == 69
    for n, expected in [(276, ["precgd-cg"]), (275, ["precgd-cg", "gauss-newton"])]:
        assert solvers(strategy(entries(n)).exploring(1)) == expected


def test_only_losses_with_a_curvature_get_newton():
    assert strategy(entries(100, HuberLoss())).solvers[-1].name == "gauss-newton"
    assert strategy(full(), solver="gd").solvers == (SOLVERS["gd"],)

    class Flat(AbsoluteLoss):
        has_curvature = False

    assert strategy(entries(100, Flat())).solvers == (SOLVERS["precgd-cg"],)


def test_what_ends_a_stage():
    tuning = StageTuning()
    until = {
        tuning.conjugate_plentiful: strategy(entries(900)),
        tuning.conjugate: strategy(entries(900), keep_factors=True),
        tuning.not_an_error: strategy(entries(900, HuberLoss())),
        tuning.held_out: strategy(
            entries(900, LogisticLoss(), labels=True), held_out=True
        ),
    }
    for progress, decisions in until.items():
        assert decisions.exploring(1)[0].until == progress


def test_stages_that_others_judge_are_finished():
    first, finish = strategy(entries(900), finish_stages=True).exploring(1)
    assert (first.may_leave, finish.may_leave) == (0.0, StageTuning().unfinished)
    # The fall of another loss does not say how much is left.
    huber = strategy(entries(900, HuberLoss()), finish_stages=True)
    assert all(phase.may_leave == 0 for phase in huber.exploring(1))


def test_the_first_solver_has_the_last_word():
    assert solvers(strategy(entries(900)).settling()) == [
        "precgd-cg",
        "gauss-newton",
        "precgd-cg",
    ]
    assert solvers(strategy(entries(900), solver="gd").settling()) == ["gd"]


# -- columns at a time ----------------------------------------------------------------


def test_clusters_only_of_plain_least_squares_and_where_no_rank_counts():
    plain = entries(900)
    assert strategy(plain).by_clusters
    assert not replace(strategy(plain), one_by_one=True).by_clusters
    assert not strategy(plain, held_out=True).by_clusters
    assert not strategy(plain, keep_factors=True).by_clusters
    assert not strategy(entries(900, HuberLoss())).by_clusters
    assert not strategy(entries(900, alpha=0.1)).by_clusters
    trimmed = TrimmedObjective(plain.measurements, plain.targets, 0.1)
    assert not strategy(trimmed).by_clusters


def test_blocks_where_many_columns_are_wanted():
    decisions = strategy(entries(900))
    assert decisions.block(16, 33) == 1
    assert decisions.block(16, 34) == 2
    assert strategy(entries(900), ranks_to_visit=(17, 30)).block(16, 34) == 1
    sixteenth = PathTuning(growth=GrowthTuning(block_share=16))
    assert strategy(entries(900), tuning=sixteenth).block(16, 34) == 1


def test_as_many_columns_as_there_are_measurements_for():
    # Rank 3 has 201 degrees of freedom, rank 4 has 264.
    assert strategy(entries(900)).plenty(1) == 2
    assert strategy(entries(900), keep_factors=True).plenty(1) == 0


# -- settings -------------------------------------------------------------------------


def test_settings_follow_the_units_of_the_data(global_random_seed):
    blocks = np.random.default_rng(global_random_seed).standard_normal((2, 5, 2))
    settings = PathSettings(init=tuple(blocks), noise_variance=8.0).in_units(4.0, 2.0)
    left, right = settings.init
    np.testing.assert_allclose(4.0 * left @ right.T, blocks[0] @ blocks[1].T)
    assert settings.noise_variance == 2.0
    named = PathSettings(noise_variance="auto")
    assert named.in_units(4.0, 2.0) == named


def test_the_settings_are_the_keywords(global_random_seed):
    A, y, _ = make_matrix_sensing(
        12, rank=2, n_measurements=150, random_state=global_random_seed
    )
    objective = make_objective(DenseMeasurements(A), y)
    asked = {"tol": 1e-7, "solver": "precgd-cg", "max_iter": 40, "keep_factors": True}
    paths = (
        rank_path(objective, 4, **asked),
        recover(objective, 4, PathSettings(**asked)),
    )
    assert [path.n_iter for path in paths] == [paths[0].n_iter] * 2
    np.testing.assert_array_equal(paths[0].factors.left, paths[1].factors.left)


# -- what a path asks of an objective -------------------------------------------------


def test_observed_entries_are_those_of_single_entries():
    objective = entries(100)
    rows, columns, values, weights = objective.observed_entries()
    assert weights is None
    np.testing.assert_array_equal(rows, objective.measurements.row_index)
    np.testing.assert_array_equal(columns, objective.measurements.column_index)
    np.testing.assert_array_equal(values, objective.targets)
    A, y, _ = make_matrix_sensing(6, rank=1, n_measurements=30, random_state=0)
    assert make_objective(DenseMeasurements(A), y).observed_entries() is None


def test_another_ridge_is_that_of_a_new_objective(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    plain, ridged = entries(100), entries(100, alpha=0.7)
    factors = FactorPair(*(rng.standard_normal((n, 2)) for n in SHAPE))
    value = plain.with_penalty(ridged.penalty).evaluate(factors).value
    assert value == ridged.evaluate(factors).value
    assert value > plain.evaluate(factors).value


def test_other_objectives_refuse_what_is_asked_of_plain_least_squares():
    objective = full()
    with pytest.raises(NotImplementedError, match="not a plain"):
        _ = objective.at_zero
    with pytest.raises(NotImplementedError, match="not a plain"):
        objective.with_penalty(as_penalty(1.0))
    with pytest.raises(NotImplementedError, match="not a plain"):
        objective.sign_flipped_gradient(None, 0)
    with pytest.raises(NotImplementedError, match="no closed form"):
        entries(100).truncated_svd(1, tol=0.1, max_blocks=2)
