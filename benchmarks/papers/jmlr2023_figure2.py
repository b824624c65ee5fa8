r"""JMLR 2023, Figure 2: matrix sensing from close to the truth, rank known or not.

    python benchmarks/papers/jmlr2023_figure2.py [--out DIR] [--seed S ...]

G. Zhang, S. Fattahi, R. Y. Zhang, "Preconditioned Gradient Descent for
Overparameterized Nonconvex Burer-Monteiro Factorization with Global Optimality
Certification", JMLR 24 (163), 2023.

The problem: ``M* = Z Z^T`` is 100 x 100 of rank 2 with eigenvalues (1, 1) or
(1, 1/5); search rank r = 2 or 4 (and 10, which the paper does not have);
``m = 3 n r`` measurement matrices with independent N(0, 1) entries, no noise;
start ``X_0 = [Z 0] + 0.01 N(0, 1)``. The error is ``||X X^T - M*||_F / ||M*||_F``.

**Exact step.** PrecGD with the package's default damping and with the paper's
rule (``dual_norm``), against gradient descent, all with the exact step: what the
package does when nobody tunes anything. The paper's claim shows as a count of
iterations that hardly depends on the panel, where gradient descent stalls.

**Fixed step.** The paper's own steps, alpha = 2e-6 for r = 2 and 1e-5 for r = 4,
on its own loss ``F(X) = ||A(X X^T) - b||^2``, which is not averaged. In our units:

* We minimise ``f = F / (2 m s)``, s the measurements' mean squared entry, so
  ``grad F = 2 m s grad f``.
* The paper steps ``X - alpha grad F (X^T X + eta I)^-1``; `minimize` steps
  ``X - t grad f (2 (X^T X + eta I))^-1``, the 2 because X stands for both factors.
  They agree for ``t = 4 m s alpha``.
* The paper's ``eta = ||grad F (X^T X)^-1/2||_F`` is
  ``2 m s sqrt(2) ||grad f (2 X^T X)^-1/2||_F``, and the last norm is what
  `DualNormDamping` multiplies: its factor is ``2 sqrt(2) m s``.
* `minimize` works on ``M / unit``: X becomes ``X / unit^(1/2)``, f ``f / unit^2``,
  its gradient ``grad f / unit^(3/2)``. The dual norm, eta and ``X^T X`` are all
  divided by `unit`, so neither t nor the factor changes.
* Gradient descent in `minimize` divides by ``2 lambda_max(X^T X)``, which the paper
  does not: ``t_k = 4 m s alpha lambda_max(X_k^T X_k)``, `PaperGDStep`.

``--check`` runs the paper's update, written out in ten lines, next to `minimize`
so translated and compares the iterates.

Because F is a sum over m measurements, the paper's eta is about ``2 m`` times the
error and exceeds ``lambda_max(X^T X) = 1`` until the error is below ``1 / (2 m)``.
The third run therefore divides eta by ``2 m s``, the curvature of F (factor
``sqrt(2)`` instead of ``2 sqrt(2) m s``), with the paper's step, and the fourth also
takes t = 0.5, that is ``alpha = 1 / (8 m s)``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from _common import Array, first_at_most, parser, print_row, save_figure
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

from skprecgd.measurements import DenseMeasurements
from skprecgd.objective import Objective, make_objective
from skprecgd.optim import minimize
from skprecgd.optim.metric import DualNormDamping
from skprecgd.optim.steps import FixedStep

PAPER_STEPS = {2: 2e-6, 4: 1e-5}
SEARCH_RANKS = (*PAPER_STEPS, 10)
# Beyond this many iterations PrecGD with the exact step has failed the claim.
MAX_EXACT = 500
FIXED_METHODS = (
    "GD, paper's step",
    "PrecGD, paper's step and eta",
    "PrecGD, paper's step, eta / 2ms",
    "PrecGD, t = 0.5, eta / 2ms",
)


@dataclass(frozen=True)
class Problem:
    """One panel and its measurements."""

    panel: Panel
    measurements: DenseMeasurements

    @cached_property
    def objective(self) -> Objective:
        targets = self.measurements.stack @ self.panel.truth.ravel()
        return make_objective(self.measurements, targets)

    @property
    def scale(self) -> float:
        """``m s``: the sum of squares of the measurement matrices, per cell."""
        return len(self.measurements) * self.measurements.mean_square

    def paper_gd(self, alpha: float) -> PaperGDStep:
        """The paper's gradient descent: ``t_k = 4 m s alpha lambda_max``."""
        return PaperGDStep(4 * self.scale * alpha * self.objective.data_norm)


