"""Splitters that hold out single entries of a matrix, not whole rows.

They are scikit-learn splitters whose samples are the observed entries of a matrix. A
row or column without a visible entry cannot be predicted, so each keeps at least one;
missing entries belong to no fold. Entries of a group, or of a block, are held out
together: a gap of ten days is not filled from the day in its middle.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    BaseShuffleSplit,
    ShuffleSplit,
)
from sklearn.utils import check_array, check_random_state

from skprecgd._linalg.containers import marked, unmasked
from skprecgd._linalg.naming import columns_named
from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.compat import is_asked_by_scikit_learn
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.measurements import Measurements
from skprecgd.measurements.in_memory import (
    check_any_observed,
    check_missing_values,
    matrix_entries,
)

__all__ = ["EntryBlockKFold", "EntryKFold", "EntryShuffleSplit"]

_ROWS_ELSEWHERE = (
    "{} holds out entries, and scikit-learn's own searches take rows of a matrix: use "
    "PrecGDFactorizationCV(cv=...) on the matrix, or PrecGDMatrixSensing on the "
    "samples that observed_entries makes of it, one for each entry."
)

_Splits = Iterator[tuple[Array, Array]]
_Cells = tuple[Array, Array, tuple[int, int]]


@dataclass(frozen=True)
class _Units:
    """What is held out as a whole: each observed entry, or sets of them.

    Attributes
    ----------
    rows : ndarray of int, shape (n_units,)
        The row of each unit, that of its first entry.
    of_entries : ndarray of int, shape (n_entries,), or slice
        The unit of each entry.
    name : str
        What a unit is, in messages.
    """

    rows: Array
    of_entries: Array | slice
    name: str

    @classmethod
    def single(cls, rows: Array) -> _Units:
        """Every entry is a unit."""
        return cls(rows, slice(None), "observed entries")

    @classmethod
    def labelled(cls, labels: Array, rows: Array, name: str) -> _Units:
        """Entries with the same label are a unit."""
        _, first, units = np.unique(labels, return_index=True, return_inverse=True)
        return cls(rows[first], units, name)

    def folds(self, n_splits: int, rng: np.random.RandomState) -> Array:
        """The fold of each unit, at random; folds have about as many entries each."""
        if isinstance(self.of_entries, slice):
            return _folds(self.rows, n_splits, rng)
        sizes = np.bincount(self.of_entries)
        order = np.lexsort((rng.permutation(len(sizes)), self.rows, -sizes))
        folds = np.empty(len(sizes), np.min_scalar_type(n_splits))
        filled = [(0, fold) for fold in range(n_splits)]
        for unit in order:
            size, fold = filled[0]
            folds[unit] = fold
            heapq.heapreplace(filled, (size + int(sizes[unit]), fold))
        return folds

    def entries(self, units: Array) -> Array:
        """The mask of entries that goes with one of units."""
        return np.asarray(units[self.of_entries])


class _EntrySplitter(ABC):
    """Base class of the splitters: `split`, given the masks of a subclass."""

    missing_values: float
    random_state: RandomState

    def split(self, X: Any, y: Any = None, groups: Any = None) -> _Splits:
        """Positions of the visible and of the held-out entries, one split at a time.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_rows, n_columns), or \
                EntryMeasurements
            A matrix, or entries as `observed_entries` returns them.
        y : object
            Ignored.
        groups : array-like of shape (n_rows, n_columns) or (n_entries,), default=None
            A label for each entry of a matrix, or for each observed one; those with the
            same label are held out together.

        Yields
        ------
        train, test : ndarray of int
            Positions among the observed entries: of a matrix row by row, as in
            ``X[~np.isnan(X)]``; of measurements in the order they have.

        Raises
        ------
        ValueError
            If X has no observed entry, or too few (or too few groups) to hold any out;
            if `groups` has another shape; if `missing_values`
            is neither nan nor 0; if NaN is where it does not mark a missing entry; if
            scikit-learn's own search or cross-validation asks for a matrix, of which
            it would take rows.
        """
        if is_asked_by_scikit_learn() and not isinstance(X, Measurements):
            raise ValueError(_ROWS_ELSEWHERE.format(type(self).__name__))
        rows, columns, shape = _cells(X, self.missing_values, type(self).__name__)
        # The generator has a seed of its own: if `observed_entries` has shuffled the
        # entries with the same seed, the same numbers could restore their order, and
        # folds would be whole columns.
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        rng = np.random.RandomState(seed)
        cells = rows, columns, shape
        if groups is None:
            units = self._units(cells, rng)
        else:
            units = _Units.labelled(_labels(groups, cells), rows, "groups")
        for wanted, held_out in self._masks(units, shape, rng):
            wanted, held_out = units.entries(wanted), units.entries(held_out)
            visible = _keep_visible(wanted, held_out, rows, columns, rng)
            yield _positions(visible, held_out & ~visible, shape)

    def _units(self, cells: _Cells, rng: np.random.RandomState) -> _Units:
        """What is held out as a whole where no groups are given."""
        return _Units.single(cells[0])

    @abstractmethod
    def _masks(
        self, units: _Units, shape: tuple[int, int], rng: np.random.RandomState
    ) -> _Splits:
        """For every split, masks of the units wanted visible and of those held out.

        A unit may be in neither of them.
        """


class EntryKFold(_EntrySplitter, BaseCrossValidator):
    """K folds of the observed entries of a matrix.

    Every row is spread evenly over the folds, at random, so that each holds out the
    same share of every row. An entry is held out once, unless its row or column would
    be left without a visible one: then it is always visible.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    missing_values : nan or 0, default=nan
        What marks a missing entry of a matrix, as for `PrecGDFactorization`.
    random_state : int, RandomState instance or None, default=None
        Seed of the assignment to folds.

    See Also
    --------
    EntryShuffleSplit : Independent random shares.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.model_selection import EntryKFold
    >>> X = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0], [6.0, np.nan, 7.0]])
    >>> observed = X[~np.isnan(X)]
    >>> for train, test in EntryKFold(2, random_state=0).split(X):
    ...     print(observed[test])
    [1. 3. 4. 7.]
    [2. 5. 6.]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        missing_values: float = np.nan,
        random_state: RandomState = None,
    ) -> None:
        if not isinstance(n_splits, Integral) or n_splits < 2:
            raise ValueError(
                f"n_splits must be an integer, at least 2, got {n_splits!r}."
            )
        self.n_splits: int = int(n_splits)
        self.missing_values = missing_values
        self.random_state = random_state

    def _masks(
        self, units: _Units, shape: tuple[int, int], rng: np.random.RandomState
    ) -> _Splits:
        n_units = len(units.rows)
        if self.n_splits > n_units:
            raise ValueError(
                f"n_splits={self.n_splits} needs as many {units.name}, got "
                f"{n_units} of a matrix with n_samples={shape[0]} and "
                f"n_features={shape[1]}."
            )
        folds = units.folds(self.n_splits, rng)
        for fold in range(self.n_splits):
            held_out = folds == fold
            yield ~held_out, held_out

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        int
        """
        return self.n_splits


class EntryBlockKFold(EntryKFold):
    """K folds of blocks of neighbouring entries of a matrix.

    Where gaps are runs or clouds, single entries that are held out are easier than the
    gaps, because their neighbours are seen; what is chosen by them follows the noise of
    the neighbourhood. Here a whole block is held out at a time. Blocks lie side by
    side from the first row and column. They are dealt out at random, the largest first
    and each to the fold that has the fewest entries, so that folds are about even and
    blocks of a row are in different ones.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    block_shape : tuple of int, default=(10, 1)
        Rows and columns of a block: ``(10, 1)`` are runs of ten rows in a column, and
        ``(1, 10)`` of ten columns in a row. What is no rectangle is given to `split` as
        `groups`.
    missing_values : nan or 0, default=nan
        What marks a missing entry of a matrix, as for `PrecGDFactorization`.
    random_state : int, RandomState instance or None, default=None
        Seed of the assignment to folds.

    See Also
    --------
    EntryKFold : Folds of single entries.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.model_selection import EntryBlockKFold
    >>> splitter = EntryBlockKFold(2, block_shape=(1, 3), random_state=1)
    >>> for train, test in splitter.split(np.ones((4, 6))):
    ...     held_out = np.zeros((4, 6), dtype=int)
    ...     held_out.flat[test] = 1
    >>> held_out
    array([[0, 0, 0, 1, 1, 1],
           [1, 1, 1, 0, 0, 0],
           [0, 0, 0, 1, 1, 1],
           [1, 1, 1, 0, 0, 0]])
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        block_shape: tuple[int, int] = (10, 1),
        missing_values: float = np.nan,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            n_splits, missing_values=missing_values, random_state=random_state
        )
        sizes = tuple(block_shape) if isinstance(block_shape, Iterable) else ()
        if len(sizes) != 2 or not all(
            isinstance(size, Integral) and size >= 1 for size in sizes
        ):
            raise ValueError(
                "block_shape must be two integers of at least 1, the rows and the "
                f"columns of a block, got {block_shape!r}."
            )
        self.block_shape = block_shape

    def _units(self, cells: _Cells, rng: np.random.RandomState) -> _Units:
        rows, columns, shape = cells
        # From a random corner the number of blocks would depend on the seed.
        high, wide = self.block_shape
        down, across = rows // high, columns // wide
        n_across = (shape[1] - 1) // wide + 1
        return _Units.labelled(down * n_across + across, down, "blocks")


