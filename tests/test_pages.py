"""What the pages are built with: formulas and links that need no network."""

from __future__ import annotations

import inspect
import runpy
import zlib
from pathlib import Path
from typing import Any

import pytest

import skprecgd

DOC = Path(__file__).parents[1] / "doc"

pytestmark = pytest.mark.skipif(not DOC.exists(), reason="the pages are not here")


def names_of(path: Path) -> dict[str, Any]:
    """What a script defines."""
    return runpy.run_path(str(path))


def names_in(inventory: bytes) -> list[str]:
    """The lines of an inventory, whose first four are a head."""
    return zlib.decompress(inventory.split(b"\n", 4)[4]).decode().splitlines()


@pytest.fixture(scope="module")
def inventories() -> dict[str, bytes]:
    return names_of(DOC / "inventories" / "make.py")["inventories"]()


def test_inventories_hold_the_names_that_pages_link_to(inventories):
    for project, made in inventories.items():
        kept = (DOC / "inventories" / f"{project}.inv").read_bytes()
        assert names_in(kept) == names_in(made), "run doc/inventories/make.py"


def test_some_names_of_each_project_are_linked_to(inventories):
    assert all(names_in(made) for made in inventories.values())


@pytest.mark.parametrize(
    ("formula", "fraction"),
    [(r"\frac12 x", ("1", "2")), (r"\tfrac12", ("1", "2")), (r"\frac{12}{n}", ("12",))],
)
def test_digits_without_braces_are_a_fraction(formula, fraction):
    pytest.importorskip("sphinx")
    to_mathml = names_of(DOC / "_ext" / "mathml.py")["to_mathml"]
    mathml = to_mathml(formula, block=False)
    assert "mfrac" in mathml
    for number in fraction:
        assert f"<mn>{number}</mn>" in mathml


@pytest.mark.parametrize(
    ("formula", "spaced"),
    [
        (r"\operatorname{rank} M", r"\operatorname{rank}\,M"),
        (r"f(S) \operatorname{tr} \Sigma", r"f(S)\,\operatorname{tr}\,\Sigma"),
        (r"\operatorname{tr}(C)", r"\operatorname{tr}(C)"),
        (r"\operatorname{tr}\bigl(C\bigr)", r"\operatorname{tr}\bigl(C\bigr)"),
    ],
)
def test_names_of_functions_keep_a_distance(formula, spaced):
    pytest.importorskip("sphinx")
    to_mathml = names_of(DOC / "_ext" / "mathml.py")["to_mathml"]
    assert to_mathml(formula, block=False) == to_mathml(spaced, block=False)


# -- API pages of estimators begin with the six parameters that matter most


@pytest.fixture(scope="module")
def groups() -> dict[str, Any]:
    pytest.importorskip("sphinx")
    return names_of(DOC / "_ext" / "parameter_groups.py")


def test_every_parameter_has_one_place(groups):
    assert {n for n in skprecgd.__all__ if n.startswith("PrecGD")} - {
        # These have nine and twelve.
        "PrecGDRecommender",
        "PrecGDRecommenderCV",
    } == set(groups["FIRST"])
    for name in groups["FIRST"]:
        parameters = list(inspect.signature(getattr(skprecgd, name)).parameters)
        found = groups["groups_of"](name, parameters)
        placed = [own for members in found.values() for own in members]
        assert sorted(placed) == sorted(parameters)
        assert len(found["Parameters"]) == 6


def test_a_parameter_without_a_group_is_refused(groups):
    from sphinx.errors import ExtensionError

    parameters = [*groups["FIRST"]["PrecGDImputer"], "patience"]
    with pytest.raises(ExtensionError, match=r"PrecGDImputer: no group.*patience"):
        groups["groups_of"]("PrecGDImputer", parameters)


def test_texts_follow_their_names(groups):
    lines = [
        "Summary.",
        "",
        ":Parameters:",
        "",
        "    **a** : int",
        "        Of a.",
        "",
        "    **b, c, d** : float",
        "        Of three.",
        "",
        ":Attributes:",
        "",
        "    **a_**",
    ]
    made = groups["regrouped"](lines, {"Parameters": ["c", "a"], "More": ["d", "b"]})
    text = [line for line in made if line]
    assert text == [
        "Summary.",
        ":Parameters:",
        "    **c** : float",
        "        Of three.",
        "    **a** : int",
        "        Of a.",
        ":More:",
        "    **b, d** : float",
        "        Of three.",
        ":Attributes:",
        "    **a_**",
    ]


# -- pictures of pages


def test_what_is_wrong_with_a_page_is_said():
    faults = names_of(DOC / "screenshots.py")["faults"]
    fine = {"cut": [], "wide": 0, "missing": [], "height": 900}
    assert faults(fine, []) == []
    bad = {"cut": ["h1: Title"], "wide": 7, "missing": ["a.png"], "height": 900}
    said = faults(bad, ["x is not defined"])
    assert len(said) == 4
    for part in ("h1: Title", "7 pixels", "a.png", "x is not defined"):
        assert any(part in fault for fault in said)


def test_pages_that_pictures_are_taken_of_exist():
    for page in names_of(DOC / "screenshots.py")["PAGES"]:
        made = page.startswith(("generated/", "auto_examples/"))
        assert made or (DOC / f"{page}.rst").exists()
