"""Measurements in chunks, of any kind, which are read where dask has them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.groups import Block, ChunkGroups, Groups, merged_groups
from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.naming import MEASUREMENTS, columns_named
from skprecgd._linalg.numerics import norm, square
from skprecgd._linalg.products import all_finite
from skprecgd._runtime.dask_kinds import is_dask_array
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.graph import Broadcast
from skprecgd.distributed.rows import (
    RowChunks,
    Survey,
    array_or_csr,
    as_dask_array,
    read_block,
    weighted_entries,
)
from skprecgd.measurements import DenseMeasurements, EntryMeasurements, Measurements
from skprecgd.measurements.base import Tangent, check_matrix_shape
from skprecgd.measurements.readers import as_measurements


class _Facts(NamedTuple):
    """Facts about a chunk of measurements that the client keeps."""

    length: int
    matrix_shape: tuple[int, int]
    dtype: np.dtype
    dense: bool
    single_entries: bool


@dataclass(frozen=True)
class RandomShare:
    """A random share of a chunk's measurements, drawn where the chunk is.

    Parameters
    ----------
    n_measurements, n_held_out : int
    seed : int
    held_out : bool
        Whether these are the `n_held_out` drawn measurements, or all the others.
    """

    n_measurements: int
    n_held_out: int
    seed: int
    held_out: bool

    def __len__(self) -> int:
        n = self.n_held_out
        return n if self.held_out else self.n_measurements - n

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        order = np.random.RandomState(self.seed).permutation(self.n_measurements)
        n = self.n_held_out
        return np.sort(order[:n] if self.held_out else order[n:])


class ChunkedMeasurements(Measurements, checked=True):
    """Measurements of one matrix in chunks, which stay where dask has them.

    A product calls the chunks' own products; factors and their gradients travel. Some
    methods of `Measurements` return a number for each measurement to the client, but a
    fit with the squared loss leaves those, too, with the chunks.

    Parameters
    ----------
    parts : list
        Measurements, or `dask.delayed.Delayed` ones, of the same matrix. A lazy part
        is computed anew for every product, unless it is persisted.

    See Also
    --------
    skprecgd.measurements.as_measurements : Makes them from a dask array of matrices.
    skprecgd.observed_entries : Makes them from the entries in a dask collection.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.distributed import ChunkedMeasurements
    >>> from skprecgd.measurements import RankOneMeasurements
    >>> rng = np.random.default_rng(0)
    >>> a, b, x = rng.standard_normal((3, 80, 10))
    >>> halves = slice(40), slice(40, None)
    >>> parts = [RankOneMeasurements(a[half], b[half]) for half in halves]
    >>> A = ChunkedMeasurements(parts)
    >>> A
    ChunkedMeasurements(80 measurements of a 10 x 10 matrix, float64)
    >>> M = np.outer(x[0], x[1])
    >>> y = np.einsum("ij,jk,ik->i", a, M, b)
    >>> model = PrecGDMatrixSensing(3).fit(A, y)
    >>> model.n_components_, bool(np.allclose(model.matrix_, M))
    (1, True)
    """

    def __init__(self, parts: list[Any]) -> None:
        if not parts:
            raise ValueError("parts is empty; at least one chunk is needed.")
        parts = graph.as_lazy(list(parts))
        facts = graph.gathered(graph.call_each(_facts, parts))
        shapes = {part.matrix_shape for part in facts}
        if len(shapes) > 1:
            raise ValueError(
                f"The chunks measure matrices of different shapes: {sorted(shapes)}."
            )
        self._set(parts, facts, None, facts[0].matrix_shape)

    def _set(
        self,
        parts: list[Any],
        facts: list[_Facts],
        slices: list[slice] | None,
        matrix_shape: tuple[int, int],
        positions: Array | None = None,
    ) -> None:
        """Fill in the fields.

        `slices` are the rows of the matrix that each part measures (None: all of
        them). `positions` numbers the measurements, part after part (None: in order).
        """
        self.parts, self._facts, self.slices = parts, facts, slices
        self.matrix_shape, self._positions = matrix_shape, positions
        self.dtype = np.result_type(*(part.dtype for part in facts))
        self.single_entries = all(part.single_entries for part in facts)
        self.lengths = [part.length for part in facts]
        # Two numbers for each measurement, gathered when they are first asked for.
        self._cells: tuple[Array, Array] | None = None

    @classmethod
    def of_rows(
        cls,
        parts: list[Any],
        lengths: list[int],
        slices: list[slice],
        matrix_shape: tuple[int, int],
        dtype: np.dtype,
    ) -> ChunkedMeasurements:
        """Entries of a matrix; part i holds those of rows ``slices[i]``."""
        facts = [
            _Facts(n, (s.stop - s.start, matrix_shape[1]), dtype, False, True)
            for n, s in zip(lengths, slices, strict=True)
        ]
        return cls._new(parts, facts, slices, matrix_shape)

    @classmethod
    def _new(cls, *fields: Any) -> ChunkedMeasurements:
        made: ChunkedMeasurements = object.__new__(cls)
        made._set(*fields)
        return made

    @property
    def large_products(self) -> bool:
        return not self.single_entries

    @property
    def n_measurements(self) -> int:
        return int(np.sum(self.lengths))

    @property
    def dense(self) -> bool:
        """Whether the adjoint is an array, small beside the measurements."""
        return all(part.dense for part in self._facts)

    @property
    def disjoint_rows(self) -> bool:
        """Whether no two chunks measure the same row of the matrix."""
        if self.slices is None:
            return len(self.parts) == 1
        rows = sorted((part.start, part.stop) for part in self.slices)
        return all(a[1] <= b[0] for a, b in pairwise(rows))

    # ---- what goes to the chunks and comes back from them

    def rows_of(self, left: Array) -> list[Any] | Broadcast:
        """The rows of the left factor that each chunk needs."""
        if self.slices is None:
            return Broadcast(left)
        return [left[rows] for rows in self.slices]

    def gathered_rows(self, blocks: list[Array]) -> Array:
        """Sum of the blocks, each of which belongs to the rows of its chunk."""
        if self.slices is None:
            return np.sum(blocks, axis=0, dtype=blocks[0].dtype)
        gathered = np.zeros((self.matrix_shape[0], *blocks[0].shape[1:]), self.dtype)
        for rows, block in zip(self.slices, blocks, strict=True):
            gathered[rows] += block
        return gathered

    def scattered(self, vector: Array) -> list[Array]:
        """A vector with one number for each measurement, split by chunks."""
        if self._positions is not None:
            vector = vector[self._positions]
        return np.split(vector, np.cumsum(self.lengths)[:-1])

    def targets(self, y: Any) -> list[Any]:
        """The targets by chunk; those in a dask array or a list by chunk stay lazy."""
        if isinstance(y, list):
            return y
        if not is_dask_array(y):
            return self.scattered(np.asarray(y))
        if self._positions is not None:
            return self.scattered(np.asarray(y.compute()))
        return graph.blocks(y.rechunk((tuple(self.lengths),)))

    def values(self, vector: Any) -> Any:
        """Numbers by chunk as one vector in memory; others are as they were."""
        if not isinstance(vector, list):
            return vector
        return self._gathered(graph.gathered(graph.as_lazy(vector)))

    def _gathered(self, vectors: list[Array]) -> Array:
        joined = np.concatenate(vectors)
        if self._positions is None:
            return joined
        vector = np.empty_like(joined)
        vector[self._positions] = joined
        return vector

    # ---- the contract

    def forward(self, left: Array, right: Array) -> Array:
        calls = graph.call_each(
            _forward, self.parts, self.rows_of(left), common=(right,)
        )
        return self._gathered(graph.gathered(calls))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        lefts, d_lefts = self.rows_of(left), self.rows_of(d_left)
        calls = graph.call_each(
            _forward_ray, self.parts, lefts, d_lefts, common=(right, d_right)
        )
        both = graph.gathered(calls)
        linear, quadratic = zip(*both, strict=True)
        return self._gathered(list(linear)), self._gathered(list(quadratic))

    def forward_tangent(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> Array:
        lefts, d_lefts = self.rows_of(left), self.rows_of(d_left)
        calls = graph.call_each(
            _forward_tangent, self.parts, lefts, d_lefts, common=(right, d_right)
        )
        return self._gathered(graph.gathered(calls))

    def tangent(self, left: Array, right: Array) -> Tangent:
        kept = self.contracted(left, right)
        if kept is None:
            return Tangent(self, left, right)
        return _ChunkedTangent(self, kept)

    def contracted(self, left: Array, right: Array) -> list[Any] | None:
        """The tangents of all chunks, kept with dask.

        They hold measurement matrices contracted with the factors. None where these
        would not be smaller than the measurement matrices themselves.
        """
        n_rows, n_columns = self.matrix_shape
        if not self.dense or (n_rows + n_columns) * left.shape[1] >= n_rows * n_columns:
            return None
        calls = graph.call_each(
            _tangent, self.parts, self.rows_of(left), common=(right,)
        )
        return list(graph.persisted(calls))

    def adjoint(self, weights: Array) -> Any:
        return self.adjoint_of(self.scattered(weights))

    def adjoint_of(self, weights: list[Any]) -> Any:
        """The adjoint of weights that are split by chunks, lazy or not."""
        if self.dense:
            calls = graph.call_each(_adjoint, self.parts, weights)
            return np.asarray(graph.gathered(graph.summed(calls)))
        return ChunkedAdjoint(self, weights)

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        calls = graph.call_each(
            _adjoint_products,
            self.parts,
            self.scattered(weights),
            self.rows_of(left),
            common=(right,),
        )
        to_left, to_right = graph.unpacked(calls, 2)
        blocks, to_right = graph.gathered((to_left, graph.summed(to_right)))
        return self.gathered_rows(blocks), to_right

    def rows(self, index: Array) -> ChunkedMeasurements:
        index = np.asarray(index)
        if self._positions is not None:
            index = np.argsort(self._positions)[index]
        edges = np.concatenate([[0], np.cumsum(self.lengths)])
        chunk = np.searchsorted(edges, index, side="right") - 1
        # The sort is stable, so that measurements of a chunk keep their order.
        order = np.argsort(chunk, kind="stable")
        bounds = np.searchsorted(chunk[order], np.arange(len(self.parts) + 1))
        local = [
            index[order[a:b]] - edge
            for a, b, edge in zip(bounds, bounds[1:], edges, strict=False)
        ]
        positions = None if np.all(order[1:] > order[:-1]) else order
        return self.selected(local, positions)

    def selected(
        self, local: list[Any], positions: Array | None = None
    ) -> ChunkedMeasurements:
        """The measurements at the `local` positions of each chunk.

        A `RandomShare` stands for positions, too.
        """
        parts = graph.call_each(_selected, self.parts, local)
        if self.single_entries:
            # Selecting takes longer than a product, and chunks of entries are kept
            # with dask anyway.
            parts = list(graph.persisted(parts))
        facts = [
            part._replace(length=len(index))
            for part, index in zip(self._facts, local, strict=True)
        ]
        chosen = self._new(parts, facts, self.slices, self.matrix_shape, positions)
        chosen.row_labels = self.row_labels
        chosen.column_labels = self.column_labels
        return chosen

    def cells(self, index: Array | None = None) -> tuple[Array, Array] | None:
        if not self.single_entries:
            return None
        if self._cells is None:
            pairs = graph.gathered(graph.call_each(_cells, self.parts))
            firsts = [part.start for part in self.slices or ()] or [0] * len(pairs)
            down = [i + first for (i, _), first in zip(pairs, firsts, strict=True)]
            self._cells = self._gathered(down), self._gathered([j for _, j in pairs])
        rows, columns = self._cells
        return self._cells if index is None else (rows[index], columns[index])

    def line_counts(self, often: Any = None) -> tuple[Array, Array]:
        """See `Measurements.line_counts`; `often` may be a list by chunk."""
        often = [None] * len(self.parts) if often is None else self.targets(often)
        calls = graph.call_each(_line_counts, self.parts, often)
        down, across = graph.unpacked(calls, 2)
        blocks, columns = graph.gathered((down, graph.summed(across)))
        rows = np.zeros(self.matrix_shape[0])
        whole = slice(0, self.matrix_shape[0])
        for part, block in zip(
            self.slices or [whole] * len(blocks), blocks, strict=True
        ):
            rows[part] += block
        return rows, columns

    def groups(self, *, symmetric: bool = False) -> Groups:
        if not self.single_entries:
            return super().groups(symmetric=symmetric)
        chunks = graph.gathered(graph.call_each(_groups, self.parts))
        slices = self.slices or [slice(None)] * len(self.parts)
        return merged_groups(chunks, slices, self.matrix_shape, symmetric=symmetric)

    def of_group(self, block: Block) -> tuple[ChunkedMeasurements, list[int], Any]:
        """The entries of one of the `groups`, kept with dask.

        Parameters
        ----------
        block : Block
            The rows and columns of the group.

        Returns
        -------
        measurements : ChunkedMeasurements
        chunks : list of int
            The chunks that have some of these entries.
        index : list
            Which entries of such a chunk they are: a lazy array for each.
        """
        down, across = (
            _numbered(lines, n)
            for lines, n in zip(
                (block.rows, block.columns), self.matrix_shape, strict=True
            )
        )
        slices = self.slices or [slice(0, self.matrix_shape[0])] * len(self.parts)
        rows = [down[part] - _first(down[part]) for part in slices]
        calls = graph.call_each(_of_group, self.parts, rows, common=(across,))
        parts, index = graph.unpacked(calls, 2)
        lengths, (parts, index) = graph.gathered_and_persisted(
            graph.call_each(len, index), (parts, index)
        )
        chunks = [k for k, length in enumerate(lengths) if length]
        starts = [_first(down[slices[k]]) for k in chunks]
        widths = [int(np.sum(down[slices[k]] >= 0)) for k in chunks]
        made = self.of_rows(
            [parts[k] for k in chunks],
            [lengths[k] for k in chunks],
            [slice(a, a + n) for a, n in zip(starts, widths, strict=True)],
            block.shape,
            self.dtype,
        )
        return made, chunks, [index[k] for k in chunks]

    def _mean_square(self) -> float:
        if self.single_entries:
            return 1.0 / (self.matrix_shape[0] * self.matrix_shape[1])
        return square(self._size())

    def _size(self) -> float:
        sizes = np.array(graph.gathered(graph.call_each(_size, self.parts)))
        lengths = np.array(self.lengths)
        return norm(np.sqrt(lengths) * sizes) / float(np.sqrt(max(1, lengths.sum())))

    def scaled(self, factor: float) -> ChunkedMeasurements:
        parts = graph.call_each(_scaled, self.parts, common=(factor,))
        return self._new(
            parts, self._facts, self.slices, self.matrix_shape, self._positions
        )

    def weighted_mean_square(self, weights: Array) -> float:
        return self.weighted_mean_square_of(self.scattered(weights))

    def weighted_mean_square_of(self, weights: list[Any]) -> float:
        """`weighted_mean_square` for weights that are split by chunks, lazy or not."""
        if self.single_entries:
            return self.mean_square
        sums = graph.gathered(
            graph.summed(graph.call_each(_weighted, self.parts, weights))
        )
        squares, total = sums
        return float(squares / total)


class ChunkedAdjoint(Matrix):
    """``sum_i weights_i A_i``, one pass over the chunks a product.

    Parameters
    ----------
    measurements : ChunkedMeasurements
    weights : list
        One array for each chunk, lazy or not.
    """

    def __init__(self, measurements: ChunkedMeasurements, weights: list[Any]) -> None:
        super().__init__(measurements.matrix_shape, measurements.dtype)
        self._a, self._weights = measurements, weights

    def gram_operator(self) -> LinearOperator | None:
        # A product with ``S^T S`` is one pass, unless chunks share rows of S.
        if not self._a.disjoint_rows:
            return None

        def times(block: Array) -> Array:
            block = np.asarray(block, self.dtype).reshape(len(block), -1)
            calls = graph.call_each(
                _adjoint_gram, self._a.parts, self._weights, common=(block,)
            )
            return np.asarray(graph.gathered(graph.summed(calls)))

        n = self.shape[1]
        return LinearOperator((n, n), matvec=times, matmat=times, dtype=self.dtype)

    def times(self, block: Array) -> Array:
        calls = graph.call_each(
            _adjoint_times, self._a.parts, self._weights, common=(block,)
        )
        return self._a.gathered_rows(graph.gathered(calls))

    def transposed_times(self, block: Array) -> Array:
        calls = graph.call_each(
            _adjoint_transposed_times,
            self._a.parts,
            self._weights,
            self._a.rows_of(block),
        )
        return np.asarray(graph.gathered(graph.summed(calls)))


class _ChunkedTangent(Tangent):
    """The chunks' measurement matrices contracted with the factors, kept there."""

    def __init__(self, measurements: ChunkedMeasurements, kept: list[Any]) -> None:
        self._a, self._kept = measurements, kept

    def forward(self, d_left: Array, d_right: Array) -> Array:
        calls = graph.call_each(
            _forward_of, self._kept, self._a.rows_of(d_left), common=(d_right,)
        )
        return self._a._gathered(graph.gathered(calls))

    def adjoint(self, weights: Array) -> tuple[Array, Array]:
        calls = graph.call_each(_adjoint_of, self._kept, self._a.scattered(weights))
        to_left, to_right = graph.gathered(graph.summed(calls))
        return to_left, to_right


