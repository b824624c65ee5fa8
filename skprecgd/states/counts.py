"""Counts of the outcomes of settings, as measurements with variances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import complex_dtype
from skprecgd._runtime.typing import Array
from skprecgd.measurements import RankOneMeasurements

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
