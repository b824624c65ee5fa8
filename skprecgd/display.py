"""Figures of fits, as scikit-learn's displays: `from_estimator`, `plot`, artists.

matplotlib (the extra ``plot``) is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from skprecgd._runtime.extras import import_extra
from skprecgd._runtime.typing import Array
from skprecgd.optim.result import History

__all__ = ["ConvergenceDisplay", "RankPathDisplay", "SingularValueDisplay"]

_LABELS = {
    "loss": "loss",
    "relative_residual": "relative residual",
    "gradient_norm": "gradient norm",
    "step": "step",
    "damping": "damping",
    "validation_loss": "held-out loss",
    "rank": "rank",
    "seconds": "seconds",
}
# Columns that are drawn on a logarithmic scale if they spread. All others, also those
# that a solver adds, are always drawn on a linear scale.
_LOGARITHMIC = set(_LABELS) - {"rank", "step"}


class RankPathDisplay:
    """Training and held-out error against the rank.

    Use :meth:`from_estimator`.

    Parameters
    ----------
    ranks : array-like of shape (n_ranks,)
        Ascending ranks of the training errors.
    train_error : array-like of shape (n_ranks,)
        Share of the loss that is left: the squared relative residual.
    held_out_ranks : array-like of shape (n_held_out,), default=None
        Ranks of the held-out errors; None if nothing was held out.
    held_out_error : array-like of shape (n_held_out,), default=None
        Share of the loss of held-out data that is left.
    held_out_std : array-like of shape (n_held_out,), default=None
        Standard deviation over the folds of a cross-validation.
    chosen_rank : int, default=None
        The rank to mark.
    error_name : str, default="share of the loss left"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    train_line_ : matplotlib Line2D or None
        None where the training errors are not known.
    held_out_line_ : matplotlib Line2D or None
    held_out_band_ : matplotlib PolyCollection or None
        The band of one standard deviation to either side of `held_out_line_`.
    rank_line_ : matplotlib Line2D or None
        The mark of the chosen rank.

    Examples
    --------
    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_matrix_completion
    >>> from skprecgd.display import RankPathDisplay
    >>> X, truth = make_matrix_completion(
    ...     80, 60, rank=3, observed_fraction=0.6, noise=0.2, random_state=0
    ... )
    >>> model = PrecGDFactorization(8, alpha=0, tol=1e-3, random_state=0).fit(X)
    >>> display = RankPathDisplay.from_estimator(model)
    >>> display.rank_line_.get_label()
    'rank 3'
    """

    def __init__(
        self,
        *,
        ranks: npt.ArrayLike,
        train_error: npt.ArrayLike,
        held_out_ranks: npt.ArrayLike | None = None,
        held_out_error: npt.ArrayLike | None = None,
        held_out_std: npt.ArrayLike | None = None,
        chosen_rank: int | None = None,
        error_name: str = "share of the loss left",
    ) -> None:
        self.ranks = ranks
        self.train_error = train_error
        self.held_out_ranks = held_out_ranks
        self.held_out_error = held_out_error
        self.held_out_std = held_out_std
        self.chosen_rank = chosen_rank
        self.error_name = error_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, line_kw: dict[str, Any] | None = None
    ) -> Self:
        """Draw the path of a fitted estimator, or the scores of a search over ranks.

        A fit that held data out to choose its rank shows both errors of that walk;
        another one the training error alone. With `cv_results_`, that is after a
        cross-validation over `n_components`, the held-out error is one minus the mean
        test score. The training error beside it is that of the same paths (none with a
        `scoring` of your own), or for a search of scikit-learn one minus the mean
        training score (none without ``return_train_score=True``). Of several `groups_`
        that were fitted each alone, the path of the first that has one is drawn.

        Parameters
        ----------
        estimator : object
            Fitted: an estimator of this package, or a search over its `n_components`
            such as :class:`sklearn.model_selection.GridSearchCV`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kw : dict, default=None
            For both lines, as in `matplotlib.axes.Axes.plot`.

        Returns
        -------
        RankPathDisplay

        Raises
        ------
        ValueError
            If there was no path: complete data are factorized at one rank.
        ImportError
            If matplotlib is missing.
        """
        _pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        results = getattr(estimator, "cv_results_", None)
        if results is not None:
            display = cls(**_searched(estimator, results))
        else:
            history, rank = _history_of(estimator), int(estimator.n_components_)
            if "group" in history.columns:
                history = _first_group(history)
                columns = estimator.groups_.columns == history["group"][0]
                rank = int(np.sum(estimator.components_[:, columns].any(axis=1)))
            display = cls(**_walked(history, rank))
        return display.plot(ax, line_kw=line_kw)

    def plot(self, ax: Any = None, *, line_kw: dict[str, Any] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kw : dict, default=None
            For both lines, as in `matplotlib.axes.Axes.plot`.

        Returns
        -------
        RankPathDisplay
            Itself, with the artists as attributes.
        """
        ax = _axes(f"{type(self).__name__}.plot", ax)
        kw = {"marker": "o", **(line_kw or {})}
        self.train_line_ = self.held_out_line_ = self.held_out_band_ = None
        self.rank_line_ = None
        errors = [np.asarray(self.train_error, dtype=float)]
        if np.size(self.ranks):
            (self.train_line_,) = ax.plot(
                self.ranks, self.train_error, **{"label": "training", **kw}
            )
        if self.held_out_error is not None:
            error = np.asarray(self.held_out_error, dtype=float)
            errors.append(error)
            (self.held_out_line_,) = ax.plot(
                self.held_out_ranks, error, **{"label": "held out", **kw}
            )
            if self.held_out_std is not None:
                std = np.asarray(self.held_out_std, dtype=float)
                self.held_out_band_ = ax.fill_between(
                    self.held_out_ranks,
                    error - std,
                    error + std,
                    alpha=0.3,
                    color=self.held_out_line_.get_color(),
                )
        if self.chosen_rank is not None:
            self.rank_line_ = ax.axvline(
                self.chosen_rank,
                color="0.6",
                linestyle="--",
                zorder=0,
                label=f"rank {self.chosen_rank}",
            )
        _label(ax, np.concatenate(errors), "rank", self.error_name)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ConvergenceDisplay:
    """The columns of a history by iteration, with its phases and changes of rank.

    Every phase has a colour of its own behind the lines, which the legend names: with
    which solver all data were fitted, some held out, or all fitted again.

    Use :meth:`from_estimator`, or give the history of an optimization.

    Parameters
    ----------
    history : History
        As `history_` of an estimator and `history` of a result.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_columns,)
        One for every column of the history that is drawn.
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
        A line for each column.
    held_out_line_ : matplotlib Line2D or None
        The held-out loss, beside the loss, where both are known.
    rank_lines_ : list of matplotlib LineCollection
        The marks of the changes of rank, one item for each axes.
    phases_ : dict of str to list of matplotlib Rectangle
        The stretches of each phase, on all axes.
    legend_ : matplotlib Legend or None
        The names of the phases; None if the history knows none.

    Examples
    --------
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> from skprecgd.display import ConvergenceDisplay
    >>> A, y, truth = make_matrix_sensing(
    ...     20, rank=2, n_measurements=300, random_state=0
    ... )
    >>> model = PrecGDMatrixSensing(5).fit(A, y)
    >>> display = ConvergenceDisplay.from_estimator(model)
    >>> list(display.lines_)
    ['loss', 'relative_residual', 'step', 'damping']
    """

    def __init__(self, history: History) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        columns: Sequence[str] = ("loss", "relative_residual", "step", "damping"),
        ax: Any = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the `history_` of a fitted estimator.

        Parameters
        ----------
        estimator : estimator of this package
            Fitted.
        columns : sequence of str, default=("loss", "relative_residual", "step", \
                "damping")
            Columns of the history, one an axes.
        ax : matplotlib Axes or sequence of them, default=None
            Where to draw, as many as `columns`; None makes a new figure.
        line_kw : dict, default=None
            For all lines, as in `matplotlib.axes.Axes.plot`.

        Returns
        -------
        ConvergenceDisplay

        Raises
        ------
        ValueError
            If the history is empty: complete data are factorized by a block method that
            writes none.
        ImportError
            If matplotlib is missing.
        """
        _pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        return cls(_history_of(estimator)).plot(ax, columns=columns, line_kw=line_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        columns: Sequence[str] = ("loss", "relative_residual", "step", "damping"),
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            Where to draw, as many as `columns`; None makes a new figure.
        columns : sequence of str, default=("loss", "relative_residual", "step", \
                "damping")
            Columns of the history, one an axes.
        line_kw : dict, default=None
            For all lines, as in `matplotlib.axes.Axes.plot`.

        Returns
        -------
        ConvergenceDisplay
            Itself, with the artists as attributes.
        """
        plt = _pyplot(f"{type(self).__name__}.plot")
        drawable = sorted({*self.history.columns} - {"iteration", "phase"})
        unknown = [column for column in columns if column not in drawable]
        if unknown or not len(columns):
            raise ValueError(
                f"columns must be some of {drawable}, got {list(columns)}."
            )
        self.axes_ = _axes_of(plt, ax, len(columns))
        self.lines_: dict[str, Any] = {}
        self.rank_lines_: list[Any] = []
        self.held_out_line_ = None
        self.phases_: dict[str, list[Any]] = {}
        for axes, column in zip(self.axes_, columns, strict=True):
            self._draw(axes, column, line_kw or {})
            self._shade(axes)
        self.legend_ = self._name_phases(self.axes_[0])
        self.axes_[-1].set_xlabel("iteration (grey lines: the rank changes)")
        self.figure_ = self.axes_[0].figure
        return self

    def _draw(self, axes: Any, column: str, line_kw: dict[str, Any]) -> None:
        """One column of the history."""
        iteration, rank = self.history["iteration"], self.history["rank"]
        values, held_out = self.history[column], self.history["validation_loss"]
        label = _LABELS.get(column, column.replace("_", " "))
        (self.lines_[column],) = axes.plot(
            iteration, values, **{"label": label, **line_kw}
        )
        if column == "loss" and not np.all(np.isnan(held_out)):
            (self.held_out_line_,) = axes.plot(
                iteration, held_out, **{"label": "held out", **line_kw}
            )
            axes.legend()
            values = np.concatenate([values, held_out])
        if column in _LOGARITHMIC:
            _log_if_spread(axes, values)
        changes = iteration[1:][np.diff(rank) != 0]
        across = axes.get_xaxis_transform()
        self.rank_lines_.append(
            axes.vlines(changes, 0, 1, transform=across, colors="0.85", zorder=0)
        )
        axes.set_ylabel(label)

    def _shade(self, axes: Any) -> None:
        """Colour the stretches of each phase."""
        names = list(dict.fromkeys(r.phase for r in self.history if r.phase))
        for phase, lines in groupby(self.history, lambda record: record.phase):
            if not phase:
                continue
            first, *others = [record.iteration for record in lines]
            last = others[-1] if others else first
            colour = f"C{names.index(phase) % 10}"
            # A line stands for the point that an iteration has led to.
            span = axes.axvspan(first - 0.5, last + 0.5, color=colour, alpha=0.15, lw=0)
            self.phases_.setdefault(phase, []).append(span)

    def _name_phases(self, axes: Any) -> Any:
        """A legend of the phases, above all axes."""
        if not self.phases_:
            return None
        own = axes.get_legend()
        spans = [spans[0] for spans in self.phases_.values()]
        legend = axes.legend(
            spans,
            list(self.phases_),
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=3,
            frameon=False,
            fontsize="small",
        )
        if own is not None:
            # An axes keeps one legend, and shows others as what is drawn on it.
            axes.add_artist(own)
        return legend


