r"""What the default fit recovers: ranks, conditioning, few measurements, noise.

    python benchmarks/recovery.py [problem ...] [--seeds N] [--scale S]

Every row is a family of problems with known answer. The estimators get the search rank
and nothing else (``tol=1e-10`` where an error of 1e-8 is asked for): no step size, no
damping, no rank. Printed are the share of seeds whose relative error is below `wanted`,
the median error, the median number of iterations and the ranks found.

With noise, `error` is relative to that of the best fit in hindsight: the lowest error
over the ranks 1 to r, each fitted alone from the path by least squares (``alpha=0,
early_stopping=False``), to ``tol=1e-4``: a smaller one changes the fifth digit of the
error and takes ten times as long. Beside it stand the largest such ratio, and the
median ratio of an oracle: the same fits, each singular value replaced by the one that
the truth shows to be best for its two singular vectors.

``--scale 0.3`` makes the large problems smaller, for a first look.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import (
    LowRankTruth,
    make_matrix_completion,
    make_matrix_sensing,
)
from skprecgd.measurements import EntryMeasurements, RankOneMeasurements

Array = npt.NDArray[np.float64]

# What is asked of a fit to noisy data, against the best one in hindsight: of all, and
# of those whose weakest directions are at the level of the noise, by (noise, kappa).
AS_GOOD, BETTER = 1.005, 0.97
NEAR_THE_NOISE = ((0.5, 10), (0.1, 100))


@dataclass(frozen=True)
class Problem:
    """A row of the table: how to draw it, how to fit it, what is asked."""

    name: str
    label: str
    search_rank: int
    wanted: float
    draw: Callable[[int], tuple]
    symmetric: bool = False
    hindsight: bool = False


def sensing(n, rank, m, kappa, symmetric=False):
    def draw(seed):
        A, y, truth = make_matrix_sensing(
            n,
            rank=rank,
            n_measurements=round(m),
            condition_number=kappa,
            symmetric=symmetric,
            random_state=seed,
        )
        return A, y, truth

    return draw


def completion(shape, rank, oversampling, kappa, *, noise=0.0, short=0):
    def draw(seed):
        triples, truth = make_matrix_completion(
            *shape,
            rank=rank,
            oversampling=oversampling,
            condition_number=kappa,
            noise=noise,
            min_per_line=short,
            format="triples",
            random_state=seed,
        )
        entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
        return entries, triples.values, truth

    return draw


def phase_retrieval(n, rank, m):
    def draw(seed):
        _, _, truth = make_matrix_sensing(
            n, rank=rank, n_measurements=1, symmetric=True, random_state=seed
        )
        vectors = np.random.RandomState(seed).standard_normal((m, n))
        measurements = RankOneMeasurements(vectors)
        return measurements, measurements.forward(truth.left, truth.right), truth

    return draw


def problems(scale: float) -> Iterator[Problem]:
    """All rows, in the order of the table in the documentation."""
    for r, kappa in product((3, 6, 12, 60), (1, 1e2, 1e4)):
        yield Problem(
            "sensing", f"r={r} kappa={kappa:g}", r, 1e-8, sensing(60, 3, 1080, kappa)
        )
    freedom = 3 * (2 * 60 - 3)
    for share, kappa in product((1.5, 1.2), (1, 1e2, 1e4)):
        yield Problem(
            "sensing-scarce",
            f"{share}/dof kappa={kappa:g}",
            9,
            1e-6,
            sensing(60, 3, share * freedom, kappa),
        )
    yield Problem(
        "symmetric", "kappa=1000", 12, 1e-8, sensing(80, 3, 720, 1e3, True), True
    )
    n = round(1000 * scale)
    for r, kappa in product((10, 20, 40), (1, 1e2, 1e4)):
        yield Problem(
            "completion",
            f"r={r} kappa={kappa:g}",
            r,
            1e-8,
            completion((n, n), 10, 3, kappa),
        )
    for share, r, kappa in product((2, 1.5, 1.25), (5, 10), (1, 1e2, 1e5)):
        yield Problem(
            "completion-scarce",
            f"{share}/dof r={r} kappa={kappa:g}",
            r,
            1e-6,
            completion((n, n), 5, share, kappa, short=7),
        )
    shape = (round(300 * scale), round(3000 * scale))
    yield Problem(
        "rectangular", "kappa=10", 15, 1e-8, completion(shape, 5, 3, 10, short=7)
    )
    for noise, kappa in product((0.01, 0.1, 0.5), (1, 10, 100)):
        yield Problem(
            "noise",
            f"{noise:g} sd kappa={kappa:g}",
            10,
            BETTER if (noise, kappa) in NEAR_THE_NOISE else AS_GOOD,
            completion((n, n), 5, 8, kappa, noise=noise),
            hindsight=True,
        )
    yield Problem("phase", "n=64", 6, 1e-8, phase_retrieval(64, 2, 1024), True)


def fit(problem: Problem, drawn: tuple, **parameters) -> PrecGDMatrixSensing:
    """The default fit."""
    A, y, truth = drawn
    tol = 1e-10 if problem.wanted <= 1e-6 else 1e-9
    model = PrecGDMatrixSensing(
        problem.search_rank,
        matrix_shape=truth.shape,
        symmetric=problem.symmetric,
        random_state=0,
        **{"tol": tol, **parameters},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(A, y)


def shrunk_by_oracle(left: Array, right: Array, truth: LowRankTruth) -> tuple:
    """The same singular vectors, with the singular values that are closest to truth."""
    left, right = np.linalg.qr(left), np.linalg.qr(right)
    u, _, vt = np.linalg.svd(left.R @ right.R.T)
    u, v = left.Q @ u, right.Q @ vt.T
    values = np.sum((u.T @ truth.left) * (v.T @ truth.right), axis=1)
    return u * values, v


def in_hindsight(problem: Problem, drawn: tuple) -> tuple[float, float]:
    """The lowest error over the ranks, each the last of its own path; and shrunk."""
    errors, shrunk = [], []
    truth = drawn[2]
    for rank in range(1, problem.search_rank + 1):
        alone = replace(problem, search_rank=rank)
        model = fit(alone, drawn, alpha=0, early_stopping=False, tol=1e-4)
        factors = model.left_, model.right_
        errors.append(truth.relative_error(*factors))
        shrunk.append(truth.relative_error(*shrunk_by_oracle(*factors, truth)))
    return min(errors), min(shrunk)


@dataclass
class Results:
    """What the seeds of a row gave, a number each."""

    errors: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    oracles: list[float] = field(default_factory=list)

    def add(self, problem: Problem, seed: int) -> None:
        drawn = problem.draw(seed)
        start = time.process_time()
        model = fit(problem, drawn)
        self.seconds.append(time.process_time() - start)
        error = drawn[2].relative_error(model.left_, model.right_)
        if problem.hindsight:
            best, oracle = in_hindsight(problem, drawn)
            error /= best
            self.oracles.append(oracle / best)
        if problem.name == "symmetric":
            self.gaps.append(model.certificate_.relative_gap)
        self.errors.append(error)
        self.iterations.append(model.n_iter_)
        self.ranks.append(model.n_components_)

    def remark(self) -> str:
        """What only some rows have."""
        if self.gaps:
            return f" largest certificate {max(self.gaps):.0e}"
        if self.oracles:
            oracle = np.median(self.oracles)
            return f" largest {max(self.errors):.3f}, oracle {oracle:.3f}"
        return ""


def measure(problem: Problem, n_seeds: int) -> str:
    """Fit all seeds; a line of the table."""
    results = Results()
    for seed in range(n_seeds):
        results.add(problem, seed)
    success = np.mean(np.array(results.errors) < problem.wanted)
    ranks = results.ranks
    found = {int(k): ranks.count(k) for k in sorted(set(ranks))}
    error = np.median(results.errors)
    shown = f"{error:10.3f}" if problem.hindsight else f"{error:10.1e}"
    return (
        f"{problem.name:18}{problem.label:26}{success:7.0%}{shown}"
        f"{np.median(results.iterations):7.0f}"
        f"{np.median(results.seconds):8.1f}  {found}"
    ) + results.remark()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problem", nargs="*", help="rows to run; all by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    chosen = list(problems(arguments.scale))
    names = list(dict.fromkeys(p.name for p in chosen))
    if unknown := set(arguments.problem) - set(names):
        parser.error(f"no problem {sorted(unknown)}; there are {names}")
    print(
        f"{'problem':18}{'':26}{'success':>7}{'error':>10}{'its':>7}{'CPU s':>8}  ranks"
    )
    for problem in chosen:
        if not arguments.problem or problem.name in arguments.problem:
            print(measure(problem, arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