# Measurements of dask collections -----------------------------------------------------


def chunked_stack(X: Any, matrix_shape: tuple[int, int] | None) -> ChunkedMeasurements:
    """Measurement matrices in a dask array, (n, cells) or (n, n_rows, n_columns)."""
    X = as_dask_array(X, 2, 3)
    if X.ndim == 3:
        own = (int(X.shape[1]), int(X.shape[2]))
        if matrix_shape is not None and tuple(matrix_shape) != own:
            raise ValueError(
                f"matrix_shape={tuple(matrix_shape)} does not match measurement "
                f"matrices of shape {own}."
            )
        matrix_shape = own
    else:
        matrix_shape = check_matrix_shape(matrix_shape, int(X.shape[1]))
    # Every chunk must hold whole measurements.
    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    blocks = [
        block for block, n in zip(graph.blocks(X), X.chunks[0], strict=True) if n > 0
    ]
    parts = graph.call_each(_checked, blocks, common=(matrix_shape,))
    measurements = ChunkedMeasurements(parts)
    if measurements.dense:
        # Chunks are read again for every product, but checked for infinities only once.
        measurements.parts = graph.call_each(_stack, blocks, common=(matrix_shape,))
    else:
        # Sparse chunks are small, and slow to sort: they are kept with dask.
        measurements.parts = list(graph.persisted(parts))
    return measurements


