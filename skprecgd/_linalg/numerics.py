"""Small numerical helpers every layer may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._runtime.typing import Array

# Numbers that `dot` converts to float64 at a time (512 kB).
_BLOCK = 1 << 16
# Numbers of a slab (8 MB of float64), where a temporary as large as the data would take
# too much memory.
_SLAB = 1 << 20
# Numbers that are copied at a time (1 MB of float64), so that they are read again from
# the second-level cache.
_COPIED = 1 << 17
# A sum of squares below this may have lost terms to underflow.
_SAFE_SQUARE = 1e-280


def dot(a: Array, b: Array) -> float:
    """Inner product of two arrays of equal shape, accumulated in float64.

    Losses and step sizes are differences of such sums: accumulated in float32
    they would lose the digits the exact step needs. That of complex numbers is the one
    of their real and imaginary parts, ``Re sum conj(a) b``.
    """
    a, b = a.ravel(), b.ravel()
    if a.dtype.kind == "c" or b.dtype.kind == "c":
        kind = np.result_type(a, b)
        a, b = (real_parts(each.astype(kind, copy=False)) for each in (a, b))
    if a.dtype == np.float64 and b.dtype == np.float64:
        return float(a @ b)
    return float(
        sum(
            np.dot(
                a[i : i + _BLOCK].astype(np.float64),
                b[i : i + _BLOCK].astype(np.float64),
            )
            for i in range(0, a.size, _BLOCK)
        )
    )


def norm(a: Array) -> float:
    """Euclidean (Frobenius) norm that neither overflows nor underflows."""
    a = a.ravel(order="K")
    if a.dtype.kind == "c":
        a = real_parts(a)
    with np.errstate(over="ignore", under="ignore"):
        square = dot(a, a)
    if np.isfinite(square) and square > _SAFE_SQUARE:
        return float(np.sqrt(square))
    largest = float(np.max(np.abs(a), initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    scaled = a.astype(np.float64) / largest
    return largest * float(np.sqrt(np.dot(scaled, scaled)))


def real_parts(a: Array) -> Array:
    """The real and imaginary parts of complex numbers, one after the other: a view.

    Parameters
    ----------
    a : ndarray of shape (n,)
        Contiguous.

    Returns
    -------
    ndarray of shape (2 n,)
    """
    return a.view(real_dtype(a.dtype))


def complex_numbers(parts: Array) -> Array:
    """The complex numbers whose `real_parts` are given: a view, shape (n,)."""
    return np.ascontiguousarray(parts).view(complex_dtype(parts.dtype))


def square(size: float) -> float:
    """The square of a number; infinite where it is too large for one."""
    # The power of a Python number would raise an error.
    return size * size


def power_of_two(size: float) -> float:
    """The power of two next to a positive size; 1 where there is none.

    Numbers are multiplied by it, and by its inverse, without rounding.
    """
    if not (np.isfinite(size) and size > 0):
        return 1.0
    return float(np.exp2(np.floor(np.log2(size))))


@dataclass(frozen=True)
class UnitTuning:
    """When numbers are brought to unit size before they are squared.

    Attributes
    ----------
    ordinary : float
        Size, or its inverse, up to which numbers stay as they are: its fourth power is
        far within the range of single precision.
    exponents : tuple of (str, int)
        Largest exponent of the power of two that numbers of a type are divided by, such
        that its inverse is in the range of the type.
    """

    ordinary: float = 2.0**20
    exponents: tuple[tuple[str, int], ...] = (("float32", 120), ("float64", 1000))

    def is_ordinary(self, size: float) -> bool:
        """Whether squares of numbers of that size are safe in any precision."""
        return 1.0 / self.ordinary <= size <= self.ordinary

    def unit(self, size: float, dtype: Any) -> float:
        """The power of two to divide such numbers by; 1 for an ordinary size."""
        if self.is_ordinary(size):
            return 1.0
        most = 2.0 ** dict(self.exponents)[np.dtype(dtype).name]
        return float(np.clip(power_of_two(size), 1.0 / most, most))


UNIT = UnitTuning()


def largest_sizes(groups: Array, values: Array, n: int) -> Array:
    """The largest size among the values of each of n groups; zero where there is none.

    Parameters
    ----------
    groups : ndarray of int, shape (n_values,)
    values : ndarray of shape (n_values,)
    n : int
    """
    largest = np.zeros(n)
    np.maximum.at(largest, groups, np.abs(values))
    return largest


def largest_size(a: Array) -> float:
    """The largest absolute value, without a copy of the array; 0 if there is none."""
    if a.dtype.kind == "c":
        return float(np.max(np.abs(a), initial=0.0))
    return max(float(np.max(a, initial=0.0)), -float(np.min(a, initial=0.0)))


def sum_with_error(n: float, total: float, squares: float) -> tuple[float, float]:
    """A sum of n independent numbers, and its standard error.

    `squares` is the sum of the squared numbers.
    """
    spread = max(0.0, squares - total**2 / max(1, n))
    return total, float(np.sqrt(spread * n / max(1, n - 1)))


def most_frequent(groups: Array, values: Array, n: int) -> Array:
    """How often the most frequent number of each of n groups occurs in it."""
    order = np.lexsort((values, groups))
    values, groups = values[order], groups[order]
    new = np.flatnonzero((np.diff(values) != 0) | (np.diff(groups) != 0)) + 1
    starts = np.concatenate([[0], new, [len(values)]])
    most = np.zeros(n, dtype=np.int64)
    np.maximum.at(most, groups[starts[:-1]], np.diff(starts))
    return most


def slabs(shape: tuple[int, ...], most: int = _SLAB) -> Iterator[slice]:
    """Slices of rows that hold at most `most` entries each, and at least one row."""
    step = max(1, most // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def selected_rows(
    stack: Array, index: Array, most: int = _SLAB
) -> Iterator[tuple[slice, Array]]:
    """Selected rows of a stack, block by block.

    Runs of consecutive rows are views of the stack. If such runs are rare, a few rows
    at a time are copied instead.

    Parameters
    ----------
    stack : ndarray of shape (n, width)
    index : ndarray of int
        The rows to select.
    most : int
        Most numbers a block.

    Yields
    ------
    part : slice
        Which positions of `index` the block holds.
    block : ndarray
    """
    n, width = len(index), stack.shape[1]
    starts = np.flatnonzero(np.diff(index, prepend=index[:1]) != 1)
    if len(starts) * _COPIED > n * width:
        for part in slabs((n, width), _COPIED):
            yield part, stack[index[part]]
        return
    for start, stop in pairwise([*starts, n]):
        first = index[start]
        run = stack[first : first + stop - start]
        for part in slabs(run.shape, most):
            yield slice(start + part.start, start + part.stop), run[part]


def as_operator(
    shape: tuple[int, int],
    dtype: np.dtype,
    times: Callable[[Array], Any],
    transposed_times: Callable[[Array], Any],
) -> LinearOperator:
    """An operator that multiplies vectors and blocks alike."""
    return LinearOperator(
        shape,
        matvec=times,
        rmatvec=transposed_times,
        matmat=times,
        rmatmat=transposed_times,
        dtype=dtype,
    )


def slab_bincount(
    groups: Array, n_groups: int, weights: Callable[[slice], Array] | None = None
) -> Array:
    """Number of entries, or sum of their weights, in each group.

    This is `numpy.bincount` in slabs; NumPy would convert all indices at once.

    Parameters
    ----------
    groups : ndarray of int, shape (n_entries,)
    n_groups : int
    weights : callable, default=None
        The weights of a slice of the entries.

    Returns
    -------
    ndarray of shape (n_groups,)
        Numbers of type int without weights, else of type float64.
    """
    total = np.zeros(n_groups, np.intp if weights is None else np.float64)
    for start in range(0, len(groups), _SLAB):
        part = slice(start, start + _SLAB)
        some = None if weights is None else weights(part)
        total += np.bincount(groups[part], weights=some, minlength=n_groups)
    return total


def is_mapped(array: Any) -> bool:
    """Whether an array reads a file: it may not fit in memory, so no copy is made."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def gram(a: Array) -> Array:
    """``a^H a`` in double precision, shape (r, r)."""
    return np.asarray(a.conj().T @ a, dtype=np.result_type(a, np.float64))


