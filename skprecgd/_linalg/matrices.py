"""The contract of a matrix, and the one function that makes one of what users hold.

Complete data, and the gradient of a loss in the matrix, come as arrays, as memory maps,
as sparse arrays, as linear operators and in chunks. The decompositions and the
objective of complete data ask a `Matrix` for its products and for a few facts; they
never ask what kind it is. Another kind of matrix is another subclass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.left_basis import BasisInMemory, BasisOfArray, LeftBasis
from skprecgd._linalg.numerics import (
    adjoint_of,
    dot,
    is_mapped,
    norm,
    slabs,
    working_dtype,
)
from skprecgd._linalg.products import check_adjoint, check_finite, missing_product
from skprecgd._linalg.svd_tuning import SinglePrecision
from skprecgd._runtime.threads import allowed_threads, share_out
from skprecgd._runtime.typing import Array

# Columns of the identity that an operator is multiplied with at a time.
_IDENTITY_COLUMNS = 256
# Most numbers of their product with it (32 MB), where that is more than a column.
_IMAGE = 1 << 22
# Rows that are multiplied with a thin block at a time, there and back.
_SLAB_ROWS = 256
# Most parts of them that threads share, each of which has a sum of its own.
_MOST_PARTS = 8
# Numbers of a slab that is converted to double precision (2 MB).
_SLAB_NUMBERS = 1 << 18
# Share of entries that are stored from which a dense product takes less time than a
# sparse one: 4 times less at a fifth, 10 to 20 times at a half.
_GRAM_DENSITY = 0.1


def _parts(n_rows: int) -> list[range]:
    """The starts of slabs, in parts that threads share; they depend on nothing else."""
    step = _SLAB_ROWS * max(1, -(-n_rows // (_SLAB_ROWS * _MOST_PARTS)))
    return [
        range(start, min(start + step, n_rows), _SLAB_ROWS)
        for start in range(0, n_rows, step)
    ]


def _gram_of(parts: Iterable[Array], n_columns: int) -> Array:
    """The sum of ``S^T S`` over slabs of rows, in float64."""
    total = np.zeros((n_columns, n_columns))
    for slab in parts:
        total += slab.T @ slab
    return total


def as_matrix(X: Any) -> Matrix:
    """The `Matrix` behind anything that can be multiplied; no number is copied.

    Parameters
    ----------
    X : Matrix, ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
        Or any other object with `shape`, `dtype`, ``X @ block`` and ``X.T @ block``,
        such as the linear operators of other libraries. The stored numbers of a sparse
        array are taken for its entries, so none may be stored twice.

    Returns
    -------
    Matrix
    """
    if isinstance(X, Matrix):
        return X
    if isinstance(X, np.ndarray):
        return ArrayMatrix(X)
    if sparse.issparse(X):
        return SparseMatrix(X)
    return OperatorMatrix(X)


class Matrix(LinearOperator, ABC):
    """A matrix known by its products; its numbers may be complex.

    A subclass implements `times` and `transposed_times`, by which the product with the
    adjoint ``X^H`` is meant: ``X.T`` where X is real. All other members have defaults
    that hold for any matrix; a subclass overrides those for which it knows a better
    way. A matrix is also a LinearOperator of SciPy, for the sake of ``@``, ``.T``, sums
    and eigensolvers.

    Parameters
    ----------
    shape : tuple of int
        ``(n_rows, n_columns)``.
    dtype : dtype
        Type of the entries.

    Attributes
    ----------
    large_products : bool
        Whether products are large enough for several BLAS threads.
    reads_once : bool
        Whether a product mostly reads the matrix from memory, so that several columns
        take about as long as one.
    forms_gram : bool
        Whether `gram` costs about as much as products with half as many columns as it
        has.
    """

    large_products: bool = False
    reads_once: bool = False
    forms_gram: bool = False

    def __init__(self, shape: tuple[int, int], dtype: Any) -> None:
        super().__init__(dtype, shape)

    # ---- what a subclass implements

    @abstractmethod
    def times(self, block: Array) -> Array:
        """``X @ block``.

        Parameters
        ----------
        block : ndarray of shape (n_columns, k) or (n_columns,)

        Returns
        -------
        ndarray of shape (n_rows, k) or (n_rows,)
        """

    @abstractmethod
    def transposed_times(self, block: Array) -> Array:
        """``X.T @ block``; of complex numbers ``X^H @ block``.

        Parameters
        ----------
        block : ndarray of shape (n_rows, k) or (n_rows,)

        Returns
        -------
        ndarray of shape (n_columns, k) or (n_columns,)
        """

    # ---- what it may know a better way for

    def both_products(self, left: Array, right: Array) -> tuple[Array, Array]:
        """``X @ right`` and ``X.T @ left``: one pass where the data are far away."""
        return self.times(right), self.transposed_times(left)

    def gram_times(self, block: Array) -> Array:
        """``X.T @ (X @ block)``: one pass where the data are far away."""
        return self.transposed_times(self.times(block))

    def frobenius_norm(self) -> float:
        """Euclidean norm of all entries, by products with the identity in blocks."""
        blocks = self._identity(_IDENTITY_COLUMNS)
        return norm(np.array([norm(self.times(block)) for _, block in blocks]))

    def check_adjoint(self) -> None:
        """Refuse a matrix whose transpose, computed by others, is of another matrix."""

    def left_basis(self, capacity: int) -> LeftBasis:
        """An empty orthonormal basis in the space of the rows; see `LeftBasis`."""
        return BasisInMemory(self, capacity)

    def gram_operator(self) -> LinearOperator | None:
        """``X^T X``, if a product with it costs less than two with X; else None."""
        return None

    def gram(self) -> Array:
        """``X^T X`` in float64, for a matrix with few columns.

        By products with the identity in blocks, if there is no better way.
        """
        n_rows, n_columns = self.shape
        width = max(1, min(_IDENTITY_COLUMNS, _IMAGE // max(1, n_rows)))
        total = np.empty((n_columns, n_columns))
        for columns, block in self._identity(width):
            total[:, columns] = self.transposed_times(self.times(block))
        return 0.5 * (total + total.T)

    def _identity(self, width: int) -> Iterator[tuple[slice, Array]]:
        """Blocks of columns of the identity, and which columns they are."""
        n_columns = self.shape[1]
        for start in range(0, n_columns, width):
            columns = slice(start, min(start + width, n_columns))
            block = np.zeros((n_columns, columns.stop - start))
            block[columns] = np.eye(columns.stop - start)
            yield columns, block

    def in_memory(self) -> Array | None:
        """The entries, if they are an array in memory; LAPACK copies it. Else None."""
        return None

    def formed(self) -> Array:
        """The entries as an array, which is not to be written to.

        For small matrices: an operator is multiplied with the whole identity.
        """
        return self.times(np.eye(self.shape[1], dtype=self.dtype))

    def in_single(
        self, size: float | None, tuning: SinglePrecision
    ) -> tuple[Matrix, float] | None:
        """The matrix in single precision, or None if it has no such form.

        Parameters
        ----------
        size : float or None
            Frobenius norm, where it is known.
        tuning : SinglePrecision

        Returns
        -------
        scaled : Matrix
            The matrix times `factor`, which keeps it within the range of float32.
        factor : float
            A power of two.
        """
        return None

    def in_double(self) -> Matrix | None:
        """The matrix with products in double precision, or None without such a form."""
        return self if self.dtype == np.float64 else None

    # ---- as a SciPy operator

    def _matmat(self, block: Array) -> Array:
        return self.times(block)

    def _matvec(self, vector: Array) -> Array:
        return self.times(vector)

    def _rmatmat(self, block: Array) -> Array:
        return self.transposed_times(block)

    def _rmatvec(self, vector: Array) -> Array:
        return self.transposed_times(vector)

    def _transpose(self) -> Matrix:
        return TransposedMatrix(self)

    def _adjoint(self) -> Matrix:
        return self._transpose()

    def __rmul__(self, factor: Any) -> Any:
        """A number times a matrix: a Matrix of the same dtype, with a Gram operator.

        SciPy's own would claim to be of float64 and would know of products only.
        """
        if not isinstance(factor, Real):
            return super().__rmul__(factor)
        return ScaledMatrix(self, float(factor), self.dtype)


class ArrayMatrix(Matrix):
    """An array, in memory or mapped to a file.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    """

    large_products = True
    reads_once = True
    forms_gram = True

    def __init__(self, X: Array) -> None:
        super().__init__(X.shape, X.dtype)
        self._X = X

    def times(self, block: Array) -> Array:
        # `dot` is faster than `@` where a float32 array meets a float64 vector.
        return np.asarray(self._X.dot(block))

    def transposed_times(self, block: Array) -> Array:
        return np.asarray(self._X.conj().T.dot(block))

    def gram_times(self, block: Array) -> Array:
        turned, parts = np.ascontiguousarray(block.T), _parts(len(self._X))
        sums = np.zeros((len(parts), *turned.shape), np.result_type(self._X, block))

        def add(total: Array, part: range) -> None:
            # A slab is read from memory once; BLAS is faster from the thin side.
            for start in part:
                slab = self._X[start : start + _SLAB_ROWS]
                total += (turned @ slab.T) @ slab.conj()

        share_out(add, zip(sums, parts, strict=True), threads=allowed_threads())
        return np.asarray(sums.sum(axis=0).T)

    def frobenius_norm(self) -> float:
        return norm(self._X)

    def gram(self) -> Array:
        parts = (self._X[rows] for rows in slabs(self.shape))
        doubles = (part.astype(np.float64, copy=False) for part in parts)
        return _gram_of(doubles, self.shape[1])

    def left_basis(self, capacity: int) -> LeftBasis:
        return BasisOfArray(self, self._X, capacity)

    def in_memory(self) -> Array | None:
        return None if is_mapped(self._X) else self._X

    def formed(self) -> Array:
        return self._X

    def in_single(
        self, size: float | None, tuning: SinglePrecision
    ) -> tuple[Matrix, float] | None:
        X = self._X
        if X.dtype != np.float64:
            return None
        factor = tuning.factor(self.frobenius_norm() if size is None else size)
        if is_mapped(X) or X.size > tuning.copied:
            return SlabMatrix(X, factor, tuning.slab), factor
        copy = np.empty_like(X, dtype=np.float32, subok=False)
        return ArrayMatrix(_cast(X, factor, copy)), factor

    def in_double(self) -> Matrix | None:
        if self.dtype == np.float64:
            return self
        return SlabMatrix(self._X, 1.0, _SLAB_NUMBERS, np.dtype(np.float64))

    def _transpose(self) -> Matrix:
        return ArrayMatrix(self._X.conj().T)


class SlabMatrix(Matrix):
    """An array times a factor; products with it in another precision.

    The numbers are converted a slab at a time, for every product anew: no copy of the
    array is made, and converting what has to be read anyway is cheap.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    factor : float
    slab : int
        Most numbers that are converted at a time.
    dtype : dtype, default=float32
        Of the products.
    """

    large_products = True
    reads_once = True

    def __init__(
        self, X: Array, factor: float, slab: int, dtype: Any = np.float32
    ) -> None:
        super().__init__(X.shape, np.dtype(dtype))
        self._X, self._factor, self._slab = X, factor, slab

    def times(self, block: Array) -> Array:
        return self._product(self._X, block)

    def transposed_times(self, block: Array) -> Array:
        return self._product(self._X.T, block)

    def _transpose(self) -> Matrix:
        return SlabMatrix(self._X.T, self._factor, self._slab, self.dtype)

    def gram_times(self, block: Array) -> Array:
        turned = block.T
        total = np.zeros(turned.shape, self.dtype)
        for _, slab in self._slabs(self._X):
            total += (turned @ slab.T) @ slab
        return total.T

    def gram(self) -> Array:
        parts = (slab for _, slab in self._slabs(self._X))
        return _gram_of(parts, self.shape[1])

    def _product(self, X: Array, block: Array) -> Array:
        product = np.zeros((block.shape[1], X.shape[0]), self.dtype)
        if abs(X.strides[0]) >= abs(X.strides[1]):
            for rows, slab in self._slabs(X):
                product[:, rows] = block.T @ slab.T
        else:
            for rows, slab in self._slabs(X.T):
                product += block[rows].T @ slab
        return product.T

    def _slabs(self, X: Array) -> Iterator[tuple[slice, Array]]:
        parts = list(slabs(X.shape, self._slab))
        buffer = np.empty((parts[0].stop, X.shape[1]), self.dtype)
        for rows in parts:
            yield rows, _cast(X[rows], self._factor, buffer[: rows.stop - rows.start])


class SparseMatrix(Matrix):
    """A sparse array without entries stored twice.

    Parameters
    ----------
    X : sparse array or matrix of shape (n_rows, n_columns)
    """

    forms_gram = True

    def __init__(self, X: Any) -> None:
        super().__init__(X.shape, X.dtype)
        self._X = X

    @cached_property
    def _turned(self) -> Any:
        # It is a view of the same numbers, but takes SciPy as long as a small product.
        return self._X.conjugate(copy=False).T

    def times(self, block: Array) -> Array:
        return np.asarray(self._X @ block)

    def transposed_times(self, block: Array) -> Array:
        return np.asarray(self._turned @ block)

    def frobenius_norm(self) -> float:
        return norm(self._X.data)

    def gram(self) -> Array:
        n_rows, n_columns = self.shape
        if self._X.nnz < _GRAM_DENSITY * n_rows * n_columns:
            X = self._X.astype(np.float64)
            return np.asarray((X.T @ X).toarray())
        # Tables with holes are sparse by their form alone.
        X = self._X.tocsr()
        parts = (X[rows].toarray() for rows in slabs(self.shape))
        doubles = (part.astype(np.float64, copy=False) for part in parts)
        return _gram_of(doubles, n_columns)

    def formed(self) -> Array:
        return np.asarray(self._X.toarray())

    def in_single(
        self, size: float | None, tuning: SinglePrecision
    ) -> tuple[Matrix, float] | None:
        X = self._X
        if X.dtype != np.float64 or X.format not in ("csr", "csc"):
            return None
        factor = tuning.factor(self.frobenius_norm() if size is None else size)
        values = _cast(X.data, factor, np.empty(X.data.shape, np.float32))
        cast = type(X)((values, X.indices, X.indptr), shape=X.shape)
        return SparseMatrix(cast), factor

    def in_double(self) -> Matrix | None:
        return self if self.dtype == np.float64 else SparseMatrix(self._X.astype(float))

    def _transpose(self) -> Matrix:
        return SparseMatrix(self._turned)


class OperatorMatrix(Matrix):
    """A linear operator, of SciPy or of another library, whose products are checked.

    Parameters
    ----------
    X : object with `shape`, `dtype`, ``X @ block`` and ``X.T @ block``
    """

    def __init__(self, X: Any) -> None:
        super().__init__(X.shape, X.dtype)
        self._X = X

    @cached_property
    def _turned(self) -> Any:
        return adjoint_of(self._X)

    def times(self, block: Array) -> Array:
        product = np.asarray(self._X @ block)
        check_finite(product, (block,), "matmat", self._X)
        return product

    def transposed_times(self, block: Array) -> Array:
        product = np.asarray(self._turned @ block)
        check_finite(product, (block,), "rmatmat", self._X)
        return product

    def check_adjoint(self) -> None:
        rng = np.random.default_rng(0)
        dtype = working_dtype(np.dtype(self.dtype))
        x, y = (rng.standard_normal(n).astype(dtype) for n in self.shape[::-1])
        if isinstance(self._X, LinearOperator):
            try:
                self._X.rmatvec(y)
            except NotImplementedError as error:
                raise ValueError(missing_product(self._X, "rmatvec")) from error
        forward, back = self.times(x), self.transposed_times(y)
        inner, adjoint_inner = np.array([dot(forward, y)]), np.array([dot(x, back)])
        names = "matvec", "rmatvec"
        check_adjoint(inner, adjoint_inner, norm(forward), names, self._X)


class TransposedMatrix(Matrix):
    """The transpose of a matrix, or the adjoint of a complex one.

    Parameters
    ----------
    matrix : Matrix of shape (n_columns, n_rows)
    """

    def __init__(self, matrix: Matrix) -> None:
        super().__init__(matrix.shape[::-1], matrix.dtype)
        self._matrix = matrix
        self.large_products = matrix.large_products

    def times(self, block: Array) -> Array:
        return self._matrix.transposed_times(block)

    def transposed_times(self, block: Array) -> Array:
        return self._matrix.times(block)

    def frobenius_norm(self) -> float:
        return self._matrix.frobenius_norm()

    def in_single(
        self, size: float | None, tuning: SinglePrecision
    ) -> tuple[Matrix, float] | None:
        cast = self._matrix.in_single(size, tuning)
        return None if cast is None else (cast[0].T, cast[1])

    def in_double(self) -> Matrix | None:
        double = self._matrix.in_double()
        return None if double is None else double.T

    def _transpose(self) -> Matrix:
        return self._matrix


class ScaledMatrix(Matrix):
    """A number times a matrix.

    Parameters
    ----------
    matrix : Matrix of shape (n_rows, n_columns)
    factor : float
    dtype : dtype
        The type that the operator claims; eigensolvers take their precision from it.
    """

    def __init__(self, matrix: Matrix, factor: float, dtype: Any) -> None:
        super().__init__(matrix.shape, dtype)
        self._matrix, self._factor = matrix, factor
        self.large_products = matrix.large_products

    def times(self, block: Array) -> Array:
        return self._factor * self._matrix.times(block)

    def transposed_times(self, block: Array) -> Array:
        return self._factor * self._matrix.transposed_times(block)

    def frobenius_norm(self) -> float:
        return abs(self._factor) * self._matrix.frobenius_norm()

    def gram_times(self, block: Array) -> Array:
        # The block first: squares of the matrix alone may be no numbers.
        return self._factor * self._matrix.gram_times(self._factor * block)

    def gram_operator(self) -> LinearOperator | None:
        gram = self._matrix.gram_operator()
        return None if gram is None else self._factor**2 * gram

    def in_double(self) -> Matrix | None:
        double = self._matrix.in_double()
        if double is None:
            return None
        return ScaledMatrix(double, self._factor, np.float64)


class LineScaledMatrix(Matrix):
    """``diag(left) X diag(right)``.

    Parameters
    ----------
    matrix : Matrix of shape (n_rows, n_columns)
    left, right : ndarray of shape (n_rows,), (n_columns,)
    """

    def __init__(self, matrix: Matrix, left: Array, right: Array) -> None:
        super().__init__(matrix.shape, matrix.dtype)
        self._matrix, self._left, self._right = matrix, left, right
        self.large_products = matrix.large_products

    def times(self, block: Array) -> Array:
        return _scaled_lines(
            self._left, self._matrix.times(_scaled_lines(self._right, block))
        )

    def transposed_times(self, block: Array) -> Array:
        return _scaled_lines(
            self._right,
            self._matrix.transposed_times(_scaled_lines(self._left, block)),
        )


def _scaled_lines(lines: Array, block: Array) -> Array:
    return (lines * block.T).T


def _cast(values: Array, factor: float, out: Array) -> Array:
    if factor == 1.0:
        out[...] = values
    else:
        np.multiply(values, factor, out=out, casting="same_kind")
    return out
