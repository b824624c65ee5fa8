"""The input of PrecGDMatrixSensing: measurements of any kind, targets and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.utils.validation import assert_all_finite, check_array

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.chunked_entries import ChunkedEntries, less
from skprecgd._estimators.data import EntryData
from skprecgd._estimators.labels import (
    matched_by_labels,
    store_labels,
    with_common_labels,
)
from skprecgd._estimators.lazy import check_columns
from skprecgd._estimators.noisy_data import NoisyData
from skprecgd._estimators.validation import validated
from skprecgd._estimators.weighting import positive, read_weights
from skprecgd._linalg.containers import complete, unmasked
from skprecgd._linalg.groups import Block, Cut, Groups
from skprecgd._linalg.naming import MEASUREMENTS, columns_named
from skprecgd._runtime.dask_kinds import is_dask, is_dask_frame
from skprecgd._runtime.quantum_objects import first_qobj
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.graph import in_memory
from skprecgd.distributed.measurements import (
    ChunkedMeasurements,
    lazy_targets,
    values_at,
)
from skprecgd.distributed.rows import check_kind
from skprecgd.distributed.weights import weights_of_group
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
    Measurements,
    as_measurements,
)
from skprecgd.measurements.base import check_matrix_shape
from skprecgd.measurements.tables import warn_of_ids
from skprecgd.measurements.validation import as_number_array
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE

_ROWS: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32]}


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements, their targets and their weights.

    Attributes
    ----------
    measurements : Measurements
    targets : ndarray or dask array of shape (n,)
    weights : Weights, default=ONCE
    order : ndarray of int, shape (n,), or None
        Position of each measurement in the input; None if these are the measurements of
        the input in the same order.
    n_given : int or None
        Number of measurements in the input; None if all of them are here.
    """

    measurements: Measurements
    targets: Any
    weights: Weights = ONCE
    order: Array | None = None
    n_given: int | None = None

    def weighted(self, sample_weight: Any, noise_variance: Any) -> Measured:
        """The measurements of positive frequency, with weights; see `read_weights`."""
        n = len(self.measurements)
        weights = read_weights(sample_weight, noise_variance, n)
        kept, counts = replace(self, weights=weights), positive(weights)
        return kept if counts is None else kept._at(np.flatnonzero(counts))

    def offsets(self, center: str | None) -> Offsets:
        """The means that are subtracted first, as offsets of rows and columns.

        Parameters
        ----------
        center : {None, "mean", "columns", "both"}

        Raises
        ------
        ValueError
            If there is a centre, but not every measurement is an entry in memory.
        """
        if center is None:
            return Offsets.none(self.measurements.matrix_shape)
        self.check_center(center)
        if isinstance(self.measurements, ChunkedMeasurements):
            entries = ChunkedEntries.of(self.measurements, self.targets, self.weights)
            return Offsets.of(center, entries.offsets(center))
        return self._as_entries().offsets(center)

    def medians(self, center: str | None) -> Offsets:
        """The same of medians, which gross errors do not move."""
        if center is None:
            return Offsets.none(self.measurements.matrix_shape)
        self.check_center(center)
        return self.entries_in_memory()._as_entries().medians(center)

    def _as_entries(self) -> EntryData:
        cells, shape = self.measurements.cells(), self.measurements.matrix_shape
        assert cells is not None
        return EntryData(*cells, self.targets, shape, self.weights)

    def entries(self, *, symmetric: bool) -> NoisyData | None:
        """The measurements as entries of a data matrix; None where they are none."""
        if symmetric or not self.measurements.single_entries:
            return None
        if isinstance(self.measurements, ChunkedMeasurements):
            return ChunkedEntries.of(self.measurements, self.targets, self.weights)
        return self._as_entries().in_order()

    def check_center(self, center: str | None) -> None:
        """Refuse a centre of measurements that are no entries."""
        if center is not None and not self.measurements.single_entries:
            raise ValueError(
                f"center={center!r} needs measurements that are single entries, such "
                "as observed_entries makes of real numbers; got "
                f"{type(self.measurements).__name__}."
            )

    def without(self, offsets: Offsets) -> Measured:
        """The same measurements of the matrix without offsets."""
        if offsets.are_zero:
            return self
        if isinstance(self.measurements, ChunkedMeasurements):
            values = graph.as_lazy(self.measurements.targets(self.targets))
            return replace(self, targets=less(offsets, self.measurements, values))
        cells = self.measurements.cells()
        assert cells is not None
        return replace(self, targets=offsets.subtracted(self.targets, *cells))

    def in_natural_order(self) -> Measured:
        """The same measurements in the order in which products are fastest."""
        order = self.measurements.natural_order()
        return self if order is None else self._at(order)

    def in_input_order(self, values: Array) -> Array:
        """Values of the measurements here, in the order of the input.

        Parameters
        ----------
        values : ndarray of shape (n,)

        Returns
        -------
        ndarray of shape (n_given,)
            Zero for measurements that were left out because their frequency is zero.
        """
        if self.order is None:
            return values
        out = np.zeros(self.n_given or len(values), values.dtype)
        out[self.order] = values
        return out

    def parts(self, groups: Groups, count: int) -> list[MeasuredPart]:
        """The measurements of each of the first groups, as if there were no others.

        Parameters
        ----------
        groups : Groups
            Of these measurements; more than one.
        count : int
        """
        if isinstance(self.measurements, ChunkedMeasurements):
            whole, blocks = self.measurements, groups.blocks()[:count]
            return [self._part_of_chunks(whole, block) for block in blocks]
        cells = self.measurements.cells()
        assert cells is not None
        return [self._part(cut) for cut in groups.cut(*cells)[:count]]

    def _part(self, cut: Cut) -> MeasuredPart:
        shape, dtype, index = cut.block.shape, self.measurements.dtype, cut.index
        weights = self.weights.alone(index)
        measurements: Measurements = EntryMeasurements(
            cut.rows, cut.columns, shape, dtype
        )
        # A matrix of one row or column, each entry seen once, has rank one whatever the
        # path: there are often hundreds of these, and their fit has a closed form.
        order = np.argsort(np.maximum(cut.rows, cut.columns))
        line = min(shape) == 1 and len(index) == max(shape)
        if line and weights.of_losses is None:
            measurements, index = FullObservation(shape, dtype), index[order]
        part = Measured(measurements, self.targets[index], weights)
        return MeasuredPart(part, cut.block, index)

    def _part_of_chunks(self, whole: ChunkedMeasurements, block: Block) -> MeasuredPart:
        measurements, chunks, index = whole.of_group(block)
        targets = whole.targets(self.targets)
        targets = graph.call_each(values_at, [targets[k] for k in chunks], index)
        targets = list(graph.persisted(targets))
        weights = weights_of_group(whole, self.weights, chunks, index)
        return MeasuredPart(Measured(measurements, targets, weights), block, None)

    def entries_in_memory(self) -> Measured:
        """Single entries that are not in chunks."""
        cells, given = self.measurements.cells(), self.weights
        assert cells is not None
        targets, often, precision = in_memory(
            self.targets, given.frequency, given.precision
        )
        return replace(
            self,
            measurements=EntryMeasurements(
                *cells, self.measurements.matrix_shape, self.measurements.dtype
            ),
            targets=targets,
            weights=Weights(often, precision, given.unit_variance),
        )

    def _at(self, index: Array) -> Measured:
        return Measured(
            self.measurements.rows(index),
            self.targets[index],
            self.weights.at(index),
            index if self.order is None else self.order[index],
            self.n_given or len(self.measurements),
        )


