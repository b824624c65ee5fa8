"""The kernels compiled by numba; see the package for what they compute.

Each is a serial loop over pieces of the entries. Pieces hold equal numbers of
entries, however these are spread over the rows, and where they begin depends on the
input alone: so a crowded row stalls nobody, and the result is the same to the last
bit for any number of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache, partial, wraps
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numba.core.event import Event, Listener, install_listener

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.arrays import empty
from skprecgd._runtime.threads import allowed_threads, share_out
from skprecgd._runtime.typing import Array
from skprecgd.kernels._implicit import Leading, Solved
from skprecgd.kernels._implicit import Others as OthersBesideZeros
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
)

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("numba is switched off by NUMBA_DISABLE_JIT", name=__name__)

# Sums may be reordered and multiplications fused; nan and infinity keep their meaning.
_FAST_MATH = {"reassoc", "contract", "nsz"}
# Entries of a piece, and numbers of a piece of a stack.
_PIECE = 1 << 15
_STACK_PIECE = 1 << 18
# With fewer numbers than this, waking a second thread costs more time than it saves.
_SHARED = 1 << 20
# The transposed product is summed in parts, each an array as large as the result: at
# most `_MOST_PARTS`, each of at least `_ENTRIES_OF_PART` entries for every column, and
# together not more numbers than there are entries.
_MOST_PARTS, _ENTRIES_OF_PART = 16, 48
# Sums over rows are computed in parts, too, each of at least this many rows.
_ROWS_OF_PART = 64
# A sweep over uncertain rows sums what the other side gets in parts of at least so many
# entries for each of its lines, and all parts hold at most so many numbers (128 MB).
_ENTRIES_OF_LINE, _MOST_NUMBERS = 8, 1 << 24
# Rows that are solved by steps are shared out in so many parts at most, each a stretch
# of the entries: enough that a thread that ends first hardly waits for another.
_PARTS_OF_ROWS = 256
# Lines whose systems are solved side by side: each operation is one for all of them,
# and with 20 coordinates the systems (100 kB) are still in the second cache.
_LANES = 32
# Share of a diagonal that a pivot keeps at least, where rounding has taken it.
_LEAST_PIVOT = 1e-15
# Entries that are summed in float32 before the sum is added to one in float64.
_RUN = 256

_LOG = logging.getLogger("skprecgd")


class NotCompiled(RuntimeError):
    """numba cannot compile a kernel; the message says what it met."""


def _compiled(function: Callable[..., None]) -> Any:
    """Compile at the first call, and keep the result on disk where that is possible."""
    loop = _Loop(function)

    @wraps(function)
    def call(*arguments: Any) -> None:
        kinds = tuple(getattr(argument, "dtype", None) for argument in arguments)
        if kinds not in loop.met:
            loop.meet(kinds, arguments)
        else:
            loop.run(*arguments)

    return call


class _Loop:
    """A loop and what numba makes of it.

    Attributes
    ----------
    run : callable
    met : set of tuple
        The types that it has been compiled for, or loaded.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self.met: set[Any] = set()
        try:
            self.run = self._dispatcher(cache=True)
        except RuntimeError:
            # There is no directory that the cache could be written to.
            self.run = self._dispatcher(cache=False)

    def _dispatcher(self, *, cache: bool) -> Any:
        options: Any = {"nogil": True, "fastmath": _FAST_MATH, "error_model": "numpy"}
        return numba.njit(cache=cache, **options)(self._function)

    def meet(self, kinds: Any, arguments: tuple[Any, ...]) -> None:
        """The first call with arguments of these types."""
        try:
            self._first_call(arguments)
        except Exception:
            # The disk may be full, or what was kept there damaged: without it, the
            # loop is compiled for this process alone.
            self.run = self._dispatcher(cache=False)
            self.met.clear()
            try:
                self._first_call(arguments)
            except Exception as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())
                raise NotCompiled(said) from error
        self.met.add(kinds)

    def _first_call(self, arguments: tuple[Any, ...]) -> None:
        with install_listener("numba:compile", _Notice(self.run)):
            self.run(*arguments)


