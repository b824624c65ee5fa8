"""Which entries of new rows are to be trusted, and what these say of the rows.

Errors and coordinates of each row are found in turn. At first a row is known by nothing
but its prior, and what is far from that is not trusted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import slabs
from skprecgd._linalg.offsets import medians
from skprecgd._runtime.typing import Array
from skprecgd.objective import Weights
from skprecgd.robust import largest_of_lines, line_limits
from skprecgd.variational.posterior import ColumnNoise
from skprecgd.variational.predictive import Predictive, RowNoise
from skprecgd.variational.rows import ColumnPosterior
from skprecgd.variational.trusted import TRUST, Trusted, TrustTuning
from skprecgd.variational.trusted_entries import left_out_sizes

# Numbers of the systems that are solved at a time (32 MB).
_NUMBERS = 1 << 22


@dataclass(frozen=True)
class NewEntries:
    """Visible entries of rows, sorted by rows.

    Attributes
    ----------
    rows, columns, values : ndarray of shape (n_entries,)
    shape : tuple of int
    each : ndarray of shape (n_entries,) or None
        Factors of the losses.
    """

    rows: Array
    columns: Array
    values: Array
    shape: tuple[int, int]
    each: Array | None = None

    def csr(self, kept: Array, values: Array | None = None) -> sparse.csr_array:
        """Some of the entries, or other numbers in their places."""
        counts = np.bincount(self.rows[kept], minlength=self.shape[0])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        values = self.values if values is None else values
        return sparse.csr_array(
            (values[kept], self.columns[kept], indptr), shape=self.shape
        )


@dataclass(frozen=True)
class RowTrust(ABC):
    """How entries of new rows are judged.

    Attributes
    ----------
    columns : ColumnPosterior
    scales : ndarray of shape (n_columns,)
        Spreads of residuals.
    level : float
        In units of these, from which on a residual is not trusted.
    fraction : float
        Upper bound of the share of a row that is not to be trusted.
    """

    columns: ColumnPosterior
    scales: Array
    level: float
    fraction: float

    def coordinates(
        self, entries: NewEntries, tuning: TrustTuning = TRUST
    ) -> tuple[Array, Array]:
        """The posterior means of rows, and what was not trusted.

        Parameters
        ----------
        entries : NewEntries
        tuning : TrustTuning, default=TRUST

        Returns
        -------
        coordinates : ndarray of shape (n_rows, f)
        wrong : ndarray of bool, shape (n_entries,)
        """
        limits = line_limits(
            np.bincount(entries.rows, minlength=entries.shape[0]), self.fraction
        )
        wrong = self._beyond(entries, self._from_prior(entries), limits)
        for _ in range(tuning.most_rounds):
            own, sizes = self._told(entries, wrong)
            found = self._beyond(entries, sizes, limits)
            if np.array_equal(found, wrong):
                return own, wrong
            wrong = found
        return self._told(entries, wrong)[0], wrong

    def _beyond(self, entries: NewEntries, sizes: Array, limits: Array) -> Array:
        """Which entries are too large, at most so many of each row."""
        sizes = sizes / self.scales[entries.columns]
        if entries.each is not None:
            sizes = sizes * np.sqrt(entries.each)
        large = np.flatnonzero(sizes > self.level)
        wrong = np.zeros(len(sizes), dtype=bool)
        wrong[large] = largest_of_lines(sizes[large], entries.rows[large], limits)
        return wrong

    def _from_prior(self, entries: NewEntries) -> Array:
        """Sizes of deviations from the prior mean, as large as residuals are."""
        free, units = self.columns.unknown, self.columns.units
        gaps = entries.values - self.columns.offsets[entries.columns]
        basis = self.columns.mean[:, free.free]
        flat = free.precision <= np.finfo(np.float64).tiny ** 0.25
        if flat.any():
            # Offsets of rows may be anything.
            middle = medians(gaps, entries.rows, entries.shape[0])
            gaps = gaps - middle[entries.rows]
        known = np.where(flat, 0.0, 1.0 / free.precision)
        signal = (basis**2 @ known) * units.scale**2
        wider = np.sqrt(1.0 + signal / np.maximum(self.scales**2, _TINY))
        return np.asarray(np.abs(gaps) / wider[entries.columns])

    @abstractmethod
    def _told(self, entries: NewEntries, wrong: Array) -> tuple[Array, Array]:
        """The coordinates, and the sizes of residuals as if entries were left out."""


class RowTrustOfEntries(RowTrust):
    """With columns that are uncertain, each row is a system of its own."""

    def _told(self, entries: NewEntries, wrong: Array) -> tuple[Array, Array]:
        kept, columns, n_rows = ~wrong, self.columns, entries.shape[0]
        each = None if entries.each is None else entries.each[kept]
        own = columns.rows(entries.csr(kept), Weights(precision=each)).mean
        weights = np.ones(len(kept)) if entries.each is None else entries.each
        seen = entries.csr(kept, weights)
        n_columns = entries.shape[1]
        precision = columns.precision
        variance = np.divide(
            columns.units.scale**2,
            precision,
            out=np.zeros(n_columns),
            where=precision > 0,
        )
        known = Predictive(
            columns,
            ColumnNoise(variance, np.full(n_columns, np.inf), False),
            np.bincount(entries.columns, minlength=n_columns),
            np.vstack([own, np.zeros((1, own.shape[1]))]),
            RowNoise.none(n_rows),
            sparse.csr_array(
                (seen.data, seen.indices, np.append(seen.indptr, seen.indptr[-1])),
                shape=(n_rows + 1, n_columns),
            ),
        )
        cells = entries.rows, entries.columns, entries.values
        return own, left_out_sizes(known, cells, wrong, entries.each)


class RowTrustOfMatrix(RowTrust):
    """With columns that are certain, a system is no larger than what a row lacks."""

    def _told(self, entries: NewEntries, wrong: Array) -> tuple[Array, Array]:
        columns = self.columns
        basis, units = columns.mean[:, columns.unknown.free], columns.units
        live = columns.precision > 0
        basis = np.where(live[:, None], basis, 0.0)
        noise = 1.0 / np.max(columns.precision, initial=_TINY)
        inner = np.linalg.inv(
            basis.T @ basis + noise * np.diag(columns.unknown.precision)
        )
        cells = entries.rows, entries.columns
        values = np.zeros(entries.shape)
        own = (entries.values - columns.offsets[cells[1]]) / units.scale[cells[1]]
        kept = ~wrong
        values[cells[0][kept], cells[1][kept]] = own[kept]
        lacking = np.ones(entries.shape, dtype=bool)
        lacking[cells[0][kept], cells[1][kept]] = False
        left = np.ones(entries.shape)
        left *= np.maximum(1.0 - np.sum((basis @ inner) * basis, axis=1), _LEAST)
        residual = values - (values @ basis) @ inner @ basis.T
        counts = np.count_nonzero(lacking, axis=1)
        # A row that shows nothing is zero.
        for count in np.unique(counts[(counts > 0) & (counts < len(basis))]):
            rows = np.flatnonzero(counts == count)
            for part in slabs((len(rows), int(count) ** 2), _NUMBERS):
                _fill(rows[part], lacking, basis, inner, values, residual, left)
        coordinates = values @ basis @ inner
        residual = values - coordinates @ basis.T
        # What is filled in is what others say, and the rest is corrected for itself.
        gaps = np.where(wrong, own - values[cells], residual[cells])
        sizes = np.abs(gaps) / np.sqrt(left[cells]) * units.scale[cells[1]]
        return coordinates, sizes


def _fill(
    rows: Array,
    lacking: Array,
    basis: Array,
    inner: Array,
    values: Array,
    residual: Array,
    left: Array,
) -> None:
    """Rows that lack the same number of entries, filled in with what others say."""
    count = int(np.count_nonzero(lacking[rows[0]]))
    at = np.nonzero(lacking[rows])[1].reshape(len(rows), count)
    cells, own = (rows[:, None], at), basis[at]
    system = np.eye(count) - own @ inner @ own.transpose(0, 2, 1)
    solved = np.linalg.inv(system)
    values[cells] -= np.einsum("nij,nj->ni", solved, residual[cells])
    left[cells] = np.einsum("nii->ni", solved)


_TINY = float(np.finfo(np.float64).tiny) ** 0.5
_LEAST = TRUST.certain


def row_trust(trusted: Trusted, fraction: float, *, complete: bool) -> RowTrust:
    """How entries of new rows are judged after a fit.

    Parameters
    ----------
    trusted : Trusted
    fraction : float
    complete : bool
        Whether the fit was that of a complete matrix.
    """
    kind = RowTrustOfMatrix if complete else RowTrustOfEntries
    columns = trusted.posterior.columns
    return kind(columns, trusted.scales, trusted.level, fraction)
