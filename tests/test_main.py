"""The demonstration, ``python -m skprecgd``."""

from __future__ import annotations

import doctest
import io
import subprocess
import sys
import time

import numpy as np
import pytest

from skprecgd import __main__ as demo

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")


def smooth_picture(height=32, width=40, n_channels=3):
    """A sum of few slow waves: every patch lies in the same small space."""
    rows = np.linspace(0.0, 1.0, height)[:, np.newaxis, np.newaxis]
    columns = np.linspace(0.0, 1.0, width)[np.newaxis, :, np.newaxis]
    phase = np.arange(n_channels)
    waves = np.sin(5 * rows + phase) * np.cos(4 * columns) + rows * columns
    return (waves - waves.min()) / np.ptp(waves)


def save(picture, path):
    levels = np.round(255 * picture).astype(np.uint8)
    Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(path)
    return path


@pytest.fixture
def colour_png(tmp_path):
    return save(smooth_picture(), tmp_path / "colour.png")


def refused(capsys, *argv):
    """The one sentence on stderr with which `main` refuses."""
    assert demo.main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("skprecgd: ")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith((".\n", '"\n'))
    return captured.err


# -- arguments --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--hide", "0"], ["--hide", "got 0"]),
        (["--hide", "1"], ["--hide", "got 1"]),
        (["--hide", "-0.5"], ["--hide", "got -0.5"]),
        (["--hide", "70"], ["--hide", "got 70"]),
        (["--hide", "nan"], ["--hide", "got nan"]),
        (["--hide", "most"], ["--hide", "'most'"]),
        (["--rank", "0"], ["--rank", "got 0"]),
        (["--rank", "-3"], ["--rank", "got -3"]),
        (["--rank", "2.5"], ["--rank", "'2.5'"]),
        (["--rank", "193"], ["--rank 193", "at most 192"]),
        (["--seed", "-1"], ["--seed", "got -1"]),
        (["--seed", str(2**32)], ["--seed", f"got {2**32}"]),
        (["--out", "picture.xyz"], ["--out", "'picture.xyz'", ".png"]),
        (["--out", "picture"], ["--out", "'picture'", ".png"]),
        (["--out", "no/such/directory.png"], ["--out", "directory that does not"]),
        (["no-such-file.png"], ["'no-such-file.png'", "no file"]),
        (["--colour", "red"], ["--colour"]),
        (["one.png", "two.png"], ["two.png"]),
    ],
)
def test_bad_arguments(capsys, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, *argv)
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []


def test_rank_is_bounded_by_a_small_picture(capsys, tmp_path):
    path = save(smooth_picture(9, 10), tmp_path / "small.png")
    assert "at most 4 " in refused(capsys, path, "--rank", 5)


@pytest.mark.parametrize("content", [b"", b"just text", b"\x89PNG\r\n\x1a\n broken"])
def test_not_a_picture(capsys, tmp_path, content):
    path = tmp_path / "text.png"
    path.write_bytes(content)
    assert "pillow" in refused(capsys, path)


def test_truncated_picture(capsys, tmp_path):
    path = save(smooth_picture(), tmp_path / "cut.png")
    path.write_bytes(path.read_bytes()[:-200])
    assert "pillow" in refused(capsys, path)


def test_directory_as_picture_or_output(capsys, tmp_path, colour_png):
    directory = tmp_path / "folder.png"
    directory.mkdir()
    assert "no file" in refused(capsys, directory)
    assert "cannot be written" in refused(capsys, colour_png, "--out", directory)


def test_picture_is_not_overwritten(capsys, colour_png):
    before = colour_png.read_bytes()
    assert "itself" in refused(capsys, colour_png, "--out", colour_png)
    assert colour_png.read_bytes() == before


@pytest.mark.parametrize("shape", [(7, 40), (40, 7), (1, 1)])
def test_too_small_a_picture(capsys, tmp_path, shape):
    path = save(np.ones((*shape, 3)), tmp_path / "small.png")
    assert f"{shape[1]} x {shape[0]} pixels" in refused(capsys, path)


def test_flat_picture(capsys, tmp_path):
    path = save(np.full((16, 16, 3), 0.4), tmp_path / "flat.png")
    assert "same colour" in refused(capsys, path, "--out", tmp_path / "out.png")


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        (("matplotlib",), "matplotlib;"),
        (("PIL",), "pillow;"),
        (("matplotlib", "PIL"), "matplotlib and pillow;"),
    ],
)
def test_missing_package(capsys, monkeypatch, absent, names):
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    message = refused(capsys)
    assert names in message
    assert 'pip install "skprecgd[plot]"' in message


