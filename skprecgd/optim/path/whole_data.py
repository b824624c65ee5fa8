"""The simplest explanation of data of which a fit left some out as gross errors.

An objective that leaves gross errors out may end at a matrix that agrees with the rest,
and be wrong: where the bound on their share leaves room, what disagrees with a wrong
matrix is left out, too. Two other explanations are tried:

- of the whole data. A matrix of no higher rank that agrees with every measurement is
  the better explanation;
- with a tighter bound. It leaves less room for wrong matrices, and what it finds is
  better if it takes fewer numbers: those of the matrix, and a value and a position for
  each measurement left out. So an error is not explained by a component of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from skprecgd.factors import Factors
from skprecgd.objective import GrossErrors, Objective
from skprecgd.optim.loop import Outcome, Reached
from skprecgd.optim.path.growing import Grower
from skprecgd.optim.path.pursuit import pursue
from skprecgd.optim.path.search import search
from skprecgd.optim.path.tuning import WholeDataTuning
from skprecgd.optim.path.walk import Ending, Handover, Walk
from skprecgd.optim.result import History, Status

Attempt = Callable[[Walk], Outcome | None]

_WHOLE = " It explains the measurements that a fit with outliers left out, too."
_TIGHTER = " A tighter bound on outliers explains the measurements by fewer numbers."


def or_simpler(ending: Ending, max_rank: int) -> Ending:
    """The ending, or one that explains the data by fewer numbers.

    Parameters
    ----------
    ending : Ending
        Of a search on all measurements.
    max_rank : int
        The search rank.
    """
    gross = _doubtful(ending)
    if gross is None:
        return ending
    return _or_tighter(_or_whole(ending, gross, max_rank), ending, gross)


def _doubtful(ending: Ending) -> GrossErrors | None:
    """What a search left out, or None where other explanations are not to be tried."""
    walk, outcome = ending.walk, ending.outcome
    if walk.stopped or outcome.status in (Status.DIVERGED, Status.NOISE):
        return None
    # A rank that is not determined explains any measurements, errors too.
    rank = outcome.evaluation.factors.rank
    if walk.strategy.measurements_per_unknown(rank) <= 1:
        return None
    return _gross_errors(ending, walk.objective)


def _or_whole(ending: Ending, gross: GrossErrors, max_rank: int) -> Ending:
    """The ending, or that of a search that leaves nothing out, if it explains the data.

    Whether it does is tried from the factors that were found, because true errors show
    in a few steps that it does not. Where measurements are few, these factors may be
    far off, and a path from rank one has the last word. Where they are plentiful, it is
    noise that leaves a residual at the end of a path; and if nothing was left out,
    nothing went wrong on the way.
    """
    walk, factors = ending.walk, ending.outcome.evaluation.factors
    explained = _explains(ending) or _fixed(walk)
    if not (_few(walk, factors) or (explained and np.any(gross.values))):
        return ending
    whole = walk.objective.without(np.zeros_like(gross.values))
    attempt = _at_rank if _fixed(walk) else _from_lowest_rank
    return _or_explained(
        ending, whole, partial(attempt, factors=factors, max_rank=max_rank), _WHOLE
    )


def _or_tighter(ending: Ending, first: Ending, gross: GrossErrors) -> Ending:
    """The ending, or that of a search with a tighter bound, if it takes fewer numbers.

    Parameters
    ----------
    ending : Ending
    first : Ending
        Of the search that the user asked for: `ending` itself, or what the whole data
        replaced.
    gross : GrossErrors
        What `first` left out.
    """
    attempt, share = _tighter_attempt(ending, first, gross)
    if attempt is None or ending.outcome.status in (
        Status.CALLBACK,
        Status.INTERRUPTED,
    ):
        return ending
    asked = first.walk.objective
    found = _or_explained(ending, asked.bounded(share), attempt, _TIGHTER)
    if found.walk is ending.walk:
        return found
    fewer = _n_numbers(found, asked) < _n_numbers(ending, asked)
    if fewer or not _explains(ending):
        return found
    return replace(ending, n_iter=found.n_iter)


def _tighter_attempt(
    ending: Ending, first: Ending, gross: GrossErrors
) -> tuple[Attempt | None, float]:
    """How to look for fewer outliers, and with which share of the bound.

    None where nothing speaks for them. A path from rank one is worth its steps where
    measurements are few, or where the whole data were explained. There, fewer numbers
    are a lower rank. Elsewhere a fit that left more out than a tighter bound allows is
    tried from where it ended: true errors show in two steps.
    """
    walk, factors = first.walk, first.outcome.evaluation.factors
    rank = ending.outcome.evaluation.factors.rank
    left_out = np.count_nonzero(gross.values) / walk.objective.n_measurements
    tighter = _tuning(walk).tighter
    exceeded = [share for share in tighter if left_out > share * gross.fraction]
    few, whole = _few(walk, factors), ending.walk is not walk
    if _fixed(walk) and whole:
        return None, tighter[0]
    if not _fixed(walk):
        if whole or (few and tighter[0] not in exceeded):
            return partial(_pursued, max_rank=rank - 1), tighter[0]
        if few and not _explains(ending):
            return partial(_pursued, max_rank=rank), tighter[0]
    if exceeded:
        return partial(_with_fewer, factors=factors), exceeded[0]
    return None, tighter[0]


def _pursued(walk: Walk, max_rank: int) -> Outcome | None:
    """All but outliers explained by a path up to a rank, or None."""
    if max_rank < 1:
        return None
    outcome = pursue(walk, max_rank)
    return outcome if outcome.status is Status.RESIDUAL else None


def _with_fewer(walk: Walk, factors: Factors) -> Outcome | None:
    """All but fewer outliers explained at the rank of the factors, or a lower one."""
    explained = _explained(walk, factors)
    if explained is None or _fixed(walk) or walk.stopped:
        return explained
    n_before = len(walk.stages)
    lower = _pursued(walk, factors.rank)
    if lower is None:
        walk.forget_stages(slice(n_before, None))
        return explained
    walk.forget_stages(slice(n_before))
    return lower


def _n_numbers(ending: Ending, asked: Objective) -> int:
    """How many numbers explain the data: the matrix, and two for each outlier."""
    gross = _gross_errors(ending, asked)
    n_left_out = 0 if gross is None else int(np.count_nonzero(gross.values))
    factors = ending.outcome.evaluation.factors
    unknown = ending.walk.settings.unknown
    of_matrix = unknown.degrees_of_freedom(asked.matrix_shape, factors.rank)
    return of_matrix + 2 * n_left_out


def _gross_errors(ending: Ending, asked: Objective) -> GrossErrors | None:
    """What the ending leaves out, as a fit with the bound that was asked for says."""
    best = ending.outcome.evaluation
    tol = ending.walk.settings.tol
    return asked.gross_errors(best.factors, best.relative_residual, tol)


def _or_explained(
    ending: Ending,
    objective: Objective,
    attempt: Attempt,
    reason: str,
) -> Ending:
    """The ending, or that of an attempt to explain the same data by other means."""
    walk = ending.walk
    # An attempt in vain leaves nothing behind.
    history = History(list(walk.journal.history.records))
    journal = replace(walk.journal, history=history, reached=Reached())
    # A start that was given may have more columns than the ranks that are tried.
    other = Walk(objective, walk.settings.without_start(), journal, walk.rng)
    explained = attempt(other)
    n_iter = ending.n_iter + other.n_iter
    if other.ended_by is not None:
        outcome = replace(ending.outcome, status=other.ended_by)
        return replace(ending, outcome=outcome)
    if explained is None:
        return replace(ending, n_iter=n_iter)
    return Ending(explained, other, tuple(other.stages), n_iter, reason)


def _explains(ending: Ending) -> bool:
    return ending.outcome.status is Status.RESIDUAL


def _fixed(walk: Walk) -> bool:
    return walk.settings.rank_search == "fixed"


def _few(walk: Walk, factors: Factors) -> bool:
    return walk.strategy.measurements_per_unknown(factors.rank) < _tuning(walk).few


def _tuning(walk: Walk) -> WholeDataTuning:
    return walk.settings.tuning.whole_data


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
    promising = _tuning(walk).promising * here.relative_residual
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
