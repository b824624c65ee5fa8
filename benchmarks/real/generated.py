"""Generated matrices with noise and holes: never worse than the mean, and how good.

Errors are root mean squares of hidden cells against the matrix *without* noise;
problems.py has the generators. The estimator gets `n_components` ("auto", or
``--components``) and the centre.

* ``detection``: 80 x 50, rank 3 of standard deviation 0.5, mean 3.5, noise 0.3, with 6
  to 30 % seen. Error over that of the better of overall mean and column means, median
  and worst of twenty seeds, for every centre; beside it softImpute with its penalty
  chosen in hindsight, and the posterior mean of who knows the mean, the rank, the noise
  and the prior and starts from the truth (oracle.py): nobody can do better.
* ``nearly-complete``: ``rng = default_rng(seed); X = rng.normal(size=(50, 8)) *
  [1, 1, 4, 1, 1, 1, 1, 1]`` with one entry of the third column hidden, then 1 % and
  5 % of all besides, and ``PrecGDFactorization(8)``, 40 seeds: how many components are
  kept, and how many entries are predicted within the range of the rest of their column,
  how many beyond three times the largest datum. The same with a signal of rank 2 added,
  and the largest angle, in degrees, between the first two components and those of the
  complete table: by default, which weighs columns by their noise, and with
  ``noise="uniform"``, which does not, as no decomposition of complete data does. Beside
  it the angles to the subspace of the signal: ours, and the complete table's.
* ``heavy-tails``: 40 x 25 and 50 x 20 of rank 2 and mean 3, 5 % hidden, with t noise
  of two and three degrees of freedom, of scale 50 % and 100 % of the signal's standard
  deviation, and with normal noise where 1 % of the entries are ten times too large,
  twenty seeds. Error over that of the overall mean, and in how many fits a tail was
  kept; beside it the same fit with ``noise_tail="normal"``.
* ``loud-rows``: a fifth of the rows has three to ten times the noise of the others;
  error, and how many of the hidden noisy entries of loud and of other rows are within
  their 90 % intervals; beside it the same fit with ``noise="columns"``.
* ``random``: 300 random problems, ``center="both"``: quantiles of the error over that
  of the best of overall, column, and row plus column means, and over softImpute's with
  its penalty chosen in hindsight. Those without noise are counted apart.

The answers beside ours are kept under ``--cache``::

    python benchmarks/real/generated.py --jobs 2
    python benchmarks/real/generated.py detection --components 10
    python benchmarks/real/generated.py random --seeds 40 60 --verbose
    python benchmarks/real/generated.py --quick
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import _one_thread  # noqa: F401
import numpy as np
import oracle
from _common import (
    Array,
    complete,
    components,
    load_kernels,
    memory,
    parser,
    quantiles,
)
from joblib import Parallel, delayed
from problems import Answers, Problem, answers, random_problem, ratings_like
from scipy.linalg import subspace_angles

from skprecgd import PrecGDFactorization

SHARES = (0.06, 0.10, 0.15, 0.20, 0.30)
CENTRES = ("mean", "columns", "both")
LEVELS = (0.05, 0.5, 0.95, 0.99, 1.0)


class Result(NamedTuple):
    """Our fit of a problem, and the answers beside it."""

    label: str
    noise: float
    error: float
    cpu: float
    rank: int
    beside: Answers
    warned: list[str]

    @property
    def to_means(self) -> float:
        return self.error / self.beside.means

    @property
    def to_soft_impute(self) -> float:
        return self.error / self.beside.soft_impute


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("part", nargs="*", help=f"of {list(PARTS)}; default: all")
    options.add_argument("--components", type=components, default="auto")
    options.add_argument(
        "--seeds",
        nargs=2,
        type=int,
        metavar=("FIRST", "END"),
        help="default: 0 20, 0 40 and 0 300; quick: 0 3, 0 10 and 0 30",
    )
    options.add_argument("--jobs", type=int, default=1, help="processes")
    options.add_argument("--verbose", action="store_true", help="a line per problem")
    args = options.parse_args()
    if unknown := set(args.part) - set(PARTS):
        options.error(f"no part {sorted(unknown)}; there are {list(PARTS)}")
    return args


def seeds(args: argparse.Namespace, full: int, quick: int) -> range:
    return range(*(args.seeds or (0, quick if args.quick else full)))


def solve(problem: Problem, beside: Answers, args: argparse.Namespace, centre: str):
    rank = args.components
    rank = rank if rank == "auto" else min(rank, *problem.seen.shape)
    parameters = {"n_components": rank, "center": centre, **args.parameters}
    fit = complete(problem.seen, **parameters)
    found = getattr(fit.model, "n_components_", -1)
    error = problem.error(fit.matrix)
    return Result(
        problem.label, problem.noise, error, fit.cpu, found, beside, fit.warned
    )


def in_processes(call: Any, jobs: list[tuple], args: argparse.Namespace) -> list:
    return Parallel(args.jobs)(delayed(call)(*job, args) for job in jobs)


# Detection


def oracle_error(seed: int, share: float) -> float:
    problem = ratings_like(seed, share)
    noise = problem.noise**2
    return problem.error(
        oracle.posterior_mean(problem.seen, problem.truth, 3.5, 3, noise)
    )


def detect(
    share: float, seed: int, args: argparse.Namespace
) -> tuple[list[Result], float]:
    """Our fits, and the error of the oracle."""
    kept = memory(args.cache)
    beside = kept.cache(answers)("ratings-like", seed, share)
    best = kept.cache(oracle_error)(seed, share)
    problem = ratings_like(seed, share)
    return [solve(problem, beside, args, centre) for centre in CENTRES], best


def better_mean(result: Result) -> float:
    """Error over that of the better of overall and column means."""
    return result.error / min(result.beside.overall, result.beside.columns)


def detection(args: argparse.Namespace) -> None:
    print(
        "\n80 x 50 of rank 3: error over the better of overall and column means\n"
        f"{'seen':6}{'centre':10}{'median':>8}{'worst':>9}{'<=1.05':>8}{'rank':>6}"
        f"{'CPU s':>7}{'softImpute':>12}{'oracle':>8}{'worst':>8}"
    )
    chosen = seeds(args, 20, 3)
    for share in SHARES:
        found = in_processes(detect, [(share, seed) for seed in chosen], args)
        fits = zip(*(results for results, _ in found), strict=True)
        best = [error for _, error in found]
        for centre, results in zip(CENTRES, fits, strict=True):
            ratios = np.array([better_mean(result) for result in results])
            soft = [
                better_mean(r._replace(error=r.beside.soft_impute)) for r in results
            ]
            least = [
                better_mean(r._replace(error=error))
                for r, error in zip(results, best, strict=True)
            ]
            print(
                f"{share:<6.0%}{centre:10}{np.median(ratios):8.3f}{ratios.max():9.3g}"
                f"{np.sum(ratios <= 1.05):5}/{len(ratios):<3}"
                f"{np.median([r.rank for r in results]):5.0f}"
                f"{np.median([r.cpu for r in results]):7.2f}{np.median(soft):12.3f}"
                f"{np.median(least):8.3f}{max(least):8.3f}",
                flush=True,
            )


# Nearly complete tables


class Angles(NamedTuple):
    """Between subspaces of two components, in degrees."""

    to_complete: float
    uniform_to_complete: float
    to_signal: float
    complete_to_signal: float


class Hole(NamedTuple):
    """What became of a nearly complete table."""

    within: int
    beyond: int
    hidden: int
    rank: int
    warned: list[str]
    angles: Angles | None


def nearly_complete(
    seed: int, share: float, signal: bool
) -> tuple[Array, Array, Array]:
    """The complete table, which entries are hidden (one if `share` is zero), and the
    components of the signal."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 8)) * [1, 1, 4, 1, 1, 1, 1, 1]
    directions = np.zeros((0, 8))
    if signal:
        scores = 10 * rng.normal(size=(50, 2))
        directions = np.linalg.qr(rng.normal(size=(8, 2)))[0].T
        X += scores @ directions
    hidden = np.zeros(X.shape, dtype=bool)
    hidden[3, 2] = True
    hidden.flat[rng.choice(X.size, round(share * X.size), replace=False)] = True
    return X, hidden, directions


