"""The contract that every kind of measurements keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.groups import Groups, connected_groups
from skprecgd._linalg.matrices import Matrix, OperatorMatrix, as_matrix
from skprecgd._linalg.numerics import (
    UNIT,
    adjoint_of,
    dot,
    norm,
    slab_bincount,
    slabs,
    square,
)
from skprecgd._linalg.products import check_adjoint, check_finite
from skprecgd._runtime.quantum_objects import is_qobj
from skprecgd._runtime.typing import Array

# The methods of `Measurements` that return products.
_PRODUCTS = (
    "forward",
    "forward_ray",
    "forward_tangent",
    "adjoint",
    "adjoint_products",
    "ray_and_back",
    "forward_and_back",
    "row_solutions",
)


class Measurements(ABC):
    """Linear measurements ``y_i = <A_i, M>`` of a matrix given by its factors.

    A subclass says how to measure a product ``L R^T`` and how to sum the
    measurement matrices with weights; it never forms the matrix unless its own
    data already have that size. It knows no loss and no algorithm. It behaves
    like a container of samples: `len`, row indexing and pickling work, so
    scikit-learn's splitters can hold measurements out.

    Measurements of complex numbers measure ``L R^H``: ``<A, M>`` is the inner product
    ``tr(A^H M)``, the sum of all ``conj(A_jk) M_jk``, and weights of the adjoint are
    complex. An objective sees them as `RealParts` or `RealValues`.

    Attributes
    ----------
    matrix_shape : tuple of int
        ``(n_rows, n_columns)`` of the measured matrix.
    n_measurements : int
        Number of measured numbers.
    dtype : numpy.dtype
        float32 or float64, or complex64 or complex128; products are computed in it.
    """

    matrix_shape: tuple[int, int]
    dtype: np.dtype
    single_entries: bool = False
    """Whether every measurement matrix is a single 1 among zeros.

    `cells` then says where it stands. Nothing else follows from it: neither in which
    form the adjoint comes, nor that a cell is read only once.
    """
    row_labels: Array | None = None
    """The ids of the rows of the matrix, by position; None where they have none."""
    column_labels: Array | None = None
    """The ids of the columns of the matrix, likewise."""
    keeps_adjoint: bool = False
    """Whether `adjoint` is an array, and far smaller than the measurements."""
    has_design: bool = False
    """Whether `design` costs no more than some products."""
    hermitian: bool = False
    """Whether every measurement matrix is Hermitian.

    Measurements of a Hermitian matrix are then real numbers.
    """
    sees_imaginary_part: bool = True
    """Whether any of Hermitian measurement matrices is not real."""
    _products_checked: ClassVar[bool] = False

    def __init_subclass__(cls, *, checked: bool = False, **options: Any) -> None:
        """Have the products that a subclass computes checked where they enter.

        Parameters
        ----------
        checked : bool, default=False
            Whether the numbers behind them are known to be finite, because they were
            checked once, and the adjoint to be right.
        """
        super().__init_subclass__(**options)
        cls._products_checked = checked
        if "forward" in vars(cls):
            cls.forward = _of_factors(vars(cls)["forward"])  # type: ignore[method-assign]
        if checked:
            return
        for name in _PRODUCTS:
            if name in vars(cls):
                setattr(cls, name, _checked(vars(cls)[name]))

    @property
    @abstractmethod
    def n_measurements(self) -> int: ...

    @property
    def of_complex(self) -> bool:
        """Whether the numbers of the matrix are complex."""
        return self.dtype.kind == "c"

    @property
    def large_products(self) -> bool:
        """Whether products with the data are large enough for several BLAS threads."""
        return True

    @abstractmethod
    def forward(self, left: Array, right: Array) -> Array:
        """Measure ``left @ right.T``; returns shape (n_measurements,).

        Complex measurements measure ``left @ right.conj().T``.
        """

    @abstractmethod
    def adjoint(self, weights: Array) -> Any:
        """The matrix ``sum_i weights_i A_i`` of shape `matrix_shape`.

        Returned in the form that is natural for the kind: an array, a sparse
        array or a LinearOperator. It supports ``@`` with a dense block and
        ``.T``, which is all the optimizer needs.
        """

    @abstractmethod
    def rows(self, index: Array) -> Self:
        """The measurements at the given positions, in that order."""

    @property
    def folds_share(self) -> bool:
        """Whether all folds read the same data in place, instead of copies."""
        return False

    def fold(self, index: Array) -> Measurements:
        """The same as `rows`, for one of several long fits side by side.

        Override it if all of these fits should read the same data in place.
        """
        return self.rows(index)

    def natural_order(self) -> Array | None:
        """The order in which products are fastest; None if the measurements have it."""
        return None

    def cells(self, index: Array | None = None) -> tuple[Array, Array] | None:
        """Rows and columns of the cells that the measurements at `index` read.

        Without an index they are those of all measurements, which are perhaps not
        copied. None unless the measurements are `single_entries`.
        """
        return None

    def groups(self, *, symmetric: bool = False) -> Groups:
        """The groups of rows and columns that share no measurement.

        There is one group unless measurements are `single_entries`.

        Parameters
        ----------
        symmetric : bool, default=False
            Whether row i and column i belong together, because they share a factor.
        """
        cells, (n_rows, n_columns) = self.cells(), self.matrix_shape
        if cells is None or not self.single_entries:
            return Groups.one((np.ones(n_rows, bool), np.ones(n_columns, bool)))
        rows, columns = cells
        seen = slab_bincount(rows, n_rows) > 0, slab_bincount(columns, n_columns) > 0
        return connected_groups(rows, columns, seen, symmetric=symmetric)

    def line_counts(self, often: Any = None) -> tuple[Array, Array]:
        """How many entries are observed in each row and each column, if these are read.

        Parameters
        ----------
        often : ndarray of shape (n_measurements,), default=None
            How often each was observed; None is once.

        Returns
        -------
        rows, columns : ndarray of shape (n_rows,), (n_columns,)
        """
        cells = self.cells()
        assert cells is not None
        weights = None if often is None else often.__getitem__
        pairs = zip(cells, self.matrix_shape, strict=True)
        rows, columns = (slab_bincount(lines, n, weights) for lines, n in pairs)
        return rows, columns

    def row_solutions(
        self,
        weights: Array,
        right_hand_side: Array,
        other: Array,
        ridge: float | Array,
        block: int,
    ) -> Array | None:
        """Solve for one factor with the other fixed, a small problem for each row.

        ``Z`` minimises ``sum_i weights_i <A_i, Z other^T>^2 / 2
        + sum_j ridge_j |z_j|^2 / 2 - <right_hand_side, Z>``, with the transposed matrix
        for the right factor.

        Parameters
        ----------
        weights : ndarray of shape (n_measurements,)
            Not negative.
        right_hand_side : ndarray of shape (n_rows, r) or (n_columns, r)
        other : ndarray of shape (n_columns, r) or (n_rows, r)
            The fixed factor.
        ridge : float or ndarray of shape (n_rows,) or (n_columns,)
            Of each row of Z.
        block : {0, 1}
            Whether the left or the right factor is solved for.

        Returns
        -------
        ndarray of the shape of `right_hand_side`, or None
            The solution of least norm. None where no closed form is at hand, because
            a measurement may read several rows.
        """
        return None

    def stacked(self, part: slice) -> Array:
        """Some measurement matrices, flattened: an array of `shape` for these.

        Learning the noise of few cells asks for this. The base class takes the adjoint
        of each; a kind that has the matrices at hand overrides it.

        Parameters
        ----------
        part : slice
            Which measurements.
        """
        alone = (self.rows(np.array([i])) for i in range(self.n_measurements)[part])
        one = np.ones(1, self.dtype)
        formed = [as_matrix(each.adjoint(one)).formed().ravel() for each in alone]
        return np.array(formed, self.dtype).reshape(len(formed), self.shape[1])

    def design(self, other: Array, block: int) -> Array:
        """The measurement matrices times a factor: the design for the other factor.

        ``<A_i, Z other^T>`` is the inner product of Z with ``A_i other``, and that of
        ``A_i`` with ``other Z^T`` is the one of ``A_i^T other`` with Z (of complex
        numbers ``A_i^H other``). The base class reads all measurement matrices, block
        by block.

        Parameters
        ----------
        other : ndarray of shape (n_columns, r) or (n_rows, r)
            The fixed factor.
        block : {0, 1}
            Whether it is the right factor, so that the left one is free, or the other
            way round.

        Returns
        -------
        ndarray of shape (n_measurements, n_rows, r) or (n_measurements, n_columns, r)
        """
        n, r = self.matrix_shape[block], other.shape[1]
        out = np.empty((self.n_measurements, n, r), self.dtype)
        for part in slabs(self.shape):
            matrices = self.stacked(part).reshape(-1, *self.matrix_shape)
            out[part] = matrices_times(matrices, other, block)
        return out

    def sizes(self) -> Array:
        """The Frobenius norm of each measurement matrix, shape (n_measurements,)."""
        return self._sizes()

    @abstractmethod
    def _mean_square(self) -> float:
        """Mean over the measurements of ``||A_i||_F^2 / (n_rows n_columns)``."""

    @cached_property
    def mean_square(self) -> float:
        """Mean squared entry of the measurement matrices.

        For random measurements ``mean(y^2) ~ mean_square * ||M||_F^2``, so the
        loss divided by it has a curvature of about one in the matrix.
        """
        return self._mean_square()

    @cached_property
    def size(self) -> float:
        """The root of `mean_square`, also where the square is no number.

        Where it is, nothing else is computed.
        """
        size = float(np.sqrt(self.mean_square))
        return size if UNIT.is_ordinary(size) else self._size()

    def _size(self) -> float:
        """The root mean squared entry, without squares of very large or small numbers.

        The base class computes it from the sizes of all measurement matrices.
        """
        n_cells = self.matrix_shape[0] * self.matrix_shape[1]
        return norm(self._sizes()) / float(
            np.sqrt(max(1, self.n_measurements * n_cells))
        )

    def of_unit_size(self) -> tuple[Measurements, float]:
        """The measurements divided by a power of two, and that number.

        It is one unless the squares of the entries might leave the range of the type.
        """
        unit = 1.0 if self.single_entries else UNIT.unit(self.size, self.dtype)
        return (self, 1.0) if unit == 1.0 else (self.scaled(1.0 / unit), unit)

    def scaled(self, factor: float) -> Measurements:
        """The measurements times a factor, of the same type.

        The base class multiplies what goes in and what comes out. A kind whose
        measurement matrices take little memory multiplies these.
        """
        return ScaledMeasurements(self, factor)

    def weighted_mean_square(self, weights: Array) -> float:
        """`mean_square`, where a measurement of weight two counts like two.

        Parameters
        ----------
        weights : ndarray of shape (n_measurements,)
        """
        sizes, n_cells = self._sizes(), self.matrix_shape[0] * self.matrix_shape[1]
        return square(norm(np.sqrt(weights) * sizes)) / (
            float(np.sum(weights)) * n_cells
        )

    def _sizes(self) -> Array:
        """The Frobenius norm of each measurement matrix, shape (n_measurements,).

        The base class computes them one by one; a kind that can compute all of them at
        once overrides this.
        """
        n_cells = self.matrix_shape[0] * self.matrix_shape[1]
        alone = (self.rows(np.array([i])) for i in range(self.n_measurements))
        return np.sqrt(n_cells * np.array([one._mean_square() for one in alone]))

    def check_adjoint(self) -> None:
        """Refuse an adjoint that is not that of `forward`, by one product with each.

        A fit asks once. Kinds whose products are `checked` are right without a test.

        Raises
        ------
        ValueError
            If both differ for a random matrix and random weights.
        """
        if self._products_checked:
            return
        rng = np.random.default_rng(0)
        left, right = (self._probe(rng, (n, 1)) for n in self.matrix_shape)
        weights = self._probe(rng, (self.n_measurements,))
        weights /= np.maximum(np.abs(weights), np.finfo(self.dtype).tiny)
        measured = self.forward(left, right)
        back = self.adjoint_products(weights, left, right)
        inner = np.array([dot(measured, weights)])
        adjoint_inner = np.array([dot(left, back[0]), dot(right, back[1])])
        names = "forward", "adjoint"
        check_adjoint(inner, adjoint_inner, norm(measured), names, self)

    def _probe(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Gaussian numbers of the measurements' type."""
        numbers = rng.standard_normal(shape)
        if self.dtype.kind == "c":
            numbers = numbers + 1j * rng.standard_normal(shape)
        return numbers.astype(self.dtype)

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        """The two measurements that describe a straight line in the factors.

        Returns
        -------
        linear : ndarray of shape (n_measurements,)
            Measurements of ``d_left @ right.T + left @ d_right.T``.
        quadratic : ndarray of shape (n_measurements,)
            Measurements of ``d_left @ d_right.T``.
        """
        linear = self.forward_tangent(left, right, d_left, d_right)
        return linear, self.forward(d_left, d_right)

    def ray_and_back(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        weights: Any,
    ) -> tuple[Array, Array, Any, Any]:
        """`forward_ray`, and `adjoint` of the weights times both.

        The weights are a number or an array of shape (n_measurements,). The optimizer
        asks for this where `keeps_adjoint`: override it if one pass will do.
        """
        linear, quadratic = self.forward_ray(left, right, d_left, d_right)
        weights = np.asarray(weights, self.dtype)
        back = (self.adjoint(weights * z) for z in (linear, quadratic))
        return linear, quadratic, *back

    def forward_and_back(
        self, left: Array, right: Array, weights: Any
    ) -> tuple[Array, Any]:
        """`forward`, and `adjoint` of the weights times it; as `ray_and_back`."""
        measured = self.forward(left, right)
        return measured, self.adjoint(np.asarray(weights, self.dtype) * measured)

    def forward_tangent(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> Array:
        """The linear part of `forward_ray` alone, shape (n_measurements,)."""
        return self.forward(np.hstack([d_left, left]), np.hstack([right, d_right]))

    def tangent(self, left: Array, right: Array) -> Tangent:
        """The measurements of tangent matrices at a fixed point.

        Kinds whose measurement matrices are expensive to read contract them with
        the factors here, once, for many products at the same point.
        """
        return Tangent(self, left, right)

    def contracts(self, rank: int) -> bool:
        """Whether a `tangent` at factors of that rank contracts measurement matrices.

        The contracted ones are at most half as large, so that products at a fixed point
        are best computed from them.
        """
        return False

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        """``A*(weights) @ right`` and ``A*(weights).T @ left`` together.

        Gradients come from here; override it where one pass serves both products,
        or where they are cheaper than the adjoint itself. Of complex numbers, the
        second one is ``A*(weights)^H @ left``.
        """
        matrix = self.adjoint(weights)
        return np.asarray(matrix @ right), np.asarray(adjoint_of(matrix) @ left)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_measurements, n_rows * n_columns)``: what a splitter looks at."""
        return self.n_measurements, self.matrix_shape[0] * self.matrix_shape[1]

    def __len__(self) -> int:
        return self.n_measurements

    def __getitem__(self, key: Any) -> Self:
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] not in (Ellipsis, slice(None)):
                raise IndexError(
                    f"{type(self).__name__} is indexed by measurement only, got {key}."
                )
            key = key[0]
        index = np.atleast_1d(np.arange(self.n_measurements)[key])
        return self.rows(index)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        # NumPy would take the measurements for a sequence of sequences without end.
        raise TypeError(
            f"{type(self).__name__} cannot be converted to an array; pass it to "
            "PrecGDMatrixSensing as it is, and index it by measurement."
        )

    def __repr__(self) -> str:
        n_rows, n_columns = self.matrix_shape
        return (
            f"{type(self).__name__}({self.n_measurements} measurements of a "
            f"{n_rows} x {n_columns} matrix, {self.dtype})"
        )


def matrices_times(matrices: Array, other: Array, block: int) -> Array:
    """``A_i R``, or ``A_i^H L``, of a stack of matrices."""
    if not block:
        return np.asarray(matrices @ other)
    # The factor is conjugated, and not the stack.
    return np.asarray((matrices.transpose(0, 2, 1) @ other.conj()).conj())


def _of_factors(method: Callable[..., Array]) -> Callable[..., Array]:
    """`forward`, refusing what are no factors of a matrix of its shape."""

    @wraps(method)
    def forward(self: Measurements, left: Any, right: Any) -> Array:
        left, right = _as_factor(left), _as_factor(right)
        n_rows, n_columns = self.matrix_shape
        if (
            left.ndim != 2
            or right.ndim != 2
            or left.shape[0] != n_rows
            or right.shape != (n_columns, left.shape[1])
        ):
            raise ValueError(
                f"{type(self).__name__}.forward takes two factors of a matrix, of "
                f"shape ({n_rows}, r) and ({n_columns}, r), got {left.shape} and "
                f"{right.shape}; a vector x is the factor x[:, None], and a matrix M "
                f"the factors M and np.eye({n_columns})."
            )
        return method(self, left, right)

    return forward


def _as_factor(factor: Any) -> Any:
    """An array; a ket of QuTiP has a single column."""
    if hasattr(factor, "ndim"):
        return factor
    return np.asarray(factor.full() if is_qobj(factor) else factor)


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, refusing products that hold NaN or infinity."""

    @wraps(method)
    def product(self: Measurements, *given: Any, **named: Any) -> Any:
        result = method(self, *given, **named)
        factors = (*given, *named.values())
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, np.ndarray) or sparse.issparse(part):
                values = part.data if sparse.issparse(part) else part
                check_finite(values, factors, method.__name__, self)
        if isinstance(result, LinearOperator) and not isinstance(result, Matrix):
            # This one checks its own products.
            return OperatorMatrix(result)
        return result

    return product


