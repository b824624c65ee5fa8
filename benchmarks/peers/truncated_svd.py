"""Truncated SVD, side by side with scikit-learn and SciPy.

``--race defaults`` (the default): the swap at default parameters. `PrecGDFactorization`
and `skprecgd.TruncatedSVD` beside ``TruncatedSVD`` of scikit-learn, 20 and 100
components of dense matrices with singular values 1/i, 1/sqrt(i) and i^-0.6, of sparse
ones whose columns have very different numbers of entries, and of the tf-idf matrix of
the docstrings of installed packages. For each: CPU seconds of `fit` against theirs and
those of `transform`, the median of the rounds and the worst; the excess of the energy
that is not captured, over that of the best matrix; the relative error of singular
values that are 5 % above the first left out; the peak of memory beyond X, against
theirs; and the *floor*, the columns that X and its transpose are multiplied with over
the 12 (k + 10) of the randomized method. A column in single precision takes half as
long.

``--race small``: the same with 2 to 20 components of the tf-idf matrix of some thousand
short texts, which TruncatedSVD decomposes in some hundredths of a second.

``--race tolerances``: leading 50 triplets of a dense 5000 x 2000 matrix with singular
values 1/i or 1/sqrt(i), and of a sparse 50000 x 20000 matrix of density 1e-3. The error
of a result is its excess: the Frobenius error of the rank-50 approximation over that of
the best one, minus 1. Two races: against the randomized method (``n_iter=5``), to its
error, where ours runs at the loosest of a few tolerances that gets there; and to an
excess of 1e-8, where SciPy's solvers run at the loosest of theirs. Tolerances are
searched for outside the clock.

All run in one process, in turn, ``--repeats`` times; ratios within a round. BLAS has
one thread unless ``OPENBLAS_NUM_THREADS`` says otherwise.

    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/truncated_svd.py
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/truncated_svd.py --race small
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/truncated_svd.py --race tolerances
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import scipy
import sklearn
from _common import missed, parser, timed
from scipy import linalg, sparse
from scipy.sparse.linalg import svds
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import skprecgd
from skprecgd import PrecGDFactorization
from skprecgd._linalg.energy_svd import energy_svd
from skprecgd._linalg.svd_tuning import ENERGY
from skprecgd._linalg.truncated_svd import truncated_svd

EXACT = 1e-8
OUR_TOLERANCES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5)
THEIR_TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)

Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]


def dense(n_rows: int, n_columns: int, power: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    u, v = (
        linalg.qr(rng.standard_normal((n, n_columns)), mode="economic")[0]
        for n in (n_rows, n_columns)
    )
    return (u * np.arange(1.0, n_columns + 1) ** -power) @ v.T


def skewed(n_rows: int, n_columns: int, density: float, seed: int) -> Any:
    """Normal entries, column j with a share of them like ``j ** -0.7``."""
    rng = np.random.default_rng(seed)
    share = np.arange(1.0, n_columns + 1) ** -0.7
    n_entries = int(density * n_rows * n_columns)
    cells = (
        rng.integers(n_rows, size=n_entries),
        rng.choice(n_columns, size=n_entries, p=share / share.sum()),
    )
    values = rng.standard_normal(n_entries)
    return sparse.csr_array((values, cells), shape=(n_rows, n_columns))


class Judge:
    """Excess errors on one matrix."""

    def __init__(self, X: Any, rank: int) -> None:
        self.X = X
        self.square = float(np.sum(np.square(X.data if sparse.issparse(X) else X)))
        # Triplets accurate to 1e-7 have singular values accurate to its square.
        exact = ours(X, rank, 1e-9)[1]
        self.best = self.square - float(np.sum(exact**2))

    def excess(self, found: Triplets) -> float:
        u, s, v = found
        left = u * s
        cross = float(np.sum((self.X @ v) * left))
        square = float(np.vdot(left.T @ left, v.T @ v))
        return float(np.sqrt((self.square - 2 * cross + square) / self.best) - 1)


def ours(X: Any, rank: int, tol: float) -> Triplets:
    model = PrecGDFactorization(n_components=rank, tol=tol, random_state=0).fit(X)
    s = model.singular_values_
    return model.left_ / np.sqrt(s), s, model.right_ / np.sqrt(s)


def randomized(X: Any, rank: int, tol: float) -> Triplets:
    model = TruncatedSVD(rank, algorithm="randomized", n_iter=5, random_state=0)
    scores = model.fit_transform(X)
    s = model.singular_values_
    return scores / s, s, model.components_.T


def scipy_solver(name: str) -> Callable[..., Triplets]:
    def solve(X: Any, rank: int, tol: float) -> Triplets:
        more = {"propack": {"maxiter": 2000}, "lobpcg": {"maxiter": 200}}
        u, s, vt = svds(
            X,
            k=rank,
            tol=tol,
            solver=name,
            rng=np.random.default_rng(0),
            **more.get(name, {}),
        )
        return u, s, vt.T

    return solve


METHODS: dict[str, tuple[str, Callable[..., Triplets], Sequence[float]]] = {
    "skprecgd": (skprecgd.__version__, ours, OUR_TOLERANCES),
    "randomized": (f"sklearn {sklearn.__version__}", randomized, (0.0,)),
    **{
        name: (f"scipy {scipy.__version__}", scipy_solver(name), THEIR_TOLERANCES)
        for name in ("arpack", "propack", "lobpcg")
    },
}


def loosest(name: str, judge: Judge, rank: int, wanted: float) -> tuple[float, float]:
    """The loosest tolerance of a method that gets there, or the best; its error."""
    tried = []
    for tol in METHODS[name][2]:
        try:
            error = judge.excess(METHODS[name][1](judge.X, rank, tol))
        except Exception as failure:
            print(f"  {name} with tol={tol:g}: {type(failure).__name__}: {failure}")
            continue
        if error <= wanted:
            return tol, error
        tried.append((error, tol))
    if not tried:
        return np.nan, np.nan
    error, tol = min(tried)
    return tol, error


def race(judge: Judge, rank: int, wanted: float, names: list[str], repeats: int):
    """Prints a line for each method; the peers are judged against us."""
    chosen = {name: loosest(name, judge, rank, wanted) for name in names}
    chosen = {name: pair for name, pair in chosen.items() if np.isfinite(pair[0])}
    rounds = []
    for _ in range(repeats):
        times = {}
        for name, (tol, _) in chosen.items():
            run = timed(METHODS[name][1], judge.X, rank, tol)
            times[name] = run._replace(found=None)
        rounds.append(times)
    for name, (tol, error) in chosen.items():
        cpu = median(r[name].cpu for r in rounds)
        wall = median(r[name].wall for r in rounds)
        ratio = median(r["skprecgd"].cpu / r[name].cpu for r in rounds)
        print(
            f"  {name:12}{METHODS[name][0]:16}{tol:8.0e}{error:10.1e}{cpu:9.2f}"
            f"{wall:8.2f}{ratio:12.2f}{missed(error, wanted)}",
            flush=True,
        )


# ---- the swap at default parameters

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "matplotlib", "dask")
NOT_READ = ("test", "conftest", "__main__", "backends", "setup", "externals", "f2py")
RANKS = (20, 100)
# What the race of small data reads, and its numbers of components.
SECTIONS = (
    "cluster",
    "decomposition",
    "ensemble",
    "impute",
    "linear_model",
    "neighbors",
    "preprocessing",
    "svm",
    "tree",
)
FEW = (2, 5, 10, 20)


def documents() -> list[str]:
    """The docstrings of the functions and classes of the packages, each once."""
    found = set()
    for module in modules():
        for member in list(vars(module).values()):
            if not (inspect.isfunction(member) or inspect.isclass(member)):
                continue
            text = member.__doc__
            if isinstance(text, str) and len(text) > 40:
                found.add(text)
    return sorted(found)


def modules() -> Iterator[Any]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        print(f"  {name} {package.__version__}", end="")
        for _, path, _ in pkgutil.walk_packages(
            package.__path__, f"{name}.", onerror=lambda _: None
        ):
            if any(part in path for part in NOT_READ):
                continue
            try:
                yield importlib.import_module(path)
            except BaseException:
                continue
    print()


def tfidf() -> Any:
    return sparse.csr_array(TfidfVectorizer().fit_transform(documents()))


def of_paragraphs() -> Any:
    """The tf-idf of the paragraphs of what scikit-learn says of its classes."""
    modules = (importlib.import_module(f"sklearn.{name}") for name in SECTIONS)
    texts = [
        inspect.getdoc(getattr(module, name)) or ""
        for module in modules
        for name in module.__all__
        if name[0].isupper()
    ]
    parts = [part for text in texts for part in text.split("\n\n") if len(part) > 40]
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    return sparse.csr_array(words.fit_transform(parts))


KINDS: dict[str, Callable[[], Any]] = {
    "5000 x 2000, 1/i": lambda: dense(5000, 2000, 1.0, 0),
    "5000 x 2000, 1/sqrt(i)": lambda: dense(5000, 2000, 0.5, 0),
    "the same, F order": lambda: np.asfortranarray(dense(5000, 2000, 0.5, 0)),
    "the same, float32": lambda: dense(5000, 2000, 0.5, 0).astype(np.float32),
    "6000 x 1200, 1/i": lambda: dense(6000, 1200, 1.0, 0),
    "3000 x 1000, i^-0.6": lambda: dense(3000, 1000, 0.6, 0),
    "sparse 50000 x 20000": lambda: canonical(skewed(50000, 20000, 1.2e-3, 0)),
    "sparse 40000 x 15000": lambda: canonical(skewed(40000, 15000, 1.2e-3, 0)),
    "the same, CSC": lambda: canonical(skewed(40000, 15000, 1.2e-3, 0)).tocsc(),
    "the same, float32 ": lambda: canonical(skewed(40000, 15000, 1.2e-3, 0)).astype(
        np.float32
    ),
    "tf-idf of docstrings": tfidf,
}


SMALL: dict[str, Callable[[], Any]] = {"tf-idf of paragraphs": of_paragraphs}


def canonical(X: Any) -> Any:
    X.sum_duplicates()
    return X


def peak(call: Callable[[], Any]) -> float:
    """Bytes that a call holds at most beyond those before."""
    tracemalloc.start()
    try:
        call()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


class Exact:
    """What the best matrix of a rank captures."""

    def __init__(self, X: Any, rank: int) -> None:
        self.X, self.rank = X.astype(np.float64), rank
        numbers = self.X.data if sparse.issparse(X) else self.X
        self.total = float(np.sum(np.square(numbers)))
        exact = truncated_svd(self.X, rank + 1, tol=1e-6, random_state=0)
        self.s = exact.s

    def excess(self, model: Any) -> float:
        basis = np.linalg.qr(model.components_.T.astype(np.float64))[0]
        left = self.total - float(np.linalg.norm(self.X @ basis) ** 2)
        return left / (self.total - float(np.sum(self.s[:-1] ** 2))) - 1.0

    def value_error(self, model: Any) -> float:
        apart = self.s[:-1] > 1.05 * self.s[-1]
        errors = np.abs(model.singular_values_ / self.s[:-1] - 1.0)[apart]
        return float(np.max(errors, initial=0.0))


def swap(label: str, X: Any, rank: int, repeats: int) -> None:
    """Prints a line for each of ours."""
    kinds = {"fact.": PrecGDFactorization, "class": skprecgd.TruncatedSVD}
    exact = Exact(X, rank)
    fits: dict[str, list[float]] = {name: [] for name in kinds}
    maps: dict[str, list[float]] = {name: [] for name in kinds}
    worst = dict.fromkeys(kinds, (0.0, 0.0))
    theirs_excess, base = [], []
    for seed in range(repeats):
        theirs = TruncatedSVD(rank, random_state=seed)
        run = timed(theirs.fit, X)
        base.append(run.cpu)
        mapped = timed(theirs.transform, X).cpu
        theirs_excess.append(exact.excess(theirs))
        for name, kind in kinds.items():
            model = kind(rank, random_state=seed)
            fits[name].append(timed(model.fit, X).cpu / run.cpu)
            maps[name].append(timed(model.transform, X).cpu / mapped)
            errors = exact.excess(model), exact.value_error(model)
            worst[name] = tuple(map(max, worst[name], errors))
    memory = peak(lambda: TruncatedSVD(rank, random_state=0).fit(X))
    counted = energy_svd(X, rank, random_state=0)
    columns = 2 * ENERGY.width * counted.n_blocks + rank
    floor = columns / (12 * (rank + 10))
    for name, kind in kinds.items():
        ours = peak(lambda kind=kind: kind(rank, random_state=0).fit(X))
        excess, error = worst[name]
        print(
            f"{label:24}{rank:4} {name:6}{median(base):7.2f}{floor:7.2f}"
            f"{median(fits[name]):8.2f}{max(fits[name]):7.2f}"
            f"{median(maps[name]):9.2f}{ours / memory:8.2f}"
            f"{excess:10.1e}{min(theirs_excess):9.1e}{error:9.1e}",
            flush=True,
        )


def race_defaults(
    kinds: dict[str, Callable[[], Any]], ranks: Sequence[int], args: Any
) -> None:
    print(
        f"{'data':24}{'k':>4} {'ours':6}{'CPU s':>7}{'floor':>7}{'fit':>8}{'worst':>7}"
        f"{'transf.':>9}{'memory':>8}{'excess':>10}{'theirs':>9}{'values':>9}"
    )
    for label, make in kinds.items():
        if args.only and args.only not in label:
            continue
        X = make()
        if label.startswith("tf-idf"):
            print(f"  tf-idf {X.shape[0]} x {X.shape[1]}, {X.nnz} entries")
        for rank in ranks:
            swap(label, X, rank, args.repeats)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="of the sizes")
    options.add_argument("--rank", type=int, default=50, help="of the tolerances")
    options.add_argument("--race", choices=("defaults", "small", "tolerances"))
    options.add_argument("--only", help="part of the name of the data, of the defaults")
    args = options.parse_args()
    warnings.simplefilter("ignore")
    if args.race == "small":
        race_defaults(SMALL, FEW, args)
        return
    if args.race != "tolerances":
        race_defaults(KINDS, RANKS, args)
        return
    sizes = [round(args.scale * n) for n in (5000, 2000, 50000, 20000)]
    problems = {
        "dense, 1/i": lambda: dense(*sizes[:2], 1.0, args.seed),
        "dense, 1/sqrt(i)": lambda: dense(*sizes[:2], 0.5, args.seed),
        "sparse, skewed": lambda: skewed(*sizes[2:], 1e-3 / args.scale, args.seed),
    }
    print(
        f"  {'':12}{'':16}{'tol':>8}{'excess':>10}{'CPU s':>9}{'wall s':>8}"
        f"{'ours/theirs':>12}"
    )
    for label, make in problems.items():
        judge = Judge(make(), args.rank)
        wanted = judge.excess(randomized(judge.X, args.rank, 0.0))
        print(f"{label}, to the error of the randomized method")
        race(judge, args.rank, wanted, ["skprecgd", "randomized"], args.repeats)
        print(f"{label}, to an excess of {EXACT:g}")
        exact = ["skprecgd", "arpack", "propack", "lobpcg"]
        race(judge, args.rank, EXACT, exact, args.repeats)


if __name__ == "__main__":
    main()
