"""Grow the rank, warm start, stop: the one driver every estimator goes through.

The matrix is explained one rank at a time, so components are found in the order of
their size, however ill-conditioned the matrix, and no spare column is there to fit
noise with. Where noise keeps the residual up, held-out measurements choose the rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._linalg.truncated_svd import truncated_svd
from skprecgd._runtime.arrays import kept_arrays
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import RandomState
from skprecgd.factors import FactorPair
from skprecgd.initialization import check_rank
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.objective import FullObjective, Objective
from skprecgd.optim.loop import Callback, Journal, Outcome, check_unit, make_result
from skprecgd.optim.metric import Damping
from skprecgd.optim.path import scarce
from skprecgd.optim.path.held_out import Trial, can_hold_out, choose
from skprecgd.optim.path.walk import (
    PathSettings,
    Stage,
    Start,
    Walk,
    residual_variance,
)
from skprecgd.optim.result import History, Result, Status
from skprecgd.optim.solvers import Solver, as_solver
from skprecgd.optim.steps import StepRule

RANK_SEARCHES = ("path", "fixed")
"""The values of the `rank_search` parameter."""

# So few measurements per degree of freedom agree now and then with a rank too many:
# lower ones deserve a second look.
_HARDLY_DETERMINED = 1.15
# What a stage leaves to gain at its rank is less than this takes off its loss.
_CLEARLY = 0.9


@dataclass(frozen=True)
class PathResult(Result):
    """A `Result` with the stages of the path, in the order they were visited.

    Attributes
    ----------
    stages : tuple of Stage
    noise_variance : float or None
        The given or, with ``noise_variance="auto"``, the estimated variance.
    sharpened : Loss or None
        The loss with what is left of its rounding, if that became less on the way.
    """

    stages: tuple[Stage, ...] = ()
    noise_variance: float | None = None
    sharpened: Loss | None = None

    def stage(self, rank: int) -> Stage:
        """Where a search of at most that rank ends: the last stage within it.

        Parameters
        ----------
        rank : int

        Returns
        -------
        Stage
            The first one where the path began above `rank`.
        """
        within = [stage for stage in self.stages if stage.rank <= rank]
        return within[-1] if within else self.stages[0]


def rank_path(
    objective: Objective,
    max_rank: int,
    *,
    symmetric: bool = False,
    solver: str | Solver = "auto",
    rank_search: str = "path",
    damping: str | float | Damping = "auto",
    step_size: str | float | StepRule = "auto",
    noise_variance: float | str | None = None,
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
    solver : str or Solver, default="auto"
        As in `minimize`, for every stage. "auto": conjugate directions in the
        damped metric; where measurements are scarce, and at the last rank, followed
        by Gauss-Newton steps once they get slow.
    rank_search : {"path", "fixed"}, default="path"
        "fixed" is a path of one stage, at the full search rank.
    damping, step_size
        As in `minimize`.
    noise_variance : float or "auto", default=None
        As in `minimize`. "auto": estimated by the residual of the fit on the path,
        corrected for its degrees of freedom, before the final rank is solved to the
        end.
    init : {"spectral", "nystrom", "random"} or pair of arrays, default="spectral"
        Start; a path starts at rank one, or at the rank of a given pair.
    early_stopping : "auto" or bool, default="auto"
        True: choose the rank by held-out measurements, then refit on everything.
        "auto": only if the residual does not reach `tol` at any rank (and there is
        no ridge). False: keep the last rank. With labels or counts "auto" holds out
        at once, the held-out measurements also end the stages, and nothing is
        refitted.
    validation_fraction : float, default=0.1
        Share of the measurements held out.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before the held-out path stops.
    max_iter : int, default=1000
        Most iterations, all ranks together; a refit has as many again, and where
        scarce measurements need more than a path those come on top
        (:ref:`which_solver`).
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
    if rank_search not in RANK_SEARCHES:
        raise ValueError(f"rank_search must be 'path' or 'fixed', got {rank_search!r}.")
    if rank_search == "path" and solver != "auto" and not as_solver(solver).descends:
        raise ValueError(
            f"solver={solver!r} needs rank_search='fixed'; rank_search='path' grows "
            "the rank by the gradient, and its directions need not follow one."
        )
    if isinstance(objective, FullObjective) and solver == "auto" and not symmetric:
        result = _complete(objective, max_rank, tol, max_iter, random_state)
        if isinstance(noise_variance, str):
            noise_variance = residual_variance(objective, result.loss, result.factors)
        return replace(result, noise_variance=noise_variance)
    settings = PathSettings(
        solver=solver,
        damping=damping,
        step_size=step_size,
        noise_variance=noise_variance,
        symmetric=symmetric,
        init=init,
        early_stopping=early_stopping,
        validation_fraction=validation_fraction,
        n_iter_no_change=n_iter_no_change,
        max_iter=max_iter,
        tol=tol,
        keep_factors=keep_factors,
    )
    walk = _walk(objective, settings, random_state, callback)
    with running_fit(one_blas_thread=not objective.large_products), kept_arrays():
        return (_fixed if rank_search == "fixed" else _grown)(walk, max_rank)


def walk_to(
    objective: Objective,
    ranks: Sequence[int],
    settings: PathSettings,
    random_state: RandomState = None,
) -> Walk:
    """What `visit_ranks` follows: a copy of the targets, and the settings.

    The objective itself is needed no longer.

    Parameters
    ----------
    objective : Objective
    ranks : sequence of int
        Ascending. The path visits each, unless it explains the data before.
    settings : PathSettings
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    Walk
    """
    settings = replace(settings, keep_factors=True, finishes=True, stops=tuple(ranks))
    return _walk(objective, settings, random_state, None)


def visit_ranks(walk: Walk) -> PathResult:
    """Walk along the ranks without choosing one, for others to judge the stages.

    A stage is solved until what moving the factors could still remove is a twentieth of
    its residual, a four-hundredth of its loss. With labels or counts the fall of the
    loss does not tell, and a share of the measurements is held out to end the stages. A
    stage does not depend on how far the path goes on (apart from its block sizes), so
    one path serves for every search rank up to the last.

    Parameters
    ----------
    walk : Walk
        From `walk_to`.

    Returns
    -------
    PathResult
        With the factors of every stage; see `PathResult.stage`.
    """
    objective, last_rank = walk.objective, walk.settings.stops[-1]
    with running_fit(one_blas_thread=not objective.large_products), kept_arrays():
        drawn = objective.targets_are_drawn and objective.alpha == 0
        if drawn and can_hold_out(objective, last_rank):
            walk = Trial(walk).walk
        return _result(walk.along(last_rank), walk, "")


def _walk(
    objective: Objective,
    settings: PathSettings,
    random_state: RandomState,
    callback: Callback | None,
) -> Walk:
    """A walk on the objective brought to unit scale, and its settings with it."""
    if settings.noise_variance == "auto" and not isinstance(
        objective.loss, SquaredLoss
    ):
        raise ValueError(
            "noise_variance='auto' needs loss='squared'; with "
            f"loss={objective.loss.name!r} leave it out."
        )
    scaled, unit = objective.normalised()
    init = settings.init
    if not isinstance(init, str):
        init = tuple(np.asarray(block, dtype=float) / np.sqrt(unit) for block in init)
    noise_variance = _in_units(settings.noise_variance, unit)
    settings = replace(settings, init=init, noise_variance=noise_variance)
    rng = check_random_state(random_state)
    return Walk(scaled, settings, Journal(callback, unit), rng)


def _in_units(variance: float | str | None, unit: float) -> float | str | None:
    if variance is None or isinstance(variance, str):
        return variance
    return variance / unit**2


def _fixed(walk: Walk, max_rank: int) -> PathResult:
    """A path of one stage, at the full search rank."""
    start = walk.start(max_rank)
    if walk.settings.noise_variance == "auto":
        # An estimate needs a fit.
        found = walk.explore(Start(walk.objective.evaluate(start)))
        start = found.evaluation.factors
    return _result(walk.settle(start), walk, "")


def _grown(walk: Walk, max_rank: int) -> PathResult:
    """The path, and what follows where the residual stays above tol."""
    early_stopping = walk.settings.early_stopping
    enough = can_hold_out(walk.objective, max_rank)
    hold_out = early_stopping is True
    if early_stopping == "auto" and walk.objective.alpha == 0:
        # Labels and counts: chance alone keeps the residual up.
        hold_out = walk.objective.targets_are_drawn
    if hold_out and enough:
        return _result(*choose(walk, max_rank))
    chooses = early_stopping == "auto" and enough and walk.objective.alpha == 0
    # A rank that is not determined explains anything, and has to be chosen otherwise.
    last_rank = max(1, walk.determined(max_rank)) if chooses else max_rank
    outcome = _explored(walk, last_rank)
    if outcome.status is Status.SLOW and len(walk.methods) > 1:
        outcome = walk.polish(outcome.evaluation.factors)
    if scarce.applies(walk, max_rank):
        outcome = _scarce(walk, outcome, max_rank)
    if outcome.status is Status.SLOW:
        outcome = _sharper(walk, outcome)
    if outcome.status is not Status.SLOW:
        return _result(outcome, walk, "")
    factors = outcome.evaluation.factors
    # Of its predictions there is no further use.
    del outcome
    if chooses:
        return _result(*choose(walk, max_rank))
    return _result(walk.settle(factors), walk, "")


def _sharper(walk: Walk, outcome: Outcome) -> Outcome:
    """The outcome, or that of Gauss-Newton from the means of uncertain rows.

    Where the path did clearly worse at the same rank it has ended in a wrong local
    optimum there, and is corrected.
    """
    if walk.means is None:
        return outcome
    other = walk.attempt(walk.means)
    if walk.ended_by is not None:
        return replace(outcome, status=walk.ended_by)
    factors, unit = other.evaluation.factors, walk.journal.unit
    stages = [stage.loss for stage in walk.stages if stage.rank == factors.rank]
    loss = other.evaluation.loss * unit**2
    if loss >= _CLEARLY * min(stages, default=np.inf):
        return outcome
    walk.visited[factors.rank] = factors
    if other.evaluation.value >= outcome.evaluation.value:
        return outcome
    return replace(other, status=outcome.status)


def _explored(walk: Walk, max_rank: int) -> Outcome:
    """The path, once more one by one where directions added together were too many.

    Measurements may leave parts of a row unseen, and a direction of its own then
    explains what a lower rank would.
    """
    outcome = walk.along(max_rank)
    factors = outcome.evaluation.factors
    together = len(walk.stages) < factors.rank
    explained = outcome.status is Status.RESIDUAL
    if not (explained and together and scarce.has_lone_line(factors)):
        return outcome
    stages, walk.stages = walk.stages, []
    walk.one_by_one = True
    again = walk.along(max_rank)
    lower = again.evaluation.factors.rank < factors.rank
    if lower and again.status is Status.RESIDUAL:
        return again
    walk.stages = stages
    return outcome


def _scarce(walk: Walk, outcome: Outcome, max_rank: int) -> Outcome:
    """What scarce measurements need besides the path."""
    if outcome.status not in (Status.SLOW, Status.RESIDUAL):
        return outcome
    factors = outcome.evaluation.factors
    # A rank that is not determined explains any measurements, noise too.
    share = walk.measurements_per_unknown(factors.rank)
    unexplained = outcome.status is Status.SLOW or share <= 1
    wild = scarce.completes(walk) and scarce.has_lone_line(factors)
    if unexplained:
        ranks = max_rank
    elif not isinstance(walk.settings.init, str):
        # Factors that were given are not doubted once they explain the data.
        return outcome
    elif wild or share < _HARDLY_DETERMINED:
        ranks = factors.rank - 1
    else:
        return outcome
    found = scarce.explain(walk, ranks)
    if found is None and unexplained:
        # It is for held-out measurements to choose a rank, if there is time.
        return replace(outcome, status=walk.ended_by or Status.SLOW)
    return found or outcome


def _result(outcome: Outcome, walk: Walk, reason: str) -> PathResult:
    result = make_result(outcome, walk.journal)
    variance = walk.settings.noise_variance
    if isinstance(variance, str):
        best = outcome.evaluation
        variance = residual_variance(walk.objective, best.loss, best.factors)
    fields = {
        **result.__dict__,
        "message": outcome.status.value + reason + walk.summary(),
        "n_iter": max(1, walk.n_iter),
    }
    if variance is not None:
        variance *= walk.journal.unit**2
    return PathResult(
        **fields,
        stages=tuple(walk.stages),
        noise_variance=variance,
        sharpened=walk.sharpened,
    )


def _complete(
    objective: FullObjective,
    rank: int,
    tol: float,
    max_iter: int,
    random_state: RandomState,
) -> PathResult:
    """Every entry observed: the optimum is the (soft-thresholded) truncated SVD."""
    check_unit(objective.data_norm)
    found = truncated_svd(
        objective.X,
        rank,
        tol=100 * tol,
        max_blocks=max_iter,
        random_state=random_state,
        size=objective.data_norm,
    )
    s = np.maximum(found.s - objective.alpha, 0.0)
    factors = FactorPair.decomposed(found.u, s, found.v)
    norm = objective.data_norm
    values = found.s.astype(np.float64)
    losses = np.cumsum((values - s) ** 2 - values**2)
    losses = 0.5 * np.maximum(norm**2 + losses, 0.0)
    residuals = np.sqrt(2 * losses) / norm if norm > 0 else np.zeros_like(losses)
    status = Status.STATIONARY if found.converged else Status.MAX_ITER
    # The best matrix of each rank: all are found at once.
    stages = tuple(
        Stage(k, float(losses[k - 1]), float(residuals[k - 1]), np.nan, s[:k], 0)
        for k in range(1, rank + 1)
    )
    return PathResult(
        factors=factors,
        status=status,
        message=status.value,
        n_iter=found.n_blocks,
        loss=float(losses[-1]),
        relative_residual=float(residuals[-1]),
        gradient_norm=found.error * norm,
        history=History(),
        stages=stages,
    )
