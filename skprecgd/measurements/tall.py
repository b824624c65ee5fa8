"""A complex matrix as a real one that is twice as tall and twice as wide.

With ``L = P + iQ`` and ``R = S + iT``, every real number that is measured of ``L R^H``
is linear in the real matrix ``[P; Q] [S; T]^T``: ``Re tr(A^H L R^H)`` is its inner
product with ``[[Re A, -Im A], [Im A, Re A]]``. So models that know real factors alone
take complex ones, whose ranks they count as complex.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.numerics import adjoint_of, as_operator, square
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements
from skprecgd.measurements.real_numbers import RealNumbers


class TallMeasurements(Measurements, checked=True):
    """Real numbers of a complex matrix, as those of a real one of twice its sides.

    Parameters
    ----------
    numbers : RealNumbers

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import PauliMeasurements
    >>> from skprecgd.measurements.real_numbers import RealValues
    >>> from skprecgd.measurements.tall import TallMeasurements, tall
    >>> A = RealValues(PauliMeasurements(["Y"]))
    >>> x = np.array([[1.0], [1j]])
    >>> A.forward(x, x), TallMeasurements(A).forward(tall(x), tall(x))
    (array([2.]), array([2.]))
    """

    def __init__(self, numbers: RealNumbers) -> None:
        self.numbers, self.dtype = numbers, numbers.dtype
        n_rows, n_columns = numbers.matrix_shape
        self.matrix_shape = 2 * n_rows, 2 * n_columns
        self.has_design = numbers.measurements.has_design

    @property
    def n_measurements(self) -> int:
        return self.numbers.n_measurements

    @property
    def large_products(self) -> bool:
        return self.numbers.large_products

    def forward(self, left: Array, right: Array) -> Array:
        first = as_complex(left)
        second = first if right is left else as_complex(right)
        return self.numbers.forward(first, second)

    def adjoint(self, weights: Array) -> LinearOperator:
        matrix = self.numbers.adjoint(weights)

        def times(block: Array) -> Array:
            flat = block.reshape(len(block), -1)
            return tall(np.asarray(matrix @ as_complex(flat)))

        def transposed_times(block: Array) -> Array:
            flat = block.reshape(len(block), -1)
            return tall(np.asarray(adjoint_of(matrix) @ as_complex(flat)))

        return as_operator(self.matrix_shape, self.dtype, times, transposed_times)

    def rows(self, index: Array) -> TallMeasurements:
        return TallMeasurements(self.numbers.rows(index))

    def stacked(self, part: slice) -> Array:
        n_rows, n_columns = self.numbers.matrix_shape
        matrices = self.numbers.stacked(part).reshape(-1, n_rows, n_columns)
        real, imaginary = matrices.real, matrices.imag
        formed = np.block([[real, -imaginary], [imaginary, real]])
        return formed.reshape(len(formed), -1)

    def design(self, other: Array, block: int) -> Array:
        design = self.numbers.design(as_complex(other), block)
        return np.concatenate([design.real, design.imag], axis=1)

    def _mean_square(self) -> float:
        return square(self._size())

    def _sizes(self) -> Array:
        # Real and imaginary part stand there twice.
        return np.sqrt(2.0) * self.numbers.matrix_sizes()


def as_complex(block: Array) -> Array:
    """``P + iQ`` of a real block ``[P; Q]``, or of each of several."""
    n = block.shape[-2] // 2
    return np.asarray(block[..., :n, :] + 1j * block[..., n:, :])


def tall(block: Array) -> Array:
    """``[P; Q]`` of a complex block ``P + iQ``."""
    return np.concatenate([block.real, block.imag])
