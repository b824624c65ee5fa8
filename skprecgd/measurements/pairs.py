"""Pairs of ids, of a row and of a column: entries of a matrix that are samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy import sparse

from skprecgd._linalg.containers import unmasked
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array
from skprecgd.measurements.labels import as_ids, encoded_in_any_order, located
from skprecgd.measurements.triples import column_names, is_frame

_WANTED = "X must hold pairs of ids, a row's and a column's"


@dataclass(frozen=True)
class Pairs:
    """Ids of rows and columns, one of each for every entry.

    Attributes
    ----------
    rows, columns : ndarray of shape (n,)
        As `as_ids` returns them.
    names : tuple of str
        What rows and columns are, as the first words of messages.
    """

    rows: Array
    columns: Array
    names: tuple[str, str]

    @classmethod
    def read(cls, X: Any) -> Self:
        """The pairs in two columns of a frame or an array, or in a list of pairs.

        Raises
        ------
        ValueError
            If there are no two columns, or no pairs, or an id is missing or not
            hashable.
        """
        if is_dask(X) or sparse.issparse(X):
            raise ValueError(
                f"{_WANTED}, in memory: two columns of a frame or an array, or a list, "
                f"got {type(X).__name__}. (PrecGDFactorization takes matrices.)"
            )
        names = "Column 0 of X", "Column 1 of X"
        if is_frame(X):
            labels = column_names(X)
            _check_two(len(labels), "columns", f": {labels!r:.200}")
            names = f"Column {labels[0]!r}", f"Column {labels[1]!r}"
            parts = [X[label] for label in labels]
        elif isinstance(X, np.ndarray) or hasattr(X, "__array__"):
            parts = _columns_of_array(np.asarray(unmasked(X, "X")))
        else:
            parts = _columns_of_list(X)
        rows, columns = (as_ids(*part) for part in zip(parts, names, strict=True))
        return cls(rows, columns, names)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, index: Array) -> Self:
        """Some of the pairs."""
        return type(self)(self.rows[index], self.columns[index], self.names)


def read_ids(values: Any, what: str) -> Array:
    """Ids of one side, in a list, an array or a column of a frame."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise ValueError(
            f"{what} must be a list or an array of ids, got {values!r:.100}; put a "
            "single id into a list."
        )
    if not hasattr(values, "__array__"):
        values = np.fromiter(values, dtype=object, count=len(values))
    return as_ids(values, what)


def _columns_of_array(X: Array) -> list[Array]:
    if X.ndim != 2:
        raise ValueError(f"{_WANTED}, got an array of {X.ndim} dimension(s).")
    _check_two(X.shape[1], "columns", "")
    return list(X.T)


def _columns_of_list(X: Any) -> list[Array]:
    try:
        pairs = list(X)
        lengths = {
            -1 if isinstance(pair, (str, bytes)) else len(pair) for pair in pairs
        }
    except TypeError:
        raise ValueError(f"{_WANTED}, got {X!r:.100}.") from None
    if lengths - {2}:
        raise ValueError(f"{_WANTED}; its items are no pairs, as {pairs[0]!r:.100}.")
    # NumPy would make text of numbers, and more dimensions of tuples.
    return [
        np.fromiter((pair[k] for pair in pairs), dtype=object, count=len(pairs))
        for k in range(2)
    ]


def _check_two(n: int, what: str, shown: str) -> None:
    if n != 2:
        raise ValueError(
            f"{_WANTED}, got {n} {what}{shown}; select the two that hold the ids, as "
            'frame[["user", "film"]], and give ratings as y.'
        )


@dataclass(frozen=True)
class Ids:
    """The different ids of the rows or the columns of a matrix, in its order.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        Sorted, or as they first came if they have no order.
    """

    labels: Array

    @classmethod
    def of(cls, ids: Array) -> tuple[Self, Array]:
        """The different ones of some ids, and the position of each among them."""
        labels, positions = encoded_in_any_order(ids)
        return cls(labels), positions

    def __len__(self) -> int:
        return len(self.labels)

    def positions(self, ids: Array) -> Array:
        """The position of each id, -1 for those that are not among these."""
        if self.labels.dtype != object:
            return located(ids, self.labels)
        known = self._positions
        return np.array([known.get(item, -1) for item in ids.tolist()], dtype=np.intp)

    @cached_property
    def _positions(self) -> dict[Any, int]:
        return {label: k for k, label in enumerate(self.labels.tolist())}

    def __getstate__(self) -> dict[str, Any]:
        # The table takes a multiple of the ids, and is made again when it is needed.
        return {"labels": self.labels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
