"""Complex matrices: Hermitian ones and general ones, from complex measurements."""

from __future__ import annotations

import pickle
from itertools import product

import numpy as np
import pytest
from _complex import error, gaussian, state, strings, unitary
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict, cross_val_score

from skprecgd import PrecGDMatrixSensing, PrecGDMatrixSensingCV, observed_entries
from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.initialization import nystrom, random, spectral
from skprecgd.measurements import (
    ComplexEntryMeasurements,
    DenseMeasurements,
    DiffractionMeasurements,
    LocalMeasurements,
    Measurements,
    PauliMeasurements,
    RankOneMeasurements,
    as_measurements,
)
from skprecgd.measurements.real_numbers import RealParts, RealValues
from skprecgd.objective import make_objective
from skprecgd.optim import minimize, rank_path
from skprecgd.testing import check_objective
from skprecgd.unknown.base import unknown_of


@pytest.fixture
def tomography(rng):
    """Strings, expectation values and the state: ``tomography(qubits, rank, n)``."""

    def measured(n_qubits, rank, count):
        x = state(rng, 2**n_qubits, rank)
        A = PauliMeasurements(strings(rng, n_qubits, count))
        return A, A.forward(x, x).real, x @ x.conj().T

    return measured


@pytest.fixture
def sensing(rng):
    """Dense complex measurements of a complex matrix: ``sensing(shape, rank, n)``."""

    def measured(shape, rank, count):
        A = DenseMeasurements(gaussian(rng, count, *shape))
        left, right = (gaussian(rng, n, rank) for n in shape)
        return A, A.forward(left, right), left @ right.conj().T

    return measured


# ---- points


@pytest.mark.parametrize("symmetric", [True, False])
def test_points_count_complex_dimensions(rng, symmetric):
    x = gaussian(rng, 9, 1)
    twice = np.hstack([x, 1j * x])
    point = unknown_of(symmetric, of_complex=True).of_pair(twice, twice)
    assert point.numerical_rank == 1
    np.testing.assert_allclose(point.balanced().matrix(), twice @ twice.conj().T)
    u, s, v = point.svd()
    np.testing.assert_allclose(u * s @ v.conj().T, point.matrix())


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_gradient_is_the_slope_of_the_objective(rng, symmetric):
    A = DenseMeasurements(gaussian(rng, 30, 6, 6))
    objective = make_objective(RealParts(A), rng.standard_normal(60), alpha=0.1)
    x, y = gaussian(rng, 6, 2), gaussian(rng, 6, 2)
    point = SymmetricFactor(x) if symmetric else FactorPair(x, y)
    assert check_objective(objective, point) < 1e-6


@pytest.mark.parametrize("solver", ["precgd", "precgd-cg", "gauss-newton"])
def test_iterates_do_not_depend_on_a_unitary_turn(rng, solver):
    x = state(rng, 8, 2)
    A = PauliMeasurements(strings(rng, 3, 60))
    objective = make_objective(RealValues(A), A.forward(x, x).real)
    start, turn = gaussian(rng, 8, 3), unitary(rng, 3)
    ends = [
        minimize(objective, SymmetricFactor(each), solver=solver, max_iter=8)
        for each in (start, start @ turn)
    ]
    first, second = (end.factors.matrix() for end in ends)
    assert np.linalg.norm(first - second) < 1e-10 * np.linalg.norm(first)


def test_columns_x_and_ix_end_at_rank_one(rng):
    x = state(rng, 8, 1)
    A = PauliMeasurements(strings(rng, 3, 60))
    y = A.forward(x, x).real
    twice = np.hstack([x, 1j * x])
    model = PrecGDMatrixSensing(2, symmetric=True, rank_search="fixed")
    model.set_params(init=(twice, twice)).fit(A, y)
    assert model.n_components_ == 1
    assert error(model, x @ x.conj().T) < 1e-8


# ---- fits


@pytest.mark.parametrize("search_rank", [2, 4, 8])
def test_a_state_of_five_qubits_comes_out_of_400_strings(tomography, search_rank):
    A, y, truth = tomography(5, 2, 400)
    model = PrecGDMatrixSensing(search_rank, symmetric=True, tol=1e-11).fit(A, y)
    assert model.n_components_ == 2
    assert error(model, truth) < 1e-10
    assert model.converged_
    assert model.certificate_.relative_gap < 1e-9


