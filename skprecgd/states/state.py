"""A state that was found, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn.utils import check_random_state

from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._runtime.extras import import_extra
from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class WhiteNoise:
    """The part of a state that is a multiple of the identity, as mixed shots leave it.

    Attributes
    ----------
    weight : float
        Its trace, in units of the fit; not negative.
    mode, std : float
        Of the normal density, cut at zero, that is known of the weight.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import WhiteNoise
    >>> white = WhiteNoise(0.0, mode=-0.01, std=0.01)
    >>> bool(white.draws(3, np.random.RandomState(0)).min() >= 0)
    True
    """

    weight: float
    mode: float
    std: float

    def draws(self, count: int, rng: np.random.RandomState) -> Array:
        """Weights from the posterior."""
        least = stats.norm.cdf(-self.mode / self.std)
        share = least + (1.0 - least) * rng.uniform(size=count)
        drawn = self.mode + self.std * stats.norm.ppf(share)
        # Far below zero, quantiles are no numbers.
        return np.nan_to_num(np.maximum(drawn, 0.0), posinf=0.0)


@dataclass(frozen=True)
class State:
    """A state that was fitted, of trace one.

    Attributes
    ----------
    model : PrecGDMatrixSensing
        The fit of what is not white noise. Its `matrix_` has the trace that the data
        gave it.
    white : WhiteNoise
        A multiple of the identity that was found beside it.
    dims : tuple of int
        The dimensions of the parts of the system, the first factor first.

    Examples
    --------
    A qubit, of which `fit_state` has an entangled pair:

    >>> import numpy as np
    >>> from skprecgd.states import Counts, fit_state
    >>> state = fit_state(Counts(["X", "Y", "Z"], [[498, 502], [510, 490], [993, 7]]))
    >>> state.density_matrix.shape, bool(state.density_matrix[0, 0].real > 0.98)
    ((2, 2), True)
    >>> low, high = state.interval(lambda rho: rho[0, 0].real, limits=(0, 1))
    >>> bool(0.95 < low < high <= 1)
    True
    """

    model: PrecGDMatrixSensing
    white: WhiteNoise
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.trace > 0:
            raise ValueError("The fit found no signal: its matrix is zero.")

    @property
    def trace(self) -> float:
        """That of the fitted matrix with the white noise, before it is made one."""
        return float(np.linalg.norm(self.model.left_) ** 2) + self.white.weight

    @property
    def white_share(self) -> float:
        """How much of the state is white noise, between 0 and 1.

        What the trace lacks is in components too small to be found. Where there is
        white noise, they are taken for more of it.
        """
        if not self.white.weight > 0:
            return 0.0
        return float(np.clip(self.white.weight + 1.0 - self.trace, 0.0, 1.0))

    @property
    def rank(self) -> int:
        """How many components the fit found beside white noise."""
        # A fit that found none keeps one that is zero up to rounding.
        sizes = np.linalg.norm(self.model.left_, axis=0) ** 2
        return int(np.sum(sizes > np.finfo(sizes.dtype).eps * self.trace))

    @property
    def density_matrix(self) -> Array:
        """The state, shape (n, n)."""
        return _with_white(self.model.left_[None], np.array([self.white_share]))[0]

    def to_qobj(self, dims: Sequence[int] | None = None) -> Any:
        """The state as an object of QuTiP, which the extra ``physics`` installs.

        Parameters
        ----------
        dims : sequence of int, default=None
            The dimensions of the parts of the system, such as ``[3, 3]`` of two
            qutrits. None: `dims` of the state.

        Returns
        -------
        qutip.Qobj
            An operator of ``dims=[dims, dims]``.

        Raises
        ------
        ImportError
            If QuTiP is not installed.
        ValueError
            If the product of `dims` is not the dimension of the state.
        """
        qutip = import_extra("qutip", "State.to_qobj", "physics")
        rho, parts = self.density_matrix, np.array(self.dims if dims is None else dims)
        if parts.ndim != 1 or np.prod(parts) != len(rho):
            raise ValueError(
                "dims must be the dimensions of the parts of the system, such as "
                f"[2, 2], with the product {len(rho)}, got {dims!r}."
            )
        parts = parts.tolist()
        return qutip.Qobj(rho, dims=[parts, parts])

    def draws(self, n_draws: int = 400, random_state: Any = 0) -> Array:
        """Density matrices from the posterior, each of trace one.

        Parameters
        ----------
        n_draws : int, default=400
        random_state : int, RandomState instance or None, default=0

        Returns
        -------
        ndarray of shape (n_draws, n, n)
        """
        rng = check_random_state(random_state)
        factors, _ = self.model.sample_factors(n_draws, rng)
        weights = self.white.draws(n_draws, rng)
        if self.white.weight > 0:
            shares = np.clip(weights + self.white_share - self.white.weight, 0.0, 1.0)
        else:
            shares = weights / (weights + np.linalg.norm(factors, axis=(1, 2)) ** 2)
        return _with_white(factors, shares)

    def interval(
        self,
        function: Callable[[Array], Any],
        *,
        confidence: float = 0.9,
        limits: tuple[float, float] | None = None,
        n_draws: int = 400,
        random_state: Any = 0,
    ) -> tuple[Array, Array]:
        """Between which values something lies that is computed of the state.

        Parameters
        ----------
        function : callable
            Of a density matrix; its values are real, a number or an array.
        confidence : float, default=0.9
            Above 0 and below 1.
        limits : tuple of float, default=None
            The least and the largest value that is possible, such as ``(0, 1)`` of a
            fidelity; the interval is cut to them.
        n_draws : int, default=400
        random_state : int, RandomState instance or None, default=0

        Returns
        -------
        low, high : ndarray of the shape of the values

        Raises
        ------
        ValueError
            If `confidence` is no number between 0 and 1, values are not real, or no
            noise was learned.

        Notes
        -----
        The quantiles of draws, together with these quantiles reflected at the value of
        the fitted state. Both agree where values follow the state linearly. They do not
        near an extreme value, such as a fidelity of one: there draws lie on one side of
        the value, and the truth may lie on either.
        """
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence must be in (0, 1), got {confidence!r}.")
        own = np.asarray(function(self.density_matrix))
        if own.dtype.kind not in "fiub":
            raise ValueError(
                "The values of the function must be real, such as rho.real or rho.imag "
                f"of a matrix, got dtype {own.dtype}."
            )
        values = [function(rho) for rho in self.draws(n_draws, random_state)]
        tail = 0.5 * (1.0 - confidence)
        low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
        low, high = np.minimum(low, 2 * own - high), np.maximum(high, 2 * own - low)
        if limits is not None:
            low, high = np.clip(low, *limits), np.clip(high, *limits)
        return low, high


def _with_white(factors: Array, shares: Array) -> Array:
    """Density matrices ``(1 - s) X X^H / tr + s I / n``, of trace one."""
    n = factors.shape[1]
    rho = factors @ factors.conj().transpose(0, 2, 1)
    rho = rho * ((1.0 - shares) / np.einsum("kii->k", rho).real)[:, None, None]
    return np.asarray(rho + (shares / n)[:, None, None] * np.eye(n))
