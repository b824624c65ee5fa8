"""Which way to go: directions built from the gradient in the metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skprecgd._typing import Array
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.conjugate_gradients import conjugate_gradients
from skprecgd.optim.metric import Metric

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


class Direction(ABC):
    """Contract of a direction; `restart` forgets what earlier points left."""

    descends: bool = True
    """Whether a short enough step decreases the objective."""
    linearises: bool = False
    """Whether many products are taken at every point."""

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
    forcing : float, default=0.1
        Relative residual of the linear system at which to stop, tightened with
        the square root of the loss so that the outer rate becomes superlinear.
    """

    linearises = True

    def __init__(self, max_inner: int = 100, forcing: float = 0.1) -> None:
        self.max_inner = max_inner
        self.forcing = forcing

    def __call__(self, local: Local) -> Factors:
        hessian = local.objective.curvature(local.evaluation)
        return _solve_in_metric(
            local.metric,
            local.gradient,
            hessian,
            self.max_inner,
            self._tolerance(local),
        )

    def _tolerance(self, local: Local) -> float:
        return self.forcing * min(1.0, np.sqrt(local.evaluation.relative_residual))


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
    full = local.objective.curvature(local.evaluation)

    def hessian(direction: Factors) -> Factors:
        return full(direction).only(block)

    return _solve_in_metric(
        local.metric, gradient, hessian, _BLOCK_INNER, _BLOCK_TOLERANCE
    )


def _solve_in_metric(
    metric: Metric,
    gradient: Factors,
    hessian: Callable[[Factors], Factors],
    max_inner: int,
    tolerance: float,
) -> Factors:
    """The direction d of ``H d = -gradient``; from zero, so in the range of H.

    Solved for ``d W^-T``, where the metric is the Euclidean one.
    """
    roots = metric.roots()
    transposed = [root.T for root in roots]

    def product(numbers: Array) -> Array:
        direction = gradient.shaped(numbers).times_right(transposed)
        return hessian(direction).times_right(roots).flat()

    solution = conjugate_gradients(
        product,
        -gradient.times_right(roots).flat(),
        max_steps=max_inner,
        tolerance=tolerance,
    )
    return gradient.shaped(solution).times_right(transposed)
