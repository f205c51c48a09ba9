"""Select the attacks that a server's answers suffice for.

An attack can run if the server provides each of its observations, and if its annotations declare that log-probabilities
are enough: no server returns the whole next-token distribution (`TokenStats`).
"""

from __future__ import annotations

from collections.abc import Mapping

from byheart.auditing.attack_evidence import split_attacks
from byheart.auditing.server.evidence import SERVER_OBSERVATIONS, TEXT_OBSERVATIONS
from byheart.auditing.server.served_model import TEXT_ATTACKS
from byheart.core.attack_output import is_extraction_attack
from byheart.core.defaults import DEFAULT_ATTACKS
from byheart.core.dependencies import BY_EPOCH, is_by_epoch
from byheart.core.errors import DataError, ModelError, SettingError
from byheart.core.registry import Choice, annotation_name, choose, module_constant

REQUIRES_BASE = "requires the base model; name it with --base-name"
REQUIRES_DISTRIBUTION = (
    "requires the model's whole next-token distribution; a server returns log-probabilities of the text's tokens only"
)
REQUIRES_ANNOTATION = "does not declare that log-probabilities are enough; annotate its parameters as LogProbs"


REQUIRES_LOGPROBS = "requires log-probabilities of the text, which this server does not return"
TEXT_TYPES = frozenset({"Generations", "GreedyContinuation"})
"""Types of evidence that consist of generated text."""


def servable_attacks(attacks: Mapping[str, Choice], *, base: bool) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks that can run on a server's answers, and for each other attack the reason.

    `base` says whether a base model is named. Raises `DataError` if no attack can run, `SettingError` if all are extraction
    attacks.
    """
    runnable, left_out = split_attacks(attacks, lambda attack: _reason_not_servable(attack, base=base))
    _check_ranks_members(runnable)
    return runnable, left_out


def text_attacks(
    attacks: Mapping[str, Choice], why_no_logprobs: ModelError
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks that need only generated text, and for each other attack the reason.

    The default attacks all need log-probabilities; `TEXT_ATTACKS` take their place. Raises `why_no_logprobs` if no attack
    can run, `SettingError` if all are extraction attacks.
    """
    if tuple(attacks) == DEFAULT_ATTACKS:
        attacks = {**attacks, **{name: choose("attacks", name) for name in TEXT_ATTACKS}}
    try:
        runnable, left_out = split_attacks(attacks, _reason_not_text)
    except DataError:
        raise why_no_logprobs from None
    _check_ranks_members(runnable)
    return runnable, left_out


def _check_ranks_members(attacks: Mapping[str, Choice]) -> None:
    if all(map(is_extraction_attack, attacks.values())):
        raise SettingError(
            f"attacks: {', '.join(attacks)} measure extraction only, and an audit judges membership. Add a membership attack, "
            "such as samia."
        )


def _reason_not_text(attack: Choice) -> str:
    """Return why an attack cannot run on generated text; "" if it can."""
    return "" if set(attack.needs) <= {"texts", *TEXT_OBSERVATIONS} else REQUIRES_LOGPROBS


def _reason_not_servable(attack: Choice, *, base: bool) -> str:
    """Return why an attack cannot run on a server's answers; "" if it can."""
    for need in (n.removesuffix(BY_EPOCH) for n in attack.needs):
        if need not in {"texts", "base", *SERVER_OBSERVATIONS}:
            adversary = module_constant(choose("observations", need).function, "ADVERSARY", "")
            return f"requires the observation {need} ({adversary}), which a server's answers do not provide"
    if any(map(is_by_epoch, attack.needs)):
        return "requires the model after every epoch; a server has one"
    types = {n: annotation_name(attack.function, n) for n in attack.needs if n != "texts"}
    if "TokenStats" in types.values():
        return REQUIRES_DISTRIBUTION
    if any(name not in {"LogProbs", *TEXT_TYPES} for name in types.values()):
        return REQUIRES_ANNOTATION
    return REQUIRES_BASE if "base" in types and not base else ""
