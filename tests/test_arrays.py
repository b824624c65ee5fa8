"""Large arrays are used again, but never while anybody holds them."""

from __future__ import annotations

import weakref
from threading import Thread

import numpy as np
import pytest

from skprecgd._runtime import arrays as _arrays
from skprecgd._runtime.arrays import empty, kept_arrays
from skprecgd.datasets import make_matrix_completion
from skprecgd.measurements import observed_entries
from skprecgd.objective import make_objective
from skprecgd.optim.path.rank_path import visit_ranks, walk_to
from skprecgd.optim.path.settings import PathSettings

N = 1 << 18


def address(array):
    return array.__array_interface__["data"][0]


def test_handed_out_again_once_nobody_holds_it():
    with kept_arrays():
        first = empty(N, np.dtype(np.float64))
        kept = address(first)
        assert address(empty(N, np.dtype(np.float64))) != kept
        del first
        assert address(empty(N, np.dtype(np.float64))) == kept
        assert empty(N, np.dtype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "hold",
    [
        lambda a: a[5:],
        lambda a: a.reshape(2, -1).T,
        lambda a: a.view(np.int64)[::2].view(np.float64),
        memoryview,
        lambda a: [a],
        lambda a: lambda: a,
        np.frombuffer,
    ],
)
def test_not_while_it_is_held(hold):
    with kept_arrays():
        array = empty(N, np.dtype(np.float64))
        kept = address(array)
        holder = hold(array)
        del array
        assert address(empty(N, np.dtype(np.float64))) != kept
        assert holder is not None


def test_only_inside_the_block_and_in_its_thread():
    with kept_arrays():
        kept = empty(N, np.dtype(np.float64))
        here = address(kept)
        found = []
        with kept_arrays():
            inner = empty(N, np.dtype(np.float64))
            assert address(inner) != here
        thread = Thread(target=lambda: found.append(empty(N, np.dtype(np.float64))))
        del kept
        thread.start()
        thread.join()
        assert address(found[0]) != here
    outside = empty(N, np.dtype(np.float64))
    held = address(outside)
    with kept_arrays():
        assert address(empty(N, np.dtype(np.float64))) != held


def test_those_of_another_size_are_let_go():
    with kept_arrays():
        long = empty(2 * N, np.dtype(np.float64))
        short = empty(N, np.dtype(np.float64))
        del long
        # A new one is needed, and the long one has no use.
        other = empty(N, np.dtype(np.float64))
        assert len({address(short), address(other)}) == 2
        assert {len(array) for array in _arrays._shelf.arrays} == {N}


def test_a_path_holds_four(global_random_seed):
    """A point, both measurements of a ray and the next point; no stage before.

    Nor the targets as they were.
    """
    X, _ = make_matrix_completion(
        600,
        500,
        rank=3,
        observed_fraction=0.6,
        noise=0.1,
        random_state=global_random_seed,
    )
    objective = make_objective(*observed_entries(X))
    assert 8 * objective.n_measurements > _arrays._LARGE
    held = []
    walk = walk_to(
        objective,
        [1, 2, 3, 4, 5],
        PathSettings(tol=1e-4),
        0,
        callback=lambda record: held.append(len(_arrays._shelf.arrays)),
    )
    targets = weakref.ref(objective.targets)
    del objective
    assert targets() is None
    path = visit_ranks(walk)
    assert [stage.rank for stage in path.stages] == [1, 2, 3, 4, 5]
    assert max(held) == 4
