"""What the kernels for uncertain lines take and give, in packed symmetric form.

A line is a row or a column of the data matrix, and its vector x is Gaussian. Second
moments ``E x x^T`` are the upper triangles of symmetric matrices, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np

from skprecgd._runtime.typing import Array


class Pattern(NamedTuple):
    """The entries by rows, as in a CSR matrix.

    Attributes
    ----------
    indptr, indices : ndarray of int, shape (n_rows + 1,), (n_entries,)
    values : ndarray of shape (n_entries,)
    weights : ndarray of shape (n_entries,) or None
        Factors of the entries' precision; None is one.
    """

    indptr: Array
    indices: Array
    values: Array
    weights: Array | None


class Others(NamedTuple):
    """The lines of the other side, as the lines to be found see them.

    Attributes
    ----------
    mean : ndarray of shape (n_others, size)
    second : ndarray of shape (n_others, size (size + 1) / 2)
    precision : ndarray of shape (n_others,)
        Inverse variance of the noise in each.
    """

    mean: Array
    second: Array
    precision: Array


class Learned(NamedTuple):
    """How the noise of the rows is learned on the way, a row at a time.

    Attributes
    ----------
    rate : tuple of float
        The strength s of the prior, and s times its variance; s below zero: not at all.
    counts : ndarray of shape (n_rows,)
    """

    rate: tuple[float, float]
    counts: Array


class Tail(NamedTuple):
    """Noise that is Student's t: each entry has a precision of its own, and learns it.

    Attributes
    ----------
    freedom : float
        Degrees of freedom.
    share : ndarray of shape (n_entries,)
        Expected precision of each entry, in units of that of its row and column.
    given : ndarray of shape (n_entries,) or None
        By what precisions differ beside that; None is one.
    """

    freedom: float
    share: Array
    given: Array | None


@dataclass(frozen=True)
class Unknown:
    """Which coordinates of a line are found, and what is known of them before.

    Attributes
    ----------
    free : ndarray of int, shape (f,)
        Coordinates that are found.
    precision : ndarray of shape (f,)
        Inverse variances of their prior.
    pull : ndarray of shape (f,) or (n_lines, f)
        These times the means of the prior, of all lines or of each.
    fixed : int or None
        A coordinate that is given.
    value : float
        The value of that.
    at : ndarray of int, shape (size, size)
        Where products of two coordinates are in a packed matrix.
    """

    free: Array
    precision: Array
    pull: Array
    fixed: int | None
    value: float
    at: Array

    def of_lines(self, part: slice) -> Unknown:
        """What is to be found of some of the lines."""
        return self if self.pull.ndim == 1 else replace(self, pull=self.pull[part])


class Totals(NamedTuple):
    """Sums over all lines of a side.

    Attributes
    ----------
    second : ndarray of shape (size (size + 1) / 2,)
        Of the second moments.
    log_determinant : float
        Of the log determinants of the covariances.
    log_diagonal : ndarray of shape (f,)
        Of the logarithms of the diagonals of the inverse covariances.
    """

    second: Array
    log_determinant: float
    log_diagonal: Array

    @classmethod
    def of(cls, sums: Array, packed: int) -> Self:
        return cls(sums[:packed], float(sums[packed]), sums[packed + 1 :])


class Lines(NamedTuple):
    """Gaussian lines.

    Attributes
    ----------
    mean : ndarray of shape (n, size)
    second : ndarray of shape (n, size (size + 1) / 2)
    squares : ndarray of shape (n,)
        Expected weighted squared residual of the entries of each.
    totals : Totals
    """

    mean: Array
    second: Array
    squares: Array
    totals: Totals


class Sweep(NamedTuple):
    """Gaussian rows, and what they are to the lines of the other side.

    Attributes
    ----------
    mean : ndarray of shape (n_rows, size)
    squares : ndarray of shape (n_rows,)
    noise : ndarray of shape (n_rows,)
        Inverse variance of the noise of each row.
    totals : Totals
    grams : ndarray of shape (n_others, size (size + 1) / 2)
        ``sum_i w_ij E x_i x_i^T``, the noise of the rows being part of the weights.
    moments : ndarray of shape (n_others, size + 1)
        ``sum_i w_ij y_ij E x_i``, and the sum of ``w_ij y_ij^2``.
    share : ndarray of shape (n_entries,) or None
        The expected precisions of the entries, if their noise has a tail.
    """

    mean: Array
    squares: Array
    noise: Array
    totals: Totals
    grams: Array
    moments: Array
    share: Array | None


class OthersDrawn(NamedTuple):
    """A draw of the lines of the other side: the rows' entries are linear in it.

    Attributes
    ----------
    basis : ndarray of shape (n_others, f)
        What each coordinate of a row adds to its entries.
    shift : ndarray of shape (n_others,)
        The entries of a row whose coordinates are zero.
    precision : ndarray of shape (n_others,)
        Inverse variance of the noise in each.
    """

    basis: Array
    shift: Array
    precision: Array

    def products(self) -> Array:
        """Lower triangles of the lines times themselves, row by row, and precision."""
        rows, columns = _lower(self.basis.shape[1])
        scaled = self.precision[:, None] * self.basis
        return np.asarray(scaled.take(rows, axis=1) * self.basis.take(columns, axis=1))


class Prior(NamedTuple):
    """The Gaussian prior of the coordinates of a line.

    Attributes
    ----------
    precision : ndarray of shape (f,)
        Inverse variances.
    pull : ndarray of shape (f,) or (n_lines, f)
        These times the means, of all lines or of each.
    """

    precision: Array
    pull: Array


class Drawn(NamedTuple):
    """Lines given those of the other side: their means, and a draw of each.

    Attributes
    ----------
    mean, values : ndarray of shape (n, f)
    squares : ndarray of shape (n,)
        Squared residuals of the draw, weighted and in units of the others' noise.
    """

    mean: Array
    values: Array
    squares: Array


@lru_cache(maxsize=64)
def packed_index(size: int) -> Array:
    """Where the products of two coordinates are in a packed symmetric matrix.

    Parameters
    ----------
    size : int

    Returns
    -------
    ndarray of int, shape (size, size)
    """
    at = np.zeros((size, size), dtype=np.int64)
    upper = np.triu_indices(size)
    at[upper] = np.arange(len(upper[0]))
    at = np.maximum(at, at.T)
    at.setflags(write=False)
    return at


def unpacked(packed: Array, at: Array) -> Array:
    """The symmetric matrices of packed ones, shape (..., size, size)."""
    return packed[..., at]


def packed_of(matrices: Array) -> Array:
    """The upper triangles of symmetric matrices, row by row."""
    rows, columns = _upper(matrices.shape[-1])
    return np.asarray(matrices[..., rows, columns])


def packed_squares(lines: Array) -> Array:
    """The products of each line with itself, packed."""
    return packed_of(lines[:, :, None] * lines[:, None, :])


@lru_cache(maxsize=64)
def _upper(size: int) -> tuple[Array, Array]:
    """Rows and columns of the numbers of a packed matrix."""
    return np.triu_indices(size)


@lru_cache(maxsize=64)
def _lower(size: int) -> tuple[Array, Array]:
    return np.tril_indices(size)


@lru_cache(maxsize=64)
def lower_index(size: int) -> Array:
    """Where the products of two coordinates are in `OthersDrawn.products`."""
    larger = np.maximum(*np.indices((size, size)))
    return larger * (larger + 1) // 2 + np.minimum(*np.indices((size, size)))
