"""Write the inventories that links to other projects are looked up in.

``python doc/inventories/make.py`` looks for the names of other projects in the pages
and docstrings, and writes where each is documented into ``doc/inventories/*.inv``, in
the format of Sphinx. The build reads these small files in place of the projects' own
inventories, for which it would need the network. Run it after you have written a role
such as ``:class:`sklearn.pipeline.Pipeline```; the build warns of names that are in no
inventory.

The address of a page follows from the name, by the rule of its project below. Modules
have pages of their own, so they are listed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# The roles of Sphinx, and what an inventory calls the objects they lead to.
KINDS = {
    "class": "class",
    "exc": "exception",
    "func": "function",
    "meth": "method",
    "mod": "module",
}


@dataclass(frozen=True)
class Project:
    """A project that pages link to.

    Attributes
    ----------
    pages : str
        Address of the page of a name, relative to the project's documentation.
    modules : dict of str to str
        The same for modules, by their names.
    """

    pages: str
    modules: dict[str, str] = field(default_factory=dict)

    def address(self, role: str, name: str) -> str:
        """Where a name is documented; ``$`` stands for the name."""
        if role == "mod":
            return f"{self.modules[name]}#module-$"
        owner = name.rpartition(".")[0] if role == "meth" else name
        return f"{self.pages.format(owner)}#$"


PROJECTS = {
    "joblib": Project("generated/{}.html"),
    "numpy": Project(
        "reference/generated/{}.html",
        {"numpy.ma": "reference/maskedarray.generic.html"},
    ),
    "python": Project("library/{}.html", {"pickle": "library/pickle.html"}),
    "scipy": Project("reference/generated/{}.html"),
    "sklearn": Project("modules/generated/{}.html"),
}

_ROLE = re.compile(
    rf":(?P<role>{'|'.join(KINDS)}):`(?:[^`<]*<|~)?(?P<name>[\w.]+)>?`", re.ASCII
)
# A line of "See Also" in a docstring.
_SEE_ALSO = re.compile(r"^ +(?P<name>[a-z]\w*(?:\.\w+)+) : ", re.ASCII | re.MULTILINE)


def used_names() -> Iterator[tuple[str, str]]:
    """Pairs of role and name in pages, examples and docstrings."""
    pages = [*HERE.parent.glob("*.rst"), *HERE.parent.glob("*/*.rst")]
    code = [*HERE.parent.glob("examples/*.py"), *(ROOT / "skprecgd").rglob("*.py")]
    made = {"generated", "auto_examples"}
    for path in sorted(path for path in (*pages, *code) if not made & {*path.parts}):
        text = path.read_text(encoding="utf-8")
        for found in _ROLE.finditer(text):
            yield found["role"], found["name"]
        for found in _SEE_ALSO.finditer(text):
            is_class = found["name"].rpartition(".")[2][0].isupper()
            yield "class" if is_class else "func", found["name"]


def project_of(name: str) -> str | None:
    """The project that documents a name, or None if it is one of ours."""
    root = name.partition(".")[0]
    if root in PROJECTS:
        return root
    return "python" if name in PROJECTS["python"].modules else None


def inventory(project: str, names: set[tuple[str, str]]) -> bytes:
    """An inventory in version 2 of Sphinx's format."""
    rule = PROJECTS[project]
    lines = [
        f"{name} py:{KINDS[role]} 1 {rule.address(role, name)} -\n"
        for role, name in sorted(names)
    ]
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    return head.encode() + zlib.compress("".join(lines).encode(), 9)


def inventories() -> dict[str, bytes]:
    """An inventory for each project, of the names that are used."""
    found: dict[str, set[tuple[str, str]]] = {project: set() for project in PROJECTS}
    for role, name in used_names():
        project = project_of(name)
        if project is not None:
            found[project].add((role, name))
    return {project: inventory(project, names) for project, names in found.items()}


def main() -> None:
    for project, content in inventories().items():
        (HERE / f"{project}.inv").write_bytes(content)
        print(f"{project}.inv: {len(content)} bytes")


if __name__ == "__main__":
    main()
