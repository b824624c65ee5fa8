"""PrecGDMatrixSensing: a matrix recovered from linear measurements, a regressor."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from skprecgd._estimators.base import BasePrecGD
from skprecgd._estimators.centre import Offsets, Seen, search_rank, without_rows
from skprecgd._estimators.complex_measured import (
    in_real_numbers,
    measured_values,
    warn_if_real,
)
from skprecgd._estimators.data import warn_about_unseen
from skprecgd._estimators.fitted import found_factors, minimised, seen_part
from skprecgd._estimators.fitting import (
    callbacks_told,
    in_spite_of_interrupt,
    pass_on_interrupt,
    undone_on_failure,
)
from skprecgd._estimators.groups import (
    fits_of,
    interrupted,
    n_fitted,
    warn_about_groups,
)
from skprecgd._estimators.labels import AXES
from skprecgd._estimators.lazy import by_samples
from skprecgd._estimators.learned import (
    AtNoise,
    NoiseFound,
    PriorLearner,
    warn_about_noise,
    warn_about_worse,
    warn_about_zero,
)
from skprecgd._estimators.learned_sensing import no_std, sensing_learner_of
from skprecgd._estimators.measured import (
    Measured,
    MeasuredPart,
    read_measured,
    read_measurements,
    remark_on_shape,
)
from skprecgd._estimators.objectives import objective_of, subtracted_first
from skprecgd._estimators.parameters import (
    SHARED_CONSTRAINTS,
    check_init,
    check_together,
    needs_each_entry,
    tolerance_of,
)
from skprecgd._estimators.recovered import Recovered
from skprecgd._estimators.reports import reported
from skprecgd._estimators.scoring import (
    at_unit_scale,
    checked_weight,
    explained_share,
)
from skprecgd._estimators.search_rank import AUTO, SearchRank
from skprecgd._estimators.trusting import learner_beside_outliers
from skprecgd._estimators.uncertain import check_at_least_one
from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.groups import Block, Groups
from skprecgd._linalg.numerics import real_dtype
from skprecgd._runtime.compat import Interval, StrOptions, fit_context
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.distributed.graph import compute
from skprecgd.factors import Factors, SymmetricFactor
from skprecgd.losses import Loss, make_loss
from skprecgd.measurements import Measurements
from skprecgd.objective import Objective
from skprecgd.optim import Damping, Solver, StepRule
from skprecgd.optim.certificate import certificate
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.result import Status
from skprecgd.unknown.base import Unknown


class PrecGDMatrixSensing(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, BasePrecGD
):
    """Recover a low-rank matrix of unknown rank from linear measurements.

    A sample is one measurement matrix ``A_i``, its target the measured number ``y_i =
    <A_i, M> + noise``. The matrix is held as ``M = L R^T`` (or ``X X^T``), and the
    factors are found by preconditioned gradient descent [1]_, which does not slow down
    when `n_components` exceeds the true rank or the matrix is ill-conditioned.
    Measurements of complex numbers recover complex matrices, ``L R^H`` or ``X X^H``:
    see :ref:`complex`. Where the measurements are noisy, noise and prior are learned
    from them, and the matrix is a posterior mean [2]_, [3]_: see :ref:`noisy_entries`
    for single entries, :ref:`noisy_measurements` for all others.

    Parameters
    ----------
    n_components : int or "auto", default=None
        Search rank: an upper bound of the rank (of each group, if there are several
        `groups_`), at most ``min(matrix_shape)``, which is what None stands for.
        A warning says if noisy entries carry clearly more than the bound allows.
        "auto" is the highest rank with fewer unknowns than there are measurements; of
        noisy entries, as many are found as these carry.
    matrix_shape : tuple of int, default=None
        ``(n_rows, n_columns)``. None: read from 3-D or wrapped measurements; for
        flat rows the most balanced shape with that many cells, rows >= columns
        (a square one with ``symmetric=True``): `stop_reason_` names such a guess if it
        is not square.
    symmetric : bool, default=False
        The matrix is symmetric positive semidefinite, ``M = X X^T``, or Hermitian where
        measurements are complex. A matrix that is not is then replaced by the closest
        fit that is.
    center : {None, "mean", "columns", "both"}, default=None
        Offsets that are estimated together with the factors and are in no component:
        none, one for all entries, one for each column, or one for each row, too. Only
        for single entries, see `observed_entries`. With "both" the row
        offsets are one component more than `n_components` counts, as in
        `PrecGDFactorization`.
    loss : {"squared", "logistic", "huber", "absolute", "poisson"} or Loss, \
            default="squared"
        What a prediction costs: "logistic" for labels 0 and 1 or probabilities,
        "poisson" for counts, "huber" and "absolute" where some targets are far off.
        An instance from `skprecgd.losses` sets its constants.
    solver : {"auto", "precgd", "precgd-cg", "gauss-newton", ...} or Solver, \
            default="auto"
        "precgd": gradient descent in the damped metric; "precgd-cg": conjugate
        directions in it; "gauss-newton": linearised problems solved in it. "auto":
        "precgd-cg", followed by "gauss-newton" where measurements are scarce and
        wherever conjugate steps get slow at the last rank. The others are baselines;
        :ref:`optimization` describes them all, and
        :ref:`add_to_the_optimizer` a solver of your own.
    rank_search : {"path", "fixed"}, default="path"
        "path" grows the rank from one until the data are explained; "fixed" starts
        at the full search rank, as in the papers.
    step_size : {"auto", "exact", ...}, float or StepRule, default="auto"
        "exact" minimises along each direction; "auto" is "exact". A number is
        relative to the metric (0.5 in the papers, for near-isometric measurements).
        The other rules are on the page :ref:`optimization`.
    damping : {"auto", "sqrt_loss", ...}, float or Damping, default="auto"
        How the metric's damping follows the error; the rules are on the page
        :ref:`optimization`. A number is in units of the norm of the data. "auto":
        "variance_proxy" if `noise_variance` is given, else "sqrt_loss"; "dual_norm"
        for other losses than the squared one.
    inference : {"variational", "gibbs"}, default="variational"
        How the posterior is found where ``alpha="auto"`` learns. "variational": rows
        and columns are Gaussian, and independent of one another. "gibbs": a short chain
        of exact draws, which starts from there; predictions are means over the draws.
        It takes about twice as long, and predicts ratings better (:ref:`gibbs`). It is
        refused where nothing is learned: other measurements than single entries, data
        in chunks, symmetric matrices, other losses than the squared one, a number for
        `alpha`, and outliers.
    noise : {"auto", "uniform", "columns"}, default="auto"
        What is learned of the noise where ``alpha="auto"`` learns. "uniform": one
        variance for all entries. "columns": one for each column of the matrix, those of
        columns with few entries being drawn towards the others', as strongly as the
        data suggest. "auto": of columns, and rows have noise of their own as well where
        components would follow that of loud rows. Without effect if `noise_variance` is
        given, and where measurements are no single entries or the matrix is symmetric:
        the noise of these has one variance.
    noise_tail : {"auto", "normal", "t"}, default="auto"
        Whether the noise that ``alpha="auto"`` learns is normal, or Student's t with
        learned degrees of freedom, under which entries that fit badly count little.
        "auto": t where that predicts entries better that are left out. Where
        `noise_variance` is given, "auto" is normal, and with "t" the given variances
        are squared scales. "t" needs single entries of a matrix that is not symmetric.
    noise_variance : float, "auto" or array-like of shape (n,), default=None
        Variance of the noise in y, in its squared units, if it is known: for
        ``damping="variance_proxy"``, and in place of what ``alpha="auto"`` would learn.
        0: there is no noise, and nothing is learned. "auto": estimated
        from the residual of the fit, or learned. An array has the variance of each
        target: the squared residuals are then weighed by their inverse. Of complex
        targets it is that of the real and of the imaginary part each. Only with the
        squared loss.
    init : {"spectral", "nystrom", "random"} or pair of arrays, default="spectral"
        Where to start; a pair is ``(left, right)``, of at most `n_components` columns
        each. It may be in other units than the data: see :ref:`the_start`.
    alpha : "auto" or float, default="auto"
        "auto": where what the path leaves of the measurements is noise, the noise and
        the prior variances of factors and offsets are learned, and the fit is the
        posterior mean; see :ref:`noisy_entries` and :ref:`noisy_measurements`. With
        another loss the prior of single entries in memory is learned, of labels and
        counts at once, of other numbers where it predicts better than the path; see
        :ref:`losses`. It is 0 for data without noise, for measurements in chunks that
        are no single entries, and for Hermitian matrices of more than 512 rows. Where
        outliers are looked for, or with another loss, it learns of single entries
        alone. A number is a ridge on both factors: what is minimised is ``sum_k
        loss(<A_k, M>, y_k)`` plus `alpha` times the nuclear norm (the sum of the
        singular values) of the matrix. Weights of the samples and the inverse of an
        array `noise_variance` multiply the losses. See :ref:`ridge`.
    alpha_scaling : float, default=0.0
        The ridge of a row or column takes the count of its observed entries, relative
        to the mean, to this power; see :ref:`ridge`. Needs single entries.
    outlier_fraction : float or "auto", default=0.0
        Upper bound, below 0.5, of the share of the targets that are grossly wrong. They
        are recognised by their residuals and left out of the fit. "auto" is 0.3; where
        noise of entries is learned, residuals that fit the tail of the others stay,
        whatever the bound. See :ref:`outliers`. Needs no number but 0 for `alpha`.
    early_stopping : "auto" or bool, default="auto"
        Choose the rank on the path by held-out measurements, then refit on all.
        "auto": only if the residual does not reach `tol`, and `alpha` is 0 or stands
        for it; needs at least 50 measurements. With labels or counts ("logistic",
        "poisson") the held-out measurements also end the fit, and there is no refit.
        True is refused where ``alpha="auto"`` learns from all entries; with other
        measurements or symmetric matrices nothing is learned then.
    validation_fraction : float, default=0.1
        Share of the measurements held out.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before the held-out path stops.
    max_iter : int, default=1000
        Most iterations, all ranks together; a refit, or another draw of held-out
        counts, has as many again, and where scarce measurements need more than a path
        those come on top (:ref:`which_solver`).
    tol : "auto" or float, default="auto"
        Stop when the residual, or the part of it that moving the factors can still
        remove, is at most `tol` times the norm of the data. "auto" is 1e-9, and four
        machine epsilons, 4.8e-7, for data in single precision. 0 runs
        `max_iter` iterations without a warning, and nothing is learned then unless
        the measurements are single entries.
    random_state : int, RandomState instance or None, default=None
        Seed of random starts, and of the draws of ``inference="gibbs"``.
    warm_start : bool, default=False
        Start from the previous solution, if it has the same shape. The same fit of the
        same data then ends at once; see :ref:`the_start`.
    store_pattern : bool, default=True
        Whether to keep what standard deviations, intervals and draws take, where noise
        was learned: which entries were observed, or covariances of the factors.
    verbose : int, default=0
        1: one live line: the rank, what is going on, the relative residual and the time
        so far. 2: a table with a row for each iteration. Both end with `stop_reason_`.

    Attributes
    ----------
    n_components_ : int
        The rank found, which where noise is left counts the weak components that help
        to predict (at least 1, which may be zero). With ``center="both"`` one more, for
        the rows' offsets; the sum of those of all groups if there are several.
    matrix_shape_ : tuple of int
        ``(n_rows, n_columns)``: the parameter, or what was read or guessed.
    singular_values_ : ndarray of shape (n_components_,)
    components_ : ndarray of shape (n_components_, n_columns)
        Right singular vectors of the recovered matrix: the rows of ``V^T``, of a
        complex matrix those of ``V^H``.
    left_, right_ : ndarray of shape (n_rows, n_components_), \
            (n_columns, n_components_)
        Balanced factors; the matrix is ``left_ @ right_.T + center_``, if it is complex
        ``left_ @ right_.conj().T``.
    center_ : ndarray of shape (n_columns,)
        Offsets of the columns; zeros without a `center`.
    matrix_ : ndarray of shape (n_rows, n_columns)
        The recovered matrix, formed on demand.
    groups_ : object with two ndarray of int
        Where measurements are single entries, the groups of rows and columns that share
        none: ``groups_.rows`` of shape (n_rows,) and ``groups_.columns`` of shape
        (n_columns,) number them, the one with the most entries being 0; -1 is a row or
        column without an entry. Each group is fitted alone, with at most `n_components`
        components, and entries between them are zero, or the centre's; see
        :ref:`groups`. With
        ``symmetric=True``, row i and column i are in the same group. Other measurements
        are one group.
    alpha_max_ : float
        The smallest `alpha` with which the matrix is zero; only if `alpha` is above 0.
    outliers_ : ndarray of shape (n,)
        Errors of the targets that were left out of the fit, 0 for the others:
        ``y - outliers_`` is what was fitted.
    certificate_ : Certificate
        Bound of the distance to the global optimum; see `optim.Certificate`. With
        outliers it is that of the problem without them, with several groups the sum of
        those of the groups. Missing where noise was learned, because a posterior mean
        is no minimum of the loss, and after an interrupt while it was computed.
    n_iter_ : int
        Of all groups together.
    converged_ : bool
        Whether all groups have converged.
    stop_reason_ : str
        Where noise was learned: its standard deviation in units of the data, over the
        columns, and how many columns of the factors carry signal.
    noise_variance_ : float or ndarray of shape (n_columns,) or (n,)
        Variance of the noise: as it was given, as it was learned (a number for each
        column of the matrix, or a single one where the model has the same for all), or
        else the mean squared residual, corrected for the degrees of freedom of the rank
        found. Only with the squared loss.
    noise_df_ : float
        Degrees of freedom of the noise, infinite if it is normal; where it is finite,
        `noise_variance_` is a squared scale. Only where it was learned; the smallest if
        there are several groups.
    factor_scales_ : ndarray of shape (n_factors,)
        Prior standard deviation of what each factor adds to an entry of the matrix, as
        root mean square over the columns; only where it was learned.
    lower_bound_ : float
        The evidence: a lower bound of the log density of the targets under the model,
        with the columns that carry signal; the sum over all groups where it was
        learned, and only there. Compare fits of the same measurements by it.
    n_signal_ : int
        Number of factors that carry signal: those that the evidence is higher with than
        without. Only where noise was learned; `n_components_` also counts weak ones,
        which help to predict.
    history_ : History
        A table; ``history_["loss"]`` is a column. With several groups, those follow one
        another, and ``history_["group"]`` says which it is.
    n_features_in_ : int
        Number of cells of the matrix.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where `X` has string column names.
    row_labels_, column_labels_ : ndarray of shape (n_rows,), (n_columns,)
        The ids of the rows and columns of the matrix; only where `X` has labels, see
        `observed_entries`. Entries to predict are found by their ids.

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
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> A, y, truth = make_matrix_sensing(
    ...     15, 10, rank=2, n_measurements=140, random_state=0
    ... )
    >>> model = PrecGDMatrixSensing(5, matrix_shape=(15, 10)).fit(A, y)
    >>> model.n_components_, bool(truth.relative_error(model.matrix_) < 1e-6)
    (2, True)
    """

    # Whether rows and columns without a measurement are news to whoever fits.
    _tells_unseen: ClassVar[bool] = True
    # What entries between groups are predicted by, in its warning.
    _between_groups: ClassVar[str] = "the centre; see groups_"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED_CONSTRAINTS,
        "n_components": [
            None,
            Interval(Integral, 1, None, closed="left"),
            StrOptions({AUTO}),
        ],
        "matrix_shape": [None, tuple, list],
        "symmetric": ["boolean"],
        "center": [None, StrOptions({"mean", "columns", "both"})],
        "store_pattern": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | str | None = None,
        *,
        matrix_shape: tuple[int, int] | None = None,
        symmetric: bool = False,
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
        self.matrix_shape = matrix_shape
        self.symmetric = symmetric
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
    def matrix_(self) -> Array:
        """The recovered matrix, shape (n_rows, n_columns), formed on demand."""
        check_is_fitted(self)
        return np.asarray(self.left_ @ self.right_.conj().T + self.center_)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Recover the matrix.

        Parameters
        ----------
        X : array-like of shape (n, n_rows * n_columns) or (n, n_rows, n_columns), \
                sparse array, LinearOperator or Measurements
            The measurement matrices, one a sample. A dask array is read chunk by
            chunk where it is, see :ref:`large_data`.
        y : array-like of shape (n,)
            The measured numbers, which may be complex where `X` are Measurements of
            complex numbers; also as a dask array, if `X` is in chunks.
        sample_weight : array-like of shape (n,), default=None
            How often each measurement counts: one of weight two like two, one of weight
            zero not at all. Where noise of single entries is learned, weights count as
            they compare (their mean, if it is above one, as one). (`noise_variance`
            says how precise it is.)

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If shapes do not match, `n_components` exceeds ``min(matrix_shape)``,
            data are not finite, arrays are complex, weights are negative, or an
            operator returns NaN or infinity or has a wrong adjoint.
        """
        with callbacks_told(self, X, y), reported(self), undone_on_failure(self):
            pass_on_interrupt(self._fit(X, y, sample_weight))
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> PathResult:
        check_together(self)
        measured = self._read(X, y, sample_weight)
        shape = measured.measurements.matrix_shape
        rank = SearchRank(self.n_components).most(shape)
        of_complex = measured.measurements.of_complex
        check_init(self.init, shape, rank, of_complex=of_complex)
        measured = measured.in_natural_order()
        groups = measured.measurements.groups(symmetric=self.symmetric)
        if self._tells_unseen:
            labels = tuple(getattr(self, f"{axis}_labels_", None) for axis in AXES)
            warn_about_unseen(groups.seen, labels, "the matrix", self._elsewhere)
        if groups.n_groups > 1:
            zero = "zero; see groups_"
            between = zero if self.center is None else self._between_groups
            warn_about_groups(groups, rank, between)
        found = self._search(measured, groups)
        self._warn(found.result)
        warn_about_noise(found.noise, self)
        if not self.symmetric and measured.measurements.single_entries:
            warn_about_worse(self, found.result)
            warn_about_zero(self, found.factors, measured.entries(symmetric=False))
        remark = remark_on_shape(X, self.matrix_shape, shape)
        result = replace(found.result, message=found.result.message + remark)
        found = replace(found, result=result)
        _, stopped = in_spite_of_interrupt(partial(self._keep, measured, found))
        return (interrupted(found) if stopped or found.stopped else found).result

    def _keep(self, measured: Measured, found: Recovered) -> None:
        """Set the fitted attributes."""
        errors = found.errors
        if errors is None:
            errors = np.zeros_like(measured.targets)
        self.outliers_ = measured.in_input_order(errors)
        self._loss = found.loss
        self.matrix_shape_ = measured.measurements.matrix_shape
        # That of an earlier fit would be wrong now.
        self.__dict__.pop("certificate_", None)
        if found.certificate is not None:
            self.certificate_ = found.certificate
        self._store(found.result, found.factors, found.offsets)
        self._store_noise(found.noise)

    def _search(self, measured: Measured, groups: Groups) -> Recovered:
        """Fit measurements in their natural order, without warnings."""
        self.groups_ = groups
        if groups.n_groups < 2:
            return self._find(measured)
        shape = measured.measurements.matrix_shape
        return self._find_groups(measured, SearchRank(self.n_components).most(shape))

    def _find(self, measured: Measured, block: Block | None = None) -> Recovered:
        """Fit measurements, which are those of a group if its `block` is given."""
        means = subtracted_first(self, measured, self.center)
        centred = measured.without(means)
        objective = objective_of(
            self, centred.measurements, centred.targets, centred.weights
        )
        seen = self.groups_.seen if block is None else block.all_seen()
        unknown = self._unknown(objective, seen)
        most = SearchRank(self.n_components).for_objective(objective, unknown)
        rank = search_rank(most, self.center, objective.matrix_shape)
        last = self._last_solution(unknown, means, block)
        learner = self._learner(measured, rank)
        result = self._recover(objective, rank, unknown, block, last, learner)
        if learner is not None and result.status is Status.NOISE:
            return self._at_noise(learner, result, objective, unknown, means)
        keep = partial(self._found, result, objective, unknown, means, seen)
        (found, within, fitted), stopped = in_spite_of_interrupt(keep)
        at = found.factors, found.offsets
        if learner is not None and not stopped:
            ended = result.converged or learner.doubts_unfinished
            if ended and learner.doubts(*at):
                return self._at_noise(learner, result, objective, unknown, means)
        seed = self.random_state
        if fitted.penalty_of_sum.shrinks:
            within = fitted.penalty_of_sum.balanced(within)
        try:
            bound = certificate(
                fitted, within, unknown, search_rank=rank, random_state=seed
            )
        except KeyboardInterrupt:
            # The matrix is there; only the bound is missing.
            bound, stopped = None, True
        return replace(found, certificate=bound, stopped=stopped)

    def _learner(self, measured: Measured, rank: int) -> PriorLearner | None:
        """What learns the prior if noise is left; None where nothing is learned."""
        entries = measured.entries(symmetric=self.symmetric)
        if entries is not None:
            return learner_beside_outliers(self, entries, rank)
        return sensing_learner_of(self, measured, rank)

    def _at_noise(
        self,
        learner: PriorLearner,
        result: PathResult,
        objective: Objective,
        unknown: Unknown,
        means: Offsets,
    ) -> Recovered:
        """What the estimator keeps where noise and prior were learned."""
        found = partial(AtNoise.of, self, learner, result, objective, unknown, means)
        end, stopped = in_spite_of_interrupt(found)
        kept = end.result, end.factors, end.offsets
        loss, noise, gross = objective.loss, end.noise, learner.gross
        errors = None if gross is None else gross.values
        return Recovered(
            objective, unknown, *kept, errors, loss, noise=noise, stopped=stopped
        )

    def _found(
        self,
        result: PathResult,
        objective: Objective,
        unknown: Unknown,
        means: Offsets,
        seen: Seen,
    ) -> tuple[Recovered, Factors, Objective]:
        """What the estimator keeps of a search.

        Returns
        -------
        found : Recovered
        within : Factors
            As points of the unknown.
        fitted : Objective
            The convex problem that they solve.
        """
        tol = tolerance_of(self, objective.dtype)
        factors = seen_part(found_factors(objective, result, tol), seen)
        within = means.within(factors)
        offsets = means.with_found(within, seen)
        factors = offsets.with_rows(within)
        gross = objective.gross_errors(within, result.relative_residual, tol)
        errors = None if gross is None else gross.values
        fitted = minimised(objective, result)
        if errors is not None:
            fitted = fitted.without(errors)
        found = Recovered(
            objective,
            unknown,
            result,
            factors,
            offsets,
            errors,
            fitted.loss,
            noise=NoiseFound.left_by(result, objective, unknown),
        )
        return found, within, fitted

    def _find_groups(self, measured: Measured, rank: int) -> Recovered:
        """Fit each group of rows and columns that share no measurement alone."""
        groups = self.groups_
        if needs_each_entry(self) is not None:
            measured = measured.entries_in_memory()
        parts = measured.parts(groups, n_fitted(groups, rank))

        def fit(part: MeasuredPart) -> Recovered:
            return self._find(part.measured, part.block)

        fits = fits_of(parts, fit)
        elsewhere = subtracted_first(self, measured, without_rows(self.center))
        return Recovered.in_groups(measured, parts, fits, elsewhere)

    @property
    def _elsewhere(self) -> str:
        """How rows and columns are predicted of which nothing was observed."""
        return "as zero" if self.center is None else "by the centre alone"

    def _read(self, X: Any, y: Any, sample_weight: Any) -> Measured:
        measured = read_measured(self, X, y)
        measured = measured.weighted(sample_weight, self.noise_variance)
        self._check(measured)
        if not measured.measurements.of_complex:
            return measured
        loss, ordered = make_loss(self.loss), measured.in_natural_order()
        numbers = in_real_numbers(ordered, loss, hermitian=self.symmetric)
        warn_if_real(numbers)
        return numbers

    def _check(self, measured: Measured) -> None:
        """Refuse what no matrix can be recovered from."""
        shape = measured.measurements.matrix_shape
        self._components.check_shape(shape)
        measured.check_center(self.center)

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """The targets to expect: measurements of the recovered matrix.

        Parameters
        ----------
        X : as in `fit`
        return_std : bool, default=False
            Whether to return standard deviations, too: where noise was learned. Those
            of single entries are explained at `predict_entries`.

        Returns
        -------
        mean : ndarray of shape (n,)
            Lazy where `X` is a dask array.
            With ``loss="logistic"`` these are probabilities, with ``loss="poisson"``
            means: the measurements are their log-odds and their logarithms.
        std : ndarray of shape (n,)
            Only with `return_std`. Of new measurements: what is not known of the
            matrix, and noise (of a complex number the root of the variances of both
            parts). Where `noise_variance` was given for each target, of ones
            as precise as those in the (harmonic) mean. What is not known of the matrix
            alone is the spread between draws, see `sample_factors`.

        Raises
        ------
        ValueError
            With `return_std`, if `X` is not in memory, if no noise was learned, or if
            it was learned of single entries and `X` are others.
        """
        mean = self._predicted(X)
        return (mean, self._std(X)) if return_std else mean

    def _predicted(self, X: Any) -> Array:
        if is_dask(X):
            check_is_fitted(self)
            return by_samples(self, "predict", X)
        z = self._measure(X)
        return self._loss.mean(z)

    def _std(self, X: Any) -> Array:
        if is_dask(X):
            raise ValueError(
                "return_std=True needs X in memory, got a dask collection; call "
                "X.compute() first."
            )
        measurements = read_measurements(self, X)
        known = None if self._noise is None else self._noise.measured
        if known is not None:
            return known.std(measurements).astype(real_dtype(self.left_.dtype))
        cells = measurements.cells()
        if cells is None:
            raise ValueError(no_std(self))
        return self._entry_std(*cells)

    def sample_factors(
        self, n_draws: int = 100, random_state: RandomState = None
    ) -> tuple[Array, Array]:
        """Draw matrices from the posterior, by their factors.

        Anything that is computed of the matrix is known as well as it agrees between
        draws. Noise of new measurements is no part of them. The draws are Gaussian, and
        at right angles to all moves of the factors that leave their product as it is.

        Parameters
        ----------
        n_draws : int, default=100
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        left, right : ndarray of shape (n_draws, n_rows, n_factors), \
                (n_draws, n_columns, n_factors)
            The matrices are ``left @ right.conj().transpose(0, 2, 1)``. With
            ``symmetric=True`` both are the same array.

        Raises
        ------
        ValueError
            If no noise was learned, or it was of single entries: draws of these are
            `sample_entries`.

        Examples
        --------
        >>> import numpy as np
        >>> from skprecgd import PrecGDMatrixSensing
        >>> from skprecgd.datasets import make_matrix_sensing
        >>> A, y, truth = make_matrix_sensing(
        ...     8, 6, rank=1, n_measurements=90, noise=0.1, random_state=0
        ... )
        >>> model = PrecGDMatrixSensing(3, matrix_shape=(8, 6)).fit(A, y)
        >>> left, right = model.sample_factors(200, random_state=0)
        >>> traces = np.einsum("kir,kir->k", left[:, :6], right)
        >>> traces.shape, bool(traces.std() < 0.5)
        ((200,), True)
        """
        check_is_fitted(self)
        check_at_least_one(n_draws)
        noise = self._noise
        if noise is not None and noise.entries is not None:
            raise ValueError(
                "sample_factors draws from the posterior of measurements that are no "
                "single entries; draw entries by sample_entries."
            )
        if noise is None or noise.measured is None:
            raise ValueError(no_std(self, "sample_factors"))
        dtype = self.left_.dtype
        left, right = noise.measured.draws(n_draws, check_random_state(random_state))
        first = left.astype(dtype)
        return first, first if right is left else right.astype(dtype)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """How much of the targets the predictions explain.

        Parameters
        ----------
        X : as in `fit`
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None
            A measurement of weight two counts like two measurements.

        Returns
        -------
        float
            R^2, or with another loss D^2: the share of the loss of the best constant
            prediction that is gone (of complex targets, the squared loss is that of
            ``|y - z|``). 1 is perfect; 0 is as good as a constant.
        """
        check_is_fitted(self)
        if self._loss.least_squares:
            from sklearn.metrics import r2_score

            predictions = self._predicted(X)
            if is_dask(X):
                # One pass computes both.
                predictions, y = compute(predictions, y)
            weight = checked_weight(sample_weight, len(predictions))
            y = np.asarray(unmasked(y, "y"))
            if y.dtype.kind == "c" or predictions.dtype.kind == "c":
                # One minus sum |y - z|^2 / sum |y - mean|^2.
                y, predictions = (_in_two_columns(z) for z in (y, predictions))
            y, predictions, _ = at_unit_scale(y, predictions, self._loss)
            how = {"sample_weight": weight, "multioutput": "variance_weighted"}
            return float(r2_score(y, predictions, **how))
        z = self._measure(X)
        y = unmasked(y, "y")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(z, y)
        self._loss.target_check(y)
        return explained_share(self._loss, y, z, checked_weight(sample_weight, len(y)))

    def _measure(self, X: Any) -> Array:
        check_is_fitted(self)
        left, right = self.left_, self.right_
        if self.center_.any():
            left = np.hstack([left, np.ones_like(left, shape=(len(left), 1))])
            right = np.hstack([right, self.center_[:, None]])
        return self._values(read_measurements(self, X), left, right)

    def _values(self, measurements: Measurements, left: Array, right: Array) -> Array:
        hermitian = self.left_ is self.right_
        return measured_values(measurements, left, right, hermitian=hermitian)

    def transform(self, X: Any) -> Array:
        """Contribution of each singular component to each measurement.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        ndarray of shape (n, n_components_)
            Lazy where `X` is a dask array.
            Rows sum to the measurements of the recovered matrix: the predictions, or
            their log-odds or logarithms (see `predict`); with a `center`, those of the
            matrix without `center_`.
        """
        check_is_fitted(self)
        if is_dask(X):
            return by_samples(self, "transform", X, self._n_features_out)
        measurements = read_measurements(self, X)
        columns = [
            self._values(
                measurements, self.left_[:, k : k + 1], self.right_[:, k : k + 1]
            )
            for k in range(self.n_components_)
        ]
        return np.stack(columns, axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        # `fit` refuses an unknown loss; a request for tags does not.
        with suppress(ValueError, TypeError):
            loss = make_loss(self.loss)
            tags.target_tags.positive_only = loss.non_negative
            # A link without an intercept: log-odds and logarithms of the training mean
            # are not zero as a rule, and the measurements cannot shift them.
            tags.regressor_tags.poor_score = loss.generalized
        return tags


def _in_two_columns(values: Array) -> Array:
    """Real and imaginary parts beside each other."""
    return np.stack([values.real, values.imag], axis=1)


def regressor_of(factors: Factors, loss: Loss) -> PrecGDMatrixSensing:
    """A fitted estimator whose matrix is that of the factors."""
    model = PrecGDMatrixSensing(
        max(1, factors.rank),
        matrix_shape=factors.matrix_shape,
        symmetric=isinstance(factors, SymmetricFactor),
        loss=loss,
    )
    model._store_matrix(factors)
    model.center_ = np.zeros(factors.matrix_shape[1], factors.dtype)
    model._loss = loss
    model.n_features_in_ = int(np.prod(factors.matrix_shape))
    return model