def lazy_targets(y: Any, measurements: ChunkedMeasurements) -> Any:
    """A dask array of targets, checked in one pass; it stays with dask."""
    y = as_dask_array(y, 1, name="y")
    if len(y) != len(measurements):
        raise ValueError(
            f"X holds {len(measurements)} measurements and y {len(y)} values; they "
            "must agree."
        )
    finite = graph.gathered(graph.call_each(_finite_targets, graph.blocks(y)))
    if not all(finite):
        raise ValueError("y holds NaN or infinity.")
    return y


def chunked_entries(
    chunks: RowChunks, missing_values: float, survey: Survey
) -> tuple[ChunkedMeasurements, list[Any], Any]:
    """Observed entries of a matrix, kept with dask, and their values.

    Parameters
    ----------
    chunks : RowChunks
    missing_values : nan or 0
    survey : Survey

    Returns
    -------
    measurements : ChunkedMeasurements
    values : list
        Lazy arrays, one for each chunk.
    weights : list or None
        The same for the weights; None where the chunks have none.
    """
    calls = graph.call_each(
        _entries, chunks.blocks, chunks.weights, common=(missing_values,)
    )
    parts, values, often = graph.persisted(tuple(graph.unpacked(calls, 3)))
    measurements = ChunkedMeasurements.of_rows(
        parts, list(survey.chunk_sizes), chunks.slices, chunks.shape, chunks.dtype
    )
    return measurements, values, None if chunks.weights[0] is None else often


