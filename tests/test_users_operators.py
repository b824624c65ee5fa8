"""Products that users compute: finite where they enter, and of matching adjoints."""

from __future__ import annotations

import numpy as np
import pytest
from _helpers import LogCosh
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from skprecgd import PrecGDMatrixSensing
from skprecgd.factors import FactorPair
from skprecgd.initialization import spectral
from skprecgd.measurements import (
    DenseMeasurements,
    FullObservation,
    LinearOperatorMeasurements,
    Measurements,
    as_measurements,
)
from skprecgd.objective import make_objective
from skprecgd.optim import Direction, Solver, StepRule, certificate, minimize, rank_path

SHAPE = (10, 6)
RANK = 2
BAD = [np.nan, np.inf, -np.inf]


class Problem:
    """Gaussian measurements of a matrix of rank 2."""

    def __init__(self, rng, dtype=np.float64):
        self.A = rng.normal(size=(150, 60)).astype(dtype)
        M = rng.normal(size=(SHAPE[0], RANK)) @ rng.normal(size=(RANK, SHAPE[1]))
        self.M = M.astype(dtype)
        self.y = self.A @ self.M.ravel()

    def matvec(self, x):
        return self.A @ x.ravel()

    def rmatvec(self, w):
        return self.A.T @ w.ravel()

    def operator(self, **functions):
        functions = {"matvec": self.matvec, "rmatvec": self.rmatvec, **functions}
        return LinearOperator(self.A.shape, dtype=self.A.dtype, **functions)

    def error(self, model):
        return np.linalg.norm(model.matrix_ - self.M) / np.linalg.norm(self.M)


@pytest.fixture
def problem(rng):
    return Problem(rng)


def sensing(**options):
    return PrecGDMatrixSensing(3, matrix_shape=SHAPE, random_state=0, **options)


class Spoilt:
    """A function whose results hold a bad number from a given call on."""

    def __init__(self, function, value, after):
        self.function, self.value, self.left = function, value, after

    def __call__(self, *arguments):
        result = np.array(self.function(*arguments))
        self.left -= 1
        if self.left < 0:
            result.flat[3] = self.value
        return result


# ---- products of a LinearOperator


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("after", [0, 1, 9, 14])
@pytest.mark.parametrize("name", ["matvec", "rmatvec"])
def test_a_product_that_is_not_finite_is_named(name, after, value, problem):
    spoilt = Spoilt(getattr(problem, name), value, after)
    # SciPy makes a product with a block of several products with vectors.
    sentence = "r?mat(vec|mat) of <150x60 .*> returned NaN or infinity for finite"
    with pytest.raises(ValueError, match=sentence):
        sensing().fit(problem.operator(**{name: spoilt}), problem.y)


@pytest.mark.parametrize("value", BAD)
def test_a_block_product_that_is_not_finite_is_named(value, problem):
    spoilt = Spoilt(lambda block: problem.A @ block, value, 2)
    with pytest.raises(ValueError, match=r"matmat of .* returned NaN or infinity"):
        sensing().fit(problem.operator(matmat=spoilt), problem.y)


def test_a_prediction_that_is_not_finite_is_named(problem):
    model = sensing().fit(problem.operator(), problem.y)
    spoilt = Spoilt(problem.matvec, np.nan, 0)
    with pytest.raises(ValueError, match=r"matvec of .* returned NaN"):
        model.predict(problem.operator(matvec=spoilt))


def test_a_refused_fit_leaves_the_last_one(problem):
    model = sensing().fit(problem.operator(), problem.y)
    before = dict(vars(model))
    spoilt = problem.operator(rmatvec=Spoilt(problem.rmatvec, np.inf, 11))
    with pytest.raises(ValueError, match="rmatvec"):
        model.fit(spoilt, problem.y)
    assert vars(model) == before


