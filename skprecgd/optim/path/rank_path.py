"""Grow the rank, warm start, stop: the one driver every estimator goes through.

The matrix is explained one rank at a time (greedy rank-one pursuit), so components are
found in the order of their size, however ill-conditioned the matrix, and no spare
column is there to fit noise with. Where noise keeps the residual up, held-out
measurements choose the rank. The order in which things are tried is in `search.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._runtime.arrays import kept_arrays
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import RandomState
from skprecgd.initialization import check_rank
from skprecgd.objective import Objective
from skprecgd.optim.certificate import largest_multiple
from skprecgd.optim.loop import Callback, Journal, Outcome, check_limits, make_result
from skprecgd.optim.metric import Damping
from skprecgd.optim.path.complete import explain_complete
from skprecgd.optim.path.early_stopping import HoldOut, when_to_hold_out
from skprecgd.optim.path.freedom import residual_variance
from skprecgd.optim.path.given import resumed, with_useful_start
from skprecgd.optim.path.held_out import HeldOutPath
from skprecgd.optim.path.pursuit import pursue
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.search import at_zero, search, solve_fixed
from skprecgd.optim.path.settings import RANK_SEARCHES, PathSettings, Solved
from skprecgd.optim.path.walk import Ending, Walk
from skprecgd.optim.path.whole_data import or_simpler
from skprecgd.optim.result import Status
from skprecgd.optim.solvers import Solver, as_solver
from skprecgd.optim.steps import StepRule
from skprecgd.unknown.base import unknown_of


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
        Search for ``X X^T`` instead of ``L R^T``, or ``X X^H`` instead of ``L R^H``.
    solver : str, default="auto"
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
        Start; a path starts at rank one, or at the rank of a given pair, which is taken
        at the length at which its objective is lowest, and not at all if zero is as
        good.
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
        Most iterations, all ranks together; a refit, or another draw of held-out
        counts, has as many again, and where scarce measurements need more than a path
        those come on top (:ref:`which_solver`).
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
    settings = PathSettings(
        unknown=unknown_of(symmetric, of_complex=objective.of_complex),
        solver=solver,
        rank_search=rank_search,
        damping=damping,
        step_size=step_size,
        noise_variance=noise_variance,
        init=init,
        early_stopping=early_stopping,
        validation_fraction=validation_fraction,
        n_iter_no_change=n_iter_no_change,
        max_iter=max_iter,
        tol=tol,
        keep_factors=keep_factors,
    )
    return recover(objective, max_rank, settings, random_state, callback)


def recover(
    objective: Objective,
    max_rank: int,
    settings: PathSettings,
    random_state: RandomState = None,
    callback: Callback | None = None,
) -> PathResult:
    """`rank_path`, with all that says how to search in one object.

    Parameters
    ----------
    objective : Objective
    max_rank : int
    settings : PathSettings
    random_state : int, RandomState instance or None, default=None
    callback : callable, default=None

    Returns
    -------
    PathResult
    """
    check_rank(max_rank, objective.matrix_shape)
    _check_search(settings)
    closed_form = objective.has_closed_form and settings.solver == "auto"
    if closed_form and settings.unknown.has_two_factors:
        return explain_complete(objective, max_rank, settings, random_state)
    asked = settings.asked()
    if settings.solved and not settings.solved.is_of(objective, max_rank, settings):
        settings = replace(settings, solved=None)
    walk = _walk(objective, max_rank, settings, random_state, callback)
    find = solve_fixed if settings.rank_search == "fixed" else search
    with running_fit(one_blas_thread=not objective.large_products), kept_arrays():
        multiple = _largest_multiple(walk)
        try:
            # A start where the same search has ended before is the end of this one.
            ending = resumed(walk) or or_simpler(find(walk, max_rank), max_rank)
        except KeyboardInterrupt:
            ending = _interrupted(walk)
        outcome = ending.outcome.or_zero(walk.objective)
        result = _result(replace(ending, outcome=outcome))
    solved = Solved(
        asked,
        max_rank,
        objective.penalty_of_sum,
        objective.loss,
        walk.journal.unit,
        result.status.name,
        result.relative_residual,
        result.sharpened,
    )
    return replace(result, largest_multiple=multiple, solved=solved)


def _largest_multiple(walk: Walk) -> float | None:
    """See `PathResult.largest_multiple`; that of the walk's objective is the same."""
    if not walk.objective.penalty.shrinks:
        return None
    return largest_multiple(
        walk.objective,
        walk.settings.unknown,
        random_state=walk.settings.tuning.growth.seed,
    )


