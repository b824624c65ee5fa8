"""What a model would leave of entries that it had not seen, approximately."""

from __future__ import annotations

import numpy as np

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.typing import Array
from skprecgd.kernels import packed_of, sampled_product
from skprecgd.variational.model import Model

# Numbers of products of second moments that are held at a time (32 MB).
_NUMBERS = 1 << 22
# An entry never explains itself altogether: double precision of what is left.
_LEAST = 0.05


def left_out_residuals(model: Model, most: int) -> Array:
    """Residuals of entries, each as if it alone had been left out.

    A row explains a share of each of its entries with the entry itself, which is its
    posterior variance in units of the noise (the leverage of a ridge regression), and
    so does a column.

    Parameters
    ----------
    model : Model
    most : int
        Entries at most: the first lines of the longer side that hold that many.

    Returns
    -------
    ndarray
        In the units of the entries.
    """
    pattern = model.pattern
    until = max(1, int(np.searchsorted(pattern.indptr, most, side="right")) - 1)
    stop = pattern.indptr[until]
    rows, columns = model.entries.lines[:stop], pattern.indices[:stop]
    values = pattern.values[:stop]
    if not model.coordinates.size:
        return values
    long, short = model.long_lines(until), model.short
    precision = model.precisions[:stop]
    if pattern.weights is not None:
        precision = precision * pattern.weights[:stop]
    twice = packed_of(2.0 - np.eye(model.coordinates.size))
    by_row = twice * (long.second - _squares(long.mean)), short.second
    by_column = twice * long.second, short.second - _squares(short.mean)
    left = values - sampled_product(long.mean, short.mean, rows, columns)
    for part in slabs((stop, long.second.shape[1]), _NUMBERS):
        for first, second in (by_row, by_column):
            share = sampled_product(first, second, rows[part], columns[part])
            left[part] /= np.maximum(1.0 - precision[part] * share, _LEAST)
    return left


def _squares(mean: Array) -> Array:
    """Packed products of each line with itself."""
    return packed_of(mean[:, :, None] * mean[:, None, :])
