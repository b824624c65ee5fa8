"""Time of the kernels: NumPy against numba, and against a plain loop in C.

One table. The limit is the obvious serial loop in C, built here with ``cc -O3
-march=native -ffast-math`` and timed in turns with the others; without a C compiler it
is the time to move the numbers the kernel must read and write once at the speed of a
large copy. "of limit" is limit / (numba, 1 thread). Times are the least of
``--repeats`` calls, in milliseconds: CPU time of the thread where there is one, wall
time for two. The last lines give the growth: the slope of log time against log entries
and against log columns (numba, 1 thread), and what two kernel threads do to the small
matrix work between them.

    python benchmarks/kernels.py                  # about two minutes
    python benchmarks/kernels.py --quick
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from skprecgd.kernels import _numba, _numpy

C_SOURCE = r"""
#include <stdint.h>
#define ARGS const int32_t *rows, const int32_t *cols, int64_t m, int64_t r

void product(const double *L, const double *R, double *out, ARGS) {
    for (int64_t k = 0; k < m; k++) {
        const double *x = L + rows[k] * r, *y = R + cols[k] * r;
        double a = 0;
        for (int64_t c = 0; c < r; c++) a += x[c] * y[c];
        out[k] = a;
    }
}

void ray(const double *L, const double *R, const double *D, const double *E,
         double *linear, double *quadratic, ARGS) {
    for (int64_t k = 0; k < m; k++) {
        const double *x = L + rows[k] * r, *y = R + cols[k] * r;
        const double *d = D + rows[k] * r, *e = E + cols[k] * r;
        double a = 0, b = 0;
        for (int64_t c = 0; c < r; c++) {
            a += d[c] * y[c] + x[c] * e[c];
            b += d[c] * e[c];
        }
        linear[k] = a;
        quadratic[k] = b;
    }
}

