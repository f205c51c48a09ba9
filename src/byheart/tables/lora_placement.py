"""LoRA by the layers that it adapts: Table 4 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: adds intervals and a line for the base model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels
from byheart.analysis.comparisons import LeadColumns
from byheart.analysis.lora_placement import placement_rows
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import attack_rows, cells_across, format_base_value, table_note, value_formatter


def lora_placement(rows: Sequence[Row], *, metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Leakage of LoRA by adapted layers, under every attack; a higher value means more leakage.

    Raises `DataError` for fewer than two placements.
    """
    measured = placement_rows(attack_rows(rows, None, metric, epoch))
    if len({r.method for r in measured}) < 2:  # noqa: PLR2004 - a comparison needs two placements
        raise DataError(
            "table lora_placement: fewer than two placements of LoRA. Add lora with two values of `targets` or more."
        )
    lead, placements, attacks = LeadColumns(measured), labels.variants(measured), labels.attacks(measured)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(measured).items():
        lines.append((*head, labels.BASE_LABEL, *cells_across(attacks, lead_rows, format_base_value)))
        lines += [
            (*head, placement, *cells_across(attacks, adapted_rows, value_formatter(epoch)))
            for placement, adapted_rows in placements.split(lead_rows).items()
        ]
    header = (*lead.header, "adapted layers", *attacks.names.values())
    title = f"{labels.metric_name(metric)} of LoRA by adapted layers"
    return Table(title, header, tuple(lines), table_note(measured, metric, epoch))
