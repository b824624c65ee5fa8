"""Runs solvers at the ranks it is told, and keeps the stages.

A `Walk` decides nothing: `strategy.py` says which solvers to run and until when,
`pursuit.py` where to go next. Nobody else changes its attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from skprecgd.factors import Factors
from skprecgd.losses import Loss
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.loop import Journal, Outcome, descend
from skprecgd.optim.path.freedom import residual_variance
from skprecgd.optim.path.result import Stage
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.strategy import Phase, Strategy
from skprecgd.optim.result import Status
from skprecgd.optim.solvers import Method


class Handover:
    """A point that is handed over from one solver to the next.

    The predictions at a point are as large as the data, so those of a point that is
    left behind must be freed: after `take`, only the caller refers to the point.

    Attributes
    ----------
    rank : int
    loss, relative_residual : float
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.rank = evaluation.factors.rank
        self.loss = evaluation.loss
        self.relative_residual = evaluation.relative_residual
        self._evaluation: list[Evaluation] = [evaluation]

    def take(self) -> Evaluation:
        """The evaluation, once."""
        return self._evaluation.pop()


class Walk:
    """A walk among the ranks, on an objective of unit scale.

    Parameters
    ----------
    objective : Objective
    settings : PathSettings
        Settings in the units of the objective.
    journal : Journal
    rng : RandomState

    Attributes
    ----------
    strategy : Strategy
    stages : list of Stage
        So far, in the units of the objective.
    n_iter : int
        Iterations so far, all ranks together.
    ended_by : Status or None
        Set when the user stopped the fit, by a callback or Ctrl-C.
    sharpened : Loss or None
        The loss in the units of the data, once its smoothing is less than at the start.
    visited : dict
        The factors that each rank was left with. A warm start from these does not
        depend on the search rank, so any sufficient search rank gives the same fit to
        the last bit.
    """

    def __init__(
        self,
        objective: Objective,
        settings: PathSettings,
        journal: Journal,
        rng: np.random.RandomState,
    ) -> None:
        self.objective = objective
        self.settings = settings
        self.journal = journal
        self.rng = rng
        held_out = journal.validation_loss is not None
        self.strategy = Strategy(objective, settings, judged_by_held_out=held_out)
        self.stages: list[Stage] = []
        self.n_iter = 0
        self.ended_by: Status | None = None
        self.sharpened: Loss | None = None
        self.visited: dict[int, Factors] = {}
        self._methods = self._ready(settings)
        self._allowed = settings.max_iter
        self._used: dict[str, list[int]] = {}

    @property
    def stopped(self) -> bool:
        """Whether the user wants no further iteration."""
        return self.ended_by is not None

    def solve(self, start: Handover, plan: Sequence[Phase]) -> Outcome:
        """Run a plan, and record where it ends as a stage."""
        n_before = self.n_iter
        outcome = self._follow(self.objective, start, plan)
        self.record(outcome, self.n_iter - n_before)
        return outcome

    def attempt(self, factors: Factors) -> Outcome:
        """Run the last solver from a point; no stage yet."""
        start = Handover(self.objective.evaluate(factors))
        plan = self.strategy.last_resort(factors.rank)
        return self._follow(self.objective, start, plan)

    def one_step(self, factors: Factors, objective: Objective) -> Factors:
        """The factors after one iteration of the last solver on another objective."""
        start = Handover(objective.evaluate(factors))
        plan = [Phase(self.strategy.solvers[-1])]
        return self._follow(objective, start, plan, 1).evaluation.factors

    def settle(self, factors: Factors) -> Outcome:
        """Solve at the rank of the factors to the end.

        If the variance of the noise is to be estimated, it is known from here on.
        """
        start = Handover(self.objective.evaluate(factors))
        if self.settings.estimates_noise:
            variance = residual_variance(
                self.objective, start.loss, factors, self.settings.unknown
            )
            self._methods = self._ready(replace(self.settings, noise_variance=variance))
        plan = self.strategy.settling()
        outcome = self.solve(start, plan)
        return self._sharpen(outcome, plan)

    def stay(
        self, evaluation: Evaluation, status: Status, sharpened: Objective | None = None
    ) -> Outcome:
        """Record a point from which no step is to be made, as a stage.

        It is a point of the `sharpened` objective, if there is one.
        """
        phase, objective = Phase(self.strategy.solvers[0]), self.objective
        if sharpened is not None and sharpened is not objective:
            objective = sharpened
            self.sharpened = sharpened.loss.rescaled(sharpened.target_unit)
        outcome = self._run(objective, Handover(evaluation), phase, 0)
        if not self.stopped:
            outcome = replace(outcome, status=status)
        self.record(outcome, 0)
        return outcome

    def record(self, outcome: Outcome, n_iter: int) -> None:
        """Add a stage that ended in `outcome` after `n_iter` iterations."""
        best = outcome.evaluation
        validation = np.nan
        if self.journal.validation_loss is not None:
            validation = self.journal.validation_loss(best)
        self.stages.append(
            Stage(
                rank=best.factors.rank,
                loss=best.loss,
                relative_residual=best.relative_residual,
                validation_loss=validation,
                singular_values=best.factors.singular_values(),
                n_iter=n_iter,
                seconds=perf_counter() - self.journal.started,
                factors=best.factors if self.settings.keep_factors else None,
            )
        )

    def forget_stages(self, which: slice) -> None:
        """Drop stages that turned out to be a detour; their iterations still count."""
        del self.stages[which]

    def remember(self, factors: Factors) -> None:
        """Keep the factors as those with which the path left their rank."""
        self.visited[factors.rank] = factors

    def record_posterior_step(self, evaluation: Evaluation, noise: float) -> bool:
        """Record a step of the posterior; True if the user stops.

        It costs a fraction of an iteration and uses up none of those allowed.
        """
        self.n_iter += 1
        self._allowed += 1
        self._used.setdefault("uncertain rows", []).append(evaluation.factors.rank)
        if self.journal.write(evaluation, np.nan, np.nan, noise):
            self.ended_by = Status.CALLBACK
        return self.stopped

    def interrupt(self) -> None:
        """The user pressed Ctrl-C between two descents."""
        self.ended_by = Status.INTERRUPTED

    def summary(self) -> str:
        """One sentence on how the ranks were solved."""
        parts = []
        for name, ranks in self._used.items():
            low, high = min(ranks), max(ranks)
            span = f"{low}" if low == high else f"{low}-{high}"
            parts.append(f"{name} at rank {span}")
        return f" ({', '.join(parts)}.)" if parts else ""

    def _ready(self, settings: PathSettings) -> dict[str, Method]:
        """The solvers of the strategy, ready to run."""
        return {
            solver.name: settings.method(solver, self.objective, self.rng)
            for solver in self.strategy.solvers
        }

    def _sharpen(self, outcome: Outcome, plan: Sequence[Phase]) -> Outcome:
        """Go on while the loss can do with less smoothing (continuation, homotopy).

        These fits are no stages of their own.
        """
        objective = self.objective
        # Each fit may take no iteration at all, so their number is limited, too.
        for _ in range(self.settings.max_iter):
            if not outcome.status.converged:
                break
            best = outcome.evaluation
            sharper = objective.sharpened(best, self.settings.tol)
            if sharper is None:
                break
            objective = sharper
            self.sharpened = sharper.loss.rescaled(sharper.target_unit)
            start = Handover(sharper.evaluate(best.factors))
            outcome = self._follow(sharper, start, plan)
        return outcome

    def _follow(
        self,
        objective: Objective,
        start: Handover,
        plan: Sequence[Phase],
        max_iter: float = np.inf,
    ) -> Outcome:
        """Run the phases of a plan in turn, each until it gets slow."""
        first, *others = plan
        outcome = self._run(objective, start, first, max_iter)
        for phase in others:
            needed = objective.mean_loss(outcome.evaluation) > phase.above
            if outcome.status is not Status.SLOW or not needed:
                break
            # A long step may leave one factor tiny and the other huge, and then the
            # damping means something else to each.
            start = Handover(objective.balanced(outcome.evaluation))
            # The next phase is the only holder of the predictions.
            del outcome
            outcome = self._run(objective, start, phase, max_iter)
        return outcome

    def _run(
        self, objective: Objective, start: Handover, phase: Phase, max_iter: float
    ) -> Outcome:
        """Run one phase."""
        tol, method = self.settings.tol, self._methods[phase.solver.name]
        outcome = descend(
            objective,
            start.take(),
            method,
            self.journal,
            max_iter=int(min(self._allowed - self.n_iter, max_iter)),
            tol=max(tol, phase.may_leave * start.relative_residual),
            progress=phase.until,
        )
        self.n_iter += outcome.n_iter
        self.journal.reached.factors = outcome.evaluation.factors
        self._used.setdefault(method.name, []).append(start.rank)
        if outcome.status in (Status.CALLBACK, Status.INTERRUPTED):
            self.ended_by = outcome.status
        solved = outcome.status.converged and phase.may_leave > 0
        if solved and outcome.evaluation.relative_residual > tol:
            # It is solved at this rank, and others may do better.
            return replace(outcome, status=Status.SLOW)
        return outcome


@dataclass(frozen=True)
class Ending:
    """The outcome of a search, with the stages and iterations of all its walks.

    Attributes
    ----------
    outcome : Outcome
    walk : Walk
        The one that got there.
    stages : tuple of Stage
        The stages to show: those of one walk, or of several.
    n_iter : int
        Iterations of all walks.
    reason : str
        What the message says after the outcome's sentence.
    worse_than_none : bool
        See `PathResult`.
    """

    outcome: Outcome
    walk: Walk
    stages: tuple[Stage, ...]
    n_iter: int
    reason: str = ""
    worse_than_none: bool = False

    @classmethod
    def of(cls, walk: Walk, outcome: Outcome, reason: str = "") -> Ending:
        """The ending of a search that was a single walk."""
        return cls(outcome, walk, tuple(walk.stages), walk.n_iter, reason)
