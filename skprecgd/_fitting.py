"""A fit that fails takes nothing away from an estimator that was fitted before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