def angle(first: Array, second: Array) -> float:
    """The largest angle between the first two components of each."""
    if min(len(first), len(second)) < 2:
        return 90.0
    return float(np.degrees(subspace_angles(first[:2].T, second[:2].T)[0]))


def compare_angles(ours: Array, seen: Array, X: Array, directions: Array) -> Angles:
    exact = PrecGDFactorization(2).fit(X).components_
    uniform = complete(seen, n_components=8, noise="uniform").model.components_
    return Angles(
        angle(ours, exact),
        angle(uniform, exact),
        angle(ours, directions),
        angle(exact, directions),
    )


def fill(seed: int, share: float, signal: bool, args: argparse.Namespace) -> Hole:
    X, hidden, directions = nearly_complete(seed, share, signal)
    seen = np.where(hidden, np.nan, X)
    fit = complete(seen, **{"n_components": 8, **args.parameters})
    guess, (_, column) = fit.matrix[hidden], np.nonzero(hidden)
    low, high = np.nanmin(seen, axis=0)[column], np.nanmax(seen, axis=0)[column]
    ours = fit.model.components_
    return Hole(
        int(np.sum((guess >= low) & (guess <= high))),
        int(np.sum(np.abs(guess) > 3 * np.nanmax(np.abs(seen)))),
        len(guess),
        fit.model.n_components_,
        fit.warned,
        compare_angles(ours, seen, X, directions) if signal else None,
    )


