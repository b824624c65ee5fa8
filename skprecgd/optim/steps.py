"""How far to go along a direction.

A step rule sees the ray (the objective along the direction) and the slope at its
start, and knows no algorithm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from skprecgd.objective import Ray

STEP_RULES = ("auto", "exact", "backtracking", "polyak")


class StepRule(ABC):
    """Contract of a step rule."""

    @abstractmethod
    def __call__(self, ray: Ray, slope: float) -> float:
        """The step to take; 0 if no step decreases the objective."""


@dataclass(frozen=True)
class ExactStep(StepRule):
    """The minimiser along the ray: nothing to tune."""

    def __call__(self, ray: Ray, slope: float) -> float:
        return ray.minimizer()


@dataclass(frozen=True)
class FixedStep(StepRule):
    """A constant step, 0.5 in the papers; it may diverge, and then says so."""

    step: float

    def __call__(self, ray: Ray, slope: float) -> float:
        return self.step


@dataclass(frozen=True)
class PolyakStep(StepRule):
    """``(f - optimum) / |slope|``: knowing the optimum replaces a search."""

    optimum: float = 0.0

    def __call__(self, ray: Ray, slope: float) -> float:
        return (ray.value(0.0) - self.optimum) / -slope if slope < 0 else 0.0


class BacktrackingStep(StepRule):
    """Halve until the decrease is a fair share of what the slope promises.

    The slope is measured in the metric, so the test is the one of JMLR 2023,
    eq. 21: ``f(t) <= f(0) - c t ||grad||*^2`` along a preconditioned gradient.

    Parameters
    ----------
    share : float, default=0.25
        c. Below 1/2, which the exact minimiser of a quadratic only just meets.
    """

    _MAX_HALVINGS = 60

    def __init__(self, share: float = 0.25) -> None:
        self.share = share
        self._last = 0.5

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


def make_step(step_size: str | float | StepRule) -> StepRule:
    """The step rule behind the value of the `step_size` parameter.

    Parameters
    ----------
    step_size : {"auto", "exact", "backtracking", "polyak"}, float or StepRule
        "auto" is "exact".
    """
    if isinstance(step_size, StepRule):
        return step_size
    if step_size in ("auto", "exact"):
        return ExactStep()
    if step_size == "backtracking":
        return BacktrackingStep()
    if step_size == "polyak":
        return PolyakStep()
    if isinstance(step_size, str) or not np.isfinite(step_size) or step_size <= 0:
        raise ValueError(
            f"step_size must be one of {STEP_RULES} or a number > 0, got {step_size!r}."
        )
    return FixedStep(float(step_size))