class SingularValueDisplay:
    """The singular values found, and beside them the true ones.

    Use :meth:`from_estimator`; call it again with ``ax=display.ax_`` to compare
    estimators.

    Parameters
    ----------
    singular_values : array-like of shape (n_components,)
        Largest first.
    truth : array-like of shape (n_true,), default=None
        The true singular values.
    name : str, default="found"
        What the legend calls `singular_values`.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    truth_line_ : matplotlib Line2D or None

    Examples
    --------
    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_matrix_completion
    >>> from skprecgd.display import SingularValueDisplay
    >>> X, truth = make_matrix_completion(
    ...     80, 60, rank=3, observed_fraction=0.6, random_state=0
    ... )
    >>> model = PrecGDFactorization(8).fit(X)
    >>> display = SingularValueDisplay.from_estimator(model, truth=truth)
    >>> len(display.line_.get_ydata())
    3
    """

    def __init__(
        self,
        *,
        singular_values: npt.ArrayLike,
        truth: npt.ArrayLike | None = None,
        name: str = "found",
    ) -> None:
        self.singular_values = singular_values
        self.truth = truth
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        truth: Any = None,
        name: str | None = None,
        ax: Any = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the singular values of a fitted estimator.

        Parameters
        ----------
        estimator : object with `singular_values_`
            Fitted; of this package, or for example
            :class:`sklearn.decomposition.TruncatedSVD`.
        truth : LowRankTruth or array-like, default=None
            Truth from :mod:`skprecgd.datasets`, singular values (1-D), or a matrix
            (2-D), of which those above rounding are drawn.
        name : str, default=None
            What the legend calls the estimator; None is the name of its class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kw : dict, default=None
            For the line of the estimator, as in `matplotlib.axes.Axes.plot`.

        Returns
        -------
        SingularValueDisplay

        Raises
        ------
        ValueError
            If the estimator has no singular values, or `truth` is not finite.
        ImportError
            If matplotlib is missing.
        """
        _pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not hasattr(estimator, "singular_values_"):
            raise ValueError(
                f"{type(estimator).__name__} has no singular_values_; give the fitted "
                "estimator in it, such as best_estimator_ or the step of a pipeline."
            )
        display = cls(
            singular_values=estimator.singular_values_,
            truth=None if truth is None else _spectrum(truth),
            name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax, line_kw=line_kw)

    def plot(self, ax: Any = None, *, line_kw: dict[str, Any] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kw : dict, default=None
            For the line of the estimator, as in `matplotlib.axes.Axes.plot`.

        Returns
        -------
        SingularValueDisplay
            Itself, with the artists as attributes.
        """
        ax = _axes(f"{type(self).__name__}.plot", ax)
        s = np.asarray(self.singular_values, dtype=float)
        self.truth_line_ = None
        everything = s
        if self.truth is not None:
            true = np.asarray(self.truth, dtype=float)
            everything = np.concatenate([s, true])
            (self.truth_line_,) = ax.plot(
                np.arange(1, len(true) + 1),
                true,
                "o",
                color="0.6",
                markersize=9,
                fillstyle="none",
                label="true",
            )
        kw = {"marker": ".", "label": self.name, **(line_kw or {})}
        (self.line_,) = ax.plot(np.arange(1, len(s) + 1), s, **kw)
        _label(ax, everything, "component", "singular value")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _pyplot(caller: str) -> Any:
    return import_extra("matplotlib.pyplot", caller, "plot")


