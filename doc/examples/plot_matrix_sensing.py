"""
Recover a matrix from measurements
==================================

Every measurement is a random weighted sum of all entries of an unknown matrix. From
far fewer sums than entries, the matrix comes back. The second half shows what the
preconditioner is for.
"""

# %%
# The data
# --------
#
# The unknown matrix is a small drawing: a few bars on a dark ground. Its rank is low
# because bars are products of a row pattern and a column pattern.

import matplotlib.pyplot as plt
import numpy as np

from skprecgd import PrecGDMatrixSensing

M = np.zeros((32, 32))
M[4:28, 4:9] = 1.0
M[4:9, 4:28] = 0.6
M[14:18, 4:22] = 0.8

rng = np.random.default_rng(0)
A = rng.normal(size=(700, 32, 32))
y = np.einsum("ijk,jk->i", A, M)
print(f"{len(y)} measurements of {M.size} unknown entries")

# %%
# The fit
# -------
#
# A regressor: the samples are the weights, the targets are the sums. Least squares
# could not work here, since there are more unknowns than equations.

model = PrecGDMatrixSensing(n_components=10, random_state=0).fit(A, y)

print(f"rank found: {model.n_components_}")
print(f"largest error of an entry: {np.abs(model.matrix_ - M).max():.1e}")

least_norm = np.linalg.lstsq(A.reshape(len(A), -1), y, rcond=None)[0].reshape(M.shape)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes,
    [M, least_norm, model.matrix_],
    ["unknown", "least-norm solution", f"rank {model.n_components_} recovered"],
    strict=True,
):
    axis.imshow(image, vmin=-0.1, vmax=1.1, cmap="gray")
    axis.set(title=title, xticks=[], yticks=[])

# %%
# What the preconditioner is for
# ------------------------------
#
# Now the same kind of problem is made hard for plain gradient descent (``"gd"``): the
# factors get eight columns although the rank is two, and one component of the matrix is
# ten times smaller than the other. ``rank_search="fixed"`` starts with all eight
# columns. The steps are exact in all runs; only the metric differs, and for
# ``"precgd-cg"``, the default, the direction as well.

import warnings

from sklearn.exceptions import ConvergenceWarning

from skprecgd.datasets import make_matrix_sensing

warnings.simplefilter("ignore", ConvergenceWarning)  # 200 iterations are all they get

A, y, truth = make_matrix_sensing(
    40,
    rank=2,
    n_measurements=1000,
    condition_number=10,
    symmetric=True,
    random_state=0,
)

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
for solver in ["gd", "scaledgd", "precgd", "precgd-cg"]:
    model = PrecGDMatrixSensing(
        n_components=8,
        symmetric=True,
        solver=solver,
        rank_search="fixed",
        max_iter=200,
        tol=1e-12,
        random_state=0,
    )
    model.fit(A, y)
    axis.semilogy(model.history_["relative_residual"], label=solver)
    error = truth.relative_error(model.left_, model.right_)
    print(f"{solver:>9}: error {error:.0e} after {model.n_iter_} iterations")
axis.set(xlabel="iteration", ylabel="relative residual")
axis.legend()

# %%
# The three preconditioned runs go down in a straight line, to rounding, while gradient
# descent has hardly any digit after 200 iterations. Growing the rank from one
# (``rank_search="path"``, the default) needs fewer iterations still, and finds the rank
# on its way:

model = PrecGDMatrixSensing(n_components=8, symmetric=True, tol=1e-12).fit(A, y)
print(f"rank {model.n_components_} after {model.n_iter_} iterations")
plt.show()
