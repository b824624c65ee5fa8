"""``python -m skprecgd``: recover a picture most of whose pixels are hidden.

A photograph as one height x width matrix is only roughly of low rank. Its small
square patches are much closer to it: they lie near a space of some twenty
dimensions out of the 192 values that 8 x 8 pixels of three colours have. So the
matrix that is completed here holds one (overlapping) patch a row, and a pixel of the
picture is the mean of what the patches around it say.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import distance_transform_edt

from skprecgd import PrecGDFactorization
from skprecgd._runtime.typing import Array

PATCH = 8
"""Height and width of a patch, in pixels."""
STRIDE = 3
"""Pixels from one patch to the next; overlapping patches average out errors."""
SEARCH_RANK = 24
RIDGE = 0.02
"""`alpha`, as a share of the norm of the patches about their offsets and of what is
visible of them."""
TOLERANCE = 5e-3
"""`tol` of the fit: smaller ones cost time and change the picture invisibly."""
LONGEST_SIDE = 640
"""Pixels; larger pictures are shrunk to this, so that a run stays short."""
ENDINGS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")


class DemoError(Exception):
    """An error that keeps the demonstration from running, in one sentence."""


@dataclass(frozen=True)
class Recovery:
    """The result of `recover`.

    Attributes
    ----------
    picture : ndarray of shape (height, width, n_channels)
        Visible pixels as they were, the others estimated.
    model : PrecGDFactorization
        Fitted to the patches.
    patches_shape : tuple of int
        Shape of the matrix that was completed.
    seconds : float
        Duration of the fit.
    """

    picture: Array
    model: Any
    patches_shape: tuple[int, int]
    seconds: float


def load_picture(path: Path | None = None) -> Array:
    """Read a picture.

    Parameters
    ----------
    path : Path, default=None
        Any file that pillow opens; None is scikit-learn's ``china.jpg``.

    Returns
    -------
    ndarray of shape (height, width, n_channels)
        Between 0 and 1; one channel if grey, else three. At most `LONGEST_SIDE`
        pixels on a side.

    Raises
    ------
    DemoError
        If there is no such file, it is not a picture, or it is too small.
    """
    if path is None:
        from sklearn.datasets import load_sample_image

        return np.asarray(load_sample_image("china.jpg") / 255.0)
    if not path.is_file():
        msg = f"there is no file {str(path)!r}."
        raise DemoError(msg)
    picture = _read(path)
    if min(picture.shape[:2]) < PATCH:
        msg = (
            f"{str(path)!r} is {_size(picture)} pixels, but at least "
            f"{PATCH} x {PATCH} are needed."
        )
        raise DemoError(msg)
    return picture


def _read(path: Path) -> Array:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            # Pillow warns of very large pictures; they are shrunk right away.
            warnings.simplefilter("ignore")
            upright = ImageOps.exif_transpose(image)
            levels = _levels(upright)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{str(path)!r} is not a picture that pillow can read."
        raise DemoError(msg) from error
    return levels if levels.ndim == 3 else levels[..., np.newaxis]


def _levels(image: Any) -> Array:
    """Grey or RGB values between 0 and 1 of a pillow image, shrunk if need be."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        # More than 8 bits a pixel: on conversion pillow would clip, not scale.
        deep = np.nan_to_num(np.asarray(image, dtype=float))
        deep = 255 * (deep - deep.min()) / max(np.ptp(deep), np.finfo(float).tiny)
        image = Image.fromarray(deep.astype(np.uint8))
    else:
        image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return np.asarray(image, dtype=float) / 255.0


def hide_pixels(shape: tuple[int, int], share: float, seed: int) -> Array:
    """Choose which pixels stay visible.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    share : float
        Share of the pixels to hide, between 0 and 1. At least one pixel is hidden
        and at least one stays.
    seed : int

    Returns
    -------
    ndarray of bool, shape (height, width)
        True where the pixel is visible.

    Examples
    --------
    >>> from skprecgd.__main__ import hide_pixels
    >>> int(hide_pixels((10, 20), 0.7, seed=0).sum())
    60
    """
    n_pixels = shape[0] * shape[1]
    n_visible = min(max(round((1 - share) * n_pixels), 1), n_pixels - 1)
    visible = np.zeros(n_pixels, dtype=bool)
    chosen = np.random.default_rng(seed).permutation(n_pixels)[:n_visible]
    visible[chosen] = True
    return visible.reshape(shape)