def _axes(caller: str, ax: Any) -> Any:
    plt = _pyplot(caller)
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _axes_of(plt: Any, ax: Any, n_columns: int) -> Array:
    """One axes for each column, new ones below each other unless they are given."""
    if ax is None:
        size = (6.4, 1.2 + 1.4 * n_columns)
        _, ax = plt.subplots(n_columns, sharex=True, figsize=size, layout="constrained")
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) != n_columns:
        raise ValueError(
            f"ax must hold one axes for each of {n_columns} columns, got {len(axes)}."
        )
    return axes


def _label(ax: Any, values: Array, xlabel: str, ylabel: str) -> None:
    """Scale, ticks, labels and legend of a plot of `values` at 1, 2, 3..."""
    _log_if_spread(ax, values)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()


def _log_if_spread(ax: Any, values: Array) -> None:
    """A log scale for positive values of more than one order of magnitude."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if np.any(finite < 0) or not positive.size:
        return
    # Exact zeros (components that are not there) leave the figure at the bottom.
    if positive.max() > 10 * positive.min():
        ax.set_yscale("log", nonpositive="clip")


def _history_of(estimator: Any) -> History:
    history: History | None = getattr(estimator, "history_", None)
    name = type(estimator).__name__
    if history is None:
        raise ValueError(f"{name} has no history_; give an estimator of skprecgd.")
    if not len(history):
        raise ValueError(
            f"The history_ of this {name} is empty: complete data are factorized at "
            "one rank, by a block method."
        )
    return history


def _first_group(history: History) -> History:
    """The lines of the group that comes first: the largest, unless it is complete."""
    groups = history["group"]
    lines = zip(history, groups, strict=True)
    return History([record for record, group in lines if group == groups[0]])


def _walked(history: History, chosen_rank: int | None) -> dict[str, Any]:
    """The parameters of `RankPathDisplay`, from the last line of each rank."""
    rank, held_out = history["rank"], history["validation_loss"]
    judged = ~np.isnan(held_out)
    # If data were held out, both errors are those of the path that did not see them.
    lines = np.flatnonzero(judged) if np.any(judged) else np.arange(len(rank))
    last = {int(rank[line]): line for line in lines}
    ranks = sorted(last)
    at = np.array([last[r] for r in ranks])
    train_error = history["relative_residual"] ** 2
    shown: dict[str, Any] = {
        "ranks": np.array(ranks),
        "train_error": train_error[at],
        "chosen_rank": chosen_rank,
    }
    if np.any(judged):
        first = lines[0]
        loss_at_zero = history["loss"][first] / train_error[first]
        shown["held_out_ranks"] = np.array(ranks)
        shown["held_out_error"] = held_out[at] / loss_at_zero
    return shown


def _searched(search: Any, results: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `RankPathDisplay`, from the results of a cross-validation."""
    if "param_n_components" not in results or "mean_test_score" not in results:
        raise ValueError(
            f"The cv_results_ of this {type(search).__name__} need the columns "
            "'param_n_components' and 'mean_test_score': search over n_components, "
            "with one score."
        )
    searched = _numbers(results["param_n_components"])
    if np.all(np.ma.getmaskarray(searched)):
        raise ValueError(
            f"This {type(search).__name__} tried no n_components that is a number."
        )
    mean = np.asarray(results["mean_test_score"], dtype=float)
    std = np.asarray(results["std_test_score"], dtype=float)
    # With more than one parameter, every rank is shown at its best.
    order = np.argsort(np.nan_to_num(mean, nan=-np.inf), kind="stable")
    comparable = _comparable(searched, results)
    best = {int(searched[row]): row for row in order if comparable[row]}
    ranks = sorted(best)
    rows = np.array([best[r] for r in ranks])
    fitted = getattr(search, "best_estimator_", search)
    shown: dict[str, Any] = {
        **_training(search, results, np.array(ranks), rows),
        "held_out_ranks": np.array(ranks),
        "held_out_error": 1.0 - mean[rows],
        "held_out_std": std[rows],
        "chosen_rank": getattr(fitted, "n_components_", None),
    }
    if getattr(search, "scoring", None) is not None:
        shown["error_name"] = "one minus the mean test score"
    return shown


