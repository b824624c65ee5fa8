"""PrecGDRecommender: ratings and lists, from pairs of ids."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skprecgd._estimators.fitting import undone_on_failure
from skprecgd._estimators.informed import InformedPreferences, learned_directly
from skprecgd._estimators.interactions import Interactions
from skprecgd._estimators.lists import Lists, best_columns
from skprecgd._estimators.preferences import (
    ImplicitModel,
    Preferences,
    RatingsMatrix,
    learned_from_ratings,
)
from skprecgd._estimators.reports import report_of, reported
from skprecgd._estimators.side_information import (
    FeatureTable,
    KnownIds,
    Tables,
    check_alike,
    merged_tables,
    not_among,
    read_tables,
)
from skprecgd._linalg.naming import first_few
from skprecgd._runtime.compat import Interval, StrOptions, fit_context
from skprecgd._runtime.extras import import_extra
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.measurements.pairs import Ids, Pairs, read_ids
from skprecgd.metrics import ndcg_scorer
from skprecgd.variational.informed_model import SideInformation
from skprecgd.variational.warm import Start

AUTO = "auto"
# The weight of a cell without a pair, where pairs have no ratings.
UNOBSERVED_WEIGHT = 0.2


class Recommendations(NamedTuple):
    """Columns for rows, the best first, list after list.

    Attributes
    ----------
    rows, columns : ndarray of shape (n,)
        Ids.
    scores : ndarray of shape (n,)
    """

    rows: Array
    columns: Array
    scores: Array


class Known(NamedTuple):
    """The ids whose preferences are known, and these.

    Attributes
    ----------
    rows, columns : Ids or KnownIds
    preferences : Preferences
    """

    rows: Ids | KnownIds
    columns: Ids | KnownIds
    preferences: Preferences


@dataclass(frozen=True)
class Last:
    """What the last fit was given, and where it has ended.

    Attributes
    ----------
    given : Interactions
    tables : Tables
    column_ids : Ids
    right : ndarray of shape (n_columns, r)
        Factors of the columns.
    start : Start or None
        Where to go on from with more ratings.
    """

    given: Interactions
    tables: Tables
    column_ids: Ids
    right: Array
    start: Start | None

    def start_of(self, given: Interactions) -> Start | None:
        """Where to go on from with other interactions; None if they fall apart."""
        if self.start is None or given.n_groups > 1:
            return None
        n_columns = len(given.column_ids)
        places = given.column_ids.positions(self.column_ids.labels)
        # The last column is the one that is not known.
        return self.start.among(np.append(places, n_columns), n_columns + 1)

    def columns_of(self, given: Interactions) -> Array:
        """The factors of the columns of other interactions, zero of new ones."""
        n_columns = len(given.column_ids)
        right = np.zeros((n_columns, self.right.shape[1]), self.right.dtype)
        right[given.column_ids.positions(self.column_ids.labels)] = self.right
        return right


class PrecGDRecommender(RegressorMixin, BaseEstimator):
    """Predict ratings, and list what to recommend, from pairs of ids.

    A sample is a pair of ids, such as a user's and a film's. With ratings `y`, the
    ratings of all pairs are predicted by a low-rank matrix with offsets of rows and
    columns, whose noise and prior are learned [1]_: cells without a rating say nothing.
    Without `y`, or with an `unobserved_weight`, every cell counts: those without a pair
    are zeros of a small weight [2]_, and the model ranks what has no pair yet. That is
    another question than what a rating would be; see :ref:`recommend`.

    Parameters
    ----------
    n_components : int, default=None
        Number of factors, at most as many as there are rows or columns. None: 20 with
        ratings, of which those without signal are left out, and 64 where every cell
        counts.
    unobserved_weight : float or "auto", default="auto"
        The weight of each cell without a pair, whose target is zero; a pair has weight
        one, or its `sample_weight`. "auto": 0 with ratings `y`, so that nothing but
        these counts, and 0.2 without `y`, where every pair is a one. Set it to a number
        above zero to rank with ratings or counts `y` as targets beside the zeros.
    alpha : float or "auto", default="auto"
        The ridge on the factors: `alpha` times the nuclear norm of the matrix is added
        to half the weighted squared residuals. "auto": with ratings, noise and prior
        are learned, see :ref:`noisy_entries`; where every cell counts, 0.3 of the
        largest singular value that weighted targets would have by chance, see
        :ref:`recommend`.
    alpha_scaling : float, default=1.0
        The ridge of a row or column takes the weight of its cells, relative to the
        mean, to this power. Without effect where the prior is learned.
    inference : {"variational", "gibbs"}, default="variational"
        How the posterior of ratings is found, see :class:`PrecGDMatrixSensing`. "gibbs"
        takes longer, and predicts ratings better; it is refused where nothing is
        learned.
    features : {None, "seen"}, default=None
        "seen": with ratings, which columns a row has rated at all, and which rows have
        rated a column, move the prior means of factors and offsets, by as much as is
        learned (as in SVD++ [3]_). It takes several times as long, and predicts ratings
        better; see :ref:`side_information`, also for features of your own, which `fit`
        takes.
    max_iter : int, default=1000
        Most iterations; where every cell counts, most sweeps over rows and columns.
        Without effect beside features.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws of ``inference="gibbs"``, and of the first factor where every
        cell counts.
    store_pattern : bool, default=True
        Whether to keep the pairs: what lists leave out, what standard deviations take,
        and what `partial_fit` goes on from. Without, a pickle holds factors and ids,
        and no data.
    verbose : int, default=0
        1: one live line: what is going on, and the time so far. 2: a table with a row
        for each iteration. Both end with `stop_reason_`.

    Attributes
    ----------
    row_labels_, column_labels_ : ndarray of shape (n_rows,), (n_columns,)
        The ids of the rows and columns of the matrix, sorted; as they first came, if
        they have no order. Those that have features and no pair are among them.
    unobserved_weight_ : float
        The parameter, or what "auto" stands for.
    alpha_ : float or "auto"
        The ridge; "auto" where noise and prior were learned.
    n_components_ : int
        The number of factors found; with ratings, that of the offsets included.
    n_iter_ : int
    stop_reason_ : str
        Why the fit ended, and what was found, in a sentence or two.
    n_features_in_ : int
        2.
    feature_names_in_ : ndarray of shape (2,)
        The names of the two columns; only where `X` is a frame whose names are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` is reached.
    UserWarning
        If `alpha` is so large that every prediction is zero.

    See Also
    --------
    PrecGDRecommenderCV : Weight, ridge and number of factors chosen by held-out pairs.
    PrecGDMatrixSensing : What ratings are fitted with.

    References
    ----------
    .. [1] Y. J. Lim, Y. W. Teh, "Variational Bayesian Approach to Movie Rating
       Prediction", KDD Cup and Workshop, 2007.
    .. [2] Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback
       Datasets", ICDM 2008.
    .. [3] Y. Koren, "Factorization Meets the Neighborhood: a Multifaceted Collaborative
       Filtering Model", KDD 2008.

    Examples
    --------
    >>> from skprecgd import PrecGDRecommender
    >>> clicks = [("ann", "tea"), ("ann", "jam"), ("bob", "tea"), ("bob", "jam"),
    ...           ("bob", "bread"), ("eve", "nails"), ("eve", "glue"), ("joe", "nails")]
    >>> model = PrecGDRecommender(n_components=2, random_state=0).fit(clicks)
    >>> model.recommend(["ann", "joe"], n=1).columns.tolist()
    ['bread', 'glue']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "unobserved_weight": [
            StrOptions({AUTO}),
            Interval(Real, 0, None, closed="left"),
        ],
        "alpha": [StrOptions({AUTO}), Interval(Real, 0, None, closed="left")],
        "alpha_scaling": [Interval(Real, 0, None, closed="left")],
        "inference": [StrOptions({"variational", "gibbs"})],
        "features": [None, StrOptions({"seen"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "store_pattern": ["boolean"],
        "verbose": ["verbose"],
    }
    # Whether a ridge that leaves no factor is news to whoever fits.
    _tells_nothing_left: ClassVar[bool] = True
    # What None stands for.
    _n_components: ClassVar[dict[str, int]] = {"ratings": 20, "every cell": 64}

    def __init__(
        self,
        n_components: int | None = None,
        *,
        unobserved_weight: float | str = AUTO,
        alpha: float | str = AUTO,
        alpha_scaling: float = 1.0,
        inference: str = "variational",
        features: str | None = None,
        max_iter: int = 1000,
        random_state: RandomState = None,
        store_pattern: bool = True,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.unobserved_weight = unobserved_weight
        self.alpha = alpha
        self.alpha_scaling = alpha_scaling
        self.inference = inference
        self.features = features
        self.max_iter = max_iter
        self.random_state = random_state
        self.store_pattern = store_pattern
        self.verbose = verbose

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
        """Fit to pairs of ids.

        Parameters
        ----------
        X : data frame or array of shape (n, 2), or list of n pairs
            The id of a row and that of a column: integers, strings, dates, or any other
            objects that can be hashed.
        y : array-like of shape (n,), default=None
            Ratings, or where every cell counts, targets; None is one for each pair.
        sample_weight : array-like of shape (n,), default=None
            How often each pair counts, such as a number of clicks; one of weight zero
            counts not at all. Of a pair that repeats, each rating counts; where every
            cell counts, its weights add up.
        row_features, column_features : data frame, or tuple of (ids, matrix), \
                default=None
            With ratings, numbers that move the prior means of factors and offsets of
            rows and columns, by as much as is learned: a frame whose index are ids, or
            ids and a matrix, also a sparse one, with a row for each. All ids of `X`
            need some. Others may have some, too: such rows and columns are predicted,
            and columns listed, by their features alone. All features have one prior, as
            in a ridge regression: give them similar units. Their means are subtracted,
            and an intercept is added.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If X holds no pairs of ids, y or weights are not one finite number for each,
            parameters do not go with one another, features are no finite numbers, or
            an id of X has none.
        """
        with reported(self), undone_on_failure(self):
            tables = read_tables(row_features, column_features)
            pairs = self._pairs(X, reset=True)
            given = Interactions.read(pairs, y, sample_weight, _ids_of(tables))
            self._learn(given, tables)
        return self

    @fit_context(prefer_skip_nested_validation=True)
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
        """Go on with more pairs, of known or new ids.

        The fit is that of all pairs there have been. It starts from where the last one
        has ended, which takes a quarter of the time of one from the beginning where
        ratings are learned from; with a number for `alpha`, ratings are fitted anew.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`: with ratings if the pairs before had some. A pair of weight
            zero changes nothing.
        on_repeat : {"replace", "add"}, default="replace"
            What becomes of a pair that there was before: "replace" forgets what it was,
            "add" counts it beside that, like pairs that repeat in `fit`.
        row_features, column_features : data frame, or tuple of (ids, matrix), \
                default=None
            If the pairs before had some: those of new ids, and those that have changed.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `fit`; if ratings are missing or new, or if the last fit kept no pairs.
        """
        if on_repeat not in ("replace", "add"):
            raise ValueError(
                f"on_repeat must be 'replace' or 'add', got {on_repeat!r}."
            )
        with reported(self), undone_on_failure(self):
            tables = read_tables(row_features, column_features)
            last = self._last_fit() if self.__sklearn_is_fitted__() else None
            pairs = self._pairs(X, reset=last is None)
            if last is not None:
                tables = merged_tables(last.tables, tables)
            given = Interactions.read(pairs, y, sample_weight, _ids_of(tables))
            if last is not None:
                self._check_alike_rated(last.given, given)
                replace = on_repeat == "replace"
                given = last.given.with_more(given, replace=replace)
            self._learn(given, tables, last)
        return self

    def _last_fit(self) -> Last:
        if self._given is None:
            raise ValueError(
                "partial_fit fits what is new together with the pairs of the last fit, "
                "and with store_pattern=False no record of these is kept; fit with "
                "store_pattern=True."
            )
        known = self._column_ids, self._preferences.right[:-1], self._start
        return Last(self._given, self._tables, *known)

    @staticmethod
    def _check_alike_rated(last: Interactions, given: Interactions) -> None:
        if (last.values is None) != (given.values is None):
            had, got = "no ratings y", "some"
            if last.values is not None:
                had, got = "ratings y", "none"
            raise ValueError(
                f"partial_fit goes on from a fit that had {had}, and got {got}."
            )

    def _learn(
        self, given: Interactions, tables: Tables, last: Last | None = None
    ) -> None:
        """Fit interactions, and set the fitted attributes."""
        rated = given.values is not None
        weight = weight_of_zeros(self.unobserved_weight, rated)
        self._check_together(weight, rated)
        self._check_features(tables, weight)
        self._row_ids, self._column_ids = given.row_ids, given.column_ids
        self.row_labels_ = self._row_ids.labels
        self.column_labels_ = self._column_ids.labels
        self._seen = given.pattern() if self.store_pattern else None
        self._given = given if self.store_pattern else None
        self._tables = tables if self.store_pattern else (None, None)
        self._start: Start | None = None
        ids, seen = (given.row_ids, given.column_ids), (given.rows, given.columns)
        self._features_of = tuple(
            None if table is None else table.features_over(among, at)
            for table, among, at in zip(tables, ids, seen, strict=True)
        )
        self.unobserved_weight_ = weight
        if weight > 0:
            self._rank(given, last)
        else:
            self._rate(given, tables, last)

    def _pairs(self, X: Any, *, reset: bool) -> Pairs:
        pairs = Pairs.read(X)
        if not len(pairs):
            raise ValueError("X holds no pair of ids, and at least one is needed.")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return pairs

    def _check_together(self, weight: float, rated: bool) -> None:
        """Refuse parameters that do not go with one another, or with the data."""
        if not (weight > 0 or rated):
            raise ValueError(
                f"unobserved_weight={self.unobserved_weight!r} needs ratings y: where "
                "every pair is a one and no other cell counts, ones explain everything."
            )
        if weight > 0 and self.inference != "variational":
            raise ValueError(
                f"inference={self.inference!r} needs ratings y and "
                "unobserved_weight=0: "
                "where every cell counts no noise is learned; use "
                "inference='variational'."
            )

    def _check_features(self, tables: Tables, weight: float) -> None:
        """Refuse features where no prior is learned that they could move."""
        asked = [table.name for table in tables if table is not None]
        if self.features is not None:
            asked.append(f"features={self.features!r}")
        if not asked:
            return
        if weight > 0:
            raise ValueError(
                f"{asked[0]} needs ratings y and unobserved_weight=0: where every cell "
                "counts, which pairs there are is what is fitted, and no prior is "
                "learned that features could move."
            )
        if not isinstance(self.alpha, str):
            raise ValueError(
                f"{asked[0]} needs alpha='auto', as features move the means of a "
                f"learned prior, got alpha={self.alpha!r}."
            )

    def _most_components(self, kind: str) -> int:
        asked = self.n_components or self._n_components[kind]
        return int(min(asked, len(self._row_ids), len(self._column_ids)))

    def _rate(self, given: Interactions, tables: Tables, last: Last | None) -> None:
        """Fit ratings: beside features, from the last fit, or from the beginning."""
        learned, rank = isinstance(self.alpha, str), self._most_components("ratings")
        model = RatingsMatrix(
            rank,
            center="both",
            alpha=self.alpha,
            alpha_scaling=0.0 if learned else self.alpha_scaling,
            inference=self.inference,
            max_iter=self.max_iter,
            random_state=self.random_state,
            store_pattern=self.store_pattern,
            verbose=self.verbose,
        )
        self.alpha_ = self.alpha
        features = self._side_information(given, tables)
        start = last.start_of(given) if last is not None and learned else None
        if features is None and start is None:
            self._preferences: Preferences = learned_from_ratings(given, model)
            self.n_components_, self.n_iter_ = model.n_components_, model.n_iter_
            self.stop_reason_ = model.stop_reason_
            found = model.taken_start()
        else:
            fit = learned_directly(given, model, rank, features, start)
            self._preferences = fit.preferences
            self.n_components_, self.n_iter_ = fit.n_components, fit.n_iter
            self.stop_reason_ = fit.reason
            found = fit.start
        self._start = found if self.store_pattern else None

    def _side_information(
        self, given: Interactions, tables: Tables
    ) -> SideInformation | None:
        """The features of all rows and columns; None if there are none."""
        sides = zip(
            self._centred(tables),
            (given.row_ids, given.column_ids),
            (given.rows, given.columns),
            strict=True,
        )
        rows, columns = (
            None if table is None else table.of(ids, seen) for table, ids, seen in sides
        )
        if rows is None and columns is None and self.features is None:
            return None
        return SideInformation(rows, columns, self.features == "seen")

    def _centred(self, tables: Sequence[FeatureTable | None]) -> Tables:
        """Features less the means of those that the fit has seen."""
        rows, columns = (
            table if table is None or fitted is None else table.centred(fitted)
            for table, fitted in zip(tables, self._features_of, strict=True)
        )
        return rows, columns

    def _rank(self, given: Interactions, last: Last | None) -> None:
        """Fit targets beside the zeros of all other cells."""
        model = ImplicitModel(
            self._most_components("every cell"),
            self.unobserved_weight_,
            None if isinstance(self.alpha, str) else float(self.alpha),
            self.alpha_scaling,
            self.max_iter,
        )
        start = None if last is None else last.columns_of(given)
        with report_of(self).during("fitting all cells"):
            found = model.fit(given, check_random_state(self.random_state), start)
        self._preferences, self.stop_reason_ = found.preferences, found.reason
        self.alpha_, self.n_iter_ = found.alpha, found.n_iter
        self.n_components_ = found.preferences.left.shape[1]
        if not found.converged:
            warnings.warn(
                f"The fit did not converge in max_iter={self.max_iter} "
                "sweeps; increase it. What was found is kept.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if found.vanished and self._tells_nothing_left:
            warnings.warn(
                f"alpha={found.alpha:.3g} is larger than any singular value of the "
                "weighted targets, so that every prediction is zero; decrease it.",
                UserWarning,
                stacklevel=4,
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_preferences")

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        *,
        row_features: Any = None,
        column_features: Any = None,
    ) -> Array | tuple[Array, Array]:
        """Predict the targets of pairs, seen or not.

        Parameters
        ----------
        X : data frame or array of shape (n, 2), or list of n pairs
            As in `fit`. A pair with an id that the fit does not know is predicted by
            the offsets of the other; where every cell counts, by the mean of all rows
            or columns.
        return_std : bool, default=False
            Whether to return standard deviations, too: with ratings whose noise was
            learned, of ids that the fit knows, and without draws
            (``inference="gibbs"``) of other rows by their features.
        row_features, column_features : data frame, or tuple of (ids, matrix), \
                default=None
            The same features as in `fit`, of ids that it does not know.

        Returns
        -------
        mean : ndarray of shape (n,)
        std : ndarray of shape (n,)
            Of new ratings: what is not known of the matrix, and noise. Only with
            `return_std`.

        Raises
        ------
        ValueError
            If X holds no pairs of ids; with `return_std`, if no noise was learned; if
            features are not like those of the fit.

        Warns
        -----
        UserWarning
            If the fit does not know all ids.
        """
        check_is_fitted(self)
        pairs = self._pairs(X, reset=False)
        known = self._known(row_features, column_features)
        rows = known.rows.positions(pairs.rows)
        columns = known.columns.positions(pairs.columns)
        self._warn_about_unknown(
            row=pairs.rows[rows < 0], column=pairs.columns[columns < 0]
        )
        mean = known.preferences.means(rows, columns)
        return (mean, known.preferences.std(rows, columns)) if return_std else mean

    def _known(self, row_features: Any, column_features: Any) -> Known:
        """What the fit knows, and what it says of others by their features."""
        given = (row_features, column_features)
        if all(features is None for features in given):
            return Known(self._row_ids, self._column_ids, self._preferences)
        ids, tables = (self._row_ids, self._column_ids), read_tables(*given)
        for table, features in zip(tables, self._features_of, strict=True):
            if table is not None:
                check_alike(table, features)
        news = [not_among(*each) for each in zip(tables, ids, strict=True)]
        rows, columns = (
            one if table is None else KnownIds(one, table.known)
            for one, table in zip(ids, news, strict=True)
        )
        assert isinstance(self._preferences, InformedPreferences)
        told = self._centred(news)
        matrices = (None if table is None else table.in_order() for table in told)
        return Known(rows, columns, self._preferences.extended(*matrices))

    def recommend(
        self,
        rows: Any,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        rank_by: str = "mean",
        as_frame: bool = False,
        row_features: Any = None,
        column_features: Any = None,
    ) -> Any:
        """The columns that suit rows best.

        Parameters
        ----------
        rows : array-like of ids
            One that the fit does not know gets the list of the offsets; where every
            cell counts, that of the mean of all rows.
        n : int, default=10
            Length of a list, which is shorter only where there are no more columns.
        exclude_seen : bool, default=True
            Whether columns are left out that the fit has seen with the row.
        rank_by : {"mean", "lower"}, default="mean"
            "mean": by the prediction. "lower": by the prediction less its standard
            deviation, so that what is hardly known comes late; with ratings whose noise
            was learned.
        as_frame : bool, default=False
            Whether to return a pandas data frame, in which the ids have the names that
            they had in `fit`.
        row_features, column_features : data frame, or tuple of (ids, matrix), \
                default=None
            The same features as in `fit`, of ids that it does not know; such columns
            are listed, too.

        Returns
        -------
        lists : tuple of three ndarray of shape (n_listed,), or data frame
            `rows`, `columns` and `scores`, list after list, the best column first.

        Raises
        ------
        ValueError
            If a parameter is none of these; with `rank_by` "lower", if no noise was
            learned; if what was seen is to be left out and was not stored; if features
            are not like those of the fit.

        Warns
        -----
        UserWarning
            If the fit does not know all ids.
        """
        check_is_fitted(self)
        _check_list(n, rank_by)
        asked = read_ids(rows, "rows")
        known = self._known(row_features, column_features)
        positions = known.rows.positions(asked)
        self._warn_about_unknown(row=asked[positions < 0])
        told = known.preferences
        scores = told.scores if rank_by == "mean" else told.lower
        excluded = self._excluded(positions) if exclude_seen else None
        found = best_columns(scores, positions, told.n_columns, n, excluded)
        names = getattr(self, "feature_names_in_", ("row", "column"))
        named = asked, found, known.columns.labels, (*names, "score")
        return _named(*named, as_frame)

    def _excluded(self, rows: Array) -> sparse.csr_array:
        """What was seen of rows."""
        if self._seen is None:
            raise ValueError(
                "exclude_seen=True needs to know what was seen, and with "
                "store_pattern=False no record of that is kept; fit with "
                "store_pattern=True, or give exclude_seen=False."
            )
        return _rows_of(self._seen, rows)

    def similar(self, items: Any, n: int = 10, *, as_frame: bool = False) -> Any:
        """The columns that are most like others.

        Parameters
        ----------
        items : array-like of ids
            Columns that the fit knows.
        n : int, default=10
            How many for each, itself left out.
        as_frame : bool, default=False
            Whether to return a pandas data frame.

        Returns
        -------
        lists : tuple of three ndarray of shape (n_listed,), or data frame
            `rows` are the columns asked for, `columns` those like them, and `scores`
            the cosines of their factors, the highest first.

        Raises
        ------
        ValueError
            If the fit does not know a column.
        """
        check_is_fitted(self)
        _check_list(n, "mean")
        asked = read_ids(items, "items")
        positions = self._column_ids.positions(asked)
        if np.any(positions < 0):
            unknown = first_few(dict.fromkeys(asked[positions < 0].tolist()))
            raise ValueError(f"items holds ids that had no pair in fit ({unknown}).")
        vectors = self._preferences.directions()
        themselves = (np.ones(len(asked), bool), (np.arange(len(asked)), positions))
        found = best_columns(
            lambda at: vectors[at] @ vectors.T,
            positions,
            len(vectors),
            n,
            sparse.csr_array(themselves, shape=(len(asked), len(vectors))),
        )
        name = getattr(self, "feature_names_in_", ("row", "column"))[1]
        names = name, f"similar_{name}", "score"
        return _named(asked, found, self._column_ids.labels, names, as_frame)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """How well pairs are predicted that the fit has not seen.

        Parameters
        ----------
        X : data frame or array of shape (n, 2), or list of n pairs
        y : array-like of shape (n,), default=None
            Their ratings.
        sample_weight : array-like of shape (n,), default=None
            With ratings, a pair of weight two counts like two.

        Returns
        -------
        float
            With ratings, R^2. Where every cell counts, the normalised discounted
            cumulative gain of lists of ten, in which the pairs of X are what is to be
            found: see :func:`skprecgd.metrics.ndcg_scorer`.

        Raises
        ------
        ValueError
            If ratings were fitted and there are none here.
        """
        check_is_fitted(self)
        if self.unobserved_weight_ > 0:
            return ndcg_scorer()(self, X)
        if y is None:
            raise ValueError(
                "score needs ratings y, because the fit had some; got None."
            )
        return float(super().score(X, y, sample_weight))

    def _warn_about_unknown(self, **ids: Array) -> None:
        said = []
        for axis, unknown in ids.items():
            if len(unknown):
                different = dict.fromkeys(unknown.tolist())
                said.append(f"{len(different)} {axis}(s) ({first_few(different)})")
        if said:
            how = "the mean of all rows or columns"
            how = how if self.unobserved_weight_ > 0 else "the offsets"
            warnings.warn(
                f"{' and '.join(said)} had no pair in fit, and are predicted by {how}.",
                UserWarning,
                stacklevel=3,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.target_tags.required = False
        return tags


def _ids_of(tables: Tables) -> tuple[Array | None, Array | None]:
    """The ids that have features."""
    rows, columns = (None if table is None else table.ids for table in tables)
    return rows, columns


def weight_of_zeros(unobserved_weight: Any, rated: bool) -> float:
    """What the parameter `unobserved_weight` stands for, with or without ratings."""
    if not isinstance(unobserved_weight, str):
        return float(unobserved_weight)
    return 0.0 if rated else UNOBSERVED_WEIGHT


def _named(
    asked: Array, found: Lists, labels: Array, names: tuple[str, ...], as_frame: bool
) -> Any:
    """Lists of ids in place of positions."""
    lists = Recommendations(asked[found.rows], labels[found.columns], found.scores)
    if not as_frame:
        return lists
    frame = import_extra("pandas", "as_frame=True", "frames").DataFrame(
        dict(enumerate(lists))
    )
    frame.columns = list(names)
    return frame


def _check_list(n: Any, rank_by: Any) -> None:
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n must be an integer of at least 1, got {n!r}.")
    if rank_by not in ("mean", "lower"):
        raise ValueError(f"rank_by must be 'mean' or 'lower', got {rank_by!r}.")


def _rows_of(seen: sparse.csr_array, positions: Array) -> sparse.csr_array:
    """The rows at some positions; those at others than its own store nothing."""
    unknown = (positions < 0) | (positions >= seen.shape[0])
    chosen = seen[np.where(unknown, 0, positions)]
    if not np.any(unknown):
        return chosen
    known = sparse.diags_array((~unknown).astype(float)).tocsr()
    chosen = (known @ chosen).tocsr()
    chosen.eliminate_zeros()
    return chosen
