"""Whether the leading Ritz values of a Krylov space hold enough of the energy.

Ritz values are squared singular values, seen from below; they rise to these, the faster
the further they have come. So the gain of the next steps is at most that of a geometric
series whose ratio is that of the last two gains.
"""

from __future__ import annotations

import numpy as np

from skprecgd._linalg.svd_tuning import EnergyGoal
from skprecgd._runtime.typing import Array

_TINY = np.finfo(np.float64).tiny


class EnergyJudge:
    """Compares the Ritz values after a step with those of the two steps before.

    Parameters
    ----------
    rank : int
        How many values are wanted.
    total : float
        Sum of all squared singular values.
    goal : EnergyGoal
    """

    def __init__(self, rank: int, total: float, goal: EnergyGoal) -> None:
        self._rank, self._total, self._goal = rank, total, goal
        self._seen: list[Array] = []

    @property
    def size(self) -> int:
        """Ritz values that it takes to judge."""
        return self._rank + self._goal.oversamples + 1

    @property
    def values(self) -> Array:
        """The last Ritz values, descending."""
        return self._seen[-1]

    @property
    def allowed(self) -> float:
        """The energy that may be missing."""
        k, goal, values = self._rank, self._goal, self.values
        left = max(self._total - float(np.sum(values[:k])), 0.0)
        least = goal.least * left
        if values[k - 1] <= 0.0 or len(values) < self.size:
            return least
        power = 2 * goal.iterations + 1
        rival = values[k - 1] * (values[-1] / values[k - 1]) ** power
        return float(np.clip(goal.of_rival * rival, least, goal.left * left))

    @property
    def missing(self) -> float:
        """The energy that is still to come, by the last gains."""
        k = self._rank
        before, last = self._gains()
        return float(self._to_come(before[:k].sum(), last[:k].sum()))

    def take(self, values: Array) -> None:
        """Take note of the Ritz values after a step, descending."""
        self._seen = [*self._seen[-2:], values[: self.size]]

    def forget(self) -> None:
        """Wait for new gains: the space no longer grows as it did."""
        self._seen = self._seen[-1:]

    def enough(self, *, waits: bool = True) -> bool:
        """Whether further steps would add too little to be worth them.

        Parameters
        ----------
        waits : bool, default=True
            Whether the energy is waited for, beside the values that stand apart.
        """
        if len(self._seen) < 3:
            return False
        k, goal, values = self._rank, self._goal, self.values
        rounding = goal.rounding * self._total
        if waits and self.missing > max(self.allowed, rounding):
            return False
        before, last = self._gains()
        apart = values[:k] > goal.apart * values[k : k + 1].sum()
        errors = self._to_come(before[:k], last[:k])[apart]
        # A value's relative error is half of that of its square.
        most = np.maximum(2.0 * goal.values * values[:k][apart], rounding)
        return bool(np.all(errors <= most))

    def is_below(self, share: float) -> bool:
        """Whether a wanted singular value will hardly rise to a share of the largest.

        After two steps that show all of them they have come far, but not all the way.
        """
        values = self.values
        few = len(self._seen) < 2 or len(values) < self._rank
        least = (self._goal.risen * share) ** 2
        return not few and bool(values[self._rank - 1] < least * values[0])

    def may_hide(self, width: int) -> bool:
        """Whether a value is there as often as blocks of that width can show it.

        It matters where lower values are among the wanted ones.
        """
        values = self.values[: self._rank + 1]
        if len(values) <= width or values[0] <= 0.0:
            return False
        alike = 1.0 - self._goal.alike
        first, last = values[: -width + 1 or None], values[width - 1 :]
        repeated = (last >= alike * first) & (values[-1] < alike * first)
        return bool(np.any(repeated & (first > self._goal.rounding * values[0])))

    def _gains(self) -> tuple[Array, Array]:
        first, second, third = self._seen
        pairs = ((first, second), (second, third))
        n = min(map(len, self._seen))
        before, last = (np.maximum(b[:n] - a[:n], 0.0) for a, b in pairs)
        return before, last

    def _to_come(self, before: Array, last: Array) -> Array:
        ratio = np.minimum(last / np.maximum(before, _TINY), self._goal.slowest)
        return np.asarray(last * ratio / (1.0 - ratio))