def _training(
    search: Any, results: Mapping[str, Any], ranks: Array, rows: Array
) -> dict[str, Any]:
    """The training errors of a cross-validation, if they compare with its scores."""
    errors = getattr(search, "train_error_path_", None)
    if "mean_train_score" in results:
        train_error = 1.0 - np.asarray(results["mean_train_score"], dtype=float)[rows]
    elif errors is not None and getattr(search, "scoring", None) is None:
        train_error = errors.mean(axis=1)[rows]
    else:
        # Those of the refit are no mean over folds, and may be known at one rank only.
        ranks = train_error = np.array([])
    return {"ranks": ranks, "train_error": train_error}


def _numbers(searched: Any) -> Any:
    """The ranks that were tried; "auto", which is none, is masked."""
    searched = np.ma.asarray(searched)
    named = [isinstance(rank, str) for rank in searched.data]
    return np.ma.masked_where(named, searched)


def _comparable(searched: Any, results: Mapping[str, Any]) -> Array:
    """Mask of the candidates whose scores compare one rank with another.

    Candidates without a rank do not. A halving search takes more samples from iteration
    to iteration, so only the last iteration that had all ranks counts.
    """
    with_rank = ~np.ma.getmaskarray(searched)
    iteration = results.get("iter")
    if iteration is None:
        return with_rank
    ranks = set(searched[with_rank])
    complete = [
        k
        for k in set(iteration)
        if set(searched[with_rank & (iteration == k)]) == ranks
    ]
    return with_rank & (iteration == max(complete))


def _spectrum(truth: Any) -> Array:
    """Singular values of a truth, however it is given."""
    values = getattr(truth, "singular_values", None)
    if values is not None:
        return np.asarray(values)
    array = np.asarray(truth, dtype=float)
    if not np.all(np.isfinite(array)):
        raise ValueError("truth holds NaN or infinity; give the complete matrix.")
    if array.ndim != 2:
        return np.sort(array)[::-1]
    s = np.linalg.svd(array, compute_uv=False)
    return s[s > max(array.shape) * np.finfo(float).eps * s[0]]
