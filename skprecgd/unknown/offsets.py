"""Matrices with offsets of their rows and columns that no component stands for.

The unknown is ``M = L R^T + b 1^T + 1 c^T``: the offsets are estimated together with
the factors, and the rank is that of ``L R^T`` alone. By factors with constant columns,

``M = [L b u] [R v c]^T``   with fixed u and v, constant in the rows and columns seen,

so that an objective, which sees the two wide factors only, needs to know nothing of it.
The blocks are ``(L, b)`` and ``(R, c)``. To first order, moves of them are multiplied
with ``(R, v)`` and ``(L, u)`` as those of a pair of factors are: gradient, metric and
Gauss-Newton system are those of such a pair.

A mean that rows or columns of the components have is an offset as well. The singular
values are those of what has no such means, and so are balanced factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skprecgd._linalg.matrices import Matrix, as_matrix
from skprecgd._linalg.numerics import gram, norm
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors, Triplets
from skprecgd.unknown.base import General

CENTERS = ("mean", "columns", "both")
"""The values of a parameter `center` that stand for offsets."""


@dataclass(frozen=True, eq=False)
class Constants:
    """The constant columns beside the factors, and what the offsets may be.

    Attributes
    ----------
    left : ndarray of shape (n_rows,)
        u: of norm one, constant in the rows that are seen and zero in others.
    right : ndarray of shape (n_columns,)
        The same for the columns.
    of_rows : bool
        Whether rows have offsets.
    one_of_columns : bool
        Whether all columns have the same one.
    """

    left: Array
    right: Array
    of_rows: bool
    one_of_columns: bool

    @classmethod
    def of(cls, center: str, seen: tuple[Array, Array]) -> Constants:
        """The constants of a value of the parameter `center`.

        Parameters
        ----------
        center : {"mean", "columns", "both"}
        seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
            Rows and columns with an observed entry.
        """
        left, right = (mask / np.sqrt(max(1, np.sum(mask))) for mask in seen)
        return cls(left, right, center == "both", center == "mean")

    def in_precision(self, dtype: np.dtype) -> Constants:
        """The same numbers of another type."""
        if self.left.dtype == dtype:
            return self
        left, right = self.left.astype(dtype), self.right.astype(dtype)
        return Constants(left, right, self.of_rows, self.one_of_columns)

    def allowed(self, columns: Array) -> Array:
        """Offsets of the columns, projected on what these may be."""
        if not self.one_of_columns:
            return columns
        return self.right * (self.right @ columns)


class OffsetFactors(Factors):
    """``M = L R^T + b v^T + u c^T``, or a tangent vector to it.

    Parameters
    ----------
    constants : Constants
    size : float
        What u and v are multiplied with. It is that of `constants`, which have norm
        one, at the root of the norm of the data, so that offsets have the same
        curvature as factors. In a tangent vector it is zero: nothing moves them.
    left, right : ndarray of shape (n_rows, r + 1), (n_columns, r + 1)
        ``(L, b)`` and ``(R, c)``.
    """

    multiplicity = 1
    _wide: tuple[Array, Array] | None = None

    def __init__(
        self, constants: Constants, size: float, left: Array, right: Array
    ) -> None:
        super().__init__(left, right)
        self.constants, self.size = constants.in_precision(self.dtype), size

    def _with(self, *blocks: Array) -> OffsetFactors:
        made = super()._with(*blocks)
        made.constants, made.size = self.constants, self.size
        return made

    def _of_size(self, size: float) -> OffsetFactors:
        made = self._with(*self.blocks)
        made.size = size
        return made

    def _columns(self) -> tuple[Array, Array]:
        """L and R."""
        return self.blocks[0][:, :-1], self.blocks[1][:, :-1]

    def _constant(self, column: Array) -> Array:
        return self.dtype.type(self.size) * column[:, None]

    @property
    def left(self) -> Array:
        if self._wide is None:
            self._wide = self._widened()
        return self._wide[0]

    @property
    def right(self) -> Array:
        if self._wide is None:
            self._wide = self._widened()
        return self._wide[1]

    def _widened(self) -> tuple[Array, Array]:
        """The wide factors, with their constant columns."""
        left, right = self.blocks
        constants, of_columns = self.constants, self._constant(self.constants.left)
        if not constants.of_rows:
            # The last column of the left block is zero.
            return np.hstack([left[:, :-1], of_columns]), right
        of_rows = self._constant(constants.right)
        wide = np.hstack([right[:, :-1], of_rows, right[:, -1:]])
        return np.hstack([left, of_columns]), wide

    @property
    def rank(self) -> int:
        return int(self.blocks[0].shape[1]) - 1

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return len(self.blocks[0]), len(self.blocks[1])

    # ---- to first order

    def multipliers(self) -> tuple[Array, ...]:
        left, right = self._columns()
        of_rows = self._constant(self.constants.right)
        if not self.constants.of_rows:
            of_rows = np.zeros_like(of_rows)
        of_columns = self._constant(self.constants.left)
        return np.hstack([right, of_rows]), np.hstack([left, of_columns])

    def metric_grams(self) -> tuple[Array, ...]:
        grams = tuple(gram(factor) for factor in self.multipliers())
        if self.constants.one_of_columns:
            # A step must not give the columns different offsets.
            grams[1][:-1, -1] = grams[1][-1, :-1] = 0.0
        return grams

    def joined(self, to_left: Array, to_right: Array) -> OffsetFactors:
        rank = self.rank
        if self.constants.of_rows:
            to_left = to_left[:, : rank + 1]
            to_right = np.hstack([to_right[:, :rank], to_right[:, rank + 1 :]])
        else:
            to_left = np.hstack([to_left[:, :rank], np.zeros_like(to_left[:, :1])])
        return self._tangent(to_left, to_right)

    def _tangent(self, left: Array, right: Array) -> OffsetFactors:
        if self.constants.one_of_columns:
            own = self.constants.allowed(right[:, -1])[:, None]
            right = np.hstack([right[:, :-1], own])
        made = self._with(left, right)
        made.size = 0.0
        return made

    def other_times_right(self, matrices: Sequence[Array]) -> None:
        return None

    def moves_by_rows(self, block: int, *, penalised: bool) -> bool:
        coupled = block == 1 and self.constants.one_of_columns
        # Offsets have no part in the ridge.
        return not coupled and not penalised

    # ---- as tangent vectors

    def moved(self, direction: Factors, step: float) -> OffsetFactors:
        made = super().moved(direction, step)
        assert isinstance(direction, OffsetFactors)
        made.size = self.size + step * direction.size
        return made

    def times(self, scalar: float) -> OffsetFactors:
        return super().times(scalar)._of_size(scalar * self.size)

    def shaped(self, numbers: Array) -> OffsetFactors:
        return super().shaped(numbers)._of_size(0.0)

    @property
    def penalised(self) -> OffsetFactors:
        blocks = (block.copy() for block in self.blocks)
        made = self._with(*blocks)._of_size(0.0)
        for block in made.blocks:
            block[:, -1] = 0.0
        return made

    # ---- the matrix

    @property
    def low_rank(self) -> FactorPair:
        return FactorPair(*self._columns())

    @property
    def offsets(self) -> tuple[Array, Array]:
        constants, size = self.constants, self.size
        b, c = (block[:, -1].astype(np.float64) for block in self.blocks)
        if constants.one_of_columns:
            # Columns of which nothing is seen have the same offset as all others.
            c = np.full_like(c, np.max(constants.right) * (constants.right @ c))
        rows, columns = size * np.max(constants.right), size * np.max(constants.left)
        return rows * b, columns * c

    def _centred(self) -> tuple[FactorPair, Array, Array]:
        """The components without means, and b and c with what was taken off."""
        left, right = self._columns()
        b, c = (block[:, -1] for block in self.blocks)
        constants = self.constants
        if self.size == 0 or constants.one_of_columns:
            return FactorPair(left, right), b, c
        size = self.dtype.type(self.size)
        means = constants.left @ left
        left = left - np.multiply.outer(constants.left, means)
        c = c + right @ means / size
        if constants.of_rows:
            means = constants.right @ right
            right = right - np.multiply.outer(constants.right, means)
            b = b + left @ means / size
        return FactorPair(left, right), b, c

    def with_components(self, pair: Factors) -> OffsetFactors:
        return self._beside(pair.blocks, [block[:, -1] for block in self.blocks])

    def centred(self) -> OffsetFactors:
        pair, *offsets = self._centred()
        return self._beside(pair.blocks, offsets)

    def stationarity(self, gradient: Factors) -> float:
        # The offsets of the optimum may be others of the same size.
        blocks = zip(gradient.blocks, self.blocks, strict=True)
        slack = sum(norm(slope[:, -1]) * norm(own[:, -1]) for slope, own in blocks)
        return 0.5 * gradient.inner(self.penalised) + 2.0 * slack

    def _decomposition(self) -> Triplets:
        return self._centred()[0].svd()

    def with_svd(self, u: Array, s: Array, v: Array) -> OffsetFactors:
        """Balanced factors with the offsets of this matrix."""
        _, b, c = self._centred()
        pair = FactorPair.from_svd(u, s, v).blocks
        return self._beside(pair, (b, c))

    def _beside(self, pair: Sequence[Array], offsets: Sequence[Array]) -> OffsetFactors:
        """Factors with other columns and offsets."""
        blocks = (
            np.hstack([block, own[:, None]]).astype(self.dtype, copy=False)
            for block, own in zip(pair, offsets, strict=True)
        )
        return self._with(*blocks)

    def grown(self, u: Array, s: Array, v: Array) -> OffsetFactors:
        new = FactorPair.from_svd(u, s, v).blocks
        pairs = zip(self._columns(), new, strict=True)
        offsets = [block[:, -1] for block in self.blocks]
        return self._beside([np.hstack(pair) for pair in pairs], offsets)

    def with_zeros(self, rank: int) -> OffsetFactors:
        pair = self.low_rank.with_zeros(rank).blocks
        return self._beside(pair, [block[:, -1] for block in self.blocks])

    def without_last(self, count: int) -> OffsetFactors:
        pair = self.low_rank.without_last(count).blocks
        return self._beside(pair, [block[:, -1] for block in self.blocks])

    def without_empty_columns(self) -> OffsetFactors:
        pair = self.low_rank.without_empty_columns().blocks
        return self._beside(pair, [block[:, -1] for block in self.blocks])

    def divided(self, units: Sequence[float]) -> OffsetFactors:
        roots = np.sqrt(units)
        return self.times(float(1.0 / roots[0] / roots[1]))

    def in_precision(self, dtype: np.dtype) -> OffsetFactors:
        made = super().in_precision(dtype)
        made.constants = self.constants.in_precision(dtype)
        return made

    def at_size(self, size: float) -> OffsetFactors:
        """The same matrix with another size of the constant columns."""
        blocks = (block.copy() for block in self.blocks)
        made = self._with(*blocks)._of_size(size)
        for block in made.blocks:
            block[:, -1] *= self.size / size
        return made


class WithOffsets(General):
    """All matrices, as ``L R^T`` and offsets that are in no component.

    Parameters
    ----------
    center : {"mean", "columns", "both"}
        One offset for all entries, one for each column, or one for each row, too.
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
        Rows and columns with an observed entry. Others have no offset.
    """

    def __init__(self, center: str, seen: tuple[Array, Array]) -> None:
        self.name = f"with offsets of {center}"
        self.constants = Constants.of(center, seen)
        self.offsets = self.constants.of_rows, True
        self.one_of_columns = self.constants.one_of_columns

    def degrees_of_freedom(self, matrix_shape: tuple[int, int], rank: int) -> int:
        n_rows, n_columns = matrix_shape
        if self.constants.one_of_columns:
            return super().degrees_of_freedom(matrix_shape, rank) + 1
        # The components of a row, or of both sides, have no means.
        without_means = n_rows - 1, n_columns - self.constants.of_rows
        n_offsets = n_columns + self.constants.of_rows * (n_rows - 1)
        rank = min(rank, *without_means)
        return super().degrees_of_freedom(without_means, rank) + n_offsets

    def of_svd(self, u: Array, s: Array, v: Array) -> OffsetFactors:
        return self._without_offsets(FactorPair.from_svd(u, s, v))

    def of_pair(self, left: Array, right: Array) -> OffsetFactors:
        return self._without_offsets(FactorPair(left, right))

    def of_factors(self, factors: Factors) -> Factors:
        assert isinstance(factors, OffsetFactors)
        return factors.at_size(1.0)

    def of_parts(self, pair: Factors, rows: Array, columns: Array) -> OffsetFactors:
        made, constants = self.of_pair(pair.left, pair.right), self.constants
        if constants.of_rows:
            made.blocks[0][:, -1] = rows / np.max(constants.right)
        columns = np.where(constants.right > 0, columns, 0.0)
        made.blocks[1][:, -1] = constants.allowed(columns) / np.max(constants.left)
        return made

    def visible(self, gradient: Any) -> Any:
        if self.constants.one_of_columns:
            return gradient
        return _WithoutMeans(as_matrix(gradient), self.constants)

    def _without_offsets(self, pair: Factors) -> OffsetFactors:
        blocks = (np.pad(block, ((0, 0), (0, 1))) for block in pair.blocks)
        return OffsetFactors(self.constants, 1.0, *blocks)


class _WithoutMeans(Matrix):
    """A matrix without its means over the rows, and those over the columns.

    Parameters
    ----------
    matrix : Matrix of shape (n_rows, n_columns)
    constants : Constants
    """

    def __init__(self, matrix: Matrix, constants: Constants) -> None:
        super().__init__(matrix.shape, matrix.dtype)
        self.large_products = matrix.large_products
        self._matrix, constants = matrix, constants.in_precision(matrix.dtype)
        self._left = constants.left
        self._right = constants.right if constants.of_rows else None

    def times(self, block: Array) -> Array:
        product = self._matrix.times(_without(block, self._right))
        return _without(product, self._left)

    def transposed_times(self, block: Array) -> Array:
        product = self._matrix.transposed_times(_without(block, self._left))
        return _without(product, self._right)


def _without(block: Array, direction: Array | None) -> Array:
    """Vectors without their part along a direction of norm one."""
    if direction is None:
        return block
    direction = direction.astype(block.dtype, copy=False)
    return block - np.multiply.outer(direction, direction @ block)
