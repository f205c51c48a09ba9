"""Evidence and scores of a finished model: what each attack rests on, made once, in memory.

A base is observed first and may be freed before the finished model is loaded. Evidence that asks for no attacked model,
but for texts or the base, is then kept for the finished one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from byheart.core.attack_output import output_arrays
from byheart.core.defaults import DEFAULT_ATTACKS, EXTRACTION_METRICS
from byheart.core.dependencies import INPUTS, depends_on, known_records_needed, observation_name, required_observations
from byheart.core.errors import DataError, SettingError
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice, choose, entry_names, module_constant, parse_entry

ATTACK_SETS = {"default": DEFAULT_ATTACKS, "all": ()}
"""Words for several attacks; for "all" the shelf is looked at."""

_MISSING_INPUT_REASONS = {
    "base_model": "needs the model that this one was tuned from; name it as base",
    "validation_tokens": "needs validation texts; give some as validation",
    "shadow_passes": "needs shadow models, which are trained; a study trains them: byheart run",
    "canary_tokens": "needs canaries among the training texts, which a study plants (data.canaries)",
    "canary_reference_tokens": "needs canaries among the training texts, which a study plants (data.canaries)",
    "attributes": "needs named private attributes, which an audit is not given; a study's data has them: byheart run",
    "known_member_tokens": "needs members that its adversary knows, none of them audited: byheart audit takes known members, and a study "
    "does (data.known)",
    "known_nonmember_tokens": "needs non-members that its adversary knows, none of them audited: byheart audit takes known non-members, "
    "and a study does (data.known)",
}


KNOWN_TEXT_NAMES = {"known_member_tokens": "known members", "known_nonmember_tokens": "known non-members"}
"""Whose texts these are, in words."""

_UNAVAILABLE_OBSERVATIONS = {
    "gradients": "needs to know which parameters were trained, which a saved model does not say; a study does: byheart run"
}
"""Observations that ask for nothing which is not here, and yet cannot be made of a model that comes for inference."""


def parse_attacks(attacks: Any) -> dict[str, Choice]:
    """Return attacks by name with what is set of them, from "default", "all", or a list of names and {name: settings}.

    Raises `SettingError` for none and for one that is named twice, `UnknownNameError` for one that does not exist.
    """
    if isinstance(attacks, str):
        attacks = (ATTACK_SETS[attacks] or entry_names("attacks")) if attacks in ATTACK_SETS else (attacks,)
    found: dict[str, Choice] = {}
    for written in attacks:
        attack = choose("attacks", *parse_entry("attacks", written))
        label = f"{attack.name}({attack.label})" if attack.label else attack.name
        if label in found:
            raise SettingError(f"attacks: {label} is named twice; name it once")
        found[label] = attack
    if not found:
        raise SettingError("attacks: none is named; write default, all, or names such as loss")
    return found


def runnable_attacks(
    attacks: Mapping[str, Choice], inputs: set[str], known_counts: Mapping[str, int] | None = None
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks whose evidence can be made from these inputs, and for each other attack the reason.

    `known_counts` are the numbers of known records by input name. Raises `DataError` if no attack can be run.
    """
    return split_attacks(attacks, lambda attack: _reason_not_runnable(attack, inputs, known_counts or {}))


