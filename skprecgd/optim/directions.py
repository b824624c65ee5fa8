"""Which way to go: directions built from the gradient in the metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skprecgd._linalg.conjugate_gradients import conjugate_gradients
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.metric import Metric

# The last step is solved to this share of the residual that is wanted, and its
# linearisation may leave this share of it.
_LAST_STEP = 0.1
_LAST_SHARE = 0.5
# How much more accurately a step is solved that also gives new columns their length:
# what they gain by that alone takes no accuracy.
_NEW_COLUMNS = 0.2
# What is rounded to single precision is not solved any further.
_LEAST = 1e-6
# A block counts as solved at this relative residual of its linear system; the
# products with the Hessian that it may take.
_BLOCK_TOLERANCE = 1e-6
_BLOCK_INNER = 200


@dataclass(frozen=True)
class Local:
    """Everything a direction may use at the current point."""

    objective: Objective
    evaluation: Evaluation
    gradient: Factors
    metric: Metric
    tol: float = 0.0
    """Relative residual that is wanted."""


class Direction(ABC):
    """Contract of a direction; `restart` forgets what earlier points left."""

    descends: bool = True
    """Whether a short enough step decreases the objective."""

    @abstractmethod
    def __call__(self, local: Local) -> Factors:
        """The direction at the current point."""

    def restart(self) -> None:
        """Forget the past: the factors were changed from outside."""
        return None

    def alignment(self, factors: Factors) -> float:
        """For the history: how far the left factor points where feedback does."""
        return np.nan


class Steepest(Direction):
    """The negative gradient in the metric: PrecGD, ScaledGD or GD by the metric."""

    def __call__(self, local: Local) -> Factors:
        return local.metric.apply(local.gradient).times(-1.0)


class Conjugate(Direction):
    """Conjugate directions in the metric (Polak-Ribiere, never negative)."""

    def __init__(self) -> None:
        self._previous: tuple[Factors, float, Factors] | None = None

    def restart(self) -> None:
        self._previous = None

    def __call__(self, local: Local) -> Factors:
        gradient = local.gradient
        step = local.metric.apply(gradient)
        square = gradient.inner(step)
        direction = step.times(-1.0)
        if self._previous is not None:
            old_gradient, old_square, old_direction = self._previous
            # The flexible form: the metric changes from point to point, and this
            # numerator stays right when it does.
            beta = (square - old_gradient.inner(step)) / old_square
            if beta > 0:
                conjugate = direction.moved(old_direction, beta)
                if conjugate.inner(gradient) < 0:
                    direction = conjugate
        self._previous = (gradient, square, direction) if square > 0 else None
        return direction


class GaussNewton(Direction):
    """Solves the linearised problem by conjugate gradients in the metric.

    Parameters
    ----------
    max_inner : int, default=100
        Most products with the Gauss-Newton Hessian per direction.
    forcing : float, default=0.05
        Relative residual of the linear system at which to stop. It is tightened as the
        residual falls, so that the outer rate is quadratic, until a step that is solved
        so far is the last one.
    """

    def __init__(self, max_inner: int = 100, forcing: float = 0.05) -> None:
        self.max_inner = max_inner
        self.forcing = forcing
        self._first: float | None = None
        self._system: _System | None = None

    def restart(self) -> None:
        self._first = self._system = None

    def __call__(self, local: Local) -> Factors:
        gradient = local.gradient
        system, self._system = self._system, None
        if system is not None and _does_once_more(system, local):
            # Of the same residuals, by the old factors: so it is in the system's range.
            known = replace(local.evaluation, factors=system.factors)
            gradient = local.objective.gradient(known)
        else:
            # The old one is let go of before another one is made.
            system = None
            system = self._system = _System.at(local)
        return system.solve(gradient, self.max_inner, self._tolerance(local))

    def _tolerance(self, local: Local) -> float:
        residual = local.evaluation.relative_residual
        if not self._first:
            # Zero is what an exact start leaves; rounding then leaves more.
            self._first = residual
        if residual == 0.0:
            return self.forcing
        # On the way to a higher rank nobody needs more digits than the stage can gain.
        fallen = min(1.0, residual / self._first)
        if local.evaluation.ahead is not None:
            fallen *= _NEW_COLUMNS
        least = min(self.forcing, _LEAST)
        return max(self.forcing * fallen, least, _LAST_STEP * local.tol / residual)


def _does_once_more(system: _System, local: Local) -> bool:
    """Whether a step with the system of the point before will be the last one.

    Where steps converge quadratically, what it leaves is twice the square of the
    residual over that at the point before.
    """
    residual = local.evaluation.relative_residual
    last = 2 * residual**2 <= _LAST_SHARE * local.tol * system.residual
    return last and local.objective.contracts(system.factors.rank)


class Alternating(Direction):
    """Solves for one factor with the other fixed, which is linear least squares.

    The factor whose gradient is larger in the metric is solved for. That brings its
    gradient to zero, so then the factors take turns.
    """

    def __call__(self, local: Local) -> Factors:
        blocks = range(len(local.gradient.blocks))
        norms = [local.metric.dual_norm(local.gradient.only(i)) for i in blocks]
        return solve_block(local, int(np.argmax(norms)))


class AlternatingGradient(Direction):
    """The negative gradient in the metric, of one factor after the other."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, local: Local) -> Factors:
        block, self._next = self._next, 1 - self._next
        return local.metric.apply(local.gradient.only(block)).times(-1.0)


def solve_block(local: Local, block: int) -> Factors:
    """The move of one block that solves its least-squares problem.

    In closed form where the objective has one, else by conjugate gradients.
    """
    gradient = local.gradient.only(block)
    move = local.objective.block_move(local.evaluation, gradient.blocks[block], block)
    if move is not None:
        blocks = list(gradient.blocks)
        blocks[block] = move
        return type(gradient)(*blocks)
    system = _System.at(local)
    return system.solve(gradient, _BLOCK_INNER, _BLOCK_TOLERANCE, block)


def from_behind(direction: Factors, factors: Factors, ahead: Factors) -> Factors:
    """The direction that leads from `factors` where one leads from `ahead`.

    To first order the matrix of the new columns ``a b^T`` is the move of both by half
    of themselves, and a direction that was solved for without that matrix contains it.
    """
    columns = ahead.moved(factors, -1.0)
    return direction.moved(columns, 0.5)


@dataclass(frozen=True)
class _System:
    """The linearised problem at a point, where the metric is the Euclidean one.

    Directions d are held as the numbers of ``d W^-T``.
    """

    factors: Factors
    residual: float
    roots: Sequence[Array]
    product: Callable[[Array], Array]

    @classmethod
    def at(cls, local: Local) -> _System:
        roots, point = local.metric.roots(), local.evaluation
        product = local.objective.curvature_in(point, roots)
        return cls(point.factors, point.relative_residual, roots, product)

    def solve(
        self,
        gradient: Factors,
        max_steps: int,
        tolerance: float,
        block: int | None = None,
    ) -> Factors:
        """The direction d of ``H d = -gradient``; from zero, so in the range of H.

        Of one block alone, the other fixed, if that is wanted.
        """

        def product(numbers: Array) -> Array:
            image = self.product(numbers)
            if block is None:
                return image
            return gradient.shaped(image).only(block).flat()

        solution = conjugate_gradients(
            product,
            -gradient.times_right(self.roots).flat(),
            max_steps=max_steps,
            tolerance=tolerance,
        )
        return gradient.shaped(solution).times_right([root.T for root in self.roots])
