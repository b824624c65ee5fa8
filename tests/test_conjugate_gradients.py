"""Conjugate gradients against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from skprecgd._linalg.conjugate_gradients import conjugate_gradients


def system(rng, n, rank, dtype=np.float64):
    root = rng.standard_normal((n, rank))
    matrix = (root @ root.T).astype(dtype)
    return matrix, (matrix @ rng.standard_normal(n)).astype(dtype)


@pytest.mark.parametrize("rank", [12, 7])
def test_solves_a_consistent_system(rank, rng):
    """From zero, so of many solutions the shortest."""
    matrix, target = system(rng, 12, rank)
    found = conjugate_gradients(matrix.dot, target, max_steps=1000, tolerance=1e-12)
    expected = np.linalg.lstsq(matrix, target, rcond=1e-12)[0]
    close = 1e-6 * np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected, atol=close)


def test_stops_at_the_tolerance_and_after_the_steps(rng):
    matrix, target = system(rng, 40, 40)
    products = []

    def operator(vector):
        products.append(1)
        return matrix @ vector

    found = conjugate_gradients(operator, target, max_steps=500, tolerance=0.1)
    assert np.linalg.norm(matrix @ found - target) <= 0.101 * np.linalg.norm(target)
    needed = len(products)
    products.clear()
    conjugate_gradients(operator, target, max_steps=needed - 1, tolerance=0.1)
    assert len(products) == needed - 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_the_type_and_its_arguments(dtype, rng):
    matrix, target = system(rng, 9, 9, dtype)
    before = target.copy()
    found = conjugate_gradients(matrix.dot, target, max_steps=5, tolerance=0.0)
    assert found.dtype == dtype
    np.testing.assert_array_equal(target, before)


def test_a_zero_target_and_a_zero_operator_give_zero():
    zero, ones = np.zeros(3), np.ones(3)
    for operator, target in ((np.copy, zero), (np.zeros_like, ones)):
        found = conjugate_gradients(operator, target, max_steps=5, tolerance=0.1)
        np.testing.assert_array_equal(found, zero)
