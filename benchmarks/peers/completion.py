"""Matrix completion to a given error, side by side with cmfrec.

Every method gets the same observed entries and the same search rank, and only as much
work as it needs: the loosest tolerance, or the fewest sweeps, with which the relative
Frobenius error of the whole matrix falls below ``--error``. That setting is searched
for first, outside the clock. Then all methods run in turn, each in a process of its
own, ``--repeats`` times, and medians over the rounds are reported; the ratio to cmfrec
is the median of the ratios within a round. Clocks start when the data are in memory
and what is loaded or compiled once has been loaded, and stop when `fit` returns. CPU
time is that of all threads.

cmfrec: alternating least squares in double precision by Cholesky (its conjugate
gradients need as many sweeps, each dearer), no centring and no biases, regularisation
1e-12, which is what lets its error fall that far, and nothing computed for predictions.
Where it has not arrived after ``--max-sweeps``, its best error is reported instead.

    pip install -e ".[fast]" cmfrec
    python benchmarks/peers/completion.py                        # 5000 x 5000, minutes
    python benchmarks/peers/completion.py --condition 1e4 --search-rank 20
    python benchmarks/peers/completion.py --size 600 --repeats 1         # seconds
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median

from _common import missed, parser, timed

METHODS = {
    "skprecgd, numba, 1 thread": ("skprecgd", "numba", 1),
    "skprecgd, numba, 2 threads": ("skprecgd", "numba", 2),
    "skprecgd, NumPy": ("skprecgd", "numpy", 1),
    "cmfrec, 1 thread": ("cmfrec", "auto", 1),
    "cmfrec, 2 threads": ("cmfrec", "auto", 2),
}
PEER = "cmfrec, 1 thread"
TOLERANCES = (1e-6, 3e-7, 1e-7, 3e-8, 1e-8, 3e-9, 1e-9, 3e-10, 1e-10)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=5000, help="rows and columns")
    options.add_argument("--rank", type=int, default=10, help="of the truth")
    options.add_argument("--search-rank", type=int, default=None, help="default: rank")
    options.add_argument("--condition", type=float, default=1.0)
    options.add_argument(
        "--oversampling", type=float, default=5.0, help="entries per degree of freedom"
    )
    options.add_argument("--error", type=float, default=1e-8)
    options.add_argument("--max-sweeps", type=int, default=100)
    options.add_argument("--method", choices=("skprecgd", "cmfrec"), help="one run")
    options.add_argument("--effort", type=float, help="its tolerance or sweeps")
    return options.parse_args()


def problem(args: argparse.Namespace):
    from scipy import sparse

    from skprecgd.datasets import make_matrix_completion

    (rows, columns, values), truth = make_matrix_completion(
        args.size,
        rank=args.rank,
        oversampling=args.oversampling,
        condition_number=args.condition,
        format="triples",
        random_state=args.seed,
    )
    shape = (args.size, args.size)
    return sparse.csr_array((values, (rows, columns)), shape=shape), truth


def ours(X, args: argparse.Namespace):
    from skprecgd import PrecGDFactorization

    return PrecGDFactorization(
        n_components=args.search_rank,
        missing_values=0,
        tol=args.effort,
        random_state=args.seed,
    ).fit


def peer(X, args: argparse.Namespace):
    from cmfrec import CMF

    return CMF(
        k=args.search_rank,
        method="als",
        use_cg=False,
        lambda_=1e-12,
        niter=int(args.effort),
        user_bias=False,
        item_bias=False,
        center=False,
        use_float=False,
        precompute_for_predictions=False,
        nthreads=int(os.environ["OMP_NUM_THREADS"]),
        random_state=args.seed + 1,
        verbose=False,
    ).fit


def run(args: argparse.Namespace) -> None:
    """One fit, in this process; prints a line of JSON."""
    import warnings

    warnings.simplefilter("ignore")
    X, truth = problem(args)
    X_small = X[: max(60, args.size // 10)]
    fit = {"skprecgd": ours, "cmfrec": peer}[args.method]
    if args.method == "skprecgd":
        few = argparse.Namespace(**{**vars(args), "search_rank": 2})
        fit(X_small, few)(X_small)
    else:
        X = X.tocoo()
    call = fit(X, args)
    model, cpu, wall = timed(call, X)
    left, right = (
        (model.left_, model.right_)
        if args.method == "skprecgd"
        else (model.A_, model.B_)
    )
    error = float(truth.relative_error(left, right))
    print(json.dumps({"wall": wall, "cpu": cpu, "error": error}))


def measure(args: argparse.Namespace, name: str, effort: float) -> dict[str, float]:
    """One fit, in a process of its own."""
    method, kernels, threads = METHODS[name]
    environment = {
        **os.environ,
        "SKPRECGD_KERNELS": kernels,
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, "--method", method, "--effort", str(effort)]
    for option in ("size", "rank", "search_rank", "condition", "oversampling", "seed"):
        command += ["--" + option.replace("_", "-"), str(getattr(args, option))]
    found = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])


def least_effort(args: argparse.Namespace, name: str) -> tuple[float, float]:
    """The least work that reaches the error, or the most allowed; and the error."""
    if METHODS[name][0] == "skprecgd":
        for tolerance in TOLERANCES:
            error = measure(args, name, tolerance)["error"]
            if error <= args.error:
                break
        return tolerance, error
    tried: dict[int, float] = {}

    def error_after(sweeps: int) -> float:
        if sweeps not in tried:
            tried[sweeps] = measure(args, name, sweeps)["error"]
        return tried[sweeps]

    low, high = 0, 16
    while error_after(high) > args.error and high < args.max_sweeps:
        low, high = high, min(2 * high, args.max_sweeps)
    if tried[high] > args.error:
        best = min(tried, key=lambda sweeps: tried[sweeps])
        return best, tried[best]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if error_after(middle) <= args.error else (middle, high)
        )
    return high, tried[high]


def compare(args: argparse.Namespace) -> None:
    efforts = {}
    for name in METHODS:
        same = [n for n in efforts if METHODS[n][0] == METHODS[name][0]]
        # Neither threads nor kernels change what is computed.
        efforts[name] = efforts[same[0]] if same else least_effort(args, name)
    rounds = [
        {name: measure(args, name, effort) for name, (effort, _) in efforts.items()}
        for _ in range(args.repeats)
    ]
    dof = args.rank * (2 * args.size - args.rank)
    print(
        f"{args.size} x {args.size}, rank {args.rank}, search rank {args.search_rank}, "
        f"condition {args.condition:g}, {round(args.oversampling * dof)} entries; "
        f"medians of {args.repeats}\n"
    )
    print(
        f"{'':28}{'effort':>10}{'error':>10}{'CPU s':>8}{'wall s':>8}{'CPU ratio':>11}"
    )
    for name, (effort, _) in efforts.items():
        runs = [r[name] for r in rounds]
        cpu, wall = (median(r[key] for r in runs) for key in ("cpu", "wall"))
        ratio = median(r[name]["cpu"] / r[PEER]["cpu"] for r in rounds)
        error = max(r["error"] for r in runs)
        print(
            f"{name:28}{effort:10.3g}{error:10.1e}{cpu:8.2f}{wall:8.2f}{ratio:11.2f}"
            + missed(error, args.error)
        )


if __name__ == "__main__":
    arguments = parse()
    arguments.search_rank = arguments.search_rank or arguments.rank
    if arguments.method:
        run(arguments)
    else:
        compare(arguments)
