"""The four risks of each method at equal utility, and where they disagree.

A method may be at chance for membership and still recite a telephone number, or the other way round. The risks are those
of Yeom et al. (membership, arXiv 1709.01604), Carlini et al. (extraction, arXiv 2202.07646; canaries, arXiv 1802.08232) and Lukas et
al. (private attributes, arXiv 2302.00539); Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 name the last three as what their
study leaves out. Read at one validation perplexity, since a method that learned less keeps less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Gt

from byheart.analysis import row_values
from byheart.analysis.comparisons import SIGNIFICANCE_MARK, LeadColumns
from byheart.analysis.risk_profile import Risk, estimate_at_perplexity, merged_paths, risk_paths
from byheart.analysis.risk_profile import measured_risks as known
from byheart.analysis.utility_curves import PathPoint, common_perplexities
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row, Table
from byheart.stats.simultaneous import widen_interval

NOT_REACHED = "not reached"


def risks(
    rows: Sequence[Row],
    *,
    attack: str = "loss",
    extraction: str = "discoverable",
    perplexity: Annotated[float, Gt(0)] | None = None,
) -> Table:
    """Membership, extraction, attributes and canaries by method, each where the method reaches the same perplexity.

    `perplexity` None stands for two: the lowest that all methods reach which improve on the untuned model, and the
    lowest that half of them reach; for one method, for its last epoch's. Raises `DataError` for fewer than two risks.
    """
    lead = LeadColumns(rows)
    asked = known(rows, attack, extraction)
    found = {head: {risk.name: risk_paths(there, risk) for risk in asked} for head, there in lead.split(rows).items()}
    tests = sum(len(held) for by_risk in found.values() for held in by_risk.values())
    lines = [line for head, by_risk in found.items() for line in _lines(head, asked, by_risk, perplexity, tests)]
    if not lines:
        raise DataError("risks at equal utility need two risks and perplexity, both by epoch")
    header = (*lead.header, "perplexity", "method", *(r.name for r in asked), "seen by")
    measured = "; ".join(
        f"{r.name}: {r.measure} ({row_values.format_number(r.no_leakage_level)}: nothing)" for r in asked
    )
    note = (
        f"{measured[0].upper()}{measured[1:]}. Each where the method first reaches that perplexity, read between its epochs, "
        f"in brackets the 95 % interval, read so too. {SIGNIFICANCE_MARK}: above nothing by an interval that is widened to hold together "
        f"with all {tests} of the table; of what is not marked no more is known than the interval says. "
        f"\N{LEFT DOUBLE QUOTATION MARK}{NOT_REACHED}\N{RIGHT DOUBLE QUOTATION MARK}: at no epoch; nothing is extrapolated."
    )
    return Table("Four risks at equal validation perplexity", header, tuple(lines), note)


def _lines(
    head: tuple[str, ...],
    selected_risks: Sequence[Risk],
    found: dict[str, dict[str, list[list[PathPoint]]]],
    perplexity: float | None,
    tests: int,
) -> Iterator[tuple[str, ...]]:
    whole = merged_paths(found.values())
    last = [float(np.mean([path[-1].perplexity.value for path in seeds])) for seeds in whole.values()]
    for level in [perplexity] if perplexity is not None else common_perplexities(whole) or last[:1]:
        for method in dict.fromkeys(m for held in found.values() for m in held):
            cells: list[str] = []
            seen: list[str] = []
            for risk in selected_risks:
                number = estimate_at_perplexity(found[risk.name].get(method, []), level)
                leaks = number is not None and _is_above(number, risk.no_leakage_level, tests)
                seen += [risk.name] if leaks else []
                cells.append(_format_cell(number, leaks=leaks, there=method in found[risk.name]))
            reached = any(c not in {NOT_REACHED, row_values.MISSING} for c in cells)
            told = ", ".join(seen) or ("none" if reached else row_values.MISSING)
            yield (*head, row_values.format_number(level), method, *cells, told)


def _is_above(number: Estimate, nothing: float, tests: int) -> bool:
    """Whether a number stays above nothing with its interval widened to hold together with all others."""
    if number.low is None or number.high is None:
        return False
    return widen_interval(number.value, number.low, number.high, tests)[0] > nothing


def _format_cell(number: Estimate | None, *, leaks: bool, there: bool) -> str:
    if number is None:
        return NOT_REACHED if there else row_values.MISSING
    value, _, ends = row_values.format_estimate(number).partition(" ")
    return f"{value}{SIGNIFICANCE_MARK if leaks else ''} {ends}".strip()
