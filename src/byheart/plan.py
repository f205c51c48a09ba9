"""What a study needs and what its store already holds: splits, identities, keys, and the work that is left. No model is loaded.

A result's key covers exactly what can change it: a checkpoint's the base, the training texts and how they are
trained on; an observation's the inputs that its signature names; a score's the attack and its evidence.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from byheart import lm
from byheart.errors import DataError
from byheart.lm.bases import identity, refuse
from byheart.shelf import Choice, choose, key_of
from byheart.splitting import split
from byheart.store import Store, read_json
from byheart.study import Cell, Study
from byheart.types import Examples, Scoring, Split, Texts, TokenStats, Training, digest

LABELS = ("scores", "membership", "groups", "member_groups", "nonmember_groups", "validation_groups")
LABELLED = (*LABELS, "train", "nonmember", "validation")
"""What a metric may ask for: scores, labels, and evidence."""


@dataclass(frozen=True)
class Planned:
    """A cell with its texts, and from these the keys of everything that will be made for it."""

    cell: Cell
    split: Split
    attacks: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    scoring: Scoring

    @cached_property
    def base(self) -> str:
        """What tells the base model from any other."""
        return identity(self.cell.base)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that can change the trained weights, defaults spelled out."""
        return {
            "base": self.base,
            "texts": self.split.train.digest,
            "max_tokens": self.cell.data.max_tokens,
            "method": self.cell.method.recipe,
            "training": dataclasses.asdict(self.cell.training),
            "seed": self.cell.seed,
            "revision": lm.TRAIN_REVISION,
        }

    @cached_property
    def key(self) -> str:
        """The checkpoint's key: its recipe without the settings that are defaults."""
        given = {n: v for n, v in self.recipe["training"].items() if v != _default(Training, n)}
        return key_of({**self.recipe, "method": self.cell.method.identity, "training": given})

    @cached_property
    def observations(self) -> tuple[Choice, ...]:
        """The observations that attacks and metrics ask for, each once."""
        asked = [n for a in self.attacks for n in a.needs if n != "texts"]
        asked += [
            "target" if n in {"train", "nonmember"} else n for m in self.metrics for n in m.needs if n not in LABELS
        ]
        return tuple(choose("observations", n) for n in dict.fromkeys(asked))

    @property
    def epochs(self) -> range:
        """Every epoch that is observed; 0 is the untuned base."""
        return range(self.cell.training.epochs + 1)

    def tokens_recipe(self, what: str) -> dict[str, Any]:
        """Return what tells these tokens from any other: "train", "audited" or "validation" texts."""
        texts = {"train": self.split.train, "audited": self.split.audited, "validation": self.split.validation}[what]
        return {"base": self.base, "texts": texts.digest, "max_tokens": self.cell.data.max_tokens}

    def evidence_recipe(self, observation: Choice, epoch: int) -> dict[str, Any]:
        """Return an observation's identity, which covers only the inputs that its signature names."""
        if epoch == 0 and observation.name == "target":
            # The untuned base is what the reference attack reads anyway: one pass serves both.
            observation = choose("observations", "base")
        model = {"base": self.base} if epoch == 0 else {"cell": self.key, "epoch": epoch}
        inputs: dict[str, Any] = {
            "model": model,
            "base_model": {"base": self.base},
            "tokens": self.tokens_recipe("audited"),
            "validation_tokens": self.tokens_recipe("validation"),
        }
        asked = {n: inputs[n] for n in observation.needs}
        return {
            "observation": observation.recipe,
            "inputs": asked,
            "precision": self.scoring.precision,
            "revision": lm.FORWARD_REVISION,
        }

    def evidence_key(self, observation: Choice, epoch: int) -> str:
        """Return the key of an observation at an epoch: its recipe without the settings that are defaults."""
        recipe = self.evidence_recipe(observation, epoch)
        named = {n: v for n, v in recipe["observation"].items() if n != "settings"}
        return key_of({**recipe, "observation": {**named, "settings": observation.changed}})

    def missing(self, store: Store) -> dict[int, tuple[Choice, ...]]:
        """Return, by epoch, the observations that the store does not hold yet, each at the first epoch that needs it."""
        left: dict[int, tuple[Choice, ...]] = {}
        first: dict[str, tuple[int, Choice]] = {}
        for epoch in self.epochs:
            for observation in self.observations:
                first.setdefault(self.evidence_key(observation, epoch), (epoch, observation))
        for key, (epoch, observation) in first.items():
            if not store.has("evidence", key):
                left[epoch] = (*left.get(epoch, ()), observation)
        return left

    def work(self, store: Store, known: set[str]) -> float:
        """Return what is left to do, in forward passes of one token. Four characters are taken for one token.

        `known` are keys of evidence that a cell before this one makes; this cell's are added.
        """
        left = {
            e: tuple(o for o in wanted if self.evidence_key(o, e) not in known)
            for e, wanted in self.missing(store).items()
        }
        known |= {self.evidence_key(o, e) for e, wanted in left.items() for o in wanted}
        trained = max((e for e in left if e > 0), default=0)
        if not store.has("training", self.key):
            trained = self.cell.training.epochs
        return trained * self.epoch_work + sum(self.observation_work(o) for wanted in left.values() for o in wanted)

    @property
    def epoch_work(self) -> float:
        """Training of one epoch, in forward passes of one token; a method's file says how many passes a token costs."""
        passes = inspect.getmodule(self.cell.method.function).__dict__.get("PASSES", 3.0)
        return passes * _size(self.split.train)

    def observation_work(self, observation: Choice) -> float:
        """Return one observation's work, in forward passes of one token."""
        return _size(self.split.validation if "validation_tokens" in observation.needs else self.split.audited)


