"""
How sure is each number
=======================

A completed table is a guess, and some of its numbers are better guesses than others. A
fit of noisy entries knows which: it has a distribution for every entry. Here values of
patients are hidden, and intervals are checked on them.
"""

# %%
# Intervals hold what they promise
# --------------------------------
#
# Ten measurements of 442 patients, in ten different units; a third of them is hidden.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from skprecgd import PrecGDFactorization

table = load_diabetes(scaled=False)
names, patients = table.feature_names, table.data
hidden = np.random.default_rng(0).random(patients.shape) < 1 / 3
X = np.where(hidden, np.nan, patients)
model = PrecGDFactorization("auto", center="columns").fit(X)
print(model.stop_reason_)

rows, columns = np.nonzero(hidden)
levels = np.linspace(0.05, 0.95, 19)
covered = []
for level in levels:
    low, high = model.interval(rows, columns, level=level)
    covered.append(np.mean((low <= patients[hidden]) & (patients[hidden] <= high)))

figure, axis = plt.subplots(figsize=(4.2, 3.8), layout="constrained")
axis.plot([0, 1], [0, 1], "k:", linewidth=1)
axis.plot(levels, covered, "o-", markersize=4)
axis.set(xlabel="level of the interval", ylabel="share of hidden values inside")
axis.set_title("Hidden values of patients")

# %%
# Some columns are better known than others
# -----------------------------------------
#
# Standard deviations of predictions, relative to that of the column: total cholesterol
# (s1) follows from the other blood values, age from nothing else.

std = model.predict_entries(rows, columns, return_std=True)[1]
relative = std / patients.std(axis=0)[columns]
order = np.argsort([np.median(relative[columns == k]) for k in range(10)])

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.boxplot([relative[columns == k] for k in order], showfliers=False)
axis.set_xticklabels([names[k] for k in order])
axis.axhline(1, color="k", linestyle=":", linewidth=1)
axis.set(ylabel="standard deviation / that of the column")

# %%
# One row
# -------
#
# What was seen of a patient (filled), and intervals of 80 % for the rest, with the
# hidden values (circles), in standard deviations of the columns.

patient = int(np.argmax(np.sum(hidden, axis=1)))
mean, spread = patients.mean(axis=0), patients.std(axis=0)
low, high = model.interval([patient] * 10, range(10), level=0.8)
low, high = (low - mean) / spread, (high - mean) / spread
value, gone = (patients[patient] - mean) / spread, hidden[patient]

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
places = np.arange(10)
axis.vlines(places[gone], low[gone], high[gone], linewidth=6, alpha=0.4)
axis.plot(places[gone], value[gone], "o", color="C1", fillstyle="none", label="hidden")
axis.plot(places[~gone], value[~gone], "o", color="k", label="seen")
axis.set_xticks(places, names)
axis.set(ylabel="standard deviations from the mean")
axis.legend()

# %%
# Whole tables
# ------------
#
# Intervals of single numbers do not add up, as what is not known of a patient is the
# same for all its gaps. For a quantity that takes many of them, draw whole tables: here
# the mean body mass index of the patients over sixty.

old = patients[:, 0] > 60


def mean_bmi(Z):
    return np.mean(Z[Z[:, 0] > 60, 2])


drawn = [mean_bmi(Z) for Z in model.sample_completed(X, 50, random_state=0)]
print(f"draws:    {np.mean(drawn):.2f} +- {np.std(drawn):.2f}")
print(f"complete: {mean_bmi(patients):.2f}")

# %%
# What hidden cells cannot say
# ----------------------------
#
# Tastes of 200 people for 100 films that are sums of two numbers, rounded to stars. The
# more components, the better hidden *stars* are predicted, because rounding has a
# structure of its own; the tastes behind them are predicted ever worse. (The fits warn
# that they leave out what is no noise, which is right: it is the rounding.)

import warnings

warnings.filterwarnings("ignore", "n_components=.* leaves out what is no noise")
rng = np.random.default_rng(0)
tastes = 3 + 0.8 * (rng.normal(size=(200, 1)) + rng.normal(size=100))
stars = np.clip(np.round(tastes), 1, 5)
hidden = rng.random(stars.shape) < 0.3
seen = np.where(hidden, np.nan, stars)
print("components  error of stars  error of tastes")
for k in [1, 3, 6, 12]:
    fit = PrecGDFactorization(k, center="both").fit(seen)
    guess = fit.inverse_transform(fit.transform(seen))
    errors = [np.sqrt(np.mean((guess - M)[hidden] ** 2)) for M in (stars, tastes)]
    print(f"{k:10} {errors[0]:15.3f} {errors[1]:16.3f}")

plt.show()
