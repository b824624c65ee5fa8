"""Measurement matrices stored one by one, dense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skprecgd._numerics import is_mapped, norm, slabs
from skprecgd._typing import Array
from skprecgd.measurements._validation import as_real_array
from skprecgd.measurements.base import Measurements, Tangent, check_matrix_shape

# Rows of a selection that are copied at a time.
_BLOCK_ROWS = 64


class DenseMeasurements(Measurements):
    """A stack of dense measurement matrices.

    Parameters
    ----------
    stack : array-like of shape (n, n_rows * n_columns) or (n, n_rows, n_columns)
        The measurement matrices, each row flattened in C order.
    matrix_shape : tuple of int, default=None
        ``(n_rows, n_columns)``. None: read from a 3-D stack; for a 2-D stack the
        most balanced shape with that many cells.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import DenseMeasurements
    >>> A = DenseMeasurements(np.eye(6), (3, 2))
    >>> A.forward(np.ones((3, 1)), np.array([[1.0], [2.0]]))
    array([1., 2., 1., 2., 1., 2.])
    """

    def __init__(self, stack: Any, matrix_shape: tuple[int, int] | None = None) -> None:
        stack = as_real_array(stack, "the measurements", (2, 3))
        if stack.ndim == 3:
            own_shape = stack.shape[1:]
            if matrix_shape is not None and tuple(matrix_shape) != own_shape:
                raise ValueError(
                    f"matrix_shape={tuple(matrix_shape)} does not match measurement "
                    f"matrices of shape {own_shape}."
                )
            matrix_shape = own_shape
            stack = stack.reshape(len(stack), -1)
        self.stack: Array = stack
        self.matrix_shape = check_matrix_shape(matrix_shape, stack.shape[1])
        self.dtype = stack.dtype

    @classmethod
    def of(cls, stack: Array, matrix_shape: tuple[int, int]) -> DenseMeasurements:
        """Measurements of a flat stack that is known to be sound."""
        made = cls.__new__(cls)
        made.stack, made.matrix_shape, made.dtype = stack, matrix_shape, stack.dtype
        return made

    @property
    def n_measurements(self) -> int:
        return len(self.stack)

    def forward(self, left: Array, right: Array) -> Array:
        return self._times(self._flat(left @ right.T))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        # One pass over the stack serves both right-hand sides.
        linear = d_left @ right.T + left @ d_right.T
        both = np.stack([self._flat(linear), self._flat(d_left @ d_right.T)], axis=1)
        measured = self._times(both)
        return measured[:, 0].copy(), measured[:, 1].copy()

    def adjoint(self, weights: Array) -> Array:
        weights = weights.astype(self.dtype, copy=False)
        return self._transposed_times(weights).reshape(self.matrix_shape)

    def tangent(self, left: Array, right: Array) -> Tangent:
        if not self.contracts(left.shape[1]):
            return Tangent(self, left, right)
        return _ContractedTangent(self, left, right)

    def contracts(self, rank: int) -> bool:
        n_rows, n_columns = self.matrix_shape
        # What is in a file may leave no room for more than a small share of it.
        share = 1 / 8 if is_mapped(self.stack) else 1 / 2
        return (n_rows + n_columns) * rank <= share * n_rows * n_columns

    def rows(self, index: Array) -> DenseMeasurements:
        if is_mapped(self.stack):
            return _MappedRows(self.stack, self.matrix_shape, np.asarray(index))
        return self.of(self.stack[index], self.matrix_shape)

    def _mean_square(self) -> float:
        return norm(self.stack) ** 2 / self.stack.size

    def _times(self, block: Array) -> Array:
        """``stack @ block``; the only products with the stack are this and the next."""
        return np.asarray(self.stack @ block)

    def _transposed_times(self, weights: Array) -> Array:
        return np.asarray(weights @ self.stack)

    def _flat(self, matrix: Array) -> Array:
        return matrix.astype(self.dtype, copy=False).ravel()


class _MappedRows(DenseMeasurements):
    """Some of the measurements in a file, read a few at a time and never all copied."""

    def __init__(
        self, stack: Array, matrix_shape: tuple[int, int], index: Array
    ) -> None:
        self.stack, self.matrix_shape, self.dtype = stack, matrix_shape, stack.dtype
        self._index = index

    @property
    def n_measurements(self) -> int:
        return len(self._index)

    def contracts(self, rank: int) -> bool:
        return False

    def rows(self, index: Array) -> _MappedRows:
        return _MappedRows(self.stack, self.matrix_shape, self._index[index])

    def _parts(self) -> Iterator[tuple[slice, Array]]:
        for part in slabs((len(self._index), self.stack.shape[1])):
            yield part, self.stack[self._index[part]]

    def _mean_square(self) -> float:
        sizes = np.array([norm(rows) for _, rows in self._parts()])
        return norm(sizes) ** 2 / max(1, len(self._index) * self.stack.shape[1])

    def _times(self, block: Array) -> Array:
        shape = (len(self._index), *block.shape[1:])
        out = np.empty(shape, np.result_type(self.stack, block))
        for part, rows in self._parts():
            out[part] = rows @ block
        return out

    def _transposed_times(self, weights: Array) -> Array:
        out = np.zeros(self.stack.shape[1], np.result_type(self.stack, weights))
        for part, rows in self._parts():
            out += weights[part] @ rows
        return out


class DenseSelection(Measurements):
    """Some of a stack of measurement matrices, read in place.

    `DenseMeasurements.rows` copies, which is faster to read. Here every product goes
    through the whole stack, so that several workers can share it.

    Parameters
    ----------
    whole : DenseMeasurements
    index : ndarray of int
        Positions in `whole`.
    """

    def __init__(self, whole: DenseMeasurements, index: Array) -> None:
        self.whole, self.index = whole, index
        self.matrix_shape, self.dtype = whole.matrix_shape, whole.dtype

    @property
    def n_measurements(self) -> int:
        return len(self.index)

    def forward(self, left: Array, right: Array) -> Array:
        return self.whole.forward(left, right)[self.index]

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        linear, quadratic = self.whole.forward_ray(left, right, d_left, d_right)
        return linear[self.index], quadratic[self.index]

    def adjoint(self, weights: Array) -> Array:
        n_whole = self.whole.n_measurements
        return self.whole.adjoint(np.bincount(self.index, weights, minlength=n_whole))

    def rows(self, index: Array) -> DenseSelection:
        return DenseSelection(self.whole, self.index[index])

    def _mean_square(self) -> float:
        stack, n = self.whole.stack, len(self.index)
        blocks = np.array_split(self.index, max(1, n // _BLOCK_ROWS))
        squares = sum(norm(stack[block]) ** 2 for block in blocks)
        return squares / max(1, n * stack.shape[1])


# Numbers of the stack that are contracted with both factors while in the cache.
_CHUNK = 1 << 17


class _ContractedTangent(Tangent):
    """The stack contracted with both factors: one pass, then none."""

    def __init__(
        self, measurements: DenseMeasurements, left: Array, right: Array
    ) -> None:
        n, r = measurements.n_measurements, left.shape[1]
        n_rows, n_columns = measurements.matrix_shape
        stack = measurements.stack.reshape(n, n_rows, n_columns)
        self._split = n_rows * r
        self._shapes = (n_rows, r), (n_columns, r)
        dtype = measurements.dtype
        left, right = left.astype(dtype), right.astype(dtype)
        self._design = np.empty((n, self._split + n_columns * r), dtype)
        step = max(1, _CHUNK // (n_rows * n_columns))
        for start in range(0, n, step):
            part, out = stack[start : start + step], self._design[start : start + step]
            out[:, : self._split] = (part @ right).reshape(len(part), -1)
            flipped = part.transpose(0, 2, 1) @ left
            out[:, self._split :] = flipped.reshape(len(part), -1)

    def forward(self, d_left: Array, d_right: Array) -> Array:
        tangent = np.concatenate([d_left.ravel(), d_right.ravel()])
        return np.asarray(self._design @ tangent)

    def adjoint(self, weights: Array) -> tuple[Array, Array]:
        both = weights @ self._design
        return (
            both[: self._split].reshape(self._shapes[0]),
            both[self._split :].reshape(self._shapes[1]),
        )
