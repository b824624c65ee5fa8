"""What each `solver` and `rank_search` reaches on the same problems.

    python benchmarks/solvers.py [--seeds N]

Median relative error against the truth, with `tol=1e-10` and otherwise default
parameters; the search rank is twice the true one or more. The random-feedback controls
are left out: they need step sizes of their own.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from recovery import Problem, completion, fit, sensing

SOLVERS = (
    "auto",
    "precgd-cg",
    "gauss-newton",
    "alternating",
    "precgd",
    "scaledgd",
    "gd",
)
PROBLEMS = (
    Problem("sensing", "kappa 1", 9, 1e-8, sensing(50, 3, 900, 1)),
    Problem("sensing", "kappa 1e4", 9, 1e-8, sensing(50, 3, 900, 1e4)),
    Problem("sensing", "1.5 per dof", 9, 1e-8, sensing(50, 3, 1.5 * 291, 1e2)),
    Problem(
        "completion", "kappa 1", 10, 1e-8, completion((300, 300), 5, 3, 1, short=7)
    ),
    Problem(
        "completion", "kappa 1e4", 10, 1e-8, completion((300, 300), 5, 3, 1e4, short=7)
    ),
    Problem(
        "completion",
        "1.5 per dof",
        10,
        1e-8,
        completion((300, 300), 5, 1.5, 1e2, short=7),
    ),
)


def median_error(problem: Problem, n_seeds: int, **parameters) -> float:
    """Median over the seeds of the relative error of a fit."""
    errors = []
    for seed in range(n_seeds):
        drawn = problem.draw(seed)
        model = fit(problem, drawn, **parameters)
        errors.append(drawn[2].relative_error(model.left_, model.right_))
    return float(np.median(errors))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    n_seeds = parser.parse_args().seeds
    print(f"{'solver':14}{'rank_search':13}", end="")
    print("".join(f"{p.name + ' ' + p.label:>24}" for p in PROBLEMS))
    for solver, rank_search in product(SOLVERS, ("path", "fixed")):
        print(f"{solver:14}{rank_search:13}", end="", flush=True)
        for problem in PROBLEMS:
            error = median_error(
                problem, n_seeds, solver=solver, rank_search=rank_search
            )
            print(f"{error:24.0e}", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
