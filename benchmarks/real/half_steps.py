"""What a half-step of the learned prior costs, in passes over the ratings.

A step solves the uncertain rows and then the uncertain columns of generated ratings; a
half-step is half of it. Beside it stands one evaluation of the least-squares objective
with its gradient, at the same number of columns, on the same entries and threads. The
memory is the most that was allocated in either beyond the entries themselves::

    python benchmarks/real/half_steps.py
    python benchmarks/real/half_steps.py --entries 10000000
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Callable
from time import perf_counter, process_time

import _one_thread  # noqa: F401
import numpy as np

from skprecgd.factors import FactorPair
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import make_objective
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.model import Model
from skprecgd.variational.recipe import make_noise

REPEATS = 3


def ratings(n_entries: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Rows, columns and values of ratings: 100 a row, columns by popularity."""
    shape = n_entries // 100, max(50, n_entries // 500)
    rows = np.repeat(np.arange(shape[0], dtype=np.int32), 100)
    columns = (shape[1] * rng.random(len(rows)) ** 2).astype(np.int32)
    cells = np.unique(rows.astype(np.int64) * shape[1] + columns)
    rows, columns = np.divmod(cells, shape[1])
    values = np.clip(np.round(3.5 + rng.normal(size=len(cells))), 1, 5)
    return rows.astype(np.int32), columns.astype(np.int32), values, np.array(shape)


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds, the best of a few calls."""
    best = np.full(2, np.inf)
    for _ in range(REPEATS):
        start = np.array([process_time(), perf_counter()])
        call()
        best = np.minimum(best, np.array([process_time(), perf_counter()]) - start)
    return float(best[0]), float(best[1])


def memory(call: Callable[[], object]) -> float:
    """Most megabytes allocated in a call."""
    tracemalloc.start()
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--columns", type=int, nargs="*", default=[10, 20])
    args = options.parse_args()
    rng = np.random.default_rng(0)
    rows, columns, values, sides = ratings(args.entries, rng)
    shape = (int(sides[0]), int(sides[1]))
    print(f"{len(values)} ratings of {shape[0]} x {shape[1]}")
    print("columns   half-step / gradient   CPU s   MB of both   MB of the entries")
    for k in args.columns:
        entries = NoisyEntries.of(rows, columns, values, shape, "both")
        model = Model(entries, make_noise(entries, "columns", None))
        model.step()
        model.grow(k)
        model.step()
        step, _ = seconds(model.step)
        objective = make_objective(EntryMeasurements(rows, columns, shape), values)
        blocks = (rng.normal(size=(n, k)) for n in shape)
        point = FactorPair(*blocks)

        def gradient(objective=objective, point=point) -> None:
            objective.gradient(objective.evaluate(point))

        gradient()
        once, _ = seconds(gradient)
        most = memory(model.step), memory(gradient)
        own = (rows.nbytes + columns.nbytes + values.nbytes) / 1e6
        print(
            f"{k:7d}   {step / 2 / once:20.2f}   {step / 2:5.2f}   "
            f"{most[0]:5.0f} {most[1]:5.0f}   {own:10.0f}"
        )


if __name__ == "__main__":
    main()
