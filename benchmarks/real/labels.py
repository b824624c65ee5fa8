"""Labels and counts with holes: probabilities and rates of hidden entries.

Our fits are the default ones with offsets of rows and columns, ``center="both"``, and a
search rank of twice the true one, or the one named; "before" is the default before
priors of labels and counts were learned, ``alpha=0``, which took no centre and so has
two components more.

``tables``: generated ones, 40 to 300 rows by 15 to 100 columns, rank 1 to 4, of which
5 to 60 % are hidden. Labels are rare in a third of them (a few percent), and counts
are between 0.1 and 10 000 in the mean. A line is a draw: the mean loss of hidden
entries by the true log-odds or log-rates, the offsets alone (with a ridge of 0.5), the
fit before, and ours; and CPU seconds.

``digits``: the 1797 digits of scikit-learn, a pixel being dark or not, of which 30 %
are hidden; beside logistic regression on dummies of rows and columns.

``movielens``: which of the ratings of MovieLens 100k are four stars or more; beside the
same regression, and myFM's probit of ranks 4, 8 and 16.

Logistic regression has its ridge chosen by five folds.
"""

from __future__ import annotations

import argparse
import warnings
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import numpy as np
from _common import Array, memory, parser, timed
from movielens import SHAPE, Ratings, split
from scipy import sparse, special
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from skprecgd import PrecGDFactorization
from skprecgd.losses import make_loss

# Rows and columns of entries.
Cells = tuple[Array, Array]


def table(kind: str, seed: int) -> tuple[Array, Array, Array, int]:
    """Labels or counts, their log-odds or log-rates, what is hidden, and the rank."""
    rng = np.random.default_rng([seed, len(kind)])
    n, m = int(rng.integers(40, 300)), int(rng.integers(15, 100))
    rank, share = int(rng.integers(1, 5)), rng.uniform(0.05, 0.6)
    Z = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, m)) / np.sqrt(rank)
    Z *= rng.choice([0.7, 1.5, 3.0])
    Z += rng.choice([0.0, 1.0]) * rng.normal(size=(n, 1))
    Z += rng.choice([0.0, 1.0]) * rng.normal(size=m)
    if kind == "logistic":
        Z += rng.choice([0.0, 0.0, -4.0])
        X = (rng.random(Z.shape) < special.expit(Z)).astype(float)
    else:
        Z *= 0.4
        Z += np.log(10.0 ** rng.uniform(-1, 4)) - np.log(np.mean(np.exp(Z)))
        X = rng.poisson(np.exp(Z)).astype(float)
    return X, Z, rng.random(Z.shape) < share, rank


