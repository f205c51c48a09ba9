"""What an adversary must have to run an attack, derived from the attack's signature and the settings of its observations.

An attack's number belongs to its adversary: an attack with shadow models that were trained on all other training texts and an
attack that reads a few log-probabilities are not two attempts at the same question. So tables, figures and verdicts group
attacks by adversary.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from byheart.core.dependencies import BY_EPOCH, INITIAL_INPUTS, INPUTS, is_by_epoch, observation_name
from byheart.core.errors import RequestError, UnknownNameError
from byheart.core.former_names import current_name
from byheart.core.registry import Choice, annotation_name, choose, entry_names

TEXT_TYPES = frozenset({"Completions", "Generations", "GreedyContinuation", "PromptedTexts", "SyntheticTexts"})
"""Types of evidence that consist of generated text."""
WEIGHT_TYPES = frozenset({"Activations", "Drift", "GradientAlignment", "Gradients"})
"""Types of evidence that require the model's weights."""
DISTRIBUTION_TYPES = frozenset({"ContrastiveSamples", "TokenStats", "SamplingLogProbs"})
"""Types of evidence that require the next-token distributions, not only the log-probabilities of the text's tokens."""
TOKENIZER_ONLY = frozenset({"frequencies"})
"""Observations that request the base model only for its tokenizer."""


class Access(IntEnum):
    """One thing that an adversary has; a higher value is harder to obtain."""

    GENERATED_TEXT = 1
    LOG_PROBABILITIES = 2
    DISTRIBUTIONS = 3
    SIMILAR_TEXTS = 4
    BASE_MODEL = 5
    TRAINING_SETTINGS = 6
    KNOWN_MEMBERS = 7
    WEIGHTS = 8
    EVERY_EPOCH = 9
    SHADOW_MODELS = 10
    TRAINING_TEXTS = 11

    @property
    def label(self) -> str:
        """The name in tables."""
        return _LABELS[self]


_LABELS: Mapping[Access, str] = {
    Access.GENERATED_TEXT: "generated text",
    Access.LOG_PROBABILITIES: "log-probabilities",
    Access.DISTRIBUTIONS: "next-token distributions",
    Access.SIMILAR_TEXTS: "similar texts",
    Access.BASE_MODEL: "base model",
    Access.TRAINING_SETTINGS: "training settings",
    Access.KNOWN_MEMBERS: "known members",
    Access.WEIGHTS: "weights",
    Access.EVERY_EPOCH: "model after every epoch",
    Access.SHADOW_MODELS: "shadow models",
    Access.TRAINING_TEXTS: "other training texts",
}
_SEPARATOR = " + "
UNKNOWN = "unknown"
"""Label of the adversary of an attack that is not installed."""


@dataclass(frozen=True)
class Adversary:
    """What an adversary has besides the audited texts, weakest first; empty if the texts suffice."""

    access: tuple[Access, ...]

    @property
    def label(self) -> str:
        """What the adversary has, as in tables: "log-probabilities + base model".

        Without what something else in the list requires: shadow models are trained from the base model.
        """
        implied = {Access.BASE_MODEL} if Access.SHADOW_MODELS in self.access else set[Access]()
        return _SEPARATOR.join(a.label for a in self.access if a not in implied) or "texts only"


class _Observation(NamedTuple):
    """What this module reads of an observation: its inputs, the type of its evidence, and its explicit settings."""

    name: str
    needs: tuple[str, ...]
    return_type: str
    settings: Mapping[str, Any]


def adversary(attack: Choice, observations: Iterable[Choice] = ()) -> Adversary:
    """Return the adversary of an attack.

    `observations` are those with explicit settings, which may change what the adversary must have: `shadows` without
    `rest`, `neighbour_texts` with a masked model. Raises `UnknownNameError` for an attack with an unknown input.
    """
    required = _required(attack, observations)
    inputs = {n for o in required for n in o.needs}
    access = {_model_access(attack, required)} if "model" in inputs else set[Access]()
    if "known_nonmember_tokens" in inputs:
        access.add(Access.SIMILAR_TEXTS)
    if "known_member_tokens" in inputs:
        access.add(Access.KNOWN_MEMBERS)
    if any(map(_reads_base_model, required)):
        access.add(Access.BASE_MODEL)
    if "reference_trainer" in inputs:
        access |= {Access.BASE_MODEL, Access.TRAINING_SETTINGS}
    if any(map(is_by_epoch, attack.needs)):
        access |= {Access.BASE_MODEL, Access.EVERY_EPOCH}  # the path begins at the base model
    for shadows in (o for o in required if "shadow_passes" in o.needs):
        access |= {Access.BASE_MODEL, Access.SHADOW_MODELS}
        access |= {Access.TRAINING_TEXTS} if shadows.settings.get("rest", True) else set()
    return Adversary(tuple(sorted(access)))