def median_and_worst(holes: list[Hole], name: str) -> str:
    found = [getattr(hole.angles, name) for hole in holes if hole.angles]
    return f"{np.median(found):8.1f},{max(found):5.1f}" if found else ""


def nearly_complete_tables(args: argparse.Namespace) -> None:
    print(
        "\n50 x 8, nearly complete (angles: median, worst)\n"
        f"{'signal':8}{'hidden':8}{'in range':>10}{'beyond 3x':>11}{'ranks':>9}"
        f"{'warned':>8}"
        + "".join(f"{name:>14}" for name in ("complete", "uniform", "signal", "SVD"))
    )
    chosen = seeds(args, 40, 10)
    for signal in (False, True):
        for share in (0.0, 0.01, 0.05):
            holes = in_processes(fill, [(s, share, signal) for s in chosen], args)
            total = sum(hole.hidden for hole in holes)
            ranks = [hole.rank for hole in holes]
            print(
                f"{'rank 2' if signal else 'none':8}"
                f"{f'{share:.0%}' if share else 'one':8}"
                f"{sum(hole.within for hole in holes):5}/{total:<4}"
                f"{sum(hole.beyond for hole in holes):6}/{total:<4}"
                f"{min(ranks):4} to {max(ranks)}"
                f"{sum(bool(hole.warned) for hole in holes):8}"
                + "".join(median_and_worst(holes, name) for name in Angles._fields),
                flush=True,
            )


# Noise that is not the same everywhere


class Uneven(NamedTuple):
    """A problem whose noise is heavy-tailed, or larger in some rows."""

    truth: Array
    data: Array
    hidden: Array
    loud: Array

    @property
    def seen(self) -> Array:
        return np.where(self.hidden, np.nan, self.data)

    def error(self, matrix: Array) -> float:
        return float(np.sqrt(np.mean((matrix - self.truth)[self.hidden] ** 2)))


def signal(rng: np.random.Generator, shape: tuple[int, int], rank: int) -> Array:
    product = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    return product / product.std() + 3.0


