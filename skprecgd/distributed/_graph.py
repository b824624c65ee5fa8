"""Passes over chunks: the only module that talks to dask.

A pass calls one function on every chunk. What is kept stays where the chunk was read;
what is wanted, small, comes back. Everything that goes out is part of the graph and not
put on a worker beforehand, so that dask can compute again what a lost worker held.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

# How many results are added up in one task.
_FAN_IN = 8
# A graph carries the factors; dask warns above 10 MiB, and we know.
_LARGE_GRAPH = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}


@dataclass
class Traffic:
    """What went out to the chunks and came back while it was counted.

    Attributes
    ----------
    passes : int
        Rounds of one task a chunk.
    messages : int
        Tasks that got something and results that came back to the client.
    bytes_out, bytes_back : int
        Size of what every chunk was given, and of what came back.
    """

    passes: int = 0
    messages: int = 0
    bytes_out: int = 0
    bytes_back: int = 0


_tally: ContextVar[Traffic | None] = ContextVar("skprecgd_traffic", default=None)


@contextmanager
def count_traffic() -> Iterator[Traffic]:
    """Count the passes over the chunks and the bytes that travel inside the block.

    Yields
    ------
    Traffic

    Examples
    --------
    >>> import dask.array as da
    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.distributed import count_traffic
    >>> X = da.ones((1000, 20), chunks=(100, 20))
    >>> with count_traffic() as traffic:
    ...     model = PrecGDFactorization(1).fit(X)
    >>> traffic.messages > 10 * traffic.passes
    True
    """
    tally = Traffic()
    token = _tally.set(tally)
    try:
        yield tally
    finally:
        _tally.reset(token)


def is_dask(X: Any) -> bool:
    """Whether X is a dask collection; dask need not be installed to ask."""
    package = type(X).__module__.partition(".")[0]
    return package in ("dask", "dask_expr") and hasattr(X, "__dask_graph__")


def is_dask_array(X: Any) -> bool:
    """Whether X is a dask array."""
    return is_dask(X) and hasattr(X, "chunks")


def is_dask_frame(X: Any) -> bool:
    """Whether X is a dask DataFrame."""
    return is_dask(X) and hasattr(X, "columns") and hasattr(X, "partitions")


@dataclass(frozen=True)
class Same:
    """One value that every chunk is given; it is sent once."""

    value: Any


def each(
    function: Callable[..., Any],
    items: list[Any],
    *columns: list[Any] | Same,
    common: Sequence[Any] = (),
) -> list[Any]:
    """A lazy call for every chunk.

    Parameters
    ----------
    function : callable
        Called with the chunk's item, its value in each of the columns, and `common`.
    items : list
        One lazy item a chunk.
    *columns : list or Same
        Further values, one a chunk.
    common : sequence
        What all calls are given last.

    Returns
    -------
    list
        Lazy results.
    """
    from dask import delayed

    call = delayed(function, pure=False, traverse=False)
    columns = (*columns, *(Same(value) for value in common))
    tally = _tally.get()
    if tally is not None:
        tally.passes += 1
        tally.messages += len(items)
        tally.bytes_out += sum(
            len(items) * _size(c.value) if isinstance(c, Same) else _size(c)
            for c in columns
        )
    filled = []
    for column in columns:
        if isinstance(column, Same):
            once = delayed(column.value, pure=False, traverse=False)
            column = [once] * len(items)
        filled.append(column)
    return [call(*row) for row in zip(items, *filled, strict=True)]


def split(results: list[Any], count: int) -> list[list[Any]]:
    """Lazy tuples taken apart: one list for each of their `count` items."""
    return [[result[k] for result in results] for k in range(count)]


def total(results: list[Any]) -> Any:
    """Lazy sum, in a tree whose order is fixed; tuples are added item by item."""
    from dask import delayed

    add = delayed(_add, pure=False)
    while len(results) > 1:
        groups = range(0, len(results), _FAN_IN)
        results = [add(results[start : start + _FAN_IN]) for start in groups]
    return results[0]


def run(wanted: Any, kept: Any = ()) -> tuple[Any, Any]:
    """Compute both at once: `wanted` comes back, `kept` stays where it is."""
    import dask

    # Not where distributed is not loaded: it could not set its own defaults later.
    quiet = _LARGE_GRAPH if "distributed" in sys.modules else {}
    with dask.config.set(quiet):
        kept, wanted = dask.persist(kept, wanted)
        (wanted,) = dask.compute(wanted)
    tally = _tally.get()
    if tally is not None:
        tally.messages += len(wanted) if isinstance(wanted, list) else 1
        tally.bytes_back += _size(wanted)
    return wanted, kept


def _add(items: list[Any]) -> Any:
    if isinstance(items[0], tuple):
        return tuple(_add(list(parts)) for parts in zip(*items, strict=True))
    result = items[0]
    for item in items[1:]:
        result = result + item
    return result


def _size(value: Any) -> int:
    """Bytes of the arrays inside; what is lazy does not travel."""
    if isinstance(value, (list, tuple)):
        return sum(_size(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(_size(getattr(value, item.name)) for item in fields(value))
    if is_dask(value):
        return 0
    return int(getattr(value, "nbytes", 8))
