"""Noisy measurements that are no single entries: the learned prior, beside hindsight.

Draws of `make_matrix_sensing` with a search rank of three times the true one. Each line
is a cell of the grid (kind of measurements, symmetric or not, noise in standard
deviations of the clean targets, measurements per degree of freedom) and gives the
relative error of the matrix as a share of that of the best (rank, ridge) in hindsight.
The ranks are 1 to the search rank, and the ten ridges run from the one that leaves
nothing down to a thousandth of it. The last columns are the largest relative error
(that of the zero matrix is one), how many new measurements the 90 % intervals cover,
and the CPU time beside that of the fit without a prior (``alpha=0``).

    python benchmarks/real/sensing.py --quick
"""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from _common import Array, memory, parser, timed

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing

RANK = 2
SEARCHED = 3 * RANK
SHAPES = {False: (20, 16), True: (20, 20)}
NOISES = (0.05, 0.3, 1.0)
RATIOS = (1.5, 3.0, 6.0)
RIDGES = np.geomspace(0.7, 0.7e-3, 10)
NEW = 1000
# Standard deviations of a normal distribution between which 90 % lie.
NORMAL_90 = 1.6449


class Cell(NamedTuple):
    """One setting of the problem."""

    kind: str
    symmetric: bool
    noise: float
    ratio: float


class Drawn(NamedTuple):
    """A problem, and new measurements of the same matrix."""

    X: Any
    y: Array
    matrix: Array
    X_new: Any
    y_new: Array


class Outcome(NamedTuple):
    """What one draw gives."""

    error: float
    hindsight: float
    covered: float
    cpu: float
    cpu_without: float


def drawn(cell: Cell, seed: int) -> Drawn:
    n_rows, n_columns = SHAPES[cell.symmetric]
    freedom = RANK * (n_rows + n_columns - RANK)
    if cell.symmetric:
        freedom = RANK * (2 * n_rows - RANK + 1) // 2
    n = int(cell.ratio * freedom)
    options = {"kind": cell.kind, "symmetric": cell.symmetric, "rank": RANK}
    shape = n_rows, n_columns
    X, y, truth = make_matrix_sensing(
        *shape, n_measurements=n, noise=cell.noise, random_state=seed, **options
    )
    clean = measured(X, truth.matrix)
    sd = cell.noise * float(np.sqrt(np.mean(clean**2)))
    others = make_matrix_sensing(
        *shape, n_measurements=NEW, random_state=10_000 + seed, **options
    )
    rng = np.random.default_rng(seed)
    y_new = measured(others.X, truth.matrix) + sd * rng.normal(size=NEW)
    return Drawn(X, y, truth.matrix, others.X, y_new)


def measured(X: Any, matrix: Array) -> Array:
    if isinstance(X, np.ndarray):
        return np.asarray(X @ matrix.ravel())
    return np.asarray(X.forward(matrix, np.eye(matrix.shape[1])))


def model_of(cell: Cell, rank: int = SEARCHED, **options: Any) -> PrecGDMatrixSensing:
    return PrecGDMatrixSensing(
        rank,
        matrix_shape=SHAPES[cell.symmetric],
        symmetric=cell.symmetric,
        random_state=0,
        **options,
    )


def error_of(model: PrecGDMatrixSensing, matrix: Array) -> float:
    return float(np.linalg.norm(model.matrix_ - matrix) / np.linalg.norm(matrix))


def hindsight(cell: Cell, seed: int) -> float:
    """The error of the best rank and ridge, which nobody can know."""
    problem = drawn(cell, seed)
    options = {"early_stopping": False, "tol": 1e-5, "max_iter": 300}
    first = model_of(cell, alpha=1e-9, **{**options, "max_iter": 1})
    largest = first.fit(problem.X, problem.y).alpha_max_
    errors = []
    for rank in range(1, SEARCHED + 1):
        model = model_of(cell, rank, warm_start=True, **options)
        for ridge in RIDGES:
            model.set_params(alpha=largest * ridge).fit(problem.X, problem.y)
            errors.append(error_of(model, problem.matrix))
    return min(errors)


def outcome(cell: Cell, seed: int, best: float, parameters: dict[str, Any]) -> Outcome:
    problem = drawn(cell, seed)
    model, cpu = timed(model_of(cell, **parameters).fit, problem.X, problem.y)
    _, without = timed(model_of(cell, alpha=0.0).fit, problem.X, problem.y)
    covered = np.nan
    if hasattr(model, "lower_bound_"):
        mean, std = model.predict(problem.X_new, return_std=True)
        covered = float(np.mean(np.abs(problem.y_new - mean) < NORMAL_90 * std))
    return Outcome(error_of(model, problem.matrix), best, covered, cpu, without)


def line(cell: Cell, outcomes: list[Outcome]) -> str:
    found = np.array(outcomes)
    ratio = found[:, 0] / found[:, 1]
    cpu = np.mean(found[:, 3:], axis=0)
    form = "symmetric" if cell.symmetric else "general"
    return (
        f"{cell.kind:8} {form:9} {cell.noise:5.2f} {cell.ratio:4.1f} | "
        f"hindsight {np.median(found[:, 1]):.3f}  ratio {np.median(ratio):.3f} worst "
        f"{np.max(ratio):.2f} | largest {np.max(found[:, 0]):.3f} | covered "
        f"{np.nanmean(found[:, 2]):.3f} | CPU {cpu[0]:.2f} s, {cpu[0] / cpu[1]:.1f} x"
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--kinds", default="dense,rank_one")
    given = options.parse_args()
    known = memory(given.cache).cache(hindsight)
    seeds = range(3 if given.quick else given.seeds)
    ratios = []
    for parts in product(given.kinds.split(","), SHAPES, NOISES, RATIOS):
        cell, outcomes = Cell(*parts), []
        for seed in seeds:
            best = known(cell, seed)
            outcomes.append(outcome(cell, seed, best, given.parameters))
            ratios.append(outcomes[-1].error / best)
        print(line(cell, outcomes), flush=True)
    print(f"all: ratio {np.median(ratios):.3f}, worst {np.max(ratios):.2f}")


if __name__ == "__main__":
    with warnings.catch_warnings():
        # Hindsight tries ranks and ridges that do not converge.
        warnings.simplefilter("ignore")
        main()