# Functions that run on a chunk --------------------------------------------------------


def _facts(part: Measurements) -> _Facts:
    if not isinstance(part, Measurements):
        raise ValueError(f"A chunk holds a {type(part).__name__}, not Measurements.")
    dense = part.keeps_adjoint
    shape, n = part.matrix_shape, part.n_measurements
    return _Facts(n, shape, part.dtype, dense, part.single_entries)


def _cells(part: Measurements) -> Any:
    return part.cells()


def _line_counts(part: Measurements, often: Array | None) -> tuple[Array, Array]:
    return part.line_counts(often)


def _groups(part: Measurements) -> ChunkGroups:
    cells = part.cells()
    assert cells is not None
    return ChunkGroups.of(*cells, part.matrix_shape)


def _numbered(lines: Array, n: int) -> Array:
    """The place of each of n lines among some of them; -1 for all others."""
    places = np.full(n, -1)
    places[lines] = np.arange(len(lines))
    return places


def _first(places: Array) -> int:
    """The least place that is one; 0 if none is."""
    inside = places[places >= 0]
    return int(inside.min()) if inside.size else 0


def _of_group(
    part: Measurements, down: Array, across: Array
) -> tuple[EntryMeasurements, Array]:
    cells = part.cells()
    assert cells is not None
    rows, columns = down[cells[0]], across[cells[1]]
    index = np.flatnonzero((rows >= 0) & (columns >= 0))
    # A chunk that has no row of the group has none of its entries, and is left out.
    shape = max(1, int(np.sum(down >= 0))), int(np.sum(across >= 0))
    return EntryMeasurements(rows[index], columns[index], shape, part.dtype), index


