"""Measurement matrices stored one by one, dense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from skprecgd._linalg.numerics import (
    column_squares,
    is_mapped,
    norm,
    selected_rows,
    slabs,
    square,
)
from skprecgd._runtime.arrays import empty
from skprecgd._runtime.typing import Array
from skprecgd.kernels import (
    are_compiled,
    contracted_dtype,
    contraction,
    normal_product,
    there_and_back,
)
from skprecgd.measurements.base import (
    Measurements,
    Tangent,
    check_matrix_shape,
    matrices_times,
)
from skprecgd.measurements.validation import as_number_array

# Numbers of the stack whose squares are summed at a time (1 MB of float64).
_CHUNK = 1 << 17
# Numbers of rows and of columns from which the size of all entries is estimated.
_FEW = 16, 1 << 12
# Numbers (4 MB of float64) that both products of a ray read while they are in the
# third-level cache.
_RAY_CHUNK = 1 << 19


class DenseMeasurements(Measurements, checked=True):
    """A stack of dense measurement matrices, real or complex.

    Parameters
    ----------
    stack : array-like of shape (n, n_rows * n_columns) or (n, n_rows, n_columns)
        The measurement matrices, each row flattened in C order. Complex ones measure
        ``tr(A^H M)``, which for a Hermitian A is ``tr(A M)``.
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

    keeps_adjoint = True
    has_design = True
    shared_bytes: ClassVar[int] = 1 << 26
    """Bytes above which all folds read the stack in place, instead of copying it."""

    def __init__(self, stack: Any, matrix_shape: tuple[int, int] | None = None) -> None:
        stack = as_number_array(stack, "the measurements", (2, 3))
        if stack.ndim == 3:
            own_shape = stack.shape[1:]
            if matrix_shape is not None and tuple(matrix_shape) != own_shape:
                raise ValueError(
                    f"matrix_shape={tuple(matrix_shape)} does not match measurement "
                    f"matrices of shape {own_shape}."
                )
            matrix_shape = own_shape
            stack = stack.reshape(len(stack), -1)
        self._hold(stack, check_matrix_shape(matrix_shape, stack.shape[1]))

    @classmethod
    def of(cls, stack: Array, matrix_shape: tuple[int, int]) -> DenseMeasurements:
        """Measurements of a flat stack that has been validated."""
        made = cls.__new__(cls)
        made._hold(stack, matrix_shape)
        return made

    def _hold(self, stack: Array, matrix_shape: tuple[int, int]) -> None:
        self.stack, self.matrix_shape, self.dtype = stack, matrix_shape, stack.dtype
        # Decided by the user's array: joblib gives every large one to worker processes
        # as a map of a file.
        self._in_file = is_mapped(stack)

    @property
    def n_measurements(self) -> int:
        return len(self.stack)

    @property
    def large_products(self) -> bool:
        # Compiled passes over the stack do without BLAS, whose idle threads spin.
        size = self.n_measurements * self.stack.shape[1]
        return not (self.stack.flags.c_contiguous and are_compiled(size))

    @cached_property
    def hermitian(self) -> bool:  # type: ignore[override]
        n_rows, n_columns = self.matrix_shape
        if n_rows != n_columns:
            return False
        # Products of factors are Hermitian up to rounding.
        close = float(np.sqrt(np.finfo(self.dtype).eps))
        for _, rows in self._blocks(_CHUNK):
            matrices = rows.reshape(-1, n_rows, n_rows)
            apart = matrices - matrices.conj().transpose(0, 2, 1)
            if np.any(_lengths(apart) > close * _lengths(matrices)):
                return False
        return True

    @cached_property
    def sees_imaginary_part(self) -> bool:  # type: ignore[override]
        return any(np.any(rows.imag) for _, rows in self._blocks(_CHUNK))

    def forward(self, left: Array, right: Array) -> Array:
        return self._times(left @ right.conj().T)[0]

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        measured = self._times(*_ray(left, right, d_left, d_right))
        return measured[0], measured[1]

    def ray_and_back(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        weights: Any,
    ) -> tuple[Array, Array, Array, Array]:
        matrices = _ray(left, right, d_left, d_right)
        (linear, quadratic), back = self._there_and_back(matrices, weights)
        return linear, quadratic, *back

    def forward_and_back(
        self, left: Array, right: Array, weights: Any
    ) -> tuple[Array, Array]:
        (measured,), (back,) = self._there_and_back([left @ right.conj().T], weights)
        return measured, back

    def adjoint(self, weights: Array) -> Array:
        weights = weights.astype(self.dtype, copy=False)
        return self._transposed_times(weights).reshape(self.matrix_shape)

    def tangent(self, left: Array, right: Array) -> Tangent:
        if self.of_complex or not self.contracts(left.shape[1]):
            return Tangent(self, left, right)
        return _ContractedTangent(self, left, right)

    def contracts(self, rank: int) -> bool:
        n_rows, n_columns = self.matrix_shape
        # A stack in a file may be larger than memory: the result must be far smaller.
        share = 1 / 8 if self._in_file else 1 / 2
        return (n_rows + n_columns) * rank <= share * n_rows * n_columns

    def rows(self, index: Array) -> DenseMeasurements:
        if self._in_file:
            return DenseSelection(self, index)
        return self.of(self.stack[index], self.matrix_shape)

    def stacked(self, part: slice) -> Array:
        return np.asarray(self.stack[self._positions[part]])

    def design(self, other: Array, block: int) -> Array:
        n, r = self.matrix_shape[block], other.shape[1]
        out = np.empty((self.n_measurements, n, r), self.dtype)
        for part, rows in self._blocks(self.stack.size):
            matrices = rows.reshape(-1, *self.matrix_shape)
            out[part] = matrices_times(matrices, other, block)
        return out

    @property
    def folds_share(self) -> bool:
        return self.stack.nbytes > self.shared_bytes

    def fold(self, index: Array) -> DenseMeasurements:
        if self.folds_share:
            return DenseSelection(self, index)
        # A worker process gets the stack as a map of a file, from which selected rows
        # are slow to read.
        return self.of(np.array(self.stack[index], subok=False), self.matrix_shape)

    def scaled(self, factor: float) -> Measurements:
        if self._in_file:
            return super().scaled(factor)
        return self.of(self.stack * self.dtype.type(factor), self.matrix_shape)

    def _mean_square(self) -> float:
        return square(norm(self.stack)) / self.stack.size

    def _size(self) -> float:
        return norm(self.stack) / float(np.sqrt(self.stack.size))

    def _sizes(self) -> Array:
        sizes = np.empty(self.n_measurements)
        for part, rows in self._blocks(_CHUNK):
            sizes[part] = _lengths(rows)
        return sizes

    @property
    def _positions(self) -> Array:
        """The rows of the stack that the measurements use."""
        return np.arange(len(self.stack))

    def _blocks(self, most: int) -> Iterator[tuple[slice, Array]]:
        """Blocks of at most `most` numbers, each with the slice of its measurements."""
        for part in slabs(self.stack.shape, most):
            yield part, self.stack[part]

    def _times(self, *matrices: Array) -> Array:
        """The measurements of each matrix, shape (n_matrices, n)."""
        # Block by block, two products with a vector take less time than one with a
        # matrix of two columns, which BLAS packs as if it had many.
        out = np.empty((len(matrices), self.n_measurements), self.dtype)
        # The matrices are conjugated here, and what was measured in the end: no stack.
        flat = [m.astype(self.dtype, copy=False).conj().ravel() for m in matrices]
        most = _RAY_CHUNK if len(flat) > 1 else self.stack.size
        for part, rows in self._blocks(most):
            for measured, cells in zip(out, flat, strict=True):
                np.dot(rows, cells, out=measured[part])
        return np.asarray(out.conj())

    def _transposed_times(self, weights: Array) -> Array:
        return np.asarray(weights @ self.stack)

    def _there_and_back(
        self, matrices: Sequence[Array], weights: Any
    ) -> tuple[Array, Array]:
        """Measure the matrices, and take the adjoint of the weighted measurements."""
        if self.of_complex:
            # The fused pass is one over real numbers.
            z = self._times(*matrices)
            back = np.stack([self._transposed_times(weights * each) for each in z])
            return z, back.reshape(-1, *self.matrix_shape)
        cells = np.stack([m.ravel() for m in matrices]).astype(self.dtype, copy=False)
        measured, back = there_and_back(self.stack, self._positions, cells, weights)
        return measured, back.reshape(-1, *self.matrix_shape)


