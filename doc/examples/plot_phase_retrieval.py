"""
An image from the intensities of its diffraction patterns
=========================================================

Detectors of light and X-rays count photons: they see the squared size of a wave, and
not its phase. Behind a few known masks, the intensities of the Fourier transform
determine the image, up to one phase: they are linear in ``M = x x^H``, a matrix of rank
one.
"""

# %%
# A complex image and six masks
# -----------------------------
#
# The image has an amplitude and a phase. Each mask shifts the phase of a pixel by a
# quarter turn or more, at random (coded diffraction).

import matplotlib.pyplot as plt
import numpy as np

from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import DiffractionMeasurements

rng = np.random.default_rng(0)
n = 48
rows, columns = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
amplitude = 0.2 + (np.hypot(rows, columns) < 0.8) * (1 + 0.5 * np.sign(rows * columns))
phase = 1.2 * np.cos(4 * columns + 3 * rows**2)
image = amplitude * np.exp(1j * phase)

masks = rng.choice([1, -1, 1j, -1j], size=(6, n, n))
patterns = np.abs(np.fft.fft2(masks * image)) ** 2

# %%
# The matrix has 5 million entries, and is never formed: a product with it is one fast
# Fourier transform for each mask.

measurements = DiffractionMeasurements(masks)
model = PrecGDMatrixSensing(n_components=1, symmetric=True)
model.fit(measurements, patterns.ravel())
print(model.stop_reason_)

found = model.left_.reshape(n, n)
found = found * np.exp(1j * np.angle(np.vdot(found, image)))
error = np.linalg.norm(found - image) / np.linalg.norm(image)
print(f"relative error of the image, up to its phase: {error:.0e}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
shown = [
    ("amplitude", amplitude),
    ("one of the patterns", np.log(np.fft.fftshift(patterns[0]) + 1)),
    ("amplitude found", np.abs(found)),
    ("phase found", np.angle(found)),
]
for axis, (title, values) in zip(axes, shown, strict=True):
    axis.imshow(values)
    axis.set(title=title, xticks=[], yticks=[])

# %%
# A field of which a part is missing
# ----------------------------------
#
# A complex array is completed like a real one. Here three plane waves are seen by an
# array of antennas at 30 % of all times.

from skprecgd import observed_entries

antennas, times = np.arange(40)[:, None], np.arange(200)
waves = [
    np.exp(1j * (0.9 * k + 0.3) * antennas) * np.exp(1j * rng.uniform(0, 6, 200))
    for k in range(3)
]
field = sum(waves)
seen = np.where(rng.random(field.shape) < 0.3, field, np.nan)
model = PrecGDMatrixSensing(n_components=8).fit(*observed_entries(seen))
error = np.linalg.norm(model.matrix_ - field) / np.linalg.norm(field)
print(f"rank {model.n_components_}, relative error {error:.0e}")

figure, axes = plt.subplots(3, 1, figsize=(7, 4.5), layout="constrained")
for axis, (title, values) in zip(
    axes,
    [("real part", field), ("seen", seen), ("completed", model.matrix_)],
    strict=True,
):
    axis.imshow(values.real, aspect="auto")
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
