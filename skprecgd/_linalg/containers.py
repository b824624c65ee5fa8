"""Matrices in users' containers, with one way left to say what is missing.

Masked arrays have a mask, data frames `pd.NA`, and sparse containers what they do not
store. Optional libraries are recognised without being imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import working_dtype
from skprecgd._linalg.stored import has_nan
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array

# Formats that fill blocks or diagonals up with zeros, which look like stored ones.
_PADDED = ("bsr", "dia")


class Marked(NamedTuple):
    """A matrix in which only `missing_values` says what is missing.

    Attributes
    ----------
    matrix : ndarray, sparse array or data frame
        Anything else that scikit-learn reads, or refuses, stays as it is.
    missing_values : nan or 0
        0 also where the container stores nothing but the observed entries.
    """

    matrix: Any
    missing_values: float


def marked(X: Any, missing_values: float) -> Marked:
    """A user's matrix, its missing entries marked as `missing_values` says.

    Parameters
    ----------
    X : matrix in any container
        A masked value is missing. `pd.NA` and None are NaN. Blocks and diagonals of
        SciPy's bsr and dia formats are filled up with zeros: where entries not stored
        are missing, so are zeros in these formats. A pydata `sparse` array or a sparse
        data frame whose fill value is NaN stores the observed entries; one whose fill
        value is 0 is like a SciPy sparse array.
    missing_values : nan or 0

    Raises
    ------
    TypeError, ValueError
        If X holds dates, or objects that are no numbers.
    """
    if type(X) is np.ndarray and X.dtype.kind in "fiub":
        return Marked(X, missing_values)
    for is_in, read in _CONTAINERS:
        if is_in(X):
            return read(X, missing_values)
    return Marked(X, missing_values)


def unmasked(values: Any, name: str, cure: str = "leave these out") -> Any:
    """The values of an array none of which may be missing, without its mask.

    Parameters
    ----------
    values : object
        Only a masked array is looked at.
    name, cure : str
        Begin and end of the message if a value is masked.
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    n_masked = np.count_nonzero(values.mask)
    if n_masked:
        raise ValueError(
            f"{name} must be complete, but its mask hides {n_masked} of {values.size} "
            f"values: {cure}."
        )
    return values.data


def complete(X: Any) -> Any:
    """A user's matrix, `X` in messages, none of whose entries may be missing.

    Parameters
    ----------
    X : matrix in any container
        See `marked`. NaN is left for others to refuse.
    """
    matrix, missing_values = marked(unmasked(X, "X"), np.nan)
    if missing_values == 0:
        raise ValueError("Input X contains NaN, the fill value of a sparse array.")
    return matrix


def is_pydata(X: Any) -> bool:
    """Whether X is an array of the package pydata `sparse`."""
    package = type(X).__module__.partition(".")[0]
    return package == "sparse" and hasattr(X, "fill_value")


def is_frame(X: Any) -> bool:
    """Whether X is a data frame with the interface of pandas, and lies in memory."""
    return hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2 and not is_dask(X)


def numbers_of_frame(X: Any) -> Array:
    """A data frame as an array of floats, in which `pd.NA` is NaN."""
    single = all(getattr(d, "itemsize", 8) == 4 and d.kind == "f" for d in X.dtypes)
    out = np.empty(X.shape, np.float32 if single else np.float64)
    for k in range(X.shape[1]):
        column = X.iloc[:, k]
        objects = column.dtype.kind == "O"
        kind = object if objects else out.dtype
        values = column.to_numpy(dtype=kind, na_value=np.nan)
        out[:, k] = _floats(values) if objects else values
    return out


