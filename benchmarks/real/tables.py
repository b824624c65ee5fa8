"""Hidden cells of real tables, beside what people complete tables with.

Wine, breast cancer, diabetes and digits (scikit-learn) and macrodata (statsmodels,
without its date), each with 20, 50 and 80 % of the cells hidden at random, half of each
row hidden in a run of neighbouring columns, and 40 % hidden with large values more
often (see table_data.py). ``PrecGDFactorization(n_components="auto",
center="columns")`` gets every table raw and standardised, and nothing else; the peers
get it standardised:

* the column mean, IterativeImputer, softImpute with its penalty chosen on held-out
  cells, statsmodels' ``PCA(missing="fill-em")`` with its rank chosen on held-out cells:
  the linear ones;
* KNNImputer; and on digits with 20 % hidden the multivariate normal with a full
  covariance, by EM.

An error is the root mean square over the hidden cells, each in standard deviations of
its complete column. A line has the mean over the draws, the ratios of these means to
the best linear peer, to the mean and to KNNImputer (the larger one of raw and
standardised), and median CPU seconds on one thread. The peers' results are kept under
``--cache``::

    pip install statsmodels
    python benchmarks/real/tables.py                     # five draws a cell
    python benchmarks/real/tables.py --draws 2 --components 10
    python benchmarks/real/tables.py --quick             # one draw, a third of digits
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import complete, components, load_kernels, memory, parser, root_mean_square
from table_data import MASKS, TABLES, Cell, draw
from table_peers import LINEAR, peer_result

UNITS = ("raw", "standardised")
ALL_PEERS = (*LINEAR, "knn")


class Ours(NamedTuple):
    """What one fit of ours gave."""

    error: float
    cpu: float
    rank: int
    warned: list[str]


class Line(NamedTuple):
    """A cell of the comparison: mean errors and median CPU seconds by method."""

    table: str
    mask: str
    errors: dict[str, float]
    cpu: dict[str, float]
    ranks: list[int]
    warned: list[str]

    def ratio(self, unit: str, *peers: str) -> float:
        return self.errors[unit] / min(self.errors[name] for name in peers)

    def worse_ratio(self, *peers: str) -> float:
        return max(self.ratio(unit, *peers) for unit in UNITS)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--draws", type=int, help="a cell (default: 5; quick: 1)")
    options.add_argument(
        "--components",
        type=components,
        default="auto",
        help='"auto" or a number; never more than columns',
    )
    options.add_argument("--tables", nargs="*", choices=TABLES, default=TABLES)
    options.add_argument("--masks", nargs="*", choices=MASKS, default=MASKS)
    args = options.parse_args()
    args.draws = args.draws or (1 if args.quick else 5)
    return args


def ours(cell: Cell, unit: str, args: argparse.Namespace) -> Ours:
    X, scale = cell.seen, 1.0
    if unit == "standardised":
        scale = cell.spread
        X = (X - cell.complete.mean(axis=0)) / scale
    rank = args.components
    rank = rank if rank == "auto" else min(rank, *X.shape)
    parameters = {"center": "columns", "n_components": rank, **args.parameters}
    fit = complete(X, **parameters)
    truth = cell.complete
    if unit == "standardised":
        truth = (truth - truth.mean(axis=0)) / scale
    errors = (fit.matrix - truth) * scale / cell.spread
    found = getattr(fit.model, "n_components_", -1)
    return Ours(root_mean_square(errors[cell.hidden]), fit.cpu, found, fit.warned)


def compare(table: str, mask: str, args: argparse.Namespace) -> Line:
    peer = memory(args.cache).cache(peer_result)
    names = ALL_PEERS
    if (table, mask) == ("digits", "random 20 %"):
        names += ("cov-em",)
    results = {
        name: [peer(name, table, mask, seed, args.quick) for seed in range(args.draws)]
        for name in names
    }
    cells = [draw(table, mask, seed, args.quick) for seed in range(args.draws)]
    fits = {unit: [ours(cell, unit, args) for cell in cells] for unit in UNITS}
    results.update({unit: [fit[:2] for fit in fits[unit]] for unit in UNITS})
    return Line(
        table,
        mask,
        {name: float(np.mean([e for e, _ in r])) for name, r in results.items()},
        {name: float(np.median([c for _, c in r])) for name, r in results.items()},
        [fit.rank for fit in fits["standardised"]],
        [text for unit in UNITS for fit in fits[unit] for text in fit.warned],
    )


def number(value: float, width: int = 7, digits: int = 3) -> str:
    """Short also where it is huge."""
    plain = f"{value:{width}.{digits}f}"
    return plain if len(plain) <= width else f"{value:{width}.0e}"


def print_head() -> None:
    names = [*(name[:9] for name in ALL_PEERS), "raw", "std"]
    print(
        f"{'':26}"
        + "".join(f"{name:>10}" for name in names)
        + f"{'rank':>5} |{'/linear':>8}{'/mean':>8}{'/knn':>8} |"
        + f"{'CPU':>7}{'iter.':>7}"
    )


def print_line(line: Line) -> None:
    errors = [number(line.errors[name], 10) for name in (*ALL_PEERS, *UNITS)]
    ratios = [line.worse_ratio(*peers) for peers in (LINEAR, ("mean",), ("knn",))]
    print(
        f"{line.table:14}{line.mask:12}"
        + "".join(errors)
        + f"{np.median(line.ranks):5.0f} |"
        + "".join(number(ratio, 8) for ratio in ratios)
        + f" |{number(line.cpu['raw'], 7, 2)}{number(line.cpu['iterative'], 7, 2)}"
        + (f"  {len(line.warned)} warnings" if line.warned else "")
        + (f"  cov-em {line.errors['cov-em']:.3f}" if "cov-em" in line.errors else ""),
        flush=True,
    )


def print_summary(lines: list[Line]) -> None:
    asked = {"best linear": tuple(LINEAR), "mean": ("mean",), "knn": ("knn",)}
    print(f"\n{'ratio to':16}{'units':16}  median    worst   <=1  <=1.05")
    for label, peers in asked.items():
        for unit in UNITS:
            ratios = np.array([line.ratio(unit, *peers) for line in lines])
            print(
                f"{label:16}{unit:16}{number(float(np.median(ratios)), 8)}"
                f"{number(float(ratios.max()), 9)}"
                f"{np.sum(ratios <= 1):6}{np.sum(ratios <= 1.05):8} of {len(lines)}"
            )
    gaps = [abs(line.errors["raw"] / line.errors["standardised"] - 1) for line in lines]
    print(f"raw and standardised differ by at most {max(gaps):.1e}")
    for name in ("raw", "standardised", *ALL_PEERS):
        cpu = [line.cpu[name] for line in lines]
        print(f"CPU s {name:14} median {np.median(cpu):6.2f}  most {max(cpu):6.2f}")


def print_warnings(lines: list[Line]) -> None:
    texts = [text for line in lines for text in line.warned]
    for text in sorted(set(texts), key=texts.count, reverse=True)[:5]:
        print(f"warned, {texts.count(text)} times: {text[:150]}")


def main() -> None:
    args = parse()
    load_kernels(center="columns", **args.parameters)
    print(
        f"{args.draws} draws, n_components={args.components!r}, {args.parameters or ''}"
    )
    print_head()
    lines = []
    for table in args.tables:
        for mask in args.masks:
            lines.append(compare(table, mask, args))
            print_line(lines[-1])
    print_summary(lines)
    print_warnings(lines)


if __name__ == "__main__":
    main()
