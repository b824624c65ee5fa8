"""Groups of rows and columns that share no observed entry.

Rows and columns are the nodes of a bipartite graph and observed entries its edges. Two
of its connected components have nothing to do with one another: no low-rank model of
the one says anything of the other, nor of the entries between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from skprecgd._runtime.typing import Array

# Sweeps from one row that must reach all others, to do without a search of the graph.
_SWEEPS = 4
# Entries for each row and column that are enough to connect nearly all random patterns.
_PER_LINE = 16
# Entries that are looked at together (8 MB of indices), unless there are more lines.
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of rows and columns of a matrix that share no observed entry.

    Group 0 has the most observed entries, group 1 the next, and so on. All zero where
    there is but one group.

    Attributes
    ----------
    rows : ndarray of int, shape (n_rows,)
        The group of each row; -1 for a row without an observed entry.
    columns : ndarray of int, shape (n_columns,)
        The group of each column; -1 for a column without an observed entry.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDFactorization
    >>> model = PrecGDFactorization(1)
    >>> model.fit([[6.0, 2.0], [3.0, 1.0]]).groups_.rows.tolist()
    [0, 0]
    """

    rows: Array
    columns: Array

    @classmethod
    def one(cls, seen: tuple[Array, Array]) -> Groups:
        """All rows and columns with an observed entry in one group.

        Parameters
        ----------
        seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
            Which rows and which columns have an observed entry.
        """
        return cls(*(mask.astype(np.int32) - 1 for mask in seen))

    @property
    def seen(self) -> tuple[Array, Array]:
        """Which rows and which columns have an observed entry, as two masks."""
        return self.rows >= 0, self.columns >= 0

    @property
    def n_groups(self) -> int:
        """How many groups there are; rows and columns of group -1 are in none."""
        return int(np.max(self.rows, initial=-1)) + 1

    def shapes(self) -> list[tuple[int, int]]:
        """How many rows and how many columns each group has."""
        counts = (
            np.bincount(labels[labels >= 0], minlength=self.n_groups).tolist()
            for labels in (self.rows, self.columns)
        )
        return list(zip(*counts, strict=True))

    def blocks(self) -> list[Block]:
        """Rows and columns of each group."""
        shape = len(self.rows), len(self.columns)
        members = (
            members_of(labels, self.n_groups) for labels in (self.rows, self.columns)
        )
        return [
            Block(rows, columns, shape) for rows, columns in zip(*members, strict=True)
        ]

    def cut(self, rows: Array, columns: Array) -> list[Cut]:
        """The entries of each group.

        Parameters
        ----------
        rows, columns : ndarray of int, shape (n_entries,)
            Where the entries stand in the whole matrix.
        """
        blocks = self.blocks()
        down = local_positions([b.rows for b in blocks], len(self.rows))
        across = local_positions([b.columns for b in blocks], len(self.columns))
        members = members_of(self.rows[rows], len(blocks))
        return [
            Cut(block, at, down[rows[at]], across[columns[at]])
            for block, at in zip(blocks, members, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Block:
    """The rows and the columns of a group: a part of a matrix.

    Attributes
    ----------
    rows, columns : ndarray of int
        Their positions in the whole matrix, ascending.
    whole_shape : tuple of int
        Shape of the whole matrix.
    """

    rows: Array
    columns: Array
    whole_shape: tuple[int, int]

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape of the part."""
        return len(self.rows), len(self.columns)

    def all_seen(self) -> tuple[Array, Array]:
        """Which rows and columns of the part have an entry: all of them."""
        rows, columns = (np.ones(n, dtype=bool) for n in self.shape)
        return rows, columns


@dataclass(frozen=True, eq=False)
class Cut:
    """The entries of a group.

    Attributes
    ----------
    block : Block
    index : ndarray of int, shape (n,)
        Positions of the entries among all entries.
    rows, columns : ndarray of int, shape (n,)
        Where the entries stand in the group's own matrix.
    """

    block: Block
    index: Array
    rows: Array
    columns: Array


def connected_groups(
    rows: Array,
    columns: Array,
    seen: tuple[Array, Array],
    *,
    symmetric: bool = False,
) -> Groups:
    """The connected components of a pattern of observed entries.

    Parameters
    ----------
    rows, columns : ndarray of int, shape (n_entries,)
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
        Which rows and which columns have an observed entry.
    symmetric : bool, default=False
        Whether row i and column i are the same node, because they share a factor.

    Returns
    -------
    Groups
    """
    if symmetric:
        both = seen[0] | seen[1]
        seen = (both, both)
    if not len(rows):
        return Groups.one(seen)
    stride = max(1, len(rows) // (_PER_LINE * (len(seen[0]) + len(seen[1]))))
    some = slice(None, None, stride)
    if _reach_all(rows[some], columns[some], seen):
        return Groups.one(seen)
    first = 0 if symmetric else len(seen[0])
    labels = np.arange(first + len(seen[1]))
    for part in (some, *_parts(len(rows), len(labels))):
        labels = _linked(labels, rows[part], columns[part].astype(np.intp) + first)
    found = labels[: len(seen[0])], labels[first:]
    return _by_size(found, seen, np.bincount(found[0][rows]))


class ChunkGroups(NamedTuple):
    """The groups of a chunk of rows, which others may connect.

    Attributes
    ----------
    groups : Groups
        Of the rows of the chunk, and of all columns.
    sizes : ndarray of shape (n_groups,)
        How many entries each of them has.
    """

    groups: Groups
    sizes: Array

    @classmethod
    def complete(cls, n_rows: int, n_columns: int) -> ChunkGroups:
        """The one group of a chunk without missing entries."""
        groups = Groups.one((np.ones(n_rows, bool), np.ones(n_columns, bool)))
        return cls(groups, np.array([n_rows * n_columns]))

    @classmethod
    def of(cls, rows: Array, columns: Array, shape: tuple[int, int]) -> ChunkGroups:
        """The groups of the entries of a chunk.

        Parameters
        ----------
        rows, columns : ndarray of int, shape (n_entries,)
        shape : tuple of int
            Rows of the chunk, and all columns.
        """
        seen = tuple(np.zeros(n, dtype=bool) for n in shape)
        seen[0][rows], seen[1][columns] = True, True
        groups = connected_groups(rows, columns, (seen[0], seen[1]))
        return cls(groups, np.bincount(groups.rows[rows], minlength=groups.n_groups))


def merged_groups(
    chunks: Sequence[ChunkGroups],
    slices: Sequence[slice],
    shape: tuple[int, int],
    *,
    symmetric: bool = False,
) -> Groups:
    """The groups of a matrix in chunks, given those of each chunk.

    Parameters
    ----------
    chunks : sequence of ChunkGroups
    slices : sequence of slice
        The rows of each chunk.
    shape : tuple of int
        Of the whole matrix.
    symmetric : bool, default=False
        As in `connected_groups`.
    """
    first = 0 if symmetric else shape[0]
    seen = tuple(np.zeros(n, dtype=bool) for n in shape)
    # The nodes are the rows, the columns and the groups of the chunks.
    ends = np.cumsum([first + shape[1], *(len(chunk.sizes) for chunk in chunks)])
    labels = np.arange(ends[-1])
    for chunk, part, own in zip(chunks, slices, ends, strict=False):
        for lines, mask, groups in (
            (np.arange(shape[0])[part], seen[0], chunk.groups.rows),
            (np.arange(shape[1]), seen[1], chunk.groups.columns),
        ):
            there = groups >= 0
            mask[lines[there]] = True
            nodes = lines[there] + (first if mask is seen[1] else 0)
            labels = _linked(labels, nodes, own + groups[there])
    if symmetric:
        seen = (seen[0] | seen[1], seen[0] | seen[1])
    sizes = np.concatenate([chunk.sizes for chunk in chunks])
    counts = np.bincount(labels[ends[0] :], sizes)
    found = labels[: shape[0]], labels[first : ends[0]]
    return _by_size(found, (seen[0], seen[1]), counts)


def members_of(labels: Array, n_groups: int) -> list[Array]:
    """The ascending positions of each label from 0 to ``n_groups - 1``."""
    # Sorting 16-bit integers takes a time proportional to their number.
    small = n_groups < 2**15
    labels = labels.astype(np.int16) if small else labels
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(n_groups + 1))
    return [order[a:b] for a, b in pairwise(bounds)]


def local_positions(parts: list[Array], size: int) -> Array:
    """The place of each position within its part; zero for those in no part."""
    local = np.zeros(size, dtype=np.int32 if size < 2**31 else np.int64)
    for part in parts:
        local[part] = np.arange(len(part))
    return local


def _reach_all(rows: Array, columns: Array, seen: tuple[Array, Array]) -> bool:
    """Whether a few sweeps from one row reach every row and column with an entry."""
    at_rows = np.zeros(len(seen[0]), dtype=bool)
    at_columns = at_rows if seen[0] is seen[1] else np.zeros(len(seen[1]), dtype=bool)
    at_rows[rows[len(rows) // 2]] = True
    for _ in range(_SWEEPS):
        at_columns[columns[at_rows[rows]]] = True
        at_rows[rows[at_columns[columns]]] = True
        if np.array_equal(at_rows, seen[0]) and np.array_equal(at_columns, seen[1]):
            return True
    return False


def _parts(n_entries: int, n_lines: int) -> Iterator[slice]:
    # A search takes as long as there are lines, even for few entries.
    length = max(_CHUNK, 4 * n_lines)
    for start in range(0, n_entries, length):
        yield slice(start, start + length)


def _linked(labels: Array, nodes: Array, others: Array) -> Array:
    """The labels after nodes are linked with others, pair by pair."""
    a, b = labels[nodes], labels[others]
    apart = a != b
    if not apart.any():
        return labels
    links = (a[apart], b[apart])
    n = len(labels)
    graph = sparse.coo_array((np.ones(len(links[0]), dtype=bool), links), shape=(n, n))
    return connected_components(graph.tocsr(), directed=False)[1][labels]


def _by_size(
    labels: tuple[Array, Array], seen: tuple[Array, Array], counts: Array
) -> Groups:
    """The labels numbered anew, the most entries first; -1 where nothing is seen."""
    numbers = np.empty(len(counts), dtype=np.int32)
    numbers[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    none, pairs = np.int32(-1), zip(labels, seen, strict=True)
    return Groups(
        *(np.where(mask, numbers[np.where(mask, own, 0)], none) for own, mask in pairs)
    )
