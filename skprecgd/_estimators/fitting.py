"""Around a fit: callbacks are informed, and the changes of a failed fit are undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from skprecgd._estimators.reports import SILENT, report_of
from skprecgd._runtime.compat import callback_context, new_callback_context
from skprecgd.optim.loop import Callback
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.result import Record, Status

T = TypeVar("T")


@contextmanager
def undone_on_failure(estimator: Any) -> Iterator[None]:
    """Give an estimator back the attributes it had, if the block raises.

    Only an interrupted fit keeps what it stored: the last accepted iterate.
    """
    attributes = vars(estimator)
    before = dict(attributes)
    try:
        yield
    except BaseException:
        if attributes.get("history_") is before.get("history_"):
            attributes.clear()
            attributes.update(before)
        raise


def in_spite_of_interrupt(store: Callable[[], T]) -> tuple[T, bool]:
    """What `store` returns, and whether the user interrupted it.

    It turns the result of a search into attributes, which takes little time, and
    without them all is lost. So the first interrupt starts it again, and the second is
    obeyed.
    """
    try:
        return store(), False
    except KeyboardInterrupt:
        return store(), True


def pass_on_interrupt(result: PathResult) -> None:
    """Raise what interrupted a fit, once what it found is stored.

    `warm_start` can go on from there.
    """
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt


@contextmanager
def callbacks_told(estimator: Any, X: Any, y: Any = None) -> Iterator[None]:
    """Inform scikit-learn's callbacks, where it has any, of the fit in the block.

    This must be the outer context manager, around `undone_on_failure`: scikit-learn
    stores its context on the estimator, and its decorator of `fit` removes it there.
    """
    context = new_callback_context(estimator)
    if context is None:
        yield
        return
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield
    context.call_on_fit_task_end(
        # The estimator is fitted: nothing has to be added to a copy of it.
        estimator=estimator,
        X=X,
        y=y,
        reconstruction_attributes=dict,
    )


def iteration_callback(estimator: Any) -> Callback | None:
    """The function to call after every iteration: it prints, and informs callbacks.

    None if there is nothing to print and no callback.
    """
    context, report = callback_context(estimator), report_of(estimator)
    if context is None and report is SILENT:
        return None

    def tell(record: Record) -> bool:
        report.iteration(record)
        if context is None:
            return False
        task = context.subcontext(task_name="iteration")
        task.call_on_fit_task_begin(estimator=estimator)
        return bool(task.call_on_fit_task_end(estimator=estimator))

    return tell
