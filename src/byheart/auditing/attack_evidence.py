"""Evidence and scores of a finished model: what each attack rests on, made once, in memory.

A base is observed first and may be freed before the finished model is loaded. Evidence that asks for no attacked model,
but for texts or the base, is then kept for the finished one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from byheart.core.attack_output import arrays
from byheart.core.defaults import ATTACKS, EXTRACTION
from byheart.core.dependencies import INPUTS, called, chain, rests_on
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import Choice, choose, constant, names, reckoned

ATTACK_SETS = {"default": ATTACKS, "all": ()}
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
        attacks = (ATTACK_SETS[attacks] or names("attacks")) if attacks in ATTACK_SETS else (attacks,)
    found: dict[str, Choice] = {}
    for written in attacks:
        for name, given in ({written: {}} if isinstance(written, str) else dict(written)).items():
            attack = choose("attacks", name, given)
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
    """Return the attacks whose evidence can be made from these inputs, and of the others why not.

    `known` says how many texts there are of an input that an adversary knows. Raises `DataError` where no attack can be
    run.
    """
    run: dict[str, Choice] = {}
    left: dict[str, str] = {}
    for name, attack in attacks.items():
        behind = chain(attack.needs, f"attacks {attack.name}")
        lacking = [n for o in behind for n in o.needs if n in INPUTS and n not in inputs]
        unknown = [_UNAVAILABLE_OBSERVATIONS[called(o)] for o in behind if called(o) in _UNAVAILABLE_OBSERVATIONS]
        if unknown:
            left[name] = unknown[0]
        elif lacking:
            left[name] = _MISSING_INPUT_REASONS.get(lacking[0], f"needs {lacking[0]}, which an audit has none of")
        elif few := _too_few_known(attack, behind, known_counts or {}):
            left[name] = few
        else:
            run[name] = attack
    if not run:
        first = next(iter(left))
        raise DataError(f"none of the attacks can be run: {first} {left[first]}")
    return run, left


def check_known_texts_used(attacks: Mapping[str, Choice], inputs: Iterable[str]) -> None:
    """Raise `DataError` for known texts that none of the attacks asks for."""
    asked_for = {n for name, a in attacks.items() for o in chain(a.needs, f"attacks {name}") for n in o.needs}
    for need in inputs:
        if need in KNOWN_TEXT_NAMES and need not in asked_for:
            able = [n for n in names("attacks") if any(need in o.needs for o in chain(choose("attacks", n).needs, n))]
            raise DataError(
                f"there are {KNOWN_TEXT_NAMES[need]}, and none of the attacks asks for any; name one that does: {', '.join(able)}"
            )


def _too_few_known(attack: Choice, behind: Iterable[Choice], known: Mapping[str, int]) -> str:
    """Return in words of which known texts an attack needs more than there are; "" for none."""
    for observation in behind:
        least = reckoned(constant(observation.function, "KNOWN", 1.0), observation.settings)
        least = int(max(least, constant(attack.function, "KNOWN", 1)))
        for need in observation.needs:
            if known.get(need, least) < least:
                return f"needs {least} {KNOWN_TEXT_NAMES[need]} or more, and there are {known[need]}; give more"
    return ""


def make_evidence(
    attacks: Mapping[str, Choice], inputs: Mapping[str, Any], base_evidence: Mapping[str, Any], *, is_base: bool
) -> dict[str, Any]:
    """Return what the attacks rest on by observation; the target's own pass always.

    `known` is the base's evidence, of which what asks for no attacked model is taken over. `untuned` says that the model
    is the base: an observation that has a twin of the base (UNTUNED) is then that, and one pass serves both.
    """
    needed = chain(["target", *(n for a in attacks.values() for n in a.needs)], "an attack")
    made: dict[str, Any] = {}
    passes: dict[str, Any] = {}
    for observation in needed:
        name = called(observation)
        if name in base_evidence and not rests_on("model", observation, needed):
            made[name] = base_evidence[name]
            continue
        twin = constant(observation.function, "UNTUNED", None) if is_base else None
        if (twin or name) not in passes:
            given = (inputs[n] if n in INPUTS else made[n] for n in observation.needs)
            passes[twin or name] = observation(*given)
        made[name] = passes[twin or name]
    return made


def extraction_metrics() -> tuple[Choice, ...]:
    """Return what is measured of attacks that extract texts."""
    return tuple(choose("metrics", name) for name in EXTRACTION)


def attack_outputs(
    attacks: Mapping[str, Choice], evidence_by_name: Mapping[str, Any], texts: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return what each attack gave, as `attacked.arrays` does; raises `DataError` for anything but one number a text."""
    return {name: arrays(a, a(*(evidence_by_name[n] for n in a.needs)), texts) for name, a in attacks.items()}
