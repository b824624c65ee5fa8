"""The kernels in plain NumPy and SciPy; see the package for what they compute.

Sampled products: entries are taken in chunks. Where a chunk of entries covers a good
share of the rows it lies in, those rows are multiplied out and the entries picked from
the product; elsewhere the rows of the two factors are gathered through buffers that
fit the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from functools import lru_cache

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import dot, selected_rows, slabs
from skprecgd._runtime.arrays import empty
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
    lower_index,
    packed_of,
    unpacked,
)

# Entries of a chunk, and numbers in a gathered buffer: both stay in the cache.
_CHUNK = 1 << 16
_BUFFER = 1 << 16
# Numbers of a stack (1 MB of float64) that are multiplied by both factors while in the
# second-level cache.
_STACK_CHUNK = 1 << 17
# Numbers of rows (4 MB of float64) that are summed while they are in the third-level
# cache: the longer the products, the less threads wait for one another.
_ROWS_CHUNK = 1 << 19
# Numbers of the systems of uncertain lines that are solved at a time (32 MB).
_UNCERTAIN_NUMBERS = 1 << 22
# Rows of a sparse array up to which its construction costs more than what it is for.
_FEW_ROWS = 64
# Cost of a gather in units of that of a matrix product, per entry and column.
_DENSE_GAIN = 8


def sampled_product(left: Array, right: Array, rows: Array, columns: Array) -> Array:
    out = empty(len(rows), np.result_type(left, right))
    for chunk in _chunks(len(rows), _CHUNK):
        i, j = rows[chunk], columns[chunk]
        block = _dense_rows(i, len(right))
        if block is None:
            _gather(left, right, i, j, out[chunk])
        else:
            cells = _cells(i, j, block, len(right))
            out[chunk] = (left[block] @ right.T).ravel().take(cells)
    return out


def sampled_ray(
    left: Array,
    right: Array,
    d_left: Array,
    d_right: Array,
    rows: Array,
    columns: Array,
) -> tuple[Array, Array]:
    r = left.shape[1]
    both_left = np.hstack([left, d_left])
    both_right = np.hstack([d_right, right])
    dtype = np.result_type(left, right, d_left, d_right)
    linear = empty(len(rows), dtype)
    quadratic = empty(len(rows), dtype)
    for chunk in _chunks(len(rows), _CHUNK):
        i, j = rows[chunk], columns[chunk]
        block = _dense_rows(i, len(right))
        if block is None:
            _gather_ray(both_left, both_right, r, i, j, linear[chunk], quadratic[chunk])
        else:
            cells = _cells(i, j, block, len(right))
            linear[chunk] = (both_left[block] @ both_right.T).ravel().take(cells)
            quadratic[chunk] = (d_left[block] @ d_right.T).ravel().take(cells)
    return linear, quadratic


def adjoint_products(
    indptr: Array, indices: Array, weights: Array, left: Array, right: Array
) -> tuple[Array, Array]:
    matrix = unchecked_csr(indptr, indices, weights, (len(left), len(right)))
    return np.asarray(matrix @ right), np.asarray(matrix.T @ left)


def unchecked_csr(
    indptr: Array, indices: Array, data: Array, shape: tuple[int, int]
) -> sparse.csr_array:
    """A CSR array of these parts; the constructor would scan them at every call."""
    few = shape[0] <= _FEW_ROWS
    matrix = copy(_empty_csr(shape)) if few else sparse.csr_array(shape)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    return matrix


@lru_cache(maxsize=16)
def _empty_csr(shape: tuple[int, int]) -> sparse.csr_array:
    """What others are copied from, in a quarter of the time."""
    return sparse.csr_array(shape)


def contraction(stack: Array, left: Array, right: Array, out: Array) -> None:
    n, n_rows, n_columns = stack.shape
    split = n_rows * left.shape[1]
    left, right = left.astype(stack.dtype, order="F"), right.astype(stack.dtype)
    for part in slabs((n, n_rows * n_columns), _STACK_CHUNK):
        some = stack[part]
        out[part, :split] = (some @ right).reshape(len(some), -1)
        out[part, split:] = (left.T @ some).reshape(len(some), -1)


def contracted_dtype(dtype: np.dtype) -> np.dtype:
    return dtype


def normal_product(design: Array, weights: Array, vector: Array) -> Array:
    return np.asarray((weights * (design @ vector)) @ design)


def there_and_back(
    stack: Array, index: Array, cells: Array, weights: Array
) -> tuple[Array, Array]:
    measured = np.empty((len(cells), len(index)), stack.dtype)
    back = np.zeros_like(cells)
    for part, rows in selected_rows(stack, index, _ROWS_CHUNK):
        # One vector at a time, because BLAS packs two columns as if they were many.
        for flat, z, total in zip(cells, measured, back, strict=True):
            np.dot(rows, flat, out=z[part])
            total += (weights[part] * z[part]) @ rows
    return measured, back


def ray_sums(
    z: Array, targets: Array, z1: Array, z2: Array, weights: Array | None = None
) -> Array:
    r0 = z - targets
    w0, w1, w2 = r0, z1, z2
    if weights is not None:
        w0, w1, w2 = (weights * vector for vector in (r0, z1, z2))
    pairs = [(w0, r0), (w0, z1), (w1, z1), (w0, z2), (w1, z2), (w2, z2)]
    return np.array([dot(a, b) for a, b in pairs])


def squared_distance(z: Array, targets: Array, weights: Array | None = None) -> float:
    residual = z - targets
    return dot(residual if weights is None else weights * residual, residual)


def ray_point(z: Array, z1: Array, z2: Array, t: float) -> Array:
    step = z.dtype.type(t)
    out = np.multiply(step, z2, out=empty(len(z), np.result_type(z, z1, z2)))
    out += z1
    out *= step
    out += z
    return out


def uncertain_rows(
    pattern: Pattern,
    others: Others,
    unknown: Unknown,
    noise: Array,
    learned: Learned,
    tail: Tail | None = None,
) -> Sweep:
    seen = pattern if tail is None else _with_shares(pattern, tail.share)
    share = None if tail is None else tail.share.copy()
    matrix, squared, weight = _weighted_patterns(seen, len(others.mean))
    n_rows, size = matrix.shape[0], others.mean.shape[1]
    precision = others.precision[:, None]
    mean, second = precision * others.mean, precision * others.second
    grams = np.zeros_like(others.second)
    moments = np.zeros((len(others.mean), size + 1))
    noise, parts = noise.copy(), []
    for part in slabs((n_rows, second.shape[1] * size), _UNCERTAIN_NUMBERS):
        rows, squares_of, gaps = (
            _lines_of(each, part) for each in (matrix, squared, weight)
        )
        own = noise[part, None]
        sums = own * np.column_stack([rows @ mean, squares_of @ others.precision])
        of_part = np.ones(len(own)), unknown.of_lines(part)
        lines = _posteriors(own * (gaps @ second), sums, *of_part)
        squares = lines.squares / noise[part]
        if learned.rate[0] >= 0.0:
            counts = learned.counts[part]
            rate = learned.rate[1] + np.maximum(squares, 0.0)
            noise[part] = (learned.rate[0] + counts) / rate
        if tail is not None and share is not None:
            told, where = _part_of(pattern, part)
            share[where] = _shares(told, where, others, lines, noise[part], tail)
            told = _with_shares(told, share[where])
            rows, squares_of, gaps = _weighted_patterns(told, len(others.mean))
        scaled = noise[part, None]
        grams += gaps.T @ (scaled * lines.second)
        moments[:, :size] += rows.T @ (scaled * lines.mean)
        moments[:, size] += squares_of.T @ noise[part]
        parts.append((lines.mean, squares, lines.totals))
    means, squares = (np.concatenate([each[k] for each in parts]) for k in (0, 1))
    totals = _summed_totals([each[2] for each in parts])
    return Sweep(means, squares, noise, totals, grams, moments, share)


def uncertain_lines(
    grams: Array, moments: Array, noise: Array, unknown: Unknown
) -> Lines:
    size = moments.shape[1] - 1
    parts = [
        _posteriors(grams[part], moments[part], noise[part], unknown.of_lines(part))
        for part in slabs((len(grams), size**2), _UNCERTAIN_NUMBERS)
    ]
    return Lines(
        np.concatenate([lines.mean for lines in parts]),
        np.concatenate([lines.second for lines in parts]),
        np.concatenate([lines.squares for lines in parts]),
        _summed_totals([lines.totals for lines in parts]),
    )


def line_means(grams: Array, moments: Array, noise: Array, unknown: Unknown) -> Array:
    means = [
        _means(grams[part], moments[part], noise[part], unknown.of_lines(part))
        for part in slabs((len(grams), moments.shape[1] ** 2), _UNCERTAIN_NUMBERS)
    ]
    return np.concatenate(means) if len(means) != 1 else means[0]


def drawn_rows(
    pattern: Pattern, others: OthersDrawn, prior: Prior, noise: Array, chance: Array
) -> Drawn:
    indptr, indices, values, weights = pattern
    n_others, f = others.basis.shape
    own = values - others.shift[indices]
    each = np.ones(len(values)) if weights is None else weights
    gaps, moments = (
        unchecked_csr(indptr, indices, numbers, (len(chance), n_others))
        for numbers in (each, each * own)
    )
    products, scaled = others.products(), others.precision[:, None] * others.basis
    pull = np.broadcast_to(prior.pull, chance.shape)
    means, draws = np.empty_like(chance), np.empty_like(chance)
    for part in slabs((len(chance), f**2), _UNCERTAIN_NUMBERS):
        grams = noise[part, None] * (_lines_of(gaps, part) @ products)
        target = noise[part, None] * (_lines_of(moments, part) @ scaled) + pull[part]
        inverse = unpacked(grams, lower_index(f))
        inverse[:, np.arange(f), np.arange(f)] += prior.precision
        root = np.linalg.cholesky(inverse)
        means[part] = np.linalg.solve(inverse, target[:, :, None])[:, :, 0]
        turned = np.linalg.solve(root.transpose(0, 2, 1), chance[part, :, None])
        draws[part] = means[part] + turned[:, :, 0]
    lines = np.repeat(np.arange(len(chance)), np.diff(indptr))
    residual = own - sampled_product(draws, others.basis, lines, indices)
    weighed = each * others.precision[indices] * residual**2
    return Drawn(means, draws, np.bincount(lines, weighed, len(chance)))


def rows_beside_zeros(
    pattern: Pattern,
    others: OthersBesideZeros,
    ridge: Array,
    start: Array,
    n_steps: int,
) -> Solved:
    indptr, indices, targets, given = pattern
    basis, squares, weight = others
    shape = len(start), len(basis)
    lines = np.repeat(np.arange(len(start)), np.diff(indptr))
    weights = np.ones_like(targets) if given is None else given

    def summed(numbers: Array, of: Array = basis) -> Array:
        return np.asarray(unchecked_csr(indptr, indices, numbers, shape) @ of)

    more = weights - start.dtype.type(weight)
    common = (weight * squares + ridge[:, None]).astype(start.dtype)

    def product(rows: Array) -> Array:
        z = sampled_product(rows, basis, lines, indices)
        return common * rows + summed(more * z)

    x, target = start.copy(), summed(weights * targets)
    diagonal = common + summed(more, basis**2)
    inverse = np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0)
    left = target - product(x)
    direction = inverse * left
    size = np.sum(left * direction, axis=1)
    for _ in range(n_steps):
        ahead = product(direction)
        curvature = np.sum(direction * ahead, axis=1)
        step = _quotient(size, curvature)[:, None]
        x += step * direction
        left = left - step * ahead
        scaled, before = inverse * left, size
        size = np.sum(left * scaled, axis=1)
        direction = scaled + _quotient(size, before)[:, None] * direction
    each = weights.astype(np.float64) * targets.astype(np.float64) ** 2
    losses = np.bincount(lines, each, len(start)).astype(np.float64)
    losses -= np.sum(x * (target + left), axis=1, dtype=np.float64)
    return Solved(x, losses)


def _quotient(a: Array, b: Array) -> Array:
    """Zero where nothing is left to be divided by."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0)