class EntryShuffleSplit(_EntrySplitter, BaseShuffleSplit):
    """Random shares of the observed entries of a matrix, drawn anew for every split.

    Slightly fewer than `test_size` are held out where rows or columns would otherwise
    be left without a visible entry.

    Parameters
    ----------
    n_splits : int, default=10
    test_size, train_size : float or int, default=None
        Shares or numbers of entries; see `sklearn.model_selection.ShuffleSplit`.
    missing_values : nan or 0, default=nan
        What marks a missing entry of a matrix, as for `PrecGDFactorization`.
    random_state : int, RandomState instance or None, default=None

    See Also
    --------
    EntryKFold : Every entry is held out once.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.model_selection import EntryShuffleSplit
    >>> splitter = EntryShuffleSplit(2, test_size=0.25, random_state=0)
    >>> [len(test) for train, test in splitter.split(np.ones((6, 4)))]
    [6, 6]
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | None = None,
        train_size: float | None = None,
        missing_values: float = np.nan,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            n_splits=n_splits,
            test_size=test_size,
            train_size=train_size,
            random_state=random_state,
        )
        self.missing_values = missing_values

    def _masks(
        self, units: _Units, shape: tuple[int, int], rng: np.random.RandomState
    ) -> _Splits:
        n_units = len(units.rows)
        shares = ShuffleSplit(
            self.n_splits,
            test_size=self.test_size,
            train_size=self.train_size,
            random_state=rng,
        )
        for train, test in shares.split(units.rows):
            yield _mask(train, n_units), _mask(test, n_units)


def _cells(X: Any, missing_values: float, name: str) -> _Cells:
    """Rows and columns of the observed entries, and the shape of the matrix."""
    if isinstance(X, Measurements):
        cells = X.cells()
        if cells is None:
            raise ValueError(
                f"{name} needs measurements of single entries, got {X!r}: hold out "
                "measurements with KFold."
            )
        return *cells, X.matrix_shape
    check_missing_values(missing_values)
    with columns_named(X):
        X, missing_values = marked(X, missing_values)
        X = check_array(
            X,
            accept_sparse=["csr", "csc"],
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if np.isnan(missing_values) else True,
        )
    rows, columns, values, shape = matrix_entries(X, missing_values)
    check_any_observed(values)
    return rows, columns, shape


def _labels(groups: Any, cells: _Cells) -> Array:
    """The group of each observed entry."""
    rows, columns, shape = cells
    labels = np.asanyarray(groups)
    if labels.shape == shape:
        labels = labels[rows, columns]
    if labels.shape != rows.shape:
        raise ValueError(
            f"groups must have the shape of X, {shape}, or one label for each of the "
            f"{len(rows)} observed entries, got shape {labels.shape}."
        )
    return np.asarray(unmasked(labels, "groups", "give each entry a group"))


def _folds(rows: Array, n_splits: int, rng: np.random.RandomState) -> Array:
    """The fold of every entry: each row dealt out in random order."""
    order = np.lexsort((rng.permutation(len(rows)), rows))
    # A small type, because the array is kept for as long as splits are drawn.
    folds = np.empty(len(rows), np.min_scalar_type(n_splits))
    folds[order] = np.resize(np.arange(n_splits, dtype=folds.dtype), len(rows))
    return folds


def _keep_visible(
    visible: Array,
    held_out: Array,
    rows: Array,
    columns: Array,
    rng: np.random.RandomState,
) -> Array:
    """`visible` with one more random entry in every row and column without any.

    A held-out entry is taken only if the row or column has no other.
    """
    visible = visible.copy()
    for lines in (rows, columns):
        seen = np.zeros(int(lines.max()) + 1, dtype=bool)
        for part in slabs((len(lines), 1)):
            seen[lines[part][visible[part]]] = True
        hidden = rng.permutation(np.flatnonzero(~seen[lines]))
        hidden = hidden[np.argsort(held_out[hidden], kind="stable")]
        _, first = np.unique(lines[hidden], return_index=True)
        visible[hidden[first]] = True
    return visible


def _mask(positions: Array, size: int) -> Array:
    mask = np.zeros(size, dtype=bool)
    mask[positions] = True
    return mask


def _positions(
    train: Array, test: Array, shape: tuple[int, int]
) -> tuple[Array, Array]:
    if not test.any():
        raise ValueError(
            "No entry can be held out, because each is the last visible one of its row "
            f"or column: too few observed entries of a matrix with "
            f"n_samples={shape[0]} and n_features={shape[1]}."
        )
    return np.flatnonzero(train), np.flatnonzero(test)
