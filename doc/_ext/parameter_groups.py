"""The parameters of an estimator in groups, those first that matter first.

A docstring lists them as the signature does. A page of two dozen is read from the top,
so there come the six that a newcomer needs, and the others by what they are about.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from sphinx.errors import ExtensionError

_SIX = ("n_components", "missing_values", "center", "loss", "outlier_fraction")
_MEASURED = ("n_components", "matrix_shape", "symmetric", "center", "outlier_fraction")
FIRST = {
    "PrecGDFactorization": (*_SIX, "random_state"),
    "PrecGDFactorizationCV": (*_SIX[:3], "cv", "n_jobs", "random_state"),
    "PrecGDMatrixSensing": (*_MEASURED, "random_state"),
    "PrecGDMatrixSensingCV": (*_MEASURED[:4], "cv", "random_state"),
    "PrecGDImputer": (*_SIX[:3], "min_value", "max_value", "random_state"),
}
GROUPS = {
    "The data": (
        "missing_values",
        "matrix_shape",
        "symmetric",
        "center",
        "loss",
        "outlier_fraction",
        "subsample",
        "add_indicator",
        "keep_empty_features",
    ),
    "Noise and prior": (
        "alpha",
        "alpha_scaling",
        "noise",
        "noise_tail",
        "noise_variance",
        "inference",
        "sample_posterior",
        "store_pattern",
    ),
    "Cross-validation": ("cv", "scoring", "refit_rule", "n_jobs"),
    "The search for the rank": (
        "rank_search",
        "early_stopping",
        "validation_fraction",
        "n_iter_no_change",
    ),
    "The optimizer": (
        "solver",
        "step_size",
        "damping",
        "init",
        "max_iter",
        "tol",
        "warm_start",
    ),
    "While it runs": ("random_state", "verbose"),
}

_ITEM = re.compile(r"    \*\*([\w, ]+)\*\*(.*)")
_FIELD = re.compile(r":[\w ]+:$")


class _Item(NamedTuple):
    """What is said of one parameter, or of several together."""

    names: list[str]
    kind: str
    text: list[str]

    def place_in(self, names: Sequence[str]) -> float:
        """The place of the first of its names among others."""
        return min((names.index(n) for n in self.names if n in names), default=inf)

    def only(self, names: Sequence[str]) -> list[str]:
        """The lines for those of its names that are among others, if any are."""
        own = ", ".join(name for name in self.names if name in names)
        return [f"    **{own}**{self.kind}", *self.text, ""] if own else []


def groups_of(estimator: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of an estimator under the headings of its page.

    Parameters
    ----------
    estimator : str
    names : sequence of str
        Its parameters.
    """
    first = FIRST[estimator]
    groups = {"Parameters": list(first)}
    for title, members in GROUPS.items():
        found = [name for name in members if name in names and name not in first]
        if found:
            groups[title] = found
    placed = [name for members in groups.values() for name in members]
    if sorted(placed) != sorted(names):
        odd = sorted({*placed} ^ {*names})
        raise ExtensionError(f"{estimator}: no group, or no parameter: {odd}")
    return groups


def regrouped(lines: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The text that numpydoc makes of a docstring, its list of parameters in groups.

    Parameters
    ----------
    lines : sequence of str
    groups : mapping of str to sequence of str
        Names of parameters by heading.
    """
    begin = lines.index(":Parameters:")
    ends = (k for k, line in enumerate(lines) if k > begin and _FIELD.match(line))
    end = next(ends, len(lines))
    items: list[_Item] = []
    for line in lines[begin + 1 : end]:
        if match := _ITEM.match(line):
            items.append(_Item(match[1].split(", "), match[2], []))
        elif items:
            items[-1].text.append(line)
    made = []
    for title, names in groups.items():
        made += [f":{title}:", ""]
        for item in sorted(items, key=lambda item: item.place_in(names)):
            made += item.only(names)
    return [*lines[:begin], *made, *lines[end:]]


def _regroup(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    estimator = name.rpartition(".")[2]
    if what == "class" and estimator in FIRST:
        parameters = list(inspect.signature(obj).parameters)
        lines[:] = regrouped(lines, groups_of(estimator, parameters))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    # After numpydoc, which has the default priority of 500.
    app.connect("autodoc-process-docstring", _regroup, priority=550)
    return {"parallel_read_safe": True}
