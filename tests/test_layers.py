"""Who may import whom, and who may ask what: the walls of the house, as tables.

Imports run downwards only. The rooms of a floor know nothing of each other, so that
reading a module needs those below it and no other. Imports inside functions count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import sklearn.base

import skprecgd

ROOT = Path(skprecgd.__file__).parent

# From the ground up. A name is a module or a folder of the package; "" is its
# `__init__`.
FLOORS = [
    {"_runtime", "_version"},
    {"_linalg"},
    {"kernels", "factors"},
    {"losses", "unknown"},
    {"measurements"},
    {"objective"},
    {"robust", "initialization", "distributed"},
    {"optim", "variational", "implicit"},
    {"model_selection", "metrics", "datasets", "testing", "display", "progress"},
    {"_estimators"},
    {"_show_versions", "states"},
    {""},
    {"__main__"},
]

# Inside folders that have floors of their own; "*" is whatever no other floor names, ""
# the folder's `__init__`. A folder that is not here has none, and no circles either.
INSIDE = {
    "kernels": [{"_uncertain", "_implicit"}, {"_numpy", "_numba"}, {"_choice"}, {""}],
    "measurements": [
        {"validation", "base", "labels"},
        {"real_numbers"},
        {"*"},
        {"in_memory"},
        {"placing"},
        {"tables"},
        {"readers"},
        {""},
    ],
    "states": [
        {"state"},
        {"densities"},
        {"settings", "distances", "known_trace"},
        {"counts"},
        {"search"},
        {""},
    ],
    "objective": [
        {"penalty"},
        {"base", "weights"},
        {"rays"},
        {"full", "sampled"},
        {"make"},
        {""},
    ],
    "distributed": [
        {"_collection"},
        {"graph"},
        {"rows"},
        {"measurements"},
        {"*"},
        {"objective"},
        {""},
    ],
    "optim": [{"*"}, {"path"}, {""}],
}

# These rooms and no others know how dask, and scikit-learn inside, are made.
KNOWS_DASK = "distributed/"
KNOWS_SKLEARN = "_runtime/compat.py"
# What scikit-learn sets on an estimator in a fit, so that no class shows it.
SET_BY_SKLEARN = {"_callback_fit_ctx", "_skl_callbacks"}

# The only module that may ask which loss one is.
KNOWS_LOSSES = "losses.py"
MOST_LINES = 40


# ---- reading the package


@cache
def modules() -> dict[str, Path]:
    """Every module, by its dotted name below the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text())


def where(module: str) -> str:
    return modules()[module].relative_to(ROOT).as_posix()


@cache
def imports(module: str) -> list[tuple[str, str | None]]:
    """What a module imports anywhere: dotted names, each with a name taken from it."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
    return found


@cache
def own_imports(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for source, name in imports(module):
        package, _, inner = source.partition(".")
        if package == "skprecgd":
            deeper = f"{inner}.{name}".lstrip(".")
            found.add(deeper if deeper in modules() else inner)
    return found - {module}


def folder(module: str) -> str:
    return where(module).rpartition("/")[0]


def floor_of(name: str, floors: list[set[str]]) -> int:
    for wanted in (name, "*"):
        for k, floor in enumerate(floors):
            if wanted in floor:
                return k
    raise AssertionError(f"{name!r} is on no floor: give it one in test_layers.py.")


def arrows() -> Iterator[tuple[str, str]]:
    for module in modules():
        for other in own_imports(module):
            yield module, other


# ---- imports


def upward(module: str, other: str, floors: list[set[str]]) -> bool:
    """Whether an import between two rooms of a table does not run downwards."""
    return floor_of(other, floors) >= floor_of(module, floors)


def test_imports_run_downwards():
    wrong = []
    for module, other in arrows():
        rooms = [name.partition(".")[0] for name in (module, other)]
        if rooms[0] != rooms[1] and upward(*rooms, FLOORS):
            wrong.append(f"{where(module)} imports {other}")
    assert not wrong


@pytest.mark.parametrize("room", INSIDE)
def test_imports_inside_a_room_run_downwards(room):
    wrong = []
    for module, other in arrows():
        if {name.partition(".")[0] for name in (module, other)} != {room}:
            continue
        inner = [name.partition(".")[2].partition(".")[0] for name in (module, other)]
        floors = INSIDE[room]
        among_others = all("*" in floors[floor_of(name, floors)] for name in inner)
        if inner[0] != inner[1] and not among_others and upward(*inner, floors):
            wrong.append(f"{where(module)} imports {other}")
    assert not wrong


def test_the_tables_name_no_room_that_is_gone():
    named = {("", name) for floor in FLOORS for name in floor}
    for room, floors in INSIDE.items():
        named |= {(room, name) for floor in floors for name in floor - {"*"}}
    there = {".".join(filter(None, parts)) for parts in named}
    assert there <= set(modules())


def test_no_circles():
    """Imports for type checkers count: a reader has to read them too."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(own_imports(module)):
                visit(other, [*way, module])
            done.add(module)

    for module in modules():
        visit(module, [])


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_no_private_name_leaves_its_folder():
    wrong = []
    for module in modules():
        for source, name in imports(module):
            if source.partition(".")[0] != "skprecgd":
                continue
            room = source.partition(".")[2]
            inner = f"{room}.{name}".strip(".")
            home = folder(inner if inner in modules() else room)
            # A room whose name is private is so to those who use the package only.
            private = [part for part in inner.split(".")[1:] if is_private(part)]
            if private and folder(module) != home:
                wrong.append(f"{where(module)} imports {inner}")
    assert not wrong


