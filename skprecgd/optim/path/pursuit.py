"""Greedy rank-one pursuit: solve at one rank until it gets slow, grow, go on.

A stage solves the problem at its rank until progress there becomes slow. The next one
adds the rank-one term along which the objective falls fastest, at its exact length. The
path stops growing

- when a stage explains the data: its residual is at most `tol`;
- when no rank-one term decreases the objective;
- when `goes_on` says so, as `early_stopping.py` does by held-out measurements;
- at the highest rank allowed, or when iterations or the user's patience run out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scipy import sparse

from skprecgd.factors import Factors, Triplets
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path import scarce
from skprecgd.optim.path.growing import Grower
from skprecgd.optim.path.lone import are_lone, has_lone_line, without_lone_lines
from skprecgd.optim.path.strategy import Strategy
from skprecgd.optim.path.walk import Handover, Walk
from skprecgd.optim.result import Status


def explore(walk: Walk, strategy: Strategy, start: Handover) -> Outcome:
    """Solve at one rank until progress gets slow, and remember where that was."""
    outcome = walk.solve(start, strategy.exploring(start.rank))
    walk.remember(outcome.evaluation.factors)
    return outcome


def pursue(
    walk: Walk,
    max_rank: int,
    goes_on: Callable[[Factors], bool] = lambda stage: True,
    *,
    one_by_one: bool = False,
) -> Outcome:
    """Rank by rank, until the data are explained or `max_rank` is reached.

    Parameters
    ----------
    walk : Walk
    max_rank : int
    goes_on : callable, default=always
        Whether to go on after a stage, given its factors.
    one_by_one : bool, default=False
        Add one column at a time, even where several stand out from chance.

    Returns
    -------
    Outcome
        Where the last stage ended.
    """
    strategy = replace(walk.strategy, one_by_one=one_by_one)
    grower = Grower(strategy, walk.rng)
    start = Handover(grower.first(max_rank))
    while True:
        outcome, known = explore(walk, strategy, start), None
        room = max_rank - start.rank
        if outcome.status is Status.SLOW:
            outcome, known = _with_lines_afresh(walk, grower, outcome, max(1, room))
        wanted = goes_on(outcome.evaluation.factors) and room > 0
        if not wanted or outcome.status is not Status.SLOW:
            return outcome
        grown = grower.grow(outcome.evaluation, room, known=known)
        if grown is None and walk.objective.penalty.shrinks:
            # If the ridge outweighs all new directions, the present columns may not
            # have converged yet.
            outcome = walk.settle(outcome.evaluation.factors)
            wanted = goes_on(outcome.evaluation.factors)
            if not wanted or not outcome.status.converged:
                return outcome
            grown = grower.grow(outcome.evaluation, room)
        if grown is None:
            return replace(outcome, status=Status.GLOBAL)
        start = Handover(grown)
        # The next stage is the only holder of the predictions.
        del outcome, grown, known


def _with_lines_afresh(
    walk: Walk, grower: Grower, outcome: Outcome, room: int
) -> tuple[Outcome, Triplets | None]:
    """A slow stage, unless single lines hold it up: these are then solved for afresh.

    A line that shows hardly more entries than it has unknowns converges late. And a
    line with large entries may be thrown far off by the first steps, and the lines that
    it meets with it, which no descent mends. Either way the direction in which the loss
    falls fastest is a line's own, and no other stands out from chance. From where such
    lines are zero the last solver finds them by what the others say. Where measurements
    are scarce, fresh starts come later (`scarce.py`).

    Returns
    -------
    outcome : Outcome
    directions : tuple of ndarray or None
        Those to grow by, if they are known.
    """
    rank, known = outcome.evaluation.factors.rank, None
    if not (scarce.completes(walk) and grower.strategy.may_finish(rank)):
        return outcome, None
    for _ in range(walk.settings.tuning.stages.lines_afresh):
        known = grower.directions(outcome.evaluation, room)
        found = _lines_afresh(walk, outcome, known)
        if found is None:
            break
        outcome, known = found, None
        if outcome.status is not Status.SLOW:
            break
    return outcome, known


def _lines_afresh(walk: Walk, outcome: Outcome, directions: Triplets) -> Outcome | None:
    """A stage with the lines found afresh that directions serve; None if in vain."""
    best, lone = outcome.evaluation, walk.settings.tuning.scarce.lone
    gradient = walk.objective.matrix_gradient(best)
    if not (sparse.issparse(gradient) and are_lone(directions, lone).any()):
        return None
    start = without_lone_lines(best.factors, gradient, directions, lone)
    found = walk.attempt(start)
    if found.evaluation.loss >= best.loss and not walk.stopped:
        return None
    n_iter = walk.stages[-1].n_iter + found.n_iter
    walk.forget_stages(slice(-1, None))
    walk.record(found, n_iter)
    walk.remember(found.evaluation.factors)
    return found


def pursue_twice(
    walk: Walk, max_rank: int, goes_on: Callable[[Factors], bool]
) -> Outcome:
    """The pursuit, once more one by one where columns added together were too many.

    Measurements may leave parts of a row unseen, and a direction of its own then
    explains what a lower rank would.
    """
    outcome = pursue(walk, max_rank, goes_on)
    factors, n_stages = outcome.evaluation.factors, len(walk.stages)
    explained = outcome.status is Status.RESIDUAL
    several_at_once = n_stages < factors.rank
    lone = walk.settings.tuning.scarce.lone
    if not (explained and several_at_once and has_lone_line(factors, lone)):
        return outcome
    again = pursue(walk, max_rank, one_by_one=True)
    lower = again.evaluation.factors.rank < factors.rank
    if lower and again.status is Status.RESIDUAL:
        walk.forget_stages(slice(n_stages))
        return again
    walk.forget_stages(slice(n_stages, None))
    return outcome
