"""Several keys of one graph as a collection, so that any scheduler takes them.

This module imports dask, so it is itself imported only when dask is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.threaded
from dask.optimization import cull, fuse


class Collection:
    """The protocol of `dask.compute` and `dask.persist` (dask's "Custom Collections").

    Parameters
    ----------
    graph : dict
    keys : list
    """

    __dask_scheduler__ = staticmethod(dask.threaded.get)

    def __init__(self, graph: dict[Any, Any], keys: list[Any]) -> None:
        self.graph, self.keys = graph, keys
        self._persisted = False

    def values(self, keys: list[Any]) -> list[Any]:
        """The values of some of the keys; a collection that is persisted has them."""
        if not self._persisted:
            (values,) = dask.compute(Collection(self.graph, keys))
            return list(values)
        values = [self.graph[key] for key in keys]
        if any(hasattr(value, "client") for value in values):
            # The values are futures of a cluster.
            (values,) = dask.compute(
                Collection(dict(zip(keys, values, strict=True)), keys)
            )
        return list(values)

    def __dask_graph__(self) -> dict[Any, Any]:
        return self.graph

    def __dask_keys__(self) -> list[Any]:
        return self.keys

    def __dask_tokenize__(self) -> list[Any]:
        return self.keys

    @staticmethod
    def __dask_optimize__(dsk: Any, keys: Any, **kwargs: Any) -> Any:
        flat = [key for group in keys for key in _flat(group)]
        graph, dependencies = cull(dict(dsk), flat)
        # What a chunk is read through, task after task, is one task, so that nothing in
        # between waits in the memory of a worker.
        return fuse(graph, flat, dependencies, rename_keys=False)[0]

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return list, ()

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuilt, (self.keys,)


def _rebuilt(graph: Any, keys: list[Any], *, rename: Any = None) -> Collection:
    collection = Collection(dict(graph), keys)
    collection._persisted = True
    return collection


def _flat(group: Any) -> list[Any]:
    """Keys, which are tuples or strings, out of nested lists."""
    if isinstance(group, list):
        return [key for item in group for key in _flat(item)]
    return [group]
