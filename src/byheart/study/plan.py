"""Plan a study: check base models, load and split data sets, name the evidence, try the metrics. Loads no model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from byheart.core.errors import SettingError
from byheart.core.registry import key_of
from byheart.core.split import Examples, Split
from byheart.core.types import LogProbs
from byheart.data.canaries import plant_canaries
from byheart.data.deduplication import deduplicated_texts
from byheart.lm.base_models import check_loadable
from byheart.stats.dp_accounting import missing_package, privacy_settings, target_delta
from byheart.store.store import Store
from byheart.study.base_formats import check_base_format
from byheart.study.layer_checks import check_trained_layers
from byheart.study.learning_rate_search import resolve_searches, with_selection_texts
from byheart.study.planned_cell import PlannedCell, training_parts
from byheart.study.reference_models import reference_cell
from byheart.study.required_evidence import required_study_observations
from byheart.study.shadow_models import shadow_cells
from byheart.study.sharded_checks import check_sharded
from byheart.study.stored_split import stored_split
from byheart.study.study_file import Study
from byheart.study.text_checks import check_has_pairs, check_objective


def plan(study: Study, store: Store) -> tuple[PlannedCell, ...]:
    """Return every cell with its texts and keys, after validation.

    Checks the files of every base model and runs each metric on random scores of the same size, so that errors occur
    before training.
    """
    for base in dict.fromkeys(c.base for c in study.cells):
        check_loadable(base)
    planned = plan_cells(study, store)
    check_sharded(study.machine, planned)
    for cell in planned:
        check_base_format(cell)
        reference_cell(cell)  # raises an error for a training that it cannot repeat
        check_trained_layers(cell)
        _check_privacy(cell)
    for cell in {id(p.split): p for p in planned}.values():
        _check_metrics(cell)
    return planned


def plan_cells(study: Study, store: Store) -> tuple[PlannedCell, ...]:
    """Return every cell with its texts and keys, sorted by base model, so that each is loaded once.

    Loads and splits the data sets; the splits are stored. Reads no base model. A cell whose learning rate is still to be
    searched has the default rate.
    """
    loaded: dict[str, Examples] = {}
    splits: dict[str, Split] = {}
    planned: list[PlannedCell] = []
    for cell in sorted(study.cells, key=lambda c: c.base):
        check_objective(cell)
        if cell.dataset.key not in loaded:
            loaded[cell.dataset.key] = cell.dataset()
        canaries = cell.data.canaries
        seed = cell.seed if canaries is not None and canaries.by_seed else cell.data.seed
        name = key_of({"dataset": cell.dataset.key, "data": dataclasses.asdict(cell.data), "coins": seed})
        if name not in splits:
            examples = loaded[cell.dataset.key]
            cell_split = stored_split(store, cell, examples)
            if canaries is not None:
                near = cell.data.near_duplicate
                cell_split = dataclasses.replace(
                    cell_split, planted=plant_canaries(canaries, examples, cell_split, near_duplicate=near, seed=seed)
                )
            # Of every cell, if any cell searches: all perplexities of a study are of the same texts.
            splits[name] = with_selection_texts(cell_split) if any(c.search for c in study.cells) else cell_split
        cell_split = splits[name]
        parts = cell_split.parts
        parts |= training_parts(deduplicated_texts(parts["train"], cell.training), cell.training)
        if cell.training.objective is not None:
            check_has_pairs(parts["train"], f"training.objective = {cell.training.objective!r}")
        planned.append(
            PlannedCell(
                cell,
                cell_split,
                study.attacks,
                study.metrics,
                study.scoring,
                required_study_observations(study, cell_split, parts),
                parts,
            )
        )
    return resolve_searches(planned, store)


def _check_privacy(planned: PlannedCell) -> None:
    """Raise `SettingError` for a privacy target that is meaningless for this cell, a shadow model or a reference model.

    Only opacus can compute whether a noise level reaches the target; without opacus the plan does not check it.
    """
    privacy = privacy_settings(planned.cell.method)
    if privacy is None:
        return
    reference = reference_cell(planned)
    for cell in (planned, *shadow_cells(planned), *([reference] if reference else [])):
        try:
            target_delta(privacy, len(cell.texts["train"]))
            if not missing_package(cell.cell.method):
                _ = cell.spending
        except SettingError as error:
            raise SettingError(f"methods {planned.cell.method.name}: {error}") from error


def _check_metrics(planned: PlannedCell) -> None:
    """Run the metrics on random scores of the same size: for example, an FPR that is too low fails before training."""
    membership, planted = planned.split.membership, planned.split.planted
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {
        "scores": rng.normal(size=len(membership)),
        "extracted": np.arange(len(membership)) % 2 == 0,
        "membership": membership,
        "groups": planned.split.groups,
    }
    if planted is not None:
        inputs["planted"] = planted
        canary_texts = {
            "canaries": planted.texts,
            "canaries_base": planted.texts,
            "canary_references": planted.references,
        }
        for name, texts in canary_texts.items():
            inputs[name] = LogProbs(logp=-rng.random(len(texts)), starts=np.arange(len(texts) + 1))
    for metric in planned.metrics:
        if set(metric.needs) <= set(inputs):
            metric(*(inputs[n] for n in metric.needs))
