"""What fits say while they run, and how what they return shows itself."""

from __future__ import annotations

import io
import pickle
import re
import sys
from contextlib import redirect_stdout
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDImputer,
    PrecGDMatrixSensing,
)
from skprecgd._runtime.steps import steps_told_to, tell_step
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import as_measurements
from skprecgd.objective import make_objective
from skprecgd.optim import History, Record, StepRule, rank_path

HEADING = ["rank", "what", "is", "going", "on", "error", "elapsed"]


@pytest.fixture(scope="module")
def exact():
    X, _ = make_matrix_completion(40, 30, rank=2, observed_fraction=0.6, random_state=0)
    return X


@pytest.fixture(scope="module")
def noisy():
    X, _ = make_matrix_completion(
        40, 30, rank=2, observed_fraction=0.6, noise=0.3, random_state=0
    )
    return X


def said(estimator, X, stream=None):
    """The lines that a fit writes, and the fitted estimator."""
    stream = io.StringIO() if stream is None else stream
    with redirect_stdout(stream):
        estimator.fit(X)
    return stream.getvalue().splitlines(), estimator


class Terminal(io.StringIO):
    def isatty(self):
        return True


# -- while a fit runs ---------------------------------------------------------------


def test_a_fit_says_nothing_by_default(exact):
    assert said(PrecGDFactorization(4), exact)[0] == []


def test_a_line_for_each_rank_and_phase_under_a_heading(exact):
    lines, model = said(PrecGDFactorization(4, verbose=1), exact)
    assert lines[0].split() == HEADING
    stretches = list(model.history_.stretches())
    assert len(lines) == len(stretches) + 2 < len(model.history_)
    for line, stretch in zip(lines[1:], stretches, strict=False):
        last = stretch.records[-1]
        rank, phase, error, seconds = re.split(r" {2,}", line.strip())
        assert (int(rank), phase) == (last.rank, last.phase)
        assert error == f"{last.relative_residual:.2e}"
        assert re.fullmatch(r"\d+\.\d\d s", seconds)
    assert lines[-1].startswith("PrecGDFactorization: 2 components in ")
    assert lines[-1].endswith(model.stop_reason_)


def test_on_a_terminal_the_line_is_written_over(exact):
    stream = Terminal()
    said(PrecGDFactorization(4, verbose=1), exact, stream)
    heading, live, end, rest = stream.getvalue().split("\n")
    assert heading.split() == HEADING
    assert live.startswith("\r")
    assert end.startswith("PrecGDFactorization: ")
    assert rest == ""
    # What is longer does not shine through.
    assert len({len(line) for line in live.split("\r")[1:]}) == 1


def test_a_table_with_a_row_for_each_iteration_names_its_phases(exact):
    lines, model = said(PrecGDFactorization(4, verbose=2), exact)
    assert lines[0].split()[:2] == ["iteration", "rank"]
    rows = lines[1:-1]
    assert [int(row.split()[0]) for row in rows] == [*range(len(model.history_))]
    for row, record in zip(rows, model.history_, strict=True):
        assert record.phase in row


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize(
    ("parameters", "phase"),
    [
        ({}, "learning noise and prior"),
        ({"inference": "gibbs"}, "drawing from the posterior"),
        ({"outlier_fraction": 0.1}, "telling gross errors from noise"),
        ({"alpha": 0}, "held out (precgd-cg)"),
        ({"alpha": 0}, "refit ("),
    ],
)
def test_what_takes_time_has_a_name(noisy, parameters, phase, verbose):
    model = PrecGDFactorization(3, random_state=0, verbose=verbose, **parameters)
    lines, _ = said(model, noisy)
    assert any(phase in line for line in lines[1:-1])


def test_steps_that_write_no_history_are_counted(noisy):
    lines, model = said(PrecGDFactorization(3, verbose=2), noisy)
    rows = [row.split() for row in lines if "learning noise" in row]
    # The first says what begins; the others are steps, with their columns.
    steps = [(int(row[0]), int(row[1])) for row in rows[1:]]
    # One in ten has a row, and those where the number of columns is another.
    assert steps == sorted(set(steps))
    every = {number for number, _ in steps if number % 10 == 0}
    assert every == {*range(10, steps[-1][0] + 1, 10)}
    for (_, before), (number, rank) in pairwise(steps):
        assert rank != before or number % 10 == 0
    assert steps[-1][1] == model.n_components_
    lines, _ = said(PrecGDFactorization(3, verbose=1), noisy)
    last = re.search(r"learning noise and prior, step (\d+) ", lines[-2])
    assert 0 <= int(last[1]) - steps[-1][0] < 10


