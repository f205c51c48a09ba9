"""Exact memorization and extraction strength of each method. The metrics of these names define the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, Table

DIFFERENCE = "members \N{MINUS SIGN} non-members"
METRICS = ("exact_memorization", "extraction_strength")


def verbatim(rows: Sequence[Row], *, epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Exact memorization and extraction strength of members and non-members, and of members under the base model.

    `epoch` None is the last epoch. Raises `DataError` without rows of either metric.
    """
    measured = [r for r in rows if r.metric in METRICS and not r.attack]
    if not measured:
        raise DataError(
            "table verbatim: no measured predictions. Add the metric exact_memorization or extraction_strength to the study."
        )
    lead, variants = LeadColumns(measured), labels.variants(measured)
    lines = [
        (*head, variant, labels.metric_name(metric), *_cells([r for r in variant_rows if r.metric == metric], epoch))
        for head, lead_rows in lead.split(measured).items()
        for variant, variant_rows in variants.split(lead_rows).items()
        for metric in METRICS
        if any(r.metric == metric for r in variant_rows)
    ]
    header = (
        *lead.header,
        "method",
        "metric",
        "members, base model",
        "members",
        "non-members",
        DIFFERENCE,
        f"{DIFFERENCE}, base model",
    )
    note = (
        f"After {'the last epoch' if epoch is None else f'epoch {epoch}'}. Exact memorization: share of a text's tokens that are the "
        "most likely token. Extraction strength: share of a text, at its end, that greedy decoding generates from the beginning. "
        f"In brackets: {row_values.interval_description(measured)}."
    )
    return Table("Exact memorization and extraction strength", header, tuple(lines), note)


def _cells(rows: Sequence[Row], epoch: int | None) -> tuple[str, ...]:
    of = {name: [r for r in rows if r.metric_settings == name] for name in ("of=members", "of=nonmembers")}
    over = [r for r in rows if r.metric_settings == "over=nonmembers"]
    estimates = (
        row_values.base_estimate(of["of=members"]),
        row_values.pooled_estimate(row_values.rows_at_epoch(of["of=members"], epoch)),
        row_values.pooled_estimate(row_values.rows_at_epoch(of["of=nonmembers"], epoch)),
        row_values.pooled_estimate(row_values.rows_at_epoch(over, epoch)),
        row_values.base_estimate(over),
    )
    return tuple(row_values.format_estimate(e) if e else row_values.MISSING for e in estimates)
