"""README.rst: its examples run, and its commands are what `.ci/run` looks for."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.rst"

pytestmark = pytest.mark.skipif(not README.exists(), reason="README.rst is not here")


def test_examples():
    result = doctest.testfile(
        str(README),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert result.attempted >= 10
    assert result.failed == 0


def test_each_estimator_has_an_example():
    text = README.read_text()
    for name in ("PrecGDFactorization(", "PrecGDMatrixSensing(", "GridSearchCV("):
        assert f">>> model = {name}" in text or f">>> search = {name}" in text
    assert "TruncatedSVD" in text


def test_picture_is_there():
    for name in re.findall(r"\.\. image:: (\S+)", README.read_text()):
        if name.startswith("http"):
            continue
        assert (README.parent / name).stat().st_size > 1000


def test_commands_start_from_nothing_but_python():
    commands = re.findall(
        r"^    (python3 -m venv .*)$", README.read_text(), re.MULTILINE
    )
    assert len(commands) == 2
    demonstration, tests = commands
    assert demonstration.endswith("python -m skprecgd")
    assert tests.endswith("python -m pytest -n auto")
    for command in commands:
        assert "pip install" in command