def column_mean(picture: Array, visible: Array) -> Array:
    """Baseline: hidden pixels take the mean of the visible ones in their column.

    Parameters
    ----------
    picture : ndarray of shape (height, width, n_channels)
    visible : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray of shape (height, width, n_channels)
        A column without a visible pixel takes the mean of the whole picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.__main__ import column_mean
    >>> picture = np.array([[[1.0], [8.0]], [[3.0], [0.0]]])
    >>> visible = np.array([[True, True], [True, False]])
    >>> column_mean(picture, visible)[..., 0]
    array([[1., 8.],
           [3., 8.]])
    """
    count = visible.sum(axis=0)[:, np.newaxis]
    total = np.where(visible[..., np.newaxis], picture, 0.0).sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), picture[visible].mean(0))
    return np.where(visible[..., np.newaxis], picture, mean)


def nearest_neighbour(picture: Array, visible: Array) -> Array:
    """Baseline: hidden pixels take the value of the nearest visible pixel.

    Parameters
    ----------
    picture : ndarray of shape (height, width, n_channels)
    visible : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray of shape (height, width, n_channels)

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.__main__ import nearest_neighbour
    >>> picture = np.array([[[1.0], [2.0], [3.0], [4.0], [5.0]]])
    >>> visible = np.array([[True, False, False, False, True]])
    >>> nearest_neighbour(picture, visible)[0, [1, 3], 0]
    array([1., 5.])
    """
    rows, columns = distance_transform_edt(
        ~visible, return_distances=False, return_indices=True
    )
    return np.asarray(picture[rows, columns])


def psnr(estimate: Array, truth: Array, where: Array | None = None) -> float:
    """Peak signal-to-noise ratio of a picture with values between 0 and 1, in dB.

    Parameters
    ----------
    estimate, truth : ndarray of shape (height, width, n_channels)
    where : ndarray of bool, shape (height, width), default=None
        Pixels to compare; None compares all.

    Returns
    -------
    float
        ``-10 log10(mean squared error)``; inf where there is no error.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.__main__ import psnr
    >>> round(psnr(np.full((2, 2, 3), 0.6), np.full((2, 2, 3), 0.5)), 6)
    20.0
    """
    error = estimate - truth if where is None else estimate[where] - truth[where]
    mean_square = float(np.mean(error**2))
    return float(-10 * np.log10(mean_square)) if mean_square > 0 else float("inf")


def to_patches(picture: Array) -> Array:
    """The matrix whose rows are the overlapping patches of a picture.

    Parameters
    ----------
    picture : ndarray of shape (height, width, n_channels)

    Returns
    -------
    ndarray of shape (n_patches, n_channels * PATCH**2)
    """
    windows = sliding_window_view(picture, (PATCH, PATCH), axis=(0, 1))
    tops, lefts = _corners(picture.shape)
    chosen = windows[np.ix_(tops, lefts)]
    patches: Array = chosen.reshape(len(tops) * len(lefts), -1)
    return patches


def from_patches(
    patches: Array, shape: tuple[int, ...], weights: Array | None = None
) -> Array:
    """The picture whose pixels are the means over the patches that hold them.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, n_channels * PATCH**2)
    shape : tuple of int
        Height, width and number of channels of the picture.
    weights : ndarray of shape (n_patches,), default=None
        Positive weights of the patches in the means; None is equal weights.

    Returns
    -------
    ndarray of shape (height, width, n_channels)

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.__main__ import from_patches, to_patches
    >>> picture = np.random.default_rng(0).random((13, 21, 3))
    >>> bool(np.allclose(from_patches(to_patches(picture), picture.shape), picture))
    True
    """
    tops, lefts = _corners(shape)
    values = patches.reshape(len(tops), len(lefts), shape[2], PATCH, PATCH)
    if weights is None:
        weights = np.ones(len(patches))
    weight = weights.reshape(len(tops), len(lefts), 1)
    total, sum_of_weights = np.zeros(shape), np.zeros(shape)
    for i in range(PATCH):
        for j in range(PATCH):
            pixels = np.ix_(tops + i, lefts + j)
            total[pixels] += weight * values[..., i, j]
            sum_of_weights[pixels] += weight
    return total / sum_of_weights


