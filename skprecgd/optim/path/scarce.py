"""The last resort of a path on scarce measurements: ways to a start, then Gauss-Newton.

The path fits one rank after the other, and where measurements are scarce an early rank
can end in a wrong local optimum that later ones do not leave. `explain` then starts
afresh, in one of two ways. Entries: no row counts before it is known (`posterior.py`).
Other measurements: at each rank, a ridge that shrinks to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from skprecgd.factors import Factors
from skprecgd.initialization import spectral
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import SampledObjective
from skprecgd.optim.loop import Outcome
from skprecgd.optim.path.posterior import Posterior
from skprecgd.optim.path.walk import Walk
from skprecgd.optim.result import Status

# A rank with more measurements than this per degree of freedom is found by the path.
_AMPLE = 2.5
# A rank that explains the entries does so within this many steps, or not without
# starting some lines afresh, for which the noise is raised by these factors.
_MAX_STEPS = 300
_RAISED = (10.0, 100.0)
# After the singular vectors, random starts: where one ends wrong another need not.
_RANDOM_STARTS = 2
# So many columns in a row that do not stand out of the noise: what is left is noise.
_IN_VAIN = 2
# Noise that fell by less than this over so many steps does not fall any more.
_STALL_WINDOW, _STALL_SHARE = 20, 0.98
# Noise at which Gauss-Newton may take over, and the share of it before the next try:
# it costs as much as a hundred steps.
_SMALL_NOISE, _NEXT_NOISE = 1e-3, 0.1
# The ridge, relative to the one that leaves nothing of the matrix. One Gauss-Newton
# step each: a slower descent, or more steps, find no more.
_RIDGES = tuple(0.5 * 0.8**k for k in range(31))
# Leverage of a line beyond the mean: with one it has a direction to itself, and chance
# gives a few times log(n) / n.
_LONE = 0.25
_LANCZOS_SEED = 0


def applies(walk: Walk, max_rank: int) -> bool:
    """Whether few measurements are to be explained by the squared loss alone."""
    objective, settings = walk.objective, walk.settings
    return (
        settings.solver == "auto"
        # Not what is derived from it: gross errors must not be explained.
        and type(objective) is SampledObjective
        and isinstance(objective.loss, SquaredLoss)
        and objective.alpha == 0
        and walk.scarce(max_rank)
    )


def explain(walk: Walk, max_rank: int) -> Outcome | None:
    """A matrix of rank at most `max_rank` that agrees with the data, or None.

    From the lowest rank up: more columns than the matrix has leave room for others.
    """
    n_before = walk.n_iter
    ranks = list(range(1, walk.determined(max_rank) + 1))
    if not ranks:
        return None
    attempts = _by_uncertain_rows if completes(walk) else _by_shrinking_ridge
    for outcome in _interruptible(walk, attempts(walk, ranks)):
        if outcome is not None:
            walk.note(outcome, walk.n_iter - n_before)
        if outcome is not None or walk.stopped:
            return outcome
    return None


def grown_means(walk: Walk, max_rank: int) -> Factors | None:
    """The means of uncertain rows, with as many columns as stand out of the noise."""
    ranks = list(range(1, walk.determined(max_rank) + 1))
    for outcome in _interruptible(walk, _grown(walk, ranks)):
        if outcome is not None:
            return outcome.evaluation.factors
    return None if walk.stopped else walk.means


def completes(walk: Walk) -> bool:
    """Whether the factors of a rectangular matrix are sought from its entries."""
    entries = isinstance(_sampled(walk).measurements, EntryMeasurements)
    return entries and not walk.settings.symmetric


def _sampled(walk: Walk) -> SampledObjective:
    assert isinstance(walk.objective, SampledObjective)
    return walk.objective


def _beyond_the_path(walk: Walk, ranks: list[int]) -> list[int]:
    """The ranks for which the path's own stages may have failed."""
    return [k for k in ranks if walk.measurements_per_unknown(k) < _AMPLE]


def has_lone_line(factors: Factors) -> bool:
    """Whether a direction serves one row or one column in particular.

    To a matrix that agrees with the entries, one can be added that is zero but in one
    row, and there in the observed columns: a rank more, and that row is arbitrary.
    """
    u, _, v = factors.svd()
    return any(
        np.max(np.sum(basis**2, axis=1)) > factors.rank / len(basis) + _LONE
        for basis in (u, v)
    )