@dataclass(frozen=True, eq=False)
class MeasuredPart:
    """The measurements of one group of rows and columns.

    Attributes
    ----------
    measured : Measured
    block : Block
        Where they stand in the whole matrix.
    index : ndarray of int or None
        Positions of these among all measurements; None for chunks.
    """

    measured: Measured
    block: Block
    index: Array | None


def read_measured(estimator: Any, X: Any, y: Any) -> Measured:
    """Validated measurements and targets for a fit.

    Parameters
    ----------
    estimator : PrecGDMatrixSensing
        Number and names of the columns are set on it, and labels of the matrix.
    X, y
        As in its `fit`.

    Raises
    ------
    ValueError
        If X and y do not fit together or the parameters of the estimator, or are not
        real and finite.
    """
    shape = estimator.matrix_shape
    if is_dask(X):
        check_kind(X, "X")
        if X.ndim == 2:
            shape = _shape_of(estimator, X, shape)
    elif not _is_wrapped(X):
        return _read_rows(estimator, X, y)
    measurements = as_measurements(X, shape)
    if estimator.symmetric:
        measurements = with_common_labels(measurements)
    estimator.n_features_in_ = measurements.shape[1]
    # Names of an earlier fit on a data frame do not describe these.
    estimator.__dict__.pop("feature_names_in_", None)
    store_labels(estimator, measurements)
    if is_dask_frame(X):
        check_columns(estimator, X, reset=True)
    if is_dask(y) and isinstance(measurements, ChunkedMeasurements):
        return Measured(measurements, lazy_targets(y, measurements))
    if measurements.of_complex:
        return Measured(measurements, _complex_targets(y, len(measurements)))
    return Measured(measurements, _checked_targets(y, len(measurements)))


