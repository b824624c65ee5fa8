"""What is added to the loss: nothing, or a ridge on the factors.

A penalty has the units of the sum it is added to: that of the losses, or that sum times
the weight of an objective. `Penalty.times` leads from one to the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors

F = TypeVar("F", bound=Factors)


class Penalty(ABC):
    """The contract of a penalty, a quadratic form of the factors.

    Of all factors of a matrix, `balanced` ones have the lowest penalty; it is then
    `threshold` times the `size` of the matrix, which is a norm.
    """

    shrinks: bool = True
    """Whether anything is penalised, so that the fit leaves a residual of its own."""

    @property
    @abstractmethod
    def threshold(self) -> float:
        """The penalty of a matrix of size one."""

    @abstractmethod
    def value(self, factors: Factors) -> float:
        """The penalty at a point.

        Parameters
        ----------
        factors : Factors
        """

    @abstractmethod
    def added(self, gradient: F, at: Factors) -> F:
        """A gradient in the factors with that of the penalty.

        The penalty is a quadratic form, so this also adds its Hessian times a direction
        to another Hessian times that direction.

        Parameters
        ----------
        gradient : Factors
            The gradient to add to.
        at : Factors
            The point, or the direction.
        """

    @abstractmethod
    def along(self, factors: Factors, direction: Factors) -> Array:
        """The penalty at ``factors + t * direction`` as a polynomial in t.

        Parameters
        ----------
        factors, direction : Factors

        Returns
        -------
        ndarray of shape (5,)
            Coefficients, the constant term first; those of degree three and four are
            zero.
        """

    @abstractmethod
    def of_lines(self, block: int) -> Any:
        """Twice the penalty of a row of a block, whose length is one.

        Parameters
        ----------
        block : {0, 1}
            The left or the right factor of a pair.

        Returns
        -------
        float or ndarray of shape (n_rows,) or (n_columns,)
        """

    @abstractmethod
    def times(self, scale: float) -> Penalty:
        """The penalty multiplied by a number.

        Divided by the unit of a matrix, it goes with an objective that is divided by
        the square of the unit.

        Parameters
        ----------
        scale : float
        """

    def excess(self, slope: float) -> float:
        """By how much the loss falls faster than the penalty rises along a new term.

        Parameters
        ----------
        slope : float
            The decrease of the loss along a matrix of size one.
        """
        return max(0.0, slope - self.threshold)

    def size(self, factors: Factors) -> float:
        """The norm of the matrix that the penalty is a multiple of: the nuclear one."""
        return float(np.sum(factors.singular_values()))

    def balanced(self, factors: F) -> F:
        """The same matrix by the factors of the lowest penalty."""
        return factors.balanced()

    def shrunk(self, s: Array) -> Array:
        """The singular values of the best matrix, given those of complete data.

        Parameters
        ----------
        s : ndarray of shape (rank,)

        Raises
        ------
        ValueError
            If the best matrix has other singular vectors than the data.
        """
        # The proximal map of the nuclear norm.
        return np.maximum(s - self.threshold, 0.0)


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """Nothing is added, and that costs nothing."""

    shrinks = False

    @property
    def threshold(self) -> float:
        return 0.0

    def value(self, factors: Factors) -> float:
        return 0.0

    def added(self, gradient: F, at: Factors) -> F:
        return gradient

    def along(self, factors: Factors, direction: Factors) -> Array:
        return np.zeros(5)

    def of_lines(self, block: int) -> float:
        return 0.0

    def times(self, scale: float) -> Penalty:
        return self


NO_PENALTY = NoPenalty()


@dataclass(frozen=True)
class NuclearRidge(Penalty):
    """``alpha / 2 (||L||_F^2 + ||R||_F^2)``: alpha times the nuclear norm, if balanced.

    Parameters
    ----------
    alpha : float
        Positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> from skprecgd.objective.penalty import NuclearRidge
    >>> NuclearRidge(2.0).value(FactorPair(np.ones((3, 1)), np.ones((2, 1))))
    5.0
    """

    alpha: float

    @property
    def threshold(self) -> float:
        return self.alpha

    def value(self, factors: Factors) -> float:
        return 0.5 * self.alpha * factors.ridge()

    def added(self, gradient: F, at: Factors) -> F:
        return gradient.moved(at, self.alpha * at.multiplicity)

    def along(self, factors: Factors, direction: Factors) -> Array:
        slope = factors.multiplicity * factors.inner(direction)
        coefficients = [0.5 * factors.ridge(), slope, 0.5 * direction.ridge(), 0.0, 0.0]
        return self.alpha * np.array(coefficients)

    def of_lines(self, block: int) -> float:
        return self.alpha

    def times(self, scale: float) -> Penalty:
        return as_penalty(self.alpha * scale)


def as_penalty(alpha: float | Penalty) -> Penalty:
    """The penalty that the value of the parameter `alpha` stands for.

    Parameters
    ----------
    alpha : float or Penalty
        A number is the ridge of that strength, and 0 is none.

    Raises
    ------
    ValueError
        If the number is negative or not finite.

    Examples
    --------
    >>> from skprecgd.objective.penalty import as_penalty
    >>> as_penalty(0.0).shrinks, as_penalty(0.5).threshold
    (False, 0.5)
    """
    if isinstance(alpha, Penalty):
        return alpha
    if not 0 <= alpha < np.inf:
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha!r}.")
    return NuclearRidge(float(alpha)) if alpha > 0 else NO_PENALTY
