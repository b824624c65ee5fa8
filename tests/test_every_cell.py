"""Rows beside many zeros, and the largest numbers of rows: kernels and their loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from skprecgd.implicit import (
    ImplicitTuning,
    WeightedCells,
    alternate,
    noise_edge,
    random_start,
    scaled_ridges,
)
from skprecgd.kernels import OthersBesideZeros, Pattern, _numpy

MODULES = [_numpy]
try:
    from skprecgd.kernels import _numba
except ImportError:
    pass
else:
    MODULES.append(_numba)


def drawn(seed, n_rows, n_columns, r, share=0.3, dtype=np.float64):
    """Stored targets, their weights, and factors of both sides."""
    rng = np.random.default_rng(seed)
    seen = rng.random((n_rows, n_columns)) < share
    targets = sparse.csr_array(np.where(seen, 1.0 + rng.random(seen.shape), 0.0))
    targets = targets.astype(dtype)
    weights = (0.05 + rng.random(targets.nnz)).astype(dtype)
    left = rng.normal(size=(n_rows, r)).astype(dtype)
    right = np.linalg.qr(rng.normal(size=(n_columns, max(1, min(r, n_columns)))))[0]
    right = np.hstack([right, np.zeros((n_columns, r))])[:, :r] * np.arange(1, r + 1)
    return targets, weights, left, right.astype(dtype), rng.random(n_rows) + 0.01


def pattern_of(targets, weights):
    return Pattern(targets.indptr, targets.indices, targets.data, weights)


def dense(targets, weights, unobserved_weight):
    every = np.full(targets.shape, unobserved_weight)
    rows = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    every[rows, targets.indices] = weights
    return targets.toarray().astype(np.float64), every


def losses(targets, weights, left, right, ridge):
    """What is minimised for each row, cell by cell."""
    left = left.astype(np.float64)
    residual = targets - left @ right.T
    return np.sum(weights * residual**2, axis=1) + ridge * np.sum(left**2, axis=1)


@pytest.mark.parametrize("module", MODULES)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(1, 9),
    n_columns=st.integers(1, 12),
    r=st.integers(1, 7),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    weighted=st.booleans(),
)
def test_as_many_steps_as_unknowns_solve_rows(
    module, seed, n_rows, n_columns, r, share, weighted
):
    """Conjugate gradients of r unknowns end after r steps."""
    targets, weights, left, right, ridge = drawn(seed, n_rows, n_columns, r, share)
    others = OthersBesideZeros(right, np.sum(right**2, axis=0), 0.2)
    given_weights = weights if weighted else None
    pattern = pattern_of(targets, given_weights)
    found = module.rows_beside_zeros(pattern, others, ridge, left, r)
    y, w = dense(targets, weights if weighted else 1.0, 0.2)
    expected = [
        np.linalg.solve(
            right.T * w[i] @ right + ridge[i] * np.eye(r), right.T @ (w[i] * y[i])
        )
        for i in range(n_rows)
    ]
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-6)
    own = losses(y, w, found.values, right, ridge)
    np.testing.assert_allclose(found.losses, own, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(len(MODULES) < 2, reason="numba is not installed")
@given(
    seed=st.integers(0, 2**32 - 1),
    n_steps=st.integers(0, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
    index_type=st.sampled_from([np.int32, np.int64]),
)
def test_compiled_steps_agree_with_numpy(seed, n_steps, dtype, index_type):
    targets, weights, left, right, ridge = drawn(seed, 150, 30, 5, dtype=dtype)
    pattern = Pattern(
        targets.indptr.astype(index_type),
        targets.indices.astype(index_type),
        targets.data,
        weights,
    )
    others = OthersBesideZeros(right, np.sum(right**2, axis=0), 0.1)
    one, other = (
        module.rows_beside_zeros(pattern, others, ridge, left, n_steps)
        for module in MODULES
    )
    assert one.values.dtype == other.values.dtype == dtype
    tolerance = 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(one.values, other.values, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(one.losses, other.losses, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("module", MODULES)
def test_steps_leave_the_start(module, global_random_seed):
    targets, weights, left, right, ridge = drawn(global_random_seed, 8, 6, 3)
    before = left.copy()
    others = OthersBesideZeros(right, np.sum(right**2, axis=0), 0.1)
    pattern = pattern_of(targets, weights)
    found = module.rows_beside_zeros(pattern, others, ridge, left, 2)
    np.testing.assert_array_equal(left, before)
    # Without a step, the loss is that of the start.
    still = module.rows_beside_zeros(pattern, others, ridge, left, 0)
    np.testing.assert_array_equal(still.values, before)
    assert np.all(found.losses < still.losses)


@pytest.mark.parametrize("module", MODULES)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 6), st.integers(1, 40)),
    n=st.integers(1, 12),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_largest_come_first(module, seed, shape, n, dtype):
    """Of equal numbers, the first; what is not there is in no list."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 5, shape).astype(dtype)
    numbers[rng.random(shape) < 0.3] = -np.inf
    n = min(n, shape[1])
    found = module.leading(numbers, n)
    expected = np.argsort(-numbers, axis=1, kind="stable")[:, :n]
    values = np.take_along_axis(numbers, expected, axis=1)
    np.testing.assert_array_equal(found.values, values)
    there = values > -np.inf
    np.testing.assert_array_equal(found.positions[there], expected[there])


