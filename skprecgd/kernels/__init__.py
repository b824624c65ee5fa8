"""Products of thin factors on a pattern of cells or with dense matrices, compiled.

numba compiles them where it is installed; elsewhere NumPy does the same.

The environment variable ``SKPRECGD_KERNELS``, read at import, chooses: "numpy",
"numba", or "auto" (the default), which is numba if it is installed, and NumPy for
inputs so small that they are done before a compiler has started.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import _numpy
from skprecgd.kernels._choice import VARIABLE, Choice
from skprecgd.kernels._implicit import Leading, Solved
from skprecgd.kernels._implicit import Others as OthersBesideZeros
from skprecgd.kernels._numpy import unchecked_csr
from skprecgd.kernels._uncertain import (
    Drawn,
    Learned,
    Lines,
    Others,
    OthersDrawn,
    Pattern,
    Prior,
    Sweep,
    Tail,
    Totals,
    Unknown,
    packed_index,
    packed_of,
    packed_squares,
    unpacked,
)

__all__ = [
    "Drawn",
    "Leading",
    "Learned",
    "Lines",
    "Others",
    "OthersBesideZeros",
    "OthersDrawn",
    "Pattern",
    "Prior",
    "Solved",
    "Sweep",
    "Tail",
    "Totals",
    "Unknown",
    "adjoint_products",
    "are_compiled",
    "contracted_dtype",
    "contraction",
    "description",
    "drawn_rows",
    "leading",
    "line_means",
    "normal_product",
    "packed_index",
    "packed_of",
    "packed_squares",
    "ray_point",
    "ray_sums",
    "rows_beside_zeros",
    "sampled_product",
    "sampled_ray",
    "squared_distance",
    "there_and_back",
    "uncertain_lines",
    "uncertain_rows",
    "unchecked_csr",
    "unpacked",
]

# Largest number of columns of a factor for which compiled contractions beat BLAS.
_FEW_COLUMNS = 12
# Gaussians of lines are found in iterations of about so many calls or more, so that a
# compiler pays for fewer numbers in each.
_CALLS = 64

_choice = Choice(os.environ.get(VARIABLE) or "auto")


def description() -> str:
    """Which kernels are in use, for `skprecgd.show_versions`."""
    return _choice.description


def are_compiled(n_numbers: int) -> bool:
    """Whether inputs of that size get compiled kernels."""
    return _choice.for_size(n_numbers) is not _numpy


def sampled_product(left: Array, right: Array, rows: Array, columns: Array) -> Array:
    """Entries ``(left @ right.T)[rows, columns]``.

    Parameters
    ----------
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
    rows, columns : ndarray of int, shape (n_entries,)

    Returns
    -------
    ndarray of shape (n_entries,)
    """
    size = len(rows) * left.shape[1]
    return _choice.call("sampled_product", size, left, right, rows, columns)


def sampled_ray(
    left: Array,
    right: Array,
    d_left: Array,
    d_right: Array,
    rows: Array,
    columns: Array,
) -> tuple[Array, Array]:
    """Sampled ``d_left @ right.T + left @ d_right.T`` and ``d_left @ d_right.T``.

    Parameters
    ----------
    left, d_left : ndarray of shape (n_rows, r)
    right, d_right : ndarray of shape (n_columns, r)
    rows, columns : ndarray of int, shape (n_entries,)

    Returns
    -------
    linear, quadratic : ndarray of shape (n_entries,)
    """
    size, factors = len(rows) * left.shape[1], (left, right, d_left, d_right)
    return _choice.call("sampled_ray", size, *factors, rows, columns)


def adjoint_products(
    indptr: Array, indices: Array, weights: Array, left: Array, right: Array
) -> tuple[Array, Array]:
    """``S @ right`` and ``S.T @ left`` for the sparse S with these entries.

    Parameters
    ----------
    indptr, indices : ndarray of int, shape (n_rows + 1,), (n_entries,)
        The pattern by rows, as in a CSR matrix; cells may repeat, and the columns of
        a row may come in any order.
    weights : ndarray of shape (n_entries,)
    left, right : ndarray of shape (n_rows, r), (n_columns, r)

    Returns
    -------
    to_left, to_right : ndarray of shape (n_rows, r), (n_columns, r)
    """
    size, pattern = len(weights) * left.shape[1], (indptr, indices, weights)
    return _choice.call("adjoint_products", size, *pattern, left, right)


def contraction(stack: Array, left: Array, right: Array, out: Array) -> None:
    """Every matrix ``A_k`` of a stack times both factors, side by side in a row.

    Parameters
    ----------
    stack : ndarray of shape (n, n_rows, n_columns)
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
    out : ndarray of shape (n, (n_rows + n_columns) * r)
        Overwritten: row k with ``A_k @ right`` and ``left.T @ A_k``, each flattened in
        C order. Computed in the precision of the stack, whatever that of `out`.
    """
    # A stack that is not laid out row by row would have to be copied.
    thin = left.shape[1] <= _FEW_COLUMNS and stack.flags.c_contiguous
    if thin:
        _choice.call("contraction", stack.size, stack, left, right, out)
    else:
        _numpy.contraction(stack, left, right, out)


def contracted_dtype(size: int, dtype: np.dtype) -> np.dtype:
    """The type of a contraction that is used by `normal_product` alone.

    The compiled product reads single precision in half the time, and its sums have the
    precision of the vector all the same.

    Parameters
    ----------
    size : int
        Numbers of the contraction.
    dtype : dtype
        Type of the stack.

    Returns
    -------
    dtype
    """
    return _choice.call("contracted_dtype", size, dtype)


def normal_product(design: Array, weights: Array, vector: Array) -> Array:
    """``design.T @ (weights * (design @ vector))``, in one pass where compiled.

    Parameters
    ----------
    design : ndarray of shape (n, p)
        Its type is that of the other arguments, or that of `contracted_dtype`.
    weights, vector : ndarray of shape (n,), (p,)

    Returns
    -------
    ndarray of shape (p,)
    """
    return _choice.call("normal_product", design.size, design, weights, vector)


def there_and_back(
    stack: Array, index: Array, cells: Array, weights: Any
) -> tuple[Array, Array]:
    """Measure one or two matrices, and sum the measurement matrices in the same pass.

    For each x in `cells` this is ``m = stack[index] @ x`` and
    ``stack[index].T @ (weights * m)``.

    Parameters
    ----------
    stack : ndarray of shape (n_rows, n_cells)
    index : ndarray of int, shape (n,)
        The rows of the stack to use.
    cells : ndarray of shape (1 or 2, n_cells)
    weights : float or ndarray of shape (n,)

    Returns
    -------
    measured : ndarray of shape (1 or 2, n)
    back : ndarray of shape (1 or 2, n_cells)
    """
    size = len(index) * stack.shape[1]
    each = np.empty(len(index), stack.dtype)
    each[:] = weights
    if not stack.flags.c_contiguous:
        return _numpy.there_and_back(stack, index, cells, each)
    return _choice.call("there_and_back", size, stack, index, cells, each)


def ray_sums(
    z: Array, targets: Array, z1: Array, z2: Array, weights: Array | None = None
) -> Array:
    """Inner products 00, 01, 11, 02, 12, 22 of three vectors, summed in float64.

    Vector 0 is ``z - targets``, the others are `z1` and `z2`.

    Parameters
    ----------
    z, targets, z1, z2 : ndarray of shape (n,)
    weights : ndarray of shape (n,), default=None
        Every product of two numbers is multiplied by its weight; None is one.

    Returns
    -------
    ndarray of shape (6,)
    """
    return _choice.call("ray_sums", len(z), z, targets, z1, z2, weights)


def squared_distance(z: Array, targets: Array, weights: Array | None = None) -> float:
    """``sum_i weights_i (z_i - targets_i)^2``, summed in float64.

    Parameters
    ----------
    z, targets : ndarray of shape (n,)
    weights : ndarray of shape (n,), default=None
        None is one.

    Returns
    -------
    float
    """
    return _choice.call("squared_distance", len(z), z, targets, weights)


def ray_point(z: Array, z1: Array, z2: Array, t: float) -> Array:
    """``z + t z1 + t^2 z2``.

    Parameters
    ----------
    z, z1, z2 : ndarray of shape (n,)
    t : float

    Returns
    -------
    ndarray of shape (n,)
    """
    return _choice.call("ray_point", len(z), z, z1, z2, t)


def uncertain_rows(
    pattern: Pattern,
    others: Others,
    unknown: Unknown,
    noise: Array,
    learned: Learned,
    tail: Tail | None = None,
) -> Sweep:
    """The Gaussians of all rows, given those of the columns, in one pass.

    The entries are ``y_ij = <x_i, y_j>`` plus noise. What the columns will need of the
    rows is summed in the same pass, so that the covariances of the rows are never in
    memory together.

    Parameters
    ----------
    pattern : Pattern
    others : Others
        The columns.
    unknown : Unknown
        What is to be found of a row.
    noise : ndarray of shape (n_rows,)
        Inverse variances of the noise of the rows, times those of the columns.
    learned : Learned
        Whether the noise of a row is learned before the columns hear of it.
    tail : Tail, default=None
        Whether that of an entry is, too; None is normal noise.

    Returns
    -------
    Sweep
    """
    size = _CALLS * len(pattern.values) * others.second.shape[1]
    return _choice.call(
        "uncertain_rows", size, pattern, others, unknown, noise, learned, tail
    )


def uncertain_lines(
    grams: Array, moments: Array, noise: Array, unknown: Unknown
) -> Lines:
    """The Gaussians of lines, given the sums over their entries.

    Parameters
    ----------
    grams, moments : ndarray
        As in `Sweep`.
    noise : ndarray of shape (n,)
        Inverse variances of the noise of the lines.
    unknown : Unknown

    Returns
    -------
    Lines
    """
    size = _CALLS * grams.size * moments.shape[1]
    return _choice.call("uncertain_lines", size, grams, moments, noise, unknown)


def line_means(grams: Array, moments: Array, noise: Array, unknown: Unknown) -> Array:
    """The means of `uncertain_lines`, and nothing else that is known of the lines.

    Parameters
    ----------
    grams, moments, noise, unknown
        See `uncertain_lines`; the last column of `moments` is not read.

    Returns
    -------
    ndarray of shape (n, f)
        Of the coordinates that are found.
    """
    size = _CALLS * grams.size * moments.shape[1]
    return _choice.call("line_means", size, grams, moments, noise, unknown)


def drawn_rows(
    pattern: Pattern, others: OthersDrawn, prior: Prior, noise: Array, chance: Array
) -> Drawn:
    """The means and a draw of all rows, given a draw of the columns.

    The entries are ``y_ij = shift_j + <x_i, y_j>`` plus noise.

    Parameters
    ----------
    pattern : Pattern
    others : OthersDrawn
        The columns.
    prior : Prior
        Of a row.
    noise : ndarray of shape (n_rows,)
        Inverse variances of the noise of the rows, times those of the columns.
    chance : ndarray of shape (n_rows, f)
        Standard normal numbers: a row's draw depends on its own, and on nothing else
        that is random.

    Returns
    -------
    Drawn
    """
    size = _CALLS * len(pattern.values) * others.basis.shape[1] ** 2
    return _choice.call("drawn_rows", size, pattern, others, prior, noise, chance)


def rows_beside_zeros(
    pattern: Pattern,
    others: OthersBesideZeros,
    ridge: Array,
    start: Array,
    n_steps: int,
) -> Solved:
    """Rows of a matrix in which cells that are not stored are zeros of small weight.

    For each row i this is `n_steps` steps of conjugate gradients, preconditioned by the
    diagonal, towards the least of

    ``sum_j w_ij (y_ij - <x_i, v_j>)^2 + ridge_i |x_i|^2``

    where j runs over all columns, of which most are not stored. Their sum is one
    quadratic form for all rows, and as the columns of the basis are orthogonal, it is
    diagonal: a step costs as much as the stored entries.

    Parameters
    ----------
    pattern : Pattern
        The stored entries; each cell at most once.
    others : OthersBesideZeros
    ridge : ndarray of shape (n_rows,)
    start : ndarray of shape (n_rows, r)
    n_steps : int

    Returns
    -------
    Solved
    """
    size = _CALLS * len(pattern.values) * start.shape[1]
    return _choice.call(
        "rows_beside_zeros", size, pattern, others, ridge, start, n_steps
    )


def leading(numbers: Array, n: int) -> Leading:
    """The n largest numbers of each row, in order.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows, n_columns)
        None is NaN; ``-inf`` stands for a number that is not there.
    n : int
        At most n_columns.

    Returns
    -------
    Leading
    """
    return _choice.call("leading", _CALLS * numbers.size, numbers, n)
