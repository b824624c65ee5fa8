"""skprecgd.TruncatedSVD in place of scikit-learn's: the import is the whole swap."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, sparse
from sklearn import decomposition
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skprecgd import PrecGDFactorization, TruncatedSVD

CONTAINERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
}


def make_data(shape, seed, dtype=np.float64):
    """Singular values 1/i."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, min(shape))))[0] for n in shape)
    return ((u / np.arange(1.0, min(shape) + 1)) @ v.T).astype(dtype)


def captured(model, X):
    basis = np.linalg.qr(model.components_.T.astype(float))[0]
    return float(np.linalg.norm(X @ basis) ** 2)


def test_takes_what_scikit_learns_takes():
    """Parameters, their order and their defaults."""
    ours, theirs = map(inspect.signature, (TruncatedSVD, decomposition.TruncatedSVD))
    assert [(p.name, p.default, p.kind) for p in ours.parameters.values()] == [
        (p.name, p.default, p.kind) for p in theirs.parameters.values()
    ]
    given = {
        "n_components": 3,
        "algorithm": "randomized",
        "n_iter": 7,
        "n_oversamples": 20,
        "power_iteration_normalizer": "QR",
        "random_state": 0,
        "tol": 0.1,
    }
    assert clone(TruncatedSVD(**given)).get_params() == given


@pytest.mark.parametrize("algorithm", ["randomized", "arpack"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (330, 290), (290, 330)])
def test_attributes(shape, dtype, container, algorithm, global_random_seed):
    dense = make_data(shape, global_random_seed, dtype)
    X, k = CONTAINERS[container](dense), 5
    ours = TruncatedSVD(k, algorithm=algorithm, random_state=global_random_seed)
    theirs = decomposition.TruncatedSVD(k, algorithm="arpack", random_state=0)
    scores, expected = ours.fit_transform(X), theirs.fit_transform(dense.astype(float))
    # The energy is found far more accurately than vectors are.
    atol = 1e-3 * float(theirs.singular_values_[0])
    assert_allclose(scores, expected, rtol=0, atol=atol)
    assert_allclose(ours.transform(X), scores, rtol=0, atol=1e-2 * atol)
    assert_allclose(ours.components_, theirs.components_, rtol=0, atol=2e-3)
    for name in (
        "singular_values_",
        "explained_variance_",
        "explained_variance_ratio_",
    ):
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-3)
        assert getattr(ours, name).dtype == dtype
    assert scores.dtype == ours.components_.dtype == dtype
    assert ours.n_features_in_ == shape[1]


@pytest.mark.parametrize("n_iter", [0, 5, 12])
@pytest.mark.parametrize("n_oversamples", [1, 10, 40])
def test_never_captures_less_energy(n_iter, n_oversamples, global_random_seed):
    """However many iterations and columns the randomized method is given."""
    X = make_data((320, 300), global_random_seed)
    options = {"n_iter": n_iter, "n_oversamples": n_oversamples, "random_state": 0}
    ours, theirs = (
        kind(10, **options).fit(X)
        for kind in (TruncatedSVD, decomposition.TruncatedSVD)
    )
    left = np.linalg.norm(X) ** 2 - captured(ours, X)
    assert captured(ours, X) >= captured(theirs, X) - 1e-8 * left


def test_arpack_is_exact(global_random_seed):
    X = make_data((310, 280), global_random_seed)
    model = TruncatedSVD(6, algorithm="arpack", random_state=global_random_seed).fit(X)
    assert_allclose(model.singular_values_, linalg.svdvals(X)[:6], rtol=1e-12)


def test_is_the_factorization(global_random_seed):
    """One solver: `PrecGDFactorization` at its defaults finds the same."""
    X = make_data((330, 290), global_random_seed)
    ours, other = (
        kind(7, random_state=global_random_seed).fit(X)
        for kind in (TruncatedSVD, PrecGDFactorization)
    )
    for name in ("singular_values_", "components_", "explained_variance_ratio_"):
        assert_allclose(getattr(ours, name), getattr(other, name), rtol=1e-6, atol=1e-9)


def test_lsa(global_random_seed):
    texts = [f"word{i % 7} word{i % 5} common word{i % 3}" for i in range(60)]
    lsa = make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0))
    assert lsa.fit_transform(texts).shape == (60, 2)


@pytest.mark.parametrize("container", CONTAINERS)
def test_zeros(container):
    model = TruncatedSVD(2).fit(CONTAINERS[container](np.zeros((6, 4))))
    assert_array_equal(model.singular_values_, [0.0, 0.0])
    assert_array_equal(model.explained_variance_ratio_, [0.0, 0.0])
    assert_allclose(model.components_ @ model.components_.T, np.eye(2))


def test_more_components_than_rows():
    model = TruncatedSVD(5, random_state=0).fit(np.eye(3, 8))
    assert model.components_.shape == (3, 8)
    assert_allclose(model.singular_values_, np.ones(3))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_bad_input(wrong):
    X = np.ones((5, 4))
    with pytest.raises(ValueError, match="n_components=5 must be at most n_features=4"):
        TruncatedSVD(5).fit(X)
    X[2, 1] = wrong
    with pytest.raises(ValueError, match="Input X contains"):
        TruncatedSVD(2).fit(X)


@pytest.mark.parametrize("scale", [1e-160, 1e160])
def test_squares_that_are_no_numbers(scale, rng):
    X = rng.standard_normal((30, 20))
    plain, scaled = (TruncatedSVD(2).fit(each) for each in (X, scale * X))
    np.testing.assert_allclose(
        scaled.explained_variance_ratio_, plain.explained_variance_ratio_, rtol=1e-6
    )
    np.testing.assert_allclose(
        scaled.singular_values_ / scale, plain.singular_values_, rtol=1e-6
    )
