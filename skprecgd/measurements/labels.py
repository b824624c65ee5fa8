"""Ids of rows and columns, of any kind that can be sorted, as positions and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from skprecgd._linalg.containers import unmasked
from skprecgd._runtime.typing import Array

# Up to here every integer is a float of its own, so that no two ids become one.
_EXACT = 2.0**53
# Integers are looked up in a table of at most so many times their number.
_DENSE = 4
# What the ids in two arrays are, as the first words of messages.
ARRAY_NAMES = "The array of rows", "The array of columns"


def as_ids(values: Any, what: str) -> Array:
    """Ids as an array of integers, of dates or times, or of objects (strings, too).

    Parameters
    ----------
    values : array-like of shape (n,)
        Whole floats are integers: pandas makes floats of them where an id was missing.
    what : str
        What they are, as the first words of messages.

    Raises
    ------
    ValueError
        If an id is missing, or none of these kinds.
    """
    values = unmasked(values, what)
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise ValueError(f"{what} must be 1-D, got {ids.ndim}-D.")
    if ids.dtype.kind in "USTO":
        # NumPy makes text of None among the strings of a list.
        as_given = isinstance(values, (list, tuple))
        return _of_objects(np.array(values if as_given else ids, dtype=object), what)
    if ids.dtype.kind in "fMm" and np.any(ids != ids):
        raise _missing(what)
    if ids.dtype.kind in "iuMm" or not ids.size:
        return ids
    if ids.dtype.kind != "f":
        raise _wrong_kind(what, f"dtype {ids.dtype}")
    broken = ids[(ids != np.floor(ids)) | np.isinf(ids)]
    if len(broken):
        raise _wrong_kind(what, f"{broken[0]} of dtype {ids.dtype}")
    if np.max(np.abs(ids)) >= _EXACT:
        raise ValueError(
            f"{what} holds ids of 2**53 and more as floats, which cannot tell them "
            "apart; read them as integers or strings."
        )
    return ids.astype(np.int64)


def encoded(ids: Array, what: str) -> tuple[Array, Array]:
    """The different ids, sorted, and the position of each id among them.

    Parameters
    ----------
    ids : ndarray of shape (n,)
        As `as_ids` returns them.
    what : str
        What they are, as the first words of a message.
    """
    try:
        return _encoded(ids, sorted)
    except TypeError:
        kinds = sorted({type(item).__name__ for item in ids.tolist()})
        raise ValueError(
            f"{what} holds ids of different types ({', '.join(kinds)}), which have no "
            "order; convert them to one type, such as str."
        ) from None


def encoded_in_any_order(ids: Array) -> tuple[Array, Array]:
    """The same of ids that may have no order: they stand as they first came then."""
    try:
        return _encoded(ids, sorted)
    except TypeError:
        return _encoded(ids, list)


def _encoded(
    ids: Array, arrange: Callable[[Iterable[Any]], list[Any]]
) -> tuple[Array, Array]:
    if ids.dtype.kind in "iu" and len(ids):
        low, high = int(ids.min()), int(ids.max())
        if high - low < _DENSE * len(ids):
            return _counted(ids, low, high)
    if ids.dtype != object:
        labels, index = np.unique(ids, return_inverse=True)
        return labels, index
    labels = _objects(arrange(dict.fromkeys(ids.tolist())))
    return labels, located(ids, labels)


def _counted(ids: Array, low: int, high: int) -> tuple[Array, Array]:
    """The same of integers that leave out few between the least and the largest.

    No sorting: with ten million pairs, that takes a third of a fit.
    """
    # Differences that the type cannot hold are right as those of unsigned integers.
    there = (ids - ids.dtype.type(low)).view(f"u{ids.dtype.itemsize}")
    seen = np.zeros(high - low + 1, dtype=bool)
    seen[there] = True
    labels = np.flatnonzero(seen).astype(ids.dtype) + ids.dtype.type(low)
    return labels, (np.cumsum(seen) - 1)[there]


def located(ids: Array, labels: Array) -> Array:
    """The position of each id among the labels, -1 for those that are not there.

    Parameters
    ----------
    ids : ndarray of shape (n,)
    labels : ndarray of shape (n_labels,)
        Sorted and different; none of them is missing.
    """
    kinds = {ids.dtype.kind, labels.dtype.kind}
    if kinds <= set("iu") or (len(kinds) == 1 and "O" not in kinds):
        place = np.minimum(np.searchsorted(labels, ids), len(labels) - 1)
        return np.where(labels[place] == ids, place, -1)
    place_of = {label: k for k, label in enumerate(labels.tolist())}
    return np.array([place_of.get(item, -1) for item in ids.tolist()], dtype=np.intp)


def joined(parts: list[Array]) -> Array:
    """Ids of several partitions, of which some may hold none."""
    parts = [part for part in parts if len(part)] or parts[:1]
    if len({part.dtype.kind for part in parts}) == 1:
        return np.concatenate(parts)
    # NumPy would make text of numbers, or floats of integers.
    return _objects([item for part in parts for item in part.tolist()])


def _of_objects(ids: Array, what: str) -> Array:
    """Ids among which there may be any objects; integers become an array of them."""
    try:
        different = set(ids.tolist())
    except TypeError:
        kind = next(type(item).__name__ for item in ids if not _hashable(item))
        raise _wrong_kind(what, f"a {kind}") from None
    if any(_is_missing(item) for item in different):
        raise _missing(what)
    kinds = set(map(type, different))
    if bool in kinds:
        raise _wrong_kind(what, "a bool")
    if kinds and all(issubclass(kind, (int, np.integer)) for kind in kinds):
        return np.array(ids.tolist())
    return ids


def _hashable(item: Any) -> bool:
    try:
        hash(item)
    except TypeError:
        return False
    return True


def _is_missing(item: Any) -> bool:
    try:
        return item is None or bool(item != item)
    except TypeError:
        # pandas' NA is neither equal to itself nor not.
        return True


def _objects(items: list[Any]) -> Array:
    # `np.array` would make a matrix of tuples.
    return np.fromiter(items, dtype=object, count=len(items))


def _missing(what: str) -> ValueError:
    return ValueError(
        f"{what} holds missing ids (NaN or None); drop these entries first, as with "
        "frame.dropna()."
    )


def _wrong_kind(what: str, got: str) -> ValueError:
    return ValueError(
        f"{what} must hold ids that are integers, strings, categories or dates, got "
        f"{got}."
    )
