"""Whether the data are explained as a whole, by a fit that leaves nothing out.

An objective that leaves gross errors out may end at a matrix that agrees with the rest,
and be wrong: where the bound on their share leaves room, what disagrees with a wrong
matrix is left out, too. If a matrix of no higher rank agrees with every measurement,
that is the better explanation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path.search import search
from skprecgd.optim.path.walk import Ending, Handover, Walk
from skprecgd.optim.result import Status

_REASON = " It explains the measurements that a fit with outliers left out, too."


def or_whole_data(ending: Ending, max_rank: int) -> Ending:
    """The ending, or that of a search that leaves nothing out, if it explains the data.

    Whether it does is tried from the factors that were found, because true errors show
    in a few steps that it does not.

    Parameters
    ----------
    ending : Ending
        Of a search on all measurements.
    max_rank : int
        The search rank.
    """
    walk, outcome = ending.walk, ending.outcome
    whole = _whole(walk, outcome)
    if whole is None:
        return ending
    other = Walk(whole, walk.settings, walk.journal, walk.rng)
    factors = outcome.evaluation.factors
    explained = _explained(other, factors)
    if explained is not None and walk.settings.rank_search != "fixed":
        explained = _lowest(other, explained, max_rank)
    n_iter = ending.n_iter + other.n_iter
    if other.ended_by is not None:
        return replace(ending, outcome=replace(outcome, status=other.ended_by))
    if explained is None:
        return replace(ending, n_iter=n_iter)
    return Ending(explained, other, tuple(other.stages), n_iter, _REASON)


def _whole(walk: Walk, outcome: Outcome) -> Objective | None:
    """The objective of all measurements, if some were left out of the explanation."""
    if outcome.status is not Status.RESIDUAL:
        return None
    best, objective = outcome.evaluation, walk.objective
    gross = objective.gross_errors(
        best.factors, best.relative_residual, walk.settings.tol
    )
    if gross is None or not np.any(gross.values):
        return None
    if walk.strategy.measurements_per_unknown(best.factors.rank) <= 1:
        # A rank that is not determined explains any measurements, errors too.
        return None
    return objective.without(np.zeros_like(gross.values))


def _explained(walk: Walk, factors: Factors) -> Outcome | None:
    """All data explained at the rank of the factors, or None."""
    here = walk.objective.evaluate(factors)
    promising = walk.settings.tuning.whole_data.promising * here.relative_residual
    for phase in walk.strategy.trying(factors.rank):
        outcome = walk.solve(Handover(here), [phase])
        here = outcome.evaluation
        if outcome.status is Status.RESIDUAL:
            return outcome
        if outcome.status is not Status.SLOW or here.relative_residual > promising:
            return None
    return None


def _lowest(walk: Walk, explained: Outcome, max_rank: int) -> Outcome:
    """All data explained from the lowest rank up, as a search without outliers does.

    At too high a rank there may be many explanations.
    """
    n_before = len(walk.stages)
    found = search(walk, max_rank).outcome
    higher = found.evaluation.factors.rank > explained.evaluation.factors.rank
    if higher or found.status is not Status.RESIDUAL:
        walk.forget_stages(slice(n_before, None))
        return explained
    walk.forget_stages(slice(n_before))
    return found
