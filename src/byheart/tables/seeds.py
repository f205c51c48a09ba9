"""Leakage by method, pooled over training seeds and over splits of the data.

Texts, training seeds and splits are separate sources of variance. Within a split, the interval covers other texts and other
seeds (`stats/seed_pooling.py`). Over splits, value and ends are the means of the splits' values and ends: this interval is
valid even if the splits share texts, because the standard deviation of a mean is at most the mean standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.analysis.pooled_estimates import pooled_over_splits
from byheart.core.errors import DataError
from byheart.core.row import is_base_row
from byheart.core.types import Row, ScoreSet, Table
from byheart.tables._columns import AdversaryColumn, attack_lines, attack_rows, cells_across, with_splits_merged


def seeds(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    epoch: Annotated[int, Ge(0)] | None = None,
    metric: str = "auc",
) -> Table:
    """Mean over all seeds and splits (`data.seed`) of a metric, with an interval over texts and seeds; a higher value means more leakage.

    `epoch` None is the last epoch. AUC is pooled from the stored scores, any other metric from its values and intervals.
    Raises `DataError` without rows of this metric, and if no method was trained with several seeds or splits.
    """
    split_of = {r.cell: r.dataset_settings for r in rows}
    merged = with_splits_merged(rows)
    measured = attack_rows(merged, None, metric, epoch)
    if len({(r.dataset, split_of[r.cell], r.seed) for r in measured}) == len(
        {(r.dataset, r.dataset_settings) for r in measured}
    ):
        raise DataError(
            "table seeds: one seed and one split. List several `seeds`, or data sets with several `data.seed`."
        )
    utility = [r for r in merged if r.metric == "perplexity" and not r.attack]
    lead, variants = LeadColumns(measured), labels.variants([*measured, *utility])
    adversaries = AdversaryColumn(measured)

    def cell(chosen: Sequence[Row]) -> str:
        return row_values.format_estimate(pooled_over_splits(chosen, split_of, scores))

    lines = tuple(
        (
            *head,
            *adversaries.cell(line_rows),
            name,
            cell([r for r in line_rows if is_base_row(r)]),
            *cells_across(variants, line_rows, lambda chosen: cell(row_values.rows_at_epoch(chosen, epoch))),
        )
        for head, name, line_rows in attack_lines(measured, utility, lead)
    )
    header = (*lead.header, *adversaries.header, "attack", labels.BASE_LABEL, *variants.names.values())
    return Table(
        f"{labels.metric_name(metric)} over seeds and splits",
        header,
        lines,
        _note(measured, split_of) + adversaries.note,
    )


def _note(rows: Sequence[Row], split_of: Mapping[str, str]) -> str:
    seeds_count = len({r.seed for r in rows})
    by_dataset: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        by_dataset.setdefault((row.dataset, row.dataset_settings), set()).add(split_of[row.cell])
    splits = max(len(found) for found in by_dataset.values())
    of_splits = f" and {row_values.format_count(splits, 'split')} of each data set" if splits > 1 else ""
    return (
        f"Mean over {row_values.format_count(seeds_count, 'seed')}{of_splits}. In brackets: 95 % interval for other texts and "
        "other seeds; over splits, the mean of the splits' intervals, which is valid even if splits share texts."
    )
