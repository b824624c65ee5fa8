"""Gross errors: where they are found, and what is recovered without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd._estimators.rows import TrimmedRows
from skprecgd.datasets import make_low_rank, make_matrix_sensing, make_robust_pca
from skprecgd.factors import FactorPair
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
)
from skprecgd.optim import rank_path
from skprecgd.robust import (
    AUTO_FRACTION,
    Corruption,
    TrimmedObjective,
    largest,
    largest_of_lines,
    line_limits,
)
from skprecgd.testing import check_objective

SEEDS = st.integers(0, 2**32 - 1)


# ---- thresholding


def brute_force(residual, rows, columns, shape, fraction):
    """The definition, entry by entry and line by line, with full sorts."""
    sizes = np.abs(residual)
    n = len(sizes)
    n_largest = round(fraction * n)
    left = np.sort(sizes)[: n - n_largest]
    stands_out = sizes > 5 * 1.4826 * left[len(left) // 2]
    overall = np.array([np.sum(sizes >= s) <= n_largest for s in sizes])
    passed = stands_out & overall
    kept = passed.copy()
    for lines, n_lines in zip((rows, columns), shape, strict=True):
        for line in range(n_lines):
            own = lines == line
            count = own.sum()
            mean = fraction * count
            limit = np.ceil(
                max(
                    2 * (1 - fraction) * mean,
                    mean + 4 * np.sqrt(mean * (1 - fraction)),
                )
            )
            limit = min(limit, count // 2)
            for i in np.flatnonzero(own & passed):
                # Its place among the errors of its line, equals counted in full.
                kept[i] &= np.sum(sizes[own & passed] >= sizes[i]) <= limit
    return np.flatnonzero(kept)


@given(
    SEEDS,
    st.sampled_from([0.02, 0.1, 0.25, 0.45]),
    st.sampled_from([1.0, 0.6]),
    st.booleans(),
)
def test_thresholding_is_its_definition(seed, fraction, observed, ties):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(2, 15)), int(rng.integers(2, 15)))
    rows, columns = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    measurements = FullObservation(shape)
    if observed < 1:
        seen = rng.random(len(rows)) < observed
        rows, columns = rows[seen], columns[seen]
        measurements = EntryMeasurements(rows, columns, shape)
    residual = rng.standard_normal(len(rows))
    # Some lines are much worse than others.
    residual[(rows == 0) | (columns == 1)] *= 100
    residual[rng.random(len(rows)) < fraction] *= 1000
    if ties:
        residual = np.round(residual)
    if not len(residual):
        return
    found = Corruption(fraction, measurements).positions(residual)
    assert_array_equal(found, brute_force(residual, rows, columns, shape, fraction))


@given(SEEDS, st.integers(0, 12))
def test_largest_of_all_and_of_lines(seed, count):
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(12).astype(float)
    assert_array_equal(np.sort(sizes[largest(sizes, count)]), np.arange(12 - count, 12))
    lines = rng.integers(0, 3, size=12)
    limits = rng.integers(0, 5, size=3)
    kept = largest_of_lines(sizes, lines, limits)
    for line in range(3):
        own = np.sort(sizes[lines == line])[::-1]
        assert_array_equal(
            np.sort(sizes[kept & (lines == line)])[::-1], own[: limits[line]]
        )


def test_of_equals_at_the_limit_none_passes():
    assert not largest(np.ones(5), 2).any()
    assert not largest_of_lines(np.ones(4), np.zeros(4, int), np.array([2])).any()


@given(st.integers(0, 10_000), st.floats(0.01, 0.49))
def test_a_line_keeps_at_least_half_of_its_entries(count, fraction):
    limit = line_limits(np.array([count]), fraction)[0]
    assert 0 <= limit <= count / 2
    assert limit >= min(fraction * count, count // 2)


def test_the_scale_of_many_residuals_comes_from_a_sample(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    shape = (400, 300)
    residual = rng.standard_normal(shape).ravel()
    level = Corruption(0.1, FullObservation(shape)).level(np.abs(residual))
    # The median of what is left if a tenth is corrupted is the 45 % quantile of all.
    exact = 5 * 1.4826 * np.quantile(np.abs(residual), 0.45)
    assert level == pytest.approx(exact, rel=0.03)
    # Nothing of a normal sample of this size is a gross error, or next to nothing.
    found = Corruption(0.1, FullObservation(shape)).positions(residual)
    assert len(found) < 1e-4 * residual.size


def test_measurements_of_several_cells_have_no_lines(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    residual = rng.standard_normal(50)
    residual[[3, 4]] = 1e3
    A = DenseMeasurements(rng.standard_normal((50, 12)), (4, 3))
    assert_array_equal(Corruption(0.1, A).positions(residual), [3, 4])


@pytest.mark.parametrize("fraction", [0, 0.5, -0.1, np.nan, "most"])
def test_corruption_refuses_a_fraction_out_of_range(fraction):
    with pytest.raises(
        ValueError, match=r"outlier_fraction must be 'auto' or a number"
    ):
        Corruption(fraction, FullObservation((2, 2)))


# ---- the objective


def robust_objective(seed, observed=1.0, noise=0.1):
    X, _, _ = make_robust_pca(
        20, 15, rank=2, noise=noise, observed_fraction=observed, random_state=seed
    )
    measurements, y = observed_entries(X)
    return TrimmedObjective(measurements, y, 0.1)


@pytest.mark.parametrize("observed", [1.0, 0.5])
def test_objective_and_its_derivatives_agree(observed, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    objective = robust_objective(global_random_seed, observed)
    # As many errors as the bound allows, far from everything else, so that no step
    # changes their places.
    targets = objective.targets
    n_errors = round(0.1 * len(targets))
    targets[:] = 1 + 0.1 * rng.standard_normal(len(targets))
    targets[:n_errors] = 1e4
    near = FactorPair(np.ones((20, 1)), 1 + 0.01 * rng.standard_normal((15, 1)))
    assert len(objective.evaluate(near).positions) == n_errors
    assert check_objective(objective, near) < 1e-6


def test_objective_is_that_of_the_targets_without_the_errors(global_random_seed):
    objective = robust_objective(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    factors = FactorPair(rng.standard_normal((20, 3)), rng.standard_normal((15, 3)))
    trimmed = objective.evaluate(factors)
    assert len(trimmed.positions)
    plain = objective.without(objective.errors(factors))
    evaluation = plain.evaluate(factors)
    assert trimmed.value == pytest.approx(evaluation.value, rel=1e-12)
    gradients = objective.gradient(trimmed), plain.gradient(evaluation)
    assert_allclose(gradients[0].left, gradients[1].left, atol=1e-12)
    assert_allclose(gradients[0].right, gradients[1].right, atol=1e-12)


def test_the_ray_bounds_the_objective_from_above(global_random_seed):
    objective = robust_objective(global_random_seed, noise=0.0)
    rng = np.random.default_rng(global_random_seed)
    start = FactorPair(rng.standard_normal((20, 2)), rng.standard_normal((15, 2)))
    evaluation = objective.evaluate(start)
    direction = objective.gradient(evaluation).times(-1.0)
    ray = objective.ray(evaluation, direction)
    assert ray.value(0.0) == pytest.approx(evaluation.value)
    step = ray.minimizer()
    assert objective.evaluate(start.moved(direction, step)).value < evaluation.value
    advanced = ray.advance(step)
    fresh = objective.evaluate(start.moved(direction, step))
    assert advanced.value == pytest.approx(fresh.value, rel=1e-9)
    assert_array_equal(advanced.positions, fresh.positions)


# ---- recovery

RECOVERED = [
    # kappa, corrupted, bound, observed, size of the errors
    pytest.param(1, 0.1, 0.1, 1.0, 10, id="kappa 1"),
    pytest.param(10, 0.1, 0.1, 1.0, 10, id="kappa 10"),
    pytest.param(100, 0.1, 0.1, 1.0, 10, id="kappa 100"),
    pytest.param(1, 0.2, 0.2, 1.0, 10, id="a fifth"),
    # With nothing to spare in the bound two of 24 draws end elsewhere.
    pytest.param(100, 0.1, 0.11, 0.5, 10, id="half missing"),
    pytest.param(10, 0.1, 0.2, 1.0, 10, id="a bound twice too large"),
    pytest.param(10, 0.1, "auto", 1.0, 10, id="auto"),
    pytest.param(1, 0.1, 0.1, 1.0, 1, id="errors of the size of the data"),
    pytest.param(1, 0.1, 0.1, 1.0, 1e6, id="huge errors"),
    pytest.param(1, 0.0, 0.1, 1.0, 10, id="no errors at all"),
]


@pytest.mark.parametrize("n_components", [5, 10])
@pytest.mark.parametrize(("kappa", "corrupted", "bound", "observed", "size"), RECOVERED)
def test_factorization_recovers_the_matrix_and_the_errors(
    kappa, corrupted, bound, observed, size, n_components, global_random_seed
):
    X, errors, truth = make_robust_pca(
        200,
        180,
        rank=5,
        condition_number=kappa,
        outlier_fraction=corrupted,
        outlier_scale=size,
        observed_fraction=observed,
        random_state=global_random_seed,
    )
    model = PrecGDFactorization(n_components, outlier_fraction=bound).fit(X)
    assert model.converged_
    assert model.n_components_ == 5
    assert truth.relative_error(model.left_, model.right_) < 1e-7
    completed = model.inverse_transform(model.transform(X))
    assert truth.relative_error(completed) < 1e-7
    found, true = model.outliers_, errors
    assert sparse.issparse(found)
    assert found.shape == X.shape
    difference = (found - true).tocoo()
    assert np.max(np.abs(difference.data), initial=0.0) < 1e-6 * size
    # An error too small to be told from a zero may be missing.
    assert true.nnz - 0.001 * X.size <= found.nnz <= true.nnz


@pytest.mark.parametrize("bound", [0.15, "auto"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_sensing_recovers_the_matrix_and_the_errors(
    bound, symmetric, global_random_seed
):
    A, y, truth = make_matrix_sensing(
        20,
        rank=2,
        n_measurements=400,
        condition_number=10,
        symmetric=symmetric,
        outlier_fraction=0.1,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(
        4, matrix_shape=(20, 20), symmetric=symmetric, outlier_fraction=bound
    ).fit(A, y)
    assert model.n_components_ == 2
    assert truth.relative_error(model.matrix_) < 1e-6
    assert model.outliers_.shape == y.shape
    assert 0.09 * len(y) <= np.count_nonzero(model.outliers_) <= 0.1 * len(y)
    size = np.max(np.abs(y))
    assert_allclose(model.predict(A), y - model.outliers_, atol=1e-6 * size)
    assert model.certificate_.relative_gap < 1e-6


@pytest.mark.parametrize("shuffled", [False, True])
def test_sensing_of_entries_is_factorization(shuffled, global_random_seed):
    X, errors, truth = make_robust_pca(
        60, 50, rank=2, observed_fraction=0.6, random_state=global_random_seed
    )
    measurements, y = observed_entries(X)
    if not shuffled:
        order = measurements.natural_order()
        measurements, y = measurements[order], y[order]
    model = PrecGDMatrixSensing(4, outlier_fraction=0.1).fit(measurements, y)
    assert truth.relative_error(model.matrix_) < 1e-7
    at = measurements.row_index, measurements.column_index
    wrong = errors.toarray()[at]
    assert_allclose(model.outliers_, wrong, atol=1e-6 * np.max(np.abs(wrong)))


def test_sensing_of_full_observation(global_random_seed):
    X, errors, truth = make_robust_pca(40, 30, rank=2, random_state=global_random_seed)
    full = FullObservation(X.shape)
    model = PrecGDMatrixSensing(4, outlier_fraction=0.1).fit(full, X.ravel())
    assert truth.relative_error(model.matrix_) < 1e-7
    wrong = errors.toarray().ravel()
    assert_allclose(model.outliers_, wrong, atol=1e-6 * np.max(np.abs(wrong)))
    plain = PrecGDMatrixSensing(2).fit(full, truth.matrix.ravel())
    assert truth.relative_error(plain.matrix_) < 1e-7
    assert not plain.outliers_.any()


def test_whole_path_without_an_estimator(global_random_seed):
    X, _, truth = make_robust_pca(
        150, rank=3, condition_number=100, random_state=global_random_seed
    )
    objective = TrimmedObjective(FullObservation(X.shape), X, 0.1)
    for solver in ("precgd", "gauss-newton"):
        path = rank_path(objective, 6, solver=solver)
        assert path.factors.rank == 3
        assert truth.relative_error(path.factors.matrix()) < 1e-7


def test_noise_costs_no_more_than_the_entries_left_out(global_random_seed):
    options = {"rank": 3, "noise": 0.1, "random_state": global_random_seed}
    X, _, truth = make_robust_pca(200, 150, outlier_fraction=0.1, **options)
    clean, _, _ = make_robust_pca(200, 150, outlier_fraction=0.0, **options)
    model = PrecGDFactorization(6, outlier_fraction=0.1, tol=1e-4, random_state=0)
    model.fit(X)
    oracle = PrecGDFactorization(3).fit(clean)
    best = truth.relative_error(oracle.left_, oracle.right_)
    assert model.n_components_ == 3
    assert truth.relative_error(model.left_, model.right_) < 1.15 * best
    plain = PrecGDFactorization(3).fit(X)
    assert truth.relative_error(plain.left_, plain.right_) > 5 * best


def test_score_finds_the_rank_in_spite_of_errors(global_random_seed):
    X, _, _ = make_robust_pca(
        90, 60, rank=3, noise=0.2, random_state=global_random_seed
    )
    scores = []
    for n_components in (1, 2, 3, 4, 6):
        model = PrecGDFactorization(
            n_components,
            alpha=0,
            outlier_fraction=0.1,
            early_stopping=False,
            tol=1e-3,
            random_state=0,
        )
        scores.append(model.fit(X[:60]).score(X[60:]))
    assert np.argmax(scores) == 2
    assert scores[2] > 0.8


# ---- invariants


def fitted(X, **options):
    options = {"n_components": 6, "outlier_fraction": 0.15, **options}
    return PrecGDFactorization(**options).fit(X)


@pytest.mark.parametrize("observed", [1.0, 0.6])
@pytest.mark.parametrize("c", [1e-100, 1e-8, 1e8, 1e100])
def test_the_unit_of_the_data_does_not_matter(c, observed, global_random_seed):
    X, _, truth = make_robust_pca(
        60,
        50,
        rank=2,
        condition_number=5,
        observed_fraction=observed,
        random_state=global_random_seed,
    )
    base, scaled = fitted(X), fitted(c * X)
    assert scaled.n_components_ == base.n_components_
    assert truth.relative_error((scaled.left_ / c) @ scaled.right_.T) < 1e-7
    assert_array_equal(scaled.outliers_.indices, base.outliers_.indices)
    assert_allclose(scaled.outliers_.data / c, base.outliers_.data, rtol=1e-5)
    assert_allclose(scaled.transform(c * X[:5]) / c, base.transform(X[:5]), rtol=1e-5)


@pytest.mark.parametrize("c", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("tol", [1e-4, 1e-2])
@pytest.mark.parametrize("bound", [0.1, "auto"])
def test_a_loose_tol_is_the_accuracy(c, tol, bound, global_random_seed):
    """Of the matrix, its rank, and the errors: entries left out are no less fitted."""
    X, errors, truth = make_robust_pca(
        60,
        50,
        rank=3,
        condition_number=10,
        outlier_fraction=0.08,
        random_state=global_random_seed,
    )
    model = PrecGDFactorization(6, outlier_fraction=bound, tol=tol).fit(c * X)
    assert model.n_components_ == 3
    assert truth.relative_error(model.left_, model.right_ / c) < tol
    found, given = model.outliers_.toarray() / c, errors.toarray()
    size = np.sqrt(np.mean(truth.matrix**2))
    assert np.max(np.abs(found - given)) < 20 * tol * size
    assert not np.any((found != 0) & (given == 0))


@pytest.mark.parametrize("c", [1e-100, 1e100])
def test_the_unit_of_the_measurements_does_not_matter(c, global_random_seed):
    A, y, truth = make_matrix_sensing(
        15,
        rank=2,
        n_measurements=300,
        outlier_fraction=0.1,
        random_state=global_random_seed,
    )
    model = PrecGDMatrixSensing(4, matrix_shape=(15, 15), outlier_fraction=0.1)
    assert truth.relative_error(model.fit(A, c * y).matrix_ / c) < 1e-6


def test_permuted_rows_and_columns(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, _, _ = make_robust_pca(
        60, 50, rank=2, noise=0.05, random_state=global_random_seed
    )
    rows, columns = rng.permutation(60), rng.permutation(50)
    options = {"early_stopping": False, "tol": 1e-8, "n_components": 2}
    base = PrecGDFactorization(outlier_fraction=0.1, **options).fit(X)
    other = PrecGDFactorization(outlier_fraction=0.1, **options)
    other.fit(X[rows][:, columns])
    expected = (base.left_ @ base.right_.T)[rows][:, columns]
    assert_allclose(other.left_ @ other.right_.T, expected, atol=1e-5)
    assert_array_equal(
        other.outliers_.toarray() != 0,
        (base.outliers_.toarray() != 0)[rows][:, columns],
    )


def test_float32_stays_and_is_good_for_half_its_digits(global_random_seed):
    X, errors, truth = make_robust_pca(
        120, 100, rank=3, random_state=global_random_seed, dtype=np.float32
    )
    model = fitted(X, tol=1e-5)
    assert model.left_.dtype == model.outliers_.dtype == np.float32
    assert model.transform(X).dtype == np.float32
    assert model.n_components_ == 3
    assert truth.relative_error(model.left_, model.right_) < 1e-4
    assert abs(model.outliers_.nnz - errors.nnz) < 0.01 * errors.nnz


def test_clean_data_give_what_the_plain_fit_gives(global_random_seed):
    M = make_low_rank(
        50, 40, rank=3, condition_number=5, random_state=global_random_seed
    ).matrix
    plain, robust = PrecGDFactorization(3).fit(M), fitted(M)
    assert robust.n_components_ == 3
    assert robust.outliers_.nnz == 0
    assert_allclose(robust.singular_values_, plain.singular_values_, rtol=1e-7)
    assert_allclose(
        robust.explained_variance_ratio_, plain.explained_variance_ratio_, rtol=1e-6
    )
    assert_allclose(robust.transform(M), plain.transform(M), atol=1e-6)


def test_noisy_data_without_errors_lose_nothing(global_random_seed):
    X, _, truth = make_robust_pca(
        100,
        80,
        rank=2,
        noise=0.2,
        outlier_fraction=0.0,
        random_state=global_random_seed,
    )
    options = {"early_stopping": False, "tol": 1e-6}
    plain = PrecGDFactorization(2, **options).fit(X)
    robust = PrecGDFactorization(2, outlier_fraction=0.1, **options).fit(X)
    assert robust.outliers_.nnz <= 1e-3 * X.size
    error = truth.relative_error(plain.left_, plain.right_)
    assert truth.relative_error(robust.left_, robust.right_) < 1.02 * error


def test_no_outliers_asked_for_are_none_found(global_random_seed):
    X, _, _ = make_robust_pca(30, 20, rank=2, random_state=global_random_seed)
    model = fitted(X)
    assert model.outliers_.nnz
    model.set_params(outlier_fraction=0.0).fit(X)
    assert model.outliers_.nnz == 0
    assert model.outliers_.shape == X.shape


def test_auto_is_its_bound(global_random_seed):
    X, _, _ = make_robust_pca(60, 50, rank=2, random_state=global_random_seed)
    auto, bound = (
        fitted(X, outlier_fraction="auto"),
        fitted(X, outlier_fraction=AUTO_FRACTION),
    )
    assert_array_equal(auto.left_, bound.left_)


# ---- coordinates of rows


def test_coordinates_of_a_row_do_not_depend_on_the_others(global_random_seed):
    X, _, _ = make_robust_pca(
        80,
        60,
        rank=3,
        noise=0.1,
        observed_fraction=0.8,
        random_state=global_random_seed,
    )
    model = fitted(X[:60], n_components=3, tol=1e-4)
    together = model.transform(X[60:])
    alone = np.vstack([model.transform(row[None]) for row in X[60:]])
    assert_allclose(together, alone, rtol=1e-8, atol=1e-10)


def test_coordinates_of_new_rows(global_random_seed):
    X, _, truth = make_robust_pca(160, 120, rank=3, random_state=global_random_seed)
    model = fitted(X[:100])
    predicted = model.inverse_transform(model.transform(X[100:]))
    true = truth.matrix[100:]
    assert np.linalg.norm(predicted - true) < 1e-6 * np.linalg.norm(true)


def test_trimmed_rows_without_errors_are_least_squares(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    basis = np.linalg.qr(rng.standard_normal((30, 3)))[0]
    X = rng.standard_normal((4, 3)) @ basis.T + 1e-3 * rng.standard_normal((4, 30))
    level = 10.0 * np.max(np.abs(X))
    solver = TrimmedRows(SquaredLoss(), np.zeros(3), fraction=0.1, level=level)
    z = solver.of_entries(sparse.csr_array(X), basis)
    assert_allclose(z, X @ basis, rtol=1e-8)


def test_a_row_that_shows_nothing_is_zero():
    basis = np.eye(4, 2)
    visible = sparse.csr_array(([3.0], ([1], [0])), shape=(3, 4))
    solver = TrimmedRows(SquaredLoss(), np.zeros(2), fraction=0.1, level=1.0)
    z = solver.of_entries(visible, basis)
    assert_allclose(z, [[0, 0], [3, 0], [0, 0]])


# ---- corners and bad input


def test_data_that_are_nothing_but_errors():
    X = np.zeros((12, 10))
    X[2, 3] = 5.0
    model = PrecGDFactorization(2, outlier_fraction=0.1).fit(X)
    assert np.abs(model.left_ @ model.right_.T).max() == 0
    assert_array_equal(model.outliers_.toarray(), X)


def test_a_start_of_ones_own_and_fixed_rank(global_random_seed):
    X, _, truth = make_robust_pca(60, 50, rank=2, random_state=global_random_seed)
    fixed = fitted(X, rank_search="fixed", n_components=2)
    assert truth.relative_error(fixed.left_, fixed.right_) < 1e-6
    again = fitted(X, init=(fixed.left_, fixed.right_))
    assert again.n_iter_ <= 5
    assert truth.relative_error(again.left_, again.right_) < 1e-6


@pytest.mark.parametrize("estimator", [PrecGDFactorization, PrecGDMatrixSensing])
def test_a_ridge_is_refused(estimator):
    X = np.random.default_rng(0).standard_normal((20, 6))
    model = estimator(1, outlier_fraction=0.1, alpha=0.5)
    with pytest.raises(
        ValueError, match=r"outlier_fraction=0\.1 needs alpha=0, got .*0\.5"
    ):
        model.fit(X, X[:, 0])


def test_complete_sparse_data_are_refused():
    X = sparse.random_array((20, 10), density=0.3, format="csr", random_state=0)
    with pytest.raises(ValueError, match=r"outlier_fraction='auto' .* X is sparse"):
        PrecGDFactorization(2, outlier_fraction="auto").fit(X)
    model = PrecGDFactorization(2, outlier_fraction=0.1).fit(X.toarray())
    with pytest.raises(ValueError, match=r"outlier_fraction=0\.1 .* X is sparse"):
        model.transform(X)


@pytest.mark.parametrize("fraction", [0.5, 1.0, -0.1, "some", None, True])
@pytest.mark.parametrize("estimator", [PrecGDFactorization, PrecGDMatrixSensing])
def test_fraction_out_of_range(estimator, fraction):
    X = np.random.default_rng(0).standard_normal((20, 6))
    with pytest.raises(ValueError, match="outlier_fraction"):
        estimator(1, outlier_fraction=fraction).fit(X, X[:, 0])
