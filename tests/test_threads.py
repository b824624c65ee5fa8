"""Threads: how many, and who does what."""

from __future__ import annotations

import os
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

from skprecgd._runtime import threads as _threads
from skprecgd._runtime.threads import allowed_threads, running_fit, share_out

threadpoolctl = pytest.importorskip("threadpoolctl")


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n_pieces", [0, 1, 3, 200])
def test_every_piece_once(threads, n_pieces):
    done = []
    pieces = ((i, -i) for i in range(n_pieces))
    share_out(lambda a, b: done.append((a, b)), pieces, threads=threads)
    assert sorted(done) == [(i, -i) for i in range(n_pieces)]


def test_errors_come_through():
    def fail(i):
        if i == 7:
            raise ZeroDivisionError("seven")

    with pytest.raises(ZeroDivisionError, match="seven"):
        share_out(fail, ((i,) for i in range(20)), threads=2)


def test_the_free_take_over_from_the_busy():
    """One slow piece does not hold up the others."""
    names, others = set(), threading.Event()

    def task(i):
        names.add(threading.current_thread().name)
        if i == 0:
            # Goes on when the last of the others is done, by whoever it is.
            assert others.wait(30)
        elif i == 9:
            others.set()

    share_out(task, ((i,) for i in range(10)), threads=2)
    assert len(names) == 2


def test_a_helper_holds_nothing_when_its_work_is_done(monkeypatch):
    """Else what a loop filled would not be used again for the next one."""
    submitted = []

    class Pool(ThreadPoolExecutor):
        def submit(self, work):
            submitted.append(work)
            return super().submit(work)

    with Pool(1) as pool:
        monkeypatch.setattr(_threads, "_pool", lambda: pool)
        out = np.zeros(8)
        held = weakref.ref(out)
        share_out(out.__setitem__, ((i, i) for i in range(8)), threads=2)
        np.testing.assert_array_equal(out, np.arange(8))
        assert submitted
        del out
        assert held() is None


def test_limits_are_followed():
    assert 1 <= allowed_threads() <= joblib.cpu_count()
    with threadpoolctl.threadpool_limits(limits=1):
        assert allowed_threads() == 1
    before = allowed_threads()
    with running_fit(one_blas_thread=True):
        # Only BLAS is held: the kernels run between its products.
        assert allowed_threads() == before


def blas_threads():
    info = threadpoolctl.threadpool_info()
    return {lib["num_threads"] for lib in info if lib["user_api"] == "blas"}


class Fit(threading.Thread):
    """A fit on a thread of its own, from its start until `end`."""

    def __init__(self, **how):
        super().__init__()
        self.how, self.allowed = how, 0
        self.begun, self.ends = threading.Event(), threading.Event()
        self.start()
        assert self.begun.wait(30)

    def run(self):
        with running_fit(), running_fit(**self.how):
            self.allowed = allowed_threads()
            self.begun.set()
            assert self.ends.wait(30)

    def end(self):
        self.ends.set()
        self.join()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("held", [(True, True), (True, False), (False, False)])
def test_fits_on_threads_share_the_cores(held, first):
    """And whichever of them ends last gives BLAS back its threads."""
    before = blas_threads()
    fits = [Fit(one_blas_thread=one) for one in held]
    # Blocks inside one another are one fit.
    assert fits[1].allowed == max(1, fits[0].allowed // 2)
    share = {max(1, n // 2) for n in before}
    assert blas_threads() == ({1} if any(held) else share)
    fits[first].end()
    assert blas_threads() == ({1} if held[1 - first] else before)
    fits[1 - first].end()
    assert blas_threads() == before


def test_a_limit_around_fits_is_kept():
    before = blas_threads()
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        Fit(one_blas_thread=False).end()
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_a_worker_process_gets_its_share():
    n_jobs = 2
    found = joblib.Parallel(n_jobs=n_jobs, backend="loky")(
        joblib.delayed(allowed_threads)() for _ in range(n_jobs)
    )
    assert max(found) <= max(1, joblib.cpu_count() // n_jobs)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        found = joblib.Parallel(n_jobs=n_jobs)(
            joblib.delayed(allowed_threads)() for _ in range(n_jobs)
        )
    assert found == [1] * n_jobs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_threads():
    share_out(lambda _: time.sleep(0.01), ((i,) for i in range(4)), threads=2)
    alone = allowed_threads()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of any fork beside threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        other = Fit()
        with running_fit():
            child = os.fork()
    if child == 0:  # pragma: no cover - the child is not measured
        done: list[int] = []
        share_out(done.append, ((i,) for i in range(8)), threads=2)
        with running_fit():
            os.write(writer, bytes([len(done), allowed_threads() == alone]))
        os._exit(0)
    other.end()
    os.close(writer)
    # The other fit goes on in the parent only.
    assert os.read(reader, 2) == bytes([8, True])
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
