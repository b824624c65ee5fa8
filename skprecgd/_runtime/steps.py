"""Who is told of the steps of an iteration that keeps no history.

An iteration says that it has made a step, and whoever waits for it may have asked to be
told; neither knows of the other. A thread asks for itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["steps_told_to", "tell_step"]

Listener = Callable[[int], None]
"""It is given the number of columns after the step."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def steps_told_to(listener: Listener | None) -> Iterator[None]:
    """Have somebody told of the steps that are made in the block, or nobody."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell_step(rank: int) -> None:
    """A step has been made, with so many columns."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(rank)