def test_a_complex_matrix_comes_out_of_gaussian_measurements(sensing):
    A, y, truth = sensing((12, 9), 2, 120)
    model = PrecGDMatrixSensing(5, tol=1e-11).fit(A, y)
    assert model.n_components_ == 2
    assert error(model, truth) < 1e-10


def test_what_a_fit_knows_of_a_complex_matrix(sensing):
    A, y, truth = sensing((12, 9), 2, 120)
    model = PrecGDMatrixSensing(5).fit(A, y)
    np.testing.assert_allclose(model.left_ @ model.right_.conj().T, model.matrix_)
    s = np.linalg.svd(truth, compute_uv=False)
    np.testing.assert_allclose(model.singular_values_, s[:2])
    scores = (model.left_ * np.sqrt(model.singular_values_)) @ model.components_
    np.testing.assert_allclose(scores, model.matrix_)
    # The largest loading of each component is positive.
    loadings = model.components_[np.arange(2), np.abs(model.components_).argmax(axis=1)]
    np.testing.assert_allclose(loadings.imag, 0, atol=1e-12)
    assert (loadings.real > 0).all()
    np.testing.assert_allclose(model.predict(A), y)
    np.testing.assert_allclose(model.transform(A).sum(axis=1), y)


def test_predictions_of_a_state_are_real(tomography):
    A, y, _ = tomography(3, 1, 60)
    model = PrecGDMatrixSensing(3, symmetric=True).fit(A, y)
    assert model.predict(A).dtype == np.float64
    np.testing.assert_allclose(model.predict(A), y, atol=1e-8)


def test_the_score_is_the_share_of_the_squared_sizes(sensing, rng):
    A, y, _ = sensing((8, 6), 1, 60)
    model = PrecGDMatrixSensing(2).fit(A, y)
    noisy = y + gaussian(rng, 60)
    z = model.predict(A)
    left = np.sum(np.abs(noisy - z) ** 2) / np.sum(np.abs(noisy - noisy.mean()) ** 2)
    assert model.score(A, noisy) == pytest.approx(1 - left)


def test_a_given_ridge_is_that_of_the_nuclear_norm(rng):
    # The whole matrix is measured, so the minimiser shrinks the singular values.
    n = 6
    truth = gaussian(rng, n, 3) @ gaussian(rng, 3, n)
    A = DenseMeasurements(np.eye(n * n).astype(complex), (n, n))
    alpha = 0.3 * np.linalg.norm(truth, 2)
    model = PrecGDMatrixSensing(alpha=alpha).fit(A, truth.ravel())
    u, s, vh = np.linalg.svd(truth)
    shrunk = (u * np.maximum(s - alpha, 0)) @ vh
    np.testing.assert_allclose(model.matrix_, shrunk, atol=1e-5 * s[0])
    assert model.certificate_.relative_gap < 1e-6


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_fit_of_weights_is_that_of_repeated_measurements(sensing, rng, symmetric):
    A, y, _ = sensing((6, 6), 2, 90)
    y = y + 0.1 * gaussian(rng, 90)
    often = rng.integers(0, 3, size=90)
    repeated = np.repeat(np.arange(90), often)
    model = PrecGDMatrixSensing(2, symmetric=symmetric, alpha=1.0)
    weighted = clone(model).fit(A, y, sample_weight=often)
    copied = clone(model).fit(A[repeated], y[repeated])
    difference = weighted.matrix_ - copied.matrix_
    assert np.linalg.norm(difference) < 1e-6 * np.linalg.norm(copied.matrix_)


def test_measurements_are_held_out_as_a_whole(sensing):
    A, y, _ = sensing((6, 6), 1, 60)
    model = PrecGDMatrixSensing(2)
    assert np.min(cross_val_score(model, A, y, cv=3)) > 1 - 1e-9
    np.testing.assert_allclose(cross_val_predict(model, A, y, cv=3), y, atol=1e-6)