def _corners(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Rows and columns where patches begin; the last one ends at the border."""
    tops, lefts = (
        np.unique(np.append(np.arange(0, side - PATCH, STRIDE), side - PATCH))
        for side in shape[:2]
    )
    return tops, lefts


def recover(
    picture: Array, visible: Array, rank: int | None = None, seed: int = 0
) -> Recovery:
    """Complete a picture from its visible pixels.

    Parameters
    ----------
    picture : ndarray of shape (height, width, n_channels)
        Hidden pixels are not looked at.
    visible : ndarray of bool, shape (height, width)
    rank : int, default=None
        Search rank of the patches; None is `SEARCH_RANK`, or less on tiny pictures.
    seed : int, default=0

    Returns
    -------
    Recovery

    Raises
    ------
    DemoError
        If the visible pixels all have the same colour.
    """
    seen = picture[visible]
    if np.all(seen == seen[0]):
        msg = (
            f"all visible pixels ({len(seen)}) have the same colour, so there is "
            "nothing to learn from; hide less or take another picture."
        )
        raise DemoError(msg)
    patches = to_patches(np.where(visible[..., np.newaxis], picture, np.nan))
    if rank is None:
        rank = min(SEARCH_RANK, *patches.shape)
    started = time.perf_counter()
    # The ridge decides how many components matter, at one fixed search rank: the
    # spectrum of a photograph has no gap for a path to stop at, and entries held out
    # at random would not choose well either, since a hidden pixel lacks all three
    # channels at once while a held-out entry still shows the other two.
    model = PrecGDFactorization(
        rank,
        rank_search="fixed",
        center="both",
        alpha=_ridge(patches),
        tol=TOLERANCE,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # The report says why the fit ended; patches without a visible pixel, of which
        # the fit warns, are dealt with below.
        warnings.simplefilter("ignore")
        model.fit(patches)
        completed = model.left_ @ model.right_.T + model.center_
    seconds = time.perf_counter() - started
    # A patch without a visible pixel is estimated by the mean patch alone, so it counts
    # only where no patch with a visible pixel overlaps it.
    weights = np.where(np.isnan(patches).all(axis=1), 1e-6, 1.0)
    estimate = np.clip(from_patches(completed, picture.shape, weights), 0.0, 1.0)
    estimate[visible] = picture[visible]
    return Recovery(estimate, model, patches.shape, seconds)


def _ridge(patches: Array) -> float:
    """`alpha` for patches with missing entries.

    What the leading components leave unexplained acts like noise; its size follows
    that of the patches themselves, as measured on photographs of very different
    contrast, so one share of it serves them all.
    """
    missing = np.isnan(patches)
    count = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
    offset = np.where(missing, 0.0, patches).sum(axis=1, keepdims=True) / count
    residual = np.where(missing, 0.0, patches - offset)
    # The norm of whole patches, times the share of them that is visible.
    return RIDGE * float(np.linalg.norm(residual) * np.sqrt(np.mean(~missing)))


def spectrum(picture: Array) -> Array:
    """Singular values of the patches of a whole picture, less their mean patch.

    Comparable with the model's: its row offsets are one of its components.
    """
    patches = to_patches(picture)
    upper = np.linalg.qr(patches - patches.mean(axis=0), mode="r")
    values: Array = np.linalg.svd(upper, compute_uv=False)
    return values


def draw(picture: Array, visible: Array, recovery: Recovery, path: Path) -> None:
    """Write original, observed and recovered picture and the singular values.

    Parameters
    ----------
    picture : ndarray of shape (height, width, n_channels)
    visible : ndarray of bool, shape (height, width)
    recovery : Recovery
    path : Path
        Where to write; the ending chooses the format.

    Raises
    ------
    DemoError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tall = _panel_shape(picture)
    panel = 5.0 * min(1.0, 1.0 / tall)
    size = (4 * panel + 1.4, panel * tall + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 4)
    found = psnr(recovery.picture, picture, ~visible)
    observed = np.where(visible[..., np.newaxis], picture, 0.0)
    _show(axes[0], picture, "original")
    _show(axes[1], observed, f"observed: {visible.mean():.0%} of the pixels")
    _show(axes[2], recovery.picture, f"recovered: {found:.1f} dB where hidden")
    _plot_spectrum(axes[3], picture, recovery)
    try:
        figure.savefig(path, dpi=140)
    except OSError as error:
        msg = f"cannot write {str(path)!r}: {error.strerror or error}."
        raise DemoError(msg) from error


def _panel_shape(picture: Array) -> float:
    """Height over width of a panel: the picture's, unless that is extreme."""
    return float(np.clip(picture.shape[0] / picture.shape[1], 0.4, 2.0))


def _show(axes: Any, picture: Array, title: str) -> None:
    grey = picture.shape[2] == 1
    axes.imshow(
        picture[..., 0] if grey else picture,
        cmap="gray" if grey else None,
        vmin=0.0,
        vmax=1.0,
    )
    axes.set_title(title)
    axes.set_axis_off()


def _plot_spectrum(axes: Any, picture: Array, recovery: Recovery) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    found = np.asarray(recovery.model.singular_values_)
    truth = spectrum(picture)[: 2 * len(found) + 4]
    for values, style, label in (
        (truth, {"color": "0.65", "marker": "."}, "original picture"),
        (found, {"color": "C0", "marker": "o"}, f"recovered: rank {len(found)}"),
    ):
        positive = np.where(values > 0, values, np.nan)
        axes.semilogy(np.arange(1, len(values) + 1), positive, label=label, **style)
    axes.set_box_aspect(_panel_shape(picture))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("singular values of the patches")
    axes.set_xlabel("component")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None takes those of the command line.

    Returns
    -------
    int
        Exit status: 0, or 2 with one sentence on stderr where it could not run.
    """
    try:
        _run(_parse(argv))
    except DemoError as error:
        print(f"skprecgd: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("skprecgd: interrupted; nothing was written.", file=sys.stderr)
        return 130
    return 0


def _run(arguments: argparse.Namespace) -> None:
    picture = load_picture(arguments.image)
    visible = hide_pixels(picture.shape[:2], arguments.hide, arguments.seed)
    _check_rank(arguments.rank, picture)
    with _progress(f"recovering {_size(picture)} pixels"):
        recovery = recover(picture, visible, arguments.rank, arguments.seed)
    _report(arguments, picture, visible, recovery)
    draw(picture, visible, recovery, arguments.out)
    print(f"The pictures side by side are in {arguments.out}.")


def _report(
    arguments: argparse.Namespace, picture: Array, visible: Array, found: Recovery
) -> None:
    model, n_pixels = found.model, visible.size
    n_rows, n_columns = found.patches_shape
    name = arguments.image or "scikit-learn's china.jpg"
    colour = "grey" if picture.shape[2] == 1 else "colour"
    guesses = (
        ("recovered", found.picture),
        ("nearest visible neighbour", nearest_neighbour(picture, visible)),
        ("mean of the column", column_mean(picture, visible)),
    )
    print(f"Picture:    {name}, {_size(picture)} pixels, {colour}")
    print(
        f"Observed:   {visible.sum():,} of {n_pixels:,} pixels "
        f"({visible.mean():.1%}, seed {arguments.seed}); the others were hidden"
    )
    print(
        f"Completed:  {n_rows:,} overlapping patches of {PATCH} x {PATCH} pixels, as "
        f"one {n_rows:,} x {n_columns} matrix"
    )
    print(f"Rank found: {model.n_components_} (searched up to {model.n_components})")
    print(f"Effort:     {model.n_iter_} iterations, {found.seconds:.1f} s")
    print(f"Ended:      {model.stop_reason_}")
    print("PSNR against the hidden truth (higher is better):")
    print(f"  {'':27}{'hidden pixels':>15}{'all pixels':>13}")
    for label, guess in guesses:
        hidden, whole = psnr(guess, picture, ~visible), psnr(guess, picture)
        print(f"  {label:27}{hidden:12.2f} dB{whole:10.2f} dB")


def _size(picture: Array) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Show on a terminal that the fit is running: rich's bar, or a line of text."""
    if not sys.stderr.isatty():
        yield
    elif find_spec("rich") is None:
        with _ticking_line(what):
            yield
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn(what), BarColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True) as bar:
            # Without a total the bar moves to and fro. The numbers of ranks and
            # iterations are known only after the fit.
            bar.add_task(what, total=None)
            yield


