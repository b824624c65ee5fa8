r"""ICLR 2025: what a Nystrom start does for ScaledGD.

    python benchmarks/papers/iclr2025_nystrom.py [--out DIR] [--seed S ...]

B. Li, L. Zhang, A. Mokhtari, N. He, "On the Crucial Role of Initialization for Matrix
Factorization", ICLR 2025. The sizes are our own.

**Symmetric, complete data.** ``M = A`` is 40 x 40, PSD of rank 3, kappa = 100. The
iteration of the paper, ``X - eta (X X^T - A) X (X^T X)^+``, is ``solver="scaledgd",
step_size=eta``: the package's gradient of ``||X X^T - A||^2 / 2`` is twice
``(X X^T - A) X``, and its metric ``2 X^T X``. From ``X = A Omega`` every iterate stays
in the range of A, where eta = 1/2 is Heron's iteration for a square root: digits
double. A random start (``N(0, 0.1^2)``, which the range of A does not contain) only
halves its error.

**Asymmetric, complete data.** 40 x 45, rank 3. From ``L = A Omega, R = 0`` one step of
size 1 is exact for r >= 3.

The objective of complete data resolves its loss to 1e-16 of the squared norm, so every
error is measured against the truth.

**Sensing.** 40 x 30, rank 3, kappa = 5, 6 Gaussian measurements per degree of freedom,
PrecGD from the sketch of the back-projection and from its leading singular vectors.
The last table times the two starts where the back-projection is a large sparse matrix:
one product with it against a Lanczos iteration.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from _common import (
    Array,
    draw_panels,
    error_curve,
    first_at_most,
    parser,
    print_row,
    save_figure,
)

from skprecgd.datasets import make_low_rank, make_matrix_sensing
from skprecgd.factors import SymmetricFactor
from skprecgd.initialization import nystrom, spectral
from skprecgd.measurements import EntryMeasurements, FullObservation, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim.steps import ExactStep, FixedStep

RANK = 3
SEARCH_RANKS = (3, 6)


def symmetric_curves(search_rank: int, seed: int) -> dict[str, Array]:
    """Error of every iterate with step 1/2, from either start."""
    truth = make_low_rank(
        40, rank=RANK, condition_number=100, symmetric=True, random_state=seed
    )
    objective = make_objective(FullObservation(truth.shape), truth.matrix)
    rng = np.random.default_rng(seed)
    starts = {
        "Nystrom": nystrom(objective, search_rank, symmetric=True, random_state=seed),
        "random": SymmetricFactor(
            0.1 * np.sqrt(objective.data_norm) * rng.standard_normal((40, search_rank))
        ),
    }
    return {
        name: error_curve(
            objective,
            start,
            truth.matrix,
            FixedStep(0.5),
            target=0.0,
            solver="scaledgd",
            max_iter=50,
        )
        for name, start in starts.items()
    }


def run_symmetric(seeds: list[int]) -> dict[str, dict[str, Array]]:
    print("Symmetric, step 1/2: relative error after k iterations\n")
    header = ("seed", "r", "start", "k=4", "6", "8", "10", "12", "40", "k to 1e-13")
    widths = [4, 2, 8, *[7] * 6, 11]
    print_row(header, widths)
    shown: dict[str, dict[str, Array]] = {}
    for seed in seeds:
        for rank in SEARCH_RANKS:
            curves = symmetric_curves(rank, seed)
            shown.setdefault(f"r = {rank}", curves)
            for name, errors in curves.items():
                cells = [f"{errors[k]:.0e}" for k in (4, 6, 8, 10, 12, 40)]
                count = f"{first_at_most(errors, 1e-13):g}"
                print_row([f"{seed}", f"{rank}", name, *cells, count], widths)
    return shown


def run_asymmetric(seeds: list[int]) -> None:
    print("\nAsymmetric, one step of size 1 from L = A Omega, R = 0: relative error\n")
    kappas = (1, 1e2, 1e4)
    widths = [4, 2, *[10] * len(kappas)]
    print_row(["seed", "r", *(f"kappa {k:g}" for k in kappas)], widths)
    for seed in seeds:
        for rank in SEARCH_RANKS:
            cells = []
            for kappa in kappas:
                truth = make_low_rank(
                    40, 45, rank=RANK, condition_number=kappa, random_state=seed
                )
                objective = make_objective(FullObservation(truth.shape), truth.matrix)
                start = nystrom(objective, rank, random_state=seed)
                errors = error_curve(
                    objective,
                    start,
                    truth.matrix,
                    FixedStep(1.0),
                    target=0.0,
                    solver="scaledgd",
                    max_iter=1,
                )
                cells.append(f"{errors[1]:.0e}")
            print_row([f"{seed}", f"{rank}", *cells], widths)


def run_sensing(seeds: list[int]) -> None:
    print("\nSensing 40 x 30: iterations of PrecGD to relative error 1e-9\n")
    header = ("seed", "r", "start", "its fixed 1/2", "its exact")
    widths = [4, 2, 8, 13, 9]
    print_row(header, widths)
    for seed in seeds:
        freedom = RANK * (40 + 30 - RANK)
        A, y, truth = make_matrix_sensing(
            40,
            30,
            rank=RANK,
            n_measurements=6 * freedom,
            condition_number=5,
            random_state=seed,
        )
        objective = make_objective(as_measurements(A, truth.shape), y)
        for rank in SEARCH_RANKS:
            for name, init in (("Nystrom", nystrom), ("spectral", spectral)):
                start = init(objective, rank, random_state=seed)
                solver: dict[str, Any] = {"solver": "precgd", "max_iter": 500}
                counts = [
                    first_at_most(
                        error_curve(
                            objective, start, truth.matrix, step, target=1e-9, **solver
                        ),
                        1e-9,
                    )
                    for step in (FixedStep(0.5), ExactStep())
                ]
                cells = [f"{count:g}" for count in counts]
                print_row([f"{seed}", f"{rank}", name, *cells], widths)


def run_cost(seed: int) -> None:
    print("\nCost of the start: 2000 x 1500, 300,000 observed entries, milliseconds\n")
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(2000, size=300_000), rng.integers(1500, size=300_000)
    measurements = EntryMeasurements(rows, columns, (2000, 1500))
    objective = make_objective(measurements, rng.standard_normal(300_000))
    objective.matrix_gradient_at_zero()
    print_row(["r", "Nystrom", "spectral"], [3, 8, 8])
    for rank in (5, 20, 50):
        cells = []
        for init in (nystrom, spectral):
            began = perf_counter()
            init(objective, rank, random_state=seed)
            cells.append(f"{1e3 * (perf_counter() - began):.0f}")
        print_row([f"{rank}", *cells], [3, 8, 8])


def main() -> None:
    args = parser("ICLR 2025: the Nystrom start.").parse_args()
    figure = draw_panels(run_symmetric(args.seed), "relative error")
    figure.axes[0].set_ylim(1e-17, 10)
    figure.suptitle("ScaledGD, step 1/2, complete symmetric data, kappa = 100")
    run_asymmetric(args.seed)
    run_sensing(args.seed)
    run_cost(args.seed[0])
    save_figure(figure, args.out, "iclr2025_nystrom.png")


if __name__ == "__main__":
    main()
