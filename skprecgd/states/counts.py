"""Counts of the outcomes of settings, as measurements with variances."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._runtime.typing import Array
from skprecgd.measurements import Measurements
from skprecgd.states.settings import Settings

# Decimal digits of a probability that rounding does not reach, in float64.
_DIGITS = 12


class Counts:
    """How often each outcome of each setting was seen.

    The frequency of an outcome is a target, and its variance follows from the number of
    shots.

    Parameters
    ----------
    settings : Settings, or what `Settings` takes
        Such as labels of bases, a letter X, Y or Z for each qubit.
    counts : array-like of shape (n_settings, n_outcomes), or collection of mappings
        Of labels, an outcome is a binary number with a digit for each letter, 0 for the
        eigenvalue +1: ``[n00, n01, n10, n11]``, or ``{"00": n00, "11": n11}``, as
        Qiskit writes it. Blanks between the digits do not matter.

    Attributes
    ----------
    settings : Settings
    counts : ndarray of shape (n_settings, n_outcomes)

    Raises
    ------
    ValueError
        If settings are none, shapes do not match, counts are negative, not finite or no
        whole numbers, or a setting has none.

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
        known = isinstance(settings, Settings)
        self.settings = settings if known else Settings(settings)
        self.counts = _table(counts, self.settings.shape[1])
        _check_counts(self.counts, self.settings.shape)

    @classmethod
    def simulate(
        cls, settings: Any, rho: Any, shots: int, random_state: Any = None
    ) -> Counts:
        """The counts that an experiment on a known state might show.

        Parameters
        ----------
        settings : Settings, or what `Settings` takes
        rho : State, Qobj, or array-like of shape (n, n) or (n,)
            A ket or a vector is a pure state. It is divided by its trace.
        shots : int
            Of each setting; positive.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        Counts

        Raises
        ------
        ValueError
            If it is no state of this system, up to its trace, or `shots` is no positive
            whole number.

        Examples
        --------
        >>> from skprecgd.states import Counts
        >>> Counts.simulate(["XX", "ZZ"], [1, 0, 0, 1], 100, random_state=0).counts
        array([[52.,  0.,  0., 48.],
               [51.,  0.,  0., 49.]])
        """
        rng = check_random_state(random_state)
        known = settings if isinstance(settings, Settings) else Settings(settings)
        if not (isinstance(shots, Real) and shots > 0 and float(shots).is_integer()):
            raise ValueError(
                "shots must be a positive whole number, that of each setting, got "
                f"{shots!r:.80}."
            )
        p = known.probabilities(rho).astype(np.float64)
        # Draws turn around where a share is a half up to rounding: without these digits
        # a seed gives the same counts on every machine.
        p = np.round(p, _DIGITS)
        # They add up to one up to rounding, which is more than the draws allow.
        p /= p.sum(axis=1, keepdims=True)
        return cls(known, [rng.multinomial(int(shots), each) for each in p])

    @property
    def shots(self) -> Array:
        """How often each setting was measured, shape (n_settings,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def measurements(self) -> Measurements:
        """All outcomes, setting by setting."""
        return self.settings.measurements

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


def _table(counts: Any, n_outcomes: int) -> Array:
    """The counts as an array; mappings have them by binary numbers."""
    if isinstance(counts, Mapping):
        raise ValueError(
            "counts must be a list with a mapping for each setting, got one mapping; "
            "of those in a mapping by labels give counts.values()."
        )
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
    row, n_digits = np.zeros(n_outcomes), n_outcomes.bit_length() - 1
    if n_outcomes != 1 << n_digits:
        raise ValueError("mappings are for settings of qubits")
    for outcome, count in counts.items():
        # Qiskit leaves a blank between registers.
        digits = outcome.replace(" ", "") if isinstance(outcome, str) else ""
        if len(digits) != n_digits or set(digits) - set("01"):
            raise ValueError(
                f"{outcome!r} is no outcome, which has {n_digits} binary digits"
            )
        row[int(digits, 2)] += count
    return row


def _check_counts(counts: Array, shape: tuple[int, int]) -> None:
    if counts.shape != shape:
        raise ValueError(
            f"counts must have shape {shape}, settings by outcomes, got {counts.shape}."
        )
    if not (np.all(np.isfinite(counts)) and np.min(counts) >= 0):
        raise ValueError(
            "counts must be finite and not negative; they run from "
            f"{np.min(counts):g} to {np.max(counts):g}."
        )
    broken = counts[counts % 1 != 0]
    if len(broken):
        raise ValueError(
            f"counts must be whole numbers, got {broken[0]:g}; frequencies do not say "
            "how many shots there were, so give the counts that they come from."
        )
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(empty):
        raise ValueError(f"Setting {empty[0]} has no counts; leave it out.")
