"""Methods of a fitted transformer on dask arrays: lazy, chunk by chunk."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from skprecgd._typing import Array
from skprecgd.distributed._rows import as_dask_array, plain

# What no row needs: as long as the data, or about other data.
_NOT_NEEDED = ("left_", "outliers_", "history_", "feature_names_in_")


def by_rows(model: Any, method: str, X: Any, n_columns: int) -> Any:
    """The dask array ``model.method(X)``, every chunk of rows by itself.

    Parameters
    ----------
    model : PrecGDFactorization
        Fitted.
    method : {"transform", "inverse_transform"}
    X : dask array or DataFrame of shape (n_rows, ...)
    n_columns : int
        Width of the result.
    """
    if method == "transform":
        validate_data(model, X, reset=False, skip_check_array=True)
    X = as_dask_array(X, 2, lengths=False)
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    dtype = np.result_type(model.components_, X.dtype)
    return X.map_blocks(
        _apply,
        model=_light(model),
        method=method,
        chunks=(X.chunks[0], (n_columns,)),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )


def _light(model: Any) -> Any:
    """The model without what would be sent along for nothing."""
    light = copy.copy(model)
    for name in _NOT_NEEDED:
        if name != "left_" or not model._shrunk:
            light.__dict__.pop(name, None)
    return light


def _apply(block: Any, model: Any, method: str) -> Array:
    rows = getattr(model, method)(plain(block))
    return np.asarray(rows, np.result_type(model.components_, block.dtype))
