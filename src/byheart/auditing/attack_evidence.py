"""Evidence and scores of an audited model, computed once per model, in memory.

The base model is observed first and may be freed before the fine-tuned model is loaded. Evidence from texts or the base
model alone is then reused for the fine-tuned model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from byheart.core.attack_output import output_arrays
from byheart.core.defaults import DEFAULT_ATTACKS, EXTRACTION_METRICS
from byheart.core.dependencies import (
    INITIAL_INPUTS,
    INPUTS,
    TOKEN_INPUTS,
    depends_on,
    is_by_epoch,
    known_records_needed,
    observation_name,
    required_observations,
)
from byheart.core.errors import DataError, SettingError
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice, choose, entry_names, module_constant
from byheart.core.setting_values import parse_entry, shown_setting

ATTACK_SETS = {"default": DEFAULT_ATTACKS, "all": ()}
"""Names of sets of attacks. "all" means every attack on the shelf."""

_ADAPTER_REASONS = {
    "displacement_origin": "requires a finished adapter (LoRA or virtual tokens), or a study (byheart run)",
    "initial_weights": "requires the weights before training: of a finished LoRA adapter, or of a study (byheart run)",
}
KIND_REASONS = frozenset(_ADAPTER_REASONS.values())
"""Reasons against an attack that the kind of the audited model decides, not the choice of inputs or settings."""
_MISSING_INPUT_REASONS = {
    **_ADAPTER_REASONS,
    "base_model": "requires the base model: --base, in Python base=",
    "reference_model": "requires the base model in memory beside the fine-tuned one: an audit with --base (in Python base=), or a study "
    "(byheart run)",
    "validation_tokens": "requires validation texts: --validation, in Python validation=",
    "shadow_passes": "requires shadow models; only a study trains them (byheart run)",
    "reference_trainer": "requires a reference model that is trained like the target; only a study trains it (byheart run)",
    "canary_tokens": "requires canaries in the training data; only a study plants them (data.canaries)",
    "canary_reference_tokens": "requires canaries in the training data; only a study plants them (data.canaries)",
    "rejected_tokens": "requires preference pairs: records with chosen and rejected, in a study with the data set preferences, or in an "
    "audit of a model's files or of a model in memory with response = pair",
    "attributes": "requires named private attributes; only a study's data set provides them (byheart run)",
    "known_member_tokens": "requires known members, which are not audited: --known-members of an audit, data.known of a study",
    "known_nonmember_tokens": "requires known non-members, which are not audited: --known-nonmembers of an audit, data.known of a study",
}


ADAPTER_INPUTS = {
    "lora": INITIAL_INPUTS,
    **dict.fromkeys(("prefix", "prompt", "p_tuning"), INITIAL_INPUTS[:1]),
}
"""Inputs that a finished adapter provides, by its method: LoRA's matrices B start at 0, initial virtual tokens are unknown."""
BASE_INPUTS = ("base_model", "reference_model")
"""Inputs that are the base model."""
KNOWN_TEXT_NAMES = {"known_member_tokens": "known members", "known_nonmember_tokens": "known non-members"}
"""Terms for the texts behind these inputs, for messages."""

_UNAVAILABLE_OBSERVATIONS = {
    "gradients": "requires the set of trained parameters, which a saved model does not record; a study records it (byheart run)"
}
"""Observations whose inputs are available, but which cannot be made from a saved model."""


def parse_attacks(attacks: Any) -> dict[str, Choice]:
    """Return attacks by name with their settings, from "default", "all", or a list of names and {name: settings}.

    Raises `SettingError` for an empty list and for duplicates, `UnknownNameError` for unknown attacks.
    """
    if isinstance(attacks, str):
        attacks = (ATTACK_SETS[attacks] or entry_names("attacks")) if attacks in ATTACK_SETS else (attacks,)
    if not isinstance(attacks, Iterable):
        raise SettingError(
            f"attacks = {shown_setting(attacks)}: is not a list. Write default, all, or names such as loss."
        )
    choices: dict[str, Choice] = {}
    for entry in cast("Iterable[Any]", attacks):
        attack = entry if isinstance(entry, Choice) else choose("attacks", *parse_entry("attacks", entry))
        label = f"{attack.name}({attack.label})" if attack.label else attack.name
        if label in choices:
            raise SettingError(f"attacks: {label} is listed twice. List it once.")
        choices[label] = attack
    if not choices:
        raise SettingError("attacks: the list is empty. Write default, all, or names such as loss.")
    return choices


def available_inputs(
    texts: Mapping[str, Sequence[Any]], max_texts: int, *, has_base: bool, method: str = ""
) -> tuple[dict[str, int], set[str]]:
    """Return the numbers of texts by input name, and the names of the inputs that an audit of texts by part has.

    `method` is the method of a model in files or in memory; weights of its adapter are inputs.
    """
    counts = {f"{part}_tokens": min(len(items), max_texts) for part, items in texts.items()}
    models = {"model", "base_model", "reference_model"} if has_base else {"model"}
    audited = [text for part in ("member", "nonmember") for text in texts.get(part, ())]
    tokens = {"tokens", "rejected_tokens"} if audited and all(text.rejected for text in audited) else {"tokens"}
    return counts, models | tokens | {*ADAPTER_INPUTS.get(method, ())} | (counts.keys() & set(TOKEN_INPUTS))