def test_complex_numbers_without_an_imaginary_part_are_real_problems(rng):
    left, right = rng.standard_normal((9, 2)), rng.standard_normal((7, 2))
    stack = rng.standard_normal((160, 9, 7))
    y = DenseMeasurements(stack).forward(left, right)
    real = PrecGDMatrixSensing(4, tol=1e-11).fit(stack, y)
    fitted = PrecGDMatrixSensing(4, tol=1e-11)
    fitted.fit(DenseMeasurements(stack.astype(complex)), y)
    assert fitted.n_components_ == real.n_components_ == 2
    difference = np.linalg.norm(fitted.matrix_ - real.matrix_)
    assert difference < 1e-8 * np.linalg.norm(real.matrix_)


def test_a_fit_goes_on_from_the_last_one(sensing):
    A, y, _ = sensing((12, 9), 2, 120)
    model = PrecGDMatrixSensing(5, warm_start=True).fit(A, y)
    before = model.matrix_
    model.fit(A, y)
    assert "last one had ended" in model.stop_reason_
    np.testing.assert_allclose(model.matrix_, before)


@pytest.mark.parametrize("start", [spectral, nystrom, random])
@pytest.mark.parametrize("symmetric", [True, False])
def test_functions_take_complex_measurements(rng, start, symmetric):
    x, y = gaussian(rng, 8, 1), gaussian(rng, 8, 1)
    A = DenseMeasurements(gaussian(rng, 120, 8, 8))
    y = x if symmetric else y
    objective = make_objective(A, A.forward(x, y), symmetric=symmetric)
    at = start(objective, 2, symmetric=symmetric, random_state=0)
    assert at.is_complex
    result = minimize(objective, at, tol=1e-8)
    truth = x @ y.conj().T
    scale = np.linalg.norm(truth)
    assert np.linalg.norm(result.factors.matrix() - truth) < 1e-6 * scale
    path = rank_path(objective, 3, symmetric=symmetric)
    assert np.linalg.norm(path.factors.matrix() - truth) < 1e-6 * scale


def test_a_field_is_completed_from_some_of_its_entries(rng):
    truth = gaussian(rng, 30, 2) @ gaussian(rng, 2, 20)
    seen = np.where(rng.random(truth.shape) < 0.5, truth, np.nan)
    A, y = observed_entries(seen)
    model = PrecGDMatrixSensing(4).fit(A, y)
    assert model.n_components_ == 2
    assert error(model, truth) < 1e-6


def test_a_hermitian_matrix_is_completed_from_entries(rng):
    x = gaussian(rng, 25, 2)
    cells = rng.choice(25 * 25, size=350, replace=False)
    A = ComplexEntryMeasurements(*np.divmod(cells, 25), (25, 25))
    model = PrecGDMatrixSensing(4, symmetric=True).fit(A, A.forward(x, x))
    assert model.n_components_ == 2
    assert error(model, x @ x.conj().T) < 1e-6


def test_phases_are_retrieved_from_intensities(rng):
    x = gaussian(rng, 24, 1)
    A = RankOneMeasurements(gaussian(rng, 160, 24))
    intensities = np.abs(A.a.conj() @ x[:, 0]) ** 2
    model = PrecGDMatrixSensing(3, symmetric=True).fit(A, intensities)
    assert model.n_components_ == 1
    assert error(model, x @ x.conj().T) < 1e-6


@pytest.mark.parametrize("search_rank", [1, 3])
def test_an_image_comes_out_of_coded_patterns(rng, search_rank):
    image = gaussian(rng, 12, 10)
    masks = rng.choice([1, -1, 1j, -1j], size=(8, 12, 10))
    A, x = DiffractionMeasurements(masks), image.reshape(-1, 1)
    patterns = np.abs(np.fft.fft2(masks * image)) ** 2
    model = PrecGDMatrixSensing(search_rank, symmetric=True).fit(A, patterns.ravel())
    assert model.n_components_ == 1
    phase = np.vdot(model.left_, x) / np.linalg.norm(x) ** 2
    assert np.linalg.norm(model.left_ * phase - x) < 1e-7 * np.linalg.norm(x)


def test_a_state_of_a_qubit_and_a_qutrit(rng):
    x = state(rng, 6, 1)
    sites = []
    for d in (2, 3):
        vectors = gaussian(rng, 80, d)
        sites.append(vectors[:, :, None] * vectors[:, None].conj())
    A = LocalMeasurements(sites)
    model = PrecGDMatrixSensing(3, symmetric=True).fit(A, A.forward(x, x).real)
    assert model.n_components_ == 1
    assert error(model, x @ x.conj().T) < 1e-6


