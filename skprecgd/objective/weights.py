"""How much each measurement counts: how often it was made, and how precisely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class Weights:
    """Weights of a list of measurements.

    A *frequency* says how often a measurement was made: a measurement of frequency two
    counts like two measurements wherever measurements are counted or summed. A
    *precision* says how exact it is, as the inverse of the variance of its noise: it
    weighs the squared residual and leaves the number of measurements what it is.

    Attributes
    ----------
    frequency : ndarray of shape (n_measurements,) or None
        Positive; None is one each.
    precision : ndarray of shape (n_measurements,) or None
        Positive, the mean over all measurements (each as often as it was made) being
        one; None is one each.
    """

    frequency: Array | None = None
    precision: Array | None = None

    @property
    def of_losses(self) -> Array | None:
        """What the loss of each measurement is multiplied with; None is one."""
        if self.frequency is None or self.precision is None:
            return self.precision if self.frequency is None else self.frequency
        return self.frequency * self.precision

    def count(self, n_measurements: int) -> float:
        """How many measurements there are, each counted as often as it was made."""
        if self.frequency is None:
            return n_measurements
        return float(np.sum(self.frequency, dtype=np.float64))

    def at(self, index: Any) -> Weights:
        """The weights of the measurements at an index."""
        return Weights(
            None if self.frequency is None else self.frequency[index],
            None if self.precision is None else self.precision[index],
        )


ONCE = Weights()
"""Every measurement once, all of them equally precise."""
