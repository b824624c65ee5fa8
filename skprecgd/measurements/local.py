"""Measurements of a many-body matrix by a small matrix for each site."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import square
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements
from skprecgd.measurements.validation import as_number_array


class LocalMeasurements(Measurements, checked=True):
    """Kronecker products of small matrices, one for each site of each measurement.

    ``A_i`` is the Kronecker product of row i of all `sites`, the first site being the
    first factor: an observable, or the projector of an outcome, of a system of qubits,
    qutrits or of parts of different dimension. It measures ``tr(A_i^H M)``.

    Parameters
    ----------
    sites : sequence of array-like of shape (n, d_k, d_k)
        For each site k, its small matrix in each of the n measurements. The measured
        matrix has as many rows and columns as the product of all ``d_k``.

    Attributes
    ----------
    sites : tuple of ndarray

    Raises
    ------
    ValueError
        If there is no site, a matrix is not square, or sites hold different numbers of
        measurements.

    Notes
    -----
    The sites are joined in two halves, whose products take most of the time: for n
    measurements of a matrix with N rows, a product takes ``n N^2`` operations and
    memory for about ``2 n N`` numbers. No measurement matrix is formed. Strings of
    Pauli matrices are far faster in `PauliMeasurements`.

    Examples
    --------
    Two qubits, each projected on one of two states:

    >>> import numpy as np
    >>> from skprecgd.measurements import LocalMeasurements
    >>> zero, plus = np.diag([1.0, 0.0]), np.full((2, 2), 0.5)
    >>> A = LocalMeasurements([[zero, zero, plus], [zero, plus, plus]])
    >>> bell = np.array([[1.0], [0.0], [0.0], [1.0]]) / np.sqrt(2)
    >>> A.forward(bell, bell).round(12)
    array([0.5 , 0.25, 0.5 ])
    """

    def __init__(self, sites: Sequence[Any]) -> None:
        arrays = [as_number_array(site, "each site", (3,)) for site in sites]
        _check_sites(arrays)
        kind = np.result_type(*arrays)
        self.sites: tuple[Array, ...] = tuple(site.astype(kind) for site in arrays)
        self.dtype = kind
        n = int(np.prod([site.shape[1] for site in arrays]))
        self.matrix_shape = (n, n)

    @property
    def n_measurements(self) -> int:
        return len(self.sites[0])

    @cached_property
    def hermitian(self) -> bool:  # type: ignore[override]
        close = float(np.sqrt(np.finfo(self.dtype).eps))
        return all(
            np.all(_lengths(site - _turned(site)) <= close * _lengths(site))
            for site in self.sites
        )

    @cached_property
    def sees_imaginary_part(self) -> bool:  # type: ignore[override]
        # The real part of the sum of the squares a^2 of all entries of a matrix falls
        # short of the sum of |a|^2 by twice the squares of the imaginary parts.
        plain = np.prod([np.sum(site**2, axis=(1, 2)) for site in self.sites], axis=0)
        sizes = self._sizes() ** 2
        close = float(np.sqrt(np.finfo(self.dtype).eps))
        return bool(np.any(sizes - plain.real > close * sizes))

    @cached_property
    def _halves(self) -> tuple[Array, Array]:
        """The products of the first and of the last sites, of about equal size."""
        sizes = np.cumprod([1, *(site.shape[1] for site in self.sites)])
        uneven = np.abs(np.log(sizes) - 0.5 * np.log(sizes[-1]))
        split = int(np.argmin(uneven))
        one = np.ones((self.n_measurements, 1, 1), self.dtype)
        first = reduce(_kronecker, self.sites[:split], one)
        return first, reduce(_kronecker, self.sites[split:], one)

    def forward(self, left: Array, right: Array) -> Array:
        first, last = self._halves
        n, a, b = len(first), first.shape[1], last.shape[1]
        matrix = (left @ right.conj().T).astype(self.dtype, copy=False)
        blocks = matrix.reshape(a, b, a, b).transpose(1, 3, 0, 2).reshape(b * b, a * a)
        half = last.reshape(n, -1) @ blocks.conj()
        return np.asarray(np.einsum("ij,ij->i", first.reshape(n, -1), half).conj())

    def adjoint(self, weights: Array) -> Array:
        first, last = self._halves
        n, a, b = len(first), first.shape[1], last.shape[1]
        weighted = first.reshape(n, -1) * weights.astype(self.dtype)[:, None]
        blocks = (weighted.T @ last.reshape(n, -1)).reshape(a, a, b, b)
        return blocks.transpose(0, 2, 1, 3).reshape(self.matrix_shape)

    def rows(self, index: Array) -> LocalMeasurements:
        return LocalMeasurements([site[index] for site in self.sites])

    def stacked(self, part: slice) -> Array:
        first, last = self._halves
        joined = _kronecker(first[part], last[part])
        return joined.reshape(len(joined), -1)

    def _mean_square(self) -> float:
        return square(self._size())

    def _sizes(self) -> Array:
        return np.prod([_lengths(site) for site in self.sites], axis=0)


def _check_sites(sites: Sequence[Array]) -> None:
    if not sites:
        raise ValueError("sites must hold at least one array of small matrices.")
    for site in sites:
        if site.shape[1] != site.shape[2]:
            raise ValueError(
                "the matrices of a site must be square, got some of shape "
                f"{site.shape[1:]}."
            )
    counts = [len(site) for site in sites]
    if min(counts) != max(counts):
        raise ValueError(
            "all sites must hold one matrix for each measurement; they hold from "
            f"{min(counts)} to {max(counts)}."
        )


def _kronecker(first: Array, last: Array) -> Array:
    """The Kronecker products of matrices, measurement by measurement."""
    n, a, b = len(first), first.shape[1], last.shape[1]
    blocks = first[:, :, None, :, None] * last[:, None, :, None, :]
    return blocks.reshape(n, a * b, a * b)


def _turned(site: Array) -> Array:
    return site.conj().transpose(0, 2, 1)


def _lengths(site: Array) -> Array:
    """The Frobenius norm of each matrix."""
    return np.asarray(np.linalg.norm(site, axis=(1, 2)), np.float64)
