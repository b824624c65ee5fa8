"""The loop: evaluate, direction, step, test, record. No maths of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from time import perf_counter
from typing import Any

import numpy as np

from skprecgd._linalg.products import all_finite
from skprecgd._runtime.arrays import kept_arrays
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import RandomState
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.directions import Local
from skprecgd.optim.metric import Damping, DampingState, Metric
from skprecgd.optim.result import History, Record, Result, Status
from skprecgd.optim.solvers import Method, Solver, make_method
from skprecgd.optim.steps import StepRule
from skprecgd.optim.stopping import Progress, Watch

Callback = Callable[[Record], bool | None]

# Iterations after which the predictions, which are updated along each ray, are computed
# afresh, so that accumulated rounding cannot carry them away from the factors.
_REFRESH_EVERY = 50
# Rounding of an objective that is no difference, in machine epsilons.
_TIE = 16
# The largest number whose square is finite.
_LARGEST_UNIT = float(np.sqrt(np.finfo(np.float64).max))


def check_unit(unit: float) -> None:
    """Refuse data whose loss, in units of the square of their matrix, is no number."""
    if unit > _LARGEST_UNIT:
        raise ValueError(
            f"The data are too large: the norm of their matrix is {unit:.3g}, and its "
            "square overflows. Divide them by a power of ten."
        )


@dataclass
class Reached:
    """Where the last descent ended, for an interrupt between two descents."""

    factors: Factors | None = None


@dataclass
class Journal:
    """History, clock and callback, which outlive one call of `descend`."""

    callback: Callback | None = None
    unit: float = 1.0
    validation_loss: Callable[[Evaluation], float] | None = None
    history: History = field(default_factory=History)
    reached: Reached = field(default_factory=Reached)
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
        extra: Mapping[str, float] | None = None,
        solver: str = "uncertain rows",
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
            f"{self._purpose} ({solver})",
        )
        if extra:
            record = record.with_extra(extra)
        self.history.records.append(record)
        if self.callback is None:
            return False
        return self.callback(History([record]).scaled(self.unit).records[0]) is True

    @property
    def _purpose(self) -> str:
        """What the next line is about, in a word or two."""
        if self.validation_loss is not None:
            return "held out"
        last = self.history.records[-1:]
        chosen = any(r.phase.startswith(("held out", "refit")) for r in last)
        return "refit" if chosen else "fit"


@dataclass(frozen=True)
class Outcome:
    """Where `descend` ended and why."""

    evaluation: Evaluation
    status: Status
    n_iter: int
    gradient_norm: float

    @property
    def message(self) -> str:
        return self.status.value

    def or_zero(self, objective: Objective) -> Outcome:
        """The outcome, or the zero matrix where a descent that diverged is worse.

        A start may be worse than zero, and steps that are too long only leave it.
        """
        best, at_zero = self.evaluation, 0.5 * objective.data_norm**2
        rounding = np.finfo(best.factors.dtype).eps * at_zero
        slack = 0.5 * objective.resolution**2 + _TIE * rounding
        if self.status is not Status.DIVERGED or best.value <= at_zero + slack:
            return self
        zero = objective.evaluate(best.factors.zero())
        return _ZeroOutcome(zero, self.status, self.n_iter, np.nan)


class _ZeroOutcome(Outcome):
    """The zero matrix in place of an outcome that is worse."""

    @property
    def message(self) -> str:
        return (
            f"{super().message} Every iterate is worse than the zero matrix, which is "
            "kept instead."
        )


class _Best:
    """The best point so far: of the lowest objective, or of the lowest held-out loss.

    Parameters
    ----------
    start : Evaluation
    tie : float
        A later point whose objective is higher by no more than this takes over: the
        difference is rounding.
    """

    def __init__(self, start: Evaluation, tie: float) -> None:
        self._evaluation, self._gradient_norm = start, np.nan
        self._tie = tie

    def take(self, evaluation: Evaluation, gradient_norm: float = np.nan) -> None:
        """Replace the best point."""
        self._evaluation, self._gradient_norm = evaluation, gradient_norm

    def compare(self, evaluation: Evaluation) -> None:
        """Replace it if the objective is not higher."""
        if evaluation.value <= self._evaluation.value + self._tie:
            self.take(evaluation)

    def is_not(self, evaluation: Evaluation) -> bool:
        """Whether another point is the best."""
        return evaluation is not self._evaluation

    def know(self, evaluation: Evaluation, gradient_norm: float) -> None:
        """Add the gradient's norm, which is computed after the point was taken."""
        if evaluation is self._evaluation:
            self._gradient_norm = gradient_norm

    def outcome(self, status: Status, n_iter: int) -> Outcome:
        return Outcome(self._evaluation, status, n_iter, self._gradient_norm)


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

    Points other than the best and the last are released on the way: each holds a number
    per measurement.
    """
    _check_start(objective, evaluation)
    method.direction.restart()
    descends = method.solver.descends
    watch = Watch(objective, evaluation, tol, progress, descends=descends)
    best = _Best(evaluation, tie=0.5 * objective.resolution**2)
    step, iteration = np.nan, 0
    try:
        while not watch.diverged(evaluation):
            local, gradient_norm = _local(objective, evaluation, method, iteration, tol)
            best.know(evaluation, gradient_norm)
            extra = method.direction.diagnostics(evaluation.factors)
            damping = local.metric.damping
            stop = journal.write(
                evaluation, gradient_norm, step, damping, extra, method.name
            )
            if watch.by_held_out and watch.lower_held_out(journal.held_out):
                best.take(evaluation, gradient_norm)
            status = watch.status(evaluation, gradient_norm)
            status = _final(status, stop=stop, spent=iteration >= max_iter)
            if status is not None:
                passed = watch.by_held_out and best.is_not(evaluation)
                return best.outcome(_of_best(status, passed=passed), iteration)
            evaluation, step = _advance(local, evaluation, method)
            iteration += 1
            if iteration % _REFRESH_EVERY == 0:
                evaluation = objective.evaluate(evaluation.factors)
            if not watch.by_held_out:
                best.compare(evaluation)
        return best.outcome(Status.DIVERGED, iteration)
    except KeyboardInterrupt:
        return best.outcome(Status.INTERRUPTED, iteration)


def _local(
    objective: Objective,
    evaluation: Evaluation,
    method: Method,
    iteration: int,
    tol: float,
) -> tuple[Local, float]:
    """The problem linearised at a point, and the gradient's undamped dual norm."""
    here = evaluation.linearised
    gradient = objective.gradient(here)
    metric = Metric(here.factors)
    gradient_norm = metric.dual_norm(gradient)
    _check_gradient(gradient_norm, evaluation)
    if method.solver.metric == "identity":
        metric = Metric(here.factors, identity=True)
    elif method.solver.metric == "damped":
        state = DampingState(here, objective, gradient_norm, iteration)
        damping = method.damping(state)
        _check_damping(damping, gradient_norm)
        metric = metric.damped(damping)
    adds_columns = evaluation.adds_columns
    return Local(objective, here, gradient, metric, tol, adds_columns), gradient_norm


