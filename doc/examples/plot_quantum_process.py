"""
A quantum gate from counts: its Choi matrix
===========================================

What a gate does to every state is known once its Choi matrix is. That is a state
itself, of twice as many qubits, and its rank is the number of Kraus operators: one of a
gate without noise, and few of a good one.
"""

# %%
# A gate that flips phases
# ------------------------
#
# Here is a CNOT after which, in one run of ten, the phase of the control qubit is
# flipped: two Kraus operators. The convention is
#
# .. math::
#
#    C = \sum_{ij} |i\rangle\langle j| \otimes \mathcal{E}(|i\rangle\langle j|)
#      = \sum_k \operatorname{vec}(K_k) \operatorname{vec}(K_k)^H ,
#
# where the **input is the first factor** and vec stacks **columns**, as in QuTiP's
# ``to_choi`` and Qiskit's ``Choi``. Divided by its trace, 4 here, it is a state.

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

from skprecgd.states import Counts, Settings, fidelity, fit_state


def vec(K):
    """The columns of a matrix, one below the other."""
    return K.T.ravel()


cnot = np.eye(4)[[0, 1, 3, 2]]
phase = np.diag([1, 1, -1, -1])  # Z on the control, the first qubit
kraus = [np.sqrt(0.9) * cnot, np.sqrt(0.1) * phase @ cnot]
choi = sum(np.outer(vec(K), vec(K)) for K in kraus) / 4

# %%
# Prepare, run, measure
# ---------------------
#
# Each qubit is prepared in one of the six eigenstates of X, Y and Z, 36 inputs
# altogether, and both are measured in one of nine bases. An input :math:`\psi` and an
# outcome :math:`e` have the probability
#
# .. math::
#
#    \langle e | \mathcal{E}(\psi \psi^H) | e \rangle = a^H C a ,
#    \qquad a = \bar\psi \otimes e ,
#
# which is a rank-one measurement of the Choi matrix. If the 36 inputs are used equally
# often, the pair of input and outcome is the outcome of a measurement of the state
# :math:`C / 4`: the vectors :math:`\sqrt{4/36}\, a` have projectors that add up to the
# identity, so that `Settings` takes them.

six = Settings(["X", "Y", "Z"]).measurements.a
inputs = np.array([np.kron(first, second) for first, second in product(six, six)])
labels = ["".join(letters) for letters in product("XYZ", repeat=2)]
outcomes = Settings(labels).measurements.a.reshape(9, 4, 4)
pairs = np.einsum("ki,soj->skoij", inputs.conj(), outcomes) * np.sqrt(4 / 36)
settings = Settings(pairs.reshape(9, 36 * 4, 16))

shots = 36 * 200  # for each basis, 200 for each input
counts = Counts.simulate(settings, choi, shots, random_state=0)

# %%
# The gate that explains the counts
# ---------------------------------
#
# Neither the rank nor the noise is told. The fidelity of the Choi state with that of
# the gate that was meant is the *process fidelity*, here .9.

found = fit_state(counts)
meant = vec(cnot) / 2


def process_fidelity(state):
    return fidelity(state, meant)


low, high = found.interval(process_fidelity, limits=(0, 1))
print(f"{found.rank} Kraus operators")
print(
    f"process fidelity {process_fidelity(found):.3f}, 90 % from {low:.3f} to {high:.3f}"
)
print(f"fidelity with what was simulated {fidelity(found, choi):.4f}")

# %%
# The eigenvectors of the Choi matrix are Kraus operators. The second one is what went
# wrong: the gate with a sign on both states in which the control qubit is one.

values, vectors = np.linalg.eigh(found.density_matrix)
operators = [vectors[:, -k].reshape(4, 4).T for k in (1, 2)]
operators = [K / K.flat[np.argmax(np.abs(K))] for K in operators]
operators = [K * np.sign(K[0, 0].real) for K in operators]

figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
shown = {
    "simulated": choi.real,
    "found": found.density_matrix.real,
    f"first operator, {values[-1]:.3f}": operators[0].real,
    f"second operator, {values[-2]:.3f}": operators[1].real,
}
for axis, (title, matrix) in zip(axes, shown.items(), strict=True):
    most = np.max(np.abs(matrix))
    axis.imshow(matrix, cmap="RdBu_r", vmin=-most, vmax=most)
    axis.set(title=title, xticks=[], yticks=[])

# %%
# Is it a gate?
# -------------
#
# A gate keeps the trace of every state: the partial trace of the Choi state over the
# output is the identity, divided by 4. The fit was not told, so that this is a check.

over_output = np.einsum("aibi->ab", found.density_matrix.reshape(4, 4, 4, 4))
print(f"off by up to {np.max(np.abs(over_output - np.eye(4) / 4)):.3f}, of 0.25")

# %%
# With QuTiP installed, ``found.to_qobj([2, 2, 2, 2])`` is the Choi state with four
# qubits: both of the input, then both of the output.