@pytest.mark.parametrize("module", modules())
def test_dask_is_imported_in_one_room(module):
    packages = {source.partition(".")[0] for source, _ in imports(module)}
    if not where(module).startswith(KNOWS_DASK):
        assert not packages & {"dask", "distributed"}


def private_attributes_of_sklearn() -> set[str]:
    bases = [
        value
        for name, value in vars(sklearn.base).items()
        if isinstance(value, type) and (name == "BaseEstimator" or "Mixin" in name)
    ]
    names = {name for base in bases for name in dir(base)} | SET_BY_SKLEARN
    return {name for name in names if is_private(name)}


@pytest.mark.parametrize("module", modules())
def test_private_names_of_sklearn_are_used_in_one_module(module):
    if where(module) == KNOWS_SKLEARN:
        return
    for source, name in imports(module):
        if source.partition(".")[0] == "sklearn":
            assert not any(map(is_private, f"{source}.{name}".split(".")))
    theirs = private_attributes_of_sklearn()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in theirs - own_definitions()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in theirs


@cache
def own_definitions() -> frozenset[str]:
    """Names that our classes define themselves, as scikit-learn's guide asks them."""
    found = set()
    for module in modules():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return frozenset(found)


# ---- what nobody may ask or do


def name_of(node: ast.AST) -> str:
    """The last name of an expression, without underscores before it."""
    if isinstance(node, ast.Call):
        node = node.func
    name = getattr(node, "attr", getattr(node, "id", ""))
    return str(name).lstrip("_")


def asks_which_loss(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        call, about = name_of(node.func), node.args
        if call == "isinstance" and isinstance(about[1], (ast.Name, ast.Attribute)):
            # `Loss` itself is what may be passed in the place of a name.
            kind = name_of(about[1])
            return kind.endswith("Loss") and kind != "Loss"
        asks = call in ("hasattr", "type") and bool(about)
        return asks and name_of(about[0]).endswith("loss")
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(
            (
                name_of(side) == "name"
                and name_of(getattr(side, "value", side)) == "loss"
            )
            or (name_of(side) == "loss" and any(is_text(other) for other in sides))
            for side in sides
        )
    return False


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(self._loss, SquaredLoss)",
        "not isinstance(objective.loss, losses.SquaredLoss)",
        "objective.loss.name == 'squared'",
        "'squared' != loss.name",
        "self.loss == 'squared'",
        "hasattr(loss, 'curvature')",
        "type(objective.loss) is SquaredLoss",
    ],
)
def test_questions_about_a_loss_are_seen(source):
    assert any(map(asks_which_loss, ast.walk(ast.parse(source))))


@pytest.mark.parametrize("module", modules())
def test_nobody_asks_which_loss_one_is(module):
    if where(module) != KNOWS_LOSSES:
        asking = [n.lineno for n in ast.walk(tree(module)) if asks_which_loss(n)]
        assert not asking, f"{where(module)}, lines {asking}"


def code_lines(function: ast.FunctionDef) -> int:
    """Lines with code below the signature; the docstring and comments are none."""
    body = function.body
    if isinstance(body[0], ast.Expr) and is_text(body[0].value):
        body = body[1:]
    return len(
        {
            line
            for statement in body
            for node in ast.walk(statement)
            if hasattr(node, "lineno")
            for line in (node.lineno, node.end_lineno)
        }
    )


@pytest.mark.parametrize("module", [m for m in modules() if folder(m) != "kernels"])
def test_functions_are_short(module):
    long = {
        node.name: code_lines(node)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef) and code_lines(node) > MOST_LINES
    }
    assert not long


def written(node: ast.AST) -> Iterator[ast.Attribute]:
    """The attributes that a statement sets, or changes an item of."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Attribute):
                    yield part


@cache
def attributes_of(name: str) -> frozenset[str]:
    """What the methods of a class set on themselves."""
    return frozenset(
        part.attr
        for module in modules()
        for kind in ast.walk(tree(module))
        if isinstance(kind, ast.ClassDef) and kind.name == name
        for node in ast.walk(kind)
        for part in written(node)
        if name_of(part.value) == "self"
    )


def test_a_walk_is_found():
    assert attributes_of("Walk")


@pytest.mark.parametrize("module", modules())
def test_nobody_writes_to_a_walk(module):
    """What a walk knows, its own methods write down, whatever a variable is called."""
    outside = [
        part.lineno
        for node in ast.walk(tree(module))
        for part in written(node)
        if part.attr in attributes_of("Walk") and name_of(part.value) != "self"
    ]
    assert not outside, f"{where(module)}, lines {outside}"
