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
    # Looking them up costs milliseconds, so it is done once.
    if ThreadpoolController is None:
        return []
    return list(ThreadpoolController().select(user_api=user_api).lib_controllers)


@lru_cache(maxsize=1)
def _cpu_count() -> int:
    return int(joblib.cpu_count())


class _RunningFits:
    """The fits that run in this process now, and BLAS held to what they leave it.

    A number of threads in BLAS is one for the whole process: were every fit to set and
    restore its own, the last one would restore what another had set.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        # Of each block that a fit is in: its thread, and whether it holds BLAS to one.
        self._blocks: list[tuple[int, bool]] = []
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
        """In a child process, where only the thread that forked goes on."""
        self._lock = Lock()
        self._blocks = [block for block in self._blocks if block[0] == get_ident()]

    def _hold_blas(self) -> None:
        one = any(one_blas_thread for _, one_blas_thread in self._blocks)
        for library, before in zip(_libraries("blas"), self._before, strict=True):
            share = 1 if one else max(1, before // self.count)
            if library.get_num_threads() != share:
                _set_threads(library, share)


def _set_threads(library: Any, n: int) -> None:
    # From 3.8 on threadpoolctl heeds nobody but the thread that set a number first;
    # but which of the fits begins and which ends last is chance.
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)
    library.set_num_threads(n)
    if release is not None:
        release(force=True)


_fits = _RunningFits()


@contextmanager
def running_fit(*, one_blas_thread: bool = False) -> Iterator[None]:
    """Inside the block this thread is a fit that shares the cores with all others.

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
    """How many threads a loop of ours may use here and now.

    As many as OpenMP would: what `OMP_NUM_THREADS` or a limit set with threadpoolctl
    says, in a worker process of joblib its share, and never more than the cores this
    process may run on. Fits on several threads share them.
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

    The calling thread works too, and whoever is free takes the next piece, so a slow
    piece or a busy core holds up nobody else. Which thread does what must not matter
    to the result.
    """
    # The pool holds `work` a moment longer than it runs: the task, and with it large
    # arrays, must be gone from it by then.
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
            # One that has not begun by now finds nothing left to do.
            if not helper.cancel():
                helper.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, _cpu_count() - 1), thread_name_prefix="skprecgd")


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    # A forked child inherits the pool without its threads, and fits without theirs.
    os.register_at_fork(after_in_child=_pool.cache_clear)
    os.register_at_fork(after_in_child=_fits.after_fork)
