"""Plan a study: check base models, load and split data sets, name the evidence, try the metrics. Loads no model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byheart.core.dependencies import TOKEN_INPUTS, known_records_needed, observation_name, required_observations
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import Choice, entry_names, key_of, module_constant
from byheart.core.split import Examples, Split
from byheart.core.types import LogProbs, Texts, digest
from byheart.data.canaries import plant_canaries
from byheart.data.deduplication import deduplicated_texts
from byheart.data.group_sampling import has_groups
from byheart.data.near_duplicates import NEAR_DUPLICATES_REVISION
from byheart.data.private_attributes import check_has_attributes, check_has_candidates
from byheart.data.prompts import check_has_prompts
from byheart.data.splitting import GROUPED_REVISION
from byheart.lm.base_models import check_loadable
from byheart.stats.dp_accounting import missing_package, privacy_settings, target_delta
from byheart.store.result_files import read_json
from byheart.store.store import Store
from byheart.study.base_formats import check_base_format
from byheart.study.cell_split import cell_split
from byheart.study.layer_checks import check_trained_layers
from byheart.study.learning_rate_search import resolve_searches, with_selection_texts
from byheart.study.planned_cell import METRIC_CONTEXT, METRIC_INPUTS, PlannedCell, training_parts
from byheart.study.reference_models import reference_cell
from byheart.study.shadow_models import shadow_cells
from byheart.study.sharded_checks import check_sharded
from byheart.study.study_file import Cell, Study
from byheart.study.text_checks import check_has_canaries, check_has_pairs, check_objective


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
            cell_split = _stored_split(store, cell, examples)
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
                _required_observations(study, cell_split, parts),
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


def _required_observations(study: Study, cell_split: Split, parts: Mapping[str, Texts]) -> tuple[Choice, ...]:
    """Return the observations that attacks and metrics require, each once, after the observations that it requires.

    Raises `DataError` for an unknown observation, for texts that the study does not set aside, and for private
    attributes that the data set does not have.
    """
    configured = {observation_name(o): o for o in study.observations}
    required: dict[str, Choice] = {}
    for name, requester, minimum in _requested_observations(study, configured):
        for observation in required_observations((name,), requester, configured):
            if module_constant(observation.function, "NEEDS_PROMPTS", default=False):
                check_has_prompts(parts["validation"], requester)
            for need in observation.needs:
                if need.startswith("canary"):
                    check_has_canaries(requester, need, parts)
                elif need == "rejected_tokens":
                    check_has_pairs(parts["audited"], requester)
                elif need in TOKEN_INPUTS:
                    _check_known_texts(requester, observation, need, len(parts[TOKEN_INPUTS[need]]), minimum)
                elif need == "attributes":
                    check_has_attributes(cell_split.attributes, requester)
                elif need == "validation_attributes":
                    check_has_candidates(cell_split.attributes, cell_split.validation_attributes, requester)
            required.setdefault(observation_name(observation), observation)
    return tuple(required.values())


def _requested_observations(study: Study, configured: Mapping[str, Choice]) -> Iterator[tuple[str, str, int]]:
    """Yield the observations that attacks and metrics name, with the requester and its minimum number of known texts.

    Raises `DataError` for an input that metrics cannot request.
    """
    for attack in study.attacks:
        minimum = int(module_constant(attack.function, "KNOWN", 1))
        yield from ((n, f"attacks {attack.name}", minimum) for n in attack.needs if n != "texts")
    for metric in study.metrics:
        for name in (n for n in metric.needs if n not in METRIC_CONTEXT):
            available = dict.fromkeys((*METRIC_INPUTS, *entry_names("observations"), *configured))
            if name not in available:
                raise DataError(f"metrics {metric.name}: unknown input {name!r}. Choose from {', '.join(available)}.")
            yield "target" if name in {"train", "nonmember"} else name, f"metrics {metric.name}", 1


def _check_known_texts(requester: str, observation: Choice, need: str, available: int, minimum: int) -> None:
    """Raise `DataError` for fewer known texts than the attack or the observation requires."""
    setting = module_constant(observation.function, "KNOWN", 1.0)
    required = known_records_needed(observation, minimum) if need.startswith("known") else 1
    if available >= required:
        return
    number = f"{required} or more" if required > 1 else "about 50"
    alternative = (
        f", or {setting} of observations {observation_name(observation)} to {available}"
        if isinstance(setting, str) and available
        else ""
    )
    raise DataError(
        f"{requester}: requires records with known membership, and the study has {available}. "
        f"Set data.known to {number}{alternative}."
    )


def _stored_split(store: Store, cell: Cell, examples: Examples) -> Split:
    """Return the split of a data set; it is made once and stored as ids."""
    content_digest = digest([(examples.texts.digest,), examples.roles, examples.groups])
    others = {"max_tokens", "canaries", "end_token", "tokenization"}  # these do not change the split
    sizes = {f.name: getattr(cell.data, f.name) for f in dataclasses.fields(cell.data) if f.name not in others}
    revision = {"revision": GROUPED_REVISION} if has_groups(examples.groups) else {}
    revision["near_duplicates"] = NEAR_DUPLICATES_REVISION
    recipe = {"dataset": cell.dataset.recipe, "content": content_digest, "data": sizes, **revision}

    def make(folder: Path) -> None:
        settings = {n: v for n, v in sizes.items() if n != "split"}
        new_split = cell_split(cell, examples, settings)
        content = {
            "train": new_split.train.ids,
            "members": [int(m) for m in new_split.members],
            "nonmembers": new_split.nonmembers.ids,
            "validation": new_split.validation.ids,
            "known_members": new_split.known_members.ids,
            "known_nonmembers": new_split.known_nonmembers.ids,
            "counts": dict(new_split.counts),
        }
        (folder / "split.json").write_text(json.dumps(content))

    return restore_split(examples, read_json(store.get_or_make("splits", key_of(recipe), recipe, make) / "split.json"))


def restore_split(examples: Examples, stored: Mapping[str, Any]) -> Split:
    """Return a split from its stored ids."""
    position = {name: i for i, name in enumerate(examples.texts.ids)}
    train, nonmembers = ([position[i] for i in stored[part]] for part in ("train", "nonmembers"))
    others = {part: [position[i] for i in stored[part]] for part in ("validation", "known_members", "known_nonmembers")}
    return Split(
        train=examples.texts.take(train),
        members=tuple(stored["members"]),
        nonmembers=examples.texts.take(nonmembers),
        member_groups=tuple(examples.groups[train[m]] for m in stored["members"]),
        nonmember_groups=tuple(examples.groups[i] for i in nonmembers),
        validation_groups=tuple(examples.groups[i] for i in others["validation"]),
        train_groups=tuple(examples.groups[i] for i in train),
        attributes=tuple(examples.attributes[i] for i in (*(train[m] for m in stored["members"]), *nonmembers)),
        validation_attributes=tuple(examples.attributes[i] for i in others["validation"]),
        counts=stored["counts"],
        validation=examples.texts.take(others["validation"]),
        known_members=examples.texts.take(others["known_members"]),
        known_nonmembers=examples.texts.take(others["known_nonmembers"]),
    )


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
