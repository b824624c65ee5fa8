"""How entries are distributed, by a chain of draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Self

import numpy as np
from scipy import sparse

from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import Pattern, packed_squares
from skprecgd.objective import Weights
from skprecgd.variational.draws import ColumnDraw, ColumnDraws, spread_out
from skprecgd.variational.posterior import Posterior
from skprecgd.variational.predictive import LearnedEntries, variances_drawn


@dataclass(frozen=True)
class DrawnPredictive(LearnedEntries):
    """The distributions of entries of a matrix that draws were made of.

    Given a draw of the columns, a row is Gaussian. Means and variances are those of the
    mixture.

    Attributes
    ----------
    columns : ColumnDraws
    values : ndarray of shape (nnz,)
        The observed entries, in the order of `seen`.
    """

    columns: ColumnDraws
    values: Array

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        entries: sparse.csr_array,
        weights: Weights,
        *,
        rows_differ: bool = True,
    ) -> DrawnPredictive:
        parts = cls._parts(posterior, entries, weights, rows_differ=rows_differ)
        return cls(**parts, values=entries.data)

    def of_rows(self, entries: sparse.csr_array) -> Self:
        return replace(self, **self._parts_of_rows(entries), values=entries.data)

    def draws(
        self,
        rows: Array,
        columns: Array,
        rng: np.random.RandomState,
        noise: Array | None = None,
    ) -> Iterator[Array]:
        if not len(rows):
            yield from repeat(np.zeros(0))
        lines, of_rows = np.unique(rows, return_inverse=True)
        pattern, units = self._pattern(lines), self.columns.units.at(columns)
        features = self._features(lines)
        while True:
            for k in rng.permutation(len(self.columns.draws)):
                draw = self.columns.draws[k]
                chance = rng.standard_normal((len(lines), len(draw.variances)))
                found = draw.solved(pattern, features, chance).values[of_rows]
                mean = draw.shift[columns] + _products(found, draw, columns)
                own = noise
                if own is None:
                    of_lines = variances_drawn(self.row_noise, lines, rng)
                    own = of_lines[of_rows] * self._of_columns(draw, columns)
                chance = self.chance(own, columns, rng)
                yield units.shift + units.scale * mean + chance

    def _of_columns(self, draw: ColumnDraw, columns: Array) -> Array:
        """The variances of the noise of columns in a draw."""
        precision = draw.precision[columns].astype(np.float64)
        known = precision > 0
        scale = self.columns.units.scale[columns]
        own = scale**2 / np.where(known, precision, 1.0)
        return np.where(known, own, self.noise.variance[columns])

    def _variances(self, rows: Array, columns: Array) -> Array:
        lines, where = np.unique(rows, return_inverse=True)
        pattern, draws = self._pattern(lines), self.columns.draws
        features = self._features(lines)
        first = total = squares = np.zeros(len(rows))
        for k, draw in enumerate(draws):
            mean = draw.solved(pattern, features).mean[where]
            found = draw.shift[columns] + _products(mean, draw, columns)
            # Squares of differences from a number nearby lose nothing.
            first = found if k == 0 else first
            total = total + (found - first)
            squares = squares + (found - first) ** 2
        n = len(draws)
        between = np.maximum(squares - total**2 / n, 0.0) / max(1, n - 1)
        chosen = spread_out(n, self.columns.tuning.covariances)
        within = sum(self._given(draws[k], lines, where, columns) for k in chosen)
        found = between + within / len(chosen)
        if self.columns.knows_unseen:
            unseen = self.counts[columns] == 0
            means = [draws[k].solved(pattern, features).mean for k in chosen]
            each = [
                _of_unseen(draws[k], mean)
                for k, mean in zip(chosen, means, strict=True)
            ]
            found += np.where(unseen, np.mean(each, axis=0)[where], 0.0)
        return found

    def _given(
        self, draw: ColumnDraw, lines: Array, where: Array, columns: Array
    ) -> Array:
        """The variances of entries given a draw of the columns."""
        basis = draw.basis.astype(np.float64)
        f = basis.shape[1]
        products = packed_squares(basis)
        grams = self.seen[lines] @ (draw.precision[:, None] * products)
        inverse = np.zeros((len(lines), f, f))
        upper = np.triu_indices(f)
        inverse[:, upper[0], upper[1]] = inverse[:, upper[1], upper[0]] = grams
        inverse[:, np.arange(f), np.arange(f)] += 1.0 / draw.variances
        roots = np.linalg.inv(np.linalg.cholesky(inverse))
        own = np.einsum("nij,nj->ni", roots[where], basis[columns])
        return np.sum(own**2, axis=1)

    def _features(self, lines: Array) -> Array | None:
        """Turned features of some rows; one that was never seen has none."""
        features = self.columns.features
        if features is None:
            return None
        known = (lines >= 0) & (lines < len(features))
        return np.where(known[:, None], features[np.where(known, lines, 0)], 0.0)

    def _pattern(self, lines: Array) -> Pattern:
        """The observed entries of some rows."""
        seen, values = self.seen, with_values(self.seen, self.values)
        part = values[lines]
        weights = None
        if seen.dtype != np.int8:
            weights = seen[lines].data
        return self.columns.pattern(part, weights)


def _of_unseen(draw: ColumnDraw, rows: Array) -> Array:
    """The prior variance of entries of rows in a column without entries."""
    own = draw.own_variances
    assert own is not None
    return np.asarray(rows[:, : len(own) - 1] ** 2 @ own[:-1] + own[-1])


def _products(rows: Array, draw: ColumnDraw, columns: Array) -> Array:
    return np.einsum("ij,ij->i", rows, draw.basis[columns])
