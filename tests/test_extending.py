"""Parts of one's own, written with public names only, in every place that takes them.

A loss, a kind of measurements, a step rule, a damping rule and a solver are added here
as somebody would who only has the reference page, and each recovers a known matrix.
"""

from __future__ import annotations

import ast
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.initialization import spectral
from skprecgd.losses import HuberLoss, Loss, SquaredLoss, SummedLoss
from skprecgd.measurements import Measurements, as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import (
    Damping,
    Direction,
    Solver,
    Status,
    StepRule,
    minimize,
    rank_path,
)
from skprecgd.testing import check_loss, check_measurements

PAGE = Path(__file__).parents[1] / "doc" / "api.rst"


def imported_names():
    """(module, name) of everything this file imports from the package."""
    for node in ast.walk(ast.parse(Path(__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("skprecgd"):
            yield from ((node.module, alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            assert not any(a.name.startswith("skprecgd") for a in node.names)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
def test_this_file_imports_public_names_only():
    listed = PAGE.read_text().split()
    found = list(imported_names())
    assert len(found) > 20
    for module, name in found:
        assert module in listed, module
        assert name in listed, name


# --------------------------------------------------------------------------------------
# The problems
# --------------------------------------------------------------------------------------


def sensing(seed, noise=0.0):
    """Dense measurements of a 20 x 15 matrix of rank 2, and the matrix."""
    A, y, truth = make_matrix_sensing(
        20, 15, rank=2, n_measurements=400, noise=noise, random_state=seed
    )
    return A, y, truth


def completion(seed):
    """Half of the entries of a 60 x 40 matrix of rank 2, and the matrix."""
    return make_matrix_completion(
        60, 40, rank=2, observed_fraction=0.5, random_state=seed
    )


def recovers_both(seed, search_rank, error=1e-6, **options):
    """Both estimators find the matrix, and its rank, with these parameters."""
    options = {"random_state": seed, "max_iter": 5000, **options}
    A, y, truth = sensing(seed)
    model = PrecGDMatrixSensing(search_rank, matrix_shape=(20, 15), **options)
    assert truth.relative_error(model.fit(A, y).matrix_) < error
    assert model.n_components_ == 2
    X, truth = completion(seed)
    model = PrecGDFactorization(search_rank, **options)
    assert truth.relative_error(model.inverse_transform(model.fit_transform(X))) < error
    assert model.n_components_ == 2


# --------------------------------------------------------------------------------------
# A loss
# --------------------------------------------------------------------------------------


class LogCosh(Loss):
    """Quadratic for small residuals, linear for large ones."""

    name = "log-cosh"
    curvature_bound = 1.0
    homogeneous = False

    def value(self, z, y):
        residual = z - y
        return float(np.sum(np.logaddexp(residual, -residual) - np.log(2)))

    def gradient(self, z, y):
        return np.tanh(z - y)

    def curvature(self, z, y):
        return 1 - np.tanh(z - y) ** 2


class Asymmetric(SquaredLoss):
    """Half the squared residual, three times as much where a prediction is too low."""

    name = "asymmetric"
    curvature_bound = 3.0

    def value(self, z, y):
        return float(np.sum(self.pointwise(z, y)))

    def pointwise(self, z, y):
        return 0.5 * self.curvature(z, y) * (z - y) ** 2

    def gradient(self, z, y):
        return self.curvature(z, y) * (z - y)

    def curvature(self, z, y):
        return np.where(z < y, 3.0, 1.0).astype(np.result_type(z))


class AsymmetricSum(SummedLoss):
    """The same arithmetic without the squared loss as a parent."""

    name = "asymmetric"
    curvature_bound = 3.0
    homogeneous = True

    pointwise = Asymmetric.pointwise
    gradient = Asymmetric.gradient
    curvature = Asymmetric.curvature


LOSSES = pytest.mark.parametrize("loss", [LogCosh, Asymmetric, AsymmetricSum])


@LOSSES
def test_a_loss_keeps_the_contract(loss, rng):
    assert check_loss(loss(), rng.normal(size=50), rng.normal(size=50)) < 1e-6


@LOSSES
def test_a_loss_finds_what_explains_the_data(loss, global_random_seed):
    recovers_both(global_random_seed, 2, loss=loss(), early_stopping=False)


def test_a_loss_is_the_one_that_is_minimised(global_random_seed):
    """One target in twenty is far off, which the squared loss would not forgive."""
    A, y, truth = make_matrix_sensing(
        20,
        15,
        rank=2,
        n_measurements=900,
        outlier_fraction=0.05,
        random_state=global_random_seed,
    )
    errors = []
    for loss in ("squared", LogCosh()):
        model = PrecGDMatrixSensing(
            2, matrix_shape=(20, 15), loss=loss, early_stopping=False, tol=1e-5
        )
        errors.append(truth.relative_error(model.fit(A, y).matrix_))
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("solver", ["auto", "precgd-cg", "gauss-newton", "alternating"])
def test_a_subclass_of_the_squared_loss_is_what_it_says(solver, global_random_seed):
    """It changes the arithmetic: as the same arithmetic with another parent."""
    A, y, _ = sensing(global_random_seed, noise=0.5)
    X, _ = completion(global_random_seed)
    X += np.random.default_rng(global_random_seed).normal(size=X.shape)
    options = {"solver": solver, "early_stopping": False, "tol": 1e-7, "max_iter": 5000}
    options["alpha"] = 0
    matrices, losses = [], []
    for loss in (Asymmetric(), AsymmetricSum(), SquaredLoss()):
        sensed = PrecGDMatrixSensing(2, matrix_shape=(20, 15), loss=loss, **options)
        completed = PrecGDFactorization(2, loss=loss, **options)
        sensed.fit(A, y), completed.fit(X)
        matrices.append((sensed.matrix_, completed.left_ @ completed.right_.T))
        residual = sensed.predict(A) - y
        losses.append(np.sum(np.where(residual < 0, 3.0, 1.0) * residual**2))
    for subclass, sum_of_losses, squared in zip(*matrices, strict=True):
        size = np.linalg.norm(squared)
        assert np.linalg.norm(subclass - sum_of_losses) < 1e-4 * size
        assert np.linalg.norm(subclass - squared) > 1e-2 * size
    # What it minimises is lower than where the squared loss leads.
    assert losses[0] < 0.99 * losses[2]


def test_a_subclass_that_keeps_the_arithmetic_is_the_squared_loss(global_random_seed):
    class Renamed(SquaredLoss):
        name = "renamed"

        def target_check(self, y):
            assert np.all(np.isfinite(y))

    A, y, _ = sensing(global_random_seed, noise=0.1)
    models = [
        PrecGDMatrixSensing(
            4, matrix_shape=(20, 15), loss=loss, random_state=global_random_seed
        ).fit(A, y)
        for loss in (Renamed(), SquaredLoss())
    ]
    np.testing.assert_array_equal(models[0].matrix_, models[1].matrix_)


def unequal(z, y):
    return np.where(z < y, 3.0, 1.0).astype(np.result_type(z))


class Unequal:
    """Derivatives of the losses of `Asymmetric`."""

    curvature_bound = 3.0

    def gradient(self, z, y):
        return unequal(z, y) * (z - y)

    def curvature(self, z, y):
        return unequal(z, y)


class ByElement(Unequal, SquaredLoss):
    """Says what a residual costs, and not what their sum is."""

    def pointwise(self, z, y):
        return 0.5 * unequal(z, y) * (z - y) ** 2


class BySum(Unequal, SquaredLoss):
    """The other way round."""

    def value(self, z, y):
        return float(np.sum(0.5 * unequal(z, y) * (z - y) ** 2))


@pytest.mark.parametrize("loss", [ByElement, BySum])
def test_the_sum_and_its_terms_say_the_same(loss, rng):
    z, y = rng.normal(size=(2, 30))
    expected = Asymmetric()
    np.testing.assert_allclose(loss().value(z, y), expected.value(z, y))
    np.testing.assert_allclose(loss().pointwise(z, y), expected.pointwise(z, y))
    assert loss().name == loss.__name__
    assert not loss().least_squares
    assert check_loss(loss(), z, y) < 1e-6


class Scaled(HuberLoss):
    """A Huber loss whose constructor takes something else."""

    def __init__(self, width):
        super().__init__(threshold=width / 2)


def test_a_robust_loss_with_another_constructor(global_random_seed):
    A, y, _ = sensing(global_random_seed, noise=0.1)
    options = {"matrix_shape": (20, 15), "early_stopping": False}
    own = PrecGDMatrixSensing(2, loss=Scaled(2.0), **options).fit(A, y)
    known = PrecGDMatrixSensing(2, loss=HuberLoss(threshold=1.0), **options).fit(A, y)
    np.testing.assert_array_equal(own.matrix_, known.matrix_)


# --------------------------------------------------------------------------------------
# A kind of measurements
# --------------------------------------------------------------------------------------


class DifferenceMeasurements(Measurements):
    """Differences of two entries of a row, ``M[u, p] - M[u, q]``."""

    def __init__(self, u, p, q, matrix_shape):
        self.u, self.p, self.q = np.asarray(u), np.asarray(p), np.asarray(q)
        self.matrix_shape = matrix_shape
        self.dtype = np.dtype(np.float64)

    @property
    def n_measurements(self):
        return len(self.u)

    def forward(self, left, right):
        return np.einsum("ij,ij->i", left[self.u], right[self.p] - right[self.q])

    def adjoint(self, weights):
        S = np.zeros(self.matrix_shape)
        np.add.at(S, (self.u, self.p), weights)
        np.add.at(S, (self.u, self.q), -weights)
        return S

    def rows(self, index):
        u, p, q = self.u[index], self.p[index], self.q[index]
        return type(self)(u, p, q, self.matrix_shape)

    def _mean_square(self):
        return np.mean(2 * (self.p != self.q)) / np.prod(self.matrix_shape)


class DenseEntries(Measurements):
    """Single entries, whose adjoint is an array and not a sparse one."""

    single_entries = True

    def __init__(self, row, column, matrix_shape):
        self.row, self.column = np.asarray(row), np.asarray(column)
        self.matrix_shape = matrix_shape
        self.dtype = np.dtype(np.float64)

    @property
    def n_measurements(self):
        return len(self.row)

    def forward(self, left, right):
        return np.einsum("ij,ij->i", left[self.row], right[self.column])

    def adjoint(self, weights):
        S = np.zeros(self.matrix_shape)
        np.add.at(S, (self.row, self.column), weights)
        return S

    def rows(self, index):
        return type(self)(self.row[index], self.column[index], self.matrix_shape)

    def cells(self, index=None):
        index = slice(None) if index is None else index
        return self.row[index], self.column[index]

    def _mean_square(self):
        return 1.0 / np.prod(self.matrix_shape)


MEASURED = pytest.mark.parametrize("kind", [DifferenceMeasurements, DenseEntries])


def measured(kind, rng):
    """900 measurements of a kind, and a 30 x 20 matrix of rank 2."""
    M = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))
    if kind is DifferenceMeasurements:
        u, p, q = rng.integers(0, [[30], [20], [20]], size=(3, 900))
        return kind(u, p, q, M.shape), M[u, p] - M[u, q], M
    row, column = np.divmod(rng.permutation(M.size)[:420], 20)
    return kind(row, column, M.shape), M[row, column], M


@MEASURED
def test_measurements_keep_the_contract(kind, rng):
    assert check_measurements(measured(kind, rng)[0]) < 1e-12


@MEASURED
@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"solver": name} for name in ("precgd-cg", "gauss-newton", "alternating")),
        {"loss": "huber"},
        {"loss": "huber", "solver": "alternating"},
        {"loss": LogCosh(), "solver": "alternating"},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_measurements_recover_the_matrix(kind, options, rng):
    """Comparisons leave the mean of a row open, and nothing else."""
    D, y, M = measured(kind, rng)
    found = PrecGDMatrixSensing(2, tol=1e-7, random_state=0, **options).fit(D, y)
    difference = found.matrix_ - M
    if kind is DifferenceMeasurements:
        difference -= difference.mean(axis=1, keepdims=True)
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(M)
    np.testing.assert_allclose(found.predict(D), y, rtol=0, atol=1e-3)


@pytest.mark.parametrize("solver", ["auto", "alternating"])
def test_measurements_without_their_gross_errors(solver, rng):
    D, y, M = measured(DenseEntries, rng)
    wrong = rng.permutation(len(y))[:10]
    y[wrong] += 20
    model = PrecGDMatrixSensing(
        2, outlier_fraction=0.05, solver=solver, random_state=0, tol=1e-7
    ).fit(D, y)
    assert np.linalg.norm(model.matrix_ - M) < 1e-3 * np.linalg.norm(M)
    np.testing.assert_array_equal(np.flatnonzero(model.outliers_), np.sort(wrong))


# --------------------------------------------------------------------------------------
# A step rule, a damping rule, a solver
# --------------------------------------------------------------------------------------


class NonmonotoneStep(StepRule):
    """Halve until the objective is below the worst of the last values."""

    def __init__(self, memory=3):
        self.memory = memory
        self.values = []

    def __call__(self, ray, slope):
        self.values = [*self.values, ray.value(0.0)][-self.memory :]
        for halvings in range(60):
            step = 2.0**-halvings
            if ray.value(step) <= max(self.values) + 0.3 * step * slope:
                return step
        return 0.0


class FallingDamping(Damping):
    """The size of the smallest error so far."""

    def __init__(self):
        self.smallest = np.inf

    def __call__(self, state):
        error = float(np.sqrt(2 * state.evaluation.loss))
        self.smallest = min(self.smallest, error)
        return self.smallest


class HeavyBall(Direction):
    """The preconditioned gradient, and a share of the last direction."""

    def __init__(self):
        self.last = None

    def restart(self):
        self.last = None

    def __call__(self, local):
        direction = local.metric.apply(local.gradient).times(-1.0)
        if self.last is not None:
            direction = direction.moved(self.last, 0.1)
        self.last = direction
        return direction

    def diagnostics(self, factors):
        sizes = [np.linalg.norm(block) for block in (factors.left, factors.right)]
        return {"imbalance": float(sizes[0] - sizes[1])}


class Noise(Direction):
    """A random direction: no descent."""

    def __init__(self, random_state):
        self.rng = np.random.RandomState(random_state.randint(1000))

    def __call__(self, local):
        gradient = local.gradient
        return gradient.shaped(self.rng.standard_normal(gradient.flat().size))


HEAVY_BALL = Solver("heavy-ball", HeavyBall)
NOISE = Solver("noise", Noise, "undamped", descends=False, random=True)
PARTS = [
    {"step_size": NonmonotoneStep()},
    {"damping": FallingDamping()},
    {"solver": HEAVY_BALL},
    {
        "step_size": NonmonotoneStep(memory=1),
        "damping": FallingDamping(),
        "solver": HEAVY_BALL,
    },
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "+".join(part))
@pytest.mark.parametrize(("rank_search", "rank"), [("path", 4), ("fixed", 2)])
def test_parts_recover_the_matrix(part, rank_search, rank, global_random_seed):
    recovers_both(global_random_seed, rank, rank_search=rank_search, **part)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "+".join(part))
