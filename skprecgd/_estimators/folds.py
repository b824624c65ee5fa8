"""Folds as users give them, read as positions among the samples and checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array, RandomState
from skprecgd.measurements import Measurements

Split = tuple[Array, Array]
# Longest value of `cv` that a message quotes; lists of positions are longer.
_QUOTED = 80


def read_splits(
    cv: Any,
    measurements: Measurements,
    targets: Array,
    groups: Any = None,
    *,
    random_state: RandomState = None,
) -> list[Split]:
    """The positions of the training and of the test samples of each fold.

    Parameters
    ----------
    cv : int, splitter or iterable
        An integer is the number of folds.
    measurements : Measurements
    targets : ndarray of shape (n,)
    groups : array-like of shape (n,), default=None
        For splitters that keep groups together.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds of an integer.

    Raises
    ------
    ValueError
        If there are no folds, or they do not hold positions among the samples.
    """
    # Imported here because sklearn.model_selection loads other packages.
    from sklearn.model_selection import check_cv

    from skprecgd.model_selection import EntryKFold

    splitter = cv
    if isinstance(cv, Integral):
        _check_number(int(cv), measurements)
        splitter = check_cv(int(cv))
        if measurements.single_entries:
            splitter = EntryKFold(int(cv), random_state=random_state)
    if not hasattr(splitter, "split"):
        given = list(splitter)
    else:
        try:
            given = list(splitter.split(measurements, targets, groups))
        except ValueError as error:
            raise ValueError(f"{_quoted(cv)}: {error}") from error
    if not given:
        raise ValueError(
            f"{_quoted(cv)} gave no split. An iterator gives its splits but once: "
            "use a list or a splitter."
        )
    return [_pair(split, len(targets), cv) for split in given]


def warn_about_hidden_lines(
    cv: Any, measurements: Measurements, splits: Sequence[Split]
) -> None:
    """Warn of folds that ask for rows or columns of which they show nothing.

    Parameters
    ----------
    cv : int, splitter or iterable
        As the user gave it, for the message.
    measurements : Measurements
        Only single entries are looked at.
    splits : list of tuple of ndarray
        Positions of the training and of the test samples of each fold.
    """
    cells = measurements.cells()
    if cells is None:
        return
    shape = measurements.matrix_shape
    hidden = []
    for lines, n, name in zip(cells, shape, ("row(s)", "column(s)"), strict=True):
        most = max(_n_hidden(lines, n, *split) for split in splits)
        hidden += [f"{most} whole {name}"] if most else []
    if hidden:
        warnings.warn(
            f"{_quoted(cv)} hides up to {' and '.join(hidden)} in a fold, so that "
            "nothing is left to predict them by and the scores say little about the "
            "rank: hold out entries from everywhere, by skprecgd.model_selection."
            "EntryKFold (for which an integer stands), or by KFold(shuffle=True).",
            UserWarning,
            stacklevel=6,
        )


def check_not_rows(
    cv: Any, measurements: Measurements, splits: Sequence[Split]
) -> None:
    """Refuse row numbers where positions among single entries are asked for.

    Parameters
    ----------
    cv, measurements, splits
        See `warn_about_hidden_lines`. A splitter has counted the entries.
    """
    if not isinstance(cv, Iterable) or not measurements.single_entries:
        return
    n, (n_rows, n_columns) = len(measurements), measurements.matrix_shape
    last = max(int(np.max(part, initial=0)) for split in splits for part in split)
    if n > n_rows > last:
        raise ValueError(
            f"cv must hold positions among the {n} observed entries of the {n_rows} x "
            f"{n_columns} matrix, but none exceeds {last}: these look like row "
            "numbers. Use an integer, EntryKFold, or KFold(shuffle=True)."
        )


def check_sizes(cv: Any, splits: Sequence[Split]) -> None:
    """Refuse folds that hold out a single sample, where R^2 and D^2 are the scores.

    Both compare with the mean of the samples held out, which explains a single one.

    Parameters
    ----------
    cv, splits
        See `warn_about_hidden_lines`.
    """
    if min(len(test) for _, test in splits) < 2:
        raise ValueError(
            f"{_quoted(cv)} holds out a single sample at a time, of which the default "
            "score R^2 (or D^2) can say nothing: use fewer folds, or "
            "scoring='neg_mean_squared_error'."
        )


def _n_hidden(lines: Array, n_lines: int, train: Array, test: Array) -> int:
    """Number of lines that the test samples ask for and no training sample shows."""
    shown, asked = np.zeros((2, n_lines), dtype=bool)
    shown[lines[train]] = asked[lines[test]] = True
    return int(np.sum(asked & ~shown))


def _check_number(n_folds: int, measurements: Measurements) -> None:
    n = len(measurements)
    if n_folds <= n:
        return
    if not measurements.single_entries:
        raise ValueError(f"cv={n_folds} needs as many samples, got n_samples={n}.")
    n_rows, n_columns = measurements.matrix_shape
    raise ValueError(
        f"cv={n_folds} needs as many observed entries, got {n} of a matrix with "
        f"n_samples={n_rows} and n_features={n_columns}."
    )


def _quoted(cv: Any) -> str:
    shown = repr(cv)
    return f"cv={shown}" if len(shown) <= _QUOTED else "cv"


def _pair(split: Any, n: int, cv: Any) -> Split:
    """Training and test positions of a fold, for any way to index n samples."""
    try:
        train, test = split
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{_quoted(cv)} must hold pairs (train, test) of positions."
        ) from error
    return _positions(train, n, cv), _positions(test, n, cv)


def _positions(part: Iterable[int], n: int, cv: Any) -> Array:
    index = np.asarray(part)
    index = index.astype(int) if index.size == 0 else index
    if index.ndim != 1 or index.dtype.kind not in "iub":
        raise ValueError(
            f"{_quoted(cv)} must hold 1-D arrays of positions, or masks, got an array "
            f"of dtype {index.dtype} and shape {index.shape}."
        )
    try:
        return np.asarray(np.arange(n)[index])
    except IndexError as error:
        raise ValueError(
            f"{_quoted(cv)} does not fit the {n} samples (single entries, where X is a "
            f"matrix): {error}."
        ) from error