def _interruptible(
    walk: Walk, outcomes: Iterator[Outcome | None]
) -> Iterator[Outcome | None]:
    """The same, but an interrupt ends them, and the walk."""
    try:
        yield from outcomes
    except KeyboardInterrupt:
        walk.ended_by = Status.INTERRUPTED


def _by_shrinking_ridge(walk: Walk, ranks: list[int]) -> Iterator[Outcome | None]:
    """Each rank from the spectral start, with a ridge that shrinks as it is fitted."""
    objective = _sampled(walk)
    for rank in _beyond_the_path(walk, ranks):
        factors = spectral(
            objective,
            rank,
            symmetric=walk.settings.symmetric,
            random_state=_LANCZOS_SEED,
        )
        _, s, _ = factors.svd()
        for ridge in _RIDGES if s[0] > 0 else ():
            ridged = SampledObjective(
                objective.measurements,
                objective.targets,
                objective.loss,
                alpha=ridge * float(s[0]),
            )
            factors = walk.one_step(factors, ridged)
            if walk.stopped:
                return
        outcome = walk.attempt(factors)
        yield outcome if outcome.status is Status.RESIDUAL else None


def _by_uncertain_rows(walk: Walk, ranks: list[int]) -> Iterator[Outcome | None]:
    """Grown column by column, then, unless only noise is left, every rank afresh."""
    yield from _grown(walk, ranks)
    if walk.noise_is_left:
        return
    objective = _sampled(walk)
    randoms = map(np.random.RandomState, range(_RANDOM_STARTS))
    fresh = [rank for rank in _beyond_the_path(walk, ranks) if rank > 1]
    for start, rank in product((None, *randoms), fresh):
        yield _explain_from(walk, Posterior(objective, rank, start))


def _grown(walk: Walk, ranks: list[int]) -> Iterator[Outcome | None]:
    """One column after the other, until nothing but noise is left.

    That finds components in the order of their size, which suits all but flat spectra.
    """
    posterior = Posterior(_sampled(walk), 1)
    most, in_vain = 0, 0
    for rank in ranks:
        if rank > 1:
            posterior.grow()
        yield _explain_from(walk, posterior)
        walk.means = posterior.factors()
        in_vain = in_vain + 1 if walk.means.rank <= most else 0
        most = max(most, walk.means.rank)
        if in_vain == _IN_VAIN:
            walk.noise_is_left = True
            return


def _explain_from(walk: Walk, posterior: Posterior) -> Outcome | None:
    """At one rank, with fresh starts of the lines that went wrong."""
    outcome = _sharpen(walk, posterior)
    for raised in _RAISED:
        done = outcome is not None or walk.stopped
        if done or not posterior.forget_worst_lines(raised):
            break
        outcome = _sharpen(walk, posterior)
    return outcome


def _sharpen(walk: Walk, posterior: Posterior) -> Outcome | None:
    """Steps until a polish leaves no residual, or the noise falls no more."""
    noise: list[float] = []
    polish_below = _SMALL_NOISE
    max_steps = min(_MAX_STEPS, walk.settings.max_iter)
    while len(noise) < max_steps and not _stalled(noise):
        posterior.step()
        noise.append(posterior.noise)
        factors = posterior.factors()
        if noise[-1] < polish_below:
            outcome = _polish(walk, factors)
            if outcome is not None:
                return outcome
            polish_below = _NEXT_NOISE * noise[-1]
        if walk.note_step(walk.objective.evaluate(factors), noise[-1]):
            return None
    return None


def _polish(walk: Walk, start: Factors) -> Outcome | None:
    """Gauss-Newton from the means of the rows."""
    outcome = walk.attempt(start)
    if outcome.status is not Status.RESIDUAL:
        return None
    return None if has_lone_line(outcome.evaluation.factors) else outcome


def _stalled(noise: list[float]) -> bool:
    if len(noise) <= 2 * _STALL_WINDOW:
        return False
    return noise[-1] > _STALL_SHARE * noise[-1 - _STALL_WINDOW]
