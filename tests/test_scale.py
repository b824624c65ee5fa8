"""The unit of the data must not matter: fit(c X) is c times fit(X)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from _helpers import completion_problem, sensing_problem
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import (
    make_low_rank,
)
from skprecgd.measurements import RankOneMeasurements
from skprecgd.optim import RANK_SEARCHES
from skprecgd.optim import SOLVERS as NAMED

SCALES = [1e-100, 1e-8, 1e8, 1e100]
EXTREME = [1e-100, 1e100]
MODERATE = [1e-8, 1e8]
SOLVERS = sorted(["auto", *NAMED])
NOT_SYMMETRIC = {name for name, solver in NAMED.items() if solver.pair_only}
NOT_ON_A_PATH = {name for name, solver in NAMED.items() if not solver.descends}
DAMPINGS = ["sqrt_loss", "dual_norm", "variance_proxy", "geometric", 0.01]
STEPS = ["exact", "backtracking", "polyak", 0.3]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_scaled(actual, expected, c, rtol=1e-6):
    """`actual` is c times `expected`, relative to its norm, without overflow."""
    assert np.all(np.isfinite(actual))
    size = np.linalg.norm(expected)
    assert size > 0
    assert_allclose(actual / c, expected, rtol=0, atol=rtol * size)


def same_run(**parameters):
    """Parameters of a run whose number of steps does not hang on rounding."""
    return {"n_components": 3, "max_iter": 8, "tol": 0, "random_state": 0} | parameters


# -- sensing ----------------------------------------------------------------------


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_sensing(c, rank_search, noise, global_random_seed):
    A, y = sensing_problem(global_random_seed, noise)
    options = {"n_components": 3, "matrix_shape": (10, 8), "rank_search": rank_search}
    plain = PrecGDMatrixSensing(random_state=0, **options).fit(A, y)
    scaled = PrecGDMatrixSensing(random_state=0, **options).fit(A, c * y)
    assert_scaled(scaled.matrix_, plain.matrix_, c)
    assert_scaled(scaled.predict(A), plain.predict(A), c)
    assert_scaled(scaled.singular_values_, plain.singular_values_, c)
    assert scaled.n_components_ == plain.n_components_
    assert_allclose(scaled.score(A, c * y), plain.score(A, y), rtol=1e-9)


@pytest.mark.parametrize("c", EXTREME)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_solver(c, solver, symmetric, global_random_seed):
    if symmetric and solver in NOT_SYMMETRIC:
        pytest.skip("refused")
    A, y = sensing_problem(global_random_seed, symmetric=symmetric)
    shape = (10, 10) if symmetric else (10, 8)
    for rank_search in ["fixed"] if solver in NOT_ON_A_PATH else RANK_SEARCHES:
        options = same_run(
            solver=solver,
            rank_search=rank_search,
            symmetric=symmetric,
            matrix_shape=shape,
        )
        plain = PrecGDMatrixSensing(**options).fit(A, y)
        scaled = PrecGDMatrixSensing(**options).fit(A, c * y)
        assert_scaled(scaled.matrix_, plain.matrix_, c)


@pytest.mark.parametrize("c", EXTREME)
@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("step_size", STEPS)
def test_every_damping_and_step(c, damping, step_size, global_random_seed):
    A, y = sensing_problem(global_random_seed, noise=0.1)
    options = same_run(
        solver="precgd",
        rank_search="fixed",
        damping=damping,
        step_size=step_size,
        matrix_shape=(10, 8),
    )
    variance = 0.01 * np.var(y)
    plain = PrecGDMatrixSensing(noise_variance=variance, **options).fit(A, y)
    with np.errstate(over="ignore"):
        variance *= c**2
    scaled = PrecGDMatrixSensing(noise_variance=variance, **options).fit(A, c * y)
    assert_scaled(scaled.matrix_, plain.matrix_, c)


@pytest.mark.parametrize("c", EXTREME)
@pytest.mark.parametrize("init", ["spectral", "nystrom", "random", "pair"])
def test_every_start(c, init, global_random_seed):
    A, y = sensing_problem(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    pair = rng.standard_normal((10, 3)), rng.standard_normal((8, 3))
    for rank_search in RANK_SEARCHES:
        options = same_run(rank_search=rank_search, matrix_shape=(10, 8))
        first, second = init, init
        if init == "pair":
            first, second = pair, tuple(np.sqrt(c) * block for block in pair)
        plain = PrecGDMatrixSensing(init=first, **options).fit(A, y)
        scaled = PrecGDMatrixSensing(init=second, **options).fit(A, c * y)
        assert_scaled(scaled.matrix_, plain.matrix_, c)


def operator(A):
    return aslinearoperator(A)


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, operator])
def test_scaled_measurements(c, kind, global_random_seed):
    A, y = sensing_problem(global_random_seed)
    options = same_run(matrix_shape=(10, 8))
    plain = PrecGDMatrixSensing(**options).fit(kind(A), y)
    scaled = PrecGDMatrixSensing(**options).fit(kind(c * A), y)
    assert_scaled(scaled.matrix_, plain.matrix_, 1 / c)
    assert_scaled(scaled.predict(kind(c * A)), plain.predict(kind(A)), 1.0)


@pytest.mark.parametrize("c", [1e-50, 1e-8, 1e8, 1e50])
def test_scaled_rank_one_measurements(c, global_random_seed):
    # Both vectors of a measurement carry the factor: the square is what counts.
    rng = np.random.default_rng(global_random_seed)
    a = rng.standard_normal((100, 10))
    truth = make_low_rank(10, rank=1, symmetric=True, random_state=global_random_seed)
    y = RankOneMeasurements(a).forward(truth.left, truth.right)
    options = same_run(symmetric=True, n_components=2)
    plain = PrecGDMatrixSensing(**options).fit(RankOneMeasurements(a), y)
    scaled = PrecGDMatrixSensing(**options).fit(RankOneMeasurements(c * a), y)
    assert_scaled(scaled.matrix_, plain.matrix_, c**-2)


@pytest.mark.parametrize("c", SCALES)
def test_sensing_ridge(c, global_random_seed):
    A, y = sensing_problem(global_random_seed, noise=0.1)
    options = {"n_components": 3, "matrix_shape": (10, 8)}
    plain = PrecGDMatrixSensing(alpha=0.5, **options).fit(A, y)
    scaled = PrecGDMatrixSensing(alpha=0.5 * c, **options).fit(A, c * y)
    assert_scaled(scaled.matrix_, plain.matrix_, c)


# -- completion -------------------------------------------------------------------


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
def test_completion(c, rank_search, center, global_random_seed):
    X = completion_problem(global_random_seed, noise=0.1)
    options = same_run(rank_search=rank_search, center=center)
    plain = PrecGDFactorization(**options).fit(X)
    scaled = PrecGDFactorization(**options).fit(c * X)
    assert_scaled(scaled.transform(c * X), plain.transform(X), c)
    assert_allclose(scaled.components_, plain.components_, rtol=0, atol=1e-6)
    if center is not None:
        assert_scaled(scaled.center_, plain.center_, c)
    assert_allclose(scaled.score(c * X), plain.score(X), rtol=1e-6)
    assert_allclose(
        scaled.explained_variance_ratio_, plain.explained_variance_ratio_, rtol=1e-6
    )


@pytest.mark.parametrize("c", SCALES)
def test_converged_completion(c, global_random_seed):
    X = completion_problem(global_random_seed)
    plain, scaled = PrecGDFactorization(4), PrecGDFactorization(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        expected = plain.inverse_transform(plain.fit_transform(X))
        actual = scaled.inverse_transform(scaled.fit_transform(c * X))
    assert_scaled(actual, expected, c)
    assert scaled.n_components_ == plain.n_components_ == 2
    # The history speaks the units of the data; its first line is the start.
    assert_allclose(
        np.sqrt(scaled.history_["loss"][0]) / c,
        np.sqrt(plain.history_["loss"][0]),
        rtol=1e-6,
    )


@pytest.mark.parametrize("c", SCALES)
def test_completion_ridge(c, global_random_seed):
    X = completion_problem(global_random_seed, noise=0.1)
    options = same_run(center="columns")
    plain = PrecGDFactorization(alpha=1.0, **options).fit(X)
    scaled = PrecGDFactorization(alpha=c, **options).fit(c * X)
    assert_scaled(scaled.singular_values_, plain.singular_values_, c)
    assert_scaled(scaled.transform(c * X), plain.transform(X), c)


@pytest.mark.parametrize("c", SCALES)
def test_entries_as_samples(c, global_random_seed):
    X = completion_problem(global_random_seed)
    A, y = observed_entries(X)
    plain = PrecGDMatrixSensing(4).fit(A, y)
    scaled = PrecGDMatrixSensing(4).fit(*observed_entries(c * X))
    assert_scaled(scaled.matrix_, plain.matrix_, c)


# -- complete data ----------------------------------------------------------------


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("shape", [(30, 20), (320, 280)])
@pytest.mark.parametrize("center", [None, "columns", "both"])
def test_complete(c, container, shape, center, global_random_seed):
    truth = make_low_rank(
        *shape, rank=8, condition_number=100, random_state=global_random_seed
    )
    rng = np.random.default_rng(global_random_seed)
    dense = truth.matrix + 0.01 * rng.standard_normal(shape)
    X, scaled_X = container(dense), container(c * dense)
    plain = PrecGDFactorization(4, center=center, random_state=0).fit(X)
    scaled = PrecGDFactorization(4, center=center, random_state=0).fit(scaled_X)
    assert plain.converged_
    assert scaled.converged_
    assert_scaled(scaled.singular_values_, plain.singular_values_, c)
    assert_scaled(
        scaled.inverse_transform(scaled.transform(scaled_X)),
        plain.inverse_transform(plain.transform(X)),
        c,
    )
    assert_allclose(
        scaled.explained_variance_ratio_, plain.explained_variance_ratio_, rtol=1e-6
    )
    assert_allclose(scaled.score(scaled_X), plain.score(X), rtol=1e-6)


@pytest.mark.parametrize("c", EXTREME)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("solver", SOLVERS)
def test_complete_every_solver(c, container, solver, global_random_seed):
    dense = np.random.default_rng(global_random_seed).standard_normal((20, 12))
    options = same_run(solver=solver, rank_search="fixed", alpha=0.0)
    plain = PrecGDFactorization(**options).fit(container(dense))
    scaled = PrecGDFactorization(**options).fit(container(c * dense))
    assert_scaled(scaled.singular_values_, plain.singular_values_, c)
    assert_scaled(scaled.transform(c * dense), plain.transform(dense), c)


@pytest.mark.parametrize("c", SCALES)
def test_complete_ridge(c, global_random_seed):
    X = np.random.default_rng(global_random_seed).standard_normal((20, 12))
    plain = PrecGDFactorization(4, alpha=2.0).fit(X)
    scaled = PrecGDFactorization(4, alpha=2.0 * c).fit(c * X)
    expected = np.maximum(np.linalg.svd(X)[1][:4] - 2.0, 0.0)
    assert_allclose(plain.singular_values_, expected, rtol=1e-9)
    assert_scaled(scaled.singular_values_, plain.singular_values_, c)
    assert_scaled(scaled.transform(c * X), plain.transform(X), c)


# -- single precision -------------------------------------------------------------


@pytest.mark.parametrize("c", MODERATE)
@pytest.mark.parametrize("shape", [(30, 20), (320, 280)])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_float32_complete(c, shape, container, global_random_seed):
    truth = make_low_rank(
        *shape, rank=4, condition_number=5, random_state=global_random_seed
    )
    X = truth.matrix.astype(np.float32)
    plain = PrecGDFactorization(3, random_state=0).fit(container(X))
    scaled_X = container(np.float32(c) * X)
    scaled = PrecGDFactorization(3, random_state=0).fit(scaled_X)
    assert scaled.components_.dtype == np.float32
    assert_scaled(scaled.singular_values_, plain.singular_values_, c, rtol=1e-4)
    assert_scaled(
        scaled.transform(scaled_X), plain.transform(container(X)), c, rtol=1e-3
    )


@pytest.mark.parametrize("c", MODERATE)
@pytest.mark.parametrize("solver", ["auto", "precgd", "gauss-newton"])
def test_float32_entries_and_sensing(c, solver, global_random_seed):
    c = np.float32(c)
    options = same_run(solver=solver, n_components=2)
    X = completion_problem(global_random_seed).astype(np.float32)
    plain = PrecGDFactorization(**options).fit(X)
    scaled = PrecGDFactorization(**options).fit(c * X)
    assert_scaled(scaled.transform(c * X), plain.transform(X), c, rtol=1e-3)
    A, y = (array.astype(np.float32) for array in sensing_problem(global_random_seed))
    options["matrix_shape"] = (10, 8)
    plain = PrecGDMatrixSensing(**options).fit(A, y)
    for scaled, by in [
        (PrecGDMatrixSensing(**options).fit(A, c * y), c),
        (PrecGDMatrixSensing(**options).fit(c * A, y), 1 / c),
    ]:
        assert scaled.matrix_.dtype == np.float32
        assert_scaled(scaled.matrix_, plain.matrix_, by, rtol=1e-3)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_data_whose_square_is_no_number(missing):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 8))
    X[rng.random(X.shape) < missing] = np.nan
    with pytest.raises(ValueError, match="The data are too large"):
        PrecGDFactorization(2).fit(1e200 * X)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("power", [80, 150, -150])
def test_vectors_whose_products_have_no_squares(power, noise, rng):
    """Targets in ordinary units of measurements that are far from them."""
    a, b = rng.standard_normal((200, 8)), rng.standard_normal((200, 6))
    M = np.outer(rng.standard_normal(8), rng.standard_normal(6))
    y = np.einsum("ni,ij,nj->n", a, M, b)
    y += noise * rng.standard_normal(200)
    unit = 10.0**power
    plain = PrecGDMatrixSensing(2, random_state=0).fit(RankOneMeasurements(a, b), y)
    large = RankOneMeasurements(unit * a, unit * b)
    # Below one the matrix would be beyond all numbers: the targets are small, too.
    scale = 1.0 if power > 0 else unit * unit
    model = PrecGDMatrixSensing(2, random_state=0).fit(large, scale * y)
    assert model.n_components_ == plain.n_components_ == 1
    found = model.matrix_ * (unit / scale) * unit
    assert np.linalg.norm(found - plain.matrix_) <= 1e-6 * np.linalg.norm(M)
    if noise and power > 0:
        assert model.noise_variance_ == pytest.approx(plain.noise_variance_, rel=1e-6)
