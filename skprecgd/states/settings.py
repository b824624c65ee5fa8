"""What is measured of a state: settings, each with its outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import complex_dtype
from skprecgd._runtime.quantum_objects import dims_of, first_qobj, without_qobj
from skprecgd._runtime.typing import Array
from skprecgd.measurements import (
    DenseMeasurements,
    Measurements,
    PauliMeasurements,
    RankOneMeasurements,
)
from skprecgd.states.densities import density_matrix

_HALF = float(np.sqrt(0.5))
# Eigenvectors of the Pauli matrices as rows, that of the value +1 first.
_BASES = {
    "X": np.array([[_HALF, _HALF], [_HALF, -_HALF]], complex),
    "Y": np.array([[_HALF, 1j * _HALF], [_HALF, -1j * _HALF]]),
    "Z": np.eye(2, dtype=complex),
}


class Settings:
    """Settings of an experiment, each of which shows one of several outcomes.

    Outcome k of a setting has probability ``tr(E_k M)`` in the state M; of a projective
    measurement ``E_k`` is the projector on a vector ``a_k``.

    Parameters
    ----------
    outcomes : sequence of str, or array-like of shape (n_settings, n_outcomes, n) or \
            (n_settings, n_outcomes, n, n)
        Labels of bases, a letter X, Y or Z for each qubit, the leftmost the first
        factor of the Kronecker product; or the vectors ``a_k``; or the matrices
        ``E_k``, Hermitian and positive semidefinite. Those of a setting have to add up
        to the identity. In place of arrays, lists may hold QuTiP's kets or operators.
        A setting of fewer outcomes than others is filled up with zeros.

    Attributes
    ----------
    measurements : RankOneMeasurements or DenseMeasurements
        All outcomes, setting by setting; the second one of matrices.
    shape : tuple of int
        ``(n_settings, n_outcomes)``. Outcomes of a label are binary numbers with a
        digit for each letter, 0 for the eigenvalue +1.
    dims : tuple of int
        The dimensions of the parts of the system, the first factor first: 2 for each
        letter of labels, those of a Qobj, and n itself of arrays.

    Raises
    ------
    ValueError
        If labels have different lengths or other letters, or outcomes are not positive
        semidefinite or do not add up to the identity.

    Examples
    --------
    >>> from skprecgd.states import Settings
    >>> bell = [0.5**0.5, 0, 0, 0.5**0.5]
    >>> Settings(["XX", "YY"]).probabilities(bell).round(2)
    array([[0.5, 0. , 0. , 0.5],
           [0. , 0.5, 0.5, 0. ]])

    The parity of two qubits alone, whose outcomes have rank two:

    >>> import numpy as np
    >>> even = np.diag([1.0, 0.0, 0.0, 1.0])
    >>> Settings([[even, np.eye(4) - even]]).probabilities(bell).round(2)
    array([[1., 0.]])
    """

    def __init__(self, outcomes: Any) -> None:
        if isinstance(outcomes, str) or not hasattr(outcomes, "__len__"):
            raise ValueError(
                "settings must be a list of labels such as ['XX', 'ZZ'], or of the "
                f"outcomes of each setting, got {outcomes!r:.80}."
            )
        if len(outcomes) and all(isinstance(label, str) for label in outcomes):
            array = _of_labels(list(outcomes))
            self.dims: tuple[int, ...] = (2,) * (array.shape[2].bit_length() - 1)
        else:
            array = _of_numbers(outcomes)
            given = first_qobj(outcomes)
            self.dims = array.shape[2:3] if given is None else dims_of(given)
        self.shape: tuple[int, int] = array.shape[:2]
        flat = array.reshape(-1, *array.shape[2:])
        self.measurements: Measurements = (
            RankOneMeasurements(flat) if flat.ndim == 2 else DenseMeasurements(flat)
        )

    def __repr__(self) -> str:
        n = " x ".join(map(str, self.dims))
        return f"Settings({self.shape[0]}, of {self.shape[1]} outcomes, dimension {n})"

    @classmethod
    def of_strings(cls, labels: Sequence[str]) -> Settings:
        """Pauli strings, each a setting with the outcomes +1 and -1.

        An expectation value alone does not say how exact it is; the counts of both
        outcomes do.

        Parameters
        ----------
        labels : sequence of str
            As in `PauliMeasurements`: strings of the letters I, X, Y and Z, one for
            each qubit.

        Returns
        -------
        Settings

        Raises
        ------
        ValueError
            If these are no labels.

        Examples
        --------
        >>> from skprecgd.states import Settings
        >>> bell = [0.5**0.5, 0, 0, 0.5**0.5]
        >>> Settings.of_strings(["XX", "YY", "ZI"]).probabilities(bell).round(2)
        array([[1. , 0. ],
               [0. , 1. ],
               [0.5, 0.5]])
        """
        strings = PauliMeasurements(labels)
        n = strings.matrix_shape[0]
        half = 0.5 * strings.stacked(slice(None)).reshape(-1, n, n)
        settings = cls(np.stack([0.5 * np.eye(n) + half, 0.5 * np.eye(n) - half], 1))
        settings.dims = (2,) * strings.n_qubits
        return settings

    def probabilities(self, rho: Any) -> Array:
        """The probabilities of the outcomes of each setting in a state.

        Parameters
        ----------
        rho : State, Qobj, or array-like of shape (n, n) or (n,)
            A ket or a vector is a pure state. It is divided by its trace.

        Returns
        -------
        ndarray of shape (n_settings, n_outcomes)

        Raises
        ------
        ValueError
            If it is no state of this system, up to its trace.
        """
        matrix, n = density_matrix(rho), self.measurements.matrix_shape[0]
        if len(matrix) != n:
            raise ValueError(
                f"The settings are those of a system of dimension {n}, and the state "
                f"has dimension {len(matrix)}."
            )
        seen = self.measurements.forward(matrix, np.eye(n)).real
        # Rounding may leave a little below zero.
        return np.maximum(np.asarray(seen).reshape(self.shape), 0.0)


def _of_labels(labels: Sequence[str]) -> Array:
    """The vectors of the outcomes of all labels, shape (n_settings, n_outcomes, n)."""
    lengths = [len(label) for label in labels]
    if min(lengths) != max(lengths):
        raise ValueError(
            "Labels of settings must have one length, a letter for each qubit; they "
            f"have from {min(lengths)} to {max(lengths)}."
        )
    wrong = sorted(set("".join(labels)) - set(_BASES))
    if wrong or not lengths[0]:
        raise ValueError(
            f"Labels of settings hold X, Y and Z, got {wrong[0] if wrong else ''!r}; "
            "of Pauli strings, whose signs are counted, Settings.of_strings makes "
            "settings."
        )
    return np.stack([reduce(np.kron, [_BASES[x] for x in label]) for label in labels])


def _of_numbers(outcomes: Any) -> Array:
    """The vectors or the matrices of all outcomes, checked."""
    array, given = _as_array(outcomes), first_qobj(outcomes)
    if given is not None and given.isoper == (array.ndim == 3):
        raise ValueError(
            "settings must be a list that holds a list for each setting, of the kets "
            "or of the operators of its outcomes."
        )
    if array.ndim == 3:
        whole = array.transpose(0, 2, 1) @ array.conj()
    else:
        _check_positive(array)
        whole = array.sum(axis=1)
    missed = float(np.max(np.abs(whole - np.eye(array.shape[2]))))
    if not missed <= _close(array):
        raise ValueError(
            "The outcomes of each setting, E or a a^H, must add up to the identity; "
            f"they miss it by up to {missed:.2g}."
        )
    return array


def _as_array(outcomes: Any) -> Array:
    """Complex numbers of three or four dimensions."""
    try:
        array = np.asarray(without_qobj(outcomes))
    except ValueError as error:
        raise ValueError(
            "All settings must have equally many outcomes of one size; fill up those "
            f"of fewer with outcomes that are zero ({error})."
        ) from error
    of_vectors = array.ndim == 3
    of_matrices = array.ndim == 4 and array.shape[2] == array.shape[3]
    wrong = array.dtype.kind not in "iufc" or not array.size
    if wrong or not (of_vectors or of_matrices):
        raise ValueError(
            "settings must hold labels such as 'XYZ', or the vectors or the matrices "
            "of outcomes, shape (n_settings, n_outcomes, n) or (n_settings, "
            f"n_outcomes, n, n), got {outcomes!r:.80}."
        )
    return array.astype(complex_dtype(np.result_type(array, np.float32)))


def _check_positive(matrices: Array) -> None:
    apart = np.abs(matrices - matrices.conj().swapaxes(-1, -2))
    if not np.max(apart) <= _close(matrices):
        raise ValueError("The matrices of outcomes must be Hermitian.")
    least = float(np.min(np.linalg.eigvalsh(matrices)))
    if least < -_close(matrices):
        raise ValueError(
            "The matrices of outcomes must be positive semidefinite; one has the "
            f"eigenvalue {least:.2g}."
        )


def _close(array: Array) -> float:
    """By how much the parts of an identity, which are of size one, may be off."""
    return float(np.sqrt(np.finfo(array.dtype).eps))