def _read_rows(estimator: Any, X: Any, y: Any) -> Measured:
    """Measurement matrices in an array, and their targets, as scikit-learn checks them.

    scikit-learn does not look for infinite entries of a dense stack: its mean square is
    computed anyway, and is finite only if every entry is.
    """
    given, shape = _flat(X, estimator.matrix_shape)
    y = unmasked(y, "y")
    with columns_named(given, MEASUREMENTS):
        rows = complete(given)
        all_finite = sparse.issparse(rows)
        rows, y = validated(
            estimator,
            given,
            rows,
            y,
            y_numeric=True,
            ensure_all_finite=all_finite,
            **_ROWS,
        )
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must be numeric, got dtype {y.dtype}.")
    measurements = _of_rows(rows, _shape_of(estimator, rows, shape))
    if estimator.matrix_shape is None:
        warn_of_ids(rows)
    if not np.isfinite(measurements.mean_square):
        with columns_named(given, MEASUREMENTS):
            assert_all_finite(rows, input_name="X")
    store_labels(estimator, measurements)
    return Measured(measurements, y)


def remark_on_shape(X: Any, given: Any, shape: tuple[int, int]) -> str:
    """A sentence that names the shape of a matrix if it was guessed and is not square.

    Parameters
    ----------
    X
        As in `PrecGDMatrixSensing.fit`.
    given : tuple of int or None
        The parameter `matrix_shape`.
    shape : tuple of int
        The shape of the matrix.
    """
    if given is not None or shape[0] == shape[1] or isinstance(X, Measurements):
        return ""
    if _dimension(X) == 3:
        return ""
    return f" The shape was guessed: give matrix_shape if it is not {shape}."


def read_measurements(estimator: Any, X: Any) -> Measurements:
    """Validated measurements of the matrix that the estimator has found.

    Parameters
    ----------
    estimator : PrecGDMatrixSensing
        Fitted.
    X
        As in its `fit`.
    """
    shape = estimator.left_.shape[0], estimator.right_.shape[0]
    if is_dask(X):
        check_kind(X, "X")
        if is_dask_frame(X):
            check_columns(estimator, X, reset=False)
    if isinstance(X, Measurements):
        X = matched_by_labels(estimator, X)
    if is_dask(X) or _is_wrapped(X):
        return as_measurements(X, shape)
    given, shape = _flat(X, shape)
    with columns_named(given, MEASUREMENTS):
        rows = validated(estimator, given, complete(given), reset=False, **_ROWS)
    return _of_rows(rows, shape)


def _is_wrapped(X: Any) -> bool:
    """Whether X is an object that scikit-learn's checks cannot read."""
    wrapped = isinstance(X, (Measurements, LinearOperator))
    return wrapped or first_qobj(X) is not None


def _of_rows(rows: Any, shape: Any) -> Measurements:
    """Measurements of rows that scikit-learn has validated; no entry is read again."""
    if isinstance(rows, np.ndarray):
        return DenseMeasurements.of(rows, shape)
    return as_measurements(rows, shape)


def _flat(X: Any, shape: Any) -> tuple[Any, Any]:
    """Flat measurement matrices, and the shape that they are known to have.

    Unless X is a 3-D array or a nested list of matrices, it is flat, and its matrices
    are what `shape` says.
    """
    if _dimension(X) != 3:
        return X, shape
    stack = X if hasattr(X, "reshape") else np.asarray(X)
    own = stack.shape[1:]
    if shape is not None and tuple(shape) != tuple(own):
        raise ValueError(
            f"matrix_shape={tuple(shape)} does not match measurement matrices of "
            f"shape {tuple(own)}."
        )
    return stack.reshape((stack.shape[0], own[0] * own[1])), own


def _dimension(X: Any) -> int:
    if isinstance(X, (list, tuple)):
        return np.ndim(X)
    return int(getattr(X, "ndim", 2))


def _shape_of(estimator: Any, rows: Any, shape: Any) -> tuple[int, int]:
    """The shape of the matrix that flat measurements are of."""
    n_cells = rows.shape[1]
    side = round(np.sqrt(n_cells))
    if shape is None and estimator.symmetric and side * side != n_cells:
        raise ValueError(
            f"symmetric=True needs measurements of a square matrix; X has "
            f"{n_cells} columns, which is not a square number."
        )
    return check_matrix_shape(shape, n_cells)


def _checked_targets(y: Any, n_measurements: int) -> Array:
    _check_given(y)
    y = unmasked(y, "y")
    y = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], input_name="y")
    if y.ndim != 1:
        raise ValueError(f"y must be 1-D, got shape {y.shape}.")
    return _as_many(y, n_measurements)


def _complex_targets(y: Any, n_measurements: int) -> Array:
    """Targets of complex measurements, which may be real or complex numbers."""
    _check_given(y)
    return _as_many(as_number_array(y, "y", (1,)), n_measurements)


def _check_given(y: Any) -> None:
    if y is None:
        raise ValueError("fit needs y, the measured numbers, got None.")


def _as_many(y: Any, n_measurements: int) -> Array:
    if len(y) != n_measurements:
        raise ValueError(
            f"X holds {n_measurements} measurements and y {len(y)} values; they must "
            "agree."
        )
    return np.asarray(y)
