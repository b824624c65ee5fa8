"""Every public name is documented, annotated, and on the reference page."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
from enum import Enum
from pathlib import Path

import pytest

import skprecgd
import skprecgd.optim

PAGE = Path(__file__).parents[1] / "doc" / "api.rst"
# What comes back from a call, or is there to be subclassed: nobody calls these, so
# they need no example of their own.
NOT_CALLED = {
    "Certificate",
    "CompletionProblem",
    "EntryTriples",
    "Evaluation",
    "Factors",
    "Loss",
    "Measurements",
    "Objective",
    "PathResult",
    "Record",
    "Result",
    "RobustPCAProblem",
    "SensingProblem",
    "Stage",
    "Status",
    "Traffic",
}


def modules():
    """Every module without an underscore in its path; kernels are an inner matter."""
    found = [skprecgd]
    for module in pkgutil.walk_packages(skprecgd.__path__, "skprecgd."):
        parts = module.name.split(".")
        if not any(part.startswith("_") or part == "kernels" for part in parts):
            found.append(importlib.import_module(module.name))
    return found


def names_on_the_page():
    """(module, name) pairs of doc/api.rst."""
    if not PAGE.exists():
        return []
    pairs, module = [], None
    for line in PAGE.read_text().splitlines():
        if match := re.match(r"\.\. (?:currentmodule|automodule):: (\S+)", line):
            module = match[1]
        elif match := re.match(r"   (\w+)$", line):
            pairs.append((module, match[1]))
    return pairs


def public_objects():
    """Every public class and function by name: ``__all__`` and the reference page."""
    pairs = [(m.__name__, n) for m in modules() for n in getattr(m, "__all__", [])]
    found = {}
    for module, name in [*pairs, *names_on_the_page()]:
        item = getattr(importlib.import_module(module), name)
        if inspect.isclass(item) or inspect.isroutine(item):
            found[name] = item
    return found


PUBLIC = public_objects()


def public_methods():
    """Methods and properties a public class defines itself."""
    for name, item in PUBLIC.items():
        if not inspect.isclass(item) or issubclass(item, (Enum, tuple)):
            continue
        for attribute, value in vars(item).items():
            if attribute.startswith("_"):
                continue
            if inspect.isfunction(value) or isinstance(
                value, (property, classmethod, staticmethod)
            ):
                yield (
                    f"{name}.{attribute}",
                    inspect.unwrap(
                        getattr(value, "fget", None)
                        or getattr(value, "__func__", value)
                    ),
                )


METHODS = dict(public_methods())


def sections(item):
    """Sections of a numpydoc docstring: title -> text."""
    lines = (inspect.getdoc(item) or "").splitlines()
    heads = [
        i
        for i, line in enumerate(lines[1:], 1)
        if re.fullmatch(r"-{3,}", line) and len(line) == len(lines[i - 1])
    ]
    starts = [*heads, len(lines) + 1]
    return {
        lines[start - 1]: "\n".join(lines[start + 1 : end - 1])
        for start, end in itertools.pairwise(starts)
    }


def documented_parameters(text):
    """Names on the left of ``name, other : type``; the type may be missing."""
    names = []
    for line in text.splitlines():
        if match := re.match(r"([*\w][\w, *]*?)(?: : .*)?$", line):
            names += [name.strip(" *") for name in match[1].split(",")]
    return names


def own_signature(item):
    """Parameters a caller gives, and the return annotation."""
    target = item.__init__ if inspect.isclass(item) else item
    signature = inspect.signature(target)
    parameters = [
        p for name, p in signature.parameters.items() if name not in ("self", "cls")
    ]
    return parameters, signature.return_annotation


def test_the_top_level_is_small():
    assert set(skprecgd.__all__) >= {
        "PrecGDFactorization",
        "PrecGDFactorizationCV",
        "PrecGDMatrixSensing",
        "PrecGDMatrixSensingCV",
        "PrecGDRecommender",
        "PrecGDRecommenderCV",
        "TruncatedSVD",
        "__version__",
        "observed_entries",
        "show_versions",
    }
    names = {n for n, v in vars(skprecgd).items() if not inspect.ismodule(v)}
    assert {n for n in names if not n.startswith("_")} <= set(skprecgd.__all__)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_all_is_importable_and_sorted(module):
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert sorted(names) == list(names)
    for name in names:
        assert hasattr(module, name)
    assert inspect.getdoc(module)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
def test_every_public_name_is_on_the_reference_page():
    on_the_page = {name for _, name in names_on_the_page()}
    for module in modules():
        names = {n for n in getattr(module, "__all__", []) if not n.startswith("_")}
        assert names <= on_the_page, module.__name__


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name):
    item = PUBLIC[name]
    text = inspect.getdoc(item)
    assert text
    summary = text.split("\n\n")[0].replace("\n", " ")
    assert summary.endswith((".", ":", "?"))
    parts = sections(item)
    if name not in NOT_CALLED:
        assert "Examples" in parts, f"{name} has no example"
        assert ">>> " in parts["Examples"]


def is_called(name):
    """Whether users call it with parameters of its own."""
    item = PUBLIC[name]
    own = inspect.isroutine(item) or "__init__" in vars(item)
    return own and name not in NOT_CALLED


@pytest.mark.parametrize("name", [name for name in PUBLIC if is_called(name)])
def test_parameters_are_documented(name):
    item = PUBLIC[name]
    parameters, returns = own_signature(item)
    parts = sections(item)
    # A data class documents its fields once, as attributes.
    text = parts.get("Parameters") or parts.get("Attributes", "")
    assert set(documented_parameters(text)) == {p.name for p in parameters}
    if inspect.isroutine(item) and returns not in (None, "None"):
        assert {"Returns", "Yields"} & set(parts)
    for parameter in parameters:
        assert parameter.annotation is not parameter.empty, parameter.name
        if parameter.default not in (parameter.empty, None):
            line = re.search(
                rf"^[\w, ]*\b{parameter.name}\b[\w, ]*(?: : )?(.*(?:\n .*)*)",
                text,
                re.MULTILINE,
            )
            # Where a function says "as in" another one, the default is there, too.
            assert re.search("default|As in|See", line[1]), parameter.name


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    method = METHODS[name]
    owner, attribute = name.split(".")
    # What keeps a contract is documented where the contract is: in the method of a
    # parent class, or among its attributes.
    attributes = {
        documented
        for parent in PUBLIC[owner].__mro__
        for documented in documented_parameters(sections(parent).get("Attributes", ""))
    }
    text = inspect.getdoc(method) or inspect.getdoc(getattr(PUBLIC[owner], attribute))
    assert text or attribute in attributes, f"{name} has no docstring"
    parameters, returns = own_signature(method)
    assert returns is not inspect.Signature.empty
    for parameter in parameters:
        assert parameter.annotation is not parameter.empty


ESTIMATORS = [skprecgd.PrecGDFactorization, skprecgd.PrecGDMatrixSensing]
CV_ESTIMATORS = [skprecgd.PrecGDFactorizationCV, skprecgd.PrecGDMatrixSensingCV]
RECOMMENDERS = [skprecgd.PrecGDRecommender, skprecgd.PrecGDRecommenderCV]


@pytest.mark.parametrize("estimator", ESTIMATORS + CV_ESTIMATORS + RECOMMENDERS)
def test_every_parameter_has_a_constraint_and_is_stored(estimator):
    parameters, _ = own_signature(estimator)
    names = [p.name for p in parameters]
    assert set(estimator._parameter_constraints) == set(names)
    model = estimator()
    for parameter in parameters:
        assert getattr(model, parameter.name) is parameter.default


@pytest.mark.parametrize(
    "pair", [ESTIMATORS, CV_ESTIMATORS, *zip(ESTIMATORS, CV_ESTIMATORS, strict=True)]
)
def test_the_estimators_agree_on_what_they_share(pair):
    signatures = [
        {p.name: p.default for p in own_signature(estimator)[0]} for estimator in pair
    ]
    # A search tries several of these by default.
    shared = set(signatures[0]) & set(signatures[1]) - {"n_components", "alpha"}
    assert len(shared) > 15
    for name in shared:
        assert signatures[0][name] is signatures[1][name] or (
            signatures[0][name] == signatures[1][name]
        )


@pytest.mark.filterwarnings("ignore:The best candidate predicts:UserWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS + CV_ESTIMATORS)
def test_fitted_attributes_are_documented(estimator):
    import numpy as np

    X = np.arange(12.0).reshape(4, 3) % 5
    model = estimator(1, max_iter=1, tol=0)
    if estimator in CV_ESTIMATORS:
        model.set_params(cv=2)
    model.fit(X, X[:, 0])
    documented = documented_parameters(sections(estimator)["Attributes"])
    stored = [n for n in vars(model) if n.endswith("_") and not n.startswith("_")]
    assert set(stored) <= set(documented)
    optional = {"feature_names_in_", "row_labels_", "column_labels_", "alpha_max_"}
    optional |= OF_LEARNED_NOISE
    for name in set(documented) - optional:
        assert hasattr(model, name), name


@pytest.mark.parametrize("estimator", RECOMMENDERS)
def test_fitted_attributes_of_recommenders_are_documented(estimator):
    import pandas as pd

    pairs = pd.DataFrame({"user": [0, 0, 1, 1, 2, 2], "film": list("abbcca")})
    model = estimator(1)
    if estimator is skprecgd.PrecGDRecommenderCV:
        model.set_params(cv=2)
    model.fit(pairs)
    documented = documented_parameters(sections(estimator)["Attributes"])
    stored = {n for n in vars(model) if n.endswith("_") and not n.startswith("_")}
    assert stored == set(documented)


# Attributes that a fit has where noise was left in single entries.
OF_LEARNED_NOISE = {"factor_scales_", "lower_bound_", "n_signal_", "noise_df_"}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_is_learned_of_noise_is_documented_and_there(estimator):
    import numpy as np

    from skprecgd import observed_entries
    from skprecgd.datasets import make_matrix_completion

    X, _ = make_matrix_completion(
        40, 30, rank=2, observed_fraction=0.6, noise=0.3, random_state=0
    )
    data = observed_entries(X) if "symmetric" in estimator().get_params() else (X,)
    model = estimator(5).fit(*data)
    documented = set(documented_parameters(sections(estimator)["Attributes"]))
    stored = {n for n in vars(model) if n.endswith("_") and not n.startswith("_")}
    assert OF_LEARNED_NOISE <= stored <= documented
    assert np.ndim(model.factor_scales_) == 1


GUIDE = PAGE.parent / "user_guide" / "optimization.rst"


@pytest.mark.skipif(not GUIDE.exists(), reason="the documentation is not here")
@pytest.mark.parametrize(
    ("parameter", "table"),
    [
        ("step_size", "STEP_RULES"),
        ("damping", "DAMPING_RULES"),
        ("solver", "SOLVERS"),
    ],
)
def test_the_guide_describes_every_name(parameter, table):
    """The docstrings of four estimators send their readers there."""
    page = GUIDE.read_text()
    rows = page[page.index(f"   * - `{parameter}`\n") :].split("\n\n")[0]
    described = set(re.findall(r'`"([\w-]+)"`', rows))
    assert set(getattr(skprecgd.optim, table)) <= described


@pytest.mark.parametrize("estimator", ESTIMATORS + CV_ESTIMATORS)
def test_the_estimators_take_every_name(estimator):
    taken = {
        name: set().union(*(getattr(c, "options", ()) for c in constraints))
        for name, constraints in estimator._parameter_constraints.items()
    }
    assert taken["step_size"] == set(skprecgd.optim.STEP_RULES)
    assert taken["damping"] == set(skprecgd.optim.DAMPING_RULES)
    solvers = {
        name
        for name, solver in skprecgd.optim.SOLVERS.items()
        # The paths of a cross-validation grow by the gradient.
        if estimator in ESTIMATORS or solver.descends
    }
    assert taken["solver"] == {"auto", *solvers}
    assert taken.get("rank_search", {"path", "fixed"}) == {"path", "fixed"}


def test_show_versions(capsys):
    skprecgd.show_versions()
    printed = capsys.readouterr().out
    for package in ("python", "skprecgd", "numpy", "scipy", "scikit-learn", "joblib"):
        assert f"{package}:" in printed


def test_no_dependency_is_imported_that_is_not_required():
    import subprocess
    import sys

    # The documented extras load on use, not on import; rich alone is imported by
    # scikit-learn 1.9 for its own callbacks.
    code = (
        "import sys, skprecgd, skprecgd.datasets, skprecgd.display,"
        " skprecgd.distributed, skprecgd.states, skprecgd.testing;"
        "print([m for m in ('matplotlib', 'PIL', 'numba', 'dask', 'qutip')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_loads_nothing_beyond_what_scikit_learn_loads():
    """So `import skprecgd` takes about as long as `import sklearn.decomposition`."""
    import subprocess
    import sys

    code = (
        "import sys, sklearn.decomposition; before = set(sys.modules);"
        "import skprecgd; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "skprecgd.datasets" not in done.stdout.split()
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "skprecgd" in loaded
    assert loaded <= {"skprecgd", *sys.stdlib_module_names}


def test_public_modules_are_there_when_they_are_asked_for(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "skprecgd.datasets")
    monkeypatch.delattr(skprecgd, "datasets")
    assert skprecgd.datasets.make_low_rank(3, 2, rank=1).matrix.shape == (3, 2)
    # Every public module can be completed in an interactive session.
    public = {m.__name__.partition(".")[2] for m in modules()}
    assert {name for name in public if name and "." not in name} <= {*dir(skprecgd)}
    with pytest.raises(AttributeError, match="'skprecgd' has no attribute 'dataset'"):
        skprecgd.dataset  # noqa: B018


def test_type_checkers_read_the_annotations():
    from importlib.resources import files

    assert (files("skprecgd") / "py.typed").is_file()
