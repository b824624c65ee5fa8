"""The ridge on the factors, which is a nuclear-norm penalty on the matrix."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors

F = TypeVar("F", bound=Factors)


class NuclearRidge:
    """``alpha / 2 (||L||_F^2 + ||R||_F^2)``: alpha times the nuclear norm, if balanced.

    Parameters
    ----------
    alpha : float
        In units of the singular values of the matrix; 0 is no ridge, and costs nothing.

    Raises
    ------
    ValueError
        If `alpha` is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> from skprecgd.objective.penalty import NuclearRidge
    >>> NuclearRidge(2.0).value(FactorPair(np.ones((3, 1)), np.ones((2, 1))))
    5.0
    """

    def __init__(self, alpha: float) -> None:
        if not 0 <= alpha < np.inf:
            raise ValueError(f"alpha must be a finite number >= 0, got {alpha!r}.")
        self.alpha = float(alpha)

    def value(self, factors: Factors) -> float:
        """The ridge at a point.

        Parameters
        ----------
        factors : Factors
        """
        return 0.5 * self.alpha * factors.ridge() if self.alpha else 0.0

    def added(self, gradient: F, at: Factors) -> F:
        """A gradient in the factors with that of the ridge.

        The ridge is a quadratic form, so this also adds its Hessian times a direction
        to another Hessian times that direction.

        Parameters
        ----------
        gradient : Factors
            The gradient to add to.
        at : Factors
            The point, or the direction.
        """
        weight = self.alpha * at.multiplicity
        return gradient.moved(at.penalised, weight) if weight else gradient

    def along(self, factors: Factors, direction: Factors) -> Array:
        """The ridge at ``factors + t * direction`` as a polynomial in t.

        Parameters
        ----------
        factors, direction : Factors

        Returns
        -------
        ndarray of shape (5,)
            Coefficients, the constant term first; those of degree three and four are
            zero.
        """
        if not self.alpha:
            return np.zeros(5)
        slope = factors.multiplicity * factors.penalised.inner(direction)
        coefficients = [0.5 * factors.ridge(), slope, 0.5 * direction.ridge(), 0.0, 0.0]
        return self.alpha * np.array(coefficients)

    def excess(self, slope: float) -> float:
        """By how much the loss falls faster than the ridge rises along a new column.

        Parameters
        ----------
        slope : float
            The decrease of the loss per unit of the singular value of the column.
        """
        return max(0.0, slope - self.alpha)
