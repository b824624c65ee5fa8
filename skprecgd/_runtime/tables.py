"""Small tables for people: as lines of text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["duration", "html_table"]


def duration(seconds: float) -> str:
    """A time as people say it: "0.31 s", "42 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 9.95:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def html_table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """A table as HTML; everything is escaped, and the notebook brings the style.

    Parameters
    ----------
    caption : str
    header : sequence of str
    rows : iterable of sequence of str
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
