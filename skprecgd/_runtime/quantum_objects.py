"""Reads the quantum objects of QuTiP without importing it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_qobj(value: Any) -> bool:
    """Whether a value is a `qutip.Qobj`; nobody makes one before QuTiP is imported."""
    kind = getattr(sys.modules.get("qutip"), "Qobj", None)
    return kind is not None and isinstance(value, kind)


def first_qobj(values: Any) -> Any:
    """The first Qobj of a list of any depth, or None if it does not begin with one."""
    while _is_list(values) and len(values):
        values = values[0]
    return values if is_qobj(values) else None


def _is_list(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.dtype.kind == "O" and values.ndim > 0
    return isinstance(values, (list, tuple))


def without_qobj(values: Any, *, kets: bool = True) -> Any:
    """The same values, with arrays in place of Qobj.

    Parameters
    ----------
    values : object
        A Qobj, or a list of any depth that begins with one; all else is returned as it
        is.
    kets : bool, default=True
        Whether a ket may stand there. It becomes a vector, an operator a matrix.

    Raises
    ------
    ValueError
        If a Qobj is neither.
    """
    if first_qobj(values) is None:
        return values
    if not is_qobj(values):
        return [without_qobj(each, kets=kets) for each in values]
    if values.isket and kets:
        return values.full()[:, 0]
    if not values.isoper:
        wanted = "a ket or an operator" if kets else "an operator"
        raise ValueError(f"A Qobj must be {wanted} here, got type {values.type!r}.")
    return values.full()


def dims_of(value: Any) -> tuple[int, ...]:
    """The dimensions of the parts of a system, by a ket or an operator of it."""
    return tuple(int(n) for n in value.dims[0])
