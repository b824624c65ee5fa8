"""The methods that came after PrecGD, as settings of one loop, on the same problems.

    python benchmarks/papers/followups.py [--seed S ...]

Sensing of a 30 x 30 matrix of rank 2 from 580 Gaussian measurements (five per degree of
freedom) without noise; the settings are ours. A cell is the number of iterations until
the relative residual, or the gradient in the metric as a share of the data, is 1e-9; or
the residual after 2000. The search rank is 2, the truth's, or 4, and the condition
number 1 or 100.

Each method starts as its paper has it: from the spectral start, AGN from a small random
one, and ScaledGD(lambda) from one of size 1e-12 (its spare columns stay about as large
as they start), with the damping set to the smallest singular value, which it has to be
told. GNMR solves its linear problem by an inner iteration, so its iterations are few
and dear. The last row is what the package does by default, with the search rank as an
upper bound.
"""

from __future__ import annotations

from typing import Any

from _common import parser, print_row

from skprecgd.datasets import LowRankTruth, make_matrix_sensing
from skprecgd.initialization import random, spectral
from skprecgd.measurements import as_measurements
from skprecgd.objective import SampledObjective, make_objective
from skprecgd.optim import Result, minimize, rank_path

N, RANK, N_MEASUREMENTS = 30, 2, 580
TOL, MAX_ITER = 1e-9, 2000
# Name: the solver, its other options, the start.
METHODS: dict[str, tuple[str, dict[str, Any], str]] = {
    "GD": ("gd", {}, "spectral"),
    "ScaledGD": ("scaledgd", {"step_size": 0.5}, "spectral"),
    "ScaledGD(lambda)": ("precgd", {"step_size": 0.5}, "tiny"),
    "AGN": ("alternating-scaledgd", {"step_size": 0.5}, "random"),
    "ScaledASD": ("alternating-scaledgd", {}, "spectral"),
    "alternating LS": ("alternating", {}, "spectral"),
    "GNMR": ("gauss-newton", {"step_size": 1.0}, "spectral"),
    "PrecGD, step 1/2": ("precgd", {"step_size": 0.5}, "spectral"),
    "PrecGD": ("precgd", {}, "spectral"),
    "PrecGD, conjugate": ("precgd-cg", {}, "spectral"),
}


def make_problem(kappa: float, seed: int) -> tuple[SampledObjective, LowRankTruth]:
    A, y, truth = make_matrix_sensing(
        N,
        N,
        rank=RANK,
        n_measurements=N_MEASUREMENTS,
        condition_number=kappa,
        random_state=seed,
    )
    objective = make_objective(as_measurements(A, (N, N)), y)
    assert isinstance(objective, SampledObjective)
    return objective, truth


def run(
    name: str, objective: SampledObjective, truth: LowRankTruth, rank: int, seed: int
) -> Result:
    solver, options, how = METHODS[name]
    options = {**options, "tol": TOL, "max_iter": MAX_ITER}
    if how == "tiny":
        options["damping"] = truth.singular_values[-1] / objective.data_norm
    start = (
        spectral(objective, rank)
        if how == "spectral"
        else random(objective, rank, random_state=seed)
    )
    if how == "tiny":
        start = start.scaled(1e-12)
    return minimize(objective, start, solver=solver, random_state=seed, **options)


def cell(result: Result) -> str:
    if result.converged and result.relative_residual < 1e3 * TOL:
        return f"{result.n_iter}"
    return f"{result.relative_residual:.0e}"


def main() -> None:
    args = parser(
        "The methods after PrecGD on the same problems.", figures=False
    ).parse_args()
    cases = [(rank, kappa) for rank in (RANK, 2 * RANK) for kappa in (1.0, 100.0)]
    header = [f"r={rank} kappa={kappa:g}" for rank, kappa in cases]
    widths = [4, 17, 12, 12, 12, 12]
    print_row(["seed", "method", *header], widths)
    for seed in args.seed:
        problems = {kappa: make_problem(kappa, seed) for kappa in (1.0, 100.0)}
        for name in METHODS:
            cells = [
                cell(run(name, *problems[kappa], rank, seed)) for rank, kappa in cases
            ]
            print_row([f"{seed}", name, *cells], widths)
        cells = [
            cell(rank_path(problems[kappa][0], rank, tol=TOL, random_state=seed))
            for rank, kappa in cases
        ]
        print_row([f"{seed}", "default path", *cells], widths)


if __name__ == "__main__":
    main()
