r"""AISTATS 2022: matrix factorization with fixed random feedback.

    python benchmarks/papers/aistats2022_feedback.py [--out DIR] [--seed S ...]

S. Garg, S. Vempala, "How and When Random Feedback Works: A Case Study of Low-Rank
Matrix Factorization", AISTATS 2022. The sizes are our own: Y is 30 x 30 of rank 5 with
Gaussian factors; search rank r = 3, 4, 5, 8; all entries observed.

``solver="feedback"`` (FA) replaces the left factor, transposed in the gradient with
respect to the right one, by a random matrix B that is drawn once;
``solver="feedback-star"`` (FA*) also solves for the left factor exactly in every other
iteration. Both follow a flow, in steps of a fixed share of the largest stable one.

What to see: from r = rank(Y) on all reach the optimum. Below, gradient descent finds
that of the truncated SVD, while feedback ends in whatever subspace B selects. And the
left factor turns towards B on the way, which is what makes FA work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import Array, new_figure, parser, print_row, save_figure

from skprecgd.initialization import random
from skprecgd.measurements import FullObservation
from skprecgd.objective import make_objective
from skprecgd.optim import Result, minimize

TRUE_RANK = 5
SEARCH_RANKS = (3, 4, 5, 8)
METHODS = {"gd": "GD", "feedback": "FA", "feedback-star": "FA*"}
MAX_ITER = 8_000


def make_data(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, 30, TRUE_RANK))
    return left @ right.T


def run(Y: Array, solver: str, rank: int, seed: int) -> Result:
    objective = make_objective(FullObservation(Y.shape), Y)
    start = random(objective, rank, random_state=seed)
    return minimize(
        objective, start, solver=solver, max_iter=MAX_ITER, tol=1e-4, random_state=seed
    )


def relative_error(result: Result, Y: Array) -> float:
    return float(np.linalg.norm(result.factors.matrix() - Y) / np.linalg.norm(Y))


def subspace_overlap(first: Array, second: Array) -> float:
    """Mean squared cosine between two column spaces."""
    bases = [np.linalg.qr(block)[0] for block in (first, second)]
    return float(np.linalg.norm(bases[0].T @ bases[1]) ** 2 / first.shape[1])


def main() -> None:
    args = parser("AISTATS 2022: random feedback.").parse_args()
    print(f"||L R^T - Y|| / ||Y|| after at most {MAX_ITER} iterations, rank(Y) = 5;")
    print("overlap: of the column spaces of L that GD and FA* find\n")
    header = ("seed", "r", "truncated SVD", *METHODS.values(), "overlap", "iterations")
    widths = [4, 2, 13, 8, 8, 8, 7, 18]
    print_row(header, widths)
    shown: dict[int, dict[str, Result]] = {}
    for seed in args.seed:
        Y = make_data(seed)
        s = np.linalg.svd(Y, compute_uv=False)
        for rank in SEARCH_RANKS:
            results = {name: run(Y, name, rank, seed) for name in METHODS}
            if seed == args.seed[0]:
                shown[rank] = results
            optimum = np.linalg.norm(s[rank:]) / np.linalg.norm(s)
            errors = [f"{relative_error(r, Y):.1e}" for r in results.values()]
            gd, _, star = (r.factors.left for r in results.values())
            iterations = " / ".join(str(r.n_iter) for r in results.values())
            cells = [f"{optimum:.1e}", *errors, f"{subspace_overlap(gd, star):.2f}"]
            print_row([f"{seed}", f"{rank}", *cells, iterations], widths)
    save_figure(draw(shown), args.out, "aistats2022_feedback.png")


def draw(shown: dict[int, dict[str, Result]]) -> Any:
    """Residuals above, alignment below; search ranks from left to right."""
    figure, axes = new_figure(2, len(shown), sharey="row")
    for column, (rank, results) in zip(axes.T, shown.items(), strict=True):
        for name, result in results.items():
            history = result.history
            column[0].loglog(1 + history["iteration"], history["relative_residual"])
            alignment = np.full(len(history), np.nan)
            if "alignment" in history.columns:
                alignment = history["alignment"]
            column[1].semilogx(1 + history["iteration"], alignment, label=METHODS[name])
        relation = "<" if rank < TRUE_RANK else "=" if rank == TRUE_RANK else ">"
        column[0].set_title(f"r = {rank} {relation} rank")
        column[1].set_xlabel("iteration")
    axes[0, 0].set_ylabel("relative residual")
    axes[1, 0].set_ylabel("cosine of L and B")
    axes[1, 0].legend()
    return figure


if __name__ == "__main__":
    main()
