"""Both estimators with losses other than the squared one, from end to end."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import optimize, sparse, special
from scipy.sparse.linalg import aslinearoperator
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import d2_absolute_error_score, d2_log_loss_score, d2_tweedie_score
from sklearn.model_selection import GridSearchCV, KFold

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd._estimators.scoring import explained_share, without_largest
from skprecgd.datasets import make_low_rank, make_matrix_sensing, make_phase_retrieval
from skprecgd.losses import (
    AbsoluteLoss,
    HuberLoss,
    LogisticLoss,
    Loss,
    PoissonLoss,
    SquaredLoss,
)
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    LinearOperatorMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
)
from skprecgd.objective import make_objective

GENERALIZED = [LogisticLoss(), PoissonLoss()]
RESIDUAL = [HuberLoss(), AbsoluteLoss(), AbsoluteLoss(power=1.5)]
ALL = GENERALIZED + RESIDUAL


def low_rank(seed, shape=(20, 15), rank=2, symmetric=False, size=1.5):
    """A matrix of that rank whose entries have a root mean square of `size`."""
    truth = make_low_rank(*shape, rank=rank, symmetric=symmetric, random_state=seed)
    return truth.matrix * size / np.sqrt(np.mean(truth.matrix**2))


def stack(seed, n, shape=(20, 15)):
    """Measurement matrices that bring out numbers of the size of an entry."""
    cells = shape[0] * shape[1]
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, cells)) / np.sqrt(cells)


def relative(found, truth):
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def draw(loss, z, rng):
    """Targets with predictions z: labels or counts where there are some."""
    if isinstance(loss, LogisticLoss):
        return (rng.random(z.shape) < special.expit(z)).astype(float)
    if isinstance(loss, PoissonLoss):
        return rng.poisson(np.exp(z)).astype(float)
    return z


# --------------------------------------------------------------------------------------
# Against other implementations
# --------------------------------------------------------------------------------------


def column_problem(loss, seed):
    """A matrix of one column: a generalized linear model, a robust regression."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((300, 4))
    y = draw(loss, A @ rng.uniform(-1, 1, 4), rng)
    if not loss.generalized:
        y[:30] += 20.0
        y += 0.3 * rng.standard_normal(300)
    return A, y


@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("rank_search", ["path", "fixed"])
def test_one_column_is_a_regression(loss, rank_search, global_random_seed):
    A, y = column_problem(loss, global_random_seed)
    model = PrecGDMatrixSensing(
        matrix_shape=(4, 1), loss=loss, rank_search=rank_search, early_stopping=False
    ).fit(A, y)
    if isinstance(loss, LogisticLoss):
        other = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
        expected = other.fit(A, y).coef_.ravel()
    elif isinstance(loss, PoissonLoss):
        other = PoissonRegressor(alpha=0.0, fit_intercept=False, tol=1e-10)
        expected = other.fit(A, y).coef_
    else:
        known = loss.relative_to(y)
        expected = optimize.minimize(
            lambda m: known.value(A @ m, y),
            np.zeros(4),
            jac=lambda m: A.T @ known.gradient(A @ m, y),
            options={"gtol": 1e-9},
        ).x
    assert relative(model.matrix_.ravel(), expected) < 1e-4
    assert model.converged_


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_ridge_is_a_norm_penalty(loss, global_random_seed):
    """Of one column the nuclear norm is the Euclidean norm: a convex problem."""
    A, y = column_problem(loss, global_random_seed)
    objective = make_objective(DenseMeasurements(A, (4, 1)), y, loss)
    # Three tenths of the ridge that leaves nothing.
    gradient = objective.matrix_gradient_at_zero() / objective.weight
    alpha = 0.3 * float(np.linalg.norm(gradient))
    model = PrecGDMatrixSensing(matrix_shape=(4, 1), loss=loss, alpha=alpha).fit(A, y)

    def penalised(m):
        value = objective.loss.value(A @ m, y) + alpha * np.linalg.norm(m)
        return objective.weight * value

    start = np.full(4, 0.1)
    found = optimize.minimize(penalised, start, method="BFGS", options={"gtol": 1e-9})
    ours = penalised(model.matrix_.ravel())
    assert ours <= found.fun * (1 + 1e-9)
    assert np.linalg.norm(model.matrix_) > 0
    assert model.certificate_.relative_gap < 1e-6


