"""BLAS threads where they hurt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

try:
    from threadpoolctl import ThreadpoolController
except ImportError:  # pragma: no cover - scikit-learn depends on it
    ThreadpoolController = None


@lru_cache(maxsize=1)
def _controller() -> Any:
    # Looking the libraries up costs milliseconds, so it is done once.
    return ThreadpoolController()


@contextmanager
def one_blas_thread(active: bool = True) -> Iterator[None]:
    """Hold BLAS to one thread inside the block, if `active`.

    Products of tall thin factors with their r x r Gram matrices are too small to
    share: on busy cores the threads wait for each other a thousand times longer
    than the product takes.
    """
    if not active or ThreadpoolController is None:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield
