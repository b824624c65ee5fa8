"""PrecGDImputer: fills the holes of a table, a transformer."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skprecgd._estimators.cells import (
    Cells,
    CellsOfRows,
    ExplainedCells,
    FittedCells,
    NoCells,
)
from skprecgd._estimators.factorization import PrecGDFactorization
from skprecgd._estimators.fitting import undone_on_failure
from skprecgd._estimators.lazy import by_rows, without_fitted_rows
from skprecgd._estimators.parameters import SHARED_CONSTRAINTS
from skprecgd._estimators.search_rank import AUTO
from skprecgd._estimators.table import (
    Table,
    TableInMemory,
    marker,
    read_array,
    read_table,
)
from skprecgd._estimators.uncertain import knows_entries
from skprecgd._estimators.weighting import checked_numbers, is_number
from skprecgd._linalg.naming import first_few
from skprecgd._runtime.compat import (
    Interval,
    MissingValues,
    StrOptions,
    fit_context,
    in_container,
)
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.measurements.in_memory import check_any_observed

# Parameters that the factorization takes over unchanged.
_OF_THE_FIT = (
    "n_components",
    "center",
    "noise",
    "noise_tail",
    "inference",
    "random_state",
    "verbose",
)
_LIMIT: list[Any] = [None, Interval(Real, None, None, closed="both"), "array-like"]


class PrecGDImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill the holes of a table of numbers, by a low-rank matrix and its noise.

    The table is the sum of means of its columns, a matrix of low rank and noise, of a
    variance that each column has for itself. How many components there are, how large
    they may be and how noisy each column is are learned from the cells that are seen
    [1]_, and a hole is filled with its posterior mean: see :ref:`noisy_entries`.
    Columns may be in any units: a column that is multiplied by a number is filled with
    multiples. What is seen stays as it is, to the last bit.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Components at most. "auto": as many as the cells can determine. How many carry
        signal is learned either way.
    missing_values : int, float, np.nan, pd.NA or None, default=np.nan
        What is missing. NaN, `pd.NA` and None are the same, and so is what a masked
        array masks. With 0, entries that a sparse `X` does not store are missing (and
        so are zeros of a dense one); with anything else a sparse `X` is refused.
    center : {None, "mean", "columns", "both"}, default="columns"
        Offsets beside the components: none, one for all cells, one for each column, or
        one for each row, too. All but "columns" take the columns to have one unit.
    noise : {"auto", "uniform", "columns"}, default="auto"
        What differs in noise; see `PrecGDFactorization`. "uniform" goes with columns
        of one unit.
    noise_tail : {"auto", "normal", "t"}, default="auto"
        Whether the noise is normal, or Student's t; see `PrecGDFactorization`.
    inference : {"variational", "gibbs"}, default="variational"
        How the posterior is found; "gibbs" takes about twice as long (:ref:`gibbs`).
    sample_posterior : bool, default=False
        Whether `transform` draws the missing cells from their joint posterior, other
        numbers at every call, in place of the mean: multiple imputation.
    min_value, max_value : float or array-like of shape (n_features,), \
            default=-inf and inf
        Limits of what is filled in, for all columns or for each.
    subsample : int or None, default=20000
        From how many rows columns are learned, of a table in memory that has more. They
        are drawn at random, but the same at every fit, and more are taken until each
        column has a quarter as many values. None: from all rows, as with
        `entry_weight`.
    add_indicator : bool, default=False
        Whether `transform` appends a column of zeros and ones for each column with
        holes in `fit`, which says where they are
        (:class:`sklearn.impute.MissingIndicator`).
    keep_empty_features : bool, default=True
        Whether columns without a value in `fit` are kept, and filled with zeros, or
        left out of the result, as scikit-learn's imputers do by default: True is for
        tables whose columns have to stay where they are.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws.
    verbose : int, default=0
        1: one live line: the rank, what is going on, the relative residual and the time
        so far. 2: a table with a row for each iteration. Both end with the
        `stop_reason_` of `factorization_`.

    Attributes
    ----------
    factorization_ : PrecGDFactorization
        The fit of the columns that have values, to the rows of the sample:
        components, noise, evidence, and `stop_reason_`, which says in a sentence what
        was found.
    indicator_ : sklearn.impute.MissingIndicator or None
        None without `add_indicator`.
    random_state_ : RandomState
        Where the next draws come from.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where `X` has string column names.

    See Also
    --------
    PrecGDFactorization : The components themselves, and other losses.
    sklearn.impute.IterativeImputer : A regression of each column on the others.

    Notes
    -----
    A row is filled from what it shows and from what was learned of the columns, so new
    rows are filled like those of `fit`; a row that shows nothing is filled with the
    offsets. Complete data are fitted, too, to fill rows that come later.

    References
    ----------
    .. [1] A. Ilin, T. Raiko, "Practical Approaches to Principal Component Analysis in
       the Presence of Missing Values", JMLR 11, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDImputer
    >>> rng = np.random.default_rng(0)
    >>> size = rng.normal(size=(200, 1))
    >>> X = 40 + size * [6.0, 0.5, 30.0] + rng.normal(size=(200, 3)) * [1.0, 0.1, 9.0]
    >>> truth, X[0, 0] = X[0, 0], np.nan
    >>> filled, std = PrecGDImputer().fit(X).impute(X, return_std=True)
    >>> bool(abs(filled[0, 0] - truth) < 2 * std[0, 0] < 4)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({AUTO}),
        ],
        "missing_values": [MissingValues(numeric_only=True), None],
        "center": PrecGDFactorization._parameter_constraints["center"],
        **{
            name: SHARED_CONSTRAINTS[name]
            for name in (
                "noise",
                "noise_tail",
                "inference",
                "random_state",
                "verbose",
            )
        },
        "sample_posterior": ["boolean"],
        "min_value": _LIMIT,
        "max_value": _LIMIT,
        "subsample": [None, Interval(Integral, 100, None, closed="left")],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | str = AUTO,
        *,
        missing_values: Any = np.nan,
        center: str | None = "columns",
        noise: str = "auto",
        noise_tail: str = "auto",
        inference: str = "variational",
        sample_posterior: bool = False,
        min_value: Any = -np.inf,
        max_value: Any = np.inf,
        subsample: int | None = 20_000,
        add_indicator: bool = False,
        keep_empty_features: bool = True,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.missing_values = missing_values
        self.center = center
        self.noise = noise
        self.noise_tail = noise_tail
        self.inference = inference
        self.sample_posterior = sample_posterior
        self.min_value = min_value
        self.max_value = max_value
        self.subsample = subsample
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, entry_weight: Any = None) -> Self:
        """Learn what fills the holes of tables like X.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            Columns of numbers; integers and truth values become floats. A dask array
            or DataFrame is fitted where it is (:ref:`large_data`).
        y : None
            Ignored.
        entry_weight : array-like or sparse array of shape (n_samples, n_features), \
                default=None
            How often each cell counts in the fit; see `PrecGDFactorization.fit`. Cells
            of weight zero have no part in it, and stay as they are. `transform` knows
            of no weights: to a new row, all of its visible cells say as much.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a column holds no numbers, nothing is observed, X is infinite,
            `n_components` exceeds a side of X, or limits do not fit.

        Warns
        -----
        UserWarning
            If rows or columns have no value, or if n_components leaves out signal.
        """
        self._fit(X, entry_weight)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(
        self, X: Any, y: Any = None, *, entry_weight: Any = None
    ) -> Array:
        """Fit, and fill the holes of X.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
        y : None
            Ignored.
        entry_weight : array-like or sparse array of shape (n_samples, n_features), \
                default=None
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            What `transform` returns, if there are no weights; otherwise the same from
            the weighted cells.
        """
        if entry_weight is not None and is_dask(X):
            raise ValueError(
                "fit_transform with entry_weight needs X in memory, got a dask "
                "collection: call fit with the weights, and then transform, for which "
                "every cell of a row counts once."
            )
        table = self._fit(X, entry_weight)
        if not isinstance(table, TableInMemory):
            return self._lazily(X)
        return self._filled(table, fitted=entry_weight is not None)

    def _fit(self, X: Any, entry_weight: Any) -> Table:
        with undone_on_failure(self):
            table = read_table(self, X, reset=True)
            self._limits = Limits.of(self.min_value, self.max_value, len(table.seen))
            check_any_observed(np.flatnonzero(table.seen))
            self._seen = table.seen
            self._warn_about_empty()
            self.factorization_ = self._learned(table, entry_weight)
            self._in_memory = isinstance(table, TableInMemory)
            self.indicator_ = self._indicator(table.incomplete)
            self.random_state_ = check_random_state(self.random_state)
        return table

    def _learned(self, table: Table, entry_weight: Any) -> PrecGDFactorization:
        """The fit of the columns that have values."""
        seen = table.seen
        if entry_weight is None and self.subsample is not None:
            table = table.sampled(self.subsample)
        if entry_weight is not None or not table.incomplete[seen].any():
            # Of complete data, too, noise and prior are learned: rows with holes will
            # come.
            entry_weight = table.weights(entry_weight, seen)
        model = PrecGDFactorization(
            **{name: getattr(self, name) for name in _OF_THE_FIT},
            missing_values=table.missing_values,
        )
        model.fit(table.of_columns(seen), entry_weight=entry_weight)
        # Whatever marked the holes, rows are given to the model with NaN there.
        return model.set_params(missing_values=np.nan)

    def _indicator(self, incomplete: Array) -> Any:
        """A fitted MissingIndicator of these columns, if there is to be one."""
        if not self.add_indicator:
            return None
        # Imported here because sklearn.impute loads other packages.
        from sklearn.impute import MissingIndicator

        return MissingIndicator(error_on_new=False).fit(_holes_as_nan(incomplete[None]))

    def _warn_about_empty(self) -> None:
        empty = np.flatnonzero(~self._seen)
        if not len(empty):
            return
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        zeros = "zeros"
        if np.any(self._limits.applied(np.zeros(len(empty)), empty)):
            zeros = "the number nearest to zero that min_value and max_value allow"
        what = f"filled with {zeros}; keep_empty_features=False leaves them out"
        if not self.keep_empty_features:
            what = f"left out; keep_empty_features=True fills them with {zeros}"
        warnings.warn(
            f"{len(empty)} column(s) of X have no observed entry (column "
            f"{first_few(names[empty].tolist())}); they are {what}.",
            UserWarning,
            stacklevel=4,
        )

    def transform(self, X: Any) -> Array:
        """Fill the holes of X.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            For a dask array or DataFrame, the result is a lazy dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            X as floats, its missing cells filled; then the columns of the indicator.

        Raises
        ------
        ValueError
            If X has other columns than in `fit`; with `sample_posterior`, if X is in
            chunks.
        """
        check_is_fitted(self)
        if is_dask(X):
            return self._lazily(X)
        return self._filled(read_array(self, X))

    def impute(
        self, X: Any, *, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Fill the holes of X with posterior means, and tell how sure they are.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            In memory.
        return_std : bool, default=False

        Returns
        -------
        filled : ndarray of shape (n_samples, n_features) or fewer columns
            As `transform` without `sample_posterior` and `add_indicator`.
        std : ndarray of the same shape
            Standard deviations of what would have been measured, noise included: 0
            where it was, infinite in columns that had no value in `fit` and where the
            noise has two degrees of freedom or fewer. Only with `return_std`.

        Raises
        ------
        ValueError
            If X is in chunks or has other columns than in `fit`; with `return_std`, if
            the data of `fit` were in chunks.

        Warns
        -----
        UserWarning
            If a standard deviation is infinite in a column that had values, since the
            noise has heavy tails, or is known from two other cells or fewer.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDImputer
        >>> X = np.random.default_rng(0).normal(size=(60, 4))
        >>> X[0, 0] = np.nan
        >>> filled, std = PrecGDImputer().fit(X).impute(X, return_std=True)
        >>> int(np.sum(std > 0))
        1
        """
        check_is_fitted(self)
        if is_dask(X):
            raise ValueError(
                "impute needs rows in memory, got a dask collection: transform fills "
                "them lazily, and impute some of them, computed (X[:n].compute())."
            )
        table = read_array(self, X)
        gaps = self._gaps(table)
        cells = self._cells(table, gaps)
        found = [self._with(table, gaps, cells.means())]
        if return_std:
            std = np.where(table.missing, np.inf, np.zeros_like(table.values))
            std[gaps] = cells.deviations()
            self._warn_about_infinite(std[gaps])
            found.append(std)
        names = self._names_in()[self._kept]
        found = [in_container(self, part[:, self._kept], X, names) for part in found]
        return (found[0], found[1]) if return_std else found[0]

    def _warn_about_infinite(self, std: Array) -> None:
        n = np.count_nonzero(np.isinf(std))
        if not n:
            return
        why, cure = "is known from two other cells of the column or fewer", ""
        freedom = self.factorization_.noise_df_
        if freedom <= 2.0:
            why = f"has such heavy tails ({freedom:.2g} degrees of freedom)"
            cure = "noise_tail='normal' takes it for normal, and "
        warnings.warn(
            f"The standard deviation of {n} filled cell(s) is infinite, as their noise "
            f"{why}; {cure}sample_posterior=True draws cells, whose quantiles are "
            "finite.",
            UserWarning,
            stacklevel=3,
        )

    def _filled(self, table: TableInMemory, *, fitted: bool = False) -> Array:
        """What `transform` returns for a table, whose rows may be those of the fit."""
        gaps = self._gaps(table)
        cells = self._cells(table, gaps, fitted=fitted)
        draws = self.sample_posterior
        numbers = cells.drawn(self.random_state_) if draws else cells.means()
        values = self._with(table, gaps, numbers)
        if not self._kept.all():
            values = values[:, self._kept]
        if self.indicator_ is None:
            return values
        where = self.indicator_.transform(_holes_as_nan(table.missing))
        return np.hstack([values, where.astype(values.dtype)])

    def _gaps(self, table: TableInMemory) -> tuple[Array, Array]:
        """Rows and columns of the missing cells, but of columns without a value."""
        rows, columns = np.nonzero(table.missing & self._seen)
        return rows, columns

    def _cells(
        self, table: TableInMemory, gaps: tuple[Array, Array], *, fitted: bool = False
    ) -> Cells:
        rows, columns = gaps
        if not len(rows):
            return NoCells()
        # Columns without a value are not among those of the model.
        columns = (np.cumsum(self._seen) - 1)[columns]
        if fitted:
            return FittedCells(self.factorization_, rows, columns)
        shown, rows = np.unique(rows, return_inverse=True)
        values = table.of_columns(self._seen)[shown]
        kind = ExplainedCells if self._is_explained else CellsOfRows
        return kind(self.factorization_, values, rows, columns)

    def _with(
        self, table: TableInMemory, gaps: tuple[Array, Array], numbers: Array
    ) -> Array:
        """The values of a table, with these numbers in its gaps, within the limits."""
        values, limits = table.values.copy(), self._limits
        values[gaps] = limits.applied(numbers, gaps[1])
        for column in np.flatnonzero(~self._seen):
            values[table.missing[:, column], column] = limits.applied(0.0, column)
        return values

    @property
    def _kept(self) -> Array:
        """Which columns are returned, as a mask."""
        return self._seen | self.keep_empty_features

    @property
    def _is_explained(self) -> bool:
        """Whether the fit left nothing but rounding, so that no noise was learned."""
        return self._in_memory and not knows_entries(self.factorization_)

    def _lazily(self, X: Any) -> Any:
        if self.sample_posterior:
            raise ValueError(
                "sample_posterior=True needs X in memory, got a dask collection: what "
                "is not known of the columns is drawn once for all rows."
            )
        light = copy(self)
        light.factorization_ = without_fitted_rows(self.factorization_)
        width = len(self.get_feature_names_out())
        return by_rows(light, "transform", X, width)

    def _names_in(self, input_features: Any = None) -> Array:
        return super().get_feature_names_out(input_features)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None is `feature_names_in_`, or "x0", "x1", ...

        Returns
        -------
        ndarray of str objects
            Those of X that are kept, then those of the indicator.
        """
        names = self._names_in(input_features)
        kept = names[self._kept]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        marks = marker(self.missing_values)
        tags.input_tags.allow_nan = bool(np.isnan(marks))
        tags.input_tags.sparse = marks == 0
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@dataclass(frozen=True)
class Limits:
    """Smallest and largest numbers that are filled in.

    Attributes
    ----------
    low, high : ndarray of shape (n_columns,)
    """

    low: Array
    high: Array

    @classmethod
    def of(cls, low: Any, high: Any, n_columns: int) -> Limits:
        """From the parameters of an imputer.

        Raises
        ------
        ValueError
            If there is not one number for each column, or none between the limits.
        """
        low = cls._of_columns(low, -np.inf, n_columns, "min_value")
        high = cls._of_columns(high, np.inf, n_columns, "max_value")
        if not np.all(low <= high):
            column = int(np.argmin(low <= high))
            raise ValueError(
                f"min_value must not exceed max_value, got {low[column]:g} and "
                f"{high[column]:g} for column {column}."
            )
        return cls(low, high)

    @staticmethod
    def _of_columns(given: Any, none: float, n_columns: int, name: str) -> Array:
        if given is None or is_number(given):
            return np.full(n_columns, none if given is None else float(given))
        limits = checked_numbers(given, name, ensure_all_finite=False)
        if limits.shape != (n_columns,):
            raise ValueError(
                f"{name} must be a number, or one for each of the {n_columns} columns, "
                f"got shape {limits.shape}."
            )
        return np.asarray(limits)

    def applied(self, numbers: Any, columns: Any) -> Array:
        """Numbers of these columns, brought within the limits."""
        return np.clip(numbers, self.low[columns], self.high[columns])


def _holes_as_nan(missing: Array) -> Array:
    return np.where(missing, np.float32(np.nan), np.float32(0.0))
