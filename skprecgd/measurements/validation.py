"""Checks shared by the kinds of measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.numerics import in_precision, kind_in, working_dtype
from skprecgd._linalg.products import all_finite
from skprecgd._runtime.quantum_objects import without_qobj
from skprecgd._runtime.typing import Array


def as_real_array(values: Any, name: str, ndim: tuple[int, ...]) -> Array:
    """Finite float32/float64 array of one of the allowed dimensions."""
    array = np.asarray(unmasked(values, name))
    check_real(array, name, ndim)
    return _finite(array.astype(working_dtype(array.dtype), copy=False), name)


def as_number_array(values: Any, name: str, ndim: tuple[int, ...]) -> Array:
    """Finite real or complex array of one of the allowed dimensions.

    Objects of QuTiP are read, too; a ket only where no stack of matrices may stand.
    """
    values = without_qobj(values, kets=3 not in ndim)
    array = np.asarray(unmasked(values, name))
    _check_numbers(array, name, ndim)
    return _finite(in_precision(array, array.dtype), name)


def _finite(array: Array, name: str) -> Array:
    if not all_finite(array):
        raise ValueError(f"{name} holds NaN or infinity; measurements must be finite.")
    return array


def check_real(array: Any, name: str, ndim: tuple[int, ...]) -> None:
    """Refuse an array, lazy or not, that is not real or has a wrong dimension."""
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex; only real data are supported.")
    _check_numbers(array, name, ndim)


def _check_numbers(array: Any, name: str, ndim: tuple[int, ...]) -> None:
    if array.dtype.kind not in "fiubc":
        raise ValueError(f"{name} must be numeric, got dtype {array.dtype}.")
    if array.ndim not in ndim:
        wanted = " or ".join(f"{d}-D" for d in ndim)
        raise ValueError(f"{name} must be {wanted}, got {array.ndim}-D.")


def as_real_csr(matrix: Any, name: str) -> sparse.csr_array:
    """Finite float32/float64 csr_array of a sparse matrix."""
    if np.iscomplexobj(matrix.data):
        raise ValueError(f"{name} is complex; only real data are supported.")
    return as_number_csr(matrix, name)


def as_number_csr(matrix: Any, name: str) -> sparse.csr_array:
    """Finite csr_array, real or complex, of a sparse matrix."""
    csr = sparse.csr_array(matrix)
    csr = csr.astype(kind_in(csr, csr.dtype), copy=False)
    _finite(csr.data, name)
    return csr
