"""Step rules: the length of a step along a direction.

A step rule sees the ray (the objective along the direction) and the slope at its
start, and knows no algorithm. `STEP_RULES` says what each value of the `step_size`
parameter stands for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import ClassVar

import numpy as np

from skprecgd.objective import Ray


class StepRule(ABC):
    """Contract of a step rule: how far to go along a direction.

    A rule is given as the `step_size` of an estimator, of `minimize` or of `rank_path`.
    Every fit of an estimator uses a copy of it, so a rule may remember its last step:
    what it remembers does not go from one fit to the next. `minimize` uses the rule
    itself.

    Attributes
    ----------
    minimises : bool
        Whether the step is always the minimiser along the ray. It is then also right
        for new columns of the factors whose length is not known yet.
    needs_descent : bool
        Whether the rule only makes sense along a direction in which the objective
        falls; such a rule is refused for solvers that need not descend.

    See Also
    --------
    skprecgd.optim.Ray : What a rule is given.

    Examples
    --------
    A rule that goes a share of the way to the minimiser:

    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_matrix_completion
    >>> from skprecgd.optim import StepRule
    >>> class Cautious(StepRule):
    ...     def __init__(self, share=0.9):
    ...         self.share = share
    ...
    ...     def __call__(self, ray, slope):
    ...         return self.share * ray.minimizer()
    >>> X, truth = make_matrix_completion(
    ...     60, 40, rank=2, observed_fraction=0.5, random_state=0
    ... )
    >>> model = PrecGDFactorization(2, solver="precgd-cg", step_size=Cautious()).fit(X)
    >>> model.converged_
    True
    """

    minimises: ClassVar[bool] = False
    needs_descent: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, ray: Ray, slope: float) -> float:
        """The step to take.

        Parameters
        ----------
        ray : Ray
            The objective along the direction. Asking it for values costs no pass over
            the measurements.
        slope : float
            Derivative of the objective along the direction, at its start; negative
            downhill.

        Returns
        -------
        float
            0 if no step decreases the objective. The direction is then replaced by
            one that forgets the past, and asked for once more.
        """


@dataclass(frozen=True)
class ExactStep(StepRule):
    """The minimiser along the ray: nothing to tune.

    Examples
    --------
    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.optim import ExactStep
    >>> PrecGDFactorization(step_size=ExactStep())
    PrecGDFactorization(step_size=ExactStep())
    """

    minimises: ClassVar[bool] = True

    def __call__(self, ray: Ray, slope: float) -> float:
        return ray.minimizer()


@dataclass(frozen=True)
class FixedStep(StepRule):
    """A constant step, 0.5 in the papers; it may diverge, and then says so.

    Parameters
    ----------
    step : float
        In units of the preconditioned gradient.

    Raises
    ------
    ValueError
        If `step` is not positive and finite.

    Examples
    --------
    >>> from skprecgd.optim import FixedStep
    >>> FixedStep(0.5)
    FixedStep(step=0.5)
    """

    needs_descent: ClassVar[bool] = False

    step: float

    def __post_init__(self) -> None:
        if not 0 < self.step < np.inf:
            raise ValueError(f"step must be a number > 0, got {self.step!r}.")

    def __call__(self, ray: Ray, slope: float) -> float:
        return self.step


@dataclass(frozen=True)
class PolyakStep(StepRule):
    """``(f - optimum) / |slope|``: knowing the optimum replaces a search.

    Parameters
    ----------
    optimum : float, default=0.0
        Lowest value of the objective, in units of the square of the norm of the data:
        0 if the data can be explained.

    Examples
    --------
    >>> from skprecgd.optim import PolyakStep
    >>> PolyakStep()
    PolyakStep(optimum=0.0)
    """

    optimum: float = 0.0

    def __call__(self, ray: Ray, slope: float) -> float:
        return (ray.value(0.0) - self.optimum) / -slope if slope < 0 else 0.0


@dataclass
class BacktrackingStep(StepRule):
    """Halve until the decrease is a fair share of what the slope promises (Armijo).

    The slope is measured in the metric, so the test is the one of JMLR 2023,
    eq. 21: ``f(t) <= f(0) - c t ||grad||*^2`` along a preconditioned gradient. The
    first step tried is twice the last one that was taken.

    Parameters
    ----------
    share : float, default=0.25
        c, between 0 and 1. Below 1/2, which the exact minimiser of a quadratic only
        just meets.

    Raises
    ------
    ValueError
        If `share` is not between 0 and 1.

    Examples
    --------
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> from skprecgd.optim import BacktrackingStep
    >>> A, y, truth = make_matrix_sensing(
    ...     10, rank=1, n_measurements=100, random_state=0
    ... )
    >>> model = PrecGDMatrixSensing(2, step_size=BacktrackingStep(share=0.1))
    >>> bool(truth.relative_error(model.fit(A, y).matrix_) < 1e-6)
    True
    """

    share: float = 0.25
    _last: float = field(default=0.5, init=False, repr=False, compare=False)

    _MAX_HALVINGS: ClassVar[int] = 60

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must be between 0 and 1, got {self.share!r}.")

    def __call__(self, ray: Ray, slope: float) -> float:
        start = ray.value(0.0)
        # Twice the last step: a step that was cut once may grow again.
        step = 2.0 * self._last
        for _ in range(self._MAX_HALVINGS):
            value = ray.value(step)
            enough = start + self.share * step * slope
            # Strictly below the start too: at rounding level the slope promises
            # less than one unit in the last place.
            if value <= enough and value < start:
                self._last = step
                return step
            step *= 0.5
        return 0.0


STEP_RULES: dict[str, Callable[[], StepRule]] = {
    "auto": ExactStep,
    "exact": ExactStep,
    "backtracking": BacktrackingStep,
    "polyak": PolyakStep,
}
"""What makes the step rule of each name."""


def make_step(step_size: str | float | StepRule) -> StepRule:
    """The step rule behind the value of the `step_size` parameter.

    Parameters
    ----------
    step_size : str, float or StepRule
        A name of `STEP_RULES`, the number of a `FixedStep`, or a rule.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(step_size, StepRule):
        return step_size
    if isinstance(step_size, str) and step_size in STEP_RULES:
        return STEP_RULES[step_size]()
    if not (isinstance(step_size, Real) and 0 < step_size < np.inf):
        raise ValueError(
            f"step_size must be one of {tuple(STEP_RULES)}, a number > 0 or a StepRule,"
            f" got {step_size!r}."
        )
    return FixedStep(float(step_size))
