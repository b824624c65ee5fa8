r"""JMLR 2023, Figures 6 and 7: the certificate along the iterations.

    python benchmarks/papers/jmlr2023_figures6_7.py [--out DIR] [--seed S ...]

G. Zhang, S. Fattahi, R. Y. Zhang, "Preconditioned Gradient Descent for
Overparameterized Nonconvex Burer-Monteiro Factorization with Global Optimality
Certification", JMLR 24 (163), 2023.

The problems: ``M* = Z Z^T`` is 100 x 100 of rank 2 with eigenvalues (1, 1), search rank
r = 4, start ``[Z 0] + 0.01 N(0, 1)``. Matrix sensing (1200 Gaussian matrices), rank-2
phase retrieval (``a_i^T M* a_i``, 1200 Gaussian vectors; the paper does not state how
many) and 1-bit sensing in the population limit (every entry's target is the probability
``1 / (1 + exp(-M*_ij))``). PrecGD with the paper's damping rule; the steps are the
package's, exact for the squared loss and backtracking for the logistic one.

At every iterate, the certificate bounds ``f(X) - f*`` by
``<grad f(X), X> / 2 + max(0, -lambda_min(S)) tr(M*)``, here with the true trace, so the
bound is rigorous. f* = 0 in all three problems. What to see: the bound is never
below the true gap and falls with it, at about half its slope on a logarithmic axis,
because a gradient is the square root of a gap.

``--size N`` also times one certificate of an N x N completion problem.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from _common import Array, ErrorRecorder, draw_panels, parser, print_row, save_figure
from _near_the_truth import TRUE_RANK, Panel
from scipy.special import expit

from skprecgd import observed_entries
from skprecgd.datasets import make_matrix_completion
from skprecgd.factors import Factors
from skprecgd.initialization import spectral
from skprecgd.losses import LogisticLoss
from skprecgd.measurements import (
    DenseMeasurements,
    FullObservation,
    RankOneMeasurements,
)
from skprecgd.objective import Objective, make_objective
from skprecgd.optim import certificate, minimize
from skprecgd.optim.steps import BacktrackingStep, ExactStep, StepRule

N, SEARCH_RANK = 100, 4
MAX_ITER = 300
SHOWN = (0, 20, 50, 100, 150, 200, 300)


class Problem:
    """One panel: objective and start."""

    def __init__(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        panel = Panel.drawn(rng, SEARCH_RANK, 1.0, N)
        self.start = panel.start
        self.step: StepRule = ExactStep()
        m = 3 * N * SEARCH_RANK
        if kind == "matrix sensing":
            A: Any = DenseMeasurements(rng.standard_normal((m, N * N)), (N, N))
        elif kind == "phase retrieval":
            A = RankOneMeasurements(rng.standard_normal((m, N)))
        else:
            targets = expit(panel.truth)
            measurements = FullObservation((N, N))
            self.objective: Objective = make_objective(
                measurements, targets, LogisticLoss()
            )
            self.step = BacktrackingStep()
            return
        self.objective = make_objective(A, A.forward(panel.z, panel.z))

    def curves(self) -> tuple[Array, Array]:
        """The true gap and its bound at every iterate."""
        objective = self.objective
        unit = objective.normalised()[1]
        bounds = []

        def gap(factors: Factors) -> float:
            point = factors.scaled(unit)
            bound = certificate(objective, point).with_trace_bound(TRUE_RANK)
            bounds.append(bound.gap)
            return objective.evaluate(point).value

        recorder = ErrorRecorder(self.step, gap)
        minimize(
            objective,
            self.start,
            solver="precgd",
            damping="dual_norm",
            step_size=recorder,
            max_iter=MAX_ITER,
            tol=0,
        )
        return np.array(recorder.errors), np.array(bounds)


KINDS = ("matrix sensing", "phase retrieval", "1-bit sensing")


def run(seeds: list[int]) -> dict[str, dict[str, Array]]:
    """Print the table; returns the curves of the first seed."""
    print("True gap / certified bound after k iterations of PrecGD, r = 4 > r* = 2\n")
    header = ("seed", "problem", *(f"k={k}" for k in SHOWN), "below", "slope")
    widths = [4, 15, *[15] * len(SHOWN), 5, 5]
    print_row(header, widths)
    shown: dict[str, dict[str, Array]] = {}
    for seed in seeds:
        for kind in KINDS:
            gaps, bounds = Problem(kind, seed).curves()
            shown.setdefault(kind, {"certified bound": bounds, "true gap": gaps})
            cells = [
                f"{gaps[min(k, len(gaps) - 1)]:.0e} / "
                f"{bounds[min(k, len(gaps) - 1)]:.0e}"
                for k in SHOWN
            ]
            below = int(np.sum(bounds < gaps))
            slope = np.polyfit(np.log(gaps), np.log(bounds), 1)[0]
            print_row([f"{seed}", kind, *cells, f"{below}", f"{slope:.2f}"], widths)
    return shown


def run_at_scale(size: int, seed: int) -> None:
    """Time the certificate where the gradient is a large sparse matrix."""
    X, _ = make_matrix_completion(
        size, size, rank=10, oversampling=5, condition_number=10, random_state=seed
    )
    measurements, y = observed_entries(X)
    objective = make_objective(measurements, y)
    start = spectral(objective, 10, random_state=seed)
    print(f"\nCompletion, {size} x {size}, {len(y)} entries, rank 10\n")
    print_row(["iterations", "relative gap", "seconds"], [10, 12, 7])
    for n_iter in (1, 20, 200):
        found = minimize(
            objective, start, solver="precgd-cg", max_iter=n_iter, tol=1e-9
        )
        began = perf_counter()
        bound = certificate(objective, found.factors, random_state=seed)
        seconds = perf_counter() - began
        cells = [f"{found.n_iter}", f"{bound.relative_gap:.1e}", f"{seconds:.2f}"]
        print_row(cells, [10, 12, 7])


def main() -> None:
    options = parser("JMLR 2023, Figures 6 and 7: the certificate.")
    options.add_argument(
        "--size", type=int, default=2000, metavar="N", help="0 leaves it out"
    )
    args = options.parse_args()
    figure = draw_panels(run(args.seed), "f - f*")
    if args.size:
        run_at_scale(args.size, args.seed[0])
    save_figure(figure, args.out, "jmlr2023_figures6_7.png")


if __name__ == "__main__":
    main()
