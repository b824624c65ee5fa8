"""How much each measurement counts: how often it was made, and how precisely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import dot, power_of_two
from skprecgd._runtime.typing import Array
from skprecgd.losses import Loss


@dataclass(frozen=True)
class Weights:
    """Weights of a list of measurements, of two kinds that mean different things.

    A *frequency* says how often a measurement was made: one of frequency two counts
    like two measurements wherever measurements are counted or summed. A *precision*
    says how exact a measurement is, as the inverse of the variance of its noise: it
    weighs the squared residual and leaves the number of measurements what it is.

    Attributes
    ----------
    frequency : ndarray of shape (n_measurements,), default=None
        Positive; None is one each.
    precision : ndarray of shape (n_measurements,), default=None
        Positive, the mean over all measurements (each as often as it was made) being
        one; None is one each.
    unit_variance : float, default=None
        The variance of the noise of a measurement of precision one, if it is known.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.objective import Weights
    >>> Weights(frequency=np.array([1.0, 3.0])).count(2)
    4.0
    >>> Weights(precision=np.array([0.5, 1.5])).count(2)
    2.0
    """

    frequency: Array | None = None
    precision: Array | None = None
    unit_variance: float | None = None

    @property
    def unit(self) -> float:
        """A power of two near the largest factor of a loss.

        The objective divides the factors by it, which rounds nothing, so that their
        size does not matter to the range of floating-point numbers.
        """
        each = self.of_losses
        return 1.0 if each is None else power_of_two(float(np.max(each, initial=0.0)))

    @property
    def of_losses(self) -> Array | None:
        """The factor of the loss of each measurement; None is one."""
        if self.frequency is None or self.precision is None:
            return self.precision if self.frequency is None else self.frequency
        return self.frequency * self.precision

    @property
    def losses_divided_by(self) -> float:
        """The sum of the weighted losses, over that of losses by inverse variance."""
        return 1.0 if self.unit_variance is None else self.unit_variance

    def count(self, n_measurements: int) -> float:
        """How many measurements there are, each counted as often as it was made."""
        if self.frequency is None:
            return float(n_measurements)
        return float(np.sum(self.frequency, dtype=np.float64))

    def at(self, index: Any) -> Weights:
        """The weights of the measurements at an index."""
        return Weights(
            None if self.frequency is None else self.frequency[index],
            None if self.precision is None else self.precision[index],
            self.unit_variance,
        )

    @classmethod
    def joined(cls, parts: Sequence[Weights]) -> Weights:
        """The weights of several lists, one after the other, of the same kinds.

        Parameters
        ----------
        parts : sequence of Weights
            At least one.
        """
        frequency, precision = (
            None
            if getattr(parts[0], name) is None
            else np.concatenate([getattr(part, name) for part in parts])
            for name in ("frequency", "precision")
        )
        return cls(frequency, precision, parts[0].unit_variance)

    def made_less_often(self, factor: float) -> Weights:
        """The weights with frequencies divided by a factor."""
        if self.frequency is None or factor == 1.0:
            return self
        return replace(self, frequency=self.frequency / factor)

    def alone(self, index: Any) -> Weights:
        """The weights of the measurements at an index, as if there were no others.

        Their precisions have mean one again.
        """
        part = self.at(index)
        if part.precision is None or not len(part.precision):
            return part
        mean = float(np.average(part.precision, weights=part.frequency))
        unit = self.unit_variance
        return Weights(
            part.frequency, part.precision / mean, None if unit is None else unit / mean
        )


ONCE = Weights()
"""Every measurement once, all of them equally precise."""


@dataclass(frozen=True)
class WeightedLoss:
    """The loss of a list of weighted measurements; see `Loss` for what is computed.

    Attributes
    ----------
    loss : Loss
    weights : Weights
    dtype : dtype
        Type in which the arithmetic is done.
    unit : float, default=1.0
        The factors of the losses are divided by it; see `Weights.unit`.
    """

    loss: Loss
    weights: Weights
    dtype: np.dtype
    unit: float = 1.0

    @cached_property
    def each(self) -> Array | None:
        """The factors of the single losses, in working precision; None is one."""
        each = self.weights.of_losses
        if each is None:
            return None
        return (each / self.unit).astype(self.dtype, copy=False)

    def total(self, z: Array, y: Array) -> float:
        """Sum of the weighted losses."""
        return self.loss.total(z, y, self.each)

    def slopes(self, z: Array, y: Array, scale: Any) -> Array:
        """`scale` times the derivative of `total` with respect to each prediction."""
        return self.loss.slopes(z, y, scale, self.each)

    def curvatures(self, z: Array, y: Array, scale: float) -> Any:
        """`scale` times the second derivatives, one number if all are the same."""
        return self.loss.curvatures(z, y, self.dtype.type(scale), self.each)

    def polynomial(self, z: Array, y: Array, z1: Array, z2: Array) -> Array | None:
        """`total` along ``z + t z1 + t^2 z2``, if it is of degree four in t."""
        return self.loss.polynomial(z, y, z1, z2, self.each)

    def size(self, y: Array, scale: float) -> float:
        """``sqrt(2 * scale * total)`` at predictions of zero."""
        return self.loss.size(y, scale, self.each)

    def pull(self, z: Array, y: Array) -> Array:
        """The derivative of `total`; callers must not write to it."""
        pull = self.loss.gradient(z, y)
        return pull if self.each is None else self.each * pull

    def gain(self, z: Array, other: Array, y: Array) -> Array:
        """By how much `total` is lower at other predictions, and the sum of squares.

        Returns
        -------
        ndarray of shape (2,)
            The gain, and the squared gains of all measurements, each counted as often
            as it was made.
        """
        return self._sums(self.loss.pointwise(z, y) - self.loss.pointwise(other, y))

    def effective_number(self, z: Array, y: Array) -> float:
        """The number of equal losses that would have this sum and sum of squares."""
        losses = self.loss.pointwise(z, y)
        largest = float(np.max(losses, initial=0.0))
        if not 0 < largest < np.inf:
            return 0.0
        total, squares = self._sums(losses / largest)
        return float(total**2 / squares)

    def _sums(self, losses: Array) -> Array:
        """The weighted sum of losses, and the sum of their squares."""
        if self.weights.precision is not None:
            losses = self.weights.precision * losses
        often = self.weights.frequency
        repeated = losses if often is None else often * losses
        return np.array([np.sum(repeated, dtype=np.float64), dot(repeated, losses)])