def test_examples_in_docstrings():
    # pytest leaves __main__.py out when it collects them.
    outcome = doctest.testmod(demo, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted > 10
    assert outcome.failed == 0


def test_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        demo.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in ("IMAGE", "--hide", "--rank", "--seed", "--out"):
        assert option in text


# -- pictures ---------------------------------------------------------------------


def test_default_picture():
    picture = demo.load_picture()
    assert picture.shape == (427, 640, 3)
    assert picture.min() >= 0
    assert picture.max() <= 1


@pytest.mark.parametrize(
    ("mode", "n_channels"),
    [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)],
)
def test_every_mode_becomes_grey_or_colour(tmp_path, mode, n_channels):
    levels = np.round(255 * smooth_picture()).astype(np.uint8)
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    Image.fromarray(levels).convert(mode).save(path)
    picture = demo.load_picture(path)
    assert picture.shape == (32, 40, n_channels)
    assert 0 <= picture.min() < picture.max() <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_grey_is_scaled_not_clipped(tmp_path, dtype):
    truth = smooth_picture(n_channels=1)
    path = tmp_path / "deep.tif"
    Image.fromarray((60000 * truth[..., 0]).astype(dtype)).save(path)
    np.testing.assert_allclose(demo.load_picture(path), truth, atol=1.5 / 255)


def test_large_pictures_are_shrunk(tmp_path):
    path = save(smooth_picture(100, 1280), tmp_path / "large.png")
    assert demo.load_picture(path).shape == (50, 640, 3)


def test_photograph_is_turned_upright(tmp_path):
    levels = np.round(255 * smooth_picture()).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    Image.fromarray(levels).save(tmp_path / "turned.png", exif=exif)
    assert demo.load_picture(tmp_path / "turned.png").shape == (40, 32, 3)


# -- hidden pixels, baselines, PSNR -----------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_hidden_share(share):
    visible = demo.hide_pixels((20, 30), share, seed=3)
    assert visible.shape == (20, 30)
    assert visible.sum() == round((1 - share) * 600)


def test_some_pixels_are_hidden_and_some_are_not():
    assert demo.hide_pixels((8, 8), 1e-9, seed=0).sum() == 63
    assert demo.hide_pixels((8, 8), 1 - 1e-9, seed=0).sum() == 1


def test_seed_decides_which():
    first, again, other = (demo.hide_pixels((20, 30), 0.5, s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_baselines_and_psnr_on_a_known_example():
    picture = np.array([[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]])[..., np.newaxis]
    visible = np.array([[True, False, False], [True, False, True]])
    by_column = demo.column_mean(picture, visible)[..., 0]
    overall = np.mean([0.0, 0.6, 1.0])
    np.testing.assert_allclose(
        by_column, [[0.0, overall, 1.0], [0.6, overall, 1.0]], rtol=1e-14
    )
    nearest = demo.nearest_neighbour(picture, visible)[..., 0]
    np.testing.assert_array_equal(nearest[visible], picture[visible][:, 0])
    assert nearest[0, 1] == 0.0
    assert nearest[0, 2] == 1.0
    assert nearest[1, 1] in (0.6, 1.0)
    expected = -10 * np.log10(
        np.mean([(overall - 0.2) ** 2, 0.6**2, (overall - 0.8) ** 2])
    )
    got = demo.psnr(by_column[..., np.newaxis], picture, ~visible)
    assert got == pytest.approx(expected, rel=1e-12)


def test_psnr_of_the_truth_is_infinite():
    picture = smooth_picture()
    assert demo.psnr(picture, picture) == np.inf


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 17, 3), (32, 40, 3)])
def test_patches_round_trip(shape):
    picture = np.random.default_rng(0).random(shape)
    patches = demo.to_patches(picture)
    assert patches.shape[1] == shape[2] * demo.PATCH**2
    back = demo.from_patches(patches, shape)
    np.testing.assert_allclose(back, picture, rtol=1e-12)


def test_patches_are_weighted():
    shape = (8, 11, 1)  # two patches, five columns of pixels in common
    patches = np.repeat([[0.0], [1.0]], demo.PATCH**2, axis=1)
    picture = demo.from_patches(patches, shape, np.array([1.0, 3.0]))[..., 0]
    np.testing.assert_allclose(picture[:, :3], 0.0)
    np.testing.assert_allclose(picture[:, 3:8], 0.75)
    np.testing.assert_allclose(picture[:, 8:], 1.0)