@pytest.mark.parametrize("solver", ["gd", "alternating", "alternating-scaledgd"])
def test_baselines_take_complex_matrices(sensing, solver):
    A, y, truth = sensing((8, 6), 1, 100)
    model = PrecGDMatrixSensing(1, solver=solver, rank_search="fixed", tol=1e-4)
    assert error(model.fit(A, y), truth) < 1e-3


@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize("solver", ["feedback", "feedback-star"])
def test_feedback_takes_complex_matrices(sensing, solver):
    A, y, truth = sensing((8, 6), 1, 100)
    # How long it takes depends on how its random matrix lies to the factors.
    model = PrecGDMatrixSensing(1, solver=solver, rank_search="fixed", max_iter=50)
    assert error(model.fit(A, y), truth) < 0.99


def test_measurements_of_other_matrices_than_hermitian_in_every_container(rng):
    left, right = gaussian(rng, 6, 1), gaussian(rng, 5, 1)
    flat = gaussian(rng, 60, 30)
    truth = left @ right.conj().T
    for X in (flat, sparse.csr_array(flat)):
        A = as_measurements(X, (6, 5))
        model = PrecGDMatrixSensing(2).fit(A, flat.conj() @ truth.ravel())
        assert error(model, truth) < 1e-6
    operator = aslinearoperator(flat)
    model = PrecGDMatrixSensing(2, matrix_shape=(6, 5))
    assert error(model.fit(operator, flat @ truth.ravel()), truth) < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"init": "nystrom"},
        {"init": "random"},
        {"rank_search": "fixed"},
        {"n_components": "auto"},
        {"early_stopping": True},
        {"loss": "huber"},
        {"loss": "absolute"},
        {"outlier_fraction": 0.05},
        {"noise_variance": 0},
        {"damping": "geometric"},
        {"step_size": "backtracking"},
        {"solver": "gauss-newton"},
        {"random_state": 3, "verbose": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_parameter_means_what_it_means(sensing, options, symmetric):
    A, y, truth = sensing((6, 6), 1, 90)
    if symmetric:
        x = A.stack[0].reshape(6, 6)[:, :1]
        y, truth = A.forward(x, x), x @ x.conj().T
    given = {"n_components": 3, "symmetric": symmetric, **options}
    model = PrecGDMatrixSensing(**given).fit(A, y)
    assert model.n_components_ == 1
    assert error(model, truth) < 1e-5


def test_gross_errors_of_complex_targets_are_found(sensing, rng):
    A, y, truth = sensing((6, 6), 1, 150)
    wrong = y.copy()
    wrong[[3, 77]] += 50 * gaussian(rng, 2)
    model = PrecGDMatrixSensing(3, outlier_fraction=0.1).fit(A, wrong)
    assert error(model, truth) < 1e-6
    np.testing.assert_allclose(wrong - model.outliers_, y, atol=1e-5)


def test_a_variance_is_that_of_real_and_imaginary_part(sensing, rng):
    A, y, truth = sensing((6, 6), 1, 150)
    variance = np.where(np.arange(150) < 30, 25.0, 1e-8)
    noisy = y + np.sqrt(variance) * gaussian(rng, 150)
    model = PrecGDMatrixSensing(1, noise_variance=variance, alpha=0.0).fit(A, noisy)
    assert error(model, truth) < 1e-4


def test_single_precision_stays(sensing):
    A, y, truth = sensing((6, 6), 1, 90)
    single = DenseMeasurements(A.stack.astype(np.complex64), (6, 6))
    model = PrecGDMatrixSensing(2, tol=1e-5).fit(single, y.astype(np.complex64))
    assert model.left_.dtype == model.matrix_.dtype == np.complex64
    assert error(model, truth) < 1e-4


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize("unit", [1e-100, 1e100])
def test_numbers_may_be_of_any_size(sensing, size, unit):
    A, y, truth = sensing((6, 6), 1, 90)
    small = DenseMeasurements(size * A.stack, (6, 6))
    model = PrecGDMatrixSensing(2).fit(small, size * unit * y)
    assert np.linalg.norm(model.matrix_ / unit - truth) < 1e-6 * np.linalg.norm(truth)


def test_a_fit_can_be_stored(tomography):
    A, y, _ = tomography(3, 1, 60)
    model = PrecGDMatrixSensing(2, symmetric=True).fit(A, y)
    again, strings_again = pickle.loads(pickle.dumps((model, A)))
    predicted = again.predict(strings_again)
    assert predicted.dtype == np.float64
    np.testing.assert_array_equal(predicted, model.predict(A))


# ---- noise


@pytest.fixture
def noisy_state(rng, tomography):
    """Noisy expectation values of a state of rank 1: A, y, the state, their noise."""
    A, y, truth = tomography(3, 1, 63)
    return A, y + 0.03 * rng.standard_normal(63), truth, y


def test_the_noise_of_a_state_is_learned(noisy_state):
    A, y, truth, _ = noisy_state
    model = PrecGDMatrixSensing(4, symmetric=True).fit(A, y)
    assert model.n_components_ == 1
    assert np.sqrt(model.noise_variance_) == pytest.approx(0.03, rel=0.4)
    told = PrecGDMatrixSensing(1, symmetric=True, alpha=0.0).fit(A, y)
    assert error(model, truth) < 1.5 * error(told, truth)
    assert "Noise of about" in model.stop_reason_
    np.testing.assert_array_equal(model.matrix_, model.matrix_.conj().T)


def test_as_many_unknowns_as_strings_prove_nothing(rng):
    # Rank 3 of two qubits has 15 unknowns, and explains the noise of all 15 strings.
    bell = np.zeros((4, 1))
    bell[[0, 3]] = np.sqrt(0.5)
    A = PauliMeasurements(["".join(pair) for pair in product("IXYZ", repeat=2)][1:])
    y = A.forward(bell, bell).real + 0.02 * rng.standard_normal(15)
    model = PrecGDMatrixSensing(symmetric=True).fit(A, y)
    assert model.n_components_ == 1
    assert error(model, bell @ bell.T) < 0.15


def test_the_noise_of_complex_targets_is_learned(sensing, rng):
    A, y, truth = sensing((8, 6), 1, 90)
    noisy = y + 0.5 * gaussian(rng, 90)
    model = PrecGDMatrixSensing(3).fit(A, noisy)
    assert model.n_components_ == 1
    # The variance is that of the real and of the imaginary part.
    assert np.sqrt(model.noise_variance_) == pytest.approx(0.5, rel=0.3)
    told = PrecGDMatrixSensing(1, alpha=0.0).fit(A, noisy)
    assert error(model, truth) < 1.5 * error(told, truth)
    # A complex target has the noise of both parts.
    mean, std = model.predict(A, return_std=True)
    assert (mean.dtype, std.dtype) == (np.complex128, np.float64)
    assert np.all(std > np.sqrt(2 * model.noise_variance_))


def test_predictions_of_a_noisy_state_have_standard_deviations(noisy_state):
    A, y, _, exact = noisy_state
    model = PrecGDMatrixSensing(4, symmetric=True).fit(A, y)
    mean, std = model.predict(A, return_std=True)
    assert mean.dtype == std.dtype == np.float64
    of_matrix = np.sqrt(std**2 - model.noise_variance_)
    # Two standard deviations of what is not known of the matrix hold nearly all.
    assert np.mean(np.abs(mean - exact) <= 2 * of_matrix) > 0.6
    assert np.all(of_matrix < 0.1)


def test_a_noisy_fit_goes_on_from_the_last_one(noisy_state):
    A, y, _, _ = noisy_state
    model = PrecGDMatrixSensing(4, symmetric=True, warm_start=True).fit(A, y)
    before = model.matrix_
    model.fit(A, y)
    np.testing.assert_allclose(model.matrix_, before, atol=1e-3)
    assert model.predict(A).dtype == np.float64


# ---- cross-validation


@pytest.mark.parametrize("symmetric", [True, False])
def test_folds_choose_the_complex_rank(rng, sensing, tomography, symmetric):
    if symmetric:
        A, y, truth = tomography(3, 2, 60)
        y = y + 1e-3 * rng.standard_normal(60)
    else:
        A, y, truth = sensing((6, 6), 2, 120)
        y = y + 1e-2 * gaussian(rng, 120)
    model = PrecGDMatrixSensingCV(symmetric=symmetric, alpha=0.0, cv=3)
    model.set_params(n_components=[1, 2, 3], refit_rule="one_standard_error")
    assert model.fit(A, y).n_components_ == 2
    assert error(model, truth) < 0.1


def test_folds_find_the_noise_of_a_state(noisy_state):
    A, y, truth, _ = noisy_state
    model = PrecGDMatrixSensingCV(symmetric=True, n_components=[1, 2], cv=2)
    model.set_params(alpha="auto").fit(A, y)
    assert model.best_score_ > 0.5
    assert error(model, truth) < 0.3


def test_a_ridge_is_chosen_by_folds(sensing, rng):
    A, y, _ = sensing((6, 6), 1, 60)
    noisy = y + gaussian(rng, 60)
    model = PrecGDMatrixSensingCV(alpha=[0.0, 1.0], n_components=[2], cv=3)
    model.fit(A, noisy)
    assert model.best_params_["alpha"] in (0.0, 1.0)
    assert np.all(model.cv_results_["mean_test_score"] > 0.5)


def test_the_score_of_a_fold_is_that_of_the_estimator(sensing, rng):
    A, y, _ = sensing((6, 6), 1, 80)
    noisy = y + gaussian(rng, 80) + 5
    train, test = np.arange(60), np.arange(60, 80)
    chosen = PrecGDMatrixSensingCV(n_components=[1], alpha=0.0, cv=[(train, test)])
    chosen.fit(A, noisy)
    alone = PrecGDMatrixSensing(1, alpha=0.0).fit(A[train], noisy[train])
    expected = alone.score(A[test], noisy[test])
    assert chosen.best_score_ == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"center": "columns"}, "observed_entries makes of real numbers"),
        ({"alpha": 1.0, "alpha_scaling": 0.5}, "needs measurements of single entries"),
        ({"inference": "gibbs"}, "inference='gibbs' needs single entries"),
        ({"init": (np.ones((6, 2)), np.ones((4, 2)))}, "init must hold arrays"),
    ],
    ids=["center", "alpha_scaling", "inference", "init"],
)
def test_parameters_that_complex_entries_do_not_take(rng, options, message):
    A, y = observed_entries(gaussian(rng, 6, 5))
    with pytest.raises(ValueError, match=message):
        PrecGDMatrixSensing(2, **options).fit(A, y)


