"""Ids of rows and columns: what a fit remembers of them, and new entries by them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skprecgd._linalg.naming import first_few
from skprecgd._runtime.typing import Array
from skprecgd.measurements import EntryMeasurements, Measurements
from skprecgd.measurements.labels import encoded, joined, located

AXES = ("row", "column")


def store_labels(estimator: Any, measurements: Measurements) -> None:
    """Set `row_labels_` and `column_labels_`, or delete those of an earlier fit."""
    for axis in AXES:
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
    _warn_about_positions(estimator, X)
    cells = X.cells() if _differ(estimator, X) else None
    if cells is None:
        return X
    placed = [
        _placed(index, getattr(X, f"{axis}_labels"), _fitted(estimator, axis), axis)
        for axis, index in zip(AXES, cells, strict=True)
    ]
    shape = estimator.left_.shape[0], estimator.right_.shape[0]
    return EntryMeasurements(placed[0], placed[1], shape, X.dtype)


def _warn_about_positions(estimator: Any, X: Measurements) -> None:
    """Say that entries are found by position where the fit knows ids."""
    if not X.single_entries:
        return
    unnamed = [
        f"{axis}s"
        for axis in AXES
        if getattr(X, f"{axis}_labels") is None and _fitted(estimator, axis) is not None
    ]
    if unnamed:
        warnings.warn(
            f"X has no ids, but the {' and '.join(unnamed)} had some in fit: entries "
            "are found by their positions among those. Name them by "
            "EntryMeasurements.from_labels, or observed_entries of a long frame.",
            UserWarning,
            stacklevel=4,
        )


def with_common_labels(X: Measurements) -> Measurements:
    """Entries of a symmetric matrix, whose rows and columns have the same ids.

    Parameters
    ----------
    X : Measurements
        Ids of its rows and of its columns were encoded each by itself.

    Raises
    ------
    ValueError
        If these differ and the entries do not lie in memory, or only one side has ids.
    """
    down, across = X.row_labels, X.column_labels
    if down is None and across is None:
        return X
    if down is None or across is None or not isinstance(X, EntryMeasurements):
        raise ValueError(
            "symmetric=True needs entries in memory with ids of both rows and columns, "
            "or of neither; give positions and matrix_shape to observed_entries."
        )
    if np.array_equal(down, across):
        return X
    labels, _ = encoded(joined([down, across]), "The array of rows and columns")
    places = located(down, labels), located(across, labels)
    made = EntryMeasurements(
        places[0][X.row_index],
        places[1][X.column_index],
        (len(labels), len(labels)),
        X.dtype,
    )
    made.row_labels = made.column_labels = labels
    return made


def _fitted(estimator: Any, axis: str) -> Array | None:
    return getattr(estimator, f"{axis}_labels_", None)


def _differ(estimator: Any, X: Measurements) -> bool:
    """Whether X has labels, and others than the fit or in another order."""
    for axis in AXES:
        own, known = getattr(X, f"{axis}_labels"), _fitted(estimator, axis)
        if own is None or own is known:
            continue
        if known is None or not np.array_equal(own, known):
            return True
    return False


def _kind(labels: Array) -> str:
    """What labels are, by the first of them."""
    return type(labels.tolist()[0]).__name__ if len(labels) else "nothing"


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
        cure = "leave these entries out, because nothing is known of them"
        kinds = _kind(own), _kind(known)
        if kinds[0] != kinds[1]:
            cure = (
                f"ids are {kinds[0]} here and were {kinds[1]} in fit, so convert them"
            )
        raise ValueError(
            f"X has entries in {len(unseen)} {axis}(s) that had none in fit ("
            f"{first_few(unseen)}); {cure}."
        )
    return place
