"""Products sampled on a pattern of cells, against the whole product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprecgd.kernels import _numpy, sampled_product, sampled_ray


def draw(seed, n_rows, n_columns, r, n_entries, dtype=np.float64):
    rng = np.random.default_rng(seed)
    blocks = [
        rng.standard_normal((n, r)).astype(dtype)
        for n in (n_rows, n_columns, n_rows, n_columns)
    ]
    rows = rng.integers(n_rows, size=n_entries).astype(np.int32)
    columns = rng.integers(n_columns, size=n_entries).astype(np.int32)
    return blocks, rows, columns


@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(1, 9),
    n_columns=st.integers(1, 9),
    r=st.integers(1, 5),
    n_entries=st.integers(0, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_against_the_whole_product(seed, n_rows, n_columns, r, n_entries, dtype):
    blocks, rows, columns = draw(seed, n_rows, n_columns, r, n_entries, dtype)
    left, right, d_left, d_right = blocks
    tolerance = 20 * np.finfo(dtype).eps * r
    size = [np.abs(b).max() for b in blocks]

    product = sampled_product(left, right, rows, columns)
    assert product.dtype == dtype
    assert product.shape == (n_entries,)
    np.testing.assert_allclose(
        product, (left @ right.T)[rows, columns], atol=tolerance * size[0] * size[1]
    )

    linear, quadratic = sampled_ray(left, right, d_left, d_right, rows, columns)
    assert linear.dtype == quadratic.dtype == dtype
    np.testing.assert_allclose(
        linear,
        (d_left @ right.T + left @ d_right.T)[rows, columns],
        atol=tolerance * (size[2] * size[1] + size[0] * size[3]),
    )
    np.testing.assert_allclose(
        quadratic,
        (d_left @ d_right.T)[rows, columns],
        atol=tolerance * size[2] * size[3],
    )


@pytest.mark.parametrize("buffer", [1, 7, 64, 1 << 20])
def test_blocks_do_not_change_the_numbers(monkeypatch, buffer, global_random_seed):
    blocks, rows, columns = draw(global_random_seed, 12, 10, 3, 101)
    product = sampled_product(*blocks[:2], rows, columns)
    ray = sampled_ray(*blocks, rows, columns)
    monkeypatch.setattr(_numpy, "_BUFFER", buffer)
    np.testing.assert_allclose(
        _numpy.sampled_product(*blocks[:2], rows, columns), product, rtol=1e-13
    )
    for found, expected in zip(
        _numpy.sampled_ray(*blocks, rows, columns), ray, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_more_entries_than_one_block(global_random_seed):
    # With 20 columns a block of the NumPy kernel holds about 3000 entries.
    blocks, rows, columns = draw(global_random_seed, 50, 40, 20, 10_000)
    left, right, d_left, d_right = blocks
    np.testing.assert_allclose(
        sampled_product(left, right, rows, columns),
        (left @ right.T)[rows, columns],
        atol=1e-12,
    )
    linear, quadratic = sampled_ray(*blocks, rows, columns)
    np.testing.assert_allclose(
        linear, (d_left @ right.T + left @ d_right.T)[rows, columns], atol=1e-12
    )
    np.testing.assert_allclose(
        quadratic, (d_left @ d_right.T)[rows, columns], atol=1e-12
    )


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_layout_does_not_matter(order, global_random_seed):
    blocks, rows, columns = draw(global_random_seed, 8, 6, 3, 25)
    laid_out = [np.asarray(b, order=order) for b in blocks]
    # A view with strides, as a slice of columns has.
    strided = [np.repeat(b, 2, axis=1)[:, ::2] for b in blocks]
    expected = sampled_ray(*blocks, rows, columns)
    for variant in (laid_out, strided):
        for found, wanted in zip(
            sampled_ray(*variant, rows, columns), expected, strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("index_type", [np.int32, np.int64])
def test_index_types(index_type):
    blocks, rows, columns = draw(0, 8, 6, 3, 25)
    np.testing.assert_array_equal(
        sampled_product(
            *blocks[:2], rows.astype(index_type), columns.astype(index_type)
        ),
        sampled_product(*blocks[:2], rows, columns),
    )


def test_mixed_precision_computes_in_double():
    blocks, rows, columns = draw(0, 8, 6, 3, 25)
    mixed = sampled_product(blocks[0].astype(np.float32), blocks[1], rows, columns)
    assert mixed.dtype == np.float64
