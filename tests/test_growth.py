"""How many directions stand out from chance."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd.datasets import make_matrix_completion
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import make_objective
from skprecgd.optim import rank_path
from skprecgd.optim.growth import Cluster


def completion(seed, *, n=300, rank=4, oversampling=8, **how):
    triples, truth = make_matrix_completion(
        n,
        rank=rank,
        oversampling=oversampling,
        format="triples",
        random_state=seed,
        **how,
    )
    entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
    return make_objective(entries, triples.values), truth


def test_all_equal_directions_and_no_more(global_random_seed):
    objective, truth = completion(global_random_seed)
    _, values, v = Cluster(objective, 0.1).triplets(None, 1, 9)
    assert len(values) == truth.rank
    span = np.linalg.qr(truth.right)[0]
    overlaps = np.linalg.svd(span.T @ v, compute_uv=False)
    assert overlaps.min() > 0.8


def test_noise_has_no_directions(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    cells = rng.choice(200 * 200, 4000, replace=False)
    entries = EntryMeasurements(*np.divmod(cells, 200), (200, 200))
    objective = make_objective(entries, rng.standard_normal(4000))
    assert len(Cluster(objective, 0.1).triplets(None, 1, 9)[1]) == 1
    assert len(Cluster(objective, 0.1).triplets(None, 2, 9)[1]) == 2


@pytest.mark.parametrize("kappa", [1, 1e4])
def test_any_sufficient_search_rank_is_the_same_fit(kappa, global_random_seed):
    """To the last bit: cross-validation breaks ties by the order of the ranks."""
    objective, truth = completion(global_random_seed, condition_number=kappa)
    short, long = (rank_path(objective, k, tol=1e-9) for k in (4, 9))
    assert [s.rank for s in short.stages] == [s.rank for s in long.stages]
    np.testing.assert_array_equal(short.factors.left, long.factors.left)
    assert truth.relative_error(long.factors.left, long.factors.right) < 1e-7


def test_every_rank_where_they_are_kept(global_random_seed):
    objective, _ = completion(global_random_seed)
    path = rank_path(objective, 9, keep_factors=True)
    assert [s.rank for s in path.stages] == [1, 2, 3, 4]
    assert len(rank_path(objective, 9).stages) < 4


def test_one_by_one_where_entries_are_scarce(global_random_seed):
    objective, truth = completion(global_random_seed, oversampling=2.5)
    path = rank_path(objective, 4)
    assert [s.rank for s in path.stages][-2:] == [3, 4]
    assert truth.relative_error(path.factors.left, path.factors.right) < 1e-7


def test_a_callback_stops_also_where_a_stage_ends(global_random_seed):
    objective, _ = completion(global_random_seed, n=100, condition_number=100)
    n_lines = len(rank_path(objective, 4, tol=1e-6).history)
    for k in range(1, n_lines):
        path = rank_path(
            objective, 4, tol=1e-6, callback=lambda r, k=k: r.iteration == k - 1
        )
        assert len(path.history) == k
        assert path.message.startswith("Stopped by the callback.")