class _Notice(Listener):
    """Says once that kernels are compiled: not that they are loaded from disk."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def on_start(self, event: Event) -> None:
        if event.data["dispatcher"] is self._dispatcher:
            _say_once()

    def on_end(self, event: Event) -> None:
        pass


@lru_cache(maxsize=1)
def _say_once() -> None:
    _LOG.warning("skprecgd compiles its kernels, which it does once and then keeps.")


@_compiled
def _product(
    left: Array,
    right: Array,
    rows: Array,
    columns: Array,
    out: Array,
    first: int,
    last: int,
) -> None:
    r = left.shape[1]
    zero = left.dtype.type(0)
    for p in range(first, last):
        k, stop = p * _PIECE, min(len(rows), (p + 1) * _PIECE)
        while k < stop:
            i, j = rows[k], columns[k]
            a = zero
            # Four entries of a row at a time share what is read of the left factor.
            if (
                k + 4 <= stop
                and rows[k + 1] == i
                and rows[k + 2] == i
                and rows[k + 3] == i
            ):
                j1, j2, j3 = columns[k + 1], columns[k + 2], columns[k + 3]
                a1 = a2 = a3 = zero
                for c in range(r):
                    x = left[i, c]
                    a += x * right[j, c]
                    a1 += x * right[j1, c]
                    a2 += x * right[j2, c]
                    a3 += x * right[j3, c]
                out[k], out[k + 1], out[k + 2], out[k + 3] = a, a1, a2, a3
                k += 4
            else:
                for c in range(r):
                    a += left[i, c] * right[j, c]
                out[k] = a
                k += 1


@_compiled
def _ray(
    lefts: Array,
    rights: Array,
    rows: Array,
    columns: Array,
    linear: Array,
    quadratic: Array,
    first: int,
    last: int,
) -> None:
    """`sampled_ray`, given ``[left, d_left]`` and ``[right, d_right]``."""
    r = lefts.shape[1] // 2
    zero = lefts.dtype.type(0)
    for p in range(first, last):
        k, stop = p * _PIECE, min(len(rows), (p + 1) * _PIECE)
        while k < stop:
            i, j = rows[k], columns[k]
            a = b = zero
            if (
                k + 4 <= stop
                and rows[k + 1] == i
                and rows[k + 2] == i
                and rows[k + 3] == i
            ):
                j1, j2, j3 = columns[k + 1], columns[k + 2], columns[k + 3]
                a1 = b1 = a2 = b2 = a3 = b3 = zero
                for c in range(r):
                    x, d = lefts[i, c], lefts[i, r + c]
                    e, e1 = rights[j, r + c], rights[j1, r + c]
                    e2, e3 = rights[j2, r + c], rights[j3, r + c]
                    a += d * rights[j, c] + x * e
                    b += d * e
                    a1 += d * rights[j1, c] + x * e1
                    b1 += d * e1
                    a2 += d * rights[j2, c] + x * e2
                    b2 += d * e2
                    a3 += d * rights[j3, c] + x * e3
                    b3 += d * e3
                linear[k], linear[k + 1], linear[k + 2], linear[k + 3] = a, a1, a2, a3
                quadratic[k], quadratic[k + 1] = b, b1
                quadratic[k + 2], quadratic[k + 3] = b2, b3
                k += 4
            else:
                for c in range(r):
                    d, e = lefts[i, r + c], rights[j, r + c]
                    a += d * rights[j, c] + lefts[i, c] * e
                    b += d * e
                linear[k], quadratic[k] = a, b
                k += 1


@_compiled
def _adjoint(
    indptr: Array,
    indices: Array,
    weights: Array,
    left: Array,
    right: Array,
    to_left: Array,
    heads: Array,
    parts: Array,
    starts: Array,
    rows: Array,
    first: int,
    last: int,
) -> None:
    """`adjoint_products` for some parts of the entries.

    A part may begin within a row. Its sum for that row is stored in `heads`, because
    earlier parts may hold other entries of the row; all later rows begin in this part.
    """
    r = left.shape[1]
    part = np.empty(r, left.dtype)
    total = np.empty(r, np.float64)
    for p in range(first, last):
        head, to_right = heads[p], parts[p]
        row, k, stop = rows[p], starts[p], starts[p + 1]
        while k < stop:
            end: Any = min(np.int64(indptr[row + 1]), stop)
            for c in range(r):
                total[c] = 0.0
            while k < end:
                run: Any = min(end, k + _RUN)
                for c in range(r):
                    part[c] = 0.0
                for q in range(k, run - 3, 4):
                    w, w1 = weights[q], weights[q + 1]
                    w2, w3 = weights[q + 2], weights[q + 3]
                    j, j1, j2, j3 = (
                        indices[q],
                        indices[q + 1],
                        indices[q + 2],
                        indices[q + 3],
                    )
                    for c in range(r):
                        part[c] += (w * right[j, c] + w1 * right[j1, c]) + (
                            w2 * right[j2, c] + w3 * right[j3, c]
                        )
                    # One after the other, because two of the columns may be the same.
                    for c in range(r):
                        to_right[j, c] += w * left[row, c]
                    for c in range(r):
                        to_right[j1, c] += w1 * left[row, c]
                    for c in range(r):
                        to_right[j2, c] += w2 * left[row, c]
                    for c in range(r):
                        to_right[j3, c] += w3 * left[row, c]
                for q in range(run - (run - k) % 4, run):
                    w, j = weights[q], indices[q]
                    for c in range(r):
                        part[c] += w * right[j, c]
                    for c in range(r):
                        to_right[j, c] += w * left[row, c]
                for c in range(r):
                    total[c] += part[c]
                k = run
            if row == rows[p]:
                for c in range(r):
                    head[c] = total[c]
            else:
                for c in range(r):
                    to_left[row, c] = total[c]
            row += 1


@_compiled
def _sums(
    z: Array,
    targets: Array,
    z1: Array,
    z2: Array,
    sums: Array,
    first: int,
    last: int,
) -> None:
    for p in range(first, last):
        s00 = s01 = s11 = s02 = s12 = s22 = 0.0
        for k in range(p * _PIECE, min(len(z), (p + 1) * _PIECE)):
            r0 = np.float64(z[k] - targets[k])
            r1, r2 = np.float64(z1[k]), np.float64(z2[k])
            s00 += r0 * r0
            s01 += r0 * r1
            s11 += r1 * r1
            s02 += r0 * r2
            s12 += r1 * r2
            s22 += r2 * r2
        sums[p, 0], sums[p, 1], sums[p, 2] = s00, s01, s11
        sums[p, 3], sums[p, 4], sums[p, 5] = s02, s12, s22


@_compiled
def _weighted_sums(
    z: Array,
    targets: Array,
    z1: Array,
    z2: Array,
    weights: Array,
    sums: Array,
    first: int,
    last: int,
) -> None:
    for p in range(first, last):
        s00 = s01 = s11 = s02 = s12 = s22 = 0.0
        for k in range(p * _PIECE, min(len(z), (p + 1) * _PIECE)):
            weight = np.float64(weights[k])
            r0 = np.float64(z[k] - targets[k])
            r1, r2 = np.float64(z1[k]), np.float64(z2[k])
            w0, w1, w2 = weight * r0, weight * r1, weight * r2
            s00 += w0 * r0
            s01 += w0 * r1
            s11 += w1 * r1
            s02 += w0 * r2
            s12 += w1 * r2
            s22 += w2 * r2
        sums[p, 0], sums[p, 1], sums[p, 2] = s00, s01, s11
        sums[p, 3], sums[p, 4], sums[p, 5] = s02, s12, s22


@_compiled
def _distance(z: Array, targets: Array, sums: Array, first: int, last: int) -> None:
    for p in range(first, last):
        total = 0.0
        for k in range(p * _PIECE, min(len(z), (p + 1) * _PIECE)):
            r0 = np.float64(z[k] - targets[k])
            total += r0 * r0
        sums[p, 0] = total


@_compiled
def _weighted_distance(
    z: Array, targets: Array, weights: Array, sums: Array, first: int, last: int
) -> None:
    for p in range(first, last):
        total = 0.0
        for k in range(p * _PIECE, min(len(z), (p + 1) * _PIECE)):
            r0 = np.float64(z[k] - targets[k])
            total += np.float64(weights[k]) * r0 * r0
        sums[p, 0] = total


@_compiled
def _point(
    z: Array, z1: Array, z2: Array, t: float, out: Array, first: int, last: int
) -> None:
    for p in range(first, last):
        for k in range(p * _PIECE, min(len(z), (p + 1) * _PIECE)):
            out[k] = z[k] + t * (z1[k] + t * z2[k])


@_compiled
def _contraction(
    stack: Array, left: Array, right: Array, out: Array, start: int, stop: int
) -> None:
    """`contraction`, given the transposed `right`."""
    n_rows, n_columns = stack.shape[1:]
    r = left.shape[1]
    zero = left.dtype.type(0)
    # Every row of a matrix is added to this array, so it should stay in the cache.
    by_columns = np.empty((r, n_columns), left.dtype)
    for k in range(start, stop):
        matrix, row = stack[k], out[k]
        by_columns[:] = zero
        # Four rows at a time share what is read of the right factor, and written; both
        # products in one loop share what is read of the rows.
        i = 0
        while i + 4 <= n_rows:
            a, a1, a2, a3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
            for c in range(r):
                x, total = right[c], by_columns[c]
                w, w1, w2, w3 = (
                    left[i, c],
                    left[i + 1, c],
                    left[i + 2, c],
                    left[i + 3, c],
                )
                s = s1 = s2 = s3 = zero
                for j in range(n_columns):
                    b, b1, b2, b3 = a[j], a1[j], a2[j], a3[j]
                    s += b * x[j]
                    s1 += b1 * x[j]
                    s2 += b2 * x[j]
                    s3 += b3 * x[j]
                    total[j] += (b * w + b1 * w1) + (b2 * w2 + b3 * w3)
                q = i * r + c
                row[q], row[q + r], row[q + 2 * r], row[q + 3 * r] = s, s1, s2, s3
            i += 4
        while i < n_rows:
            a = matrix[i]
            for c in range(r):
                total, x, w, s = by_columns[c], right[c], left[i, c], zero
                for j in range(n_columns):
                    s += a[j] * x[j]
                    total[j] += a[j] * w
                row[i * r + c] = s
            i += 1
        row[n_rows * r :] = by_columns.ravel()


@_compiled
def _there_and_back(
    stack: Array,
    index: Array,
    cells: Array,
    weights: Array,
    out: Array,
    parts: Array,
    starts: Array,
    first: int,
    last: int,
) -> None:
    n_columns = stack.shape[1]
    x, z = cells[0], out[0]
    zero = stack.dtype.type(0)
    for p in range(first, last):
        to_x, k, stop = parts[p, 0], starts[p], starts[p + 1]
        to_x[:] = zero
        # Four rows at a time share what is read of the cells and written of the sums,
        # and are still in the cache when they are summed.
        while k + 4 <= stop:
            a, a1 = stack[index[k]], stack[index[k + 1]]
            a2, a3 = stack[index[k + 2]], stack[index[k + 3]]
            s = s1 = s2 = s3 = zero
            for j in range(n_columns):
                u = x[j]
                s += a[j] * u
                s1 += a1[j] * u
                s2 += a2[j] * u
                s3 += a3[j] * u
            z[k], z[k + 1], z[k + 2], z[k + 3] = s, s1, s2, s3
            s, s1 = weights[k] * s, weights[k + 1] * s1
            s2, s3 = weights[k + 2] * s2, weights[k + 3] * s3
            for j in range(n_columns):
                to_x[j] += (a[j] * s + a1[j] * s1) + (a2[j] * s2 + a3[j] * s3)
            k += 4
        while k < stop:
            a, s = stack[index[k]], zero
            for j in range(n_columns):
                s += a[j] * x[j]
            z[k] = s
            s *= weights[k]
            for j in range(n_columns):
                to_x[j] += a[j] * s
            k += 1


@_compiled
def _both_there_and_back(
    stack: Array,
    index: Array,
    cells: Array,
    weights: Array,
    out: Array,
    parts: Array,
    starts: Array,
    first: int,
    last: int,
) -> None:
    """`_there_and_back` for two vectors."""
    n_columns = stack.shape[1]
    x, y, z, w = cells[0], cells[1], out[0], out[1]
    zero = stack.dtype.type(0)
    for p in range(first, last):
        to_x, to_y, k, stop = parts[p, 0], parts[p, 1], starts[p], starts[p + 1]
        to_x[:] = zero
        to_y[:] = zero
        while k + 4 <= stop:
            a, a1 = stack[index[k]], stack[index[k + 1]]
            a2, a3 = stack[index[k + 2]], stack[index[k + 3]]
            s = s1 = s2 = s3 = zero
            t = t1 = t2 = t3 = zero
            for j in range(n_columns):
                b, b1, b2, b3, u, v = a[j], a1[j], a2[j], a3[j], x[j], y[j]
                s += b * u
                s1 += b1 * u
                s2 += b2 * u
                s3 += b3 * u
                t += b * v
                t1 += b1 * v
                t2 += b2 * v
                t3 += b3 * v
            z[k], z[k + 1], z[k + 2], z[k + 3] = s, s1, s2, s3
            w[k], w[k + 1], w[k + 2], w[k + 3] = t, t1, t2, t3
            s, s1 = weights[k] * s, weights[k + 1] * s1
            s2, s3 = weights[k + 2] * s2, weights[k + 3] * s3
            t, t1 = weights[k] * t, weights[k + 1] * t1
            t2, t3 = weights[k + 2] * t2, weights[k + 3] * t3
            for j in range(n_columns):
                b, b1, b2, b3 = a[j], a1[j], a2[j], a3[j]
                to_x[j] += (b * s + b1 * s1) + (b2 * s2 + b3 * s3)
                to_y[j] += (b * t + b1 * t1) + (b2 * t2 + b3 * t3)
            k += 4
        while k < stop:
            a, s, t = stack[index[k]], zero, zero
            for j in range(n_columns):
                s += a[j] * x[j]
                t += a[j] * y[j]
            z[k], w[k] = s, t
            s, t = weights[k] * s, weights[k] * t
            for j in range(n_columns):
                to_x[j] += a[j] * s
                to_y[j] += a[j] * t
            k += 1


@_compiled
def _normal(
    design: Array,
    weights: Array,
    vector: Array,
    parts: Array,
    starts: Array,
    first: int,
    last: int,
) -> None:
    """`normal_product` in the precision of the vector, whatever that of the design."""
    n_columns = design.shape[1]
    zero = vector.dtype.type(0)
    for p in range(first, last):
        out, k, stop = parts[p], starts[p], starts[p + 1]
        out[:] = zero
        # Four rows at a time share what is read of the vector and written.
        while k + 4 <= stop:
            a, a1, a2, a3 = design[k], design[k + 1], design[k + 2], design[k + 3]
            s = s1 = s2 = s3 = zero
            for j in range(n_columns):
                s += a[j] * vector[j]
                s1 += a1[j] * vector[j]
                s2 += a2[j] * vector[j]
                s3 += a3[j] * vector[j]
            s, s1 = s * weights[k], s1 * weights[k + 1]
            s2, s3 = s2 * weights[k + 2], s3 * weights[k + 3]
            for j in range(n_columns):
                out[j] += (a[j] * s + a1[j] * s1) + (a2[j] * s2 + a3[j] * s3)
            k += 4
        while k < stop:
            a, s = design[k], zero
            for j in range(n_columns):
                s += a[j] * vector[j]
            s *= weights[k]
            for j in range(n_columns):
                out[j] += a[j] * s
            k += 1


# The arguments of these are arrays, whose types numba finds.
_inner = numba.njit(
    nogil=True, fastmath=_FAST_MATH, error_model="numpy", inline="never"
)


@_inner
def _side_by_side(rows, scale, columns):  # type: ignore[no-untyped-def]
    """The rows, each multiplied by its scale, as columns."""
    for q in range(rows.shape[1]):
        for k in range(len(scale)):
            columns[q, k] = scale[k] * rows[k, q]


@_inner
def _one_by_one(columns, rows):  # type: ignore[no-untyped-def]
    """The columns as rows, as many as there are."""
    for q in range(rows.shape[1]):
        for k in range(len(rows)):
            rows[k, q] = columns[q, k]


@_inner
def _add_sums(columns, sums, n):  # type: ignore[no-untyped-def]
    """Add the sums over n columns."""
    for q in range(len(columns)):
        total = 0.0
        for k in range(n):
            total += columns[q, k]
        sums[q] += total


@_inner
def _sum_of_logs(x, n):  # type: ignore[no-untyped-def]
    """Sum of the logarithms of n positive numbers, of four at a time if their product
    is a number."""
    total, k = 0.0, 0
    while k + 4 <= n:
        product = (x[k] * x[k + 1]) * (x[k + 2] * x[k + 3])
        if not 1e-300 < product < 1e300:
            break
        total += np.log(product)
        k += 4
    while k < n:
        total += np.log(x[k])
        k += 1
    return total


@_inner
def _line_posteriors(  # type: ignore[no-untyped-def]
    grams, moments, precision, pull, free, fixed, value, at, means, seconds, logs, n
):
    """The Gaussians of n lines side by side, each in a column of all arrays.

    Returns the sum of the log determinants of their covariances.
    """
    f = len(free)
    for a in range(f):
        i = free[a]
        for b in range(a + 1):
            q = at[i, free[b]]
            for k in range(n):
                seconds[q, k] = grams[q, k]
        q = at[i, i]
        for k in range(n):
            seconds[q, k] += precision[a]
            means[i, k] = moments[i, k]
        if len(pull) == 1:
            for k in range(n):
                means[i, k] += pull[0, a]
        else:
            for k in range(n):
                means[i, k] += pull[k, a]
        logs[a] += _sum_of_logs(seconds[q], n)
        if fixed >= 0:
            q = at[i, fixed]
            for k in range(n):
                means[i, k] -= value * grams[q, k]
    determinant = -_inverse_factors(grams, precision, free, at, seconds, n)
    _solve(free, at, means, seconds, n)
    _covariances(free, at, seconds, n)
    for a in range(f):
        i = free[a]
        for b in range(a + 1):
            j = free[b]
            q = at[i, j]
            for k in range(n):
                seconds[q, k] += means[i, k] * means[j, k]
    if fixed >= 0:
        for k in range(n):
            means[fixed, k] = value
            seconds[at[fixed, fixed], k] = value * value
        for a in range(f):
            q = at[free[a], fixed]
            for k in range(n):
                seconds[q, k] = value * means[free[a], k]
    return determinant


@_inner
def _inverse_factors(grams, precision, free, at, x, n):  # type: ignore[no-untyped-def]
    """The inverses of the Cholesky factors of matrices, in place.

    Returns the sum of the log determinants of the matrices.
    """
    f, logs = len(free), 0.0
    for c in range(f):
        own = at[free[c], free[c]]
        for k in range(n):
            least = _LEAST_PIVOT * (grams[own, k] + precision[c])
            x[own, k] = max(x[own, k], least)
        logs += _sum_of_logs(x[own], n)
        for k in range(n):
            x[own, k] = 1.0 / np.sqrt(x[own, k])
        for a in range(c + 1, f):
            q = at[free[a], free[c]]
            for k in range(n):
                x[q, k] *= x[own, k]
        for a in range(c + 1, f):
            left = at[free[a], free[c]]
            for b in range(c + 1, a + 1):
                q, right = at[free[a], free[b]], at[free[b], free[c]]
                for k in range(n):
                    x[q, k] -= x[left, k] * x[right, k]
    for a in range(f):
        own = at[free[a], free[a]]
        for b in range(a):
            q, right = at[free[a], free[b]], at[free[b], free[b]]
            for k in range(n):
                x[q, k] *= -x[right, k]
            for c in range(b + 1, a):
                left, right = at[free[a], free[c]], at[free[c], free[b]]
                for k in range(n):
                    x[q, k] -= x[left, k] * x[right, k]
            for k in range(n):
                x[q, k] *= x[own, k]
    return logs


@_inner
def _solve(free, at, means, x, n):  # type: ignore[no-untyped-def]
    """Solutions of systems the inverse factors of which are x, in place."""
    f = len(free)
    for c in range(f - 1, -1, -1):
        i, own = free[c], at[free[c], free[c]]
        for k in range(n):
            means[i, k] *= x[own, k]
        for b in range(c):
            j, q = free[b], at[free[c], free[b]]
            for k in range(n):
                means[i, k] += x[q, k] * means[j, k]
    for b in range(f):
        i, own = free[b], at[free[b], free[b]]
        for k in range(n):
            means[i, k] *= x[own, k]
        for c in range(b + 1, f):
            j, q = free[c], at[free[c], free[b]]
            for k in range(n):
                means[i, k] += x[q, k] * means[j, k]


@_inner
def _covariances(free, at, x, n):  # type: ignore[no-untyped-def]
    """The products of inverse factors, their transposes on the left, in place."""
    f = len(free)
    for a in range(f):
        own = at[free[a], free[a]]
        # The diagonal last, which the others need.
        for b in range(a + 1):
            q = at[free[a], free[b]]
            for k in range(n):
                x[q, k] *= x[own, k]
            for c in range(a + 1, f):
                left, right = at[free[c], free[a]], at[free[c], free[b]]
                for k in range(n):
                    x[q, k] += x[left, k] * x[right, k]


@_inner
def _expected_squares(totals, grams, moments, means, seconds, at, n):  # type: ignore[no-untyped-def]
    """Expected weighted squared residuals of n lines, from their sums, in place."""
    size = len(means)
    for a in range(size):
        q = at[a, a]
        for k in range(n):
            totals[k] += seconds[q, k] * grams[q, k]
            totals[k] -= 2.0 * means[a, k] * moments[a, k]
        for b in range(a):
            q = at[a, b]
            for k in range(n):
                totals[k] += 2.0 * seconds[q, k] * grams[q, k]


@_inner
def _sums_of_row(  # type: ignore[no-untyped-def]
    indices, values, weights, others_mean, others_second, gram, moment, start, stop
):
    """The system of a row; returns the sum of its squares."""
    packed, size, total, e = len(gram), len(moment), 0.0, start
    weighted = len(weights) > 0
    w = w1 = w2 = w3 = 1.0
    gram[:] = 0.0
    moment[:] = 0.0
    # Four entries at a time share what is read of the sums and written.
    while e + 4 <= stop:
        j, j1, j2, j3 = indices[e], indices[e + 1], indices[e + 2], indices[e + 3]
        if weighted:
            w, w1, w2, w3 = weights[e], weights[e + 1], weights[e + 2], weights[e + 3]
        for q in range(packed):
            gram[q] += (w * others_second[j, q] + w1 * others_second[j1, q]) + (
                w2 * others_second[j2, q] + w3 * others_second[j3, q]
            )
        y, y1, y2, y3 = values[e], values[e + 1], values[e + 2], values[e + 3]
        total += w * y * y * others_second[j, packed]
        total += w1 * y1 * y1 * others_second[j1, packed]
        total += w2 * y2 * y2 * others_second[j2, packed]
        total += w3 * y3 * y3 * others_second[j3, packed]
        y, y1, y2, y3 = w * y, w1 * y1, w2 * y2, w3 * y3
        for c in range(size):
            moment[c] += (y * others_mean[j, c] + y1 * others_mean[j1, c]) + (
                y2 * others_mean[j2, c] + y3 * others_mean[j3, c]
            )
        e += 4
    while e < stop:
        j, y = indices[e], values[e]
        w = weights[e] if weighted else 1.0
        for q in range(packed):
            gram[q] += w * others_second[j, q]
        total += w * y * y * others_second[j, packed]
        y *= w
        for c in range(size):
            moment[c] += y * others_mean[j, c]
        e += 1
    return total


@_inner
def _shares_of_row(  # type: ignore[no-untyped-def]
    indices,
    values,
    weights,
    given,
    others_mean,
    others_second,
    mean,
    second,
    at,
    own,
    freedom,
    share,
    told,
    work,
    start,
    stop,
):
    """The expected precisions of the entries of a row, from what it leaves of them.

    They are `share`, and `told` is how much the entries count with them.
    """
    size, packed = len(mean), len(second)
    for a in range(size):
        for b in range(a + 1):
            work[at[a, b]] = (1.0 if a == b else 2.0) * second[at[a, b]]
    for e in range(start, stop):
        j, y = indices[e], values[e]
        total = 0.0
        for q in range(packed):
            total += work[q] * others_second[j, q]
        product = 0.0
        for c in range(size):
            product += mean[c] * others_mean[j, c]
        total += y * (y * others_second[j, packed] - 2.0 * product)
        total = own * max(total, 0.0)
        if len(given) > 0:
            total *= given[e]
        share[e] = (freedom + 1.0) / (freedom + total)
        told[e] = share[e] * weights[e] if len(weights) > 0 else share[e]


@_inner
def _add_row(  # type: ignore[no-untyped-def]
    indices, values, weights, own, mean, second, grams, moments, start, stop
):
    """Add what a row, whose noise has the precision `own`, is to the other side."""
    packed, size = len(second), len(mean)
    weighted = len(weights) > 0
    for e in range(start, stop):
        j, y = indices[e], values[e]
        w = own * weights[e] if weighted else own
        for q in range(packed):
            grams[j, q] += w * second[q]
        y *= w
        for c in range(size):
            moments[j, c] += y * mean[c]
        moments[j, size] += y * values[e]


@_compiled
def _uncertain_rows(
    indptr: Array,
    indices: Array,
    values: Array,
    weights: Array,
    others_mean: Array,
    others_second: Array,
    precision: Array,
    pull: Array,
    free: Array,
    fixed: Array,
    value: Array,
    at: Array,
    learned: Array,
    counts: Array,
    freedom: Array,
    given: Array,
    untold: Array,
    share: Array,
    told: Array,
    noise: Array,
    means: Array,
    squares: Array,
    grams: Array,
    moments: Array,
    sums: Array,
    bounds: Array,
    first: int,
    last: int,
) -> None:
    size, packed, f = others_mean.shape[1], others_second.shape[1] - 1, len(free)
    gram, moment = np.empty((_LANES, packed)), np.empty((_LANES, size))
    own_grams, own_moments = np.empty((packed, _LANES)), np.empty((size, _LANES))
    own_seconds, own_means = np.empty((packed, _LANES)), np.empty((size, _LANES))
    totals, logs = np.empty(_LANES), np.empty(f)
    work, tailed = np.empty(packed), len(share) > 0
    for p in range(first, last):
        determinant = 0.0
        logs[:] = 0.0
        for start in range(bounds[p], bounds[p + 1], _LANES):
            n = min(_LANES, bounds[p + 1] - start)
            for k in range(n):
                i = start + k
                totals[k] = noise[i] * _sums_of_row(
                    indices,
                    values,
                    weights,
                    others_mean,
                    others_second,
                    gram[k],
                    moment[k],
                    indptr[i],
                    indptr[i + 1],
                )
            own = noise[start : start + n]
            pulls = pull if len(pull) == 1 else pull[start : start + n]
            _side_by_side(gram, own, own_grams)
            _side_by_side(moment, own, own_moments)
            determinant += _line_posteriors(
                own_grams,
                own_moments,
                precision,
                pulls,
                free,
                fixed[0],
                value[0],
                at,
                own_means,
                own_seconds,
                logs,
                n,
            )
            _expected_squares(
                totals, own_grams, own_moments, own_means, own_seconds, at, n
            )
            _one_by_one(own_means, means[start : start + n])
            _one_by_one(own_seconds, gram[:n])
            _add_sums(own_seconds, sums[p], n)
            for k in range(n):
                i = start + k
                squares[i] = totals[k] / noise[i]
                if learned[0] >= 0.0:
                    rate = learned[1] + max(squares[i], 0.0)
                    noise[i] = (learned[0] + counts[i]) / rate
                if tailed:
                    _shares_of_row(
                        *(indices, values, untold, given, others_mean, others_second),
                        *(means[i], gram[k], at, noise[i], freedom[0], share, told),
                        *(work, indptr[i], indptr[i + 1]),
                    )
                    _add_row(
                        *(indices, values, told, noise[i], means[i], gram[k]),
                        *(grams[p], moments[p], indptr[i], indptr[i + 1]),
                    )
                else:
                    _add_row(
                        *(indices, values, weights, noise[i], means[i], gram[k]),
                        *(grams[p], moments[p], indptr[i], indptr[i + 1]),
                    )
        sums[p, packed] = determinant
        for a in range(f):
            sums[p, packed + 1 + a] = logs[a]


@_compiled
def _uncertain_lines(
    grams: Array,
    moments: Array,
    noise: Array,
    precision: Array,
    pull: Array,
    free: Array,
    fixed: Array,
    value: Array,
    at: Array,
    means: Array,
    seconds: Array,
    squares: Array,
    sums: Array,
    bounds: Array,
    first: int,
    last: int,
) -> None:
    size, packed, f = means.shape[1], seconds.shape[1], len(free)
    own_grams, own_moments = np.empty((packed, _LANES)), np.empty((size + 1, _LANES))
    own_seconds, own_means = np.empty((packed, _LANES)), np.empty((size, _LANES))
    totals, logs = np.empty(_LANES), np.empty(f)
    for p in range(first, last):
        determinant = 0.0
        logs[:] = 0.0
        for start in range(bounds[p], bounds[p + 1], _LANES):
            n = min(_LANES, bounds[p + 1] - start)
            own = noise[start : start + n]
            pulls = pull if len(pull) == 1 else pull[start : start + n]
            _side_by_side(grams[start : start + n], own, own_grams)
            _side_by_side(moments[start : start + n], own, own_moments)
            totals[:] = own_moments[size]
            determinant += _line_posteriors(
                own_grams,
                own_moments,
                precision,
                pulls,
                free,
                fixed[0],
                value[0],
                at,
                own_means,
                own_seconds,
                logs,
                n,
            )
            _expected_squares(
                totals, own_grams, own_moments, own_means, own_seconds, at, n
            )
            for k in range(n):
                squares[start + k] = totals[k] / own[k]
            _one_by_one(own_means, means[start : start + n])
            _one_by_one(own_seconds, seconds[start : start + n])
            _add_sums(own_seconds, sums[p], n)
        sums[p, packed] = determinant
        for a in range(f):
            sums[p, packed + 1 + a] = logs[a]


@numba.njit(nogil=True, fastmath=_FAST_MATH, error_model="numpy", inline="never")
def _line_drawn(gram, target, chance, mean, drawn):  # type: ignore[no-untyped-def]
    """The mean and a draw of a Gaussian line, whose packed system is overwritten."""
    f = len(target)
    # Cholesky factor of the lower triangle, which is kept row by row.
    at_a = 0
    for a in range(f):
        at_b = 0
        for b in range(a):
            total = gram[at_a + b]
            for c in range(b):
                total -= gram[at_a + c] * gram[at_b + c]
            gram[at_a + b] = total * gram[at_b + b]
            at_b += b + 1
        total = gram[at_a + a]
        least = _LEAST_PIVOT * total
        for c in range(a):
            total -= gram[at_a + c] * gram[at_a + c]
        # The inverse of a pivot is all that is needed of it.
        gram[at_a + a] = 1.0 / np.sqrt(max(total, least))
        total = target[a]
        for c in range(a):
            total -= gram[at_a + c] * mean[c]
        mean[a] = total * gram[at_a + a]
        drawn[a] = mean[a] + chance[a]
        at_a += a + 1
    for a in range(f - 1, -1, -1):
        at_a -= a + 1
        mean[a] *= gram[at_a + a]
        drawn[a] *= gram[at_a + a]
        for c in range(a):
            mean[c] -= gram[at_a + c] * mean[a]
            drawn[c] -= gram[at_a + c] * drawn[a]


@_compiled
def _drawn_rows(
    indptr: Array,
    indices: Array,
    values: Array,
    weights: Array,
    basis: Array,
    shift: Array,
    precision: Array,
    own_precision: Array,
    pull: Array,
    noise: Array,
    chance: Array,
    products: Array,
    means: Array,
    draws: Array,
    squares: Array,
    bounds: Array,
    first: int,
    last: int,
) -> None:
    packed, f = products.shape[1], basis.shape[1]
    gram, target, each = np.empty(packed), np.empty(f), np.empty(4)
    weighted = len(weights) > 0
    for p in range(first, last):
        for i in range(bounds[p], bounds[p + 1]):
            gram[:] = 0.0
            target[:] = 0.0
            k, stop = np.int64(indptr[i]), np.int64(indptr[i + 1])
            # Four entries at a time share what is read of the sums and written.
            while k + 4 <= stop:
                j0, j1 = indices[k], indices[k + 1]
                j2, j3 = indices[k + 2], indices[k + 3]
                for c in range(4):
                    each[c] = weights[k + c] if weighted else 1.0
                w0, w1, w2, w3 = each[0], each[1], each[2], each[3]
                for q in range(packed):
                    gram[q] += (w0 * products[j0, q] + w1 * products[j1, q]) + (
                        w2 * products[j2, q] + w3 * products[j3, q]
                    )
                y0 = w0 * precision[j0] * (values[k] - shift[j0])
                y1 = w1 * precision[j1] * (values[k + 1] - shift[j1])
                y2 = w2 * precision[j2] * (values[k + 2] - shift[j2])
                y3 = w3 * precision[j3] * (values[k + 3] - shift[j3])
                for c in range(f):
                    target[c] += (y0 * basis[j0, c] + y1 * basis[j1, c]) + (
                        y2 * basis[j2, c] + y3 * basis[j3, c]
                    )
                k += 4
            while k < stop:
                j = indices[k]
                w = weights[k] if weighted else 1.0
                for q in range(packed):
                    gram[q] += w * products[j, q]
                y = w * precision[j] * (values[k] - shift[j])
                for c in range(f):
                    target[c] += y * basis[j, c]
                k += 1
            own = noise[i]
            for q in range(packed):
                gram[q] *= own
            pulled = pull[i] if len(pull) > 1 else pull[0]
            for a in range(f):
                gram[a * (a + 3) // 2] += own_precision[a]
                target[a] = own * target[a] + pulled[a]
            _line_drawn(gram, target, chance[i], means[i], draws[i])
            total = 0.0
            for e in range(indptr[i], indptr[i + 1]):
                j = indices[e]
                y = values[e] - shift[j]
                for c in range(f):
                    y -= draws[i, c] * basis[j, c]
                w = weights[e] if weighted else 1.0
                total += w * precision[j] * y * y
            squares[i] = total


@_inner
def _curved(entries, more, n, common, p, out):  # type: ignore[no-untyped-def]
    """The system of a row times p, and the product of that with p.

    The system is `common` for all cells, and `more` for each of the n entries.
    """
    zero, k = p.dtype.type(0), 0
    for c in range(len(p)):
        out[c] = common[c] * p[c]
    # Four entries at a time share what is read of p and written.
    while k + 4 <= n:
        a, a1, a2, a3 = entries[k], entries[k + 1], entries[k + 2], entries[k + 3]
        s = s1 = s2 = s3 = zero
        for c in range(len(p)):
            s += a[c] * p[c]
            s1 += a1[c] * p[c]
            s2 += a2[c] * p[c]
            s3 += a3[c] * p[c]
        s, s1 = s * more[k], s1 * more[k + 1]
        s2, s3 = s2 * more[k + 2], s3 * more[k + 3]
        for c in range(len(p)):
            out[c] += (a[c] * s + a1[c] * s1) + (a2[c] * s2 + a3[c] * s3)
        k += 4
    while k < n:
        s = zero
        for c in range(len(p)):
            s += entries[k, c] * p[c]
        s *= more[k]
        for c in range(len(p)):
            out[c] += entries[k, c] * s
        k += 1
    total = 0.0
    for c in range(len(p)):
        total += p[c] * out[c]
    return total


@_compiled
def _rows_beside_zeros(
    indptr: Array,
    indices: Array,
    targets: Array,
    weights: Array,
    basis: Array,
    common: Array,
    weight: Array,
    ridge: Array,
    sizes: Array,
    values: Array,
    losses: Array,
    bounds: Array,
    first: int,
    last: int,
) -> None:
    r, zero, one = basis.shape[1], basis.dtype.type(0), basis.dtype.type(1)
    weighted, unstored = len(weights) > 0, weight[0]
    n_steps, longest = sizes[0], sizes[1]
    # What a row needs of the basis lies in the first cache, and is read from there by
    # every step.
    entries, more = np.empty((longest, r), basis.dtype), np.empty(longest, basis.dtype)
    both = np.empty((6, r), basis.dtype)
    own, inverse, target, left, p, ahead = (
        both[0],
        both[1],
        both[2],
        both[3],
        both[4],
        both[5],
    )
    for i in range(bounds[first], bounds[last]):
        x = values[i]
        start, n = np.int64(indptr[i]), np.int64(indptr[i + 1]) - np.int64(indptr[i])
        total = 0.0
        for c in range(r):
            own[c] = common[c] + ridge[i]
            inverse[c] = own[c]
            target[c] = zero
            left[c] = -own[c] * x[c]
        for k in range(n):
            j, y = indices[start + k], targets[start + k]
            w = weights[start + k] if weighted else one
            more[k] = w - unstored
            total += np.float64(w) * np.float64(y) * np.float64(y)
            z = zero
            for c in range(r):
                entries[k, c] = basis[j, c]
                z += basis[j, c] * x[c]
            y *= w
            z = y - more[k] * z
            for c in range(r):
                v = entries[k, c]
                target[c] += y * v
                left[c] += z * v
                inverse[c] += more[k] * v * v
        size = 0.0
        for c in range(r):
            inverse[c] = one / inverse[c] if inverse[c] > zero else zero
            p[c] = inverse[c] * left[c]
            size += left[c] * p[c]
        for _ in range(n_steps):
            curvature = _curved(entries, more, n, own, p, ahead)
            if not (size > 0.0 and curvature > 0.0):
                break
            step, before = basis.dtype.type(size / curvature), size
            size = 0.0
            for c in range(r):
                x[c] += step * p[c]
                left[c] -= step * ahead[c]
                size += left[c] * left[c] * inverse[c]
            onwards = basis.dtype.type(size / before)
            for c in range(r):
                p[c] = inverse[c] * left[c] + onwards * p[c]
        for c in range(r):
            total -= np.float64(x[c]) * (np.float64(target[c]) + np.float64(left[c]))
        losses[i] = total


@_compiled
def _leading(
    numbers: Array, positions: Array, values: Array, first: int, last: int
) -> None:
    n_columns, n = numbers.shape[1], positions.shape[1]
    for i in range(first, last):
        row, best, at = numbers[i], values[i], positions[i]
        for j in range(n_columns):
            number = row[j]
            if number > best[n - 1]:
                p = n - 1
                while p > 0 and best[p - 1] < number:
                    best[p], at[p] = best[p - 1], at[p - 1]
                    p -= 1
                best[p], at[p] = number, j


def sampled_product(left: Array, right: Array, rows: Array, columns: Array) -> Array:
    dtype = np.result_type(left, right)
    out = empty(len(rows), dtype)
    inputs = (*_floats(dtype, left, right), *_indices(rows, columns))
    threads = _threads(len(out) * left.shape[1])
    pieces = _pieces(len(out), threads)
    share_out(partial(_product, *inputs, out), pieces, threads=threads)
    return out


def sampled_ray(
    left: Array,
    right: Array,
    d_left: Array,
    d_right: Array,
    rows: Array,
    columns: Array,
) -> tuple[Array, Array]:
    dtype = np.result_type(left, right, d_left, d_right)
    linear = empty(len(rows), dtype)
    quadratic = empty(len(rows), dtype)
    # Side by side, a row of both is one stretch of memory.
    lefts, rights = np.hstack([left, d_left]), np.hstack([right, d_right])
    inputs = (*_floats(dtype, lefts, rights), *_indices(rows, columns))
    threads = _threads(len(rows) * lefts.shape[1])
    task = partial(_ray, *inputs, linear, quadratic)
    share_out(task, _pieces(len(rows), threads), threads=threads)
    return linear, quadratic


def adjoint_products(
    indptr: Array, indices: Array, weights: Array, left: Array, right: Array
) -> tuple[Array, Array]:
    n_entries, (n_columns, r) = len(weights), right.shape
    dtype = np.result_type(weights, left, right)
    n_parts = n_entries // max(1, n_columns * max(r, _ENTRIES_OF_PART))
    n_parts = min(max(1, n_parts), _MOST_PARTS)
    to_left = np.zeros(left.shape, dtype)
    parts = np.zeros((n_parts, n_columns, r), dtype)
    heads = np.zeros((n_parts, r))
    starts = np.arange(n_parts + 1) * n_entries // n_parts
    rows = np.searchsorted(indptr, starts, side="right") - 1
    inputs = *_indices(indptr, indices), *_floats(dtype, weights, left, right)
    threads = _threads(n_entries * r)
    runs = _runs(n_parts if n_entries else 0, threads)
    task = partial(_adjoint, *inputs, to_left, heads, parts, starts, rows)
    share_out(task, runs, threads=threads)
    for row, head in zip(rows[:-1] if n_entries else (), heads, strict=False):
        to_left[row] += head.astype(dtype)
    if n_parts == 1:
        return to_left, parts[0]
    return to_left, parts.sum(axis=0, dtype=np.float64).astype(dtype, copy=False)


def contraction(stack: Array, left: Array, right: Array, out: Array) -> None:
    inputs = _floats(stack.dtype, stack, left, right.T)
    threads = _threads(stack.size)
    numbers = len(stack), stack.shape[1] * stack.shape[2]
    pieces = slabs(numbers, _STACK_PIECE if threads > 1 else stack.size)
    runs = ((part.start, part.stop) for part in pieces)
    share_out(partial(_contraction, *inputs, out), runs, threads=threads)


def contracted_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32)


def normal_product(design: Array, weights: Array, vector: Array) -> Array:
    inputs = *_floats(design.dtype, design), *_floats(vector.dtype, weights, vector)
    return _sum_over_rows(partial(_normal, *inputs), len(design), vector)


def there_and_back(
    stack: Array, index: Array, cells: Array, weights: Array
) -> tuple[Array, Array]:
    stack, cells, weights = _floats(stack.dtype, stack, cells, weights)
    measured = np.empty((len(cells), len(index)), stack.dtype)
    loop = _there_and_back if len(cells) == 1 else _both_there_and_back
    task = partial(loop, stack, *_indices(index), cells, weights, measured)
    return measured, _sum_over_rows(task, len(index), cells)


def uncertain_rows(
    pattern: Pattern,
    others: Others,
    unknown: Unknown,
    noise: Array,
    learned: Learned,
    tail: Tail | None = None,
) -> Sweep:
    indptr, indices, values, weights = pattern
    n_rows, (n_others, size) = len(indptr) - 1, others.mean.shape
    packed, f = others.second.shape[1], len(unknown.free)
    n_parts = _parts_of_rows(len(values), n_others, packed + size + 1)
    starts = np.arange(n_parts + 1) * len(values) // n_parts
    bounds = np.searchsorted(indptr, starts)
    bounds[0], bounds[-1] = 0, n_rows
    scaled_mean = others.mean * others.precision[:, None]
    scaled = np.hstack([others.second, np.ones((n_others, 1))])
    scaled *= others.precision[:, None]
    noise, means, squares = noise.copy(), np.empty((n_rows, size)), np.empty(n_rows)
    grams = np.zeros((n_parts, n_others, packed))
    moments = np.zeros((n_parts, n_others, size + 1))
    sums = np.zeros((n_parts, packed + 1 + f))
    untold = np.empty(0) if weights is None else weights
    share = np.empty(0) if tail is None else tail.share.copy()
    first = share * untold if tail is not None and weights is not None else share
    task = partial(
        _uncertain_rows,
        *_indices(indptr, indices),
        *_floats(np.dtype(float), values, untold if tail is None else first),
        *_floats(np.dtype(float), scaled_mean, scaled),
        *_of_unknown(unknown),
        *_floats(np.dtype(float), np.array(learned.rate), learned.counts),
        *_of_tail(tail),
        *_floats(np.dtype(float), untold),
        *(share, np.empty_like(share)),
        *(noise, means, squares, grams, moments, sums, bounds),
    )
    threads = _threads(len(values) * packed)
    share_out(task, _runs(n_parts, threads), threads=threads)
    totals = Totals.of(sums.sum(axis=0), packed)
    both = (part.sum(axis=0) if n_parts > 1 else part[0] for part in (grams, moments))
    grams, moments = both
    shares = None if tail is None else share
    return Sweep(means, squares, noise, totals, grams, moments, shares)


def uncertain_lines(
    grams: Array, moments: Array, noise: Array, unknown: Unknown
) -> Lines:
    n, packed = grams.shape
    size, f = moments.shape[1] - 1, len(unknown.free)
    n_parts = min(max(1, n // _ROWS_OF_PART), _MOST_PARTS)
    bounds = np.arange(n_parts + 1) * n // n_parts
    means, seconds, squares = np.empty((n, size)), np.empty((n, packed)), np.empty(n)
    sums = np.zeros((n_parts, packed + 1 + f))
    task = partial(
        _uncertain_lines,
        *_floats(np.dtype(float), grams, moments, noise),
        *_of_unknown(unknown),
        *(means, seconds, squares, sums, bounds),
    )
    threads = _threads(n * packed * size)
    share_out(task, _runs(n_parts, threads), threads=threads)
    return Lines(means, seconds, squares, Totals.of(sums.sum(axis=0), packed))


def line_means(grams: Array, moments: Array, noise: Array, unknown: Unknown) -> Array:
    # Second moments are a small part of the work here.
    return uncertain_lines(grams, moments, noise, unknown).mean[:, unknown.free]


def drawn_rows(
    pattern: Pattern, others: OthersDrawn, prior: Prior, noise: Array, chance: Array
) -> Drawn:
    indptr, indices, values, weights = pattern
    n_rows, f = chance.shape
    n_parts = min(max(1, n_rows // _ROWS_OF_PART), _MOST_PARTS)
    bounds = np.searchsorted(indptr, np.arange(n_parts + 1) * len(values) // n_parts)
    bounds[0], bounds[-1] = 0, n_rows
    means, draws, squares = (
        np.empty((n_rows, f)),
        np.empty((n_rows, f)),
        np.empty(n_rows),
    )
    products = others.products()
    task = partial(
        _drawn_rows,
        *_indices(indptr, indices),
        *_floats(np.dtype(float), values, np.empty(0) if weights is None else weights),
        *_floats(np.dtype(float), *others, prior.precision, np.atleast_2d(prior.pull)),
        *_floats(np.dtype(float), noise, chance, products),
        *(means, draws, squares, bounds),
    )
    threads = _threads(len(values) * products.shape[1])
    share_out(task, _runs(n_parts, threads), threads=threads)
    return Drawn(means, draws, squares)


def rows_beside_zeros(
    pattern: Pattern,
    others: OthersBesideZeros,
    ridge: Array,
    start: Array,
    n_steps: int,
) -> Solved:
    indptr, indices, targets, weights = pattern
    dtype, n_rows = start.dtype, len(start)
    values, losses = np.array(start, order="C"), np.empty(n_rows)
    n_parts = min(max(1, n_rows // _ROWS_OF_PART), _PARTS_OF_ROWS)
    bounds = np.searchsorted(indptr, np.arange(n_parts + 1) * len(targets) // n_parts)
    bounds[0], bounds[-1] = 0, n_rows
    weight = np.array([others.weight])
    sizes = np.array([n_steps, np.max(np.diff(indptr), initial=0)])
    task = partial(
        _rows_beside_zeros,
        *_indices(indptr, indices),
        *_floats(dtype, targets, np.empty(0) if weights is None else weights),
        *_floats(dtype, others.basis, others.weight * others.squares, weight, ridge),
        *(_frozen(sizes), values, losses, bounds),
    )
    threads = _threads(len(targets) * start.shape[1])
    share_out(task, _runs(n_parts, threads), threads=threads)
    return Solved(values, losses)


def leading(numbers: Array, n: int) -> Leading:
    positions = np.zeros((len(numbers), n), np.int64)
    values = np.full((len(numbers), n), -np.inf, numbers.dtype)
    task = partial(_leading, *_floats(numbers.dtype, numbers), positions, values)
    threads = _threads(numbers.size)
    parts = slabs(numbers.shape, _STACK_PIECE if threads > 1 else numbers.size)
    runs = ((part.start, part.stop) for part in parts)
    share_out(task, runs, threads=threads)
    return Leading(positions, values)


def _of_tail(tail: Tail | None) -> tuple[Array, ...]:
    """The degrees of freedom, and the given precisions."""
    freedom = np.array([np.inf if tail is None else tail.freedom])
    given = np.empty(0) if tail is None or tail.given is None else tail.given
    return _floats(np.dtype(float), freedom, given)


def _of_unknown(unknown: Unknown) -> tuple[Array, ...]:
    pull = np.atleast_2d(unknown.pull)
    floats = _floats(np.dtype(float), unknown.precision, pull)
    fixed = -1 if unknown.fixed is None else unknown.fixed
    value = np.array([unknown.value])
    whole = (unknown.free, np.array([fixed]))
    return (*floats, *map(_frozen, (*whole, value, unknown.at)))


def _parts_of_rows(n_entries: int, n_others: int, width: int) -> int:
    """In how many parts a sweep over rows sums what the other side gets."""
    by_entries = n_entries // max(1, _ENTRIES_OF_LINE * n_others)
    by_memory = _MOST_NUMBERS // max(1, n_others * width)
    by_work = n_entries * width // _SHARED
    return min(max(1, min(by_entries, by_memory, by_work)), _MOST_PARTS)


def _sum_over_rows(loop: Callable[..., None], n: int, like: Array) -> Array:
    """The sum over n rows that the loop computes in parts, arrays like `like`."""
    size = n * like.shape[-1]
    n_parts = min(max(1, size // _SHARED), max(1, n // _ROWS_OF_PART), _MOST_PARTS)
    parts = np.empty((n_parts, *like.shape), like.dtype)
    starts = np.arange(n_parts + 1) * n // n_parts
    threads = _threads(size)
    share_out(partial(loop, parts, starts), _runs(n_parts, threads), threads=threads)
    if n_parts == 1:
        return np.asarray(parts[0])
    return parts.sum(axis=0, dtype=np.float64).astype(like.dtype, copy=False)


def ray_sums(
    z: Array, targets: Array, z1: Array, z2: Array, weights: Array | None = None
) -> Array:
    if weights is None:
        return _summed(_sums, 6, z, targets, z1, z2)
    return _summed(_weighted_sums, 6, z, targets, z1, z2, weights)


def squared_distance(z: Array, targets: Array, weights: Array | None = None) -> float:
    if weights is None:
        return float(_summed(_distance, 1, z, targets)[0])
    return float(_summed(_weighted_distance, 1, z, targets, weights)[0])


def _summed(loop: Callable[..., None], n_sums: int, *vectors: Array) -> Array:
    """Sums over the entries, a piece at a time, and then over the pieces in order."""
    vectors = _floats(np.result_type(*vectors), *vectors)
    n_entries = len(vectors[0])
    sums = np.zeros((-(-n_entries // _PIECE), n_sums))
    threads = _threads(len(vectors) * n_entries)
    pieces = _pieces(n_entries, threads)
    share_out(partial(loop, *vectors, sums), pieces, threads=threads)
    return np.asarray(sums.sum(axis=0))


def ray_point(z: Array, z1: Array, z2: Array, t: float) -> Array:
    dtype = np.result_type(z, z1, z2)
    inputs = *_floats(dtype, z, z1, z2), dtype.type(t)
    out = empty(len(z), dtype)
    threads = _threads(4 * len(z))
    pieces = _pieces(len(z), threads)
    share_out(partial(_point, *inputs, out), pieces, threads=threads)
    return out


def _pieces(n_entries: int, threads: int) -> Iterable[tuple[int, int]]:
    return _runs(-(-n_entries // _PIECE), threads)


def _runs(n_parts: int, threads: int) -> Iterable[tuple[int, int]]:
    """Ranges (first, last) of the parts that a thread takes at a time.

    A single thread takes all of them, so that it releases the interpreter lock, and
    waits for it again, only once.
    """
    return pairwise(range(n_parts + 1)) if threads > 1 else [(0, n_parts)]


def _threads(n_numbers: int) -> int:
    return allowed_threads() if n_numbers >= _SHARED else 1


def _floats(dtype: np.dtype, *arrays: Array) -> tuple[Array, ...]:
    return tuple(_frozen(np.ascontiguousarray(array, dtype)) for array in arrays)


def _indices(*arrays: Array) -> tuple[Array, ...]:
    """Unsigned integers, for which numba compiles no indexing from the end."""
    small = all(array.dtype == np.int32 for array in arrays)
    signed, unsigned = (np.int32, np.uint32) if small else (np.int64, np.uint64)
    return tuple(
        _frozen(np.ascontiguousarray(array, signed).view(unsigned)) for array in arrays
    )


def _frozen(array: Array) -> Array:
    """A read-only view: numba compiles anew for every kind of array it meets."""
    view = array.view()
    view.flags.writeable = False
    return view