@contextmanager
def _ticking_line(what: str) -> Iterator[None]:
    """A line with the seconds so far, rewritten in place and wiped at the end."""
    done = threading.Event()
    started = time.perf_counter()

    def tick() -> None:
        while not done.wait(0.2):
            line = f"\r{what} ... {time.perf_counter() - started:.0f} s"
            print(line, end="", file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
        print("\r" + " " * (len(what) + 20) + "\r", end="", file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    """Refuses in one sentence, without the usage lines."""

    def error(self, message: str) -> NoReturn:
        msg = f"{message.rstrip('.')} (see python -m skprecgd --help)."
        raise DemoError(msg)


_DESCRIPTION = (
    "Hide most pixels of a picture, recover it as a low-rank matrix, and compare with "
    "the truth."
)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = _parser().parse_args(argv)
    _check(arguments)
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m skprecgd",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "image",
        nargs="?",
        type=Path,
        metavar="IMAGE",
        help="any picture, colour or grey (default: scikit-learn's china.jpg)",
    )
    parser.add_argument(
        "--hide",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="share of the pixels to hide, between 0 and 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--rank",
        type=int,
        metavar="N",
        help=f"search rank, an upper bound (default: {SEARCH_RANK})",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="which pixels are hidden (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("skprecgd_demo.png"),
        metavar="FILE",
        help="where to write the pictures (default: %(default)s)",
    )
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse arguments with which the run would fail only after the fit."""
    hide, rank, seed, out = (
        getattr(arguments, name) for name in ("hide", "rank", "seed", "out")
    )
    msg = ""
    if not 0 < hide < 1:
        msg = f"--hide must lie between 0 and 1, both excluded, got {hide:g}."
    elif rank is not None and rank < 1:
        msg = f"--rank must be at least 1, got {rank}."
    elif not 0 <= seed < 2**32:
        msg = f"--seed must be between 0 and {2**32 - 1}, got {seed}."
    elif out.suffix.lower() not in ENDINGS:
        msg = f"--out must end in one of {', '.join(ENDINGS)}, got {str(out)!r}."
    elif not out.parent.is_dir():
        msg = f"--out {str(out)!r} lies in a directory that does not exist."
    elif out.is_dir() or not os.access(out.parent, os.W_OK):
        msg = f"--out {str(out)!r} cannot be written."
    elif arguments.image and out.resolve() == arguments.image.resolve():
        msg = f"--out {str(out)!r} is the picture itself; choose another name."
    if not msg:
        msg = _missing_packages()
    if msg:
        raise DemoError(msg)


def _missing_packages() -> str:
    missing = [
        name
        for name, module in (("matplotlib", "matplotlib"), ("pillow", "PIL"))
        if find_spec(module) is None
    ]
    if not missing:
        return ""
    return (
        f"the demonstration needs {' and '.join(missing)}; "
        'install with: pip install "skprecgd[plot]"'
    )


def _check_rank(rank: int | None, picture: Array) -> None:
    tops, lefts = _corners(picture.shape)
    largest = min(len(tops) * len(lefts), picture.shape[2] * PATCH**2)
    if rank is not None and rank > largest:
        msg = (
            f"--rank {rank} is too large for a picture of {_size(picture)} pixels; "
            f"at most {largest} is possible."
        )
        raise DemoError(msg)


if __name__ == "__main__":
    sys.exit(main())
