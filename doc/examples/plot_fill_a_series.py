"""
Fill the gaps of series
=======================

A series has no columns, but its windows are the rows of a table: row i holds the values
i, i + 1, ..., i + L - 1 (a Hankel matrix, or lagged embedding). Trends, seasons and
oscillations make that table one of low rank, and noise is what is left. So an imputer
of tables fills a series, too; several series are tables side by side.
"""

# %%
# One series
# ----------
#
# Eight years of months: a trend, a season, a slower oscillation, and noise. Three gaps
# of half a year and more, and single months that are missing.

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from skprecgd import PrecGDImputer

rng = np.random.default_rng(0)
month = np.arange(96)
season = 2 * np.sin(2 * np.pi * month / 12) + 0.8 * np.cos(2 * np.pi * month / 6)
slow = 1.5 * np.sin(2 * np.pi * month / 40 + 1)
signal = 10 + 0.05 * month + season + slow
measured = signal + 0.4 * rng.normal(size=96)
seen = rng.random(96) > 0.1
for start, length in ((20, 9), (47, 7), (75, 12)):
    seen[start : start + length] = False
series = np.where(seen, measured, np.nan)


def windows(series, length):
    """Windows as rows."""
    return sliding_window_view(series, length)


def from_windows(table):
    """The mean of all windows that hold a moment."""
    rows, length = table.shape
    moments = np.add.outer(np.arange(rows), np.arange(length))
    sums = np.bincount(moments.ravel(), table.ravel())
    return sums / np.bincount(moments.ravel())


# %%
# All columns of the table have one unit and one noise. Windows of two years hold every
# oscillation several times, and the longest gap wholly.

imputer = PrecGDImputer(center="mean", noise="uniform")
length = 24
means, stds = imputer.fit(windows(series, length)).impute(
    windows(series, length), return_std=True
)
filled, std = from_windows(means), from_windows(stds)
print(imputer.factorization_.stop_reason_)

line = np.interp(month, month[seen], series[seen])
for name, guess in {"windows": filled, "straight lines": line}.items():
    error = np.sqrt(np.mean((guess - signal)[~seen] ** 2))
    print(f"error of {name:15} {error:.2f}")

figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
guess = np.ma.array(filled, mask=seen)
axis.fill_between(
    month, guess - 1.64 * std, guess + 1.64 * std, alpha=0.3, label="90 % in gaps"
)
axis.plot(month, signal, "k:", linewidth=1, label="without noise")
axis.plot(month, series, "k.", label="seen")
axis.plot(month, guess, "C0", label="filled")
axis.set(xlabel="month")
axis.legend(ncols=4, fontsize="small")

# %%
# Series that start at different times
# ------------------------------------
#
# Five stations share their oscillations, each in its own mixture and unit. Two of them
# were built years after the others. Their windows stand side by side, so that a row
# holds what all of them show in the same year, and stations that are not there yet are
# holes: each is continued backwards from the others. Without windows, a month is filled
# from the same month alone, and what the stations share takes as many months to learn
# as the last of them shows.

common = np.column_stack(
    [np.ones(96), month / 48 - 1, season, slow, np.sin(2 * np.pi * month / 17)]
)
stations = common @ rng.normal(size=(5, 5)) * [1, 10, 100, 0.1, 5]
noise = 0.2 * stations.std(axis=0) * rng.normal(size=stations.shape)
observed = stations + noise
observed[:30, 3] = observed[:50, 4] = np.nan
observed[60:70, 0] = np.nan

gaps = np.isnan(observed)


def continued_by(length):
    table = np.hstack([windows(column, length) for column in observed.T])
    parts = np.split(PrecGDImputer().fit_transform(table), 5, axis=1)
    return np.column_stack([from_windows(part) for part in parts])


for length in (1, 12):
    continued = continued_by(length)
    errors = [
        np.sqrt(np.mean((continued - stations)[gaps[:, k], k] ** 2))
        / stations[:, k].std()
        for k in (0, 3, 4)
    ]
    print(f"windows of {length:2}: errors", *(f"{error:.2f}" for error in errors))

figure, axes = plt.subplots(5, sharex=True, figsize=(8, 6), layout="constrained")
for k, axis in enumerate(axes):
    axis.plot(month, stations[:, k], "k:", linewidth=1)
    axis.plot(month, observed[:, k], "k.", markersize=3)
    axis.plot(month, np.ma.array(continued[:, k], mask=~gaps[:, k]), "C0")
axes[-1].set(xlabel="month")

plt.show()
