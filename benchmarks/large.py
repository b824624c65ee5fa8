"""Completion of large matrices: time of an iteration, an entry, a fit; peak memory.

Two cases, each fitted in a process of its own on one kernel thread unless
``OMP_NUM_THREADS`` says otherwise; one line of text each:

``entries``
    n x n with n = 20000 and 20 million uniform entries, r = 20, against the same with a
    tenth of the entries and n = 20000 / sqrt(10), so that both have the same density:
    time per iteration and entry, which should not grow: of a fit, and from one
    iteration to the next at the last rank alone. cmfrec once, if it is installed and
    ``--cmfrec`` asks for it.
``ratings``
    480000 x 18000 with 100 million entries in float32, r = 10, about the shape of the
    Netflix prize: a whole fit, its time, its error and the peak memory of the process,
    data included.

    nice python benchmarks/large.py entries ratings              # an hour, 10 GB
    python benchmarks/large.py entries ratings --scale 0.1       # minutes
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
from scipy import sparse

CHUNK = 1 << 22


def draw(n_rows: int, n_columns: int, n_entries: int, rank: int, dtype: type):
    """A sparse matrix of entries of a product of Gaussian factors, and the factors.

    The entries of a row lie in random columns, a column once; drawn in place, because
    nothing else fits beside the largest case.
    """
    rng = np.random.default_rng(0)
    left = rng.standard_normal((n_rows, rank)).astype(dtype)
    right = rng.standard_normal((n_columns, rank)).astype(dtype)
    each = n_entries // n_rows
    indices = np.empty((n_rows, each), np.int32)
    data = np.empty((n_rows, each), dtype)
    # One column from each of `each` stretches of the columns: uniform, none twice.
    bounds = np.arange(each + 1) * n_columns // each
    step = max(1, CHUNK // each)
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        shape = indices[rows].shape
        offsets = rng.random(shape, dtype=np.float32) * np.diff(bounds)
        offsets = np.minimum(offsets.astype(np.int32), np.diff(bounds) - 1)
        indices[rows] = offsets + bounds[:-1]
        for row in range(rows.start, rows.stop):
            data[row] = right[indices[row]] @ left[row]
    indptr = np.arange(n_rows + 1, dtype=np.int64) * each
    if indptr[-1] < 2**31:
        indptr = indptr.astype(np.int32)
    shape = (n_rows, n_columns)
    X = sparse.csr_array((data.ravel(), indices.ravel(), indptr), shape=shape)
    return X, left, right


def relative_error(left, right, true_left, true_right) -> float:
    """Of one product of factors to another, by Gram matrices in float64."""
    a = np.hstack([left, -true_left]).astype(np.float64)
    b = np.hstack([right, true_right]).astype(np.float64)
    difference = np.vdot(a.T @ a, b.T @ b)
    r = true_left.shape[1]
    size = np.vdot((a.T @ a)[-r:, -r:], (b.T @ b)[-r:, -r:])
    return float(np.sqrt(max(0.0, difference) / size))


def last_steps(history) -> float:
    """Seconds from one iteration to the next at the last rank, the median."""
    rank, seconds = history["rank"], history["seconds"]
    return float(np.median(np.diff(seconds[rank == rank[-1]])))


def fit(args: argparse.Namespace) -> dict[str, float]:
    """One fit in this process."""
    import warnings

    warnings.simplefilter("ignore")
    dtype = np.float32 if args.case == "ratings" else np.float64
    X, left, right = draw(args.rows, args.columns, args.entries, args.rank, dtype)
    few = X[: max(50, args.rows // 1000)]
    if args.method == "cmfrec":
        from cmfrec import CMF

        X = X.tocoo()
        wall, cpu = time.perf_counter(), time.process_time()
        model = CMF(
            k=args.rank,
            method="als",
            use_cg=False,
            lambda_=1e-12,
            niter=args.sweeps,
            user_bias=False,
            item_bias=False,
            center=False,
            use_float=dtype is np.float32,
            precompute_for_predictions=False,
            nthreads=int(os.environ["OMP_NUM_THREADS"]),
            random_state=1,
            verbose=False,
        ).fit(X)
        found, n_iter, step = (model.A_, model.B_), args.sweeps, None
    else:
        from skprecgd import PrecGDFactorization

        how = {"missing_values": 0, "tol": args.tol, "random_state": 0}
        PrecGDFactorization(n_components=2, **how).fit(few)
        wall, cpu = time.perf_counter(), time.process_time()
        model = PrecGDFactorization(n_components=args.rank, **how).fit(X)
        found, n_iter = (model.left_, model.right_), model.n_iter_
        step = last_steps(model.history_)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "entries": X.nnz,
        "wall": wall,
        "cpu": cpu,
        "iterations": int(n_iter),
        "step": step,
        "error": relative_error(*found, left, right),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def measure(case: str, method: str, shape, rank: int, args) -> dict[str, float]:
    """One fit in a process of its own; prints a line."""
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    rows, columns, entries = (max(1, round(number)) for number in shape)
    command = [sys.executable, __file__, case, "--method", method]
    for name, value in (
        ("rows", rows),
        ("columns", columns),
        ("entries", entries),
        ("rank", rank),
        ("tol", args.tol),
        ("sweeps", args.sweeps),
    ):
        command += [f"--{name}", str(value)]
    out = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(out.splitlines()[-1])
    each = found["cpu"] / found["iterations"]
    print(
        f"{method:9}{rows} x {columns}, {found['entries']} entries, r = {rank}: "
        f"error {found['error']:.1e}, {found['cpu']:.0f} s CPU, {found['wall']:.0f} s "
        f"wall, {found['iterations']} iterations, {1e3 * each:.0f} ms each, "
        f"{1e9 * each / found['entries']:.0f} ns an entry, "
        f"peak {found['peak_gb']:.2f} GB",
        flush=True,
    )
    return found


def compare(args: argparse.Namespace) -> None:
    side = np.sqrt(args.scale)
    for case in args.cases:
        if case == "entries":
            small = (20000 * side / np.sqrt(10), 20000 * side / np.sqrt(10))
            large = (20000 * side, 20000 * side)
            costs, steps = [], []
            for shape, entries in ((small, 2e6), (large, 2e7)):
                found = measure(
                    case, "skprecgd", (*shape, entries * args.scale), 20, args
                )
                costs.append(found["cpu"] / found["iterations"] / found["entries"])
                steps.append(found["step"] / found["entries"])
                if args.cmfrec:
                    measure(case, "cmfrec", (*shape, entries * args.scale), 20, args)
            print(
                "time of a fit over iterations and entries grows "
                f"{costs[1] / costs[0]:.2f} x, from one iteration to the next over "
                f"entries {steps[1] / steps[0]:.2f} x"
            )
        else:
            shape = (480000 * side, 18000 * side, 1e8 * args.scale)
            measure(case, "skprecgd", shape, 10, args)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=("entries", "ratings"))
    parser.add_argument("--scale", type=float, default=1.0, help="of the entries")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--cmfrec", action="store_true")
    parser.add_argument("--sweeps", type=int, default=15, help="of cmfrec")
    parser.add_argument("--method", help="one fit; the rest says of what")
    for name in ("rows", "columns", "entries", "rank"):
        parser.add_argument(f"--{name}", type=int)
    args = parser.parse_args()
    if args.method:
        args.case = args.cases[0]
        print(json.dumps(fit(args)))
    else:
        compare(args)


if __name__ == "__main__":
    main()
