"""PrecGDFactorization: what it returns, how it scores, when it stops."""

from __future__ import annotations

import io
import pickle
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDFactorization
from skprecgd._linalg.offsets import complete_offsets, entry_offsets, subtract
from skprecgd.datasets import make_matrix_completion
from skprecgd.optim import RANK_SEARCHES

CENTERS = [None, "mean", "columns", "both"]


def table(seed, *, noise=0.0, rank=2, shape=(40, 25), share=0.6, **options):
    """A matrix with holes, at least three entries more than the rank a line."""
    return make_matrix_completion(
        *shape,
        rank=rank,
        observed_fraction=share,
        min_per_line=rank + 3,
        condition_number=2,
        noise=noise,
        random_state=seed,
        **options,
    )


def matrix_of(model):
    return model.left_ @ model.right_.T + model.center_


# -- what comes out ---------------------------------------------------------------


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("complete", [False, True])
def test_attributes_agree(center, complete, global_random_seed):
    X, truth = table(global_random_seed)
    X = truth.matrix + 1.0 if complete else X + 1.0
    model = PrecGDFactorization(5, center=center, random_state=0).fit(X)
    k, s = model.n_components_, model.singular_values_
    assert model.components_.shape == (k, 25)
    assert model.left_.shape == (40, k)
    assert model.right_.shape == (25, k)
    assert model.center_.shape == (25,)
    assert s.shape == model.explained_variance_.shape == (k,)
    most = 5 + (center == "both")
    assert k == most if complete else k <= most
    assert model.n_features_in_ == 25
    assert np.all(np.diff(s) <= 1e-12 * s[0])
    # Balanced factors, orthonormal components, one set of signs.
    for factor in (model.left_, model.right_):
        assert_allclose(factor.T @ factor, np.diag(s), rtol=0, atol=1e-8 * s[0])
    assert_allclose(model.components_ @ model.components_.T, np.eye(k), atol=1e-9)
    scaled = (model.components_ * np.sqrt(s)[:, np.newaxis]).T
    assert_allclose(model.right_, scaled, rtol=0, atol=1e-8 * np.sqrt(s[0]))
    largest = np.argmax(np.abs(model.components_), axis=1)
    assert np.all(model.components_[np.arange(k), largest] > 0)
    # Variances are those of the coordinates of the recovered rows.
    coordinates = model.left_ * np.sqrt(s)
    assert_allclose(
        model.explained_variance_,
        coordinates.var(axis=0),
        rtol=1e-8,
        atol=1e-12 * s[0] ** 2,
    )
    assert isinstance(model.n_iter_, int)
    assert isinstance(model.stop_reason_, str)
    assert model.converged_ is True


def test_recovered_matrix(global_random_seed):
    X, truth = table(global_random_seed)
    model = PrecGDFactorization(5).fit(X)
    assert model.n_components_ == 2
    assert truth.relative_error(matrix_of(model)) < 1e-7
    assert truth.relative_error(model.inverse_transform(model.transform(X))) < 1e-6


