"""What a model would leave of entries that it had not seen, approximately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.typing import Array
from skprecgd.kernels import packed_of, packed_squares, sampled_product
from skprecgd.variational.model import Model

# Numbers of products of second moments that are held at a time (32 MB).
_NUMBERS = 1 << 22
# An entry never explains itself altogether: double precision of what is left.
_LEAST = 0.05


@dataclass(frozen=True)
class LeftOut:
    """Residuals of entries, each as if it alone had been left out.

    Attributes
    ----------
    residual : ndarray of shape (n,)
        In the units of the entries.
    studentised : ndarray of shape (n,)
        Squares that have the variance of the noise: residuals times those of the fit.
        A share that is only nearly known hardly changes them.
    rows, columns : ndarray of int, shape (n,)
        The lines of the longer and of the shorter side.
    """

    residual: Array
    studentised: Array
    rows: Array
    columns: Array

    @classmethod
    def of(cls, model: Model, most: int) -> LeftOut:
        """Those of a model.

        A row explains a share of each of its entries with the entry itself, which is
        its posterior variance in units of the noise (the leverage of a ridge
        regression), and so does a column.

        Parameters
        ----------
        model : Model
        most : int
            Entries, about, beyond which only some of the lines of the longer side are
            looked at, evenly spread.
        """
        pattern, every = model.pattern, -(-len(model.pattern.values) // most)
        which = model.entries.lines % every == 0
        rows, columns = model.entries.lines[which] // every, pattern.indices[which]
        at = every * rows, columns
        values = pattern.values[which]
        if not model.coordinates.size:
            return cls(values, values**2, *at)
        precision = model.precisions[which]
        if pattern.weights is not None:
            precision = precision * pattern.weights[which]
        long, short = model.long_lines(slice(None, None, every)), model.short
        twice = packed_of(2.0 - np.eye(model.coordinates.size))
        by_row = twice * (long.second - packed_squares(long.mean)), short.second
        by_column = twice * long.second, short.second - packed_squares(short.mean)
        left = values - sampled_product(long.mean, short.mean, rows, columns)
        studentised = left**2
        for part in slabs((len(left), long.second.shape[1]), _NUMBERS):
            own = np.ones(len(rows[part]))
            for first, second in (by_row, by_column):
                share = sampled_product(first, second, rows[part], columns[part])
                own *= np.maximum(1.0 - precision[part] * share, _LEAST)
            own = np.maximum(own, _LEAST)
            left[part] /= own
            studentised[part] /= own
        return cls(left, studentised, *at)
