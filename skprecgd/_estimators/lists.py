"""The columns that suit each row best, in chunks of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.threads import allowed_threads, running_fit, share_out
from skprecgd._runtime.typing import Array
from skprecgd.kernels import Leading, leading

# Scores that a thread has in memory at a time (8 MB of float64).
_CHUNK = 1 << 20


class Lists(NamedTuple):
    """Columns for rows, the best first, list after list.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Which of the rows that were asked for, ascending.
    columns : ndarray of int, shape (n,)
    scores : ndarray of shape (n,)
    """

    rows: Array
    columns: Array
    scores: Array


def best_columns(
    scores: Callable[[Array], Array],
    rows: Array,
    n_columns: int,
    n: int,
    excluded: sparse.csr_array | None,
) -> Lists:
    """The n columns of the highest scores for each row.

    Parameters
    ----------
    scores : callable
        Positions of rows -> ndarray of shape (len(rows), n_columns), a new one.
    rows : ndarray of int, shape (n_rows,)
    n_columns : int
    n : int
        A list is shorter only if there are no more columns.
    excluded : csr_array of shape (n_rows, n_columns) or None
        What it stores is in no list; its rows are those asked for.
    """
    n = min(n, n_columns)
    parts = list(slabs((len(rows), n_columns), _CHUNK))
    found: dict[int, Leading] = {}

    def list_part(k: int) -> None:
        part = parts[k]
        each = scores(rows[part])
        if excluded is not None:
            out = excluded[part]
            lines = np.repeat(np.arange(out.shape[0]), np.diff(out.indptr))
            each[lines, out.indices] = -np.inf
        found[k] = leading(each, n)

    if len(parts) == 1:
        # Whoever serves single rows on many threads waits for nobody.
        list_part(0)
    elif parts:
        with running_fit(one_blas_thread=True):
            pieces = ((k,) for k in range(len(parts)))
            share_out(list_part, pieces, threads=allowed_threads())
    return _joined([found[k] for k in range(len(parts))], parts)


def _joined(found: list[Leading], parts: list[slice]) -> Lists:
    """The lists of all parts, without what is not there."""
    lists = [Lists(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]
    for best, part in zip(found, parts, strict=True):
        there = best.values > -np.inf
        asked = part.start + np.nonzero(there)[0]
        lists.append(Lists(asked, best.positions[there], best.values[there]))
    return Lists(*map(np.concatenate, zip(*lists[bool(parts) :], strict=True)))