def leading(numbers: Array, n: int) -> Leading:
    positions = np.zeros((len(numbers), n), np.int64)
    values = np.full((len(numbers), n), -np.inf, numbers.dtype)
    for row, at, best in zip(numbers, positions, values, strict=True):
        # Of equal numbers a stable sort takes the first.
        found = np.flatnonzero(row >= np.partition(row, -n)[-n])
        at[:] = found[np.argsort(-row[found], kind="stable")[:n]]
        best[:] = row[at]
    return Leading(positions, values)


def _with_shares(pattern: Pattern, share: Array) -> Pattern:
    """The pattern whose weights are multiplied by those of the entries' noise."""
    each = share if pattern.weights is None else pattern.weights * share
    return pattern._replace(weights=each)


def _part_of(pattern: Pattern, part: slice) -> tuple[Pattern, slice]:
    """The pattern of some rows, and where their entries are."""
    starts = pattern.indptr[part.start : part.stop + 1]
    own = slice(starts[0], starts[-1])
    weights = None if pattern.weights is None else pattern.weights[own]
    entries = pattern.indices[own], pattern.values[own], weights
    return Pattern(starts - starts[0], *entries), own


def _shares(
    pattern: Pattern, own: slice, others: Others, lines: Lines, noise: Array, tail: Tail
) -> Array:
    """The expected precisions of entries, from what their rows leave of them."""
    starts, columns, values, _ = pattern
    rows = np.repeat(np.arange(len(noise)), np.diff(starts))
    twice = packed_of(2.0 - np.eye(lines.mean.shape[1]))
    fitted = sampled_product(lines.mean, others.mean, rows, columns)
    squares = sampled_product(lines.second * twice, others.second, rows, columns)
    left = np.maximum(values**2 - 2.0 * values * fitted + squares, 0.0)
    left *= noise[rows] * others.precision[columns]
    if tail.given is not None:
        left *= tail.given[own]
    return np.asarray((tail.freedom + 1.0) / (tail.freedom + left))