def test_fits_of_folds_have_no_steps_to_tell(noisy):
    cv = PrecGDFactorizationCV([2], alpha="auto", cv=2, random_state=0, verbose=1)
    lines, _ = said(cv, noisy)
    before = [k for k, line in enumerate(lines) if "2 of 2 paths" in line]
    assert not any("step" in line for line in lines[: before[0]])


def test_a_listener_hears_the_steps_of_its_block_alone():
    heard = []
    tell_step(1)
    with steps_told_to(heard.append):
        tell_step(2)
        with steps_told_to(None):
            tell_step(3)
        tell_step(4)
    tell_step(5)
    assert heard == [2, 4]


def test_labels_say_what_chooses_their_prior(noisy):
    model = PrecGDFactorization(2, loss="logistic", verbose=1)
    labels = np.where(np.isnan(noisy), np.nan, noisy > 0)
    assert any("choosing a prior" in line for line in said(model, labels)[0])


def test_complete_data_have_a_line_too(noisy):
    lines, _ = said(PrecGDFactorization(2, verbose=1), np.nan_to_num(noisy))
    assert "decomposing complete data" in lines[1]
    assert "Relative residual" in lines[-1]
    assert len(lines) == 3


def test_a_cross_validation_counts_its_paths_and_shows_its_refit(noisy):
    model = PrecGDFactorizationCV([1, 2], alpha=0, cv=2, random_state=0, verbose=1)
    lines, model = said(model, noisy)
    assert "cross-validation: 2 of 2 paths" in lines[1]
    assert any("fit (precgd-cg)" in line for line in lines[2:])
    assert sum(line.split() == HEADING for line in lines) == 1
    assert lines[-1].startswith("PrecGDFactorizationCV: 2 components in ")


def test_a_cross_validation_shows_its_candidates_in_a_table(noisy):
    model = PrecGDFactorizationCV([1, 2], alpha=0, cv=2, random_state=0, verbose=2)
    lines, model = said(model, noisy)
    chosen = [line for line in lines if line.endswith("<- chosen")]
    assert len(chosen) == 1
    assert chosen[0].split()[1] == str(model.best_params_["n_components"])
    assert f"{model.best_score_:.4g}" in chosen[0].split()


def test_an_imputer_shows_the_fit_of_its_factorization(noisy):
    lines, _ = said(PrecGDImputer(3, verbose=1), noisy)
    assert lines[0].split() == HEADING
    assert lines[-1].startswith("PrecGDFactorization: ")


class FailingStep(StepRule):
    """Fails at the second step."""

    def __init__(self):
        self.steps = 0

    def __call__(self, ray, slope):
        self.steps += 1
        if self.steps == 2:
            raise ArithmeticError
        return 1.0


def test_a_fit_that_fails_leaves_no_line_open(exact):
    stream = Terminal()
    model = PrecGDFactorization(2, step_size=FailingStep(), verbose=1)
    with pytest.raises(ArithmeticError):
        said(model, exact, stream)
    assert stream.getvalue().endswith("\n")
    assert "components in" not in stream.getvalue()
    # The next fit, without a word to say, finds no report.
    assert said(PrecGDFactorization(2), exact)[0] == []


def test_talking_changes_nothing(noisy):
    plain = PrecGDFactorization(3).fit(noisy)
    for verbose in (1, 2):
        _, model = said(PrecGDFactorization(3, verbose=verbose), noisy)
        assert np.array_equal(model.components_, plain.components_)
        assert set(vars(model)) == set(vars(plain))


# -- what carries signal ------------------------------------------------------------


def test_the_number_of_columns_with_signal_is_an_attribute(noisy):
    model = PrecGDFactorization(6).fit(noisy)
    assert model.n_signal_ == 2
    assert f"{model.n_signal_} of 6 columns carry signal" in model.stop_reason_
    model.set_params(alpha=0).fit(noisy)
    assert not hasattr(model, "n_signal_")


def test_columns_with_signal_of_measurements(global_random_seed):
    A, y, _ = make_matrix_sensing(
        8, rank=1, n_measurements=150, noise=0.3, random_state=global_random_seed
    )
    model = PrecGDMatrixSensing(3).fit(A, y)
    assert f"{model.n_signal_} of 3 columns carry signal" in model.stop_reason_


# -- what a fit returns shows itself ------------------------------------------------


