"""The last resort of a path on scarce entries: uncertain rows, then Gauss-Newton.

The path fits one rank after the other, and where entries are scarce an early rank can
end in a wrong local optimum that later ones do not leave. `explain` then starts each
rank afresh, and lets no row count before it is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from skprecgd.factors import Factors
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import SampledObjective
from skprecgd.optim.loop import Outcome
from skprecgd.optim.posterior import Posterior
from skprecgd.optim.result import Status
from skprecgd.optim.walk import Walk, degrees_of_freedom

# A rank that explains the entries does so within this many steps, or not without
# starting some lines afresh, for which the noise is raised by these factors.
_MAX_STEPS = 300
_RAISED = (10.0, 100.0)
# After the singular vectors, random starts: where one ends wrong another need not.
_RANDOM_STARTS = 2
# Noise that fell by less than this over so many steps does not fall any more.
_STALL_WINDOW, _STALL_SHARE = 20, 0.98
# Noise at which Gauss-Newton may take over, and the share of it before the next try:
# it costs as much as a hundred steps.
_SMALL_NOISE, _NEXT_NOISE = 1e-3, 0.1
# A line of leverage one has a direction to itself, one of a half most of it.
_LONE = 0.5


def applies(walk: Walk, max_rank: int) -> bool:
    """Whether the problem is the completion of a matrix from scarce entries."""
    objective, settings = walk.objective, walk.settings
    return (
        settings.solver == "auto"
        and not settings.symmetric
        # Not what is derived from it: gross errors must not be explained.
        and type(objective) is SampledObjective
        and isinstance(objective.measurements, EntryMeasurements)
        and isinstance(objective.loss, SquaredLoss)
        and objective.alpha == 0
        and walk.scarce(max_rank)
    )


def explain(walk: Walk, max_rank: int) -> Outcome | None:
    """A matrix of rank at most `max_rank` that agrees with the entries, or None."""
    objective = walk.objective
    assert isinstance(objective, SampledObjective)
    n_before = walk.n_iter
    max_rank = min(max_rank, _determined_rank(objective))
    for posterior in _starts(objective, max_rank):
        outcome = _explain_from(walk, posterior)
        if outcome is not None:
            walk.note(outcome, walk.n_iter - n_before)
        if outcome is not None or walk.stopped:
            return outcome
    return None


def _starts(objective: SampledObjective, max_rank: int) -> Iterator[Posterior]:
    """Grown column by column, then every rank afresh.

    The first finds components in the order of their size, which suits all but flat
    spectra. Always from the lowest rank up: more columns than the matrix has are room
    for wrong rows.
    """
    posterior = Posterior(objective, 1)
    yield posterior
    for _ in range(1, max_rank):
        posterior.grow()
        yield posterior
    randoms = map(np.random.RandomState, range(_RANDOM_STARTS))
    for start, rank in product((None, *randoms), range(2, max_rank + 1)):
        yield Posterior(objective, rank, start)


def has_lone_line(factors: Factors) -> bool:
    """Whether a direction serves (nearly) one row or one column only.

    To a matrix that agrees with the entries, one can be added that is zero but in one
    row, and there in the observed columns: a rank more, and that row is arbitrary.
    """
    u, _, v = factors.svd()
    return any(np.max(np.sum(basis**2, axis=1)) > _LONE for basis in (u, v))


def _determined_rank(objective: SampledObjective) -> int:
    """The largest rank with fewer degrees of freedom than there are entries."""
    shape, n_entries = objective.matrix_shape, len(objective.targets)
    ranks = range(1, min(shape))
    return max(
        (k for k in ranks if degrees_of_freedom(shape, k) < n_entries), default=1
    )


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
    outcome = walk.attempt(start, walk.objective)
    if outcome.status is not Status.RESIDUAL:
        return None
    return None if has_lone_line(outcome.evaluation.factors) else outcome


def _stalled(noise: list[float]) -> bool:
    if len(noise) <= 2 * _STALL_WINDOW:
        return False
    return noise[-1] > _STALL_SHARE * noise[-1 - _STALL_WINDOW]