def _lines_of(matrix: sparse.csr_array, part: slice) -> sparse.csr_array:
    """A part of the rows; all of them need no copy."""
    return matrix if part.stop >= matrix.shape[0] and part.start == 0 else matrix[part]


def _weighted_patterns(
    pattern: Pattern, n_others: int
) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """The entries, their squares and ones, each times the weights."""
    indptr, indices, values, weights = pattern
    ones = np.ones(len(values)) if weights is None else weights
    shape = len(indptr) - 1, n_others
    numbers = ones * values, ones * values**2, ones
    first, second, third = (
        unchecked_csr(indptr, indices, each, shape) for each in numbers
    )
    return first, second, third


def _systems(
    grams: Array, moments: Array, noise: Array, unknown: Unknown
) -> tuple[Array, Array]:
    """Inverse covariances of some lines, and what their means are solved from."""
    free, at = unknown.free, unknown.at
    inverse = noise[:, None, None] * grams[:, at[free[:, None], free]]
    diagonal = np.arange(len(free))
    inverse[:, diagonal, diagonal] += unknown.precision
    target = moments[:, free]
    if unknown.fixed is not None:
        target = target - unknown.value * grams[:, at[free, unknown.fixed]]
    return inverse, noise[:, None] * target + unknown.pull


def _means(grams: Array, moments: Array, noise: Array, unknown: Unknown) -> Array:
    """The means of some lines, all at a time."""
    inverse, target = _systems(grams, moments, noise, unknown)
    return np.linalg.solve(inverse, target[:, :, None])[:, :, 0]


