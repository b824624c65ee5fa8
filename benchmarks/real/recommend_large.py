"""Ten million generated interactions, beside implicit's alternating least squares.

100,000 rows and 20,000 columns in 20 groups of taste. Both minimise the same: a pair
has weight 1, every other cell 0.05, and the ridge is 1. What implicit has after 15
sweeps, by conjugate gradients and by Cholesky factors, is the objective that ours has
to reach; ours stops where it does by default, and its time is that of `fit` from pairs
of ids, while implicit's is that from a sparse matrix. Then lists of ten for 10,000
rows. CPU and wall seconds, and how much the resident memory grows, each in a process of
its own::

    pip install -r benchmarks/real/peers.txt
    python benchmarks/real/recommend_large.py               # k = 32, 64; 1, 2 threads
    python benchmarks/real/recommend_large.py --quick       # a tenth of them
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import Array, parser
from scipy import sparse

UNOBSERVED, RIDGE, SWEEPS, LISTED = 0.05, 1.0, 15, 10_000
WHO = ("skprecgd", "implicit cg", "implicit cholesky")


def generated(n_rows: int, n_columns: int, n_pairs: int, n_groups: int = 20) -> Any:
    """Clicks of rows with tastes for groups of columns of any popularity."""
    rng = np.random.default_rng(0)
    popularity = 1.0 / (rng.permutation(n_columns) + 50.0) ** 0.8
    group = rng.integers(n_groups, size=n_columns)
    activity = rng.lognormal(size=n_rows)
    counts = rng.poisson(1.12 * n_pairs * activity / activity.sum())
    tastes = np.cumsum(rng.dirichlet(np.full(n_groups, 0.3), n_rows), axis=1)
    parts = []
    for first in range(0, n_rows, 5000):
        own = counts[first : first + 5000]
        rows = np.repeat(np.arange(first, first + len(own)), own)
        chosen = (rng.random((len(rows), 1)) > tastes[rows]).sum(axis=1)
        columns = np.zeros(len(rows), np.int64)
        for k in range(n_groups):
            there, members = chosen >= k, np.flatnonzero(group == k)
            share = popularity[members] / popularity[members].sum()
            columns[there] = rng.choice(members, np.count_nonzero(there), p=share)
        parts.append(np.unique(rows * n_columns + columns))
    cells = np.concatenate(parts)
    places = cells // n_columns, cells % n_columns
    ones = np.ones(len(cells), np.float32)
    return sparse.csr_matrix((ones, places), shape=(n_rows, n_columns))


def objective(X: Any, left: Array, right: Array) -> float:
    """Twice what ours minimises; implicit's is a multiple of it."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    total = UNOBSERVED * np.sum((left.T @ left) * (right.T @ right))
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    for first in range(0, X.nnz, 1 << 20):
        part = slice(first, first + (1 << 20))
        z = np.einsum("ij,ij->i", left[rows[part]], right[X.indices[part]])
        total += np.sum((1.0 - z) ** 2 - UNOBSERVED * z**2)
    return float(total + RIDGE * (np.sum(left**2) + np.sum(right**2)))


def clocked(call: Callable[[], Any]) -> tuple[Any, list[float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, [time.process_time() - cpu, time.perf_counter() - wall]


def resident() -> float:
    """Memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def most_resident() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(X: Any, k: int) -> tuple[Callable[[], Any], Callable[[Any], Any], Any]:
    from skprecgd import PrecGDRecommender

    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    pairs = np.column_stack([rows, X.indices])
    model = PrecGDRecommender(
        k,
        unobserved_weight=UNOBSERVED,
        alpha=RIDGE,
        alpha_scaling=0.0,
        random_state=0,
    )
    # What is compiled once is not timed.
    PrecGDRecommender(2).fit(pairs[:20000]).recommend([pairs[0, 0]])
    asked = np.unique(rows)[:LISTED]

    def factors() -> tuple[Array, Array]:
        every = np.arange(X.shape[1])
        left, right = np.zeros((X.shape[0], k)), np.zeros((X.shape[1], k))
        told = model._preferences
        left[model.row_labels_] = told.left[:-1]
        right[np.searchsorted(every, model.column_labels_)] = told.right[:-1]
        return left, right

    return lambda: model.fit(pairs), lambda: model.recommend(asked), factors


def theirs(X: Any, k: int, threads: int, cg: bool) -> tuple:
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=k,
        regularization=RIDGE / UNOBSERVED,
        alpha=1.0 / UNOBSERVED,
        iterations=SWEEPS,
        num_threads=threads,
        use_cg=cg,
        random_state=0,
    )
    asked = np.flatnonzero(np.diff(X.indptr))[:LISTED]
    listed = X[asked]
    return (
        lambda: model.fit(X, show_progress=False),
        lambda: model.recommend(asked, listed, N=10),
        lambda: (model.user_factors, model.item_factors),
    )


def measured(args: argparse.Namespace) -> None:
    """One of them, in this process."""
    X = sparse.load_npz(args.data)
    if args.one == "skprecgd":
        fit, recommend, factors = ours(X, args.k)
    else:
        fit, recommend, factors = theirs(X, args.k, args.threads, "cg" in args.one)
    before = resident()
    _, of_fit = clocked(fit)
    grown = most_resident() - before
    recommend()
    _, of_lists = clocked(recommend)
    found = {"fit": of_fit, "lists": of_lists, "memory": grown}
    print(json.dumps({**found, "objective": objective(X, *factors())}))


def run(who: str, k: int, threads: int, data: Path) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    # implicit warns of BLAS threads beside its own.
    blas = threads if who == "skprecgd" else 1
    environment = {
        **os.environ,
        **dict(zip(names, map(str, (threads, blas)), strict=True)),
    }
    command = [sys.executable, __file__, "--one", who, "--k", str(k)]
    command += ["--threads", str(threads), "--data", str(data)]
    done = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--one", choices=WHO, help="used by the script itself")
    options.add_argument("--k", type=int, nargs="*", default=[32, 64])
    options.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options.add_argument("--who", choices=WHO, nargs="*", default=WHO)
    options.add_argument("--data", type=Path, help="used by the script itself")
    args = options.parse_args()
    if args.one:
        args.k, args.threads = args.k[0], args.threads[0]
        measured(args)
        return
    shape = (10_000, 5_000, 1_000_000) if args.quick else (100_000, 20_000, 10_000_000)
    args.cache.mkdir(parents=True, exist_ok=True)
    data = args.cache / f"clicks_{shape[2]}.npz"
    if not data.exists():
        sparse.save_npz(data, generated(*shape), compressed=False)
    head = ("fit CPU", "wall", "lists CPU", "wall", "MB")
    print(f"{'':34}{'objective':>12}" + "".join(f"{name:>11}" for name in head))
    for k in args.k:
        for threads in args.threads:
            for who in args.who:
                found = run(who, k, threads, data)
                numbers = [*found["fit"], *found["lists"], found["memory"]]
                print(
                    f"k = {k}, {threads} thread(s), {who:18}{found['objective']:12.4g}"
                    + "".join(f"{number:11.2f}" for number in numbers),
                    flush=True,
                )


if __name__ == "__main__":
    main()