def _checked(block: Any, matrix_shape: tuple[int, int]) -> Measurements:
    with columns_named(block, MEASUREMENTS):
        return as_measurements(block, matrix_shape)


def _finite_targets(block: Any) -> bool:
    return all_finite(unmasked(block, "y"))


def _stack(block: Any, matrix_shape: tuple[int, int]) -> Measurements:
    return DenseMeasurements.of(
        array_or_csr(block).reshape(len(block), -1), matrix_shape
    )


def _entries(
    block: Any, weights: Any, missing_values: float
) -> tuple[EntryMeasurements, Array, Array | None]:
    block, missing_values = read_block(block, missing_values)
    rows, columns, values, often = weighted_entries(block, missing_values, weights)
    measured = EntryMeasurements(rows, columns, block.shape, values.dtype)
    return measured, values, often


def _forward(part: Measurements, left: Array, right: Array) -> Array:
    return part.forward(left, right)


def _forward_ray(
    part: Measurements, left: Array, d_left: Array, right: Array, d_right: Array
) -> tuple[Array, Array]:
    return part.forward_ray(left, right, d_left, d_right)


def _forward_tangent(
    part: Measurements, left: Array, d_left: Array, right: Array, d_right: Array
) -> Array:
    return part.forward_tangent(left, right, d_left, d_right)


