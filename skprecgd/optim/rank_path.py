"""Grow the rank, warm start, stop: the one driver every estimator goes through.

The matrix is explained one rank at a time. A stage solves the problem at its rank
until progress there becomes slow; the next one adds the rank-one term along which
the objective falls fastest (the leading pair of the negative gradient), at its
exact length. So components are found in the order of their size, however
ill-conditioned the matrix, and no spare column is there to fit noise with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._typing import Array, RandomState
from skprecgd.factors import FactorPair, Factors, SymmetricFactor
from skprecgd.initialization import (
    check_rank,
    leading_eigenpairs,
    leading_triplets,
    make_start,
)
from skprecgd.objective import (
    Evaluation,
    FullObjective,
    Objective,
    SampledObjective,
)

from .loop import Callback, Journal, Outcome, Progress, descend, make_result
from .metric import Damping
from .result import History, Result, Status
from .solvers import Method, make_method
from .steps import StepRule
from .subspace import truncated_svd

# Conjugate steps at a rank that still has something to give gain more than this
# over five iterations; less, and the missing components are what holds them back.
_STAGE_PROGRESS = Progress(window=5, share=0.2)
# The same for Gauss-Newton steps, each of which is worth many conjugate ones.
_NEWTON_PROGRESS = Progress(window=3, share=0.5)
# At the final rank the loss may rest on noise while the gradient still falls.
_SETTLE_PROGRESS = Progress(window=20, share=0.5, of_gradient=True)
# Measurements per degree of freedom under which a stage is finished by
# Gauss-Newton before the rank may grow: conjugate steps are slow there even at the
# true rank, and a rank too many is then not repaired by iterating.
_SCARCE = 4.0
# From this search rank on the path grows by blocks, an eighth of the rank each, so
# that the number of stages stays bounded.
_MANY = 50
_BLOCK_SHARE = 8
# With fewer measurements a tenth of them decides nothing.
_MIN_HOLD_OUT = 50


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
    factors : Factors or None
        Only with ``keep_factors=True``.
    """

    rank: int
    loss: float
    relative_residual: float
    validation_loss: float
    singular_values: Array
    n_iter: int
    factors: Factors | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PathResult(Result):
    """A `Result` with the stages of the path, in the order they were visited.

    Attributes
    ----------
    stages : tuple of Stage
    """

    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class PathSettings:
    """How to walk; see `rank_path`."""

    solver: str = "auto"
    damping: str | float | Damping = "auto"
    step_size: str | float | StepRule = "auto"
    noise_variance: float | None = None
    symmetric: bool = False
    max_iter: int = 1000
    tol: float = 1e-9
    keep_factors: bool = False

    def methods(self, objective: Objective) -> list[Method]:
        """The methods a stage runs in turn."""
        names = [self.solver]
        if self.solver == "auto":
            names = ["precgd-cg", "gauss-newton"]
        return [
            make_method(
                name,
                objective,
                damping=self.damping,
                step_size=self.step_size,
                noise_variance=self.noise_variance,
            )
            for name in names
        ]


