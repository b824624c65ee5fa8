"""
Published methods as settings
=============================

Several methods of the literature are settings of this package (:ref:`baselines`). Two
of them here: ScaledGD from a Nystrom start, whose digits double, and factorization
with random feedback, which shows what gradient descent owes to the transposed factor.
"""

# %%
# ScaledGD from a Nystrom start
# -----------------------------
#
# The start is the matrix times a random thin one. From there, ScaledGD with step 1/2
# is Heron's iteration for a square root, on a matrix of condition number 100, at the
# true rank and at twice that.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from skprecgd.datasets import make_low_rank
from skprecgd.factors import SymmetricFactor
from skprecgd.initialization import nystrom, random
from skprecgd.measurements import FullObservation
from skprecgd.objective import make_objective
from skprecgd.optim import minimize

warnings.simplefilter("ignore")

truth = make_low_rank(40, rank=3, condition_number=100, symmetric=True, random_state=0)
objective = make_objective(FullObservation(truth.shape), truth.matrix)


def errors_of(start, n_iter, **settings):
    """The relative error after 0, 1, ... iterations."""
    errors = []
    for max_iter in range(1, n_iter + 1):
        result = minimize(objective, start, max_iter=max_iter, tol=0, **settings)
        difference = result.factors.matrix() - truth.matrix
        errors.append(np.linalg.norm(difference) / np.linalg.norm(truth.matrix))
    return errors


figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
noise = np.random.default_rng(0).standard_normal((40, 6))
starts = {
    "Nystrom, r = 3": nystrom(objective, 3, symmetric=True, random_state=0),
    "Nystrom, r = 6": nystrom(objective, 6, symmetric=True, random_state=0),
    "random, r = 6": SymmetricFactor(0.1 * np.sqrt(objective.data_norm) * noise),
}
for name, start in starts.items():
    errors = errors_of(start, 12, solver="scaledgd", step_size=0.5)
    axis.semilogy(range(1, 13), errors, "o-", label=name)
    print(f"{name}: {errors[5]:.0e} after 6 iterations, {errors[-1]:.0e} after 12")
axis.set(xlabel="iteration", ylabel="relative error")
axis.legend()

# %%
# For a factor pair, one step of size 1 is exact:

general = make_low_rank(40, 30, rank=3, condition_number=100, random_state=0)
complete = make_objective(FullObservation(general.shape), general.matrix)
start = nystrom(complete, 6, random_state=0)
one = minimize(complete, start, solver="scaledgd", step_size=1.0, max_iter=1, tol=0)
print(f"one step: {general.relative_error(one.factors.left, one.factors.right):.0e}")

# %%
# Random feedback
# ---------------
#
# In the gradient of one factor, the other is replaced by a random matrix that never
# changes. From the rank of the matrix on the optimum is reached all the same; below
# it the random matrix decides what is found. This is an experiment about learning,
# and no way to recover a matrix.

rng = np.random.default_rng(0)
Y = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 20))
s = np.linalg.svd(Y, compute_uv=False)
data = make_objective(FullObservation(Y.shape), Y)

histories = {}
print(" r  truncated SVD  feedback")
for rank in [2, 3, 4, 6]:
    start = random(data, rank, random_state=0)
    result = minimize(
        data, start, solver="feedback", max_iter=4000, tol=1e-4, random_state=0
    )
    error = np.linalg.norm(result.factors.matrix() - Y) / np.linalg.norm(Y)
    best = np.linalg.norm(s[rank:]) / np.linalg.norm(s)
    print(f"{rank:2} {best:14.1e} {error:9.1e}")
    histories[rank] = result.history

# %%
# The factor turns towards the random matrix on the way, which is what makes it work:

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
for rank, history in histories.items():
    axis.semilogx(1 + history["iteration"], history["alignment"], label=f"r = {rank}")
axis.set(xlabel="iteration", ylabel="cosine of the factor and the feedback")
axis.legend()
plt.show()