void adjoint(const double *w, const double *L, const double *R, double *G, double *H,
             ARGS) {
    for (int64_t k = 0; k < m; k++) {
        const double *x = L + rows[k] * r, *y = R + cols[k] * r;
        double *g = G + rows[k] * r, *h = H + cols[k] * r;
        for (int64_t c = 0; c < r; c++) g[c] += w[k] * y[c];
        for (int64_t c = 0; c < r; c++) h[c] += w[k] * x[c];
    }
}
"""

Calls = dict[str, Callable[[], object]]


class Problem:
    """Random factors and a uniform pattern of distinct cells, by rows."""

    def __init__(self, n: int, n_entries: int, r: int) -> None:
        rng = np.random.default_rng(0)
        cells = np.sort(rng.choice(n * n, n_entries, replace=False))
        rows, columns = np.divmod(cells, n)
        self.rows, self.columns = rows.astype(np.int32), columns.astype(np.int32)
        counts = np.bincount(rows, minlength=n)
        self.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self.blocks = list(rng.standard_normal((4, n, r)))
        self.weights = rng.standard_normal(n_entries)
        self.out = np.empty((2, n_entries))
        self.n, self.m, self.r = n, n_entries, r

    def calls(self, module) -> Calls:
        left, right = self.blocks[:2]
        cells = (self.rows, self.columns)
        pattern = (self.indptr, self.columns, self.weights)
        return {
            "product": lambda: module.sampled_product(left, right, *cells),
            "ray": lambda: module.sampled_ray(*self.blocks, *cells),
            "adjoint": lambda: module.adjoint_products(*pattern, left, right),
        }

    def c_calls(self, library) -> Calls:
        left, right, d_left, d_right = map(pointer, self.blocks)
        tail = (
            pointer(self.rows),
            pointer(self.columns),
            ctypes.c_int64(self.m),
            ctypes.c_int64(self.r),
        )
        linear, quadratic = map(pointer, self.out)

        def adjoint() -> None:
            sums = np.zeros((2, self.n, self.r))
            library.adjoint(
                pointer(self.weights), left, right, *map(pointer, sums), *tail
            )

        return {
            "product": lambda: library.product(left, right, linear, *tail),
            "ray": lambda: library.ray(
                left, right, d_left, d_right, linear, quadratic, *tail
            ),
            "adjoint": adjoint,
        }

    def least_bytes(self) -> dict[str, int]:
        factor, entry = 8 * self.n * self.r, self.m
        return {
            "product": 2 * factor + 16 * entry,
            "ray": 4 * factor + 24 * entry,
            "adjoint": 4 * factor + 12 * entry,
        }


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def c_library(folder: str):
    """The loops in C, or None without a compiler."""
    if shutil.which("cc") is None:
        return None
    source, library = Path(folder, "loops.c"), Path(folder, "loops.so")
    source.write_text(C_SOURCE)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


def least(calls: Calls, repeats: int, clock=time.thread_time) -> dict[str, float]:
    """The least time of each call, in ms; they take turns, so they share the noise."""
    times = dict.fromkeys(calls, np.inf)
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            call()
            times[name] = min(times[name], 1e3 * (clock() - start))
    return times


def with_threads(n_threads: int, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        _numba.allowed_threads = lambda: n_threads
        return call()

    return run


def bytes_per_ms() -> float:
    """Speed of a large copy, which reads and writes."""
    source = np.ones(1 << 24)
    target = np.empty_like(source)
    copied = least({"copy": lambda: np.copyto(target, source)}, 5)["copy"]
    return 2 * source.nbytes / copied


def table(shapes: list[tuple[int, int, int]], library, repeats: int) -> None:
    speed = bytes_per_ms()
    limit = "a serial loop in C" if library else f"memory at {speed / 1e6:.1f} GB/s"
    print(f"times in ms; limit: {limit}\n")
    head = f"{'kernel':8}{'entries':>9}{'r':>4}{'NumPy':>9}{'numba 1':>9}{'numba 2':>9}"
    print(head + f"{'limit':>9}{'NumPy/numba 1':>15}{'numba 1/2':>11}{'of limit':>10}")
    for n, n_entries, r in shapes:
        problem = Problem(n, n_entries, r)
        numpy_calls, numba_calls = problem.calls(_numpy), problem.calls(_numba)
        c_calls = problem.c_calls(library) if library else {}
        for name, call in numba_calls.items():
            one, two = with_threads(1, call), with_threads(2, call)
            race = {"NumPy": numpy_calls[name], "numba": one}
            if library:
                race["C"] = c_calls[name]
            cpu = least(race, repeats)
            bound = cpu.get("C", problem.least_bytes()[name] / speed)
            wall = least({"1": one, "2": two}, repeats, time.perf_counter)
            print(
                f"{name:8}{n_entries:9}{r:4}{cpu['NumPy']:9.2f}{cpu['numba']:9.2f}"
                f"{wall['2']:9.2f}{bound:9.2f}{cpu['NumPy'] / cpu['numba']:15.1f}"
                f"{wall['1'] / wall['2']:11.2f}{bound / cpu['numba']:10.0%}"
            )


def slopes(n: int, n_entries: int, repeats: int) -> None:
    """How time grows, as exponents."""
    entries = [n_entries // 8, n_entries // 4, n_entries // 2, n_entries]
    columns = [4, 8, 16, 32, 64]
    grids = {
        "entries (r = 20)": (entries, [Problem(n, m, 20) for m in entries]),
        "columns": (columns, [Problem(n, n_entries // 4, r) for r in columns]),
    }
    print()
    for what, (sizes, problems) in grids.items():
        for name in ("product", "ray", "adjoint"):
            race = {
                str(size): with_threads(1, problem.calls(_numba)[name])
                for size, problem in zip(sizes, problems, strict=True)
            }
            times = list(least(race, repeats).values())
            slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
            shown = " ".join(f"{t:.2f}" for t in times)
            print(f"growth of {name:8} with {what:17} {slope:5.2f}   ({shown} ms)")


def small_work(problem: Problem, repeats: int) -> None:
    """Gram matrices and an r x r solve, alone and between kernels on two threads."""
    # Here, so that `reliability/speed.py` can import this file with another build.
    from skprecgd._runtime.threads import running_fit

    left = problem.blocks[0]
    product = problem.calls(_numba)["product"]
    before: dict[str, Callable[[], object]] = {
        "alone": lambda: None,
        "after a kernel on 1 thread": with_threads(1, product),
        "on 2 threads": with_threads(2, product),
    }
    times: dict[str, list[float]] = {name: [] for name in before}
    with running_fit(one_blas_thread=True):
        for _ in range(10 * repeats):
            for name, call in before.items():
                call()
                start = time.perf_counter()
                np.linalg.eigh(left.T @ left)
                times[name].append(1e3 * (time.perf_counter() - start))
    shown = ", ".join(f"{median(t):.3f} ms {name}" for name, t in times.items())
    print(f"\nr x r work, median: {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    shapes = [(5000, 4_000_000, 20), (5000, 500_000, 10), (5000, 500_000, 64)]
    if args.quick:
        shapes = [(1000, 100_000, 10)]
    with tempfile.TemporaryDirectory() as folder:
        table(shapes, c_library(folder), args.repeats)
    n, n_entries, r = shapes[0]
    slopes(n, n_entries, args.repeats)
    small_work(Problem(n, n_entries, r), args.repeats)


if __name__ == "__main__":
    main()
