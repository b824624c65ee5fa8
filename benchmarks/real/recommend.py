"""Lists of ten films on MovieLens 100k, beside what people make them with.

A fifth of each user's ratings is hidden; those of 4 and 5 stars are to be found, and
all films that a user has not rated in the training part are candidates. Everything is
tuned on the same inner split, a fifth of each user's training ratings, by NDCG@10: ours
by ``PrecGDRecommenderCV``, which also stands here with nothing tuned, TruncatedSVD of
the matrix filled up with zeros, EASE (Steck, WWW 2019, its closed form), and implicit's
alternating least squares. Lists by predicted ratings are another question: the last two
lines. NDCG@10 and recall@10 of each split, and CPU seconds of the fit that is tested::

    pip install -r benchmarks/real/peers.txt
    python benchmarks/real/recommend.py                     # five splits
    python benchmarks/real/recommend.py --quick             # one split, half the grids
    python benchmarks/real/recommend.py skprecgd            # five splits of one method
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, memory, parser, timed
from movielens import SHAPE, Ratings, load
from rating_peers import grid
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from skprecgd import PrecGDRecommender, PrecGDRecommenderCV
from skprecgd.metrics import ndcg_scorer, recall_scorer

GOOD = 4
SCORERS = ndcg_scorer(10, relevant=GOOD), recall_scorer(10, relevant=GOOD)
Parameters = dict[str, Any]


class Lists(NamedTuple):
    """As `PrecGDRecommender.recommend` returns them."""

    rows: Array
    columns: Array


class Scored:
    """Lists by scores of all films for all users."""

    def __init__(self, scores: Array, seen: Ratings) -> None:
        self._scores = scores.astype(float)
        self._scores[seen.users, seen.films] = -np.inf

    def recommend(self, rows: Array, n: int) -> Lists:
        best = np.argsort(-self._scores[rows], axis=1, kind="stable")[:, :n]
        return Lists(np.repeat(rows, n), best.ravel())


def halves(ratings: Ratings, seed: int) -> tuple[Array, Array]:
    """Positions of the ratings that are seen, and of the fifth of each user's."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(ratings.stars)), ratings.users))
    counts = np.bincount(ratings.users, minlength=SHAPE[0])
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    hidden = place < np.repeat(np.round(counts / 5), counts)
    return np.sort(order[~hidden]), np.sort(order[hidden])


def matrix(ratings: Ratings, values: str) -> Any:
    data = ratings.stars if values == "stars" else np.ones(len(ratings.stars))
    return sparse.csr_matrix((data, (ratings.users, ratings.films)), SHAPE)


def pairs(ratings: Ratings) -> Array:
    return np.column_stack([ratings.users, ratings.films])


# ---- the peers: training ratings and parameters -> scores


def popularity(ratings: Ratings) -> Array:
    counts = np.bincount(ratings.films, minlength=SHAPE[1])
    return np.tile(counts, (SHAPE[0], 1))


def truncated_svd(ratings: Ratings, k: int, values: str) -> Array:
    model = TruncatedSVD(k, random_state=0)
    return model.fit_transform(matrix(ratings, values)) @ model.components_


def ease(ratings: Ratings, ridge: float, values: str) -> Array:
    X = matrix(ratings, values)
    gram = (X.T @ X).toarray()
    # In units of the mean square, so that both kinds of values share a grid.
    gram[np.diag_indices_from(gram)] += ridge * np.mean(X.data**2)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return X @ weights


def implicit_als(
    ratings: Ratings, k: int, ridge: float, confidence: float, values: str
) -> Array:
    from implicit.als import AlternatingLeastSquares

    X = matrix(ratings, values)
    X.data /= np.mean(X.data)
    model = AlternatingLeastSquares(
        factors=k,
        regularization=ridge,
        alpha=confidence,
        iterations=30,
        num_threads=1,
        random_state=0,
    )
    model.fit(X.astype(np.float32), show_progress=False)
    return model.user_factors @ model.item_factors.T


class Peer(NamedTuple):
    package: str
    scores: Callable[..., Array]
    grid: list[Parameters]


# Around the best of coarser and wider grids on split 0.
VALUES = ("stars", "ones")
PEERS = {
    "popularity": Peer("numpy", popularity, [{}]),
    "TruncatedSVD": Peer(
        "sklearn", truncated_svd, grid(k=(6, 8, 10, 12, 14, 17, 20, 25), values=VALUES)
    ),
    "EASE": Peer(
        "numpy", ease, grid(ridge=(200, 300, 400, 500, 600, 800, 1100), values=VALUES)
    ),
    "implicit ALS": Peer(
        "implicit",
        implicit_als,
        grid(
            k=(32, 64, 128),
            ridge=(10.0, 20.0, 40.0, 60.0, 90.0),
            confidence=(3.0, 5.0, 10.0, 20.0),
            values=VALUES,
        ),
    ),
}


