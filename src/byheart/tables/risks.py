"""Four risks of each method at equal utility: membership, extraction, private attributes, canaries.

A method may be at chance for membership and still recite a telephone number, or the reverse. The risks are those of Yeom
et al. (membership, arXiv 1709.01604), Carlini et al. (extraction, arXiv 2202.07646; canaries, arXiv 1802.08232) and Lukas et
al. (private attributes, arXiv 2302.00539); Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 name the last three as limits of
their study. All are measured at one validation perplexity, because a method that learned less also memorized less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Gt

from byheart.analysis import row_values
from byheart.analysis.comparisons import SIGNIFICANCE_MARK, LeadColumns
from byheart.analysis.risk_profile import Risk, estimate_at_perplexity, measured_risks, merged_paths, risk_paths
from byheart.analysis.utility_curves import NOT_OBSERVED_CLOSELY, NOT_REACHED, PathPoint, common_perplexities
from byheart.analysis.utility_notes import not_closely_note
from byheart.core.adversary import adversary_phrase
from byheart.core.errors import DataError
from byheart.core.row import adversary_label
from byheart.core.types import Estimate, Row, Table
from byheart.stats.simultaneous import widen_interval


def risks(
    rows: Sequence[Row],
    *,
    attack: str = "loss",
    extraction: str = "discoverable",
    perplexity: Annotated[float, Gt(0)] | None = None,
) -> Table:
    """Membership, extraction, attribute and canary risk of each method at equal perplexity; a higher value means more leakage.

    `perplexity` None stands for two levels: the lowest that all methods reach which improve on the base model, and the
    lowest that half of them reach; for one method, the perplexity of its last epoch. Raises `DataError` for fewer than
    two risks.
    """
    lead = LeadColumns(rows)
    selected_risks = measured_risks(rows, attack, extraction)
    paths = {
        head: {risk.name: risk_paths(lead_rows, risk) for risk in selected_risks}
        for head, lead_rows in lead.split(rows).items()
    }
    tests = sum(len(by_method) for by_risk in paths.values() for by_method in by_risk.values())
    lines = [
        line for head, by_risk in paths.items() for line in _lines(head, selected_risks, by_risk, perplexity, tests)
    ]
    if not lines:
        raise DataError(
            "table risks: fewer than two risks with perplexity by epoch. Add metrics, and perplexity, to the study."
        )
    header = (*lead.header, "perplexity", "method", *(r.name for r in selected_risks), "leaks by")
    measures = "; ".join(
        f"{r.name}: {r.measure}{_adversary_text(rows, r)} ({row_values.format_number(r.no_leakage_level)}: no leakage)"
        for r in selected_risks
    )
    note = (
        f"{measures[0].upper()}{measures[1:]}. Each number is from the point where the method first reaches this validation "
        "perplexity, interpolated between its observed states; in brackets: 95 % interval, which covers those of the two states. "
        f"{SIGNIFICANCE_MARK}: above the level of no leakage, with the interval corrected for all {tests} numbers of the "
        "table. An unmarked number is not evidence against leakage. "
        f"\N{LEFT DOUBLE QUOTATION MARK}{NOT_REACHED}\N{RIGHT DOUBLE QUOTATION MARK}: the path does not cross this "
        f"perplexity; nothing is extrapolated.{not_closely_note(lines)}"
    )
    return Table("Four risks at equal validation perplexity", header, tuple(lines), note)


def _adversary_text(rows: Sequence[Row], risk: Risk) -> str:
    """Return what the adversary of a risk's attack must have; "" for a risk without an attack."""
    label = next((adversary_label(r) for r in rows if r.attack and risk.matches_row(r)), "")
    return f", by an adversary who has {adversary_phrase(label)}" if label else ""


def _lines(
    head: tuple[str, ...],
    selected_risks: Sequence[Risk],
    paths: dict[str, dict[str, list[list[PathPoint]]]],
    perplexity: float | None,
    tests: int,
) -> Iterator[tuple[str, ...]]:
    merged = merged_paths(paths.values())
    last = [float(np.mean([path[-1].perplexity.value for path in seeds])) for seeds in merged.values()]
    for level in [perplexity] if perplexity is not None else common_perplexities(merged) or last[:1]:
        for method in dict.fromkeys(m for by_method in paths.values() for m in by_method):
            cells: list[str] = []
            leaking: list[str] = []
            for risk in selected_risks:
                number = estimate_at_perplexity(paths[risk.name].get(method, []), level)
                leaks = not isinstance(number, str) and _is_above(number, risk.no_leakage_level, tests)
                leaking += [risk.name] if leaks else []
                cells.append(_format_cell(number, leaks=leaks, is_measured=method in paths[risk.name]))
            is_reached = any(c not in {NOT_REACHED, NOT_OBSERVED_CLOSELY, row_values.MISSING} for c in cells)
            leaking_names = ", ".join(leaking) or ("none" if is_reached else row_values.MISSING)
            yield (*head, row_values.format_number(level), method, *cells, leaking_names)


def _is_above(number: Estimate, no_leakage_level: float, tests: int) -> bool:
    """Whether a number's interval, widened for all tests of the table, lies above the level of no leakage."""
    if number.low is None or number.high is None:
        return False
    return widen_interval(number.value, number.low, number.high, tests)[0] > no_leakage_level


def _format_cell(number: Estimate | str, *, leaks: bool, is_measured: bool) -> str:
    if isinstance(number, str):
        return number if is_measured else row_values.MISSING
    value, _, interval = row_values.format_estimate(number).partition(" ")
    return f"{value}{SIGNIFICANCE_MARK if leaks else ''} {interval}".strip()
