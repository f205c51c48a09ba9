"""Task utility: quality of generated completions beside perplexity, which rewards a prompt's mere presence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import cells_across, format_base_value, value_formatter

COMPLETION_METRICS = ("chrf", "bleu", "rouge")


def utility(rows: Sequence[Row], *, epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Quality of completions of validation prompts (higher is better) beside perplexity (lower is better), by method.

    `epoch` None is the last epoch. Raises `DataError` without chrF, BLEU or ROUGE.
    """
    measured = [r for r in rows if r.metric in (*COMPLETION_METRICS, "perplexity") and not r.attack]
    if not any(r.metric in COMPLETION_METRICS for r in measured):
        raise DataError("table utility: no quality of completions. Add the metrics chrf, bleu or rouge to the study.")
    lead, variants = LeadColumns(measured), labels.variants(measured)
    metrics = sorted({(r.metric, r.metric_settings) for r in measured}, key=lambda m: (m[0] == "perplexity", m))
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(measured).items():
        for metric, settings in metrics:
            of_metric = [r for r in lead_rows if (r.metric, r.metric_settings) == (metric, settings)]
            name = " ".join(x for x in (labels.metric_name(metric), settings) if x)
            cells = cells_across(variants, of_metric, value_formatter(epoch))
            lines.append((*head, name, format_base_value(of_metric), *cells))
    note = (
        f"After {'the last epoch' if epoch is None else f'epoch {epoch}'}. Completions are greedy; each validation prompt counts once. "
        f"In brackets: {row_values.interval_description(measured)}."
    )
    header = (*lead.header, "measure", labels.BASE_LABEL, *variants.names.values())
    return Table("Task utility", header, tuple(lines), note)
