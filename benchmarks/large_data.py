"""A matrix larger than the memory of a worker, recovered where its chunks are.

    pip install ".[dask]"
    python benchmarks/large_data.py

starts a LocalCluster of two workers with 512 MB each and fits a 200000 x 2000 matrix in
single precision (1.6 GB) of rank 10 in 40 chunks. A chunk is made when it is needed and
dropped afterwards, as one read from a file would be. Further parts, by name:

memory    the same factors as in memory, on matrices that fit
fit       the fit above (``--rows``, ``--columns``, ``--chunks``, ``--workers``,
          ``--memory`` change it), with what travels in an iteration
holes     the same with all but 5 % of the entries missing, a quarter of the rows; it
          needs ``--memory 768MB``, as an interpreter with compiled kernels holds 310
scaling   messages and bytes by number of chunks, each of the same size
kill      a worker is killed in the middle of a fit
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask import delayed

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.distributed import Traffic, count_traffic

RANK = 10


def right_factor(n_columns: int) -> np.ndarray:
    """Singular values from 1 down to 1/100."""
    rng = np.random.default_rng(0)
    scale = np.geomspace(1, 1e-2, RANK)
    return (rng.standard_normal((n_columns, RANK)) * scale).astype(np.float32)


def left_chunk(seed: int, n_rows: int) -> np.ndarray:
    rng = np.random.default_rng((1, seed))
    return rng.standard_normal((n_rows, RANK), dtype=np.float32)


def make_chunk(
    seed: int, n_rows: int, n_columns: int, observed: float = 1.0
) -> np.ndarray:
    chunk = left_chunk(seed, n_rows) @ right_factor(n_columns).T
    if observed < 1:
        rng = np.random.default_rng((2, seed))
        hidden = rng.random(chunk.shape, dtype=np.float32) >= observed
        chunk[hidden] = np.nan
    return chunk


def make_matrix(
    n_rows: int, n_columns: int, n_chunks: int, observed: float = 1.0
) -> da.Array:
    """The dask array; nothing is computed."""
    make = delayed(make_chunk, pure=True)
    length = n_rows // n_chunks
    shape = (length, n_columns)
    return da.concatenate(
        [
            da.from_delayed(make(k, *shape, observed), shape, dtype=np.float32)
            for k in range(n_chunks)
        ]
    )


def relative_error(model: PrecGDFactorization, n_chunks: int) -> float:
    """Against the truth, by Gram matrices of the stacked factors."""
    n_rows, n_columns = len(model.left_), len(model.right_)
    length = n_rows // n_chunks
    truth = np.concatenate([left_chunk(k, length) for k in range(n_chunks)])
    left = np.hstack([model.left_, -truth]).astype(np.float64)
    right = np.hstack([model.right_, right_factor(n_columns)]).astype(np.float64)
    error = np.trace((left.T @ left) @ (right.T @ right))
    size = np.trace(
        (left[:, -RANK:].T @ left[:, -RANK:]) @ (right[:, -RANK:].T @ right[:, -RANK:])
    )
    return float(np.sqrt(max(error, 0) / size))


@contextmanager
def cluster(n_workers: int, memory: str) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=memory,
            dashboard_address=None,
        ) as local,
        Client(local) as client,
    ):
        yield client


def resident(dask_worker: Any) -> float:
    """Largest resident size of a worker so far, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def per_iteration(traffic: Traffic, n_iter: int) -> str:
    megabytes = (traffic.bytes_out + traffic.bytes_back) / n_iter / 1e6
    return (
        f"{traffic.passes / n_iter:.1f} passes, {traffic.messages / n_iter:.0f} "
        f"messages, {megabytes:.2f} MB an iteration"
    )


