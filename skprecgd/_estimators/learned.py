"""Noisy entries of a data matrix: when noise is left, and what is then fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import EntryData, VisibleRows
from skprecgd._estimators.parameters import learns_prior
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.rows import RowSolver
from skprecgd._estimators.weighting import is_number
from skprecgd._linalg.groups import Block
from skprecgd._linalg.numerics import norm
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss
from skprecgd.variational.posterior import ColumnPosterior, Posterior, learn_posterior


@dataclass(frozen=True)
class LearnedNoise:
    """What was learned beside the matrix.

    Attributes
    ----------
    variance : float or ndarray of shape (n_columns,)
    factor_scales : ndarray of shape (n_factors,)
    lower_bound : float
    """

    variance: float | Array
    factor_scales: Array
    lower_bound: float

    @classmethod
    def joined(
        cls, parts: Sequence[Self], blocks: Sequence[Block], n_columns: int
    ) -> LearnedNoise:
        """That of groups; columns in none of them have the mean variance."""
        variances = np.full(n_columns, np.mean([np.mean(p.variance) for p in parts]))
        for part, block in zip(parts, blocks, strict=True):
            variances[block.columns] = part.variance
        scales = np.concatenate([part.factor_scales for part in parts])
        return LearnedNoise(
            variances, np.sort(scales)[::-1], sum(part.lower_bound for part in parts)
        )


class Learner:
    """The posterior of noisy entries, which is learned when first asked for.

    Parameters
    ----------
    data : EntryData
    rank : int
        Columns of the factors at most.
    center, noise, noise_variance
        As parameters of `PrecGDFactorization`.
    """

    def __init__(
        self, data: EntryData, rank: int, center: str | None, noise: str, variance: Any
    ) -> None:
        self.data, self.rank = data, rank
        self.center, self.noise = center, noise
        self.variance = variance if is_number(variance) else data.weights.unit_variance
        self._start: tuple[Array, ...] = ()

    def signal_in_noise(self, factors: Factors) -> int | None:
        """How many columns stand out of the noise; None if they leave none.

        The factors are those found by descent.
        """
        if "posterior" not in self.__dict__:
            self._start = factors.balanced().blocks
        posterior = self.posterior
        return None if posterior.exact else posterior.n_signal

    @cached_property
    def posterior(self) -> Posterior:
        data = self.data
        with running_fit(one_blas_thread=True):
            return learn_posterior(
                data.csr(),
                self.rank,
                center=self.center,
                noise=self.noise,
                noise_variance=self.variance,
                weights=data.weights,
                start=self._start,
            )

    @property
    def factors(self) -> Factors:
        """The posterior means, offsets of rows included."""
        posterior, dtype = self.posterior, self.data.values.dtype
        left, right = posterior.rows, posterior.columns.basis
        if left.shape[1] == 0:
            left, right = (np.zeros((len(block), 1)) for block in (left, right))
        return FactorPair(left.astype(dtype), right.astype(dtype))

    @property
    def offsets(self) -> Offsets:
        posterior = self.posterior
        rows = np.zeros(len(posterior.rows))
        if posterior.row_offset:
            rows = posterior.rows[:, -1]
        return Offsets(rows, posterior.columns.offsets, int(posterior.row_offset))

    def row_solver(self, loss: Loss, each_entry: str | None) -> PriorRows:
        """The solver for rows like these."""
        columns = self.posterior.columns
        return PriorRows(columns, loss, np.zeros(self.factors.rank), each_entry)

    def mean_square_left(self, unit: float) -> float:
        """Mean squared residual of the entries, in units of the square of `unit`."""
        data, posterior = self.data, self.posterior
        columns = posterior.columns
        fitted = columns.offsets[data.columns]
        if posterior.rows.shape[1]:
            cells = data.rows, data.columns
            fitted = fitted + sampled_product(posterior.rows, columns.basis, *cells)
        each = data.weights.of_losses
        residual = (data.values - fitted) / unit
        if each is not None:
            residual = residual * np.sqrt(each)
        return norm(residual) ** 2 / data.weights.count(len(residual))

    def found(self) -> LearnedNoise:
        posterior = self.posterior
        return LearnedNoise(
            posterior.noise_variance, posterior.factor_scales, posterior.evidence
        )

    def in_words(self) -> str:
        """What was found, in one sentence."""
        posterior = self.posterior
        size = float(np.sqrt(np.mean(posterior.noise_variance)))
        least = np.sqrt(np.min(posterior.noise_variance)), size
        sizes = f"{size:.2g}"
        if np.ndim(posterior.noise_variance) and least[0] < 0.8 * size:
            roots = np.sqrt(posterior.noise_variance)
            sizes = f"{np.min(roots):.2g} to {np.max(roots):.2g}"
        if posterior.rank == 0:
            return f"Noise of about {sizes} was left; no column carries signal."
        return (
            f"Noise of about {sizes} was left; {posterior.n_signal} of "
            f"{self.rank} columns carry signal."
        )


def learner_of(estimator: Any, data: Any, rank: int) -> Learner | None:
    """What learns the prior of noisy data, or None where nothing is to be learned.

    Parameters
    ----------
    estimator : PrecGDFactorization
    data : Data
    rank : int
        Columns of the factors at most.
    """
    if not (learns_prior(estimator) and isinstance(data, EntryData)):
        return None
    given = estimator.noise_variance
    if is_number(given) and float(given) == 0.0:
        return None
    return Learner(data, rank, estimator.center, estimator.noise, given)


class PriorRows(RowSolver):
    """Posterior means: what a row shows, weighed against the prior of all rows.

    Parameters
    ----------
    columns : ColumnPosterior
    loss, ridge, each_entry
        See `RowSolver`.
    """

    def __init__(
        self,
        columns: ColumnPosterior,
        loss: Loss,
        ridge: Array,
        each_entry: str | None = None,
    ) -> None:
        super().__init__(loss, ridge, each_entry)
        self.columns = columns

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        entries = rows.entries()
        own = self.columns.rows(entries.csr(), entries.weights.of_losses)
        turn = space.basis.T @ self.columns.basis
        return np.asarray(own @ turn.T).astype(space.basis.dtype)


def with_words(result: Any, learner: Learner) -> Any:
    """The result of a path, with what was learned in its message."""
    return replace(result, message=learner.in_words())
