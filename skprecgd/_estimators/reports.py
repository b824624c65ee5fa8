"""What a fit says while it runs: nothing, one live line, or a table.

The fit that a user calls opens a report, and whatever it calls in the same thread finds
it there. Fits of folds run with ``verbose=0`` and have nothing to say.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.utils.parallel import Parallel

from skprecgd._runtime.steps import steps_told_to
from skprecgd._runtime.tables import duration
from skprecgd.optim.result import Record

# A terminal is written to at most so often, in seconds: a fit may take a hundred
# thousand iterations.
_EVERY = 0.1
# Characters for what is going on: in a table, and in a line that counts steps, too.
_WIDTH, _WIDER = 32, 40
# Steps that say nothing new are told of one in so many.
_ONE_IN = 10


class Report:
    """Says nothing: a fit with ``verbose=0``."""

    def iteration(self, record: Record) -> None:
        """An iteration has been made."""

    def doing(self, what: str) -> None:
        """Something begins that writes no history."""

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Something is done in the block that writes no history, but makes steps."""
        with steps_told_to(None):
            yield

    def tried(self, done: int, total: int) -> None:
        """So many paths of a cross-validation are done."""

    def scores(self, results: Mapping[str, Any], best: int) -> None:
        """A cross-validation has chosen among the candidates of a table."""

    def end(self, estimator: Any) -> None:
        """The fit is over, and the estimator fitted."""

    def close(self) -> None:
        """Nothing follows, because the fit is over or has failed."""


SILENT = Report()


class Spoken(Report):
    """Has a heading, a clock, and a last sentence.

    Parameters
    ----------
    name : str
        What is fitted.
    """

    heading: str

    def __init__(self, name: str) -> None:
        self._name, self._started = name, perf_counter()
        self._has_heading = False

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        self.doing(what)
        numbers = count(1)
        with steps_told_to(lambda rank: self.step(what, next(numbers), rank)):
            yield

    @abstractmethod
    def step(self, what: str, number: int, rank: int) -> None:
        """A step of what is done has been made."""

    def end(self, estimator: Any) -> None:
        self.close()
        n, reason = estimator.n_components_, estimator.stop_reason_
        components = f"{n} component{'' if n == 1 else 's'}"
        _print(f"{self._name}: {components} in {self._elapsed()}. {reason}")

    def _head(self) -> None:
        """Write the heading, once."""
        if not self._has_heading:
            self._has_heading = True
            _print(self.heading)

    def _elapsed(self) -> str:
        return duration(perf_counter() - self._started)


class LiveLine(Spoken):
    """One line, and a heading above it.

    A terminal has the line written over. Elsewhere, in a file or a notebook, there is a
    line for each rank and phase, once that is over.
    """

    heading = f"{'rank':>5}  {'what is going on':<{_WIDER}} {'error':>9}  elapsed"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._stretch: tuple[int, str] | None = None
        self._line, self._shown = "", -np.inf
        self._is_open = False

    def iteration(self, record: Record) -> None:
        error = f"{record.relative_residual:.2e}"
        self._say((record.rank, record.phase), f"{record.rank:>5}", record.phase, error)

    def doing(self, what: str) -> None:
        self._say((-1, what), "", what, "")
        self._show()

    def step(self, what: str, number: int, rank: int) -> None:
        self._say((-1, what), str(rank), f"{what}, step {number}", "")

    def tried(self, done: int, total: int) -> None:
        what = f"cross-validation: {done} of {total} paths"
        self._say((-1, "paths"), "", what, "")

    def close(self) -> None:
        if self._line or self._is_open:
            self._settle()

    def _say(self, stretch: tuple[int, str], rank: str, what: str, error: str) -> None:
        """Take the place of the line, or begin another rank or phase."""
        self._head()
        if stretch != self._stretch and self._line and not _rewrites():
            self._settle()
        self._stretch = stretch
        self._line = f"{rank:>5}  {what:<{_WIDER}} {error:>9}  {self._elapsed()}"
        if _rewrites() and perf_counter() - self._shown > _EVERY:
            self._show()

    def _show(self) -> None:
        """Write the line now: over itself where that can be done."""
        self._shown = perf_counter()
        if not _rewrites():
            self._settle()
            return
        _write("\r" + self._line.ljust(len(self.heading) + 4))
        self._is_open = True

    def _settle(self) -> None:
        """Leave the line as it is, and go on below."""
        over = "\r" if self._is_open else ""
        _print(over + self._line.ljust(len(self.heading) + 4 if over else 0))
        self._line, self._is_open = "", False


