"""How entries are distributed, given all that was observed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Self

import numpy as np
from scipy import sparse, stats

from skprecgd._linalg.numerics import slabs
from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import (
    packed_index,
    packed_of,
    packed_squares,
    uncertain_lines,
    unpacked,
)
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.noise import NoiseOfLines
from skprecgd.variational.posterior import ColumnNoise, Posterior
from skprecgd.variational.rows import ColumnPosterior, RowPosterior

# Numbers of second moments that are held at a time (32 MB).
_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Distribution:
    """Student's t distributions of entries, in units of the data.

    Attributes
    ----------
    mean : ndarray of shape (n_entries,)
    variance : ndarray of shape (n_entries,)
        Of the mean: what is not known of the matrix.
    noise : ndarray of shape (n_entries,)
        Squared scale of the noise, which is its variance where that is known.
    freedom : ndarray of shape (n_entries,)
        Degrees of freedom: from how many entries the noise is known, roughly.
    """

    mean: Array
    variance: Array
    noise: Array
    freedom: Array

    @property
    def scale(self) -> Array:
        return np.sqrt(self.variance + self.noise)

    @property
    def std(self) -> Array:
        """Standard deviations; infinite at two degrees of freedom or fewer."""
        wide = self.freedom <= 2.0
        ratio = 1.0 / (1.0 - 2.0 / np.where(wide, np.inf, self.freedom))
        noise = np.where(wide & (self.noise > 0), np.inf, self.noise * ratio)
        return np.sqrt(self.variance + noise)

    def quantile(self, level: float) -> Array:
        return self.mean + self.scale * stats.t.ppf(level, self.freedom)

    def log_density(self, values: Array) -> Array:
        return stats.t.logpdf(values, self.freedom, self.mean, self.scale)


class EntryDistributions(ABC):
    """What is known of any entry of a matrix."""

    @property
    @abstractmethod
    def typical_variance(self) -> float:
        """Of an entry of which nothing is known: the mean over the columns."""

    @abstractmethod
    def means(self, rows: Array, columns: Array) -> Array:
        """The means of the distributions of entries; see `at`."""

    @abstractmethod
    def at(
        self, rows: Array, columns: Array, noise: Array | None = None
    ) -> Distribution:
        """The distributions of entries, each by itself.

        Parameters
        ----------
        rows, columns : ndarray of int, shape (n_entries,)
            A row of -1 is one of which nothing was seen.
        noise : ndarray of shape (n_entries,), default=None
            Variances of the noise, where they were given.
        """

    @abstractmethod
    def draws(
        self,
        rows: Array,
        columns: Array,
        rng: np.random.RandomState,
        noise: Array | None = None,
    ) -> Iterator[Array]:
        """Draws of entries from their joint distribution, without end.

        Parameters
        ----------
        rows, columns : ndarray of int, shape (n_entries,)
        rng : RandomState
        noise : ndarray of shape (n_entries,), default=None
            See `at`.

        Yields
        ------
        ndarray of shape (n_entries,)
        """

    @abstractmethod
    def of_rows(self, entries: sparse.csr_array) -> Self:
        """The distributions of the entries of other rows, given what these show.

        Parameters
        ----------
        entries : csr_array of shape (n_rows, n_columns)
            The visible ones; explicit zeros are values.
        """


@dataclass(frozen=True)
class RowNoise:
    """By how much the noise of rows differs from that of all.

    Attributes
    ----------
    variance : ndarray of shape (n_rows + 1,)
        Relative to that of the columns; the last row is one of which nothing was seen.
    freedom : ndarray of shape (n_rows + 1,)
        From how many entries it is known; infinite where all rows are alike.
    """

    variance: Array
    freedom: Array

    @classmethod
    def none(cls, n_rows: int) -> RowNoise:
        """All rows are alike."""
        return cls(np.ones(n_rows + 1), np.full(n_rows + 1, np.inf))

    @classmethod
    def learned(cls, precision: Array, counts: Array, strength: float) -> RowNoise:
        """As it was learned with the rows, from a prior that counts as `strength`."""
        return cls(1.0 / np.append(precision, 1.0), strength + np.append(counts, 0.0))

    @classmethod
    def of(cls, squares: Array, counts: Array) -> RowNoise:
        """From the expected squared residuals of rows, in units of the noise."""
        squares, counts = np.append(squares, 0.0), np.append(counts, 0.0)
        noise = NoiseOfLines((len(counts), 1), counts, of_long=True)
        seen = np.maximum(squares, noise.tuning.least * counts)
        for _ in range(2):
            noise.update(seen, squares[:1])
        if noise.is_equal:
            return cls.none(len(counts) - 1)
        return cls(1.0 / noise.long, noise.freedom)

    def of_others(self, squares: Array, counts: Array) -> RowNoise:
        """That of other rows, from their expected squared residuals.

        The row of which nothing was seen knows the prior.
        """
        level, strength = self.variance[-1], self.freedom[-1]
        if np.isinf(strength):
            return self.none(len(counts))
        squares, counts = np.append(squares, 0.0), np.append(counts, 0.0)
        freedom = strength + counts
        return RowNoise(
            (strength * level + np.maximum(squares, 0.0)) / freedom, freedom
        )


@dataclass(frozen=True)
class LearnedEntries(EntryDistributions):
    """The distributions of entries of a matrix that was learned as a whole.

    Attributes
    ----------
    columns : ColumnPosterior or ColumnDraws
    noise : ColumnNoise
    counts : ndarray of int, shape (n_columns,)
        How many entries of each column were seen.
    rows : ndarray of shape (n_rows + 1, f)
        Posterior means of the coordinates of the rows, and of one never seen.
    row_noise : RowNoise
    seen : csr_array of shape (n_rows + 1, n_columns)
        The weights of the observed entries.
    """

    columns: Any
    noise: ColumnNoise
    counts: Array
    rows: Array
    row_noise: RowNoise
    seen: sparse.csr_array

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        entries: sparse.csr_array,
        weights: Weights,
        *,
        rows_differ: bool = True,
    ) -> Self:
        """That of the entries from which the posterior was learned.

        Parameters
        ----------
        posterior : Posterior
        entries : csr_array of shape (n_rows, n_columns)
        weights : Weights
            Of these.
        rows_differ : bool, default=True
            Whether rows may have noise of their own.
        """
        return cls(**cls._parts(posterior, entries, weights, rows_differ=rows_differ))

    @staticmethod
    def _parts(
        posterior: Posterior,
        entries: sparse.csr_array,
        weights: Weights,
        *,
        rows_differ: bool,
    ) -> dict[str, Any]:
        """What is kept of the posterior and the entries; see `of`."""
        rows, n_rows = posterior.rows, entries.shape[0]
        row_noise = RowNoise.none(n_rows)
        strength = posterior.columns.strength
        if np.isfinite(strength):
            row_noise = RowNoise.learned(rows.noise, posterior.row_counts, strength)
        elif rows_differ:
            row_noise = RowNoise.of(rows.squares, posterior.row_counts)
        return {
            "columns": posterior.columns,
            "noise": posterior.noise,
            "counts": np.bincount(entries.indices, minlength=entries.shape[1]),
            "rows": _with_one_unseen(rows.mean),
            "row_noise": row_noise,
            "seen": _weighed(posterior.columns, rows, entries, weights),
        }

    def _parts_of_rows(self, entries: sparse.csr_array) -> dict[str, Any]:
        """What changes with the rows; see `of_rows`."""
        rows, once = self.columns.rows(entries), np.ones(entries.nnz)
        counts = np.asarray(with_values(entries, once) @ self.columns.trust)
        if np.isfinite(self.columns.strength):
            own = RowNoise.learned(rows.noise, counts, self.columns.strength)
        else:
            squares = self.columns.squares_of(rows, entries, ONCE)
            own = self.row_noise.of_others(squares, counts)
        return {
            "rows": _with_one_unseen(rows.mean),
            "row_noise": own,
            "seen": _weighed(self.columns, rows, entries, ONCE),
        }

    @property
    def typical_variance(self) -> float:
        scales = self.columns.units.scale[self.columns.precision > 0]
        return float(np.mean(scales**2)) if len(scales) else 0.0

    def means(self, rows: Array, columns: Array) -> Array:
        basis = self.columns.basis[columns]
        mean = np.einsum("ij,ij->i", self.rows[rows], basis)
        return np.asarray(mean + self.columns.offsets[columns])

    def at(
        self, rows: Array, columns: Array, noise: Array | None = None
    ) -> Distribution:
        mean, variance = self.means(rows, columns), np.zeros(len(rows))
        order = np.argsort(rows, kind="stable")
        size = self.rows.shape[1] + 2
        for part in slabs((len(rows), 2 * size**2), _NUMBERS):
            cells = order[part]
            variance[cells] = self._variances(rows[cells], columns[cells])
        variance *= self.columns.units.scale[columns] ** 2
        variance += self._of_unseen(columns)
        if noise is not None:
            freedom = np.full(len(rows), self.columns.freedom)
            return Distribution(mean, variance, noise, freedom)
        own = self.row_noise
        noise = self.noise.variance[columns] * own.variance[rows]
        noise = np.where(self._alone(columns), np.inf, noise)
        inverse = 1.0 / own.freedom[rows] + 1.0 / self.noise.freedom[columns]
        inverse += 1.0 / self.columns.freedom
        wider, of_units = self._of_units(columns)
        inverse += of_units
        freedom = np.full(len(rows), np.inf)
        np.divide(1.0, inverse, out=freedom, where=inverse > 0)
        return Distribution(mean, variance * wider, noise * wider, freedom)

    def chance(self, noise: Array, columns: Array, rng: np.random.RandomState) -> Array:
        """A draw of what entries differ by from their means, given their noise."""
        freedom, n = self.columns.freedom, len(columns)
        if np.isfinite(freedom):
            noise = noise / (rng.chisquare(freedom, n) / freedom)
        return np.sqrt(noise + self._of_unseen(columns)) * rng.standard_normal(n)

    def _of_unseen(self, columns: Array) -> Array:
        """The variance of entries of columns of which nothing was seen."""
        if self.columns.knows_unseen:
            return np.zeros(len(columns))
        return np.where(self.counts[columns] > 0, 0.0, self.typical_variance)

    def _of_units(self, columns: Array) -> tuple[Array, Array]:
        """By what variances are larger as units are known from few entries each.

        Returns
        -------
        wider : ndarray
            Of the square of a spread that is the root mean square from a mean.
        inverse : ndarray
            Inverse degrees of freedom.
        """
        counts = self.counts[columns].astype(np.float64)
        if self.columns.units.are_one:
            return np.ones(len(columns)), np.zeros(len(columns))
        several = np.maximum(counts, 2.0)
        inverse = np.where(counts > 0, 1.0 / (several - 1.0), 0.0)
        wider = np.where(counts > 0, several / (several - 1.0), 1.0)
        return wider, inverse

    def _alone(self, columns: Array) -> Array:
        """Which columns have one entry, and a unit that is known from it alone."""
        return (self.counts[columns] == 1) & (not self.columns.units.are_one)

    @abstractmethod
    def _variances(self, rows: Array, columns: Array) -> Array:
        """Of the products of uncertain rows and columns, in units of the columns."""


def _with_one_unseen(rows: Array) -> Array:
    """The coordinates of rows, and of one of which nothing was seen."""
    return np.vstack([rows, np.zeros((1, rows.shape[1]))])


def _weighed(
    columns: Any, rows: RowPosterior, entries: sparse.csr_array, weights: Weights
) -> sparse.csr_array:
    """How much the entries of rows, and of one never seen, say of these."""
    each = weights.of_losses
    if each is None:
        each = np.ones(entries.nnz, np.int8)
    if columns.learns_of_rows:
        noise = np.repeat(rows.noise, np.diff(entries.indptr))
        each = each * noise * rows.share
    starts = np.append(entries.indptr, entries.indptr[-1])
    shape = (entries.shape[0] + 1, entries.shape[1])
    return sparse.csr_array((each, entries.indices, starts), shape=shape)


@dataclass(frozen=True)
class Predictive(LearnedEntries):
    """The distributions of entries where rows and columns are Gaussian.

    Attributes
    ----------
    columns : ColumnPosterior
    wider : ndarray of shape (n_rows + 1, f), default=None
        Variances of the coordinates of rows beside those that their prior and their
        entries leave; None is zero.
    """

    columns: ColumnPosterior
    wider: Array | None = None

    def of_rows(self, entries: sparse.csr_array) -> Self:
        return replace(self, **self._parts_of_rows(entries), wider=None)

    def with_rows(self, before: int, means: Array, variances: Array) -> Self:
        """With new rows, before one of these, of which nothing was seen.

        Parameters
        ----------
        before : int
        means : ndarray of shape (n_new, f)
            Of their prior.
        variances : ndarray of shape (n_new, f)
            Of these means.
        """
        at, seen, noise = [before] * len(means), self.seen, self.row_noise
        wider = np.zeros_like(self.rows) if self.wider is None else self.wider
        starts = np.insert(seen.indptr, at, seen.indptr[before])
        shape = len(starts) - 1, seen.shape[1]
        return replace(
            self,
            rows=np.insert(self.rows, at, means, axis=0),
            wider=np.insert(wider, at, variances, axis=0),
            row_noise=RowNoise(
                np.insert(noise.variance, at, noise.variance[-1]),
                np.insert(noise.freedom, at, noise.freedom[-1]),
            ),
            seen=sparse.csr_array((seen.data, seen.indices, starts), shape=shape),
        )

    def draws(
        self,
        rows: Array,
        columns: Array,
        rng: np.random.RandomState,
        noise: Array | None = None,
    ) -> Iterator[Array]:
        if not len(rows):
            yield from repeat(np.zeros(0))
        lines, of_rows = np.unique(rows, return_inverse=True)
        others, of_columns = np.unique(columns, return_inverse=True)
        left = _Gaussians.of(
            self.columns.whole(self.rows[lines]), self._covariances(lines)
        )
        right = _Gaussians.of(
            self.columns.mean[others],
            self.columns.second[others] - packed_squares(self.columns.mean[others]),
        )
        units = self.columns.units.at(columns)
        while True:
            x, y = left.drawn(rng)[of_rows], right.drawn(rng)[of_columns]
            own = noise
            if own is None:
                of_lines = variances_drawn(self.row_noise, lines, rng)
                of_others = variances_drawn(self.noise, others, rng)
                own = of_lines[of_rows] * of_others[of_columns]
            chance = self.chance(own, columns, rng)
            yield units.shift + units.scale * np.einsum("ij,ij->i", x, y) + chance

    def _variances(self, rows: Array, columns: Array) -> Array:
        which, where = np.unique(rows, return_inverse=True)
        mean = self.columns.whole(self.rows[rows])
        covariance = self._covariances(which)[where]
        second = self.columns.second[columns]
        others = packed_squares(self.columns.mean[columns])
        # Off-diagonal products count twice, as only one triangle is kept.
        twice = packed_of(2.0 - np.eye(mean.shape[1]))
        products = covariance * second + packed_squares(mean) * (second - others)
        return np.maximum(products @ twice, 0.0)

    def _covariances(self, rows: Array) -> Array:
        """Packed covariances of the coordinates of rows."""
        columns = self.columns
        if not len(columns.unknown.free):
            return np.zeros((len(rows), columns.second.shape[1]))
        grams = self.seen[rows] @ (columns.weight[:, None] * columns.second)
        moments = np.zeros((len(rows), columns.mean.shape[1] + 1))
        ones = np.ones(len(rows))
        lines = uncertain_lines(np.asarray(grams), moments, ones, columns.unknown)
        found = lines.second - packed_squares(lines.mean)
        if self.wider is not None:
            free = columns.unknown.free
            own = packed_index(columns.mean.shape[1])[free, free]
            found[:, own] += self.wider[rows]
        return found


@dataclass(frozen=True)
class _Gaussians:
    """Gaussian lines from which can be drawn.

    Attributes
    ----------
    mean : ndarray of shape (n, size)
    root : ndarray of shape (n, size, size)
        Square roots of the covariances.
    """

    mean: Array
    root: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> _Gaussians:
        """From packed covariances."""
        full = unpacked(covariance, packed_index(mean.shape[1]))
        values, vectors = np.linalg.eigh(full)
        roots = np.sqrt(np.maximum(values, 0.0))
        return cls(mean, vectors * roots[:, None, :])

    def drawn(self, rng: np.random.RandomState) -> Array:
        chance = rng.standard_normal(self.mean.shape)
        return self.mean + np.einsum("nij,nj->ni", self.root, chance)


def variances_drawn(
    noise: RowNoise | ColumnNoise, lines: Array, rng: np.random.RandomState
) -> Array:
    """Draws of the variances of the noise of lines, which some are certain of."""
    freedom, variance = noise.freedom[lines], noise.variance[lines]
    certain = np.isinf(freedom)
    shape = np.where(certain, 1.0, 0.5 * freedom)
    return variance * np.where(certain, 1.0, shape / rng.standard_gamma(shape))