def test_numbers_that_overflow_are_not_the_operators_fault(problem):
    """A fit that diverges says so itself."""
    measurements = LinearOperatorMeasurements(problem.operator(), SHAPE)
    huge = np.full((SHAPE[0], 1), 1e200)
    with np.errstate(over="ignore", invalid="ignore"):
        measured = measurements.forward(huge, np.full((SHAPE[1], 1), 1e200))
    assert not np.any(np.isfinite(measured))


@pytest.mark.parametrize("name", ["matvec", "rmatvec"])
def test_a_product_of_another_length_is_named(name, problem):
    function = getattr(problem, name)
    operator = problem.operator(**{name: lambda x: function(x)[:-1]})
    with pytest.raises(ValueError, match=rf"^{name} of <150x60 .*reshape"):
        sensing().fit(operator, problem.y)


def test_complex_products_are_refused(problem):
    operator = problem.operator(matvec=lambda x: 1j * problem.matvec(x))
    with pytest.raises(ValueError, match=r"matvec of .* dtype complex128; only real"):
        sensing().fit(operator, problem.y)


# ---- its adjoint


WRONG = {
    "sign": lambda S: -S,
    "order": lambda S: S.reshape(SHAPE).ravel(order="F"),
    "scale": lambda S: 2 * S,
    "nothing": np.zeros_like,
    "one cell": lambda S: np.roll(S, 1),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_adjoint_is_refused(wrong, dtype, rng):
    problem = Problem(rng, dtype)
    operator = problem.operator(rmatvec=lambda w: wrong(problem.rmatvec(w)))
    with pytest.raises(ValueError, match=r"rmatvec of .* is not the adjoint of"):
        sensing().fit(operator, problem.y)


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1.0, 1e8, 1e100])
def test_a_right_adjoint_of_any_scale_is_taken(scale, rng):
    problem = Problem(rng)
    problem.A *= scale
    problem.y *= scale
    model = sensing().fit(problem.operator(), problem.y)
    assert problem.error(model) < 1e-6


def test_single_precision_is_no_wrong_adjoint(rng):
    """Declared as such, or inside an operator that claims double precision."""
    problem = Problem(rng, np.float32)
    assert problem.error(sensing().fit(problem.operator(), problem.y)) < 1e-4
    claims_more = LinearOperator(
        problem.A.shape, problem.matvec, problem.rmatvec, dtype=np.float64
    )
    assert problem.error(sensing().fit(claims_more, problem.y)) < 1e-4


def test_an_adjoint_to_six_digits_is_taken(problem):
    """As inner iterations give it."""
    operator = problem.operator(rmatvec=lambda w: (1 + 1e-6) * problem.rmatvec(w))
    assert problem.error(sensing().fit(operator, problem.y)) < 1e-6


def test_a_selection_of_an_operator_has_a_right_adjoint(problem):
    measurements = LinearOperatorMeasurements(problem.operator(), SHAPE)
    index = np.r_[0:120, 0:30]
    model = sensing().fit(measurements[index], problem.y[index])
    assert problem.error(model) < 1e-6


@pytest.mark.parametrize("weighted", [False, True])
def test_the_check_takes_one_product_a_fit(weighted, problem):
    """Eight adjoints tell the scale of the operator; one more product is compared."""
    counts = {"matvec": 0, "rmatvec": 0}

    def counted(name):
        def product(vector):
            counts[name] += 1
            return getattr(problem, name)(vector)

        return product

    operator = problem.operator(matvec=counted("matvec"), rmatvec=counted("rmatvec"))
    measurements = LinearOperatorMeasurements(operator, SHAPE)
    weights = np.arange(1.0, 151.0)
    if weighted:
        measurements.weighted_mean_square(weights)
    else:
        assert measurements.mean_square > 0
    assert counts == {"matvec": 1, "rmatvec": 8}


