"""Scores of lists, against what they are by hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from skprecgd.metrics import ndcg_scorer, recall_scorer


class Lists(NamedTuple):
    rows: np.ndarray
    columns: np.ndarray
    scores: np.ndarray


class Fixed:
    """Recommends what it was told to."""

    def __init__(self, lists):
        self.lists = lists

    def recommend(self, rows, n):
        pairs = [(row, c) for row in rows for c in self.lists.get(row, ())[:n]]
        rows = np.array([row for row, _ in pairs], dtype=object)
        columns = np.array([column for _, column in pairs], dtype=object)
        return Lists(rows, columns, np.zeros(len(pairs)))


HELD_OUT = [("ann", "a"), ("ann", "b"), ("bob", "c"), ("eve", "d")]
LISTED = Fixed({"ann": ["x", "b", "a"], "bob": ["c", "x"], "eve": []})


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (recall_scorer(1), (0 + 1 + 0) / 3),
        (recall_scorer(2), (0.5 + 1 + 0) / 3),
        (recall_scorer(3), (1 + 1 + 0) / 3),
        (ndcg_scorer(1), (0 + 1 + 0) / 3),
        (
            ndcg_scorer(3),
            ((1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3)) + 1 + 0) / 3,
        ),
    ],
)
def test_by_hand(scorer, expected):
    assert scorer(LISTED, HELD_OUT) == pytest.approx(expected)


def test_pairs_that_repeat_are_one():
    assert recall_scorer(2)(LISTED, HELD_OUT * 3) == recall_scorer(2)(LISTED, HELD_OUT)


def test_rows_without_a_relevant_pair_do_not_count():
    ratings = [5, 3, 4, 1]
    score = recall_scorer(3, relevant=4)(LISTED, HELD_OUT, ratings)
    assert score == pytest.approx((1 + 1) / 2)
    with pytest.raises(ValueError, match="relevant: y >= 6"):
        recall_scorer(relevant=6)(LISTED, HELD_OUT, ratings)
    with pytest.raises(ValueError, match="needs targets y"):
        recall_scorer(relevant=4)(LISTED, HELD_OUT)


def test_the_gain_is_that_of_scikit_learn(global_random_seed):
    """Where every column is a candidate and targets are zeros and ones."""
    rng = np.random.default_rng(global_random_seed)
    scores, wanted = rng.random((8, 15)), rng.random((8, 15)) < 0.3
    wanted[:, 0] = True
    lists = Fixed({row: np.argsort(-scores[row]).tolist() for row in range(8)})
    found = ndcg_scorer(5)(lists, np.argwhere(wanted))
    assert found == pytest.approx(ndcg_score(wanted, scores, k=5))


@pytest.mark.parametrize("make", [ndcg_scorer, recall_scorer])
def test_wrong_parameters_are_refused(make):
    with pytest.raises(ValueError, match="k must be"):
        make(0)
    with pytest.raises(ValueError, match="relevant must be"):
        make(5, relevant="good")
