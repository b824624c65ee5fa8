"""Ids of rows and columns: what a fit remembers of them, and new entries by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.measurements import EntryMeasurements, Measurements
from skprecgd.measurements.labels import located

_AXES = ("row", "column")
# So many ids are named in a message.
_NAMED = 3


def store_labels(estimator: Any, measurements: Measurements) -> None:
    """Set `row_labels_` and `column_labels_`, or delete those of an earlier fit."""
    for axis in _AXES:
        labels = getattr(measurements, f"{axis}_labels")
        if labels is None:
            estimator.__dict__.pop(f"{axis}_labels_", None)
        else:
            setattr(estimator, f"{axis}_labels_", labels)


def matched_by_labels(estimator: Any, X: Measurements) -> Measurements:
    """The same entries, at the positions that their ids had in the fit.

    Parameters
    ----------
    estimator : PrecGDMatrixSensing
        Fitted.
    X : Measurements
        Where they have no labels, they are of the matrix as it is.

    Raises
    ------
    ValueError
        If an entry has an id that the fit has not seen.
    """
    cells = X.cells() if _differ(estimator, X) else None
    if cells is None:
        return X
    placed = [
        _placed(index, getattr(X, f"{axis}_labels"), _fitted(estimator, axis), axis)
        for axis, index in zip(_AXES, cells, strict=True)
    ]
    shape = estimator.left_.shape[0], estimator.right_.shape[0]
    return EntryMeasurements(placed[0], placed[1], shape, X.dtype)


def _fitted(estimator: Any, axis: str) -> Array | None:
    return getattr(estimator, f"{axis}_labels_", None)


def _differ(estimator: Any, X: Measurements) -> bool:
    """Whether X has labels, and others than the fit or in another order."""
    for axis in _AXES:
        own, known = getattr(X, f"{axis}_labels"), _fitted(estimator, axis)
        if own is None or own is known:
            continue
        if known is None or not np.array_equal(own, known):
            return True
    return False


def _placed(index: Array, own: Array | None, known: Array | None, axis: str) -> Array:
    """Positions among the rows or columns of the fit."""
    if own is None:
        return index
    if known is None:
        raise ValueError(
            f"X names its {axis}s by ids, but the {axis}s had none in fit; make both "
            "from long frames, observed_entries(frame, row=..., column=..., value=...)."
        )
    place = located(own, known)[index]
    unknown = place < 0
    if np.any(unknown):
        unseen = list(dict.fromkeys(own[index[unknown]].tolist()))
        names = ", ".join(map(repr, unseen[:_NAMED]))
        more = ", ..." if len(unseen) > _NAMED else ""
        raise ValueError(
            f"X has entries in {len(unseen)} {axis}(s) that had none in fit ({names}"
            f"{more}); leave these entries out, because nothing is known of them."
        )
    return place
