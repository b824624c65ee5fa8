"""Leading singular triplets to the accuracy that the captured energy asks for.

What a truncated SVD is used for, scores and explained variance, depends on the energy
that the leading vectors capture. That is found long before each vector is: a Krylov
space of the Gram matrix that is hardly larger than the rank will do, and in most cases
in single precision. One product in the precision of the data turns the vectors found
into triplets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._linalg.energy_goal import EnergyJudge
from skprecgd._linalg.gram_space import GramSpace
from skprecgd._linalg.matrices import Matrix, ScaledMatrix, as_matrix
from skprecgd._linalg.numerics import UnitTuning, working_dtype
from skprecgd._linalg.rayleigh_ritz import triplets_within
from skprecgd._linalg.svd_tuning import (
    ENERGY,
    SVD,
    EnergyTuning,
    SeenBySquares,
)
from skprecgd._linalg.symmetric import top_eigenpairs
from skprecgd._linalg.truncated_svd import TruncatedSvd, truncated_svd
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array, RandomState

# Squares of squares of such sizes are numbers in single precision.
UNIT_OF_SQUARES = UnitTuning(ordinary=2.0**20)


def energy_svd(
    X: Any,
    rank: int,
    *,
    max_blocks: int = 1000,
    random_state: RandomState = None,
    size: float | None = None,
    tuning: EnergyTuning = ENERGY,
) -> TruncatedSvd:
    """Leading triplets that capture no less energy than those of a randomized method.

    Parameters
    ----------
    X : Matrix, ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
    rank : int
        How many triplets, at most ``min(X.shape)``.
    max_blocks : int, default=1000
        Most products with X and its transpose, unless `rank` vectors take more.
    random_state : int, RandomState instance or None, default=None
        Draws the first block.
    size : float or None, default=None
        Frobenius norm of X, where it is known.
    tuning : EnergyTuning

    Returns
    -------
    TruncatedSvd
    """
    matrix = as_matrix(X)
    size = matrix.frobenius_norm() if size is None else size
    if size == 0.0:
        return _of_zero(matrix.shape, rank, working_dtype(np.dtype(matrix.dtype)))
    wide = matrix.shape[0] < matrix.shape[1]
    search = _Search(
        matrix.T if wide else matrix, wide, rank, size, max_blocks, random_state, tuning
    )
    # Thin products would leave the other threads of BLAS waiting, at full speed.
    with running_fit(one_blas_thread=True):
        found = search.found()
    if found is not None:
        return found.transposed() if wide else found
    return truncated_svd(
        matrix,
        rank,
        tol=tuning.tol,
        max_blocks=max_blocks,
        random_state=random_state,
        size=size,
    )


@dataclass(frozen=True)
class _Search:
    """One search for leading triplets, by whichever way is the cheapest that will do.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
        It has at least as many rows as columns.
    transposed : bool
        Whether it is the transpose of the data.
    rank, size, max_blocks, random_state, tuning
        See `energy_svd`.
    """

    X: Matrix
    transposed: bool
    rank: int
    size: float
    max_blocks: int
    random_state: RandomState
    tuning: EnergyTuning

    def found(self) -> TruncatedSvd | None:
        """The triplets, or None where squares do not show them."""
        tuning = self.tuning
        unit = UNIT_OF_SQUARES.unit(self.size, self.X.dtype)
        X = self.X if unit == 1.0 else ScaledMatrix(self.X, 1.0 / unit, self.X.dtype)
        search = replace(self, X=X, size=self.size / unit)
        found = None
        by_gram = search._is_left_to_gram
        if not by_gram:
            found = search._by_krylov(search._in_single(), tuning.single)
        # What is in double precision is made when it is needed.
        double = X.in_double() if found is None else None
        if double is not None:
            found = (
                search._by_gram(double)
                if by_gram
                else search._by_krylov((double, 1.0), tuning.double)
            )
        if found is None or unit == 1.0:
            return found
        return replace(found, s=(found.s * unit).astype(found.s.dtype))

    def _in_single(self) -> tuple[Matrix, float] | None:
        if self.X.dtype == np.float32:
            return self.X, 1.0
        return self.X.in_single(self.size, self.tuning.cast)

    @property
    def _is_left_to_gram(self) -> bool:
        return self.X.forms_gram and self.tuning.gram.suits(self.X.shape, self.rank)

    def _by_gram(self, X: Matrix) -> TruncatedSvd | None:
        squares, v = top_eigenpairs(X.gram(), self.rank)
        if not self._shown(squares, self.tuning.double):
            return None
        return self._within(X, v, 1, 0.0, True)

    def _by_krylov(
        self, cast: tuple[Matrix, float] | None, seen: SeenBySquares
    ) -> TruncatedSvd | None:
        if cast is None:
            return None
        X, factor = cast
        total = (self.size * factor) ** 2
        judge = EnergyJudge(self.rank, total, self.tuning.goal)
        rng = check_random_state(self.random_state)
        space = GramSpace(X, self.tuning.width, rng, SVD.rounding)
        goal = self.tuning.goal
        most = goal.most * judge.size + goal.most_blocks * space.width
        while True:
            space.expand()
            last = space.n_blocks >= self.max_blocks and space.size >= self.rank
            if space.size < judge.size and not (last or space.exhausted):
                continue
            judge.take(space.values())
            if judge.is_below(seen.share):
                return None
            enough = judge.enough(waits=space.size < most)
            if enough and judge.may_hide(space.width) and not space.exhausted:
                space.widen()
                judge.forget()
                continue
            if enough or last or space.exhausted:
                break
        hidden = judge.allowed < seen.energy * total
        if hidden or not self._shown(judge.values, seen):
            return None
        v, n_blocks = space.vectors(self.rank), space.n_blocks
        done = enough or not last or space.exhausted
        precise = self.X if seen is self.tuning.single else X
        # The space and the data in single precision make room for the triplets.
        del space, X, cast
        return self._within(precise, v, n_blocks, 0.0, done)

    def _shown(self, squares: Array, seen: SeenBySquares) -> bool:
        return bool(squares[self.rank - 1] > seen.share**2 * squares[0])

    def _within(
        self, X: Matrix, v: Array, n_blocks: int, error: float, converged: bool
    ) -> TruncatedSvd:
        dtype = working_dtype(np.dtype(self.X.dtype))
        found = triplets_within(X, v, transposed=self.transposed)
        u, s, v = (part.astype(dtype, copy=False) for part in found)
        return TruncatedSvd(u, s, v, n_blocks, error, converged)


def _of_zero(shape: tuple[int, ...], rank: int, dtype: np.dtype) -> TruncatedSvd:
    u, v = (np.eye(n, rank, dtype=dtype) for n in shape)
    return TruncatedSvd(u, np.zeros(rank, dtype), v, 0, 0.0, True)