def same_as_in_memory(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    X = (
        rng.standard_normal((2000, 300)) * 0.9 ** np.arange(300)
    ) @ rng.standard_normal((300, 300))
    holes, _ = make_matrix_completion(
        1000, 300, rank=5, condition_number=100, observed_fraction=0.2, random_state=0
    )
    A, y, _ = make_matrix_sensing(30, rank=3, n_measurements=900, random_state=0)
    exact = {"tol": 1e-12, "random_state": 0}
    for name, model, data, chunk, rest in (
        ("complete", PrecGDFactorization(10, **exact), X, 300, ()),
        ("with holes", PrecGDFactorization(10, **exact), holes, 150, ()),
        ("sensing", PrecGDMatrixSensing(6, **exact), A, 200, (y,)),
    ):
        theirs = model.fit(data, *rest)
        left, right, s = theirs.left_, theirs.right_, theirs.singular_values_
        ours = model.fit(da.from_array(data, chunks=(chunk, -1)), *rest)
        values = np.max(np.abs(ours.singular_values_ - s)) / s[0]
        matrix = np.linalg.norm(ours.left_ @ ours.right_.T - left @ right.T)
        matrix /= np.linalg.norm(s)
        print(f"{name}: singular values differ by {values:.0e}, matrix by {matrix:.0e}")


def timed_fit(X: da.Array, tol: float) -> tuple[PrecGDFactorization, Traffic, float]:
    model = PrecGDFactorization(RANK, tol=tol, random_state=0)
    start = time.perf_counter()
    with count_traffic() as traffic:
        model.fit(X)
    return model, traffic, time.perf_counter() - start


def report(X: da.Array, n_chunks: int, args: argparse.Namespace, tol: float) -> None:
    with cluster(args.workers, args.memory) as client:
        # Starting workers and importing packages is no part of a fit.
        client.run(partial(__import__, "skprecgd"))
        model, traffic, seconds = timed_fit(X, tol)
        largest = max(client.run(resident).values())
    print(
        f"{X.shape[0]} x {X.shape[1]}, {X.nbytes / 1e9:.2f} GB in {n_chunks} chunks on "
        f"{args.workers} workers of {args.memory}: {seconds:.0f} s, "
        f"{model.n_iter_} iterations of {seconds / model.n_iter_:.2f} s, rank "
        f"{model.n_components_}, relative error {relative_error(model, n_chunks):.1e}"
    )
    print(
        f"  {per_iteration(traffic, model.n_iter_)}; a worker held at most "
        f"{largest:.0f} MB"
    )


def large_fit(args: argparse.Namespace) -> None:
    X = make_matrix(args.rows, args.columns, args.chunks)
    report(X, args.chunks, args, 1e-6)


def large_fit_with_holes(args: argparse.Namespace) -> None:
    X = make_matrix(args.rows // 4, args.columns, args.chunks, observed=0.05)
    report(X, args.chunks, args, 1e-4)


def weak_scaling(args: argparse.Namespace) -> None:
    """Counts on one machine: every chunk has 500 x 200 entries."""
    for observed, tol in ((1.0, 1e-6), (0.3, 1e-3)):
        print("complete" if observed == 1 else f"{observed:.0%} observed")
        for n_chunks in (4, 8, 16, 32, 64):
            X = make_matrix(500 * n_chunks, 200, n_chunks, observed)
            with dask.config.set(scheduler="threads"):
                model, traffic, _ = timed_fit(X, tol)
            out, back = (
                b / model.n_iter_ / n_chunks / 1e3
                for b in (traffic.bytes_out, traffic.bytes_back)
            )
            print(
                f"  {n_chunks} chunks: {traffic.passes / model.n_iter_:.1f} passes, "
                f"{traffic.messages / model.n_iter_ / n_chunks:.1f} messages a chunk, "
                f"{out:.1f} kB to and {back:.1f} kB from each, an iteration"
            )


def killed_worker(args: argparse.Namespace) -> None:
    X = make_matrix(20000, 200, 10)
    with cluster(2, args.memory) as client:
        undisturbed, _, seconds = timed_fit(X, 1e-6)
        pids = list(client.run(os.getpid).values())
        timer = threading.Timer(seconds / 2, os.kill, (pids[0], signal.SIGKILL))
        timer.start()
        model, _, longer = timed_fit(X, 1e-6)
        timer.cancel()
        killed = pids[0] not in client.run(os.getpid).values()
    difference = np.max(np.abs(model.left_ - undisturbed.left_))
    print(
        f"a worker was {'killed' if killed else 'not killed'}: {longer:.1f} s instead "
        f"of {seconds:.1f} s, the factor differs by {difference:.0e}"
    )


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "memory": same_as_in_memory,
    "fit": large_fit,
    "holes": large_fit_with_holes,
    "scaling": weak_scaling,
    "kill": killed_worker,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: fit")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="512MB", help="of each worker")
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {[*PARTS]}")
    for part in args.parts or ["fit"]:
        PARTS[part](args)


if __name__ == "__main__":
    main()
