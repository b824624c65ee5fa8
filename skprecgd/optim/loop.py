"""The loop: evaluate, direction, step, test, record. No maths of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from skprecgd._runtime.arrays import kept_arrays
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import RandomState
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.directions import Local, from_behind
from skprecgd.optim.metric import Damping, DampingState, Metric
from skprecgd.optim.result import History, Record, Result, Status
from skprecgd.optim.solvers import Method, make_method
from skprecgd.optim.steps import StepRule
from skprecgd.optim.stopping import Progress, Watch

Callback = Callable[[Record], bool | None]

# The predictions are updated along each ray; computed afresh this often, they
# cannot drift away from the factors by accumulated rounding.
_REFRESH_EVERY = 50
# The largest number whose square is one.
_LARGEST_UNIT = float(np.sqrt(np.finfo(np.float64).max))


def check_unit(unit: float) -> None:
    """Refuse data whose loss, in units of the square of their norm, is no number."""
    if unit > _LARGEST_UNIT:
        raise ValueError(
            f"The data are too large: the square of their norm, {unit:.3g}, overflows. "
            "Divide them by a power of ten."
        )


@dataclass
class Journal:
    """What outlives one call of `descend`: history, clock and callback."""

    callback: Callback | None = None
    unit: float = 1.0
    validation_loss: Callable[[Evaluation], float] | None = None
    history: History = field(default_factory=History)
    started: float = field(default_factory=perf_counter)

    def __post_init__(self) -> None:
        check_unit(self.unit)

    @property
    def held_out(self) -> float:
        """The held-out loss of the last line."""
        return self.history.records[-1].validation_loss

    def write(
        self,
        evaluation: Evaluation,
        gradient_norm: float,
        step: float,
        damping: float,
        alignment: float = np.nan,
    ) -> bool:
        """Add a line; True if the callback asks to stop."""
        validation = np.nan
        if self.validation_loss is not None:
            validation = self.validation_loss(evaluation)
        record = Record(
            len(self.history),
            evaluation.factors.rank,
            evaluation.loss,
            evaluation.relative_residual,
            gradient_norm,
            step,
            damping,
            validation,
            perf_counter() - self.started,
            alignment,
        )
        self.history.records.append(record)
        if self.callback is None:
            return False
        return self.callback(History([record]).scaled(self.unit).records[0]) is True


@dataclass(frozen=True)
class Outcome:
    """Where `descend` ended and why."""

    evaluation: Evaluation
    status: Status
    n_iter: int
    gradient_norm: float


def descend(
    objective: Objective,
    evaluation: Evaluation,
    method: Method,
    journal: Journal,
    *,
    max_iter: int,
    tol: float,
    progress: Progress | None = None,
) -> Outcome:
    """Run one method from one point on an objective of unit scale.

    Of the point itself nothing is kept once it is left behind: its predictions are as
    large as the data.
    """
    method.direction.restart()
    best = evaluation
    best_gradient_norm = step = np.nan
    watch = Watch(
        objective, evaluation, tol, progress, descends=method.direction.descends
    )
    iteration = 0
    try:
        while not watch.diverged(evaluation):
            here = evaluation
            if evaluation.ahead is not None:
                here = replace(evaluation, factors=evaluation.ahead)
            gradient = objective.gradient(here)
            metric, gradient_norm = _metric(
                objective, here, gradient, method, iteration
            )
            if evaluation is best:
                best_gradient_norm = gradient_norm
            alignment = method.direction.alignment(evaluation.factors)
            stop = journal.write(
                evaluation, gradient_norm, step, metric.damping, alignment
            )
            if watch.by_held_out and watch.lower_held_out(journal.held_out):
                best, best_gradient_norm = evaluation, gradient_norm
            status = watch.status(evaluation, gradient_norm)
            # A stage that ends is no reason to go on with the next.
            if stop and status in (None, Status.SLOW):
                status = Status.CALLBACK
            if status is None and iteration >= max_iter:
                status = Status.MAX_ITER
            if status is not None:
                return Outcome(best, status, iteration, best_gradient_norm)
            local = Local(objective, here, gradient, metric, tol)
            evaluation, step = _advance(local, evaluation, method)
            iteration += 1
            if iteration % _REFRESH_EVERY == 0:
                evaluation = objective.evaluate(evaluation.factors)
            lowest = best.value + 0.5 * objective.resolution**2
            if not watch.by_held_out and evaluation.value <= lowest:
                best, best_gradient_norm = evaluation, np.nan
        return Outcome(best, Status.DIVERGED, iteration, best_gradient_norm)
    except KeyboardInterrupt:
        return Outcome(best, Status.INTERRUPTED, iteration, best_gradient_norm)


def _metric(
    objective: Objective,
    evaluation: Evaluation,
    gradient: Factors,
    method: Method,
    iteration: int,
) -> tuple[Metric, float]:
    """The method's metric at the point, and the gradient's undamped dual norm."""
    undamped = Metric(evaluation.factors)
    gradient_norm = undamped.dual_norm(gradient)
    if method.metric == "identity":
        return Metric(evaluation.factors, identity=True), gradient_norm
    if method.metric == "undamped":
        return undamped, gradient_norm
    state = DampingState(evaluation, objective, gradient_norm, iteration)
    return undamped.damped(method.damping(state)), gradient_norm


def _advance(
    local: Local, start: Evaluation, method: Method
) -> tuple[Evaluation, float]:
    """The next point; a direction that leads nowhere is replaced by a fresh one.

    `start` lies behind where the problem is linearised if columns are on their way.
    """
    for attempt in range(2):
        direction = method.direction(local)
        if start.ahead is not None:
            direction = from_behind(direction, start.factors, start.ahead)
        slope = local.gradient.inner(direction)
        ray = local.objective.ray(start, direction)
        with np.errstate(over="ignore", invalid="ignore"):
            step = method.step(ray, slope)
            if step != 0.0 or attempt == 1:
                return ray.advance(step), step
        method.direction.restart()
    raise AssertionError("unreachable")


def minimize(
    objective: Objective,
    factors: Factors,
    *,
    solver: str = "precgd",
    damping: str | float | Damping = "auto",
    step_size: str | float | StepRule = "auto",
    noise_variance: float | None = None,
    max_iter: int = 1000,
    tol: float = 1e-6,
    random_state: RandomState = None,
    callback: Callback | None = None,
) -> Result:
    """Minimise an objective over factors of fixed search rank.

    Parameters
    ----------
    objective : Objective
        From `skprecgd.objective.make_objective`.
    factors : Factors
        Start, from `skprecgd.initialization` or your own `FactorPair` or
        `SymmetricFactor`; its rank is the search rank.
    solver : {"precgd", "precgd-cg", "scaledgd", "gd", "gauss-newton", \
            "alternating", "alternating-scaledgd", "feedback", "feedback-star"}, \
            default="precgd"
        Steepest descent in the damped metric, conjugate directions in it, steepest
        descent in the undamped or the Euclidean metric, Gauss-Newton, exact least
        squares or a step of ScaledGD for one factor at a time, and two controls with
        random feedback in place of a transpose; the last four need a `FactorPair`.
    damping : str or float, default="auto"
        eta of the damped metric: "sqrt_loss", "dual_norm", "variance_proxy" (needs
        `noise_variance`), "geometric", or a number in units of the data norm.
        "auto" is "variance_proxy" where the noise variance is given, else
        "sqrt_loss"; "dual_norm" with another loss than the squared one.
    step_size : str or float, default="auto"
        "exact" (the minimiser along the direction), "backtracking", "polyak" (assumes
        that the optimum is zero) or a number. "auto" is "exact".
    noise_variance : float, default=None
        Variance of the noise of one measurement; only with the squared loss.
    max_iter : int, default=1000
    tol : float, default=1e-6
        Stop when the residual, or the part of it that moving the factors can still
        remove (the gradient's norm in the metric), is at most `tol` times the norm
        of the data. 0 runs to `max_iter`.
    random_state : int, RandomState instance or None, default=None
        Of the feedback matrix of "feedback" and "feedback-star".
    callback : callable, default=None
        Called with each `Record`; returning True stops.

    Returns
    -------
    Result

    References
    ----------
    .. [1] J. Zhang, S. Fattahi, R. Y. Zhang, "Preconditioned Gradient Descent for
       Over-Parameterized Nonconvex Matrix Factorization", NeurIPS 2021.

    Examples
    --------
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> from skprecgd.initialization import spectral
    >>> from skprecgd.measurements import as_measurements
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.optim import minimize
    >>> A, y, truth = make_matrix_sensing(
    ...     12, rank=1, n_measurements=100, random_state=0
    ... )
    >>> objective = make_objective(as_measurements(A, (12, 12)), y)
    >>> result = minimize(objective, spectral(objective, 2), tol=1e-9)
    >>> result.converged, bool(truth.relative_error(result.factors.matrix()) < 1e-8)
    (True, True)
    """
    if factors.matrix_shape != objective.matrix_shape:
        raise ValueError(
            f"factors of a {factors.matrix_shape} matrix do not fit measurements of "
            f"a {objective.matrix_shape} matrix."
        )
    scaled, unit = objective.normalised()
    if noise_variance is not None:
        noise_variance = noise_variance / unit**2
    method = make_method(
        solver,
        scaled,
        damping=damping,
        step_size=step_size,
        noise_variance=noise_variance,
        symmetric=factors.multiplicity == 2,
        random_state=random_state,
    )
    journal = Journal(callback, unit)
    start = factors.scaled(1.0 / unit)
    with running_fit(one_blas_thread=not objective.large_products), kept_arrays():
        outcome = descend(
            scaled,
            scaled.evaluate(start),
            method,
            journal,
            max_iter=max_iter,
            tol=tol,
        )
    return make_result(outcome, journal)


def make_result(outcome: Outcome, journal: Journal) -> Result:
    """Bring an outcome back to the data's units."""
    unit, best = journal.unit, outcome.evaluation
    return Result(
        factors=best.factors.scaled(unit),
        status=outcome.status,
        message=outcome.status.value,
        n_iter=max(1, outcome.n_iter),
        loss=best.loss * unit**2,
        relative_residual=best.relative_residual,
        gradient_norm=outcome.gradient_norm * unit,
        history=journal.history.scaled(unit),
    )
