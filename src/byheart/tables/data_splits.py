"""Number of texts in each split: Table 1 of "Impact of Fine-Tuning Methods on Memorization in LLMs".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: it also counts removed texts (exact and near duplicates
between members and non-members make any attack's score meaningless) and truncated texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import cells_across

RANGE_SEPARATOR = " to "

COUNT_COLUMNS = {
    "train_texts": "fine-tuning",
    "member_texts": "members",
    "nonmember_texts": "non-members",
    "validation_texts": "validation",
    "canaries": "canaries",
    "canary_copies": "copies of canaries in training",
    "exact_duplicates_removed": "exact duplicates removed",
    "near_duplicates_removed": "near duplicates removed",
    "truncated_texts": "truncated",
    "max_tokens": "token limit",
}


def data_splits(rows: Sequence[Row]) -> Table:
    """Number of texts in each split of each data set; members are a sample of the fine-tuning texts.

    Raises `DataError` without counts of texts.
    """
    counted = [r for r in rows if not r.attack and r.metric in COUNT_COLUMNS]
    if not counted:
        raise DataError("table data_splits: no row contains counts of texts. Run a study first.")
    metrics = [m for m in COUNT_COLUMNS if any(r.metric == m for r in counted)]
    by_metric = labels.DisplayNames(lambda r: (r.metric,), {(m,): COUNT_COLUMNS[m] for m in metrics}, {})
    datasets = labels.datasets(counted)
    lines = tuple(
        (data, *cells_across(by_metric, data_rows, _range)) for data, data_rows in datasets.split(counted).items()
    )
    varies = any(RANGE_SEPARATOR in cell for line in lines for cell in line[1:])
    ranged = " A range covers several cells, if base models or seeds differ." if varies else ""
    note = f"Number of texts. Members are a sample of the fine-tuning texts; non-members were never trained on.{ranged}"
    return Table("Texts in each split", ("data", *by_metric.names.values()), lines, note)


def _range(rows: list[Row]) -> str:
    if not rows:
        return row_values.MISSING
    low, high = min(r.value for r in rows), max(r.value for r in rows)
    return f"{low:,.0f}" if low == high else f"{low:,.0f}{RANGE_SEPARATOR}{high:,.0f}"