def _tangent(part: Measurements, left: Array, right: Array) -> Tangent:
    return part.tangent(left, right)


def _forward_of(tangent: Tangent, d_left: Array, d_right: Array) -> Array:
    return tangent.forward(d_left, d_right)


def _adjoint_of(tangent: Tangent, weights: Array) -> tuple[Array, Array]:
    return tangent.adjoint(weights)


def _adjoint(part: Measurements, weights: Array) -> Array:
    return np.asarray(part.adjoint(weights))


def _adjoint_products(
    part: Measurements, weights: Array, left: Array, right: Array
) -> tuple[Array, Array]:
    return part.adjoint_products(weights, left, right)


def _adjoint_times(part: Measurements, weights: Array, block: Array) -> Array:
    return np.asarray(part.adjoint(weights) @ block)


def _adjoint_gram(part: Measurements, weights: Array, block: Array) -> Array:
    matrix = part.adjoint(weights)
    return np.asarray(matrix.T @ (matrix @ block))


def _adjoint_transposed_times(
    part: Measurements, weights: Array, block: Array
) -> Array:
    return np.asarray(part.adjoint(weights).T @ block)


def _selected(part: Measurements, index: Any) -> Measurements:
    return part.rows(np.asarray(index))


def values_at(values: Array, index: Any) -> Array:
    """Values at an index or a `RandomShare`."""
    return values[np.asarray(index)]


def _weighted(part: Measurements, weights: Array) -> Array:
    """The weighted sum of the mean squares, and the sum of the weights."""
    total = float(np.sum(weights))
    mean = part.weighted_mean_square(weights) if total > 0 else 0.0
    return np.array([total * mean, total])


def _size(part: Measurements) -> float:
    # The cached property cannot be used: in Python 3.11 all instances share its lock,
    # which the client holds while it waits for the chunks.
    return part._size() if part.n_measurements else 0.0


def _scaled(part: Measurements, factor: float) -> Measurements:
    return part.scaled(factor)
