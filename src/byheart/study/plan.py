"""What a study needs: bases looked into, data sets loaded and dealt, evidence named, metrics tried. No model is loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byheart.core.dependencies import TOKEN_INPUTS, known_records_needed, observation_name, required_observations
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import Choice, entry_names, key_of, module_constant
from byheart.core.types import Examples, LogProbs, Split, Texts, digest
from byheart.data.canaries import plant_canaries
from byheart.data.deduplication import deduplicated_texts
from byheart.data.private_attributes import check_has_attributes, check_has_candidates
from byheart.data.splitting import split
from byheart.lm.base_models import check_loadable
from byheart.stats.dp_accounting import missing_package, privacy_settings, target_delta
from byheart.store.store import Store, read_json
from byheart.study.planned_cell import METRIC_INPUTS, METRIC_LABELS, PlannedCell
from byheart.study.remaining_work import remaining_work
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import Cell, Study


def plan(study: Study, store: Store) -> tuple[PlannedCell, ...]:
    """Return every cell with its texts and keys, as `deal` does.

    Looks into every base's files and tries each metric on made-up scores of the same size, so that what cannot be
    loaded or measured is refused before anything is trained.
    """
    for base in dict.fromkeys(c.base for c in study.cells):
        check_loadable(base)
    planned = plan_cells(study, store)
    for one in planned:
        _check_privacy(one)
    for one in {id(p.split): p for p in planned}.values():
        _check_metrics(one)
    return planned


def plan_cells(study: Study, store: Store) -> tuple[PlannedCell, ...]:
    """Return every cell with its texts and keys, cells of one base together, so that it is loaded in a row.

    Loads data sets and splits them (kept in the store); no base model is looked at.
    """
    loaded: dict[str, Examples] = {}
    splits: dict[str, Split] = {}
    planned: list[PlannedCell] = []
    for cell in sorted(study.cells, key=lambda c: c.base):
        if cell.dataset.key not in loaded:
            loaded[cell.dataset.key] = cell.dataset()
        canaries = cell.data.canaries
        seed = cell.seed if canaries is not None and canaries.by_seed else cell.data.seed
        name = key_of({"dataset": cell.dataset.key, "data": dataclasses.asdict(cell.data), "coins": seed})
        if name not in splits:
            examples = loaded[cell.dataset.key]
            dealt = _split(store, cell, examples)
            if canaries is not None:
                near = cell.data.near_duplicate
                dealt = dataclasses.replace(
                    dealt, planted=plant_canaries(canaries, examples, dealt, near_duplicate=near, seed=seed)
                )
            splits[name] = dealt
        dealt = splits[name]
        parts = dealt.parts
        parts["train"] = deduplicated_texts(parts["train"], cell.training)
        planned.append(
            PlannedCell(
                cell,
                dealt,
                study.attacks,
                study.metrics,
                study.scoring,
                _required_observations(study, dealt, parts),
                parts,
            )
        )
    return tuple(planned)


def _check_privacy(planned: PlannedCell) -> None:
    """Refuse a promise of privacy that means nothing for this cell, or for a shadow of it, whose texts are others.

    Whether any noise keeps it only opacus can say, which a plan does without.
    """
    privacy = privacy_settings(planned.cell.method)
    if privacy is None:
        return
    for one in (planned, *shadow_cells(planned)):
        try:
            target_delta(privacy, len(one.texts["train"]))
            if not missing_package(one.cell.method):
                _ = one.spending
        except SettingError as error:
            raise SettingError(f"methods {planned.cell.method.name}: {error}") from error


def _required_observations(study: Study, dealt: Split, parts: Mapping[str, Texts]) -> tuple[Choice, ...]:
    """Return the observations that attacks and metrics ask for, each once, after those that it asks for itself.

    Raises `DataError` for evidence that there is not, of texts that the study sets none aside for, or of private
    attributes that its data has not.
    """
    given = {observation_name(o): o for o in study.observations}
    found: dict[str, Choice] = {}
    for name, asking, least in _requested_observations(study, given):
        for observation in required_observations((name,), asking, given):
            for need in observation.needs:
                if need.startswith("canary"):
                    _check_canaries(asking, need, parts)
                elif need in TOKEN_INPUTS:
                    _check_known_texts(asking, observation, need, len(parts[TOKEN_INPUTS[need]]), least)
                elif need == "attributes":
                    check_has_attributes(dealt.attributes, asking)
                elif need == "validation_attributes":
                    check_has_candidates(dealt.attributes, dealt.validation_attributes, asking)
            found.setdefault(observation_name(observation), observation)
    return tuple(found.values())


def _requested_observations(study: Study, given: Mapping[str, Choice]) -> Iterator[tuple[str, str, int]]:
    """Yield the observations that attacks and metrics name, with who asks and how many known texts it needs at least.

    Raises `DataError` for what a metric may not ask for.
    """
    for attack in study.attacks:
        least = int(module_constant(attack.function, "KNOWN", 1))
        yield from ((n, f"attacks {attack.name}", least) for n in attack.needs if n != "texts")
    for metric in study.metrics:
        for name in (n for n in metric.needs if n not in METRIC_LABELS):
            known = dict.fromkeys((*METRIC_INPUTS, *entry_names("observations"), *given))
            if name not in known:
                raise DataError(f"metrics {metric.name} asks for {name!r}; a metric may ask for {', '.join(known)}")
            yield "target" if name in {"train", "nonmember"} else name, f"metrics {metric.name}", 1


def _check_canaries(requester: str, need: str, parts: Mapping[str, Texts]) -> None:
    """Raise `DataError` where there are no canaries, or none in a format of which there are others."""
    if not len(parts["canaries"]):
        raise DataError(f"{requester} needs canaries; set data.canaries, to {{}} or to {{count: 48, ...}}")
    if not len(parts[TOKEN_INPUTS[need]]):
        raise DataError(f"{requester} ranks canaries in a format; real_texts have none: name another kind")


def _check_known_texts(requester: str, observation: Choice, need: str, available: int, minimum: int) -> None:
    """Raise `DataError` where there are fewer texts of a kind than an attack or the observation says that it needs."""
    told = module_constant(observation.function, "KNOWN", 1.0)
    wanted = known_records_needed(observation, minimum) if need.startswith("known") else 1
    if available >= wanted:
        return
    number = f"{wanted} or more" if wanted > 1 else "50 or so"
    held = f"; there are {available}" if available else ""
    fewer = (
        f", or {told} of observations {observation_name(observation)} to {available}"
        if isinstance(told, str) and available
        else ""
    )
    raise DataError(f"{requester} needs texts that its adversary knows{held}; set data.known, to {number}{fewer}")


def _split(store: Store, cell: Cell, examples: Examples) -> Split:
    """Return the split of a data set, dealt once and kept as ids."""
    content = digest([(examples.texts.digest,), examples.roles, examples.groups])
    others = {"max_tokens", "canaries"}  # which change nobody's part
    sizes = {f.name: getattr(cell.data, f.name) for f in dataclasses.fields(cell.data) if f.name not in others}
    recipe = {"dataset": cell.dataset.recipe, "content": content, "data": sizes}

    def make(folder: Path) -> None:
        asked = {n: v for n, v in sizes.items() if n != "split"}
        dealt = split(examples, **asked, by=cell.data.split)
        held = {
            "train": dealt.train.ids,
            "members": [int(m) for m in dealt.members],
            "nonmembers": dealt.nonmembers.ids,
            "validation": dealt.validation.ids,
            "known_members": dealt.known_members.ids,
            "known_nonmembers": dealt.known_nonmembers.ids,
            "counts": dict(dealt.counts),
        }
        (folder / "split.json").write_text(json.dumps(held))

    return restore_split(examples, read_json(store.get_or_make("splits", key_of(recipe), recipe, make) / "split.json"))


def restore_split(examples: Examples, stored: Mapping[str, Any]) -> Split:
    """Return the split that was dealt, from what is kept of it."""
    at = {name: i for i, name in enumerate(examples.texts.ids)}
    train, nonmembers = ([at[i] for i in stored[part]] for part in ("train", "nonmembers"))
    others = {part: [at[i] for i in stored[part]] for part in ("validation", "known_members", "known_nonmembers")}
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


def remaining_work_by_cell(planned: Sequence[PlannedCell], store: Store | None) -> list[float]:
    """Return what is left to do for each cell in turn, what cells share being done for the first that needs it.

    With None, all that there is to do: what would be left if the store held nothing.
    """
    known: set[str] = set()
    return [remaining_work(p, store, known) for p in planned]


def _check_metrics(planned: PlannedCell) -> None:
    """Measure made-up scores of the same size: a rate below resolution is refused here, not after a night's training."""
    membership, planted = planned.split.membership, planned.split.planted
    chance = np.random.default_rng(0)
    made_up: dict[str, Any] = {
        "scores": chance.normal(size=len(membership)),
        "extracted": np.arange(len(membership)) % 2 == 0,
        "membership": membership,
        "groups": planned.split.groups,
    }
    if planted is not None:
        made_up["planted"] = planted
        sizes = {"canaries": planted.texts, "canaries_base": planted.texts, "canary_references": planted.references}
        for name, texts in sizes.items():
            made_up[name] = LogProbs(logp=-chance.random(len(texts)), starts=np.arange(len(texts) + 1))
    for metric in planned.metrics:
        if set(metric.needs) <= set(made_up):
            metric(*(made_up[n] for n in metric.needs))
