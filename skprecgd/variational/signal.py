"""How many components complete data carry: their singular values, as far as needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.numerics import norm
from skprecgd._linalg.svd_tuning import SVD
from skprecgd._linalg.truncated_svd import TruncatedSvd, truncated_svd
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.variational.complete import CompletePosterior, complete_posterior


@dataclass(frozen=True)
class SignalTuning:
    """How the singular values are found.

    Attributes
    ----------
    gram_side : int
        Largest smaller side of a matrix all of whose singular values are computed, as
        roots of the eigenvalues of a Gram matrix (1 s at 1000, 7 s at 2000).
    resolved : float
        The largest singular value of noise, in units of the rounding of roots of
        eigenvalues, from which on these will do.
    first, growth : int
        Leading values that are looked at first where these are not all, and by which
        factor their number grows as long as all of them carry signal.
    vector_tol, max_blocks : float, int
        How accurate the leading triplets are then, and the most products with the
        matrix, as of `truncated_svd`. Signal converges soon. Noise, whose singular
        values lie close together, does not, and need not.
    rounding : float
        Rounding of a sum of n terms, in units of the machine precision and of the root
        of n, relative to the data. Means of 200 000 rows leave 0.1, singular values of
        data without noise 0.3 at most.
    """

    gram_side: int = 2000
    resolved: float = 1e2
    first: int = 16
    growth: int = 2
    vector_tol: float = 1e-3
    max_blocks: int = 25
    rounding: float = 2.0


SIGNAL = SignalTuning()


@dataclass(frozen=True)
class Signal:
    """What complete data carry.

    Attributes
    ----------
    posterior : CompletePosterior
    n_possible : int
        The singular values that are not zero by construction.
    triplets : TruncatedSvd or None
        At least as many as carry signal, if they were found to working precision.
    """

    posterior: CompletePosterior
    n_possible: int
    triplets: TruncatedSvd | None

    def __str__(self) -> str:
        """One sentence."""
        n, noise = self.posterior.n_components, self.posterior.noise_scale
        which = f"{n} of {self.n_possible} components carry signal"
        if n == 0:
            which = f"none of {self.n_possible} components carries signal"
        return f"Noise of about {noise:.2g} was left; {which}."


def find_signal(
    X: Matrix,
    size: float,
    offset: float = 0.0,
    random_state: RandomState = None,
    tuning: SignalTuning = SIGNAL,
) -> Signal:
    """The posterior of a complete matrix, from as many singular values as it takes.

    All of them, if the smaller side is at most `gram_side`, so that the minimum is the
    global one. Otherwise their number grows until one does not carry signal. Where a
    Gram matrix does not show the noise, it grows from the number of values that are
    seen there.

    Parameters
    ----------
    X : Matrix
    size : float
        Its Frobenius norm.
    offset : float, default=0.0
        Norm of what was subtracted from the data, whose rounding errors are left.
    random_state : int, RandomState instance or None, default=None
        Draws the start of an iterative decomposition.
    tuning : SignalTuning
    """
    data = _Data(X, size, offset, tuning)
    if data.is_left_to_lapack:
        return data.from_leading(min(X.shape), random_state)
    count = tuning.first
    if data.is_left_to_gram:
        signal = data.from_gram()
        if data.is_resolved(signal):
            return signal
        count = max(count, signal.posterior.n_components + 1)
    while True:
        signal = data.from_leading(min(count, *X.shape), random_state)
        if signal.posterior.n_components < count or count >= min(X.shape):
            return signal
        count *= tuning.growth


@dataclass(frozen=True)
class _Data:
    """A complete matrix, and how large rounding is in it."""

    X: Matrix
    size: float
    offset: float
    tuning: SignalTuning

    @property
    def is_left_to_lapack(self) -> bool:
        """Whether the whole decomposition takes hardly longer than a part of it."""
        return self.X.in_memory() is not None and min(self.X.shape) <= SVD.direct.size

    @property
    def is_left_to_gram(self) -> bool:
        """Whether all singular values are computed."""
        limits = np.finfo(self.X.dtype)
        # Squares of squares are numbers.
        low, high = float(limits.tiny) ** 0.25, float(limits.max) ** 0.25
        return min(self.X.shape) <= self.tuning.gram_side and low < self.size < high

    def from_gram(self) -> Signal:
        """The signal as far as the eigenvalues of a Gram matrix show it."""
        n_rows, n_columns = self.X.shape
        gram = (self.X if n_columns <= n_rows else self.X.T).gram()
        squares = linalg.eigvalsh(gram, overwrite_a=True, check_finite=False)[::-1]
        s = np.sqrt(np.maximum(squares, 0.0))
        posterior = self._posterior(s, self._rounding_of_roots(float(s[0])))
        return Signal(posterior, min(self._directions), None)

    def is_resolved(self, signal: Signal) -> bool:
        """Whether the noise is large enough for eigenvalues to show it."""
        # Up to there singular values of noise reach.
        edge = signal.posterior.noise_scale * float(np.sum(np.sqrt(self.X.shape)))
        return edge > self.tuning.resolved * self._rounding_of_roots(self.size)

    def _rounding_of_roots(self, size: float) -> float:
        """Rounding of the roots of eigenvalues of a Gram matrix."""
        eps = float(np.finfo(np.float64).eps)
        return float(np.sqrt(eps) * np.hypot(size, self.offset))

    def from_leading(self, count: int, random_state: RandomState) -> Signal:
        """The signal from that many leading singular values."""
        found = truncated_svd(
            self.X,
            count,
            tol=self.tuning.vector_tol,
            max_blocks=self.tuning.max_blocks,
            random_state=random_state,
            size=self.size,
        )
        triplets = found if found.converged and found.error == 0.0 else None
        s = found.s.astype(np.float64)
        rounding = self._rounding(float(s[0]), max(self.X.shape))
        posterior = self._posterior(s, rounding)
        return Signal(posterior, min(self._directions), triplets)

    def _posterior(self, s: Array, rounding: float) -> CompletePosterior:
        size = None if len(s) == min(self.X.shape) else self.size
        return complete_posterior(s, self._directions, size=size, rounding=rounding)

    @cached_property
    def _directions(self) -> tuple[int, int]:
        """In how many directions rows and columns vary.

        A line of zeros is none, and where all rows sum to zero, or all columns, as in
        centred data, there is one less. These are no signs of a low rank. Lines of
        zeros are found by a product with a random vector.
        """
        rng = np.random.default_rng(0)
        ends = [
            np.column_stack([np.ones(n), rng.standard_normal(n)]) for n in self.X.shape
        ]
        of_rows, of_columns = self.X.both_products(*ends)
        return self._varying(of_rows, of_columns), self._varying(of_columns, of_rows)

    def _varying(self, image: Array, other: Array) -> int:
        """In how many directions the lines vary whose products are the image.

        The products are those with a vector of ones, and with a random one; those of
        the other lines are given, too.
        """
        n_lines, n_entries = len(image), len(other)
        zero = np.abs(image[:, 1]) <= self._rounding(self.size, n_entries)
        sums = norm(other[:, 0]) / np.sqrt(n_lines)
        centred = sums <= self._rounding(self.size, n_lines)
        return max(1, n_lines - int(np.sum(zero)) - int(centred))

    def _rounding(self, size: float, n_terms: int) -> float:
        """Rounding of sums in a part of the data of that size."""
        eps = float(np.finfo(self.X.dtype).eps)
        whole = float(np.hypot(size, self.offset))
        return self.tuning.rounding * eps * float(np.sqrt(n_terms)) * whole
