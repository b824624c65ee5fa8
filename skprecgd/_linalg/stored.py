"""Stored values of users' matrices, dense or sparse: duplicates and missing entries."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._runtime.typing import Array


def without_duplicates(X: Any, *, copy: bool = False) -> Any:
    """A sparse matrix in CSR (or CSC) format whose stored values are the entries.

    Indices are sorted within each row (or column), and no two are the same.

    Parameters
    ----------
    X : sparse array
        Stays as it is if it is such a matrix already; it is never changed.
    copy : bool, default=False
        Whether the arrays of the result must not be those of `X`.
    """
    X = X if X.format in ("csr", "csc") else X.tocsr()
    if copy or not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def stored_values(X: Any) -> Array:
    """The values that are held in memory: all of a dense matrix."""
    return np.asarray(X.data if sparse.issparse(X) else X)


def has_nan(X: Any) -> bool:
    """Whether a stored value is NaN; as a rule this forms no mask as large as X."""
    values = stored_values(X)
    # Infinities of both signs make the sum NaN, too: then the exact test decides.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sum(values)
    return bool(np.isnan(total) and np.any(np.isnan(values)))


def is_incomplete(X: Any, missing_values: float) -> bool:
    """Whether X counts as a matrix with missing entries.

    With ``missing_values=0`` it always does, even if no entry happens to be missing.
    """
    return missing_values == 0 or has_nan(X)


def observed(block: Array, missing_values: float) -> Array:
    """Mask of the entries of a dense block that are not missing."""
    return ~np.isnan(block) if np.isnan(missing_values) else block != 0
