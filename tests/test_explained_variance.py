"""The share of the variance that components explain, where entries are missing.

On complete data it is that of TruncatedSVD; see `test_truncated_svd.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

import skprecgd
from skprecgd import PrecGDFactorization, PrecGDFactorizationCV


def noisy(seed, share=0.5, noise=0.5, shape=(60, 40)):
    """Rank three and noise, with holes; and the same without holes."""
    rng = np.random.default_rng(seed)
    n, m = shape
    M = rng.standard_normal((n, 3)) @ rng.standard_normal((3, m))
    X = M + rng.standard_normal(m) + noise * rng.standard_normal(shape)
    return np.where(rng.random(shape) < share, X, np.nan), X


def completed(model):
    return model.left_ @ model.right_.T + model.center_


def expected(model, X, weight=None):
    """The definition: variances of the completed matrix, and the residual's."""
    M = completed(model)
    residuals = np.where(np.isnan(X), 0.0, X - M)
    weight = (~np.isnan(X)).astype(float) if weight is None else weight
    noise = np.sum(weight * residuals**2) / np.sum(weight)
    return model.explained_variance_ / (np.sum(np.var(M, axis=0)) + M.shape[1] * noise)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": "columns"},
        {"center": "both"},
        {"early_stopping": False},
        {"alpha": 0.5},
        {"loss": "huber"},
        {"max_iter": 3, "tol": 0},
        {"n_components": 1, "center": "both"},
    ],
    ids=str,
)
def test_definition(options, global_random_seed):
    X, _ = noisy(global_random_seed)
    model = PrecGDFactorization(**{"n_components": 4, **options}).fit(X)
    assert_allclose(model.explained_variance_ratio_, expected(model, X), rtol=1e-6)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_no_more_than_all(share, noise, global_random_seed):
    """Summed over the observed entries alone, the total is below that at times."""
    X, _ = noisy(global_random_seed, share, noise)
    options = {"alpha": 0, "early_stopping": False, "max_iter": 100, "tol": 0}
    model = PrecGDFactorization(4, **options).fit(X)
    assert 0 < np.sum(model.explained_variance_ratio_) <= 1 + 1e-12


def test_close_to_that_without_holes(global_random_seed):
    X, whole = noisy(global_random_seed, share=0.8, noise=0.1, shape=(200, 100))
    holes = PrecGDFactorization(3, center="columns", random_state=0).fit(X)
    complete = PrecGDFactorization(3, center="columns").fit(whole)
    assert_allclose(
        holes.explained_variance_ratio_, complete.explained_variance_ratio_, rtol=0.01
    )
    # The rest is the variance of the noise: 0.01, where the signal has three.
    rest = 1 - np.sum(holes.explained_variance_ratio_)
    assert rest == pytest.approx(1 / 300, rel=0.5)


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_weights_count_as_often_as_they_say(global_random_seed):
    X, _ = noisy(global_random_seed)
    weight = np.random.default_rng(global_random_seed).uniform(0.1, 3.0, X.shape)
    model = PrecGDFactorization(3).fit(X, entry_weight=weight)
    counted = np.where(np.isnan(X), 0.0, weight)
    assert_allclose(
        model.explained_variance_ratio_, expected(model, X, counted), rtol=1e-6
    )


def test_given_variances_do_not_weigh_the_residual(global_random_seed):
    X, _ = noisy(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    variances = 10.0 ** rng.uniform(-1, 1, X.shape)
    model = PrecGDFactorization(3, noise_variance=variances, alpha=0).fit(X)
    assert_allclose(model.explained_variance_ratio_, expected(model, X), rtol=1e-6)


@pytest.mark.parametrize("holes", [False, True])
def test_outliers_are_no_variance(holes, global_random_seed):
    X = noisy(global_random_seed, share=0.8, noise=0.1)[0 if holes else 1]
    rng = np.random.default_rng(global_random_seed)
    X = X + 100.0 * (rng.random(X.shape) < 0.03)
    model = PrecGDFactorization(4, outlier_fraction=0.1, random_state=0).fit(X)
    assert model.outliers_.nnz > 0
    kept = X.copy()
    kept[model.outliers_.toarray() != 0] = np.nan
    assert_allclose(model.explained_variance_ratio_, expected(model, kept), rtol=1e-6)
    # With the errors, the variance would be fifty times as large.
    assert np.sum(model.explained_variance_ratio_) > 0.2


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_after_cross_validation(global_random_seed):
    X, _ = noisy(global_random_seed)
    model = PrecGDFactorizationCV([1, 2, 3], random_state=0).fit(X)
    assert_allclose(model.explained_variance_ratio_, expected(model, X), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_in_chunks(global_random_seed):
    array = pytest.importorskip("dask.array")
    X, _ = noisy(global_random_seed)
    model = PrecGDFactorization(3).fit(array.from_array(X, chunks=(20, 40)))
    assert_allclose(model.explained_variance_ratio_, expected(model, X), rtol=1e-6)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_of_all_components_together_for_labels_and_counts(loss, global_random_seed):
    X, _ = noisy(global_random_seed)
    X = np.where(np.isnan(X), np.nan, X > 0)
    model = PrecGDFactorization(2, loss=loss, tol=1e-3, random_state=0).fit(X)
    assert np.sum(model.explained_variance_ratio_) == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_float32(global_random_seed):
    X, _ = noisy(global_random_seed)
    model = PrecGDFactorization(3).fit(X.astype(np.float32))
    assert model.explained_variance_ratio_.dtype == np.float32
    assert_allclose(model.explained_variance_ratio_, expected(model, X), rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_that_are_all_equal_have_none(dtype, global_random_seed):
    row = np.random.default_rng(global_random_seed).standard_normal(21)
    model = PrecGDFactorization(6).fit(np.tile(row, (8, 1)).astype(dtype))
    np.testing.assert_array_equal(model.explained_variance_ratio_, 0.0)


@pytest.mark.parametrize("offset", [1.0, 1e3])
def test_of_complete_data_far_from_zero(offset, global_random_seed):
    """A small variance beside a large mean is still one, as for TruncatedSVD."""
    rng = np.random.default_rng(global_random_seed)
    X = offset + rng.standard_normal((30, 8))
    ours = PrecGDFactorization(3, tol=1e-13).fit(X).explained_variance_ratio_
    theirs = TruncatedSVD(3, algorithm="arpack").fit(X).explained_variance_ratio_
    assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        PrecGDFactorization(3, tol=1e-13),
        PrecGDFactorization(3, tol=1e-13, center="columns"),
        PrecGDFactorization(3, tol=1e-13, center="both"),
        skprecgd.TruncatedSVD(3),
    ],
    ids=str,
)
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_of_entries_stored_in_parts(model, offset, global_random_seed):
    """What a CSR array stores for the same place is one entry: its sum is squared."""
    rng = np.random.default_rng(global_random_seed)
    X = offset + rng.standard_normal((30, 8))
    # Each row stores its entries twice, the first of them a third of the value.
    columns = np.tile(np.arange(8), 2 * 30)
    values = np.hstack([X / 3, X - X / 3]).ravel()
    parts = sparse.csr_array((values, columns, np.arange(31) * 16), shape=X.shape)
    once = model.fit(sparse.csr_array(X)).explained_variance_ratio_
    assert_allclose(model.fit(parts).explained_variance_ratio_, once, rtol=1e-6)
    assert parts.nnz == 2 * X.size
