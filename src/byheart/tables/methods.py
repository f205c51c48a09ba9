"""Leakage by method: Table 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: every number has its interval, and the untuned base
model has a column of its own, because an attack that tells members from non-members before any fine-tuning has found a
difference between the two sets of texts and not memorisation.
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
from byheart.tables._columns import attack_rows, cells_across, format_base_value, table_note, value_formatter

LEAST_NOTE = "leaks least of its line, or is not told from that on the same texts at 5 %, corrected over all {} comparisons (Holm)"


def methods(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    epoch: Annotated[int, Ge(0)] | None = None,
    metric: str = "auc",
) -> Table:
    """Leakage of every method under every attack, beside its validation perplexity; higher leaks more.

    `epoch` None stands for the last one. Of AUCs, each attack's lowest is marked, with those not told from it on the
    same texts. Raises `DataError` where no attack was measured by this metric.
    """
    measured = attack_rows(rows, None, metric, epoch)
    utility = [r for r in rows if r.metric == "perplexity" and not r.attack]
    lead, variants, attacks = LeadColumns(measured), labels.variants([*measured, *utility]), labels.attacks(measured)
    perplexities = lead.split(utility)
    found = auc_comparisons(rows, scores, epoch) if metric == "auc" else []
    least = lowest_or_tied(found, auc_rows_by_position(rows, epoch)) if found else set[TablePosition]()
    lines: list[tuple[str, ...]] = []
    for head, there in lead.split(measured).items():
        named = {**attacks.split(there), labels.metric_name("perplexity"): perplexities.get(head, [])}
        lines += [
            (
                *head,
                name,
                format_base_value(those),
                *_mark_cells(
                    cells_across(variants, those, value_formatter(epoch)),
                    [TablePosition(head, name, v) in least for v in variants.names.values()],
                ),
            )
            for name, those in named.items()
            if those
        ]
    header = (*lead.header, "attack", labels.BASE_LABEL, *variants.names.values())
    title = f"{labels.metric_name(metric)} by attack and fine-tuning method"
    told = f" {LEAST_MARK}: {LEAST_NOTE.format(len(found))}." if least else ""
    return Table(title, header, tuple(lines), table_note(measured, metric, epoch) + told)


def _mark_cells(cells: Sequence[str], marks: Sequence[bool]) -> tuple[str, ...]:
    """Set the mark behind the number, before its interval."""
    parted = [c.partition(" ") for c in cells]
    return tuple(f"{n}{LEAST_MARK if m else ''} {rest}".strip() for (n, _, rest), m in zip(parted, marks, strict=True))