def _ray(
    left: Array, right: Array, d_left: Array, d_right: Array
) -> tuple[Array, Array]:
    """The two matrices that are measured for a ray."""
    # The first is a sum of two products, which are computed as one.
    linear = np.hstack([d_left, left]) @ np.hstack([right, d_right]).conj().T
    return linear, d_left @ d_right.conj().T


def _lengths(stack: Array) -> Array:
    """The norm of each measurement matrix, in float64."""
    # Squares of very small or very large numbers would be zero or infinite.
    unit = float(np.max(np.abs(stack), initial=0.0)) or 1.0
    scaled = stack.reshape(len(stack), -1) / unit
    return np.asarray(unit * np.sqrt(column_squares(scaled.T)))


class DenseSelection(DenseMeasurements):
    """Selected measurement matrices of a stack, which every product reads in place.

    `DenseMeasurements.rows` makes a copy, which is faster to read. Here nothing is
    copied: the stack may be a file larger than memory, or shared by several workers.

    Parameters
    ----------
    whole : DenseMeasurements
    index : ndarray of int
        Positions in `whole`.
    """

    def __init__(self, whole: DenseMeasurements, index: Array) -> None:
        self._hold(whole.stack, whole.matrix_shape)
        self._in_file = whole._in_file
        self._index = np.asarray(index)
        if isinstance(whole, DenseSelection):
            self._index = whole._index[index]

    @property
    def n_measurements(self) -> int:
        return len(self._index)

    def rows(self, index: Array) -> DenseSelection:
        return DenseSelection(self, index)

    @property
    def folds_share(self) -> bool:
        return False

    def fold(self, index: Array) -> DenseSelection:
        return self.rows(index)

    def scaled(self, factor: float) -> Measurements:
        # The stack is read in place.
        return Measurements.scaled(self, factor)

    @property
    def _positions(self) -> Array:
        return self._index

    def _blocks(self, most: int) -> Iterator[tuple[slice, Array]]:
        return selected_rows(self.stack, self._index, most)

    def _mean_square(self) -> float:
        return square(self._size())

    def _size(self) -> float:
        sizes = np.array([norm(rows) for _, rows in self._blocks(_CHUNK)])
        n_numbers = max(1, len(self._index) * self.stack.shape[1])
        return norm(sizes) / float(np.sqrt(n_numbers))

    def _transposed_times(self, weights: Array) -> Array:
        out = np.zeros(self.stack.shape[1], self.dtype)
        for part, rows in self._blocks(self.stack.size):
            out += weights[part] @ rows
        return out