def split_attacks(
    attacks: Mapping[str, Choice], reason_against: Callable[[Choice], str]
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks without a reason against them, and the reasons against the others.

    Raises `DataError` if no attack can be run.
    """
    reasons = {name: reason for name, attack in attacks.items() if (reason := reason_against(attack))}
    run = {name: attack for name, attack in attacks.items() if name not in reasons}
    if not run:
        first = next(iter(reasons))
        raise DataError(f"attacks: none of the selected attacks can be run: {first} {reasons[first]}")
    return run, reasons


def _reason_not_runnable(attack: Choice, inputs: set[str], known_counts: Mapping[str, int]) -> str:
    """Return why an attack cannot be run; "" if it can."""
    observations = required_observations(attack.needs, f"attacks {attack.name}")
    unavailable = [
        _UNAVAILABLE_OBSERVATIONS[observation_name(o)]
        for o in observations
        if observation_name(o) in _UNAVAILABLE_OBSERVATIONS
    ]
    missing = [n for o in observations for n in o.needs if n in INPUTS and n not in inputs]
    if unavailable:
        return unavailable[0]
    if missing:
        return _MISSING_INPUT_REASONS.get(missing[0], f"needs {missing[0]}, which an audit has none of")
    return _too_few_known(attack, observations, known_counts)


def check_known_texts_used(attacks: Mapping[str, Choice], inputs: Iterable[str]) -> None:
    """Raise `DataError` for known texts that none of the attacks asks for."""
    asked_for = {
        n for name, a in attacks.items() for o in required_observations(a.needs, f"attacks {name}") for n in o.needs
    }
    for need in inputs:
        if need in KNOWN_TEXT_NAMES and need not in asked_for:
            able = [
                n
                for n in entry_names("attacks")
                if any(need in o.needs for o in required_observations(choose("attacks", n).needs, n))
            ]
            raise DataError(
                f"there are {KNOWN_TEXT_NAMES[need]}, and none of the attacks asks for any; name one that does: {', '.join(able)}"
            )


def _too_few_known(attack: Choice, behind: Iterable[Choice], known: Mapping[str, int]) -> str:
    """Return in words of which known texts an attack needs more than there are; "" for none."""
    for observation in behind:
        least = known_records_needed(observation, int(module_constant(attack.function, "KNOWN", 1)))
        for need in observation.needs:
            if known.get(need, least) < least:
                return f"needs {least} {KNOWN_TEXT_NAMES[need]} or more, and there are {known[need]}; give more"
    return ""


class _MemoryProvider:
    """Provides evidence in memory, each pass of the model made once.

    `base_evidence` serves observations that request no fine-tuned model. `is_base` marks the base model itself: an
    observation with a twin on the base model (UNTUNED) then shares the twin's pass.
    """

    def __init__(
        self,
        observations: Sequence[Choice],
        inputs: Mapping[str, Any],
        base_evidence: Mapping[str, Any],
        *,
        is_base: bool,
    ) -> None:
        self.evidence: dict[str, Any] = {}
        self._observations, self._inputs, self._base_evidence, self._is_base = (
            observations,
            inputs,
            base_evidence,
            is_base,
        )
        self._passes: dict[str, Any] = {}

    def argument(self, name: str) -> Any:
        return self._inputs[name] if name in INPUTS else self.evidence[name]

    def provide(self, observation: Choice, compute: Callable[[], Any]) -> None:
        name = observation_name(observation)
        if name in self._base_evidence and not depends_on("model", observation, self._observations):
            self.evidence[name] = self._base_evidence[name]
            return
        twin = module_constant(observation.function, "UNTUNED", None) if self._is_base else None
        if (twin or name) not in self._passes:
            self._passes[twin or name] = compute()
        self.evidence[name] = self._passes[twin or name]


def evidence_in_memory(
    attacks: Mapping[str, Choice], inputs: Mapping[str, Any], base_evidence: Mapping[str, Any], *, is_base: bool
) -> dict[str, Any]:
    """Return the evidence that attacks request, by observation; always includes `target`, the model's own pass.

    `base_evidence` is reused where an observation requests no fine-tuned model; `is_base` says that this model is the base.
    """
    observations = required_observations(["target", *(n for a in attacks.values() for n in a.needs)], "an attack")
    provider = _MemoryProvider(observations, inputs, base_evidence, is_base=is_base)
    make_evidence(observations, provider)
    return provider.evidence


def extraction_metrics() -> tuple[Choice, ...]:
    """Return what is measured of attacks that extract texts."""
    return tuple(choose("metrics", name) for name in EXTRACTION_METRICS)


def attack_outputs(
    attacks: Mapping[str, Choice], evidence_by_name: Mapping[str, Any], texts: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return what each attack gave, as `attacked.arrays` does; raises `DataError` for anything but one number a text."""
    return {name: output_arrays(a, a(*(evidence_by_name[n] for n in a.needs)), texts) for name, a in attacks.items()}