def test_explained_variance_of_observed_entries(global_random_seed):
    X, truth = table(global_random_seed, shape=(80, 40), share=0.8)
    holes = PrecGDFactorization(4).fit(X)
    complete = PrecGDFactorization(2).fit(truth.matrix)
    assert_allclose(holes.explained_variance_, complete.explained_variance_, rtol=1e-6)
    assert_allclose(
        holes.explained_variance_ratio_, complete.explained_variance_ratio_, rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
def test_explained_variance_of_complete_data(dtype, offset, center, global_random_seed):
    """Also of columns whose variance is little beside their mean."""
    rng = np.random.default_rng(global_random_seed)
    X = (rng.standard_normal((70, 30)) + offset).astype(dtype)
    model = PrecGDFactorization(6, center=center, random_state=0).fit(X)
    rtol = 1e-9 if dtype == np.float64 else 3e-4
    scores = model.left_ * np.sqrt(model.singular_values_)
    exact = np.var(scores.astype(np.float64), axis=0)
    assert_allclose(
        model.explained_variance_, exact, rtol=rtol, atol=1e-12 * np.max(scores) ** 2
    )
    assert_allclose(
        model.explained_variance_ratio_,
        model.explained_variance_ / np.sum(np.var(X.astype(np.float64), axis=0)),
        rtol=rtol,
    )
    assert model.explained_variance_.dtype == dtype


def test_loose_tol(global_random_seed):
    """Single precision inside, double precision in what is orthonormal."""
    rng = np.random.default_rng(global_random_seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, 300)))[0] for n in (400, 300))
    X = (u / np.arange(1, 301)) @ v.T
    loose = PrecGDFactorization(5, tol=1e-3, random_state=0).fit(X)
    exact = PrecGDFactorization(5, tol=1e-9, random_state=0).fit(X)
    assert loose.n_iter_ < exact.n_iter_
    assert loose.components_.dtype == np.float64
    assert_allclose(loose.components_ @ loose.components_.T, np.eye(5), atol=1e-13)
    assert_allclose(loose.singular_values_, exact.singular_values_, rtol=1e-2)
    for name in ("explained_variance_ratio_", "components_"):
        assert_allclose(getattr(loose, name), getattr(exact, name), atol=0.1)


def test_names_and_output(global_random_seed):
    pandas = pytest.importorskip("pandas")
    X, _ = table(global_random_seed)
    frame = pandas.DataFrame(X, columns=[f"item {j}" for j in range(25)])
    model = PrecGDFactorization(4).set_output(transform="pandas")
    out = model.fit_transform(frame)
    assert list(out.columns) == ["precgdfactorization0", "precgdfactorization1"]
    assert_array_equal(model.feature_names_in_, frame.columns)
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")


def test_clone_and_pickle(global_random_seed):
    X, _ = table(global_random_seed)
    model = PrecGDFactorization(4, center="columns", random_state=0).fit(X)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.transform(X), model.transform(X))
    assert copy.score(X) == model.score(X)
    fresh = clone(model)
    assert not hasattr(fresh, "components_")
    assert_array_equal(fresh.fit(X).components_, model.components_)


def test_fit_leaves_parameters_and_data_alone(global_random_seed):
    X, _ = table(global_random_seed)
    complete = np.nan_to_num(X)
    for data in (X, complete, sparse.csr_array(complete)):
        for center in CENTERS:
            before = data.copy()
            model = PrecGDFactorization(3, center=center, max_iter=3, tol=0)
            parameters = {**model.get_params()}
            model.fit(data)
            model.transform(data)
            model.score(data)
            after = model.get_params()
            assert all(after[name] is parameters[name] for name in parameters)
            if sparse.issparse(data):
                assert_array_equal(data.toarray(), before.toarray())
            else:
                assert_array_equal(data, before)


# -- ridge ------------------------------------------------------------------------


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_ridge_thresholds_complete_data(container, global_random_seed):
    dense = np.random.default_rng(global_random_seed).standard_normal((20, 12))
    X = container(dense)
    model = PrecGDFactorization(6, alpha=2.5)
    z = model.fit_transform(X)
    u, s, vt = np.linalg.svd(dense, full_matrices=False)
    expected = (u * np.maximum(s - 2.5, 0.0)) @ vt
    best = (u[:, :6] * np.maximum(s[:6] - 2.5, 0.0)) @ vt[:6]
    assert_allclose(model.singular_values_, np.maximum(s[:6] - 2.5, 0), atol=1e-9)
    assert_allclose(matrix_of(model), best, rtol=0, atol=1e-9)
    # transform carries the ridge over: it gives the recovered rows, also shrunk.
    assert_allclose(model.inverse_transform(z), best, rtol=0, atol=1e-9)
    assert np.linalg.norm(best - expected) <= np.linalg.norm(s[6:])


