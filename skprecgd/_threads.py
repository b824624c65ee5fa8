"""Threads: BLAS held to one where more would hurt, and our own loops shared out.

The compiled loops run on plain Python threads and let go of the interpreter lock.
Such threads sleep between two calls, where those of OpenMP and BLAS spin on the cores
and slow down whatever comes next.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import joblib

try:
    from threadpoolctl import ThreadpoolController
except ImportError:  # pragma: no cover - scikit-learn depends on it
    ThreadpoolController = None


@lru_cache(maxsize=1)
def _controller() -> Any:
    # Looking the libraries up costs milliseconds, so it is done once.
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _openmp() -> list[Any]:
    if ThreadpoolController is None:
        return []
    return list(_controller().select(user_api="openmp").lib_controllers)


@lru_cache(maxsize=1)
def _cpu_count() -> int:
    return int(joblib.cpu_count())


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


def allowed_threads() -> int:
    """How many threads a loop of ours may use here and now.

    As many as OpenMP would: what `OMP_NUM_THREADS` or a limit set with threadpoolctl
    says, in a worker process of joblib its share, and never more than the cores this
    process may run on.
    """
    limits = [_cpu_count(), *(library.get_num_threads() for library in _openmp())]
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if len(limits) == 1 and asked.isdigit():
        limits.append(int(asked))
    return max(1, min(limits))


def share_out(
    task: Callable[..., None], pieces: Iterable[tuple[Any, ...]], *, threads: int
) -> None:
    """Call ``task(*piece)`` for every piece, on up to `threads` threads.

    The calling thread works too, and whoever is free takes the next piece, so a slow
    piece or a busy core holds up nobody else. Which thread does what must not matter
    to the result.
    """
    waiting = deque(pieces)

    def work() -> None:
        while True:
            try:
                piece = waiting.popleft()
            except IndexError:
                return
            task(*piece)

    n_helpers = min(threads, len(waiting)) - 1
    helpers = [_pool().submit(work) for _ in range(n_helpers)]
    try:
        work()
    finally:
        waiting.clear()
        for helper in helpers:
            # One that has not begun by now finds nothing left to do.
            if not helper.cancel():
                helper.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, _cpu_count() - 1), thread_name_prefix="skprecgd")


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    # A forked child inherits the pool without its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
