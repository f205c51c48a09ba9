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
PRINTED = {
    "generalisation": "generalization",
    "randomised": "randomized",
    "one member in ten by heart": "one member in ten memorized",
    "groups across both sides": "groups with records of both classes",
    "hard texts longer": "difficult records longer",
    "one text a group": "one record per group",
    "scores alike in a group": "scores correlated within a group",
    "members drawn text by text": "members sampled by record",
    "leaks evenly": "linear increase",
    "leaks late": "late increase",
    "leaks early": "early increase",
    "slow method + 0.12": "slow method's AUC + 0.12",
    "from numbers": "`pool_seed_estimates`",
    "from scores": "`auc_over_seeds`",
    "0.5, not corrected": "0.5, uncorrected",
    "0.5, jointly": "0.5, simultaneous intervals",
    "every one of 3 seeds": "all 3 seeds",
    "3 seeds combined": "mean of 3 seeds",
    "gate not sound": "split doubtful or broken",
    "gate broken": "split broken",
    "trained on the non-members' kind": "trained on texts like the non-members",
    "members alone, non-members": "members without groups, non-members",
    "finds 1 member in 10": "identifies 1 member in 10",
    "a leak of AUC 0.6 hidden by harder members": "leak of AUC 0.6 hidden by more difficult members",
    "delta's term left out": "without the delta term",
    "in 50 outright": "in 50 revealed",
    "bound holds": "bound at most epsilon",
    "TPR above the FPR": "TPR interval above the FPR",
    "verdict: leaks": "verdict *leaks*",
    "knows whose the values are": "associates values with records",
    "trained, over all three": "trained, over all three controls",
}
"""Parts of the names of pieces and counts, as the tables print them. The names themselves seed the simulations, so they stay."""


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
    """Return a table as Markdown, with names as in `PRINTED`."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    for name, printed in PRINTED.items():
        table = table.replace(name, printed)
    return table
