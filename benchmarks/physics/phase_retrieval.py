r"""Images from coded diffraction patterns: errors and Fourier transforms, beside TWF.

    python benchmarks/physics/phase_retrieval.py [--sides 32 64 128] [--seeds 3]

A complex Gaussian image of side n stands behind L masks of random quarter turns of the
phase; patterns are squared Fourier transforms, without noise. Printed are the share of
the draws with a relative error of the image, up to its phase, below 1e-8, the largest
error, and the median number of transforms (of an image, forward or back), for

- the package: ``PrecGDMatrixSensing(1, symmetric=True)``, all else at its default, and
- truncated Wirtinger flow (Chen and Candes, CPAM 2017), written here from algorithm 1
  of the paper with its constants: 50 power iterations, then steps of 0.2 until the
  relative residual is below 1e-9, or 2000.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from scipy import fft
from sklearn.exceptions import ConvergenceWarning

import skprecgd.measurements.diffraction as diffraction
from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import DiffractionMeasurements

TOL, WANTED, MAX_ITER = 1e-9, 1e-8, 2000
# Constants of the paper: of the start, and of steps.
ALPHA_Y, ALPHA_LB, ALPHA_UB, ALPHA_H, STEP, POWER = 3.0, 0.3, 5.0, 5.0, 0.2, 50


class CountedTransforms:
    """`scipy.fft`, counting transforms of single images."""

    def __init__(self):
        self.count = 0

    def _counted(self, transform, x, axes, options):
        self.count += x.size // int(np.prod([x.shape[axis] for axis in axes]))
        return transform(x, axes=axes, **options)

    def fftn(self, x, axes, **options):
        return self._counted(fft.fftn, x, axes, options)

    def ifftn(self, x, axes, **options):
        return self._counted(fft.ifftn, x, axes, options)


def truncated_wirtinger_flow(masks, patterns, transforms, rng):
    """Algorithm 1 of the paper; vectors have entries of mean square one."""
    axes = (1, 2)
    count = patterns.size

    def seen(z):
        return transforms.fftn(masks * z, axes=axes)

    def back(fields):
        images = transforms.ifftn(fields, axes=axes, norm="forward")
        return np.sum(masks.conj() * images, axis=0)

    mean = patterns.mean()
    kept = patterns * (patterns <= ALPHA_Y**2 * mean)
    z = rng.standard_normal(masks.shape[1:]) + 1j * rng.standard_normal(masks.shape[1:])
    for _ in range(POWER):
        z = back(kept * seen(z))
        z /= np.linalg.norm(z)
    z *= np.sqrt(mean)
    for _ in range(MAX_ITER):
        fields = seen(z)
        sizes, norm = np.abs(fields), np.linalg.norm(z)
        left = patterns - sizes**2
        if np.linalg.norm(left) <= TOL * np.linalg.norm(patterns):
            break
        usual = (sizes >= ALPHA_LB * norm) & (sizes <= ALPHA_UB * norm)
        level = ALPHA_H * np.mean(np.abs(left)) / norm
        usual &= np.abs(left) <= level * sizes
        pull = np.zeros_like(fields)
        np.divide(left, fields.conj(), out=pull, where=usual)
        z = z + 2 * STEP / count * back(pull)
    return z


def error(found, image):
    turned = found * np.exp(1j * np.angle(np.vdot(found, image)))
    return float(np.linalg.norm(turned - image) / np.linalg.norm(image))


def row(side, n_masks, seeds):
    results = {"skprecgd": [], "TWF": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        parts = rng.standard_normal((2, side, side))
        image = parts[0] + 1j * parts[1]
        masks = rng.choice([1, -1, 1j, -1j], size=(n_masks, side, side))
        patterns = np.abs(fft.fft2(masks * image)) ** 2
        for name, found in results.items():
            transforms = diffraction.fft = CountedTransforms()
            started = time.process_time()
            if name == "TWF":
                z = truncated_wirtinger_flow(masks, patterns, transforms, rng)
            else:
                model = PrecGDMatrixSensing(1, symmetric=True)
                model.fit(DiffractionMeasurements(masks), patterns.ravel())
                z = model.left_.reshape(side, side)
            cpu = time.process_time() - started
            found.append((error(z, image), transforms.count, cpu))
    for name, found in results.items():
        errors, counts, seconds = map(np.array, zip(*found, strict=True))
        print(
            f"{side:5d} {n_masks:8d}  {name:9s} {np.mean(errors < WANTED):7.2f} "
            f"{errors.max():9.1e} {np.median(counts):9.0f} {counts.max():9.0f} "
            f"{np.median(seconds):8.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--masks", type=int, nargs="+", default=[4, 6, 8])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(" side patterns             < 1e-8     worst      FFTs     worst    CPU s")
    for side in args.sides:
        for n_masks in args.masks:
            row(side, n_masks, args.seeds)


if __name__ == "__main__":
    main()
