"""What a solver is made of: a direction, the metric it is taken in, and its needs.

`SOLVERS` says what each value of the `solver` parameter stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from skprecgd._runtime.typing import RandomState
from skprecgd.losses import Loss
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

METRICS = ("identity", "undamped", "damped")


@dataclass(frozen=True, repr=False)
class Solver:
    """A descent method: where it goes, in which metric, and what it needs.

    An instance is a value of the `solver` parameter of the estimators, of `minimize`
    and of `rank_path`, as is the name of one of `SOLVERS`.

    Parameters
    ----------
    name : str
        Name in messages and in `stop_reason_`.
    direction : callable
        Makes the `Direction` of one run: a class, or a function without arguments. That
        of a `random` solver is given the random state.
    metric : {"damped", "undamped", "identity"}, default="damped"
        The metric of its gradients: that of PrecGD, of ScaledGD or of plain gradient
        descent.
    pair_only : bool, default=False
        Whether it needs two factors, and cannot search for ``X X^T``.
    curvature : bool, default=False
        Whether it needs a loss with a curvature.
    least_squares : bool, default=False
        Whether it needs the squared loss.
    descends : bool, default=True
        Whether a short enough step along its directions decreases the objective. If
        not, nothing searches along them: `step_size` has to be a number ("auto" is 1),
        `rank_search` has to be "fixed", and `damping` is not used.
    random : bool, default=False
        Whether it draws random numbers.

    Raises
    ------
    ValueError
        If `metric` is none of the three.

    See Also
    --------
    skprecgd.optim.Direction : The contract of its directions.

    Examples
    --------
    Conjugate directions, in the undamped metric of ScaledGD:

    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_matrix_completion
    >>> from skprecgd.optim import SOLVERS, Solver
    >>> conjugate = SOLVERS["precgd-cg"].direction
    >>> solver = Solver("scaledgd-cg", conjugate, metric="undamped")
    >>> X, truth = make_matrix_completion(
    ...     60, 40, rank=2, observed_fraction=0.5, random_state=0
    ... )
    >>> PrecGDFactorization(4, solver=solver).fit(X).n_components_
    2
    """

    name: str
    direction: Callable[..., Direction]
    metric: str = "damped"
    pair_only: bool = False
    curvature: bool = False
    least_squares: bool = False
    descends: bool = True
    random: bool = False

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {METRICS}, got {self.metric!r}.")

    def __repr__(self) -> str:
        return f"Solver({self.name!r})"


_CONTROL = Solver(
    "feedback", Feedback, "undamped", pair_only=True, descends=False, random=True
)
SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Solver("gd", Steepest, "identity"),
        Solver("scaledgd", Steepest, "undamped"),
        Solver("precgd", Steepest),
        Solver("precgd-cg", Conjugate),
        Solver("gauss-newton", GaussNewton, curvature=True),
        Solver("alternating", Alternating, pair_only=True, curvature=True),
        Solver("alternating-scaledgd", AlternatingGradient, "undamped", pair_only=True),
        _CONTROL,
        replace(
            _CONTROL, name="feedback-star", direction=FeedbackStar, least_squares=True
        ),
    )
}
"""The solver of each name."""


def as_solver(solver: str | Solver) -> Solver:
    """The solver behind the value of the `solver` parameter.

    Parameters
    ----------
    solver : str or Solver
        A name of `SOLVERS`, or a solver.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(solver, Solver):
        return solver
    if solver not in SOLVERS:
        raise ValueError(
            f"solver must be one of {sorted(SOLVERS)} or a Solver, got {solver!r}."
        )
    return SOLVERS[solver]


@dataclass(frozen=True)
class Method:
    """A solver ready to run: with its own direction, damping rule and step rule."""

    solver: Solver
    damping: Damping
    direction: Direction
    step: StepRule

    @property
    def name(self) -> str:
        return self.solver.name


def make_method(
    solver: str | Solver,
    objective: Objective,
    *,
    damping: str | float | Damping = "auto",
    step_size: str | float | StepRule = "auto",
    noise_variance: float | None = None,
    has_two_factors: bool = True,
    random_state: RandomState = None,
) -> Method:
    """Put a solver together for an objective that is in unit scale.

    Parameters
    ----------
    solver : str or Solver
    objective : Objective
    damping, step_size
        See `minimize`.
    noise_variance : float, default=None
        Variance of the noise in the objective's units.
    has_two_factors : bool, default=True
        Whether left and right factor move independently; those of ``X X^T`` do not.
    random_state : int, RandomState instance or None, default=None
        Given to the direction of a random solver.

    Raises
    ------
    ValueError
        If the solver, the loss and the other settings do not go together.
    """
    loss, solver = objective.loss, as_solver(solver)
    named = SOLVERS.get(solver.name) == solver
    called = f"solver={solver.name!r}" if named else f"solver={solver!r}"
    _check_needs(solver, called, loss, has_two_factors)
    direction = solver.direction(random_state) if solver.random else solver.direction()
    if not solver.descends:
        step = _given_step(step_size, called)
        return Method(solver, make_damping(0.0), direction, step)
    rule = make_damping(
        damping,
        _noise_share(noise_variance, objective),
        measures_error=loss.measures_error,
    )
    return Method(solver, rule, direction, make_step(step_size))


def _check_needs(
    solver: Solver, called: str, loss: Loss, has_two_factors: bool
) -> None:
    if solver.pair_only and not has_two_factors:
        raise ValueError(
            f"{called} needs two factors; a symmetric matrix X X^T has one. "
            "Use symmetric=False, or solver='gauss-newton'."
        )
    if solver.curvature and not loss.has_curvature:
        raise ValueError(
            f"{called} needs a loss with a curvature; loss={loss.name!r} has none."
        )
    if solver.least_squares and not loss.least_squares:
        raise ValueError(
            f"{called} needs loss='squared', for which one factor given the other is "
            f"a linear problem; got loss={loss.name!r}."
        )


def _noise_share(noise_variance: float | None, objective: Objective) -> float | None:
    if noise_variance is None:
        return None
    if not objective.loss.measures_error:
        raise ValueError(
            "noise_variance needs loss='squared'; with "
            f"loss={objective.loss.name!r} leave it out."
        )
    return objective.noise_share(noise_variance)


def _given_step(step_size: str | float | StepRule, called: str) -> StepRule:
    """The step of directions that need not descend: no search is possible."""
    if isinstance(step_size, str) and step_size == "auto":
        return FixedStep(1.0)
    step = make_step(step_size)
    if step.needs_descent:
        raise ValueError(
            f"{called} needs step_size='auto' or a number; step_size={step_size!r} "
            "looks for a descent, and its directions need not lead to one."
        )
    return step