def test_ridge_with_missing_entries(global_random_seed):
    X, _ = table(global_random_seed, noise=0.1)
    options = {"n_components": 6, "tol": 1e-8}
    fits = [PrecGDFactorization(alpha=a, **options).fit(X) for a in (0.01, 1.0, 5.0)]
    nuclear = [fit.singular_values_.sum() for fit in fits]
    assert nuclear[0] > nuclear[1] > nuclear[2] > 0
    for fit in fits:
        # Rows have their least-squares optimum at the solution: transform of the
        # training data gives the recovered matrix again.
        z = fit.transform(X)
        assert_allclose(
            fit.inverse_transform(z),
            matrix_of(fit),
            rtol=0,
            atol=1e-4 * np.abs(matrix_of(fit)).max(),
        )


def test_a_ridge_that_leaves_nothing(global_random_seed):
    X, _ = table(global_random_seed)
    for data in (X, np.nan_to_num(X)):
        model = PrecGDFactorization(2, alpha=1e6).fit(data)
        assert np.abs(matrix_of(model)).max() <= 1e-6
        assert np.all(np.isfinite(model.transform(data)))
        assert np.isfinite(model.score(data))


# -- score ------------------------------------------------------------------------


@pytest.mark.parametrize("complete", [False, True])
def test_score_tells_the_rank(complete, global_random_seed):
    X, _ = table(
        global_random_seed,
        noise=0.3,
        rank=3,
        shape=(60, 40),
        share=1.0 if complete else 0.7,
    )
    test, train = X[:20], X[20:]
    scores = {}
    for k in (1, 3, 12):
        model = PrecGDFactorization(
            k,
            random_state=global_random_seed,
            rank_search="fixed",
            max_iter=60,
            tol=0,
            alpha=0,
        )
        scores[k] = model.fit(train).score(test)
    assert scores[3] > scores[1]
    assert scores[3] > scores[12]
    assert 0.7 < scores[3] < 1.0


def test_score_of_exact_data_is_one(global_random_seed):
    X, truth = table(global_random_seed)
    options = {"random_state": global_random_seed}
    for data in (truth.matrix, sparse.csr_array(truth.matrix), X):
        model = PrecGDFactorization(2, **options).fit(truth.matrix)
        assert_allclose(model.score(data), 1.0, rtol=0, atol=1e-8)


def test_score_does_not_see_what_it_predicts(global_random_seed):
    # Pure noise: nothing can be predicted, however well it is reconstructed.
    X = np.random.default_rng(global_random_seed).standard_normal((30, 20))
    for k in (5, 19):
        model = PrecGDFactorization(k, random_state=0).fit(X[:20])
        assert model.score(X[20:]) < 0.05


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("center", CENTERS)
def test_score_of_complete_data_is_that_of_its_entries(
    container, center, global_random_seed
):
    # Taking entries out of complete rows, and never having them, are two computations.
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((12, 9)) + 2.0
    model = PrecGDFactorization(3, center=center, random_state=0).fit(X)
    score = model.score(container(X))
    model.set_params(missing_values=0)
    assert_allclose(model.score(container(X)), score, rtol=1e-8, atol=1e-8)


def test_score_is_reproducible(global_random_seed):
    X, _ = table(global_random_seed, noise=0.2)
    model = PrecGDFactorization(2, random_state=1).fit(X)
    assert model.score(X) == model.score(X)
    other = model.score(X)
    assert model.set_params(random_state=2).score(X) != other


@pytest.mark.parametrize("fraction", [1e-6, 0.05, 0.5, 0.95])
def test_any_validation_fraction(fraction, global_random_seed):
    X, truth = table(global_random_seed, noise=0.05)
    for data in (X, truth.matrix):
        model = PrecGDFactorization(
            2, validation_fraction=fraction, early_stopping=False, random_state=0
        ).fit(data)
        small = data[:4]
        assert np.isfinite(model.score(data))
        assert model.score(small) <= 1.0


