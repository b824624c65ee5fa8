"""The entries, line by line of the longer side, and what is summed along these.

The iteration asks nothing else of the data. What is known of a line follows from the
shorter side, so that nobody but the lines themselves needs to hold it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import Lines, Others, Totals, Unknown


@dataclass(frozen=True)
class ShortSide:
    """What the lines of the longer side are found from, but for their entries.

    Attributes
    ----------
    others : Others
        The lines of the shorter side.
    unknown : Unknown
        What is to be found of a line of the longer side, and its prior.
    noise : ndarray of shape (n_long,) or None
        Inverse variances of the noise of the lines of the longer side; None is one.
    rate : tuple of float
        How that is learned on the way; see `skprecgd.kernels.Learned`.
    freedom : float, default=inf
        Degrees of freedom of the noise of an entry.
    """

    others: Others
    unknown: Unknown
    noise: Array | None
    rate: tuple[float, float]
    freedom: float = np.inf

    @property
    def learns_noise(self) -> bool:
        """Whether lines of the longer side learn noise of their own."""
        return self.rate[0] >= 0.0

    def of_lines(self, lines: slice) -> ShortSide:
        """The same for some of the lines."""
        noise = None if self.noise is None else self.noise[lines]
        return replace(self, noise=noise)


class LongSide(ABC):
    """The means of the lines of the longer side."""

    @abstractmethod
    def mean_of(self, coordinate: int) -> float:
        """The mean of a coordinate over all lines."""

    @abstractmethod
    def squares(self) -> Array:
        """The sum of the squares of each coordinate, shape (size,)."""

    @abstractmethod
    def turned(self, turn: Array) -> Self:
        """The lines times the transpose of a matrix of shape (size, size)."""

    @abstractmethod
    def kept(self, coordinates: Array) -> Self:
        """Some of the coordinates."""

    @abstractmethod
    def grown(self, first: int, count: int) -> Self:
        """With so many more coordinates before the first, which are zero."""


class Shares(ABC):
    """The expected precisions of the entries, in units of those of their lines."""

    @abstractmethod
    def sums(self) -> tuple[float, float, float]:
        """Of their logarithms, of themselves, and how many there are.

        Each counts as often as its entry was made.
        """

    @abstractmethod
    def occurrences(self, freedom: float) -> Array:
        """How often there are squared residuals of each size.

        Parameters
        ----------
        freedom : float
            The degrees of freedom from which the precisions were found.

        Returns
        -------
        ndarray of shape (n_bins,)
            See `Histogram`.
        """


class Swept(NamedTuple):
    """What a sweep over all lines of the longer side finds.

    Attributes
    ----------
    long : LongSide
    totals : Totals
    squares : ndarray of shape (n_long,)
        Expected squared residuals; empty unless lines learn noise of their own.
    grams, moments : ndarray
        See `skprecgd.kernels.Sweep`.
    shares : Shares or None
        None where noise is normal.
    """

    long: LongSide
    totals: Totals
    squares: Array
    grams: Array
    moments: Array
    shares: Shares | None


class Residual(ABC):
    """What the means leave of the entries."""

    @abstractmethod
    def whitened(self, side: ShortSide, shares: Shares | None) -> Any:
        """As a matrix of shape (n_long, n_short), where all lines have the same noise.

        Parameters
        ----------
        side : ShortSide
            Its inverse variances of the noise are read.
        shares : Shares or None
        """

    @abstractmethod
    def median_size(self) -> float:
        """The median of the absolute values."""

    @abstractmethod
    def mean_square(self, side: ShortSide) -> float:
        """The mean square, in units of the noise."""

    @abstractmethod
    def occurrences(self, side: ShortSide, unit: float) -> Array:
        """How often there are squares of each size, in units of the noise and of these.

        Returns
        -------
        ndarray of shape (n_bins,)
            See `Histogram`.
        """


@dataclass(frozen=True)
class LeftOut:
    """Residuals of entries, each as if it alone had been left out.

    Attributes
    ----------
    residual : ndarray of shape (n,)
        In the units of the entries.
    studentised : ndarray of shape (n,)
        Squares that have the variance of the noise: residuals times those of the fit.
        A share that is only nearly known hardly changes them.
    rows, columns : ndarray of int, shape (n,)
        The lines of the longer and of the shorter side.
    """

    residual: Array
    studentised: Array
    rows: Array
    columns: Array


class EntryLines(ABC):
    """The entries of a matrix by the lines of its longer side.

    Attributes
    ----------
    sides : tuple of int
        Numbers of lines of the longer side, and of the other.
    n_entries : int
    counts : tuple of ndarray
        How many entries the lines of each side have, as often as they were made.
    """

    sides: tuple[int, int]
    n_entries: int
    counts: tuple[Array, Array]

    @abstractmethod
    def unknown_lines(self, size: int) -> LongSide:
        """Lines of so many coordinates of which nothing is known: all are zero."""

    @abstractmethod
    def first_shares(self) -> Shares:
        """The precisions before anything is learned: all are one."""

    @abstractmethod
    def swept(self, side: ShortSide, shares: Shares | None) -> Swept:
        """The Gaussians of all lines, and what they are to the shorter side."""

    @abstractmethod
    def squares_alone(
        self, side: ShortSide, shares: Shares | None
    ) -> tuple[Array, Array]:
        """Squared entries of the lines of each side, in units of the other's noise."""

    @abstractmethod
    def shares_alone(self, side: ShortSide, shares: Shares) -> Shares:
        """The precisions of entries that nothing is to explain."""

    @abstractmethod
    def lines(self, side: ShortSide, shares: Shares | None) -> Lines:
        """All lines with their second moments, in memory."""

    @abstractmethod
    def residual(self, long: LongSide, short: Array) -> Residual:
        """What the means of both sides leave.

        Parameters
        ----------
        long : LongSide
        short : ndarray of shape (n_short, size)
        """

    @abstractmethod
    def left_out(self, side: ShortSide, shares: Shares | None, most: int) -> LeftOut:
        """What would be left of entries that had not been seen, approximately.

        Parameters
        ----------
        side : ShortSide
        shares : Shares or None
        most : int
            Entries, about, beyond which only some of the lines of the longer side are
            looked at, evenly spread.
        """

    @abstractmethod
    def most_frequent(self, *, of_long: bool) -> Array:
        """How often the most frequent number of each line of a side occurs in it."""
