"""Grow the rank, warm start, stop: the one driver every estimator goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skprecgd._typing import Array, RandomState
from skprecgd.factors import FactorPair, Factors
from skprecgd.initialization import check_rank, make_start
from skprecgd.objective import FullObjective, Objective
from skprecgd.optim.loop import Callback, Journal, Outcome, descend, make_result
from skprecgd.optim.metric import Damping
from skprecgd.optim.result import History, Result, Status
from skprecgd.optim.solvers import make_method
from skprecgd.optim.steps import StepRule
from skprecgd.optim.subspace import truncated_svd


@dataclass(frozen=True)
class Stage:
    """One rank of the path."""

    rank: int
    loss: float
    relative_residual: float
    validation_loss: float
    singular_values: Array
    n_iter: int
    factors: Factors | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PathResult(Result):
    """A `Result` with the stages of the path, in the order they were visited."""

    stages: tuple[Stage, ...] = ()


def rank_path(
    objective: Objective,
    max_rank: int,
    *,
    symmetric: bool = False,
    solver: str = "auto",
    rank_search: str = "fixed",
    damping: str | float | Damping = "auto",
    step_size: str | float | StepRule = "auto",
    noise_variance: float | None = None,
    init: Any = "spectral",
    max_iter: int = 1000,
    tol: float = 1e-9,
    random_state: RandomState = None,
    callback: Callback | None = None,
) -> PathResult:
    """Recover a matrix of rank at most `max_rank`."""
    check_rank(max_rank, objective.matrix_shape)
    if isinstance(objective, FullObjective) and solver == "auto" and not symmetric:
        return _complete(objective, max_rank, tol, max_iter, random_state)
    scaled, unit = objective.normalised()
    if noise_variance is not None:
        noise_variance = noise_variance / unit**2
    method = make_method(
        "precgd-cg" if solver == "auto" else solver,
        scaled,
        damping=damping,
        step_size=step_size,
        noise_variance=noise_variance,
    )
    journal = Journal(callback, unit)
    if not isinstance(init, str):
        init = tuple(np.asarray(block, dtype=float) / np.sqrt(unit) for block in init)
    start = make_start(
        init, scaled, max_rank, symmetric=symmetric, random_state=random_state
    )
    outcome = descend(scaled, start, method, journal, max_iter=max_iter, tol=tol)
    return _path_result(outcome, journal)


def _path_result(outcome: Outcome, journal: Journal) -> PathResult:
    result = make_result(outcome, journal)
    return PathResult(**result.__dict__)


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
    loss = max(0.0, 0.5 * (norm**2 - np.sum(found.s**2) + np.sum((found.s - s) ** 2)))
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
