"""Parts of the tables of docs/statistics.md: selection of pieces, rates, Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from byheart.stats.intervals import clopper_pearson

LEAST = 0.94
"""Lowest coverage of a 95 % interval that is not printed in bold."""
ALLOWANCE = 0.004
"""Added to nominal rates of 2.5 % or 5 %: the tests are approximate, as intervals with 94 % coverage are."""

Pieces = Mapping[str, Mapping[str, Any]]


def pieces_of_table(pieces: Pieces, table: str) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Return the pieces of one table by population and size."""
    parts = {name: name.split(" | ") for name in pieces}
    return {(p[1], int(p[2])): pieces[name] for name, p in parts.items() if p[0] == table}


def study_count(found: Iterable[Mapping[str, Any]]) -> str:
    """Return the number of studies of pieces, or its range."""
    counts = sorted({one["studies"] for one in found})
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"


def rate(one: Mapping[str, Any], name: str, low: float, high: float) -> str:
    """Return a rate in per cent, in bold where no rate between low and high would give it."""
    count, studies = one["held"][name], one["studies"]
    percent = f"{100 * count / studies:.1f}"
    least, most = clopper_pearson(float(count), float(studies), confidence=0.99)
    return percent if least <= high and most >= low else f"**{percent}**"


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table as Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