# ---- measurements of one's own


class OwnMeasurements(Measurements):
    """Every entry, multiplied by a phase of its own."""

    dtype = np.dtype(np.complex128)

    def __init__(self, phases):
        self.phases, self.matrix_shape = phases, phases.shape

    n_measurements = property(lambda self: self.phases.size)

    def forward(self, left, right):
        return (self.phases.conj() * (left @ right.conj().T)).ravel()

    def adjoint(self, weights):
        return self.phases * weights.reshape(self.matrix_shape)

    def rows(self, index):
        raise NotImplementedError

    def _mean_square(self):
        return 1 / self.phases.size


class WithoutConjugate(OwnMeasurements):
    def adjoint(self, weights):
        return self.phases.conj() * weights.reshape(self.matrix_shape)


def test_measurements_of_ones_own_are_complex_by_their_dtype(rng):
    truth = gaussian(rng, 6, 1) @ gaussian(rng, 1, 5)
    A = OwnMeasurements(np.exp(1j * rng.uniform(0, 6, size=truth.shape)))
    model = PrecGDMatrixSensing(2).fit(A, (A.phases.conj() * truth).ravel())
    assert error(model, truth) < 1e-6


def test_an_adjoint_that_is_not_conjugated_is_found(rng):
    A = WithoutConjugate(np.exp(1j * rng.uniform(0, 6, size=(6, 5))))
    with pytest.raises(ValueError, match="is not the adjoint"):
        PrecGDMatrixSensing(2).fit(A, gaussian(rng, 30))
    flat = gaussian(rng, 30, 12)
    wrong = LinearOperator(
        flat.shape, lambda x: flat @ x, lambda w: flat.T @ w, dtype=complex
    )
    with pytest.raises(ValueError, match="is not the"):
        PrecGDMatrixSensing(1).fit(wrong, gaussian(rng, 30))


