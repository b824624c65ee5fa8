"""Offsets are estimated together with the factors, and no component stands for them.

Data without noise, ``M = L R^T + b 1^T + 1 c^T``, are completed exactly by as many
components as L has columns.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.factors import FactorPair
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import make_objective
from skprecgd.optim import SOLVERS, certificate
from skprecgd.optim.metric import Metric
from skprecgd.unknown.base import GENERAL
from skprecgd.unknown.offsets import CENTERS, WithOffsets

SHAPE = (60, 40)
CENTER = pytest.mark.parametrize("center", CENTERS)


def with_offsets(rng, center, rank=2, shape=SHAPE, kappa=3.0):
    """A matrix of a rank and offsets that are larger than it."""
    u, v = (np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in shape)
    matrix = np.sqrt(shape[0] * shape[1]) * (u * np.geomspace(1, 1 / kappa, rank)) @ v.T
    columns = 3.0 * rng.standard_normal(shape[1]) if center != "mean" else 0.0
    rows = 3.0 * rng.standard_normal((shape[0], 1)) if center == "both" else 0.0
    return matrix + rows + columns + 5.0


def seen_part(rng, matrix, share=0.5):
    return np.where(rng.random(matrix.shape) < share, matrix, np.nan)


def whole(model):
    return model.left_ @ model.right_.T + model.center_


def distance(matrix, other):
    return np.linalg.norm(matrix - other) / np.linalg.norm(other)


def all_seen(shape):
    return tuple(np.ones(n, bool) for n in shape)


# ---- exact completion ---------------------------------------------------------------


@CENTER
@pytest.mark.parametrize("n_components", [2, 5])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_exact_completion_by_as_many_components_as_there_are(
    center, n_components, share, rng
):
    truth = with_offsets(rng, center)
    X = seen_part(rng, truth, share)
    model = PrecGDFactorization(n_components, center=center).fit(X)
    assert model.converged_
    assert distance(whole(model), truth) < 1e-7
    assert model.n_components_ == 2 + (center == "both")


@CENTER
@pytest.mark.parametrize("kappa", [1.0, 100.0])
def test_exact_completion_of_any_spectrum(center, kappa, rng):
    truth = with_offsets(rng, center, rank=3, shape=(80, 50), kappa=kappa)
    model = PrecGDFactorization(3, center=center).fit(seen_part(rng, truth, 0.4))
    assert distance(whole(model), truth) < 1e-7


@pytest.mark.parametrize(
    "solver", [name for name in SOLVERS if name.startswith(("prec", "gauss", "alter"))]
)
@CENTER
def test_every_solver_finds_them(center, solver, rng):
    truth = with_offsets(rng, center)
    model = PrecGDFactorization(2, center=center, solver=solver, tol=1e-8)
    assert distance(whole(model.fit(seen_part(rng, truth))), truth) < 1e-6


@CENTER
def test_at_the_full_search_rank(center, rng):
    """As in the papers, without a path."""
    truth = with_offsets(rng, center)
    options = {"alpha": 0, "solver": "precgd", "rank_search": "fixed", "tol": 1e-8}
    model = PrecGDFactorization(2, center=center, **options)
    model.fit(seen_part(rng, truth))
    assert model.n_components_ == 2 + (center == "both")
    assert distance(whole(model), truth) < 1e-6


@CENTER
def test_scarce_entries_of_a_matrix_with_offsets(center, rng):
    """Where rows are uncertain, so are their offsets."""
    shape = (80, 60)
    truth = with_offsets(rng, center, shape=shape)
    freedom = WithOffsets(center, all_seen(shape)).degrees_of_freedom(shape, 2)
    # Five entries in each row and column, and others anywhere.
    X = np.full(shape, np.nan)
    for k in range(5):
        order = rng.permutation(60)
        rows = np.arange(80)
        columns = order[(rows + k) % 60]
        X[rows, columns] = truth[rows, columns]
    hidden = np.flatnonzero(np.isnan(X))
    more = max(0, int(2.5 * freedom) - (X.size - len(hidden)))
    chosen = rng.choice(hidden, more, replace=False)
    X.flat[chosen] = truth.flat[chosen]
    model = PrecGDFactorization(2, center=center).fit(X)
    assert distance(whole(model), truth) < 1e-6


@CENTER
@pytest.mark.parametrize("init", ["random", "nystrom", "pair"])
def test_every_start_finds_them(center, init, rng):
    truth = with_offsets(rng, center)
    if init == "pair":
        init = tuple(rng.standard_normal((n, 2)) for n in SHAPE)
    model = PrecGDFactorization(2, center=center, init=init, random_state=0)
    assert distance(whole(model.fit(seen_part(rng, truth))), truth) < 1e-7


@CENTER
def test_other_losses_find_them(center, rng):
    truth = with_offsets(rng, center)
    for loss in ("huber", "absolute"):
        model = PrecGDFactorization(2, center=center, loss=loss, tol=1e-7)
        assert distance(whole(model.fit(seen_part(rng, truth, 0.7))), truth) < 1e-4


@CENTER
def test_single_precision(center, rng):
    truth = with_offsets(rng, center)
    X = seen_part(rng, truth).astype(np.float32)
    model = PrecGDFactorization(2, center=center, tol=1e-5).fit(X)
    assert model.left_.dtype == model.center_.dtype == np.float32
    assert model.n_components_ == 2 + (center == "both")
    assert distance(whole(model), truth) < 1e-4


@pytest.mark.parametrize("center", ["mean", "columns"])
def test_in_chunks(center, rng):
    da = pytest.importorskip("dask.array")
    truth = with_offsets(rng, center)
    X = da.from_array(seen_part(rng, truth), chunks=(25, SHAPE[1]))
    model = PrecGDFactorization(2, center=center).fit(X)
    assert model.n_components_ == 2
    assert distance(whole(model), truth) < 1e-7


@CENTER
def test_weights_do_not_move_what_is_exact(center, rng):
    truth = with_offsets(rng, center)
    often = rng.integers(0, 3, truth.shape)
    model = PrecGDFactorization(2, center=center).fit(truth, entry_weight=often)
    assert distance(whole(model), truth) < 1e-7


@CENTER
def test_groups_have_offsets_of_their_own(center, rng):
    parts = [size * with_offsets(rng, center, shape=(40, 30)) for size in (1.0, 10.0)]
    X = np.full((80, 60), np.nan)
    X[:40, :30], X[40:, 30:] = (seen_part(rng, part, 0.6) for part in parts)
    with pytest.warns(UserWarning, match="2 groups.*the centre"):
        model = PrecGDFactorization(2, center=center).fit(X)
    assert model.n_components_ == 2 * (2 + (center == "both"))
    if center == "both":
        # Row offsets of a group reach no column of another.
        assert_allclose(model.left_[:40] @ model.right_[30:].T, 0, atol=1e-9)
    matrix = whole(model)
    assert distance(matrix[:40, :30], parts[0]) < 1e-7
    assert distance(matrix[40:, 30:], parts[1]) < 1e-7


# ---- what is kept of a fit -----------------------------------------------------------


@CENTER
@pytest.mark.parametrize("complete", [False, True])
def test_two_ways_to_the_same_matrix(center, complete, rng):
    """The factors and the centre, and coordinates of the training rows."""
    truth = with_offsets(rng, center)
    if complete and center == "mean":
        # The mean that is subtracted is that of the components, too: let that be zero.
        truth -= truth.mean(axis=0) - 5.0
    X = truth if complete else seen_part(rng, truth)
    model = PrecGDFactorization(2, center=center).fit(X)
    z = model.transform(X)
    assert z.shape == (SHAPE[0], 2 + (center == "both"))
    assert len(model.get_feature_names_out()) == model.n_components_ == z.shape[1]
    assert distance(model.inverse_transform(z), truth) < 1e-7
    assert distance(whole(model), truth) < 1e-7
    gram = model.components_ @ model.components_.T
    assert_allclose(gram, np.eye(model.n_components_), atol=1e-12)


@CENTER
@pytest.mark.parametrize("complete", [False, True])
def test_with_a_ridge_too_rows_get_the_coordinates_of_the_fit(center, complete, rng):
    """The ridge is on the components of a row, not on its offset."""
    truth = with_offsets(rng, center) + 0.1 * rng.standard_normal(SHAPE)
    X = truth if complete else seen_part(rng, truth, 0.7)
    model = PrecGDFactorization(4, center=center, alpha=10.0, tol=1e-10).fit(X)
    assert distance(model.inverse_transform(model.transform(X)), whole(model)) < 1e-7


def test_an_offset_of_a_new_row_is_a_coordinate(rng):
    truth = with_offsets(rng, "both")
    model = PrecGDFactorization(2, center="both").fit(seen_part(rng, truth[:50]))
    new = truth[50:] + 7.0 * rng.standard_normal((10, 1))
    visible = seen_part(rng, new, 0.6)
    assert distance(model.inverse_transform(model.transform(visible)), new) < 1e-6


@CENTER
def test_complete_data_are_centred_and_decomposed(center, rng):
    X = rng.standard_normal((30, 12)) + rng.standard_normal((30, 1)) + 2.0
    model = PrecGDFactorization(3, center=center).fit(X)
    means = np.full(12, X.mean()) if center == "mean" else X.mean(axis=0)
    rows = (X.mean(axis=1) - X.mean())[:, None] if center == "both" else 0.0
    u, s, vt = np.linalg.svd(X - means - rows)
    expected = (u[:, :3] * s[:3]) @ vt[:3] + means + rows
    assert_allclose(model.center_, means, rtol=1e-12)
    assert_allclose(whole(model), expected, atol=1e-8)


@CENTER
def test_offsets_of_the_data_are_offsets_of_the_completion(center, rng):
    """Adding constants to columns, and rows, that have offsets adds them to it."""
    truth = with_offsets(rng, center) + 0.1 * rng.standard_normal(SHAPE)
    X = seen_part(rng, truth, 0.7)
    added = np.full(SHAPE[1], 11.0)
    if center != "mean":
        added = 11.0 * rng.standard_normal(SHAPE[1])
    if center == "both":
        added = added + 9.0 * rng.standard_normal((SHAPE[0], 1))
    options = {"center": center, "alpha": 0, "early_stopping": False, "tol": 1e-10}
    model, other = (PrecGDFactorization(2, **options).fit(Y) for Y in (X, X + added))
    assert distance(whole(other), whole(model) + added) < 1e-6


@CENTER
def test_a_fit_from_its_own_solution_ends_at_once(center, rng):
    X = seen_part(rng, with_offsets(rng, center) + 0.1 * rng.standard_normal(SHAPE))
    options = {"alpha": 0, "early_stopping": False, "tol": 1e-6}
    model = PrecGDFactorization(2, center=center, warm_start=True, **options).fit(X)
    before = whole(model)
    model.fit(X)
    assert model.n_iter_ == 1
    assert distance(whole(model), before) < 1e-5
    # In other units it is the same start.
    model.fit(100 * X)
    assert distance(whole(model), 100 * before) < 1e-4


def test_columns_without_an_entry_have_the_mean(rng):
    truth = with_offsets(rng, "mean")
    X = seen_part(rng, truth)
    X[:, 3] = np.nan
    with pytest.warns(UserWarning, match="no observed entry"):
        model = PrecGDFactorization(2, center="mean").fit(X)
    assert_allclose(model.center_, 5.0, rtol=1e-6)


def test_cross_validation_counts_components_alone(rng):
    truth = with_offsets(rng, "both") + 0.1 * rng.standard_normal(SHAPE)
    X = seen_part(rng, truth, 0.7)
    model = PrecGDFactorizationCV(
        [1, 2, 3], center="both", alpha=0, cv=3, random_state=0
    )
    assert model.fit(X).best_params_["n_components"] == 2
    assert model.n_components_ == 3


# ---- entries as measurements ---------------------------------------------------------


@CENTER
def test_sensing_of_entries(center, rng):
    truth = with_offsets(rng, center)
    entries, y = observed_entries(seen_part(rng, truth))
    model = PrecGDMatrixSensing(4, center=center).fit(entries, y)
    assert model.n_components_ == 2 + (center == "both")
    assert distance(model.matrix_, truth) < 1e-7
    everything, values = observed_entries(truth)
    assert_allclose(model.predict(everything), values, rtol=0, atol=1e-5)
    assert model.score(everything, values) > 1 - 1e-12
    assert 0 <= model.certificate_.relative_gap < 1e-6
    # Contributions of the components are those to what the centre leaves.
    parts = model.transform(everything).sum(axis=1)
    centred = values - model.center_[everything.cells()[1]]
    assert_allclose(parts, centred, rtol=0, atol=1e-5)


@CENTER
def test_sensing_finds_what_a_factorization_finds(center, rng):
    X = seen_part(rng, with_offsets(rng, center) + 0.3 * rng.standard_normal(SHAPE))
    options = {"center": center, "alpha": 0, "early_stopping": False, "tol": 1e-8}
    model = PrecGDFactorization(2, **options).fit(X)
    other = PrecGDMatrixSensing(2, **options).fit(*observed_entries(X))
    assert distance(other.matrix_, whole(model)) < 1e-6
    assert_allclose(other.center_, model.center_, rtol=1e-5)


def test_sensing_of_ratings_by_ids(rng):
    """Offsets belong to users and items, whatever the order of the entries."""
    pd = pytest.importorskip("pandas")
    truth = with_offsets(rng, "both", shape=(30, 20))
    rows, columns = np.nonzero(rng.random(truth.shape) < 0.7)
    order = rng.permutation(len(rows))
    rows, columns = rows[order], columns[order]
    frame = pd.DataFrame(
        {"user": [f"u{i}" for i in rows], "item": columns, "rating": 0.0}
    )
    frame["rating"] = truth[rows, columns]
    entries, y = observed_entries(frame, row="user", column="item", value="rating")
    model = PrecGDMatrixSensing(2, center="both").fit(entries, y)
    assert_allclose(model.predict(entries), frame["rating"], rtol=0, atol=1e-5)
    assert model.n_components_ == 3


def test_sensing_with_a_centre_is_cross_validated(rng):
    truth = with_offsets(rng, "both") + 0.1 * rng.standard_normal(SHAPE)
    entries, y = observed_entries(seen_part(rng, truth, 0.7))
    model = PrecGDMatrixSensingCV([1, 2, 3], center="both", cv=3, random_state=0)
    model.fit(entries, y)
    assert model.best_params_["n_components"] >= 2
    assert distance(model.matrix_, truth) < 0.02


@pytest.mark.parametrize("center", CENTERS)
def test_other_measurements_have_no_centre(center, rng):
    A, y = rng.standard_normal((90, 8, 6)), rng.standard_normal(90)
    message = f"center='{center}' needs measurements that are single entries.*Dense"
    for model in (PrecGDMatrixSensing(2, center=center), PrecGDMatrixSensingCV([1, 2])):
        model.set_params(center=center)
        with pytest.raises(ValueError, match=message):
            model.fit(A, y)


def test_a_symmetric_matrix_has_no_centre(rng):
    entries, y = observed_entries(np.eye(6))
    model = PrecGDMatrixSensing(2, center="columns", symmetric=True)
    with pytest.raises(ValueError, match="center='columns' needs symmetric=False"):
        model.fit(entries, y)


# ---- points of the unknown -----------------------------------------------------------


def problem(rng, center, dtype=np.float64, rank=3, shape=(12, 9)):
    """An objective of some entries, a point with offsets and a tangent vector."""
    rows, columns = np.nonzero(rng.random(shape) < 0.7)
    measurements = EntryMeasurements(rows, columns, shape, dtype)
    objective = make_objective(measurements, rng.standard_normal(len(rows)), alpha=0.1)
    unknown = WithOffsets(center, all_seen(shape))
    point, direction = (
        unknown.of_parts(
            FactorPair(*(rng.standard_normal((n, rank)) for n in shape)),
            *(rng.standard_normal(n) for n in shape),
        ).in_precision(np.dtype(dtype))
        for _ in range(2)
    )
    return objective, unknown, point, direction.shaped(direction.flat())


def offsets_alone(factors):
    rows, columns = factors.offsets
    return rows[:, None] + columns


@CENTER
def test_a_point_is_its_components_and_its_offsets(center, rng):
    _, _, point, direction = problem(rng, center)
    expected = point.low_rank.matrix() + offsets_alone(point)
    assert_allclose(point.matrix(), expected, atol=1e-12)
    rows, columns = point.offsets
    assert np.any(rows) == (center == "both")
    assert (np.ptp(columns) < 1e-12) == (center == "mean")
    assert point.rank == point.low_rank.rank == direction.rank == 3
    # A tangent vector has no constant columns, which nothing moves.
    moved = point.moved(direction, 0.5)
    assert moved.size == point.size
    assert direction.size == 0


@CENTER
def test_the_gradient_is_the_slope_in_every_free_number(center, rng):
    objective, _, point, direction = problem(rng, center)
    evaluation = objective.evaluate(point)
    gradient = objective.gradient(evaluation)
    for block in range(2):
        for column in range(4):
            only = direction.only(block)
            kept = np.arange(4) == column
            only = only.with_block(block, only.blocks[block] * kept)
            h = 1e-6
            rise = objective.evaluate(point.moved(only, h)).value
            fall = objective.evaluate(point.moved(only, -h)).value
            slope = (rise - fall) / (2 * h)
            assert_allclose(gradient.inner(only), slope, rtol=1e-6, atol=1e-9)


@CENTER
def test_steps_leave_offsets_what_they_may_be(center, rng):
    objective, _, point, _ = problem(rng, center)
    gradient = objective.gradient(objective.evaluate(point))
    step = Metric(point, 0.1).apply(gradient)
    rows, columns = point.moved(step, 1.0).offsets
    assert np.any(rows) == (center == "both")
    assert (np.ptp(columns) < 1e-12) == (center == "mean")


@CENTER
def test_the_ray_and_the_curvature_are_those_of_the_matrix(center, rng):
    objective, _, point, direction = problem(rng, center)
    evaluation = objective.evaluate(point)
    ray = objective.ray(evaluation, direction)
    for t in (-0.7, 0.3, 2.0):
        there = objective.evaluate(point.moved(direction, t))
        assert_allclose(ray.value(t), there.value, rtol=1e-10)
        assert_allclose(ray.advance(t).value, there.value, rtol=1e-10)
    product = objective.curvature(evaluation)(direction)
    measured = objective.measurements.forward_ray(
        point.left, point.right, direction.left, direction.right
    )[0]
    squares = objective.weight * measured @ measured
    squares += objective.penalty.threshold * direction.ridge()
    assert_allclose(product.inner(direction), squares, rtol=1e-10)


@CENTER
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_balanced_factors_are_the_same_matrix_without_means(center, dtype, rng):
    _, _, point, _ = problem(rng, center, dtype)
    balanced = point.balanced()
    assert balanced.dtype == dtype
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    assert distance(balanced.matrix(), point.matrix()) < rtol
    low = balanced.low_rank
    assert_allclose(low.left.T @ low.left, low.right.T @ low.right, atol=100 * rtol)
    if center != "mean":
        assert_allclose(low.left.mean(axis=0), 0, atol=10 * rtol)
    if center == "both":
        assert_allclose(low.right.mean(axis=0), 0, atol=10 * rtol)
        matrix = point.matrix()
        centred = matrix - matrix.mean(axis=0) - matrix.mean(axis=1)[:, None]
        s = np.linalg.svd(centred + matrix.mean(), compute_uv=False)[:3]
        assert_allclose(point.singular_values(), s, rtol=10 * rtol)


@CENTER
def test_columns_come_and_go_beside_the_offsets(center, rng):
    _, unknown, point, _ = problem(rng, center)
    u, v = (np.linalg.qr(rng.standard_normal((n, 2)))[0] for n in point.matrix_shape)
    grown = point.grown(u, np.array([2.0, 1.0]), v)
    assert grown.rank == 5
    assert_allclose(grown.matrix() - point.matrix(), (u * [2.0, 1.0]) @ v.T, atol=1e-12)
    assert_allclose(grown.without_last(2).matrix(), point.matrix(), atol=1e-12)
    padded = point.with_zeros(6)
    assert padded.rank == 6
    assert_allclose(padded.matrix(), point.matrix(), atol=1e-12)
    assert padded.without_empty_columns().rank == 3
    # The best lower rank beside the best offsets for it.
    lower = point.truncated(1)
    assert lower.rank == 1
    rest = point.matrix() - lower.matrix()
    s = np.linalg.svd(rest, compute_uv=False)
    assert_allclose(s[:2], point.singular_values()[1:], rtol=1e-9)
    zero = unknown.zero(point.matrix_shape, 1, point.dtype)
    assert_array_equal(zero.matrix(), np.zeros(point.matrix_shape))


@CENTER
def test_scaling_scales_the_matrix(center, rng):
    _, unknown, point, _ = problem(rng, center)
    assert_allclose(point.scaled(3.0).matrix(), 3.0 * point.matrix(), rtol=1e-12)
    same = unknown.of_factors(point.scaled(3.0))
    assert same.size == 1.0
    assert_allclose(same.matrix(), 3.0 * point.matrix(), rtol=1e-12)


@CENTER
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_degrees_of_freedom_are_the_directions_of_the_tangent_space(center, rank, rng):
    shape = (9, 7)
    unknown = WithOffsets(center, all_seen(shape))
    pair = FactorPair(*(rng.standard_normal((n, rank)) for n in shape))
    point = unknown.of_parts(pair, *(rng.standard_normal(n) for n in shape))
    directions = []
    for k in range(point.flat().size):
        numbers = np.zeros(point.flat().size)
        numbers[k] = 1.0
        move = point.shaped(numbers)
        move = move.joined(*(_wide(move, side) for side in ("left", "right")))
        step = move.left @ point.right.T + point.left @ move.right.T
        directions.append(step.ravel())
    expected = np.linalg.matrix_rank(np.array(directions))
    assert unknown.degrees_of_freedom(shape, rank) == expected
    assert GENERAL.degrees_of_freedom(shape, rank) < expected


def _wide(move, side):
    """A tangent vector as gradients in the wide factors, to be projected again."""
    left, right = move.blocks
    block = left if side == "left" else right
    if side == "right" and move.constants.of_rows:
        return np.hstack([block[:, :-1], np.zeros_like(block[:, :1]), block[:, -1:]])
    return block


@CENTER
def test_new_directions_have_no_means(center, rng):
    shape = (20, 15)
    unknown = WithOffsets(center, all_seen(shape))
    gradient = rng.standard_normal(shape) + 5.0
    seen = unknown.visible(gradient)
    u, slopes, v = unknown.descent(seen, 2, 0)
    visible = gradient.copy()
    if center != "mean":
        visible -= visible.mean(axis=0)
        assert_allclose(u.sum(axis=0), 0, atol=1e-10)
    if center == "both":
        visible -= visible.mean(axis=1)[:, None]
        assert_allclose(v.sum(axis=0), 0, atol=1e-10)
    s = np.linalg.svd(visible, compute_uv=False)[:2]
    assert_allclose(slopes, s, rtol=1e-8)
    assert unknown.surely_descends(seen, 1e-6 * s[0], rng.standard_normal(15))


@CENTER
def test_a_certificate_takes_offsets_for_free(center, rng):
    """It bounds the gap to the best matrix, of which the offsets are no part."""
    objective, unknown, point, _ = problem(rng, center)
    bound = certificate(objective, point, unknown)
    assert bound.trace_bound == pytest.approx(point.singular_values().sum())
    found = objective.evaluate(point).value
    zero = unknown.zero(point.matrix_shape, 1, point.dtype)
    assert found - objective.evaluate(zero).value <= bound.gap
