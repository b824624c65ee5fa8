"""How entries are distributed, given all that was observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats

from skprecgd._linalg.numerics import slabs
from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import packed_of, uncertain_lines
from skprecgd.objective import Weights
from skprecgd.variational.noise import NoiseOfLines
from skprecgd.variational.posterior import ColumnNoise, ColumnPosterior, Posterior

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
        safe = np.where(wide, 3.0, self.freedom)
        ratio = np.where(np.isinf(safe), 1.0, safe / (safe - 2.0))
        noise = np.where(wide & (self.noise > 0), np.inf, self.noise * ratio)
        return np.sqrt(self.variance + noise)

    def quantile(self, level: float) -> Array:
        return self.mean + self.scale * stats.t.ppf(level, self.freedom)

    def log_density(self, values: Array) -> Array:
        return stats.t.logpdf(values, self.freedom, self.mean, self.scale)


@dataclass(frozen=True)
class RowNoise:
    """By how much the noise of rows differs from that of all.

    Attributes
    ----------
    shape, rate : ndarray of shape (n_rows,)
        Of the Gamma posteriors of the factors of the inverse variances.
    """

    shape: Array
    rate: Array

    @classmethod
    def of(cls, squares: Array, counts: Array) -> RowNoise:
        """From the expected squared residuals of rows, in units of the noise."""
        noise = NoiseOfLines((len(counts), 1), counts, of_long=True)
        seen = np.maximum(squares, noise.tuning.least * counts)
        for _ in range(2):
            noise.update(seen, squares[:1])
        return cls(*noise.posterior)


@dataclass(frozen=True)
class Predictive:
    """The distribution of any entry of the matrix.

    Attributes
    ----------
    columns : ColumnPosterior
    noise : ColumnNoise
    rows : ndarray of shape (n_rows, f)
        Posterior means of the coordinates of the rows.
    row_noise : RowNoise
    seen : csr_array of shape (n_rows, n_columns)
        The weights of the observed entries.
    """

    columns: ColumnPosterior
    noise: ColumnNoise
    rows: Array
    row_noise: RowNoise
    seen: sparse.csr_array

    @classmethod
    def of(
        cls, posterior: Posterior, entries: sparse.csr_array, weights: Weights
    ) -> Predictive:
        """That of the entries from which the posterior was learned.

        Parameters
        ----------
        posterior : Posterior
        entries : csr_array of shape (n_rows, n_columns)
        weights : Weights
            Of these.
        """
        each = weights.of_losses
        ones = np.ones(entries.nnz) if each is None else each
        row_noise = RowNoise.of(posterior.row_squares, posterior.row_counts)
        return cls(
            posterior.columns,
            posterior.noise,
            posterior.rows,
            row_noise,
            with_values(entries, ones),
        )

    def at(self, rows: Array, columns: Array) -> Distribution:
        """The distributions of entries.

        Parameters
        ----------
        rows, columns : ndarray of int, shape (n_entries,)
        """
        basis = self.columns.basis[columns]
        mean = np.einsum("ij,ij->i", self.rows[rows], basis)
        mean += self.columns.offsets[columns]
        variance = np.zeros(len(rows))
        order = np.argsort(rows, kind="stable")
        for part in slabs((len(rows), 4 * self.columns.second.shape[1]), _NUMBERS):
            cells = order[part]
            variance[cells] = self._variances(rows[cells], columns[cells])
        variance *= self.columns.units.scale[columns] ** 2
        own = self.row_noise
        noise = self.noise.variance[columns] * own.rate[rows] / own.shape[rows]
        freedom = 1.0 / (0.5 / own.shape[rows] + 1.0 / self.noise.freedom[columns])
        return Distribution(mean, variance, noise, freedom)

    def _variances(self, rows: Array, columns: Array) -> Array:
        """Of the products of uncertain rows and columns, in units of the columns."""
        which, where = np.unique(rows, return_inverse=True)
        covariance = self._covariances(which)[where]
        mean = self.columns.whole(self.rows[rows])
        if not mean.shape[1]:
            return np.zeros(len(rows))
        own = packed_of(mean[:, :, None] * mean[:, None, :])
        second = self.columns.second[columns]
        other = self.columns.mean[columns]
        others = packed_of(other[:, :, None] * other[:, None, :])
        # Off-diagonal products count twice, as only one triangle is kept.
        twice = packed_of(2.0 - np.eye(mean.shape[1]))
        products = covariance * second + own * (second - others)
        return np.maximum(products @ twice, 0.0)

    def _covariances(self, rows: Array) -> Array:
        """Packed covariances of the coordinates of rows."""
        columns = self.columns
        if not len(columns.unknown.free):
            return np.zeros((len(rows), columns.second.shape[1]))
        grams = self.seen[rows] @ (columns.precision[:, None] * columns.second)
        moments = np.zeros((len(rows), columns.mean.shape[1] + 1))
        ones = np.ones(len(rows))
        lines = uncertain_lines(np.asarray(grams), moments, ones, columns.unknown)
        mean = lines.mean
        return lines.second - packed_of(mean[:, :, None] * mean[:, None, :])