class _ContractedTangent(Tangent):
    """The stack contracted with both factors in one pass; `normal` needs no other."""

    def __init__(
        self, measurements: DenseMeasurements, left: Array, right: Array
    ) -> None:
        super().__init__(measurements, left, right)
        r, (n_rows, n_columns) = left.shape[1], measurements.matrix_shape
        self._split = n_rows * r
        self._shapes = (n_rows, r), (r, n_columns)
        n = measurements.n_measurements
        width = (n_rows + n_columns) * r
        size = n * width
        self._unit = _size_of(measurements.stack)
        unit = measurements.dtype.type(self._unit)
        left, right = left / unit, right / unit
        dtype = contracted_dtype(size, measurements.dtype)
        self._design = empty(size, dtype).reshape(n, width)
        for part, rows in measurements._blocks(measurements.stack.size):
            matrices = rows.reshape(-1, n_rows, n_columns)
            contraction(matrices, left, right, self._design[part])

    def normal(
        self, d_left: Array, d_right: Array, weights: Any
    ) -> tuple[Array, Array]:
        tangent = np.concatenate([d_left.ravel(), d_right.T.ravel()])
        # The square of the unit may leave the range of single precision.
        scaled = np.multiply(weights, self._unit**2, dtype=np.float64)
        weights = np.full(len(self._design), scaled, tangent.dtype)
        both = normal_product(self._design, weights, tangent)
        return (
            both[: self._split].reshape(self._shapes[0]),
            both[self._split :].reshape(self._shapes[1]).T,
        )


def _size_of(stack: Array) -> float:
    """A power of two close to the size of the entries, estimated from a few of them.

    Divided by it, entries lie in the range of single precision, and nothing is rounded.
    """
    rows, columns = (max(1, n // few) for n, few in zip(stack.shape, _FEW, strict=True))
    some = stack[::rows, ::columns]
    size = norm(some)
    if not (np.isfinite(size) and size > 0):
        return 1.0
    return float(np.exp2(np.round(np.log2(size) - 0.5 * np.log2(some.size))))
