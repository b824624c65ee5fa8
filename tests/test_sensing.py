"""PrecGDMatrixSensing: recovery through every kind of measurement, and its surface."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprecgd import PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import (
    make_low_rank,
    make_matrix_completion,
    make_matrix_sensing,
    make_phase_retrieval,
)
from skprecgd.measurements import (
    DenseMeasurements,
    LinearOperatorMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
)
from skprecgd.optim import RANK_SEARCHES

SHAPE = (14, 10)
KINDS = {
    "flat": lambda A: A,
    "list": lambda A: A.tolist(),
    "3-D": lambda A: A.reshape(-1, *SHAPE),
    "3-D list": lambda A: A.reshape(-1, *SHAPE).tolist(),
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "3-D coo_array": lambda A: sparse.coo_array(A.reshape(-1, *SHAPE)),
    "LinearOperator": aslinearoperator,
    "DenseMeasurements": lambda A: DenseMeasurements(A, SHAPE),
    "SparseMeasurements": lambda A: SparseMeasurements(sparse.csr_array(A), SHAPE),
    "LinearOperatorMeasurements": lambda A: LinearOperatorMeasurements(
        aslinearoperator(A), SHAPE
    ),
}
try:
    sparse.coo_array(np.zeros((1, 1, 1)))
except TypeError:
    # Before SciPy 1.15 there are none.
    del KINDS["3-D coo_array"]


def problem(seed, n_measurements=110, **options):
    options = {"rank": 2, "condition_number": 3, "random_state": seed} | options
    return make_matrix_sensing(*SHAPE, n_measurements=n_measurements, **options)


def easy(**options):
    return PrecGDMatrixSensing(4, matrix_shape=SHAPE, random_state=0, **options)


# -- recovery ---------------------------------------------------------------------


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_measurement(kind, rank_search, global_random_seed):
    A, y, truth = problem(global_random_seed)
    X = KINDS[kind](A)
    model = easy(rank_search=rank_search).fit(X, y)
    assert truth.relative_error(model.matrix_) < 1e-6
    assert model.converged_
    assert model.n_components_ == 2
    assert model.matrix_.shape == SHAPE
    assert model.n_features_in_ == SHAPE[0] * SHAPE[1]
    assert_allclose(model.predict(X), y, rtol=0, atol=1e-6 * np.abs(y).max())


def test_every_kind_gives_the_same_matrix(global_random_seed):
    A, y, _ = problem(global_random_seed, noise=0.1)
    # The default solver depends on the kind.
    how = {"solver": "precgd-cg", "early_stopping": False}
    steps = {"max_iter": 8, "tol": 0, **how}
    expected = easy(**steps).fit(A, y).matrix_
    for kind, make in KINDS.items():
        # The mean square of an operator is only estimated, so its damping differs.
        rtol = 0.05 if kind.startswith("Linear") else 1e-8
        error = easy(**steps).fit(make(A), y).matrix_ - expected
        assert np.linalg.norm(error) <= rtol * np.linalg.norm(expected), kind


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
def test_rank_one_measurements(rank_search, global_random_seed):
    X, y, truth = make_matrix_sensing(
        *SHAPE,
        rank=2,
        n_measurements=200,
        kind="rank_one",
        condition_number=2,
        random_state=global_random_seed,
    )
    assert isinstance(X, RankOneMeasurements)
    model = PrecGDMatrixSensing(4, rank_search=rank_search).fit(X, y)
    assert truth.relative_error(model.left_, model.right_) < 1e-6


def test_phase_retrieval(global_random_seed):
    a, y, truth = make_phase_retrieval(
        12, n_measurements=120, random_state=global_random_seed
    )
    model = PrecGDMatrixSensing(3, symmetric=True).fit(RankOneMeasurements(a), y)
    assert truth.relative_error(model.left_, model.left_) < 1e-6
    assert model.n_components_ == 1
    # The vector itself, up to the sign that was never measured.
    x = model.left_[:, 0]
    x = x * np.sign(x @ truth.left[:, 0])
    assert_allclose(x, truth.left[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
def test_entries(rank_search, global_random_seed):
    X, truth = make_matrix_completion(
        40,
        30,
        rank=2,
        oversampling=5,
        min_per_line=5,
        condition_number=2,
        random_state=global_random_seed,
    )
    A, y = observed_entries(X)
    rank = 2 if rank_search == "fixed" else 6
    model = PrecGDMatrixSensing(rank, rank_search=rank_search).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-6


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("solver", ["auto", "precgd", "precgd-cg", "gauss-newton"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_solvers(solver, symmetric, rank_search, global_random_seed):
    A, y, truth = make_matrix_sensing(
        12,
        12,
        rank=2,
        n_measurements=160,
        condition_number=2,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(
        4, symmetric=symmetric, solver=solver, rank_search=rank_search
    ).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-6
    assert model.n_components_ == 2
    assert (model.left_ is model.right_) == symmetric


@pytest.mark.parametrize("solver", ["gd", "scaledgd"])
def test_what_precgd_is_compared_with(solver, global_random_seed):
    # At the true rank and well conditioned, both peers do well.
    A, y, truth = problem(global_random_seed, condition_number=1, n_measurements=140)
    model = PrecGDMatrixSensing(
        2, matrix_shape=SHAPE, solver=solver, rank_search="fixed", tol=1e-8
    ).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-6


@pytest.mark.parametrize(
    "damping", ["sqrt_loss", "dual_norm", "geometric", "variance_proxy", 1e-4]
)
@pytest.mark.parametrize("step_size", ["exact", "backtracking"])
def test_dampings_and_steps(damping, step_size, global_random_seed):
    A, y, truth = problem(global_random_seed)
    model = easy(
        solver="precgd",
        rank_search="fixed",
        damping=damping,
        step_size=step_size,
        noise_variance=0.0,
        tol=1e-5,
    ).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-3


@pytest.mark.parametrize("init", ["spectral", "nystrom", "random"])
def test_starts(init, global_random_seed):
    A, y, truth = problem(global_random_seed)
    model = easy(init=init).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-6


def test_start_from_the_answer(global_random_seed):
    A, y, truth = problem(global_random_seed)
    pad = np.zeros((SHAPE[0], 2)), np.zeros((SHAPE[1], 2))
    pair = np.hstack([truth.left, pad[0]]), np.hstack([truth.right, pad[1]])
    before = [block.copy() for block in pair]
    model = easy(init=pair).fit(A, y)
    assert model.n_iter_ <= 2
    assert truth.relative_error(model.matrix_) < 1e-9
    for block, copy in zip(pair, before, strict=True):
        assert_array_equal(block, copy)
    # A start at a lower rank is one too.
    lower = PrecGDMatrixSensing(4, matrix_shape=SHAPE, init=(truth.left, truth.right))
    if lower.rank_search == "path":
        assert truth.relative_error(lower.fit(A, y).matrix_) < 1e-9


def test_the_papers_setting(global_random_seed):
    """Search rank three times the rank, and a condition number, cost no accuracy."""
    n, search_rank = 40, 6
    A, y, truth = make_matrix_sensing(
        n,
        rank=2,
        n_measurements=3 * n * search_rank,
        condition_number=10,
        symmetric=True,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(
        search_rank,
        matrix_shape=(n, n),
        symmetric=True,
        rank_search="fixed",
        solver="precgd",
    ).fit(A, y)
    assert truth.relative_error(model.left_, model.right_) < 1e-8
    assert model.n_components_ == 2


def test_noise(global_random_seed):
    A, y, truth = problem(global_random_seed, noise=0.1, n_measurements=300)
    model = easy().fit(A, y)
    assert 1e-3 < truth.relative_error(model.matrix_) < 0.2
    assert model.score(A, y) > 0.95


def test_float32(global_random_seed):
    A, y, truth = problem(global_random_seed)
    A, y = A.astype(np.float32), y.astype(np.float32)
    model = easy(tol=1e-5).fit(A, y)
    for array in (
        model.matrix_,
        model.components_,
        model.predict(A),
        model.transform(A),
    ):
        assert array.dtype == np.float32
    assert truth.relative_error(model.matrix_) < 1e-3


@pytest.mark.parametrize("complex_", [False, True])
def test_rounded_entries_are_explained(complex_, global_random_seed):
    """Numbers of single precision leave a residual of their own, which is no noise."""
    rng = np.random.default_rng(global_random_seed)
    left, right = rng.standard_normal((40, 2)), rng.standard_normal((30, 2))
    X = left @ right.T * (1 + 1j if complex_ else 1)
    X[rng.random(X.shape) > 0.5] = np.nan
    exact = PrecGDMatrixSensing(5, random_state=0).fit(*observed_entries(X))
    single = X.astype(np.complex64 if complex_ else np.float32)
    rounded = PrecGDMatrixSensing(5, random_state=0).fit(*observed_entries(single))
    assert rounded.converged_
    assert rounded.n_components_ == exact.n_components_ == 2
    assert rounded.n_iter_ <= exact.n_iter_


def test_integer_data(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = rng.integers(-3, 4, (60, 48))
    y = A @ np.outer(np.arange(1, 9), np.arange(1, 7)).ravel()
    model = PrecGDMatrixSensing(2, matrix_shape=(8, 6)).fit(A, y)
    assert_allclose(
        model.matrix_, np.outer(np.arange(1, 9), np.arange(1, 7)), rtol=1e-6
    )


def test_ridge_is_a_nuclear_norm_penalty(global_random_seed):
    # All entries measured: the answer is the soft-thresholded SVD.
    X = np.random.default_rng(global_random_seed).standard_normal((12, 9))
    model = PrecGDMatrixSensing(alpha=1.5).fit(*observed_entries(X))
    u, s, vt = np.linalg.svd(X, full_matrices=False)
    expected = (u * np.maximum(s - 1.5, 0)) @ vt
    assert_allclose(model.matrix_, expected, rtol=0, atol=1e-6 * s[0])
    assert model.n_components_ == np.sum(s > 1.5)


# -- shapes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_cells", "symmetric", "shape"),
    [
        (12, False, (4, 3)),
        (36, False, (6, 6)),
        (36, True, (6, 6)),
        (7, False, (7, 1)),
        (1, False, (1, 1)),
        (60, False, (10, 6)),
    ],
)
def test_shape_by_default(n_cells, symmetric, shape, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = rng.standard_normal((80, n_cells))
    y = A @ rng.standard_normal(n_cells)
    model = PrecGDMatrixSensing(1, symmetric=symmetric, max_iter=2, tol=0).fit(A, y)
    assert model.matrix_.shape == shape
    assert model.n_features_in_ == n_cells


def test_shape_comes_with_the_measurements(global_random_seed):
    A, y, _ = problem(global_random_seed)
    steps = {"n_components": 2, "max_iter": 2, "tol": 0, "early_stopping": False}
    expected = easy().set_params(**steps).fit(A, y).matrix_
    for kind in ("3-D", "DenseMeasurements"):
        model = PrecGDMatrixSensing(random_state=0, **steps).fit(KINDS[kind](A), y)
        assert_allclose(model.matrix_, expected, rtol=1e-10)
    for shape in (list(SHAPE), tuple(np.array(SHAPE))):
        model = PrecGDMatrixSensing(matrix_shape=shape, random_state=0, **steps)
        assert_allclose(model.fit(A, y).matrix_, expected, rtol=1e-10)
        assert model.matrix_shape is shape


def test_search_rank_by_default(global_random_seed):
    # None is min(matrix_shape): no bound at all, and the rank is found all the same.
    A, y, truth = problem(global_random_seed, n_measurements=130)
    model = PrecGDMatrixSensing(matrix_shape=SHAPE).fit(A, y)
    assert model.n_components is None
    assert truth.relative_error(model.matrix_) < 1e-6
    assert model.n_components_ == 2


def test_vectors_are_matrices_too(global_random_seed):
    # One column: ordinary least squares.
    rng = np.random.default_rng(global_random_seed)
    A = rng.standard_normal((20, 6))
    y = rng.standard_normal(20)
    model = PrecGDMatrixSensing(matrix_shape=(6, 1), alpha=0.0, early_stopping=False)
    model.fit(A, y)
    expected = np.linalg.lstsq(A, y, rcond=None)[0]
    assert_allclose(model.matrix_[:, 0], expected, rtol=0, atol=1e-7)


# -- the fitted surface -----------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
def test_attributes_agree(symmetric, global_random_seed):
    A, y, _ = make_matrix_sensing(
        12,
        12,
        rank=3,
        n_measurements=220,
        condition_number=4,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(5, symmetric=symmetric).fit(A, y)
    s = model.singular_values_
    assert model.n_components_ == len(s) == 3
    assert np.all(np.diff(s) <= 0)
    # Balanced: both Gram matrices are diag(s), whatever the order of the factors.
    for factor in (model.left_, model.right_):
        assert_allclose(factor.T @ factor, np.diag(s), rtol=0, atol=1e-8 * s[0])
    assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-10)
    assert_allclose(
        model.right_, (model.components_ * np.sqrt(s)[:, np.newaxis]).T, atol=1e-8
    )
    assert_allclose(np.linalg.svd(model.matrix_)[1][:3], s, rtol=1e-8)
    assert_array_equal(model.matrix_, model.left_ @ model.right_.T)
    assert model.stop_reason_[-1] in ".)"
    losses = model.history_["loss"]
    assert len(losses) == len(model.history_["rank"])
    assert losses[-1] < 1e-12 * losses[0]


def test_predict_score_transform(global_random_seed):
    A, y, _ = problem(global_random_seed, noise=0.2)
    new, y_new, _ = problem(global_random_seed + 1, noise=0.2)
    model = easy().fit(A, y)
    for kind, make in KINDS.items():
        X = make(new)
        z = model.predict(X)
        assert_allclose(z, new @ model.matrix_.ravel(), rtol=1e-9, atol=1e-9)
        parts = model.transform(X)
        assert parts.shape == (len(y_new), model.n_components_), kind
        assert_allclose(parts.sum(axis=1), z, rtol=0, atol=1e-9 * np.abs(z).max())
    assert_allclose(model.score(new, y_new), r2_score(y_new, model.predict(new)))
    weights = np.arange(1.0, len(y) + 1)
    assert_allclose(
        model.score(A, y, sample_weight=weights),
        r2_score(y, model.predict(A), sample_weight=weights),
    )
    # A column is the contribution of one singular component.
    k = model.n_components_ - 1
    component = np.outer(model.left_[:, k], model.right_[:, k])
    assert_allclose(model.transform(A)[:, k], A @ component.ravel(), atol=1e-9)


def test_transform_names_and_output(global_random_seed):
    pandas = pytest.importorskip("pandas")
    A, y, _ = problem(global_random_seed)
    model = easy().set_output(transform="pandas").fit(A, y)
    names = ["precgdmatrixsensing0", "precgdmatrixsensing1"]
    assert_array_equal(model.get_feature_names_out(), names)
    out = model.transform(pandas.DataFrame(A).to_numpy())
    assert list(out.columns) == names


def test_as_the_last_step_of_a_pipeline(global_random_seed):
    A, y, _ = problem(global_random_seed)
    pipeline = make_pipeline(StandardScaler(with_mean=False), easy())
    assert pipeline.fit(A, y).score(A, y) > 0.5


def test_feature_names_come_and_go(global_random_seed):
    pandas = pytest.importorskip("pandas")
    A, y, _ = problem(global_random_seed)
    frame = pandas.DataFrame(A, columns=[f"cell {i}" for i in range(A.shape[1])])
    model = easy(max_iter=2, tol=0).fit(frame, y)
    assert_array_equal(model.feature_names_in_, frame.columns)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(A)
    for refitted in (A, KINDS["DenseMeasurements"](A), KINDS["3-D"](A)):
        model.fit(frame, y).fit(refitted, y)
        assert not hasattr(model, "feature_names_in_")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.predict(A)


def test_refit_on_another_shape(global_random_seed):
    A, y, _ = problem(global_random_seed)
    model = PrecGDMatrixSensing(1, max_iter=2, tol=0).fit(A, y)
    model.fit(A[:, :12], y)
    assert model.n_features_in_ == 12
    assert model.matrix_.shape == (4, 3)
    assert model.predict(A[:, :12]).shape == y.shape


def test_clone_and_pickle(global_random_seed):
    A, y, _ = problem(global_random_seed)
    model = easy().fit(A, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.matrix_, model.matrix_)
    assert_array_equal(copy.history_["loss"], model.history_["loss"])
    fresh = clone(model)
    assert not hasattr(fresh, "left_")
    assert_array_equal(fresh.fit(A, y).matrix_, model.matrix_)


def test_fit_leaves_parameters_and_data_alone(global_random_seed):
    A, y, _ = problem(global_random_seed)
    A_before, y_before = A.copy(), y.copy()
    model = easy()
    before = model.get_params()
    model.fit(A, y)
    assert model.get_params() == before
    assert_array_equal(A, A_before)
    assert_array_equal(y, y_before)


# -- stopping, warnings, interruption ---------------------------------------------


def test_max_iter_warns(global_random_seed):
    A, y, _ = problem(global_random_seed)
    model = easy(max_iter=3)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(A, y)
    (warning,) = caught
    message = str(warning.message)
    for words in (
        "PrecGDMatrixSensing did not converge: max_iter was reached.",
        "Relative residual 0.",
        "tol=1e-09",
        "increase max_iter or tol",
        "best iterate is kept",
    ):
        assert words in message
    assert not model.converged_
    assert model.n_iter_ <= 6
    assert "max_iter was reached" in model.stop_reason_
    # What was reached is kept.
    assert 0 < model.score(A, y) < 1


def test_zero_tol_is_silent(global_random_seed):
    A, y, truth = problem(global_random_seed)
    for rank_search in RANK_SEARCHES:
        model = easy(tol=0, max_iter=30, rank_search=rank_search)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(A, y)
        assert truth.relative_error(model.matrix_) < 0.1


def test_too_large_a_step_is_named(global_random_seed):
    A, y, _ = problem(global_random_seed)
    model = easy(step_size=50.0, rank_search="fixed", solver="precgd")
    with pytest.warns(ConvergenceWarning, match="step size is too large.*step_size="):
        model.fit(A, y)
    assert not model.converged_
    # The best iterate is kept, and the start was better than what followed.
    assert np.all(np.isfinite(model.matrix_))
    assert np.linalg.norm(model.predict(A) - y) <= 2 * np.linalg.norm(y)


def test_random_state(global_random_seed):
    A, y, _ = problem(global_random_seed)
    options = {"init": "random", "max_iter": 2, "tol": 0, "rank_search": "fixed"}
    first, second, other = (
        PrecGDMatrixSensing(4, matrix_shape=SHAPE, random_state=seed, **options)
        .fit(A, y)
        .matrix_
        for seed in (1, 1, 2)
    )
    assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_warm_start_goes_on(global_random_seed):
    A, y, truth = problem(global_random_seed)
    model = easy(warm_start=True)
    first_n_iter = model.fit(A, y).n_iter_
    model.fit(A, y)
    assert model.n_iter_ <= min(2, first_n_iter)
    assert truth.relative_error(model.matrix_) < 1e-6
    # In pieces: what one fit reached, the next one starts from.
    pieces = easy(warm_start=True, max_iter=2, tol=0, early_stopping=False)
    errors = [truth.relative_error(pieces.fit(A, y).matrix_) for _ in range(6)]
    assert errors[-1] < 1e-2 * errors[0]
    # Without it, every fit starts afresh.
    afresh = easy(max_iter=5, tol=0, early_stopping=False)
    again = [afresh.fit(A, y).matrix_ for _ in range(2)]
    assert_array_equal(*again)


def test_warm_start_that_does_not_fit(global_random_seed):
    A, y, _ = problem(global_random_seed)
    steps = {"max_iter": 3, "tol": 0, "random_state": 0}
    model = PrecGDMatrixSensing(2, warm_start=True, **steps).fit(A, y)
    expected = PrecGDMatrixSensing(2, **steps).fit(A[:, :12], y)
    assert_array_equal(model.fit(A[:, :12], y).matrix_, expected.matrix_)
    # A lower search rank than the last solution's, too.
    model.set_params(n_components=1).fit(A[:, :12], y)
    assert model.n_components_ == 1


class Interrupting:
    """A LinearOperator that presses Ctrl-C at a given product."""

    def __init__(self, A, after):
        self.A, self.left = A, after

    def operator(self):
        return LinearOperator(
            self.A.shape,
            matvec=self.matvec,
            rmatvec=lambda w: self.A.T @ w,
            matmat=self.matvec,
            dtype=self.A.dtype,
        )

    def matvec(self, v):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.A @ v


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
def test_interruption_keeps_the_last_iterate(rank_search, global_random_seed):
    A, y, truth = problem(global_random_seed)
    model = easy(warm_start=True, rank_search=rank_search)
    interrupting = Interrupting(A, after=9).operator()
    with pytest.raises(KeyboardInterrupt):
        model.fit(interrupting, y)
    assert "Interrupted" in model.stop_reason_
    assert not model.converged_
    error = truth.relative_error(model.matrix_)
    assert 1e-6 < error < 1.0
    # The next fit goes on from there.
    kept = np.linalg.norm(model.predict(A) - y) / np.linalg.norm(y)
    model.fit(A, y)
    assert_allclose(model.history_["relative_residual"][0], kept, rtol=1e-6)
    assert truth.relative_error(model.matrix_) < 1e-6


def test_interruption_before_anything_was_found(global_random_seed):
    A, y, _ = problem(global_random_seed)
    model = easy().fit(A, y)
    matrix = model.matrix_

    def press(_):
        raise KeyboardInterrupt

    operator = LinearOperator(
        A.shape, matvec=press, rmatvec=press, matmat=press, dtype=A.dtype
    )
    with pytest.raises(KeyboardInterrupt):
        model.fit(operator, y)
    assert_array_equal(model.matrix_, matrix)
    assert_array_equal(model.predict(A), A @ matrix.ravel())
    fresh = easy()
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(operator, y)
    assert not hasattr(fresh, "n_features_in_")


# -- invariances ------------------------------------------------------------------


# On the way, and at the end: Gauss-Newton directions are rounded to single precision,
# what they lead to is not.
WHERE = pytest.mark.parametrize(
    "options",
    [
        {"solver": "precgd-cg", "max_iter": 6, "tol": 0, "early_stopping": False},
        {"n_components": 2, "early_stopping": False},
    ],
    ids=["steps", "solution"],
)


def assert_same(found, expected):
    assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@WHERE
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_the_measurements(options, seed):
    A, y, _ = problem(seed, noise=0.1)
    order = np.random.default_rng(seed).permutation(len(y))
    model = easy().set_params(**options)
    expected = model.fit(A, y).matrix_
    assert_same(model.fit(A[order], y[order]).matrix_, expected)


@WHERE
@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    c=st.floats(-1e6, 1e6).filter(lambda c: abs(c) > 1e-6),
)
def test_sign_and_unit_of_the_targets(options, seed, c):
    A, y, _ = problem(seed, noise=0.1)
    model = easy().set_params(**options)
    expected = c * model.fit(A, y).matrix_
    assert_same(model.fit(A, c * y).matrix_, expected)


@WHERE
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_rotations(options, seed):
    """Rotating rows and columns of the measurement matrices rotates the answer."""
    rng = np.random.default_rng(seed)
    A, y, _ = problem(seed, noise=0.1)
    P = np.linalg.qr(rng.standard_normal((SHAPE[0], SHAPE[0])))[0]
    Q = np.linalg.qr(rng.standard_normal((SHAPE[1], SHAPE[1])))[0]
    rotated = P @ A.reshape(-1, *SHAPE) @ Q.T
    model = easy().set_params(**options)
    expected = P @ model.fit(A, y).matrix_ @ Q.T
    assert_same(model.fit(rotated, y).matrix_, expected)


def test_not_symmetric_is_replaced_by_the_closest_fit(global_random_seed):
    # Every entry measured: the closest positive semidefinite matrix of the rank.
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((8, 8))
    model = PrecGDMatrixSensing(symmetric=True, early_stopping=False, max_iter=3000)
    model.fit(*observed_entries(X))
    values, vectors = np.linalg.eigh(0.5 * (X + X.T))
    expected = (vectors * np.maximum(values, 0)) @ vectors.T
    assert_allclose(model.matrix_, expected, rtol=0, atol=1e-5 * np.abs(X).max())


def test_truth_of_full_rank(global_random_seed):
    # Nothing low-rank about it, and enough measurements: still the right matrix.
    truth = make_low_rank(
        6, 5, rank=5, condition_number=3, random_state=global_random_seed
    )
    A = np.random.default_rng(global_random_seed).standard_normal((80, 30))
    y = A @ truth.matrix.ravel()
    model = PrecGDMatrixSensing(matrix_shape=(6, 5)).fit(A, y)
    assert truth.relative_error(model.matrix_) < 1e-6
    assert model.n_components_ == 5
