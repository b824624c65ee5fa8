"""Low rank plus sparse: `PrecGDFactorization(outlier_fraction=...)` and its peers.

An n x n matrix of rank 10 whose entries have root mean square 1, with a share of the
entries (a tenth) off by uniform numbers from [-10, 10]. Every method gets the same
matrix in the same process, on as many threads as the environment allows (set
OPENBLAS_NUM_THREADS to choose), and is timed by the CPU seconds of all threads.

* skprecgd: search rank twice the true one, and a bound of the corrupted share: the
  true one, a larger one, none ("auto").
* IALM: the convex program min ||L||_* + lambda ||S||_1 with lambda = 1 / sqrt(n) by the
  inexact augmented Lagrangian method, written out below with full SVDs.
* pyrpca ``rpca_pcp_ialm``: the same program and method, from PyPI.
* rpca ``RobustPCA``: accelerated alternating projections, from PyPI, with tol=1e-9. It
  takes off the columns' means, corrupted as they are, before it starts, which adds one
  to the rank: it is told the true rank plus one. The second row asks for the search
  rank that skprecgd gets.

The peers are left out, and said to be, where they are not installed.

``--cases`` leaves all of them out and shows what skprecgd does at other search ranks
and condition numbers, with a fifth of the entries off, and with half of them missing::

    pip install pyrpca rpca
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/robust_pca.py --size 1000
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/robust_pca.py --cases
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module, metadata
from io import StringIO
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import timed

from skprecgd import PrecGDFactorization
from skprecgd.datasets import make_robust_pca

Array = npt.NDArray[Any]
Recover = Callable[[Array], Array]

RANK = 10


def ours(fraction: float | str) -> Recover:
    """The recovered matrix; the fit only, as for the others."""

    def recover(X: Array) -> Array:
        model = PrecGDFactorization(2 * RANK, outlier_fraction=fraction).fit(X)
        return model.left_ @ model.right_.T

    return recover


def ialm(X: Array, tol: float = 1e-9, growth: float = 1.5) -> Array:
    """Principal component pursuit by the inexact augmented Lagrangian method."""
    weight = 1.0 / np.sqrt(max(X.shape))
    top, size = np.linalg.norm(X, 2), np.linalg.norm(X)
    dual = X / max(top, np.max(np.abs(X)) / weight)
    penalty, errors = 1.25 / top, np.zeros_like(X)
    for _ in range(500):
        u, s, vt = np.linalg.svd(X - errors + dual / penalty, full_matrices=False)
        kept = s > 1.0 / penalty
        low_rank = (u[:, kept] * (s[kept] - 1.0 / penalty)) @ vt[kept]
        rest = X - low_rank + dual / penalty
        errors = np.sign(rest) * np.maximum(np.abs(rest) - weight / penalty, 0.0)
        gap = X - low_rank - errors
        dual += penalty * gap
        penalty = min(growth * penalty, 1e9 / top)
        if np.linalg.norm(gap) <= tol * size:
            break
    return low_rank


def pyrpca_ialm(X: Array) -> Array:
    solve = import_module("pyrpca").rpca_pcp_ialm
    low_rank, _ = solve(X, 1.0 / np.sqrt(max(X.shape)), verbose=False)
    return np.asarray(low_rank)


def rpca_projections(rank: int) -> Recover:
    def recover(X: Array) -> Array:
        model = import_module("rpca").RobustPCA(
            n_components=rank, tol=1e-9, max_iter=500, verbose=False
        )
        # It prints whether it converged, verbose or not.
        with redirect_stdout(StringIO()):
            model.fit(X)
        return np.asarray(model.low_rank_ + model.mean_)

    return recover


METHODS: list[tuple[str, str | None, Recover]] = [
    ("skprecgd, bound 0.1", None, ours(0.1)),
    ("skprecgd, bound 0.2", None, ours(0.2)),
    ("skprecgd, auto", None, ours("auto")),
    ("IALM, full SVDs", None, ialm),
    ("pyrpca rpca_pcp_ialm", "pyrpca", pyrpca_ialm),
    ("rpca, true rank + 1", "rpca", rpca_projections(RANK + 1)),
    ("rpca, search rank", "rpca", rpca_projections(2 * RANK)),
]


# Off, missing, the bound that is given, condition number, search rank.
CASES = [
    *((0.1, 0.0, 0.1, kappa, r) for kappa in (1.0, 10.0, 100.0) for r in (10, 20)),
    (0.2, 0.0, 0.2, 1.0, 20),
    *((0.1, 0.5, 0.11, kappa, 20) for kappa in (1.0, 100.0)),
]


def compare_cases(options: argparse.Namespace) -> None:
    columns = ("off", "missing", "kappa", "r", "error", "rank", "iter", "CPU s")
    print("".join(f"{column:>9}" for column in columns))
    for share, missing, bound, kappa, r in CASES:
        X, _, truth = make_robust_pca(
            options.size,
            rank=RANK,
            condition_number=kappa,
            outlier_fraction=share,
            random_state=options.seed,
        )
        hidden = np.random.default_rng(options.seed).random(X.shape) < missing
        X[hidden] = np.nan
        model, cpu, _ = timed(PrecGDFactorization(r, outlier_fraction=bound).fit, X)
        error = truth.relative_error(model.left_, model.right_)
        print(
            f"{share:9.0%}{missing:9.0%}{kappa:9g}{r:9}{error:9.1e}"
            f"{model.n_components_:9}{model.n_iter_:9}{cpu:9.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1000, help="rows and columns")
    parser.add_argument("--kappa", type=float, nargs="+", default=[1.0, 100.0])
    parser.add_argument("--share", type=float, default=0.1, help="corrupted share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", action="store_true", help="no peers, other data")
    options = parser.parse_args()
    if options.cases:
        compare_cases(options)
        return
    print(f"{'kappa':>6}  {'method':<24}  {'error':>8}  {'CPU s':>7}  {'wall s':>7}")
    for kappa in options.kappa:
        X, _, truth = make_robust_pca(
            options.size,
            rank=RANK,
            condition_number=kappa,
            outlier_fraction=options.share,
            random_state=options.seed,
        )
        for name, package, recover in METHODS:
            line = f"{kappa:>6g}  {name:<24}"
            if package is not None and not _installed(package):
                print(f"{line}  not installed: pip install {package}")
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, cpu, wall = timed(recover, X.copy())
            error = truth.relative_error(found)
            print(f"{line}  {error:>8.1e}  {cpu:>7.2f}  {wall:>7.2f}", flush=True)


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
