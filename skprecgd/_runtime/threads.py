"""Threads: limits for BLAS, and the compiled loops of the package on several threads.

The compiled loops run on plain Python threads and release the interpreter lock. These
threads sleep between two calls, while those of OpenMP and BLAS spin on the cores and
slow down whatever runs next.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from threading import Lock, get_ident
from typing import Any

import joblib

try:
    from threadpoolctl import ThreadpoolController
except ImportError:  # pragma: no cover - scikit-learn depends on it
    ThreadpoolController = None


@lru_cache(maxsize=2)
def _libraries(user_api: str) -> list[Any]:
    # The search for libraries takes milliseconds, so it is done once.
    if ThreadpoolController is None:
        return []
    return list(ThreadpoolController().select(user_api=user_api).lib_controllers)


@lru_cache(maxsize=1)
def _cpu_count() -> int:
    return int(joblib.cpu_count())


class _RunningFits:
    """The running fits of this process, which share the threads of BLAS.

    BLAS has one number of threads for the whole process. If every fit set and restored
    it, the last fit to end would restore the number that another fit had set.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        # One item for each open `running_fit` block: the thread that runs it, and
        # whether it limits BLAS to one thread.
        self._blocks: list[tuple[int, bool]] = []
        # Threads of each BLAS library before the first block was entered.
        self._before: list[int] = []

    @property
    def count(self) -> int:
        return max(1, len({thread for thread, _ in self._blocks}))

    @contextmanager
    def one_more(self, one_blas_thread: bool) -> Iterator[None]:
        block = get_ident(), one_blas_thread
        with self._lock:
            if not self._blocks:
                self._before = [
                    library.get_num_threads() for library in _libraries("blas")
                ]
            self._blocks.append(block)
            self._hold_blas()
        try:
            yield
        finally:
            with self._lock:
                self._blocks.remove(block)
                self._hold_blas()

    def after_fork(self) -> None:
        """Keep the blocks of the thread that forked: a child process has no other."""
        self._lock = Lock()
        self._blocks = [block for block in self._blocks if block[0] == get_ident()]

    def _hold_blas(self) -> None:
        one = any(one_blas_thread for _, one_blas_thread in self._blocks)
        for library, before in zip(_libraries("blas"), self._before, strict=True):
            share = 1 if one else max(1, before // self.count)
            if library.get_num_threads() != share:
                _set_threads(library, share)


def _set_threads(library: Any, n: int) -> None:
    # From 3.8 on, threadpoolctl obeys only the thread that set a number first, until
    # that thread gives up control. The fit that ends last may run on another thread.
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)
    library.set_num_threads(n)
    if release is not None:
        release(force=True)


_fits = _RunningFits()


@contextmanager
def running_fit(*, one_blas_thread: bool = False) -> Iterator[None]:
    """Count this thread as a fit inside the block; all running fits share the cores.

    Parameters
    ----------
    one_blas_thread : bool, default=False
        Hold BLAS to one thread. Products of tall thin factors with their r x r Gram
        matrices are too small to share: on busy cores the threads wait for each other
        a thousand times longer than the product takes.
    """
    with _fits.one_more(one_blas_thread):
        yield


def allowed_threads() -> int:
    """The number of threads that a compiled loop may use now.

    It is the number that OpenMP would use: that of `OMP_NUM_THREADS` or of a limit set
    with threadpoolctl, in a worker process of joblib its share, and never more than the
    cores this process may run on. Fits on several threads share this number.
    """
    limits = [
        _cpu_count(),
        *(library.get_num_threads() for library in _libraries("openmp")),
    ]
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if len(limits) == 1 and asked.isdigit():
        limits.append(int(asked))
    return max(1, min(limits) // _fits.count)


def share_out(
    task: Callable[..., None], pieces: Iterable[tuple[Any, ...]], *, threads: int
) -> None:
    """Call ``task(*piece)`` for every piece, on up to `threads` threads.

    The calling thread works too. A free thread takes the next piece, so that a slow
    piece or a busy core delays no other thread. The result must not depend on which
    thread computes which piece.
    """
    # The pool refers to `work` for a moment after it has run. By then `work` must not
    # refer to the task and its large arrays, so every call leaves the queue.
    waiting = deque(partial(task, *piece) for piece in pieces)

    def work() -> None:
        while True:
            try:
                call = waiting.popleft()
            except IndexError:
                return
            call()

    n_helpers = min(threads, len(waiting)) - 1
    helpers = [_pool().submit(work) for _ in range(n_helpers)]
    try:
        work()
    finally:
        waiting.clear()
        for helper in helpers:
            # A helper that has not begun yet would find the queue empty.
            if not helper.cancel():
                helper.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, _cpu_count() - 1), thread_name_prefix="skprecgd")


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    # A forked child inherits the pool and the list of fits, but not their threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
    os.register_at_fork(after_in_child=_fits.after_fork)
