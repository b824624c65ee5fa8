"""What a default fit costs, against one fit that knows rank and penalty in hindsight.

Tables of 200 to 600 rows: macrodata, diabetes and breast cancer with 20, 50 and 80 % of
the cells hidden at random, standardised, and generated ones with noise and half of the
cells hidden. Beside ``PrecGDFactorization(n_components="auto", center="columns")``
stands ``PrecGDFactorization(r, alpha=a, center="columns", rank_search="fixed",
early_stopping=False)`` with r of 1 to 18 and a of a grid below the largest singular
value, that of the lowest error in hindsight. CPU seconds on one thread, the least of
``--repeats`` fits; ratios of cost and of error::

    python benchmarks/real/cost.py
    python benchmarks/real/cost.py --components 8 --quick
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, components, load_kernels, parser, root_mean_square, told
from problems import low_rank
from table_data import draw

from skprecgd import PrecGDFactorization

RANKS = (1, 2, 3, 5, 8, 12, 18)
PENALTIES = np.geomspace(1, 1e-4, 9)  # of the largest singular value
GENERATED = ((200, 60, 3), (400, 100, 5), (600, 40, 4))


class Case(NamedTuple):
    """A table with holes, what they hide, and a name."""

    name: str
    seen: Array
    truth: Array


class Tried(NamedTuple):
    """Error of the hidden cells and CPU seconds of a fit, and its parameters."""

    error: float
    cpu: float
    parameters: dict


def cases(quick: bool) -> Iterator[Case]:
    for table, share in product(
        ("macrodata", "diabetes", "breast_cancer"), (50,) if quick else (20, 50, 80)
    ):
        cell = draw(table, f"random {share} %", 0)
        Z = (cell.complete - cell.complete.mean(axis=0)) / cell.spread
        yield Case(f"{table}, {share} %", np.where(cell.hidden, np.nan, Z), Z)
    for rows, columns, rank in GENERATED:
        rng = np.random.default_rng(rows)
        truth = low_rank((rows, columns), rank, rng)
        noisy = truth + 0.5 * rng.normal(size=truth.shape)
        hidden = rng.random(truth.shape) < 0.5
        name = f"{rows} x {columns} of rank {rank}"
        yield Case(name, np.where(hidden, np.nan, noisy), truth)


def tried(case: Case, repeats: int, parameters: dict) -> Tried:
    """The fit alone is timed."""
    model = PrecGDFactorization(
        **{"center": "columns", "random_state": 0, **parameters}
    )
    runs = [told(model.fit, case.seen)[0] for _ in range(repeats)]
    matrix = model.left_ @ model.right_.T + model.center_
    error = root_mean_square((matrix - case.truth)[np.isnan(case.seen)])
    return Tried(error, min(run.cpu for run in runs), parameters)


def best_in_hindsight(case: Case, repeats: int) -> Tried:
    centred = np.nan_to_num(case.seen - np.nanmean(case.seen, axis=0))
    top = np.linalg.norm(centred, 2)
    results = []
    ranks = [rank for rank in RANKS if rank <= min(case.seen.shape)]
    for rank, share in product(ranks, PENALTIES):
        parameters = {"n_components": rank, "alpha": float(share * top)}
        parameters |= {"rank_search": "fixed", "early_stopping": False}
        results.append(tried(case, 1, parameters))
    return tried(case, repeats, min(results, key=lambda r: r.error).parameters)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--components", type=components, default="auto")
    options.add_argument("--repeats", type=int, default=3)
    return options.parse_args()


def main() -> None:
    args = parse()
    load_kernels(center="columns", **args.parameters)
    print(
        f"n_components={args.components!r}, {args.parameters or 'defaults'}\n"
        f"{'':24}{'CPU s':>8}{'fixed':>8}{'ratio':>8}{'error':>8}{'/fixed':>8}  fixed"
    )
    ratios = []
    for case in cases(args.quick):
        ours = {"n_components": args.components, **args.parameters}
        found = tried(case, args.repeats, ours)
        best = best_in_hindsight(case, args.repeats)
        ratios.append(found.cpu / best.cpu)
        print(
            f"{case.name:24}{found.cpu:8.3f}{best.cpu:8.3f}{ratios[-1]:8.1f}"
            f"{found.error:8.3f}{found.error / best.error:8.3f}  "
            f"r={best.parameters['n_components']} a={best.parameters['alpha']:.3g}",
            flush=True,
        )
    print(f"ratio of costs: median {np.median(ratios):.1f}, worst {max(ratios):.1f}")


if __name__ == "__main__":
    main()