def check_limits(max_iter: float, tol: float) -> None:
    """Refuse limits that no descent would ever reach."""
    for name, value in (("max_iter", max_iter), ("tol", tol)):
        if not value >= 0:
            raise ValueError(f"{name} must be a number >= 0, got {value!r}.")


def _check_start(objective: Objective, evaluation: Evaluation) -> None:
    """Refuse a start, or a loss, that no descent can be compared with."""
    at_zero, here = objective.data_norm, evaluation.value
    if not np.isfinite(at_zero):
        raise ValueError(
            f"The loss of the zero matrix is no finite number (its norm is {at_zero}); "
            "a loss must be finite and not negative where predictions are zero."
        )
    if np.isnan(here):
        raise ValueError(
            "The objective is nan at the start; the factors to start from and the loss "
            "there must be finite."
        )


def _check_gradient(gradient_norm: float, evaluation: Evaluation) -> None:
    # Where the objective itself overflows, the fit diverges.
    if np.isnan(gradient_norm) and np.isfinite(evaluation.value):
        raise ValueError(
            "The gradient is nan at a point where the objective is "
            f"{evaluation.value:.3g}; the gradient of a loss must be finite."
        )


def _check_damping(damping: Any, gradient_norm: float) -> None:
    # Numbers that overflow are not the rule's fault; such a fit diverges.
    if np.isfinite(gradient_norm) and not (
        isinstance(damping, Real) and 0 <= float(damping) < np.inf
    ):
        raise ValueError(
            "A damping rule must return a finite number that is not negative, got "
            f"{damping!r}."
        )


def _check_direction(direction: Any) -> None:
    if not isinstance(direction, Factors):
        raise ValueError(
            "A direction must be Factors, like the gradient that it is made of, got "
            f"{type(direction).__name__}."
        )


