"""Recognises dask collections without importing dask."""

from __future__ import annotations

from typing import Any


def is_dask(X: Any) -> bool:
    """Whether X is a dask collection; dask need not be installed to ask."""
    package = type(X).__module__.partition(".")[0]
    return package in ("dask", "dask_expr") and hasattr(X, "__dask_graph__")


def is_dask_array(X: Any) -> bool:
    """Whether X is a dask array."""
    return _is_collection(X) and hasattr(X, "chunks")


def is_dask_frame(X: Any) -> bool:
    """Whether X is a dask DataFrame."""
    return _is_collection(X) and hasattr(X, "columns") and hasattr(X, "partitions")


def _is_collection(X: Any) -> bool:
    # `hasattr` is true of every name for a delayed value.
    return is_dask(X) and type(X).__module__ != "dask.delayed"
