"""PrecGDFactorization: low-rank factorization of a data matrix, a transformer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from skprecgd._estimators.base import (
    SHARED_CONSTRAINTS,
    BasePrecGD,
    error_level,
    found_factors,
)
from skprecgd._estimators.fitting import callbacks_told, check_init, undone_on_failure
from skprecgd._estimators.lazy import by_rows, check_columns
from skprecgd._estimators.rows import fit_rows
from skprecgd._estimators.scoring import (
    checked_weight,
    explained,
    hidden_rounds,
    without_largest,
)
from skprecgd._estimators.trimmed_rows import trimmed_rows
from skprecgd._linalg.numerics import tally
from skprecgd._linalg.offsets import (
    complete_offsets,
    entry_offsets,
    observed_variance,
    score_variances,
    subtract,
    total_variance,
)
from skprecgd._linalg.row_systems import solve_rows
from skprecgd._runtime.compat import Interval, Options, StrOptions, fit_context
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.distributed.matrix import ChunkedMatrix
from skprecgd.distributed.measurements import chunked_entries
from skprecgd.distributed.objective import ChunkedObjective
from skprecgd.distributed.rows import RowChunks, as_dask_array
from skprecgd.factors import FactorPair, Factors
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss, SquaredLoss, make_loss
from skprecgd.measurements import EntryMeasurements, FullObservation
from skprecgd.measurements.in_memory import check_any_observed, matrix_entries
from skprecgd.objective import FullObjective, Objective
from skprecgd.optim import Damping, Solver, StepRule
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.result import Status
from skprecgd.robust import TrimmedObjective, upper_bound

_Hidden = Iterator[tuple[Array, Array, Array]]


@dataclass(frozen=True)
class _Entries:
    """A matrix with missing entries, as triples sorted by rows."""

    rows: Array
    columns: Array
    values: Array
    shape: tuple[int, int]

    def csr(self, values: Array | None = None) -> sparse.csr_array:
        values = self.values if values is None else values
        # Rows are sorted, so the row pointer is a cumulative count.
        counts = np.bincount(self.rows, minlength=self.shape[0])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return sparse.csr_array((values, self.columns, indptr), shape=self.shape)

    def seen(self) -> tuple[Array, Array]:
        """Which rows and which columns have an observed entry."""
        return (
            tally(self.rows, self.shape[0]) > 0,
            tally(self.columns, self.shape[1]) > 0,
        )

    def where(self, mask: Array) -> _Entries:
        return _Entries(
            self.rows[mask], self.columns[mask], self.values[mask], self.shape
        )


class PrecGDFactorization(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BasePrecGD
):
    """Factorize a data matrix, complete or with missing entries.

    On complete data this is a truncated SVD, with the attributes of
    `sklearn.decomposition.TruncatedSVD`. With missing entries the matrix is
    completed: factors ``L R^T`` are found by preconditioned gradient descent, which
    does not slow down when `n_components` exceeds the true rank or the data are
    ill-conditioned; ``inverse_transform(fit_transform(X))`` is the completed matrix.

    Parameters
    ----------
    n_components : int, default=2
        Search rank. Complete data: the number of components returned. Missing
        entries or outliers: an upper bound of the rank.
    missing_values : nan or 0, default=nan
        nan: NaN in a dense `X` is missing; an entry not stored in a sparse `X` is
        the value 0, as for TruncatedSVD. 0: zeros of a dense `X` and entries not
        stored in a sparse `X` are missing; stored entries are observed, also
        explicit zeros.
    center : {None, "mean", "columns", "both"}, default=None
        What is subtracted first: nothing, the overall mean, each column's mean, or
        offsets of columns and rows. With "both" the row offsets take one of the
        `n_components`: the constant row joins the row space, so that transform and
        inverse_transform stay linear.
    loss : {"squared", "logistic", "huber", "absolute", "poisson"} or Loss, \
            default="squared"
        What a prediction costs: "logistic" for labels 0 and 1 or probabilities,
        "poisson" for counts, "huber" and "absolute" where some entries are far off.
        An instance from `skprecgd.losses` sets its constants. Other losses than the
        squared one take complete data only if they are dense.
    solver : {"auto", "precgd", "precgd-cg", "gauss-newton", ...} or Solver, \
            default="auto"
        "auto": on complete data alternating unit steps in the metric with all
        previous blocks kept; with missing entries as in `PrecGDMatrixSensing`. The
        others are on the page :ref:`optimization`.
    rank_search : {"path", "fixed"}, default="path"
        "path" grows the rank from one until the data are explained; "fixed" starts
        at the full search rank. Without meaning for ``solver="auto"`` on complete
        data, where all ranks are found at once.
    step_size : {"auto", "exact", ...}, float or StepRule, default="auto"
        "auto" is "exact"; the others are on the page :ref:`optimization`.
    damping : {"auto", "sqrt_loss", ...}, float or Damping, default="auto"
        How the metric's damping follows the error; see :ref:`optimization`.
    noise_variance : float or "auto", default=None
        Variance of the noise of an entry, for ``damping="variance_proxy"``. "auto":
        estimated from the residual of the fit. Only with the squared loss.
    init : {"spectral", "nystrom", "random"} or pair of arrays, default="spectral"
        Where to start; a pair is ``(left, right)``, of at most `n_components` columns
        each.
    alpha : float, default=0.0
        Ridge on both factors, a nuclear-norm penalty on the matrix, in units of
        its singular values. On complete data: soft thresholding by alpha.
    outlier_fraction : float or "auto", default=0.0
        Upper bound, below 0.5, of the share of the (observed) entries that are grossly
        wrong. They are recognised by their residuals and left out of the fit, and of
        the rows given to `transform` and `score`. "auto" is 0.3; see :ref:`outliers`.
        Needs ``center=None`` and ``alpha=0``, and dense `X` unless
        ``missing_values=0``.
    early_stopping : "auto" or bool, default="auto"
        With missing entries: choose the rank on the path by held-out entries, then
        refit on all. "auto": only if the residual does not reach `tol` and
        ``alpha=0``; needs at least 50 entries. With labels or counts the held-out
        entries also end the fit, and there is no refit.
    validation_fraction : float, default=0.1
        Share of the entries that `score` hides and the rank path holds out.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before the held-out path stops.
    max_iter : int, default=1000
        Most iterations (complete data: blocks).
    tol : float, default=1e-9
        Missing entries: as in `PrecGDMatrixSensing`. Complete data: the singular
        vectors are accurate to ``100 * tol``, the singular values far beyond. From
        1e-4 on, computed in single precision where that is accurate enough.
    random_state : int, RandomState instance or None, default=None
        Of random starts and of the entries hidden by `score`.
    warm_start : bool, default=False
        Start from the previous solution, if it fits.
    verbose : int, default=0
        Print a line per iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features)
        Orthonormal rows: the right singular vectors.
    singular_values_ : ndarray of shape (n_components_,)
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
        Variance of the transformed training data by component, and its share of
        the total variance of the (observed) data; for labels and counts ("logistic",
        "poisson") of all components together.
    n_components_ : int
        Complete data: `n_components`. Missing entries or outliers: the rank found.
    left_, right_ : ndarray of shape (n_samples, n_components_), \
            (n_features, n_components_)
        Balanced factors; the recovered matrix is ``left_ @ right_.T + center_`` (of
        log-odds with ``loss="logistic"``, of logarithms with ``loss="poisson"``).
    center_ : ndarray of shape (n_features,)
        Column offsets.
    outliers_ : csr_array of shape (n_samples, n_features)
        What is wrong with the entries that were left out of the fit, nothing stored
        elsewhere: ``X - outliers_`` is what was fitted.
    n_iter_ : int
    converged_ : bool
    stop_reason_ : str
    noise_variance_ : float
        The given or estimated variance; only if `noise_variance` is not None.
    history_ : History
        A table; ``history_["loss"]`` is a column.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where `X` has string column names.

    See Also
    --------
    sklearn.decomposition.TruncatedSVD : The same on complete data.
    PrecGDMatrixSensing : General linear measurements, and entries as samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_matrix_completion
    >>> X, truth = make_matrix_completion(
    ...     60, 40, rank=2, observed_fraction=0.4, random_state=0
    ... )
    >>> model = PrecGDFactorization(n_components=4)
    >>> completed = model.inverse_transform(model.fit_transform(X))
    >>> model.n_components_, bool(truth.relative_error(completed) < 1e-6)
    (2, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED_CONSTRAINTS,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "missing_values": ["nan", Options(Real, {0})],
        "center": [None, StrOptions({"mean", "columns", "both"})],
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        missing_values: float = np.nan,
        center: str | None = None,
        loss: str | Loss = "squared",
        solver: str | Solver = "auto",
        rank_search: str = "path",
        step_size: str | float | StepRule = "auto",
        damping: str | float | Damping = "auto",
        noise_variance: float | str | None = None,
        init: Any = "spectral",
        alpha: float = 0.0,
        outlier_fraction: float = 0.0,
        early_stopping: str | bool = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        max_iter: int = 1000,
        tol: float = 1e-9,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.missing_values = missing_values
        self.center = center
        self.loss = loss
        self.solver = solver
        self.rank_search = rank_search
        self.step_size = step_size
        self.damping = damping
        self.noise_variance = noise_variance
        self.init = init
        self.alpha = alpha
        self.outlier_fraction = outlier_fraction
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Factorize X.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            A dask array or DataFrame is fitted where it is, see :ref:`large_data`.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `n_components` exceeds ``min(X.shape)``, nothing is observed, or X is
            infinite or complex.
        """
        with callbacks_told(self, X), undone_on_failure(self):
            self._fit(X)
        return self

    def _fit(self, X: Any) -> PathResult:
        loss = self._checked_loss()
        if is_dask(X):
            return self._fit_chunks(X, loss)
        data = self._read(X, reset=True)
        self._check_rank(data.shape)
        if isinstance(data, _Entries):
            return self._fit_entries(data)
        return self._fit_complete(data, loss)

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Factorize X and return the coordinates of its rows.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
        """
        self.fit(X)
        return self._transform(X)

    def transform(self, X: Any) -> Array:
        """Coordinates of rows in the row space found, from their visible entries.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            Missing entries are allowed, whether or not the training data had any. Of
            a dask array or DataFrame, the result is a lazy dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            For complete rows ``(X - center_) @ components_.T``. Otherwise the
            least-squares fit to the visible entries, of least norm where a row
            shows fewer than n_components_ of them. With outliers, of those entries of a
            row that agree. With another loss, the coordinates of the lowest loss; where
            the held-out loss ended the fit, shrunk to what the singular values let
            expect of a row.
        """
        check_is_fitted(self)
        return self._transform(X)

    def _transform(self, X: Any) -> Array:
        if is_dask(X):
            return by_rows(self, "transform", X, self._n_features_out)
        return self._coordinates(self._read(X))

    def inverse_transform(self, X: Any) -> Array:
        """Rows from their coordinates: with `transform`, the completed matrix.

        With ``loss="logistic"`` these are probabilities, with ``loss="poisson"`` means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Of a dask array, the result is a lazy dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        lazy = is_dask(X)
        if lazy:
            X = as_dask_array(X, 2, lengths=False)
        else:
            X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != self.components_.shape[0]:
            raise ValueError(
                f"X has {X.shape[1]} columns, but there are "
                f"{self.components_.shape[0]} components."
            )
        if lazy:
            return by_rows(self, "inverse_transform", X, self.n_features_in_)
        return self._loss.mean(X @ self.components_ + self.center_)

    @fit_context(prefer_skip_nested_validation=True)
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R^2 (with other losses D^2) on entries hidden from the rows of X.

        A random share `validation_fraction` of the entries (drawn with
        `random_state`) is hidden, every row's coordinates are estimated from the
        entries left visible, and the hidden ones are predicted; then the next share,
        until every entry was hidden once (of more than a million entries, one share
        serves for all). Unlike a
        reconstruction error, this falls when there are too many components, so
        `GridSearchCV` with plain row folds finds the rank. With outliers, the entries
        with the largest residuals, a share `outlier_fraction`, do not count.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Entries of a row of weight two count twice.

        Returns
        -------
        float
            The share of the loss of the best constant that is gone, R^2 for the squared
            loss: 1 is perfect; 0 is as good as that constant, the mean.
        """
        check_is_fitted(self)
        if is_dask(X):
            raise ValueError(
                "score needs rows in memory, got a dask collection: pass some of its "
                "rows, computed (X[:n].compute())."
            )
        rng = check_random_state(self.random_state)
        data = self._read(X)
        row_weight = checked_weight(sample_weight, data.shape[0])
        hidden = list(self._predict_hidden(data, rng))
        rows, values, predictions = (
            np.concatenate(part) for part in zip(*hidden, strict=True)
        )
        weight = None if row_weight is None else row_weight[rows]
        if self.outlier_fraction != 0:
            share = upper_bound(self.outlier_fraction)
            values, predictions, weight = without_largest(
                values, predictions, share, weight
            )
        return explained(self._loss, values, predictions, weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Every residual of complete data is looked at for outliers and other losses.
        squared = self.loss == "squared" or isinstance(self.loss, SquaredLoss)
        plain = squared and self.outlier_fraction == 0
        tags.input_tags.sparse = plain or self.missing_values == 0
        tags.input_tags.allow_nan = bool(np.isnan(self.missing_values))
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # ---- reading the input

    def _read(self, X: Any, *, reset: bool = False) -> Any:
        """Validated X: a dense or sparse complete matrix, or `_Entries`."""
        missing_nan = bool(np.isnan(self.missing_values))
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=["csr", "csc"],
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if missing_nan else True,
        )
        if missing_nan and not _has_nan(X):
            if sparse.issparse(X) and self.outlier_fraction != 0:
                raise ValueError(
                    f"outlier_fraction={self.outlier_fraction!r} looks at every "
                    "entry, and X is sparse with missing_values=nan, so that entries "
                    "not stored are zeros: pass X.toarray(), or missing_values=0 if "
                    "they are missing."
                )
            return X
        return _Entries(*matrix_entries(X, self.missing_values))

    def _checked_loss(self) -> Loss:
        """The loss, where the other parameters go with it and each other."""
        loss = make_loss(self.loss)
        if self.center is not None and loss.generalized:
            raise ValueError(
                f"center={self.center!r} needs a loss of the residual: offsets "
                f"subtracted from X leave no targets for loss={loss.name!r}; use "
                "center=None."
            )
        if self.outlier_fraction != 0 and self.center is not None:
            raise ValueError(
                f"outlier_fraction={self.outlier_fraction!r} needs center=None, got "
                f"center={self.center!r}: outliers pull means. Offsets have low "
                "rank and are found as components, if n_components leaves room for "
                "one or two; loss='huber' and 'absolute' take a center."
            )
        return loss

    def _check_rank(self, shape: tuple[int, int]) -> None:
        if self.n_components > min(shape):
            raise ValueError(
                f"n_components={self.n_components} must be at most min(X.shape)="
                f"{min(shape)}: X has n_samples={shape[0]} and n_features={shape[1]}."
            )

    def _check_chunks(self, loss: Loss, complete: bool) -> None:
        """Refuse what looks at all entries together."""
        refused = {
            "outlier_fraction": self.outlier_fraction != 0,
            "loss": not isinstance(loss, SquaredLoss),
            "center": self.center == "both" and not complete,
        }
        for name, given in refused.items():
            if given:
                missing = " with missing entries" if name == "center" else ""
                raise ValueError(
                    f"{name}={getattr(self, name)!r} needs X in memory, got a dask "
                    f"collection{missing}."
                )

    # ---- fitting

    def _fit_chunks(self, X: Any, loss: Loss) -> PathResult:
        """Fit a dask collection; see `skprecgd.distributed`."""
        self._check_chunks(loss, True)
        check_columns(self, X, reset=True)
        chunks = RowChunks(X)
        self._check_rank(chunks.shape)
        survey = chunks.survey(self.missing_values)
        self._check_chunks(loss, survey.complete)
        offsets = survey.offsets(self.center)
        seen = None
        if survey.complete:
            objective = self._objective(
                FullObservation(chunks.shape, chunks.dtype),
                ChunkedMatrix(chunks, *offsets),
            )
        else:
            seen = survey.seen_rows, survey.counts > 0
            _warn_empty(*seen)
            objective = ChunkedObjective(
                *chunked_entries(chunks, self.missing_values, survey, offsets[1]),
                self.alpha,
            )
        return self._finish(objective, offsets, lambda errors: survey.variance, seen)

    def _fit_complete(self, X: Any, loss: Loss) -> PathResult:
        _check_dense(X, loss)
        offsets = complete_offsets(X, self.center)
        centred = subtract(X, *offsets)
        objective = self._objective(FullObservation(X.shape, X.dtype), centred)
        seen = None
        if not isinstance(objective, FullObjective):
            # Then there is no truncated SVD to return all components of.
            seen = np.ones(X.shape[0], dtype=bool), np.ones(X.shape[1], dtype=bool)

        def variance(errors: Array | None) -> float:
            if errors is not None:
                return total_variance(X - errors.reshape(X.shape))
            plain = centred is X and isinstance(objective, FullObjective)
            return total_variance(X, objective.data_norm if plain else None)

        return self._finish(objective, offsets, variance, seen)

    def _fit_entries(self, data: _Entries) -> PathResult:
        check_any_observed(data.values)
        seen = data.seen()
        _warn_empty(*seen)
        offsets = entry_offsets(
            data.rows, data.columns, data.values, data.shape, self.center
        )
        values = data.values
        for offset, index in zip(offsets, (data.rows, data.columns), strict=True):
            if offset.any():
                values = values - offset[index]
        measurements = EntryMeasurements(
            data.rows, data.columns, data.shape, data.values.dtype
        )
        targets = values.astype(data.values.dtype, copy=False)
        objective = self._objective(measurements, targets)

        def variance(errors: Array | None) -> float:
            values = data.values if errors is None else data.values - errors
            return observed_variance(data.columns, values, data.shape[1])

        return self._finish(objective, offsets, variance, seen)

    def _finish(
        self,
        objective: Objective,
        offsets: tuple[Array, Array],
        variance: Callable[[Array | None], float],
        seen: tuple[Array, Array] | None,
    ) -> PathResult:
        """Recover, put the offsets back, set the fitted attributes.

        `variance` is that of the data without the gross errors it is given. `seen` says
        which rows and columns were observed; None that all `n_components` are kept.
        """
        factors: Factors
        row_offsets, column_offsets = offsets
        rank = self.n_components - (self.center == "both")
        check_init(self.init, objective.matrix_shape, max(1, rank))
        if rank == 0:
            # The row offsets are the one component asked for.
            result = self._recover(objective, 1)
            factors = result.factors.truncated(0)
        else:
            result = self._recover(objective, rank)
            factors = result.factors
            if seen is not None:
                factors = found_factors(objective, result, self.tol)
                factors = _without_unseen(factors, seen)
        if self.center == "both":
            constant = np.ones((factors.right.shape[0], 1), factors.dtype)
            offset = row_offsets[:, None].astype(factors.dtype)
            factors = FactorPair(
                np.hstack([factors.left, offset]), np.hstack([factors.right, constant])
            )
        self.center_ = column_offsets.astype(objective.dtype)
        self._loss = result.sharpened or objective.loss
        self._row_ridge = self._ridge_per_entry(objective)
        self._shrunk = result.status is Status.HELD_OUT
        errors = self._set_outliers(objective, factors, result)
        self._set_variances(factors, variance(errors))
        self._store(result, factors)
        return result

    def _set_outliers(
        self, objective: Objective, factors: Factors, result: PathResult
    ) -> Array | None:
        """Set `outliers_`; the gross errors by measurement, None without."""
        shape, dtype = objective.matrix_shape, objective.dtype
        self.outliers_ = sparse.csr_array(shape, dtype=dtype)
        if not isinstance(objective, TrimmedObjective):
            return None
        self._error_level = error_level(objective, factors, result, self.tol)
        errors = objective.errors(factors, self._error_level)
        found = np.flatnonzero(errors)
        cells = objective.measurements.cells(found)
        self.outliers_ = sparse.csr_array((errors[found], cells), shape=shape)
        return errors

    def _ridge_per_entry(self, objective: Objective) -> float:
        """alpha in units of one entry's squared residual."""
        weight = getattr(objective, "weight", 1.0)
        return self.alpha / weight if self.alpha else 0.0

    def _set_variances(self, factors: Factors, variance: float) -> None:
        u, s, _ = factors.svd()
        self.explained_variance_ = score_variances(u, s)
        if self._loss.generalized:
            # The data are labels or counts, and what varies is behind their means.
            variance = float(np.sum(self.explained_variance_))
        ratio = self.explained_variance_ / variance if variance > 0 else 0.0
        self.explained_variance_ratio_ = ratio * np.ones_like(self.explained_variance_)

    # ---- coordinates of rows

    def _coordinates(self, data: Any) -> Array:
        basis = self.components_.T
        ridge = self._ridge()
        if self.outlier_fraction != 0:
            visible = self._entries(data).csr().astype(basis.dtype, copy=False)
            bound = upper_bound(self.outlier_fraction)
            return trimmed_rows(visible, basis, ridge, bound, self._error_level)
        if not isinstance(self._loss, SquaredLoss):
            data = self._entries(data)
            visible = data.csr()
            return fit_rows(self._loss, visible, basis, self.center_, ridge)
        if not isinstance(data, _Entries):
            projected = np.asarray(data @ basis) - self.center_ @ basis
            return projected / (1.0 + ridge).astype(basis.dtype)
        values = data.values - self.center_[data.columns]
        visible = data.csr(values.astype(basis.dtype))
        return solve_rows(visible, visible @ basis, basis, ridge)

    def _ridge(self) -> Array:
        """Ridge on the coordinates that the ridge on the factors amounts to.

        A row of the left factor is its coordinates divided by sqrt(s).
        """
        s = self.singular_values_.astype(np.float64)
        safe = np.where(s > 0, s, 1.0)
        if self._shrunk:
            # Few labels are explained best by infinite coordinates. What ended the fit
            # does not look at a single row; that the rows of the training data have
            # coordinates of mean square s^2 / n_rows says what is to be expected.
            return np.where(s > 0, len(self.left_) / safe**2, 0.0)
        return np.where(s > 0, self._row_ridge / safe, 0.0)

    def _entries(self, data: Any) -> _Entries:
        """All visible entries, checked to be targets of the loss."""
        if not isinstance(data, _Entries):
            _check_dense(data, self._loss)
            data = _Entries(*matrix_entries(data, np.nan))
        self._loss.target_check(data.values)
        return data

    # ---- score

    def _predict_hidden(self, data: Any, rng: np.random.RandomState) -> _Hidden:
        """Rows, values and predictions of the entries hidden in each round."""
        if self.outlier_fraction != 0 or not isinstance(self._loss, SquaredLoss):
            data = self._entries(data)
        if isinstance(data, _Entries):
            check_any_observed(data.values)
            return self._predict_hidden_observed(data, rng)
        return self._predict_hidden_cells(data, rng)

    def _predict_hidden_observed(
        self, data: _Entries, rng: np.random.RandomState
    ) -> _Hidden:
        n_entries = len(data.values)
        for hidden in hidden_rounds(n_entries, self.validation_fraction, rng):
            hide = np.zeros(n_entries, dtype=bool)
            hide[hidden] = True
            z = self._coordinates(data.where(~hide))
            rows = data.rows[hide]
            predictions = self._entries_of(z, rows, data.columns[hide])
            yield rows, data.values[hide], predictions

    def _predict_hidden_cells(self, X: Any, rng: np.random.RandomState) -> _Hidden:
        n_rows, n_columns = X.shape
        basis = self.components_.T
        products = np.asarray(X @ basis) - self.center_ @ basis
        n_cells = n_rows * n_columns
        for cells in hidden_rounds(n_cells, self.validation_fraction, rng):
            rows, columns = np.divmod(cells, n_columns)
            values = np.asarray(X[rows, columns]).ravel()
            centred = (values - self.center_[columns]).astype(basis.dtype)
            hidden = _Entries(rows, columns, values, X.shape).csr(centred)
            # All entries less the hidden ones: no pattern of the visible is formed.
            z = solve_rows(
                hidden, products - hidden @ basis, basis, self._ridge(), hidden=True
            )
            yield rows, values, self._entries_of(z, rows, columns)

    def _entries_of(self, z: Array, rows: Array, columns: Array) -> Array:
        """_Entries of the rows with coordinates z."""
        product = sampled_product(z, self.components_.T, rows, columns)
        return product + self.center_[columns]


def _warn_empty(seen_rows: Array, seen_columns: Array) -> None:
    """Rows and columns without an observed entry are left to the centre."""
    empty = [
        f"{np.sum(~seen)} {name}"
        for seen, name in ((seen_rows, "row(s)"), (seen_columns, "column(s)"))
        if not np.all(seen)
    ]
    if empty:
        warnings.warn(
            f"{' and '.join(empty)} of X have no observed entry; they are "
            "predicted by the centre alone.",
            UserWarning,
            stacklevel=5,
        )


def _without_unseen(factors: Factors, seen: tuple[Array, Array]) -> FactorPair:
    """Zero where nothing was observed: a start that is not zero there stays."""
    blocks = zip(factors.blocks, seen, strict=True)
    return FactorPair(*(block * mask[:, None] for block, mask in blocks))


def _check_dense(X: Any, loss: Loss) -> None:
    """Refuse a loss that would make sparse complete data dense."""
    if sparse.issparse(X) and not isinstance(loss, SquaredLoss):
        raise ValueError(
            f"loss={loss.name!r} looks at every entry, and X is sparse with "
            "missing_values=nan, so that entries not stored are zeros: pass "
            "X.toarray(), or missing_values=0 if they are missing."
        )


def _has_nan(X: Any) -> bool:
    values = X.data if sparse.issparse(X) else X
    return bool(np.isnan(np.sum(values)) and np.any(np.isnan(values)))
