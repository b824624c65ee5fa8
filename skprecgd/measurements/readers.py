"""Users' arrays, sparse matrices, operators and collections as Measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.containers import complete
from skprecgd._runtime.quantum_objects import without_qobj
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, as_shape
from skprecgd.measurements.complex_entries import entries_at
from skprecgd.measurements.dense import DenseMeasurements
from skprecgd.measurements.in_memory import (
    check_any_observed,
    check_missing_values,
    check_own_shape,
    given_entries,
    number_entries,
    sparse_measurements,
)
from skprecgd.measurements.linear_operator import LinearOperatorMeasurements
from skprecgd.measurements.placing import entries_of
from skprecgd.measurements.tables import looks_long, warn_of_long_table
from skprecgd.measurements.triples import FrameColumns, as_triples


class Reader(NamedTuple):
    """How the collections of another library become measurements.

    Attributes
    ----------
    recognises : callable
        Whether an object is such a collection.
    measurements : callable
        ``(X, matrix_shape)`` -> Measurements, for `as_measurements`.
    entries : callable
        ``(X, missing_values, names, matrix_shape)`` -> measurements and targets, for
        `observed_entries`; the names of the columns are None where none were given.
    """

    recognises: Callable[[Any], bool]
    measurements: Callable[[Any, tuple[int, int] | None], Measurements]
    entries: Callable[
        [Any, float | None, FrameColumns | None, tuple[int, int] | None],
        tuple[Measurements, Any],
    ]


# Readers of collections that do not lie in memory belong to layers above this one. They
# append them to this list when the package is imported.
READERS: list[Reader] = []


def as_measurements(
    X: Any, matrix_shape: tuple[int, int] | None = None
) -> Measurements:
    """Make `Measurements` of an array, a sparse matrix or an operator.

    Parameters
    ----------
    X : Measurements, array-like, sparse array or LinearOperator
        Array of shape (n, n_rows * n_columns) or (n, n_rows, n_columns), sparse
        rows of shape (n, n_rows * n_columns), or a LinearOperator of that shape.
        A list of QuTiP's operators is a stack.
        A dask array of such rows gives `skprecgd.distributed.ChunkedMeasurements`.
        Sparse rows that each hold a single 1 are recognised as observed entries.
    matrix_shape : tuple of int, default=None
        ``(n_rows, n_columns)``; None reads it from `X` where `X` knows it, else
        takes the most balanced shape with that many cells (rows >= columns).

    Returns
    -------
    Measurements

    Raises
    ------
    ValueError
        If `matrix_shape` does not fit, or the data are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import as_measurements
    >>> as_measurements(np.ones((5, 6)))
    DenseMeasurements(5 measurements of a 3 x 2 matrix, float64)
    """
    if isinstance(X, Measurements):
        if matrix_shape is not None and as_shape(matrix_shape) != X.matrix_shape:
            raise ValueError(
                f"matrix_shape={tuple(matrix_shape)} does not match the measurements, "
                f"which measure a matrix of shape {X.matrix_shape}."
            )
        return X
    reader = _reader_of(X)
    if reader is not None:
        return reader.measurements(X, matrix_shape)
    X = complete(without_qobj(X, kets=False))
    if isinstance(X, LinearOperator):
        return LinearOperatorMeasurements(X, matrix_shape)
    if sparse.issparse(X):
        return sparse_measurements(X, matrix_shape)
    return DenseMeasurements(X, matrix_shape)


def _reader_of(X: Any) -> Reader | None:
    return next((reader for reader in READERS if reader.recognises(X)), None)


def observed_entries(
    X: Any,
    missing_values: float | None = None,
    *,
    row: Any = None,
    column: Any = None,
    value: Any = None,
    matrix_shape: tuple[int, int] | None = None,
) -> tuple[Measurements, Array]:
    """Turn a matrix with missing entries into samples: one per observed entry.

    Parameters
    ----------
    X : array-like, sparse array, data frame, triple or dask collection
        A dense matrix whose missing cells hold `missing_values`; a sparse matrix; a
        long data frame with one row for each observed entry, whose columns `row`,
        `column` and `value` name; or the triple ``(rows, columns, values)``. A frame
        without these names is a matrix. Of dask: an array, a DataFrame of either kind,
        or a bag of triples; entries are best partitioned by rows.
    missing_values : nan or 0, default=None
        nan: NaN cells of a dense matrix are missing, and an entry not stored in a
        sparse one is the value 0 (as everywhere in scikit-learn). 0: zeros of a
        dense matrix and entries not stored in a sparse one are missing; every
        stored entry, an explicit 0 too, is observed. None is nan for a dense matrix,
        and refused for a sparse one. Triples and long frames are always observed.
    row, column, value : str, default=None
        The columns of a long frame that hold the id of the row, the id of the column
        and the value of each entry; all three or none. Ids are integers, strings,
        categories or dates; they are encoded in sorted order, see `measurements`.
    matrix_shape : tuple of int, default=None
        ``(n_rows, n_columns)``. With it, ids are positions below it, also in a long
        frame. None: as many rows and columns as there are different ids; for integers
        in triples, which are positions, up to the largest one.

    Returns
    -------
    measurements : EntryMeasurements, ComplexEntryMeasurements or ChunkedMeasurements
        Samples for `PrecGDMatrixSensing`; the second of a matrix of complex numbers.
        Those of a matrix come in a fixed, shuffled order, so that folds of consecutive
        samples (``cv=5``) hold out entries from everywhere and not whole rows; triples
        and long frames keep their order. Those of a dask collection stay in its
        partitions, there sorted by rows. Where ids were encoded, the attributes
        `row_labels` and `column_labels` are the different ids in the order of the
        matrix; they go with every selection.
    y : ndarray or dask array of shape (n_observed,)
        The observed values.

    Raises
    ------
    ValueError
        If nothing is observed; an observed value is missing or infinite, or complex in
        a long frame or a triple; ids are missing or cannot be sorted; or X is sparse
        and `missing_values` None.

    Warns
    -----
    UserWarning
        If entries repeat the row and column of another one: each is a sample (of dask,
        repetitions within a partition are seen). If integers in triples leave nine
        tenths of the rows or columns without an entry, or a matrix looks like a long
        frame.

    See Also
    --------
    skprecgd.measurements.EntryMeasurements.from_labels : Entries to predict, by ids.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import observed_entries
    >>> measurements, y = observed_entries([[1.0, np.nan], [3.0, 4.0]])
    >>> len(measurements), sorted(y.tolist())
    (3, [1.0, 3.0, 4.0])
    >>> triple = ["bob", "alice"], ["Alien", "Alien"], [4.5, 2.0]
    >>> measurements, y = observed_entries(triple)
    >>> measurements.row_labels
    array(['alice', 'bob'], dtype=object)
    """
    names = FrameColumns.of(row, column, value)
    if missing_values is not None:
        check_missing_values(missing_values)
    reader = _reader_of(X)
    if reader is not None:
        return reader.entries(X, missing_values, names, matrix_shape)
    if names is not None:
        return entries_of(names.read(X), matrix_shape)
    if isinstance(X, tuple):
        return entries_of(as_triples(X), matrix_shape)
    return _entries_of_matrix(X, missing_values, matrix_shape)


def _entries_of_matrix(
    X: Any, missing_values: float | None, matrix_shape: tuple[int, int] | None
) -> tuple[Measurements, Array]:
    """The entries of a matrix in memory, shuffled."""
    rows, columns, values, shape = given_entries(X, missing_values, number_entries)
    check_own_shape(matrix_shape, shape)
    check_any_observed(values)
    if len(values) == shape[0] * shape[1] and looks_long(values.reshape(shape)):
        warn_of_long_table(shape)
    order = np.random.RandomState(0).permutation(len(values))
    entries = entries_at(rows[order], columns[order], shape, values.dtype)
    return entries, values[order]