@pytest.mark.parametrize("loss", [*GENERALIZED, AbsoluteLoss(smoothing=1e-8)], ids=str)
def test_score_is_the_d2_of_scikit_learn(loss, global_random_seed):
    A, y = column_problem(loss, global_random_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = PrecGDMatrixSensing(matrix_shape=(4, 1), loss=loss, max_iter=50)
        model.fit(A[:200], y[:200])
    predictions = model.predict(A[200:])
    score = {
        "logistic": d2_log_loss_score,
        "poisson": lambda t, p: d2_tweedie_score(t, p, power=1),
        "absolute": d2_absolute_error_score,
    }[loss.name]
    expected = score(y[200:], predictions)
    assert model.score(A[200:], y[200:]) == pytest.approx(expected, abs=1e-5)


# --------------------------------------------------------------------------------------
# Recovery
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("solver", ["auto", "precgd", "precgd-cg", "gauss-newton"])
def test_exact_targets_give_the_matrix(loss, symmetric, solver, global_random_seed):
    shape = (16, 16) if symmetric else (20, 15)
    M = low_rank(global_random_seed, shape, symmetric=symmetric)
    A = stack(global_random_seed, 600, shape)
    y = loss.mean(A @ M.ravel())
    model = PrecGDMatrixSensing(
        5,
        matrix_shape=shape,
        symmetric=symmetric,
        loss=loss,
        solver=solver,
        random_state=global_random_seed,
    ).fit(A, y)
    assert model.converged_
    assert model.n_components_ == 2
    assert relative(model.matrix_, M) < 1e-6
    np.testing.assert_allclose(model.predict(A), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.transform(A).sum(axis=1), A @ M.ravel(), atol=1e-5)
    assert model.score(A, y) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_full_search_rank_from_the_start(loss, global_random_seed):
    M = low_rank(global_random_seed)
    A = stack(global_random_seed, 900)
    model = PrecGDMatrixSensing(
        4, matrix_shape=M.shape, loss=loss, rank_search="fixed", tol=1e-7
    ).fit(A, loss.mean(A @ M.ravel()))
    assert model.converged_
    assert relative(model.matrix_, M) < 1e-4


@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("solver", ["alternating", "alternating-scaledgd", "gd"])
def test_other_solvers(loss, solver, global_random_seed):
    """They keep their promise, to go down, with every loss."""
    M = low_rank(global_random_seed)
    A = stack(global_random_seed, 600)
    model = PrecGDMatrixSensing(
        2, matrix_shape=M.shape, loss=loss, solver=solver, max_iter=300, tol=1e-4
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(A, loss.mean(A @ M.ravel()))
    assert relative(model.matrix_, M) < (0.7 if solver == "gd" else 0.1)


@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("step_size", ["backtracking", "exact"])
def test_steps(loss, step_size, global_random_seed):
    M = low_rank(global_random_seed)
    A = stack(global_random_seed, 600)
    model = PrecGDMatrixSensing(
        4, matrix_shape=M.shape, loss=loss, step_size=step_size, tol=1e-6
    ).fit(A, loss.mean(A @ M.ravel()))
    assert relative(model.matrix_, M) < 1e-3


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_every_kind_of_measurements(loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    shape = (9, 8)
    M = low_rank(global_random_seed, shape, rank=1, size=0.7)
    a, b = rng.standard_normal((200, 9)), rng.standard_normal((200, 8))
    a[rng.random(a.shape) < 0.3] = 0
    flat = np.einsum("ni,nj->nij", a, b).reshape(200, -1) / np.sqrt(72)
    y = loss.mean(flat @ M.ravel())
    kinds = [
        DenseMeasurements(flat, shape),
        SparseMeasurements(sparse.csr_array(flat), shape),
        RankOneMeasurements(a, b / np.sqrt(72)),
        LinearOperatorMeasurements(aslinearoperator(flat), shape),
    ]
    found = [
        PrecGDMatrixSensing(2, loss=loss, random_state=0, tol=1e-7).fit(kind, y).matrix_
        for kind in kinds
    ]
    for matrix in found:
        assert relative(matrix, M) < 1e-4


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_single_precision(loss, global_random_seed):
    M = low_rank(global_random_seed)
    A = stack(global_random_seed, 600).astype(np.float32)
    y = loss.mean(A @ M.ravel()).astype(np.float32)
    model = PrecGDMatrixSensing(4, matrix_shape=M.shape, loss=loss, tol=1e-4).fit(A, y)
    assert relative(model.matrix_, M) < 5e-3
    assert model.matrix_.dtype == model.predict(A).dtype == np.float32


@pytest.mark.parametrize("loss", RESIDUAL, ids=str)
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_scale_of_the_targets(loss, scale, global_random_seed):
    A, y, _ = make_matrix_sensing(
        10,
        8,
        rank=1,
        n_measurements=200,
        outlier_fraction=0.1,
        noise=0.1,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(3, matrix_shape=(10, 8), loss=loss, random_state=0)
    model.set_params(tol=1e-6)
    before = clone(model).fit(A, y)
    after = clone(model).fit(A, scale * y)
    assert relative(after.matrix_ / scale, before.matrix_) < 1e-6
    assert after.n_iter_ == before.n_iter_
    assert after.score(A, scale * y) == pytest.approx(before.score(A, y), rel=1e-6)


@pytest.mark.parametrize("loss", GENERALIZED, ids=str)
@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_scale_of_the_measurements(loss, scale, global_random_seed):
    M = low_rank(global_random_seed, (10, 8), rank=1)
    A = stack(global_random_seed, 300, (10, 8))
    y = draw(loss, A @ M.ravel(), np.random.default_rng(global_random_seed))
    model = PrecGDMatrixSensing(3, matrix_shape=(10, 8), loss=loss, random_state=0)
    before = clone(model).fit(A, y)
    after = clone(model).fit(scale * A, y)
    assert relative(after.matrix_ * scale, before.matrix_) < 1e-6


# --------------------------------------------------------------------------------------
# Labels, counts, outliers
# --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("loss", GENERALIZED, ids=str)
def test_random_targets_are_not_overfitted(loss, global_random_seed):
    """To the end, labels and counts would be fitted by ever larger predictions."""
    rng = np.random.default_rng(global_random_seed)
    size = 2.0 if isinstance(loss, LogisticLoss) else 0.7
    M = low_rank(global_random_seed, (120, 100), rank=2, size=size)
    cells = rng.permutation(M.size)
    seen, hidden = (
        EntryMeasurements(*np.divmod(part, 100), M.shape)
        for part in np.split(cells, [6000])
    )
    y = draw(loss, M.ravel()[cells[:6000]], rng)
    model = PrecGDMatrixSensing(6, loss=loss, alpha=0, random_state=0).fit(seen, y)
    to_the_end = PrecGDMatrixSensing(
        6, loss=loss, alpha=0, early_stopping=False, max_iter=200, tol=0
    ).fit(seen, y)
    assert model.converged_
    assert "held-out loss stopped falling" in model.stop_reason_
    assert relative(model.matrix_, M) < 0.5 * relative(to_the_end.matrix_, M)
    means = loss.mean(M.ravel()[cells[6000:]])
    assert np.mean((model.predict(hidden) - means) ** 2) < 0.6 * np.var(means)


def test_predictions_are_probabilities_and_means(global_random_seed):
    A, y = column_problem(LogisticLoss(), global_random_seed)
    model = PrecGDMatrixSensing(matrix_shape=(4, 1), loss="logistic").fit(A, y)
    z = A @ model.matrix_.ravel()
    np.testing.assert_allclose(model.predict(A), special.expit(z), rtol=1e-10)
    A, y = column_problem(PoissonLoss(), global_random_seed)
    model = PrecGDMatrixSensing(matrix_shape=(4, 1), loss="poisson").fit(A, y)
    z = A @ model.matrix_.ravel()
    np.testing.assert_allclose(model.predict(A), np.exp(z), rtol=1e-10)
    np.testing.assert_allclose(model.transform(A)[:, 0], z, rtol=1e-10)


@pytest.mark.parametrize(
    ("loss", "error"), [("huber", 0.03), ("absolute", 0.01)], ids=str
)
def test_outliers(loss, error, global_random_seed):
    A, y, truth = make_matrix_sensing(
        20,
        15,
        rank=2,
        n_measurements=900,
        outlier_fraction=0.1,
        random_state=global_random_seed,
    )
    errors = {}
    for name in ("squared", loss):
        model = PrecGDMatrixSensing(
            5, matrix_shape=(20, 15), loss=name, random_state=0, tol=1e-6
        ).fit(A, y)
        errors[name] = truth.relative_error(model.left_, model.right_)
    assert errors[loss] < error < 0.1 < errors["squared"]


def test_smaller_constants_come_closer(global_random_seed):
    A, y, truth = make_matrix_sensing(
        20,
        15,
        rank=2,
        n_measurements=900,
        outlier_fraction=0.1,
        random_state=global_random_seed,
    )
    for kind, name in ((HuberLoss, "threshold"), (AbsoluteLoss, "smoothing")):
        errors = []
        for constant in (0.3, 0.03):
            model = PrecGDMatrixSensing(
                5, matrix_shape=(20, 15), loss=kind(**{name: constant}), tol=1e-6
            ).fit(A, y)
            errors.append(truth.relative_error(model.left_, model.right_))
        assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("n_measurements", [512, 1024])
def test_phase_retrieval(n_measurements, global_random_seed):
    a, y, truth = make_phase_retrieval(
        64, n_measurements=n_measurements, rank=2, random_state=global_random_seed
    )
    model = PrecGDMatrixSensing(6, symmetric=True).fit(RankOneMeasurements(a), y)
    assert truth.relative_error(model.left_, model.right_) < 1e-8
    assert model.n_components_ == 2


# --------------------------------------------------------------------------------------
# Factorization
# --------------------------------------------------------------------------------------


def hide(X, seed, share=0.4):
    rng = np.random.default_rng([seed, 1])
    return np.where(rng.random(X.shape) < share, np.nan, X)


@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exact_data_are_completed(loss, complete, dtype, global_random_seed):
    M = low_rank(global_random_seed, (40, 30), size=1.0)
    means = loss.mean(M)
    X = (means if complete else hide(means, global_random_seed)).astype(dtype)
    double = dtype == np.float64
    model = PrecGDFactorization(4, loss=loss, tol=1e-9 if double else 1e-4)
    coordinates = model.fit_transform(X)
    completed = model.inverse_transform(coordinates)
    assert coordinates.dtype == completed.dtype == model.components_.dtype == dtype
    assert relative(completed, means) < (1e-6 if double else 1e-2)
    if double:
        assert model.n_components_ == 2
        np.testing.assert_allclose(coordinates @ model.components_, M, atol=1e-4)
    assert model.score(X) > 0.99


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_all_entries_observed_is_complete(loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = draw(loss, low_rank(global_random_seed, (30, 20), rank=1), rng)
    if not loss.generalized:
        X += 0.1 * rng.standard_normal(X.shape)
    rows, columns = np.divmod(np.arange(X.size), 20)
    stored = sparse.coo_array((X.ravel(), (rows, columns)), X.shape).tocsr()
    options = {"loss": loss, "random_state": 0, "tol": 1e-6}
    dense = PrecGDFactorization(3, **options).fit(X)
    entries = PrecGDFactorization(3, missing_values=0, **options).fit(stored)
    assert relative(entries.left_ @ entries.right_.T, dense.left_ @ dense.right_.T) < (
        1e-4
    )
    assert dense.score(X) == pytest.approx(entries.score(stored), abs=1e-4)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_coordinates_of_a_row_are_optimal(loss, global_random_seed):
    """Each row by itself, by a general optimizer."""
    rng = np.random.default_rng(global_random_seed)
    X = hide(draw(loss, low_rank(global_random_seed, (60, 30)), rng), 0)
    model = PrecGDFactorization(3, loss=loss, alpha=0, random_state=0, tol=1e-5).fit(X)
    known, basis = model._row_solver.loss, model.components_.T
    found = model.transform(X[:5])
    ridge = model._row_solver.ridge
    for row, z in zip(X[:5], found, strict=True):
        seen = np.isfinite(row)

        def value(z, seen=seen, row=row):
            data = known.value(basis[seen] @ z, row[seen])
            return data + 0.5 * float(ridge @ z**2)

        other = optimize.minimize(value, np.zeros(len(z)), options={"gtol": 1e-8})
        assert value(z) <= other.fun + 1e-7 * abs(value(np.zeros(len(z))))


def test_new_rows_with_labels(global_random_seed):
    """Few labels of a row are not explained by infinite coordinates."""
    rng = np.random.default_rng(global_random_seed)
    M = low_rank(global_random_seed, (120, 40), rank=2, size=3.0)
    X = draw(LogisticLoss(), M, rng)
    model = PrecGDFactorization(4, loss="logistic", random_state=0).fit(X[:100])
    few = hide(X[100:], global_random_seed, share=0.7)
    probabilities = model.inverse_transform(model.transform(few))
    truth = special.expit(M[100:])
    assert probabilities.min() > 1e-6
    assert probabilities.max() < 1 - 1e-6
    assert np.mean((probabilities - truth) ** 2) < 0.6 * np.var(truth)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["logistic", "huber"])
def test_score_finds_the_rank(loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    shape = (120, 50) if loss == "logistic" else (60, 30)
    M = low_rank(global_random_seed, shape, rank=2, size=3.0)
    X = draw(LogisticLoss(), M, rng)
    if loss == "huber":
        X = M + 0.5 * rng.standard_normal(M.shape)
        X[rng.random(X.shape) < 0.05] = 40.0
    model = PrecGDFactorization(loss=loss, random_state=0, tol=1e-4)
    search = GridSearchCV(model, {"n_components": [1, 2, 5]}, cv=KFold(2)).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] > scores[0] + 0.05
    assert scores[1] > scores[2] - 0.01


def test_sensing_cross_validates(global_random_seed):
    M = low_rank(global_random_seed, (12, 10), rank=1, size=3.0)
    A = stack(global_random_seed, 400, M.shape)
    y = draw(LogisticLoss(), A @ M.ravel(), np.random.default_rng(global_random_seed))
    model = PrecGDMatrixSensing(3, matrix_shape=M.shape, loss="logistic")
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=3).fit(A, y)
    assert 0 < search.best_score_ < 1


def test_centre_of_residual_losses(global_random_seed):
    M = low_rank(global_random_seed, (40, 30)) + 5.0
    X = hide(M, global_random_seed, share=0.3)
    model = PrecGDFactorization(5, loss="huber", center="columns")
    completed = model.inverse_transform(model.fit_transform(X))
    assert relative(completed, M) < 1e-5
    np.testing.assert_allclose(model.center_, completed.mean(axis=0))


# --------------------------------------------------------------------------------------
# Parameters
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PrecGDMatrixSensing, PrecGDFactorization])
def test_an_instance_is_a_parameter_like_any_other(kind):
    model = kind(3, loss=HuberLoss(threshold=0.5))
    assert clone(model).loss == model.loss
    assert "HuberLoss(threshold=0.5" in repr(model)
    X = low_rank(0, (12, 10), rank=1)
    if kind is PrecGDFactorization:
        model.fit(X)
    else:
        A = stack(0, 100, (12, 10))
        model.fit(A, A @ X.ravel())
    assert model.loss == HuberLoss(threshold=0.5)


class Bare(Loss):
    """Labels without a curvature."""

    name = "bare"
    curvature_bound = 0.25
    homogeneous = False
    generalized = True

    def value(self, z, y):
        return LogisticLoss().value(z, y)

    def gradient(self, z, y):
        return LogisticLoss().gradient(z, y)

    def mean(self, z):
        return special.expit(z)


def test_a_loss_of_your_own(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = hide(draw(LogisticLoss(), low_rank(global_random_seed, (60, 40)), rng), 0)
    ours = PrecGDFactorization(3, loss="logistic", random_state=0)
    theirs = PrecGDFactorization(3, loss=Bare(), random_state=0)
    expected = ours.inverse_transform(ours.fit_transform(X))
    found = theirs.inverse_transform(theirs.fit_transform(X))
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1
    for solver in ("gauss-newton", "alternating"):
        sentence = f"solver='{solver}' needs a loss with a curvature; loss='bare' has"
        with pytest.raises(ValueError, match=sentence):
            PrecGDFactorization(3, loss=Bare(), solver=solver).fit(X)


LABELS = np.random.default_rng(0).integers(2, size=(12, 10)).astype(float)


@pytest.mark.parametrize(
    ("options", "X", "sentence"),
    [
        ({"loss": "hinge"}, LABELS, r"'loss' parameter of PrecGDFactorization must"),
        ({"loss": "logistic"}, 2 * LABELS, r"targets in \[0, 1\].*from 0 to 2"),
        ({"loss": "logistic"}, 2 * LABELS - 1, r"Pass \(y \+ 1\) / 2"),
        ({"loss": "poisson"}, -LABELS, r"needs targets >= 0"),
        (
            {"loss": "poisson"},
            sparse.csr_array(LABELS),
            r"loss='poisson' looks at every entry, and X is sparse.*missing_values=0",
        ),
        (
            {"loss": "huber", "noise_variance": 1.0},
            LABELS,
            r"noise_variance needs loss='squared'.*loss='huber'",
        ),
        (
            {"loss": "poisson", "noise_variance": "auto"},
            LABELS,
            r"noise_variance='auto' needs loss='squared'.*loss='poisson'",
        ),
        (
            {"loss": "huber", "outlier_fraction": 0.1},
            LABELS,
            r"outlier_fraction=0\.1 needs loss='squared', got loss='huber'",
        ),
        (
            {"noise_variance": "auto", "outlier_fraction": "auto"},
            LABELS,
            r"outlier_fraction='auto' needs noise_variance=None or a number",
        ),
        (
            {"loss": "huber", "solver": "feedback-star", "rank_search": "fixed"},
            LABELS,
            r"solver='feedback-star' needs loss='squared'.*loss='huber'",
        ),
        (
            {"loss": "huber", "damping": "variance_proxy"},
            LABELS,
            r"damping='variance_proxy' needs noise_variance",
        ),
    ],
)
def test_refused_in_factorization(options, X, sentence):
    with pytest.raises(ValueError, match=sentence):
        PrecGDFactorization(**options).fit(X)


def test_refused_after_the_fit():
    model = PrecGDFactorization(loss="logistic", random_state=0).fit(LABELS)
    for method in (model.transform, model.score):
        with pytest.raises(ValueError, match=r"targets in \[0, 1\]"):
            method(3 * LABELS)
        with pytest.raises(ValueError, match=r"looks at every entry, and X is sparse"):
            method(sparse.csr_array(LABELS))


def test_refused_in_sensing():
    A, y = column_problem(LogisticLoss(), 0)
    model = PrecGDMatrixSensing(matrix_shape=(4, 1), loss="logistic")
    with pytest.raises(ValueError, match=r"Pass \(y \+ 1\) / 2"):
        model.fit(A, 2 * y - 1)
    model.fit(A, y)
    with pytest.raises(ValueError, match=r"targets in \[0, 1\]"):
        model.score(A, 2 * y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        model.score(A, y[:-1])


@pytest.mark.parametrize("loss", [*ALL, SquaredLoss()], ids=str)
def test_weights_in_score_repeat_measurements(loss, global_random_seed):
    A, y = column_problem(loss, global_random_seed)
    model = PrecGDMatrixSensing(matrix_shape=(4, 1), loss=loss, tol=1e-3)
    model.fit(A[:200], y[:200])
    A, y = A[200:], y[200:]
    times = np.random.default_rng(global_random_seed).integers(0, 4, len(y))
    repeated = model.score(np.repeat(A, times, axis=0), np.repeat(y, times))
    assert model.score(A, y, times) == pytest.approx(repeated, abs=1e-10)
    assert model.score(A, y, 1e-100 * times) == pytest.approx(repeated, abs=1e-10)
    assert model.score(A, y, np.ones(len(y))) == pytest.approx(model.score(A, y))
    assert model.score(A, y, times) != pytest.approx(model.score(A, y), abs=1e-10)


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
@pytest.mark.parametrize("observed", [1.0, 0.7])
@pytest.mark.parametrize(
    "options",
    [*({"loss": loss} for loss in [*ALL, SquaredLoss()]), {"outlier_fraction": 0.1}],
    ids=str,
)
def test_weights_in_score_repeat_rows(options, observed, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = draw(options.get("loss"), low_rank(global_random_seed), rng)
    X = X + (0 if "loss" in options and options["loss"].generalized else 0.1)
    X[rng.random(X.shape) > observed] = np.nan
    model = PrecGDFactorization(
        2, tol=1e-3, random_state=0, validation_fraction=0.5, **options
    ).fit(X)
    weight = rng.integers(0, 3, len(X))
    # The same hidden entries, those of a row as often as it counts.
    solver, rng = model._row_solver, np.random.RandomState(0)
    hidden = solver.predict_hidden(model._read(X), model._row_space, 0.5, rng)
    rows, values, found = (np.concatenate(part) for part in zip(*hidden, strict=True))
    values, found = (np.repeat(part, weight[rows]) for part in (values, found))
    if model.outlier_fraction:
        values, found, _ = without_largest(values, found, model.outlier_fraction)
    expected = explained_share(solver.loss, values, found)
    # A share of an odd number of entries leaves out a part of one.
    accuracy = 1e-2 if model.outlier_fraction else 1e-10
    assert model.score(X, sample_weight=weight) == pytest.approx(expected, abs=accuracy)
    scaled = model.score(X, sample_weight=1e100 * weight)
    assert scaled == pytest.approx(model.score(X, sample_weight=weight))
    assert model.score(X, sample_weight=np.ones(len(X))) == pytest.approx(
        model.score(X), abs=accuracy
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), "one number for each"),
        (-np.ones(20), "must not be negative"),
        (np.zeros(20), "nor zero everywhere"),
    ],
)
def test_weights_that_are_none(weight, message):
    X = low_rank(0)
    model = PrecGDFactorization(2, loss="huber").fit(X)
    with pytest.raises(ValueError, match=message):
        model.score(X, sample_weight=weight)


# --------------------------------------------------------------------------------------
# Noise of the squared loss
# --------------------------------------------------------------------------------------


def noisy_sensing(seed, noise=0.3):
    A, y, truth = make_matrix_sensing(
        30, 20, rank=2, n_measurements=900, noise=noise, random_state=seed
    )
    return A, y, truth, np.var(y - A @ truth.matrix.ravel())


@pytest.mark.parametrize("damping", ["auto", "geometric", "dual_norm"])
def test_noise_variance_is_estimated(damping, global_random_seed):
    A, y, _, variance = noisy_sensing(global_random_seed)
    model = PrecGDMatrixSensing(
        5,
        matrix_shape=(30, 20),
        noise_variance="auto",
        damping=damping,
        random_state=0,
        alpha=0,
        tol=1e-6,
    ).fit(A, y)
    # A hundred degrees of freedom of 900; the standard error is 5 %.
    assert model.noise_variance_ == pytest.approx(variance, rel=0.2)
    residual = y - model.predict(A)
    freedom = model.n_components_ * (50 - model.n_components_)
    expected = residual @ residual / (900 - freedom)
    assert model.noise_variance_ == pytest.approx(expected, rel=1e-4)


def test_estimated_noise_scales_with_the_data(global_random_seed):
    A, y, _, _ = noisy_sensing(global_random_seed)
    model = PrecGDMatrixSensing(
        5, matrix_shape=(30, 20), noise_variance="auto", random_state=0, tol=1e-6
    )
    before = clone(model).fit(A, y).noise_variance_
    after = clone(model).fit(A, 1e50 * y).noise_variance_
    assert after / 1e100 == pytest.approx(before, rel=1e-6)


def test_the_damping_forgets_the_noise(global_random_seed):
    """At the optimum the proxy is far below the damping that the loss gives."""
    A, y, _, _ = noisy_sensing(global_random_seed)
    last = {}
    for damping, given in (("sqrt_loss", None), ("variance_proxy", "auto")):
        model = PrecGDMatrixSensing(
            2,
            matrix_shape=(30, 20),
            solver="precgd",
            damping=damping,
            noise_variance=given,
            early_stopping=False,
            tol=1e-6,
        ).fit(A, y)
        last[damping] = model.history_["damping"][-1]
    assert last["variance_proxy"] < 0.6 * last["sqrt_loss"]


def test_noise_variance_of_data_matrices(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = low_rank(global_random_seed, (60, 50)) + 0.2 * rng.standard_normal((60, 50))
    model = PrecGDFactorization(2, noise_variance="auto").fit(X)
    assert model.noise_variance_ == pytest.approx(0.04, rel=0.15)
    model.set_params(n_components=4, tol=1e-5, random_state=0)
    model.fit(hide(X, global_random_seed))
    assert np.mean(model.noise_variance_) == pytest.approx(0.04, rel=0.3)
    model.set_params(noise_variance=0.5).fit(X)
    assert model.noise_variance_ == 0.5
    # It is estimated where it is not given, and where it is not asked for.
    model.set_params(noise_variance=None, n_components=2).fit(X)
    assert model.noise_variance_ == pytest.approx(0.04, rel=0.15)
    model.set_params(loss="huber").fit(X)
    assert not hasattr(model, "noise_variance_")


# --------------------------------------------------------------------------------------
# The rounding of the absolute loss
# --------------------------------------------------------------------------------------


def with_outliers(seed, observed, noise=0.0):
    """A 60 x 50 matrix of rank 2, one in ten entries anything, and X with gaps."""
    M = low_rank(seed, (60, 50), size=1.0)
    rng = np.random.default_rng(seed)
    X = M + noise * rng.standard_normal(M.shape)
    hit = rng.random(M.shape) < 0.1
    X[hit] += rng.uniform(-10, 10, hit.sum())
    X[rng.random(M.shape) > observed] = np.nan
    return M, X


@pytest.mark.parametrize("observed", [1.0, 0.7])
def test_rounding_follows_the_residuals_down(observed, global_random_seed):
    M, X = with_outliers(global_random_seed, observed)
    model = PrecGDFactorization(2, loss="absolute", random_state=0)
    rows = model.fit_transform(X)
    assert model.converged_
    assert relative(model.left_ @ model.right_.T, M) < 1e-8
    # Rows given later are held to the same loss.
    assert relative(model.inverse_transform(rows), M) < 1e-7
    kept = clone(model).set_params(loss=AbsoluteLoss(smoothing=0.03)).fit(X)
    assert relative(kept.left_ @ kept.right_.T, M) > 1e-5


def test_rounding_of_sensed_numbers(global_random_seed):
    M = low_rank(global_random_seed)
    A = stack(global_random_seed, 500)
    y = A @ M.ravel()
    rng = np.random.default_rng(global_random_seed)
    y[rng.permutation(500)[:50]] += rng.uniform(-10, 10, 50)
    model = PrecGDMatrixSensing(2, matrix_shape=M.shape, loss="absolute")
    model.set_params(random_state=0).fit(A, y)
    assert relative(model.matrix_, M) < 1e-8
    # The certificate is of the loss that was minimised last.
    certificate = model.certificate_
    assert certificate.stationarity < 1e-4 * certificate.value_at_zero


def test_rounding_stops_at_the_noise(global_random_seed):
    M, X = with_outliers(global_random_seed, 1.0, noise=0.01)
    errors = []
    for loss in (AbsoluteLoss(smoothing=0.03), "absolute"):
        model = PrecGDFactorization(2, loss=loss, random_state=0).fit(X)
        errors.append(relative(model.left_ @ model.right_.T, M))
    assert model.converged_
    assert model._row_solver.loss.delta > 1e-3
    assert errors[1] < errors[0]


@pytest.mark.parametrize("c", [1e-100, 1e100])
def test_rounding_has_no_unit(c, global_random_seed):
    _, X = with_outliers(global_random_seed, 1.0)
    plain, scaled = (
        PrecGDFactorization(2, loss="absolute", random_state=0).fit(unit * X)
        for unit in (1.0, c)
    )
    found, expected = scaled.singular_values_ / c, plain.singular_values_
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_a_ridge_keeps_the_rounding():
    _, X = with_outliers(0, 1.0)
    model = PrecGDFactorization(2, loss="absolute", alpha=1e-3).fit(X)
    assert model._row_solver.loss.refined == 1.0
