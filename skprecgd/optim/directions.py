"""Directions of descent, built from the gradient in the metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skprecgd._linalg.conjugate_gradients import conjugate_gradients
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.metric import Metric


@dataclass(frozen=True)
class NewtonTuning:
    """Accuracy to which a Gauss-Newton direction is solved for (inexact Newton).

    Attributes
    ----------
    last_step : float
        The final linear system is solved to this share of the wanted relative residual.
    last_share : float
        The system of the point before is used once more if the error of its
        linearisation stays below this share of the wanted relative residual.
    new_columns : float
        Factor on the tolerance of a step that also sets the length of new columns. The
        length alone gains much without an accurate solution, so a more accurate one is
        needed.
    least : float
        No system is solved to a smaller relative residual: the products with it are
        rounded to single precision.
    """

    last_step: float = 0.1
    last_share: float = 0.5
    new_columns: float = 0.2
    least: float = 1e-6


@dataclass(frozen=True)
class BlockTuning:
    """Accuracy to which one factor is solved for where there is no closed form.

    Attributes
    ----------
    tolerance : float
        Relative residual of the linear system at which to stop.
    max_inner : int
        Most products with the Hessian.
    """

    tolerance: float = 1e-6
    max_inner: int = 200


_NEWTON = NewtonTuning()
_BLOCK = BlockTuning()


@dataclass(frozen=True)
class Local:
    """Everything a direction may use at the current point.

    Attributes
    ----------
    objective : Objective
    evaluation : Evaluation
        The point, with its `factors`.
    gradient : Factors
        The objective's, at that point.
    metric : Metric
        The solver's metric; ``metric.apply(gradient)`` is the preconditioned gradient.
    tol : float, default=0.0
        The relative residual that is wanted.
    adds_columns : bool, default=False
        Whether the step also sets the length of new columns.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import SymmetricFactor
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.optim import Local, Metric
    >>> objective = make_objective(FullObservation((2, 2)), np.diag([4.0, 1.0]))
    >>> evaluation = objective.evaluate(SymmetricFactor(np.eye(2)))
    >>> gradient = objective.gradient(evaluation)
    >>> local = Local(objective, evaluation, gradient, Metric(evaluation.factors))
    >>> local.metric.apply(local.gradient).times(-1.0).blocks[0]
    array([[ 3., -0.],
           [-0., -0.]])
    """

    objective: Objective
    evaluation: Evaluation
    gradient: Factors
    metric: Metric
    tol: float = 0.0
    adds_columns: bool = False


class Direction(ABC):
    """Contract of a direction: which way to go from a point.

    A `skprecgd.optim.Solver` makes one for every run, so a direction may remember
    earlier points.

    Examples
    --------
    The negative gradient in the solver's metric, of one factor drawn at random:

    >>> import numpy as np
    >>> from skprecgd.optim import Direction
    >>> class RandomBlock(Direction):
    ...     def __init__(self):
    ...         self.rng = np.random.default_rng(0)
    ...
    ...     def __call__(self, local):
    ...         block = self.rng.integers(len(local.gradient.blocks))
    ...         gradient = local.gradient.only(block)
    ...         return local.metric.apply(gradient).times(-1.0)
    """

    @abstractmethod
    def __call__(self, local: Local) -> Factors:
        """The direction at the current point.

        Parameters
        ----------
        local : Local

        Returns
        -------
        Factors
            It has the shape of the point's factors. The step rule sets the length of
            the step.
        """

    def restart(self) -> None:
        """Forget earlier points: the factors were changed from outside."""
        return None

    def diagnostics(self, factors: Factors) -> Mapping[str, float]:
        """Numbers to report of a point in the history, by the names of their columns.

        Parameters
        ----------
        factors : Factors
            The point that was reached.

        Returns
        -------
        mapping of str to float
            Nothing, unless a direction says otherwise.
        """
        return {}


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
            # The metric changes from point to point, and this numerator stays right
            # when it does (flexible conjugate gradients).
            beta = (square - old_gradient.inner(step)) / old_square
            if beta > 0:
                # Near an exact solution, old_square is so small that beta may overflow.
                with np.errstate(over="ignore", invalid="ignore"):
                    conjugate = direction.moved(old_direction, beta)
                    descends = -np.inf < conjugate.inner(gradient) < 0
                if descends:
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
        Relative residual of the linear system at which to stop (forcing term). It is
        tightened in proportion to the residual, so that the outer rate is quadratic,
        until a step that is solved so far is the last one.
    tuning : NewtonTuning, default=NewtonTuning()
    """

    def __init__(
        self,
        max_inner: int = 100,
        forcing: float = 0.05,
        tuning: NewtonTuning = _NEWTON,
    ) -> None:
        self.max_inner = max_inner
        self.forcing = forcing
        self.tuning = tuning
        self._first: float | None = None
        self._system: _System | None = None

    def restart(self) -> None:
        self._first = self._system = None

    def __call__(self, local: Local) -> Factors:
        gradient = local.gradient
        system, self._system = self._system, None
        if system is not None and self._does_once_more(system, local):
            # The gradient of the same residuals by the old factors is in the range of
            # their singular system; by the new factors it is not.
            known = replace(local.evaluation, factors=system.factors)
            gradient = local.objective.gradient(known)
        else:
            # The old system is released before another one takes its memory.
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
        # A stage on the way to a higher rank needs no more digits than it can gain.
        fallen = min(1.0, residual / self._first)
        if local.adds_columns:
            fallen *= self.tuning.new_columns
        least = min(self.forcing, self.tuning.least)
        last = self.tuning.last_step * local.tol / residual
        return max(self.forcing * fallen, least, last)

    def _does_once_more(self, system: _System, local: Local) -> bool:
        """Whether a step with the system of the point before will be the last one.

        Where steps converge quadratically, such a step leaves twice the square of the
        residual, divided by the residual at the point before.
        """
        residual = local.evaluation.relative_residual
        wanted = self.tuning.last_share * local.tol * system.residual
        last = 2 * residual**2 <= wanted
        return last and local.objective.contracts(system.factors.rank)


