"""How many directions to add at a time: those that stand out from chance.

Measurements and noise give the gradient singular values of their own, and flipping the
signs of the residuals at random gives such values and no others: the largest is the
edge of chance. What stands out from it is real, and where measurements are plentiful
all of that can be added at once instead of one direction after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.bidiagonal import spectrum
from skprecgd._runtime.typing import Array
from skprecgd.losses import SquaredLoss
from skprecgd.objective import Evaluation, Objective, SampledObjective

# The edge differs from one draw of the signs to the next by two in a hundred.
_STANDS_OUT = 1.1
# To what share of itself the edge is wanted.
_EDGE_TOL = 0.03
# Nearly equal values come up one after the other: where several stand out, as close as
# this, so that none of them is missed.
_SEVERAL_TOL = 0.003
# Directions added at most.
_MOST = 32
_SEED = 0

Triplets = tuple[Array, Array, Array]


class Cluster:
    """The directions of descent that stand out from chance, point after point.

    Parameters
    ----------
    objective : Objective
    tol : float
        By what share of its singular value a direction may miss being a singular
        vector.
    """

    def __init__(self, objective: Objective, tol: float) -> None:
        self._objective = objective
        self._tol = tol
        self._level = 0.0

    @staticmethod
    def applies(objective: Objective) -> bool:
        """Whether the residuals are such that their signs may be flipped."""
        return (
            # Not what is derived from it: gross errors must not be explained.
            type(objective) is SampledObjective
            and isinstance(objective.loss, SquaredLoss)
            and objective.alpha == 0
        )

    def triplets(
        self, evaluation: Evaluation | None, least: int, most: int
    ) -> Triplets:
        """As many directions as stand out, at least and at most so many."""
        objective = self._objective
        if evaluation is None:
            gradient, residual = objective.matrix_gradient_at_zero(), 1.0
        else:
            gradient = objective.matrix_gradient(evaluation)
            residual = evaluation.relative_residual
        most = min(most, max(least, _MOST))
        known = self._level > 0
        if not known:
            self._level = self._level_of(evaluation, residual)
        u, values, v = self._outstanding(gradient, least, most, residual)
        # As a share of the residual the edge hardly changes: where only one direction
        # stands out from what it was before, it need not be known better.
        if known and len(values) > least:
            self._level = self._level_of(evaluation, residual)
            count = max(least, int(np.sum(values > self._level * residual)))
            u, values, v = u[:, :count], values[:count], v[:, :count]
        # Of the descent direction, which is not formed.
        return -u, values, v

    def _level_of(self, evaluation: Evaluation | None, residual: float) -> float:
        """What stands out is larger than this, as a share of the residual."""
        objective = self._objective
        assert isinstance(objective, SampledObjective)
        flipped = objective.sign_flipped_gradient(evaluation, _SEED)
        chance = spectrum(flipped, np.random.RandomState(_SEED))
        chance.until(lambda values, errors: errors[0] <= _EDGE_TOL * values[0])
        return _STANDS_OUT * float(chance.values[0]) / residual

    def _outstanding(
        self, gradient: Any, least: int, most: int, residual: float
    ) -> Triplets:
        """Leading triplets down to the level, at least and at most so many."""
        level = self._level * residual

        def count(values: Array) -> int:
            return min(most, max(least, int(np.sum(values > level))))

        def enough(values: Array, errors: Array) -> bool:
            # One more than stand out, or it might yet turn out to be larger.
            n_known = min(count(values) + 1, most)
            tol = self._tol if n_known <= least + 1 else _SEVERAL_TOL
            found = errors[:n_known] <= tol * values[:n_known]
            return len(found) == n_known and bool(np.all(found))

        search = spectrum(gradient, np.random.RandomState(_SEED))
        search.until(enough)
        return search.triplets(count(search.values))
