"""Displays: what they show is what the estimators hold."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV

from skprecgd import PrecGDFactorization, PrecGDFactorizationCV, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.display import (
    ConvergenceDisplay,
    RankPathDisplay,
    SingularValueDisplay,
)
from skprecgd.measurements import as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import History, rank_path

DISPLAYS = [ConvergenceDisplay, RankPathDisplay, SingularValueDisplay]


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def noisy():
    """A fit that chose its rank by held-out measurements."""
    A, y, _ = make_matrix_sensing(
        20, 15, rank=3, n_measurements=500, noise=0.1, random_state=0
    )
    model = PrecGDMatrixSensing(8, matrix_shape=(20, 15), alpha=0, random_state=0)
    return model.fit(A, y)


@pytest.fixture(scope="module")
def table():
    """Rows of a table with holes, fitted along a path of ranks."""
    return make_matrix_completion(
        30, 20, rank=2, observed_fraction=0.8, random_state=0
    )[0]


@pytest.fixture(scope="module")
def exact():
    """A fit that explained its data, and its truth."""
    A, y, truth = make_matrix_sensing(
        20, 15, rank=3, n_measurements=350, condition_number=10, random_state=0
    )
    return PrecGDMatrixSensing(6, matrix_shape=(20, 15)).fit(A, y), truth


def drawn(figure):
    """Everything is drawn without a warning."""
    figure.canvas.draw()


def test_held_out_and_training_error(pyplot, noisy):
    model = noisy
    display = RankPathDisplay.from_estimator(model)
    drawn(display.figure_)
    ranks, train = display.train_line_.get_data()
    assert list(ranks) == list(range(1, len(ranks) + 1))
    assert np.all(np.diff(train) < 0)
    held_out_ranks, held_out = display.held_out_line_.get_data()
    assert list(held_out_ranks) == list(ranks)
    # The rank marked is the lowest that predicts as well as the best.
    assert display.rank_line_.get_xdata()[0] == model.n_components_
    assert held_out_ranks[np.argmin(held_out)] >= model.n_components_
    assert held_out[-1] > held_out.min()
    # Both are shares of the loss of a zero matrix.
    assert 0 < held_out.min() < 1
    assert display.held_out_band_ is None
    assert display.ax_.get_yscale() == "log"


def test_without_held_out_data(pyplot, exact):
    model, _ = exact
    display = RankPathDisplay.from_estimator(model)
    drawn(display.figure_)
    ranks, train = display.train_line_.get_data()
    # A path may take several steps at once.
    assert list(ranks) == sorted(set(model.history_["rank"]))
    assert ranks[-1] == 3
    assert train[-1] == pytest.approx(model.history_["relative_residual"][-1] ** 2)
    assert display.held_out_line_ is None


def test_search_over_the_rank(pyplot):
    X = np.random.default_rng(0).normal(size=(30, 8))
    grid = {"n_components": [1, 2, 3], "alpha": [0.0, 1e3]}
    search = GridSearchCV(PrecGDFactorization(random_state=0), grid, cv=2).fit(X)
    display = RankPathDisplay.from_estimator(search)
    drawn(display.figure_)
    ranks, error = display.held_out_line_.get_data()
    assert list(ranks) == [1, 2, 3]
    # Every rank at its best.
    mean = search.cv_results_["mean_test_score"]
    rank = np.array(search.cv_results_["param_n_components"], dtype=int)
    assert error == pytest.approx([1 - mean[rank == r].max() for r in ranks])
    assert display.held_out_band_ is not None
    assert display.rank_line_.get_xdata()[0] == search.best_params_["n_components"]
    # Complete data have no path.
    assert display.train_line_ is None


def test_a_search_of_scikit_learn_has_no_lone_training_error(pyplot, table):
    grid = {"n_components": [1, 2, 3]}
    search = GridSearchCV(PrecGDFactorization(alpha=0, random_state=0), grid, cv=2)
    display = RankPathDisplay.from_estimator(search.fit(table))
    assert display.train_line_ is None
    search.set_params(return_train_score=True).fit(table)
    display = RankPathDisplay.from_estimator(search)
    ranks, error = display.train_line_.get_data()
    assert list(ranks) == [1, 2, 3]
    assert error == pytest.approx(1 - search.cv_results_["mean_train_score"])


def test_search_over_several_grids(pyplot):
    X = np.random.default_rng(0).normal(size=(30, 8))
    grids = [{"n_components": [1, 2]}, {"alpha": [0.0, 1.0]}]
    search = GridSearchCV(PrecGDFactorization(), grids, cv=2).fit(X)
    display = RankPathDisplay.from_estimator(search)
    # Candidates without a rank of their own are left out.
    assert list(display.held_out_line_.get_xdata()) == [1, 2]


def test_a_search_that_lets_the_data_say_the_rank_shows_the_numbers(pyplot):
    X = np.random.default_rng(0).normal(size=(30, 8))
    grid = {"n_components": [1, 2, "auto"]}
    search = GridSearchCV(PrecGDFactorization(), grid, cv=2).fit(X)
    display = RankPathDisplay.from_estimator(search)
    assert list(display.held_out_line_.get_xdata()) == [1, 2]
    search.set_params(param_grid={"n_components": ["auto"]}).fit(X)
    with pytest.raises(ValueError, match="tried no n_components that is a number"):
        RankPathDisplay.from_estimator(search)


def test_halving_search_compares_what_saw_the_same_samples(pyplot):
    X = np.random.default_rng(0).normal(size=(64, 8))
    grid = {"n_components": [1, 2, 3, 4]}
    search = HalvingGridSearchCV(
        PrecGDFactorization(random_state=0), grid, cv=2, min_resources=16, factor=2
    ).fit(X)
    results = search.cv_results_
    assert results["iter"].max() > 0
    display = RankPathDisplay.from_estimator(search)
    _, error = display.held_out_line_.get_data()
    first = results["iter"] == 0
    assert error == pytest.approx(1 - results["mean_test_score"][first])


@pytest.mark.filterwarnings("ignore:The best candidate predicts:UserWarning")
def test_training_error_of_the_paths(pyplot):
    X = np.random.default_rng(0).normal(size=(30, 20))
    how = {"alpha": 0, "cv": 3, "tol": 1e-3, "random_state": 0}
    model = PrecGDFactorizationCV([1, 2, 4], **how).fit(X)
    display = RankPathDisplay.from_estimator(model)
    ranks, train = display.train_line_.get_data()
    assert list(ranks) == [1, 2, 4]
    assert train == pytest.approx(model.train_error_path_.mean(axis=1))
    assert np.all(np.diff(train) < 0)


class Searched(BaseEstimator):
    """What a cross-validation of this package leaves behind."""

    def __init__(self, scoring=None):
        self.scoring = scoring

    def fit(self, path, mean):
        self.train_error_path_ = np.array([[4.0], [3.0], [2.0], [1.0]])
        self.n_components_ = path.factors.rank
        self.cv_results_ = {
            "param_n_components": np.arange(1, 5),
            "mean_test_score": np.array(mean),
            "std_test_score": np.full(4, 0.01),
        }
        return self


def test_search_along_one_path(pyplot):
    A, y, _ = make_matrix_sensing(10, rank=3, n_measurements=95, random_state=0)
    path = rank_path(make_objective(as_measurements(A, (10, 10)), y), 4)
    mean = [0.3, 0.8, 0.99, np.nan]
    display = RankPathDisplay.from_estimator(Searched().fit(path, mean))
    drawn(display.figure_)
    _, error = display.held_out_line_.get_data()
    assert error == pytest.approx(1 - np.array(mean), nan_ok=True)
    ranks, train = display.train_line_.get_data()
    assert list(ranks) == list(train[::-1]) == [1, 2, 3, 4]
    assert display.rank_line_.get_xdata()[0] == 3
    own = RankPathDisplay.from_estimator(Searched("r2").fit(path, mean))
    assert own.train_line_ is None
    assert own.ax_.get_ylabel() == "one minus the mean test score"


def test_search_over_something_else_is_refused(pyplot):
    X = np.random.default_rng(0).normal(size=(12, 6))
    search = GridSearchCV(PrecGDFactorization(2), {"alpha": [0.0, 1.0]}, cv=2).fit(X)
    with pytest.raises(ValueError, match="param_n_components"):
        RankPathDisplay.from_estimator(search)


def test_convergence(pyplot, noisy):
    model = noisy
    display = ConvergenceDisplay.from_estimator(model)
    drawn(display.figure_)
    assert list(display.lines_) == ["loss", "relative_residual", "step", "damping"]
    for column, line in display.lines_.items():
        assert line.get_ydata() == pytest.approx(model.history_[column], nan_ok=True)
        assert list(line.get_xdata()) == list(model.history_["iteration"])
    assert display.held_out_line_ is not None
    n_changes = np.count_nonzero(np.diff(model.history_["rank"]))
    assert n_changes > 2
    for marks in display.rank_lines_:
        assert len(marks.get_segments()) == n_changes


def test_phases_are_named_and_cover_every_iteration(pyplot, noisy):
    display = ConvergenceDisplay.from_estimator(noisy)
    drawn(display.figure_)
    phase, iteration = noisy.history_["phase"], noisy.history_["iteration"]
    assert set(display.phases_) == set(phase)
    assert {name.split(" (")[0] for name in phase} >= {"held out", "refit"}
    named = [text.get_text() for text in display.legend_.get_texts()]
    assert named == list(display.phases_)
    for name, spans in display.phases_.items():
        ends = np.array([[s.get_x(), s.get_x() + s.get_width()] for s in spans])
        inside = (iteration[:, None] > ends[:, 0]) & (iteration[:, None] < ends[:, 1])
        assert np.array_equal(inside.any(axis=1), phase == name)
    # The legend of the lines is still there.
    first = display.axes_[0]
    texts = [t.get_text() for art in first.artists for t in art.get_texts()]
    assert texts == ["loss", "held out"]


def test_a_history_without_phases_is_drawn_plain(pyplot, noisy):
    records = [r._replace(phase="") for r in noisy.history_]
    display = ConvergenceDisplay(History(records)).plot()
    assert display.phases_ == {}
    assert display.legend_ is None


def test_convergence_on_axes_of_your_own(pyplot, exact):
    model, _ = exact
    figure, axes = pyplot.subplots(1, 2)
    display = ConvergenceDisplay(model.history_)
    assert display.plot(axes, columns=["rank", "gradient_norm"]) is display
    drawn(figure)
    assert display.figure_ is figure
    assert display.axes_[0] is axes[0]
    assert display.axes_[0].get_yscale() == "linear"
    assert display.axes_[1].get_yscale() == "log"
    assert display.held_out_line_ is None
    with pytest.raises(ValueError, match="one axes for each of 4 columns, got 2"):
        display.plot(axes)
    with pytest.raises(ValueError, match=r"columns must be some of .*'lost'"):
        display.plot(columns=["lost"])


def test_singular_values_of_several_estimators(pyplot, exact):
    model, truth = exact
    display = SingularValueDisplay.from_estimator(model, truth=truth)
    svd = TruncatedSVD(5, random_state=0).fit(truth.matrix)
    other = SingularValueDisplay.from_estimator(
        svd, ax=display.ax_, name="SVD", line_kw={"color": "red"}
    )
    drawn(display.figure_)
    assert other.ax_ is display.ax_
    assert other.figure_ is display.figure_
    assert other.truth_line_ is None
    assert display.line_.get_ydata() == pytest.approx(model.singular_values_)
    assert display.truth_line_.get_ydata() == pytest.approx(truth.singular_values)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["true", "PrecGDMatrixSensing", "SVD"]
    assert other.line_.get_color() == "red"


def test_refused_singular_values(pyplot, exact):
    model, _ = exact
    search = GridSearchCV(PrecGDFactorization(2), {"alpha": [0.0]}, cv=2)
    search.fit(np.random.default_rng(0).normal(size=(12, 6)))
    with pytest.raises(ValueError, match="GridSearchCV has no singular_values_"):
        SingularValueDisplay.from_estimator(search)
    with pytest.raises(ValueError, match="truth holds NaN"):
        SingularValueDisplay.from_estimator(model, truth=np.full((3, 3), np.nan))


def test_truth_as_a_matrix_or_as_singular_values(pyplot, exact):
    model, truth = exact
    for given in (truth.matrix, truth.singular_values[::-1]):
        display = SingularValueDisplay.from_estimator(model, truth=given)
        assert display.truth_line_.get_ydata() == pytest.approx(truth.singular_values)


@pytest.mark.parametrize("display", DISPLAYS)
def test_axes_given_are_used(pyplot, exact, display):
    model, _ = exact
    figure, axes = pyplot.subplots()
    options = {"columns": ["loss"]} if display is ConvergenceDisplay else {}
    shown = display.from_estimator(model, ax=axes, **options)
    assert shown.figure_ is figure
    assert pyplot.get_fignums() == [figure.number]


@pytest.mark.parametrize("display", DISPLAYS)
def test_not_fitted(pyplot, display):
    with pytest.raises(NotFittedError):
        display.from_estimator(PrecGDFactorization())


@pytest.mark.parametrize("display", [ConvergenceDisplay, RankPathDisplay])
def test_complete_data_have_no_history(pyplot, display):
    X = np.random.default_rng(0).normal(size=(8, 5))
    model = PrecGDFactorization(2).fit(X)
    with pytest.raises(ValueError, match="complete data are factorized at one rank"):
        display.from_estimator(model)
    assert SingularValueDisplay.from_estimator(model).line_ is not None


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib(monkeypatch, exact, display):
    model, _ = exact
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    expected = rf'{display.__name__}.* needs matplotlib; .*"skprecgd\[plot\]"'
    with pytest.raises(ImportError, match=expected):
        display.from_estimator(model)
