"""How much the entries of a column count: no more than what its spread rests on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from skprecgd.objective import Weights
from skprecgd.variational.entries import Units
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.spread import trust_in_columns


def trust(X, weights=None):
    i, j = np.nonzero(~np.isnan(X))
    often = None if weights is None else weights[i, j]
    matrix = sparse.csr_array((X[i, j], (i, j)), shape=X.shape)
    given = GivenInMemory(matrix, Weights(frequency=often))
    units = Units.of(given.largest(), given.sums, "columns")
    return trust_in_columns(units, given.column_counts, given.sums)


@pytest.mark.parametrize("draw", ["normal", "uniform", "laplace"])
@pytest.mark.parametrize("n", [4, 300])
def test_measurements_count_in_full(draw, n, rng):
    assert_allclose(trust(getattr(rng, draw)(size=(n, 6))), 1.0)
    assert_allclose(trust(rng.integers(2, size=(300, 6)) + 0.0), 1.0)


@pytest.mark.parametrize("n", [50, 1000])
@pytest.mark.parametrize("events", [1, 2, 5])
def test_rare_events_count_as_the_few_they_are(n, events):
    """K events among N have the kurtosis (1 - 3 p q) / p q with p = K / N."""
    X = np.zeros((n, 1))
    X[:events] = 3.0
    p = events / n
    kurtosis = (1 - 3 * p * (1 - p)) / (p * (1 - p))
    expected = min(1.0, 2 * n / (kurtosis - 1) / 10)
    assert_allclose(trust(X), expected, rtol=1e-10)
    assert_allclose(trust(7.0 - 1e6 * X), expected, rtol=1e-6)


def test_entries_made_often_are_as_many(rng):
    X = rng.standard_t(2, size=(40, 3)) ** 3
    often = rng.integers(1, 4, size=X.shape)
    repeated = np.full((40 * 3, 3), np.nan)
    for j in range(3):
        column = np.repeat(X[:, j], often[:, j])
        repeated[: len(column), j] = column
    kept = repeated[~np.isnan(repeated).all(axis=1)]
    assert_allclose(trust(X, often.astype(float)), trust(kept), rtol=1e-10)