class Alternating(Direction):
    """Solves for one factor with the other fixed, which is linear least squares.

    The factor whose gradient is larger in the metric is solved for. That brings its
    gradient to zero, so from then on the factors take turns.
    """

    def __call__(self, local: Local) -> Factors:
        blocks = range(len(local.gradient.blocks))
        norms = [local.metric.dual_norm(local.gradient.only(i)) for i in blocks]
        return solve_block(local, int(np.argmax(norms)))


class AlternatingGradient(Direction):
    """The negative gradient in the metric, for the two factors in turn."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, local: Local) -> Factors:
        block, self._next = self._next, 1 - self._next
        return local.metric.apply(local.gradient.only(block)).times(-1.0)


def solve_block(local: Local, block: int, tuning: BlockTuning = _BLOCK) -> Factors:
    """The move of one block that solves its least-squares problem.

    The objective's closed form is used if it has one, else conjugate gradients.
    """
    gradient = local.gradient.only(block)
    move = local.objective.block_move(local.evaluation, gradient.blocks[block], block)
    if move is not None:
        return gradient.with_block(block, move)
    system = _System.at(local)
    return system.solve(gradient, tuning.max_inner, tuning.tolerance, block)


@dataclass(frozen=True)
class _System:
    """The linearised problem at a point, in a basis that makes the metric Euclidean.

    A direction d is held as the numbers of ``d W^-T`` (``d W^-H``, if complex).
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
        """The direction d of ``H d = -gradient``.

        The iteration starts at zero, so d is in the range of a singular H. With a
        `block`, the other one is fixed.
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
        back = [root.conj().T for root in self.roots]
        return gradient.shaped(solution).times_right(back)
