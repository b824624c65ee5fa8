"""Sphinx configuration; build with ``python -m sphinx -W -b html doc doc/_build``."""

from __future__ import annotations

import matplotlib

import skprecgd

matplotlib.use("Agg")

project = "skprecgd"
author = "The skprecgd developers"
project_copyright = f"2026, {author}"
version = release = skprecgd.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "examples"]
templates_path = ["_templates"]
default_role = "literal"
highlight_language = "python"

autosummary_generate = True
autodoc_typehints = "none"
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
}

html_theme = "pydata_sphinx_theme"
html_title = f"skprecgd {release}"
html_static_path = ["_static"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"install": [], "getting_started": [], "references": []}
html_show_sourcelink = False
html_copy_source = False
