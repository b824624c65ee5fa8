"""Points of the unknown: a low-rank matrix held by its factors.

`FactorPair` is ``M = L R^T``; `SymmetricFactor` is ``M = X X^T``. Both are
immutable and know nothing of measurements or losses. A tangent vector (a
gradient, a search direction) is held in the same class as the point it belongs
to, so that the optimizer's arithmetic is written once.

The numbers may be complex: then the matrix is ``L R^H`` or, Hermitian, ``X X^H``. The
inner product of tangent vectors is that of their real and imaginary parts, ``Re <D,
E>``, so gradients and directions mean what they mean for real numbers. Gram matrices,
singular values and ranks are those of complex matrices: iterates do not depend on the
unitary U of ``L U`` and ``R U``, and the columns x and ix count once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from skprecgd._linalg.groups import Block
from skprecgd._linalg.numerics import (
    adjoint_of,
    complex_numbers,
    dot,
    gram,
    in_precision,
    kind_in,
    real_dtype,
    real_parts,
)
from skprecgd._runtime.typing import Array

Triplets = tuple[Array, Array, Array]


class Factors(ABC):
    """A low-rank matrix given by its factor blocks.

    Attributes
    ----------
    blocks : tuple of ndarray
        The free variables, each of shape (n, rank).
    multiplicity : int
        How many of the two factors one block stands for (1 in a pair, 2 in a
        symmetric factor). The metric carries it, so that one step size means
        the same for both.
    is_balanced : bool
        Whether the blocks are known to be those that `with_svd` makes of `svd`.
    """

    multiplicity: int
    is_balanced: bool = False
    _triplets: Triplets | None = None

    def __init__(self, *blocks: Array) -> None:
        if len({np.shape(block)[1:] for block in blocks}) > 1:
            raise ValueError(
                "The factors must have equal numbers of columns, got shapes "
                f"{' and '.join(str(np.shape(block)) for block in blocks)}."
            )
        arrays = (np.asarray(block) for block in blocks)
        self.blocks = tuple(in_precision(block, block.dtype) for block in arrays)

    @property
    @abstractmethod
    def left(self) -> Array:
        """Left factor, shape (n_rows, rank)."""

    @property
    @abstractmethod
    def right(self) -> Array:
        """Right factor, shape (n_columns, rank)."""

    @abstractmethod
    def multipliers(self) -> tuple[Array, ...]:
        """Per block, the factor it is multiplied with."""

    def metric_grams(self) -> tuple[Array, ...]:
        """Per block, the Gram matrix of the factor it is multiplied with."""
        return tuple(gram(factor) for factor in self.multipliers())

    @abstractmethod
    def joined(self, to_left: Array, to_right: Array) -> Self:
        """Gradient in the blocks from those in the left and the right factor."""

    @abstractmethod
    def other_times_right(self, matrices: Sequence[Array]) -> Factors | None:
        """Per block, the factor it is multiplied with times the block's matrix.

        None where these are no point of the same kind.
        """

    @abstractmethod
    def _decomposition(self) -> Triplets:
        """See `svd`."""

    @abstractmethod
    def with_svd(self, u: Array, s: Array, v: Array) -> Self:
        """The same kind by balanced factors of ``U diag(s) V^T``."""

    def knowing(self, u: Array, s: Array, v: Array, *, balanced: bool = False) -> Self:
        """The same object, whose `svd` is known, and whether it was made of that."""
        self._triplets, self.is_balanced = (u, s, v), balanced
        return self

    @property
    def penalised(self) -> Self:
        """The part that a penalty on the factors sees, as a tangent vector: all."""
        return self

    @property
    def low_rank(self) -> Factors:
        """The matrix without offsets of its rows and columns: all of it."""
        return self

    @property
    def offsets(self) -> tuple[Array, Array]:
        """Offsets of the rows and of the columns: zeros."""
        n_rows, n_columns = self.matrix_shape
        return np.zeros(n_rows, self.dtype), np.zeros(n_columns, self.dtype)

    def with_components(self, pair: Factors) -> Factors:
        """The same offsets beside another low-rank matrix: that one."""
        return pair

    def centred(self) -> Self:
        """The same matrix, its offsets in no component: these factors."""
        return self

    def stationarity(self, gradient: Self) -> float:
        """By how much the objective may fall along the factors, to first order.

        Parameters
        ----------
        gradient : Factors
            Gradient of the objective at these factors.
        """
        return 0.5 * gradient.inner(self)

    def moves_by_rows(self, block: int, *, penalised: bool) -> bool:
        """Whether each row of a block is a ridge regression on its multiplier."""
        return True

    def gradient_from(self, adjoint: Any) -> Self:
        """Chain rule: gradient in the factors, given the one in the matrix.

        Parameters
        ----------
        adjoint : array, sparse array or LinearOperator of shape `matrix_shape`
            ``S``, the gradient of the loss with respect to the matrix.
        """
        return self.joined(
            np.asarray(adjoint @ self.right),
            np.asarray(adjoint_of(adjoint) @ self.left),
        )

    @property
    def rank(self) -> int:
        """Number of columns of the factors: the search rank."""
        return int(self.blocks[0].shape[1])

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Shape of the matrix, ``(n_rows, n_columns)``."""
        return self.left.shape[0], self.right.shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Precision of the blocks, float32 or float64."""
        return real_dtype(self.blocks[0].dtype)

    @property
    def is_complex(self) -> bool:
        """Whether the numbers are complex."""
        return self.blocks[0].dtype.kind == "c"

    def matrix(self) -> Array:
        """The matrix itself, formed: shape (n_rows, n_columns)."""
        return np.asarray(self.left @ self.right.conj().T)

    def moved(self, direction: Factors, step: float) -> Self:
        """The point ``self + step * direction``."""
        t = self.dtype.type(step)
        pairs = zip(self.blocks, direction.blocks, strict=True)
        return self._with(*(b + t * d for b, d in pairs))

    def times_right(self, matrices: Sequence[Array]) -> Self:
        """Every block multiplied from the right by its own (rank, rank) matrix."""
        pairs = zip(self.blocks, matrices, strict=True)
        return self._with(*(b @ m for b, m in pairs))

    def times_lines(self, lines: Sequence[Array]) -> Self:
        """Every row of a block multiplied by a number: `lines` are those of L and R."""
        pairs = zip(self.blocks, lines, strict=False)
        lined = (b * line.astype(self.dtype)[:, None] for b, line in pairs)
        return self._with(*lined)

    def flat(self) -> Array:
        """All blocks in one vector of real numbers."""
        numbers = np.concatenate([block.ravel() for block in self.blocks])
        return real_parts(numbers) if self.is_complex else numbers

    def shaped(self, numbers: Array) -> Self:
        """Factors of the same shapes with other numbers, as `flat` gives them."""
        numbers = complex_numbers(numbers) if self.is_complex else numbers
        blocks, start = [], 0
        for block in self.blocks:
            blocks.append(numbers[start : start + block.size].reshape(block.shape))
            start += block.size
        return self._with(*blocks)

    def _with(self, *blocks: Array) -> Self:
        """The same kind with blocks that are known to fit: nothing is checked."""
        made = object.__new__(type(self))
        made.blocks = blocks
        return made

    def times(self, scalar: float) -> Self:
        """Every block multiplied by a scalar (a tangent vector's scaling)."""
        t = self.dtype.type(scalar)
        return self._with(*(t * b for b in self.blocks))

    def only(self, block: int) -> Self:
        """The tangent vector that moves one block and keeps the others."""
        blocks = enumerate(self.blocks)
        return self._with(*(b if i == block else np.zeros_like(b) for i, b in blocks))

    def with_block(self, block: int, numbers: Array) -> Self:
        """The same factors with other numbers in one block."""
        blocks = enumerate(self.blocks)
        return self._with(*(numbers if i == block else b for i, b in blocks))

    def divided(self, units: Sequence[float]) -> Self:
        """Factors of the matrix divided by the product of two numbers.

        Parameters
        ----------
        units : sequence of float
            One for each block.
        """
        pairs = zip(self.blocks, units, strict=True)
        return self._with(*(block / unit for block, unit in pairs))

    def scaled(self, scale: float) -> Self:
        """Factors of ``scale * M`` (scale > 0)."""
        return self.times(float(np.sqrt(scale)))

    def inner(self, other: Factors) -> float:
        """Euclidean inner product of two tangent vectors."""
        pairs = zip(self.blocks, other.blocks, strict=True)
        return sum(dot(a, b) for a, b in pairs)

    def ridge(self) -> float:
        """``||L||_F^2 + ||R||_F^2``: twice the nuclear norm when balanced."""
        part = self.penalised
        return self.multiplicity * part.inner(part)

    def svd(self) -> Triplets:
        """Thin SVD ``U, s, V`` of the matrix; V has shape (n_columns, rank).

        The matrix is ``U diag(s) V^T``, of complex numbers ``U diag(s) V^H``.
        """
        if self._triplets is None:
            self._triplets = self._decomposition()
        return self._triplets

    @property
    def rounding(self) -> float:
        """Rounding of the singular values, as a share of the largest one."""
        return max(self.matrix_shape) * float(np.finfo(self.dtype).eps)

    @property
    def numerical_rank(self) -> int:
        """The number of singular values that are no rounding errors."""
        s = self.singular_values()
        return int(np.sum(s > self.rounding * np.max(s, initial=0.0)))

    def singular_values(self) -> Array:
        """Singular values of the matrix, descending, shape (rank,)."""
        return self.svd()[1]

    def balanced(self) -> Self:
        """Same matrix, factors ``U sqrt(s)`` and ``V sqrt(s)``, s descending."""
        return self.with_svd(*self.svd())

    def zero(self) -> Self:
        """The zero matrix by factors of the same shapes."""
        return self._with(*(np.zeros_like(block) for block in self.blocks))

    def in_precision(self, dtype: np.dtype) -> Self:
        """The same factors as numbers of another type."""
        return self._with(*(b.astype(kind_in(b, dtype)) for b in self.blocks))

    def masked(self, rows: Array, columns: Array) -> Self:
        """The matrix with zeros in the rows and columns where a mask is false.

        Parameters
        ----------
        rows, columns : ndarray of bool, shape (n_rows,), (n_columns,)
            They are equal for a symmetric matrix.
        """
        pairs = zip(self.blocks, (rows, columns), strict=False)
        return self._with(*(block * mask[:, None] for block, mask in pairs))

    def without_empty_columns(self) -> Self:
        """The factors without the columns that are zero in all blocks."""
        used = np.any([np.any(block != 0, axis=0) for block in self.blocks], axis=0)
        return self._with(*(block[:, used] for block in self.blocks))

    def with_zeros(self, rank: int) -> Self:
        """The same matrix with columns of zeros, so that there are `rank` columns."""
        missing = rank - self.rank
        if missing <= 0:
            return self
        return self._with(*(np.pad(b, ((0, 0), (0, missing))) for b in self.blocks))

    def truncated(self, rank: int) -> Self:
        """Best approximation of lower rank, balanced."""
        u, s, v = self.svd()
        return self.with_svd(u[:, :rank], s[:rank], v[:, :rank])

    def grown(self, u: Array, s: Array, v: Array) -> Self:
        """Factors of ``M + U diag(s) V^T``: new columns appended."""
        new = self.with_svd(u, s, v).in_precision(self.dtype)
        pairs = zip(self.blocks, new.blocks, strict=True)
        return self._with(*(np.hstack(pair) for pair in pairs))

    def without_last(self, count: int) -> Self:
        """The factors with zeros in the last `count` columns."""
        kept = np.ones(self.rank, self.dtype)
        kept[self.rank - count :] = 0
        return self._with(*(block * kept for block in self.blocks))


class FactorPair(Factors):
    """``M = L R^T`` with L of shape (n_rows, r), R of shape (n_columns, r).

    Of complex numbers it is ``M = L R^H``.

    Parameters
    ----------
    left, right : ndarray
        The two factors; equal numbers of columns.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> pair = FactorPair(np.ones((3, 1)), np.full((2, 1), 2.0))
    >>> pair.matrix_shape, pair.rank
    ((3, 2), 1)
    >>> float(pair.singular_values()[0] / np.sqrt(24))
    1.0
    """

    multiplicity = 1

    @property
    def left(self) -> Array:
        return self.blocks[0]

    @property
    def right(self) -> Array:
        return self.blocks[1]

    def multipliers(self) -> tuple[Array, ...]:
        return self.right, self.left

    def joined(self, to_left: Array, to_right: Array) -> FactorPair:
        return self._with(to_left, to_right)

    def other_times_right(self, matrices: Sequence[Array]) -> FactorPair:
        return self._with(self.left @ matrices[1], self.right @ matrices[0])

    def _decomposition(self) -> Triplets:
        q_left, r_left = np.linalg.qr(self.left)
        q_right, r_right = np.linalg.qr(self.right)
        small = r_left @ r_right.conj().T
        u, s, vt = np.linalg.svd(small, full_matrices=False)
        return q_left @ u, s, q_right @ vt.conj().T

    def with_svd(self, u: Array, s: Array, v: Array) -> FactorPair:
        return self.from_svd(u, s, v)

    @classmethod
    def from_svd(cls, u: Array, s: Array, v: Array) -> FactorPair:
        """Balanced factors of ``U diag(s) V^T``."""
        root = np.sqrt(s)
        return cls(u * root, v * root)


class SymmetricFactor(Factors):
    """``M = X X^T``, symmetric positive semidefinite, X of shape (n, r).

    Of complex numbers it is ``M = X X^H``, Hermitian.

    Parameters
    ----------
    x : ndarray
        The factor.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import SymmetricFactor
    >>> SymmetricFactor(np.array([[1.0], [2.0]])).matrix()
    array([[1., 2.],
           [2., 4.]])
    """

    multiplicity = 2

    @property
    def left(self) -> Array:
        return self.blocks[0]

    @property
    def right(self) -> Array:
        return self.blocks[0]

    def multipliers(self) -> tuple[Array, ...]:
        return self.blocks

    def joined(self, to_left: Array, to_right: Array) -> SymmetricFactor:
        return self._with(to_left + to_right)

    def other_times_right(self, matrices: Sequence[Array]) -> SymmetricFactor:
        return self._with(self.blocks[0] @ matrices[0])

    def _decomposition(self) -> Triplets:
        u, root, _ = np.linalg.svd(self.blocks[0], full_matrices=False)
        return u, root**2, u

    def with_svd(self, u: Array, s: Array, v: Array) -> SymmetricFactor:
        return self.from_svd(u, s, v)

    @classmethod
    def from_svd(cls, u: Array, s: Array, v: Array) -> SymmetricFactor:
        """Balanced factors of ``U diag(s) U^T``."""
        return cls(u * np.sqrt(s))


def of_blocks(
    blocks: Sequence[Block], found: Sequence[Factors], matrix_shape: tuple[int, int]
) -> tuple[Factors, list[Array]]:
    """A matrix that holds others in blocks without common rows and columns.

    It is zero elsewhere. Its SVD is that of the blocks, and singular values that are
    rounding errors within their block are left out.

    Parameters
    ----------
    blocks : sequence of Block
        Where the others stand.
    found : sequence of Factors
        The others, all of one kind.
    matrix_shape : tuple of int

    Returns
    -------
    factors : Factors
        Singular values descending.
    components : list of ndarray of int
        For each block, which of the components are its own, in their order there.
    """
    ranks = [factors.numerical_rank for factors in found]
    ranks[0] += not any(ranks)
    owners = np.repeat(np.arange(len(found)), ranks)
    triplets = [factors.svd() for factors in found]
    values = np.concatenate([t[1][:k] for t, k in zip(triplets, ranks, strict=True)])
    order = np.argsort(-values, kind="stable")
    owners, dtype = owners[order], found[0].dtype
    u, v = (np.zeros((n, len(values)), dtype) for n in matrix_shape)
    components = [np.flatnonzero(owners == k) for k in range(len(found))]
    for block, (left, _, right), own in zip(blocks, triplets, components, strict=True):
        u[np.ix_(block.rows, own)] = left[:, : len(own)]
        v[np.ix_(block.columns, own)] = right[:, : len(own)]
    svd = u, values[order], v
    return found[0].with_svd(*svd).knowing(*svd), components
