"""Passes over chunks: the only module that talks to dask.

A pass calls one function on every chunk. Large results stay where the chunk was read;
small ones come back to the client. Values for the chunks are part of the graph and are
not put on a worker beforehand, so that dask can compute again what a lost worker held.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from operator import getitem
from typing import Any
from uuid import uuid4

import numpy as np

from skprecgd._runtime.dask_kinds import is_dask

# Number of results that one task of a sum adds up.
_FAN_IN = 8
# Graphs carry the factors on purpose, so dask's warning above 10 MiB is turned off.
_LARGE_GRAPH = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}


@dataclass
class Traffic:
    """Passes, messages and bytes between client and chunks, while they were counted.

    Attributes
    ----------
    passes : int
        Rounds in which every chunk gets one task.
    messages : int
        Tasks that were sent out, and results that came back to the client.
    bytes_out, bytes_back : int
        Size of the values given to the chunks, and of those that came back.
    """

    passes: int = 0
    messages: int = 0
    bytes_out: int = 0
    bytes_back: int = 0


_traffic: ContextVar[Traffic | None] = ContextVar("skprecgd_traffic", default=None)


@contextmanager
def count_traffic() -> Iterator[Traffic]:
    """Count the passes over the chunks and the bytes that travel inside the block.

    Returns
    -------
    context manager of Traffic

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
    traffic = Traffic()
    token = _traffic.set(traffic)
    try:
        yield traffic
    finally:
        _traffic.reset(token)


def compute(*values: Any) -> tuple[Any, ...]:
    """Values with the dask collections among them computed, all at once."""
    import dask

    return tuple(dask.compute(*values))


def in_memory(*values: Any) -> tuple[Any, ...]:
    """`compute`, which does not import dask if all values are in memory already."""
    return compute(*values) if any(map(is_dask, values)) else values


class LazyValue:
    """A value that dask holds or has yet to compute: a key, and the graph it is in.

    `dask.delayed` would do, but building it takes ten times as long as a task here.
    """

    __slots__ = ("graph", "key")

    def __init__(self, key: Any, graph: dict[Any, Any]) -> None:
        self.key, self.graph = key, graph


@dataclass(frozen=True)
class Broadcast:
    """One value that every chunk is given; it is sent once."""

    value: Any


def blocks(X: Any) -> list[LazyValue]:
    """The chunks of a dask array or the partitions of another collection, in order."""
    made = as_lazy(_delayed(X, optimize_graph=True))
    if all(block.key in block.graph for block in made):
        return made
    # If X is persisted on a cluster, dask's optimisation drops the keys that it holds.
    return as_lazy(_delayed(X, optimize_graph=False))


def _delayed(X: Any, **how: bool) -> list[Any]:
    return list(np.ravel(np.array(X.to_delayed(**how), dtype=object)))


def as_lazy(items: list[Any]) -> list[LazyValue]:
    """`dask.delayed.Delayed` objects and values as `LazyValue` ones."""
    graphs: dict[int, dict[Any, Any]] = {}
    made = []
    for item in items:
        if isinstance(item, LazyValue):
            made.append(item)
        elif is_dask(item):
            graph = item.__dask_graph__()
            # The chunks of an array share their graph, so it is copied once.
            flat = graphs.setdefault(id(graph), {})
            if not flat:
                flat.update(graph)
            made.append(LazyValue(item.key, flat))
        else:
            key = _names("value")(0)
            made.append(LazyValue(key, {key: item}))
    return made


def call_each(
    function: Callable[..., Any],
    items: list[Any],
    *columns: list[Any] | Broadcast,
    common: Sequence[Any] = (),
) -> list[LazyValue]:
    """A lazy call for every chunk.

    Parameters
    ----------
    function : callable
        Called with the chunk's item, its value in each of the columns, and `common`.
    items : list
        One item for each chunk: lazy, or a list of lazy ones.
    *columns : list or Broadcast
        Further arguments, one for each chunk; lazy or not, or lists of lazy ones.
    common : sequence
        The last arguments, which are the same for all calls.

    Returns
    -------
    list of LazyValue
    """
    columns = (*columns, *(Broadcast(value) for value in common))
    _count(items, columns)
    name, shared = _names(function.__name__), _names("shared")
    graph: dict[Any, Any] = {}
    merged: set[int] = set()
    arguments = []
    for k, column in enumerate([items, *columns]):
        if isinstance(column, Broadcast):
            graph[shared(k)] = column.value
            column = [_Key(shared(k))] * len(items)
        arguments.append([_placed(value, graph, merged) for value in column])
    made = []
    for i, row in enumerate(zip(*arguments, strict=True)):
        graph[name(i)] = (function, *(_task(value) for value in row))
        made.append(LazyValue(name(i), graph))
    return made


def unpacked(results: list[LazyValue], count: int) -> list[list[LazyValue]]:
    """Lazy tuples, unpacked: one list for each of their `count` items."""
    lists = []
    for k in range(count):
        name = _names("item")
        for i, result in enumerate(results):
            result.graph[name(i)] = (getitem, result.key, k)
        lists.append([LazyValue(name(i), r.graph) for i, r in enumerate(results)])
    return lists


