"""A pool of large arrays that a fit uses again.

When an array of a hundred megabytes is freed, its memory goes back to the system. The
next one is mapped page by page, which takes longer than computing its values. Within a
fit, large arrays are therefore kept, and `empty` hands one out again once nothing else
refers to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local

import numpy as np

from skprecgd._runtime.typing import Array

# Arrays of at least this many bytes are likely to go back to the system when freed.
_LARGE = 1 << 20


def _holders(arrays: list[Array], k: int) -> int:
    """The reference count of ``arrays[k]``, in whatever way this Python counts.

    A view refers to the array it is a view of.
    """
    return sys.getrefcount(arrays[k])


# The count of an array that only the pool refers to; -1 if this Python does not count.
_ALONE = _holders([np.empty(1)], 0) if hasattr(sys, "getrefcount") else -1


class _Shelf(local):
    """The pool of each thread; None outside of `kept_arrays`."""

    arrays: list[Array] | None = None


_shelf = _Shelf()


@contextmanager
def kept_arrays() -> Iterator[None]:
    """Keep large arrays for `empty` inside the block."""
    outer, _shelf.arrays = _shelf.arrays, []
    try:
        yield
    finally:
        _shelf.arrays = outer


def empty(n: int, dtype: np.dtype) -> Array:
    """An uninitialised array, new or from the pool.

    Parameters
    ----------
    n : int
    dtype : dtype

    Returns
    -------
    ndarray of shape (n,)
    """
    arrays = _shelf.arrays if _ALONE > 0 else None
    if arrays is None or n * np.dtype(dtype).itemsize < _LARGE:
        return np.empty(n, dtype)
    idle = [k for k in range(len(arrays)) if _holders(arrays, k) == _ALONE]
    for k in idle:
        if len(arrays[k]) == n and arrays[k].dtype == dtype:
            return arrays[k]
    # Idle arrays of other sizes will hardly be asked for again, so they are freed.
    for k in reversed(idle):
        del arrays[k]
    arrays.append(np.empty(n, dtype))
    return arrays[-1]