def working_dtype(*dtypes: np.dtype) -> np.dtype:
    """float32 if every one of `dtypes` is float32, else float64."""
    if dtypes and all(np.dtype(d) == np.float32 for d in dtypes):
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def column_squares(a: Array) -> Array:
    """The sum of squared sizes of each column, in float64, shape (r,)."""
    total = np.einsum("ij,ij->j", a.real, a.real, dtype=np.float64)
    if a.dtype.kind == "c":
        total += np.einsum("ij,ij->j", a.imag, a.imag, dtype=np.float64)
    return total


def real_dtype(dtype: Any) -> np.dtype:
    """float32 for single precision, real or complex, else float64."""
    kind = np.dtype(dtype)
    return np.empty(0, kind).real.dtype if kind.kind == "c" else working_dtype(kind)


def complex_dtype(dtype: Any) -> np.dtype:
    """complex64 for single precision, real or complex, else complex128."""
    return np.result_type(real_dtype(dtype), np.complex64)


def in_precision(a: Array, dtype: Any) -> Array:
    """Real or complex numbers in the precision of a type; complex ones stay complex."""
    return a.astype(kind_in(a, dtype), copy=False)


def kind_in(a: Array, dtype: Any) -> np.dtype:
    """The type of numbers like these, real or complex, in the precision of a type."""
    return complex_dtype(dtype) if a.dtype.kind == "c" else real_dtype(dtype)


