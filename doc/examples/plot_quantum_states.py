"""
Two quantum states from noisy counts
====================================

The density matrix of a few qubits is Hermitian and positive semidefinite, and of rank
one if the state is pure. Expectation values of Pauli strings are linear measurements of
it, and every one of them is known from a number of counts only.
"""

# %%
# A Bell state from all its strings
# ---------------------------------
#
# Each of the 15 strings of two qubits (beside the identity) is measured 500 times. A
# shot ends up or down; the mean of its signs has the variance ``(1 - value^2) /
# shots``.

import matplotlib.pyplot as plt
import numpy as np

from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import PauliMeasurements

rng = np.random.default_rng(0)


def counted(strings, vector, shots):
    """Means of the signs of so many shots of each string."""
    exact = strings.forward(vector, vector).real
    ups = rng.binomial(shots, np.clip((1 + exact) / 2, 0, 1))
    return 2 * ups / shots - 1


def all_strings(n_qubits):
    labels = [""]
    for _ in range(n_qubits):
        labels = [label + letter for label in labels for letter in "IXYZ"]
    return labels[1:]


bell = np.zeros((4, 1), complex)
bell[[0, 3]] = np.sqrt(0.5)
strings = PauliMeasurements(all_strings(2))
model = PrecGDMatrixSensing(symmetric=True).fit(strings, counted(strings, bell, 500))


def fidelity(model, vector):
    """With a pure state, of the matrix divided by its trace."""
    found = model.matrix_ / np.trace(model.matrix_).real
    return (vector.conj().T @ found @ vector).real.item()


print(model.stop_reason_)
print(f"rank {model.n_components_}, fidelity {fidelity(model, bell):.4f}")

# %% The rank was not told, nor how large the noise is. Bars show the real part of the
# matrix.


def bars(axis, matrix, title):
    n = len(matrix)
    row, column = np.divmod(np.arange(n * n), n)
    heights = matrix.real.ravel()
    colors = plt.cm.coolwarm(0.5 + heights)
    axis.bar3d(column, row, 0 * heights, 0.7, 0.7, heights, color=colors)
    axis.set(title=title, zlim=(0, 0.6), xticks=[], yticks=[])


figure = plt.figure(figsize=(8, 3.6), layout="constrained")
truth, found = bell @ bell.conj().T, model.matrix_
bars(figure.add_subplot(121, projection="3d"), truth, "Bell state")
bars(figure.add_subplot(122, projection="3d"), found, "from 15 x 500 shots")

# %%
# A GHZ state from a third of its strings
# ---------------------------------------
#
# Four qubits have 255 strings. A pure state has 31 unknowns, so that 85 strings, drawn
# at random, do. The phase of the state is imaginary here, which only strings with an
# odd number of letters Y see.

ghz = np.zeros((16, 1), complex)
ghz[0], ghz[-1] = np.sqrt(0.5), 1j * np.sqrt(0.5)
labels = rng.choice(all_strings(4), size=85, replace=False)
strings = PauliMeasurements(labels.tolist())
seen = counted(strings, ghz, 1000)
model = PrecGDMatrixSensing(symmetric=True).fit(strings, seen)
print(model.stop_reason_)
print(f"rank {model.n_components_}, fidelity {fidelity(model, ghz):.4f}")

figure = plt.figure(figsize=(8, 3.6), layout="constrained")
bars(figure.add_subplot(121, projection="3d"), np.abs(ghz @ ghz.conj().T), "GHZ state")
bars(figure.add_subplot(122, projection="3d"), np.abs(model.matrix_), "85 x 1000 shots")

# %% How sure is a value that was not measured? The standard deviations that `predict`
# returns hold the noise of a new measurement as well; what is left without it is that
# of the state itself.

other = PauliMeasurements([label for label in all_strings(4) if label not in labels])
mean, std = model.predict(other, return_std=True)
exact = other.forward(ghz, ghz).real
own = np.sqrt(std**2 - model.noise_variance_)
within = np.mean(np.abs(mean - exact) <= 1.645 * own)
print(f"{within:.0%} of the other strings lie within their 90 % interval")

figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
order = np.argsort(exact)
axis.errorbar(np.arange(len(mean)), mean[order], own[order], fmt=".", label="predicted")
axis.plot(exact[order], "k", label="exact")
axis.set(xlabel="strings that were not measured", ylabel="expectation value")
axis.legend()
plt.show()
