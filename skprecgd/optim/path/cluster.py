"""The directions to add to a point: those that stand out from chance.

Measurements and noise give the gradient singular values of their own. Flipping the
signs of the residuals at random gives such values and no others, and the largest of
them is the edge of chance (signflip parallel analysis). A larger singular value is
real, and where measurements are plentiful all real directions can be added at once
instead of one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.bidiagonal import spectrum
from skprecgd._runtime.typing import Array
from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.path.lone import WithoutLines
from skprecgd.optim.path.tuning import GrowthTuning
from skprecgd.unknown.base import GENERAL, Unknown

Triplets = tuple[Array, Array, Array]


class Cluster:
    """The directions of descent that stand out from chance, point after point.

    Parameters
    ----------
    objective : Objective
        Least squares, with residuals whose signs are chance where only noise is left.
    tuning : GrowthTuning, optional
    unknown : Unknown, optional
        What is searched for; all matrices if it is not given.
    """

    def __init__(
        self,
        objective: Objective,
        tuning: GrowthTuning | None = None,
        unknown: Unknown = GENERAL,
    ) -> None:
        self._objective, self._unknown = objective, unknown
        self._tuning = GrowthTuning() if tuning is None else tuning
        # The singular value that a direction must exceed, as a share of the residual.
        self._level = 0.0

    def triplets(
        self, evaluation: Evaluation | None, least: int, most: int
    ) -> Triplets:
        """The directions that stand out, at most `most`; `least` where none does."""
        objective = self._objective
        if evaluation is None:
            gradient, residual = objective.matrix_gradient_at_zero(), 1.0
        else:
            gradient = objective.matrix_gradient(evaluation)
            residual = evaluation.relative_residual
        most = self._at_most(least, most)
        known = self._level > 0
        if not known:
            self._level = self._level_of(evaluation, residual)
        level = self._level * residual
        u, values, v = self._above(gradient, least, most, level)
        # As a share of the residual the edge hardly changes. Where only one direction
        # stands out from the edge of the point before, that edge is good enough.
        if known and len(values) > 1:
            self._level = self._level_of(evaluation, residual)
            count = _standing_out(values, self._level * residual) or least
            u, values, v = u[:, :count], values[:count], v[:, :count]
        # The triplets are those of the gradient; the descent has the other sign.
        return -u, values, v

    def beside(
        self, evaluation: Evaluation, trimmed: WithoutLines, most: int
    ) -> Triplets:
        """The directions that stand out once some lines are left out, if any do.

        A line with a large residual raises the edge of chance, and hides others.

        Parameters
        ----------
        evaluation : Evaluation
            Its gradient in the matrix is a CSR array.
        trimmed : WithoutLines
        most : int
        """
        objective, tuning = self._objective, self._tuning
        gradient = trimmed.of(objective.matrix_gradient(evaluation))
        flipped = trimmed.of(objective.sign_flipped_gradient(evaluation, tuning.seed))
        level = self._edge(flipped)
        u, values, v = self._above(gradient, 1, self._at_most(1, most), level)
        count = _standing_out(values, level)
        return -u[:, :count], values[:count], v[:, :count]

    def _at_most(self, least: int, most: int) -> int:
        return min(most, max(least, self._tuning.most))

    def _level_of(self, evaluation: Evaluation | None, residual: float) -> float:
        """The edge of chance and a margin, as a share of the residual."""
        seed = self._tuning.seed
        flipped = self._objective.sign_flipped_gradient(evaluation, seed)
        return self._edge(flipped) / residual

    def _edge(self, flipped: Any) -> float:
        """The leading singular value of a matrix of random signs, with a margin."""
        tuning = self._tuning
        chance = spectrum(
            self._unknown.visible(flipped), np.random.RandomState(tuning.seed)
        )
        chance.until(lambda values, errors: errors[0] <= tuning.edge_tol * values[0])
        return tuning.stands_out * float(chance.values[0])

    def _above(self, gradient: Any, least: int, most: int, level: float) -> Triplets:
        """The leading triplets down to a level, at most `most`; `least` if none is."""
        tuning = self._tuning

        def count(values: Array) -> int:
            return min(most, _standing_out(values, level) or least)

        def enough(values: Array, errors: Array) -> bool:
            # One more than stands out is computed: it might yet turn out to be larger.
            n_known = min(count(values) + 1, most)
            few = n_known <= least + 1
            tol = tuning.direction_tol if few else tuning.several_tol
            found = errors[:n_known] <= tol * values[:n_known]
            return len(found) == n_known and bool(np.all(found))

        search = spectrum(
            self._unknown.visible(gradient), np.random.RandomState(tuning.seed)
        )
        search.until(enough)
        return search.triplets(count(search.values))


def _standing_out(values: Array, level: float) -> int:
    """How many singular values exceed a level."""
    return int(np.sum(values > level))