class ScaledMeasurements(Measurements, checked=True):
    """Other measurements times a factor, which multiplies what goes in and comes out.

    Parameters
    ----------
    measurements : Measurements
    factor : float
        Positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import DenseMeasurements
    >>> from skprecgd.measurements.base import ScaledMeasurements
    >>> A = ScaledMeasurements(DenseMeasurements(np.eye(4), (2, 2)), 0.5)
    >>> A.forward(np.ones((2, 1)), np.array([[2.0], [4.0]]))
    array([1., 2., 1., 2.])
    """

    def __init__(self, measurements: Measurements, factor: float) -> None:
        self.measurements, self.factor = measurements, factor
        self.matrix_shape, self.dtype = measurements.matrix_shape, measurements.dtype
        self.keeps_adjoint = measurements.keeps_adjoint
        self.has_design = measurements.has_design

    @property
    def n_measurements(self) -> int:
        return self.measurements.n_measurements

    @property
    def of_complex(self) -> bool:
        return self.measurements.of_complex

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    def forward(self, left: Array, right: Array) -> Array:
        return self._scaled(self.measurements.forward(left, right))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        both = self.measurements.forward_ray(left, right, d_left, d_right)
        return self._scaled(both[0]), self._scaled(both[1])

    def adjoint(self, weights: Array) -> Any:
        return self.measurements.adjoint(self._scaled(weights))

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        weights = self._scaled(weights)
        return self.measurements.adjoint_products(weights, left, right)

    def rows(self, index: Array) -> ScaledMeasurements:
        return ScaledMeasurements(self.measurements.rows(index), self.factor)

    @property
    def folds_share(self) -> bool:
        return self.measurements.folds_share

    def fold(self, index: Array) -> ScaledMeasurements:
        return ScaledMeasurements(self.measurements.fold(index), self.factor)

    def natural_order(self) -> Array | None:
        return self.measurements.natural_order()

    def stacked(self, part: slice) -> Array:
        return self._scaled(self.measurements.stacked(part))

    def design(self, other: Array, block: int) -> Array:
        return self._scaled(self.measurements.design(other, block))

    def _mean_square(self) -> float:
        return square(self._size())

    def _size(self) -> float:
        return self.measurements._size() * self.factor

    def _sizes(self) -> Array:
        return self.measurements._sizes() * self.factor

    def _scaled(self, values: Array) -> Array:
        return np.asarray(values * values.dtype.type(self.factor))


