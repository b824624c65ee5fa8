"""Clouds over fields of the weather and the sea, beside DINEOF and softImpute.

Heights of the 500 hPa surface over the Atlantic in 65 winters (``hgt_djf``), and
anomalies of the sea surface temperature of the Pacific in 50 (``sst``, without land),
from the package `eofs`. Clouds are where a random field is above a quantile, smoothed
over one winter and two cells of the grid, over 40 and 70 % of the cells. Errors
behind the clouds over the standard deviation of the field:

* ``default``: ``PrecGDImputer()``; ``field``: with ``center="both"`` and
  ``noise="uniform"``, for all cells have one unit;
* DINEOF, as published (dineof.py), with its number of modes and its means chosen by its
  own cross-validation on random cells, and on clouds of other times;
* softImpute about the means of the places, its penalty chosen on held-out cells.

A line a seed, then the medians, and in how many fields ours is below both::

    pip install eofs xarray netCDF4
    python benchmarks/real/fields.py                    # ten minutes
    python benchmarks/real/fields.py --quick            # two seeds
"""

from __future__ import annotations

import argparse
import warnings
from importlib import resources
from typing import NamedTuple

import _one_thread  # noqa: F401
import numpy as np
import soft_impute
from _common import Array, load_kernels, parser, root_mean_square, timed
from dineof import dineof, random_cells, shifted_clouds
from scipy.ndimage import gaussian_filter

from skprecgd import PrecGDImputer

FILES = {"hgt_djf": ("hgt_djf.nc", "z"), "sst": ("sst_ndjfm_anom.nc", "sst")}
SHARES = (0.4, 0.7)
# Standard deviations of the smoothing: winters, and cells by latitude and longitude.
SMOOTH = (1.0, 2.0, 2.0)
OURS = {"default": {}, "field": {"center": "both", "noise": "uniform"}}
PEERS = ("dineof", "dineof-clouds", "softimpute")


class Field(NamedTuple):
    """Times and places, and which cells of the grid these are."""

    values: Array
    places: Array

    @property
    def grid(self) -> tuple[int, ...]:
        return len(self.values), *self.places.shape


def load(name: str) -> Field:
    import xarray as xr

    file, variable = FILES[name]
    folder = resources.files("eofs") / "examples" / "example_data"
    with warnings.catch_warnings():
        # The dates begin in the year one.
        warnings.simplefilter("ignore")
        with xr.open_dataset(str(folder / file)) as data:
            values = data[variable].squeeze().to_numpy().astype(float)
    places = ~np.isnan(values).any(axis=0)
    return Field(values[:, places], places)


def clouds(field: Field, share: float, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=field.grid), SMOOTH, mode="nearest")
    return (smooth > np.quantile(smooth, 1 - share))[:, field.places]


def filled_by(method: str, X: Array, hidden: Array, args: argparse.Namespace) -> Array:
    """The field without what lies behind the clouds, filled."""
    seen = ~hidden
    X = np.where(hidden, np.nan, X)
    rng = np.random.default_rng(0)
    if method in OURS:
        parameters = {**OURS[method], **args.parameters}
        return PrecGDImputer(**parameters).fit_transform(X)
    if method == "softimpute":
        means = np.nanmean(X, axis=0)
        return (
            soft_impute.by_hold_out(np.where(seen, X - means, 0.0), seen, rng) + means
        )
    aside = shifted_clouds if method.endswith("clouds") else random_cells
    return dineof(np.where(seen, X, 0.0), seen, rng, aside)[0]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, help="default: 10; quick: 2")
    args = options.parse_args()
    seeds = args.seeds or (2 if args.quick else 10)
    load_kernels(center="columns")
    methods = (*OURS, *PEERS)
    print(f"{'':18}" + "".join(f"{name:>15}" for name in methods))
    for name in FILES:
        field = load(name)
        spread = float(np.std(field.values))
        for share in SHARES:
            errors, cpu = [], []
            for seed in range(seeds):
                hidden = clouds(field, share, seed)
                runs = [
                    timed(filled_by, method, field.values, hidden, args)
                    for method in methods
                ]
                gaps = [(run.found - field.values)[hidden] for run in runs]
                errors.append([root_mean_square(gap) / spread for gap in gaps])
                cpu.append([run.cpu for run in runs])
                line = "".join(f"{error:15.4f}" for error in errors[-1])
                print(f"{name:8}{share:4.0%}{seed:6}{line}", flush=True)
            report(f"{name} {share:.0%}", np.array(errors), np.array(cpu))


def report(label: str, errors: Array, cpu: Array) -> None:
    ours = len(OURS)
    for what, numbers in (
        ("median", np.median(errors, axis=0)),
        ("worst", np.max(errors, axis=0)),
        ("CPU s", np.median(cpu, axis=0)),
    ):
        print(f"{label:12}{what:6}" + "".join(f"{x:15.4f}" for x in numbers))
    best = errors[:, ours:].min(axis=1)
    for k, name in enumerate(OURS):
        ratio = errors[:, k] / best
        print(
            f"{label}, {name}: {np.sum(ratio < 1)} of {len(ratio)} below the best "
            f"peer, ratio {np.median(ratio):.3f} in the median, {ratio.max():.3f} "
            "at worst"
        )
    print(flush=True)


if __name__ == "__main__":
    main()