def test_a_missing_adjoint_is_named(problem):
    class ForwardOnly(LinearOperator):
        def _matvec(self, x):
            return problem.matvec(x)

    sentence = "has no rmatvec; give a LinearOperator that implements both"
    for operator in (
        LinearOperator(problem.A.shape, problem.matvec, dtype=float),
        ForwardOnly(float, problem.A.shape),
    ):
        with pytest.raises(ValueError, match=sentence):
            sensing().fit(operator, problem.y)


def test_predictions_need_no_adjoint(problem):
    model = sensing().fit(problem.A, problem.y)
    forward = LinearOperator(problem.A.shape, problem.matvec, dtype=float)
    np.testing.assert_allclose(model.predict(forward), problem.y, rtol=1e-6)


# ---- a data matrix known by its products


def test_a_data_matrix_of_users_products(problem):
    M = problem.M

    def fit(**functions):
        functions = {
            "matvec": lambda x: M @ x.ravel(),
            "rmatvec": lambda x: M.T @ x.ravel(),
            **functions,
        }
        X = LinearOperator(M.shape, dtype=float, **functions)
        return rank_path(make_objective(FullObservation(M.shape), X), 3)

    np.testing.assert_allclose(fit().factors.matrix(), M, atol=1e-8)
    with pytest.raises(ValueError, match="is not the adjoint of its matvec"):
        fit(rmatvec=lambda x: -M.T @ x.ravel())
    with pytest.raises(ValueError, match="has no rmatvec"):
        fit(rmatvec=None)
    for name in ("matvec", "rmatvec"):
        product = {"matvec": M.__matmul__, "rmatvec": M.T.__matmul__}[name]
        with pytest.raises(ValueError, match="returned NaN or infinity"):
            fit(**{name: Spoilt(product, np.inf, 0)})


# ---- measurements of a user's own class


class Own(Measurements):
    """Dense measurements, with what is done to their products."""

    dtype = np.dtype(np.float64)
    matrix_shape = SHAPE

    def __init__(self, A, forward=np.asarray, adjoint=np.asarray, wrap=np.asarray):
        self.A, self.change, self.change_back, self.wrap = A, forward, adjoint, wrap

    @property
    def n_measurements(self):
        return len(self.A)

    def forward(self, left, right):
        return self.change(self.A @ (left @ right.T).ravel())

    def adjoint(self, weights):
        return self.wrap(self.change_back((self.A.T @ weights).reshape(SHAPE)))

    def rows(self, index):
        return Own(self.A[index], self.change, self.change_back, self.wrap)

    def _mean_square(self):
        return float(np.mean(self.A**2))


def own_fit(problem, **changes):
    return PrecGDMatrixSensing(3, random_state=0).fit(
        Own(problem.A, **changes), problem.y
    )


@pytest.mark.parametrize("wrap", [np.asarray, aslinearoperator])
def test_measurements_of_ones_own_are_taken(wrap, problem):
    assert problem.error(own_fit(problem, wrap=wrap)) < 1e-6


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("after", [0, 1, 8])
@pytest.mark.parametrize("name", ["forward", "adjoint"])
def test_products_of_ones_own_are_named(name, after, value, problem):
    sentence = rf"{name} of Own\(150 measurements .*\) returned NaN or infinity"
    with pytest.raises(ValueError, match=sentence):
        own_fit(problem, **{name: Spoilt(np.asarray, value, after)})


@pytest.mark.parametrize("value", BAD)
def test_an_adjoint_that_is_an_operator_checks_its_products(value, problem):
    def wrap(S):
        return LinearOperator(
            S.shape,
            matvec=Spoilt(lambda x: S @ x.ravel(), value, 0),
            rmatvec=lambda x: S.T @ x.ravel(),
            dtype=float,
        )

    with pytest.raises(ValueError, match=r"matmat of .* returned NaN or infinity"):
        own_fit(problem, wrap=wrap)


@pytest.mark.parametrize("wrong", ["sign", "scale", "nothing"])
def test_a_wrong_adjoint_of_ones_own_is_refused(wrong, problem):
    with pytest.raises(ValueError, match=r"adjoint of Own\(.* is not the adjoint"):
        own_fit(problem, adjoint=WRONG[wrong])


