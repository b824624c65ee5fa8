"""Whether heavy tails predict entries that a whole fit has not seen.

Entries that are left out one at a time do not tell of all there is to lose: their fit
knows the columns that all entries have made. In tables whose columns are skewed, the
large entries of a row are large together. Heavy tails take them for noise, columns
vanish that only these entries show, and the more of them vanish, the heavier the tails.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product, unchecked_csr
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.rows import ColumnPosterior, RowPosterior
from skprecgd.variational.tuning import CHOICE, ChoiceTuning

# What is learned of some entries under a kind of noise.
Learn = Callable[[GivenInMemory, str], tuple[ColumnPosterior, RowPosterior]]


def tails_mislead(
    given: GivenInMemory, learn: Learn, scale: Array, tuning: ChoiceTuning = CHOICE
) -> bool:
    """Whether a fit with heavy tails predicts clearly worse than one without.

    Parameters
    ----------
    given : GivenInMemory
        All entries, of which some are held out.
    learn : callable
        Takes the other ones and the tail, "normal" or "t".
    scale : ndarray of shape (n_columns,)
        The units in which the entries of each column err.
    tuning : ChoiceTuning
    """
    squares = np.zeros(2)
    for seed in range(tuning.splits):
        uniform = check_random_state(seed).random_sample(given.matrix.nnz)
        held_out = uniform < tuning.held_out
        kept = without(given, held_out)
        for k, tail in enumerate(("normal", "t")):
            columns, rows = learn(kept, tail)
            errors = _errors(given, held_out, columns, rows)
            squares[k] += np.sum((errors / scale[given.matrix.indices[held_out]]) ** 2)
    return bool(squares[1] > tuning.worse * squares[0])


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
