"""Lines that hold a stage up: directions of their own, and a fresh start for them."""

import numpy as np
import pytest
from scipy import sparse

from skprecgd.datasets import make_matrix_completion
from skprecgd.factors import FactorPair
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import make_objective
from skprecgd.optim import rank_path
from skprecgd.optim.path.cluster import Cluster
from skprecgd.optim.path.lone import WithoutLines, are_lone, without_lone_lines

N_ROWS, N_COLUMNS = 30, 20


@pytest.fixture
def directions(rng):
    """One term that serves row 3, one that serves column 7, one that serves all."""
    u = rng.standard_normal((N_ROWS, 3)) / np.sqrt(N_ROWS)
    v = rng.standard_normal((N_COLUMNS, 3)) / np.sqrt(N_COLUMNS)
    u[:, 0], v[:, 1] = np.eye(N_ROWS)[3], np.eye(N_COLUMNS)[7]
    u, v = (basis / np.linalg.norm(basis, axis=0) for basis in (u, v))
    # The widest vectors there are.
    u[:, 2], v[:, 2] = 1 / np.sqrt(N_ROWS), 1 / np.sqrt(N_COLUMNS)
    u[:, 1], v[:, 0] = u[:, 2], v[:, 2]
    return u, np.array([3.0, 2.0, 1.0]), v


def objective_of(seed):
    """Entries of a matrix of rank three, five for each degree of freedom."""
    triples, truth = make_matrix_completion(
        800, rank=3, oversampling=5, format="triples", random_state=seed
    )
    entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
    return make_objective(entries, triples.values)


def test_a_term_is_lone_if_one_line_holds_it(directions):
    np.testing.assert_array_equal(are_lone(directions), [True, True, False])


def test_trimmed_matrices_have_zeros_in_lone_lines(directions, rng):
    matrix = sparse.random(N_ROWS, N_COLUMNS, 0.5, rng=rng, format="csr")
    trimmed = WithoutLines(directions).of(sparse.csr_array(matrix)).toarray()
    expected = matrix.toarray()
    expected[3], expected[:, 7] = 0, 0
    np.testing.assert_array_equal(trimmed, expected)


def test_lines_are_forgotten_with_those_they_meet(directions, rng):
    pattern = np.zeros((N_ROWS, N_COLUMNS))
    pattern[3, 5], pattern[9, 7], pattern[11, 11] = 1, -1, 2
    pair = FactorPair(rng.random((N_ROWS, 2)), rng.random((N_COLUMNS, 2)))
    found = without_lone_lines(pair, sparse.csr_array(pattern), directions)
    rows, columns = (~block.any(axis=1) for block in found.blocks)
    np.testing.assert_array_equal(np.flatnonzero(rows), [3, 9])
    np.testing.assert_array_equal(np.flatnonzero(columns), [5, 7])


def test_a_line_thrown_far_off_costs_little(global_random_seed):
    """Of these draws a fifth or so has one; they took 230 to 425 iterations."""
    seeds = range(20 * global_random_seed, 20 * global_random_seed + 20)
    paths = [rank_path(objective_of(seed), 9) for seed in seeds]
    assert [path.factors.rank for path in paths] == 20 * [3]
    assert max(path.n_iter for path in paths) < 100


def test_columns_of_chance_are_not_added_beside_others(global_random_seed):
    """Though a block has room for more."""
    triples, truth = make_matrix_completion(
        300, rank=1, oversampling=20, format="triples", random_state=global_random_seed
    )
    entries = EntryMeasurements(triples.rows, triples.columns, truth.shape)
    objective = make_objective(entries, triples.values)
    assert len(Cluster(objective).triplets(None, 4, 9)[1]) == 1