def runnable_attacks(
    attacks: Mapping[str, Choice],
    inputs: set[str],
    known_counts: Mapping[str, int] | None = None,
    why_no_base: str = "",
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks whose evidence can be made from these inputs, and for each other attack the reason.

    `known_counts` are the numbers of known records by input name, `why_no_base` why the base model is not available.
    Raises `DataError` if no attack can be run.
    """
    missing_reasons = dict(_MISSING_INPUT_REASONS)
    if why_no_base:
        missing_reasons |= dict.fromkeys(BASE_INPUTS, f"requires the base model, but {why_no_base}")
    return split_attacks(
        attacks, lambda attack: _reason_not_runnable(attack, inputs, known_counts or {}, missing_reasons)
    )


def split_attacks(
    attacks: Mapping[str, Choice], reason_against: Callable[[Choice], str]
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks without a reason against them, and the reasons against the others.

    Raises `DataError` if no attack can be run.
    """
    reasons = {name: reason for name, attack in attacks.items() if (reason := reason_against(attack))}
    runnable = {name: attack for name, attack in attacks.items() if name not in reasons}
    if not runnable:
        first = next(iter(reasons))
        raise DataError(f"attacks: none of the selected attacks can run. {first} {reasons[first]}.")
    return runnable, reasons


def _reason_not_runnable(
    attack: Choice, inputs: set[str], known_counts: Mapping[str, int], missing_reasons: Mapping[str, str]
) -> str:
    """Return why an attack cannot be run; "" if it can."""
    observations = required_observations(attack.needs, f"attacks {attack.name}")
    unavailable = [
        _UNAVAILABLE_OBSERVATIONS[observation_name(o)]
        for o in observations
        if observation_name(o) in _UNAVAILABLE_OBSERVATIONS
    ]
    missing = [n for o in observations for n in o.needs if n in INPUTS and n not in inputs]
    if any(map(is_by_epoch, attack.needs)):
        return "requires the model after every epoch; only a study keeps their evidence (byheart run)"
    if unavailable:
        return unavailable[0]
    if missing:
        return missing_reasons.get(missing[0], f"requires {missing[0]}, which an audit does not have")
    return _too_few_known(attack, observations, known_counts)


def check_known_texts_used(attacks: Mapping[str, Choice], inputs: set[str]) -> None:
    """Raise `DataError` for known texts that no selected attack uses; the message names attacks that `inputs` suffice for."""
    required = {
        n for name, a in attacks.items() for o in required_observations(a.needs, f"attacks {name}") for n in o.needs
    }
    for need in sorted(inputs & KNOWN_TEXT_NAMES.keys() - required):
        users = [
            attack
            for attack in (choose("attacks", n) for n in entry_names("attacks"))
            if any(need in o.needs for o in required_observations(attack.needs, attack.name))
        ]
        reasons = {a.name: _reason_not_runnable(a, inputs, {}, _MISSING_INPUT_REASONS) for a in users}
        runnable = [name for name, reason in reasons.items() if not reason]
        others = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        raise DataError(
            f"attacks: no selected attack uses the {KNOWN_TEXT_NAMES[need]}. "
            + (
                f"Add one with --attacks (in Python attacks=): {', '.join(runnable)}."
                if runnable
                else f"None can run: {others}."
            )
        )


def _too_few_known(attack: Choice, observations: Iterable[Choice], known_counts: Mapping[str, int]) -> str:
    """Return which known texts are too few for an attack; "" if all suffice."""
    for observation in observations:
        minimum = known_records_needed(observation, int(module_constant(attack.function, "KNOWN", 1)))
        for need in observation.needs:
            if known_counts.get(need, minimum) < minimum:
                name = KNOWN_TEXT_NAMES[need]
                return f"requires at least {minimum} {name}, and there are {known_counts[need]}; provide more"
    return ""


@dataclass(frozen=True)
class _MemoryProvider:
    """Provides evidence in memory, each pass of the model made once.

    `base_evidence` serves observations that request no fine-tuned model. `is_base` marks the base model itself: an
    observation that names a BASE_EQUIVALENT then shares its pass.
    """

    observations: Sequence[Choice]
    inputs: Mapping[str, Any]
    base_evidence: Mapping[str, Any]
    is_base: bool
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    passes: dict[str, Any] = field(default_factory=dict[str, Any])

    def argument(self, name: str) -> Any:
        return self.inputs[name] if name in INPUTS else self.evidence[name]

    def provide(self, observation: Choice, compute: Callable[[], Any]) -> None:
        name = observation_name(observation)
        if name in self.base_evidence and not depends_on("model", observation, self.observations):
            self.evidence[name] = self.base_evidence[name]
            return
        base_equivalent = module_constant(observation.function, "BASE_EQUIVALENT", None) if self.is_base else None
        if (base_equivalent or name) not in self.passes:
            self.passes[base_equivalent or name] = compute()
        self.evidence[name] = self.passes[base_equivalent or name]


def evidence_in_memory(
    attacks: Mapping[str, Choice], inputs: Mapping[str, Any], base_evidence: Mapping[str, Any], *, is_base: bool
) -> dict[str, Any]:
    """Return the evidence that attacks request, by observation; always includes `target`, the model's own pass.

    `base_evidence` is reused where an observation requests no fine-tuned model; `is_base` says that this model is the base.
    """
    observations = required_observations(["target", *(n for a in attacks.values() for n in a.needs)], "an attack")
    provider = _MemoryProvider(observations, inputs, base_evidence, is_base)
    make_evidence(observations, provider)
    return provider.evidence


def extraction_metrics() -> tuple[Choice, ...]:
    """Return the metrics of extraction attacks."""
    return tuple(choose("metrics", name) for name in EXTRACTION_METRICS)


def attack_outputs(
    attacks: Mapping[str, Choice], evidence_by_name: Mapping[str, Any], texts: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return each attack's output arrays (`output_arrays`); raises `DataError` unless there is one number per text."""
    return {name: output_arrays(a, a(*(evidence_by_name[n] for n in a.needs)), texts) for name, a in attacks.items()}
