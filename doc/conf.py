"""Sphinx configuration; build with ``python -m sphinx -W -b html doc doc/_build``."""

from __future__ import annotations

import inspect
import os
import re
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib

import skprecgd

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
matplotlib.use("Agg")

project = "skprecgd"
author = "The skprecgd developers"
project_copyright = f"2026, {author}"
version = release = skprecgd.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "mathml",
    "numpydoc",
    "parameter_groups",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_ext", "_templates", "examples", "inventories"]
templates_path = ["_templates"]
default_role = "literal"
highlight_language = "python"

# Where names of other projects are documented. The build reads small files, which
# `inventories/make.py` writes, and needs no network.
intersphinx_mapping = {
    project: (address, f"inventories/{project}.inv")
    for project, address in {
        "joblib": "https://joblib.readthedocs.io/en/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "python": "https://docs.python.org/3/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "sklearn": "https://scikit-learn.org/stable/",
    }.items()
}

# A name that leads nowhere is a warning.
nitpicky = True

autosummary_generate = True


def _unsaid(estimator: type) -> list[str]:
    """Attributes of a class that are an annotation or a default and no more."""
    declared = (inspect.get_annotations(parent) for parent in estimator.__mro__)
    names = {*dir(estimator), *chain.from_iterable(declared)}
    values = ((name, inspect.getattr_static(estimator, name, None)) for name in names)
    return sorted(n for n, v in values if not (callable(v) or hasattr(v, "__get__")))


# What a fit finds, and what a parent class declares, is in the list of attributes.
autosummary_context = {
    "unsaid": {
        name: _unsaid(getattr(skprecgd, name))
        for name in skprecgd.__all__
        if inspect.isclass(getattr(skprecgd, name))
    }
}
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
# The class template lists the members; numpydoc would do it a second time.
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "doc_module": ("skprecgd",),
    "backreferences_dir": "generated/backreferences",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
    "show_memory": False,
    # The figure is what there is to see of these.
    "ignore_repr_types": r"skprecgd\.display|matplotlib",
    # That page would load scripts from the network.
    "write_computation_times": False,
    # Examples take a minute each; they run side by side.
    "parallel": os.cpu_count() or 1,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skprecgd {release}"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {
    page: []
    for page in (
        "install",
        "getting_started",
        "coming_from",
        "faq",
        "references",
        "support",
    )
}
# Without a mode of its own the theme reports an error on every first visit.
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False


def _plain_names(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Read ``n_components_`` as a name, where reST would see a reference.

    References in docstrings that scikit-learn passes on lead to its own pages; here
    they become text.
    """
    from_sklearn = getattr(obj, "__module__", "").startswith("sklearn.")
    for i, line in enumerate(lines):
        if from_sklearn:
            line = re.sub(r":ref:`([^`<]+?)\s*<[^`]*>`", r"\1", line)
        if not line.lstrip().startswith((">>>", "...", "..", ":")):
            line = re.sub(r"(?<![\w`:.])([A-Za-z]\w*)_(?=[\s,.;)]|$)", r"\1\\_", line)
        lines[i] = line


def setup(app: Any) -> None:
    """Called by Sphinx."""
    # After numpydoc, which has the default priority of 500.
    app.connect("autodoc-process-docstring", _plain_names, priority=600)
