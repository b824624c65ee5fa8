"""Features of rows and columns of a recommender, by their ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skprecgd._estimators.weighting import checked_numbers
from skprecgd._linalg.containers import numbers_of_frame
from skprecgd._linalg.naming import first_few
from skprecgd._runtime.typing import Array
from skprecgd.measurements.labels import as_ids, joined
from skprecgd.measurements.pairs import Ids
from skprecgd.measurements.triples import is_frame

# Cells of a sparse matrix up to which it is made a dense one, less its means (256 MB);
# of larger ones the leading directions are found from what is stored.
_MOST_CELLS = 1 << 25
# Differences from a mean below this many machine epsilons of it are rounding.
_ROUNDING = 8.0


class Features(NamedTuple):
    """Which features a table has.

    Attributes
    ----------
    number : int
    names : tuple or None
        The columns of a data frame; None if the features have no names.
    means : ndarray of shape (number,), default=None
        What is subtracted; None if nothing is.
    vary : bool, default=True
        Whether any differs from its mean.
    """

    number: int
    names: tuple[Any, ...] | None
    means: Array | None = None
    vary: bool = True


def _less(matrix: Any, means: Array) -> Array:
    """Features less their means; rounding is none."""
    left = (matrix.toarray() if sparse.issparse(matrix) else matrix) - means
    rounding = _ROUNDING * np.finfo(np.float64).eps * np.abs(means)
    return np.where(np.abs(left) <= rounding, 0.0, left)


@dataclass(frozen=True)
class FeatureTable:
    """Features of rows or of columns, by their ids.

    Attributes
    ----------
    name : str
        Of the argument, for messages.
    ids : ndarray of shape (n,)
        As `as_ids` returns them, each once.
    matrix : ndarray or csr_array of shape (n, n_features)
    names : tuple, default=None
        Of the features, if they came in a data frame.
    """

    name: str
    ids: Array
    matrix: Any
    names: tuple[Any, ...] | None = None

    @classmethod
    def read(cls, given: Any, name: str) -> FeatureTable | None:
        """Those of a data frame whose index are ids, or a pair of ids and a matrix.

        Parameters
        ----------
        given : data frame, tuple of (ids, matrix), FeatureTable or None
        name : {"row_features", "column_features"}

        Raises
        ------
        ValueError
            If it is none of these, or there is not one row of finite numbers for each
            of the ids, which are all different.
        """
        if given is None or isinstance(given, FeatureTable):
            return given
        names = None
        if is_frame(given) and hasattr(given, "index"):
            ids, matrix = given.index, _of_frame(given, name)
            names = tuple(given.columns)
        elif isinstance(given, tuple) and len(given) == 2:
            ids, matrix = given
        else:
            raise ValueError(
                f"{name} must be a data frame whose index are ids, or a pair (ids, "
                f"matrix), got {type(given).__name__}."
            )
        ids = as_ids(ids, f"The ids of {name}")
        options = {"accept_sparse": "csr", "ensure_2d": True}
        matrix = checked_numbers(matrix, name, **options)
        if matrix.shape[0] != len(ids):
            raise ValueError(
                f"{name} must have one row of features for each of its {len(ids)} ids, "
                f"got shape {matrix.shape}."
            )
        if sparse.issparse(matrix):
            matrix = sparse.csr_array(matrix)
        table = cls(name, ids, matrix, names)
        again = len(ids) - len(table.known)
        if again:
            raise ValueError(
                f"{name} holds {again} id(s) more than once; give each id one row."
            )
        return table

    @cached_property
    def known(self) -> Ids:
        """The different ids."""
        return Ids.of(self.ids)[0]

    @property
    def features(self) -> Features:
        """Which features there are."""
        return Features(int(self.matrix.shape[1]), self.names)

    def features_over(self, ids: Ids, seen: Array) -> Features:
        """Which features there are, with their means over ids that have pairs.

        Parameters
        ----------
        ids : Ids
        seen : ndarray of int
            Positions of those that have pairs.
        """
        n, p = self.matrix.shape
        place = self.known.positions(ids.labels[np.unique(seen)])
        place = place[place >= 0]
        if (sparse.issparse(self.matrix) and n * p > _MOST_CELLS) or not len(place):
            return self.features
        own = self.in_order()[place]
        means = np.asarray(own.mean(axis=0), np.float64).ravel()
        return self.features._replace(means=means, vary=bool(np.any(_less(own, means))))

    def centred(self, features: Features) -> FeatureTable:
        """The table less means, so that a shift of a feature tells nothing, and ones.

        The last feature is one for all, so that factors and offsets have means of their
        own; it is zero if no other one varies, for these tell nothing.

        Parameters
        ----------
        features : Features
            With the means.
        """
        if features.means is None:
            return self
        left = _less(self.matrix, features.means)
        one = np.full((len(left), 1), float(features.vary))
        return replace(self, matrix=np.hstack([left, one]))

    def in_order(self) -> Any:
        """The features of the known ids, in their order."""
        at = np.empty(len(self.ids), dtype=np.intp)
        at[self.known.positions(self.ids)] = np.arange(len(self.ids))
        return self.matrix[at]

    def of(self, ids: Ids, seen: Array) -> Any:
        """The features of ids, and a last row of zeros for one that is not known.

        Parameters
        ----------
        ids : Ids
        seen : ndarray of int
            Positions of those that need features.

        Raises
        ------
        ValueError
            If one that needs features has none.
        """
        place = self.known.positions(ids.labels)
        without = ids.labels[np.unique(seen[place[seen] < 0])]
        if len(without):
            raise ValueError(
                f"{self.name} lacks {len(without)} id(s) that have pairs in X "
                f"({first_few(without.tolist())}); give each a row, if need be "
                "the mean of the others."
            )
        found = np.flatnonzero(place >= 0)
        shape = len(ids) + 1, len(self.ids)
        ones = np.ones(len(found))
        choice = sparse.csr_array((ones, (found, place[found])), shape=shape)
        return choice @ self.in_order()


def _of_frame(frame: Any, name: str) -> Any:
    dtypes = list(frame.dtypes)
    wrong = [
        column
        for column, dtype in zip(frame.columns, dtypes, strict=True)
        if getattr(dtype, "kind", "O") not in "fiub"
    ]
    if wrong:
        raise ValueError(
            f"{name} must hold numbers, and its column {wrong[0]!r} does not; encode "
            "categories first, as with OneHotEncoder or pandas.get_dummies."
        )
    if dtypes and all(getattr(dtype, "fill_value", None) == 0 for dtype in dtypes):
        return sparse.csr_array(frame.sparse.to_coo())
    return numbers_of_frame(frame)


@dataclass(frozen=True)
class KnownIds:
    """Ids of a fit, and others that have joined them since.

    Attributes
    ----------
    fitted, more : Ids
        Their positions follow one another.
    """

    fitted: Ids
    more: Ids

    def positions(self, ids: Array) -> Array:
        """The position of each id, -1 for those that are not among these."""
        first, second = self.fitted.positions(ids), self.more.positions(ids)
        later = (first < 0) & (second >= 0)
        return np.where(later, len(self.fitted) + second, first)

    @property
    def labels(self) -> Array:
        return joined([self.fitted.labels, self.more.labels])


def not_among(table: FeatureTable | None, known: Ids) -> FeatureTable | None:
    """The part of a table whose ids a fit does not know; None if it knows all."""
    if table is None:
        return None
    new = np.flatnonzero(known.positions(table.ids) < 0)
    if not len(new):
        return None
    return replace(table, ids=table.ids[new], matrix=table.matrix[new])


Tables = tuple[FeatureTable | None, FeatureTable | None]
"""Features of rows and of columns."""


def merged_tables(first: Tables, second: Tables) -> Tables:
    """Those of both; what the second says of an id takes the place of the first's.

    Raises
    ------
    ValueError
        If they do not have the same features.
    """
    rows, columns = (_merged(*each) for each in zip(first, second, strict=True))
    return rows, columns


def _merged(old: FeatureTable | None, new: FeatureTable | None) -> FeatureTable | None:
    if old is None or new is None:
        return old if new is None else new
    check_alike(new, old.features)
    kept = np.flatnonzero(new.known.positions(old.ids) < 0)
    parts = old.matrix[kept], new.matrix
    if any(sparse.issparse(part) for part in parts):
        matrix = sparse.vstack([sparse.csr_array(part) for part in parts], "csr")
    else:
        matrix = np.vstack(parts)
    ids = joined([old.ids[kept], new.ids])
    return FeatureTable(old.name, ids, matrix, old.names or new.names)


def check_alike(table: FeatureTable, fitted: Features | None) -> None:
    """Refuse other features than those of a fit, which is None if it had none."""
    if fitted is None:
        raise ValueError(
            f"{table.name} needs a fit with {table.name}, from which is learned "
            "what they say; this one had none."
        )
    given = table.features
    if given.number != fitted.number:
        raise ValueError(
            f"{table.name} must have the {fitted.number} features of the fit, got "
            f"{given.number}."
        )
    if None not in (given.names, fitted.names) and given.names != fitted.names:
        raise ValueError(
            f"{table.name} must have the columns of the fit in the same order, "
            f"{first_few(list(fitted.names or ()))}; got "
            f"{first_few(list(given.names or ()))}."
        )


def read_tables(row_features: Any, column_features: Any) -> Tables:
    """What a user gives as features; see `FeatureTable.read`."""
    rows = FeatureTable.read(row_features, "row_features")
    return rows, FeatureTable.read(column_features, "column_features")
