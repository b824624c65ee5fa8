"""Choosing the rank inside a fit: by measurements that the path does not see.

The path goes on while the loss of the held-out measurements falls. Of the ranks it
visited, the lowest is taken whose loss cannot be told from the least: where few are
held out, a column that fits noise raises their loss about as often as it lowers it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path import scarce
from skprecgd.optim.path.walk import Walk
from skprecgd.optim.result import Status

# With fewer measurements a tenth of them decides nothing.
_MIN_HOLD_OUT = 50
# What another column must take off the held-out loss where that also says how far to
# follow it: a few steps towards chance do little harm, and sometimes a little good.
_GAIN = 0.01
# Standard errors by which the loss at a lower rank must be larger. Two would be the
# usual proof, but to leave out a real component costs more than to add one of noise.
_STANDARD_ERRORS = 1.0


def can_hold_out(objective: Objective, max_rank: int) -> bool:
    """Whether there is something to choose and enough to choose it by."""
    if not objective.can_split:
        return False
    if max_rank == 1 and not objective.loss.generalized:
        return False
    return objective.n_measurements >= _MIN_HOLD_OUT


class Trial:
    """A path on most of the measurements, and the others that judge it.

    Parameters
    ----------
    walk : Walk
        On all measurements; how it walks is copied, where it got to is not.

    Attributes
    ----------
    walk : Walk
        On most of them.
    n_held_out : int
    """

    def __init__(self, walk: Walk) -> None:
        share, n = walk.settings.validation_fraction, walk.objective.n_measurements
        self.n_held_out = max(1, round(share * n))
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
        walk = self.walk
        share = _GAIN if walk.ends_by_held_out else 0.0
        lowest = _Lowest(share, walk.settings.n_iter_no_change)
        walk.along(
            max_rank,
            lambda stage: lowest.goes_on(stage, walk.stages[-1].validation_loss),
        )
        best = lowest.factors
        assert best is not None
        return best if walk.stopped else self._as_good(best)

    def or_by_means(self, best: Factors, max_rank: int) -> Factors:
        """The better on held-out measurements: this, or where uncertain rows lead."""
        means = scarce.grown_means(self.walk, max_rank)
        if means is None:
            return best
        other = self.walk.attempt(means).evaluation.factors
        return other if self._loss(other) < self._loss(best) else best

    def _loss(self, factors: Factors) -> float:
        return self._judge.evaluate(factors).loss

    def _as_good(self, best: Factors) -> Factors:
        """The stage of the lowest rank down to which nothing is lost for certain."""
        judge, walk = self._judge, self.walk
        reference, chosen = judge.evaluate(best), best
        lower = (rank for rank in walk.visited if rank < best.rank)
        for rank in sorted(lower, reverse=True):
            factors = walk.visited[rank]
            gain, error = judge.gain(judge.evaluate(factors), reference)
            if not gain <= _STANDARD_ERRORS * error:
                break
            chosen = factors
        return chosen


@dataclass
class _Lowest:
    """The stage with the lowest held-out loss, and how many came after it.

    Attributes
    ----------
    share : float
        By how much a stage must be lower to count, as a share of the lowest.
    patience : int
        After so many that were not, the path ends.
    """

    share: float
    patience: int
    factors: Factors | None = None
    loss: float = np.inf
    since: int = 0

    def goes_on(self, factors: Factors, loss: float) -> bool:
        """Whether to go on after one more stage."""
        if self.factors is None or loss < (1 - self.share) * self.loss:
            self.factors, self.loss, self.since = factors, loss, 0
        else:
            self.since += 1
        return self.since < self.patience


def choose(walk: Walk, max_rank: int) -> tuple[Outcome, Walk, str]:
    """Choose the rank by held-out measurements, then refit on everything.

    With fewer measurements the path may end wrong where it did not before, so a rank
    that uncertain rows found competes.

    Parameters
    ----------
    walk : Walk
        What all measurements have led to so far.
    max_rank : int

    Returns
    -------
    outcome : Outcome
    walk : Walk
        The one that got there, with all stages.
    reason : str
        To be said after what the outcome says.
    """
    trial = Trial(walk)
    best = trial.best(max_rank)
    if walk.means is not None and walk.means.rank != best.rank:
        best = trial.or_by_means(best, max_rank)
    tried = trial.walk
    if tried.ended_by is not None:
        evaluation = walk.objective.evaluate(best)
        tried.n_iter += walk.n_iter
        return Outcome(evaluation, tried.ended_by, 0, np.nan), tried, ""
    reason = _reason(trial, best.rank)
    if tried.ends_by_held_out:
        outcome = tried.settle_held_out(best)
        if not outcome.status.converged:
            # How far to go is no number to carry over to a fit on all measurements.
            slow = outcome.status is Status.SLOW
            outcome = replace(
                outcome,
                evaluation=walk.objective.evaluate(outcome.evaluation.factors),
                status=Status.HELD_OUT if slow else outcome.status,
            )
            tried.n_iter += walk.n_iter
            return outcome, tried, f"{reason}fitted to the others."
    outcome, refit = _refitted(walk, tried, best)
    return outcome, refit, f"{reason}refitted on all measurements."


def _refitted(walk: Walk, tried: Walk, factors: Factors) -> tuple[Outcome, Walk]:
    """A fit of that rank on all measurements, from where they led if they did."""
    refit = Walk(walk.objective, walk.settings, walk.journal, walk.rng)
    outcome = refit.settle(walk.visited.get(factors.rank, factors))
    refit.stages = [*tried.stages, *refit.stages]
    refit.n_iter += tried.n_iter + walk.n_iter
    return outcome, refit


def _reason(trial: Trial, rank: int) -> str:
    ranks = [rank, *(stage.rank for stage in trial.walk.stages)]
    cause = "The residual cannot reach tol: rank"
    if trial.walk.objective.targets_are_drawn:
        cause = "Rank"
    return (
        f" {cause} {rank} of {min(ranks)} to {max(ranks)} is the lowest that explains "
        f"{trial.n_held_out} held-out measurements as well as any; "
    )
