"""PrecGDRecommenderCV: the parameters of a recommender chosen by held-out pairs."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import config_context
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

from skprecgd._estimators.fitting import undone_on_failure
from skprecgd._estimators.interactions import Interactions
from skprecgd._estimators.preferences import usual_ridge
from skprecgd._estimators.recommender import AUTO, PrecGDRecommender, weight_of_zeros
from skprecgd._estimators.reports import report_of, reported
from skprecgd._estimators.side_information import read_tables
from skprecgd._estimators.weighting import is_number
from skprecgd._runtime.compat import fit_context, validate_params
from skprecgd._runtime.typing import RandomState
from skprecgd.measurements import EntryMeasurements
from skprecgd.measurements.pairs import Ids, Pairs
from skprecgd.metrics import SCORERS, ListScorer
from skprecgd.model_selection import EntryKFold


@dataclass(frozen=True)
class ListGridTuning:
    """The default candidates where every cell counts.

    Attributes
    ----------
    weights : tuple of float
        Of cells without a pair, in units of that of a pair.
    ridges : tuple of float
        In units of that of `PrecGDRecommender`. On MovieLens 100k a step changes the
        gain by 2 to 5 %, and the best is among them for each of the weights.
    """

    weights: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    ridges: tuple[float, ...] = (0.5, 0.7, 1.0, 1.4, 2.0)


_TUNING = ListGridTuning()
# The parameters that may be lists of candidates.
_LISTS = ("n_components", "unobserved_weight", "alpha", "alpha_scaling")


class Candidate(PrecGDRecommender):
    """One of several, whose score tells if its ridge leaves nothing."""

    _tells_nothing_left = False


class PrecGDRecommenderCV(PrecGDRecommender):
    """A recommender whose weight, ridge and number of factors held-out pairs choose.

    Folds hold out pairs of every row. Where every cell counts, candidates are scored by
    the lists of what is left, in which the pairs held out are to be found; with ratings
    alone, by R^2. The best is fitted to all pairs. See :ref:`recommend`.

    Parameters
    ----------
    n_components : int, None, or list of these, default=None
        See :class:`PrecGDRecommender`.
    unobserved_weight : float, "auto", or list of these, default="auto"
        "auto": 0 with ratings `y`, and 0.05, 0.1, 0.2 and 0.4 without.
    alpha : float, "auto", or list of these, default="auto"
        "auto": with ratings, noise and prior are learned; where every cell counts, 0.5
        to 2 times what :class:`PrecGDRecommender` takes for all pairs.
    alpha_scaling : float or list of floats, default=1.0
        See :class:`PrecGDRecommender`.
    inference : {"variational", "gibbs"}, default="variational"
        See :class:`PrecGDRecommender`.
    features : {None, "seen"}, default=None
        See :class:`PrecGDRecommender`.
    max_iter : int, default=1000
        See :class:`PrecGDRecommender`.
    cv : int, splitter or iterable, default=None
        How pairs are held out. An integer (None is 5) is a number of folds, each with
        the same share of every row; a pair that repeats is in one of them with all its
        samples. A splitter is given the pairs as samples.
    scoring : {"ndcg", "recall"}, str or callable, default=None
        "ndcg" and "recall" are the scorers of :mod:`skprecgd.metrics` for lists of ten.
        None: "ndcg" where every cell counts, and R^2 with ratings. `score` takes it,
        too.
    n_jobs : int, default=None
        Number of fits at a time; None is 1, or what a ``joblib.parallel_config`` says.
        -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds of an integer `cv`, and of the fits.
    store_pattern : bool, default=True
        See :class:`PrecGDRecommender`. Of the refit.
    verbose : int, default=0
        As of :class:`PrecGDRecommender`, of the refit.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As that of `sklearn.model_selection.GridSearchCV`.
    best_index_ : int
    best_params_ : dict
    best_score_ : float
        The mean score of the candidate with the highest one.
    row_labels_, column_labels_ : ndarray of shape (n_rows,), (n_columns,)
    unobserved_weight_ : float
    alpha_ : float or "auto"
    n_components_ : int
    n_iter_ : int
    stop_reason_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (2,)
        The attributes of :class:`PrecGDRecommender`, of the refit.

    See Also
    --------
    PrecGDRecommender : The same with given parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDRecommenderCV
    >>> rng = np.random.default_rng(0)
    >>> liked = rng.random((40, 30)) < np.kron(np.eye(2), np.full((20, 15), 0.4))
    >>> clicks = np.argwhere(liked)
    >>> model = PrecGDRecommenderCV(2, cv=3, random_state=0).fit(clicks)
    >>> model.recommend([0], n=1).columns < 15
    array([ True])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrecGDRecommender._parameter_constraints,
        **{
            name: [*PrecGDRecommender._parameter_constraints[name], "array-like"]
            for name in _LISTS
        },
        "cv": ["cv_object"],
        "scoring": [None, str, callable],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        n_components: Any = None,
        *,
        unobserved_weight: Any = AUTO,
        alpha: Any = AUTO,
        alpha_scaling: Any = 1.0,
        inference: str = "variational",
        features: str | None = None,
        max_iter: int = 1000,
        cv: Any = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
        store_pattern: bool = True,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_components,
            unobserved_weight=unobserved_weight,
            alpha=alpha,
            alpha_scaling=alpha_scaling,
            inference=inference,
            features=features,
            max_iter=max_iter,
            random_state=random_state,
            store_pattern=store_pattern,
            verbose=verbose,
        )
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        row_features: Any = None,
        column_features: Any = None,
    ) -> Self:
        """Choose by cross-validation, then fit all pairs.

        Parameters
        ----------
        X : data frame or array of shape (n, 2), or list of n pairs
        y : array-like of shape (n,), default=None
        sample_weight : array-like of shape (n,), default=None
            See :class:`PrecGDRecommender`. The default scores do not heed weights.
        row_features, column_features : data frame, or tuple of (ids, matrix), \
                default=None
            See :meth:`PrecGDRecommender.fit`. They go to every fit.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As :meth:`PrecGDRecommender.fit`, for any candidate; if a list of these is
            empty, or there are fewer pairs than folds.
        """
        with reported(self), undone_on_failure(self):
            self._check_candidates()
            pairs = self._pairs(X, reset=True)
            given = Interactions.read(pairs, y, sample_weight)
            # Tables that were read are no arrays, which would be cut into folds.
            rows, columns = read_tables(row_features, column_features)
            told = {"row_features": rows, "column_features": columns}
            weights = {} if sample_weight is None else {"sample_weight": sample_weight}
            search = GridSearchCV(
                Candidate(**self._shared()),
                self._grid(given),
                scoring=_scorer(self.scoring),
                cv=self._folds(pairs),
                n_jobs=self.n_jobs,
                error_score="raise",
                refit=False,
            )
            # Weights go to every fit, whatever is asked of scikit-learn elsewhere.
            report_of(self).doing("cross-validation of candidates")
            with config_context(enable_metadata_routing=False):
                search.fit(X, y, **weights, **told)
            one = PrecGDRecommender(**self._shared(), **search.best_params_)
            one.set_params(store_pattern=self.store_pattern, verbose=self.verbose)
            self._adopt(search, one.fit(X, y, sample_weight, **told))
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        on_repeat: str = "replace",
        row_features: Any = None,
        column_features: Any = None,
    ) -> Self:
        """Go on with more pairs and the parameters that were chosen.

        The first call chooses them, as `fit` does.

        Parameters
        ----------
        X, y, sample_weight, on_repeat, row_features, column_features
            See :meth:`PrecGDRecommender.partial_fit`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As :meth:`PrecGDRecommender.partial_fit`.
        """
        told = {"row_features": row_features, "column_features": column_features}
        if not self.__sklearn_is_fitted__():
            return self.fit(X, y, sample_weight, **told)
        one = PrecGDRecommender(**self._shared(), **self.best_params_)
        one.set_params(store_pattern=self.store_pattern, verbose=self.verbose)
        _take_fit(one, self)
        one.partial_fit(X, y, sample_weight, on_repeat=on_repeat, **told)
        _take_fit(self, one)
        return self

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The score that chose the parameters, of pairs that the fit has not seen.

        Parameters
        ----------
        X : data frame or array of shape (n, 2), or list of n pairs
        y : array-like of shape (n,), default=None
            Their ratings.
        sample_weight : array-like of shape (n,), default=None
            For a scorer that takes it; those of lists heed no weights.

        Returns
        -------
        float
            That of `scoring`; if it is None, see :meth:`PrecGDRecommender.score`.

        Raises
        ------
        ValueError
            If the scorer needs ratings and there are none here.
        """
        check_is_fitted(self)
        scorer = _scorer(self.scoring)
        if scorer is None:
            return super().score(X, y, sample_weight)
        scorer = check_scoring(self, scorer)
        if sample_weight is None or isinstance(scorer, ListScorer):
            return float(scorer(self, X, y))
        return float(scorer(self, X, y, sample_weight=sample_weight))

    def _check_candidates(self) -> None:
        """Refuse what `PrecGDRecommender` does not take, before anything is fitted."""
        for name in _LISTS:
            candidates = _listed(getattr(self, name))
            if not candidates:
                raise ValueError(f"{name} must not be an empty list.")
            for value in candidates:
                validate_params(PrecGDRecommender().set_params(**{name: value}))

    def _shared(self) -> dict[str, Any]:
        """The parameters that all candidates share."""
        names = "inference", "features", "max_iter", "random_state"
        return {name: getattr(self, name) for name in names}

    def _grid(self, given: Interactions) -> list[dict[str, list[Any]]]:
        """The candidates, those of each weight by themselves."""
        weights = _listed(self.unobserved_weight)
        if weights == [AUTO] and given.values is None:
            weights = list(_TUNING.weights)
        others = {
            "n_components": _listed(self.n_components),
            "alpha_scaling": _listed(self.alpha_scaling),
        }
        return [
            {
                "unobserved_weight": [weight],
                "alpha": self._ridges(given, weight),
                **others,
            }
            for weight in weights
        ]

    def _ridges(self, given: Interactions, weight: Any) -> list[Any]:
        asked = _listed(self.alpha)
        every_cell = weight_of_zeros(weight, given.values is not None)
        if asked != [AUTO] or not every_cell:
            return asked
        usual = usual_ridge(given, every_cell)
        return [multiple * usual for multiple in _TUNING.ridges]

    def _folds(self, pairs: Pairs) -> Any:
        """What `cv` stands for, each fold as positions of pairs if it is a number."""
        if not (self.cv is None or isinstance(self.cv, Integral)):
            return self.cv
        n_folds = 5 if self.cv is None else int(self.cv)
        (rows, i), (columns, j) = Ids.of(pairs.rows), Ids.of(pairs.columns)
        # What is held out of a pair that repeats is not to be seen elsewhere.
        cells, which = np.unique(i * len(columns) + j, return_inverse=True)
        if n_folds > len(cells):
            raise ValueError(
                f"cv={n_folds} needs as many different pairs, and there are "
                f"{len(cells)}."
            )
        shape = len(rows), len(columns)
        entries = EntryMeasurements(*np.divmod(cells, len(columns)), shape)
        folds = EntryKFold(n_folds, random_state=self.random_state)
        return [
            tuple(np.flatnonzero(np.isin(which, part)) for part in split)
            for split in folds.split(entries)
        ]

    def _adopt(self, search: GridSearchCV, refitted: PrecGDRecommender) -> None:
        """Take over what the search and the refit have found."""
        _take_fit(self, refitted)
        for name in ("cv_results_", "best_index_", "best_params_", "best_score_"):
            setattr(self, name, getattr(search, name))


def _take_fit(model: PrecGDRecommender, other: PrecGDRecommender) -> None:
    """Take over the fitted attributes of another."""
    for name, value in vars(other).items():
        if name.endswith("_") or name.startswith("_"):
            setattr(model, name, value)


def _scorer(scoring: Any) -> Any:
    """A scorer for a name of the package's own; all others are scikit-learn's."""
    return SCORERS.get(scoring, scoring) if isinstance(scoring, str) else scoring


def _listed(values: Any) -> list[Any]:
    """The candidates of a parameter, of which there may be one."""
    if values is None or isinstance(values, str) or is_number(values):
        return [values]
    return list(values)
