"""Pointwise losses: what a prediction z costs when the target is y.

A loss sees vectors of predictions and targets, nothing of matrices or factors.
It is averaged over the measurements and scaled by the objective.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from skprecgd._typing import Array


class Loss(ABC):
    """Contract of a pointwise loss.

    Attributes
    ----------
    name : str
        The value of the estimators' `loss` parameter.
    curvature_bound : float
        Upper bound of the second derivative in z; the objective divides by it,
        so that every loss has a curvature of about one.
    homogeneous : bool
        Whether scaling predictions and targets together only scales the loss,
        so that the data may be brought to unit scale before optimizing.
    """

    name: str
    curvature_bound: float
    homogeneous: bool

    @abstractmethod
    def value(self, z: Array, y: Array) -> float:
        """Sum of the losses over all measurements."""

    @abstractmethod
    def gradient(self, z: Array, y: Array) -> Array:
        """Derivative with respect to each prediction, shape (n_measurements,)."""

    @abstractmethod
    def curvature(self, z: Array, y: Array) -> Array:
        """Second derivative (or a bound of it) at each prediction."""

    def target_check(self, y: Array) -> None:
        """Raise ValueError if `y` holds targets this loss has no meaning for."""
        if not np.all(np.isfinite(y)):
            raise ValueError(
                f"loss={self.name!r} needs finite targets; y holds NaN or infinity."
            )


class SquaredLoss(Loss):
    """Half the squared residual, ``(z - y)^2 / 2``.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import SquaredLoss
    >>> SquaredLoss().value(np.array([3.0, 0.0]), np.array([1.0, 0.0]))
    2.0
    """

    name = "squared"
    curvature_bound = 1.0
    homogeneous = True

    def value(self, z: Array, y: Array) -> float:
        residual = z - y
        return 0.5 * float(residual @ residual)

    def gradient(self, z: Array, y: Array) -> Array:
        return z - y

    def curvature(self, z: Array, y: Array) -> Array:
        return np.ones_like(z)
