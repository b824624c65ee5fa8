"""One number of a table is wrong by orders of magnitude: what does that cost?

A cell of a table with holes is moved by 30 to 10,000 standard deviations of its column,
as a decimal point does that is left out. Error in the holes of its column, and in all
holes, over that of the same fit to the table without the cell (median and worst of the
seeds), and the same of the column means, which is what people compare with.

* ``generated``: rank 2 and noise, against the matrix without noise.
* ``real``: wine, breast cancer and diabetes, a fifth hidden; a random column.

::

    python benchmarks/real/slips.py                     # five minutes
    python benchmarks/real/slips.py --quick             # one minute
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, load_kernels, parser, root_mean_square
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from skprecgd import PrecGDImputer

PARTS = ("generated", "real")
# Rows, columns, noise beside a signal of variance two, and standard deviations.
GENERATED = (
    (100, 12, 0.3, 30.0),
    (100, 12, 0.3, 100.0),
    (100, 12, 1.5, 100.0),
    (60, 8, 0.5, 1e4),
    (200, 20, 0.3, 1e3),
    (500, 30, 0.3, 100.0),
)
SIZES = (30.0, 1e3)


class Table(NamedTuple):
    """Cells as they are measured, and as they are to be predicted; which are holes."""

    values: Array
    truth: Array
    hidden: Array


def generated(rng: np.random.Generator, n: int, p: int, noise: float) -> Table:
    truth = rng.normal(size=(n, 2)) @ rng.normal(size=(2, p)) + 3 * rng.normal(size=p)
    values = truth + noise * rng.normal(size=truth.shape)
    return Table(values, truth, rng.random(truth.shape) < 0.3)


def real(rng: np.random.Generator, values: Array) -> Table:
    return Table(values, values, rng.random(values.shape) < 0.2)


def ratios(table: Table, size: float, rng: np.random.Generator) -> Array:
    """Errors with the slip over those without the cell: column, all; column means."""
    seen = np.argwhere(~table.hidden)
    row, column = seen[rng.integers(len(seen))]
    spread = table.values.std(axis=0)
    without = np.where(table.hidden, np.nan, table.values)
    slipped = without.copy()
    slipped[row, column] += size * spread[column]
    without[row, column] = np.nan

    def errors(filled: Array) -> tuple[float, float]:
        left = np.where(table.hidden, (filled - table.truth) / spread, np.nan)
        kept = ~np.isnan(left)
        own = left[kept[:, column], column]
        return root_mean_square(own), root_mean_square(left[kept])

    ours = errors(PrecGDImputer().fit_transform(slipped))
    usual = errors(PrecGDImputer().fit_transform(without))
    means = np.broadcast_to(np.nanmean(slipped, axis=0), slipped.shape)
    return np.array(
        [ours[0] / usual[0], ours[1] / usual[1], errors(means)[0] / usual[0]]
    )


def problems(part: str) -> Iterator[tuple[str, float, Callable[..., Table], tuple]]:
    """A name, the size of the slip, and what draws the table."""
    if part == "generated":
        for n, p, noise, size in GENERATED:
            yield f"{n} x {p}, noise {noise}", size, generated, (n, p, noise)
        return
    tables = {
        "wine": load_wine().data,
        "breast cancer": load_breast_cancer().data,
        "diabetes": load_diabetes().data,
    }
    for name, values in tables.items():
        for size in SIZES:
            yield name, size, real, (values,)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("part", nargs="*", help=f"of {list(PARTS)}; default: all")
    return options.parse_args()


def main() -> None:
    args = parse()
    load_kernels()
    n_seeds = 3 if args.quick else 10
    print(f"{'':24}{'sd':>7}{'column':>16}{'all holes':>16}{'column means':>16}")
    for part in args.part or PARTS:
        for name, size, make, given in problems(part):
            found = []
            for seed in range(n_seeds):
                rng = np.random.default_rng(seed)
                found.append(ratios(make(rng, *given), size, rng))
            middle, worst = np.median(found, axis=0), np.max(found, axis=0)
            cells = "".join(
                f"{a:8.2f}{b:8.2f}" for a, b in zip(middle, worst, strict=True)
            )
            print(f"{name:24}{size:7g}{cells}", flush=True)


if __name__ == "__main__":
    main()
