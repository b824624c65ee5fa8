"""Reading arrays, sparse matrices and triples that lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.containers import Marked, marked
from skprecgd._linalg.naming import ENTRIES, Cures, columns_named
from skprecgd._linalg.numerics import in_precision, kind_in, slabs
from skprecgd._linalg.products import all_finite
from skprecgd._linalg.stored import has_nan, observed, without_duplicates
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, as_shape, check_matrix_shape
from skprecgd.measurements.complex_entries import entries_at
from skprecgd.measurements.sparse import SparseMeasurements


def check_any_observed(values: Sequence[Any] | Array) -> None:
    """Refuse a matrix without an observed entry."""
    if not len(values):
        raise ValueError("X has no observed entry; at least one is needed.")


def check_missing_values(value: Any) -> None:
    """Refuse values of `missing_values` other than nan and 0."""
    if not (isinstance(value, Real) and (value == 0 or np.isnan(float(value)))):
        raise ValueError(
            f"missing_values must be nan or 0, got {value!r}; replace another marker "
            "first: np.where(X == marker, np.nan, X)."
        )


def _marked_as_said(X: Any, missing_values: float | None) -> Marked:
    """`marked`; a sparse matrix is refused where nobody said what is not stored."""
    if missing_values is not None:
        return marked(X, missing_values)
    found = marked(X, np.nan)
    if sparse.issparse(found.matrix) and np.isnan(found.missing_values):
        raise ValueError(
            "X is sparse, so say what an entry that is not stored means: "
            "missing_values=0 if it is missing, as in ratings, or "
            "missing_values=np.nan if it is the value 0, as in counts."
        )
    return found


def check_own_shape(
    matrix_shape: tuple[int, int] | None, shape: tuple[int, int]
) -> None:
    """Refuse a `matrix_shape` that is not the shape of X, a matrix."""
    if matrix_shape is not None and as_shape(matrix_shape) != shape:
        raise ValueError(
            f"matrix_shape={tuple(matrix_shape)} does not match X of shape {shape}."
        )


Entries = tuple[Array, Array, Array, tuple[int, int]]

MAYBE_LONG: Cures = ENTRIES._replace(
    text=f"{ENTRIES.text}; or name the columns of a long frame, "
    "observed_entries(X, row=..., column=..., value=...)"
)


def sparse_measurements(X: Any, matrix_shape: tuple[int, int] | None) -> Measurements:
    csr = sparse.csr_array(X)
    one_hot = csr.nnz == csr.shape[0] and np.all(np.diff(csr.indptr) == 1)
    if not (one_hot and np.all(csr.data == 1)):
        return SparseMeasurements(csr, matrix_shape)
    shape = check_matrix_shape(matrix_shape, csr.shape[1])
    rows, columns = np.divmod(csr.indices, shape[1])
    return entries_at(rows, columns, shape, kind_in(csr, csr.dtype))


def _stored_zeros(X: Any) -> Array:
    """The dense form of a sparse matrix whose entries not stored are zeros."""
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
    # Positions take as much memory as values, or half of that.
    kind = np.dtype(np.int32 if max(dense.shape) < 2**31 else np.int64)
    parts = []
    for part in slabs(dense.shape):
        block = dense[part]
        seen = observed(block, missing_values)
        rows, columns = (lines.astype(kind) for lines in np.nonzero(seen))
        parts.append((rows + kind.type(part.start), columns, block[seen]))
    if not parts:
        return np.zeros(0, kind), np.zeros(0, kind), dense.ravel()
    rows, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True))
    return rows, columns, values


def matrix_entries(X: Any, missing_values: float) -> Entries:
    """Rows, columns and values of the observed entries, and the shape.

    They are in row-major order. Unlike in `observed_entries`, there may be none.
    """
    rows, columns, values, shape = number_entries(X, missing_values)
    if np.iscomplexobj(values):
        raise ValueError("X is complex; only real data are supported.")
    return rows, columns, values, shape


def number_entries(X: Any, missing_values: float) -> Entries:
    """The same of a matrix whose numbers may be complex."""
    stored_only = sparse.issparse(X) and missing_values == 0
    if stored_only:
        # Triples that share their arrays with X would change with it.
        csr = without_duplicates(sparse.csr_array(X), copy=X.format == "csr")
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
    return (
        rows,
        columns,
        in_precision(values, values.dtype),
        (int(csr.shape[0]), int(csr.shape[1])),
    )


def given_entries(
    X: Any,
    missing_values: float | None,
    read: Callable[[Any, float], Entries] = matrix_entries,
) -> Entries:
    """The same of a matrix in any container, whose observed entries are finite.

    Parameters
    ----------
    X : matrix in any container
    missing_values : nan, 0 or None
        None is nan for what is not sparse.
    read : callable, default=matrix_entries
        Reads the entries of arrays and sparse arrays.
    """
    with columns_named(X, MAYBE_LONG if hasattr(X, "columns") else ENTRIES):
        matrix, missing_values = _marked_as_said(X, missing_values)
        entries = read(matrix, missing_values)
        if not all_finite(entries[2]):
            what = "NaN" if has_nan(entries[2]) else "infinity"
            raise ValueError(f"Input X contains {what}.")
    return entries
