r"""What the default fit recovers: ranks, conditioning, few measurements, noise.

    python benchmarks/recovery.py [problem ...] [--seeds N] [--scale S]

Every row is a family of problems with known answer. The estimators get the search rank
and nothing else (``tol=1e-10`` where an error of 1e-8 is asked for): no step size, no
damping, no rank. Printed are the share of seeds whose relative error is below `wanted`,
the median error, the median number of iterations and the ranks found.

With noise, `error` is relative to that of the best fit in hindsight: the lowest error
over the ranks 1 to r, each fitted alone from the path (``early_stopping=False``), to
``tol=1e-4``: a smaller one changes the fifth digit of the error and takes ten times as
long.

``--scale 0.3`` makes the large problems smaller, for a first look.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import EntryMeasurements, RankOneMeasurements


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
            1.05,
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


def best_in_hindsight(problem: Problem, drawn: tuple) -> float:
    """The lowest error over the ranks, each the last of its own path."""
    errors = []
    for rank in range(1, problem.search_rank + 1):
        alone = replace(problem, search_rank=rank)
        model = fit(alone, drawn, early_stopping=False, tol=1e-4)
        errors.append(drawn[2].relative_error(model.left_, model.right_))
    return min(errors)


def measure(problem: Problem, n_seeds: int) -> str:
    """Fit all seeds; a line of the table."""
    errors, iterations, ranks, seconds, gaps = [], [], [], [], []
    for seed in range(n_seeds):
        drawn = problem.draw(seed)
        start = time.process_time()
        model = fit(problem, drawn)
        seconds.append(time.process_time() - start)
        error = drawn[2].relative_error(model.left_, model.right_)
        if problem.hindsight:
            error /= best_in_hindsight(problem, drawn)
        if problem.name == "symmetric":
            gaps.append(model.certificate_.relative_gap)
        errors.append(error)
        iterations.append(model.n_iter_)
        ranks.append(model.n_components_)
    success = np.mean(np.array(errors) < problem.wanted)
    found = {int(k): ranks.count(k) for k in sorted(set(ranks))}
    line = (
        f"{problem.name:18}{problem.label:26}{success:7.0%}"
        f"{np.median(errors):10.1e}{np.median(iterations):7.0f}"
        f"{np.median(seconds):8.1f}  {found}"
    )
    return line + (f" largest certificate {max(gaps):.0e}" if gaps else "")


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