# -- recovery ---------------------------------------------------------------------


def test_recover_beats_both_baselines():
    picture = smooth_picture(48, 64)
    visible = demo.hide_pixels((48, 64), 0.7, seed=0)
    untouched = picture.copy()
    found = demo.recover(picture, visible)
    np.testing.assert_array_equal(picture, untouched)
    np.testing.assert_array_equal(found.picture[visible], picture[visible])
    ours, *others = (
        demo.psnr(guess, picture, ~visible)
        for guess in (
            found.picture,
            demo.nearest_neighbour(picture, visible),
            demo.column_mean(picture, visible),
        )
    )
    assert ours > max(others) + 3


def test_hidden_pixels_are_not_looked_at():
    picture = smooth_picture()
    visible = demo.hide_pixels((32, 40), 0.5, seed=1)
    changed = np.where(visible[..., np.newaxis], picture, 0.123)
    first, second = (demo.recover(p, visible).picture for p in (picture, changed))
    np.testing.assert_array_equal(first, second)


def test_patches_without_a_visible_pixel():
    picture = smooth_picture(48, 48)
    visible = demo.hide_pixels((48, 48), 0.5, seed=0)
    visible[8:20, 8:20] = False
    found = demo.recover(picture, visible)
    nearest = demo.nearest_neighbour(picture, visible)
    assert demo.psnr(found.picture, picture) > demo.psnr(nearest, picture)
    visible[:, :] = False
    visible[0, :2] = True
    assert np.isfinite(demo.recover(picture, visible).picture).all()


# -- end to end -------------------------------------------------------------------


@pytest.mark.parametrize("n_channels", [1, 3])
def test_end_to_end(capsys, tmp_path, n_channels):
    path = save(smooth_picture(n_channels=n_channels), tmp_path / "picture.png")
    out = tmp_path / "demo.png"
    argv = [str(path), "--hide", "0.6", "--rank", "6", "--seed", "1", "--out", str(out)]
    assert demo.main(argv) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for words in (
        str(path),
        "40 x 32 pixels, " + ("grey" if n_channels == 1 else "colour"),
        "512 of 1,280 pixels (40.0%, seed 1)",
        "searched up to 6",
        "iterations",
        " dB",
        "nearest visible neighbour",
        "mean of the column",
        str(out),
    ):
        assert words in captured.out
    with Image.open(out) as drawn:
        drawn.load()
        assert drawn.format == "PNG"
        assert drawn.width > 2 * drawn.height


@pytest.mark.parametrize("ending", demo.ENDINGS)
def test_every_ending_is_written(tmp_path, colour_png, ending):
    out = tmp_path / f"demo{ending}"
    assert demo.main([str(colour_png), "--rank", "2", "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


@pytest.mark.parametrize("shape", [(9, 300), (300, 9)])
def test_strips_are_drawn_too(tmp_path, shape):
    path = save(smooth_picture(*shape), tmp_path / "strip.png")
    out = tmp_path / "demo.png"
    assert demo.main([str(path), "--rank", "3", "--out", str(out)]) == 0
    with Image.open(out) as drawn:
        assert min(drawn.size) > 300


def test_two_runs_agree(capsys, tmp_path, colour_png):
    out = tmp_path / "demo.png"
    reports = []
    for _ in range(2):
        assert demo.main([str(colour_png), "--rank", "3", "--out", str(out)]) == 0
        lines = capsys.readouterr().out.splitlines()
        reports.append([line for line in lines if not line.startswith("Effort")])
    assert reports[0] == reports[1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("rich", [True, False])
def test_progress_on_a_terminal(monkeypatch, rich):
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with demo._progress("recovering"):
        time.sleep(0.5)
    written = terminal.getvalue()
    assert "recovering" in written
    if not rich:
        assert written.startswith("\rrecovering ... 0 s")
        assert written.endswith(" \r")


def test_no_progress_off_a_terminal(capsys):
    with demo._progress("recovering"):
        pass
    assert capsys.readouterr() == ("", "")


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "skprecgd", "--rank", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "skprecgd: --rank must be at least 1, got 0.\n"


def test_interrupt(capsys, monkeypatch, tmp_path, colour_png):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "recover", interrupted)
    out = tmp_path / "demo.png"
    assert demo.main([str(colour_png), "--out", str(out)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not out.exists()
