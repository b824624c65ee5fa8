"""The search for a state, and for the white noise in it."""

from __future__ import annotations

import warnings
from functools import cached_property

import numpy as np
from scipy import optimize
from sklearn.base import clone

from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._runtime.typing import Array
from skprecgd.states.counts import Counts
from skprecgd.states.known_trace import WithTrace
from skprecgd.states.state import State, WhiteNoise

# White noise is looked for from this many standard deviations on, at weights that grow
# by this factor until the evidence is this much below its highest, in natural units.
_FIRST, _GROWTH, _HOPELESS = 2.0, 2.0, 30.0

# How many times as well as the counts the trace says how large it is. Frequencies of a
# setting add up to one, where noise of each by itself would let them scatter; were it
# known much better, the posterior, which takes lines of a factor one by one, would
# take it badly.
_TRACE_KNOWN = 10.0

# By how much it has to raise the evidence: three standard deviations raise it by 4.5.
_WHITE_GAIN = 3.0


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
        If these are no counts, the estimator is not symmetric, or no signal is found.

    Warns
    -----
    UserWarning
        If no setting sees the imaginary part of the state, or the settings see too
        few numbers to tell it from others of its rank.

    Examples
    --------
    A Bell state, from 1000 shots of each of the nine bases of two qubits:

    >>> from itertools import product
    >>> from skprecgd.states import Counts, fidelity, fit_state
    >>> bell = [0.5**0.5, 0, 0, 0.5**0.5]
    >>> labels = ["".join(letters) for letters in product("XYZ", repeat=2)]
    >>> state = fit_state(Counts.simulate(labels, bell, 1000, random_state=0))
    >>> state.rank, bool(fidelity(state, bell) > 0.99)
    (1, True)
    >>> low, high = state.interval(lambda rho: fidelity(rho, bell), limits=(0, 1))
    >>> bool(0.99 < low < high <= 1)
    True
    """
    if estimator is None:
        estimator = PrecGDMatrixSensing(symmetric=True)
    if not isinstance(counts, Counts):
        raise ValueError(
            "fit_state takes counts as Counts(settings, counts), got "
            f"{type(counts).__name__}."
        )
    if not (isinstance(estimator, PrecGDMatrixSensing) and estimator.symmetric):
        raise ValueError(
            "A state is Hermitian: the estimator must be PrecGDMatrixSensing with "
            f"symmetric=True, got {estimator!r:.80}."
        )
    if not counts.measurements.sees_imaginary_part:
        warnings.warn(
            "No setting sees the imaginary part of the state, so that any would give "
            "the same counts; add a setting with Y (of Pauli strings, with an odd "
            "number of Y).",
            UserWarning,
            stacklevel=2,
        )
    # Variances from the counts, then from the state that was found.
    first = _Search(counts, estimator, counts.variances()).fit(0.0)
    search = _Search(counts, estimator, counts.variances(_predicted(first, counts)))
    white = search.white()
    if white.weight > 0:
        # Outcomes that white noise alone makes had counted too much.
        variances = counts.variances(search.probabilities(white.weight))
        search = _Search(counts, estimator, variances)
        white = search.around(white.weight)
    if white.weight > 0 and not search.finds_components(white.weight):
        # Beside noise that is all there is, nothing would be known of how the state
        # differs from it, and intervals would be those of a single number.
        white = WhiteNoise(0.0, 0.0, white.std)
    state = State(search.fit(white.weight), white, counts.settings.dims)
    if counts.measurements.sees_imaginary_part:
        _warn_about_few_settings(counts, state.rank)
    return state


def _warn_about_few_settings(counts: Counts, rank: int) -> None:
    """Warn where other states of that rank give the same counts as well.

    It takes ``4 r (n - r)`` numbers to tell a matrix of rank r from all others of it.
    """
    n = counts.settings.measurements.matrix_shape[0]
    n_settings, n_outcomes = counts.settings.shape
    # The outcomes of a setting sum to one, and all settings see that.
    seen, needed = n_settings * (n_outcomes - 1) + 1, 4 * rank * (n - rank)
    if seen < min(needed, n * n):
        warnings.warn(
            f"The settings see at most {seen} numbers of a state, too few to tell one "
            f"of rank {rank} from all others, which takes {min(needed, n * n)}: other "
            "states may give the same counts, and intervals do not tell of them. "
            "Measure in more settings.",
            UserWarning,
            stacklevel=3,
        )


class _Search:
    """Fits beside white noise of several weights, each once.

    The trace is a measurement as well, of one less the weight.

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
        self._measurements = WithTrace(counts.measurements)
        of_trace = 1.0 / (_TRACE_KNOWN * self._precision)
        self._estimator = clone(estimator).set_params(
            noise_variance=np.append(variances, of_trace)
        )
        self._fits: dict[float, PrecGDMatrixSensing] = {}

    def fit(self, weight: float) -> PrecGDMatrixSensing:
        """The fit beside white noise of a weight."""
        if weight not in self._fits:
            counts = self._counts
            targets = counts.frequencies - weight * self._white
            targets = np.append(targets, 1.0 - weight)
            with warnings.catch_warnings():
                # `fit_state` has said it once, in terms of settings.
                warnings.filterwarnings("ignore", "All measurement matrices are real")
                model = clone(self._estimator).fit(self._measurements, targets)
            self._fits[weight] = model
        return self._fits[weight]

    def evidence(self, weight: float) -> float:
        """That of the fit; without one, no weight is better than another."""
        return float(getattr(self.fit(weight), "lower_bound_", -np.inf))

    def finds_components(self, weight: float) -> bool:
        """Whether a component carries signal beside white noise of a weight."""
        return bool(getattr(self.fit(weight), "n_signal_", 1))

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
        settings = self._counts.settings
        n = settings.measurements.matrix_shape[0]
        return settings.probabilities(np.eye(n) / n).ravel()


def _predicted(model: PrecGDMatrixSensing, counts: Counts) -> Array:
    return np.asarray(np.real(model.predict(counts.measurements)))