def test_the_optimizer_takes_parts_without_an_estimator(part, global_random_seed):
    A, y, truth = sensing(global_random_seed)
    objective = make_objective(as_measurements(A, (20, 15)), y)
    start = spectral(objective, 2)
    part = {"solver": "gauss-newton", **part}
    result = minimize(objective, start, tol=1e-8, **part)
    assert truth.relative_error(result.factors.matrix()) < 1e-6
    path = rank_path(objective, 2, tol=1e-8, **part)
    assert truth.relative_error(path.factors.matrix()) < 1e-6


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "+".join(part))
def test_a_fit_leaves_no_trace_in_its_parts(part, global_random_seed):
    """Rules remember within a fit, not from one to the next."""
    A, y, _ = sensing(global_random_seed, noise=0.1)
    fresh = pickle.dumps(part)
    model = PrecGDMatrixSensing(
        4, matrix_shape=(20, 15), random_state=global_random_seed, **part
    )
    first = model.fit(A, y).left_
    np.testing.assert_array_equal(model.fit(A, y).left_, first)
    np.testing.assert_array_equal(clone(model).fit(A, y).left_, first)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.fit(A, y).left_, first)
    for name, value in part.items():
        assert getattr(model, name) is value
    assert pickle.dumps(part) == fresh


def test_a_step_rule_serves_every_direction(global_random_seed):
    """And decides: the steps are powers of two."""
    A, y, truth = sensing(global_random_seed)
    for solver in ("precgd", "precgd-cg", "gauss-newton", "alternating", HEAVY_BALL):
        model = PrecGDMatrixSensing(
            2,
            matrix_shape=(20, 15),
            solver=solver,
            step_size=NonmonotoneStep(),
            max_iter=3000,
            tol=1e-7,
        ).fit(A, y)
        assert truth.relative_error(model.matrix_) < 1e-5
        steps = model.history_["step"]
        steps = steps[np.isfinite(steps) & (steps > 0)]
        np.testing.assert_array_equal(np.log2(steps) % 1, 0)


