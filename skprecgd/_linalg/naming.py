"""Errors about a matrix that name its columns, and say what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skprecgd._linalg.containers import is_frame, marked
from skprecgd._runtime.typing import Array

# Columns that a message names at most; the others are counted.
_NAMED = 5
# What scikit-learn says of values that are not finite.
_NOT_FINITE = re.compile(r"Input (X )?contains (?P<value>NaN|infinity)")
# What NumPy, pandas and `marked` say where a value is no number.
_NO_NUMBER = re.compile(
    "could not convert|could not be promoted|argument must be|must be numeric"
)


class Cures(NamedTuple):
    """What to do about values that are not finite, not real, or no numbers.

    Attributes
    ----------
    nan, infinity, text, not_real : str
        The end of a sentence.
    """

    nan: str
    infinity: str
    text: str = (
        "encode text as numbers, replace markers of missing values by NaN, count the "
        "days of dates, or drop what is neither"
    )
    not_real: str = (
        "give real and imaginary parts, or absolute values; a complex matrix with "
        "holes is completed by PrecGDMatrixSensing().fit(*observed_entries(X))"
    )


ENTRIES = Cures(
    "with missing_values=0 an entry is missing if it is zero, in a sparse X if it is "
    "not stored, so take NaN out, or use missing_values=nan",
    "put a finite number there, or mark it as missing",
)
_COMPLETE_ROWS = "leave out the rows that are not finite, here and in y"
MEASUREMENTS = Cures(
    _COMPLETE_ROWS,
    _COMPLETE_ROWS,
    not_real="give as_measurements(X), or another object of skprecgd.measurements, "
    "of complex measurement matrices; y may then be complex, too",
)


@contextmanager
def columns_named(X: Any, cures: Cures = ENTRIES) -> Iterator[None]:
    """Name the columns of X in the errors of the block that are about its values.

    Parameters
    ----------
    X : matrix in any container
        As the user gave it. It is read again only where there is an error.
    cures : Cures, default=ENTRIES
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        # The first sentence.
        said = re.split(r"\.\s|\.$|\n", str(error))[0]
        message = _about_infinite(X, said, cures) or _about_text(X, said, cures)
        if said.startswith("Complex data"):
            # scikit-learn goes on with all of the numbers.
            message = f"{said}: {cures.not_real}."
        if message is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        # Without the first error: scikit-learn's recommends other estimators.
        raise kind(message) from None


def _about_infinite(X: Any, said: str, cures: Cures) -> str | None:
    found = _NOT_FINITE.match(said)
    if found is None:
        return None
    if found["value"] == "NaN":
        return f"{said}{_where(X, np.isnan)}: {cures.nan}."
    return f"{said}{_where(X, np.isinf)}: {cures.infinity}."


def _about_text(X: Any, said: str, cures: Cures) -> str | None:
    if not _NO_NUMBER.search(said):
        return None
    found = [f"{label!r} ({held})" for label, held in _held(X) if held is not None]
    if not found:
        return None
    return f"X must hold numbers, unlike {_listed(found)}: {cures.text} ({said})."


def _where(X: Any, test: Callable[[Array], Array]) -> str:
    """The columns with a value that passes the test, as the end of a sentence."""
    # So that NaN is left only where it marks nothing.
    matrix = marked(X, 0.0).matrix
    if sparse.issparse(matrix):
        csc = sparse.csc_array(matrix)
        passed = np.concatenate([[0], np.cumsum(test(csc.data))])
        counts = np.diff(passed[csc.indptr])
    else:
        counts = np.sum(test(np.asarray(matrix, dtype=np.float64)), axis=0)
    labels = _labels(X) or range(len(counts))
    found = [repr(labels[k]) for k in np.flatnonzero(counts)]
    return f" in {_listed(found)}" if found else ""


def first_few(items: Iterable[Any], most: int = 3) -> str:
    """The first few of some names or ids, as they are written in a message.

    Parameters
    ----------
    items : iterable
    most : int, default=3
        So many are written; an ellipsis stands for the others.
    """
    written = [repr(item) for item in islice(items, most + 1)]
    return ", ".join([*written[:most], *["..."] * (len(written) > most)])


def _listed(columns: list[str]) -> str:
    """Columns as a phrase: all of them, or the first few and how many more."""
    if len(columns) == 1:
        return f"column {columns[0]}"
    if len(columns) > _NAMED:
        return f"columns {', '.join(columns[:_NAMED])} and {len(columns) - _NAMED} more"
    return f"columns {', '.join(columns[:-1])} and {columns[-1]}"


def _labels(X: Any) -> list[Any]:
    """The names of the columns; nothing where they have none."""
    # pyarrow has the values where others have the names.
    names = getattr(X, "column_names", getattr(X, "columns", None))
    return [] if names is None else list(names)


def _held(X: Any) -> Iterator[tuple[Any, str | None]]:
    """Each column with what it holds; None if these are numbers."""
    labels = _labels(X)
    if is_frame(X):
        columns = [X.iloc[:, k] for k in range(len(labels))]
    elif labels:
        columns = [np.asarray(X[label]) for label in labels]
    elif sparse.issparse(X):
        columns = []
    else:
        array = np.asarray(X)
        columns = list(array.T) if array.ndim == 2 else []
    for label, column in zip(labels or range(len(columns)), columns, strict=True):
        yield label, _not_numbers(column)


def _not_numbers(column: Any) -> str | None:
    """What a column holds, or None if it holds numbers."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fiubc":
        return None
    if kind in "mM":
        return str(column.dtype)
    missing = None, getattr(sys.modules.get("pandas"), "NA", None)
    for value in np.asarray(column, dtype=object):
        if any(value is nothing for nothing in missing):
            continue
        try:
            float(value)
        except (TypeError, ValueError):
            return type(value).__name__
    # dask describes partitions by a frame without rows.
    text = not len(column) and str(column.dtype).startswith("str")
    return str(column.dtype) if text else None
