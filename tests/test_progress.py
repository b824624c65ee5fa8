"""Progress bars: counted by joblib, and scikit-learn's own callbacks."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import (
    make_low_rank,
    make_matrix_completion,
    make_matrix_sensing,
)
from skprecgd.progress import progress_bar


@pytest.fixture
def quiet():
    """A console that writes into a string."""
    console = pytest.importorskip("rich.console")
    return console.Console(file=io.StringIO(), width=80)


@pytest.fixture(scope="module")
def table():
    """Complete, so that a fit takes milliseconds."""
    return make_low_rank(30, 20, rank=2, random_state=0).matrix


@pytest.fixture(scope="module")
def sensing():
    A, y, _ = make_matrix_sensing(10, rank=2, n_measurements=90, random_state=0)
    return A, y


MODEL = PrecGDFactorization(random_state=0)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_is_counted(quiet, table, n_jobs):
    search = GridSearchCV(MODEL, {"n_components": [1, 2, 3]}, cv=2)
    # What is drawn on the way, not only at the end.
    seen = []
    with progress_bar("ranks", console=quiet) as bar:
        update = bar.update

        def noted_update(*args, **kw):
            update(*args, **kw)
            seen.append(bar.tasks[0].completed)

        bar.update = noted_update
        # Processes would take seconds to start, and report in the same way.
        with parallel_config(backend="threading", n_jobs=n_jobs):
            search.fit(table)
    assert [(task.completed, task.total) for task in bar.tasks] == [(6, 6)]
    assert sorted(seen) == seen
    assert len(set(seen)) > 2
    assert "ranks" in quiet.file.getvalue()
    assert "6/6" in quiet.file.getvalue()
    # The search itself is what it is without a bar.
    plain = clone(search).fit(table)
    for column in ("mean_test_score", "rank_test_score"):
        assert np.array_equal(plain.cv_results_[column], search.cv_results_[column])


def test_only_the_outermost_is_counted(quiet, table):
    search = GridSearchCV(MODEL, {"n_components": [1, 2]}, cv=2)
    with progress_bar(console=quiet) as bar:
        cross_val_score(search, table, cv=2)
        cross_val_score(MODEL, table, cv=3)
    assert [(task.completed, task.total) for task in bar.tasks] == [(2, 2), (3, 3)]


def test_results_come_in_order_and_joblib_is_left_as_it_was(quiet):
    before = Parallel.__call__, Parallel.print_progress
    with progress_bar(console=quiet) as bar:
        assert Parallel()(delayed(abs)(-i) for i in range(5)) == list(range(5))
    assert bar.tasks[0].completed == 5

    def fail():
        raise ArithmeticError

    with pytest.raises(ArithmeticError), progress_bar(console=quiet) as bar:
        Parallel()([delayed(abs)(1), delayed(fail)()])
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (1, 2)
    assert (Parallel.__call__, Parallel.print_progress) == before


def test_nothing_is_written_where_nobody_looks(quiet, capsys):
    with progress_bar() as bar:
        Parallel()(delayed(abs)(i) for i in range(3))
    assert bar.tasks[0].completed == 3
    assert capsys.readouterr() == ("", "")


def test_without_rich(monkeypatch):
    for module in ("rich", "rich.progress", "rich.console"):
        monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(ImportError, match=r'needs rich; .*"skprecgd\[progress\]"'),
        progress_bar(),
    ):
        raise AssertionError("the block does not run")


class Recorder:
    """A callback of scikit-learn that notes what it is told."""

    def __init__(self, stop_after=np.inf):
        self.stop_after = stop_after
        self.events = []
        self.fitted = None

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        if context.task_name == "fit":
            self.fitted = fitted_estimator
            assert X is not None
        return self.events.count("end iteration") >= self.stop_after


@pytest.fixture
def callbacks():
    return pytest.importorskip("sklearn.callback")


@pytest.mark.parametrize("estimator", [PrecGDFactorization, PrecGDMatrixSensing])
def test_callbacks_are_told(callbacks, sensing, estimator):
    X, y = sensing
    if estimator is PrecGDFactorization:
        X, _ = make_matrix_completion(
            30, 20, rank=2, observed_fraction=0.7, random_state=0
        )
    recorder = Recorder()
    model = estimator(3, tol=1e-2, random_state=0).set_callbacks(recorder).fit(X, y)
    events = recorder.events
    assert events[:2] == ["setup", "begin fit"]
    assert events[-2:] == ["end fit", "teardown"]
    assert events.count("end iteration") == len(model.history_)
    assert events.count("begin iteration") == len(model.history_)
    assert np.array_equal(recorder.fitted.components_, model.components_)
    # Nothing is left behind, and nothing depends on being watched.
    assert not {name for name in vars(model) if name.startswith("_callback")}
    plain = estimator(3, tol=1e-2, random_state=0).fit(X, y)
    assert np.array_equal(plain.components_, model.components_)
    assert set(vars(model)) - set(vars(plain)) == {"_skl_callbacks"}


def test_a_callback_can_stop_the_fit(callbacks, sensing):
    recorder = Recorder(stop_after=3)
    model = PrecGDMatrixSensing(5).set_callbacks(recorder).fit(*sensing)
    assert len(model.history_) == 3
    assert model.stop_reason_.startswith("Stopped by the callback.")
    assert not model.converged_


def test_callbacks_are_torn_down_after_a_failure(callbacks, sensing):
    A, y = sensing
    recorder = Recorder()
    model = PrecGDMatrixSensing(2).set_callbacks(recorder).fit(A, y)
    before = model.components_
    with pytest.raises(ValueError, match="n_components=11"):
        model.set_params(n_components=11).fit(A, y)
    assert recorder.events[-1] == "teardown"
    assert recorder.events.count("setup") == recorder.events.count("teardown") == 2
    assert model.components_ is before
    assert not hasattr(model, "_callback_fit_ctx")


def test_the_bars_of_scikit_learn_go_down_to_the_fits(callbacks, table, capsys):
    pytest.importorskip("rich")
    search = GridSearchCV(MODEL, {"n_components": [1, 2]}, cv=2)
    search.set_callbacks(callbacks.ProgressBar()).fit(table)
    printed = capsys.readouterr().out
    assert printed.count("PrecGDFactorization") == 5
