"""The last resort of a path on scarce entries: sharpen a smoothed rank, polish, repair.

The path fits one rank after the other, and where entries are scarce an early rank can
end in a wrong local optimum that later ones do not leave. `explain` then starts
afresh without fixing a rank.
"""

from __future__ import annotations

import numpy as np

from skprecgd._typing import Array
from skprecgd.factors import Factors
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import SampledObjective
from skprecgd.optim.loop import Outcome
from skprecgd.optim.result import Status
from skprecgd.optim.smoothed_rank import LineWeights, SmoothedRank
from skprecgd.optim.walk import Walk, degrees_of_freedom

# The next polish waits until eps has halved.
_HALVED = 0.5
# eps that shrank by less than this over so many steps is held up by directions that
# no rank on offer explains.
_STALL_WINDOW, _STALL_SHARE = 15, 0.9
# Lines set aside in a repair, and the steps until the next one.
_SET_ASIDE = 0.01
_REPAIRS = 4
_REPAIR_STEPS = 25
# Largest leverage of a line, relative to the mean, that chance still explains.
_SPIKE = 4.0
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
    """A matrix of rank at most `max_rank` that agrees with the entries, or None.

    Twice: with as many directions as the entries can determine, which keeps flat
    spectra from spreading over too many, and, where that does not do, with twice as
    many and a looser rein on eps, which ill-conditioned ones need.
    """
    objective = walk.objective
    assert isinstance(objective, SampledObjective)
    n_before = walk.n_iter
    determined = _determined_rank(objective)
    for n_directions, held_up in ((determined, 1.0), (2 * determined, 0.5)):
        attempt = _Attempt(walk, max_rank, n_directions, held_up)
        outcome = attempt.run()
        if outcome is not None:
            walk.note(outcome, walk.n_iter - n_before)
        if outcome is not None or walk.spent:
            return outcome
    return None


def has_lone_line(factors: Factors) -> bool:
    """Whether a direction serves (nearly) one row or one column only.

    To a matrix that agrees with the entries, one can be added that is zero but in one
    row, and there in the observed columns: a rank more, and that row is arbitrary.
    """
    u, _, v = factors.svd()
    return any(np.max(np.sum(basis**2, axis=1)) > _LONE for basis in (u, v))


def _outside(objective: SampledObjective, rows: Array, columns: Array) -> Array:
    """Entries in none of the rows and columns that the masks mark."""
    entries = objective.measurements
    assert isinstance(entries, EntryMeasurements)
    return np.flatnonzero(~(rows[entries.row_index] | columns[entries.column_index]))


def _determined_rank(objective: SampledObjective) -> int:
    """The largest rank with fewer degrees of freedom than there are entries."""
    shape, n_entries = objective.matrix_shape, len(objective.targets)
    ranks = range(1, min(shape))
    return max(
        (k for k in ranks if degrees_of_freedom(shape, k) < n_entries), default=1
    )


class _Attempt:
    """One run of the smoothed rank with its repairs."""

    def __init__(
        self, walk: Walk, max_rank: int, n_directions: int, held_up: float
    ) -> None:
        objective = walk.objective
        assert isinstance(objective, SampledObjective)
        entries = objective.measurements
        assert isinstance(entries, EntryMeasurements)
        self.walk, self.max_rank = walk, max_rank
        self.objective = objective
        self.weights = LineWeights.by_count(entries, objective.dtype)
        self.weighted = self.weights.weigh(objective)
        n_directions = min(n_directions, min(objective.matrix_shape) - 1)
        self.state = SmoothedRank(self.weighted, max(1, n_directions), held_up)

    def run(self) -> Outcome | None:
        """Sharpen; where that ends wrong, set the spikes aside and go on."""
        outcome = self._sharpen(self.objective)
        for _ in range(_REPAIRS):
            if outcome is not None or self.walk.spent:
                break
            kept = self._without_spikes()
            if kept is None:
                break
            self.state = self.state.on(self.weighted.subset(kept))
            self.state.set_back()
            outcome = self._sharpen(self.objective.subset(kept), _REPAIR_STEPS)
            self.state = self.state.on(self.weighted)
        return outcome

    def _sharpen(
        self, objective: SampledObjective, max_steps: float = np.inf
    ) -> Outcome | None:
        """Steps until a polish of the directions above eps leaves no residual."""
        history: list[float] = []
        polished_at = np.inf
        while len(history) < max_steps:
            state = self.state
            state.step()
            factors = self.weights.unweigh(state.factors())
            if state.clear and state.eps < _HALVED * polished_at:
                polished_at = state.eps
                outcome = self._polish(factors, objective)
                if outcome is not None:
                    return outcome
            history.append(state.eps)
            evaluation = self.objective.evaluate(factors)
            if self.walk.note_step(evaluation, state.eps) or self._stalled(history):
                return None
        return None

    def _polish(self, start: Factors, objective: SampledObjective) -> Outcome | None:
        """Gauss-Newton from the directions above eps, on all entries at last."""
        if start.rank > self.max_rank:
            return None
        shape = objective.matrix_shape
        if degrees_of_freedom(shape, start.rank) >= len(objective.targets):
            # So many directions agree with any entries whatever.
            return None
        for entries in dict.fromkeys((objective, self.objective)):
            outcome = self.walk.attempt(start, entries)
            if outcome.status is not Status.RESIDUAL:
                return None
            start = outcome.evaluation.factors
        return None if has_lone_line(start) else outcome

    def _without_spikes(self) -> Array | None:
        """Entries outside the lines on which a direction concentrates."""
        rows, columns = self.state.leverage()
        scores = np.concatenate([rows, columns])
        limit = np.sort(scores)[-max(1, round(_SET_ASIDE * len(scores)))]
        if scores.max() < _SPIKE:
            return None
        kept = _outside(self.objective, rows >= limit, columns >= limit)
        return kept if len(kept) else None

    def _stalled(self, history: list[float]) -> bool:
        tol = self.walk.settings.tol
        if history[-1] <= tol:
            return True
        if len(history) <= _STALL_WINDOW:
            return False
        return history[-1] > _STALL_SHARE * history[-1 - _STALL_WINDOW]
