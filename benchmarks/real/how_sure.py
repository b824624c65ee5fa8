"""How sure predictions of entries are: do intervals hold what was hidden?

* ``ratings``: MovieLens 100k (see ratings.py), ``n_components=10``, seeds 0 to 4: which
  share of the hidden ratings lies in intervals of 50, 80, 90 and 95 %, overall and by
  quartiles of how many ratings the user and the film have; mean log density, and mean
  width of the 90 % interval. Beside it, for seed 0 (minutes, gigabytes), scikit-learn's
  BayesianRidge on dummies of users and films.
* ``tables``: the tables and masks of tables.py, ``n_components="auto"``,
  ``center="columns"``: coverage of 90 %, and mean log density of the hidden cells in
  units of the columns' spread, beside a normal with the column's mean and deviation.
  Columns whose seen cells are all equal are left out of the densities.
* ``imputation``: diabetes with 30 % hidden, 50 masks; twenty draws of the completed
  table, a linear regression of the target on each, pooled by Rubin's rules: how often
  the 95 % intervals of the coefficients hold those of the complete table, and how wide
  they are. Beside it IterativeImputer with ``sample_posterior=True``, on every fifth
  mask.

::

    python benchmarks/real/how_sure.py
    python benchmarks/real/how_sure.py ratings --seeds 1
    python benchmarks/real/how_sure.py --quick
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from typing import NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, load_kernels, parser, timed
from movielens import SHAPE, Ratings, split
from scipy import sparse, stats
from sklearn.datasets import load_diabetes
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import BayesianRidge
from table_data import MASKS, TABLES, draw

from skprecgd import PrecGDFactorization

LEVELS = (0.5, 0.8, 0.9, 0.95)


class Predicted(NamedTuple):
    """What is predicted of hidden numbers: quantiles by level, and their density."""

    values: Array
    intervals: dict[float, tuple[Array, Array]]
    log_density: Array

    def coverage(self, level: float, part: Array | slice = slice(None)) -> float:
        low, high = (each[part] for each in self.intervals[level])
        values = self.values[part]
        return float(np.mean((low <= values) & (values <= high)))

    @property
    def width(self) -> float:
        low, high = self.intervals[0.9]
        return float(np.mean(high - low))


def ours(model: PrecGDFactorization, cells: tuple, values: Array) -> Predicted:
    intervals = {level: model.interval(*cells, level=level) for level in LEVELS}
    # The density has no public name; the intervals are its quantiles.
    found = model._noise.entries.at(*cells)
    return Predicted(values, intervals, found.log_density(values))


def normal(mean: Array, std: Array, values: Array) -> Predicted:
    tails = {level: stats.norm.ppf(0.5 + level / 2) for level in LEVELS}
    intervals = {
        level: (mean - tail * std, mean + tail * std) for level, tail in tails.items()
    }
    return Predicted(values, intervals, stats.norm.logpdf(values, mean, std))


# Ratings


def dummies(ratings: Ratings) -> sparse.csr_array:
    """A column of ones and zeros for each user and for each film."""
    rows = np.arange(len(ratings.stars)).repeat(2)
    columns = np.column_stack([ratings.users, SHAPE[0] + ratings.films]).ravel()
    shape = len(ratings.stars), sum(SHAPE)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape)


def bayesian_ridge(training: Ratings, test: Ratings) -> Predicted:
    model = BayesianRidge().fit(dummies(training).toarray(), training.stars)
    mean, std = model.predict(dummies(test).toarray(), return_std=True)
    return normal(mean, std, test.stars)


def quartiles(training: Array, test: Array) -> list[Array]:
    """Positions of test ratings by how many training ratings their line has."""
    counts = np.bincount(training, minlength=max(SHAPE))[test]
    limits = np.quantile(counts, [0.25, 0.5, 0.75])
    which = np.searchsorted(limits, counts)
    return [np.flatnonzero(which == k) for k in range(4)]


def show(name: str, found: Predicted, parts: dict[str, list[Array]]) -> None:
    covered = " ".join(f"{100 * found.coverage(level):5.1f}" for level in LEVELS)
    worst = [
        max(abs(found.coverage(level, part) - level) for part in each)
        for each in parts.values()
        for level in LEVELS
    ]
    print(
        f"{name:24}{covered}{np.mean(found.log_density):10.3f}{found.width:8.2f}"
        f"{100 * max(worst):18.1f}",
        flush=True,
    )


def ratings(args: argparse.Namespace) -> None:
    print(
        "MovieLens 100k: coverage of 50, 80, 90, 95 %, log density, width of 90 %,\n"
        "and how far any coverage is off in the worst quartile (points)"
    )
    for seed in range(args.seeds):
        training, test = split(args.cache, seed)
        X = sparse.csr_array((training.stars, (training.users, training.films)), SHAPE)
        model = PrecGDFactorization(
            10, missing_values=0, center="both", **args.parameters
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, cpu = timed(model.fit, X)
        parts = {
            name: quartiles(getattr(training, name), getattr(test, name))
            for name in ("users", "films")
        }
        found, asked = timed(ours, model, (test.users, test.films), test.stars)
        show(f"seed {seed} ({cpu:.1f} + {asked:.2f} s)", found, parts)
        if seed == 0 and not args.quick:
            found, cpu = timed(bayesian_ridge, training, test)
            show(f"  BayesianRidge ({cpu:.0f} s)", found, parts)


# Tables


def of_table(table: str, mask: str, seed: int, args: argparse.Namespace) -> list[float]:
    """Coverage of 90 %, and mean log densities of ours and of columns' normals."""
    cell = draw(table, mask, seed, args.quick)
    scaled = cell.seen / cell.spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PrecGDFactorization("auto", center="columns", **args.parameters)
        model.fit(scaled)
    rows, columns = np.nonzero(cell.hidden & (np.nanstd(scaled, axis=0) > 0))
    values = (cell.complete / cell.spread)[rows, columns]
    found = ours(model, (rows, columns), values)
    mean, std = (f(scaled, axis=0)[columns] for f in (np.nanmean, np.nanstd))
    beside = normal(mean, std, values)
    return [
        found.coverage(0.9),
        float(np.mean(found.log_density)),
        float(np.mean(beside.log_density)),
    ]