def make_problem(
    rank: int, condition_number: float, seed: int, size: int = 100
) -> Problem:
    """The problem of one panel, from its own stream of random numbers."""
    rng = np.random.default_rng([seed, rank, int(condition_number)])
    panel = Panel.drawn(rng, rank, condition_number, size)
    stack = rng.standard_normal((3 * size * rank, size * size))
    return Problem(panel, DenseMeasurements(stack, (size, size)))


def paper_precgd(problem: Problem, alpha: float) -> dict[str, Any]:
    """Options of `minimize` that make it the paper's update, unnormalised loss."""
    return {
        "step": FixedStep(4 * problem.scale * alpha),
        "damping": DualNormDamping(2 * np.sqrt(2) * problem.scale),
    }


# -- exact step ------------------------------------------------------------------


class Row(NamedTuple):
    """One line of the table of the exact step."""

    seed: int
    rank: int
    kappa: float
    m: int
    default: float
    dual_norm: float
    gd_error: float


def exact_step(problem: Problem) -> Curves:
    """Error curves of the three methods, by name."""
    curve, objective = problem.panel.curve, problem.objective
    curves = {
        "PrecGD, default": curve(objective, max_iter=MAX_EXACT),
        "PrecGD, dual_norm": curve(objective, max_iter=MAX_EXACT, damping="dual_norm"),
    }
    longest = max(map(len, curves.values())) - 1
    return curves | {"GD": curve(objective, max_iter=longest, solver="gd")}


def run_exact(seeds: list[int]) -> dict[str, Curves]:
    """Print the table of the exact step; returns the curves of the first seed."""
    print(f"Exact step: iterations to relative error {TARGET:g}\n")
    header = ("seed", "r", "kappa", "m", "PrecGD", "with dual_norm", "GD's error then")
    widths = [max(4, len(cell)) for cell in header]
    print_row(header, widths)
    shown: dict[str, Curves] = {}
    rows = []
    for seed, rank, kappa in product(seeds, SEARCH_RANKS, CONDITION_NUMBERS):
        problem = make_problem(rank, kappa, seed)
        curves = exact_step(problem)
        shown.setdefault(problem.panel.name, curves)
        default, dual_norm, gd = curves.values()
        count = first_at_most(default, TARGET)
        row = Row(
            seed,
            rank,
            kappa,
            len(problem.measurements),
            count,
            first_at_most(dual_norm, TARGET),
            float(gd[int(min(count, len(gd) - 1))]),
        )
        rows.append(row)
        print_row([*(f"{cell:g}" for cell in row[:-1]), f"{row[-1]:.1e}"], widths)
    for seed in seeds:
        _print_summary(seed, [row for row in rows if row.seed == seed])
    return shown


def _print_summary(seed: int, rows: list[Row]) -> None:
    paper = [row for row in rows if row.rank in PAPER_STEPS]
    print(f"\nseed {seed}: how much the count varies (largest / smallest - 1)")
    for name, some in (("the paper's four panels", paper), ("all six", rows)):
        default = _spread([row.default for row in some])
        dual_norm = _spread([row.dual_norm for row in some])
        print(f"  {name}: {default:.0%}, with dual_norm {dual_norm:.0%}")
    lowest = min(row.gd_error for row in rows if row.rank > TRUE_RANK)
    print(f"  lowest error of GD with r > r* by then: {lowest:.1e}", flush=True)


def _spread(counts: list[float]) -> float:
    return max(counts) / min(counts) - 1


# -- the paper's step ------------------------------------------------------------


def fixed_step(problem: Problem, max_iter: int) -> Curves:
    """Error curves with constant steps, by the names in `FIXED_METHODS`."""
    panel, alpha = problem.panel, PAPER_STEPS[problem.panel.rank]
    paper = paper_precgd(problem, alpha)
    normalised = DualNormDamping(np.sqrt(2))
    runs: list[dict[str, Any]] = [
        {"step": problem.paper_gd(alpha), "solver": "gd"},
        paper,
        paper | {"damping": normalised},
        {"step": FixedStep(0.5), "damping": normalised},
    ]
    curves = (
        panel.curve(problem.objective, max_iter=max_iter, **options) for options in runs
    )
    return dict(zip(FIXED_METHODS, curves, strict=True))