class _Walk:
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
        self.methods = settings.methods(objective)
        self.n_iter = 0
        self.stages: list[Stage] = []
        self.used: dict[str, list[int]] = {}
        self.best: Evaluation | None = None

    def explore(self, factors: Factors, *, last: bool) -> Outcome:
        """Solve at one rank until progress gets slow.

        Where measurements are scarce, and at the last rank, slow conjugate steps
        are no proof that the rank is too low: Gauss-Newton has the last word.
        """
        methods = self.methods
        if not (last or self._scarce(factors.rank)):
            methods = methods[:1]
        plan = [
            (m, _NEWTON_PROGRESS if m.name == "gauss-newton" else _STAGE_PROGRESS)
            for m in methods
        ]
        return self._run(factors, plan)

    def settle(self, factors: Factors) -> Outcome:
        """Solve at the final rank to the end."""
        plan: list[tuple[Method, Progress | None]] = [
            (m, _SETTLE_PROGRESS) for m in self.methods[:-1]
        ]
        return self._run(factors, [*plan, (self.methods[-1], None)])

    def _run(
        self, factors: Factors, plan: Sequence[tuple[Method, Progress | None]]
    ) -> Outcome:
        """Run methods in turn, each until it gets slow, and note the stage."""
        start, n_before = factors, self.n_iter
        for method, progress in plan:
            outcome = descend(
                self.objective,
                start,
                method,
                self.journal,
                max_iter=self.settings.max_iter - self.n_iter,
                tol=self.settings.tol,
                progress=progress,
            )
            self.n_iter += outcome.n_iter
            self.used.setdefault(method.name, []).append(factors.rank)
            start = outcome.evaluation.factors
            if outcome.status is not Status.SLOW:
                break
        self._note(outcome, self.n_iter - n_before)
        return outcome

    def grow(self, evaluation: Evaluation | None, count: int = 1) -> Factors | None:
        """New columns, or None if no rank-one term decreases the objective."""
        u, values, v = self._descent_directions(evaluation, count)
        kept = values > 0
        if not kept.any():
            return None
        u, values, v = u[:, kept], values[kept], v[:, kept]
        # The exact length of the leading term; the others in proportion.
        length = self.objective.growth(evaluation, u[:, :1], v[:, :1])
        if length <= 0:
            return None
        lengths = (length * values / values[0]).astype(u.dtype)
        if evaluation is None:
            kind = SymmetricFactor if self.settings.symmetric else FactorPair
            return kind.from_svd(u, lengths, v)
        return evaluation.factors.balanced().grown(u, lengths, v)

    def along(
        self, max_rank: int, init: Any, *, patience: int | None = None
    ) -> Outcome:
        """From rank one (or a given start) to the rank that explains the data.

        With `patience`, stops after that many ranks without a lower held-out loss.
        """
        factors = self._first(max_rank, init)
        lowest, since = np.inf, 0
        while True:
            last = factors.rank >= max_rank
            outcome = self.explore(factors, last=last)
            if self.stages[-1].validation_loss < lowest:
                self.best = outcome.evaluation
                lowest, since = self.stages[-1].validation_loss, 0
            else:
                since += 1
            if patience is not None and since >= patience:
                return outcome
            if last or outcome.status is not Status.SLOW:
                return outcome
            grown = self.grow(outcome.evaluation, self._block(factors.rank, max_rank))
            if grown is None:
                return replace(outcome, status=Status.GLOBAL)
            factors = grown

    def summary(self) -> str:
        """One sentence on how the ranks were solved."""
        parts = []
        for name, ranks in self.used.items():
            span = f"{min(ranks)}" if len(ranks) == 1 else f"{min(ranks)}-{max(ranks)}"
            parts.append(f"{name} at rank {span}")
        return f" ({', '.join(parts)}.)" if parts else ""

    def _first(self, max_rank: int, init: Any) -> Factors:
        if isinstance(init, str) and init != "spectral":
            rank = 1
        elif isinstance(init, str):
            grown = self.grow(None)
            if grown is not None:
                return grown
            rank = 1
        else:
            rank = min(max_rank, np.shape(init[0])[1])
        return make_start(
            init,
            self.objective,
            rank,
            symmetric=self.settings.symmetric,
            random_state=self.rng,
        )

    def _block(self, rank: int, max_rank: int) -> int:
        """How many columns to add: one, or an eighth where many are wanted."""
        size = rank // _BLOCK_SHARE if max_rank >= _MANY else 1
        return min(max(1, size), max_rank - rank)

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
            values, u = leading_eigenpairs(-1.0 * gradient, count, self.rng)
            v = u
        else:
            u, values, v = leading_triplets(-1.0 * gradient, count, self.rng)
        dtype = objective.dtype
        return u.astype(dtype), values, v.astype(dtype)

    def _scarce(self, rank: int) -> bool:
        if not isinstance(self.objective, SampledObjective):
            return False
        n_rows, n_columns = self.objective.matrix_shape
        freedom = rank * (n_rows + n_columns - rank)
        if self.settings.symmetric:
            freedom = rank * (2 * n_rows - rank + 1) // 2
        return len(self.objective.targets) < _SCARCE * freedom

    def _note(self, outcome: Outcome, n_iter: int) -> None:
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
                factors=factors,
            )
        )


