r"""The error under noise against ``sigma^2 n r log n / m``.

    python benchmarks/papers/noise_floor.py [--out DIR] [--seed S ...]

J. Zhang, S. Fattahi, R. Y. Zhang, "Preconditioned Gradient Descent for
Over-Parameterized Nonconvex Matrix Factorization", NeurIPS 2021, and J. Zhang,
R. Y. Zhang, H.-M. Chiu, "Fast and Accurate Estimation of Low-Rank Matrices from Noisy
Measurements via Preconditioned Non-Convex Gradient Descent", AISTATS 2024, state that
PrecGD converges to a squared error of order ``sigma^2 n r log n / m``: the first with
the damping ``eta = sqrt(|f - sigma^2|)``, the second with one that shrinks
geometrically and needs no noise level.

All settings are ours: the truth ``M* = Z Z^T`` is 50 x 50 of rank 2 with eigenvalues 1
and 1/5; m Gaussian measurement matrices with N(0, 1) entries; noise N(0, sigma^2). The
search rank is 2, the truth's, or 6, from the spectral start and with the exact step.

A row of the table is one pair of sigma and m. Its columns are
``||M - M*||_F^2 / (sigma^2 n r* log n / m)``: if the statement is right, they do not
change from row to row.

* ``r = 2`` and ``r = 6``, to convergence, by the damping ``variance_proxy`` with the
  true variance;
* ``path``: what the package does by default, an upper bound of 6 for the rank and
  nothing known of the noise; ``sigma_hat / sigma`` is the estimate of
  ``noise_variance="auto"`` on the way.

The second table has, for one pair, how many iterations of PrecGD at ``r = 6`` each
damping needs until the error is within 1 % of where it ends.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

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

from skprecgd.initialization import spectral
from skprecgd.measurements import DenseMeasurements
from skprecgd.objective import Objective, make_objective
from skprecgd.optim import rank_path
from skprecgd.optim.steps import ExactStep

SIZE = 50
TRUE_RANK = 2
SEARCH_RANK = 6
EIGENVALUES = (1.0, 0.2)
SIGMAS = (1e-4, 1e-3, 1e-2, 1e-1)
SAMPLING = (5, 10, 20)
DAMPINGS = ("variance_proxy", "geometric", "dual_norm", "sqrt_loss")
SHOWN = (1e-2, 10)
MAX_ITER = 1000


class Problem(NamedTuple):
    """Noisy measurements of a truth."""

    truth: Array
    sigma: float
    objective: Objective

    @property
    def floor(self) -> float:
        """What the squared error is measured in."""
        m = self.objective.n_measurements
        return self.sigma**2 * SIZE * TRUE_RANK * np.log(SIZE) / m


def make_problem(sigma: float, sampling: int, seed: int) -> Problem:
    """m = sampling * n * r* measurements; sigma only stretches the same noise."""
    rng = np.random.default_rng([seed, sampling])
    basis, _ = np.linalg.qr(rng.standard_normal((SIZE, TRUE_RANK)))
    truth = (basis * EIGENVALUES) @ basis.T
    stack = rng.standard_normal((sampling * SIZE * TRUE_RANK, SIZE * SIZE))
    y = stack @ truth.ravel() + sigma * rng.standard_normal(len(stack))
    measurements = DenseMeasurements(stack, (SIZE, SIZE))
    return Problem(truth, sigma, make_objective(measurements, y))


def ratio(problem: Problem, matrix: Array) -> float:
    """Squared error in units of the floor."""
    return float(np.linalg.norm(matrix - problem.truth) ** 2 / problem.floor)


def recovered(problem: Problem, rank: int, **options: Any) -> Any:
    """The path (or its one stage) with a tolerance far below the noise."""
    return rank_path(
        problem.objective,
        rank,
        symmetric=True,
        tol=1e-5 * problem.sigma,
        max_iter=MAX_ITER,
        random_state=0,
        **options,
    )


def run_floor(seeds: list[int]) -> None:
    """Print the table of the ratios."""
    print("Squared error / (sigma^2 n r* log n / m)\n")
    header = ("seed", "sigma", "m", "r = 2", "r = 6", "path", "rank", "sigma_hat/sigma")
    widths = [max(6, len(cell)) for cell in header]
    print_row(header, widths)
    for seed, sampling, sigma in product(seeds, SAMPLING, SIGMAS):
        problem = make_problem(sigma, sampling, seed)
        known = {"rank_search": "fixed", "noise_variance": sigma**2}
        fixed = [
            ratio(problem, recovered(problem, rank, **known).factors.matrix())
            for rank in (TRUE_RANK, SEARCH_RANK)
        ]
        path = recovered(problem, SEARCH_RANK, noise_variance="auto")
        ratios = [*fixed, ratio(problem, path.factors.matrix())]
        estimate = np.sqrt(path.noise_variance) / sigma
        print_row(
            [
                f"{seed}",
                f"{sigma:g}",
                f"{problem.objective.n_measurements}",
                *(f"{value:.2f}" for value in ratios),
                f"{path.factors.rank}",
                f"{estimate:.3f}",
            ],
            widths,
        )


def run_dampings(seed: int) -> dict[str, Array]:
    """Print how fast each damping gets there; returns the error curves."""
    sigma, sampling = SHOWN
    problem = make_problem(sigma, sampling, seed)
    print(
        f"\nPrecGD, r = {SEARCH_RANK}, sigma = {sigma:g}, "
        f"m = {problem.objective.n_measurements}, seed {seed}\n"
    )
    header = ("damping", "error", "iterations to 1 % of it")
    widths = [max(14, len(cell)) for cell in header]
    print_row(header, widths)
    start = spectral(problem.objective, SEARCH_RANK, symmetric=True)
    curves = {}
    for damping in DAMPINGS:
        known = {"noise_variance": sigma**2} if damping == "variance_proxy" else {}
        curve = curves[damping] = error_curve(
            problem.objective,
            start,
            problem.truth,
            ExactStep(),
            target=0.0,
            damping=damping,
            max_iter=MAX_ITER,
            **known,
        )
        close = first_at_most(np.abs(curve / curve[-1] - 1), 0.01)
        print_row([damping, f"{curve[-1]:.2e}", f"{close:g}"], widths)
    return curves


def main() -> None:
    args = parser("The error under noise against its theoretical order.").parse_args()
    run_floor(args.seed)
    curves = run_dampings(args.seed[0])
    shown = {name: curve[:200] for name, curve in curves.items()}
    title = f"Noisy sensing, r = {SEARCH_RANK} > r* = {TRUE_RANK}"
    figure = draw_panels({title: shown}, "relative error")
    save_figure(figure, args.out, "noise_floor.png")


if __name__ == "__main__":
    main()
