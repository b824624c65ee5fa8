"""Penalties against their formulas, and what an objective does with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd.factors import FactorPair, SymmetricFactor
from skprecgd.losses import make_loss
from skprecgd.measurements import DenseMeasurements, EntryMeasurements, FullObservation
from skprecgd.objective import make_objective
from skprecgd.objective.make import make_penalty
from skprecgd.objective.penalty import (
    NO_PENALTY,
    RowWeight,
    ScaledRidge,
    as_penalty,
    scaled_penalty,
)
from skprecgd.testing import check_objective

ROWS, COLUMNS = np.array([0.5, 1.0, 2.0, 1.5, 0.1]), np.array([1.0, 3.0, 0.5, 0.7])


def points(rng, symmetric):
    """A point, a direction and something to add to."""
    if symmetric:
        return [SymmetricFactor(rng.standard_normal((5, 2))) for _ in range(3)]
    shapes = [(5, 2), (4, 2)]
    return [FactorPair(*(rng.standard_normal(s) for s in shapes)) for _ in range(3)]


def scaled(alpha, symmetric=False):
    lines = (ROWS, ROWS) if symmetric else (ROWS, COLUMNS)
    return ScaledRidge(alpha, lines, RowWeight(1.0, 4.0))


def nothing(symmetric):
    return as_penalty(0.0), lambda factors: 0.0


def nuclear(symmetric):
    def formula(factors):
        return 0.15 * (np.sum(factors.left**2) + np.sum(factors.right**2))

    return as_penalty(0.3), formula


def weighted(symmetric):
    penalty = scaled(0.3, symmetric)
    rows, columns = (each[:, None] for each in penalty.lines)

    def formula(factors):
        squares = np.sum(rows * factors.left**2) + np.sum(columns * factors.right**2)
        return 0.15 * squares

    return penalty, formula


KINDS = pytest.mark.parametrize("kind", [nothing, nuclear, weighted])
SHAPES = pytest.mark.parametrize("symmetric", [False, True])


@KINDS
@SHAPES
def test_value_gradient_and_curvature(kind, symmetric, rng):
    ridge, formula = kind(symmetric)
    point, direction, base = points(rng, symmetric)
    assert ridge.value(point) == pytest.approx(formula(point), rel=1e-14)
    # The slope of a quadratic function is exactly its central difference.
    ahead, behind = (formula(point.moved(direction, t)) for t in (1.0, -1.0))
    slope = ridge.added(base, point).inner(direction) - base.inner(direction)
    assert slope == pytest.approx(0.5 * (ahead - behind), rel=1e-12, abs=1e-12)
    bend = ridge.added(base, direction).inner(direction) - base.inner(direction)
    second = ahead - 2 * formula(point) + behind
    assert bend == pytest.approx(second, rel=1e-12, abs=1e-12)


@KINDS
@SHAPES
def test_along_a_direction(kind, symmetric, rng):
    ridge, formula = kind(symmetric)
    point, direction, _ = points(rng, symmetric)
    coefficients = ridge.along(point, direction)
    assert coefficients.shape == (5,)
    for t in (-1.3, 0.0, 0.7):
        expected = formula(point.moved(direction, t))
        assert np.polyval(coefficients[::-1], t) == pytest.approx(expected, rel=1e-12)


@KINDS
def test_a_row_of_a_block_costs_what_its_system_says(kind, rng):
    ridge, formula = kind(False)
    zero = FactorPair(np.zeros((5, 2)), np.zeros((4, 2)))
    for block, n in enumerate((5, 4)):
        of_lines = np.broadcast_to(ridge.of_lines(block), n)
        for line in range(n):
            blocks = [each.copy() for each in zero.blocks]
            blocks[block][line] = [3.0, 4.0]
            expected = formula(FactorPair(*blocks))
            assert 0.5 * of_lines[line] * 25 == pytest.approx(expected, rel=1e-14)


@KINDS
@SHAPES
def test_balanced_factors_cost_least(kind, symmetric, rng):
    ridge, formula = kind(symmetric)
    point, *_ = points(rng, symmetric)
    balanced = ridge.balanced(point)
    np.testing.assert_allclose(balanced.matrix(), point.matrix(), rtol=1e-12)
    least = formula(balanced)
    assert least == pytest.approx(ridge.threshold * ridge.size(point), rel=1e-12)
    assert least <= formula(point) * (1 + 1e-12)
    # Any other factors of the same matrix cost no less.
    for _ in range(10):
        turn = rng.standard_normal((2, 2))
        if symmetric:
            other = balanced.times_right([np.linalg.qr(turn)[0]])
        else:
            other = balanced.times_right([turn, np.linalg.inv(turn).T])
        np.testing.assert_allclose(other.matrix(), point.matrix(), rtol=1e-8)
        assert least <= formula(other) * (1 + 1e-12)


def test_of_the_matrix_it_is_the_nuclear_norm(rng):
    point, _, _ = points(rng, symmetric=False)
    s = np.linalg.svd(point.matrix(), compute_uv=False)
    assert as_penalty(0.3).value(point.balanced()) == pytest.approx(0.3 * s.sum())
    roots = np.sqrt(ROWS)[:, None] * point.matrix() * np.sqrt(COLUMNS)
    s = np.linalg.svd(roots, compute_uv=False)
    balanced = scaled(0.3).balanced(point)
    assert scaled(0.3).value(balanced) == pytest.approx(0.3 * s.sum())


@KINDS
@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
def test_the_fastest_descent_is_along_a_term_of_size_one(kind, wrap, rng):
    ridge, _ = kind(False)
    S = rng.standard_normal((5, 4))
    identity = np.eye(4)
    dense = np.asarray(ridge.scaled_gradient(wrap(S)) @ identity)
    turned = np.asarray(ridge.scaled_gradient(wrap(S)).T @ np.eye(5))
    np.testing.assert_allclose(turned, dense.T, rtol=1e-12)
    u, s, vt = np.linalg.svd(dense)
    left, right = ridge.unscaled(u[:, :1], vt[:1].T)
    term = FactorPair(left, right)
    assert ridge.size(term) == pytest.approx(1.0, rel=1e-12)
    assert np.sum(S * term.matrix()) == pytest.approx(s[0], rel=1e-12)
    # No other term of that size falls as fast.
    for _ in range(10):
        other = FactorPair(rng.standard_normal((5, 1)), rng.standard_normal((4, 1)))
        slope = abs(np.sum(S * other.matrix())) / ridge.size(other)
        assert slope <= s[0] * (1 + 1e-12)


@pytest.mark.parametrize("ridge", [as_penalty(0.3), scaled(0.3)])
@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.7), (0.3, 0.0), (-1.0, 0.0)])
def test_a_new_column_pays_beyond_the_ridge(ridge, slope, expected):
    assert ridge.excess(slope) == pytest.approx(expected)


def test_nothing_costs_nothing():
    assert as_penalty(0.0) is NO_PENALTY
    assert not NO_PENALTY.shrinks
    assert NO_PENALTY.times(3.0) is NO_PENALTY
    assert NO_PENALTY.excess(0.7) == 0.7
    np.testing.assert_array_equal(NO_PENALTY.shrunk(np.array([2.0, 1.0])), [2.0, 1.0])


@pytest.mark.parametrize("ridge", [as_penalty(0.3), scaled(0.3)])
def test_multiples(ridge, rng):
    point, *_ = points(rng, symmetric=False)
    assert ridge.shrinks
    assert ridge.times(2.0).value(point) == pytest.approx(2 * ridge.value(point))
    assert ridge.times(2.0).times(0.5) == ridge
    assert ridge.times(2.0) != ridge
    assert not ridge.times(0.0).shrinks


def test_a_row_in_its_own_coordinates(rng):
    """What the rows of the balanced left factor cost, in any basis of the row space."""
    point, *_ = points(rng, symmetric=False)
    ridge = scaled(0.3)
    basis = np.linalg.qr(point.right)[0]
    z = point.matrix() @ basis
    form = ridge.row_form(point, basis)
    left = ridge.balanced(point).left
    expected = 0.15 * np.sum(left**2, axis=1)
    found = 0.5 * np.einsum("ij,jk,ik->i", z, form, z)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# ---- rows and columns by their numbers of entries ------------------------------------


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_counts_to_a_power_of_which_the_mean_is_one(power):
    rows, columns = np.array([4, 2, 0, 6]), np.array([9, 3])
    ridge = scaled_penalty(0.7, power, (rows, columns))
    # The row without an entry stays zero, whatever it would cost.
    seen = np.array([True, True, False, True])
    np.testing.assert_allclose(ridge.lines[0][seen], (rows[seen] / 4) ** power)
    np.testing.assert_allclose(ridge.lines[1], (columns / 6) ** power)
    assert np.all(ridge.lines[0] > 0)
    assert ridge.threshold == 0.7


def test_counts_of_a_symmetric_matrix_are_those_of_rows_and_columns():
    counts = np.array([4, 2, 0]), np.array([0, 1, 5])
    ridge = scaled_penalty(1.0, 1.0, counts, symmetric=True)
    for lines in ridge.lines:
        np.testing.assert_allclose(lines, [1.0, 0.75, 1.25])


def test_equal_counts_are_the_plain_ridge():
    rows, columns = np.divmod(np.arange(12), 4)
    entries = EntryMeasurements(rows, columns, (3, 4))
    for measurements in (entries, FullObservation((3, 4))):
        assert make_penalty(0.5, 1.0, measurements) == as_penalty(0.5)
    assert make_penalty(0.0, 1.0, entries) is NO_PENALTY


@pytest.mark.parametrize("power", [-1.0, np.nan, np.inf])
def test_a_power_that_is_no_number_is_refused(power):
    with pytest.raises(ValueError, match="alpha_scaling must be a finite number >= 0"):
        make_penalty(0.5, power, FullObservation((3, 4)))


def test_other_measurements_have_no_counts(rng):
    measurements = DenseMeasurements(rng.standard_normal((10, 12)), (4, 3))
    with pytest.raises(ValueError, match=r"alpha_scaling=1\.0 needs .* entries"):
        make_objective(measurements, np.ones(10), alpha=1.0, alpha_scaling=1.0)
    make_objective(measurements, np.ones(10), alpha=1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@SHAPES
def test_the_objective_with_a_scaled_ridge(symmetric, loss, dtype, rng):
    n = 5 if symmetric else 4
    chosen = rng.permutation(5 * n)[:14]
    measurements = EntryMeasurements(*np.divmod(chosen, n), (5, n), dtype)
    objective = make_objective(
        measurements,
        rng.random(14),
        make_loss(loss),
        0.3,
        alpha_scaling=1.0,
        symmetric=symmetric,
    )
    assert not np.all(objective.penalty.lines[0] == 1.0)
    blocks = [rng.standard_normal((side, 2)).astype(dtype) for side in (5, n)]
    point = SymmetricFactor(blocks[0]) if symmetric else FactorPair(*blocks)
    assert objective.gradient(objective.evaluate(point)).dtype == dtype
    assert check_objective(objective, point) < (1e-6 if dtype == np.float64 else 1e-3)
    scaled_one, _ = objective.normalised()
    assert check_objective(scaled_one, point) < (1e-6 if dtype == np.float64 else 1e-3)