class Tangent:
    """``(dL, dR) -> A(dL R^T + L dR^T)`` at a fixed point, and its adjoint."""

    def __init__(self, measurements: Measurements, left: Array, right: Array) -> None:
        self._measurements, self._left, self._right = measurements, left, right

    def forward(self, d_left: Array, d_right: Array) -> Array:
        """Measurements of a tangent matrix, shape (n_measurements,)."""
        return self._measurements.forward_tangent(
            self._left, self._right, d_left, d_right
        )

    def adjoint(self, weights: Array) -> tuple[Array, Array]:
        """``A*(w) R`` and ``A*(w)^T L``."""
        return self._measurements.adjoint_products(weights, self._left, self._right)

    def normal(
        self, d_left: Array, d_right: Array, weights: Any
    ) -> tuple[Array, Array]:
        """`adjoint` of `forward` times the weights, a number or shape (n,).

        It is used for directions, which need few digits: single precision is enough.
        """
        return self.adjoint(weights * self.forward(d_left, d_right))


def check_matrix_shape(
    matrix_shape: tuple[int, int] | None, n_cells: int
) -> tuple[int, int]:
    """`matrix_shape`, validated against the number of cells.

    None stands for the most balanced shape with that many cells, rows >= columns.
    """
    if n_cells < 1:
        raise ValueError(
            "The measurements have 0 columns; each needs n_rows * n_columns cells."
        )
    if matrix_shape is None:
        n_columns = int(np.sqrt(n_cells))
        while n_cells % n_columns:
            n_columns -= 1
        return n_cells // n_columns, n_columns
    shape = as_shape(matrix_shape)
    if shape[0] * shape[1] != n_cells:
        raise ValueError(
            f"matrix_shape={shape} has {shape[0] * shape[1]} cells, but the "
            f"measurements have {n_cells} columns; give a shape with "
            f"n_rows * n_columns == {n_cells}."
        )
    return shape


def as_shape(matrix_shape: Any) -> tuple[int, int]:
    """Two positive integers, or a ValueError that quotes what was given."""
    try:
        n_rows, n_columns = (int(n) for n in matrix_shape)
        exact = (n_rows, n_columns) == tuple(matrix_shape)
    except (TypeError, ValueError):
        exact = False
    if not exact or min(n_rows, n_columns) < 1:
        raise ValueError(
            f"matrix_shape must be two positive integers (n_rows, n_columns), "
            f"got {matrix_shape!r}."
        )
    return n_rows, n_columns
