"""Around a fit: what is checked before it, and what is undone when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skprecgd.measurements._validation import as_real_array


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


def check_init(init: Any, matrix_shape: tuple[int, int], max_rank: int) -> None:
    """Refuse a given start that does not fit, also where none is needed."""
    if isinstance(init, str):
        return
    if len(init) != 2:
        raise ValueError(
            f"init as arrays must be a pair (left, right), got {len(init)} items."
        )
    left, right = (as_real_array(block, "init", (2,)).shape for block in init)
    n_rows, n_columns = matrix_shape
    rank = left[1]
    fits = (left, right) == ((n_rows, rank), (n_columns, rank))
    if not (fits and 1 <= rank <= max_rank):
        raise ValueError(
            f"init must hold arrays of shape ({n_rows}, r) and ({n_columns}, r) with r "
            f"from 1 to {max_rank}, got {left} and {right}."
        )