def test_score_of_a_constant(global_random_seed):
    model = PrecGDFactorization(1).fit(np.full((5, 4), 2.0))
    assert model.score(np.full((3, 4), 2.0)) in (0.0, 1.0)


def test_score_of_one_entry(global_random_seed):
    X, _ = table(global_random_seed)
    model = PrecGDFactorization(2, random_state=0).fit(X)
    row = np.full((1, 25), np.nan)
    row[0, 3] = 1.5
    assert model.score(row) in (0.0, 1.0)


# -- centres ----------------------------------------------------------------------


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 12),
    st.integers(2, 12),
    st.sampled_from(CENTERS),
)
def test_offsets_of_a_complete_pattern(seed, n_rows, n_columns, center):
    """Entries of a complete matrix have the offsets of the matrix."""
    X = np.random.default_rng(seed).standard_normal((n_rows, n_columns))
    rows, columns = np.indices(X.shape).reshape(2, -1)
    from_entries = entry_offsets(rows, columns, X.ravel(), X.shape, center)
    from_dense = complete_offsets(X, center)
    from_sparse = complete_offsets(sparse.csr_array(X), center)
    for a, b, c in zip(from_entries, from_dense, from_sparse, strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-10)
        assert_allclose(c, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix])
def test_offset_operator(container, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    dense = rng.standard_normal((9, 7))
    rows, columns = rng.standard_normal(9), rng.standard_normal(7)
    expected = dense - rows[:, np.newaxis] - columns
    operator = subtract(container(dense), rows, columns)
    block, vector = rng.standard_normal((7, 3)), rng.standard_normal(7)
    assert_allclose(operator @ block, expected @ block, atol=1e-12)
    assert_allclose(operator @ vector, expected @ vector, atol=1e-12)
    assert_allclose(operator.T @ dense[:, :2], expected.T @ dense[:, :2], atol=1e-12)
    assert_allclose(operator.T @ rows, expected.T @ rows, atol=1e-12)
    assert_allclose(operator.frobenius_norm(), np.linalg.norm(expected), rtol=1e-12)


def test_a_column_centre_is_worth_a_component(global_random_seed):
    X, truth = table(global_random_seed)
    offsets = np.linspace(-3.0, 3.0, 25)
    shifted = PrecGDFactorization(3, center="columns").fit(X + offsets)
    error = matrix_of(shifted) - (truth.matrix + offsets)
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(truth.matrix + offsets)


# -- stopping, warnings, interruption ---------------------------------------------


def test_max_iter_warns(global_random_seed):
    X, _ = table(global_random_seed)
    model = PrecGDFactorization(3, max_iter=2)
    with pytest.warns(ConvergenceWarning, match="max_iter was reached") as caught:
        model.fit(X)
    (warning,) = caught
    assert "PrecGDFactorization did not converge" in str(warning.message)
    assert "tol=1e-09" in str(warning.message)
    assert not model.converged_
    assert np.all(np.isfinite(model.inverse_transform(model.transform(X))))


def test_too_few_blocks_warn(global_random_seed):
    # Complete data, too large for a dense decomposition.
    X = np.random.default_rng(global_random_seed).standard_normal((300, 280))
    model = PrecGDFactorization(3, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="PrecGDFactorization did not conv"):
        model.fit(X)
    assert not model.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PrecGDFactorization(3, max_iter=2, tol=0).fit(X)


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
def test_zero_tol_is_silent(rank_search, global_random_seed):
    X, truth = table(global_random_seed)
    model = PrecGDFactorization(2, tol=0, max_iter=40, rank_search=rank_search)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-2


def test_warm_start(global_random_seed):
    X, truth = table(global_random_seed)
    model = PrecGDFactorization(4, warm_start=True).fit(X)
    again = clone(model).fit(X).n_iter_
    assert model.fit(X).n_iter_ <= min(2, again)
    assert truth.relative_error(matrix_of(model)) < 1e-6
    # Another shape starts afresh; so does complete data.
    model.fit(X[:30])
    assert model.left_.shape[0] == 30
    model.fit(truth.matrix)
    assert model.n_components_ == 4
    assert truth.relative_error(matrix_of(model)) < 1e-9


def test_warm_start_after_more_data(global_random_seed):
    X, truth = table(global_random_seed, share=0.5)
    model = PrecGDFactorization(4, warm_start=True).fit(X)
    afresh = clone(model)
    more = X.copy()
    more[::2] = truth.matrix[::2]
    assert model.fit(more).n_iter_ <= afresh.fit(more).n_iter_
    assert truth.relative_error(matrix_of(model)) < 1e-6


@pytest.mark.parametrize("init", ["spectral", "nystrom", "random", "pair"])
def test_starts(init, global_random_seed):
    X, truth = table(global_random_seed)
    if init == "pair":
        rng = np.random.default_rng(global_random_seed)
        init = tuple(0.1 * rng.standard_normal((n, 2)) for n in truth.shape)
    model = PrecGDFactorization(2, init=init, random_state=global_random_seed).fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-6


class PressedAt(io.StringIO):
    """A terminal at which someone interrupts as soon as so many lines are there."""

    def __init__(self, n_lines):
        super().__init__()
        self.n_lines = n_lines

    def write(self, text):
        written = super().write(text)
        if self.getvalue().count("\n") == self.n_lines:
            raise KeyboardInterrupt
        return written


def test_interruption(global_random_seed):
    X, truth = table(global_random_seed)
    model = PrecGDFactorization(2, warm_start=True, verbose=2)
    # A heading, and a line for each iteration.
    with pytest.raises(KeyboardInterrupt), redirect_stdout(PressedAt(5)):
        model.fit(X)
    assert "Interrupted" in model.stop_reason_
    assert model.n_iter_ <= 4
    # What the iterations so far have explained is kept.
    found = truth.relative_error(matrix_of(model))
    assert 1e-6 < found < 1
    model.set_params(verbose=0).fit(X)
    assert truth.relative_error(matrix_of(model)) < 1e-6


# -- invariances ------------------------------------------------------------------


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1), st.floats(-50, 50), st.sampled_from(["mean", "columns"])
)
def test_a_constant_goes_into_the_centre(seed, constant, center):
    X, _ = table(seed % 1000, noise=0.1, shape=(20, 12))
    options = {"n_components": 2, "center": center, "max_iter": 5, "tol": 0}
    options |= {"rank_search": "fixed", "solver": "precgd"}
    plain = PrecGDFactorization(**options).fit(X)
    shifted = PrecGDFactorization(**options).fit(X + constant)
    size = np.abs(matrix_of(plain)).max() + abs(constant)
    assert_allclose(
        matrix_of(shifted), matrix_of(plain) + constant, rtol=0, atol=1e-7 * size
    )


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_rotating_the_rows(seed):
    """Complete data: an orthogonal change of the samples leaves the components."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((15, 8))
    Q = np.linalg.qr(rng.standard_normal((15, 15)))[0]
    a, b = PrecGDFactorization(3).fit(X), PrecGDFactorization(3).fit(Q @ X)
    assert_allclose(a.singular_values_, b.singular_values_, rtol=1e-9)
    assert_allclose(matrix_of(b), Q @ matrix_of(a), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (1, 1), (2, 2)])
def test_tiny(shape):
    X = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    model = PrecGDFactorization(1).fit(X)
    assert model.components_.shape == (1, shape[1])
    holes = X.copy()
    if X.size > 1:
        holes.flat[-1] = np.nan
    with warnings.catch_warnings():
        # An empty row or column is named; that is all.
        warnings.filterwarnings("ignore", "1 (row|column)", UserWarning)
        model.fit(holes)
    assert np.all(np.isfinite(model.inverse_transform(model.transform(holes))))