def _check_slope(slope: float, gradient: Factors, method: Method) -> None:
    # A gradient that overflows is not the direction's fault; such a fit diverges.
    if np.isnan(slope) and all_finite(gradient.flat()):
        raise ValueError(
            f"The slope along a direction of solver={method.solver.name!r} is nan; a "
            "direction must be finite."
        )


def _check_step(step: Any, slope: float) -> None:
    # A direction that overflows is not the rule's fault; such a fit diverges.
    if not isinstance(step, Real) or (np.isnan(float(step)) and np.isfinite(slope)):
        raise ValueError(f"A step rule must return a number, got {step!r}.")


def _final(status: Status | None, *, stop: bool, spent: bool) -> Status | None:
    """Why to end here: what the user wants, and what is allowed, count as well."""
    # A stage that ends because of slow progress is no reason to begin the next one.
    if stop and status in (None, Status.SLOW):
        return Status.CALLBACK
    if status is None and spent:
        return Status.MAX_ITER
    return status


def _of_best(status: Status, *, passed: bool) -> Status:
    """The status of the best point, which held-out data may have seen on the way."""
    return Status.SLOW if passed and status.converged else status


def _advance(
    local: Local, start: Evaluation, method: Method
) -> tuple[Evaluation, float]:
    """The next point; a direction that leads nowhere is replaced by a fresh one."""
    for attempt in range(2):
        direction = method.direction(local)
        _check_direction(direction)
        direction = start.direction_from_here(direction)
        slope = local.gradient.inner(direction)
        _check_slope(slope, local.gradient, method)
        # A direction may be so long that its ray is no longer finite: it has diverged.
        with np.errstate(over="ignore", invalid="ignore"):
            ray = local.objective.ray(start, direction)
            step = method.step(ray, slope)
            _check_step(step, slope)
            if step != 0.0 or attempt == 1:
                return ray.advance(step), step
        method.direction.restart()
    raise AssertionError("unreachable")


def minimize(
    objective: Objective,
    factors: Factors,
    *,
    solver: str | Solver = "precgd",
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
    solver : str or Solver, default="precgd"
        Chooses the direction of a step and its metric: the name of one of
        `skprecgd.optim.SOLVERS` (the table in :ref:`optimization` says what each does),
        or a solver of your own.
    damping : str, float or Damping, default="auto"
        eta of the damped metric: a name of `skprecgd.optim.DAMPING_RULES`, a number in
        units of the data norm, or a rule. "auto" is "variance_proxy" where the noise
        variance is given, else "sqrt_loss"; "dual_norm" with another loss than the
        squared one.
    step_size : str, float or StepRule, default="auto"
        Chooses the length of a step: a name of `skprecgd.optim.STEP_RULES`, a number,
        or a rule. "auto" is "exact", the minimiser along the direction.
    noise_variance : float, default=None
        Variance of the noise of one measurement; only with the squared loss.
    max_iter : int, default=1000
    tol : float, default=1e-6
        Stop when the residual, or the part of it that moving the factors can still
        remove (the gradient's norm in the metric), is at most `tol` times the norm
        of the data. 0 runs to `max_iter`.
    random_state : int, RandomState instance or None, default=None
        Seed of solvers that draw random numbers.
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
    check_limits(max_iter, tol)
    scaled, unit = objective.normalised()
    if noise_variance is not None:
        noise_variance = noise_variance / scaled.target_unit / scaled.target_unit
    method = make_method(
        solver,
        scaled,
        damping=damping,
        step_size=step_size,
        noise_variance=noise_variance,
        has_two_factors=factors.multiplicity == 1,
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
    return make_result(outcome.or_zero(scaled), journal)


def make_result(outcome: Outcome, journal: Journal) -> Result:
    """Bring an outcome back to the data's units.

    What is worse than the zero matrix has not converged, whatever ended it.
    """
    unit, best = journal.unit, outcome.evaluation
    rounding = float(np.sqrt(np.finfo(best.factors.dtype).eps))
    if outcome.status.converged and not best.relative_residual <= 1 + rounding:
        outcome = replace(outcome, status=Status.WORSE_THAN_ZERO)
    return Result(
        factors=best.factors.scaled(unit),
        status=outcome.status,
        message=f"{outcome.message} Relative residual {best.relative_residual:.2g}.",
        n_iter=max(1, outcome.n_iter),
        loss=best.loss * unit**2,
        relative_residual=best.relative_residual,
        gradient_norm=outcome.gradient_norm * unit,
        history=journal.history.scaled(unit),
    )
