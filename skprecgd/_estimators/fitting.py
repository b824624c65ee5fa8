"""Around a fit: who is told of it, and what is undone when it fails."""

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
    """Tell scikit-learn's callbacks, where it has any, of the fit that the block is.

    Belongs around `undone_on_failure`: what scikit-learn keeps on the estimator
    meanwhile is taken off again by the decorator of `fit`.
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
    """What is called after every iteration: to print it, and for the callbacks set."""
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
