"""Estimators and dask collections: checks of columns, and lazy methods."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from skprecgd._runtime.compat import output_container
from skprecgd._runtime.dask_kinds import is_dask_frame
from skprecgd._runtime.typing import Array
from skprecgd.distributed.rows import as_dask_array, check_kind

# Fitted attributes that describe the training data, which no other chunk needs.
_NOT_NEEDED = (
    *("groups_", "outliers_", "history_", "feature_names_in_"),
    *("row_labels_", "column_labels_"),
    *("_centred", "_solved"),
)


def check_columns(estimator: Any, X: Any, *, reset: bool) -> None:
    """Check names and number of columns by scikit-learn's rules; no chunk is read."""
    check_kind(X, "X")
    # dask describes a DataFrame by one without rows.
    known = X._meta if is_dask_frame(X) else X
    validate_data(estimator, known, reset=reset, skip_check_array=True)


def by_rows(model: Any, method: str, X: Any, n_columns: int) -> Any:
    """The dask array ``model.method(X)``, every chunk of rows by itself.

    Parameters
    ----------
    model : PrecGDFactorization or PrecGDImputer
        Fitted.
    method : {"transform", "inverse_transform"}
    X : dask array or DataFrame of shape (n_rows, ...)
    n_columns : int
        Width of the result.
    """
    if method == "transform":
        _check_output(model)
        check_columns(model, X, reset=False)
    X = as_dask_array(X, 2, lengths=False)
    return _mapped(without_fitted_rows(model), method, X, n_columns)


def without_fitted_rows(model: Any) -> Any:
    """A copy of the model without what other rows do not need."""
    light = _without_unused(model, "left_", "right_")
    # What is known of every entry; fits of earlier versions have no such attribute.
    light._noise = None
    return light


def by_samples(model: Any, method: str, X: Any, n_columns: int | None = None) -> Any:
    """The dask array ``model.method(X)``, every chunk of measurements by itself.

    Parameters
    ----------
    model : PrecGDMatrixSensing
        Fitted.
    method : {"transform", "predict"}
    X : dask array of shape (n, n_rows * n_columns) or (n, n_rows, n_columns)
    n_columns : int, default=None
        Width of the result; None is a vector.
    """
    if method == "transform":
        _check_output(model)
    if is_dask_frame(X):
        check_columns(model, X, reset=False)
    X = as_dask_array(X, 2, 3, lengths=False)
    own = (model.left_.shape[0], model.right_.shape[0])
    if X.shape[1:] not in (own, (own[0] * own[1],)):
        raise ValueError(
            f"X holds measurements of shape {X.shape[1:]}, but the matrix found has "
            f"shape {own}."
        )
    return _mapped(_without_unused(model), method, X, n_columns)


def _mapped(model: Any, method: str, X: Any, n_columns: int | None) -> Any:
    dtype = _dtype(model, X)
    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    width = () if n_columns is None else (n_columns,)
    return X.map_blocks(
        _apply,
        model=model,
        method=method,
        width=width,
        dtype=dtype,
        chunks=(X.chunks[0], *width),
        drop_axis=list(range(1 + len(width), X.ndim)),
        meta=np.empty((0,) * (1 + len(width)), dtype),
    )


def _check_output(model: Any) -> None:
    """Refuse containers of `set_output` that make scikit-learn compute the result."""
    container = output_container(model)
    if container != "default":
        raise ValueError(
            f"set_output(transform={container!r}) would compute the whole of a dask "
            "collection; use set_output(transform='default') and convert the result."
        )


def _without_unused(model: Any, *unused: str) -> Any:
    """A copy of the model without attributes that would be sent to chunks in vain."""
    light = copy.copy(model)
    for name in (*_NOT_NEEDED, *unused):
        light.__dict__.pop(name, None)
    return light


def _dtype(model: Any, X: Any) -> np.dtype:
    """Of the result for X; an imputer leaves the numbers of X what they are."""
    own = getattr(model, "components_", X)
    return np.result_type(own.dtype, X.dtype)


def _apply(block: Any, model: Any, method: str, width: tuple[int, ...]) -> Array:
    dtype = _dtype(model, block)
    if not block.shape[0]:
        return np.empty((0, *width), dtype)
    return np.asarray(getattr(model, method)(block), dtype)
