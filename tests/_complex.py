"""Complex numbers and quantum states that several test modules draw."""

from __future__ import annotations

import numpy as np

PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def gaussian(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def unitary(rng, n):
    return np.linalg.qr(gaussian(rng, n, n))[0]


def strings(rng, n_qubits, count):
    """Different labels, drawn at random."""
    codes = rng.choice(4**n_qubits, size=count, replace=False)
    return ["".join("IXYZ"[c >> 2 * k & 3] for k in range(n_qubits)) for c in codes]


def state(rng, n, rank):
    """A factor of a density matrix."""
    x = gaussian(rng, n, rank)
    return x / np.linalg.norm(x)


def error(model, truth):
    return np.linalg.norm(model.matrix_ - truth) / np.linalg.norm(truth)
