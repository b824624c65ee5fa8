"""What was learned of noisy entries, in the units of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import slabs
from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.kernels import Lines, Unknown, uncertain_lines
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.entries import NoisyEntries, Units
from skprecgd.variational.model import Model
from skprecgd.variational.recipe import Learned, follow_recipe, make_noise
from skprecgd.variational.spread import trust_in_columns

# Numbers of the systems of rows that are summed at a time (32 MB).
_NUMBERS = 1 << 22


@dataclass(frozen=True)
class ColumnPosterior:
    """What the columns of a data matrix say of a row: its prior, and their Gaussians.

    An entry is ``shift_j + scale_j <x_i, y_j>`` plus noise, where some coordinates of
    the row x_i are to be found, and one may be given.

    Attributes
    ----------
    units : Units
    mean : ndarray of shape (n_columns, size)
    second : ndarray of shape (n_columns, size (size + 1) / 2)
        Packed second moments.
    precision : ndarray of shape (n_columns,)
        Inverse variances of the noise, in units of the scale; zero for columns that
        say nothing.
    unknown : Unknown
        Of a row.
    """

    units: Units
    mean: Array
    second: Array
    precision: Array
    unknown: Unknown

    @property
    def basis(self) -> Array:
        """What each coordinate of a row adds to its entries, (n_columns, f)."""
        return self.units.scale[:, None] * self.mean[:, self.unknown.free]

    @property
    def offsets(self) -> Array:
        """The entries of a row whose coordinates are zero, (n_columns,)."""
        fixed = self.unknown.fixed
        if fixed is None:
            return self.units.shift
        own = self.unknown.value * self.mean[:, fixed]
        return self.units.shift + self.units.scale * own

    def whole(self, coordinates: Array) -> Array:
        """All coordinates of rows, (n_rows, size), of those that are to be found."""
        unknown = self.unknown
        out = np.zeros((len(coordinates), self.mean.shape[1]))
        out[:, unknown.free] = coordinates
        if unknown.fixed is not None:
            out[:, unknown.fixed] = unknown.value
        return out

    def rows(self, entries: sparse.csr_array, weights: Array | None = None) -> Array:
        """The posterior means of the coordinates of rows; see `solved`."""
        return self.solved(entries, weights)[0]

    def solved(
        self, entries: sparse.csr_array, weights: Array | None = None
    ) -> tuple[Array, Array]:
        """The posterior means of the coordinates of rows, and what they leave.

        Parameters
        ----------
        entries : csr_array of shape (n_rows, n_columns)
            The visible ones; explicit zeros are values.
        weights : ndarray of shape (nnz,), default=None
            Factors of their precision, in the order of the stored values.

        Returns
        -------
        mean : ndarray of shape (n_rows, f)
            Zero for rows that show nothing.
        squares : ndarray of shape (n_rows,)
            Expected squared residuals of the entries, in units of the noise.
        """
        n_rows, free = entries.shape[0], self.unknown.free
        each = np.ones(entries.nnz) if weights is None else weights
        pattern = with_values(entries, each)
        own = (entries.data - self.units.shift[entries.indices]).astype(np.float64)
        own /= self.units.scale[entries.indices]
        values = with_values(entries, each * own)
        squares = with_values(entries, each * own**2) @ self.precision
        out = np.zeros((n_rows, len(free)))
        if self.mean.shape[1]:
            for part in slabs((n_rows, self.second.shape[1]), _NUMBERS):
                lines = self._lines(pattern[part], values[part], squares[part])
                out[part] = lines.mean[:, free]
                squares[part] = lines.squares
        return out, squares

    def _lines(
        self, pattern: sparse.csr_array, values: sparse.csr_array, squares: Array
    ) -> Lines:
        scaled = self.precision[:, None]
        grams = np.asarray(pattern @ (scaled * self.second))
        moments = np.column_stack([values @ (scaled * self.mean), squares])
        return uncertain_lines(grams, moments, np.ones(len(grams)), self.unknown)


@dataclass(frozen=True)
class ColumnNoise:
    """The noise of the columns of a data matrix.

    Attributes
    ----------
    variance : ndarray of shape (n_columns,)
        In squared units of the data.
    freedom : ndarray of shape (n_columns,)
        From how many entries it is known; infinite where it was given.
    is_equal : bool
        Whether it is the same in all columns.
    """

    variance: Array
    freedom: Array
    is_equal: bool

    @property
    def in_short(self) -> float | Array:
        """One number if it is the same in all columns."""
        return float(self.variance[0]) if self.is_equal else self.variance


@dataclass(frozen=True)
class Posterior:
    """Everything that was learned of a data matrix.

    Attributes
    ----------
    columns : ColumnPosterior
    rows : ndarray of shape (n_rows, f)
        The coordinates of the rows.
    row_offset : bool
        Whether the last of them is the offset of a row.
    rank : int
        Number of factors.
    n_signal : int
        How many of them the evidence pays for.
    evidence : float
        Lower bound of the log density of the entries.
    noise : ColumnNoise
    row_squares, row_counts : ndarray of shape (n_rows,)
        Expected squared residuals of the rows, in units of the noise, and from how
        many entries.
    factor_scales : ndarray of shape (rank,)
        Standard deviation of what each factor adds to an entry before it is seen.
    exact : bool
        Whether no noise is left.
    missed : float
        What one more column than allowed would add to the evidence, for each of its
        degrees of freedom.
    model : Model or None
        The end of the iteration, in the units of the entries' own spread; None where it
        took none.
    """

    columns: ColumnPosterior
    rows: Array
    row_offset: bool
    rank: int
    n_signal: int
    evidence: float
    noise: ColumnNoise
    row_squares: Array
    row_counts: Array
    factor_scales: Array
    exact: bool
    missed: float
    model: Model | None

    @property
    def noise_variance(self) -> float | Array:
        """The variance of the noise: one number if it is the same in all columns."""
        return self.noise.in_short


def learn_posterior(
    entries: sparse.csr_array,
    rank: int,
    *,
    center: str | None = None,
    noise: str = "auto",
    noise_variance: float | None = None,
    weights: Weights = ONCE,
) -> Posterior:
    """Learn factors, offsets, noise and prior variances from entries.

    Parameters
    ----------
    entries : csr_array of shape (n_rows, n_columns)
        Whatever is stored is observed, explicit zeros too.
    rank : int
        Factors at most.
    center : {None, "mean", "columns", "both"}, default=None
        Which offsets the model has.
    noise : {"uniform", "columns", "auto"}, default="auto"
        Whether all entries have noise of the same variance, or each column its own.
        "auto": of columns, whose variances may turn out the same.
    noise_variance : float, default=None
        A known variance, of an entry of precision one.
    weights : Weights
        Of the stored entries.

    Returns
    -------
    Posterior
    """
    # Noise of one variance in all columns presupposes that they have the same unit.
    own = noise != "uniform" and noise_variance is None
    problem = _Problem.of(entries, center, weights, own=own)
    scaled = problem.entries
    known = None
    if noise_variance is not None:
        known = noise_variance / float(scaled.units.scale[0]) ** 2
    first = make_noise(scaled, "columns" if noise == "auto" else noise, known)
    learned = follow_recipe(scaled, rank, first)
    return problem.posterior(learned)


@dataclass(frozen=True)
class _Problem:
    """Entries of the lines that say something, within the whole matrix.

    Attributes
    ----------
    entries : NoisyEntries
    whole : sparse array of shape (n_rows, n_columns)
        All entries.
    weights : Weights
        Of these.
    kept_rows, kept_columns : ndarray of int
        The lines of `entries`.
    units : Units
        Of all columns.
    trust : ndarray
        How much the entries of each kept column count.
    """

    entries: NoisyEntries
    whole: sparse.csr_array
    weights: Weights
    kept_rows: Array
    kept_columns: Array
    units: Units
    trust: Array

    @classmethod
    def of(
        cls, whole: sparse.csr_array, center: str | None, weights: Weights, *, own: bool
    ) -> _Problem:
        """The problem of some entries, whose columns may have their own units.

        Equal entries of a column in its own unit say nothing of factors.
        """
        rows = np.repeat(np.arange(whole.shape[0]), np.diff(whole.indptr))
        columns, values = whole.indices, whole.data.astype(np.float64)
        each = weights.of_losses
        given = columns, values, whole.shape[1], center, each
        units = Units.of(*given, own=own)
        if not units.varies.any():
            # Nothing varies by much more than rounding, which is then all there is.
            units = Units.of(*given, own=own, rounding=0.0)
        useful = units.varies[columns]
        if not useful.any():
            useful = np.ones_like(useful)
        kept_rows, kept_columns = np.unique(rows[useful]), np.unique(columns[useful])
        entries = NoisyEntries.of(
            np.searchsorted(kept_rows, rows[useful]),
            np.searchsorted(kept_columns, columns[useful]),
            values[useful],
            (len(kept_rows), len(kept_columns)),
            center,
            weights if useful.all() else weights.at(useful),
            units.at(kept_columns),
        )
        trust = np.ones(len(kept_columns))
        if own:
            trust = trust_in_columns(entries)
        entries = entries.counting(trust)
        return cls(entries, whole, weights, kept_rows, kept_columns, units, trust)

    def posterior(self, learned: Learned) -> Posterior:
        """What was learned, for all rows and columns and in the units of the data."""
        model, scale = learned.model, self.entries.units.scale
        columns = self._columns(model)
        spread = float(np.sqrt(np.mean(scale**2)))
        factor_scales = spread * np.sqrt(model.scales[0] * model.scales[1])
        rows, squares = columns.solved(self.whole, self.weights.of_losses)
        return Posterior(
            columns,
            rows,
            self.entries.center == "both",
            model.rank,
            learned.n_signal,
            learned.evidence + self._of_units(),
            self._noise(model),
            squares,
            self._row_counts(),
            factor_scales,
            learned.exact,
            learned.missed,
            model,
        )

    def _row_counts(self) -> Array:
        """How many entries tell of the noise of each row."""
        often = self.weights.frequency
        each = np.ones(self.whole.nnz) if often is None else often
        trust = np.zeros(self.whole.shape[1])
        trust[self.kept_columns] = self.trust
        return np.asarray(with_values(self.whole, each) @ trust)

    def _of_units(self) -> float:
        """What the units add to the log density."""
        entries = self.entries
        counts = entries.counts[0 if entries.columns_are_long else 1]
        logs = -float(counts @ np.log(entries.units.scale))
        precision, often = entries.weights.precision, entries.weights.frequency
        if precision is not None:
            each = np.log(precision)
            logs += 0.5 * float(np.sum(each if often is None else often * each))
        return logs

    def _columns(self, model: Model) -> ColumnPosterior:
        coordinates, kept = model.coordinates, self.kept_columns
        of_long = self.entries.columns_are_long
        side = coordinates.long if of_long else coordinates.short
        lines = model.long_lines() if of_long else model.short
        n_columns = self.whole.shape[1]
        mean = np.zeros((n_columns, coordinates.size))
        second = np.zeros((n_columns, lines.second.shape[1]))
        precision = np.zeros(n_columns)
        if side.fixed is not None:
            mean[:, side.fixed] = lines.mean[0, side.fixed]
        if side.offset is not None and self.units.are_one:
            # Nothing is known of other columns but that they are like these.
            mean[:, side.offset] = model.centre
        mean[kept], second[kept] = lines.mean, lines.second
        precision[kept] = self.trust * model.precision_of_columns
        unknown = model.unknown(of_long=not of_long)
        return ColumnPosterior(self.units, mean, second, precision, unknown)

    def _noise(self, model: Model) -> ColumnNoise:
        """The noise of all columns; those of equal numbers have none."""
        own = self.entries.units.scale**2 / model.precision_of_columns
        n_columns = self.whole.shape[1]
        variances, freedom = np.full(n_columns, own.mean()), np.full(n_columns, np.inf)
        equal = self.units.are_one and model.noise.is_equal
        if not equal:
            variances[np.unique(self.whole.indices)] = 0.0
        variances[self.kept_columns] = own
        freedom[self.kept_columns] = model.noise.freedom
        return ColumnNoise(variances, freedom, equal)