def test_a_subclass_of_a_kind_of_the_package_is_checked_in_what_it_changes(problem):
    class Scaled(DenseMeasurements):
        def forward(self, left, right):
            return 3.0 * super().forward(left, right)

    class Infinite(DenseMeasurements):
        def forward_ray(self, *blocks):
            first, second = super().forward_ray(*blocks)
            return first * np.inf, second

    with pytest.raises(ValueError, match=r"adjoint of Scaled.* is not the adjoint"):
        sensing().fit(Scaled(problem.A, SHAPE), problem.y)
    with pytest.raises(ValueError, match=r"forward_ray of Infinite.* returned NaN"):
        sensing(rank_search="fixed").fit(Infinite(problem.A, SHAPE), problem.y)


# ---- other parts of a user's own


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("after", [0, 12])
def test_a_loss_without_a_finite_gradient_is_refused(after, value, problem):
    loss = LogCosh()
    loss.gradient = Spoilt(loss.gradient, value, after)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=r"gradient of (the|a) loss must be finite"),
    ):
        sensing(loss=loss, solver="precgd").fit(problem.A, problem.y)


@pytest.mark.parametrize("value", BAD)
def test_a_loss_without_a_finite_curvature_is_refused(value, problem):
    loss = LogCosh()
    loss.curvature = Spoilt(loss.curvature, value, 0)
    with pytest.raises(ValueError, match="curvature of loss='log_cosh' is NaN or inf"):
        sensing(loss=loss, solver="gauss-newton").fit(problem.A, problem.y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_without_a_finite_value_is_refused(value, problem):
    loss = LogCosh()
    loss.value = lambda z, y: value
    with pytest.raises(ValueError, match="loss of the zero matrix is no finite number"):
        sensing(loss=loss).fit(problem.A, problem.y)


class Says(StepRule, Direction):
    """A step, or a share of the gradient."""

    def __init__(self, value=np.nan):
        self.value = value

    def __call__(self, *arguments):
        if len(arguments) == 2:
            return self.value
        return arguments[0].gradient.scaled(self.value)


def test_a_step_that_is_nan_is_refused(problem):
    with pytest.raises(ValueError, match="step rule must return a number, got nan"):
        sensing(step_size=Says()).fit(problem.A, problem.y)


def test_a_direction_that_is_nan_is_refused(problem):
    with pytest.raises(ValueError, match="solver='lost' is nan; a direction must"):
        sensing(solver=Solver("lost", Says)).fit(problem.A, problem.y)


@pytest.fixture
def objective(problem):
    return make_objective(as_measurements(problem.A, SHAPE), problem.y)


@pytest.mark.parametrize("value", BAD)
def test_a_start_that_is_not_finite_is_refused(value, objective):
    start = FactorPair(np.full((SHAPE[0], 2), value), np.ones((SHAPE[1], 2)))
    with np.errstate(invalid="ignore"):
        with pytest.raises(ValueError, match="objective is nan at the start"):
            minimize(objective, start)
        with pytest.raises(ValueError, match="holds NaN or infinity"):
            certificate(objective, start)


@pytest.mark.parametrize("name", ["tol", "max_iter"])
@pytest.mark.parametrize("value", [np.nan, -1])
def test_limits_that_are_never_reached_are_refused(name, value, objective):
    start = spectral(objective, 2)
    with pytest.raises(ValueError, match=f"{name} must be a number >= 0, got"):
        minimize(objective, start, **{name: value})
    with pytest.raises(ValueError, match=f"{name} must be a number >= 0, got"):
        rank_path(objective, 2, **{name: value})


@pytest.mark.parametrize("alpha", [np.nan, np.inf, -1.0])
def test_a_ridge_that_is_no_number_is_refused(alpha, problem):
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0"):
        make_objective(as_measurements(problem.A, SHAPE), problem.y, alpha=alpha)
