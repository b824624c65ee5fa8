"""Choosing the rank inside a fit: by measurements that the path does not see.

The path goes on while the loss of the held-out measurements falls. Of the ranks it
visited, the lowest is taken whose loss cannot be told from the least (the one standard
error rule): where few are held out, a column that fits noise raises their loss about as
often as it lowers it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skprecgd.factors import Factors
from skprecgd.objective import Evaluation
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path import scarce
from skprecgd.optim.path.early_stopping import LowestHeldOutLoss
from skprecgd.optim.path.growing import Grower
from skprecgd.optim.path.pursuit import pursue
from skprecgd.optim.path.walk import Ending, Handover, Walk
from skprecgd.optim.result import Status


class HeldOutPath:
    """A path on most of the measurements, judged by the others.

    Parameters
    ----------
    walk : Walk
        The walk on all measurements. Its settings are copied, its stages are not.

    Attributes
    ----------
    walk : Walk
        The walk on most of the measurements.
    n_held_out : int
        Number of the other measurements.
    """

    def __init__(self, walk: Walk) -> None:
        share = walk.settings.validation_fraction
        self.n_held_out = max(1, round(share * walk.objective.n_samples))
        kept, self._judge = walk.objective.split(self.n_held_out, walk.rng)
        journal = replace(walk.journal, validation_loss=self.loss)
        self.walk = Walk(kept, walk.settings, journal, walk.rng)

    def loss(self, evaluation: Evaluation) -> float:
        """The loss of the held-out measurements at a point."""
        return self._loss(evaluation.factors)

    def best(self, max_rank: int) -> Factors:
        """The lowest stage that judges as well as any.

        The path ends after `n_iter_no_change` ranks that do not improve on the best.
        """
        walk, settings = self.walk, self.walk.settings
        by_held_out = walk.strategy.ends_by_held_out
        share = settings.tuning.hold_out.gain if by_held_out else 0.0
        lowest = LowestHeldOutLoss(share, settings.n_iter_no_change)
        pursue(
            walk,
            max_rank,
            lambda stage: lowest.goes_on(stage, walk.stages[-1].validation_loss),
        )
        best = lowest.factors
        assert best is not None
        return best if walk.stopped else self._as_good(best)

    def or_by_means(self, best: Factors, max_rank: int) -> Factors:
        """`best`, or the fit from posterior means if held-out data prefer that."""
        means = scarce.grown_means(self.walk, max_rank)
        if means is None:
            return best
        other = self.walk.attempt(means).evaluation.factors
        return other if self._loss(other) < self._loss(best) else best

    def is_worse_than_none(self, factors: Factors) -> bool:
        """Whether held-out data prefer by far the offsets without any component."""
        judge, none = self._judge, Grower(self.walk.strategy, self.walk.rng).zero()
        here, reference = judge.evaluate(factors), judge.evaluate(none)
        gain, error = judge.gain(here, reference)
        tuning = self.walk.settings.tuning.hold_out
        # A few entries that are far off hold both the loss and its standard error.
        far_off = here.loss > tuning.misses * reference.loss
        return far_off or gain > tuning.worse * error

    def _loss(self, factors: Factors) -> float:
        return self._judge.evaluate(factors).loss

    def _as_good(self, best: Factors) -> Factors:
        """The lowest rank with a held-out loss within the margin of the best (1-SE)."""
        judge, visited = self._judge, self.walk.visited
        margin = self.walk.settings.tuning.hold_out.standard_errors
        reference, chosen = judge.evaluate(best), best
        for rank in sorted((k for k in visited if k < best.rank), reverse=True):
            gain, error = judge.gain(judge.evaluate(visited[rank]), reference)
            if not gain <= margin * error or self._misses(visited[rank], best):
                break
            chosen = visited[rank]
        return chosen

    def _misses(self, lower: Factors, best: Factors) -> bool:
        """Whether a lower rank misses what is no chance in the measurements fitted."""
        strategy, objective = self.walk.strategy, self.walk.objective
        if not strategy.ends_by_held_out:
            return False
        there, reference = objective.evaluate(lower), objective.evaluate(best)
        multiple = self.walk.settings.tuning.hold_out.misses
        much = there.loss > multiple * reference.loss
        return much and strategy.more_than_chance(objective.mean_loss(there))


def choose(walk: Walk, max_rank: int, means: Factors | None = None) -> Ending:
    """Choose the rank by held-out measurements, then refit on everything.

    With fewer measurements the path may end in a wrong local optimum that it avoided
    with all of them, so the rank that uncertain rows find is tried, too.

    Parameters
    ----------
    walk : Walk
        The walk on all measurements so far.
    max_rank : int
    means : Factors or None, default=None
        The posterior means of uncertain rows, given all measurements.
    """
    ending = _by_one_split(walk, max_rank, means)
    if not ending.outcome.status.converged:
        return ending
    n_iter, tuning = ending.n_iter, walk.settings.tuning.hold_out
    for _ in range(tuning.splits - 1):
        if not _missed_a_few(walk, ending):
            break
        afresh = Walk(walk.objective, walk.settings, walk.journal, walk.rng)
        other = _by_one_split(afresh, max_rank, means)
        n_iter += other.n_iter
        here, there = ending.outcome, other.outcome
        if other.walk.stopped:
            ending = replace(ending, outcome=replace(here, status=there.status))
            break
        if here.evaluation.loss > tuning.misses * there.evaluation.loss:
            ending = other
    return replace(ending, n_iter=n_iter)


def _missed_a_few(walk: Walk, ending: Ending) -> bool:
    """Whether a fit that has ended misses a few labels or counts by no chance.

    With so few that hold the loss, it depends on which of them are held out where a
    path ends, and another draw of them may lead further. Where many hold it, as where
    counts spread more than chance, no draw does.
    """
    here, objective = ending.outcome.evaluation, walk.objective
    strategy = replace(walk.strategy, judged_by_held_out=True)
    if not strategy.more_than_chance(objective.mean_loss(here)):
        return False
    return objective.effective_number(here) < walk.settings.tuning.hold_out.least


def _by_one_split(walk: Walk, max_rank: int, means: Factors | None) -> Ending:
    """The choice by one draw of the measurements that are held out."""
    path = HeldOutPath(walk)
    best = path.best(max_rank)
    if means is not None and means.rank != best.rank:
        best = path.or_by_means(best, max_rank)
    if path.walk.ended_by is not None:
        here = walk.objective.evaluate(best)
        return _ended(walk, path, Outcome(here, path.walk.ended_by, 0, np.nan))
    reason = _reason(path, best.rank)
    if path.walk.strategy.ends_by_held_out:
        outcome = _followed(path, best)
        if not outcome.status.converged:
            on_all = _on_all(walk, path, outcome)
            return _ended(walk, path, on_all, f"{reason}fitted to the others.")
    ending = _refitted(walk, path, best, f"{reason}refitted on all measurements.")
    return replace(ending, worse_than_none=path.is_worse_than_none(best))


def _followed(path: HeldOutPath, best: Factors) -> Outcome:
    """The fit of that rank, as far as the held-out loss allows."""
    start = Handover(path.walk.objective.evaluate(best))
    return path.walk.solve(start, path.walk.strategy.settling_by_held_out())


def _on_all(walk: Walk, path: HeldOutPath, outcome: Outcome) -> Outcome:
    """The outcome of a fit to most measurements, evaluated on all.

    Held-out measurements ended that fit, and a fit to all measurements has none: so
    there is no refit. Only where all measurements show more than chance, because a few
    of those held out are missed by far, it goes on until all are fitted as well as most
    of them were.
    """
    here = walk.objective.evaluate(outcome.evaluation.factors)
    if outcome.status is not Status.SLOW:
        return replace(outcome, evaluation=here)
    reached = path.walk.objective.mean_loss(outcome.evaluation)
    left, strategy = walk.objective.mean_loss(here), path.walk.strategy
    if reached < left and strategy.more_than_chance(left):
        share = float(np.sqrt(reached / left))
        outcome = walk.solve(Handover(here), strategy.catching_up(share))
        here = outcome.evaluation
    ended = outcome.status is Status.SLOW or outcome.status.converged
    status = Status.HELD_OUT if ended else outcome.status
    return replace(outcome, evaluation=here, status=status)


def _ended(walk: Walk, path: HeldOutPath, outcome: Outcome, reason: str = "") -> Ending:
    """A choice that ends without a refit."""
    n_iter = path.walk.n_iter + walk.n_iter
    return Ending(outcome, path.walk, tuple(path.walk.stages), n_iter, reason)


def _refitted(walk: Walk, path: HeldOutPath, factors: Factors, reason: str) -> Ending:
    """A fit of that rank on all measurements, from where they led if they did."""
    refit = Walk(walk.objective, walk.settings, walk.journal, walk.rng)
    outcome = refit.settle(walk.visited.get(factors.rank, factors))
    stages = (*path.walk.stages, *refit.stages)
    n_iter = refit.n_iter + path.walk.n_iter + walk.n_iter
    return Ending(outcome, refit, stages, n_iter, reason)


def _reason(path: HeldOutPath, rank: int) -> str:
    ranks = [rank, *(stage.rank for stage in path.walk.stages)]
    cause = "The residual cannot reach tol: rank"
    if path.walk.objective.targets_are_drawn:
        cause = "Rank"
    return (
        f" {cause} {rank} of {min(ranks)} to {max(ranks)} is the lowest that explains "
        f"{path.n_held_out} held-out measurements as well as any; "
    )
