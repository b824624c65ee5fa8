"""Expectation values of Pauli strings: quantum state tomography of qubits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.linalg import hadamard

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements

_LETTERS = "IXYZ"
# Qubits on which signs are summed by one product with a Hadamard matrix (16 x 16).
_QUBITS_AT_ONCE = 4


class PauliMeasurements(Measurements, checked=True):
    """Expectation values ``tr(P_i M)`` of Pauli strings, without noise or of any scale.

    A string is the Kronecker product of the matrices that its letters stand for, the
    leftmost being the first factor. With ``symmetric=True``, the estimators fit a
    positive semidefinite M from them, such as the density matrix of a quantum state.

    Parameters
    ----------
    labels : sequence of str
        Strings of the letters I, X, Y and Z, one letter for each qubit: "XIY" is
        ``np.kron(np.kron(X, I), Y)``. Of a matrix of n qubits, all of them have n
        letters.

    Attributes
    ----------
    labels : tuple of str
    n_qubits : int

    Raises
    ------
    ValueError
        If there is no label, labels have different lengths, or a letter is no Pauli
        matrix.

    Notes
    -----
    Qiskit writes labels in the same order: the leftmost letter acts on the qubit of the
    highest number, which is the first factor of its Kronecker products. In QuTiP, too,
    the first letter is the first factor of ``tensor``; it calls that qubit number 0. So
    labels and density matrices of either go together here as they are, and only the
    numbers of the qubits differ.

    Row j of a Pauli string has a single entry, in the column whose number differs from
    j in the bits of X and Y; it is 1, -1, i or -i. So products are permutations and
    signs. The strings that share a permutation are measured together, the sums over
    signs being a fast Walsh-Hadamard transform. A product takes of the order of ``4^n
    (n + r)`` operations for any number of strings, and less where only few permutations
    occur; the matrix is formed, but no Pauli string is.

    Examples
    --------
    A Bell state, by the three strings that determine it (and the trace):

    >>> import numpy as np
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.measurements import PauliMeasurements
    >>> strings = PauliMeasurements(["II", "XX", "YY", "ZZ"])
    >>> bell = np.array([[1.0], [0.0], [0.0], [1.0]]) / np.sqrt(2)
    >>> strings.forward(bell, bell).real.round(12)
    array([ 1.,  1., -1.,  1.])
    """

    dtype = np.dtype(np.complex128)
    hermitian = True
    large_products = False
    has_design = True

    def __init__(self, labels: Sequence[str]) -> None:
        letters = _letters(labels)
        self.labels = tuple(labels)
        self.n_qubits = letters.shape[1]
        n = 1 << self.n_qubits
        self.matrix_shape = (n, n)
        # The first letter is the highest bit of the number of a row.
        bits = 1 << np.arange(self.n_qubits)[::-1]
        self._flips = ((letters == 1) | (letters == 2)) @ bits
        self._signs = ((letters == 2) | (letters == 3)) @ bits
        self._n_y = (letters == 2).sum(axis=1)

    @property
    def n_measurements(self) -> int:
        return len(self.labels)

    @property
    def sees_imaginary_part(self) -> bool:  # type: ignore[override]
        # A string is purely imaginary if it holds an odd number of Y, and else real.
        return bool(np.any(self._n_y % 2))

    def forward(self, left: Array, right: Array) -> Array:
        matrix = (left @ right.conj().T).astype(self.dtype, copy=False)
        moved = np.take(matrix, self._cells)
        return self._phases.conj() * _signed_sums(moved)[self._where]

    def adjoint(self, weights: Array) -> Array:
        by_signs = np.zeros(self._cells.shape, self.dtype)
        # A string may be measured twice, so add.
        np.add.at(by_signs, self._where, self._phases * weights)
        out = np.zeros(self.matrix_shape, self.dtype)
        out.ravel()[self._cells] = _signed_sums(by_signs)
        return out

    def rows(self, index: Array) -> PauliMeasurements:
        return PauliMeasurements([self.labels[k] for k in index])

    def stacked(self, part: slice) -> Array:
        n = self.matrix_shape[0]
        columns = np.arange(n)
        flips, signs = self._flips[part], self._signs[part]
        odd = _parity(columns & signs[:, None])
        out = np.zeros((len(flips), n, n), self.dtype)
        each = np.arange(len(flips))[:, None]
        out[each, columns ^ flips[:, None], columns] = np.where(odd, -1.0, 1.0)
        out *= self._phases[part, None, None]
        return out.reshape(len(out), -1)

    def design(self, other: Array, block: int) -> Array:
        # The strings are Hermitian: both designs are the same.
        rows = np.arange(self.matrix_shape[0])
        columns = rows ^ self._flips[:, None]
        odd = _parity(columns & self._signs[:, None])
        signs = np.where(odd, -1.0, 1.0) * self._phases[:, None]
        return np.asarray(signs[:, :, None] * other[columns])

    @cached_property
    def _flipped(self) -> tuple[Array, Array]:
        """The different permutations, and which of them each string has."""
        flips, which = np.unique(self._flips, return_inverse=True)
        return flips, which

    @cached_property
    def _cells(self) -> Array:
        """Where the entries of a permutation stand in the flat matrix, by columns."""
        n, flips = self.matrix_shape[0], self._flipped[0]
        columns = np.arange(n)
        return np.asarray((columns ^ flips[:, None]) * n + columns)

    @property
    def _where(self) -> tuple[Array, Array]:
        """The permutation and the signs of each string."""
        return self._flipped[1], self._signs

    @cached_property
    def _phases(self) -> Array:
        """``i^k`` for a string with k letters Y."""
        return np.array([1, 1j, -1, -1j])[self._n_y % 4]

    def _mean_square(self) -> float:
        return 1.0 / self.matrix_shape[0]

    def _sizes(self) -> Array:
        return np.full(self.n_measurements, np.sqrt(self.matrix_shape[0]))

    def __getstate__(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["labels"])  # type: ignore[misc]


def _letters(labels: Sequence[str]) -> Array:
    """The letters of all labels as numbers 0 to 3, shape (n_labels, n_qubits)."""
    if isinstance(labels, str) or not all(isinstance(each, str) for each in labels):
        raise ValueError(
            'labels must be a list of strings such as ["XX", "ZZ"], got '
            f"{labels!r:.80}."
        )
    lengths = {len(label) for label in labels}
    if not lengths or 0 in lengths:
        raise ValueError("labels must name at least one qubit, got none.")
    if len(lengths) > 1:
        raise ValueError(
            "labels must have one letter for each qubit, all of them equally many; "
            f"their lengths run from {min(lengths)} to {max(lengths)}."
        )
    for label in labels:
        if label.strip(_LETTERS):
            raise ValueError(
                f"labels must be made of the letters I, X, Y and Z, got {label!r}."
            )
    codes = np.frombuffer("".join(labels).encode(), np.uint8).reshape(len(labels), -1)
    return np.searchsorted(np.frombuffer(_LETTERS.encode(), np.uint8), codes)


def _parity(numbers: Array) -> Array:
    """Whether the number of bits that are set is odd."""
    odd = numbers.copy()
    for half in (32, 16, 8, 4, 2, 1):
        odd ^= odd >> half
    return np.asarray(odd & 1, dtype=bool)


def _signed_sums(values: Array) -> Array:
    """``sum_j (-1)^popcount(j & z) values[:, j]`` for all z: the Walsh-Hadamard sums.

    Parameters
    ----------
    values : ndarray of complex, shape (n_lines, 2^n)
    """
    out = np.empty_like(values)
    for part in slabs(values.shape):
        out[part] = _of_slab(values[part])
    return out


def _of_slab(values: Array) -> Array:
    shape, before = values.shape, 1
    while before < shape[1]:
        few = min(shape[1] // before, 1 << _QUBITS_AT_ONCE)
        # Kronecker factors act on groups of bits, one group after the other.
        values = np.matmul(_signs(few), values.reshape(-1, few, before))
        before *= few
    return values.reshape(shape)


@lru_cache(maxsize=_QUBITS_AT_ONCE)
def _signs(n: int) -> Array:
    """The Hadamard matrix ``(-1)^popcount(j & k)``."""
    return hadamard(n).astype(np.complex128)