def summed(results: list[LazyValue]) -> LazyValue:
    """Lazy sum, in a tree whose order is fixed; tuples are added item by item."""
    graph = results[0].graph
    keys = [result.key for result in results]
    while len(keys) > 1:
        name = _names("sum")
        groups = range(0, len(keys), _FAN_IN)
        for i, start in enumerate(groups):
            graph[name(i)] = (_add, keys[start : start + _FAN_IN])
        keys = [name(i) for i in range(len(groups))]
    return LazyValue(keys[0], graph)


def gathered(wanted: Any) -> Any:
    """The values of lazy values, brought to the client.

    Parameters
    ----------
    wanted : LazyValue, or a nested list or tuple of them
    """
    return gathered_and_persisted(wanted, ())[0]


def persisted(kept: Any) -> Any:
    """The same lazy values, computed and held by dask.

    Parameters
    ----------
    kept : LazyValue, or a nested list or tuple of them
    """
    return gathered_and_persisted((), kept)[1]


def gathered_and_persisted(wanted: Any, kept: Any) -> tuple[Any, Any]:
    """`gathered` and `persisted` in one computation.

    Parameters
    ----------
    wanted, kept : LazyValue, or a nested list or tuple of them

    Returns
    -------
    wanted
        The values.
    kept
        Lazy values that dask holds.
    """
    import dask

    from skprecgd.distributed._collection import Collection

    graph: dict[Any, Any] = {}
    merged: set[int] = set()
    keys: dict[str, list[Any]] = {"wanted": [], "kept": []}
    for name, tree in (("wanted", wanted), ("kept", kept)):
        for leaf in _leaves(tree):
            _merge(leaf.graph, graph, merged)
            keys[name].append(leaf.key)
    # Set only if distributed is loaded: else it could not set its own defaults later.
    quiet = _LARGE_GRAPH if "distributed" in sys.modules else {}
    with dask.config.set(quiet):
        held = Collection(graph, keys["wanted"])
        if keys["kept"]:
            (held,) = dask.persist(Collection(graph, [*keys["wanted"], *keys["kept"]]))
        values = held.values(keys["wanted"])
    found = dict(zip(keys["wanted"], values, strict=True))
    wanted = _mapped(wanted, lambda leaf: found[leaf.key])
    kept = _mapped(
        kept, lambda leaf: LazyValue(leaf.key, {leaf.key: held.graph[leaf.key]})
    )
    traffic = _traffic.get()
    if traffic is not None:
        traffic.messages += len(values)
        traffic.bytes_back += _size(list(values))
    return wanted, kept


@dataclass(frozen=True)
class _Key:
    """A key that is in the graph already."""

    key: Any


def _names(stem: str) -> Callable[[int], tuple[str, int]]:
    """Fresh keys ``(name, i)``."""
    name = f"{stem.strip('_')}-{uuid4().hex}"
    return lambda i: (name, i)


def _placed(value: Any, graph: dict[Any, Any], merged: set[int]) -> Any:
    """The value with the graph behind it merged into `graph`."""
    for leaf in _leaves(value):
        _merge(leaf.graph, graph, merged)
    return value


def _task(value: Any) -> Any:
    """The value as an argument of a task: lazy values are replaced by their keys."""
    if isinstance(value, (LazyValue, _Key)):
        return value.key
    if isinstance(value, list):
        return [_task(item) for item in value]
    return value


def _leaves(tree: Any) -> Iterator[LazyValue]:
    if isinstance(tree, LazyValue):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _leaves(item)


def _mapped(tree: Any, function: Callable[[LazyValue], Any]) -> Any:
    if isinstance(tree, (list, tuple)):
        return type(tree)(_mapped(item, function) for item in tree)
    return function(tree) if isinstance(tree, LazyValue) else tree


def _merge(part: dict[Any, Any], graph: dict[Any, Any], merged: set[int]) -> None:
    if id(part) not in merged:
        merged.add(id(part))
        graph.update(part)


def _add(items: list[Any]) -> Any:
    if isinstance(items[0], tuple):
        return tuple(_add(list(parts)) for parts in zip(*items, strict=True))
    result = items[0]
    for item in items[1:]:
        result = result + item
    return result


def _count(items: list[Any], columns: tuple[list[Any] | Broadcast, ...]) -> None:
    """Add a pass to what is being counted."""
    traffic = _traffic.get()
    if traffic is None:
        return
    traffic.passes += 1
    traffic.messages += len(items)
    for column in columns:
        if isinstance(column, Broadcast):
            traffic.bytes_out += len(items) * _size(column.value)
        else:
            traffic.bytes_out += _size(column)


def _size(value: Any) -> int:
    """Bytes of the arrays inside; lazy values do not travel."""
    if isinstance(value, (list, tuple)):
        return sum(_size(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(_size(getattr(value, item.name)) for item in fields(value))
    if isinstance(value, LazyValue):
        return 0
    return int(getattr(value, "nbytes", 8))
