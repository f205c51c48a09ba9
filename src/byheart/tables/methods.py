"""Leakage by method: Table 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: every number has an interval, and the base model has
its own column, because an attack that separates members from non-members before any fine-tuning measures a difference
between the two sets of texts, not memorization. Attacks are grouped by what their adversary must have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels
from byheart.analysis.comparisons import (
    LEAST_MARK,
    LeadColumns,
    TablePosition,
    auc_comparisons,
    auc_rows_by_position,
    lowest_or_tied,
)
from byheart.core.types import Row, ScoreSet, Table
from byheart.tables._columns import (
    AdversaryColumn,
    attack_lines,
    attack_rows,
    cells_across,
    format_base_value,
    table_note,
    value_formatter,
)

LEAST_NOTE = (
    "lowest AUC of the methods in its line, or not different from it on the same texts at 5 %, corrected for all {} comparisons of "
    "methods and of attacks (Holm)"
)


def methods(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    epoch: Annotated[int, Ge(0)] | None = None,
    metric: str = "auc",
) -> Table:
    """Leakage of every method under every attack; a higher value means more leakage.

    The last line is the validation perplexity, if it was measured. `epoch` None is the last epoch. For AUC, each attack's lowest
    value is marked, and the values that do not differ from it on the same texts. Raises `DataError` without rows of this metric.
    """
    measured = attack_rows(rows, None, metric, epoch)
    utility = [r for r in rows if r.metric == "perplexity" and not r.attack]
    lead, variants = LeadColumns(measured), labels.variants([*measured, *utility])
    adversaries = AdversaryColumn(measured)
    comparisons = auc_comparisons(rows, scores, epoch) if metric == "auc" else []
    lowest = lowest_or_tied(comparisons, auc_rows_by_position(rows, epoch)) if comparisons else set[TablePosition]()
    lines = tuple(
        (
            *head,
            *adversaries.cell(line_rows),
            name,
            format_base_value(line_rows),
            *_mark_cells(
                cells_across(variants, line_rows, value_formatter(epoch)),
                [TablePosition(head, name, v) in lowest for v in variants.names.values()],
            ),
        )
        for head, name, line_rows in attack_lines(measured, utility, lead)
    )
    header = (*lead.header, *adversaries.header, "attack", labels.BASE_LABEL, *variants.names.values())
    title = f"{labels.metric_name(metric)} by attack and fine-tuning method"
    mark_note = f" {LEAST_MARK}: {LEAST_NOTE.format(len(comparisons))}." if lowest else ""
    return Table(title, header, lines, table_note(measured, metric, epoch) + mark_note + adversaries.note)


def _mark_cells(cells: Sequence[str], marks: Sequence[bool]) -> tuple[str, ...]:
    """Insert the mark between a number and its interval."""
    parts = [cell.partition(" ") for cell in cells]
    return tuple(
        f"{number}{LEAST_MARK if is_marked else ''} {interval}".strip()
        for (number, _, interval), is_marked in zip(parts, marks, strict=True)
    )