class IterationTable(Spoken):
    """A table with a row for each iteration, and some for whatever else takes time.

    Steps of which nothing is known but their number have a row where the rank changes,
    and one in ten.
    """

    heading = (
        f"{'iteration':>9} {'rank':>5}  {'what is going on':<{_WIDTH}} {'error':>9} "
        f"{'gradient':>9} {'step':>9} {'damping':>9} {'held out':>9}  elapsed"
    )
    _rank = -1

    def iteration(self, record: Record) -> None:
        numbers = (
            record.relative_residual,
            record.gradient_norm,
            record.step,
            record.damping,
            record.validation_loss,
        )
        cells = " ".join(f"{'' if np.isnan(x) else f'{x:.2e}':>9}" for x in numbers)
        at = f"{record.iteration:>9} {record.rank:>5}"
        self._row(f"{at}  {record.phase:<{_WIDTH}} {cells}")

    def doing(self, what: str) -> None:
        self._row(f"{'':>15}  {what:<{_WIDTH}} {'':>49}")

    def step(self, what: str, number: int, rank: int) -> None:
        if number == 1 or rank != self._rank or number % _ONE_IN == 0:
            self._row(f"{number:>9} {rank:>5}  {what:<{_WIDTH}} {'':>49}")
        self._rank = rank

    def tried(self, done: int, total: int) -> None:
        self.doing(f"cross-validation: {done} of {total} paths")

    def scores(self, results: Mapping[str, Any], best: int) -> None:
        names = list(results["params"][0])
        _print(" ".join(f"{name:>14}" for name in (*names, "score", "deviation")))
        scores = zip(results["mean_test_score"], results["std_test_score"], strict=True)
        rows = zip(results["params"], scores, strict=True)
        for k, (params, (mean, std)) in enumerate(rows):
            shown = [f"{_short(params[name]):>14}" for name in names]
            chosen = "  <- chosen" if k == best else ""
            _print(" ".join([*shown, f"{mean:>14.4g} {std:>14.2g}"]) + chosen)

    def _row(self, text: str) -> None:
        self._head()
        _print(f"{text}  {self._elapsed()}")


_CURRENT: ContextVar[Report] = ContextVar("report", default=SILENT)


@contextmanager
def reported(estimator: Any) -> Iterator[None]:
    """Open the report of the fit in the block, and end it with what was found.

    A fit that is a part of another one, which has a report, has its say there.
    """
    if estimator.verbose and _CURRENT.get() is not SILENT:
        yield
        return
    report = _opened(estimator)
    token = _CURRENT.set(report)
    try:
        yield
        report.end(estimator)
    finally:
        report.close()
        _CURRENT.reset(token)


def _opened(estimator: Any) -> Report:
    """A new report, as `verbose` says."""
    if not estimator.verbose:
        return SILENT
    kind = LiveLine if int(estimator.verbose) == 1 else IterationTable
    return kind(type(estimator).__name__)


def report_of(estimator: Any) -> Report:
    """The report of the fit that is running, if the estimator is to have a say in it.

    Parameters
    ----------
    estimator : object
        Its `verbose` is read.
    """
    return _CURRENT.get() if estimator.verbose else SILENT


class TellingParallel(Parallel):
    """Tells a report how many of the tasks are done.

    `Parallel` calls `print_progress` after every batch, whatever its own `verbose`.

    Parameters
    ----------
    report : Report
    total : int
        Number of tasks.
    **options
        As `joblib.Parallel`.
    """

    def __init__(self, report: Report, total: int, **options: Any) -> None:
        super().__init__(**options)
        self._report, self._total = report, total

    def print_progress(self) -> None:
        super().print_progress()
        self._report.tried(self.n_completed_tasks, self._total)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rewrites() -> bool:
    """Whether a carriage return leads back to the beginning of the line."""
    return bool(getattr(sys.stdout, "isatty", bool)())


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _print(text: str) -> None:
    print(text, flush=True)
