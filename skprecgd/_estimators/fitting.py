"""Around a fit: callbacks are informed, and the changes of a failed fit are undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skprecgd._runtime.compat import callback_context, new_callback_context
from skprecgd.optim.loop import Callback
from skprecgd.optim.result import Record, format_record


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
    context = callback_context(estimator)
    if context is None and not estimator.verbose:
        return None

    def report(record: Record) -> bool:
        if estimator.verbose:
            print(format_record(record))
        if context is None:
            return False
        task = context.subcontext(task_name="iteration")
        task.call_on_fit_task_begin(estimator=estimator)
        return bool(task.call_on_fit_task_end(estimator=estimator))

    return report
