"""Leakage by base model: Table 3 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: adds intervals and a column for the base model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import attack_rows, cells_across, format_base_value, table_note, value_formatter


def models(
    rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None
) -> Table:
    """Leakage of every base model under every method, for one attack; a higher value means more leakage.

    Models are sorted by size if rows of full fine-tuning give it, else by name. Raises `DataError` for fewer than two.
    """
    measured = attack_rows(rows, attack, metric, epoch)
    datasets, bases, columns = labels.datasets(measured), labels.bases(rows), labels.series(measured)
    if len({r.base for r in measured}) == 1:
        raise DataError("table models: the rows have only one base model. Add another base model to the study.")
    lines = tuple(
        (data, base, format_base_value(base_rows), *cells_across(columns, base_rows, value_formatter(epoch)))
        for data, data_rows in datasets.split(measured).items()
        for base, base_rows in bases.split(data_rows).items()
    )
    header = ("data", "model", labels.BASE_LABEL, *columns.names.values())
    title = f"{labels.metric_name(metric)} of the attack {labels.attack_name(attack)} by base model"
    return Table(title, header, lines, table_note(measured, metric, epoch))
