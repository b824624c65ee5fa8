"""
Clouds over a field
===================

Heights of the 500 hPa surface over the Atlantic in 65 winters, each partly hidden by
clouds. Written one winter a row and one place a column, they are a table with holes.
It is filled here, beside DINEOF, what oceanographers fill fields with; and the
components are what they call empirical orthogonal functions.
"""

# %%
# The field, and clouds
# ---------------------
#
# The data come with the package `eofs <https://ajdawson.github.io/eofs>`__. Clouds are
# where a smooth random field is high, and move from winter to winter.

from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from skprecgd import PrecGDImputer

folder = resources.files("eofs") / "examples" / "example_data"
data = xr.open_dataset(str(folder / "hgt_djf.nc"), decode_times=False)
heights = data["z"].squeeze().stack(place=("latitude", "longitude"))
grid = data.sizes["latitude"], data.sizes["longitude"]
extent = [float(data[name][k]) for name in ("longitude", "latitude") for k in (0, -1)]
truth = heights.to_numpy()

rng = np.random.default_rng(0)
smooth = gaussian_filter(rng.normal(size=(len(truth), *grid)), (1, 2, 2))
hidden = (smooth > np.quantile(smooth, 0.6)).reshape(truth.shape)
clouded = heights.where(~hidden)


def error(filled):
    """Behind the clouds, over the standard deviation of the field."""
    return np.sqrt(np.mean((filled - truth)[hidden] ** 2)) / truth.std()


# %%
# All cells have one unit, which ``noise="uniform"`` says; with ``center="both"`` a
# winter may be warmer everywhere.

imputer = PrecGDImputer(center="both", noise="uniform")
filled = heights.copy(data=imputer.fit_transform(clouded))
print(imputer.factorization_.stop_reason_)
print(f"error: {error(filled.to_numpy()):.4f}")

# %%
# DINEOF
# ------
#
# Gaps start at the mean and are filled from the leading modes of a singular value
# decomposition, again and again; the next mode is added to that. Cells that are set
# aside say how many modes are best.


def fills(seen, most):
    """The field filled with one mode, two, ..."""
    mean = truth[seen].mean()
    Y = np.where(seen, truth - mean, 0.0)
    for modes in range(1, most + 1):
        change = np.inf
        while change > 1e-3 * Y.std():
            U = np.linalg.eigh(Y @ Y.T)[1][:, -modes:]
            fitted = U @ (U.T @ Y)
            change = np.sqrt(np.mean((fitted - Y)[~seen] ** 2))
            Y = np.where(seen, Y, fitted)
        yield Y + mean


aside = np.zeros(truth.shape, dtype=bool)
cells = np.flatnonzero(~hidden)
aside.flat[rng.choice(cells, len(cells) // 100 + 30, replace=False)] = True
errors = [np.mean((Y - truth)[aside] ** 2) for Y in fills(~hidden & ~aside, 60)]
modes = int(np.argmin(errors)) + 1
*_, dineof = fills(~hidden, modes)
print(f"DINEOF with {modes} modes: {error(dineof):.4f}")

# %%
# One winter
# ----------

winter = int(np.argmax(hidden.sum(axis=1)))


def draw(axis, values, title, **style):
    image = axis.imshow(
        np.reshape(values, grid), extent=extent, origin="lower", aspect="auto", **style
    )
    axis.set_title(title, fontsize="medium")
    figure.colorbar(image, ax=axis, shrink=0.8)


figure, axes = plt.subplots(2, 3, figsize=(10, 5), layout="constrained")
anomaly = truth[winter] - truth.mean(axis=0)
behind = np.where(hidden[winter], 1.0, np.nan)
largest = np.abs(dineof - truth)[winter].max()
style = {"cmap": "RdBu_r", "vmin": -150, "vmax": 150}
gaps = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
draw(axes[0, 0], anomaly, "anomaly of a winter (m)", **style)
draw(axes[0, 1], np.where(hidden[winter], np.nan, anomaly), "with clouds", **style)
ours = filled.to_numpy()[winter]
draw(axes[0, 2], ours - truth.mean(axis=0), "filled", **style)
draw(axes[1, 0], (ours - truth[winter]) * behind, "error", **gaps)
draw(axes[1, 1], (dineof - truth)[winter] * behind, "error of DINEOF", **gaps)
std = imputer.impute(clouded, return_std=True)[1][winter]
draw(axes[1, 2], std * behind, "standard deviation", cmap="viridis")

# %%
# Empirical orthogonal functions
# ------------------------------
#
# Those of the anomalies from the mean of each place: `components_`, with the share of
# the variance that each explains, and as rows of `transform` the principal components.
# Those of the field without clouds, which nobody would have, are nearly the same.

model = PrecGDImputer(noise="uniform").fit(clouded).factorization_
shares = model.explained_variance_ratio_
u, s, complete = np.linalg.svd(truth - truth.mean(axis=0), full_matrices=False)
figure, axes = plt.subplots(1, 3, figsize=(10, 2.6), layout="constrained")
for k, axis in enumerate(axes):
    pattern = model.components_[k]
    likeness = abs(pattern @ complete[k])
    share = s[k] ** 2 / np.sum(s**2)
    print(
        f"mode {k + 1}: {shares[k]:.1%} of the variance ({share:.1%} without clouds), "
        f"correlation with the mode without clouds {likeness:.3f}"
    )
    draw(axis, pattern, f"mode {k + 1}, {shares[k]:.0%}", cmap="RdBu_r")

plt.show()
