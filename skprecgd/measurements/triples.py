"""Row, column and value of each entry: long data frames, and tuples of three arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.naming import first_few
from skprecgd._runtime.typing import Array
from skprecgd.measurements.labels import ARRAY_NAMES, as_ids
from skprecgd.measurements.validation import as_real_array

# So many columns of a frame are named in a message.
_SHOWN = 20


class Triples(NamedTuple):
    """Row id, column id and value of each entry, checked one by one.

    Attributes
    ----------
    rows, columns : ndarray of shape (n,)
        As `as_ids` returns them.
    values : ndarray of shape (n,)
    names : tuple of str
        What rows and columns are, as the first words of messages.
    are_labels : tuple of bool
        Whether rows and columns are labels rather than positions, unless the shape of
        the matrix is given.
    """

    rows: Array
    columns: Array
    values: Array
    names: tuple[str, str]
    are_labels: tuple[bool, bool]


class FrameColumns(NamedTuple):
    """The names of the columns of a long frame: row, column and value of an entry."""

    row: Any
    column: Any
    value: Any

    @classmethod
    def of(cls, row: Any, column: Any, value: Any) -> FrameColumns | None:
        """The three names, or None if none of them is given."""
        names = cls(row, column, value)
        absent = [field for field in cls._fields if getattr(names, field) is None]
        if len(absent) == 3:
            return None
        if absent:
            raise ValueError(
                "row, column and value name the columns of a long frame and go "
                f"together; {' and '.join(absent)} must be given, too."
            )
        if row == column or value in (row, column):
            raise ValueError(
                "row, column and value must be three different columns, got "
                f"{row!r}, {column!r} and {value!r}."
            )
        return names

    def check(self, frame: Any) -> None:
        """Refuse what is no frame, or has no columns of these names."""
        if not is_frame(frame):
            raise ValueError(
                "row, column and value name the columns of a data frame, but X has the "
                f"type {type(frame).__name__}; give a frame, or without names a tuple "
                "(rows, columns, values)."
            )
        present = column_names(frame)
        for name in self:
            if present.count(name) != 1:
                how = "no column" if name not in present else "several columns"
                shown = first_few(present, _SHOWN)
                raise ValueError(
                    f"X has {how} {name!r}; its columns are {shown}"
                    f"{_about_index(frame, name)}."
                )

    def read(self, frame: Any) -> Triples:
        """The triples of a frame in memory."""
        self.check(frame)
        names = f"Column {self.row!r}", f"Column {self.column!r}"
        return Triples(
            as_ids(frame[self.row], names[0]),
            as_ids(frame[self.column], names[1]),
            as_values(frame[self.value], f"Column {self.value!r}"),
            names,
            (True, True),
        )


def _about_index(frame: Any, name: Any) -> str:
    """What to do if the name is that of the index, as the end of a sentence."""
    names = getattr(getattr(frame, "index", None), "names", ())
    return "; it is in the index, so use frame.reset_index()" if name in names else ""


def is_frame(X: Any) -> bool:
    """Whether X is a data frame, of pandas, dask, polars or pyarrow."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def column_names(frame: Any) -> list[Any]:
    return list(getattr(frame, "column_names", frame.columns))


def as_triples(X: tuple[Any, ...]) -> Triples:
    """Three arrays as triples.

    Integers are positions; strings, dates and what is declared a category are labels.
    """
    if len(X) != 3:
        raise ValueError(
            f"X as a tuple must be (rows, columns, values), got {len(X)} items."
        )
    rows, columns = (as_ids(X[k], ARRAY_NAMES[k]) for k in range(2))
    values = as_values(X[2], "The array of values")
    if not len(rows) == len(columns) == len(values):
        raise ValueError(
            f"rows, columns and values must have equal length, got {len(rows)}, "
            f"{len(columns)} and {len(values)}."
        )
    are_labels = _are_labels(X[0], rows), _are_labels(X[1], columns)
    return Triples(rows, columns, values, ARRAY_NAMES, are_labels)


def _are_labels(given: Any, ids: Array) -> bool:
    # Integers, too, are labels where pandas was told that they are categories.
    categorical = str(getattr(given, "dtype", "")) == "category"
    return categorical or (len(ids) > 0 and ids.dtype.kind not in "iu")


def as_values(values: Any, what: str) -> Array:
    """A copy of observed values, which must be there and finite."""
    array = np.array(unmasked(values, what))
    if array.dtype == object and hasattr(values, "to_numpy"):
        array = _numbers(values, array)
    if array.dtype.kind == "f" and np.any(np.isnan(array)):
        raise ValueError(
            f"{what} holds NaN, while every entry here is an observed one; drop "
            "missing values first, as with frame.dropna()."
        )
    return as_real_array(array, what, (1,))


def _numbers(column: Any, array: Array) -> Array:
    """Numbers that pandas holds as objects, because some may be missing."""
    if any(isinstance(item, str) for item in array):
        return array
    try:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        return array
