"""Writes docs/results/README.md from docs/results.jinja: every number comes from a packed study, pooled over its seeds and splits."""

import csv
from collections.abc import Callable

from page_numbers import DOCS, Number, environment, packed_store
from study_numbers import Packed, packed, template_functions

TEMPLATE, PAGE = DOCS / "results.jinja", DOCS / "results" / "README.md"
PAPER_TABLES = DOCS.parent / "studies" / "paper"

__all__ = ["PAGE", "packed", "packed_store", "page"]


def page(lookup: Callable[[str], Packed] = packed) -> str:
    """Return the page. Raises `ValueError` if the rows do not carry a sentence."""
    made = environment()
    made.filters |= {"decimals": decimals, "plainly": lambda number: f"{number.value:g}"}
    return made.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        **template_functions(lookup), paper=paper_number
    )


def decimals(number: Number) -> str:
    """Return a number above 1 with its interval: "6.35 [5.02, 7.58]"."""
    return f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"


def paper_number(dataset: str, method: str, attack: str, *, settings: str = "", table: str = "table_2") -> float:
    """Return an AUC of a table of Hou, Wu, Luo, Zeng, 2025."""
    wanted = (dataset, method, settings, attack, "auc")
    columns = ("dataset", "method", "method_settings", "attack", "metric")
    with (PAPER_TABLES / f"{table}.csv").open(encoding="utf-8") as lines:
        (row,) = (r for r in csv.DictReader(lines) if tuple(r.get(c, "") for c in columns) == wanted)
    return float(row["value"])
