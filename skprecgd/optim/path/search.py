"""The search for a rank: in which order things are tried, and when it is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skprecgd.factors import Factors
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path import scarce
from skprecgd.optim.path.early_stopping import HoldOut, when_to_hold_out
from skprecgd.optim.path.growing import Grower
from skprecgd.optim.path.held_out import choose
from skprecgd.optim.path.lone import has_lone_line
from skprecgd.optim.path.noise import NoiseWatch
from skprecgd.optim.path.pursuit import explore, pursue_twice
from skprecgd.optim.path.walk import Ending, Handover, Walk
from skprecgd.optim.result import Status


def solve_fixed(walk: Walk, max_rank: int) -> Ending:
    """A path of one stage, at the full search rank."""
    ending = at_zero(walk)
    if ending is not None:
        return ending
    start = Grower(walk.strategy, walk.rng).start(max_rank)
    if walk.settings.estimates_noise:
        # An estimate needs a fit.
        here = Handover(walk.objective.evaluate(start))
        start = explore(walk, walk.strategy, here).evaluation.factors
    outcome = walk.settle(start)
    watch, explained = NoiseWatch(walk, max_rank), (Status.RESIDUAL, Status.DIVERGED)
    if outcome.status in explained or walk.stopped:
        return Ending.of(walk, outcome)
    if watch.found() or watch.is_left:
        outcome = replace(outcome, status=Status.NOISE)
    return Ending.of(walk, outcome)


def search(walk: Walk, max_rank: int) -> Ending:
    """The path, and what follows where it does not explain the data.

    0. The zero matrix is the end where it is the optimum.
    1. Noise is all that is left where a judge says so before there is a path. Without
       one, or if asked for, held-out measurements choose the rank of labels and counts.
    2. Else greedy rank-one pursuit, with Gauss-Newton at its last rank.
    3. Measurements are scarce: fresh starts, at each rank that it may have missed.
    4. Still unexplained: held-out measurements choose the rank, if they may.
    5. Else the last rank is solved to the end.
    """
    ending = at_zero(walk)
    if ending is not None:
        return ending
    watch = NoiseWatch(walk, max_rank)
    if watch.found_at_once():
        zero = walk.objective.evaluate(Grower(walk.strategy, walk.rng).zero())
        return Ending.of(walk, walk.stay(zero, Status.NOISE))
    when = when_to_hold_out(walk.objective, walk.settings, max_rank)
    if when is HoldOut.AT_ONCE:
        return choose(walk, max_rank)
    outcome = _pursued(walk, _last_rank(walk, max_rank, when), watch)
    if _is_noise(walk, outcome, watch):
        return Ending.of(walk, replace(outcome, status=Status.NOISE))
    outcome, means = _with_fresh_starts(walk, outcome, max_rank, watch.signal or 1)
    if outcome.status is not Status.SLOW:
        return Ending.of(walk, outcome)
    factors = outcome.evaluation.factors
    # The predictions there are of no further use.
    del outcome
    if watch.is_left:
        return _at_noise(walk, factors)
    if when is HoldOut.IF_UNEXPLAINED:
        return _or_at_noise(choose(walk, max_rank, means), watch)
    return Ending.of(walk, walk.settle(factors))


def at_zero(walk: Walk) -> Ending | None:
    """The end of a search whose optimum is the zero matrix; None where it is not.

    There is nothing to explain, or the ridge outweighs all that could be. A descent
    would only come closer and closer to zero, until numbers underflow.
    """
    grower = Grower(walk.strategy, walk.rng)
    if walk.objective.data_norm > 0 and grower.descends_from_zero():
        return None
    zero = walk.objective.evaluate(grower.zero())
    return Ending.of(walk, walk.stay(zero, Status.GLOBAL))


def _last_rank(walk: Walk, max_rank: int, when: HoldOut) -> int:
    """The rank at which the pursuit ends at the latest.

    A rank that is not determined explains anything, so if held-out measurements can
    choose one later, the pursuit does not go there.
    """
    if when is not HoldOut.IF_UNEXPLAINED:
        return max_rank
    return max(1, walk.strategy.highest_determined(max_rank))


def _is_noise(walk: Walk, outcome: Outcome, watch: NoiseWatch) -> bool:
    """Whether a pursuit has ended at the noise, without any doubt.

    The positive semidefinite matrix closest to some entries is an answer. To other
    measurements, if there are enough, the closest one follows their noise, which no
    matrix explains.
    """
    if outcome.status is Status.GLOBAL:
        entries = walk.objective.observed_entries() is not None
        if entries or not walk.strategy.can_tell_noise:
            return False
        return watch.found() or watch.is_left
    return outcome.status in (Status.SLOW, Status.MAX_ITER) and watch.found()


def _at_noise(walk: Walk, factors: Factors) -> Ending:
    """The end of a search whose factors leave noise."""
    outcome = Outcome(walk.objective.evaluate(factors), Status.NOISE, 0, np.nan)
    return Ending.of(walk, outcome)


def _or_at_noise(chosen: Ending, watch: NoiseWatch) -> Ending:
    """What held-out measurements chose, which may have left noise."""
    outcome = chosen.outcome
    if outcome.status.converged and watch.is_left_by(outcome.evaluation):
        return replace(chosen, outcome=replace(outcome, status=Status.NOISE))
    return chosen


def _pursued(walk: Walk, last_rank: int, watch: NoiseWatch) -> Outcome:
    """Greedy pursuit, with Gauss-Newton at its last rank if steps got slow there."""
    outcome = pursue_twice(walk, last_rank, watch.goes_on)
    if watch.is_left and not watch.in_doubt:
        return outcome
    if outcome.status is Status.SLOW and len(walk.strategy.solvers) > 1:
        outcome = walk.attempt(outcome.evaluation.factors)
        walk.record(outcome, outcome.n_iter)
    return outcome


def _with_fresh_starts(
    walk: Walk, outcome: Outcome, max_rank: int, least_rank: int
) -> tuple[Outcome, Factors | None]:
    """The outcome of the pursuit, or that of fresh starts where it may have failed.

    The matrix is known to have a rank of `least_rank` at least.

    Returns
    -------
    outcome : Outcome
        SLOW where it is for held-out measurements to choose a rank.
    means : Factors or None
        The posterior means, if they were asked for.
    """
    ranks = 0
    if scarce.applies(walk, max_rank):
        ranks = _doubtful_ranks(walk, outcome, max_rank)
    if ranks == 0:
        return outcome, None
    found = scarce.explain(walk, ranks, least_rank)
    if found.outcome is not None:
        return found.outcome, found.means
    if not _unexplained(walk, outcome):
        return outcome, found.means
    if walk.ended_by is not None:
        return replace(outcome, status=walk.ended_by), found.means
    outcome = replace(outcome, status=Status.SLOW)
    return _or_from_means(walk, outcome, found.means), found.means


def _unexplained(walk: Walk, outcome: Outcome) -> bool:
    """Whether the pursuit proves nothing: it is slow, or its rank is not determined.

    A rank that is not determined explains any measurements, noise too.
    """
    rank = outcome.evaluation.factors.rank
    undetermined = walk.strategy.measurements_per_unknown(rank) <= 1
    return outcome.status is Status.SLOW or undetermined


def _doubtful_ranks(walk: Walk, outcome: Outcome, max_rank: int) -> int:
    """The highest rank at which the pursuit may have missed a solution, or 0."""
    if outcome.status not in (Status.SLOW, Status.RESIDUAL):
        return 0
    if _unexplained(walk, outcome):
        return max_rank
    if not isinstance(walk.settings.init, str):
        # Factors that were given are not doubted once they explain the data.
        return 0
    factors, tuning = outcome.evaluation.factors, walk.settings.tuning.scarce
    per_unknown = walk.strategy.measurements_per_unknown(factors.rank)
    wild = scarce.completes(walk) and has_lone_line(factors, tuning.lone)
    if wild or per_unknown < tuning.hardly_determined:
        return factors.rank - 1
    return 0


def _or_from_means(walk: Walk, outcome: Outcome, means: Factors | None) -> Outcome:
    """The outcome, or that of Gauss-Newton from the posterior means.

    If the path did clearly worse at the same rank, it has ended in a wrong local
    optimum there, and is corrected.
    """
    if means is None:
        return outcome
    other = walk.attempt(means)
    if walk.ended_by is not None:
        return replace(outcome, status=walk.ended_by)
    factors, loss = other.evaluation.factors, other.evaluation.loss
    stages = [stage.loss for stage in walk.stages if stage.rank == factors.rank]
    clearly = walk.settings.tuning.scarce.clearly
    if loss >= clearly * min(stages, default=np.inf):
        return outcome
    walk.remember(factors)
    if other.evaluation.value >= outcome.evaluation.value:
        return outcome
    return replace(other, status=outcome.status)