def test_a_damping_rule_decides(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    model = PrecGDMatrixSensing(
        4,
        matrix_shape=(20, 15),
        solver="precgd",
        rank_search="fixed",
        damping=FallingDamping(),
        max_iter=50,
        tol=0,
    ).fit(A, y)
    history = model.history_
    np.testing.assert_allclose(
        history["damping"],
        np.minimum.accumulate(np.sqrt(2 * history["loss"])),
        rtol=1e-10,
    )


def test_a_solver_is_told_by_name_and_reports_its_own_column(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    model = PrecGDMatrixSensing(4, matrix_shape=(20, 15), solver=HEAVY_BALL).fit(A, y)
    assert "heavy-ball at rank" in model.stop_reason_
    assert repr(model) == (
        "PrecGDMatrixSensing(matrix_shape=(20, 15), n_components=4,\n"
        "                    solver=Solver('heavy-ball'))"
    )
    history = model.history_
    assert history.columns[-1] == "imbalance"
    assert np.all(np.isfinite(history["imbalance"]))
    assert len(history["imbalance"]) == len(history)
    assert history.records[0].extra == {"imbalance": history["imbalance"][0]}


def test_a_metric_is_the_one_that_is_named(global_random_seed):
    """Without its momentum, in each metric, this is a method that has a name."""

    class Gradient(Direction):
        def __call__(self, local):
            return local.metric.apply(local.gradient).times(-1.0)

    A, y, _ = sensing(global_random_seed)
    objective = make_objective(as_measurements(A, (20, 15)), y)
    start = spectral(objective, 4)
    for metric, name in [
        ("identity", "gd"),
        ("undamped", "scaledgd"),
        ("damped", "precgd"),
    ]:
        mine, named = (
            minimize(objective, start, solver=solver, max_iter=20, tol=0)
            for solver in (Solver("mine", Gradient, metric), name)
        )
        np.testing.assert_array_equal(mine.factors.left, named.factors.left)
    with pytest.raises(ValueError, match=r"metric must be one of .* got 'flat'"):
        Solver("mine", Gradient, "flat")


def test_a_solver_that_need_not_descend(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    options = {"matrix_shape": (20, 15), "solver": NOISE, "random_state": 0}
    model = PrecGDMatrixSensing(
        2, rank_search="fixed", step_size=1e-3, max_iter=20, tol=0, **options
    ).fit(A, y)
    np.testing.assert_array_equal(model.history_["step"][1:], 1e-3)
    again = clone(model).fit(A, y)
    np.testing.assert_array_equal(again.left_, model.left_)
    sentence = r"solver=Solver\('noise'\) needs rank_search='fixed'"
    with pytest.raises(ValueError, match=sentence):
        PrecGDMatrixSensing(2, **options).fit(A, y)
    for step_size in ("exact", NonmonotoneStep()):
        with pytest.raises(ValueError, match=r"Solver\('noise'\) needs step_size="):
            clone(model).set_params(step_size=step_size).fit(A, y)
    with pytest.raises(ValueError, match=r"Solver\('noise'\) cannot follow a path"):
        PrecGDMatrixSensingCV([1, 2], **options).fit(A, y)


def test_what_a_solver_needs_is_asked_for(global_random_seed):
    A, y, _ = make_matrix_sensing(
        8, rank=1, n_measurements=80, symmetric=True, random_state=global_random_seed
    )

    class NoCurvature(SummedLoss):
        name = "no-curvature"
        curvature_bound = 1.0
        homogeneous = True

        def pointwise(self, z, y):
            return 0.5 * (z - y) ** 2

        def gradient(self, z, y):
            return z - y

    def fit(solver, **options):
        PrecGDMatrixSensing(2, solver=solver, **options).fit(A, y)

    with pytest.raises(ValueError, match=r"Solver\('pair'\) needs two factors"):
        fit(Solver("pair", HeavyBall, pair_only=True), symmetric=True)
    with pytest.raises(ValueError, match=r"Solver\('bent'\) needs a loss with a curv"):
        fit(Solver("bent", HeavyBall, curvature=True), loss=NoCurvature())
    with pytest.raises(ValueError, match=r"Solver\('linear'\) needs loss='squared'"):
        fit(Solver("linear", HeavyBall, least_squares=True), loss="huber")


@dataclass(frozen=True)
class ShareOfTheWay(StepRule):
    """A share of the step to the minimiser."""

    share: float = 0.5

    def __call__(self, ray, slope):
        return self.share * ray.minimizer()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_grid_of_rules(n_jobs, global_random_seed):
    A, y, _ = sensing(global_random_seed)
    grid = {"step_size": [ShareOfTheWay(0.1), ShareOfTheWay(0.9)]}
    model = PrecGDMatrixSensing(
        2,
        matrix_shape=(20, 15),
        solver="precgd-cg",
        rank_search="fixed",
        max_iter=15,
        tol=0,
    )
    search = GridSearchCV(model, grid, cv=3, n_jobs=n_jobs).fit(A, y)
    # So few steps, and the longer ones get further.
    assert search.best_params_ == {"step_size": ShareOfTheWay(0.9)}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_list_of_steps_of_a_cross_validation(n_jobs, global_random_seed):
    """Names, numbers and rules, in one list."""
    steps = ["exact", 0.5, ShareOfTheWay(0.01)]
    A, y, _ = sensing(global_random_seed, noise=0.1)
    X, _ = completion(global_random_seed)
    X += 0.1 * np.random.default_rng(global_random_seed).normal(size=X.shape)
    options = {
        "step_size": steps,
        "solver": HEAVY_BALL,
        "cv": 3,
        "n_jobs": n_jobs,
        "tol": 1e-3,
        "random_state": global_random_seed,
    }
    sensed = PrecGDMatrixSensingCV([1, 2, 3], matrix_shape=(20, 15), **options)
    completed = PrecGDFactorizationCV([1, 2, 3], **options)
    sensed.fit(A, y)
    completed.fit(X)
    for model in (sensed, completed):
        assert model.n_components_ == 2
        assert model.step_size_ in steps[:2]
        assert list(model.cv_results_["param_step_size"][:3]) == steps
    assert model.get_params()["step_size"] is steps


def test_parts_are_refused_by_a_sentence():
    A, y, _ = sensing(0)
    objective = make_objective(*observed_entries(np.outer([1.0, 2], [1.0, 3])))
    start = spectral(objective, 1)
    for name in ("step_size", "damping", "solver"):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of PrecGDMat"):
            PrecGDMatrixSensing(2, **{name: HeavyBall}).fit(A, y)
        with pytest.raises(ValueError, match=f"{name} must be one of .* got"):
            minimize(objective, start, **{name: HeavyBall})


class Returns(StepRule, Damping):
    """A rule, wrong on purpose, that returns what it was given."""

    def __init__(self, value):
        self.value = value

    def __call__(self, *arguments):
        return self.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, None, "small"])
def test_a_damping_that_is_none_is_refused(value):
    A, y, _ = sensing(0)
    with pytest.raises(ValueError, match=r"A damping rule must return a finite number"):
        PrecGDMatrixSensing(2, damping=Returns(value), solver="precgd").fit(A, y)


def test_a_step_that_is_no_number_is_refused():
    A, y, _ = sensing(0)
    with pytest.raises(ValueError, match=r"A step rule must return a number, got None"):
        PrecGDMatrixSensing(2, step_size=Returns(None), solver="precgd").fit(A, y)


class Nowhere(Direction):
    def __call__(self, local):
        return None


def test_a_direction_that_is_none_is_refused():
    A, y, _ = sensing(0)
    with pytest.raises(ValueError, match=r"A direction must be Factors, .* NoneType"):
        PrecGDMatrixSensing(2, solver=Solver("nowhere", Nowhere)).fit(A, y)


def test_an_interrupted_rule_keeps_the_best_point(global_random_seed):
    class Interrupted(StepRule):
        def __init__(self):
            self.calls = 0

        def __call__(self, ray, slope):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return ray.minimizer()

    A, y, _ = sensing(global_random_seed)
    objective = make_objective(as_measurements(A, (20, 15)), y)
    result = minimize(objective, spectral(objective, 2), step_size=Interrupted())
    assert result.status is Status.INTERRUPTED
    assert result.n_iter == 3
    assert result.loss == pytest.approx(result.history["loss"].min(), rel=1e-9)