def tested(model: Any, hidden: Ratings) -> tuple[float, ...]:
    with warnings.catch_warnings():
        # Films of which no rating is left cannot be listed.
        warnings.simplefilter("ignore", UserWarning)
        return tuple(s(model, pairs(hidden), hidden.stars) for s in SCORERS)


def outer(folder: Path, seed: int) -> tuple[Ratings, Ratings]:
    ratings = load(folder)
    return tuple(ratings.at(part) for part in halves(ratings, seed))


def inner_score(name: str, parameters: Parameters, seed: int, folder: Path) -> float:
    """NDCG@10 on the inner split."""
    training, _ = outer(folder, seed)
    seen, hidden = (training.at(part) for part in halves(training, 100 + seed))
    return tested(Scored(PEERS[name].scores(seen, **parameters), seen), hidden)[0]


def peer(args: argparse.Namespace, name: str, seed: int) -> tuple:
    """NDCG@10, recall@10, CPU seconds, and the parameters chosen."""
    score = memory(args.cache).cache(inner_score, ignore=["folder"])
    candidates = PEERS[name].grid[:: 2 if args.quick else 1]
    # Of equal scores the first, since parameters have no order.
    best = max(candidates, key=lambda c: score(name, c, seed, args.cache))
    training, hidden = outer(args.cache, seed)
    scores, cpu = timed(lambda: PEERS[name].scores(training, **best))
    return (*tested(Scored(scores, training), hidden), cpu, best)


def ours(args: argparse.Namespace, name: str, seed: int) -> tuple:
    training, hidden = outer(args.cache, seed)
    X = pairs(training)
    if name == "skprecgd tuned":
        search = PrecGDRecommenderCV(
            [32, 64, 128],
            unobserved_weight=[0.05, 0.1, 0.2, 0.4],
            scoring=SCORERS[0],
            cv=[halves(training, 100 + seed)],
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            search.fit(X, training.stars)
        model = PrecGDRecommender(random_state=0, **search.best_params_)
    else:
        model = PrecGDRecommender(random_state=0, **OURS[name], **args.parameters)
    _, cpu = timed(lambda: model.fit(X, training.stars))
    remark = {"n_components": model.n_components_, "alpha": model.alpha_}
    return (*tested(model, hidden), cpu, {**model.get_params(), **remark})


OURS: dict[str, Parameters] = {
    "skprecgd tuned": {},
    "skprecgd": {"unobserved_weight": 0.2},
    "skprecgd ratings": {},
    "skprecgd, gibbs": {"inference": "gibbs"},
}
SHOWN = ("k", "ridge", "confidence", "values", "n_components", "unobserved_weight")


def lines(args: argparse.Namespace) -> Iterator[tuple[str, list[tuple]]]:
    seeds = range(args.seeds or (1 if args.quick else 5))
    # What is compiled or loaded once is not timed.
    ratings, _ = outer(args.cache, 0)
    PrecGDRecommender(2, unobserved_weight=0.1).fit(pairs(ratings), ratings.stars)
    PrecGDRecommender(2, inference="gibbs").fit(pairs(ratings), ratings.stars)
    for name in (name for name in args.methods if name in PEERS):
        if find_spec(PEERS[name].package) is None:
            print(f"{name:18} is not installed")
        else:
            yield name, [peer(args, name, seed) for seed in seeds]
    for name in (name for name in args.methods if name in OURS):
        yield name, [ours(args, name, seed) for seed in seeds]


def main() -> None:
    options = parser(__doc__)
    every = [*PEERS, *OURS]
    options.add_argument("methods", nargs="*", choices=[*every, []], default=every)
    options.add_argument("--seeds", type=int, help="splits (default: 5; quick: 1)")
    args = options.parse_args()
    print(f"{'':18}{'NDCG@10':>9}{'worst':>8}{'recall@10':>11}{'worst':>8}{'CPU s':>8}")
    for name, found in lines(args):
        ndcg, recall, cpu = (np.array([each[k] for each in found]) for k in range(3))
        told = found[0][3]
        chosen = [f"{key} {told[key]}" for key in SHOWN if told.get(key) is not None]
        print(
            f"{name:18}{ndcg.mean():9.4f}{ndcg.min():8.4f}{recall.mean():11.4f}"
            f"{recall.min():8.4f}{np.median(cpu):8.2f}  {', '.join(chosen)}",
            flush=True,
        )
        print(" " * 18 + " ".join(f"{each:.4f}" for each in ndcg), flush=True)


if __name__ == "__main__":
    main()
