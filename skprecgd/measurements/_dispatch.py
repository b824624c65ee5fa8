"""From what users hold to Measurements."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from skprecgd._numerics import slabs, working_dtype
from skprecgd._typing import Array
from skprecgd.measurements._validation import as_real_array
from skprecgd.measurements.base import Measurements, as_shape, check_matrix_shape
from skprecgd.measurements.dense import DenseMeasurements
from skprecgd.measurements.entries import EntryMeasurements
from skprecgd.measurements.linear_operator import LinearOperatorMeasurements
from skprecgd.measurements.sparse import SparseMeasurements


def as_measurements(
    X: Any, matrix_shape: tuple[int, int] | None = None
) -> Measurements:
    """Wrap what a user holds as `Measurements`.

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
    if _is_dask(X):
        # Not at the top: what reads chunks stands above the measurements.
        from skprecgd.distributed._measurements import chunked_stack

        return chunked_stack(X, matrix_shape)
    if isinstance(X, LinearOperator):
        return LinearOperatorMeasurements(X, matrix_shape)
    if sparse.issparse(X):
        return _from_sparse_rows(X, matrix_shape)
    return DenseMeasurements(X, matrix_shape)


def _is_dask(X: Any) -> bool:
    return type(X).__module__.startswith("dask")


def _from_sparse_rows(X: Any, matrix_shape: tuple[int, int] | None) -> Measurements:
    csr = sparse.csr_array(X)
    one_hot = csr.nnz == csr.shape[0] and np.all(np.diff(csr.indptr) == 1)
    if not (one_hot and np.all(csr.data == 1)):
        return SparseMeasurements(csr, matrix_shape)
    shape = check_matrix_shape(matrix_shape, csr.shape[1])
    rows, columns = np.divmod(csr.indices, shape[1])
    return EntryMeasurements(rows, columns, shape, working_dtype(csr.dtype))


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
        or the row index, column index and value of each observed entry. Of dask, a
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
    if _is_dask(X):
        from skprecgd.distributed._triples import frame_entries

        return frame_entries(X, matrix_shape)
    if isinstance(X, tuple):
        rows, columns, values, shape = _from_triples(X, matrix_shape)
    else:
        rows, columns, values, shape = matrix_entries(X, missing_values)
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


def check_any_observed(values: Array) -> None:
    """Refuse a matrix of which nothing is known."""
    if not len(values):
        raise ValueError("X has no observed entry; at least one is needed.")


def check_missing_values(value: Any) -> None:
    """Refuse what marks no missing entry."""
    if not (isinstance(value, Real) and (value == 0 or np.isnan(float(value)))):
        raise ValueError(f"missing_values must be nan or 0, got {value!r}.")


_Triples = tuple[Array, Array, Array, tuple[int, int]]


def _from_triples(X: tuple[Any, ...], shape: tuple[int, int] | None) -> _Triples:
    if len(X) != 3:
        raise ValueError(
            f"X as a tuple must be (rows, columns, values), got {len(X)} items."
        )
    # Copies: what the user does with the triples later is no change of the samples.
    rows, columns = np.array(X[0]), np.array(X[1])
    values = as_real_array(np.array(X[2]), "the values of X", (1,))
    if not len(rows) == len(columns) == len(values):
        raise ValueError(
            f"rows, columns and values must have equal length, got {len(rows)}, "
            f"{len(columns)} and {len(values)}."
        )
    if shape is None:
        check_any_observed(rows)
        # A negative index is left to EntryMeasurements, which names it.
        shape = max(int(rows.max()), 0) + 1, max(int(columns.max()), 0) + 1
    return rows, columns, values, as_shape(shape)


def _canonical_csr(X: Any) -> sparse.csr_array:
    """A copy by rows, their columns sorted and distinct."""
    csr = sparse.csr_array(X, copy=True)
    csr.sum_duplicates()
    return csr


def _stored_zeros(X: Any) -> Array:
    """A sparse matrix whose missing entries are zeros, dense."""
    dense = np.asarray(X.toarray())
    if dense.dtype.kind in "fc" and np.isnan(dense).any():
        raise ValueError(
            "A sparse X holds NaN among its stored values, while with "
            "missing_values=nan an entry not stored is the value 0. Use "
            "missing_values=0 and leave missing entries out, or a dense X."
        )
    return dense


def _cells(dense: Array, missing_values: float) -> tuple[Array, Array, Array]:
    """Rows, columns and values that are not missing; no mask is as large as X."""
    parts = []
    for part in slabs(dense.shape):
        block = dense[part]
        observed = ~np.isnan(block) if np.isnan(missing_values) else block != 0
        rows, columns = np.nonzero(observed)
        parts.append((rows + part.start, columns, block[observed]))
    if not parts:
        return np.zeros(0, int), np.zeros(0, int), dense.ravel()
    rows, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True))
    return rows, columns, values


def matrix_entries(X: Any, missing_values: float) -> _Triples:
    """Rows, columns and values of the observed entries, and the shape.

    In row-major order. See `observed_entries`; here none may be observed.
    """
    stored_only = sparse.issparse(X) and missing_values == 0
    if stored_only:
        csr = _canonical_csr(X)
        numbers = np.arange(csr.shape[0], dtype=csr.indices.dtype)
        rows = np.repeat(numbers, np.diff(csr.indptr))
        columns, values = csr.indices, csr.data
    else:
        dense = _stored_zeros(X) if sparse.issparse(X) else np.asarray(X)
        if dense.ndim != 2:
            raise ValueError(f"X must be 2-D, got {dense.ndim}-D.")
        if dense.dtype.kind not in "fiubc":
            raise ValueError(f"X must be numeric, got dtype {dense.dtype}.")
        rows, columns, values = _cells(dense, missing_values)
        csr = dense
    if np.iscomplexobj(values):
        raise ValueError("X is complex; only real data are supported.")
    values = values.astype(working_dtype(values.dtype), copy=False)
    return rows, columns, values, (int(csr.shape[0]), int(csr.shape[1]))
