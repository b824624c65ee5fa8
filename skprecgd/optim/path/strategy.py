"""Decisions about a stage: its solvers, when it ends, and how many columns follow.

A `Strategy` only answers questions. It runs nothing, keeps nothing, and gives the same
answer whenever it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from skprecgd.objective import Objective
from skprecgd.optim.path.freedom import highest_determined
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.tuning import StageTuning
from skprecgd.optim.solvers import SOLVERS, Solver, as_solver
from skprecgd.optim.stopping import Progress

_CONJUGATE, _NEWTON = SOLVERS["precgd-cg"], SOLVERS["gauss-newton"]


@dataclass(frozen=True)
class Phase:
    """The part of a stage that one solver runs.

    Attributes
    ----------
    solver : Solver
    until : Progress or None
        The rule that ends it; None is to the end.
    may_leave : float
        Share of the residual at its start that it may leave. The problem is then solved
        at this rank, and still to be solved at others.
    above : float
        The phase is left out where the mean loss of a measurement is not above this.
    """

    solver: Solver
    until: Progress | None = None
    may_leave: float = 0.0
    above: float = 0.0


@dataclass(frozen=True)
class Strategy:
    """The decisions of a path that follow from its objective, settings and a rank.

    Attributes
    ----------
    objective : Objective
        Brought to unit scale.
    settings : PathSettings
    judged_by_held_out : bool, default=False
        Whether there are held-out measurements to judge by.
    one_by_one : bool, default=False
        Whether columns are added one at a time, even if several stand out from chance.
    """

    objective: Objective
    settings: PathSettings
    judged_by_held_out: bool = False
    one_by_one: bool = False

    # -- how many measurements there are for a rank -----------------------------------

    def measurements_per_unknown(self, rank: int) -> float:
        """Number of measurements for each degree of freedom of a rank."""
        shape, unknown = self.objective.matrix_shape, self.settings.unknown
        return self.objective.n_measurements / unknown.degrees_of_freedom(shape, rank)

    def scarce(self, rank: int) -> bool:
        """Whether measurements are few for the degrees of freedom of a rank."""
        few = self._tuning.few
        return self.objective.can_split and self.measurements_per_unknown(rank) < few

    @property
    def can_tell_noise(self) -> bool:
        """Whether there are as many measurements as holding out would need.

        Fewer say nothing of noise.
        """
        return self.objective.n_measurements >= self.settings.tuning.hold_out.least

    def highest_determined(self, most: int) -> int:
        """The highest rank up to `most` with more measurements than unknowns, or 0."""
        shape, n = self.objective.matrix_shape, self.objective.n_measurements
        return highest_determined(self.settings.unknown, shape, n, most)

    # -- which solvers, and until when ------------------------------------------------

    @cached_property
    def solvers(self) -> tuple[Solver, ...]:
        """The solvers of a stage in turn."""
        if self.settings.solver != "auto":
            return (as_solver(self.settings.solver),)
        if self.objective.loss.has_curvature:
            return (_CONJUGATE, _NEWTON)
        return (_CONJUGATE,)

    @property
    def ends_by_held_out(self) -> bool:
        """Whether the held-out loss tells how far to go, not only to which rank."""
        return self.judged_by_held_out and self.objective.loss.generalized

    def newton_at_once(self, rank: int) -> bool:
        """Whether Gauss-Newton steps cost hardly more than conjugate ones."""
        applies = len(self.solvers) > 1 and self.objective.plain_least_squares
        return applies and self.objective.contracts(rank)

    def exploring(self, rank: int) -> list[Phase]:
        """The phases of a stage: solve at a rank until progress gets slow.

        Where measurements are scarce, slow conjugate steps do not prove that the rank
        is too low, so Gauss-Newton has the last word.
        """
        if self.ends_by_held_out:
            return self._by_held_out(self._tuning.held_out)
        solvers = self.solvers[:1]
        # A loss with a link weights the measurements by its curvature, and little
        # weight is as bad as few measurements.
        if self.scarce(rank) or self.objective.loss.generalized:
            solvers = self.solvers
        if self.newton_at_once(rank):
            solvers = self.solvers[-1:]
        phases = [Phase(solver, self._patience(solver, rank)) for solver in solvers]
        if self.settings.finish_stages and self.objective.loss.measures_error:
            tuning = self._tuning
            phases.append(Phase(self.solvers[0], tuning.settle, tuning.unfinished))
        return phases

    def last_resort(self, rank: int) -> list[Phase]:
        """The last solver alone: at the last rank, slow steps prove nothing."""
        solver = self.solvers[-1]
        return [Phase(solver, self._patience(solver, rank))]

    def may_finish(self, rank: int) -> bool:
        """Whether the last solver may finish a stage that has not had it yet."""
        others = len(self.solvers) > 1 and not self.newton_at_once(rank)
        return others and self.by_clusters and not self.scarce(rank)

    def trying(self, rank: int) -> list[Phase]:
        """The phases that find out whether the data can be explained at a rank.

        No other rank is there to go on with, so what a step could still remove is no
        reason to end one.
        """
        solvers = self.solvers[-1:] if self.newton_at_once(rank) else self.solvers
        tuning = self.settings.tuning.whole_data
        patience = {_NEWTON: tuning.newton}
        return [Phase(s, patience.get(s, tuning.steps)) for s in solvers]

    def settling(self) -> list[Phase]:
        """The phases of the final rank, which is solved to the end.

        Several solvers take turns while the gradient falls. The first has the last
        word: its steps are the cheapest, and where noise leaves a large residual they
        see the curvature that Gauss-Newton neglects.
        """
        turns = self.solvers if len(self.solvers) > 1 else ()
        phases = [Phase(solver, self._tuning.settle) for solver in turns]
        return [*phases, Phase(self.solvers[0])]

    def settling_by_held_out(self) -> list[Phase]:
        """The final rank, solved as far as the held-out loss allows."""
        return self._by_held_out(self._tuning.settle_held_out)

    def _by_held_out(self, until: Progress) -> list[Phase]:
        """The phases where held-out measurements say how far to go.

        Gauss-Newton would fit chance in a few steps, so it follows only where the first
        solver gets slow with more than chance left, as where counts differ by orders of
        magnitude.
        """
        first, *others = self.solvers
        rest = [Phase(solver, until, above=until.chance) for solver in others]
        return [Phase(first, until), *rest]

    def catching_up(self, share: float) -> list[Phase]:
        """A few steps on all measurements, until a share of the residual is left."""
        return [Phase(self.solvers[0], self._tuning.settle, may_leave=share)]

    def more_than_chance(self, mean_loss: float) -> bool:
        """Whether labels or counts that cost so much each are missed by no chance."""
        return self.ends_by_held_out and mean_loss > self._tuning.held_out.chance

    def _patience(self, solver: Solver, rank: int) -> Progress:
        """When the steps of a solver at a rank count as slow."""
        tuning = self._tuning
        if not self.objective.loss.measures_error:
            return tuning.not_an_error
        if solver == _NEWTON:
            if not self.newton_at_once(rank):
                return tuning.newton
            safe = self.measurements_per_unknown(rank) >= tuning.safe
            return tuning.newton_safe if safe else tuning.newton_alone
        if solver == _CONJUGATE and self.by_clusters and not self.scarce(rank):
            return tuning.conjugate_plentiful
        return tuning.conjugate

    # -- how many columns at a time ---------------------------------------------------

    @cached_property
    def by_clusters(self) -> bool:
        """Whether all directions that stand out from chance may be added at once.

        They may not if the rank is chosen among all of them, which must all be visited.
        """
        every_rank_counts = self.settings.keep_factors or self.judged_by_held_out
        if every_rank_counts or self.one_by_one:
            return False
        # Random signs show chance of either sign.
        if not self.settings.unknown.has_two_factors:
            return False
        objective = self.objective
        return objective.plain_least_squares and objective.loss.signs_are_chance

    def block(self, rank: int, room: int) -> int:
        """The least number of columns to add to a rank.

        It is one, or a share of the rank where many are wanted. It neither skips the
        next rank that has to be visited, nor exceeds `room`.
        """
        tuning = self.settings.tuning.growth
        size = rank // tuning.block_share if rank + room >= tuning.many else 1
        gaps = [k - rank for k in self.settings.ranks_to_visit if k > rank]
        return min(max(1, size), min(gaps, default=room))

    def plenty(self, rank: int) -> int:
        """The number of columns that can be added before measurements get scarce."""
        if not self.by_clusters:
            return 0
        ranks = range(rank + 1, min(self.objective.matrix_shape) + 1)
        return next((k - 1 for k in ranks if self.scarce(k)), ranks.stop - 1) - rank

    @property
    def _tuning(self) -> StageTuning:
        return self.settings.tuning.stages
