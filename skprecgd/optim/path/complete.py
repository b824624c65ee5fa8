"""Every entry observed: the optimum of each rank is a truncated SVD."""

from __future__ import annotations

import numpy as np

from skprecgd._runtime.typing import RandomState
from skprecgd.factors import FactorPair
from skprecgd.objective import Objective
from skprecgd.optim.loop import check_unit
from skprecgd.optim.path.freedom import residual_variance
from skprecgd.optim.path.result import PathResult, Stage
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.result import History, Status

# The error of singular vectors that is as good as `tol`: the residual, and the singular
# values, are accurate to its square.
_VECTOR_TOL = 100.0


def explain_complete(
    objective: Objective, rank: int, settings: PathSettings, random_state: RandomState
) -> PathResult:
    """The optimum in closed form: the (soft-thresholded) truncated SVD.

    Parameters
    ----------
    objective : Objective
        It has a closed form, and the units of the data.
    rank : int
    settings : PathSettings
    random_state : int, RandomState instance or None
    """
    check_unit(objective.data_norm)
    found = objective.truncated_svd(
        rank,
        tol=None if settings.by_energy else _VECTOR_TOL * settings.tol,
        max_blocks=settings.max_iter,
        random_state=random_state,
    )
    s = objective.penalty.shrunk(found.s)
    svd = found.u, s, found.v
    factors = FactorPair.from_svd(*svd).knowing(*svd, balanced=True)
    norm = objective.data_norm
    values = found.s.astype(np.float64)
    losses = np.cumsum((values - s) ** 2 - values**2)
    losses = 0.5 * np.maximum(norm**2 + losses, 0.0)
    residuals = np.sqrt(2 * losses) / norm if norm > 0 else np.zeros_like(losses)
    # The best matrix of each rank: all are found at once.
    stages = tuple(
        Stage(k, float(losses[k - 1]), float(residuals[k - 1]), np.nan, s[:k], 0)
        for k in range(1, rank + 1)
    )
    status = Status.STATIONARY if found.converged else Status.MAX_ITER
    variance, loss = settings.noise_variance, float(losses[-1])
    if isinstance(variance, str):
        variance = residual_variance(objective, loss, factors, settings.unknown)
    penalty = objective.penalty
    multiple = float(found.s[0]) / penalty.threshold if penalty.shrinks else None
    return PathResult(
        factors=factors,
        status=status,
        message=status.value,
        n_iter=found.n_blocks,
        loss=loss,
        relative_residual=float(residuals[-1]),
        gradient_norm=found.error * norm,
        history=History(),
        stages=stages,
        noise_variance=variance,
        largest_multiple=multiple,
    )