def heavy_tailed(
    seed: int, shape: tuple[int, int], freedom: float, scale: float
) -> Uneven:
    """Noise is normal where the degrees of freedom are infinite, and 1 % are spikes."""
    rng = np.random.default_rng(seed)
    truth = signal(rng, shape, 2)
    if np.isfinite(freedom):
        data = truth + scale * rng.standard_t(freedom, size=shape)
    else:
        data = truth + scale * rng.normal(size=shape)
        data *= np.where(rng.random(shape) < 0.01, 10.0, 1.0)
    return Uneven(truth, data, rng.random(shape) < 0.05, np.zeros(shape, bool))


def loud(seed: int, shape: tuple[int, int], factor: float) -> Uneven:
    rng = np.random.default_rng(seed)
    truth, rows = signal(rng, shape, 3), np.arange(shape[0]) < shape[0] // 5
    noise = np.where(rows, factor, 1.0)[:, None] * rng.normal(size=shape)
    data, hidden = truth + 0.3 * noise, rng.random(shape) < 0.3
    return Uneven(truth, data, hidden, np.broadcast_to(rows[:, None], shape))


def fit_uneven(make: Any, job: tuple, simpler: dict, args: argparse.Namespace) -> tuple:
    """Errors by default and without the noise in question, and the fit's intervals."""
    problem = make(*job)
    found = []
    for more in ({}, simpler):
        parameters = {"n_components": 10, "center": "mean", **args.parameters, **more}
        fit = complete(problem.seen, **parameters)
        cells = np.nonzero(problem.hidden)
        low, high = fit.model.interval(*cells, level=0.9)
        inside = (low <= problem.data[cells]) & (problem.data[cells] <= high)
        its = problem.loud[cells]
        covered = [
            np.mean(inside[which]) if which.any() else 1 for which in (its, ~its)
        ]
        found.append((problem.error(fit.matrix), *covered, fit.model.noise_df_))
    mean = problem.error(np.full(problem.truth.shape, np.nanmean(problem.seen)))
    columns = problem.error(np.nanmean(problem.seen, axis=0) + 0 * problem.truth)
    return (*found, mean, columns)


def heavy_tails(args: argparse.Namespace) -> None:
    print(
        "\nt noise, and 1 % of entries ten times too large: error over the mean's\n"
        f"{'shape':8}{'df':>4}{'noise':>7}{'median':>8}{'worst':>7}{'/best':>7}"
        f"{'tails':>8}{'normal':>8}{'worst':>7}"
    )
    for shape in ((40, 25), (50, 20)):
        for freedom in (2.0, 3.0, np.inf):
            for scale in (0.5, 1.0):
                jobs = [
                    (heavy_tailed, (s, shape, freedom, scale), {"noise_tail": "normal"})
                    for s in seeds(args, 20, 4)
                ]
                fits = in_processes(fit_uneven, jobs, args)
                ours, plain = (np.array([f[k][0] / f[2] for f in fits]) for k in (0, 1))
                to_best = max(f[0][0] / min(f[2], f[3]) for f in fits)
                tails = sum(np.isfinite(f[0][3]) for f in fits)
                print(
                    f"{shape[0]}x{shape[1]:<5}{freedom:4g}{scale:7.0%}"
                    f"{np.median(ours):8.3f}{ours.max():7.3f}{to_best:7.3f}"
                    f"{tails:5}/{len(fits):<2}{np.median(plain):8.3f}{plain.max():7.3f}",
                    flush=True,
                )


