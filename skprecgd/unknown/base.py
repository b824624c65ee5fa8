"""The contract of an unknown, general matrices ``L R^T`` and symmetric ``X X^T``.

Complex matrices are ``L R^H``, and ``X X^H`` where they are Hermitian.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from skprecgd._linalg.leading import leading_eigenpairs, leading_triplets
from skprecgd._linalg.numerics import adjoint_of, complex_dtype, norm
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.factors import FactorPair, Factors, SymmetricFactor, Triplets


class Unknown(ABC):
    """Contract of the matrices among which one is searched.

    Attributes
    ----------
    name : str
        Two searches of the same name are for the same kind of matrix.
    has_two_factors : bool
        Whether left and right factor move independently, so that terms of any sign can
        be added.
    offsets : tuple of bool
        Whether rows have offsets that are in no component, and whether columns have
        any.
    one_of_columns : bool
        Whether the offsets of all columns are the same.
    of_complex : bool
        Whether the numbers of the matrices are complex.
    """

    name: str
    offsets: tuple[bool, bool] = (False, False)
    one_of_columns: bool = False
    has_two_factors: ClassVar[bool] = True
    of_complex: ClassVar[bool] = False

    def check_shape(self, matrix_shape: tuple[int, int]) -> None:
        """Refuse a shape that no such matrix has.

        Parameters
        ----------
        matrix_shape : tuple of int

        Raises
        ------
        ValueError
        """
        return None

    @abstractmethod
    def degrees_of_freedom(self, matrix_shape: tuple[int, int], rank: int) -> int:
        """How many numbers determine a matrix of that rank.

        Parameters
        ----------
        matrix_shape : tuple of int
        rank : int
        """

    @abstractmethod
    def of_svd(self, u: Array, s: Array, v: Array) -> Factors:
        """Balanced factors of ``U diag(s) V^T``.

        Parameters
        ----------
        u, s, v : ndarray of shape (n_rows, r), (r,), (n_columns, r)
        """

    def zero(
        self, matrix_shape: tuple[int, int], rank: int, dtype: np.dtype
    ) -> Factors:
        """The zero matrix by factors of so many columns.

        Parameters
        ----------
        matrix_shape : tuple of int
        rank : int
        dtype : dtype
        """
        u, v = (np.zeros((n, rank), dtype) for n in matrix_shape)
        return self.of_svd(u, np.zeros(rank, dtype), v)

    @abstractmethod
    def of_pair(self, left: Array, right: Array) -> Factors:
        """The factors that a user gives as a pair.

        Parameters
        ----------
        left, right : ndarray of shape (n_rows, r), (n_columns, r)

        Raises
        ------
        ValueError
            If these are no factors of such a matrix.
        """

    def of_parts(self, pair: Factors, rows: Array, columns: Array) -> Factors:
        """Factors of a low-rank matrix and offsets, of which those count that it has.

        Parameters
        ----------
        pair : Factors
        rows, columns : ndarray of shape (n_rows,), (n_columns,)
        """
        return self.of_pair(pair.left, pair.right)

    def of_factors(self, factors: Factors) -> Factors:
        """Points of this unknown, however they were scaled since, to start from.

        Parameters
        ----------
        factors : Factors
        """
        return factors

    @abstractmethod
    def of_sketch(self, left: Array, n_columns: int) -> Factors:
        """A start in a given range: the right factor is zero where there is one.

        Parameters
        ----------
        left : ndarray of shape (n_rows, r)
        n_columns : int
        """

    @abstractmethod
    def drawn(
        self, matrix_shape: tuple[int, int], rank: int, rng: np.random.RandomState
    ) -> Factors:
        """Gaussian factors whose columns have norm one, about.

        Parameters
        ----------
        matrix_shape : tuple of int
        rank : int
        rng : RandomState
        """

    def _numbers(self, block: Array) -> Array:
        """The same numbers, real or complex as those of all points are."""
        return block

    def _gaussian(self, n: int, rank: int, rng: np.random.RandomState) -> Array:
        """A Gaussian block whose columns have norm one, about."""
        return np.asarray(rng.standard_normal((n, rank)) / np.sqrt(n))

    def visible(self, gradient: Any) -> Any:
        """The gradient in the matrix without what no component needs to stand for.

        Parameters
        ----------
        gradient : array, sparse array or LinearOperator of shape `matrix_shape`
        """
        return gradient

    @abstractmethod
    def descent(
        self, gradient: Any, count: int, random_state: RandomState, *, tol: float = 0.0
    ) -> Triplets:
        """The rank-one terms along which the loss falls fastest.

        Parameters
        ----------
        gradient : array, sparse array or LinearOperator of shape `matrix_shape`
            The `visible` part of the gradient of the loss in the matrix.
        count : int
        random_state : int, RandomState instance or None
            Start vector of the iterative decomposition.
        tol : float, default=0.0
            Relative error allowed in the squared slopes, where there is a choice.

        Returns
        -------
        u, slopes, v : ndarray of shape (n_rows, count), (count,), (n_columns, count)
            The loss falls by so much per unit of length; slopes descend.
        """

    @abstractmethod
    def surely_descends(self, gradient: Any, level: float, probe: Array) -> bool:
        """Whether one product shows a term whose slope is above a level.

        Parameters
        ----------
        gradient : array, sparse array or LinearOperator of shape `matrix_shape`
            The `visible` part of the gradient of the loss in the matrix.
        level : float
        probe : ndarray of shape (n_columns,)
            The vector to multiply with.
        """


class General(Unknown):
    """All matrices, as ``L R^T``."""

    name = "general"

    def degrees_of_freedom(self, matrix_shape: tuple[int, int], rank: int) -> int:
        n_rows, n_columns = matrix_shape
        return rank * (n_rows + n_columns - rank)

    def of_svd(self, u: Array, s: Array, v: Array) -> Factors:
        return FactorPair.from_svd(self._numbers(u), s, self._numbers(v))

    def of_pair(self, left: Array, right: Array) -> Factors:
        return FactorPair(self._numbers(left), self._numbers(right))

    def of_sketch(self, left: Array, n_columns: int) -> Factors:
        return self.of_pair(left, np.zeros((n_columns, left.shape[1])))

    def drawn(
        self, matrix_shape: tuple[int, int], rank: int, rng: np.random.RandomState
    ) -> Factors:
        left, right = (self._gaussian(n, rank, rng) for n in matrix_shape)
        return self.of_pair(left, right)

    def descent(
        self, gradient: Any, count: int, random_state: RandomState, *, tol: float = 0.0
    ) -> Triplets:
        u, slopes, v = leading_triplets(gradient, count, random_state, tol=tol)
        # The triplets are those of the gradient; the descent has the other sign.
        return -u, slopes, v

    def surely_descends(self, gradient: Any, level: float, probe: Array) -> bool:
        seen = np.asarray(gradient @ probe)
        size = norm(seen)
        if size == 0.0:
            return False
        return norm(np.asarray(adjoint_of(gradient) @ (seen / size))) > level


GENERAL = General()


class Symmetric(Unknown):
    """Symmetric positive semidefinite matrices, as ``X X^T``."""

    name = "symmetric"
    has_two_factors = False

    def check_shape(self, matrix_shape: tuple[int, int]) -> None:
        if matrix_shape[0] != matrix_shape[1]:
            raise ValueError(
                f"symmetric=True needs a square matrix, got matrix_shape="
                f"{matrix_shape}."
            )

    def degrees_of_freedom(self, matrix_shape: tuple[int, int], rank: int) -> int:
        return rank * (2 * matrix_shape[0] - rank + 1) // 2

    def of_svd(self, u: Array, s: Array, v: Array) -> Factors:
        return SymmetricFactor.from_svd(self._numbers(u), s, v)

    def of_pair(self, left: Array, right: Array) -> Factors:
        if not np.array_equal(left, right):
            raise ValueError("symmetric=True needs an init with left equal to right.")
        return SymmetricFactor(self._numbers(left))

    def of_sketch(self, left: Array, n_columns: int) -> Factors:
        return self.of_pair(left, left)

    def drawn(
        self, matrix_shape: tuple[int, int], rank: int, rng: np.random.RandomState
    ) -> Factors:
        x = self._gaussian(matrix_shape[0], rank, rng)
        return self.of_pair(x, x)

    def descent(
        self, gradient: Any, count: int, random_state: RandomState, *, tol: float = 0.0
    ) -> Triplets:
        slopes, u = leading_eigenpairs(-1.0 * gradient, count, random_state)
        return u, slopes, u

    def surely_descends(self, gradient: Any, level: float, probe: Array) -> bool:
        # A large singular value may be that of a term of the wrong sign.
        return False


class _OfComplexNumbers(Unknown):
    """What complex matrices have in common: every point has complex blocks."""

    of_complex = True

    def _numbers(self, block: Array) -> Array:
        return np.asarray(block, complex_dtype(block.dtype))

    def _gaussian(self, n: int, rank: int, rng: np.random.RandomState) -> Array:
        parts = rng.standard_normal((2, n, rank)) / np.sqrt(2 * n)
        return np.asarray(parts[0] + 1j * parts[1])


class ComplexGeneral(_OfComplexNumbers, General):
    """All complex matrices, as ``L R^H``."""

    name = "complex"

    def degrees_of_freedom(self, matrix_shape: tuple[int, int], rank: int) -> int:
        return 2 * General.degrees_of_freedom(self, matrix_shape, rank)


class Hermitian(_OfComplexNumbers, Symmetric):
    """Hermitian positive semidefinite matrices, as ``X X^H``."""

    name = "Hermitian"

    def degrees_of_freedom(self, matrix_shape: tuple[int, int], rank: int) -> int:
        # X has 2 n r real numbers, of which a unitary matrix of r^2 leaves X X^H alone.
        return rank * (2 * matrix_shape[0] - rank)

    def descent(
        self, gradient: Any, count: int, random_state: RandomState, *, tol: float = 0.0
    ) -> Triplets:
        slopes, u = leading_eigenpairs(-1.0 * gradient, count, random_state, tol=tol)
        return u, slopes, u


def unknown_of(symmetric: bool, *, of_complex: bool = False) -> Unknown:
    """The unknown behind the value of a parameter `symmetric`.

    Parameters
    ----------
    symmetric : bool
    of_complex : bool, default=False
        Whether the numbers of the matrix are complex.
    """
    if of_complex:
        return Hermitian() if symmetric else ComplexGeneral()
    return Symmetric() if symmetric else GENERAL