def rank_path(
    objective: Objective,
    max_rank: int,
    *,
    symmetric: bool = False,
    solver: str = "auto",
    rank_search: str = "path",
    damping: str | float | Damping = "auto",
    step_size: str | float | StepRule = "auto",
    noise_variance: float | None = None,
    init: Any = "spectral",
    early_stopping: str | bool = "auto",
    validation_fraction: float = 0.1,
    n_iter_no_change: int = 2,
    max_iter: int = 1000,
    tol: float = 1e-9,
    random_state: RandomState = None,
    callback: Callback | None = None,
    keep_factors: bool = False,
) -> PathResult:
    """Recover a matrix of rank at most `max_rank`, growing the rank from one.

    Parameters
    ----------
    objective : Objective
        From `skprecgd.objective.make_objective`.
    max_rank : int
        Search rank, an upper bound of the rank.
    symmetric : bool, default=False
        Search for ``X X^T`` instead of ``L R^T``.
    solver : str, default="auto"
        As in `minimize`, for every stage. "auto": conjugate directions in the
        damped metric; where measurements are scarce, and at the last rank, followed
        by Gauss-Newton steps once they get slow.
    rank_search : {"path", "fixed"}, default="path"
        "fixed" is a path of one stage, at the full search rank.
    damping, step_size, noise_variance
        As in `minimize`.
    init : {"spectral", "nystrom", "random"} or pair of arrays, default="spectral"
        Start; a path starts at rank one, or at the rank of a given pair.
    early_stopping : "auto" or bool, default="auto"
        True: choose the rank by held-out measurements, then refit on everything.
        "auto": only if the residual does not reach `tol` at any rank (and there is
        no ridge). False: keep the last rank.
    validation_fraction : float, default=0.1
        Share of the measurements held out.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before the held-out path stops.
    max_iter : int, default=1000
        Most iterations, all ranks together; a refit has as many again.
    tol : float, default=1e-9
        As in `minimize`.
    random_state : int, RandomState instance or None, default=None
    callback : callable, default=None
        As in `minimize`.
    keep_factors : bool, default=False
        Keep the factors of every stage.

    Returns
    -------
    PathResult

    Examples
    --------
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> from skprecgd.measurements import as_measurements
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.optim import rank_path
    >>> A, y, truth = make_matrix_sensing(
    ...     20, rank=2, n_measurements=300, condition_number=100, random_state=0
    ... )
    >>> path = rank_path(make_objective(as_measurements(A, (20, 20)), y), 10)
    >>> [stage.rank for stage in path.stages], path.converged
    ([1, 2], True)
    """
    check_rank(max_rank, objective.matrix_shape)
    if rank_search not in ("path", "fixed"):
        raise ValueError(
            f"rank_search must be 'path' or 'fixed', got {rank_search!r}."
        )
    if isinstance(objective, FullObjective) and solver == "auto" and not symmetric:
        return _complete(objective, max_rank, tol, max_iter, random_state)
    scaled, unit = objective.normalised()
    settings = PathSettings(
        solver=solver,
        damping=damping,
        step_size=step_size,
        noise_variance=None if noise_variance is None else noise_variance / unit**2,
        symmetric=symmetric,
        max_iter=max_iter,
        tol=tol,
        keep_factors=keep_factors,
    )
    rng = check_random_state(random_state)
    journal = Journal(callback, unit)
    if not isinstance(init, str):
        init = tuple(np.asarray(block, dtype=float) / np.sqrt(unit) for block in init)
    walk = _Walk(scaled, settings, journal, rng)
    if rank_search == "fixed":
        start = make_start(
            init, scaled, max_rank, symmetric=symmetric, random_state=rng
        )
        return _result(walk.settle(start), walk, "")
    can_hold_out = _can_hold_out(scaled, max_rank)
    if early_stopping is True and can_hold_out:
        return _held_out(walk, max_rank, init, validation_fraction, n_iter_no_change)
    outcome = walk.along(max_rank, init)
    if outcome.status is not Status.SLOW:
        return _result(outcome, walk, "")
    if early_stopping == "auto" and can_hold_out and scaled.alpha == 0:
        return _held_out(walk, max_rank, init, validation_fraction, n_iter_no_change)
    return _result(walk.settle(outcome.evaluation.factors), walk, "")


