"""Formulas as MathML, which browsers draw by themselves: pages need no network.

The translation from LaTeX is the one that comes with docutils. It knows no macros and
takes a run of digits for one number, so ``\\frac12`` gets its braces here, and names of
functions the space that TeX leaves around them.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

_BARE_FRACTION = re.compile(r"\\([td]?frac)\s*(\d)\s*(\d)")

_NAME = r"\\operatorname\{\w+\}"
# No space belongs between the name of a function and what is in parentheses.
_BEFORE_ARGUMENT = re.compile(rf"({_NAME})\s*(?=[A-Za-z]|\\(?!big|left|[,;]))")
_AFTER_FACTOR = re.compile(rf"(?<=[\w)}}])\s*({_NAME})")


def to_mathml(formula: str, *, block: bool) -> str:
    """A formula in MathML."""
    braced = _BARE_FRACTION.sub(r"\\\1{\2}{\3}", formula)
    braced = _AFTER_FACTOR.sub(r"\\,\1", _BEFORE_ARGUMENT.sub(r"\1\\,", braced))
    if block and (r"\\" in braced or "&" in braced) and r"\begin" not in braced:
        braced = rf"\begin{{aligned}} {braced} \end{{aligned}}"
    try:
        return tex2mathml(braced, as_block=block)
    except MathError as error:
        raise ExtensionError(f"no MathML of {formula!r}: {error}") from error


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(to_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append(to_mathml(node.astext(), block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.config.html_math_renderer = "mathml"
    app.add_css_file("math.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
