"""Writes docs/choose.md from docs/choose.jinja: every number in its tables and sentences comes from the rows of docs/results."""

from collections.abc import Callable

from page_numbers import DOCS, METHODS, environment, found_number, interval, results
from study_numbers import Packed, RowLookup, packed, template_functions

TEMPLATE, PAGE = DOCS / "choose.jinja", DOCS / "choose.md"

__all__ = ["METHODS", "PAGE", "found_number", "interval", "packed", "page", "results"]


def page(lookup: Callable[[str], Packed] = packed, rows: RowLookup = results) -> str:
    """Return the page. Raises `ValueError` if the rows do not carry a sentence."""
    template = environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(**template_functions(lookup, rows))
