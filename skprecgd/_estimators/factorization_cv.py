"""PrecGDFactorizationCV: factorization with the rank chosen by held-out entries."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skprecgd._estimators.cross_validation import Samples
from skprecgd._estimators.data import EntryData, read_weighted
from skprecgd._estimators.factorization import PrecGDFactorization
from skprecgd._estimators.fitting import (
    callbacks_told,
    pass_on_interrupt,
    undone_on_failure,
)
from skprecgd._estimators.parameters import looks_for_outliers
from skprecgd._estimators.rank_path_cv import (
    CV_CONSTRAINTS,
    RankPathCV,
    check_in_memory,
)
from skprecgd._estimators.reports import reported
from skprecgd._runtime.compat import fit_context
from skprecgd._runtime.typing import RandomState
from skprecgd.losses import Loss
from skprecgd.optim import Damping, Solver


class PrecGDFactorizationCV(RankPathCV, PrecGDFactorization):
    """Factorization whose rank, step size and ridge held-out entries choose.

    Folds hold out entries of the matrix, of complete data too, never whole rows: a
    reconstruction error on rows cannot choose a rank. One path of growing rank per
    fold, step size and ridge serves for all ranks. See :ref:`choosing_rank`.

    Parameters
    ----------
    n_components : int, "auto", or list of these, default=None
        Ranks to try, each from 1 to the shorter side of the matrix. None: 1 to 10, or
        to that side. They cost hardly more than the largest alone. "auto" is the
        highest rank with fewer unknowns than there are entries.
    missing_values : nan or 0, default=nan
        See :class:`PrecGDFactorization`.
    center : {None, "mean", "columns", "both"}, default=None
        See :class:`PrecGDFactorization`. A fold has offsets of its own.
    step_size : {"auto", "exact", ...}, float, StepRule, or list of these, \
            default="auto"
        Steps to try; see :class:`PrecGDFactorization`. A number that diverges is
        scored as failed.
    alpha : float, "auto", or list of these, default=None
        Ridges to try; see :class:`PrecGDFactorization`. A fold has the same as the
        whole. "auto" is scored by fits of that estimator, which learn noise and prior
        of the training entries of each fold; where nothing is to be learned (of
        complete numbers without outliers), it is the same as 0. None: 0
        with every number of components, and with the largest alone "auto" and ten
        ridges from the one that leaves nothing of all entries down to a thousandth of
        it, each starting from the one before; these find themselves how many they use.
        Beside outliers there are no ridges.
    alpha_scaling : float, default=0.0
        See :class:`PrecGDFactorization`.
    solver : {"auto", "precgd", "precgd-cg", "gauss-newton", ...} or Solver, \
            default="auto"
        See :class:`PrecGDFactorization`. Solvers that need not descend are refused.
    init : {"spectral", "nystrom", "random"}, default="spectral"
        See :class:`PrecGDFactorization`.
    inference : {"variational", "gibbs"}, default="variational"
        See :class:`PrecGDFactorization`. Of the candidates whose `alpha` is "auto", in
        the folds, too.
    loss : str or Loss, default="squared"
        See :class:`PrecGDFactorization`.
    damping : str, float or Damping, default="auto"
        See :class:`PrecGDFactorization`.
    noise : {"auto", "uniform", "columns"}, default="auto"
        See :class:`PrecGDFactorization`.
    noise_tail : {"auto", "normal", "t"}, default="auto"
        See :class:`PrecGDFactorization`.
    noise_variance : float, "auto" or array-like, default=None
        See :class:`PrecGDFactorization`.
    outlier_fraction : float or "auto", default=0.0
        See :class:`PrecGDFactorization`. In the default score, that share of the
        held-out entries, those with the largest residuals, does not count.
    validation_fraction : float, default=0.1
        As in :class:`PrecGDFactorization`, for `score`, and for fits to labels or
        counts ("logistic", "poisson"), which held-out entries end, also in the folds.
    n_iter_no_change : int, default=2
        Ranks without a lower held-out loss before such a fit stops.
    max_iter : int, default=1000
        Most iterations of a path, and of the refit.
    tol : "auto" or float, default="auto"
        See :class:`PrecGDFactorization`.
    cv : int, splitter or iterable, default=None
        How *entries* are held out. An integer (None is 5) is the number of folds of
        :class:`~skprecgd.model_selection.EntryKFold`. A splitter is given the observed
        entries row by row as samples, so that it had better shuffle, and an iterable
        holds positions among them, no row numbers.
    scoring : str or callable, default=None
        A scorer, called with a regressor, entries and their values; see
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
        Seed of the folds of an integer `cv`, of random starts and of the entries hidden
        by `score`.
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
        The rank of the refit: ``best_params_["n_components"]``, or less if entries are
        missing or wrong; the sum of those of all groups if there are several.
    components_ : ndarray of shape (n_components_, n_features)
    singular_values_ : ndarray of shape (n_components_,)
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
    left_, right_ : ndarray of shape (n_samples, n_components_), \
            (n_features, n_components_)
    center_ : ndarray of shape (n_features,)
    groups_ : object with two ndarray of int
    outliers_ : csr_array of shape (n_samples, n_features)
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
        The attributes of :class:`PrecGDFactorization`, of the refit.

    Warns
    -----
    UserWarning
        If a fold hides whole rows or columns, or if the best candidate predicts
        held-out entries worse than their mean.

    See Also
    --------
    PrecGDFactorization : The same with a given search rank.

    Notes
    -----
    A fold is a matrix with missing entries, so its memory and time grow with the number
    of observed entries, and a sparse `X` whose other entries are zeros counts as
    complete.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDFactorizationCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 40))
    >>> X += 0.5 * rng.standard_normal(X.shape)
    >>> PrecGDFactorizationCV([1, 2, 3, 4, 5], random_state=0).fit(X).n_components_
    3
    """

    _estimator: ClassVar = PrecGDFactorization
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CV_CONSTRAINTS,
        "missing_values": PrecGDFactorization._parameter_constraints["missing_values"],
        "center": PrecGDFactorization._parameter_constraints["center"],
    }

    def __init__(
        self,
        n_components: Any = None,
        *,
        missing_values: float = np.nan,
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
        self.missing_values = missing_values
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
        self, X: Any, y: Any = None, *, entry_weight: Any = None, groups: Any = None
    ) -> Self:
        """Choose by cross-validation, then factorize all of X.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_samples, n_features)
        y : None
            Ignored.
        entry_weight : array-like or sparse array of shape (n_samples, n_features), \
                default=None
            See :class:`PrecGDFactorization`. The default score and the scorers of
            scikit-learn count held-out entries the same way.
        groups : array-like of shape (n_samples, n_features), default=None
            Entries of a group are held out together, if `cv` is a splitter that heeds
            groups.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `PrecGDFactorization.fit`; if the grid does not fit the matrix; if `cv`
            gives no folds, or no positions among the entries; if every step size
            diverges.
        """
        with callbacks_told(self, X), reported(self), undone_on_failure(self):
            self._choose(self._samples(X, entry_weight, groups))
            model = self._model(**self.best_params_, verbose=self.verbose)
            path = model._fit(X, entry_weight)
            self._refitted(model, path)
            pass_on_interrupt(path)
        return self

    @property
    def partial_fit(self) -> Any:
        """There is none, because folds are of all entries."""
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit, as it chooses by folds of all "
            "entries; call it on PrecGDFactorization(**search.best_params_)."
        )

    def _samples(self, X: Any, entry_weight: Any, groups: Any) -> Samples:
        check_in_memory(self, X)
        given = read_weighted(self, X, entry_weight).that_count()
        data = given.entries()
        return Samples(
            data.measurements(),
            data.values,
            self.center,
            data.weights,
            None if groups is None else data.of_groups(groups),
            # Complete data are fitted in closed form, though their folds are not.
            may_be_noisy=isinstance(given, EntryData) or looks_for_outliers(self),
        )
