"""PrecGDFactorization: low-rank factorization of a data matrix, a transformer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from skprecgd._estimators.base import BasePrecGD
from skprecgd._estimators.centre import Offsets, Seen, search_rank, without_rows
from skprecgd._estimators.column_units import (
    column_units,
    in_units,
    offsets_in_units,
    out_of_units,
)
from skprecgd._estimators.data import (
    CompleteData,
    Data,
    EntryData,
    GroupData,
    read_rows,
    read_weighted,
    rows_together,
    warn_about_ratings,
    warn_about_units,
    warn_about_unseen,
)
from skprecgd._estimators.fitted import (
    kept_factors,
    mean_square_left,
    numerical_rank,
    outlier_matrix,
)
from skprecgd._estimators.fitting import (
    callbacks_told,
    in_spite_of_interrupt,
    pass_on_interrupt,
    undone_on_failure,
)
from skprecgd._estimators.found import Found
from skprecgd._estimators.groups import (
    fits_of,
    interrupted,
    n_fitted,
    warn_about_groups,
)
from skprecgd._estimators.lazy import by_rows
from skprecgd._estimators.learned import (
    AtNoise,
    Learner,
    NoiseFound,
    mean_square_of_entries,
    warn_about_noise,
    warn_about_worse,
    warn_about_zero,
)
from skprecgd._estimators.objectives import objective_of, subtracted_first
from skprecgd._estimators.parameters import (
    SHARED_CONSTRAINTS,
    MissingMarker,
    check_init,
    check_together,
    looks_for_outliers,
    needs_each_entry,
    tolerance_of,
)
from skprecgd._estimators.reading import read_data
from skprecgd._estimators.reports import report_of, reported
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.rows import make_row_solver
from skprecgd._estimators.scoring import checked_weight
from skprecgd._estimators.search_rank import AUTO, SearchRank
from skprecgd._estimators.trusting import learner_beside_outliers
from skprecgd._estimators.uncertain import check_at_least_one
from skprecgd._estimators.weighting import has_variances
from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.groups import Block
from skprecgd._linalg.numerics import UNIT
from skprecgd._linalg.offsets import score_variances
from skprecgd._runtime.compat import Interval, StrOptions, fit_context
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.distributed.rows import as_dask_array
from skprecgd.losses import Loss, make_loss
from skprecgd.objective import Objective
from skprecgd.optim import Damping, Solver, StepRule
from skprecgd.optim.loop import check_unit
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.result import Status
from skprecgd.unknown.base import Unknown
from skprecgd.variational.signal import Signal, find_signal
from skprecgd.variational.warm import Start

# Deviations of equal rows from their mean, in machine epsilons of the data: that of the
# mean, and one of the difference.
_ROUNDING = 4.0


class PrecGDFactorization(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BasePrecGD
):
    """Factorize a data matrix, complete or with missing entries.

    On complete data this is a truncated SVD, with the attributes of
    `sklearn.decomposition.TruncatedSVD`. With missing entries the matrix is
    completed: factors ``L R^T`` are found by preconditioned gradient descent [1]_,
    which does not slow down when `n_components` exceeds the true rank or the data are
    ill-conditioned; ``inverse_transform(fit_transform(X))`` is the completed matrix.
    Where the entries are noisy, how noisy they are and how large the factors may be is
    learned from them, and the completed matrix is a posterior mean [2]_, [3]_: see
    :ref:`noisy_entries`.

    Parameters
    ----------
    n_components : int or "auto", default=2
        Search rank. Complete data: the number of components returned. Missing
        entries or outliers: an upper bound of the rank, of each group if the observed
        entries fall into several (`groups_`). Offsets (see `center`) do not count.
        A warning says if noisy entries carry clearly more than the bound allows.
        "auto": as many as the data carry. Complete data have at least one, see
        :ref:`auto_components`; otherwise the bound is the highest rank with fewer
        unknowns than there are entries.
    missing_values : nan or 0, default=nan
        nan: NaN in a dense `X` is missing; an entry not stored in a sparse `X` is
        the value 0, as for TruncatedSVD. 0: zeros of a dense `X` and entries not
        stored in a sparse `X` are missing; stored entries are observed, also
        explicit zeros. Masked entries, and those not stored where the fill value is
        NaN, are missing either way; see :ref:`missing_values`.
    center : {None, "mean", "columns", "both"}, default=None
        Offsets that no component stands for: none, one for all entries, one for each
        column, or one for each row, too. Complete data lose their means first; where
        entries are missing, offsets are estimated together with the factors. With
        "both" the row's offset is one more coordinate, beside `n_components` others:
        the constant row joins the row space, so that transform and inverse_transform
        stay linear. Each of several `groups_` has offsets of its own; see
        :ref:`offsets`.
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
    inference : {"variational", "gibbs"}, default="variational"
        How the posterior is found where ``alpha="auto"`` learns. "variational": rows
        and columns are Gaussian, and independent of one another. "gibbs": a short chain
        of exact draws, which starts from there; predictions are means over the draws.
        It takes about twice as long, and predicts ratings better (:ref:`gibbs`). It is
        refused where nothing is learned: complete data, data in chunks, other losses
        than the squared one, a number for `alpha`, and outliers.
    noise : {"auto", "uniform", "columns"}, default="auto"
        What is learned of the noise where ``alpha="auto"`` learns. "uniform": one
        variance for all entries. "columns": one for each column, those of columns with
        few entries being drawn towards the others', as strongly as the data suggest.
        "auto": of columns; rows have noise of their own as well where components
        would follow that of loud rows, and columns with fewer than two entries for
        each component have the same, in units of their spread. Without effect if
        `noise_variance` is given.
    noise_tail : {"auto", "normal", "t"}, default="auto"
        Whether the noise that ``alpha="auto"`` learns is normal, or Student's t with
        learned degrees of freedom, under which entries that fit badly count little.
        "auto": t where that predicts entries better that are left out. Where
        `noise_variance` is given, "auto" is normal, and with "t" the given variances
        are squared scales.
    noise_variance : float, "auto" or array-like of shape (n_features,) or \
            (n_samples, n_features), default=None
        Variance of the noise of an entry, in squared units of the data, if it is known:
        for ``damping="variance_proxy"``, and in place of what ``alpha="auto"`` would
        learn. 0: there is no noise, and nothing is learned. "auto": estimated
        from the residual of the fit, or learned. An array has the variance of each
        column, or of each entry: the squared residuals are then weighed by their
        inverse, and complete data are completed like data with missing entries. A
        missing entry may have NaN: what is asked of it, is asked of one as precise as
        those of its column in the (harmonic) mean. Only with the squared loss.
    init : {"spectral", "nystrom", "random"} or pair of arrays, default="spectral"
        Where to start; a pair is ``(left, right)``, of at most `n_components` columns
        each. It may be in other units than the data: see :ref:`the_start`.
    alpha : "auto" or float, default="auto"
        "auto": where entries are missing and what the path leaves of the others is
        recognised as noise, the noise and the prior variances of factors and offsets
        are learned, and the fit is the posterior mean; see :ref:`noisy_entries`. With
        another loss the prior is learned of labels and counts in memory at once, of
        complete ones too, and of other numbers where it predicts entries that are left
        out better than the path; see :ref:`losses`. It is 0 for data without noise,
        complete numbers in which no outliers are looked for, and a loss that does not
        say how it is bent. A number is a ridge on both factors: over the
        observed entries, ``sum w (x - m)^2 / 2`` plus `alpha` times the nuclear norm
        (the sum of the singular values) of the matrix is minimised, with the weights w
        of the entries (and the inverse of an array `noise_variance`). On complete data:
        soft thresholding by alpha. With another loss, its sum is the first term. See
        :ref:`ridge`.
    alpha_scaling : float, default=0.0
        The ridge of a row or column takes the count of its observed entries, relative
        to the mean, to this power; see :ref:`ridge`. Needs a number for `alpha`; on
        complete data, where all counts are equal, it has no effect.
    outlier_fraction : float or "auto", default=0.0
        Upper bound, below 0.5, of the share of the (observed) entries that are grossly
        wrong. They are recognised by their residuals and left out of the fit, and of
        the rows given to `transform` and `score`. "auto" is 0.3. Where noise is
        learned, only residuals that do not fit the tail of the others are outliers, in
        units of their column's noise, and there may be none; see :ref:`outliers`.
        Needs no number but 0 for `alpha`, and dense `X` unless ``missing_values=0``.
    early_stopping : "auto" or bool, default="auto"
        With missing entries: choose the rank on the path by held-out entries, then
        refit on all. "auto": only if the residual does not reach `tol`, and `alpha` is
        0 or stands for it; needs at least 50 entries. With labels or counts the
        held-out entries also end the fit, and there is no refit. True is refused where
        ``alpha="auto"`` learns from all entries.
    validation_fraction : float, default=0.1
        Share of the entries that `score` hides and the rank path holds out.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before the held-out path stops.
    max_iter : int, default=1000
        Most iterations (complete data: blocks).
    tol : "auto" or float, default="auto"
        Missing entries: as in `PrecGDMatrixSensing`. Complete data: with "auto", as
        accurate as the energy that the components capture asks for, which is no less
        than that of `sklearn.decomposition.TruncatedSVD` with its defaults; singular
        values that are 5 % larger than the first left out are accurate to 1e-4. With a
        number, the singular vectors are accurate to ``100 * tol``, the singular values
        far beyond. With "auto", or a tol of 1e-4 or more, products are computed in
        single precision where that is accurate enough.
    random_state : int, RandomState instance or None, default=None
        Seed of random starts, of the entries hidden by `score`, and of the draws of
        ``inference="gibbs"``.
    warm_start : bool, default=False
        Start from the previous solution, if it has the shape of `X` and the same
        `center`. The same fit of the same data then ends at once; see
        :ref:`the_start`.
    store_pattern : bool, default=True
        Whether to keep which entries were observed, where noise was learned: what
        standard deviations, intervals and draws of entries take.
    verbose : int, default=0
        1: one live line: the rank, what is going on, the relative residual and the time
        so far. 2: a table with a row for each iteration. Both end with `stop_reason_`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features)
        Orthonormal rows: the right singular vectors.
    singular_values_ : ndarray of shape (n_components_,)
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
        Variance of the transformed training data by component, and its share of
        the total variance. With missing entries, outliers or weights, that is the sum
        of the variances of the completed matrix, plus `n_features` times the mean
        squared residual of the fit (outliers left out). For labels and counts
        ("logistic", "poisson") the share of all components together. For numbers below
        1e-154 or above 1e154 (1e-19 and 1e19 in single precision) the variance itself
        is zero or infinite; its share is right.
    n_components_ : int
        Complete data: `n_components`, or the number found by "auto". Missing entries or
        outliers: the rank found, which where noise is left counts the weak components
        that help to predict (at least 1, which may be zero); the
        sum of those of all groups if there are several. A component is then zero in
        the columns of all groups but one. With ``center="both"`` one more (for each
        group), for the offsets of the rows.
    left_, right_ : ndarray of shape (n_samples, n_components_), \
            (n_features, n_components_)
        Balanced factors; the recovered matrix is ``left_ @ right_.T + center_`` (of
        log-odds with ``loss="logistic"``, of logarithms with ``loss="poisson"``).
    center_ : ndarray of shape (n_features,)
        Offsets of the columns: zero without a `center`, one number for "mean", else the
        means of the completed columns (over rows of which something is observed).
    groups_ : object with two ndarray of int
        The groups of rows and columns that share no observed entry: ``groups_.rows`` of
        shape (n_samples,) and ``groups_.columns`` of shape (n_features,) number them,
        the one with the most entries being 0; -1 is a row or column without an entry.
        Each group is fitted alone, and entries between them are predicted by `center_`;
        see :ref:`groups`.
    alpha_max_ : float
        The smallest `alpha` with which the matrix is zero but for `center_`; only if
        `alpha` is a number above 0.
    outliers_ : csr_array of shape (n_samples, n_features)
        Errors of the entries that were left out of the fit; nothing is stored
        elsewhere: ``X - outliers_`` is what was fitted.
    n_iter_ : int
        Of all groups together.
    converged_ : bool
        Whether all groups have converged.
    stop_reason_ : str
        Where noise was learned: its standard deviation in units of the data, over the
        columns, and how many columns of the factors carry signal.
    noise_variance_ : float or ndarray of shape (n_features,) or (n_samples, n_features)
        Variance of the noise: as it was given, as it was learned (a number for each
        column, or a single one where the model has the same for all), or else the
        mean squared residual, corrected for the degrees of freedom of the rank found.
        Only with the squared loss.
    noise_df_ : float
        Degrees of freedom of the noise, infinite if it is normal; where it is finite,
        `noise_variance_` is a squared scale. Only where it was learned; the smallest if
        there are several groups.
    factor_scales_ : ndarray of shape (n_factors,)
        Prior standard deviation of what each factor adds to an entry, in units of
        the data, as root mean square over the columns; only where it was learned.
    lower_bound_ : float
        The evidence: a lower bound of the log density of the observed entries under the
        model, with the columns that carry signal; the sum over all groups where it was
        learned, and only there. Compare fits of the same entries by it.
    n_signal_ : int
        Number of factors that carry signal: those that the evidence is higher with than
        without. Only where noise was learned; `n_components_` also counts weak ones,
        which help to predict.
    history_ : History
        A table; ``history_["loss"]`` is a column. With several groups, those follow one
        another, and ``history_["group"]`` says which it is.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where `X` has string column names.

    See Also
    --------
    sklearn.decomposition.TruncatedSVD : The same on complete data.
    PrecGDMatrixSensing : General linear measurements, and entries as samples.

    References
    ----------
    .. [1] J. Zhang, S. Fattahi, R. Y. Zhang, "Preconditioned Gradient Descent for
       Over-Parameterized Nonconvex Matrix Factorization", NeurIPS 2021.
    .. [2] Y. J. Lim, Y. W. Teh, "Variational Bayesian Approach to Movie Rating
       Prediction", KDD Cup and Workshop, 2007.
    .. [3] A. Ilin, T. Raiko, "Practical Approaches to Principal Component Analysis in
       the Presence of Missing Values", JMLR 11, 2010.

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

    # The rows of calls of `partial_fit`, where the last one has ended, and this one.
    _kept_rows: Any = None
    _start: Start | None = None
    _found_start: Start | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED_CONSTRAINTS,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({AUTO}),
        ],
        "missing_values": ["nan", MissingMarker()],
        "center": [None, StrOptions({"mean", "columns", "both"})],
        "store_pattern": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | str = 2,
        *,
        missing_values: float = np.nan,
        center: str | None = None,
        loss: str | Loss = "squared",
        solver: str | Solver = "auto",
        rank_search: str = "path",
        step_size: str | float | StepRule = "auto",
        damping: str | float | Damping = "auto",
        inference: str = "variational",
        noise: str = "auto",
        noise_tail: str = "auto",
        noise_variance: Any = None,
        init: Any = "spectral",
        alpha: float | str = "auto",
        alpha_scaling: float = 0.0,
        outlier_fraction: float = 0.0,
        early_stopping: str | bool = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        max_iter: int = 1000,
        tol: float | str = "auto",
        random_state: RandomState = None,
        warm_start: bool = False,
        store_pattern: bool = True,
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
        self.inference = inference
        self.noise = noise
        self.noise_tail = noise_tail
        self.noise_variance = noise_variance
        self.init = init
        self.alpha = alpha
        self.alpha_scaling = alpha_scaling
        self.outlier_fraction = outlier_fraction
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.store_pattern = store_pattern
        self.verbose = verbose

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, entry_weight: Any = None) -> Self:
        """Factorize X.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            A dask array or DataFrame is fitted where it is, see :ref:`large_data`.
        y : None
            Ignored.
        entry_weight : array-like or sparse array of shape (n_samples, n_features), \
                default=None
            How often each entry counts: one of weight two like two, one of weight zero
            as if it were missing. Where noise is learned, weights count as they compare
            (their mean, if it is above one, as one): that entries were measured several
            times with the very same result would mean that there is none. A sparse one
            stores a number for every observed entry. Complete data with weights must be
            dense, and are completed like data with missing entries.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `n_components` exceeds ``min(X.shape)``, nothing is observed, or X is
            infinite or complex.
        """
        with callbacks_told(self, X), reported(self), undone_on_failure(self):
            pass_on_interrupt(self._fit(X, entry_weight))
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go on with more rows of the same columns.

        The fit is that of all rows that there have been. Where noise and prior are
        learned of data with holes, it starts from where the last one has ended, which
        takes a fraction of the time of one from the beginning; the rows of other data
        are fitted anew.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            New rows. They are kept, with those before: `left_` has all of them.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `fit`; if X is a dask collection, or `noise_variance` is an array.

        Warns
        -----
        UserWarning
            If the last fit was one by `fit`: it has kept no rows, and is forgotten.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDFactorization
        >>> rng = np.random.default_rng(0)
        >>> X = np.outer(rng.normal(size=60), [1.0, 2.0, 3.0, 4.0])
        >>> X = X + 0.1 * rng.normal(size=X.shape)
        >>> X[rng.random(X.shape) < 0.2] = np.nan
        >>> model = PrecGDFactorization("auto", center="columns")
        >>> model.partial_fit(X[:40]).partial_fit(X[40:]).left_.shape
        (60, 1)
        """
        with callbacks_told(self, X), reported(self), undone_on_failure(self):
            pass_on_interrupt(self._fit(X, None, goes_on=True))
        return self

    def _fit(self, X: Any, entry_weight: Any, *, goes_on: bool = False) -> PathResult:
        check_together(self)
        if goes_on:
            data: Data = self._with_kept_rows(X)
        else:
            self._start, data = None, read_data(self, X, entry_weight)
        self._found_start = None
        most = SearchRank(self.n_components).most(data.shape, "X.shape")
        seen = data.seen()
        names = None, getattr(self, "feature_names_in_", None)
        warn_about_unseen(seen, names, "X", "by the centre alone")
        warn_about_ratings(data.stored_values())
        warn_about_units(data, self.center)
        rank = search_rank(most, self.center, data.shape)
        check_init(self.init, data.shape, rank)
        self.groups_ = data.groups(seen)
        # Thin products would leave the other threads of BLAS waiting, at full speed.
        with running_fit(one_blas_thread=self._is_by_energy(data)):
            if self.groups_.n_groups > 1:
                found = self._find_groups(data, most)
            else:
                found = self._find(data, seen)
            self._warn(found.result)
            warn_about_noise(found.noise, self)
            if isinstance(data, EntryData):
                warn_about_worse(self, found.result)
            warn_about_zero(self, found.factors, data.noisy())
            _, stopped = in_spite_of_interrupt(partial(self._keep, data, found))
        kept = (data, self._found_start) if goes_on else (None, None)
        (self._kept_rows, self._start), self._found_start = kept, None
        return (interrupted(found) if stopped or found.stopped else found).result

    def _is_by_energy(self, data: Data) -> bool:
        """Whether complete data are decomposed as the captured energy asks for."""
        closed = make_loss(self.loss).least_squares and not looks_for_outliers(self)
        default = isinstance(self.tol, str) and self.solver == "auto"
        return isinstance(data, CompleteData) and default and closed

    def _with_kept_rows(self, X: Any) -> CompleteData | EntryData:
        """Rows below those of calls of `partial_fit` before this one."""
        if is_dask(X) or has_variances(self.noise_variance):
            given = "X in chunks" if is_dask(X) else "an array as noise_variance"
            raise ValueError(
                f"partial_fit does not take {given}: give it rows in memory, and a "
                "number or None for noise_variance."
            )
        kept = self._kept_rows
        if kept is None and hasattr(self, "left_"):
            warnings.warn(
                "partial_fit begins with these rows: the last fit, by fit, has kept "
                "none to go on with. Call partial_fit from the first rows on.",
                UserWarning,
                stacklevel=5,
            )
        data = read_rows(self, X, needs_each_entry(self), reset=kept is None)
        return data if kept is None else rows_together(kept, data)

    def _keep(self, data: Data, found: Found) -> None:
        """Set the fitted attributes."""
        self.outliers_ = outlier_matrix(data.shape, found.objective.dtype, found.gross)
        self._row_solver = found.row_solver
        self._precision = None
        if has_variances(self.noise_variance) and isinstance(data, EntryData):
            self._precision = data.precision_of_columns()
        self._numerical_rank = found.numerical_rank
        self._set_variances(data, found)
        self._store(found.result, found.factors, found.offsets)
        self._store_noise(found.noise)

    def _find(self, data: Data, seen: Seen, block: Block | None = None) -> Found:
        """Fit data, which are those of a group if its `block` is given."""
        offsets = subtracted_first(self, data, self.center)
        objective = data.objective(offsets, partial(objective_of, self))
        unknown = self._unknown(objective, seen)
        if objective.has_closed_form:
            report_of(self).doing("decomposing complete data")
        objective, most, signal = self._searched(objective, offsets, unknown)
        rank = search_rank(most, self.center, data.shape)
        learner = learner_beside_outliers(self, data, rank)
        last = self._last_solution(unknown, offsets, block)
        units = column_units(data, offsets, learner)
        if units is None or last is not None or not isinstance(self.init, str):
            result = self._recover(objective, rank, unknown, block, last, learner)
        else:
            its = data, offsets, seen, units
            result = self._recover_in_units(*its, rank, unknown, block, learner)
        if objective.has_closed_form and self.solver == "auto":
            left = f"Relative residual {result.relative_residual:.2g}."
            told = left if signal is None else f"{left} {signal}"
            result = replace(result, message=f"{result.message} {told}")
        found = partial(self._found, result, objective, unknown, offsets, seen, rank)
        if learner is None:
            fit, stopped = in_spite_of_interrupt(found)
            return replace(fit, stopped=stopped)
        at = learner, result, objective, unknown, offsets
        noise = partial(self._at_noise, *at)
        if result.status is Status.NOISE:
            found = noise
        fit, stopped = in_spite_of_interrupt(found)
        ended = result.converged or learner.doubts_unfinished
        ended = ended and result.status is not Status.NOISE and not stopped
        if ended and learner.doubts(fit.factors, fit.offsets):
            fit, stopped = in_spite_of_interrupt(noise)
        return replace(fit, stopped=stopped)

    def _recover_in_units(
        self,
        data: Data,
        offsets: Offsets,
        seen: Seen,
        units: Array,
        rank: int,
        unknown: Unknown,
        block: Block | None,
        learner: Learner | None,
    ) -> PathResult:
        """A search that sees the columns in their own units."""
        data, offsets = in_units(data, units), offsets_in_units(offsets, units)
        objective = data.objective(offsets, partial(objective_of, self))
        within = self._unknown(objective, seen)
        result = self._recover(objective, rank, within, block, None, learner)
        factors = out_of_units(result.factors, units, unknown)
        return replace(result, factors=factors, solved=None)

    def _path_settings(
        self,
        objective: Objective,
        max_rank: int,
        unknown: Unknown,
        block: Block | None = None,
    ) -> PathSettings:
        settings = super()._path_settings(objective, max_rank, unknown, block)
        # A group without holes is a part of data with holes.
        by_energy = isinstance(self.tol, str) and block is None
        return replace(settings, by_energy=by_energy)

    def _searched(
        self, objective: Objective, offsets: Offsets, unknown: Unknown
    ) -> tuple[Objective, int, Signal | None]:
        """The number of components to search for, and what the data say of it.

        The objective that is returned knows what was found on the way.
        """
        wanted = SearchRank(self.n_components)
        if not (wanted.is_auto and objective.has_closed_form):
            return objective, wanted.for_objective(objective, unknown), None
        size = objective.data_norm
        check_unit(size)
        signal = find_signal(
            objective.complete_matrix, size, offsets.size, self.random_state
        )
        if signal.triplets is not None:
            objective = objective.decomposed(signal.triplets)
        return objective, max(1, signal.posterior.n_components), signal

    def _at_noise(
        self,
        learner: Learner,
        result: PathResult,
        objective: Objective,
        unknown: Unknown,
        means: Offsets,
    ) -> Found:
        """What the estimator keeps where noise and prior were learned."""
        end = AtNoise.of(self, learner, result, objective, unknown, means)
        if type(learner) is Learner and learner.has_learned:
            self._found_start = learner.posterior.start
        each_entry = needs_each_entry(self)
        solver = (
            learner.row_solver(objective.loss, each_entry)
            if learner.has_learned
            else self._row_solver
        )
        factors, offsets = end.factors, end.offsets
        return Found(
            objective,
            unknown,
            offsets,
            end.result,
            factors,
            learner.gross,
            solver,
            factors.rank,
            partial(mean_square_of_entries, learner.believed, factors, offsets),
            end.noise,
        )

    def _found(
        self,
        result: PathResult,
        objective: Objective,
        unknown: Unknown,
        means: Offsets,
        seen: Seen,
        rank: int,
    ) -> Found:
        """What the estimator keeps of the result of a search."""
        tol = tolerance_of(self, objective.dtype)
        kept = kept_factors(objective, result, tol, seen, rank)
        within = means.within(kept)
        offsets = means.with_found(within, seen)
        factors = offsets.with_rows(within)
        gross = objective.gross_errors(within, result.relative_residual, tol)
        components = within.low_rank if offsets.of_rows else None
        solver = make_row_solver(
            objective, result, factors, gross, needs_each_entry(self), components
        )
        rank = numerical_rank(objective, result, tol, factors, offsets.size)
        left = partial(mean_square_left, objective, result, within, gross)
        return Found(
            objective,
            unknown,
            offsets,
            result,
            factors,
            gross,
            solver,
            rank,
            left,
            NoiseFound.left_by(result, objective, unknown),
        )

    def _find_groups(self, data: Data, most: int) -> Found:
        """Fit each group of rows and columns that share no observed entry alone."""
        groups = self.groups_
        warn_about_groups(groups, most, "the centre; see groups_")
        parts = data.parts(groups, n_fitted(groups, most))

        def fit(part: GroupData) -> Found:
            return self._find(part.data, part.data.seen(), part.block)

        fits = fits_of(parts, fit)
        elsewhere = subtracted_first(self, data, without_rows(self.center))
        return Found.in_groups(data, parts, fits, elsewhere)

    def _set_variances(self, data: Data, found: Found) -> None:
        u, s, _ = found.factors.svd()
        # Variances themselves may be no numbers, but their ratios are.
        unit = UNIT.unit(float(s[0]), s.dtype)
        explained = score_variances(u, s / s.dtype.type(unit))
        variance = data.variance(found.objective, found.offsets, unit)
        if variance is None:
            # The columns of the completed matrix have the variance of the components,
            # whose rows are orthonormal.
            variance = float(np.sum(explained, dtype=np.float64))
            # Of labels or counts, components explain log-odds or logarithms, whose
            # variance is known for all components together only.
            if not self._row_solver.loss.generalized:
                variance += data.shape[1] * found.mean_square_left(unit)
        # Rows that are all equal have no variance but that of rounding errors.
        rounding = _ROUNDING * float(np.finfo(s.dtype).eps * s[0]) / unit
        negligible = rounding**2 / data.shape[0]
        with np.errstate(over="ignore", under="ignore"):
            self.explained_variance_ = explained * unit * unit
            # Where nothing is explained, the unit is not that of the data.
            some = s[0] > 0 and variance > negligible
            ratio = explained / variance if some else 0.0
        self.explained_variance_ratio_ = ratio * np.ones_like(explained)

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(
        self, X: Any, y: Any = None, *, entry_weight: Any = None
    ) -> Array:
        """Factorize X and return the coordinates of its rows.

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
        ndarray of shape (n_samples, n_components_)
            What `transform` returns, if there are no weights and no variances of single
            entries; otherwise the same from the weighted entries.
        """
        self.fit(X, entry_weight=entry_weight)
        if entry_weight is None and not has_variances(self.noise_variance):
            return self._transform(X)
        if is_dask(X):
            # Chunks keep no weights for single rows, but the fit has found the same.
            return self.left_ * np.sqrt(self.singular_values_)
        data = read_weighted(self, X, entry_weight).that_count()
        return self._row_solver.coordinates(data, self._row_space)

    def sample_completed(
        self, X: Any, n_draws: int = 1, random_state: RandomState = None
    ) -> Iterator[Array]:
        """Draw what is missing of the data that were fitted: multiple imputation.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            The data of `fit`.
        n_draws : int, default=1
        random_state : int, RandomState instance or None, default=None

        Yields
        ------
        ndarray of shape (n_samples, n_features)
            The data, with draws from the joint posterior of the missing entries (see
            `sample_entries`): one matrix at a time.

        Raises
        ------
        ValueError
            If `X` has another shape than the data of `fit`; as `sample_entries`.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDFactorization
        >>> rng = np.random.default_rng(0)
        >>> X = np.outer(rng.normal(size=50), [1.0, 2.0, 3.0, 4.0])
        >>> X = X + 0.1 * rng.normal(size=X.shape)
        >>> X[:5, 0] = np.nan
        >>> model = PrecGDFactorization("auto", center="columns").fit(X)
        >>> means = [np.mean(Z) for Z in model.sample_completed(X, 3, random_state=0)]
        >>> len(means)
        3
        """
        check_is_fitted(self)
        check_at_least_one(n_draws)
        data = read_rows(self, X, "sample_completed").entries()
        if data.shape != (len(self.left_), len(self.right_)):
            raise ValueError(
                f"X has shape {data.shape}, but that of the data that were fitted is "
                f"{(len(self.left_), len(self.right_))}."
            )
        whole = np.full(data.shape, np.nan, self.left_.dtype)
        whole[data.rows, data.columns] = data.values
        rows, columns = np.nonzero(np.isnan(whole))
        draws = self._draws(rows, columns, random_state)
        return self._completed(whole, (rows, columns), islice(draws, n_draws))

    @staticmethod
    def _completed(
        whole: Array, cells: tuple[Array, Array], draws: Iterator[Array]
    ) -> Iterator[Array]:
        for drawn in draws:
            whole[cells] = drawn
            yield whole.copy()

    def _given_noise(self, rows: Array, columns: Array) -> Array | None:
        if not has_variances(self.noise_variance):
            return None
        given = self.noise_variance_
        if given.ndim == 1:
            return given[columns]
        own = given[rows, columns]
        assert self._precision is not None
        # A missing entry needs none; one that is as precise as those of its column.
        return np.where(np.isnan(own), self._precision.variance[columns], own)

    def transform(self, X: Any) -> Array:
        """Coordinates of rows in the row space found, from their visible entries.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
            Missing entries are allowed, whether or not the training data had any. For
            a dask array or DataFrame, the result is a lazy dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Where noise and prior were learned, the posterior mean given the visible
            entries of the row: it is the nearer to zero the less they say, and zero
            where nothing is visible; with ``inference="gibbs"`` the mean of those given
            each draw. Elsewhere ``(X - center_) @ components_.T`` for
            complete rows, and otherwise the
            least-squares fit to the visible entries, of least norm where a row
            shows fewer than n_components_ of them; components whose singular value is
            rounding, at most ``max(n_samples, n_features)`` times the machine
            precision relative to the largest (and to the offsets), have no part in
            it. Entries of columns whose `noise_variance` was given are weighed by that
            (if it was given for each entry, by the mean precision of the column's
            entries). With outliers, the fit to those
            visible entries that are not gross errors. With another loss, the
            coordinates of the lowest loss; where the held-out loss ended the fit,
            shrunk towards zero as the singular values suggest.
        """
        check_is_fitted(self)
        return self._transform(X)

    def _transform(self, X: Any) -> Array:
        if is_dask(X):
            return by_rows(self, "transform", X, self._n_features_out)
        return self._row_solver.coordinates(self._read(X), self._row_space)

    def inverse_transform(self, X: Any) -> Array:
        """Rows from their coordinates: with `transform`, the completed matrix.

        With ``loss="logistic"`` these are probabilities, with ``loss="poisson"`` means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            For a dask array, the result is a lazy dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        lazy = is_dask(X)
        if lazy:
            X = as_dask_array(X, 2, lengths=False)
        else:
            X = check_array(unmasked(X, "X"), dtype=[np.float64, np.float32])
        if X.shape[1] != self.components_.shape[0]:
            raise ValueError(
                f"X has {X.shape[1]} columns, but there are "
                f"{self.components_.shape[0]} components."
            )
        if lazy:
            return by_rows(self, "inverse_transform", X, self.n_features_in_)
        return self._row_solver.loss.mean(X @ self.components_ + self.center_)

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
        data = self._read(X)
        row_weight = checked_weight(sample_weight, data.shape[0])
        hidden = self._row_solver.predict_hidden(
            data,
            self._row_space,
            self.validation_fraction,
            check_random_state(self.random_state),
        )
        rows, values, predictions = (
            np.concatenate(part) for part in zip(*hidden, strict=True)
        )
        weight = None if row_weight is None else row_weight[rows]
        return self._row_solver.score(values, predictions, weight)

    @property
    def _row_space(self) -> RowSpace:
        return RowSpace(self.components_.T, self.center_, self._numerical_rank)

    def _read(self, X: Any) -> CompleteData | EntryData:
        rows = read_rows(self, X, self._row_solver.each_entry)
        if self._precision is None:
            return rows
        return rows.entries().as_precise_as(self._precision)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.missing_values == 0
        # `fit` refuses an unknown loss; a request for tags does not.
        with suppress(ValueError, TypeError):
            loss = make_loss(self.loss)
            of_zeros = loss.least_squares and not looks_for_outliers(self)
            tags.input_tags.sparse |= of_zeros
            tags.input_tags.positive_only = loss.non_negative
        tags.input_tags.allow_nan = bool(np.isnan(self.missing_values))
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