def _floats(objects: Array) -> Array:
    """An array of objects as an array of floats; `pd.NA` and None are NaN."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        objects = np.where(pandas.isna(objects), np.nan, objects)
    for kind in set(map(type, objects.flat)):
        if issubclass(kind, np.generic):
            check_no_dates(np.dtype(kind))
    return objects.astype(np.float64)


def check_no_dates(dtype: Any) -> None:
    """Refuse dates and durations, which NumPy would read as large integers.

    Parameters
    ----------
    dtype : dtype of NumPy, pandas or polars
    """
    # Categories may be dates, too.
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    temporal = getattr(dtype, "is_temporal", None)
    if getattr(dtype, "kind", "O") in "mM" or (temporal is not None and temporal()):
        raise ValueError(f"A matrix must be numeric, got dtype {dtype}.")


# One function for each container ------------------------------------------------------


def _of_masked(X: Any, missing_values: float) -> Marked:
    if X.dtype.kind in "fiubcO" and np.ma.is_masked(X):
        marker = working_dtype(X.dtype).type(missing_values)
        X = np.where(X.mask, marker, X.data)
    return _of_array(np.asarray(X), missing_values)


def _of_array(X: Array, missing_values: float) -> Marked:
    check_no_dates(X.dtype)
    if X.dtype.kind == "V":
        raise ValueError(
            f"X is a structured array with fields ({', '.join(X.dtype.names or ())}); "
            "make a matrix of it, as by pandas.DataFrame(X)."
        )
    if X.dtype.kind != "O":
        return Marked(X, missing_values)
    return Marked(_floats(X), missing_values)


def _of_list(X: Any, missing_values: float) -> Marked:
    if any(isinstance(row, np.ma.MaskedArray) for row in X):
        return _of_masked(np.ma.array(X), missing_values)
    try:
        array = np.asarray(X)
    except ValueError:
        # The rows differ in length, or hold collections: scikit-learn says so.
        return Marked(X, missing_values)
    if array.dtype.kind in "fiubO" and array.ndim == 2:
        return _of_array(array, missing_values)
    return Marked(X, missing_values)


def _of_scipy(X: Any, missing_values: float) -> Marked:
    if missing_values == 0 and X.format in _PADDED:
        X = sparse.csr_array(X)
        X.eliminate_zeros()
    return Marked(X, missing_values)


def _of_pydata(X: Any, missing_values: float) -> Marked:
    if X.ndim != 2:
        raise ValueError(f"A matrix must be 2-D, got {X.ndim}-D.")
    if X.fill_value != 0 and not np.isnan(X.fill_value):
        return Marked(np.asarray(X.todense()), missing_values)
    entries = X.asformat("coo")
    rows, columns = entries.coords
    csr = sparse.csr_array((entries.data, (rows, columns)), shape=X.shape)
    if X.fill_value == 0:
        return Marked(csr, missing_values)
    return _observed_only(csr, missing_values)


def _of_frame(X: Any, missing_values: float) -> Marked:
    dtypes = set(X.dtypes)
    for dtype in dtypes:
        check_no_dates(dtype)
    numbers = all(dtype.kind in "fiub" for dtype in dtypes)
    if numbers and all(isinstance(dtype, np.dtype) for dtype in dtypes):
        # NumPy makes objects of truth values beside numbers.
        mixed = len({dtype.kind == "b" for dtype in dtypes}) > 1
        return Marked(numbers_of_frame(X) if mixed else X, missing_values)
    if any(dtype.kind == "c" for dtype in dtypes):
        return Marked(X, missing_values)
    if numbers and all(hasattr(dtype, "fill_value") for dtype in dtypes):
        fills = np.array([dtype.fill_value for dtype in dtypes])
        if np.all(np.isnan(fills)):
            return _observed_only(_entries_of_frame(X), missing_values)
        if np.all(fills == 0):
            return Marked(_entries_of_frame(X), missing_values)
    return Marked(numbers_of_frame(X), missing_values)


def _entries_of_frame(X: Any) -> sparse.csr_array:
    """The stored values of a sparse data frame, whatever its fill value."""
    columns = [X.iloc[:, k].array for k in range(X.shape[1])]
    counts = [len(column.sp_values) for column in columns]
    values = np.concatenate([column.sp_values for column in columns])
    places = [column.sp_index.to_int_index().indices for column in columns]
    rows = np.concatenate(places)
    numbers = np.repeat(np.arange(X.shape[1]), counts)
    return sparse.csr_array((values, (rows, numbers)), shape=X.shape)


def _observed_only(csr: sparse.csr_array, missing_values: float) -> Marked:
    """Entries of which those not stored are missing, and stored NaN, if it means so."""
    if np.isnan(missing_values) and has_nan(csr):
        entries = csr.tocoo()
        seen = ~np.isnan(entries.data)
        places = entries.row[seen], entries.col[seen]
        csr = sparse.csr_array((entries.data[seen], places), shape=csr.shape)
    return Marked(csr, 0.0)


def _of_other(X: Any, missing_values: float) -> Marked:
    dtypes = getattr(X, "dtypes", None)
    for dtype in dtypes if isinstance(dtypes, list) else ():
        check_no_dates(dtype)
    array = np.asarray(X)
    if array.ndim != 2:
        return Marked(X, missing_values)
    return _of_array(array, missing_values)


def _is_masked(X: Any) -> bool:
    return isinstance(X, np.ma.MaskedArray)


def _is_array(X: Any) -> bool:
    return isinstance(X, np.ndarray)


def _is_list(X: Any) -> bool:
    return isinstance(X, (list, tuple))


def _is_other(X: Any) -> bool:
    """Whether X is a collection of another library that NumPy can read."""
    return hasattr(X, "__array__") and not is_dask(X)


# The first that recognises a container reads it.
_CONTAINERS: list[tuple[Callable[[Any], bool], Callable[[Any, float], Marked]]] = [
    (_is_masked, _of_masked),
    (_is_array, _of_array),
    (sparse.issparse, _of_scipy),
    (_is_list, _of_list),
    (is_pydata, _of_pydata),
    (is_frame, _of_frame),
    (_is_other, _of_other),
]