def run_fixed(seed: int, max_iter: int) -> dict[str, Curves]:
    """Print the table of the fixed steps; returns the curves."""
    print(
        f"\nFixed step, seed {seed}: iterations to relative error {TARGET:g}, or the "
        f"error after {max_iter}\n"
    )
    header = ("r", "kappa", "alpha", "t", *FIXED_METHODS)
    widths = [max(6, len(cell)) for cell in header]
    print_row(header, widths)
    shown = {}
    for (rank, alpha), kappa in product(PAPER_STEPS.items(), CONDITION_NUMBERS):
        problem = make_problem(rank, kappa, seed)
        curves = shown[problem.panel.name] = fixed_step(problem, max_iter)
        t = 4 * problem.scale * alpha
        cells = [reached(curve) for curve in curves.values()]
        print_row([f"{rank}", f"{kappa}", f"{alpha:g}", f"{t:.4f}", *cells], widths)
    return shown


# -- check -----------------------------------------------------------------------


def paper_update(
    problem: Problem, alpha: float, n_iter: int, *, preconditioned: bool
) -> Array:
    """The paper's iteration, written out: the reference of ``--check``."""
    truth, x = problem.panel.truth, problem.panel.start.left
    n, stack = len(truth), problem.measurements.stack
    b = stack @ truth.ravel()
    for _ in range(n_iter):
        back = (stack.T @ (stack @ (x @ x.T).ravel() - b)).reshape(n, n)
        gradient = 2 * (back + back.T) @ x
        gram = x.T @ x
        if preconditioned:
            eta = np.sqrt(np.trace(gradient @ np.linalg.inv(gram) @ gradient.T))
            gradient = gradient @ np.linalg.inv(gram + eta * np.eye(len(gram)))
        x = x - alpha * gradient
    return x


def check() -> None:
    """Compare `minimize`, translated, with the paper's update."""
    n_iter = 30
    for rank in SEARCH_RANKS[:2]:
        problem = make_problem(rank, 5, seed=0, size=20)
        for name, alpha in (("PrecGD", 3e-3), ("GD", 2e-4)):
            preconditioned = name == "PrecGD"
            options: dict[str, Any] = {"step_size": problem.paper_gd(alpha)}
            if preconditioned:
                options = paper_precgd(problem, alpha)
                options["step_size"] = options.pop("step")
            result = minimize(
                problem.objective,
                problem.panel.start,
                solver=name.lower(),
                tol=0,
                max_iter=n_iter,
                **options,
            )
            theirs = paper_update(problem, alpha, n_iter, preconditioned=preconditioned)
            moved = np.linalg.norm(theirs - problem.panel.start.left)
            difference = np.linalg.norm(result.factors.left - theirs) / moved
            print(f"{name}, r = {rank}: difference / distance moved {difference:.1e}")
            if not difference < 1e-9:
                raise SystemExit("The translation to the package's units is wrong.")


def arguments() -> argparse.Namespace:
    options = parser("JMLR 2023, Figure 2: matrix sensing.")
    options.add_argument(
        "--fixed-iterations",
        type=int,
        default=3000,
        metavar="N",
        help="iterations with the paper's fixed step; the paper's axis ends at 6000, "
        "0 leaves this part out (default: 3000)",
    )
    options.add_argument(
        "--check",
        action="store_true",
        help="only compare the translated fixed step with the paper's update",
    )
    return options.parse_args()


def main() -> None:
    args = arguments()
    if args.check:
        check()
        return
    exact = run_exact(args.seed)
    title = "Matrix sensing, n = 100, r* = 2, m = 3nr"
    figure = draw(exact, f"{title}: exact step")
    save_figure(figure, args.out, "jmlr2023_figure2_exact_step.png")
    if args.fixed_iterations > 0:
        fixed = run_fixed(args.seed[0], args.fixed_iterations)
        figure = draw(fixed, f"{title}: fixed step")
        save_figure(figure, args.out, "jmlr2023_figure2_fixed_step.png")


if __name__ == "__main__":
    main()
