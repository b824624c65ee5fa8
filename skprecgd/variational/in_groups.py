"""Entries of a matrix whose groups of rows and columns were learned each alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from scipy import sparse

from skprecgd._linalg.groups import Block, local_positions, members_of
from skprecgd._runtime.typing import Array
from skprecgd.variational.predictive import Distribution, EntryDistributions


@dataclass(frozen=True)
class DistributionsInGroups(EntryDistributions):
    """Each group's distributions; a row is unknown to the columns of other groups.

    Attributes
    ----------
    blocks : sequence of Block
        Rows and columns of each group.
    parts : sequence of EntryDistributions
    elsewhere : ndarray of shape (n_columns,)
        Means of the entries of columns that are in none of the groups.
    """

    blocks: Sequence[Block]
    parts: Sequence[EntryDistributions]
    elsewhere: Array

    @property
    def typical_variance(self) -> float:
        return float(np.mean([part.typical_variance for part in self.parts]))

    def means(self, rows: Array, columns: Array) -> Array:
        found = self.elsewhere[columns]
        for part, cells, own, others in self._shared_out(rows, columns):
            found[cells] = part.means(own, others)
        return found

    def at(
        self, rows: Array, columns: Array, noise: Array | None = None
    ) -> Distribution:
        variance, ones = self.typical_variance, np.ones(len(columns))
        found = Distribution(
            self.elsewhere[columns], variance * ones, 0.0 * ones, np.inf * ones
        )
        for part, cells, own, others in self._shared_out(rows, columns):
            here = part.at(own, others, None if noise is None else noise[cells])
            for name in fields(Distribution):
                getattr(found, name.name)[cells] = getattr(here, name.name)
        return found

    def draws(
        self,
        rows: Array,
        columns: Array,
        rng: np.random.RandomState,
        noise: Array | None = None,
    ) -> Iterator[Array]:
        shares = []
        for part, cells, own, others in self._shared_out(rows, columns):
            given = None if noise is None else noise[cells]
            shares.append((cells, part.draws(own, others, rng, given)))
        mean, scale = self.elsewhere[columns], np.sqrt(self.typical_variance)
        while True:
            drawn = mean + scale * rng.standard_normal(len(columns))
            for cells, draws in shares:
                drawn[cells] = next(draws)
            yield drawn

    def of_rows(self, entries: sparse.csr_array) -> Self:
        parts, blocks = [], []
        for part, block in zip(self.parts, self.blocks, strict=True):
            shown = entries[:, block.columns]
            rows = np.flatnonzero(np.diff(shown.indptr))
            parts.append(part.of_rows(shown[rows]))
            blocks.append(Block(rows, block.columns, entries.shape))
        return replace(self, parts=parts, blocks=blocks)

    def _shared_out(
        self, rows: Array, columns: Array
    ) -> Iterator[tuple[EntryDistributions, Array, Array, Array]]:
        """The parts, which entries lie in their columns, and where these are."""
        n_columns = self.blocks[0].whole_shape[1]
        across = local_positions([block.columns for block in self.blocks], n_columns)
        of_column = np.full(n_columns, -1)
        for k, block in enumerate(self.blocks):
            of_column[block.columns] = k
        members = members_of(of_column[columns], len(self.blocks))
        for k, (part, cells) in enumerate(zip(self.parts, members, strict=True)):
            if len(cells):
                own = _places(self.blocks[k].rows, rows[cells])
                yield part, cells, own, across[columns[cells]]


def _places(lines: Array, wanted: Array) -> Array:
    """Where some lines stand among others, which are ascending; -1 if they do not."""
    if not len(lines):
        return np.full(len(wanted), -1)
    found = np.minimum(np.searchsorted(lines, wanted), len(lines) - 1)
    return np.where(lines[found] == wanted, found, -1)