def _can_hold_out(objective: Objective, max_rank: int) -> bool:
    """Whether there is a rank to choose and enough to choose it by."""
    if max_rank == 1 or not isinstance(objective, SampledObjective):
        return False
    return len(objective.targets) >= _MIN_HOLD_OUT


def _held_out(
    walk: _Walk, max_rank: int, init: Any, fraction: float, patience: int
) -> PathResult:
    """Choose the rank by held-out measurements, then refit on everything."""
    objective, settings, journal = walk.objective, walk.settings, walk.journal
    assert isinstance(objective, SampledObjective)
    order = walk.rng.permutation(len(objective.targets))
    n_held_out = max(1, round(fraction * len(order)))
    held_out, kept = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    judge = objective.subset(held_out)
    trial = _Walk(
        objective.subset(kept),
        settings,
        replace(journal, validation_loss=lambda e: judge.evaluate(e.factors).loss),
        walk.rng,
    )
    trial.along(max_rank, init, patience=patience)
    best = trial.best
    refit = _Walk(objective, settings, journal, walk.rng)
    outcome = refit.settle(best.factors)
    refit.stages = [*trial.stages, *refit.stages]
    refit.n_iter += trial.n_iter + walk.n_iter
    ranks = [stage.rank for stage in trial.stages]
    reason = (
        f" The residual cannot reach tol: rank {best.factors.rank} of "
        f"{min(ranks)} to {max(ranks)} explains {n_held_out} held-out measurements "
        "best; refitted on all measurements."
    )
    return _result(outcome, refit, reason)


def _result(outcome: Outcome, walk: _Walk, reason: str) -> PathResult:
    result = make_result(outcome, walk.journal)
    fields = {
        **result.__dict__,
        "message": outcome.status.value + reason + walk.summary(),
        "n_iter": max(1, walk.n_iter),
    }
    return PathResult(**fields, stages=tuple(walk.stages))


def _complete(
    objective: FullObjective,
    rank: int,
    tol: float,
    max_iter: int,
    random_state: RandomState,
) -> PathResult:
    """Every entry observed: the optimum is the (soft-thresholded) truncated SVD."""
    found = truncated_svd(
        objective.X,
        rank,
        tol=100 * tol,
        max_blocks=max_iter,
        random_state=random_state,
    )
    s = np.maximum(found.s - objective.alpha, 0.0)
    factors = FactorPair.from_svd(found.u, s, found.v)
    norm = objective.data_norm
    loss = max(
        0.0, 0.5 * (norm**2 - np.sum(found.s**2) + np.sum((found.s - s) ** 2))
    )
    status = Status.STATIONARY if found.converged else Status.MAX_ITER
    return PathResult(
        factors=factors,
        status=status,
        message=status.value,
        n_iter=found.n_blocks,
        loss=float(loss),
        relative_residual=float(np.sqrt(2 * loss)) / norm if norm > 0 else 0.0,
        gradient_norm=found.error * norm,
        history=History(),
    )