def tables(args: argparse.Namespace) -> None:
    print(
        f"\n{'':28}{'coverage of 90 %':>18}{'worst draw':>12}{'density':>9}"
        f"{'normal':>9}"
    )
    for table, mask in product(TABLES, MASKS):
        results = [of_table(table, mask, seed, args) for seed in range(args.seeds)]
        cover, density, beside = np.array(results).T
        worst = cover[np.argmax(np.abs(cover - 0.9))]
        print(
            f"{table:14}{mask:14}{100 * cover.mean():17.1f}%{100 * worst:11.1f}%"
            f"{density.mean():9.3f}{beside.mean():9.3f}",
            flush=True,
        )


# Multiple imputation


def regression(Z: Array, y: Array) -> tuple[Array, Array]:
    """Coefficients of a linear regression, and their variances."""
    A = np.column_stack([np.ones(len(Z)), Z])
    inverse = np.linalg.inv(A.T @ A)
    coefficients = inverse @ A.T @ y
    variance = np.sum((y - A @ coefficients) ** 2) / (len(y) - A.shape[1])
    return coefficients, variance * np.diag(inverse)


def pooled(draws: list[Array], y: Array) -> tuple[Array, Array]:
    """Coefficients and half the widths of their 95 % intervals, by Rubin's rules."""
    found = [regression(Z, y) for Z in draws]
    coefficients, variances = (np.array(each) for each in zip(*found, strict=True))
    within, m = variances.mean(axis=0), len(draws)
    between = (1 + 1 / m) * coefficients.var(axis=0, ddof=1)
    freedom = (m - 1) * (1 + within / between) ** 2
    tails = stats.t.ppf(0.975, freedom)
    return coefficients.mean(axis=0), tails * np.sqrt(within + between)


def our_draws(X: Array, seed: int, args: argparse.Namespace) -> list[Array]:
    model = PrecGDFactorization("auto", center="columns", **args.parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    return list(model.sample_completed(X, 20, random_state=seed))


def iterative_draws(X: Array) -> list[Array]:
    return [
        IterativeImputer(sample_posterior=True, random_state=k).fit_transform(X)
        for k in range(20)
    ]


def imputation(args: argparse.Namespace) -> None:
    data = load_diabetes(scaled=False)
    table = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    exact, _ = regression(table, data.target)
    held: dict[str, list[Array]] = {"ours": [], "iterative": []}
    widths: dict[str, list[Array]] = {"ours": [], "iterative": []}
    for seed in range(10 * args.seeds):
        hidden = np.random.default_rng(seed).random(table.shape) < 0.3
        X = np.where(hidden, np.nan, table)
        draws = {"ours": our_draws(X, seed, args)}
        if seed % 5 == 0:
            draws["iterative"] = iterative_draws(X)
        for name, each in draws.items():
            centre, half = pooled(each, data.target)
            held[name].append(np.abs(centre - exact) < half)
            widths[name].append(2 * half)
    print("\nmultiple imputation: coefficients of the complete table in 95 %")
    for name, each in held.items():
        by_coefficient = np.mean(each, axis=0)
        print(
            f"{name:12}{100 * np.mean(each):6.1f} %, least "
            f"{100 * by_coefficient.min():.0f} %, mean width "
            f"{np.mean(widths[name]):.1f}, {len(each)} masks"
        )


PARTS = {"ratings": ratings, "tables": tables, "imputation": imputation}


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("part", nargs="*", help=f"of {list(PARTS)}; default: all")
    options.add_argument("--seeds", type=int, help="draws (default: 5; quick: 1)")
    args = options.parse_args()
    if unknown := set(args.part) - set(PARTS):
        options.error(f"no part {sorted(unknown)}; there are {list(PARTS)}")
    args.seeds = args.seeds or (1 if args.quick else 5)
    return args


def main() -> None:
    args = parse()
    load_kernels(center="columns", **args.parameters)
    for name in args.part or PARTS:
        PARTS[name](args)


if __name__ == "__main__":
    main()
