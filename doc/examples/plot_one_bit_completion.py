"""
Yes or no: complete a table of labels
=====================================

200 people answer some of 120 questions with yes or no. Behind the answers stands a
matrix of rank 3, the log-odds of a yes. We estimate every probability from the half of
the answers that were given, without knowing the rank.
"""

# %%
# The data
# --------
#
# Answers are drawn, so even a person with a probability of 0.9 says no sometimes. That
# is a lot of noise: an answer carries less than one bit.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

from skprecgd import PrecGDFactorization
from skprecgd.datasets import make_low_rank

rng = np.random.default_rng(0)
truth = make_low_rank(200, 120, rank=3, random_state=0)
log_odds = 3.0 * truth.matrix / np.std(truth.matrix)
probabilities = expit(log_odds)
answers = (rng.random(log_odds.shape) < probabilities).astype(float)
X = np.where(rng.random(log_odds.shape) < 0.5, answers, np.nan)

# %%
# The fit
# -------
#
# `loss="logistic"` is all there is to say. `inverse_transform` returns probabilities.

model = PrecGDFactorization(n_components=10, loss="logistic", random_state=0)
estimate = model.inverse_transform(model.fit_transform(X))


def error(p):
    """Root mean square error of probabilities, over the whole table."""
    return float(np.sqrt(np.mean((p - probabilities) ** 2)))


print(f"rank found: {model.n_components_}")
print(model.stop_reason_)
print(f"error: {error(estimate):.3f}, of a constant: {np.std(probabilities):.3f}")

# %%
# The squared loss takes the labels for numbers. It is not far behind here, but some of
# its estimates lie outside the interval from 0 to 1:

squared = PrecGDFactorization(n_components=10, tol=1e-4, random_state=0, center="mean")
numbers = squared.inverse_transform(squared.fit_transform(X))
print(f"rank found: {squared.n_components_}, error: {error(numbers):.3f}")
print(f"from {numbers.min():.1f} to {numbers.max():.1f}")

# %%
# What a prior is for
# -------------------
#
# Labels could be followed for ever: the loss on the visible ones keeps falling, at any
# rank. By default a prior keeps the fit from that, which is learned. Without it,
# ``alpha=0``, some of the answers are held out, and say how far following helps.

history = model.set_params(alpha=0).fit(X).history_
figure, axis = plt.subplots(figsize=(5, 3.8), layout="constrained")
iteration = np.arange(len(history["loss"]))
for name, label in (("loss", "visible"), ("validation_loss", "held out")):
    axis.plot(iteration, history[name] / history[name][0], label=label)
for change in np.flatnonzero(np.diff(history["rank"])) + 1:
    axis.axvline(change, color="0.85", zorder=0)
axis.set(xlabel="iteration (lines: the rank changes)", ylabel="share of the first loss")
axis.legend()

without = model.inverse_transform(model.transform(X))
print(f"error: {error(without):.3f}, with the prior {error(estimate):.3f}")

# %%
# Among the answers with an estimated probability of 0.7, do 70 % say yes? We ask those
# that were hidden.

hidden = np.isnan(X)
edges = np.linspace(0, 1, 11)
which = np.digitize(estimate[hidden], edges[1:-1])
counts = np.bincount(which, minlength=10)
said_yes = np.bincount(which, answers[hidden], minlength=10) / counts
said_yes_estimate = np.bincount(which, estimate[hidden], minlength=10) / counts
figure, axis = plt.subplots(figsize=(5, 3.8), layout="constrained")
axis.plot([0, 1], [0, 1], color="0.7")
axis.plot(said_yes_estimate, said_yes, "o-")
axis.set(xlabel="estimated probability", ylabel="share of yes among hidden answers")
plt.show()