@pytest.fixture(scope="module")
def path():
    A, y, _ = make_matrix_sensing(10, rank=2, n_measurements=90, random_state=0)
    return rank_path(make_objective(as_measurements(A, (10, 10)), y), 4)


@pytest.fixture(scope="module")
def bound():
    A, y, _ = make_matrix_sensing(10, rank=2, n_measurements=90, random_state=0)
    return PrecGDMatrixSensing(4).fit(A, y).certificate_


class Cells(HTMLParser):
    """The text of the cells of a table; every tag that is opened is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


def test_results_are_one_line_without_addresses(path, bound):
    for shown in (repr(path), repr(path.history), repr(bound), repr(History())):
        assert "0x" not in shown
        assert "\n" not in shown
        assert len(shown) < 130
    assert "10 x 10 matrix of rank 2, converged" in repr(path)
    assert f"{path.relative_residual:.2e}" in repr(path)
    assert f"{bound.relative_gap:.2g}" in repr(bound)
    assert "(proved)" in repr(bound.with_trace_bound(1.0))
    assert "empty" in repr(History())


def test_a_history_ends_with_what_is_kept(global_random_seed):
    """The path has gone further than the posterior, and that is what is kept."""
    A, y, _ = make_matrix_sensing(
        12, 10, rank=1, n_measurements=140, noise=0.4, random_state=global_random_seed
    )
    model = PrecGDMatrixSensing(5, matrix_shape=(12, 10), random_state=0).fit(A, y)
    kept = model.history_.kept
    assert kept.rank == model.n_components_
    residual = np.linalg.norm(model.predict(A) - y) / np.linalg.norm(y)
    assert kept.relative_residual == pytest.approx(residual, rel=1e-6)
    last = str(model.history_).splitlines()[-1]
    assert f"rank {kept.rank}" in last
    assert f"{kept.relative_residual:.2e}" in last
    assert last == f"({repr(model.history_)[10:-1]})"
    assert pickle.loads(pickle.dumps(model.history_)).kept == kept


def test_a_long_history_prints_its_ends():
    records = [Record(k, 1, 0.5, 1.0, 0.7, 0.0, 1.0, 0.1, k) for k in range(200)]
    lines = str(History(records)).splitlines()
    assert [line.split()[0] for line in lines] == [
        *("iteration", "0", "1", "2", "3", "4", "..."),
        *("195", "196", "197", "198", "199", "(200"),
    ]
    assert "190 more" in lines[6]
    assert len(str(History(records[:60])).splitlines()) == 62


def test_a_notebook_shows_a_row_for_each_rank_and_phase(path):
    cells = Cells(path.history._repr_html_()).cells
    for stretch in path.history.stretches():
        last = stretch.records[-1]
        assert last.phase in cells
        assert f"{last.relative_residual:.2e}" in cells
    assert "nan" not in cells
    assert sum(len(s) for s in path.history.stretches()) == len(path.history)


def test_a_notebook_shows_what_the_numbers_of_a_certificate_are(bound):
    cells = Cells(bound._repr_html_()).cells
    assert f"{bound.gap:.3g}" in cells
    assert f"{bound.trace_bound:.3g}" in cells


def test_frames_have_every_number(path, bound):
    pytest.importorskip("pandas")
    frame = path.history.to_frame()
    assert list(frame["phase"]) == [record.phase for record in path.history]
    assert len(frame) == len(path.history)
    row = bound.to_frame()
    assert len(row) == 1
    assert row["gap"][0] == bound.gap
    assert row["trace_source"][0] == "iterate"


def test_frames_without_pandas(path, bound, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for owner in (path.history, bound):
        with pytest.raises(ImportError, match=r'needs pandas; .*"skprecgd\[frames\]"'):
            owner.to_frame()


def test_phases_are_kept_by_pickle(path):
    again = pickle.loads(pickle.dumps(path.history))
    assert [record.phase for record in again] == list(path.history["phase"])
    # A table of an earlier version has none.
    state = path.history.__getstate__()
    del state["numbers"]["phase"]
    old = History()
    old.__setstate__(state)
    assert set(old["phase"]) == {""}


def test_held_out_data_and_the_refit_are_phases(noisy):
    model = PrecGDFactorization(4, alpha=0, random_state=0).fit(noisy)
    phase, held_out = model.history_["phase"], model.history_["validation_loss"]
    assert {p.split(" (")[0] for p in phase} == {"fit", "held out", "refit"}
    assert np.array_equal(~np.isnan(held_out), np.char.startswith(phase, "held out"))
