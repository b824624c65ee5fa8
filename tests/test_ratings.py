"""Sparse ratings read as zeros are warned of; other sparse data are not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse

from skprecgd import PrecGDFactorization, PrecGDFactorizationCV

SHAPE = (300, 200)
WARNING = "looks like ratings.*Use missing_values=0"
# Shares of the stars, from one (or a half) upwards.
STARS = [0.06, 0.11, 0.27, 0.35, 0.21]
HALF_STARS = [0.02, 0.04, 0.02, 0.08, 0.05, 0.22, 0.12, 0.25, 0.08, 0.12]


def stored(values, share, rng, shape=SHAPE):
    """A sparse matrix that stores a share of its cells; `values` makes their values."""
    cells = np.sort(rng.choice(np.prod(shape), int(share * np.prod(shape)), False))
    rows, columns = np.divmod(cells, shape[1])
    return sparse.csr_array((values(len(cells)), (rows, columns)), shape=shape)


def ratings(rng, shares=STARS, share=0.06, shape=SHAPE):
    stars = np.arange(1, len(shares) + 1) * 5.0 / len(shares)
    return stored(lambda n: rng.choice(stars, n, p=shares), share, rng, shape)


def words(rng, share=0.06):
    """A bag of words, whose counts are one more often than anything else."""
    return stored(lambda n: rng.geometric(0.6, n).astype(float), share, rng)


def tf_idf(rng):
    counts = words(rng)
    seen = np.bincount(counts.indices, minlength=SHAPE[1])
    weights = counts * np.log(1.0 + SHAPE[0] / (1.0 + seen))
    return sparse.csr_array(weights / np.sqrt((weights * weights).sum(axis=1))[:, None])


def one_hot(rng):
    columns = np.concatenate([20 * k + rng.integers(20, size=300) for k in range(10)])
    rows = np.tile(np.arange(300), 10)
    return sparse.csr_array((np.ones(3000), (rows, columns)), shape=SHAPE)


OTHERS = {
    "bag of words": words,
    "dense bag of words": lambda rng: words(rng, 0.4),
    "short texts": lambda rng: stored(
        lambda n: rng.choice([1.0, 2.0], n, p=[0.9, 0.1]), 0.01, rng
    ),
    "equally many of each": lambda rng: stored(
        lambda n: rng.permutation(np.arange(n) % 4 + 1.0), 0.05, rng, (1000, 800)
    ),
    "tf-idf": tf_idf,
    "binary": lambda rng: stored(np.ones, 0.05, rng),
    "one-hot": one_hot,
    "numbers": lambda rng: stored(rng.standard_normal, 0.05, rng),
    "ratings, a tenth stored": lambda rng: ratings(rng, share=0.1),
    "nothing": lambda rng: sparse.csr_array(SHAPE),
    # Entries set to zero stay stored.
    "stored zeros": lambda rng: stored(
        lambda n: rng.choice([0.0, 1.0], n, p=[0.1, 0.9]), 0.05, rng
    ),
}


def is_warned_of(X, **parameters):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PrecGDFactorization(2, max_iter=3, tol=0, **parameters).fit(X)
    said = [str(warning.message) for warning in caught]
    assert len(said) <= 1
    return bool(said) and "looks like ratings" in said[0]


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
def test_stars_are_warned_of(container, dtype, rng):
    assert is_warned_of(container(ratings(rng).astype(dtype)))


@pytest.mark.parametrize("shape", [(60, 50), SHAPE, (3000, 2000)])
def test_half_stars_are_warned_of(shape, rng):
    assert is_warned_of(ratings(rng, HALF_STARS, 0.04, shape))


@pytest.mark.parametrize("center", ["mean", "columns"])
def test_centred_ratings_are_warned_of(center, rng):
    assert is_warned_of(ratings(rng), center=center)


@pytest.mark.parametrize("name", OTHERS)
def test_other_data_are_not_warned_of(name, rng):
    assert not is_warned_of(OTHERS[name](rng))


def test_ratings_read_as_meant_are_not_warned_of(rng):
    X = ratings(rng)
    assert not is_warned_of(X, missing_values=0)
    assert not is_warned_of(X.toarray())


def test_one_warning_a_fit_and_it_points_here(rng):
    X = ratings(rng)
    model = PrecGDFactorization(1)
    for fit in (
        model.fit,
        model.fit_transform,
        PrecGDFactorizationCV([1], cv=2, scoring="r2").fit,
    ):
        with pytest.warns(UserWarning, match=WARNING) as caught:
            fit(X)
        assert len(caught) == 1
    assert caught[0].filename == __file__


def test_rows_of_a_fitted_model_are_not_warned_of(rng):
    X = ratings(rng)
    model = PrecGDFactorization(1).fit(X.toarray())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.transform(X)
        model.score(X)


def test_the_warning_says_what_it_saw(rng):
    with pytest.warns(UserWarning, match=WARNING) as caught:
        PrecGDFactorization(1).fit(ratings(rng, [0.1, 0.1, 0.1, 0.6, 0.1]))
    message = str(caught[0].message)
    assert "0.06 of the entries stored, 5 different values and 4 most often" in message


@pytest.mark.parametrize(("make", "warned"), [(ratings, True), (words, False)])
def test_chunks_are_looked_at_together(make, warned, rng):
    da = pytest.importorskip("dask.array")
    X = make(rng)
    lazy = da.from_array(X.toarray(), chunks=(50, SHAPE[1]))
    lazy = lazy.map_blocks(sparse.csr_array, meta=sparse.csr_array((0, 0)))
    assert is_warned_of(lazy) == warned
    # Dense chunks store their zeros.
    assert not is_warned_of(da.from_array(X.toarray(), chunks=(50, SHAPE[1])))


def test_hashed_words_are_no_ratings(rng):
    """Their counts have both signs, and 1 is most often; ratings are positive."""
    X = sparse.csr_array(np.where(rng.random((100, 128)) < 0.05, 1.0, 0.0))
    X.data = rng.choice([-2.0, -1.0, 1.0, 2.0], X.nnz, p=[0.04, 0.4, 0.52, 0.04])
    PrecGDFactorization(2).fit(X)
