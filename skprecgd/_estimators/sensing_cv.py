"""PrecGDMatrixSensingCV: matrix sensing with the rank chosen by cross-validation."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skprecgd._estimators.complex_samples import in_real_samples
from skprecgd._estimators.cross_validation import Samples
from skprecgd._estimators.fitting import (
    callbacks_told,
    pass_on_interrupt,
    undone_on_failure,
)
from skprecgd._estimators.measured import Measured, read_measured
from skprecgd._estimators.rank_path_cv import (
    CV_CONSTRAINTS,
    RankPathCV,
    check_in_memory,
)
from skprecgd._estimators.reports import reported
from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._estimators.weighting import read_weights
from skprecgd._runtime.compat import fit_context
from skprecgd._runtime.typing import RandomState
from skprecgd.losses import Loss, make_loss
from skprecgd.measurements import FullObservation
from skprecgd.objective.weights import ONCE
from skprecgd.optim import Damping, Solver


class PrecGDMatrixSensingCV(RankPathCV, PrecGDMatrixSensing):
    """Matrix sensing whose rank, step size and ridge cross-validation chooses.

    One path of growing rank per fold, step size and ridge serves for all ranks, where
    a `GridSearchCV` over `PrecGDMatrixSensing` would start anew for each. See
    :ref:`choosing_rank`.

    Parameters
    ----------
    n_components : int, "auto", or list of these, default=None
        Ranks to try, each from 1 to the shorter side of the matrix. None: 1 to 10, or
        to that side. They cost hardly more than the largest alone. "auto" is the
        highest rank with fewer unknowns than there are measurements.
    matrix_shape : tuple of int, default=None
        See :class:`PrecGDMatrixSensing`.
    symmetric : bool, default=False
        See :class:`PrecGDMatrixSensing`.
    center : {None, "mean", "columns", "both"}, default=None
        See :class:`PrecGDMatrixSensing`. A fold has offsets of its own.
    step_size : {"auto", "exact", ...}, float, StepRule, or list of these, \
            default="auto"
        Steps to try; see :class:`PrecGDMatrixSensing`. A number that diverges is
        scored as failed.
    alpha : float, "auto", or list of these, default=None
        Ridges to try; see :class:`PrecGDMatrixSensing`. A fold has the same as the
        whole. "auto" is scored by fits of that estimator, which learn noise and prior
        of the training samples of each fold; where nothing is to be learned (by other
        losses of what are no single entries), it is the same as 0. None: 0 with every
        number of components, and with the largest alone "auto" and ten ridges from the
        one that leaves nothing of all measurements down to a thousandth of it, each
        starting from the one before; these find themselves how many they use. Beside
        outliers there are no ridges.
    alpha_scaling : float, default=0.0
        See :class:`PrecGDMatrixSensing`.
    solver : {"auto", "precgd", "precgd-cg", "gauss-newton", ...} or Solver, \
            default="auto"
        See :class:`PrecGDMatrixSensing`. Solvers that need not descend are refused.
    init : {"spectral", "nystrom", "random"}, default="spectral"
        See :class:`PrecGDMatrixSensing`.
    inference : {"variational", "gibbs"}, default="variational"
        See :class:`PrecGDMatrixSensing`. Of the candidates whose `alpha` is "auto", in
        the folds, too.
    loss : str or Loss, default="squared"
        See :class:`PrecGDMatrixSensing`.
    damping : str, float or Damping, default="auto"
        See :class:`PrecGDMatrixSensing`.
    noise : {"auto", "uniform", "columns"}, default="auto"
        See :class:`PrecGDMatrixSensing`.
    noise_tail : {"auto", "normal", "t"}, default="auto"
        See :class:`PrecGDMatrixSensing`.
    noise_variance : float, "auto" or array-like, default=None
        See :class:`PrecGDMatrixSensing`.
    outlier_fraction : float or "auto", default=0.0
        See :class:`PrecGDMatrixSensing`. In the default score, that share of the
        held-out measurements, those with the largest residuals, does not count.
    validation_fraction : float, default=0.1
        For fits to labels or counts ("logistic", "poisson"), which held-out
        measurements end, also in the folds.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before such a fit stops.
    max_iter : int, default=1000
        Most iterations of a path, and of the refit.
    tol : "auto" or float, default="auto"
        See :class:`PrecGDMatrixSensing`.
    cv : int, splitter or iterable, default=None
        An integer (None is 5) is the number of folds: for single entries those of
        :class:`~skprecgd.model_selection.EntryKFold`, otherwise of
        `sklearn.model_selection.KFold`. Other splitters of single entries had better
        shuffle, so that they hide no whole rows.
    scoring : str or callable, default=None
        A scorer, called with a regressor, measurements and their values; see
        scikit-learn's guide on scoring. None: R^2, or with another loss the share of
        the deviance explained, D^2.
    refit_rule : {"best", "one_standard_error"}, default="best"
        Which candidate is refitted: the one with the highest mean score, or, of those
        whose mean score is within one standard error of it, the one that uses the
        fewest components (in the median of the folds), and of these the best. What
        `alpha` is does not matter for that.
    n_jobs : int, default=None
        Number of paths at a time; None is 1, or what a ``joblib.parallel_config`` says.
        -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds of an integer `cv` and of random starts.
    verbose : int, default=0
        1: one live line: how many of the paths are done, then the refit with its rank,
        what is going on, the relative residual and the time so far. 2: tables of the
        paths, the candidates and the iterations of the refit. Both end with
        `stop_reason_`.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        A table with the keys of `sklearn.model_selection.GridSearchCV`: ``params``,
        ``param_n_components``, ``split0_test_score``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``... A fit time is the time that the path
        took to get to a rank, or that of a fit with a learned prior, which stands for
        several numbers of components if it does not use all that it may.
    best_index_ : int
        The line of `cv_results_` that `refit_rule` chose.
    best_params_ : dict
    best_score_ : float
        The mean score of that candidate.
    step_size_, alpha_ : str, float or StepRule, float or "auto"
        The values chosen.
    train_error_path_ : ndarray of shape (n_candidates, n_splits)
        Share of the training loss that each stage left, in the order of `cv_results_`.
    n_components_path_ : ndarray of shape (n_candidates, n_splits)
        How many components each candidate used in each fold, counted as `n_components_`
        is: with that of the rows' offsets, and those of all groups.
    rank_path_ : PathResult
        The refit, with the stages that led to it.
    n_components_ : int
        The rank of the refit: at most ``best_params_["n_components"]``, in each group
        if there are several.
    matrix_shape_ : tuple of int
    singular_values_ : ndarray of shape (n_components_,)
    components_ : ndarray of shape (n_components_, n_columns)
    left_, right_ : ndarray of shape (n_rows, n_components_), \
            (n_columns, n_components_)
    center_ : ndarray of shape (n_columns,)
    matrix_ : ndarray of shape (n_rows, n_columns)
    groups_ : object with two ndarray of int
    outliers_ : ndarray of shape (n,)
    certificate_ : Certificate
    n_iter_ : int
    converged_ : bool
    stop_reason_ : str
    alpha_max_ : float
    noise_variance_ : float or ndarray
    noise_df_ : float
    factor_scales_ : ndarray of shape (n_factors,)
    lower_bound_ : float
    n_signal_ : int
    history_ : History
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
    row_labels_, column_labels_ : ndarray of shape (n_rows,), (n_columns,)
        The attributes of :class:`PrecGDMatrixSensing`, of the refit.

    Warns
    -----
    UserWarning
        If a fold hides whole rows or columns of a matrix given by its entries, or if
        the best candidate predicts held-out samples worse than their mean.

    See Also
    --------
    PrecGDMatrixSensing : The same with a given search rank.

    Examples
    --------
    >>> from skprecgd import PrecGDMatrixSensingCV
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> A, y, truth = make_matrix_sensing(
    ...     15, 10, rank=2, n_measurements=300, noise=0.1, random_state=0
    ... )
    >>> model = PrecGDMatrixSensingCV([1, 2, 3, 4, 5], matrix_shape=(15, 10))
    >>> model.fit(A, y).n_components_
    2
    """

    _estimator: ClassVar = PrecGDMatrixSensing
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CV_CONSTRAINTS,
        "matrix_shape": [None, tuple, list],
        "symmetric": ["boolean"],
        "center": PrecGDMatrixSensing._parameter_constraints["center"],
    }

    def __init__(
        self,
        n_components: Any = None,
        *,
        matrix_shape: tuple[int, int] | None = None,
        symmetric: bool = False,
        center: str | None = None,
        loss: str | Loss = "squared",
        solver: str | Solver = "auto",
        step_size: Any = "auto",
        damping: str | float | Damping = "auto",
        inference: str = "variational",
        noise: str = "auto",
        noise_tail: str = "auto",
        noise_variance: Any = None,
        init: str = "spectral",
        alpha: Any = None,
        alpha_scaling: float = 0.0,
        outlier_fraction: Any = 0.0,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        max_iter: int = 1000,
        tol: float | str = "auto",
        cv: Any = None,
        scoring: Any = None,
        refit_rule: str = "best",
        n_jobs: int | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.matrix_shape = matrix_shape
        self.symmetric = symmetric
        self.center = center
        self.loss = loss
        self.solver = solver
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
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.scoring = scoring
        self.refit_rule = refit_rule
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None
    ) -> Self:
        """Choose by cross-validation, then recover the matrix from everything.

        Parameters
        ----------
        X : array-like of shape (n, n_rows * n_columns) or (n, n_rows, n_columns), \
                sparse array, LinearOperator or Measurements
            The measurement matrices, one a sample.
        y : array-like of shape (n,)
            The measured numbers.
        sample_weight : array-like of shape (n,), default=None
            See :class:`PrecGDMatrixSensing`. The default score and the scorers of
            scikit-learn count held-out samples the same way.
        groups : array-like of shape (n,), default=None
            Samples of a group are held out together, if `cv` is a splitter that heeds
            groups.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `PrecGDMatrixSensing.fit`; if the grid does not fit the matrix; if `cv`
            gives no folds, or no positions among the samples; if every step size
            diverges.
        """
        with callbacks_told(self, X, y), reported(self), undone_on_failure(self):
            self._choose(self._samples(X, y, sample_weight, groups))
            model = self._model(**self.best_params_, verbose=self.verbose)
            path = model._fit(X, y, sample_weight)
            self._refitted(model, path)
            pass_on_interrupt(path)
        return self

    def _samples(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Samples:
        check_in_memory(self, X)
        # Folds are positions among all samples, so samples of weight zero stay here;
        # the refit leaves them out.
        measured = read_measured(self, X, y)
        counted = measured.weighted(sample_weight, self.noise_variance)
        self._check(counted)
        n = len(measured.measurements)
        samples = Samples(
            measured.measurements,
            np.asarray(measured.targets),
            self.center,
            weights=read_weights(sample_weight, self.noise_variance, n),
            groups=groups,
            may_be_noisy=self._are_noisy(counted),
        )
        loss = make_loss(self.loss)
        return in_real_samples(samples, loss, hermitian=self.symmetric)

    def _are_noisy(self, measured: Measured) -> bool:
        """Whether a fit may learn the noise of these measurements."""
        entries = measured.entries(symmetric=self.symmetric)
        whole = isinstance(measured.measurements, FullObservation)
        plain = measured.weights is ONCE
        return entries is None or not (whole and plain)