def _posteriors(grams: Array, moments: Array, noise: Array, unknown: Unknown) -> Lines:
    """The Gaussians of some lines, all at a time."""
    free, size = unknown.free, moments.shape[1] - 1
    inverse, target = _systems(grams, moments, noise, unknown)
    diagonal = np.arange(len(free))
    mean = np.zeros((len(grams), size))
    if unknown.fixed is not None:
        mean[:, unknown.fixed] = unknown.value
    covariance = np.linalg.inv(inverse)
    mean[:, free] = np.einsum("nij,nj->ni", covariance, target)
    logs = np.sum(np.log(inverse[:, diagonal, diagonal]), axis=0)
    determinant = -float(np.sum(np.linalg.slogdet(inverse)[1]))
    second = mean[:, :, None] * mean[:, None, :]
    second[:, free[:, None], free] += 0.5 * (covariance + covariance.transpose(0, 2, 1))
    packed = packed_of(second)
    twice = 2.0 - np.eye(size)
    squares = moments[:, size] - 2.0 * np.einsum("ij,ij->i", mean, moments[:, :size])
    squares += np.einsum("ij,ij->i", packed * packed_of(twice), grams)
    return Lines(mean, packed, squares, Totals(packed.sum(axis=0), determinant, logs))


def _summed_totals(parts: Sequence[Totals]) -> Totals:
    second, determinant, logs = (sum(each) for each in zip(*parts, strict=True))
    return Totals(second, float(determinant), logs)


def _dense_rows(rows: Array, n_columns: int) -> slice | None:
    """The rows to multiply out for these entries, or None if gathering is cheaper."""
    low, high = int(rows.min()), int(rows.max()) + 1
    if (high - low) * n_columns > _DENSE_GAIN * len(rows):
        return None
    return slice(low, high)


def _cells(rows: Array, columns: Array, block: slice, n_columns: int) -> Array:
    """Positions of the entries in the flattened block."""
    return (rows - block.start).astype(np.intp) * n_columns + columns


def _gather(left: Array, right: Array, rows: Array, columns: Array, out: Array) -> None:
    for chunk in _chunks(len(rows), _buffer_rows(left.shape[1])):
        x = left.take(rows[chunk], axis=0)
        y = right.take(columns[chunk], axis=0)
        np.einsum("ij,ij->i", x, y, out=out[chunk])


def _gather_ray(
    both_left: Array,
    both_right: Array,
    r: int,
    rows: Array,
    columns: Array,
    linear: Array,
    quadratic: Array,
) -> None:
    """As `sampled_ray`, for ``[left, d_left]`` and ``[d_right, right]``."""
    for chunk in _chunks(len(rows), _buffer_rows(2 * r)):
        x = both_left.take(rows[chunk], axis=0)
        y = both_right.take(columns[chunk], axis=0)
        np.einsum("ij,ij->i", x, y, out=linear[chunk])
        np.einsum("ij,ij->i", x[:, r:], y[:, :r], out=quadratic[chunk])


def _buffer_rows(width: int) -> int:
    return max(1, _BUFFER // max(1, width))


def _chunks(n_entries: int, size: int) -> Iterator[slice]:
    for start in range(0, n_entries, size):
        yield slice(start, start + size)