def _required(attack: Choice, observations: Iterable[Choice]) -> list[_Observation]:
    """Return the observations that an attack requests, directly or through other observations."""
    configured = {
        observation_name(o): _Observation(observation_name(o), o.needs, o.return_type, o.settings) for o in observations
    }
    required: dict[str, _Observation] = {}
    pending = [n.removesuffix(BY_EPOCH) for n in attack.needs]
    while pending:
        name = pending.pop()
        if name not in {"texts", *INPUTS, *required}:
            required[name] = configured.get(name) or _shelf_observation(name)
            pending += required[name].needs
    return list(required.values())


@functools.cache
def _shelf_observation(name: str) -> _Observation:
    """Read an observation's signature from its file, without importing it: most observations import torch."""
    if name not in (names := entry_names("observations")):
        raise UnknownNameError("observations: input", name, names)
    # A shelf can have several folders: an installed package, or a test, may add one.
    folders = [Path(folder) for folder in importlib.import_module("byheart.observations").__path__]
    file = next(folder / f"{name}.py" for folder in folders if (folder / f"{name}.py").is_file())
    source = file.read_text(encoding="utf-8")
    (function,) = (n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == name)
    needs = tuple(current_name("observations", a.arg) for a in (*function.args.posonlyargs, *function.args.args))
    return_type = ast.unparse(function.returns) if function.returns else ""
    return _Observation(name, needs, return_type.rpartition(".")[2], {})


def _model_access(attack: Choice, required: Iterable[_Observation]) -> Access:
    """Return the most that an attack reads of the target model.

    The attack's annotations decide where it names one: an attack that declares `LogProbs` reads no distribution, whatever
    the observation provides.
    """
    observed = {o.name: o.return_type for o in required if "model" in o.needs}
    read = {
        _annotated_type(attack, n) or observed[name]
        for n in attack.needs
        if (name := n.removesuffix(BY_EPOCH)) in observed
    }
    # Without such an annotation, other observations pass the model's evidence on.
    types = read or set(observed.values())
    if all(map(_is_without_contrast, (o for o in required if "model" in o.needs))):
        return Access.GENERATED_TEXT
    if types & WEIGHT_TYPES:
        return Access.WEIGHTS
    if types & DISTRIBUTION_TYPES:
        return Access.DISTRIBUTIONS
    return Access.GENERATED_TEXT if types <= TEXT_TYPES else Access.LOG_PROBABILITIES


def _annotated_type(attack: Choice, need: str) -> str:
    """Return the annotated type of an attack's input; of the evidence of several epochs, the type of one."""
    if is_by_epoch(need):
        annotation = str(attack.function.__annotations__.get(need, ""))  # "tuple[LogProbs, ...]"
        return annotation.removeprefix("tuple[").partition(",")[0].rpartition(".")[2]
    return annotation_name(attack.function, need)


def _is_without_contrast(observation: _Observation) -> bool:
    """Whether an observation that can contrast two models samples from the target model alone (`alpha` 0)."""
    return "reference_model" in observation.needs and observation.settings.get("alpha") == 0


def _reads_base_model(observation: _Observation) -> bool:
    return (
        bool({"base_model", "reference_model", *INITIAL_INPUTS} & {*observation.needs})
        and not _is_without_contrast(observation)
        and observation.name not in TOKENIZER_ONLY
        and not observation.settings.get("masked_model")
    )


@functools.cache
def default_adversary_label(attack: str) -> str:
    """Return the label of the adversary of an attack with default observations; `UNKNOWN` if it is not installed."""
    try:
        return adversary(choose("attacks", attack)).label
    except RequestError:
        return UNKNOWN


def adversary_phrase(label: str) -> str:
    """Return an adversary's label within a sentence: "log-probabilities and base model"."""
    *others, last = label.split(_SEPARATOR)
    return f"{', '.join(others)} and {last}" if others else last


@functools.cache  # a page asks once for each row
def adversary_order(label: str) -> tuple[bool, list[int]]:
    """Return the sort key of an adversary's label: by the hardest thing to obtain, then the next; unknown ones last."""
    by_label = {a.label: a for a in Access}
    access = sorted((by_label[part] for part in label.split(_SEPARATOR) if part in by_label), reverse=True)
    return label == UNKNOWN, [int(a) for a in access]
