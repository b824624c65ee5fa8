r"""JMLR 2023, Figures 4 and 5: losses beyond the squared one, rank known or not.

    python benchmarks/papers/jmlr2023_figures4_5.py [--out DIR] [--seed S ...]
        [--problem NAME ...]

G. Zhang, S. Fattahi, R. Y. Zhang, "Preconditioned Gradient Descent for
Overparameterized Nonconvex Burer-Monteiro Factorization with Global Optimality
Certification", JMLR 24 (163), 2023.

The truth ``M* = Z Z^T`` is 100 x 100 of rank 2 with eigenvalues (1, 1) or (1, 1/5);
search rank r = 2 or 4; start ``X_0 = [Z 0] + 0.01 N(0, 1)``. The error is
``||X X^T - M*||_F / ||M*||_F``.

**Figure 4, 1-bit.** ``F(X) = sum_ij log(1 + exp(M_ij)) - a_ij M_ij`` over all entries,
at the limit of many observations: ``a_ij = 1 / (1 + exp(-M*_ij))``. The paper's step is
alpha = 0.5. (Its caption says kappa = 10, its text the same M* as before, kappa = 5; we
take 5.)

**Figure 5, phase retrieval.** ``F(X) = sum_i (||a_i^T X||^2 - y_i)^2`` with Gaussian
a_i. The paper's steps are alpha = 4e-4 (r = 2) and 1e-4 (r = 4); it does not say how
many measurements there are, so m = 10 n r is our choice, and the paper's steps, which
depend on it, are not run here.

**The other losses** of the package, in the setting of Figure 4 and not in the paper:
Huber and absolute (power 1, and 1.5) with every entry a target, Poisson with the rates
``exp(M*)`` as targets, and M* multiplied so that the root mean square of its entries is
0.3, that rates run from about 0.3 to 3.

For each problem:

* what the package does when nobody tunes anything, that is its default damping and the
  exact step, next to the same with conjugate directions, and gradient descent, also
  with the exact step, and its error where PrecGD reached the target;
* the fit with default parameters, `PrecGDMatrixSensing(r, symmetric=True, loss=...)`,
  which starts from the data alone: its error, rank and iterations to `tol`;
* for Figure 4 also the paper's step and its damping
  ``eta = ||grad F (X^T X)^-1/2||_F``, in our units: we minimise ``f = F / (m s c)``,
  with m s = 1 for all entries and c = 1/4 the curvature of the loss, so
  ``grad F = grad f / 4``. The paper steps ``X - alpha grad F (X^T X + eta I)^-1``,
  `minimize` steps ``X - t grad f (2 (X^T X + eta I))^-1``: they agree for
  ``t = alpha / 2``. The dual norm of F is ``sqrt(2) / 4`` times that of f in the
  package's metric, which carries the factor 2.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from _common import Array, parser, print_row, save_figure
from _near_the_truth import (
    CONDITION_NUMBERS,
    TARGET,
    TRUE_RANK,
    Curves,
    Panel,
    PaperGDStep,
    draw,
    reached,
)

from skprecgd import PrecGDMatrixSensing
from skprecgd.losses import (
    AbsoluteLoss,
    HuberLoss,
    LogisticLoss,
    Loss,
    PoissonLoss,
    SquaredLoss,
)
from skprecgd.measurements import FullObservation, Measurements, RankOneMeasurements
from skprecgd.objective import Objective, make_objective
from skprecgd.optim.metric import DualNormDamping
from skprecgd.optim.steps import FixedStep

SIZE = 100
SEARCH_RANKS = (2, 4)
ONE_BIT, PHASE = "1-bit", "phase retrieval"
LOSSES: dict[str, Loss] = {
    ONE_BIT: LogisticLoss(),
    PHASE: SquaredLoss(),
    "huber": HuberLoss(),
    "absolute": AbsoluteLoss(),
    "absolute-1.5": AbsoluteLoss(power=1.5),
    "poisson": PoissonLoss(),
}
FIGURES = {ONE_BIT: "figure4", PHASE: "figure5"}
# Root mean square of the entries of M*, where it is not the paper's.
SIZES = {"poisson": 0.3}
PAPER_STEP = 0.5
MEASUREMENTS_PER_UNKNOWN = 10


class Problem(NamedTuple):
    """One panel, what was measured of it, and the objective."""

    kind: str
    panel: Panel
    measurements: Measurements
    targets: Array
    objective: Objective


def make_problem(kind: str, rank: int, condition_number: float, seed: int) -> Problem:
    """The problem of one panel, from its own stream of random numbers."""
    rng = np.random.default_rng([seed, rank, int(condition_number)])
    panel = Panel.drawn(rng, rank, condition_number, SIZE)
    if kind in SIZES:
        panel = panel.of_size(SIZES[kind])
    loss = LOSSES[kind]
    measurements: Measurements = FullObservation(panel.truth.shape)
    targets = loss.mean(panel.truth.ravel())
    if kind == PHASE:
        a = rng.standard_normal((MEASUREMENTS_PER_UNKNOWN * SIZE * rank, SIZE))
        measurements = RankOneMeasurements(a)
        targets = measurements.forward(panel.z, panel.z)
    objective = make_objective(measurements, targets, loss)
    return Problem(kind, panel, measurements, targets, objective)


def curves_of(problem: Problem, max_iter: int) -> Curves:
    """Error curves of all methods, by name."""
    runs: dict[str, dict[str, Any]] = {
        "PrecGD": {},
        "PrecGD, conjugate": {"solver": "precgd-cg"},
        "GD": {"solver": "gd"},
    }
    if problem.kind == ONE_BIT:
        runs["paper's PrecGD"] = {
            "step": FixedStep(0.5 * PAPER_STEP),
            "damping": DualNormDamping(np.sqrt(2) / 4),
        }
        runs["paper's GD"] = {"solver": "gd", "step": PaperGDStep(0.5 * PAPER_STEP)}
    return {
        name: problem.panel.curve(problem.objective, max_iter=max_iter, **run)
        for name, run in runs.items()
    }


def gd_by_then(curves: Curves) -> str:
    """The error of gradient descent where PrecGD reached the target."""
    precgd, gd = curves["PrecGD"], curves["GD"]
    return f"{gd[min(len(precgd), len(gd)) - 1]:.1e}"


def default_fit(problem: Problem) -> str:
    """Error, rank and iterations of a fit with default parameters."""
    model = PrecGDMatrixSensing(
        problem.panel.rank, symmetric=True, loss=LOSSES[problem.kind], random_state=0
    ).fit(problem.measurements, problem.targets)
    truth = problem.panel.truth
    error = np.linalg.norm(model.matrix_ - truth) / np.linalg.norm(truth)
    return f"{error:.0e}, {model.n_components_}, {model.n_iter_} its"


def run(kind: str, seeds: list[int], max_iter: int) -> dict[str, Curves]:
    """Print the table of one kind; returns the curves of the first seed."""
    print(
        f"\n{kind}: iterations to relative error {TARGET:g}, or the error after "
        f"{max_iter}\n"
    )
    shown: dict[str, Curves] = {}
    for seed, rank, kappa in product(seeds, SEARCH_RANKS, CONDITION_NUMBERS):
        problem = make_problem(kind, rank, kappa, seed)
        curves = curves_of(problem, max_iter)
        header = ("seed", "r", "kappa", *curves, "GD by then", "default: error, rank")
        widths = [max(8, len(cell)) for cell in header]
        if not shown:
            print_row(header, widths)
        cells = [reached(curve) for curve in curves.values()]
        cells += [gd_by_then(curves), default_fit(problem)]
        print_row([f"{seed}", f"{rank}", f"{kappa}", *cells], widths)
        shown.setdefault(problem.panel.name, curves)
    return shown


def arguments() -> argparse.Namespace:
    options = parser("JMLR 2023, Figures 4 and 5: 1-bit sensing, phase retrieval.")
    options.add_argument(
        "--iterations",
        type=int,
        default=1000,
        metavar="N",
        help="most iterations of every method, as on the paper's axis (default: 1000)",
    )
    options.add_argument(
        "--problem", nargs="+", choices=LOSSES, default=list(LOSSES), metavar="NAME"
    )
    return options.parse_args()


def main() -> None:
    args = arguments()
    for kind in args.problem:
        panels = run(kind, args.seed, args.iterations)
        name = FIGURES.get(kind, kind)
        figure = draw(panels, f"{kind}, n = {SIZE}, r* = {TRUE_RANK}")
        save_figure(figure, args.out, f"jmlr2023_{name}.png")


if __name__ == "__main__":
    main()