# ---- refusals


def test_complex_arrays_are_no_measurements_by_themselves(sensing):
    A, y, _ = sensing((4, 3), 1, 30)
    with pytest.raises(ValueError, match=r"^Complex data not supported: give as_meas"):
        PrecGDMatrixSensing(1).fit(A.stack, y)


@pytest.mark.parametrize(
    ("left", "right"),
    [((4,), (4,)), ((4, 1), (4,)), ((4, 2), (4, 1)), ((2, 1), (2, 1)), ((), ())],
)
def test_forward_says_what_factors_are(left, right):
    """A ket is no factor; nor is what has another number of rows."""
    kinds = [
        PauliMeasurements(["XX", "ZI"]),
        RankOneMeasurements(np.eye(4)),
        DenseMeasurements(np.ones((3, 4, 4))),
        LocalMeasurements([np.ones((3, 2, 2))] * 2),
    ]
    for A in kinds:
        with pytest.raises(ValueError, match=r"the factor x\[:, None\]"):
            A.forward(np.ones(left), np.ones(right))


def test_complex_targets_of_real_values(tomography):
    A, y, _ = tomography(2, 1, 12)
    model = PrecGDMatrixSensing(symmetric=True)
    with pytest.raises(ValueError, match="y is complex, but Hermitian measurements"):
        model.fit(A, 1j * y)
    assert model.fit(A, y + 0j).converged_