def loud_rows(args: argparse.Namespace) -> None:
    print(
        "\nA fifth of the rows is louder: error, and share within 90 % intervals\n"
        f"{'shape':9}{'factor':>7}{'error':>8}{'loud':>7}{'worst':>7}{'others':>8}"
        f"{'columns':>9}{'loud':>7}{'others':>8}"
    )
    for shape, factor in (
        *(((120, 30), 3), ((120, 30), 10), ((60, 40), 4)),
        *(((200, 15), 3), ((30, 100), 4)),
    ):
        jobs = [
            (loud, (s, shape, factor), {"noise": "columns", "noise_tail": "normal"})
            for s in seeds(args, 10, 3)
        ]
        fits = in_processes(fit_uneven, jobs, args)
        ours, plain = (np.array([f[k][:3] for f in fits]) for k in (0, 1))
        print(
            f"{shape[0]}x{shape[1]:<6}{factor:6}x{ours[:, 0].mean():8.3f}"
            f"{ours[:, 1].mean():7.1%}{ours[:, 1].min():7.1%}{ours[:, 2].mean():8.1%}"
            f"{plain[:, 0].mean():9.3f}{plain[:, 1].mean():7.1%}"
            f"{plain[:, 2].mean():8.1%}",
            flush=True,
        )


# Random problems


def random_result(seed: int, args: argparse.Namespace) -> Result:
    beside = memory(args.cache).cache(answers)("random", seed)
    result = solve(random_problem(seed), beside, args, "both")
    if args.verbose:
        print(described(result), flush=True)
    return result


def described(result: Result) -> str:
    return (
        f"{result.label}: error {result.error:.3g}, /means {result.to_means:.3f}, "
        f"/softImpute {result.to_soft_impute:.3f}, rank {result.rank}, "
        f"{result.cpu:.2f} s" + "".join(f"; {text[:90]}" for text in result.warned)
    )


def share_within(ratios: Array, limit: float) -> str:
    return f"<= {limit:g} in {np.mean(ratios <= limit):.1%}"


def print_noisy(results: list[Result]) -> None:
    to_means = np.array([result.to_means for result in results])
    to_soft = np.array([result.to_soft_impute for result in results])
    print(f"{len(results)} with noise; quantiles {LEVELS}")
    print(
        f"  /means       {quantiles(to_means, LEVELS)}   "
        f"{share_within(to_means, 1.05)}, {share_within(to_means, 1.15)}"
    )
    print(
        f"  /softImpute  {quantiles(to_soft, LEVELS)}   "
        f"{share_within(to_soft, 1.1)}, median {np.median(to_soft):.3f}"
    )
    bad = [r for r in results if not (r.to_means <= 1.05 and r.to_soft_impute <= 1.1)]
    for result in sorted(bad, key=lambda r: -max(r.to_means, r.to_soft_impute))[:25]:
        print("  " + described(result))


def random_problems(args: argparse.Namespace) -> None:
    chosen = seeds(args, 300, 30)
    print(f"\n{len(chosen)} random problems, center='both'", flush=True)
    results = in_processes(random_result, [(seed,) for seed in chosen], args)
    if noisy := [result for result in results if result.noise > 0]:
        print_noisy(noisy)
    if exact := [result for result in results if result.noise == 0]:
        errors = np.array([result.error for result in exact])
        print(
            f"{len(exact)} without noise: error in spreads, quantiles "
            + " ".join(f"{np.quantile(errors, q):.0e}" for q in LEVELS)
            + f"; below 1e-6 in {np.sum(errors < 1e-6)}"
        )
        for result in sorted(exact, key=lambda r: -r.error)[:10]:
            print("  " + described(result))
    cpu = [result.cpu for result in results]
    print(f"CPU s, quantiles {quantiles(np.array(cpu), LEVELS)}")


PARTS = {
    "detection": detection,
    "nearly-complete": nearly_complete_tables,
    "heavy-tails": heavy_tails,
    "loud-rows": loud_rows,
    "random": random_problems,
}


def main() -> None:
    args = parse()
    load_kernels(center="columns", **args.parameters)
    print(f"n_components={args.components!r}, {args.parameters or 'defaults'}")
    for name in args.part or PARTS:
        PARTS[name](args)


if __name__ == "__main__":
    main()