def adjoint_of(matrix: Any) -> Any:
    """``M^H`` of whatever can be multiplied, which is ``M.T`` where M is real."""
    if np.dtype(matrix.dtype).kind != "c":
        return matrix.T
    return matrix.H if isinstance(matrix, LinearOperator) else matrix.conj().T


def first_minimum(
    slope: Callable[[float], float],
    start: float,
    first: float,
    *,
    accuracy: float = 0.1,
    max_trials: int = 60,
) -> float:
    """A point close to the first minimum of a function of one variable (line search).

    The zero of the derivative is bracketed, and the bracket is closed by secants.

    Parameters
    ----------
    slope : callable
        Step -> derivative; it may be infinite or NaN where the function overflows.
    start : float
        The derivative at zero.
    first : float
        The first step to try.
    accuracy : float, default=0.1
        Stop where the slope is at most this share of the one at zero.
    max_trials : int, default=60

    Returns
    -------
    float
        0 if the function does not fall at zero.
    """
    if not start < 0:
        return 0.0
    low, low_slope = 0.0, start
    high, high_slope = np.inf, np.nan
    t = first
    for _ in range(max_trials):
        here = slope(t)
        if abs(here) <= accuracy * -start:
            return t
        before, before_slope = low, low_slope
        if here < 0:
            low, low_slope = t, here
        else:
            high, high_slope = t, here
        if not np.isfinite(high):
            # The secant leads beyond the last two points, by a factor of ten at most.
            rise = (low_slope - before_slope) / (low - before)
            t = low + (-low_slope / rise if rise > 0 else np.inf)
            t = min(t, 10.0 * low)
        elif np.isfinite(high_slope):
            width = high - low
            t = low - low_slope * width / (high_slope - low_slope)
            t = min(max(t, low + 0.1 * width), high - 0.1 * width)
        else:
            t = 0.5 * (low + high)
    return low
