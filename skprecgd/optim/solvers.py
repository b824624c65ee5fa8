"""What each solver name is made of: a metric and a direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skprecgd.losses import SquaredLoss
from skprecgd.objective import Objective
from skprecgd.optim.directions import Conjugate, Direction, GaussNewton, Steepest
from skprecgd.optim.metric import Damping, make_damping
from skprecgd.optim.steps import StepRule, make_step


@dataclass(frozen=True)
class Recipe:
    """The parts a solver name stands for."""

    metric: str
    direction: Callable[[], Direction]


SOLVERS: dict[str, Recipe] = {
    "gd": Recipe("identity", Steepest),
    "scaledgd": Recipe("undamped", Steepest),
    "precgd": Recipe("damped", Steepest),
    "precgd-cg": Recipe("damped", Conjugate),
    "gauss-newton": Recipe("damped", GaussNewton),
}


@dataclass(frozen=True)
class Method:
    """A solver ready to run: metric, damping rule, direction and step rule."""

    name: str
    metric: str
    damping: Damping
    direction: Direction
    step: StepRule


def make_method(
    solver: str,
    objective: Objective,
    *,
    damping: str | float | Damping = "auto",
    step_size: str | float | StepRule = "auto",
    noise_variance: float | None = None,
) -> Method:
    """Put a solver together for an objective that is in unit scale.

    Parameters
    ----------
    solver : str
        A key of `SOLVERS`.
    objective : Objective
    damping, step_size
        See `minimize`.
    noise_variance : float, default=None
        In the objective's units.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {sorted(SOLVERS)}, got {solver!r}.")
    recipe = SOLVERS[solver]
    loss = objective.loss
    if solver == "gauss-newton" and not loss.has_curvature:
        raise ValueError(
            "solver='gauss-newton' needs a loss with a curvature; "
            f"loss={loss.name!r} has none."
        )
    squared = isinstance(loss, SquaredLoss)
    if damping == "auto" and not squared:
        # Only a loss that the truth brings to zero, quadratically, measures the error.
        damping = "dual_norm"
    share = None
    if noise_variance is not None:
        if not squared:
            raise ValueError(
                "noise_variance needs loss='squared'; with "
                f"loss={loss.name!r} leave it out."
            )
        share = objective.noise_share(noise_variance)
    return Method(
        solver,
        recipe.metric,
        make_damping(damping, share),
        recipe.direction(),
        make_step(step_size),
    )
