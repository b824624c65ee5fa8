"""What the benchmarks time, our side only, in this build and another one in turns.

The lines are those of `peers/completion.py`, `peers/sensing.py`,
`peers/truncated_svd.py` and `kernels.py`, smaller where seconds become minutes. Each
build has one process that lives to the end and does what its input names next; the two
take turns, and which one is first changes from round to round. A line's number is the
median over the rounds of the ratio of their CPU times, now over before. A line that
takes less than a fifth of a second is repeated until it does.

Give this checkout itself as ``--before`` to see what ratios the machine makes up.

    python benchmarks/reliability/speed.py --before HEAD~1
    python benchmarks/reliability/speed.py --before HEAD~1 --only kernel --rounds 5
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from builds import CHECKOUT, check_imported, checkout_of, environment

BENCHMARKS = Path(__file__).resolve().parents[1]
LEAST_SECONDS = 0.2
# What the median of a line and the geometric mean of all may be.
LINE, MEAN = 1.05, 1.02

Call = Callable[[], Any]


# ---- the lines: each makes its problem, and returns what is timed


def completion(condition: float, search_rank: int) -> Call:
    import completion as peer

    problem = argparse.Namespace(
        size=3000, rank=10, oversampling=5.0, condition=condition, seed=0
    )
    X, _ = peer.problem(problem)
    options = argparse.Namespace(search_rank=search_rank, effort=1e-8, seed=0)
    return lambda: peer.ours(X, options)(X)


def sensing(condition: float, search_rank: int) -> Call:
    import numpy as np
    import sensing as peer

    from skprecgd.datasets import make_matrix_sensing

    A, y, _ = make_matrix_sensing(
        50, rank=5, n_measurements=1500, condition_number=condition, random_state=0
    )
    A = np.ascontiguousarray(A.reshape(1500, -1))
    return lambda: peer.precgd(A, y, 50, search_rank, 1e-9)


def truncated_svd(kind: str, tol: float) -> Call:
    import truncated_svd as peer

    if kind == "sparse":
        X = peer.skewed(20000, 8000, 2.5e-3, 0)
    else:
        X = peer.dense(2000, 800, {"1/i": 1.0, "1/sqrt(i)": 0.5}[kind], 0)
    return lambda: peer.ours(X, 50, tol)


def kernel(backend: str, name: str, r: int) -> Call:
    from importlib import import_module

    from kernels import Problem

    module = import_module(f"skprecgd.kernels._{backend}")
    return Problem(5000, 500_000, r).calls(module)[name]


LINES: dict[str, tuple[Callable[..., Call], tuple[Any, ...]]] = {
    f"{make.__name__.replace('_', ' ')} {', '.join(map(str, given))}": (make, given)
    for make, table in {
        completion: [(c, r) for c in (1.0, 1e4) for r in (10, 20)],
        sensing: [(c, r) for r in (5, 10) for c in (1.0, 1e4)],
        truncated_svd: [
            (kind, tol)
            for kind in ("1/i", "1/sqrt(i)", "sparse")
            for tol in (0.05, 1e-4)
        ],
        kernel: [
            (backend, name, r)
            for r in (10, 64)
            for name in ("product", "ray", "adjoint")
            for backend in ("numba", "numpy")
            if (backend, r) != ("numpy", 64)
        ],
    }.items()
    for given in table
}


# ---- one build


def serve() -> None:
    """Time the lines that the input names, one number of seconds each."""
    import skprecgd

    warnings.simplefilter("ignore")
    sys.path[1:1] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]
    print(skprecgd.__file__, flush=True)
    prepared: dict[str, tuple[Call, int]] = {}
    for request in sys.stdin:
        name = request.rstrip("\n")
        if name not in prepared:
            # One problem at a time is in memory.
            prepared = {name: prepare(name)}
        print(seconds(*prepared[name]), flush=True)


def prepare(name: str) -> tuple[Call, int]:
    """A line's call, once made, and how often it is repeated."""
    make, given = LINES[name]
    call = make(*given)
    call()
    return call, max(1, round(LEAST_SECONDS / seconds(call, 1)))


def seconds(call: Call, times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begun) / times


# ---- both


class Build:
    """A process that imports the package from a checkout."""

    def __init__(self, checkout: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        check_imported(self._answer(), checkout)

    def time(self, name: str) -> float:
        assert self.process.stdin is not None
        print(name, file=self.process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A build ended before its time.")
        return line.strip()


def race(name: str, builds: list[Build], rounds: int) -> list[tuple[float, float]]:
    """Seconds before and now, a pair a round."""
    pairs = []
    for k in range(rounds):
        order = builds if k % 2 == 0 else builds[::-1]
        times = {id(build): build.time(name) for build in order}
        pairs.append((times[id(builds[0])], times[id(builds[1])]))
    return pairs


def report(builds: list[Build], names: list[str], rounds: int) -> bool:
    """Print a line each; whether all are as fast as before."""
    ratios = {}
    print(f"{'':34}{'before, s':>11}{'now, s':>11}{'ratio':>8}{'quartiles':>16}")
    for name in names:
        pairs = race(name, builds, rounds)
        each = sorted(now / before for before, now in pairs)
        ratios[name] = median(each)
        low, high = each[len(each) // 4], each[-1 - len(each) // 4]
        print(
            f"{name:34}{median(p[0] for p in pairs):11.4f}"
            f"{median(p[1] for p in pairs):11.4f}{ratios[name]:8.3f}"
            f"{low:8.3f}{high:8.3f}" + ("  SLOWER" if ratios[name] > LINE else ""),
            flush=True,
        )
    mean = geometric_mean(ratios.values())
    print(f"geometric mean {mean:.3f}, worst {max(ratios.values()):.3f}")
    return mean <= MEAN and max(ratios.values()) <= LINE


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--before", help="another checkout, or a revision of this one")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--only", default="", help="lines that hold this text")
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.worker:
        serve()
        return
    if not args.before:
        options.error("--before is needed")
    names = [name for name in LINES if args.only in name]
    with tempfile.TemporaryDirectory() as folder:
        checkouts = [checkout_of(args.before, Path(folder)), CHECKOUT]
        builds = [Build(checkout) for checkout in checkouts]
        sys.exit(0 if report(builds, names, args.rounds) else 1)


if __name__ == "__main__":
    main()
