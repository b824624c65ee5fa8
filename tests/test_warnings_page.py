"""The page "When a fit warns" has every warning and every reason to stop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from skprecgd.optim import Status

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "doc" / "how_to" / "when_a_fit_warns.rst"
SOURCES = sorted((ROOT / "skprecgd").rglob("*.py"))

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the pages are not here")


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def page() -> str:
    return squeezed(PAGE.read_text(encoding="utf-8"))


def fixed_parts(message: ast.expr) -> list[str]:
    """What a message says whatever the numbers in it."""
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    return [part.value for part in parts if isinstance(part, ast.Constant)]


def telling_parts(message: ast.expr) -> list[str]:
    """The longest part, and all that are more than a word or two."""
    parts = [squeezed(part) for part in fixed_parts(message)]
    return [part for part in parts if len(part) > 8 or part == max(parts, key=len)]


def warnings_in(path: Path) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
            yield f"{path.name}:{node.lineno}", node.args[0]


def sentences_of_learners(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """What `in_words` of a class returns."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "in_words":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield f"{path.name}:{inner.lineno}", inner.value


ALL_WARNINGS = [found for path in SOURCES for found in warnings_in(path)]
ALL_SENTENCES = [found for path in SOURCES for found in sentences_of_learners(path)]


def named(found: list[tuple[str, ast.expr]]) -> list[object]:
    return [pytest.param(message, id=where) for where, message in found]


def test_there_are_warnings_and_sentences():
    assert len(ALL_WARNINGS) > 25
    assert len(ALL_SENTENCES) > 5


@pytest.mark.parametrize("message", named(ALL_WARNINGS))
def test_page_has_the_warning(page, message):
    assert [part for part in telling_parts(message) if part not in page] == []


@pytest.mark.parametrize("message", named(ALL_SENTENCES))
def test_page_has_what_learners_say(page, message):
    assert [part for part in telling_parts(message) if part not in page] == []


@pytest.mark.parametrize("status", list(Status), ids=lambda status: status.name)
def test_page_has_the_reason_to_stop(page, status):
    assert status.value in page
