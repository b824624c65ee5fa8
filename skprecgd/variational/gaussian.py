"""What is known of one factor: Gaussian rows, each beside the others or alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from skprecgd._runtime.typing import Array


class Spread(ABC):
    """Covariances of the entries of a factor of n rows and r columns."""

    @abstractmethod
    def total(self) -> Array:
        """The sum of the covariances of all rows, shape (r, r)."""

    def seen(self) -> Array:
        """The same as far as the measurements of the other factor see it."""
        return self.total()

    @abstractmethod
    def outer(self) -> Array:
        """What the spread adds to ``E[X X^T]``, shape (n, n)."""

    @abstractmethod
    def turned(self, turn: Array) -> Spread:
        """That of the factor times the transpose of a matrix."""

    @abstractmethod
    def kept(self, columns: Array) -> Spread:
        """That of some columns."""

    @abstractmethod
    def grown(self, count: int) -> Spread:
        """That with further columns, which are known exactly."""


@dataclass(frozen=True)
class FullSpread(Spread):
    """Covariances of all pairs of entries.

    Attributes
    ----------
    pairs : ndarray of shape (n, r, n, r)
    """

    pairs: Array

    @classmethod
    def none(cls, n: int, rank: int) -> FullSpread:
        """That of a factor that is known exactly."""
        return cls(np.zeros((n, rank, n, rank)))

    def total(self) -> Array:
        return np.asarray(np.einsum("akal->kl", self.pairs))

    def outer(self) -> Array:
        return np.asarray(np.einsum("akbk->ab", self.pairs))

    def turned(self, turn: Array) -> FullSpread:
        blocks = turn @ self.pairs.transpose(0, 2, 1, 3) @ turn.T
        return FullSpread(blocks.transpose(0, 2, 1, 3))

    def kept(self, columns: Array) -> FullSpread:
        return FullSpread(self.pairs[:, columns][:, :, :, columns])

    def grown(self, count: int) -> FullSpread:
        more = (0, count)
        return FullSpread(np.pad(self.pairs, [(0, 0), more, (0, 0), more]))


@dataclass(frozen=True)
class PooledSpread(Spread):
    """Independent rows of the same covariance, the mean of all.

    Attributes
    ----------
    row : ndarray of shape (r, r)
    n : int
    share : float, default=1.0
        What the measurements see of the spread, as a share of what they would see if
        they saw all cells alike. Rows are uncertain where little is seen of them.
    """

    row: Array
    n: int
    share: float = 1.0

    @classmethod
    def none(cls, n: int) -> PooledSpread:
        """That of a factor without columns."""
        return cls(np.zeros((0, 0)), n)

    def total(self) -> Array:
        return self.n * self.row

    def seen(self) -> Array:
        return self.share * self.total()

    def outer(self) -> Array:
        return float(np.trace(self.row)) * np.eye(self.n)

    def turned(self, turn: Array) -> PooledSpread:
        return replace(self, row=turn @ self.row @ turn.T)

    def kept(self, columns: Array) -> PooledSpread:
        return replace(self, row=self.row[np.ix_(columns, columns)])

    def grown(self, count: int) -> PooledSpread:
        return replace(self, row=np.pad(self.row, (0, count)))


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian factor.

    Attributes
    ----------
    mean : ndarray of shape (n, r)
    spread : Spread
    log_determinant : float
        Of the covariances of all entries.
    prior : ndarray of shape (r,)
        Prior variances of the entries of each column.
    """

    mean: Array
    spread: Spread
    log_determinant: float
    prior: Array

    @property
    def n(self) -> int:
        return len(self.mean)

    @property
    def rank(self) -> int:
        return int(self.mean.shape[1])

    def second(self) -> Array:
        """The sum of the second moments of all rows, shape (r, r)."""
        return np.asarray(self.mean.T @ self.mean + self.spread.total())

    def divergence(self) -> float:
        """From the prior to the posterior."""
        squares = np.diag(self.second())
        each = squares / self.prior + self.n * (np.log(self.prior) - 1.0)
        return 0.5 * (float(each.sum()) - self.log_determinant)

    def turned(self, turn: Array) -> Gaussian:
        """The factor times the transpose of a matrix."""
        log = 2.0 * self.n * float(np.linalg.slogdet(turn)[1])
        return replace(
            self,
            mean=self.mean @ turn.T,
            spread=self.spread.turned(turn),
            log_determinant=self.log_determinant + log,
        )

    def with_prior(self, least: float, *, shared: bool) -> Gaussian:
        """The factor with the prior at which the evidence is highest.

        Parameters
        ----------
        least : float
            No variance falls below it.
        shared : bool
            Whether all columns have the same.
        """
        prior = np.maximum(np.diag(self.second()) / self.n, least)
        if shared:
            prior = np.full_like(prior, prior.mean())
        return replace(self, prior=prior)

    def kept(self, columns: Array) -> Gaussian:
        """Some columns; a solution has to follow, which has a determinant."""
        return replace(
            self,
            mean=self.mean[:, columns],
            spread=self.spread.kept(columns),
            prior=self.prior[columns],
        )

    def grown(self, columns: Array, prior: Array) -> Gaussian:
        """The factor with further columns; a solution has to follow."""
        return replace(
            self,
            mean=np.hstack([self.mean, columns]),
            spread=self.spread.grown(columns.shape[1]),
            prior=np.concatenate([self.prior, prior]),
        )
