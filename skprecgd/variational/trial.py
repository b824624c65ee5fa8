"""What predicts better entries that a whole fit has not seen.

Entries that are left out one at a time do not tell of all there is to lose: their fit
knows the columns that all entries have made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product, unchecked_csr
from skprecgd.variational.given import GivenEntries, GivenInMemory
from skprecgd.variational.rows import ColumnPosterior, RowPosterior
from skprecgd.variational.tuning import CHOICE, ChoiceTuning

# One way to learn from some of the entries.
Learn = Callable[[GivenInMemory], tuple[ColumnPosterior, RowPosterior]]


def best_of(
    given: GivenEntries,
    ways: Sequence[Learn],
    scale: Array,
    tuning: ChoiceTuning = CHOICE,
) -> int:
    """Which way to learn predicts best: the first, if none is clearly better.

    Parameters
    ----------
    given : GivenEntries
        All entries, of which some are held out. Of many it is not tried.
    ways : sequence of callable
        Take the other ones.
    scale : ndarray of shape (n_columns,)
        The units in which the entries of each column err.
    tuning : ChoiceTuning
    """
    whole = given.few(tuning.checked)
    if whole is None:
        return 0
    squares = np.zeros(len(ways))
    for seed in range(tuning.splits):
        uniform = check_random_state(seed).random_sample(whole.matrix.nnz)
        held_out = uniform < tuning.held_out
        kept = without(whole, held_out)
        for k, learn in enumerate(ways):
            errors = _errors(whole, held_out, *learn(kept))
            squares[k] += np.sum((errors / scale[whole.matrix.indices[held_out]]) ** 2)
    best = int(np.argmin(squares))
    return best if squares[0] > tuning.worse * squares[best] else 0


def without(given: GivenInMemory, held_out: Array) -> GivenInMemory:
    """The entries that are not held out.

    Parameters
    ----------
    given : GivenInMemory
    held_out : ndarray of bool, shape (n_entries,)
    """
    kept, matrix = ~held_out, given.matrix
    counts = np.bincount(given.row_index[kept], minlength=given.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(matrix.indptr.dtype)
    parts = indptr, matrix.indices[kept], matrix.data[kept]
    return GivenInMemory(unchecked_csr(*parts, given.shape), given.weights.at(kept))


def _errors(
    given: GivenInMemory, which: Array, columns: ColumnPosterior, rows: RowPosterior
) -> Array:
    """What is left of some entries, each as often as it counts."""
    at = given.row_index[which], given.matrix.indices[which]
    fitted = sampled_product(rows.mean, columns.basis, *at) + columns.offsets[at[1]]
    errors, each = given.values[which] - fitted, given.weights.of_losses
    return np.asarray(errors if each is None else errors * np.sqrt(each[which]))
