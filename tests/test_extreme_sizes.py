"""Numbers whose squares are none: results are those of ordinary data, times a factor.

Factors are powers of two, so that only what is computed differently can differ.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from _helpers import completion_problem, sensing_problem
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    observed_entries,
)
from skprecgd.datasets import (
    make_low_rank,
)
from skprecgd.measurements import (
    DenseMeasurements,
    MultiOutputMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
)
from skprecgd.measurements.base import ScaledMeasurements
from skprecgd.model_selection import EntryKFold
from skprecgd.testing import check_measurements

# Exponents of two, about 1e-165, 1e-100, 1e100 and 1e150, and 1e-30, 1e-20, 1e20, 1e30.
EXPONENTS = {np.float64: (-548, -332, 332, 498), np.float32: (-100, -66, 66, 100)}
CASES = [(dtype, k) for dtype, exponents in EXPONENTS.items() for k in exponents]
KINDS = {
    "dense": np.asarray,
    "sparse": sparse.csr_array,
    "operator": aslinearoperator,
}

extremes = pytest.mark.parametrize(
    ("dtype", "k"), CASES, ids=lambda x: getattr(x, "__name__", str(x))
)
outermost = pytest.mark.parametrize(
    ("dtype", "k"),
    [case for case in CASES if case[1] in (-548, 498, -100, 100)],
    ids=lambda x: getattr(x, "__name__", str(x)),
)


def accuracy(dtype):
    return 1e-6 if dtype is np.float64 else 1e-3


def scaled(array, k):
    """The array times two to the power of k, in its own precision."""
    return np.ldexp(array, k).astype(array.dtype)


def assert_same(actual, expected, k=0, *, rtol):
    """`actual` is `expected` times two to the power of k, relative to its norm."""
    actual = np.ldexp(np.asarray(actual, np.float64), -k)
    size = np.linalg.norm(np.asarray(expected, np.float64))
    assert size > 0
    assert_allclose(actual, expected, rtol=0, atol=rtol * size)


def completion(seed, dtype):
    return completion_problem(seed).astype(dtype)


def noisy_completion(seed, dtype):
    return completion_problem(seed, 0.1).astype(dtype)


def complete(seed, dtype):
    truth = make_low_rank(30, 20, rank=4, condition_number=5, random_state=seed)
    return truth.matrix.astype(dtype)


def sensing(seed, dtype, symmetric=False):
    A, y = sensing_problem(seed, symmetric=symmetric)
    return A.astype(dtype), y.astype(dtype)


@cache
def fitted_rows(make, seed, dtype, k, parameters):
    """The fit of a table times two to the power of k, its completion and its score."""
    data, options = scaled(make(seed, dtype), k), {"alpha": 0.0, **dict(parameters)}
    options["alpha"] = np.ldexp(options["alpha"], k)
    model = PrecGDFactorization(3, random_state=0, **options).fit(data)
    completed = model.inverse_transform(model.transform(data))
    return model, completed, model.score(data)


def compare_factorizations(make, seed, k, dtype, **parameters):
    plain, other = (
        fitted_rows(make, seed, dtype, power, tuple(parameters.items()))
        for power in (0, k)
    )
    rtol = accuracy(dtype)
    assert other[0].left_.dtype == dtype
    for name in ("n_components_", "converged_"):
        assert getattr(other[0], name) == getattr(plain[0], name)
    assert_same(other[1], plain[1], k, rtol=rtol)
    for name, power in (("singular_values_", k), ("explained_variance_ratio_", 0)):
        found, expected = (getattr(each[0], name) for each in (other, plain))
        assert_same(found, expected, power, rtol=rtol)
    assert_allclose(other[2], plain[2], atol=rtol)


@extremes
@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
@pytest.mark.parametrize("data", [complete, completion])
def test_factorization(data, center, dtype, k, global_random_seed):
    compare_factorizations(data, global_random_seed, k, dtype, center=center)


@outermost
@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": "huber"},
        {"loss": "absolute"},
        {"loss": "huber", "alpha": 0.01},
        {"alpha": 0.5},
        {"rank_search": "fixed"},
        {"noise_variance": "auto"},
        {"outlier_fraction": 0.1},
        {"solver": "gauss-newton"},
    ],
    ids=str,
)
def test_noisy_entries(parameters, dtype, k, global_random_seed):
    make = noisy_completion
    compare_factorizations(make, global_random_seed, k, dtype, tol=1e-5, **parameters)


@outermost
@pytest.mark.parametrize("center", [None, "columns"])
def test_sparse_and_chunked_data(center, dtype, k, global_random_seed):
    da = pytest.importorskip("dask.array")
    X = complete(global_random_seed, dtype)
    plain = PrecGDFactorization(3, center=center, random_state=0).fit(X)
    for of in (sparse.csr_array, lambda x: da.from_array(x, (10, 20))):
        model = PrecGDFactorization(3, center=center, random_state=0)
        model.fit(of(scaled(X, k)))
        rtol = accuracy(dtype)
        assert_same(model.singular_values_, plain.singular_values_, k, rtol=rtol)
        assert_same(
            model.explained_variance_ratio_,
            plain.explained_variance_ratio_,
            rtol=rtol,
        )


@outermost
def test_entries_as_samples(dtype, k, global_random_seed):
    X = completion(global_random_seed, dtype)
    plain = PrecGDMatrixSensing(3).fit(*observed_entries(X))
    other = PrecGDMatrixSensing(3).fit(*observed_entries(scaled(X, k)))
    assert_same(other.matrix_, plain.matrix_, k, rtol=accuracy(dtype))


@cache
def cross_validated(seed, dtype, k):
    X, cv = noisy_completion(seed, dtype), EntryKFold(3, random_state=0)
    return PrecGDFactorizationCV([1, 2, 3], cv=cv, random_state=0).fit(scaled(X, k))


@outermost
def test_cross_validation(dtype, k, global_random_seed):
    plain, other = (
        cross_validated(global_random_seed, dtype, power) for power in (0, k)
    )
    assert other.n_components_ == plain.n_components_
    assert_allclose(other.best_score_, plain.best_score_, atol=accuracy(dtype))


@cache
def plain_sensing(kind, dtype, seed):
    A, y = sensing(seed, dtype)
    plain = PrecGDMatrixSensing(3, matrix_shape=(10, 8), random_state=0)
    return plain.fit(KINDS[kind](A), y)


@extremes
@pytest.mark.parametrize("what", ["targets", "measurements", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_sensing(kind, what, dtype, k, global_random_seed):
    A, y = sensing(global_random_seed, dtype)
    down = 0 if what == "targets" else (-k if what == "measurements" else k)
    up = 0 if what == "measurements" else k
    if down - up > 500:
        pytest.skip("The square of the matrix overflows, as the message says.")
    plain = plain_sensing(kind, dtype, global_random_seed)
    B, t = KINDS[kind](scaled(A, down)), scaled(y, up)
    other = PrecGDMatrixSensing(3, matrix_shape=(10, 8), random_state=0).fit(B, t)
    rtol = accuracy(dtype)
    assert other.left_.dtype == dtype
    assert other.converged_ == plain.converged_
    assert_same(other.matrix_, plain.matrix_, up - down, rtol=rtol)
    assert_same(other.predict(B), plain.predict(KINDS[kind](A)), up, rtol=rtol)
    assert_allclose(other.score(B, t), 1.0, atol=rtol)


@outermost
@pytest.mark.parametrize("what", ["targets", "measurements"])
def test_sensing_in_chunks(what, dtype, k, global_random_seed):
    da = pytest.importorskip("dask.array")
    A, y = sensing(global_random_seed, dtype)
    k = int(np.clip(k, -498, 498))
    down, up = (0, k) if what == "targets" else (-k, 0)
    options = {"matrix_shape": (10, 8), "random_state": 0, "tol": 1e-5}
    plain = PrecGDMatrixSensing(3, **options).fit(A, y)
    B = da.from_array(scaled(A, down), (50, 80))
    other = PrecGDMatrixSensing(3, **options).fit(B, scaled(y, up))
    assert_same(other.matrix_, plain.matrix_, up - down, rtol=1e-3)


@outermost
@pytest.mark.parametrize(
    "parameters",
    [
        {"symmetric": True},
        {"loss": "huber"},
        {"loss": "absolute"},
        {"outlier_fraction": 0.1},
        {"noise_variance": "auto"},
    ],
    ids=str,
)
def test_sensing_in_other_ways(parameters, dtype, k, global_random_seed):
    symmetric = parameters.get("symmetric", False)
    A, y = sensing(global_random_seed, dtype, symmetric)
    rng = np.random.default_rng(global_random_seed)
    y = y + (0.1 * np.std(y) * rng.normal(size=len(y))).astype(dtype)
    options = {
        "matrix_shape": (10, 10 if symmetric else 8),
        "random_state": 0,
        "tol": 1e-5,
        **parameters,
    }
    plain = PrecGDMatrixSensing(3, **options).fit(A, y)
    # As many powers up as down, so that the matrix stays what it is.
    other = PrecGDMatrixSensing(3, **options).fit(scaled(A, k), scaled(y, k))
    rtol = accuracy(dtype)
    assert_same(other.matrix_, plain.matrix_, rtol=rtol)
    if "noise_variance" in parameters and abs(k) < 400:
        variance = other.noise_variance_ * 4.0**-k
        assert_allclose(variance, plain.noise_variance_, rtol=rtol)
    if "outlier_fraction" in parameters:
        assert_allclose(np.ldexp(other.outliers_, -k), plain.outliers_, atol=rtol)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
@extremes
def test_measurements_of_labels_and_counts(loss, dtype, k, global_random_seed):
    # Labels have no unit: only measurement matrices and the matrix can be scaled.
    k = int(np.clip(k, -400, 400))
    A, y = sensing(global_random_seed, dtype)
    labels = (y > 0).astype(dtype)
    options = {"matrix_shape": (10, 8), "loss": loss, "tol": 1e-5, "random_state": 0}
    plain = PrecGDMatrixSensing(2, alpha=0.5, **options).fit(A, labels)
    alpha = float(np.ldexp(0.5, k))
    other = PrecGDMatrixSensing(2, alpha=alpha, **options).fit(scaled(A, k), labels)
    assert_same(other.matrix_, plain.matrix_, -k, rtol=10 * accuracy(dtype))


@pytest.mark.parametrize(
    ("dtype", "k"), [(np.float64, -160), (np.float64, 160), (np.float32, -60)]
)
@pytest.mark.parametrize("both", [True, False])
def test_rank_one_measurements(both, dtype, k, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    a, b = (rng.standard_normal((120, n)).astype(dtype) for n in (10, 8))
    if both:
        b = a
    x = rng.standard_normal((b.shape[1], 1)).astype(dtype)
    truth = (x if both else rng.standard_normal((10, 1)).astype(dtype)), x

    def fitted(power):
        left, right = scaled(a, power), scaled(b, power)
        A = RankOneMeasurements(left) if both else RankOneMeasurements(left, right)
        y = RankOneMeasurements(a, b).forward(*truth)
        return PrecGDMatrixSensing(2, symmetric=both, random_state=0).fit(A, y)

    assert_same(fitted(k).matrix_, fitted(0).matrix_, -2 * k, rtol=accuracy(dtype))


def test_many_outputs(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, M = rng.standard_normal((40, 10)), np.outer(*rng.standard_normal((2, 10)))[:, :8]
    A = MultiOutputMeasurements(np.ldexp(X, 332), 8)
    model = PrecGDMatrixSensing(3, random_state=0).fit(A, (X @ M).ravel())
    assert_same(model.matrix_, M, -332, rtol=1e-6)


@pytest.mark.parametrize("of", [DenseMeasurements, SparseMeasurements])
@pytest.mark.parametrize("k", [-548, 498])
def test_measurements_of_unit_size(of, k, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    stack = rng.standard_normal((50, 30))
    stack = sparse.csr_array(stack) if of is SparseMeasurements else stack
    A = of(stack * 2.0**k, (6, 5))
    near, unit = A.of_unit_size()
    assert 0.5 <= near.size <= 2.0
    left, right = rng.standard_normal((6, 2)), rng.standard_normal((5, 2))
    assert_allclose(unit * near.forward(left, right), A.forward(left, right))
    ordinary = of(stack, (6, 5))
    assert ordinary.of_unit_size() == (ordinary, 1.0)


def test_scaled_measurements_keep_the_contract(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = DenseMeasurements(rng.standard_normal((50, 30)), (6, 5))
    assert check_measurements(ScaledMeasurements(A, 0.25)) < 1e-12


def test_the_matrix_may_be_too_large_although_the_data_are_not(global_random_seed):
    A, y = sensing(global_random_seed, np.float64)
    with pytest.raises(ValueError, match=r"the norm of their matrix is .*e\+165"):
        PrecGDMatrixSensing(3, matrix_shape=(10, 8)).fit(np.ldexp(A, -548), y)
