"""Users' arrays, sparse matrices, operators and collections as Measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.containers import complete
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, as_shape
from skprecgd.measurements.dense import DenseMeasurements
from skprecgd.measurements.entries import EntryMeasurements
from skprecgd.measurements.in_memory import (
    check_any_observed,
    check_missing_values,
    checked_triples,
    given_entries,
    sparse_measurements,
)
from skprecgd.measurements.linear_operator import LinearOperatorMeasurements


class Reader(NamedTuple):
    """How the collections of another library become measurements.

    Attributes
    ----------
    recognises : callable
        Whether an object is such a collection.
    measurements : callable
        ``(X, matrix_shape)`` -> Measurements, for `as_measurements`.
    entries : callable
        ``(X, matrix_shape)`` -> measurements and targets, for `observed_entries`.
    """

    recognises: Callable[[Any], bool]
    measurements: Callable[[Any, tuple[int, int] | None], Measurements]
    entries: Callable[[Any, tuple[int, int] | None], tuple[Measurements, Any]]


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
        If `matrix_shape` does not fit, or the data are complex or not finite.

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
    X = complete(X)
    if isinstance(X, LinearOperator):
        return LinearOperatorMeasurements(X, matrix_shape)
    if sparse.issparse(X):
        return sparse_measurements(X, matrix_shape)
    return DenseMeasurements(X, matrix_shape)


def _reader_of(X: Any) -> Reader | None:
    return next((reader for reader in READERS if reader.recognises(X)), None)


def observed_entries(
    X: Any,
    missing_values: float = np.nan,
    *,
    matrix_shape: tuple[int, int] | None = None,
) -> tuple[Measurements, Array]:
    """Turn a matrix with missing entries into samples: one per observed entry.

    Parameters
    ----------
    X : array-like, sparse array, triple (rows, columns, values), or dask collection
        A dense matrix whose missing cells hold `missing_values`; a sparse matrix;
        or the row index, column index and value of each observed entry. With dask, a
        DataFrame (columns ``row``, ``column``, ``value``, or three in this order) or
        a bag of such triples, best partitioned by rows.
    missing_values : nan or 0, default=nan
        nan: NaN cells of a dense matrix are missing, and an entry not stored in a
        sparse one is the value 0 (as everywhere in scikit-learn). 0: zeros of a
        dense matrix and entries not stored in a sparse one are missing; every
        stored entry, an explicit 0 too, is observed. Triples are always observed.
    matrix_shape : tuple of int, default=None
        For triples: ``(n_rows, n_columns)``; None takes the largest indices.

    Returns
    -------
    measurements : EntryMeasurements or ChunkedMeasurements
        Samples for `PrecGDMatrixSensing`. Those of a matrix come in a fixed,
        shuffled order, so that folds of consecutive samples (``cv=5``) hold out
        entries from everywhere and not whole rows; triples keep their order. Those of
        a dask collection stay in its partitions, there sorted by rows.
    y : ndarray or dask array of shape (n_observed,)
        The observed values.

    Raises
    ------
    ValueError
        If nothing is observed, or an observed value is infinite or complex.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import observed_entries
    >>> measurements, y = observed_entries([[1.0, np.nan], [3.0, 4.0]])
    >>> len(measurements), sorted(y.tolist())
    (3, [1.0, 3.0, 4.0])
    """
    check_missing_values(missing_values)
    reader = _reader_of(X)
    if reader is not None:
        return reader.entries(X, matrix_shape)
    if isinstance(X, tuple):
        rows, columns, values, shape = checked_triples(X, matrix_shape)
    else:
        rows, columns, values, shape = given_entries(X, missing_values)
        if matrix_shape is not None and as_shape(matrix_shape) != shape:
            raise ValueError(
                f"matrix_shape={tuple(matrix_shape)} does not match X of shape {shape}."
            )
        order = np.random.RandomState(0).permutation(len(values))
        rows, columns, values = rows[order], columns[order], values[order]
    check_any_observed(values)
    if not np.all(np.isfinite(values)):
        raise ValueError("X holds infinity (or NaN among the observed values).")
    return EntryMeasurements(rows, columns, shape, values.dtype), values
