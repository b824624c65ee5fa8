"""Walking along the ranks: solve at one rank, grow, go on.

A stage solves the problem at its rank until progress there becomes slow; the next
one adds the rank-one term along which the objective falls fastest (the leading pair
of the negative gradient), at its exact length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from skprecgd._linalg.leading import leading_eigenpairs, leading_triplets
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors, SymmetricFactor
from skprecgd.initialization import make_start
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.objective import (
    Evaluation,
    Objective,
    PendingEvaluation,
    SampledObjective,
)
from skprecgd.optim.loop import Journal, Outcome, descend
from skprecgd.optim.metric import Damping
from skprecgd.optim.path.growth import Cluster
from skprecgd.optim.result import Status
from skprecgd.optim.solvers import Method, Solver, make_method
from skprecgd.optim.steps import StepRule
from skprecgd.optim.stopping import Progress

# Conjugate steps at a rank that still has something to give gain more than this
# over five iterations; less, and the missing components are what holds them back.
_STAGE_PROGRESS = Progress(window=5, share=0.2)
# Where measurements are plentiful the next components can be told from chance, and what
# a stage leaves to do is done at later ones.
_PLENTIFUL_PROGRESS = Progress(window=2, share=0.2, removable=0.1)
# The same for Gauss-Newton steps, each of which is worth many conjugate ones.
_NEWTON_PROGRESS = Progress(window=3, share=0.5)
# Alone, without conjugate steps before them, they need not prove as much.
_ALONE_PROGRESS = replace(_NEWTON_PROGRESS, window=2, removable=0.1)
# Even less where this many measurements per degree of freedom keep the stages to come
# on their way: it saves one step in twenty.
_SAFE = 3.0
_SAFE_PROGRESS = replace(_ALONE_PROGRESS, removable=0.35)
# The same for a loss other than the squared one, which outliers or chance keep up: the
# decrease within the stage is what there is to compare with.
_DECREASE_PROGRESS = replace(_STAGE_PROGRESS, of_decrease=0.1)
# Labels and counts can be fitted ever better at any rank, by ever larger predictions:
# there the held-out loss ends a stage, too.
_HELD_OUT_PROGRESS = replace(_STAGE_PROGRESS, of_decrease=0.01, patience=5)
# At the final rank the loss may rest on noise while the gradient still falls.
_SETTLE_PROGRESS = Progress(window=20, share=0.5, of_gradient=True)
_HELD_OUT_SETTLE = replace(_SETTLE_PROGRESS, patience=20)
# What a stage that others judge may have left to gain, as a share of its residual.
_LITTLE = 0.05
# Measurements per degree of freedom under which a stage is finished by
# Gauss-Newton before the rank may grow: conjugate steps are slow there even at the
# true rank, and a rank too many is then not repaired by iterating.
_SCARCE = 4.0
# The start vector of a Lanczos iteration is no experiment the user controls.
_LANCZOS_SEED = 0
# The new columns are only a start: of their direction the first digit is enough.
_GROWTH_TOL = 0.1
# New columns that take at least this share off the loss are worth a step at once.
_AHEAD = 0.5
# From this search rank on the path grows by blocks, an eighth of the rank each, so
# that the number of stages stays bounded.
_MANY = 50
_BLOCK_SHARE = 8


@dataclass(frozen=True)
class Stage:
    """One rank of the path.

    Attributes
    ----------
    rank : int
    loss, relative_residual : float
        At the end of the stage.
    validation_loss : float
        On held-out measurements; nan where none were held out.
    singular_values : ndarray of shape (rank,)
    n_iter : int
        Iterations spent at this rank.
    seconds : float
        From the start of the path to the end of the stage.
    factors : Factors or None
        Only with ``keep_factors=True``.
    """

    rank: int
    loss: float
    relative_residual: float
    validation_loss: float
    singular_values: Array
    n_iter: int
    seconds: float = np.nan
    factors: Factors | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PathSettings:
    """How to walk; see `rank_path`.

    Blocks of new columns stop at each of the `stops`. With `finishes`, a stage leaves
    little to gain to those that come after.
    """

    solver: str | Solver = "auto"
    damping: str | float | Damping = "auto"
    step_size: str | float | StepRule = "auto"
    noise_variance: float | str | None = None
    symmetric: bool = False
    init: Any = "spectral"
    early_stopping: str | bool = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 2
    max_iter: int = 1000
    tol: float = 1e-9
    keep_factors: bool = False
    finishes: bool = False
    stops: tuple[int, ...] = ()

    def methods(self, objective: Objective, rng: np.random.RandomState) -> list[Method]:
        """The methods a stage runs in turn."""
        names: list[str | Solver] = [self.solver]
        if self.solver == "auto":
            names = ["precgd-cg"]
            if objective.loss.has_curvature:
                names.append("gauss-newton")
        damping, noise_variance = self.damping, self.noise_variance
        if isinstance(noise_variance, str):
            # Not estimated yet: the gradient's norm does not see the noise.
            noise_variance = None
            if damping in ("auto", "variance_proxy"):
                damping = "dual_norm"
        return [
            make_method(
                name,
                objective,
                damping=damping,
                step_size=self.step_size,
                noise_variance=noise_variance,
                symmetric=self.symmetric,
                random_state=rng,
            )
            for name in names
        ]


@dataclass(frozen=True)
class Turn:
    """What one method does for a stage.

    Attributes
    ----------
    method : Method
    progress : Progress or None
        Until when; None is to the end.
    leaves : float
        Share of the residual it starts with that it may leave. The problem is then
        solved at this rank, and is still to be solved at others.
    """

    method: Method
    progress: Progress | None = None
    leaves: float = 0.0


class Start:
    """A point to set out from, which nobody holds any longer once it is taken.

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
    """One walk along the path on an objective of unit scale."""

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
        self.methods = settings.methods(objective, rng)
        self.n_iter = 0
        self.allowed = settings.max_iter
        # What the user did to end it all.
        self.ended_by: Status | None = None
        self.one_by_one = False
        # Of uncertain rows: see `scarce`.
        self.means: Factors | None = None
        self.noise_is_left = False
        # The loss of the data, once it is less rounded than at the start.
        self.sharpened: Loss | None = None
        self.stages: list[Stage] = []
        self.used: dict[str, list[int]] = {}
        self.cluster = Cluster(objective, _GROWTH_TOL)
        # Where each rank was left: a warm start that does not depend on max_rank,
        # so that any sufficient search rank gives the same fit to the last bit.
        self.visited: dict[int, Factors] = {}

    @property
    def ends_by_held_out(self) -> bool:
        """Whether the held-out loss tells how far to go, not only to which rank."""
        held_out = self.journal.validation_loss is not None
        return held_out and self.objective.loss.generalized

    def explore(self, start: Start) -> Outcome:
        """Solve at one rank until progress gets slow.

        Where measurements are scarce, slow conjugate steps are no proof that the
        rank is too low: Gauss-Newton has the last word.
        """
        # A loss with a link weights the measurements by its curvature, and little
        # weight is as bad as few measurements.
        rank = start.rank
        scarce = self.scarce(rank) or self.objective.loss.generalized
        methods = self.methods[:1]
        if scarce and not self.ends_by_held_out:
            methods = self.methods
        if self._newton_at_once(rank):
            methods = self.methods[-1:]
        plan = [Turn(method, self._patience(method, rank)) for method in methods]
        if self.settings.finishes and isinstance(self.objective.loss, SquaredLoss):
            plan.append(Turn(self.methods[0], _SETTLE_PROGRESS, leaves=_LITTLE))
        outcome = self._run(start, plan)
        self.visited[rank] = outcome.evaluation.factors
        return outcome

    def _newton_at_once(self, rank: int) -> bool:
        """Whether Gauss-Newton steps are hardly dearer than conjugate ones."""
        several = len(self.methods) > 1
        applies = several and Cluster.applies(self.objective)
        return applies and self.objective.contracts(rank)

    def polish(self, factors: Factors) -> Outcome:
        """The last method alone: at the last rank, slow steps prove nothing."""
        outcome = self.attempt(factors)
        self.note(outcome, outcome.n_iter)
        return outcome

    def attempt(self, factors: Factors) -> Outcome:
        """The last method; no stage yet."""
        method = self.methods[-1]
        plan = [Turn(method, self._patience(method, factors.rank))]
        start = Start(self.objective.evaluate(factors))
        return self._turns(self.objective, start, plan)

    def one_step(self, factors: Factors, objective: Objective) -> Factors:
        """Where one iteration of the last method leads on another objective."""
        plan = [Turn(self.methods[-1])]
        start = Start(objective.evaluate(factors))
        return self._turns(objective, start, plan, 1).evaluation.factors

    @property
    def stopped(self) -> bool:
        """Whether the user wants no further iteration."""
        return self.ended_by is not None

    @property
    def spent(self) -> bool:
        """Whether there is no iteration left, or the user wants none."""
        return self.stopped or self.n_iter >= self.allowed

    def note_step(self, evaluation: Evaluation, noise: float) -> bool:
        """Record a step that is no descent; True if the user stops.

        It costs a fraction of an iteration and uses up none of those allowed.
        """
        self.n_iter += 1
        self.allowed += 1
        self.used.setdefault("uncertain rows", []).append(evaluation.factors.rank)
        if self.journal.write(evaluation, np.nan, np.nan, noise):
            self.ended_by = Status.CALLBACK
        return self.stopped

    def settle(self, factors: Factors) -> Outcome:
        """Solve at the final rank to the end.

        Several methods take turns while the gradient falls. The first has the last
        word: its steps are the cheapest, and where noise leaves a large residual
        they see the curvature that Gauss-Newton neglects.
        """
        start = Start(self.objective.evaluate(factors))
        if self.settings.noise_variance == "auto":
            variance = residual_variance(self.objective, start.loss, factors)
            known = replace(self.settings, noise_variance=variance)
            self.methods = known.methods(self.objective, self.rng)
        turns = []
        if len(self.methods) > 1:
            turns = [Turn(method, _SETTLE_PROGRESS) for method in self.methods]
        plan = [*turns, Turn(self.methods[0])]
        return self._sharpened(self._run(start, plan), plan)

    def _sharpened(self, outcome: Outcome, plan: Sequence[Turn]) -> Outcome:
        """Go on while the loss can do with less rounding; no stages of their own."""
        while outcome.status.converged:
            best = outcome.evaluation
            sharper = self.objective.sharpened(best, self.settings.tol)
            if sharper is None:
                break
            self.objective = sharper
            self.sharpened = sharper.loss.rescaled(self.journal.unit)
            start = Start(sharper.evaluate(best.factors))
            outcome = self._turns(sharper, start, plan)
        return outcome

    def _run(self, start: Start, plan: Sequence[Turn]) -> Outcome:
        """Run methods in turn and note the stage."""
        n_before = self.n_iter
        outcome = self._turns(self.objective, start, plan)
        self.note(outcome, self.n_iter - n_before)
        return outcome

    def _turns(
        self,
        objective: Objective,
        start: Start,
        plan: Sequence[Turn],
        max_iter: float = np.inf,
    ) -> Outcome:
        """Run methods in turn, each until it gets slow."""
        *others, last = plan
        for turn in others:
            outcome = self._turn(objective, start, turn, max_iter)
            if outcome.status is not Status.SLOW:
                return outcome
            # A long step may leave one factor tiny and the other huge, and then the
            # damping means something else to each.
            start = Start(objective.balanced(outcome.evaluation))
            # The next turn has the only hold on the predictions.
            del outcome
        return self._turn(objective, start, last, max_iter)

    def _turn(
        self, objective: Objective, start: Start, turn: Turn, max_iter: float
    ) -> Outcome:
        tol = self.settings.tol
        outcome = descend(
            objective,
            start.take(),
            turn.method,
            self.journal,
            max_iter=int(min(self.allowed - self.n_iter, max_iter)),
            tol=max(tol, turn.leaves * start.relative_residual),
            progress=turn.progress,
        )
        self.n_iter += outcome.n_iter
        self.used.setdefault(turn.method.name, []).append(start.rank)
        if outcome.status in (Status.CALLBACK, Status.INTERRUPTED):
            self.ended_by = outcome.status
        solved = outcome.status.converged and turn.leaves > 0
        if solved and outcome.evaluation.relative_residual > tol:
            # At this rank.
            return replace(outcome, status=Status.SLOW)
        return outcome

    def _patience(self, method: Method, rank: int) -> Progress:
        if self.ends_by_held_out:
            return _HELD_OUT_PROGRESS
        if not isinstance(self.objective.loss, SquaredLoss):
            return _DECREASE_PROGRESS
        if method.name == "gauss-newton":
            if not self._newton_at_once(rank):
                return _NEWTON_PROGRESS
            safe = self.measurements_per_unknown(rank) >= _SAFE
            return _SAFE_PROGRESS if safe else _ALONE_PROGRESS
        if method.name == "precgd-cg" and self.by_clusters and not self.scarce(rank):
            return _PLENTIFUL_PROGRESS
        return _STAGE_PROGRESS

    @property
    def by_clusters(self) -> bool:
        """Whether all that stands out from chance may be added at once.

        Not where a rank is chosen among all: there every single one counts.
        """
        every = self.settings.keep_factors or self.journal.validation_loss is not None
        every = every or self.one_by_one
        return (
            Cluster.applies(self.objective)
            and not every
            and not self.settings.symmetric
        )

    def grow(
        self, evaluation: Evaluation | None, room: int, count: int | None = None
    ) -> Evaluation | None:
        """New columns, or None if no rank-one term decreases the objective.

        Parameters
        ----------
        evaluation : Evaluation or None
            None is the zero matrix.
        room : int
            How many columns there may be, at most.
        count : int, default=None
            How many there ought to be. None: as many as stand out from chance.
        """
        if count is None:
            u, values, v = self._new_directions(evaluation, room)
        else:
            u, values, v = self._descent_directions(evaluation, count)
        kept = values > 0
        if not kept.any():
            return None
        u, values, v = u[:, kept], values[kept], v[:, kept]
        if self._steps_ahead(evaluation, values):
            return self._ahead(evaluation, u, values, v)
        # The exact length of the leading term; the others in proportion.
        growth = self.objective.growth(evaluation, u[:, :1], v[:, :1])
        # At an optimum with a ridge, what the slope exceeds it by is rounding.
        ridge = self.objective.alpha > 0
        least = self.settings.tol * self.objective.data_norm if ridge else 0.0
        if growth.length <= least:
            return None
        lengths = (growth.length * values / values[0]).astype(u.dtype)
        factors = self._grown(evaluation, u, lengths, v)
        # Of a single term the measurements are known.
        arrive = growth.arrive if len(values) == 1 else self.objective.evaluate
        return arrive(factors)

    def _grown(
        self, evaluation: Evaluation | None, u: Array, s: Array, v: Array
    ) -> Factors:
        if evaluation is None:
            kind = SymmetricFactor if self.settings.symmetric else FactorPair
            return kind.from_svd(u, s, v)
        return evaluation.factors.balanced().grown(u, s, v)

    def _steps_ahead(self, evaluation: Evaluation | None, values: Array) -> bool:
        """Whether new columns are given their length by the first step with them."""
        rank, loss = 0, 0.5 * self.objective.data_norm**2
        if evaluation is not None:
            rank, loss = evaluation.factors.rank, evaluation.loss
        # If they explain little, there will be others, and no step yet. Chance adds to
        # the square of a singular value what random signs have.
        sides = np.sqrt(self.objective.matrix_shape)
        chance = len(values) * np.sum(sides) ** 2 / self.objective.n_measurements
        gain = 0.5 * float(np.sum(values**2))
        exact = self.methods[-1].step.minimises
        worthwhile = exact and gain > (_AHEAD + chance) * loss
        return worthwhile and self._newton_at_once(rank + len(values))

    def _ahead(
        self, evaluation: Evaluation | None, u: Array, values: Array, v: Array
    ) -> Evaluation:
        """The same matrix, ready to be linearised where it has the new columns.

        To measure them beforehand would take a pass. The length that they are
        linearised at changes the metric only, and the curvature in the matrix is about
        one.
        """
        assert isinstance(self.objective, SampledObjective)
        start = evaluation or self.objective.at_zero
        ahead = self._grown(evaluation, u, values.astype(u.dtype), v)
        behind = start.by_factors(ahead.without_last(len(values)), start.value)
        return PendingEvaluation(**vars(behind), ahead=ahead)

    def along(
        self, max_rank: int, goes_on: Callable[[Factors], bool] = lambda stage: True
    ) -> Outcome:
        """Rank by rank, until the data are explained or `max_rank` is reached.

        Parameters
        ----------
        max_rank : int
        goes_on : callable, default=always
            Whether to go on after a stage, given its factors.

        Returns
        -------
        Outcome
            Of the last stage.
        """
        start = Start(self._first(max_rank))
        while True:
            outcome = self.explore(start)
            wanted = goes_on(outcome.evaluation.factors) and start.rank < max_rank
            if not wanted or outcome.status is not Status.SLOW:
                return outcome
            room = max_rank - start.rank
            grown = self.grow(outcome.evaluation, room)
            if grown is None and self.objective.alpha > 0:
                # Where a ridge outweighs all other directions, those at hand may still
                # be on their way.
                outcome = self.settle(outcome.evaluation.factors)
                wanted = goes_on(outcome.evaluation.factors)
                if not wanted or not outcome.status.converged:
                    return outcome
                grown = self.grow(outcome.evaluation, room)
            if grown is None:
                return replace(outcome, status=Status.GLOBAL)
            start = Start(grown)
            # The next stage has the only hold on the predictions.
            del outcome, grown

    def settle_held_out(self, factors: Factors) -> Outcome:
        """Solve at the final rank as far as the held-out loss allows."""
        start = Start(self.objective.evaluate(factors))
        return self._run(start, [Turn(self.methods[0], _HELD_OUT_SETTLE)])

    def summary(self) -> str:
        """One sentence on how the ranks were solved."""
        parts = []
        for name, ranks in self.used.items():
            low, high = min(ranks), max(ranks)
            span = f"{low}" if low == high else f"{low}-{high}"
            parts.append(f"{name} at rank {span}")
        return f" ({', '.join(parts)}.)" if parts else ""

    def start(self, rank: int) -> Factors:
        """The start that `init` asks for, at a given rank.

        A given pair of fewer columns is grown to it.
        """
        init = self.settings.init
        width = rank if isinstance(init, str) else min(rank, np.shape(init[0])[-1])
        start = make_start(
            init,
            self.objective,
            width,
            symmetric=self.settings.symmetric,
            random_state=self.rng,
        )
        if width == rank:
            return start
        grown = self.grow(self.objective.evaluate(start), rank - width, rank - width)
        return start if grown is None else grown.factors

    def _first(self, max_rank: int) -> Evaluation:
        init, rank = self.settings.init, 1
        if not isinstance(init, str):
            rank = min(max_rank, np.shape(init[0])[-1])
        elif init == "spectral":
            grown = self.grow(None, max_rank)
            if grown is not None:
                return grown
        return self.objective.evaluate(self.start(rank))

    def _block(self, rank: int, room: int) -> int:
        """How many columns to add at least: one, or an eighth where many are wanted."""
        size = rank // _BLOCK_SHARE if rank + room >= _MANY else 1
        ahead = [stop - rank for stop in self.settings.stops if stop > rank]
        return min(max(1, size), min(ahead, default=room))

    def _plenty(self, rank: int) -> int:
        """How many columns can be added before measurements get scarce."""
        ranks = range(rank + 1, min(self.objective.matrix_shape) + 1)
        return next((k - 1 for k in ranks if self.scarce(k)), ranks.stop - 1) - rank

    def _new_directions(
        self, evaluation: Evaluation | None, room: int
    ) -> tuple[Array, Array, Array]:
        """The directions to grow by: what pays does not depend on the room there is."""
        rank = 0 if evaluation is None else evaluation.factors.rank
        block = self._block(rank, room)
        most = self._plenty(rank) if self.by_clusters else 0
        if most <= block:
            return self._descent_directions(evaluation, block)
        found = self.cluster.triplets(evaluation, block, most)
        u, values, v = (part[..., :room] for part in found)
        dtype = self.objective.dtype
        return u.astype(dtype), values, v.astype(dtype)

    def _descent_directions(
        self, evaluation: Evaluation | None, count: int
    ) -> tuple[Array, Array, Array]:
        """Leading pairs of the negative gradient in the matrix."""
        objective = self.objective
        if evaluation is None:
            gradient = objective.matrix_gradient_at_zero()
        else:
            gradient = objective.matrix_gradient(evaluation)
        if self.settings.symmetric:
            values, u = leading_eigenpairs(-1.0 * gradient, count, _LANCZOS_SEED)
            v = u
        else:
            # With a ridge the value itself counts: whether there is one above it.
            tol = 0.0 if objective.alpha > 0 else _GROWTH_TOL
            u, values, v = leading_triplets(gradient, count, _LANCZOS_SEED, tol=tol)
            # Of the descent direction, which is not formed.
            u = -u
        dtype = objective.dtype
        return u.astype(dtype), values, v.astype(dtype)

    def scarce(self, rank: int) -> bool:
        """Whether measurements are few for the degrees of freedom of a rank."""
        return (
            self.objective.can_split and self.measurements_per_unknown(rank) < _SCARCE
        )

    def measurements_per_unknown(self, rank: int) -> float:
        """Number of measurements for each degree of freedom of a rank."""
        freedom = degrees_of_freedom(
            self.objective.matrix_shape, rank, symmetric=self.settings.symmetric
        )
        return self.objective.n_measurements / freedom

    def determined(self, most: int) -> int:
        """The highest rank up to `most` with more measurements than unknowns, or 0."""
        ranks = range(most, 0, -1)
        return next((k for k in ranks if self.measurements_per_unknown(k) > 1), 0)

    def note(self, outcome: Outcome, n_iter: int) -> None:
        """Add a stage that ended in `outcome`."""
        best, unit = outcome.evaluation, self.journal.unit
        validation = np.nan
        if self.journal.validation_loss is not None:
            validation = self.journal.validation_loss(best)
        factors = best.factors.scaled(unit) if self.settings.keep_factors else None
        self.stages.append(
            Stage(
                rank=best.factors.rank,
                loss=best.loss * unit**2,
                relative_residual=best.relative_residual,
                validation_loss=validation * unit**2,
                singular_values=best.factors.singular_values() * unit,
                n_iter=n_iter,
                seconds=perf_counter() - self.journal.started,
                factors=factors,
            )
        )


def degrees_of_freedom(
    matrix_shape: tuple[int, int], rank: int, *, symmetric: bool = False
) -> int:
    """How many numbers determine a matrix of that rank."""
    n_rows, n_columns = matrix_shape
    if symmetric:
        return rank * (2 * n_rows - rank + 1) // 2
    return rank * (n_rows + n_columns - rank)


def residual_variance(objective: Objective, loss: float, factors: Factors) -> float:
    """Variance of the noise of one measurement, from what a fit leaves over.

    The sum of squared residuals is divided by the number of measurements less the
    degrees of freedom of the fit; 0 where those are as many.
    """
    freedom = degrees_of_freedom(
        factors.matrix_shape, factors.rank, symmetric=factors.multiplicity == 2
    )
    n_measurements = objective.n_measurements
    if n_measurements <= freedom:
        return 0.0
    per_measurement = 2 * loss / objective.noise_share(1.0)
    return per_measurement * n_measurements / (n_measurements - freedom)
