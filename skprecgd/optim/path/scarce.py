"""The last resort of a path on scarce measurements: ways to a start, then Gauss-Newton.

The path fits one rank after the other, and where measurements are scarce an early rank
can end in a wrong local optimum that later ones do not leave. `explain` then starts
afresh, in one of two ways. For entries, rows count by how certain they are (variational
Bayes, `posterior.py`). For other measurements, a ridge at each rank shrinks to nothing
(continuation).

Nothing here changes a path: what was found is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from skprecgd.factors import Factors
from skprecgd.initialization import make_start
from skprecgd.objective.penalty import as_penalty
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path.lone import has_lone_line
from skprecgd.optim.path.posterior import Posterior
from skprecgd.optim.path.tuning import ScarceTuning
from skprecgd.optim.path.walk import Walk
from skprecgd.optim.result import Status


@dataclass(frozen=True)
class Found:
    """The result of fresh starts.

    Attributes
    ----------
    outcome : Outcome or None
        A matrix that agrees with the data.
    means : Factors or None
        The posterior means: a start for the last fit where nothing agrees.
    noise_is_left : bool
        Whether columns no longer stand out of the noise.
    """

    outcome: Outcome | None = None
    means: Factors | None = None
    noise_is_left: bool = False


def applies(walk: Walk, max_rank: int) -> bool:
    """Whether few measurements are to be explained by the squared loss alone."""
    return (
        walk.settings.solver == "auto"
        and walk.objective.plain_least_squares
        and walk.strategy.scarce(max_rank)
    )


def explain(walk: Walk, max_rank: int, least_rank: int = 1) -> Found:
    """Look for a matrix of rank at most `max_rank` that agrees with the data.

    Ranks are tried from the lowest up: more columns than the matrix has leave room for
    others. An outcome that is found becomes a stage of the walk.

    Parameters
    ----------
    walk : Walk
    max_rank : int
    least_rank : int, default=1
        Lower ranks are known not to explain the data. Columns are grown through them
        all the same.
    """
    n_before = walk.n_iter
    ranks = list(range(1, walk.strategy.highest_determined(max_rank) + 1))
    if not ranks:
        return Found()
    start_afresh = _by_uncertain_rows if completes(walk) else _by_shrinking_ridge
    try:
        found = start_afresh(walk, ranks, least_rank)
    except KeyboardInterrupt:
        walk.interrupt()
        return Found()
    if found.outcome is not None:
        walk.record(found.outcome, walk.n_iter - n_before)
    return found


def grown_means(walk: Walk, max_rank: int) -> Factors | None:
    """The means of uncertain rows, with as many columns as stand out of the noise."""
    ranks = list(range(1, walk.strategy.highest_determined(max_rank) + 1))
    try:
        found = _grown_column_by_column(walk, ranks)
    except KeyboardInterrupt:
        walk.interrupt()
        return None
    if found.outcome is not None:
        return found.outcome.evaluation.factors
    return None if walk.stopped else found.means


def completes(walk: Walk) -> bool:
    """Whether the factors of a rectangular matrix are sought from its entries."""
    entries = walk.objective.observed_entries()
    return entries is not None and walk.settings.unknown.has_two_factors


def _beyond_the_path(walk: Walk, ranks: list[int], least: int) -> list[int]:
    """The ranks for which the path's own stages may have failed."""
    ample, per_unknown = _tuning(walk).ample, walk.strategy.measurements_per_unknown
    return [k for k in ranks if k >= least and per_unknown(k) < ample]


def _by_shrinking_ridge(walk: Walk, ranks: list[int], least: int) -> Found:
    """Each rank from the spectral start, with a ridge that shrinks as it is fitted."""
    for rank in _beyond_the_path(walk, ranks, least):
        start = _shrunk_ridge(walk, rank)
        if start is None:
            return Found()
        outcome = walk.attempt(start)
        if outcome.status is Status.RESIDUAL:
            return Found(outcome)
        if walk.stopped:
            return Found()
    return Found()


