"""Adds columns to a point: the directions of descent, and how long to make them.

The next columns are the leading singular pairs of the negative gradient (greedy
rank-one pursuit): along the first of them the objective falls fastest. They come in one
of two ways: with the exact length of the leading one, or as zeros that get their length
from the first step, which is linearised where they will be.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import in_precision
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.initialization import make_start
from skprecgd.objective import Evaluation, Objective, PendingEvaluation
from skprecgd.optim.path.cluster import Cluster, Triplets
from skprecgd.optim.path.lone import WithoutLines, are_lone
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.strategy import Strategy
from skprecgd.optim.steps import make_step


class Grower:
    """Makes the first columns of a path, and the next.

    Parameters
    ----------
    strategy : Strategy
    rng : RandomState
        Draws random starts.
    """

    def __init__(self, strategy: Strategy, rng: np.random.RandomState) -> None:
        self.strategy = strategy
        self._objective: Objective = strategy.objective
        self._settings: PathSettings = strategy.settings
        self._unknown = strategy.settings.unknown
        self._tuning = strategy.settings.tuning.growth
        self._rng = rng
        self._cluster = Cluster(
            strategy.objective, self._tuning, strategy.settings.unknown
        )

    def first(self, max_rank: int) -> Evaluation:
        """The start of a path, at rank one or at the rank of a given pair.

        The spectral start is grown from the zero matrix, so several columns may stand
        out and be added there, too.
        """
        init, rank = self._settings.init, 1
        if not isinstance(init, str):
            rank = self._settings.start_rank(max_rank)
        elif init == "spectral":
            grown = self.grow(None, max_rank)
            if grown is not None:
                return grown
        return self._objective.evaluate(self.start(rank))

    def start(self, rank: int) -> Factors:
        """The start that `init` asks for, at a given rank.

        A given pair of fewer columns is grown to it.
        """
        init = self._settings.init
        width = rank if isinstance(init, str) else self._settings.start_rank(rank)
        start = make_start(
            init,
            self._objective,
            width,
            self._unknown,
            random_state=self._rng,
        )
        if width == rank:
            return start
        missing = rank - width
        grown = self.grow(self._objective.evaluate(start), missing, missing)
        return start if grown is None else grown.factors

    def zero(self) -> Factors:
        """The zero matrix by factors of one column."""
        shape, dtype = self._objective.matrix_shape, self._objective.dtype
        return self._unknown.zero(shape, 1, dtype)

    def descends_from_zero(self) -> bool:
        """Whether a rank-one term decreases the objective of the zero matrix.

        Without a ridge that is taken for granted. With one, any direction tells as a
        rule, so that the leading one need not be found.
        """
        penalty = self._objective.penalty
        if not penalty.shrinks:
            return True
        gradient, unknown = self._objective.matrix_gradient_at_zero(), self._unknown
        gradient = penalty.scaled_gradient(unknown.visible(gradient))
        any_vector = np.cos(np.arange(self._objective.matrix_shape[1]))
        probe = any_vector.astype(self._objective.dtype)
        if unknown.surely_descends(gradient, penalty.threshold, probe):
            return True
        return self.grow(None, 1, 1) is not None

    def grow(
        self,
        evaluation: Evaluation | None,
        room: int,
        count: int | None = None,
        *,
        known: Triplets | None = None,
    ) -> Evaluation | None:
        """New columns, or None if no rank-one term decreases the objective.

        Parameters
        ----------
        evaluation : Evaluation or None
            None is the zero matrix.
        room : int
            Largest number of new columns.
        count : int, default=None
            Number of new columns. None takes those that stand out from chance.
        known : tuple of ndarray, default=None
            The `directions` there, if they were asked for before.
        """
        if count is None:
            known = self.directions(evaluation, room) if known is None else known
            u, values, v = known
        else:
            u, values, v = self._descent_directions(evaluation, count)
        descends = values > 0
        if not descends.any():
            return None
        triplets = u[:, descends], values[descends], v[:, descends]
        if self._may_be_measured_later(evaluation, triplets[1]):
            return self._with_columns_ahead(evaluation, triplets)
        return self._with_columns(evaluation, triplets)

    def directions(self, evaluation: Evaluation | None, room: int) -> Triplets:
        """The rank-one terms to grow by: which ones pay does not depend on the room.

        Parameters
        ----------
        evaluation : Evaluation or None
            None is the zero matrix.
        room : int
            Largest number of new columns.
        """
        rank = 0 if evaluation is None else evaluation.factors.rank
        block = self.strategy.block(rank, room)
        most = max(block, self.strategy.plenty(rank))
        if most > 1 and self.strategy.by_clusters:
            found = self._cluster.triplets(evaluation, block, most)
        else:
            found = self._descent_directions(evaluation, block)
        if evaluation is not None and self.strategy.by_clusters:
            found = self._beyond_lines(evaluation, found, most)
        u, values, v = (part[..., :room] for part in found)
        dtype = self._objective.dtype
        return in_precision(u, dtype), values, in_precision(v, dtype)

    def _beyond_lines(
        self, evaluation: Evaluation, found: Triplets, most: int
    ) -> Triplets:
        """The directions that serve more than a line each; a lone one if that is all.

        What serves one line tells that it has not converged yet, and no more.
        """
        lone = are_lone(found, self._lone)
        gradient = self._objective.matrix_gradient(evaluation)
        if lone[0] and sparse.issparse(gradient):
            trimmed = WithoutLines(found, self._lone)
            beside = self._cluster.beside(evaluation, trimmed, most)
            wide = ~are_lone(beside, self._lone)
            if wide.any():
                found, lone = beside, ~wide
        kept = ~lone
        # Something has to be added, and this is what descends fastest.
        kept[0] |= not kept.any()
        u, values, v = found
        return u[:, kept], values[kept], v[:, kept]

    @property
    def _lone(self) -> float:
        return self._settings.tuning.scarce.lone

    def _descent_directions(
        self, evaluation: Evaluation | None, count: int
    ) -> Triplets:
        """Leading pairs of the negative gradient in the matrix."""
        objective, seed = self._objective, self._tuning.seed
        if evaluation is None:
            gradient = objective.matrix_gradient_at_zero()
        else:
            gradient = objective.matrix_gradient(evaluation)
        gradient = objective.penalty.scaled_gradient(self._unknown.visible(gradient))
        # With a ridge the slope must be accurate, to be compared with the ridge.
        tol = 0.0 if objective.penalty.shrinks else self._tuning.direction_tol
        u, values, v = self._unknown.descent(gradient, count, seed, tol=tol)
        u, v = objective.penalty.unscaled(u, v)
        dtype = objective.dtype
        return in_precision(u, dtype), values, in_precision(v, dtype)

    def _with_columns(
        self, evaluation: Evaluation | None, triplets: Triplets
    ) -> Evaluation | None:
        """The point with new columns: the leading one with its exact length.

        The others are in proportion. None where the leading one has no length.
        """
        u, values, v = triplets
        objective = self._objective
        growth = objective.growth(evaluation, u[:, :1], v[:, :1])
        # At an optimum with a ridge, the slope exceeds the ridge by rounding only.
        shrinks = objective.penalty.shrinks
        least = self._settings.tol * objective.data_norm if shrinks else 0.0
        if growth.length <= least:
            return None
        lengths = (growth.length * values / values[0]).astype(objective.dtype)
        factors = self._joined(evaluation, u, lengths, v)
        # The measurements of a single term are known already.
        arrive = growth.arrive if len(values) == 1 else objective.evaluate
        return arrive(factors)

    def _may_be_measured_later(
        self, evaluation: Evaluation | None, values: Array
    ) -> bool:
        """Whether new columns may get their length from the first step with them.

        If they explain little, other columns follow before any step is made.
        """
        objective = self._objective
        rank, loss = 0, 0.5 * objective.data_norm**2
        if evaluation is not None:
            rank, loss = evaluation.factors.rank, evaluation.loss
        # Chance adds to the square of a singular value what random signs have.
        sides = np.sqrt(objective.matrix_shape)
        chance = len(values) * np.sum(sides) ** 2 / objective.n_measurements
        gain = 0.5 * float(np.sum(values**2))
        exact = make_step(self._settings.step_size).minimises
        worthwhile = exact and gain > (self._tuning.measured_later + chance) * loss
        return worthwhile and self.strategy.newton_at_once(rank + len(values))

    def _with_columns_ahead(
        self, evaluation: Evaluation | None, triplets: Triplets
    ) -> Evaluation:
        """The same matrix, which the next step linearises with the new columns.

        Measuring the columns beforehand would take a pass over the data. Their length
        in the linearisation changes the metric only, and it is about right because the
        curvature in the matrix is about one.
        """
        u, values, v = triplets
        start = evaluation or self._objective.at_zero
        lengths = values.astype(self._objective.dtype)
        ahead = self._joined(evaluation, u, lengths, v)
        behind = start.by_factors(ahead.without_last(len(values)), start.value)
        return PendingEvaluation(**vars(behind), ahead=ahead)

    def _joined(
        self, evaluation: Evaluation | None, u: Array, s: Array, v: Array
    ) -> Factors:
        """The balanced factors of a point with ``u diag(s) v^T`` added."""
        if evaluation is None:
            return self._unknown.of_svd(u, s, v)
        balanced = self._objective.penalty.balanced(evaluation.factors)
        return balanced.grown(u, s, v)
