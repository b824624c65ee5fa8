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
from skprecgd.optim.path.growing import Grower
from skprecgd.optim.path.pursuit import pursue
from skprecgd.optim.path.search import search
from skprecgd.optim.path.walk import Ending, Handover, Walk
from skprecgd.optim.result import History, Status

_REASON = " It explains the measurements that a fit with outliers left out, too."


def or_whole_data(ending: Ending, max_rank: int) -> Ending:
    """The ending, or that of a search that leaves nothing out, if it explains the data.

    Whether it does is tried from the factors that were found, because true errors show
    in a few steps that it does not. Where measurements are few, these factors may be
    far off, and a path from rank one has the last word.

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
    # An attempt in vain leaves no lines behind.
    history = History(list(walk.journal.history.records))
    journal = replace(walk.journal, history=history)
    other = Walk(whole, walk.settings, journal, walk.rng)
    attempt = _at_rank if _fixed(walk) else _from_lowest_rank
    explained = attempt(other, outcome.evaluation.factors, max_rank)
    n_iter = ending.n_iter + other.n_iter
    if other.ended_by is not None:
        return replace(ending, outcome=replace(outcome, status=other.ended_by))
    if explained is None:
        return replace(ending, n_iter=n_iter)
    return Ending(explained, other, tuple(other.stages), n_iter, _REASON)


def _whole(walk: Walk, outcome: Outcome) -> Objective | None:
    """The objective of all measurements, if the search may have left some out in vain.

    Where measurements are plentiful, it is noise that leaves a residual at the end of a
    path; and if nothing was left out, nothing went wrong on the way.
    """
    if walk.stopped or outcome.status is Status.DIVERGED:
        return None
    best, objective = outcome.evaluation, walk.objective
    gross = objective.gross_errors(
        best.factors, best.relative_residual, walk.settings.tol
    )
    # A rank that is not determined explains any measurements, errors too.
    per_unknown = walk.strategy.measurements_per_unknown(best.factors.rank)
    if gross is None or per_unknown <= 1:
        return None
    explained = outcome.status is Status.RESIDUAL or _fixed(walk)
    doubtful = explained and np.any(gross.values)
    if not (doubtful or _few(walk, best.factors)):
        return None
    return objective.without(np.zeros_like(gross.values))


def _fixed(walk: Walk) -> bool:
    return walk.settings.rank_search == "fixed"


def _few(walk: Walk, factors: Factors) -> bool:
    few = walk.settings.tuning.whole_data.few
    return walk.strategy.measurements_per_unknown(factors.rank) < few


def _at_rank(walk: Walk, factors: Factors, max_rank: int) -> Outcome | None:
    """All data explained at the search rank, from the factors or from a start."""
    explained = _explained(walk, factors)
    if explained is None and not walk.stopped:
        explained = _explained(walk, Grower(walk.strategy, walk.rng).start(max_rank))
    return explained


def _from_lowest_rank(walk: Walk, factors: Factors, max_rank: int) -> Outcome | None:
    """All data explained at the lowest rank, no higher than that of the factors."""
    explained = _explained(walk, factors)
    if explained is not None:
        return _lowest(walk, explained, max_rank)
    if walk.stopped or not _few(walk, factors):
        return None
    walk.forget_stages(slice(None))
    outcome = pursue(walk, factors.rank)
    return outcome if outcome.status is Status.RESIDUAL else None


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
