"""How many directions to add at a time: those that stand out from chance.

Measurements and noise give the gradient singular values of their own, and flipping the
signs of the residuals at random gives such values and no others: the largest is the
edge of chance. What stands out from it is real, and where measurements are plentiful
all of that can be added at once instead of one direction after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._typing import Array
from skprecgd.initialization import leading_triplets
from skprecgd.losses import SquaredLoss
from skprecgd.objective import Evaluation, Objective, SampledObjective

# The edge differs from one draw of the signs to the next by two in a hundred.
_STANDS_OUT = 1.1
# Directions looked at first, and at most: more are looked for where all of them stand
# out, which is rarely the case.
_FEW, _MOST = 3, 16
_SEED = 0

Triplets = tuple[Array, Array, Array]


class Cluster:
    """The directions of descent that stand out from chance, point after point.

    Parameters
    ----------
    objective : Objective
    tol : float
        Of the singular triplets; see `leading_triplets`.
    """

    def __init__(self, objective: Objective, tol: float) -> None:
        self._objective = objective
        self._tol = tol
        self._edge_of_residual = 0.0

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
        found = self._leading(gradient, min(max(least, _FEW), most))
        # As a share of the residual the edge hardly changes: where only one direction
        # stands out from what it was before, it need not be known better.
        next_one = found[1][min(least, len(found[1]) - 1)]
        if next_one <= _STANDS_OUT * self._edge_of_residual * residual:
            return _first(found, least)
        level = _STANDS_OUT * self._edge(evaluation)
        self._edge_of_residual = level / (_STANDS_OUT * residual)
        if found[1][-1] > level and len(found[1]) < most:
            found = self._leading(gradient, most)
        return _first(found, max(least, int(np.sum(found[1] > level))))

    def _edge(self, evaluation: Evaluation | None) -> float:
        """The largest singular value that chance gives the gradient."""
        objective = self._objective
        assert isinstance(objective, SampledObjective)
        flipped = objective.sign_flipped_gradient(evaluation, _SEED)
        return float(self._leading(flipped, 1)[1][0])

    def _leading(self, gradient: Any, count: int) -> Triplets:
        """Of the descent direction, which is not formed."""
        u, values, v = leading_triplets(gradient, count, _SEED, tol=self._tol)
        return -u, values, v


def _first(triplets: Triplets, count: int) -> Triplets:
    u, values, v = triplets
    return u[:, :count], values[:count], v[:, :count]