def test_real_targets_of_matrices_that_are_not_hermitian(sensing):
    A, y, _ = sensing((4, 4), 1, 20)
    with pytest.raises(ValueError, match="matrices are not Hermitian"):
        PrecGDMatrixSensing(symmetric=True).fit(A, y.real)


def test_a_hermitian_matrix_seen_by_real_matrices_alone():
    labels = ["".join(letters) for letters in product("IXZ", repeat=2)]
    A = PauliMeasurements(labels)
    x = np.full((4, 1), 0.5)
    with pytest.warns(UserWarning, match="imaginary part of a Hermitian matrix cannot"):
        PrecGDMatrixSensing(symmetric=True).fit(A, A.forward(x, x).real)


def test_a_complex_matrix_is_not_measured_by_real_ones(sensing):
    A, y, _ = sensing((4, 3), 1, 30)
    model = PrecGDMatrixSensing(1).fit(A, y)
    with pytest.raises(ValueError, match="The matrix is complex"):
        model.predict(np.ones((2, 12)))


def test_labels_of_classes_have_no_imaginary_part(sensing):
    A, y, _ = sensing((4, 3), 1, 30)
    with pytest.raises(ValueError, match="needs real targets"):
        PrecGDMatrixSensing(1, loss="logistic").fit(A, y)


def test_not_every_number_is_a_target(sensing):
    A, y, _ = sensing((4, 3), 1, 30)
    for wrong, message in ((y[1:], "30 measurements and y 29"), (y * np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            PrecGDMatrixSensing(1).fit(A, wrong)


def test_noise_is_learned_where_the_closest_state_is_the_global_optimum():
    """It has a higher rank, for it follows the noise. (The path ends there in both.)"""
    labels = ["".join(letters) for letters in product("IXYZ", repeat=3)]
    strings = PauliMeasurements(labels)
    for seed in (4, 6):
        rng = np.random.default_rng(seed)
        state = rng.standard_normal((8, 1)) + 1j * rng.standard_normal((8, 1))
        state /= np.linalg.norm(state)
        y = strings.forward(state, state).real + 0.05 * rng.standard_normal(64)
        model = PrecGDMatrixSensing(symmetric=True, random_state=0).fit(strings, y)
        assert model.stop_reason_.startswith("Noise of about 0.0")
        assert model.n_components_ == 1


def test_four_numbers_of_a_qubit_are_believed():
    """So few say nothing of noise, and what explains them is no column of chance."""
    strings = PauliMeasurements(["I", "X", "Y", "Z"])
    model = PrecGDMatrixSensing(symmetric=True).fit(strings, [1.0, 0.02, -0.03, 1.0])
    up = np.diag([1.0, 0.0])
    assert np.linalg.norm(model.matrix_ - up) < 0.05
