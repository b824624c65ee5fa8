"""On complete data PrecGDFactorization is TruncatedSVD: same numbers, same surface."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, sparse
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprecgd import PrecGDFactorization

CONTAINERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
    "csr_matrix": sparse.csr_matrix,
}
SPECTRA = {
    "random": None,
    "harmonic": lambda i: 1.0 / (1 + i),
    "geometric": lambda i: 0.7**i,
}
# Neighbouring singular values closer than this do not determine their vectors to
# 1e-6: only the space they span is compared.
_EQUAL = 1e-7
# Where vectors are compared one by one, as accurate as those of LAPACK.
EXACT = 1e-9


def make_data(shape, spectrum, seed, *, scale=3.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape)
    if SPECTRA[spectrum] is None:
        return scale * X
    u, s, vt = linalg.svd(X, full_matrices=False)
    return scale * (u * SPECTRA[spectrum](np.arange(len(s)))) @ vt


def clusters(singular_values, equal):
    """Slices of (nearly) equal singular values."""
    s = np.asarray(singular_values)
    gaps = s[:-1] - s[1:] > equal * s[0]
    ends = [*(np.flatnonzero(gaps) + 1), len(s)]
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def assert_same_spaces(actual, expected, spectrum, k, *, rtol, equal=_EQUAL):
    """Columns equal up to sign; columns of equal singular values span one space.

    `spectrum` holds all singular values. A cluster that k cuts through is left out,
    since any part of its space is as good as another, and so are zeros.
    """
    for cluster in clusters(spectrum, equal):
        if cluster.stop > k or spectrum[cluster.start] <= 1e-13 * spectrum[0]:
            continue
        a, b = actual[:, cluster], expected[:, cluster]
        if a.shape[1] == 1:
            b = b * np.sign(np.sum(a * b))
            assert_allclose(a, b, rtol=0, atol=rtol * np.linalg.norm(b))
        else:
            # A rotation inside the cluster is all that may differ.
            inner = a.T @ b
            u, _, vt = linalg.svd(inner)
            assert_allclose(a @ (u @ vt), b, rtol=0, atol=rtol * np.linalg.norm(b))


class ExactSVD:
    """TruncatedSVD for any k up to min(shape), from a dense decomposition."""

    def __init__(self, X, k):
        u, s, vt = linalg.svd(X, full_matrices=False)
        self.components_ = vt[:k]
        self.singular_values_ = s[:k]
        self.transformed = u[:, :k] * s[:k]
        self.explained_variance_ = np.var(self.transformed, axis=0)
        total = np.var(X, axis=0).sum()
        # A single row has no variance, and then no share of it either.
        share = 1.0 / total if total > 0 else 0.0
        self.explained_variance_ratio_ = share * self.explained_variance_

    def transform(self, X):
        return X @ self.components_.T


def assert_same_svd(model, reference, X, spectrum, *, rtol, equal=_EQUAL):
    """Every fitted attribute and `transform` of two fitted models."""
    k = len(reference.singular_values_)
    assert model.components_.shape == reference.components_.shape
    assert_allclose(model.singular_values_, reference.singular_values_, rtol=rtol)
    for name in ("components_", "transformed"):
        if name == "components_":
            actual, expected = model.components_.T, reference.components_.T
        else:
            actual, expected = model.transform(X), reference.transform(X)
        assert_same_spaces(actual, expected, spectrum, k, rtol=rtol, equal=equal)
    if all(c.stop - c.start == 1 for c in clusters(spectrum, equal) if c.start < k):
        for name in ("explained_variance_", "explained_variance_ratio_"):
            expected = getattr(reference, name)
            assert_allclose(
                getattr(model, name), expected, rtol=rtol, atol=rtol * expected.max()
            )


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("shape", "k"), [((30, 18), 4), ((18, 30), 17), ((9, 9), 1)])
def test_equals_arpack(container, spectrum, shape, k, global_random_seed):
    dense = make_data(shape, spectrum, global_random_seed)
    X = CONTAINERS[container](dense)
    reference = TruncatedSVD(k, algorithm="arpack", random_state=0).fit(X)
    model = PrecGDFactorization(k).fit(X)
    assert_same_svd(model, reference, X, linalg.svdvals(dense), rtol=1e-6)
    assert model.n_components_ == k
    assert model.converged_


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("shape", [(14, 9), (9, 14), (8, 8), (1, 6), (6, 1)])
def test_equals_svd_at_full_rank(container, shape, global_random_seed):
    dense = make_data(shape, "random", global_random_seed)
    X = CONTAINERS[container](dense)
    k = min(shape)
    model = PrecGDFactorization(k).fit(X)
    assert_same_svd(model, ExactSVD(dense, k), X, linalg.svdvals(dense), rtol=1e-6)
    completed = model.inverse_transform(model.transform(X))
    assert_allclose(completed, dense, rtol=0, atol=1e-10 * np.abs(dense).max())


@pytest.mark.parametrize("container", ["C", "csr"])
@pytest.mark.parametrize("spectrum", ["random", "harmonic"])
@pytest.mark.parametrize("shape", [(420, 300), (300, 420)])
def test_equals_arpack_where_it_iterates(
    container, spectrum, shape, global_random_seed
):
    # Large enough that no dense decomposition is taken.
    dense = make_data(shape, spectrum, global_random_seed)
    X = CONTAINERS[container](dense)
    k = 6
    reference = TruncatedSVD(k, algorithm="arpack", random_state=0).fit(X)
    model = PrecGDFactorization(k, tol=EXACT, random_state=global_random_seed).fit(X)
    assert model.converged_
    assert model.n_iter_ > 1
    assert_same_svd(model, reference, X, linalg.svdvals(dense), rtol=1e-6)


def test_equals_arpack_on_sparse_counts(global_random_seed):
    # What TruncatedSVD is used for most: few nonzeros, integers, many columns.
    X = sparse.random_array(
        (500, 700), density=0.02, random_state=global_random_seed, data_sampler=_counts
    ).tocsr()
    k = 5
    reference = TruncatedSVD(k, algorithm="arpack", random_state=0).fit(X.astype(float))
    model = PrecGDFactorization(k, tol=EXACT).fit(X)
    spectrum = linalg.svdvals(X.toarray())
    assert_same_svd(model, reference, X, spectrum, rtol=1e-6)


def _counts(size):
    return np.arange(size) % 4 + 1


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("shape", "k"), [((30, 18), 5), ((300, 280), 4)])
def test_float32(container, spectrum, shape, k, global_random_seed):
    dense = make_data(shape, spectrum, global_random_seed).astype(np.float32)
    X = CONTAINERS[container](dense)
    reference = TruncatedSVD(k, algorithm="arpack", random_state=0).fit(X.astype(float))
    model = PrecGDFactorization(k, tol=EXACT)
    transformed = model.fit_transform(X)
    for array in (
        transformed,
        model.components_,
        model.singular_values_,
        model.explained_variance_,
        model.transform(X),
        model.inverse_transform(transformed),
        model.left_,
        model.right_,
        model.center_,
    ):
        assert array.dtype == np.float32
    spectrum = linalg.svdvals(dense.astype(float))
    assert_same_svd(model, reference, X, spectrum, rtol=1e-4, equal=2e-3)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, bool, np.float16])
def test_other_numbers_become_float64(dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.integers(0, 5, (12, 7)).astype(dtype)
    model = PrecGDFactorization(3)
    assert model.fit_transform(X).dtype == np.float64
    assert_allclose(
        model.singular_values_, linalg.svdvals(X.astype(float))[:3], rtol=1e-10
    )


@st.composite
def matrices(draw):
    """Any shape, spectra with repeated and zero values, a dense or sparse container."""
    shape = draw(st.integers(1, 9)), draw(st.integers(2, 9))
    smaller = min(shape)
    values = draw(
        st.lists(
            st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.0, 3.0, 7.0]),
            min_size=smaller,
            max_size=smaller,
        )
    )
    seed = draw(st.integers(0, 2**32 - 1))
    u, _, vt = linalg.svd(
        np.random.default_rng(seed).standard_normal(shape), full_matrices=False
    )
    spectrum = np.sort(values)[::-1]
    k = draw(st.integers(1, smaller))
    return (u * spectrum) @ vt, spectrum, k, draw(st.sampled_from(sorted(CONTAINERS)))


@given(matrices())
def test_any_shape_and_spectrum(drawn):
    dense, spectrum, k, container = drawn
    X = CONTAINERS[container](dense)
    model = PrecGDFactorization(k)
    transformed = model.fit_transform(X)
    top = max(spectrum[0], 1e-300)
    assert model.components_.shape == (k, dense.shape[1])
    assert_allclose(model.singular_values_, spectrum[:k], rtol=0, atol=1e-9 * top)
    assert_allclose(
        model.components_ @ model.components_.T, np.eye(k), rtol=0, atol=1e-9
    )
    # The best approximation of rank k, whichever vectors equal values chose.
    error = np.linalg.norm(dense - model.inverse_transform(transformed))
    best = np.linalg.norm(spectrum[k:])
    assert_allclose(error, best, rtol=1e-6, atol=1e-9 * top)
    if spectrum[0] > 0:
        exact = ExactSVD(dense, k)
        assert_same_spaces(
            model.components_.T, exact.components_.T, spectrum, k, rtol=1e-6, equal=0.01
        )


def test_signs_are_those_of_scikit_learn(global_random_seed):
    X = make_data((20, 12), "harmonic", global_random_seed)
    model = PrecGDFactorization(5).fit(X)
    theirs = TruncatedSVD(5, algorithm="arpack", random_state=0).fit(X)
    assert_allclose(model.components_, theirs.components_, rtol=0, atol=1e-6)
    scaled = model.components_ * np.sqrt(model.singular_values_)[:, None]
    assert_allclose(model.right_, scaled.T, rtol=0, atol=1e-12)


def test_fit_transform_is_that_of_truncated_svd(global_random_seed):
    X = make_data((20, 12), "harmonic", global_random_seed)
    theirs = TruncatedSVD(4, algorithm="arpack", random_state=0)
    expected = theirs.fit_transform(X)
    ours = PrecGDFactorization(4)
    transformed = ours.fit_transform(X)
    assert_allclose(transformed, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert_allclose(transformed, ours.transform(X), rtol=0, atol=1e-12)
    assert_allclose(
        ours.inverse_transform(transformed),
        theirs.inverse_transform(expected),
        rtol=0,
        atol=1e-6 * np.abs(X).max(),
    )
    new = make_data((5, 12), "random", global_random_seed + 1)
    assert_allclose(
        ours.transform(new),
        theirs.transform(new),
        rtol=0,
        atol=1e-6 * np.abs(new).max(),
    )


def test_trailing_zeros_are_kept():
    X = np.outer(np.arange(1.0, 7.0), [1.0, -2.0, 0.5, 3.0])
    model = PrecGDFactorization(3).fit(X)
    assert model.n_components_ == 3
    assert_allclose(
        model.singular_values_[1:], 0, rtol=0, atol=1e-12 * model.singular_values_[0]
    )
    assert_allclose(model.inverse_transform(model.transform(X)), X, rtol=1e-12)


@pytest.mark.parametrize("container", ["C", "csr"])
def test_all_zeros(container):
    X = CONTAINERS[container](np.zeros((6, 4)))
    model = PrecGDFactorization(2)
    assert_array_equal(model.fit_transform(X), np.zeros((6, 2)))
    assert_array_equal(model.singular_values_, [0.0, 0.0])
    assert_array_equal(model.explained_variance_ratio_, [0.0, 0.0])


@pytest.mark.parametrize("container", ["C", "csr", "csc"])
@pytest.mark.parametrize("shape", [(40, 12), (320, 300)])
def test_column_centre_is_pca(container, shape, global_random_seed):
    dense = make_data(shape, "random", global_random_seed) + 5.0
    X = CONTAINERS[container](dense)
    k = 3
    theirs = PCA(k, svd_solver="full").fit(dense)
    ours = PrecGDFactorization(k, center="columns", tol=EXACT).fit(X)
    spectrum = linalg.svdvals(dense - dense.mean(axis=0))
    assert_allclose(ours.center_, theirs.mean_, rtol=1e-10)
    assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-6)
    assert_same_spaces(ours.components_.T, theirs.components_.T, spectrum, k, rtol=1e-6)
    assert_same_spaces(
        ours.transform(X), theirs.transform(dense), spectrum, k, rtol=1e-6
    )
    assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-6
    )


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "scaledgd", "gauss-newton"])
@pytest.mark.parametrize("container", ["C", "csr"])
def test_every_solver_reaches_the_svd(container, solver, global_random_seed):
    dense = make_data((20, 12), "geometric", global_random_seed)
    X = CONTAINERS[container](dense)
    model = PrecGDFactorization(3, solver=solver, tol=1e-7, max_iter=3000).fit(X)
    assert_allclose(model.singular_values_, linalg.svdvals(dense)[:3], rtol=1e-6)
    assert_allclose(
        model.inverse_transform(model.transform(X)),
        ExactSVD(dense, 3).transform(dense) @ ExactSVD(dense, 3).components_,
        rtol=0,
        atol=1e-5 * np.abs(dense).max(),
    )


# -- as a drop-in -----------------------------------------------------------------


def frame(seed, n_rows=20):
    pandas = pytest.importorskip("pandas")
    X = make_data((n_rows, 4), "random", seed)
    return pandas.DataFrame(X, columns=["height", "width", "depth", "weight"])


def test_in_a_pipeline_with_pandas(global_random_seed):
    X = frame(global_random_seed)
    pipeline = make_pipeline(StandardScaler(), PrecGDFactorization(2))
    pipeline.set_output(transform="pandas")
    out = pipeline.fit_transform(X)
    names = ["precgdfactorization0", "precgdfactorization1"]
    assert list(out.columns) == names
    assert list(out.index) == list(X.index)
    assert_array_equal(pipeline.get_feature_names_out(), names)
    expected = make_pipeline(
        StandardScaler(), TruncatedSVD(2, algorithm="arpack", random_state=0)
    ).fit_transform(X)
    assert_allclose(out.to_numpy(), expected, rtol=0, atol=1e-6)


def test_feature_names(global_random_seed):
    X = frame(global_random_seed)
    model = PrecGDFactorization(2).fit(X)
    assert_array_equal(model.feature_names_in_, X.columns)
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(X[X.columns[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.transform(X.to_numpy())


def test_text_pipeline():
    documents = ["the cat sat", "the dog sat", "a cat and a dog", "one mat"]
    ours = make_pipeline(TfidfVectorizer(), PrecGDFactorization(2))
    theirs = make_pipeline(
        TfidfVectorizer(), TruncatedSVD(2, algorithm="arpack", random_state=0)
    )
    assert_allclose(
        ours.fit_transform(documents), theirs.fit_transform(documents), atol=1e-6
    )
    assert_allclose(
        ours.transform(["a cat sat"]), theirs.transform(["a cat sat"]), atol=1e-6
    )


def test_clone_and_pickle(global_random_seed):
    X = make_data((15, 8), "random", global_random_seed)
    model = PrecGDFactorization(3, center="columns", alpha=0.1).fit(X)
    fresh = clone(model)
    assert not hasattr(fresh, "components_")
    assert fresh.get_params() == model.get_params() | {
        "missing_values": fresh.missing_values
    }
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.transform(X), model.transform(X))
    assert_array_equal(fresh.fit(X).components_, model.components_)


def test_sparse_input_is_not_densified(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    shape, n = (12_000, 8_000), 3_000
    # Few columns are used, so that the iteration ends soon.
    cells = rng.integers(shape[0], size=n), 100 * rng.integers(30, size=n)
    X = sparse.coo_array((rng.standard_normal(n) + 5, cells), shape=shape).tocsr()
    before = X.copy()
    tracemalloc.start()
    for center in (None, "columns"):
        model = PrecGDFactorization(2, center=center, random_state=0)
        assert model.fit_transform(X).shape == (shape[0], 2)
        model.score(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * shape[0] * shape[1] / 5
    assert (before != X).nnz == 0