def fitted(X: Any, n_components: int | str, loss: str, **parameters: Any) -> Any:
    """A model without warnings, and its CPU seconds."""
    given = {"center": "both", "random_state": 0, **parameters}
    model = PrecGDFactorization(n_components, loss=loss, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return timed(model.fit, X)


def matrix(model: Any) -> Array:
    return np.asarray(model.left_ @ model.right_.T + model.center_)


def of_table(kind: str, seed: int, parameters: dict[str, Any]) -> list[float]:
    """Mean losses of hidden entries, and CPU seconds of the fit before and of ours."""
    X, Z, hidden, rank = table(kind, seed)
    seen, loss = np.where(hidden, np.nan, X), make_loss(kind)
    rows = hidden.all(axis=1), hidden.all(axis=0)
    asked = hidden & ~rows[0][:, None] & ~rows[1]
    before = fitted(seen, 2 * rank + 2, kind, alpha=0, center=None)
    ours = fitted(seen, 2 * rank, kind, **parameters)
    found = [Z, offsets_alone(seen, kind), matrix(before.found), matrix(ours.found)]
    with np.errstate(over="ignore"):
        losses = [float(np.mean(loss.pointwise(z[asked], X[asked]))) for z in found]
    return [*losses, before.cpu, ours.cpu]


def offsets_alone(X: Array, kind: str) -> Array:
    """Log-odds or log-rates of rows and columns: Newton steps, a ridge of 0.5."""
    seen = np.isfinite(X)
    Y = np.where(seen, X, 0.0)
    loss, ridge = make_loss(kind), 0.5
    b, c = np.zeros((len(X), 1)), np.full(X.shape[1], loss.constant(X[seen]))
    centre = c[0]
    for _ in range(200):
        for axis in (1, 0):
            z = b + c
            slope = np.where(
                seen, loss.gradient(z.ravel(), Y.ravel()).reshape(z.shape), 0
            )
            bend = np.where(
                seen, loss.curvature(z.ravel(), Y.ravel()).reshape(z.shape), 0
            )
            own = b[:, 0] if axis == 1 else c - centre
            step = (slope.sum(axis) + ridge * own) / (bend.sum(axis) + ridge)
            step = np.clip(step, -1.0, 1.0)
            if axis == 1:
                b = b - step[:, None]
            else:
                c = c - step
    return b + c


def print_tables(kind: str, draws: int, parameters: dict[str, Any]) -> None:
    print(f"{kind}: truth, offsets alone, before, ours; CPU s before, ours")
    rows = []
    for seed in range(draws):
        row = of_table(kind, seed, parameters)
        rows.append(row)
        print(f"{seed:4d}", *(f"{number:9.4g}" for number in row), flush=True)
    _, offsets, before, ours, cpu_before, cpu = np.array(rows).T
    for name, ratios in (
        ("over offsets alone", ours / offsets),
        ("over before", ours / before),
        ("CPU over before", cpu / cpu_before),
    ):
        print(f"  {name}: median {np.median(ratios):.3f}, worst {ratios.max():.3f}")
    print(f"  CPU s: median {np.median(cpu):.2f}, most {cpu.max():.2f}")


def dummies(seen: Cells, labels: Array, asked: Cells) -> tuple[Array, float]:
    """Probabilities of asked labels by logistic regression, and CPU seconds."""
    encoder = OneHotEncoder(handle_unknown="ignore")
    design = encoder.fit_transform(np.column_stack(seen))
    model = LogisticRegressionCV(
        Cs=10.0 ** np.arange(-2, 3),
        l1_ratios=(0.0,),
        scoring="neg_log_loss",
        max_iter=1000,
        use_legacy_attributes=False,
    )
    cpu = timed(model.fit, design, labels).cpu
    return model.predict_proba(encoder.transform(np.column_stack(asked)))[:, 1], cpu


def probit(seen: Cells, labels: Array, asked: Cells, rank: int) -> tuple[Array, float]:
    """The same by myFM."""
    import myfm

    encoder = OneHotEncoder(handle_unknown="ignore")
    design = encoder.fit_transform(np.column_stack(seen))
    groups = [len(each) for each in encoder.categories_]
    model = myfm.MyFMClassifier(rank=rank, random_seed=42)

    def fit() -> None:
        with redirect_stderr(StringIO()):
            # It draws a bar.
            model.fit(
                design, labels, n_iter=300, n_kept_samples=250, group_shapes=groups
            )

    cpu = timed(fit).cpu
    return model.predict_proba(encoder.transform(np.column_stack(asked))), cpu


def by_us(
    seen: Cells,
    labels: Array,
    asked: Cells,
    shape: tuple[int, int],
    rank: int | str,
    parameters: dict[str, Any],
) -> tuple[Array, float]:
    X = sparse.csr_array((labels.astype(float), seen), shape)
    model, cpu = fitted(X, rank, "logistic", missing_values=0, **parameters)
    rows, columns = asked
    z = np.sum(model.left_[rows] * model.right_[columns], axis=1)
    return special.expit(z + model.center_[columns]), cpu


def show(name: str, truth: Array, told: tuple[Array, float]) -> None:
    probability, cpu = told
    loss, area = log_loss(truth, probability), roc_auc_score(truth, probability)
    print(
        f"  {name:12s} log loss {loss:.4f}  AUC {area:.4f}  CPU {cpu:.1f} s", flush=True
    )


def print_digits(seeds: int, parameters: dict[str, Any]) -> None:
    X = load_digits().data > 7
    for seed in range(seeds):
        hidden = np.random.default_rng(seed).random(X.shape) < 0.3
        seen, asked = np.nonzero(~hidden), np.nonzero(hidden)
        print(f"digits, seed {seed}")
        show("dummies", X[asked], dummies(seen, X[seen], asked))
        for rank in (8, "auto"):
            told = by_us(seen, X[seen], asked, X.shape, rank, parameters)
            show(f"ours, {rank}", X[asked], told)


def liked(ratings: Ratings) -> tuple[Cells, Array]:
    return (ratings.users, ratings.films), ratings.stars >= 4


def print_movielens(options: argparse.Namespace, seeds: int) -> None:
    regression = memory(options.cache).cache(dummies)
    peer = memory(options.cache).cache(probit)
    for seed in range(seeds):
        training, test = split(options.cache, seed)
        seen, labels = liked(training)
        asked, truth = liked(test)
        print(f"MovieLens 100k, seed {seed}")
        show("dummies", truth, regression(seen, labels, asked))
        for rank in (8, "auto"):
            told = by_us(seen, labels, asked, SHAPE, rank, options.parameters)
            show(f"ours, {rank}", truth, told)
        try:
            for rank in (8,) if options.quick else (4, 8, 16):
                show(f"myFM, {rank}", truth, peer(seen, labels, asked, rank))
        except ImportError as error:
            print(f"  myFM is missing: {error}")


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument(
        "which", nargs="*", default=["tables", "digits", "movielens"]
    )
    options = options_parser.parse_args()
    fitted(np.where(np.eye(30) > 0, np.nan, np.tri(30)), 2, "logistic")
    if "tables" in options.which:
        for kind in ("logistic", "poisson"):
            print_tables(kind, 15 if options.quick else 100, options.parameters)
    if "digits" in options.which:
        print_digits(1 if options.quick else 3, options.parameters)
    if "movielens" in options.which:
        print_movielens(options, 1 if options.quick else 3)


if __name__ == "__main__":
    main()