def _interrupted(walk: Walk) -> Ending:
    """The ending of a search that was interrupted between two descents."""
    factors = walk.journal.reached.factors
    if factors is None:
        # Nothing was found yet.
        raise KeyboardInterrupt
    here = walk.objective.evaluate(factors)
    outcome = Outcome(here, Status.INTERRUPTED, 0, np.nan)
    return Ending(outcome, walk, tuple(walk.stages), len(walk.journal.history))


def walk_to(
    objective: Objective,
    ranks: Sequence[int],
    settings: PathSettings,
    random_state: RandomState = None,
    callback: Callback | None = None,
) -> Walk:
    """What `visit_ranks` follows: a copy of the targets, and the settings.

    The objective itself is needed no longer.

    Parameters
    ----------
    objective : Objective
    ranks : sequence of int
        Ascending. The path visits each, unless it explains the data before.
    settings : PathSettings
        Without a meaning here: `rank_search`, `early_stopping` and `keep_factors`.
    random_state : int, RandomState instance or None, default=None
    callback : callable, default=None
        As in `rank_path`.

    Returns
    -------
    Walk
    """
    settings = settings.to_visit(tuple(ranks))
    return _walk(objective, ranks[-1], settings, random_state, callback)


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
    objective, last_rank = walk.objective, walk.settings.ranks_to_visit[-1]
    with running_fit(one_blas_thread=not objective.large_products), kept_arrays():
        when = when_to_hold_out(objective, walk.settings, last_rank)
        if when is HoldOut.AT_ONCE:
            walk = HeldOutPath(walk).walk
        ending = at_zero(walk)
        if ending is None:
            ending = Ending.of(walk, pursue(walk, last_rank))
        return _result(ending)


def _check_search(settings: PathSettings) -> None:
    """Refuse what no search of a rank does."""
    check_limits(settings.max_iter, settings.tol)
    solver, rank_search = settings.solver, settings.rank_search
    if rank_search not in RANK_SEARCHES:
        raise ValueError(f"rank_search must be 'path' or 'fixed', got {rank_search!r}.")
    if rank_search == "path" and solver != "auto" and not as_solver(solver).descends:
        raise ValueError(
            f"solver={solver!r} needs rank_search='fixed'; rank_search='path' grows "
            "the rank by the gradient, and its directions need not follow one."
        )


def _walk(
    objective: Objective,
    max_rank: int,
    settings: PathSettings,
    random_state: RandomState,
    callback: Callback | None,
) -> Walk:
    """A walk on the objective brought to unit scale, and its settings with it."""
    if settings.estimates_noise and not objective.loss.measures_error:
        raise ValueError(
            "noise_variance='auto' needs loss='squared'; with "
            f"loss={objective.loss.name!r} leave it out."
        )
    scaled, unit = objective.normalised()
    rng = check_random_state(random_state)
    settings = settings.in_units(unit, scaled.target_unit)
    settings = with_useful_start(scaled, settings, max_rank)
    return Walk(scaled, settings, Journal(callback, unit), rng)


def _result(ending: Ending) -> PathResult:
    """The result of a search, in the units of the data."""
    outcome, walk, unit = ending.outcome, ending.walk, ending.walk.journal.unit
    result = make_result(outcome, walk.journal)
    variance = walk.settings.noise_variance
    if isinstance(variance, str):
        best = outcome.evaluation
        variance = residual_variance(
            walk.objective, best.loss, best.factors, walk.settings.unknown
        )
    if variance is not None:
        variance = variance * walk.objective.target_unit**2
    fields = {
        **result.__dict__,
        "message": result.message + ending.reason + walk.summary(),
        "n_iter": max(1, ending.n_iter),
    }
    return PathResult(
        **fields,
        stages=tuple(stage.scaled(unit) for stage in ending.stages),
        noise_variance=variance,
        sharpened=walk.sharpened,
        worse_than_none=ending.worse_than_none,
    )
