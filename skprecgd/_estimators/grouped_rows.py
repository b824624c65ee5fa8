"""Coordinates of rows where groups of columns share no observed entry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skprecgd._estimators.data import VisibleRows
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.rows import RowSolver
from skprecgd._runtime.typing import Array


class GroupedRows(RowSolver):
    """Each group's own solver, for what a row shows in the columns of the group.

    A component is zero outside the columns of its group, so that the coordinates of a
    row are as many separate problems as there are groups that it shows something of.

    Parameters
    ----------
    solvers : sequence of RowSolver
        The largest group first; its loss is that of scores.
    ranks : sequence of int
        How many components of each group stand for more than rounding.
    columns : sequence of ndarray of int
        The columns of each group.
    components : sequence of ndarray of int
        The components of each group, in the order of its solver.
    """

    def __init__(
        self,
        solvers: Sequence[RowSolver],
        ranks: Sequence[int],
        columns: Sequence[Array],
        components: Sequence[Array],
    ) -> None:
        first = solvers[0]
        self.solvers = [
            solver.leading(len(own))
            for solver, own in zip(solvers, components, strict=True)
        ]
        self.ranks = list(ranks)
        self.columns, self.components = list(columns), list(components)
        ridge = np.zeros(sum(len(own) for own in components))
        for solver, own in zip(self.solvers, components, strict=True):
            ridge[own] = solver.ridge
        super().__init__(first.loss, ridge, first.each_entry, tuning=first.tuning)

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        out = np.zeros((rows.shape[0], len(self.ridge)), space.basis.dtype)
        parts = zip(
            self.solvers,
            self.ranks,
            self.columns,
            self.components,
            rows.by_columns(self.columns),
            strict=True,
        )
        for solver, rank, columns, own, (which, visible) in parts:
            if len(which) and len(own):
                basis = space.basis[np.ix_(columns, own)]
                part = RowSpace(basis, space.offsets[columns], rank)
                out[np.ix_(which, own)] = solver.coordinates(visible, part)
        return out

    def score(self, values: Array, predictions: Array, weight: Array | None) -> float:
        return self.solvers[0].score(values, predictions, weight)
