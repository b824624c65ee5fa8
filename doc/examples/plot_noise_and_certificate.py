"""
Noise, and how far from the best a fit is
=========================================

Measurements are noisy, and nobody says how noisy. The fit estimates the noise on its
way, its error falls with the number of measurements as theory says, and a certificate
bounds what a better matrix could still gain.
"""

# %%
# The noise is estimated
# ----------------------
#
# With ``noise_variance="auto"`` the variance of the noise follows from what the fit
# leaves over, corrected for the numbers it has fitted. The search rank is three times
# the true one.

import matplotlib.pyplot as plt
import numpy as np

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing

n, rank = 30, 2
rng = np.random.default_rng(0)
A, clean, truth = make_matrix_sensing(
    n, rank=rank, n_measurements=1500, symmetric=True, random_state=0
)
noise = rng.standard_normal(len(clean))

print("  sigma  estimate  rank   error")
for sigma in [0.01, 0.1, 1.0]:
    model = PrecGDMatrixSensing(
        6, symmetric=True, noise_variance="auto", random_state=0
    ).fit(A, clean + sigma * noise)
    error = truth.relative_error(model.left_, model.right_)
    estimate = np.sqrt(model.noise_variance_)
    print(f"{sigma:7.2f} {estimate:9.4f} {model.n_components_:5} {error:7.1e}")

# %%
# The error floor
# ---------------
#
# The squared error is about ``sigma^2 n r log(n) / m`` times a constant: the lines fall
# with slope -1, and a tenth of the noise lies a factor 100 lower. A point above its
# line is a fit whose few held-out measurements (a tenth of `m`) chose a rank too many;
# with so few, cross-validation is the better judge.

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
sizes = [300, 500, 800, 1500]
for sigma in [0.01, 0.1, 1.0]:
    squares = []
    for m in sizes:
        model = PrecGDMatrixSensing(6, symmetric=True, random_state=0)
        model.fit(A[:m], clean[:m] + sigma * noise[:m])
        squares.append(np.sum((model.matrix_ - truth.matrix) ** 2))
    axis.loglog(sizes, squares, "o-", label=f"sigma = {sigma:g}")
    floor = sigma**2 * n * rank * np.log(n) / np.array(sizes)
    axis.loglog(sizes, floor, "k:", linewidth=1)
axis.set(xlabel="measurements", ylabel="squared error")
axis.legend(title="dotted: the theory's order")

# %%
# The certificate
# ---------------
#
# For a symmetric model the loss is convex in the matrix, so that one extreme
# eigenvalue of its gradient bounds how much any other positive semidefinite matrix
# could gain. Along the iterations of a fit without noise, whose best loss is zero,
# the bound lies above the loss and falls with the error.

import warnings

from sklearn.exceptions import ConvergenceWarning

warnings.simplefilter("ignore", ConvergenceWarning)  # short runs are the point here

losses, bounds = [], []
counts = np.arange(1, 14)
for max_iter in counts:
    model = PrecGDMatrixSensing(
        6,
        symmetric=True,
        solver="precgd-cg",
        rank_search="fixed",
        max_iter=int(max_iter),
        tol=1e-12,
        random_state=0,
    ).fit(A, clean)
    known = model.certificate_.with_trace_bound(np.trace(truth.matrix))
    bounds.append(known.gap)
    losses.append(model.history_["loss"].min())

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
axis.semilogy(counts, bounds, "o-", label="certificate")
axis.semilogy(counts, losses, "s-", label="true gap: the loss")
axis.set(xlabel="iterations", ylabel="distance from the best loss")
axis.legend()
print(f"every bound holds: {np.all(np.array(bounds) >= losses)}")
plt.show()
