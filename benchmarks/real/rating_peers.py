"""surprise, lenskit and cmfrec: how each is fitted, and the grid it is tuned over.

`fit(training, parameters)` returns a function that predicts ratings of users and films,
and CPU seconds of the fit alone. Data frames and the like are made outside the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _common import Array, timed
from movielens import SHAPE, Ratings, folds, split
from scipy import sparse

Predict = Callable[[Ratings], Array]
Parameters = dict[str, Any]


class Peer(NamedTuple):
    """A package, how to fit it, and its grid."""

    package: str
    fit: Callable[[Ratings, Parameters], tuple[Predict, float]]
    grid: list[Parameters]


def grid(**values: tuple) -> list[Parameters]:
    return [
        dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())
    ]


def surprise_fit(training: Ratings, parameters: Parameters) -> tuple[Predict, float]:
    import pandas as pd
    from surprise import SVD, Dataset, Reader

    frame = pd.DataFrame(dict(zip(("user", "film", "stars"), training, strict=True)))
    data = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5)))
    model, cpu = timed(
        SVD(random_state=0, **parameters).fit, data.build_full_trainset()
    )

    def predict(asked: Ratings) -> Array:
        pairs = zip(asked.users.tolist(), asked.films.tolist(), strict=True)
        return np.array([model.predict(user, film).est for user, film in pairs])

    return predict, cpu


def cmfrec_fit(training: Ratings, parameters: Parameters) -> tuple[Predict, float]:
    from cmfrec import CMF

    X = sparse.coo_matrix((training.stars, (training.users, training.films)), SHAPE)
    model = CMF(
        precompute_for_predictions=False,
        use_float=False,
        verbose=False,
        nthreads=1,
        **parameters,
    )
    model, cpu = timed(model.fit, X)
    return lambda asked: model.predict(asked.users, asked.films), cpu


def lenskit_fit(training: Ratings, parameters: Parameters) -> tuple[Predict, float]:
    import pandas as pd
    from lenskit.als import BiasedMFScorer
    from lenskit.data import from_interactions_df

    names = ("user_id", "item_id", "rating")
    data = from_interactions_df(pd.DataFrame(dict(zip(names, training, strict=True))))
    model = BiasedMFScorer(**parameters)
    _, cpu = timed(model.train, data)
    return partial(lenskit_scores, model, training.stars.mean()), cpu


def lenskit_scores(model: Any, mean: float, asked: Ratings) -> Array:
    """The mean where it has no score, which is in films without a training rating."""
    from lenskit.data import ItemList, RecQuery

    result = np.empty(len(asked.stars))
    for user in np.unique(asked.users):
        places = np.flatnonzero(asked.users == user)
        films = ItemList(item_ids=asked.films[places])
        result[places] = model(RecQuery(user_id=int(user)), films).scores()
    return np.where(np.isnan(result), mean, result)


# Around the best of coarser and wider grids on seed 0.
PEERS = {
    "surprise": Peer(
        "surprise",
        surprise_fit,
        grid(
            n_factors=(50, 100),
            n_epochs=(40, 80),
            lr_all=(0.01,),
            reg_all=(0.1, 0.12, 0.15),
        ),
    ),
    "lenskit": Peer(
        "lenskit",
        lenskit_fit,
        grid(
            embedding_size=(20, 40, 80),
            epochs=(10,),
            regularization=(0.12, 0.14, 0.17),
        ),
    ),
    "cmfrec": Peer(
        "cmfrec",
        cmfrec_fit,
        grid(k=(10, 20, 40), niter=(10, 20), lambda_=(12.0, 14.0, 17.0))
        + grid(k=(20,), scale_lam=(True,), lambda_=(0.1, 0.14, 0.2)),
    ),
}


def held_out_error(name: str, parameters: Parameters, seed: int, folder: Path) -> float:
    """RMSE over five folds of the training part."""
    training, _ = split(folder, seed)
    squares = []
    for held in folds(training, seed):
        predict, _ = PEERS[name].fit(training.at(~held), parameters)
        squares.append(training.at(held).rmse(predict(training.at(held))) ** 2)
    return float(np.sqrt(np.mean(squares)))


def test_error(
    name: str, parameters: Parameters, seed: int, folder: Path
) -> tuple[float, float]:
    """RMSE on the test part, and CPU seconds of the fit to the training part."""
    training, test = split(folder, seed)
    predict, cpu = PEERS[name].fit(training, parameters)
    return test.rmse(predict(test)), cpu


def candidates(name: str, quick: bool) -> Iterator[Parameters]:
    """The grid; every fifth of it if it is `quick`."""
    yield from PEERS[name].grid[:: 5 if quick else 1]
