"""Products sampled on a pattern of cells, against the whole product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skprecgd.kernels
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


@pytest.mark.parametrize("shape", [(120, 90), (5000, 3000)], ids=["crowded", "few"])
@pytest.mark.parametrize("n_entries", [1, 101, 150_000])
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_chunks_nor_the_way_change_the_numbers(
    shape, n_entries, order, dtype, global_random_seed
):
    """Rows are multiplied out where entries crowd, and gathered where they are few.

    The many entries are several chunks of the NumPy kernels.
    """
    blocks, rows, columns = draw(global_random_seed, *shape, 3, n_entries, dtype)
    if order == "sorted":
        by_row = np.lexsort((columns, rows))
        rows, columns = rows[by_row], columns[by_row]
    x, d = (b.astype(np.float64)[rows] for b in blocks[::2])
    y, e = (b.astype(np.float64)[columns] for b in blocks[1::2])
    tolerance = 200 * np.finfo(dtype).eps
    product = _numpy.sampled_product(*blocks[:2], rows, columns)
    linear, quadratic = _numpy.sampled_ray(*blocks, rows, columns)
    assert product.dtype == linear.dtype == quadratic.dtype == dtype
    np.testing.assert_allclose(product, np.sum(x * y, axis=1), atol=tolerance)
    np.testing.assert_allclose(linear, np.sum(d * y + x * e, axis=1), atol=tolerance)
    np.testing.assert_allclose(quadratic, np.sum(d * e, axis=1), atol=tolerance)


def test_no_entries():
    blocks, rows, columns = draw(0, 12, 10, 3, 0)
    for kernels in (_numpy, skprecgd.kernels):
        product = kernels.sampled_product(*blocks[:2], rows, columns)
        assert product.shape == (0,)
        ray = kernels.sampled_ray(*blocks, rows, columns)
        assert all(part.shape == (0,) for part in ray)


def test_few_entries_of_a_huge_matrix():
    """The product of whole rows would not fit into memory."""
    n = 3_000_000
    left = np.arange(2.0 * n).reshape(n, 2)
    right = np.ones((n, 2))
    rows, columns = np.array([0, n - 1, 5]), np.array([n - 1, 0, 7])
    np.testing.assert_array_equal(
        sampled_product(left, right, rows, columns), [1, 4 * n - 3, 21]
    )


@pytest.mark.parametrize("n_columns", [40, 4000], ids=["crowded", "few"])
def test_more_entries_than_one_buffer(n_columns, global_random_seed):
    # With 20 columns a buffer of the NumPy kernel holds about 3000 entries.
    blocks, rows, columns = draw(global_random_seed, 50, n_columns, 20, 10_000)
    left, right, d_left, d_right = blocks
    np.testing.assert_allclose(
        _numpy.sampled_product(left, right, rows, columns),
        (left @ right.T)[rows, columns],
        atol=1e-12,
    )
    linear, quadratic = _numpy.sampled_ray(*blocks, rows, columns)
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
