"""A complete matrix over chunks of its rows: products, and a basis that stays there."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from skprecgd._linalg.left_basis import LeftBasis
from skprecgd._linalg.matrices import Matrix, as_matrix
from skprecgd._linalg.numerics import norm
from skprecgd._linalg.offsets import subtract
from skprecgd._linalg.orthogonal import is_independent
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.rows import RowChunks, array_or_csr


class ChunkedMatrix(Matrix):
    """``X - rows 1^T - 1 columns^T`` for X in chunks of rows, never gathered.

    Parameters
    ----------
    chunks : RowChunks
    row_offsets, column_offsets : ndarray of shape (n_rows,), (n_columns,)
    """

    large_products = True

    def __init__(
        self, chunks: RowChunks, row_offsets: Array, column_offsets: Array
    ) -> None:
        super().__init__(chunks.shape, chunks.dtype)
        self.slices = chunks.slices
        # The blocks are lazy and computed again for every product: X is never held.
        if row_offsets.any() or column_offsets.any():
            rows = [row_offsets[part] for part in chunks.slices]
            self.blocks = graph.call_each(
                _centred, chunks.blocks, rows, common=(column_offsets,)
            )
        else:
            self.blocks = graph.call_each(array_or_csr, chunks.blocks)

    def frobenius_norm(self) -> float:
        sizes = graph.gathered(graph.call_each(_size, self.blocks))
        return norm(np.array(sizes))

    def gram(self) -> Array:
        return np.asarray(
            graph.gathered(graph.summed(graph.call_each(_gram, self.blocks)))
        )

    def both_products(self, left: Array, right: Array) -> tuple[Array, Array]:
        lefts = [self._cast(left[part]) for part in self.slices]
        right = self._cast(right)
        calls = graph.call_each(_both, self.blocks, lefts, common=(right,))
        images, sums = graph.unpacked(calls, 2)
        images, back = graph.gathered((images, graph.summed(sums)))
        return np.concatenate(images), back

    def left_basis(self, capacity: int) -> LeftBasis:
        # The rows of the basis stay with those of X.
        return ChunkedBasis(self)

    def times(self, block: Array) -> Array:
        calls = graph.call_each(_times, self.blocks, common=(self._cast(block),))
        return np.concatenate(graph.gathered(calls))

    def transposed_times(self, block: Array) -> Array:
        blocks = [self._cast(block[part]) for part in self.slices]
        sums = graph.call_each(_transposed_times, self.blocks, blocks)
        return np.asarray(graph.gathered(graph.summed(sums)))

    def _cast(self, block: Array) -> Array:
        return block.astype(self.dtype, copy=False)


class ChunkedBasis(LeftBasis):
    """Orthonormal columns whose rows stay with the chunks of the matrix.

    Every chunk of X is read twice per block, once for each product; what travels are
    blocks of n_columns rows and triangles of one block's width (the QR decomposition
    is that of tall and skinny matrices, TSQR).

    Parameters
    ----------
    X : ChunkedMatrix of shape (n_rows, n_columns)
    """

    def __init__(self, X: ChunkedMatrix) -> None:
        self._chunks = X
        # For each chunk, the parts that make up its rows of U, side by side.
        self._parts: list[list[Any]] = [[] for _ in X.blocks]

    def expand(self, block: Array, known: Array) -> tuple[Array, Array, Array]:
        calls = graph.call_each(
            _image, self._chunks.blocks, self._parts, common=(block, known)
        )
        images, sums = graph.unpacked(calls, 2)
        (squares, correction), images = graph.gathered_and_persisted(
            graph.summed(sums), images
        )
        scale = float(np.sqrt(np.max(squares, initial=0.0)))
        q, turns, triangle = self._triangulated(images, correction)
        if not is_independent(triangle, scale):
            # A visible remainder of the basis may be left, so it is removed once more.
            calls = graph.call_each(_turned, q, turns, self._parts)
            images, sums = graph.unpacked(calls, 2)
            again, images = graph.gathered_and_persisted(graph.summed(sums), images)
            q, turns, outer = self._triangulated(images, again)
            triangle = outer @ triangle
        new, sums = graph.unpacked(
            graph.call_each(_back, self._chunks.blocks, q, turns), 2
        )
        back, new = graph.gathered_and_persisted(graph.summed(sums), new)
        self._parts = [[*parts, u] for parts, u in zip(self._parts, new, strict=True)]
        self.size += triangle.shape[0]
        return known + correction, triangle, np.asarray(back)

    def _triangulated(
        self, images: list[Any], correction: Array
    ) -> tuple[list[Any], list[Array], Array]:
        """QR of the images minus their part in U, first in every chunk by itself.

        Returns
        -------
        q : list
            Lazy arrays, one for each chunk.
        turns : list of ndarray
            The matrices by which each `q` is to be multiplied.
        triangle : ndarray
        """
        calls = graph.call_each(_reduced, images, self._parts, common=(correction,))
        q, r = graph.unpacked(calls, 2)
        r, q = graph.gathered_and_persisted(r, q)
        turn, triangle = linalg.qr(np.concatenate(r), mode="economic")
        edges = np.cumsum([len(part) for part in r])[:-1]
        return q, np.split(turn, edges), triangle.astype(np.float64)

    def times(self, small: Array) -> Array:
        calls = graph.call_each(_combined, self._parts, common=(small,))
        return np.concatenate(graph.gathered(calls))

    def restart(self, small: Array) -> None:
        calls = graph.call_each(_combined, self._parts, common=(small,))
        kept = graph.persisted(calls)
        self._parts = [[part] for part in kept]
        self.size = small.shape[1]


# Functions that run on a chunk --------------------------------------------------------


def _centred(block: Any, rows: Array, columns: Array) -> Any:
    return subtract(array_or_csr(block), rows, columns)


def _size(block: Any) -> float:
    return as_matrix(block).frobenius_norm()


def _gram(block: Any) -> Array:
    return as_matrix(block).gram()


def _times(block: Any, right: Array) -> Array:
    return np.asarray(block @ right)


def _transposed_times(block: Any, left: Array) -> Array:
    return np.asarray(block.T @ left)


def _both(block: Any, left: Array, right: Array) -> tuple[Array, Array]:
    return _times(block, right), _transposed_times(block, left)


def _image(
    block: Any, parts: list[Array], right: Array, known: Array
) -> tuple[Array, tuple[Array, Array]]:
    """``X right`` less its known part in U.

    Also the squared norms of its columns before that, and its part in U after it.
    """
    image = _times(block, right)
    squares = np.einsum("ij,ij->j", image, image, dtype=np.float64)
    if not parts:
        return image, (squares, known)
    basis = np.hstack(parts)
    image = image - basis @ known.astype(image.dtype)
    return image, (squares, (basis.T @ image).astype(np.float64))


def _reduced(
    image: Array, parts: list[Array], correction: Array
) -> tuple[Array, Array]:
    if parts:
        image = image - np.hstack(parts) @ correction.astype(image.dtype)
    q, r = linalg.qr(image, mode="economic", check_finite=False)
    return q, r


def _turned(q: Array, turn: Array, parts: list[Array]) -> tuple[Array, Array]:
    image = q @ turn
    if not parts:
        return image, np.zeros((0, image.shape[1]))
    return image, (np.hstack(parts).T @ image).astype(np.float64)


def _back(block: Any, q: Array, turn: Array) -> tuple[Array, Array]:
    new = q @ turn
    return new, _transposed_times(block, new)


def _combined(parts: list[Array], small: Array) -> Array:
    basis = np.hstack(parts)
    return basis @ small.astype(basis.dtype)
