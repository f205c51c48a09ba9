"""The model card (README.md) of a model that a study trained: how it was trained, and what it memorized."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from byheart.analysis import formats, labels, row_values
from byheart.analysis.base_model_check import panel_gates
from byheart.analysis.verdicts import verdict_lines
from byheart.core.registry import choose
from byheart.core.row import is_base_row, without_initialized
from byheart.core.types import Row
from byheart.report.exhibits import ReportContent, make_tables
from byheart.store.rows import read_gates, score_reader, study_rows
from byheart.study.observed_states import ModelState
from byheart.study.planned_cell import PlannedCell

if TYPE_CHECKING:
    from byheart.store.store import Store


def model_card(planned: PlannedCell, state: ModelState, store: Store, study: str, *, is_adapter: bool) -> str:
    """Return the Markdown of a cell's model after an observed epoch: training, verdict and leakage under each attack.

    Verdict and intervals are of this model alone. The front matter is that of a Hugging Face model card. The card names no path of
    data and has no text, because a card is published with its model.
    """
    rows = [
        row
        for row in without_initialized(study_rows(store, study))
        if row.cell == planned.key and (row.epoch in {None, state.epoch} or is_base_row(row))
    ]
    epochs = f"{state.epoch:g} {'epoch' if state.epoch == 1 else 'epochs'}"
    title = f"{labels.method_name(planned.cell.method.name)} of {labels.base_name(planned.cell.base)} after {epochs}"
    training = "\n".join(f"- {name}: {value}" for name, value in _training(planned, rows, study) if value)
    return "\n\n".join(
        [
            f"---\n{_front_matter(planned, is_adapter=is_adapter)}---",
            f"# {formats.escape_markdown(title)}",
            f"byheart {metadata.version('byheart')} trained this model and attacked it.",
            f"## Training\n\n{training}",
            f"## Memorization\n\n{_memorization(planned, rows, store, study)}\n",
        ]
    )


def _front_matter(planned: PlannedCell, *, is_adapter: bool) -> str:
    from ruamel.yaml import YAML

    base = planned.cell.base
    fields = {"library_name": "peft" if is_adapter else "transformers", "pipeline_tag": "text-generation"}
    if base.count("/") == 1 and not base.startswith((".", "/", "~", "package:")):
        fields["base_model"] = base
    written = io.StringIO()
    YAML().dump(fields, written)
    return written.getvalue()


def _training(planned: PlannedCell, rows: Sequence[Row], study: str) -> list[tuple[str, str]]:
    cell, first = planned.cell, rows[0]
    values = {row.metric: row.value for row in rows if not row.attack and row.epoch is None}
    parameters, rate = values.get("trained_parameters"), values.get("learning_rate")
    settings = ", ".join(row_values.split_settings(first.method_settings, first.training_settings))
    lines = {
        "base model": cell.base,
        "data": f"{labels.dataset_name(first.dataset)}, {len(planned.texts['train']):,} texts",
        "settings that differ from defaults": settings,
        "learning rate": "" if rate is None else f"{rate:g}",
        "trained parameters": "" if parameters is None else f"{parameters:,.0f}",
        "seed": str(cell.seed),
        "study": f"{study}, cell {planned.key}",
    }
    return [(name, formats.escape_markdown(value)) for name, value in lines.items()]


def _memorization(planned: PlannedCell, rows: Sequence[Row], store: Store, study: str) -> str:
    scores = score_reader(store)
    gates = panel_gates(rows, scores, read_gates(store, study))
    without_paths = [dataclasses.replace(row, dataset_settings="") for row in rows]
    table = make_tables(ReportContent(without_paths, scores), [choose("tables", "methods")]).get("methods")
    if table is None:
        return f"No membership attack ran on {planned.label} at this epoch."
    lines = [formats.escape_markdown(line) for line in verdict_lines(rows, scores, gates)]
    lines.append(formats.as_markdown(table))
    lines.append(
        "An attack at chance does not show that nothing was memorized. If this model was chosen among many by these numbers, they are "
        "biased downward: audit it on texts that the choice did not use."
    )
    return "\n\n".join(lines)
