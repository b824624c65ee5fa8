"""Rows of labels, counts and the like, given what was learned of their columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy import sparse

from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.rows import ColumnPosterior, RowPosterior
from skprecgd.variational.tuning import ROWS
from skprecgd.variational.working import Working


@dataclass(frozen=True)
class WorkingColumns:
    """What the columns of a data matrix say of a row whose entries have some loss.

    Coordinates of a row are counted from its prior mean, which belongs to the offsets:
    a row that shows nothing has none.

    Attributes
    ----------
    columns : ColumnPosterior
        Given working responses.
    loss : Loss
        Of entries in units of the columns.
    """

    columns: ColumnPosterior
    loss: Loss
    n_draws: ClassVar[int] = 0

    @property
    def basis(self) -> Array:
        """What each coordinate of a row adds to its entries, (n_columns, f)."""
        return self.columns.basis

    @property
    def centre(self) -> Array:
        """The prior mean of a row, (f,)."""
        unknown = self.columns.unknown
        return np.asarray(unknown.pull / unknown.precision)

    @property
    def offsets(self) -> Array:
        """The entries of a row at its prior mean, (n_columns,)."""
        return np.asarray(self.columns.offsets + self.basis @ self.centre)

    def rows(self, entries: sparse.csr_array, weights: Weights = ONCE) -> RowPosterior:
        """The rows that show some entries; see `ColumnPosterior.rows`.

        Rows and their working responses are found in turn, and each row is left as it
        is once it hardly changes, so that it does not depend on those beside it.
        """
        columns, units = self.columns, self.columns.units
        index = entries.indices
        lines = np.repeat(np.arange(entries.shape[0]), np.diff(entries.indptr))
        shift, scale = units.shift[index], units.scale[index]
        working = Working(self.loss, (entries.data.astype(np.float64) - shift) / scale)
        z, mean = working.first(), np.zeros((entries.shape[0], len(self.centre)))
        rows, moves = None, np.ones(len(mean), dtype=bool)
        for _ in range(ROWS.most_rounds):
            values, precision = working.at(z)
            each = precision
            if weights.precision is not None:
                each = each * weights.precision
            responses = with_values(entries, shift + scale * values)
            rows = columns.rows(responses, Weights(weights.frequency, each))
            steps, sizes = (
                np.linalg.norm(part, axis=1) for part in (rows.mean - mean, rows.mean)
            )
            moves, mean = moves & (steps > ROWS.tol * sizes), rows.mean
            if not moves.any():
                break
            fitted = sampled_product(mean, self.basis, lines, index)
            further = (fitted + columns.offsets[index] - shift) / scale
            z = np.where(moves[lines], further, z)
        assert rows is not None
        seen = np.diff(entries.indptr) > 0
        own = np.where(seen[:, None], rows.mean - self.centre, 0.0)
        return replace(rows, mean=own)

    def means(self, entries: sparse.csr_array, weights: Weights = ONCE) -> Array:
        """The means of `rows`."""
        return self.rows(entries, weights).mean
