"""Single entries of the recovered matrix: predictions, how sure they are, and draws."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skprecgd._runtime.typing import Array, RandomState
from skprecgd.kernels import sampled_product
from skprecgd.losses import make_loss
from skprecgd.variational.predictive import Distribution, EntryDistributions

# Ratio of the sizes of columns from which on: seven digits are left at a million.
_WIDE = 1e4


def positions(index: Any, n: int, name: str) -> Array:
    """Positions along an axis of length n, as integers.

    Raises
    ------
    ValueError
        If they are no integers, not one-dimensional, or beyond the axis.
    """
    found = np.asarray(index)
    if found.ndim != 1 or not (
        np.issubdtype(found.dtype, np.integer) or not found.size
    ):
        raise ValueError(
            f"{name} must be a list or a one-dimensional array of integers, the "
            f"positions of entries, got {index!r:.100}."
        )
    if found.size and not (found.min() >= 0 and found.max() < n):
        raise ValueError(
            f"{name} must be between 0 and {n - 1}, got "
            f"{found.min() if found.min() < 0 else found.max()}."
        )
    return found.astype(np.intp)


def check_at_least_one(n_draws: Any) -> None:
    """Refuse a number of draws that is none."""
    if not isinstance(n_draws, Integral) or n_draws < 1:
        raise ValueError(f"n_draws must be an integer of at least 1, got {n_draws!r}.")


def knows_entries(model: UncertainEntries) -> bool:
    """Whether a fit has learned how sure single entries are."""
    return model._noise is not None and model._noise.entries is not None


def entries_of_rows(
    model: UncertainEntries, rows: sparse.csr_array
) -> EntryDistributions:
    """The distributions of the entries of any rows, given what these show.

    Parameters
    ----------
    model : PrecGDFactorization
        Fitted.
    rows : csr_array of shape (n_rows, n_columns)
        The visible entries; explicit zeros are values.

    Raises
    ------
    ValueError
        If the fit has learned no noise.
    """
    return model._known_entries().of_rows(rows)


def loses_digits(model: UncertainEntries) -> bool:
    """Whether the factors are to be left alone, as columns differ too much in units.

    They are orthonormal in the units of the data, so that an entry of a column is known
    to the rounding of the largest one. What was learned of the entries themselves is
    told in the units of each column.

    Parameters
    ----------
    model : PrecGDFactorization or PrecGDMatrixSensing
        Fitted.
    """
    noise = model._noise
    if noise is None or noise.entries is None or model.groups_.n_groups > 1:
        return False
    if not make_loss(model.loss).least_squares:
        return False
    sizes = np.max(np.abs(model.right_), axis=1, initial=0.0)
    sizes = sizes[sizes > 0]
    return len(sizes) > 0 and bool(np.max(sizes) > _WIDE * np.min(sizes))


class UncertainEntries:
    """What both estimators tell of single entries."""

    left_: Array
    right_: Array
    center_: Array
    loss: Any
    stop_reason_: str
    noise_df_: float
    groups_: Any
    _noise: Any
    # A parameter of `PrecGDFactorization` and `PrecGDMatrixSensing`.
    store_pattern: bool = True

    def predict_entries(
        self, rows: Any, columns: Any, *, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict entries of the matrix, whether observed or not.

        Parameters
        ----------
        rows, columns : array-like of int, shape (n_entries,)
            Positions in the matrix that was fitted.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        mean : ndarray of shape (n_entries,)
            With ``loss="logistic"`` probabilities, with ``loss="poisson"`` means.
        std : ndarray of shape (n_entries,)
            Of a new measurement of each entry: what is not known of the matrix, and
            noise. Only with `return_std`.

        Raises
        ------
        ValueError
            If positions lie beyond the matrix; with `return_std`, if the fit has
            learned no noise, or of a dask collection.

        Warns
        -----
        UserWarning
            If a standard deviation is infinite, since the noise of an entry has two
            degrees of freedom or fewer, or is known from two others or fewer;
            `interval` is finite there, unless the column has a single entry.

        Notes
        -----
        The standard deviations are those of variational Bayes: rows and columns are
        Gaussian, and independent of one another given the data. With
        ``inference="gibbs"`` they are those over the draws. The noise of an entry
        is that of its column times a factor for its row, both with Gamma posteriors,
        so that a prediction has Student's t distribution. See :ref:`how_sure`.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDFactorization
        >>> rng = np.random.default_rng(0)
        >>> X = np.outer(rng.normal(size=50), [1.0, 2.0, 3.0, 4.0])
        >>> X = X + 0.1 * rng.normal(size=X.shape)
        >>> X[0, 0] = np.nan
        >>> model = PrecGDFactorization("auto", center="columns").fit(X)
        >>> mean, std = model.predict_entries([0], [0], return_std=True)
        >>> print(f"{std[0]:.1f}")
        0.1
        """
        cells = self._cells(rows, columns)
        mean = self._entry_means(*cells)
        return (mean, self._entry_std(*cells)) if return_std else mean

    def interval(
        self, rows: Any, columns: Any, level: float = 0.9
    ) -> tuple[Array, Array]:
        """Intervals in which new measurements of entries lie.

        Parameters
        ----------
        rows, columns : array-like of int, shape (n_entries,)
            Positions in the matrix that was fitted.
        level : float, default=0.9
            How many of them are to lie inside, between 0 and 1.

        Returns
        -------
        low, high : ndarray of shape (n_entries,)
            Quantiles, noise included.

        Raises
        ------
        ValueError
            As `predict_entries`; if `level` is not between 0 and 1.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDFactorization
        >>> rng = np.random.default_rng(0)
        >>> X = np.outer(rng.normal(size=50), [1.0, 2.0, 3.0, 4.0])
        >>> X = X + 0.1 * rng.normal(size=X.shape)
        >>> truth, X[0, 0] = X[0, 0], np.nan
        >>> model = PrecGDFactorization("auto", center="columns").fit(X)
        >>> low, high = model.interval([0], [0], level=0.99)
        >>> bool(low[0] < truth < high[0])
        True
        """
        if not (isinstance(level, Real) and 0.0 < level < 1.0):
            raise ValueError(f"level must be between 0 and 1, got {level!r}.")
        found = self._distribution(*self._cells(rows, columns))
        dtype = self.left_.dtype
        low, high = (found.quantile(0.5 + sign * level / 2) for sign in (-1, 1))
        return low.astype(dtype), high.astype(dtype)

    def sample_entries(
        self,
        rows: Any,
        columns: Any,
        n_draws: int = 1,
        random_state: RandomState = None,
    ) -> Array:
        """Draw entries from their joint posterior distribution.

        All entries of a draw belong to one matrix: what is not known of a row or a
        column is drawn once for all of its entries, and noise for each.

        Parameters
        ----------
        rows, columns : array-like of int, shape (n_entries,)
            Positions in the matrix that was fitted.
        n_draws : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_draws, n_entries)

        Raises
        ------
        ValueError
            As `predict_entries`; if `n_draws` is below 1.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDFactorization
        >>> rng = np.random.default_rng(0)
        >>> X = np.outer(rng.normal(size=50), [1.0, 2.0, 3.0, 4.0])
        >>> X = X + 0.1 * rng.normal(size=X.shape)
        >>> X[0, 0] = np.nan
        >>> model = PrecGDFactorization("auto", center="columns").fit(X)
        >>> model.sample_entries([0, 0], [0, 1], n_draws=5, random_state=0).shape
        (5, 2)
        """
        check_at_least_one(n_draws)
        draws = self._draws(*self._cells(rows, columns), random_state)
        return np.stack(list(islice(draws, n_draws))).astype(self.left_.dtype)

    def _cells(self, rows: Any, columns: Any) -> tuple[Array, Array]:
        check_is_fitted(self)
        n_rows, n_columns = len(self.left_), len(self.right_)
        cells = (
            positions(rows, n_rows, "rows"),
            positions(columns, n_columns, "columns"),
        )
        if len(cells[0]) != len(cells[1]):
            raise ValueError(
                f"rows and columns must have one position for each entry, got "
                f"{len(cells[0])} and {len(cells[1])}."
            )
        return cells

    def _entry_means(self, rows: Array, columns: Array) -> Array:
        if loses_digits(self):
            known = self._known_entries().means(rows, columns)
            return np.asarray(known, self.left_.dtype)
        z = sampled_product(self.left_, self.right_, rows, columns)
        mean = make_loss(self.loss).mean(z + self.center_[columns])
        return np.asarray(mean, self.left_.dtype)

    def _distribution(self, rows: Array, columns: Array) -> Distribution:
        known, noise = self._known_entries(), self._given_noise(rows, columns)
        found = known.at(rows, columns, noise)
        # Groups of which no noise was learned have a matrix all the same.
        return replace(found, mean=self._entry_means(rows, columns))

    def _draws(
        self, rows: Array, columns: Array, random_state: RandomState
    ) -> Iterator[Array]:
        known, noise = self._known_entries(), self._given_noise(rows, columns)
        rng = check_random_state(random_state)
        shift = self._entry_means(rows, columns) - known.means(rows, columns)
        return (shift + drawn for drawn in known.draws(rows, columns, rng, noise))

    def _entry_std(self, rows: Array, columns: Array) -> Array:
        found = self._distribution(rows, columns)
        std = found.std.astype(self.left_.dtype)
        if np.isinf(std).any():
            why, but = "is known from two other entries or fewer", ""
            if self.noise_df_ <= 2.0:
                why = f"has {self.noise_df_:.2g} degrees of freedom (noise_df_)"
            if np.isinf(found.noise).any():
                but = (
                    " but in columns of a single entry, which says nothing of their "
                    "spread: if all columns have one unit, center='mean' and "
                    "noise='uniform' say so"
                )
            warnings.warn(
                f"The standard deviation of {np.sum(np.isinf(std))} entries is "
                f"infinite, as their noise {why}; interval gives quantiles, which are "
                f"finite{but}.",
                UserWarning,
                stacklevel=3,
            )
        return std

    def _known_entries(self) -> EntryDistributions:
        noise = self._noise
        if noise is not None and noise.measured is not None:
            raise ValueError(
                "What was fitted are no single entries: of these, as of all "
                "measurements, predict(EntryMeasurements(...), return_std=True) says "
                "how sure they are, and sample_factors draws the matrix."
            )
        if noise is None or noise.lower_bound is None:
            chosen = getattr(self, "alpha_", "auto")
            why = f"the search chose alpha_={chosen!r}"
            if isinstance(chosen, str):
                why = f"stop_reason_: {self.stop_reason_!r}"
            raise ValueError(
                "Nothing is known of how sure the entries are: that takes noisy single "
                "entries of which some are missing, and alpha='auto' and "
                f"loss='squared', with which the noise is learned ({why})."
            )
        if noise.entries is None and self.store_pattern:
            raise ValueError(
                "How sure entries are depends on which of them were observed, and that "
                "stays with the chunks of a dask collection; fit the data in memory."
            )
        if noise.entries is None:
            raise ValueError(
                "How sure entries are depends on which of them were observed, and "
                "store_pattern=False keeps no record of that; fit with "
                "store_pattern=True."
            )
        return noise.entries

    def _given_noise(self, rows: Array, columns: Array) -> Array | None:
        """The variances of the noise of entries, where the user gave them."""
        return None
