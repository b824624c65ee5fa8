"""What each solver name is made of: a metric and a direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skprecgd._runtime.typing import RandomState
from skprecgd.losses import SquaredLoss
from skprecgd.objective import Objective
from skprecgd.optim.directions import (
    Alternating,
    AlternatingGradient,
    Conjugate,
    Direction,
    GaussNewton,
    Steepest,
)
from skprecgd.optim.feedback import Feedback, FeedbackStar
from skprecgd.optim.metric import Damping, make_damping
from skprecgd.optim.steps import FixedStep, StepRule, make_step


@dataclass(frozen=True)
class Recipe:
    """The parts a solver name stands for, and what they need.

    Attributes
    ----------
    metric : {"identity", "undamped", "damped"}
    direction : callable
        Makes the direction; of a feedback solver, from its random state.
    pair_only : bool
        Needs two factors.
    feedback : bool
        Draws random numbers, and need not descend.
    curvature : bool
        Needs a loss with a curvature.
    """

    metric: str
    direction: Callable[..., Direction]
    pair_only: bool = False
    feedback: bool = False
    curvature: bool = False


SOLVERS: dict[str, Recipe] = {
    "gd": Recipe("identity", Steepest),
    "scaledgd": Recipe("undamped", Steepest),
    "precgd": Recipe("damped", Steepest),
    "precgd-cg": Recipe("damped", Conjugate),
    "gauss-newton": Recipe("damped", GaussNewton, curvature=True),
    "alternating": Recipe("damped", Alternating, pair_only=True, curvature=True),
    "alternating-scaledgd": Recipe("undamped", AlternatingGradient, pair_only=True),
    "feedback": Recipe("undamped", Feedback, pair_only=True, feedback=True),
    "feedback-star": Recipe("undamped", FeedbackStar, pair_only=True, feedback=True),
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
    symmetric: bool = False,
    random_state: RandomState = None,
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
    symmetric : bool, default=False
        Whether the unknown is ``X X^T``.
    random_state : int, RandomState instance or None, default=None
        Of the feedback matrix.
    """
    recipe = recipe_of(solver)
    if recipe.pair_only and symmetric:
        raise ValueError(
            f"solver={solver!r} needs two factors; a symmetric matrix X X^T has one. "
            "Use symmetric=False, or solver='gauss-newton'."
        )
    if recipe.feedback:
        return _feedback_method(solver, objective, step_size, random_state)
    loss = objective.loss
    if recipe.curvature and not loss.has_curvature:
        raise ValueError(
            f"solver={solver!r} needs a loss with a curvature; "
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


def recipe_of(solver: str) -> Recipe:
    """The recipe of a solver's name."""
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {sorted(SOLVERS)}, got {solver!r}.")
    return SOLVERS[solver]


def _feedback_method(
    solver: str,
    objective: Objective,
    step_size: str | float | StepRule,
    random_state: RandomState,
) -> Method:
    """A solver whose directions need not descend: the step has to be given."""
    if isinstance(step_size, str) and step_size != "auto":
        raise ValueError(
            f"solver={solver!r} needs step_size='auto' or a number; "
            f"step_size={step_size!r} looks for a descent, and random feedback "
            "need not lead to one."
        )
    if solver == "feedback-star" and objective.loss.name != "squared":
        raise ValueError(
            f"solver='feedback-star' needs loss='squared', whose best left factor is "
            f"a linear problem; got loss={objective.loss.name!r}."
        )
    recipe = SOLVERS[solver]
    step = FixedStep(1.0) if step_size == "auto" else make_step(step_size)
    direction = recipe.direction(random_state)
    return Method(solver, recipe.metric, make_damping(0.0), direction, step)
