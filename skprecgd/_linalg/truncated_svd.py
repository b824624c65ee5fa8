"""Complete data: alternating unit steps in the metric, previous blocks kept.

With every entry observed, the unit step in the metric, ``L = X R (R^T R)^-1`` and back,
is a block power iteration. Keeping the previous blocks turns it into a block Krylov
method (block Golub-Kahan-Lanczos bidiagonalisation), and the Rayleigh-Ritz step in
their span is the exact minimiser over all of them: the conjugate directions of this
problem. A block costs one product with X and one with its transpose; nothing else
touches the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.utils import check_random_state

from skprecgd._linalg.krylov_bases import KrylovBases, RitzTriplets
from skprecgd._linalg.matrices import Matrix, as_matrix
from skprecgd._linalg.svd_tuning import SVD, DirectSvd, RoundingLevels, SvdTuning
from skprecgd._runtime.typing import Array, RandomState


@dataclass(frozen=True)
class TruncatedSvd:
    """Leading singular triplets of a matrix.

    Attributes
    ----------
    u, s, v : ndarray of shape (n_rows, rank), (rank,), (n_columns, rank)
        s descending.
    n_blocks : int
        Products with the matrix, and with its transpose.
    error : float
        Estimated error of the worst vector: its residual over its gap.
    converged : bool
    """

    u: Array
    s: Array
    v: Array
    n_blocks: int
    error: float
    converged: bool

    def transposed(self) -> TruncatedSvd:
        """The triplets of the transpose."""
        return replace(self, u=self.v, v=self.u)

    def leading(self, rank: int) -> TruncatedSvd:
        """The first of the triplets."""
        return replace(self, u=self.u[:, :rank], s=self.s[:rank], v=self.v[:, :rank])


def truncated_svd(
    X: Any,
    rank: int,
    *,
    tol: float = 1e-7,
    max_blocks: int = 1000,
    random_state: RandomState = None,
    size: float | None = None,
    tuning: SvdTuning = SVD,
) -> TruncatedSvd:
    """Leading singular triplets of a matrix.

    Where `tol` is loose, X a float64 array and its singular values far enough apart,
    the products are computed in single precision, which takes half the time. The
    vectors are orthonormal to double precision anyway.

    Parameters
    ----------
    X : Matrix, ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
    rank : int
        How many triplets, at most ``min(X.shape)``.
    tol : float, default=1e-7
        Error of each singular vector, estimated by the residual of its triplet
        over the gap to the other singular values. The singular values are then
        accurate to its square.
    max_blocks : int, default=1000
        Most products with X and its transpose, unless `rank` vectors take more.
    random_state : int, RandomState instance or None, default=None
        Draws the first block.
    size : float or None, default=None
        Frobenius norm of X, where it is known.
    tuning : SvdTuning

    Returns
    -------
    TruncatedSvd
    """
    matrix = as_matrix(X)
    array = matrix.in_memory()
    if array is not None and _is_small(array.shape, rank, tuning.direct):
        return _direct(array, rank)
    # The restarts are decided in the smaller dimension.
    wide = matrix.shape[0] < matrix.shape[1]
    search = _Search(
        matrix.T if wide else matrix, rank, tol, max_blocks, random_state, tuning
    )
    found = search.in_single(size) or search.in_double()
    return found.transposed() if wide else found


def _is_small(shape: tuple[int, ...], rank: int, direct: DirectSvd) -> bool:
    """Whether LAPACK decomposes an array sooner than an iteration."""
    smaller = min(shape)
    return smaller <= direct.size or rank > direct.share * smaller


def _direct(X: Array, rank: int) -> TruncatedSvd:
    u, s, vt = linalg.svd(X, full_matrices=False, check_finite=False)
    return TruncatedSvd(u[:, :rank], s[:rank], vt[:rank].T, 1, 0.0, True)


@dataclass(frozen=True)
class _Search:
    """One search for leading triplets, in whichever precision.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
        It has at least as many rows as columns.
    rank, tol, max_blocks, random_state, tuning
        See `truncated_svd`.
    """

    X: Matrix
    rank: int
    tol: float
    max_blocks: int
    random_state: RandomState
    tuning: SvdTuning

    def in_double(self) -> TruncatedSvd:
        """The result of products in the precision of the data."""
        return self._iterate(self.X, _ToTheEnd)

    def in_single(self, size: float | None) -> TruncatedSvd | None:
        """The result of single-precision products, or None if it is too inaccurate."""
        if self.tol < self.tuning.single.tol:
            return None
        cast = self.X.in_single(size, self.tuning.single)
        if cast is None:
            return None
        scaled, factor = cast
        found = self._iterate(scaled, _WhileAccurate)
        return _in_double(found, factor) if np.isfinite(found.error) else None

    def _iterate(self, X: Matrix, kind: type[_Judge]) -> TruncatedSvd:
        """Expand the bases; restart with the wanted part kept, until it is found."""
        rank, blocks, levels = self.rank, self.tuning.blocks, self.tuning.rounding
        judge = kind(rank, self.tol, levels)
        width = blocks.of(rank, reads_once=X.reads_once)
        limit = min(X.shape[1], blocks.capacity(rank, width))
        rng = check_random_state(self.random_state)
        bases = KrylovBases(X, width, limit, rng, levels)
        every = max(1, (limit - rank) // (blocks.judged * width))
        while True:
            bases.expand()
            due = bases.n_blocks % every == 0 and bases.size > rank
            last = bases.n_blocks >= self.max_blocks and bases.size >= rank
            if not (bases.full or due or last):
                continue
            ritz = bases.ritz()
            verdict = judge.verdict(ritz, bases)
            if verdict.ends or last:
                found = bases.triplets(rank)
                return TruncatedSvd(
                    *found, bases.n_blocks, verdict.error, verdict.converged
                )
            if bases.full:
                bases.restart(ritz, min(rank + width, bases.size - 1))


@dataclass(frozen=True)
class _Verdict:
    """The judgement of the present triplets.

    Attributes
    ----------
    error : float
        Estimated error of the worst vector; infinite where rounding hides it.
    converged : bool
        Whether that is enough.
    ends : bool
        Whether going on is pointless.
    """

    error: float
    converged: bool
    ends: bool


class _Judge(ABC):
    """Whether the triplets after a block will do.

    Parameters
    ----------
    rank : int
    tol : float
    levels : RoundingLevels
    """

    def __init__(self, rank: int, tol: float, levels: RoundingLevels) -> None:
        self._rank, self._tol, self._levels = rank, tol, levels

    @abstractmethod
    def verdict(self, ritz: RitzTriplets, bases: KrylovBases) -> _Verdict: ...

    def _vector_error(self, ritz: RitzTriplets, eps: float) -> tuple[float, bool]:
        return _vector_error(ritz, self._rank, eps, self._levels)


class _ToTheEnd(_Judge):
    """Ends at the tolerance, or at working precision if that comes first."""

    _previous: float = np.inf

    def verdict(self, ritz: RitzTriplets, bases: KrylovBases) -> _Verdict:
        error, rounding = self._vector_error(ritz, bases.eps)
        if rounding and error > 0.5 * self._previous:
            # The error no longer halves: working precision is reached.
            error = 0.0
        self._previous = error
        done = error <= self._tol or bases.exhausted
        return _Verdict(error, done, done)


class _WhileAccurate(_Judge):
    """Ends at the tolerance, and gives up as soon as rounding hides it."""

    def verdict(self, ritz: RitzTriplets, bases: KrylovBases) -> _Verdict:
        error, rounding = self._vector_error(ritz, bases.eps)
        smallest = self._levels.zero * bases.eps * ritz.values[0]
        hidden = bool(np.any(smallest > self._tol * _gaps(ritz, self._rank)))
        done = error <= self._tol
        if hidden or (not done and (rounding or bases.exhausted)):
            return _Verdict(np.inf, False, True)
        return _Verdict(error, done, done)


def _vector_error(
    ritz: RitzTriplets, rank: int, eps: float, levels: RoundingLevels
) -> tuple[float, bool]:
    """Largest residual over gap among the wanted triplets.

    Also whether the residuals are so small that rounding may be all they are.
    """
    largest = ritz.values[0]
    if largest == 0.0:
        return 0.0, True
    sizes, gaps = ritz.residuals[:rank].copy(), _gaps(ritz, rank)
    # Vectors of (nearly) equal singular values are not determined, and no
    # iteration changes that: a residual at rounding level counts as zero.
    sizes[sizes <= levels.zero * eps * largest] = 0.0
    errors = np.divide(
        sizes, gaps, out=np.where(sizes > 0, np.inf, 0.0), where=gaps > 0
    )
    rounding = bool(np.all(sizes <= levels.suspect * eps * largest))
    return float(np.max(errors, initial=0.0)), rounding


def _gaps(ritz: RitzTriplets, rank: int) -> Array:
    """Distance of each wanted value to its nearest neighbour."""
    gaps = np.full(rank, ritz.values[0])
    neighbours = np.abs(np.diff(ritz.values[: rank + 1]))
    gaps[: len(neighbours)] = np.minimum(gaps[: len(neighbours)], neighbours)
    gaps[1:] = np.minimum(gaps[1:], neighbours[: rank - 1])
    return gaps


def _in_double(found: TruncatedSvd, factor: float) -> TruncatedSvd:
    """Triplets of X from those of ``factor * X`` in single precision.

    The vectors are made orthonormal to double precision; the matrix stays the same.
    """
    u, s, v = (part.astype(np.float64) for part in (found.u, found.s, found.v))
    # They are nearly orthonormal, so a Cholesky factor suffices.
    left, right = (linalg.cholesky(side.T @ side) for side in (u, v))
    inner_left, s, inner_right = linalg.svd((left * s) @ right.T)
    u = u @ linalg.solve_triangular(left, inner_left)
    v = v @ linalg.solve_triangular(right, inner_right.T)
    return replace(found, u=u, s=s / factor, v=v)
