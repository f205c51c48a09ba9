"""What a study needs: bases looked into, data sets loaded and dealt, evidence named, metrics tried. No model is loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byheart.errors import DataError
from byheart.lm.bases import refuse
from byheart.needs import TOKENS, called, chain
from byheart.planned import LABELLED, LABELS, Planned
from byheart.shelf import Choice, constant, key_of
from byheart.splitting import split
from byheart.store import Store, read_json
from byheart.study import Cell, Study
from byheart.types import Examples, Split, Texts, digest


def plan(study: Study, store: Store) -> tuple[Planned, ...]:
    """Return every cell with its texts and keys, as `deal` does.

    Looks into every base's files and tries each metric on made-up scores of the same size, so that what cannot be
    loaded or measured is refused before anything is trained.
    """
    for base in dict.fromkeys(c.base for c in study.cells):
        refuse(base)
    planned = deal(study, store)
    for one in {id(p.split): p for p in planned}.values():
        _try_metrics(one)
    return planned


def deal(study: Study, store: Store) -> tuple[Planned, ...]:
    """Return every cell with its texts and keys, cells of one base together, so that it is loaded in a row.

    Loads data sets and splits them (kept in the store); no base model is looked at.
    """
    loaded: dict[str, Examples] = {}
    splits: dict[str, Split] = {}
    planned: list[Planned] = []
    for cell in sorted(study.cells, key=lambda c: c.base):
        if cell.dataset.key not in loaded:
            loaded[cell.dataset.key] = cell.dataset()
        name = key_of({"dataset": cell.dataset.key, "data": dataclasses.asdict(cell.data)})
        if name not in splits:
            splits[name] = _split(store, cell, loaded[cell.dataset.key])
        parts = splits[name].parts
        planned.append(
            Planned(cell, splits[name], study.attacks, study.metrics, study.scoring, _observed(study, parts), parts)
        )
    return tuple(planned)


def _observed(study: Study, parts: Mapping[str, Texts]) -> tuple[Choice, ...]:
    """Return the observations that attacks and metrics ask for, each once, after those that it asks for itself.

    Raises `DataError` for evidence that there is not, or of texts that the study sets none aside for.
    """
    asked = [
        (n, f"attacks {a.name}", int(constant(a.function, "KNOWN", 1)))
        for a in study.attacks
        for n in a.needs
        if n != "texts"
    ]
    for metric in study.metrics:
        evidence = [n for n in metric.needs if n not in LABELS]
        asked += [("validation" if n == "validation" else "target", f"metrics {metric.name}", 1) for n in evidence]
    given = {called(o): o for o in study.observations}
    found: dict[str, Choice] = {}
    for name, asking, least in asked:
        for observation in chain((name,), asking, given):
            for need in observation.needs:
                if need in TOKENS and len(parts[TOKENS[need]]) < (least if need.startswith("known") else 1):
                    number = f"{least} or more" if least > 1 else "50 or so"
                    raise DataError(f"{asking} needs texts that its adversary knows; set data.known, to {number}")
            found.setdefault(called(observation), observation)
    return tuple(found.values())


def _split(store: Store, cell: Cell, examples: Examples) -> Split:
    """Return the split of a data set, dealt once and kept as ids."""
    content = digest([(examples.texts.digest,), examples.roles, examples.groups])
    sizes = {f.name: getattr(cell.data, f.name) for f in dataclasses.fields(cell.data) if f.name != "max_tokens"}
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

    return rebuilt(examples, read_json(store.get_or_make("splits", key_of(recipe), recipe, make) / "split.json"))


def rebuilt(examples: Examples, kept: Mapping[str, Any]) -> Split:
    """Return the split that was dealt, from what is kept of it."""
    at = {name: i for i, name in enumerate(examples.texts.ids)}
    train, nonmembers = ([at[i] for i in kept[part]] for part in ("train", "nonmembers"))
    others = {part: [at[i] for i in kept[part]] for part in ("validation", "known_members", "known_nonmembers")}
    return Split(
        train=examples.texts.take(train),
        members=tuple(kept["members"]),
        nonmembers=examples.texts.take(nonmembers),
        member_groups=tuple(examples.groups[train[m]] for m in kept["members"]),
        nonmember_groups=tuple(examples.groups[i] for i in nonmembers),
        validation_groups=tuple(examples.groups[i] for i in others["validation"]),
        counts=kept["counts"],
        **{part: examples.texts.take(chosen) for part, chosen in others.items()},
    )


def work(planned: Sequence[Planned], store: Store) -> list[float]:
    """Return what is left to do for each cell in turn, what cells share being done for the first that needs it."""
    known: set[str] = set()
    return [p.work(store, known) for p in planned]


def _try_metrics(planned: Planned) -> None:
    """Measure made-up scores of the same size: a rate below resolution is refused here, not after a night's training."""
    membership = planned.split.membership
    made_up = {
        "scores": np.random.default_rng(0).normal(size=len(membership)),
        "extracted": np.arange(len(membership)) % 2 == 0,
        "membership": membership,
        "groups": planned.split.groups,
    }
    for metric in planned.metrics:
        unknown = [n for n in metric.needs if n not in LABELLED]
        if unknown:
            raise DataError(
                f"metrics {metric.name} asks for {unknown[0]!r}; a metric may ask for {', '.join(LABELLED)}"
            )
        if set(metric.needs) <= set(made_up):
            metric(*(made_up[n] for n in metric.needs))
