"""Large arrays used over and over.

An array of a hundred megabytes that is freed goes back to the system, and the next one
is mapped page by page, which takes longer than to compute what stands in it. Within a
fit, arrays with a number an entry are therefore kept and handed out again, once nobody
else holds them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local

import numpy as np

from skprecgd._runtime.typing import Array

# Bytes from which memory is likely to go back to the system.
_LARGE = 1 << 20


def _holders(arrays: list[Array], k: int) -> int:
    """How many hold an array, in whatever way this Python counts.

    Views hold the array they look at.
    """
    return sys.getrefcount(arrays[k])


_ALONE = _holders([np.empty(1)], 0) if hasattr(sys, "getrefcount") else -1


class _Shelf(local):
    """The arrays of a thread, while it keeps any."""

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
    """An array with nothing in it yet, new or used before.

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
    # Those of another size will hardly be asked for again.
    for k in reversed(idle):
        del arrays[k]
    arrays.append(np.empty(n, dtype))
    return arrays[-1]
