"""Coordinates of rows from their visible entries, against lstsq row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, sparse

from skprecgd._estimators.data import EntryData
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.rows import LeastSquaresRows, LossRows, TrimmedRows
from skprecgd._linalg.row_systems import solve_rows, weighted_least_squares
from skprecgd.losses import (
    AbsoluteLoss,
    HuberLoss,
    LogisticLoss,
    PoissonLoss,
    SquaredLoss,
)
from skprecgd.objective import Weights


def make_rows(shape, r, share, seed, dtype=np.float64):
    """Data, mask of the visible entries, orthonormal basis."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape).astype(dtype)
    visible = rng.random(shape) < share
    basis = linalg.qr(rng.standard_normal((shape[1], r)), mode="economic")[0]
    return X, visible, basis.astype(dtype)


def solve(X, visible, basis, ridge=None, *, hidden=False):
    ridge = np.zeros(basis.shape[1]) if ridge is None else ridge
    mask = ~visible if hidden else visible
    rows, columns = np.nonzero(mask)
    pattern = sparse.csr_array((X[mask], (rows, columns)), shape=X.shape)
    right_hand_side = np.where(visible, X, 0) @ basis
    return solve_rows(pattern, right_hand_side, basis, ridge, hidden=hidden)


def reference(X, visible, basis, ridge=None):
    """One least-squares problem a row; of least norm by lstsq."""
    r = basis.shape[1]
    ridge = np.zeros(r) if ridge is None else ridge
    out = np.empty((len(X), r))
    for i, (row, mask) in enumerate(zip(X, visible, strict=True)):
        design = np.vstack([basis[mask], np.diag(np.sqrt(ridge))])
        out[i] = linalg.lstsq(design, np.append(row[mask], np.zeros(r)))[0]
    return out


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("r", [1, 2, 5])
def test_enough_entries(r, hidden, global_random_seed):
    X, visible, basis = make_rows((30, 40), r, 0.6, global_random_seed)
    z = solve(X, visible, basis, hidden=hidden)
    assert_allclose(z, reference(X, visible, basis), rtol=1e-8, atol=1e-10)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.0]),
    st.booleans(),
)
def test_any_number_of_entries(seed, r, extra, share, hidden):
    # Rows that see nothing, too little or everything.
    X, visible, basis = make_rows((8, r + extra), r, share, seed)
    z = solve(X, visible, basis, hidden=hidden)
    assert z.shape == (8, r)
    expected = reference(X, visible, basis)
    for i in range(8):
        if visible[i].any() and min(linalg.svdvals(basis[visible[i]])) < 1e-3:
            continue  # nearly singular: no two methods agree
        assert_allclose(z[i], expected[i], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("hidden", [False, True])
def test_ridge(hidden, global_random_seed):
    X, visible, basis = make_rows((20, 15), 4, 0.4, global_random_seed)
    ridge = np.array([0.0, 0.01, 1.0, 100.0])
    z = solve(X, visible, basis, ridge, hidden=hidden)
    assert_allclose(z, reference(X, visible, basis, ridge), rtol=1e-6, atol=1e-9)


def test_complete_rows_are_projected(global_random_seed):
    X, _, basis = make_rows((10, 12), 3, 1.0, global_random_seed)
    everything = np.ones(X.shape, dtype=bool)
    for hidden in (False, True):
        z = solve(X, everything, basis, hidden=hidden)
        assert_allclose(z, X @ basis, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [False, True])
def test_rows_that_see_nothing(hidden, dtype, global_random_seed):
    X, visible, basis = make_rows((6, 30), 4, 0.7, global_random_seed, dtype)
    visible[[1, 4]] = False
    z = solve(X, visible, basis, hidden=hidden)
    assert z.dtype == dtype
    # In float32 a complete row less all its entries is not exactly nothing.
    assert_allclose(z[[1, 4]], 0.0, rtol=0, atol=1e-3 if hidden else 0)
    rtol = 1e-3 if dtype == np.float32 else 1e-8
    others = [0, 2, 3, 5]
    expected = reference(X.astype(float), visible, basis.astype(float))
    assert_allclose(z[others], expected[others], rtol=rtol, atol=rtol)


def test_chunks_do_not_show(global_random_seed):
    """With so many components, the rows are several chunks."""
    X, visible, basis = make_rows((12_000, 60), 30, 0.8, global_random_seed)
    parts = [slice(k, k + 1000) for k in range(0, len(X), 1000)]
    alone = [solve(X[part], visible[part], basis) for part in parts]
    assert_array_equal(solve(X, visible, basis), np.vstack(alone))


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_scale(scale, global_random_seed):
    X, visible, basis = make_rows((10, 12), 3, 0.6, global_random_seed)
    expected = solve(X, visible, basis)
    assert_allclose(solve(scale * X, visible, basis), scale * expected, rtol=1e-10)


def test_explicit_zeros_are_visible():
    basis = np.full((4, 1), 0.5)
    pattern = sparse.csr_array((np.array([2.0, 0.0]), ([0, 0], [0, 1])), shape=(1, 4))
    z = solve_rows(pattern, pattern @ basis, basis, np.zeros(1))
    # Half-way between the visible 2 and the visible 0, not the 2 alone.
    assert_allclose(z @ basis.T, np.full((1, 4), 1.0))


# --------------------------------------------------------------------------------------
# Weights
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize("r", [1, 3])
def test_weights_of_any_size(r, unit, global_random_seed):
    """Each row by itself, whatever the size of its weights."""
    X, visible, basis = make_rows((30, 40), r, 0.5, global_random_seed)
    visible[4] = False
    rng = np.random.default_rng(global_random_seed)
    weights = rng.uniform(0.1, 1.0, X.shape) * 10.0 ** rng.integers(-9, 9, (30, 1))
    ridge = rng.uniform(0.1, 1.0, r)
    pattern = sparse.csr_array(visible)
    pattern = sparse.csr_array((X[visible], pattern.indices, pattern.indptr))
    z = weighted_least_squares(pattern, unit * weights[visible], basis, unit * ridge)
    roots = np.sqrt(weights)
    for row, mask, root, found in zip(X, visible, roots, z, strict=True):
        design = np.vstack([root[mask, None] * basis[mask], np.diag(np.sqrt(ridge))])
        values = np.append((root * row)[mask], np.zeros(r))
        expected = linalg.lstsq(design, values)[0]
        assert_allclose(found, expected, rtol=1e-8, atol=1e-10 * np.max(np.abs(row)))


SOLVERS = [
    LeastSquaresRows(SquaredLoss(), np.array([0.1, 0.3])),
    LossRows(HuberLoss(), np.array([0.1, 0.3])),
    LossRows(LogisticLoss(), np.array([0.1, 0.3])),
    TrimmedRows(SquaredLoss(), np.zeros(2), fraction=0.2, level=1.0),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{type(s).__name__}")
def test_an_entry_of_weight_two_is_two_entries(solver, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, visible, basis = make_rows((20, 25), 2, 0.7, global_random_seed)
    X += 9.0 * (rng.random(X.shape) < 0.05)
    if isinstance(solver.loss, LogisticLoss):
        X = (X > 0).astype(float)
    often = rng.integers(1, 4, size=25)
    rows, columns = np.nonzero(visible)
    space = RowSpace(basis, np.zeros(25))
    counts = Weights(frequency=often[columns].astype(float))
    z = solver.coordinates(EntryData(rows, columns, X[visible], X.shape, counts), space)
    # The same columns, each as often as it counts.
    copies = np.repeat(np.arange(25), often)
    rows, columns = np.nonzero(visible[:, copies])
    values = X[:, copies][visible[:, copies]]
    repeated = EntryData(rows, columns, values, (20, len(copies)))
    space = RowSpace(basis[copies], np.zeros(len(copies)))
    expected = solver.coordinates(repeated, space)
    assert_allclose(z, expected, rtol=1e-6, atol=1e-8 * np.max(np.abs(expected)))


# --------------------------------------------------------------------------------------
# Other losses
# --------------------------------------------------------------------------------------


def fit(loss, X, visible, basis, ridge=None, offsets=None):
    ridge = np.zeros(basis.shape[1]) if ridge is None else ridge
    offsets = np.zeros(X.shape[1]) if offsets is None else offsets
    rows, columns = np.nonzero(visible)
    pattern = sparse.csr_array((X[visible], (rows, columns)), shape=X.shape)
    return LossRows(loss, ridge).of_entries(pattern, RowSpace(basis, offsets))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_newton_on_the_squared_loss(dtype, global_random_seed):
    X, visible, basis = make_rows((20, 15), 3, 0.5, global_random_seed, dtype)
    visible[[0, 7]] = False
    ridge, offsets = np.array([0.1, 0.0, 2.0]), np.arange(15.0)
    z = fit(SquaredLoss(), X + offsets, visible, basis, ridge, offsets)
    assert z.dtype == dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-8
    assert_allclose(z, solve(X, visible, basis, ridge), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", [LogisticLoss(), PoissonLoss(), AbsoluteLoss()])
def test_newton_finds_a_stationary_point(loss, global_random_seed):
    X, visible, basis = make_rows((30, 20), 3, 0.7, global_random_seed)
    if loss.generalized:
        X = np.rint(loss.mean(X))
    ridge = np.full(3, 0.3)
    z = fit(loss, X, visible, basis, ridge)
    pull = np.where(visible, loss.gradient(z @ basis.T, X), 0)
    # Reweighted least squares closes in on an absolute loss step by step.
    assert_allclose(pull @ basis + ridge * z, 0, atol=1e-3)


@pytest.mark.slow
def test_newton_in_chunks(global_random_seed):
    X, visible, basis = make_rows((2000, 60), 50, 0.9, global_random_seed)
    loss = HuberLoss(threshold=3.0, scale=1.0)
    whole = fit(loss, X, visible, basis)
    parts = [slice(k, k + 1000) for k in range(0, len(X), 1000)]
    alone = [fit(loss, X[part], visible[part], basis) for part in parts]
    assert_allclose(whole, np.vstack(alone), rtol=1e-6, atol=1e-6)


def test_newton_where_there_is_no_minimum():
    """Labels that can be separated: finite, and explained."""
    basis = np.full((4, 1), 0.5)
    z = fit(LogisticLoss(), np.ones((1, 4)), np.ones((1, 4), bool), basis)
    assert np.isfinite(z).all()
    assert LogisticLoss().mean(z @ basis.T).min() > 0.999


def test_newton_does_not_overshoot():
    """A Newton step from far below would lead to an overflow."""
    X = np.full((1, 3), 1e6)
    z = fit(PoissonLoss(), X, np.ones((1, 3), bool), np.full((3, 1), 3**-0.5))
    assert_allclose(np.exp(z * 3**-0.5), 1e6, rtol=1e-6)
