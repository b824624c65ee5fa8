"""Quantum states from counts: what to fit, the state that was found, how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from scipy import optimize, stats
from sklearn.base import clone
from sklearn.utils import check_random_state

from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._linalg.numerics import complex_dtype
from skprecgd._runtime.typing import Array
from skprecgd.measurements import RankOneMeasurements

__all__ = [
    "Counts",
    "State",
    "WhiteNoise",
    "fidelity",
    "fit_state",
    "purity",
    "trace_distance",
]

# White noise is looked for from this many standard deviations on, at weights that grow
# by this factor until the evidence is this much below its highest, in natural units.
_FIRST, _GROWTH, _HOPELESS = 2.0, 2.0, 30.0

# By how much it has to raise the evidence: three standard deviations raise it by 4.5.
_WHITE_GAIN = 3.0

_HALF = float(np.sqrt(0.5))
# Eigenvectors of the Pauli matrices as rows, that of the value +1 first.
_BASES = {
    "X": np.array([[_HALF, _HALF], [_HALF, -_HALF]], complex),
    "Y": np.array([[_HALF, 1j * _HALF], [_HALF, -1j * _HALF]]),
    "Z": np.eye(2, dtype=complex),
}


class Counts:
    """How often each outcome of each setting was seen.

    Outcome k of a setting has probability ``a_k^H M a_k`` in the state M. Its frequency
    is a target, and its variance follows from the number of shots.

    Parameters
    ----------
    settings : sequence of str, or array-like of shape (n_settings, n_outcomes, n)
        Labels of bases, a letter X, Y or Z for each qubit, the leftmost the first
        factor of the Kronecker product; or the vectors ``a_k`` of the outcomes of each
        setting, whose projectors have to add up to the identity.
    counts : array-like of shape (n_settings, n_outcomes), or sequence of mappings
        Of labels, an outcome is a binary number with a digit for each letter, 0 for the
        eigenvalue +1: ``[n00, n01, n10, n11]``, or ``{"00": n00, "11": n11}``, as
        Qiskit writes it.

    Attributes
    ----------
    vectors : ndarray of shape (n_settings, n_outcomes, n)
    counts : ndarray of shape (n_settings, n_outcomes)

    Raises
    ------
    ValueError
        If labels have different lengths or other letters, projectors do not add up to
        the identity, shapes do not match, counts are negative or not finite, or a
        setting has none.

    Examples
    --------
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.states import Counts
    >>> seen = Counts(["XX", "YY"], [[510, 0, 0, 490], {"01": 497, "10": 503}])
    >>> seen.frequencies.round(2)
    array([0.51, 0.  , 0.  , 0.49, 0.  , 0.5 , 0.5 , 0.  ])
    >>> model = PrecGDMatrixSensing(symmetric=True, noise_variance=seen.variances())
    >>> model.fit(seen.measurements, seen.frequencies).matrix_.shape
    (4, 4)
    """

    def __init__(self, settings: Any, counts: Any) -> None:
        self.vectors = _vectors(settings)
        self.counts = _table(counts, self.vectors.shape[1])
        _check_counts(self.counts, self.vectors)

    @property
    def shots(self) -> Array:
        """How often each setting was measured, shape (n_settings,)."""
        return np.asarray(self.counts.sum(axis=1))

    @cached_property
    def measurements(self) -> RankOneMeasurements:
        """The projectors of all outcomes, setting by setting."""
        return RankOneMeasurements(self.vectors.reshape(-1, self.vectors.shape[2]))

    @property
    def frequencies(self) -> Array:
        """The share of the shots of its setting that each outcome has, flat."""
        return np.asarray((self.counts / self.shots[:, None]).ravel())

    def variances(self, probabilities: Any = None) -> Array:
        """Variances of the frequencies, for `noise_variance`.

        Parameters
        ----------
        probabilities : array-like of shape (n_settings * n_outcomes,), default=None
            Of the outcomes. None: the frequencies.

        Returns
        -------
        ndarray of shape (n_settings * n_outcomes,)
            ``p / N`` for N shots, with half a count more for each outcome.

        Notes
        -----
        Counts of a setting are multinomial: variances are ``p (1 - p) / N``, and
        covariances ``-p_j p_k / N``. Among states of one trace these say as much as
        independent variances ``p / N``, so that nothing is lost by leaving the
        covariances out if the state is divided by its trace, as `State` does it.

        From frequencies, outcomes that were seldom seen by chance count too much. That
        makes the state's trace too small by about the number of outcomes over N, and is
        mended by the probabilities of a first fit, as `fit_state` does it.
        """
        shots = self.shots[:, None]
        if probabilities is None:
            p = self.counts / shots
        else:
            p = np.reshape(np.asarray(probabilities, np.float64), self.counts.shape)
        p = (shots * np.maximum(p, 0.0) + 0.5) / (shots + 0.5 * p.shape[1])
        return np.asarray((p / shots).ravel())


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

    def __post_init__(self) -> None:
        if not self.trace > 0:
            raise ValueError("The fit found no signal: its matrix is zero.")

    @property
    def trace(self) -> float:
        """That of the fitted matrix with the white noise, before it is made one."""
        return float(np.linalg.norm(self.model.left_) ** 2) + self.white.weight

    @property
    def white_share(self) -> float:
        """How much of the state is white noise, between 0 and 1."""
        return self.white.weight / self.trace

    @property
    def rank(self) -> int:
        """How many components the fit found beside white noise."""
        return int(self.model.n_components_)

    @property
    def density_matrix(self) -> Array:
        """The state, shape (n, n)."""
        return _with_white(self.model.left_[None], np.array([self.white.weight]))[0]

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
        return _with_white(factors, self.white.draws(n_draws, rng))

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
            If `confidence` is no number between 0 and 1, or no noise was learned.

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
        values = [function(rho) for rho in self.draws(n_draws, random_state)]
        tail = 0.5 * (1.0 - confidence)
        low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
        low, high = np.minimum(low, 2 * own - high), np.maximum(high, 2 * own - low)
        if limits is not None:
            low, high = np.clip(low, *limits), np.clip(high, *limits)
        return low, high


def fit_state(counts: Counts, estimator: PrecGDMatrixSensing | None = None) -> State:
    """Find the state from which counts were drawn.

    The first fit has variances from the counts, all others have them from the state
    that it finds. These search for the share of white noise, beside which few
    components are left of most states: it is where the evidence is highest, or zero
    unless that gains three natural units.

    Parameters
    ----------
    counts : Counts
    estimator : PrecGDMatrixSensing, default=None
        With ``symmetric=True``; a copy is fitted, and `noise_variance` is set. None is
        ``PrecGDMatrixSensing(symmetric=True)``, for which the rank need not be known.

    Returns
    -------
    State

    Raises
    ------
    ValueError
        If the estimator is not symmetric, or no signal is found.

    Examples
    --------
    A Bell state, from 1000 shots of each of the nine bases of two qubits:

    >>> from itertools import product
    >>> import numpy as np
    >>> from skprecgd.states import Counts, fidelity, fit_state
    >>> rng = np.random.default_rng(0)
    >>> bell = np.array([1, 0, 0, 1]) / np.sqrt(2)
    >>> labels = ["".join(letters) for letters in product("XYZ", repeat=2)]
    >>> vectors = Counts(labels, np.ones((9, 4))).vectors
    >>> shots = rng.multinomial(1000, np.abs(vectors.conj() @ bell) ** 2)
    >>> state = fit_state(Counts(labels, shots))
    >>> state.rank, bool(fidelity(state, bell) > 0.99)
    (1, True)
    >>> low, high = state.interval(lambda rho: fidelity(rho, bell), limits=(0, 1))
    >>> bool(0.99 < low < high <= 1)
    True
    """
    if estimator is None:
        estimator = PrecGDMatrixSensing(symmetric=True)
    if not estimator.symmetric:
        raise ValueError("A state is Hermitian: the estimator must be symmetric=True.")
    # Variances from the counts, then from the state that was found.
    first = _Search(counts, estimator, counts.variances()).fit(0.0)
    search = _Search(counts, estimator, counts.variances(_predicted(first, counts)))
    white = search.white()
    if white.weight > 0:
        # Outcomes that white noise alone makes had counted too much.
        variances = counts.variances(search.probabilities(white.weight))
        search = _Search(counts, estimator, variances)
        white = search.around(white.weight)
    return State(search.fit(white.weight), white)


class _Search:
    """Fits beside white noise of several weights, each once.

    Parameters
    ----------
    counts : Counts
    estimator : PrecGDMatrixSensing
    variances : ndarray of shape (n_measurements,)
    """

    def __init__(
        self, counts: Counts, estimator: PrecGDMatrixSensing, variances: Array
    ) -> None:
        self._counts, self._variances = counts, variances
        self._estimator = clone(estimator).set_params(noise_variance=variances)
        self._fits: dict[float, PrecGDMatrixSensing] = {}

    def fit(self, weight: float) -> PrecGDMatrixSensing:
        """The fit beside white noise of a weight."""
        if weight not in self._fits:
            counts = self._counts
            targets = counts.frequencies - weight * self._white
            model = clone(self._estimator).fit(counts.measurements, targets)
            self._fits[weight] = model
        return self._fits[weight]

    def evidence(self, weight: float) -> float:
        """That of the fit; without one, no weight is better than another."""
        return float(getattr(self.fit(weight), "lower_bound_", -np.inf))

    def white(self) -> WhiteNoise:
        """The weight of the highest evidence, and what is known of it."""
        precision = self._precision
        std = 1.0 / np.sqrt(precision)
        weight = self._highest(std)
        if self.evidence(weight) > self.evidence(0.0) + _WHITE_GAIN:
            return self.around(weight)
        step = _FIRST * std
        slope = (self.evidence(step) - self.evidence(0.0)) / step
        # The slope between two points is that in the middle of a parabola.
        mode = slope / precision + 0.5 * step
        return WhiteNoise(0.0, mode if np.isfinite(mode) else 0.0, std)

    def around(self, weight: float) -> WhiteNoise:
        """What a parabola through the evidence says of a weight above zero."""
        precision = self._precision
        step = min(_FIRST / np.sqrt(precision), 0.5 * weight)
        low, middle, high = (self.evidence(weight + k * step) for k in (-1.0, 0.0, 1.0))
        bend = max((2.0 * middle - low - high) / step**2, 0.01 * precision)
        mode = weight + 0.5 * (high - low) / (step * bend)
        mode = float(np.clip(mode, weight - step, weight + step))
        return WhiteNoise(mode, mode, 1.0 / np.sqrt(min(bend, precision)))

    def _highest(self, std: float) -> float:
        """Where the evidence is highest, to half of a standard deviation."""
        weights = [0.0, _FIRST * std]
        while self._may_rise_after(weights) and weights[-1] < 1.0 / _GROWTH:
            weights.append(_GROWTH * weights[-1])
        best = int(np.argmax([self.evidence(weight) for weight in weights]))
        if best == 0:
            return 0.0
        weights.append(1.0)
        found = optimize.minimize_scalar(
            lambda weight: -self.evidence(float(weight)),
            bounds=(weights[best - 1], weights[best + 1]),
            method="bounded",
            options={"xatol": 0.5 * std},
        )
        return max((weights[best], float(found.x)), key=self.evidence)

    def _may_rise_after(self, weights: list[float]) -> bool:
        """Whether the evidence at the last weight is not far below the highest."""
        values = [self.evidence(weight) for weight in weights]
        return values[-1] > max(values) - _HOPELESS

    def probabilities(self, weight: float) -> Array:
        """Those of the outcomes in the state that is fitted beside white noise."""
        return _predicted(self.fit(weight), self._counts) + weight * self._white

    @property
    def _precision(self) -> float:
        """That of the weight if all else were known; the true one is less."""
        return float(np.sum(self._white**2 / self._variances))

    @cached_property
    def _white(self) -> Array:
        """The probabilities of the outcomes in the most mixed state."""
        vectors = self._counts.measurements.a
        return np.asarray(np.linalg.norm(vectors, axis=1) ** 2 / vectors.shape[1])


def _predicted(model: PrecGDMatrixSensing, counts: Counts) -> Array:
    return np.asarray(np.real(model.predict(counts.measurements)))


def _with_white(factors: Array, weights: Array) -> Array:
    """Density matrices ``(X X^H + w I / n) / tr``."""
    n = factors.shape[1]
    rho = factors @ factors.conj().transpose(0, 2, 1)
    rho = rho + weights[:, None, None] / n * np.eye(n)
    return np.asarray(rho / np.einsum("kii->k", rho).real[:, None, None])


def fidelity(rho: Any, sigma: Any) -> float:
    """Fidelity of two states, ``(tr sqrt(sqrt(rho) sigma sqrt(rho)))^2``.

    Parameters
    ----------
    rho, sigma : State, or array-like of shape (n, n) or (n,)
        A vector is a pure state, of which the fidelity is ``psi^H rho psi``. Nothing is
        divided by its trace.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a matrix is not Hermitian, or shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import fidelity
    >>> fidelity(np.eye(2) / 2, [1, 0])
    0.5
    """
    first, second = _root(rho), _root(sigma)
    _check_alike(first, second)
    overlaps = np.linalg.svd(first.conj().T @ second, compute_uv=False)
    return float(overlaps.sum() ** 2)


def trace_distance(rho: Any, sigma: Any) -> float:
    """Half the sum of the sizes of the eigenvalues of a difference.

    Parameters
    ----------
    rho, sigma : State, or array-like of shape (n, n) or (n,)
        A vector is a pure state.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a matrix is not Hermitian, or shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import trace_distance
    >>> trace_distance(np.eye(2) / 2, [1, 0])
    0.5
    """
    first, second = _matrix(rho), _matrix(sigma)
    _check_alike(first, second)
    return float(0.5 * np.sum(np.abs(np.linalg.eigvalsh(first - second))))


def purity(rho: Any) -> float:
    """``tr rho^2``: one for pure states, ``1 / n`` for the most mixed one.

    Parameters
    ----------
    rho : State, or array-like of shape (n, n) or (n,)
        A vector is a pure state.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a matrix is not Hermitian.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import purity
    >>> purity(np.eye(4) / 4)
    0.25
    """
    return float(np.linalg.norm(_matrix(rho)) ** 2)


def _vectors(settings: Any) -> Array:
    """The vectors of the outcomes of all settings."""
    if len(settings) and all(isinstance(label, str) for label in settings):
        return _of_labels(settings)
    vectors = np.asarray(settings)
    if vectors.ndim != 3 or vectors.dtype.kind not in "iufc" or not vectors.size:
        raise ValueError(
            "settings must hold labels such as 'XYZ', or vectors, shape (n_settings, "
            f"n_outcomes, n), got {settings!r:.80}."
        )
    vectors = vectors.astype(complex_dtype(np.result_type(vectors, np.float32)))
    whole = vectors.transpose(0, 2, 1) @ vectors.conj()
    missed = float(np.max(np.abs(whole - np.eye(vectors.shape[2]))))
    if not missed <= np.sqrt(np.finfo(vectors.dtype).eps):
        raise ValueError(
            "The projectors a a^H of each setting must add up to the identity; they "
            f"miss it by up to {missed:.2g}."
        )
    return vectors


def _of_labels(labels: Sequence[str]) -> Array:
    lengths = [len(label) for label in labels]
    if min(lengths) != max(lengths):
        raise ValueError(
            "Labels of settings must have one length, a letter for each qubit; they "
            f"have from {min(lengths)} to {max(lengths)}."
        )
    wrong = sorted(set("".join(labels)) - set(_BASES))
    if wrong or not lengths[0]:
        raise ValueError(
            f"Labels of settings hold X, Y and Z, got {wrong[0] if wrong else ''!r}."
        )
    return np.stack([reduce(np.kron, [_BASES[x] for x in label]) for label in labels])


def _table(counts: Any, n_outcomes: int) -> Array:
    """The counts as an array; mappings have them by binary numbers."""
    try:
        rows = [
            _row(each, n_outcomes) if isinstance(each, Mapping) else each
            for each in counts
        ]
        return np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"counts must hold {n_outcomes} numbers for each setting: {error}"
        ) from error


def _row(counts: Mapping[str, Any], n_outcomes: int) -> Array:
    row = np.zeros(n_outcomes)
    for outcome, count in counts.items():
        if len(outcome) != n_outcomes.bit_length() - 1 or set(outcome) - set("01"):
            raise ValueError(f"{outcome!r} is no outcome")
        row[int(outcome, 2)] += count
    return row


def _check_counts(counts: Array, vectors: Array) -> None:
    if counts.shape != vectors.shape[:2]:
        raise ValueError(
            f"counts must have shape {vectors.shape[:2]}, settings by outcomes, got "
            f"{counts.shape}."
        )
    if not (np.all(np.isfinite(counts)) and np.min(counts) >= 0):
        raise ValueError(
            "counts must be finite and not negative; they run from "
            f"{np.min(counts):g} to {np.max(counts):g}."
        )
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(empty):
        raise ValueError(f"Setting {empty[0]} has no counts; leave it out.")


def _matrix(rho: Any) -> Array:
    """The density matrix of a state, however it is given."""
    if isinstance(rho, State):
        return rho.density_matrix
    rho = np.asarray(rho)
    if rho.ndim == 1:
        return np.outer(rho, rho.conj())
    if rho.ndim != 2 or rho.shape[0] != rho.shape[1]:
        raise ValueError(
            f"A state is a square matrix or a vector, got shape {rho.shape}."
        )
    close = np.sqrt(np.finfo(np.result_type(rho, np.float32)).eps)
    # The comparison is false for nan, too.
    if not np.linalg.norm(rho - rho.conj().T) <= close * np.linalg.norm(rho):
        raise ValueError("A density matrix is Hermitian, and the one given is not.")
    return rho


def _root(rho: Any) -> Array:
    """A factor X of ``X X^H``."""
    if np.ndim(rho) == 1:
        return np.asarray(rho)[:, None]
    values, vectors = np.linalg.eigh(_matrix(rho))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _check_alike(first: Array, second: Array) -> None:
    if len(first) != len(second):
        raise ValueError(
            f"Both states must have one size, got {len(first)} and {len(second)}."
        )