def _shrunk_ridge(walk: Walk, rank: int) -> Factors | None:
    """The factors after a step for each shrinking ridge; None if the user stops."""
    tuning, objective = _tuning(walk), walk.objective
    unknown = walk.settings.unknown
    factors = make_start("spectral", objective, rank, unknown, tuning.seed)
    _, s, _ = factors.svd()
    for ridge in tuning.ridges if s[0] > 0 else ():
        penalised = objective.with_penalty(as_penalty(ridge * float(s[0])))
        factors = walk.one_step(factors, penalised)
        if walk.stopped:
            return None
    return factors


def _by_uncertain_rows(walk: Walk, ranks: list[int], least: int) -> Found:
    """Grow column by column, then start every rank afresh unless only noise is left."""
    found = _grown_column_by_column(walk, ranks)
    if found.outcome is not None or found.noise_is_left or walk.stopped:
        return found
    randoms = map(np.random.RandomState, range(_tuning(walk).random_starts))
    fresh = _beyond_the_path(walk, ranks, max(least, 2))
    for start, rank in product((None, *randoms), fresh):
        outcome = _explain_from(walk, _posterior(walk, rank, start))
        if outcome is not None:
            return Found(outcome, found.means)
        if walk.stopped:
            break
    return found


def _grown_column_by_column(walk: Walk, ranks: list[int]) -> Found:
    """Grow one column after the other, until nothing but noise is left.

    This finds components in the order of their size, which suits all but flat spectra.
    """
    posterior, means = _posterior(walk, 1), None
    most, in_vain = 0, 0
    for rank in ranks:
        if rank > 1:
            posterior.grow()
        outcome = _explain_from(walk, posterior)
        if outcome is not None or walk.stopped:
            return Found(outcome, means)
        means = posterior.factors().balanced()
        if posterior.is_exhausted:
            break
        in_vain = in_vain + 1 if means.rank <= most else 0
        most = max(most, means.rank)
        if in_vain == _tuning(walk).in_vain:
            return Found(None, means, noise_is_left=True)
    return Found(None, means)


def _explain_from(walk: Walk, posterior: Posterior) -> Outcome | None:
    """The outcome at one rank, with fresh starts of the lines that went wrong."""
    outcome = _step_until_explained(walk, posterior)
    for raised in _tuning(walk).raised:
        done = outcome is not None or walk.stopped
        if done or not posterior.forget_worst_lines(raised):
            break
        outcome = _step_until_explained(walk, posterior)
    return outcome


def _step_until_explained(walk: Walk, posterior: Posterior) -> Outcome | None:
    """Make steps until Gauss-Newton leaves no residual, or the noise falls no more."""
    tuning, noise = _tuning(walk), list[float]()
    low_enough = tuning.small_noise
    max_steps = min(tuning.max_steps, walk.settings.max_iter)
    while len(noise) < max_steps and not _stalled(noise, tuning):
        if posterior.is_exhausted:
            break
        posterior.step()
        noise.append(posterior.noise)
        factors = posterior.factors()
        if noise[-1] < low_enough:
            outcome = _gauss_newton_from(walk, factors)
            if outcome is not None:
                return outcome
            low_enough = tuning.next_noise * noise[-1]
        if walk.record_posterior_step(walk.objective.evaluate(factors), noise[-1]):
            return None
    return None


def _gauss_newton_from(walk: Walk, means: Factors) -> Outcome | None:
    """The outcome from the posterior means, if it explains the data by no lone line."""
    outcome = walk.attempt(means.balanced())
    if outcome.status is not Status.RESIDUAL:
        return None
    lone = has_lone_line(outcome.evaluation.factors, _tuning(walk).lone)
    return None if lone else outcome


def _stalled(noise: list[float], tuning: ScarceTuning) -> bool:
    """Whether the noise does not fall any more."""
    if len(noise) <= 2 * tuning.stall_window:
        return False
    return noise[-1] > tuning.stall_share * noise[-1 - tuning.stall_window]


def _posterior(
    walk: Walk, rank: int, start: np.random.RandomState | None = None
) -> Posterior:
    tuning, unknown = walk.settings.tuning.posterior, walk.settings.unknown
    return Posterior(walk.objective, rank, start, tuning, unknown)


def _tuning(walk: Walk) -> ScarceTuning:
    return walk.settings.tuning.scarce
