"""Coded diffraction patterns: phase retrieval by masks and Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import fft
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.numerics import as_operator, column_squares, complex_dtype, square
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements
from skprecgd.measurements.validation import as_number_array


class DiffractionMeasurements(Measurements, checked=True):
    """Intensities of the Fourier transform of an image behind masks.

    Pattern l of an image x is ``abs(fftn(masks[l] * x)) ** 2``. The matrix is
    ``M = x x^H``, with the image flattened in C order, so that intensities are linear
    in it (lifting); ``symmetric=True`` fits them. A partly coherent field is a matrix
    of a higher rank, whose columns are its modes.

    Parameters
    ----------
    masks : array-like of shape (n_masks, ...)
        Real or complex; images of one, two or more dimensions follow the first.

    Attributes
    ----------
    masks : ndarray of complex
    image_shape : tuple of int

    Notes
    -----
    A measurement is one pixel of one pattern; patterns follow one another, each
    flattened in C order. `left_` of a fit of rank one holds the image, up to a phase.
    A product takes one transform for each mask, and each column of the factors. The
    whole matrix, whose size is the square of the image's, is never formed.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.measurements import DiffractionMeasurements
    >>> rng = np.random.default_rng(0)
    >>> image = rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5))
    >>> masks = rng.choice([1, -1, 1j, -1j], size=(8, 6, 5))
    >>> patterns = np.abs(np.fft.fft2(masks * image)) ** 2
    >>> A = DiffractionMeasurements(masks)
    >>> model = PrecGDMatrixSensing(1, symmetric=True).fit(A, patterns.ravel())
    >>> found = model.left_.reshape(A.image_shape)
    >>> phase = np.vdot(found, image) / np.linalg.norm(image) ** 2
    >>> bool(np.allclose(found * phase, image, atol=1e-6))
    True
    """

    hermitian = True
    large_products = False

    def __init__(self, masks: Any) -> None:
        masks = as_number_array(masks, "masks", tuple(range(2, 33)))
        self.masks: Array = masks.astype(complex_dtype(masks.dtype), copy=False)
        if self.masks.size == 0:
            raise ValueError(f"masks hold no pixel: their shape is {masks.shape}.")
        self.image_shape = tuple(int(size) for size in masks.shape[1:])
        n = int(np.prod(self.image_shape))
        self.matrix_shape, self.dtype = (n, n), self.masks.dtype
        self._selected: Array | None = None
        self._seen: tuple[Array, Array] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_seen": None}

    @property
    def n_measurements(self) -> int:
        if self._selected is None:
            return len(self.masks) * self.matrix_shape[0]
        return len(self._selected)

    def forward(self, left: Array, right: Array) -> Array:
        fields = self._fields(left)
        others = fields if right is left else self._fields(right)
        return self._chosen(np.sum(fields * others.conj(), axis=-1))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        a, d_a = self._fields_at(left), self._fields(d_left)
        b = a if right is left else self._fields(right)
        d_b = d_a if d_right is d_left else self._fields(d_right)
        linear = np.sum(d_a * b.conj() + a * d_b.conj(), axis=-1)
        return self._chosen(linear), self._chosen(np.sum(d_a * d_b.conj(), axis=-1))

    def forward_tangent(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> Array:
        # Four factors of r columns take no more transforms than two of 2 r.
        a, d_a = self._fields_at(left), self._fields(d_left)
        b = a if right is left else self._fields(right)
        d_b = d_a if d_right is d_left else self._fields(d_right)
        return self._chosen(np.sum(d_a * b.conj() + a * d_b.conj(), axis=-1))

    def adjoint(self, weights: Array) -> LinearOperator:
        w = self._scattered(weights)[..., None]

        def times(block: Array) -> Array:
            return self._back(w * self._fields(block.reshape(len(block), -1)))

        def transposed_times(block: Array) -> Array:
            return self._back(w.conj() * self._fields(block.reshape(len(block), -1)))

        return as_operator(self.matrix_shape, self.dtype, times, transposed_times)

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        w = self._scattered(weights)[..., None]
        fields = self._fields_at(right)
        to_left = self._back(w * fields)
        if left is right and not np.any(w.imag):
            return to_left, to_left
        return to_left, self._back(w.conj() * self._fields(left))

    def rows(self, index: Array) -> DiffractionMeasurements:
        chosen = DiffractionMeasurements(self.masks)
        old = self._selected
        chosen._selected = np.asarray(index) if old is None else old[index]
        return chosen

    def _fields(self, block: Array) -> Array:
        """Transforms behind all masks, shape (n_masks, *image_shape, r)."""
        images = block.astype(self.dtype, copy=False).reshape(*self.image_shape, -1)
        return fft.fftn(self.masks[..., None] * images, axes=self._axes)

    def _fields_at(self, point: Array) -> Array:
        """The same of a factor, which several products in turn ask for."""
        seen = self._seen
        if seen is None or seen[0] is not point:
            seen = self._seen = point, self._fields(point)
        return seen[1]

    def _back(self, fields: Array) -> Array:
        """The adjoint of `_fields`: images, flattened, shape (n, r)."""
        images = fft.ifftn(fields, axes=self._axes, norm="forward")
        summed = np.einsum("l...,l...r->...r", self.masks.conj(), images)
        return np.asarray(summed.reshape(self.matrix_shape[0], -1))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, self.masks.ndim))

    def _chosen(self, patterns: Array) -> Array:
        flat = patterns.reshape(-1)
        return flat if self._selected is None else flat[self._selected]

    def _scattered(self, weights: Array) -> Array:
        """Weights of all pixels of all patterns."""
        weights = weights.astype(self.dtype, copy=False)
        if self._selected is not None:
            flat = np.zeros(self.masks.size, self.dtype)
            # A pixel may be selected twice (bootstrap), so add.
            np.add.at(flat, self._selected, weights)
            weights = flat
        return weights.reshape(self.masks.shape)

    def _mean_square(self) -> float:
        return square(self._size())

    def _sizes(self) -> Array:
        # A vector is a row of the Fourier matrix times a mask: its square is the
        # mask's.
        squares = column_squares(self.masks.reshape(len(self.masks), -1).T)
        if self._selected is None:
            return np.repeat(squares, self.matrix_shape[0])
        return squares[self._selected // self.matrix_shape[0]]