def _default(kind: type[Any], name: str) -> Any:
    return next(f.default for f in dataclasses.fields(kind) if f.name == name)


def _size(texts: Texts) -> float:
    return sum(len(s) + len(p) for s, p in zip(texts.scored, texts.prompts, strict=True)) / 4


def plan(study: Study, store: Store) -> tuple[Planned, ...]:
    """Return every cell with its texts and keys, cells of one base together, so that it is loaded in a row.

    Looks into every base's files, loads data sets, splits them (kept in the store), and tries each metric on made-up
    scores of the same size, so that what cannot be loaded or measured is refused before anything is trained.
    """
    for base in dict.fromkeys(c.base for c in study.cells):
        refuse(base)
    loaded: dict[str, Examples] = {}
    splits: dict[str, Split] = {}
    planned: list[Planned] = []
    for cell in sorted(study.cells, key=lambda c: c.base):
        if cell.dataset.key not in loaded:
            loaded[cell.dataset.key] = cell.dataset()
        name = key_of({"dataset": cell.dataset.key, "data": dataclasses.asdict(cell.data)})
        if name not in splits:
            splits[name] = _split(store, cell, loaded[cell.dataset.key])
        planned.append(Planned(cell, splits[name], study.attacks, study.metrics, study.scoring))
    for one in {id(p.split): p for p in planned}.values():
        _try_metrics(one)
    return tuple(planned)


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
            "counts": dict(dealt.counts),
        }
        (folder / "split.json").write_text(json.dumps(held))

    return _rebuilt(examples, read_json(store.get_or_make("splits", key_of(recipe), recipe, make) / "split.json"))


def _rebuilt(examples: Examples, kept: Mapping[str, Any]) -> Split:
    at = {name: i for i, name in enumerate(examples.texts.ids)}
    train, nonmembers, validation = ([at[i] for i in kept[part]] for part in ("train", "nonmembers", "validation"))
    return Split(
        train=examples.texts.take(train),
        members=tuple(kept["members"]),
        nonmembers=examples.texts.take(nonmembers),
        validation=examples.texts.take(validation),
        member_groups=tuple(examples.groups[train[m]] for m in kept["members"]),
        nonmember_groups=tuple(examples.groups[i] for i in nonmembers),
        validation_groups=tuple(examples.groups[i] for i in validation),
        counts=kept["counts"],
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


def part(stats: TokenStats, chosen: slice) -> TokenStats:
    """Return the token statistics of a run of texts."""
    lo, hi = int(stats.starts[chosen.start]), int(stats.starts[chosen.stop])
    arrays = {f.name: getattr(stats, f.name) for f in dataclasses.fields(stats)}
    starts = stats.starts[chosen.start : chosen.stop + 1] - lo
    return TokenStats(**{n: starts if n == "starts" else a[lo:hi] for n, a in arrays.items()})
