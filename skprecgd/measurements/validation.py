"""Checks shared by the kinds of measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.numerics import working_dtype
from skprecgd._linalg.products import all_finite
from skprecgd._runtime.typing import Array


def as_real_array(values: Any, name: str, ndim: tuple[int, ...]) -> Array:
    """Finite float32/float64 array of one of the allowed dimensions."""
    array = np.asarray(unmasked(values, name))
    check_real(array, name, ndim)
    array = array.astype(working_dtype(array.dtype), copy=False)
    if not all_finite(array):
        raise ValueError(f"{name} holds NaN or infinity; measurements must be finite.")
    return array


def check_real(array: Any, name: str, ndim: tuple[int, ...]) -> None:
    """Refuse an array, lazy or not, that is not real or has a wrong dimension."""
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex; only real data are supported.")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numeric, got dtype {array.dtype}.")
    if array.ndim not in ndim:
        wanted = " or ".join(f"{d}-D" for d in ndim)
        raise ValueError(f"{name} must be {wanted}, got {array.ndim}-D.")


def as_real_csr(matrix: Any, name: str) -> sparse.csr_array:
    """Finite float32/float64 csr_array of a sparse matrix."""
    if np.iscomplexobj(matrix.data):
        raise ValueError(f"{name} is complex; only real data are supported.")
    csr = sparse.csr_array(matrix)
    csr = csr.astype(working_dtype(csr.dtype), copy=False)
    if not all_finite(csr.data):
        raise ValueError(f"{name} holds NaN or infinity; measurements must be finite.")
    return csr