def test_weights_of_all_cells(global_random_seed):
    targets, weights, *_ = drawn(global_random_seed, 9, 7, 1)
    cells = WeightedCells.of(targets, weights, 0.3)
    _, every = dense(targets, weights, 0.3)
    rows, columns = cells.total_weights()
    np.testing.assert_allclose(rows, every.sum(axis=1))
    np.testing.assert_allclose(columns, every.sum(axis=0))
    plain = WeightedCells.of(targets, None, 0.3).total_weights()
    _, every = dense(targets, 1.0, 0.3)
    np.testing.assert_allclose(plain[1], every.sum(axis=0))


def test_the_edge_is_what_chance_has(rng):
    """Random signs have no larger singular value, however large the table is."""
    for shape, share in [((300, 300), 0.1), ((1000, 250), 0.05)]:
        seen = rng.random(shape) < share
        cells = WeightedCells.of(sparse.csr_array(seen.astype(float)), None, 0.2)
        signs = np.where(seen, rng.choice([-1.0, 1.0], shape), 0.0)
        largest = np.linalg.norm(signs, 2)
        assert noise_edge(cells) == pytest.approx(largest, rel=0.1)


def test_the_edge_weighs_each_cell_by_its_square(rng):
    targets, weights, *_ = drawn(rng.integers(2**31), 9, 7, 1)
    squares = np.prod(dense(targets, weights, 0.0), axis=0) ** 2
    lines = squares.sum(axis=1), squares.sum(axis=0)
    expected = sum(np.sqrt(line @ line / squares.sum()) for line in lines)
    found = WeightedCells.of(targets, weights, 0.3)
    assert noise_edge(found) == pytest.approx(expected)
    # Where nothing is wanted there is no noise.
    nothing = WeightedCells.of(0 * targets, None, 0.3)
    assert noise_edge(nothing) == 0.0


@pytest.mark.parametrize(("ridge", "is_left"), [(0.7, True), (1.3, False)])
def test_the_saddle_is_no_end(ridge, is_left, rng):
    """A component is found if the ridge is below its singular value, and only then."""
    size = 2000
    u, v = (rng.choice([-1.0, 1.0], size) for _ in range(2))
    u[40:], v[40:] = 0.0, 0.0
    cells = WeightedCells.of(sparse.csr_array(np.outer(u, v)), None, 1.0)
    ridges = tuple(np.full(size, 40.0 * ridge) for _ in range(2))
    start = random_start(cells, 1, np.dtype(float), np.random.RandomState(0))
    # So little that the first sweeps take off next to nothing.
    found = alternate(cells, ridges, 1e-2 * start, 1000)
    assert found.converged
    assert found.vanished != is_left
    product = np.linalg.norm(found.left) * np.linalg.norm(found.right)
    # By how much the ridge shrinks a singular value.
    assert product == pytest.approx(40.0 * max(1.0 - ridge, 0.0), rel=0.05, abs=0.04)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sweeps_descend_to_a_stationary_point(dtype, global_random_seed):
    targets, weights, *_ = drawn(global_random_seed, 30, 20, 1, dtype=dtype)
    cells = WeightedCells.of(targets, weights, 0.1)
    ridges = scaled_ridges(cells, 0.5, 1.0)
    rng = np.random.RandomState(global_random_seed)
    start = random_start(cells, 3, np.dtype(dtype), rng)
    tuning = ImplicitTuning(least_decrease=1e-9)
    found = alternate(cells, ridges, start, 2000, tuning)
    assert found.converged
    assert found.left.dtype == dtype
    assert np.all(np.diff(found.objective) <= 1e-6 * found.objective[0])
    y, w = dense(targets, weights, 0.1)
    left, right = (f.astype(np.float64) for f in (found.left, found.right))
    whole = np.sum(w * (y - left @ right.T) ** 2)
    whole += ridges[0] @ np.sum(left**2, axis=1) + ridges[1] @ np.sum(right**2, axis=1)
    assert found.objective[-1] == pytest.approx(whole / 2, rel=1e-5)
    assert found.objective[0] == pytest.approx(np.sum(w * y**2) / 2)
    residual = w * (left @ right.T - y)
    slopes = (
        residual @ right + ridges[0][:, None] * left,
        residual.T @ left + ridges[1][:, None] * right,
    )
    scale = np.linalg.norm(w * y)
    assert max(np.linalg.norm(slope) for slope in slopes) < 1e-2 * scale
