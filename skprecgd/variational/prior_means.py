"""Prior means of lines that are linear in features of these, with learned weights.

A row of features x of a line adds ``W^T x`` to the prior mean of its coordinates. The
weights W are Gaussian with mean zero, and each coordinate has one variance for all of
them, which is learned: a ridge regression of the lines on their features, whose ridge
the lines choose themselves. Features are turned so that they are orthogonal over the
lines; then all weights of a coordinate are independent given the lines, and a
regression costs one product with the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.leading import leading_triplets
from skprecgd._runtime.typing import Array

# Squared singular values below this share of the largest are rounding.
_ROUNDING = 1e-12
# Numbers of turned features that are held (256 MB), and turned features at most, since
# they are found from a matrix of their pairs: of larger features the leading ones.
_NUMBERS, _MOST = 1 << 25, 3000
# Rounds in which weights and their variance are found in turn, each of which costs next
# to nothing. The steps of the iteration go on from there.
_ROUNDS = 5
# No variance falls below this share of that at the start.
_LEAST = 1e-12


@dataclass(frozen=True)
class Features:
    """Features of all lines of a side, turned so that they are orthogonal.

    Attributes
    ----------
    turned : ndarray of shape (n_lines, q)
        Of all lines.
    turn : ndarray of shape (n_features, q) or None
        From features to these; None where no other line has such features.
    useful : ndarray of int, shape (n_useful,)
        The lines that have entries, over which they are orthogonal.
    squares : ndarray of shape (q,)
        Sums of the squares over these.
    """

    turned: Array
    turn: Array | None
    useful: Array
    squares: Array

    @classmethod
    def of(cls, matrix: Any, useful: Array, *, of_new: bool) -> Features | None:
        """Those in the rows of a matrix; None if they are zero where there are entries.

        Parameters
        ----------
        matrix : array or csr_array of shape (n_lines, n_features)
        useful : ndarray of int, shape (n_useful,)
        of_new : bool
            Whether other lines may have such features.
        """
        turn = _turn(matrix[useful])
        turned = np.asarray(matrix @ turn)
        squares = np.sum(turned[useful] ** 2, axis=0)
        kept = squares > _ROUNDING * np.max(squares, initial=0.0)
        if not kept.any():
            return None
        kept_turn = turn[:, kept] if of_new else None
        return cls(turned[:, kept], kept_turn, useful, squares[kept])

    @cached_property
    def own(self) -> Array:
        """The turned features of the useful lines."""
        return np.ascontiguousarray(self.turned[self.useful])

    def unknown(self, n_coordinates: int) -> Regression:
        """The weights before anything is learned: none has any effect."""
        mean = np.zeros((len(self.squares), n_coordinates))
        expected = np.zeros((len(self.useful), n_coordinates))
        ones = np.ones(n_coordinates)
        return Regression(self, mean, np.ones_like(mean), ones, expected)


def _turn(matrix: Any) -> Array:
    """Right singular vectors of a matrix, the leading ones if it is large."""
    n, p = matrix.shape
    most = min(_MOST, max(1, _NUMBERS // max(n, p)))
    if min(n, p) > most:
        return leading_triplets(matrix, most, 0, tol=0.1)[2]
    if p <= n:
        return np.linalg.eigh(_dense(matrix.T @ matrix))[1][:, ::-1]
    squares, left = np.linalg.eigh(_dense(matrix @ matrix.T))
    kept = squares > _ROUNDING * max(squares[-1], 0.0)
    return np.asarray(matrix.T @ (left[:, kept] / np.sqrt(squares[kept])))[:, ::-1]


def _dense(matrix: Any) -> Array:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


@dataclass(frozen=True)
class Regression:
    """The weights of features, as they are learned or drawn.

    Attributes
    ----------
    features : Features
    mean : ndarray of shape (q, f)
        Of the weights.
    spread : ndarray of shape (q, f)
        Their variances; zero of a draw.
    variances : ndarray of shape (f,)
        Of their prior.
    expected : ndarray of shape (n_useful, f)
        What they add to the prior means of the useful lines.
    """

    features: Features
    mean: Array
    spread: Array
    variances: Array
    expected: Array

    @property
    def of_all(self) -> Array:
        """The same of all lines."""
        return np.asarray(self.features.turned @ self.mean)

    @property
    def of_features(self) -> Array:
        """The weights of the features as they were given, (n_features, f).

        Of features that other lines may have.
        """
        assert self.features.turn is not None
        return np.asarray(self.features.turn @ self.mean)

    @property
    def uncertain(self) -> Array:
        """The sum over the useful lines of the variances of what they add, (f,)."""
        return np.asarray(self.features.squares @ self.spread)

    def learned(self, lines: Array, prior: Array) -> Regression:
        """The posterior given lines, less what others add to their prior means.

        Parameters
        ----------
        lines : ndarray of shape (n_useful, f)
        prior : ndarray of shape (f,)
            Variances of the lines about their prior means.
        """
        squares, sums = self._sums(lines)
        variances = self.variances
        for _ in range(_ROUNDS):
            spread = 1.0 / (squares / prior + 1.0 / variances)
            mean = spread * sums / prior
            found = np.mean(mean**2 + spread, axis=0)
            variances = np.maximum(found, _LEAST * self.variances)
        return self._found(mean, spread, variances)

    def drawn(
        self, lines: Array, prior: Array, first: Array, rng: np.random.Generator
    ) -> Regression:
        """A draw of the weights and then of their variances, given lines; `learned`.

        Parameters
        ----------
        first : ndarray of shape (f,)
            Variances that count as one weight does.
        """
        squares, sums = self._sums(lines)
        spread = 1.0 / (squares / prior + 1.0 / self.variances)
        mean = spread * sums / prior
        mean = mean + np.sqrt(spread) * rng.standard_normal(mean.shape)
        rate = 0.5 * (np.sum(mean**2, axis=0) + first)
        variances = rate / rng.standard_gamma(0.5 * (len(mean) + 1), len(rate))
        return self._found(mean, np.zeros_like(mean), variances)

    def _sums(self, lines: Array) -> tuple[Array, Array]:
        return self.features.squares[:, None], self.features.own.T @ lines

    def _found(self, mean: Array, spread: Array, variances: Array) -> Regression:
        expected = self.features.own @ mean
        return Regression(self.features, mean, spread, variances, expected)

    def divergence(self) -> Array:
        """From the prior to the posterior of the weights of each coordinate, (f,)."""
        relative = self.spread / self.variances
        squares = self.mean**2 / self.variances + relative
        return 0.5 * np.sum(squares - 1.0 - np.log(relative), axis=0)

    def turned(self, turn: Array) -> Regression:
        """Of coordinates that are turned by a matrix of shape (f, f)."""
        mean, spread = self.mean @ turn.T, self.spread @ (turn**2).T
        variances = np.mean(mean**2 + spread, axis=0)
        return Regression(
            self.features, mean, spread, variances, self.expected @ turn.T
        )

    def kept(self, coordinates: Array) -> Regression:
        """Of some of the coordinates."""
        parts = self.mean, self.spread, self.variances, self.expected
        return Regression(self.features, *(part[..., coordinates] for part in parts))

    def grown(self, first: int, variance: Array) -> Regression:
        """With more coordinates before the first, whose weights are not known.

        Parameters
        ----------
        first : int
        variance : ndarray of shape (n_new,)
            Of what they add to the prior means, in the mean over the lines.
        """
        features, at = self.features, [first] * len(variance)
        each = variance * len(features.useful) / np.sum(features.squares)
        return Regression(
            features,
            np.insert(self.mean, at, 0.0, axis=1),
            np.insert(self.spread, at, each, axis=1),
            np.insert(self.variances, at, each),
            np.insert(self.expected, at, 0.0, axis=1),
        )


def expected_lines(regressions: Sequence[Regression]) -> Array:
    """What all features together add to the prior means of the useful lines."""
    return np.sum([each.expected for each in regressions], axis=0)


def of_all_lines(regressions: Sequence[Regression]) -> Array | None:
    """The same of all lines, with and without entries; None without features."""
    if not regressions:
        return None
    return np.asarray(np.sum([each.of_all for each in regressions], axis=0))


@dataclass(frozen=True)
class UncertainMap:
    """How uncertain it is what features add to the prior means of new lines.

    Attributes
    ----------
    turn : ndarray of shape (n_features, q)
        From features to orthogonal ones.
    spread : ndarray of shape (q, f)
        Variances of the weights of these.
    """

    turn: Array
    spread: Array

    def variances(self, features: Any) -> Array:
        """Of what features add to each coordinate, (n_lines, f)."""
        return np.asarray(np.asarray(features @ self.turn) ** 2 @ self.spread)


def uncertain_map(regressions: Sequence[Regression]) -> UncertainMap | None:
    """That of the features that new lines may have, or None."""
    for each in regressions:
        if each.features.turn is not None:
            return UncertainMap(each.features.turn, each.spread)
    return None


def of_new_lines(regressions: Sequence[Regression]) -> Array | None:
    """What each feature that new lines may have adds to prior means, or None."""
    for each in regressions:
        if each.features.turn is not None:
            return each.of_features
    return None


@dataclass(frozen=True)
class NewLines:
    """What features add to lines of which nothing else is known, in units of the data.

    Attributes
    ----------
    rows : ndarray of shape (n_features, f), default=None
        To the coordinates of rows.
    columns : ndarray of shape (n_features, f), default=None
        To what each of these adds to entries.
    offsets : ndarray of shape (n_features,), default=None
        To the offsets of columns.
    row_map : UncertainMap, default=None
        How uncertain it is what they add to the coordinates of rows; None of draws.
    """

    rows: Array | None = None
    columns: Array | None = None
    offsets: Array | None = None
    row_map: UncertainMap | None = None


NOTHING_NEW = NewLines()
"""Features tell of no other line."""
