"""The kinds of data that PrecGDFactorization takes: in memory, complete or entries.

Those in chunks are in `chunked_data.py`. `read_data` decides the kind once; everything
that depends on it is a method.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._estimators.centre import Offsets, Seen
from skprecgd._estimators.noisy_data import NoisyData
from skprecgd._estimators.parameters import needs_each_entry
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.scoring import hidden_rounds
from skprecgd._estimators.validation import checked_finite, validated
from skprecgd._estimators.weighting import (
    checked_numbers,
    has_variances,
    is_number,
    positive,
    read_weights,
)
from skprecgd._linalg.containers import is_frame, marked, unmasked
from skprecgd._linalg.groups import (
    Block,
    Cut,
    Groups,
    connected_groups,
    local_positions,
    members_of,
)
from skprecgd._linalg.naming import columns_named, first_few
from skprecgd._linalg.numerics import largest_sizes, slab_bincount
from skprecgd._linalg.offsets import (
    complete_offsets,
    entry_offsets,
    median_offsets,
    subtract,
    total_variance,
)
from skprecgd._linalg.ratings import StoredValues
from skprecgd._linalg.row_systems import solve_rows, weighted_least_squares
from skprecgd._linalg.stored import without_duplicates
from skprecgd._runtime.typing import Array
from skprecgd.kernels import unchecked_csr
from skprecgd.measurements import EntryMeasurements, FullObservation
from skprecgd.measurements.in_memory import check_any_observed, matrix_entries
from skprecgd.measurements.tables import looks_long, warn_of_long_table
from skprecgd.objective import Objective, Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.drawn_entries import DrawnPredictive
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.posterior import Posterior
from skprecgd.variational.predictive import EntryDistributions, Predictive

MakeObjective = Callable[..., Objective]


class Data(ABC):
    """The contract of a data matrix of any kind: what a fit needs of it.

    Attributes
    ----------
    shape : tuple of int
    """

    shape: tuple[int, int]

    @abstractmethod
    def seen(self) -> Seen:
        """Which rows and which columns have an observed entry, as two masks."""

    def stored_values(self) -> StoredValues | None:
        """What is stored where entries not stored are zeros; None if all are stored."""
        return None

    def groups(self, seen: Seen) -> Groups:
        """The groups of rows and columns that share no observed entry.

        Parameters
        ----------
        seen : tuple of ndarray
            From `seen`.
        """
        return Groups.one(seen)

    def parts(self, groups: Groups, count: int) -> list[GroupData]:
        """The data of each of the first groups, as if there were no others.

        Parameters
        ----------
        groups : Groups
            Of these data; more than one.
        count : int
        """
        raise NotImplementedError(f"{type(self).__name__} is always one group.")

    @abstractmethod
    def offsets(self, center: str | None) -> Offsets:
        """The offsets to subtract from the data.

        Parameters
        ----------
        center : {None, "mean", "columns", "both"}
        """

    def noisy(self) -> NoisyData | None:
        """The single entries, if noise and prior can be learned from them."""
        return None

    def medians(self, center: str | None) -> Offsets:
        """Offsets that gross errors do not move, where a search for better ones starts.

        Parameters
        ----------
        center : {None, "mean", "columns", "both"}
        """
        raise NotImplementedError(f"{type(self).__name__} has no single entries.")

    @abstractmethod
    def objective(self, offsets: Offsets, make: MakeObjective) -> Objective:
        """The objective of the fit.

        Parameters
        ----------
        offsets : Offsets
            Subtracted from the data.
        make : callable
            Measurements, their targets and `weights` -> Objective.
        """

    @abstractmethod
    def variance(
        self, objective: Objective, offsets: Offsets, unit: float
    ) -> float | None:
        """Sum of the columns' variances, or None where it is only to be estimated.

        It is known of complete data that are fitted by their truncated SVD.

        Parameters
        ----------
        objective : Objective
        offsets : Offsets
            The offsets that the objective was made with. If they are zero, the
            objective may know a sum that is needed here.
        unit : float
            The result is in units of its square, which may be no number itself.
        """


@dataclass(frozen=True, eq=False)
class GroupData:
    """The data of one group of rows and columns.

    Attributes
    ----------
    data : Data
    block : Block
        Where they stand in the whole matrix.
    index : ndarray of int or slice
        Positions of their entries among all entries.
    order : ndarray of int or slice
        Positions of these entries among those of `data`.
    """

    data: Data
    block: Block
    index: Any
    order: Any


class VisibleRows(ABC):
    """Rows in memory, some of whose entries may be missing or hidden.

    Attributes
    ----------
    shape : tuple of int
    """

    shape: tuple[int, int]

    @abstractmethod
    def entries(self) -> EntryData:
        """The visible entries, one by one."""

    @abstractmethod
    def least_squares(self, space: RowSpace, ridge: Array) -> Array:
        """Coordinates by least squares with a ridge, shape (n_rows, r).

        Rows with holes have none in the columns of the basis that are rounding.

        Parameters
        ----------
        space : RowSpace
        ridge : ndarray of shape (r,) or (n_rows, r)
        """

    @abstractmethod
    def counts(self) -> Array:
        """How many entries each row shows, shape (n_rows,); weights count."""

    def by_columns(self, columns: list[Array]) -> list[tuple[Array, VisibleRows]]:
        """The rows cut into sets of columns.

        Parameters
        ----------
        columns : list of ndarray of int
            The columns of each set, ascending; no column is in two of them.

        Returns
        -------
        list of tuple
            For each set, the positions of the rows that show something there, and what
            these rows show there.
        """
        return self.entries().by_columns(columns)


class Rows(VisibleRows):
    """Rows in memory that can be scored, by hiding some of their entries at a time."""

    @abstractmethod
    def rounds(
        self, share: float, rng: np.random.RandomState
    ) -> Iterator[tuple[VisibleRows, EntryData]]:
        """The visible and the hidden entries of each round; see `hidden_rounds`.

        Parameters
        ----------
        share : float
            Share of the entries that is hidden in each round.
        rng : RandomState
        """


# Size of a column, in that of most columns, beyond which they rather have other units.
_LARGEST = 1e4


@dataclass(frozen=True)
class ColumnPrecision:
    """How precise new entries of each column are, as those of a fit were.

    Attributes
    ----------
    precision : ndarray of shape (n_columns,)
    unit_variance : float or None
        See `Weights`.
    """

    precision: Array
    unit_variance: float | None

    @property
    def variance(self) -> Array:
        """Of the noise of such entries, where variances were given."""
        return np.asarray(self.unit_variance / self.precision)


@dataclass(frozen=True)
class EntryData(Data, Rows, NoisyData):
    """A matrix with missing entries, as triples sorted by rows.

    Attributes
    ----------
    rows, columns, values : ndarray of shape (n_entries,)
    shape : tuple of int
    weights : Weights, default=ONCE
    """

    rows: Array
    columns: Array
    values: Array
    shape: tuple[int, int]
    weights: Weights = ONCE

    # ---- for a fit

    def seen(self) -> Seen:
        n_rows, n_columns = self.shape
        rows = slab_bincount(self.rows, n_rows) > 0
        return rows, slab_bincount(self.columns, n_columns) > 0

    def groups(self, seen: Seen) -> Groups:
        return connected_groups(self.rows, self.columns, seen)

    def parts(self, groups: Groups, count: int) -> list[GroupData]:
        return [
            self._of_group(cut) for cut in groups.cut(self.rows, self.columns)[:count]
        ]

    def _of_group(self, cut: Cut) -> GroupData:
        shape, values = cut.block.shape, self.values[cut.index]
        weights = self.weights.alone(cut.index)
        if weights.of_losses is None and len(values) == shape[0] * shape[1]:
            cells = cut.rows * shape[1] + cut.columns
            matrix = np.empty(shape, values.dtype)
            matrix.flat[cells] = values
            return GroupData(CompleteData(matrix), cut.block, cut.index, cells)
        entries = EntryData(cut.rows, cut.columns, values, shape, weights)
        return GroupData(entries, cut.block, cut.index, slice(None))

    def offsets(self, center: str | None) -> Offsets:
        found = entry_offsets(
            self.rows,
            self.columns,
            self.values,
            self.shape,
            center,
            self.weights.of_losses,
        )
        return Offsets.of(center, found)

    def medians(self, center: str | None) -> Offsets:
        cells = self.rows, self.columns, self.values
        return Offsets.of(center, median_offsets(*cells, self.shape, center))

    def objective(self, offsets: Offsets, make: MakeObjective) -> Objective:
        targets = offsets.subtracted(self.values, self.rows, self.columns)
        return make(self.measurements(), targets, weights=self.weights)

    def measurements(self) -> EntryMeasurements:
        """The entries as measurements of the matrix, in the same order."""
        return EntryMeasurements(self.rows, self.columns, self.shape, self.values.dtype)

    def variance(self, objective: Objective, offsets: Offsets, unit: float) -> None:
        return None

    # ---- for the noise

    def noisy(self) -> EntryData:
        return self

    @property
    def n_entries(self) -> int:
        return len(self.values)

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return self.values.dtype

    @property
    def unit_variance(self) -> float | None:  # type: ignore[override]
        return self.weights.unit_variance

    @property
    def mean_frequency(self) -> float:
        often = self.weights.frequency
        return 1.0 if often is None or not len(often) else float(np.mean(often))

    def given(self, often: float = 1.0) -> GivenInMemory:
        return GivenInMemory(self.csr(), self.weights.made_less_often(often))

    def distributions(
        self, posterior: Posterior, often: float, *, rows_differ: bool
    ) -> EntryDistributions:
        kind = DrawnPredictive if posterior.n_draws else Predictive
        weights = self.weights.made_less_often(often)
        return kind.of(posterior, self.csr(), weights, rows_differ=rows_differ)

    # ---- for coordinates of rows

    def entries(self) -> EntryData:
        return self

    def least_squares(self, space: RowSpace, ridge: Array) -> Array:
        visible, weights = self.centred(space), self.weights.of_losses
        basis = space.determined.basis
        rank = basis.shape[1]
        ridge = np.broadcast_to(ridge, (self.shape[0], space.basis.shape[1]))
        if weights is not None:
            z = weighted_least_squares(visible, weights, basis, ridge[:, :rank])
        else:
            z = solve_rows(visible, visible @ basis, basis, ridge[:, :rank])
        z = space.padded(z)
        if rank < ridge.shape[1]:
            # Rows without holes have coordinates in all columns, as complete data do.
            whole = np.diff(visible.indptr) == self.shape[1]
            others = visible[whole] @ space.basis[:, rank:]
            z[whole, rank:] = others / (1.0 + ridge[whole, rank:]).astype(z.dtype)
        return z

    def counts(self) -> Array:
        return np.bincount(self.rows, self.weights.frequency, minlength=self.shape[0])

    def rounds(
        self, share: float, rng: np.random.RandomState
    ) -> Iterator[tuple[EntryData, EntryData]]:
        check_any_observed(self.values)
        for hidden in hidden_rounds(len(self.values), share, rng):
            hide = np.zeros(len(self.values), dtype=bool)
            hide[hidden] = True
            yield self.where(~hide), self.where(hide)

    def where(self, mask: Any) -> EntryData:
        """The entries where a mask is true, or at an index."""
        return EntryData(
            self.rows[mask],
            self.columns[mask],
            self.values[mask],
            self.shape,
            self.weights.at(mask),
        )

    def weighted(self, entry_weight: Any, noise_variance: Any) -> EntryData:
        """The entries with weights, given as matrices; see `read_weights`."""
        if entry_weight is not None:
            entry_weight = self._of_matrix(entry_weight, "entry_weight")
        if has_variances(noise_variance):
            noise_variance = self._of_columns_or_matrix(noise_variance)
        n = len(self.values)
        weights = read_weights(entry_weight, noise_variance, n, "entry_weight")
        return replace(self, weights=weights)

    def _of_columns_or_matrix(self, variance: Any) -> Array:
        """The variance of each entry, given for all or for each column."""
        if np.ndim(variance) != 1 or np.shape(variance) != self.shape[1:]:
            return self._of_matrix(variance, "noise_variance")
        numbers = checked_numbers(variance, "noise_variance")
        return np.asarray(numbers[self.columns])

    def in_order(self) -> EntryData:
        """The entries sorted by rows, and within a row by columns."""
        rows, columns = self.rows, self.columns
        next_row, same_row = rows[1:] > rows[:-1], rows[1:] == rows[:-1]
        if np.all(next_row | (same_row & (columns[1:] >= columns[:-1]))):
            return self
        return self.where(np.lexsort((columns, rows)))

    def without_repeats(self) -> EntryData:
        rows, columns, values = self.rows, self.columns, self.values
        again = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
        if not again.any():
            return self
        each = self.weights.precision
        keys = (
            (values, columns, rows) if each is None else (each, values, columns, rows)
        )
        order = np.lexsort(keys)
        differ = [np.diff(key[order]) != 0 for key in keys]
        first = np.append(True, np.logical_or.reduce(differ))
        often = self.weights.frequency
        counted = np.ones(len(rows)) if often is None else often[order]
        frequency = np.bincount(np.cumsum(first) - 1, counted)
        once = self.where(order[first])
        return replace(once, weights=replace(once.weights, frequency=frequency))

    def precision_of_columns(self) -> ColumnPrecision:
        """How precise the entries of each column are in the mean."""
        counts = np.bincount(self.columns, minlength=self.shape[1])
        each, unit = self.weights.precision, self.weights.unit_variance
        if each is None:
            return ColumnPrecision(np.ones(self.shape[1]), unit)
        total = np.bincount(self.columns, each, self.shape[1])
        precision = np.divide(total, counts, out=np.ones(len(total)), where=counts > 0)
        return ColumnPrecision(precision, unit)

    def as_precise_as(self, columns: ColumnPrecision) -> EntryData:
        """Entries that are as precise as those of their columns were."""
        weights = Weights(None, columns.precision[self.columns], columns.unit_variance)
        return replace(self, weights=weights)

    def that_count(self) -> EntryData:
        """The entries without those of weight zero, which count as missing."""
        counts = positive(self.weights)
        return self if counts is None else self.where(counts)

    def by_columns(self, columns: list[Array]) -> list[tuple[Array, VisibleRows]]:
        n_columns = self.shape[1]
        across = local_positions(columns, n_columns)
        owners = np.full(n_columns, -1)
        for k, part in enumerate(columns):
            owners[part] = k
        parts: list[tuple[Array, VisibleRows]] = []
        for part, there in zip(
            columns, members_of(owners[self.columns], len(columns)), strict=True
        ):
            # The rows are sorted, also within a set of columns.
            first = np.diff(self.rows[there], prepend=-1) > 0
            rows, down = self.rows[there[first]], np.cumsum(first) - 1
            at, values = across[self.columns[there]], self.values[there]
            shape, weights = (len(rows), len(part)), self.weights.alone(there)
            parts.append((rows, EntryData(down, at, values, shape, weights)))
        return parts

    def of_groups(self, groups: Any) -> Array:
        """The group of each entry, from a matrix of them."""
        matrix = np.asanyarray(groups)
        if matrix.shape != self.shape:
            raise ValueError(
                f"groups must have the shape of X, {self.shape}, one for each entry: "
                f"folds hold out entries, not whole rows; got shape {matrix.shape}."
            )
        found = matrix[self.rows, self.columns]
        return np.asarray(unmasked(found, "groups", "give each entry a group"))

    def _of_matrix(self, matrix: Any, name: str) -> Array:
        """The values of another matrix at the positions of the entries."""
        if is_number(matrix):
            raise ValueError(
                f"{name} must be a matrix of shape {self.shape}, a number for each "
                f"entry, got {matrix!r}."
            )
        numbers = checked_numbers(
            matrix, name, accept_sparse="csr", ensure_all_finite=False
        )
        if numbers.shape != self.shape:
            raise ValueError(
                f"{name} must have the shape of X, {self.shape}, got {numbers.shape}."
            )
        if sparse.issparse(numbers):
            return self._stored(without_duplicates(numbers), name)
        if isinstance(matrix, np.ma.MaskedArray):
            given = f"{name} at the observed entries"
            unmasked(matrix[self.rows, self.columns], given, "give each a number")
        return np.asarray(numbers[self.rows, self.columns])

    def _stored(self, matrix: Any, name: str) -> Array:
        """The values of a sparse matrix at the entries; it must store each of them."""
        numbered = matrix.copy()
        numbered.data = np.arange(1, matrix.nnz + 1, dtype=np.int64)
        position = np.asarray(numbered[self.rows, self.columns]).ravel()
        if not np.all(position):
            raise ValueError(
                f"{name} is sparse and stores nothing for {np.sum(position == 0)} of "
                f"the {len(self.values)} observed entries of X; store a number for "
                "each, and 0 for those that do not count."
            )
        return np.asarray(matrix.data[position - 1])

    def csr(self, values: Array | None = None) -> sparse.csr_array:
        """The entries (or other values in their places), explicit zeros included."""
        values = self.values if values is None else values
        # Rows are sorted, so the row pointer is a cumulative count.
        counts = np.bincount(self.rows, minlength=self.shape[0])
        kind = np.int32 if max(*self.shape, len(values)) < 2**31 else np.int64
        indptr = np.zeros(self.shape[0] + 1, kind)
        np.cumsum(counts, out=indptr[1:])
        columns = self.columns.astype(kind, copy=False)
        return unchecked_csr(indptr, columns, values, self.shape)

    def centred(self, space: RowSpace) -> sparse.csr_array:
        """`csr` without the offsets of the row space, in its precision."""
        values = self.values - space.offsets[self.columns]
        return self.csr(values.astype(space.basis.dtype))


class CompleteData(Data, Rows):
    """A matrix without missing entries, dense or sparse.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_rows, n_columns)
        Values that a sparse array stores for the same entry are summed.
    """

    def __init__(self, X: Any) -> None:
        # Variances and counts of values are sums over what is stored.
        self.X = without_duplicates(X) if sparse.issparse(X) else X
        self.shape = (int(X.shape[0]), int(X.shape[1]))
        self._projected: tuple[RowSpace, Array] | None = None

    # ---- for a fit

    def seen(self) -> Seen:
        n_rows, n_columns = self.shape
        return np.ones(n_rows, dtype=bool), np.ones(n_columns, dtype=bool)

    def stored_values(self) -> StoredValues | None:
        return StoredValues.of(self.X) if sparse.issparse(self.X) else None

    def offsets(self, center: str | None) -> Offsets:
        return Offsets.of(center, complete_offsets(self.X, center))

    def medians(self, center: str | None) -> Offsets:
        if center is None:
            return Offsets.none(self.shape)
        return self.entries().medians(center)

    def objective(self, offsets: Offsets, make: MakeObjective) -> Objective:
        centred = subtract(self.X, *offsets.pair)
        return make(FullObservation(self.shape, self.X.dtype), centred)

    def variance(
        self, objective: Objective, offsets: Offsets, unit: float
    ) -> float | None:
        if not objective.has_closed_form:
            return None
        if offsets.rows.any():
            return total_variance(self.X, unit)
        known = objective.complete_matrix, objective.data_norm
        return total_variance(self.X, unit, known)

    # ---- for coordinates of rows

    def that_count(self) -> CompleteData:
        """All of the entries: complete data have no weights."""
        return self

    def entries(self) -> EntryData:
        return self._entries

    @cached_property
    def _entries(self) -> EntryData:
        return EntryData(*matrix_entries(self.X, np.nan))

    def least_squares(self, space: RowSpace, ridge: Array) -> Array:
        z = self.projected(space)
        if not np.any(ridge):
            return z
        with np.errstate(over="ignore"):
            # A ridge without bound leaves nothing of a coordinate.
            shrinkage = (1.0 + ridge).astype(space.basis.dtype)
        return z / shrinkage

    def counts(self) -> Array:
        return np.full(self.shape[0], float(self.shape[1]))

    def by_columns(self, columns: list[Array]) -> list[tuple[Array, VisibleRows]]:
        rows = np.arange(self.shape[0])
        return [(rows, CompleteData(self.X[:, part])) for part in columns]

    def projected(self, space: RowSpace) -> Array:
        """Coordinates without a ridge, which every round of a score starts from."""
        if self._projected is None or self._projected[0] is not space:
            self._projected = space, space.coordinates(self.X)
        return self._projected[1]

    def rounds(
        self, share: float, rng: np.random.RandomState
    ) -> Iterator[tuple[VisibleRows, EntryData]]:
        n_rows, n_columns = self.shape
        for cells in hidden_rounds(n_rows * n_columns, share, rng):
            rows, columns = np.divmod(cells, n_columns)
            values = np.asarray(self.X[rows, columns]).ravel()
            hidden = EntryData(rows, columns, values, self.shape)
            yield _CompleteButHidden(self, hidden, cells), hidden


@dataclass(frozen=True)
class _CompleteButHidden(VisibleRows):
    """Complete rows of which a few entries are hidden.

    The pattern of the visible entries, nearly as large as the matrix, is not formed.

    Attributes
    ----------
    whole : CompleteData
    hidden : EntryData
    cells : ndarray of shape (n_hidden,)
        Positions of the hidden entries, counted row by row.
    """

    whole: CompleteData
    hidden: EntryData
    cells: Array

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self.whole.shape

    def entries(self) -> EntryData:
        entries = self.whole.entries()
        visible = np.ones(len(entries.values), dtype=bool)
        visible[self.cells] = False
        return entries.where(visible)

    def least_squares(self, space: RowSpace, ridge: Array) -> Array:
        hidden, basis = self.hidden.centred(space), space.determined.basis
        rank = basis.shape[1]
        visible = self.whole.projected(space)[:, :rank] - hidden @ basis
        z = solve_rows(hidden, visible, basis, ridge[..., :rank], hidden=True)
        return space.padded(z)

    def counts(self) -> Array:
        return self.whole.counts() - self.hidden.counts()


# Reading ------------------------------------------------------------------------------


def read_weighted(
    estimator: Any, X: Any, entry_weight: Any = None
) -> CompleteData | EntryData:
    """Validated data in memory for a fit, with the weights that were given.

    Parameters
    ----------
    estimator, X, entry_weight
        See `read_data`.
    """
    each_entry = needs_each_entry(estimator)
    precise = has_variances(estimator.noise_variance)
    if entry_weight is None and not precise:
        return read_rows(estimator, X, each_entry, reset=True)
    given = "noise_variance" if entry_weight is None else "entry_weight"
    data = read_rows(estimator, X, each_entry or given, reset=True)
    check_names(estimator, entry_weight, "entry_weight")
    check_names(estimator, estimator.noise_variance, "noise_variance")
    return data.entries().weighted(entry_weight, estimator.noise_variance)


def check_names(estimator: Any, matrix: Any, name: str) -> None:
    """Refuse a data frame beside X whose columns have other names, or another order."""
    fitted = getattr(estimator, "feature_names_in_", None)
    columns = getattr(matrix, "columns", None)
    if fitted is None or columns is None or list(columns) == list(fitted):
        return
    raise ValueError(f"{name} must have the columns of X, in the same order.")


def read_rows(
    estimator: Any, X: Any, each_entry: str | None, *, reset: bool = False
) -> CompleteData | EntryData:
    """Validated data in memory.

    Parameters
    ----------
    estimator : PrecGDFactorization
    X : array-like or sparse array of shape (n_samples, n_features)
    each_entry : str or None
        The parameter that needs single entries, if there is one; see
        `needs_each_entry`.
    reset : bool, default=False
        Whether X is fitted; then number and names of its columns are set on the
        estimator.
    """
    given = _no_triples(X)
    with columns_named(given):
        matrix, missing_values = marked(given, float(estimator.missing_values))
        X = validated(
            estimator,
            given,
            matrix,
            reset=reset,
            accept_sparse=["csr", "csc"],
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
        )
        name = type(estimator).__name__
        has_nan = checked_finite(X, np.isnan(missing_values), name)
    if missing_values == 0 or has_nan:
        data = EntryData(*matrix_entries(X, missing_values))
        if reset:
            check_any_observed(data.values)
        return data
    if each_entry is not None and sparse.issparse(X):
        raise ValueError(
            f"{each_entry} looks at every entry, and X is sparse with "
            "missing_values=nan, so that entries not stored are zeros: pass "
            "X.toarray(), or missing_values=0 if they are missing."
        )
    if reset and is_frame(given) and not sparse.issparse(X) and looks_long(X):
        warn_of_long_table(X.shape)
    return CompleteData(X)


def rows_together(
    first: CompleteData | EntryData, second: CompleteData | EntryData
) -> CompleteData | EntryData:
    """The rows of two data matrices with the same columns, one below the other.

    Neither has weights.
    """
    if isinstance(first, CompleteData) and isinstance(second, CompleteData):
        parts = first.X, second.X
        if any(sparse.issparse(part) for part in parts):
            return CompleteData(sparse.vstack(parts, format="csr"))
        return CompleteData(np.vstack(parts))
    above, below = first.entries(), second.entries()
    return EntryData(
        np.concatenate([above.rows, below.rows + above.shape[0]]),
        np.concatenate([above.columns, below.columns]),
        np.concatenate([above.values, below.values]),
        (above.shape[0] + below.shape[0], above.shape[1]),
    )


def _no_triples(X: Any) -> Any:
    """X, unless it is the rows, columns and values of entries."""
    is_tuple = isinstance(X, tuple) and len(X) == 3
    if is_tuple and all(getattr(part, "ndim", 0) == 1 for part in X):
        raise ValueError(
            "X is a tuple of three arrays: observed_entries(X) makes entries of rows, "
            "columns and values, for PrecGDMatrixSensing; numpy.vstack(X) is a matrix "
            "of three rows."
        )
    return X


def warn_about_ratings(stored: StoredValues | None) -> None:
    """Warn of a sparse matrix of zeros that looks like ratings."""
    if stored is None or not stored.look_like_ratings():
        return
    warnings.warn(
        "X is sparse with missing_values=nan, so that entries not stored are zeros; "
        f"yet it looks like ratings, with {stored.share:.2g} of the entries stored, "
        f"{len(stored.values)} different values and {stored.most_frequent:g} most "
        "often. Use missing_values=0 if entries not stored are missing.",
        UserWarning,
        stacklevel=5,
    )


def warn_about_units(data: Data, center: str | None) -> None:
    """Warn of columns that differ too much in size to have one unit.

    Parameters
    ----------
    data : Data
    center : str or None
    """
    if center not in ("mean", "both") or not isinstance(data, EntryData):
        return
    sizes = largest_sizes(data.columns, data.values, data.shape[1])
    sizes = sizes[sizes > 0]
    if len(sizes) and np.max(sizes) / _LARGEST > np.median(sizes):
        warnings.warn(
            f"center={center!r} takes all columns to have one unit, but numbers of the "
            f"largest are {np.max(sizes) / np.median(sizes):.0e} times those of most; "
            "use center='columns', with which the answer does not depend on units.",
            UserWarning,
            stacklevel=5,
        )


def warn_about_unseen(seen: Seen, names: Sequence[Any], matrix: str, how: str) -> None:
    """Warn of rows and columns without an observed entry.

    Parameters
    ----------
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
    names : sequence of array-like or None
        Names of the rows and of the columns; None numbers them.
    matrix, how : str
        The name of the matrix, and how these are predicted.
    """
    empty, which = [], []
    for mask, line, own in zip(seen, ("row", "column"), names, strict=True):
        unseen = np.flatnonzero(~mask)
        if not len(unseen):
            continue
        empty.append(f"{len(unseen)} {line}(s)")
        lines = unseen if own is None else np.asarray(own)[unseen]
        which.append(f"{line} {first_few(lines.tolist())}")
    if empty:
        warnings.warn(
            f"{' and '.join(empty)} of {matrix} have no observed entry ("
            f"{'; '.join(which)}); they are predicted {how}.",
            UserWarning,
            stacklevel=5,
        )
