"""
Adapt a linear classifier with few parameters
=============================================

A linear classifier of handwritten digits meets digits that are tilted. Its coefficients
stay frozen, and a matrix of low rank is added to them: about one percent as many
parameters. The same with a frozen matrix of zeros is reduced-rank regression.
"""

# %%
# A classifier and a change of the world
# --------------------------------------
#
# The features are random waves of the pixels; the ten classes are written as codes of
# 500 signs each, and a digit belongs to the class whose code its outputs agree with
# most. (Codes let single outputs be wrong. They also make the matrix of coefficients
# large: 800 features x 500 outputs.) Ridge regression on 800 upright digits finds it.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import Ridge

from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import multi_output

rng = np.random.default_rng(0)
images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16
tilted = np.array([rotate(image, 25, reshape=False, order=1) for image in images])
order = rng.permutation(len(labels))
train, adapt, test = order[:800], order[800:1100], order[1100:]

waves = RBFSampler(gamma=0.03, n_components=800, random_state=0)
waves.fit(images.reshape(-1, 64))
codes = rng.choice([-1.0, 1.0], size=(10, 500))


def features(pictures):
    return waves.transform(pictures.reshape(-1, 64))


def ridge(X, Y):
    return Ridge(1e-2, fit_intercept=False).fit(X, Y).coef_.T


def accuracy(coefficients, pictures):
    scores = features(pictures[test]) @ coefficients @ codes.T
    return np.mean(scores.argmax(axis=1) == labels[test])


frozen = ridge(features(images[train]), codes[labels[train]])
print(f"upright digits: {accuracy(frozen, images):.3f}")
print(f"tilted digits:  {accuracy(frozen, tilted):.3f}")

# %%
# Full fine-tuning
# ----------------
#
# With 300 tilted digits, ridge regression of what the frozen classifier leaves over
# changes all 400,000 coefficients.

X, Y = features(tilted[adapt]), codes[labels[adapt]]
tuned = frozen + ridge(X, Y - X @ frozen)
print(f"all {frozen.size} coefficients: {accuracy(tuned, tilted):.3f}")

# %%
# An adapter of low rank
# ----------------------
#
# Every output of every digit is a measurement of the change: the matrix of measurement
# (i, j) is :math:`x_i e_j^\top`. :func:`~skprecgd.measurements.multi_output` makes
# measurements of them without forming any, and takes the frozen part off the
# targets. Gradient descent on the same adapter gets as many iterations, from the same
# start, with exact steps.

A, y = multi_output(X, Y, offset=frozen)
ranks = [1, 2, 4, 6, 8]
curves = {"precgd-cg": [], "gd": []}
for solver, curve in curves.items():
    for rank in ranks:
        model = PrecGDMatrixSensing(
            n_components=rank,
            solver=solver,
            rank_search="fixed",
            max_iter=150,
            tol=0,
        )
        model.fit(A, y)
        curve.append(accuracy(frozen + model.matrix_, tilted))
        share = (model.left_.size + model.right_.size) / frozen.size
        print(f"{solver:>9}, rank {rank}: {share:.1%} of it, {curve[-1]:.3f}")

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
for solver, curve in curves.items():
    axis.plot(ranks, curve, marker="o", label=solver)
axis.axhline(accuracy(tuned, tilted), color="0.5", ls="--", label="all coefficients")
axis.axhline(accuracy(frozen, tilted), color="0.5", ls=":", label="not adapted")
axis.set(xlabel="rank of the adapter", ylabel="accuracy on tilted digits")
axis.legend()

# %%
# Four components, 1.3 % of the coefficients, bring back most of what the tilt took, six
# (1.9 %) nearly all of it. Two remarks for honesty. Ten codes span ten dimensions, so
# ten components could express any change of the classifier. And where the rank is
# unknown, ``rank_search="path"``, the default, looks for it, while here it is what we
# are willing to store.
plt.show()
