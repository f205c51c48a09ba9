"""Select the attacks that a server's answers suffice for.

An attack can run if the server provides each of its observations, and if its annotations declare that log-probabilities
are enough: no server returns the whole next-token distribution (`TokenStats`).
"""

from __future__ import annotations

from collections.abc import Mapping

from byheart.auditing.attack_evidence import split_attacks
from byheart.auditing.server.evidence import SERVER_OBSERVATIONS
from byheart.core.attack_output import is_extraction_attack
from byheart.core.registry import Choice, annotation_name, choose, module_constant

REQUIRES_BASE = "requires the base model; name it with --base-name"
REQUIRES_DISTRIBUTION = (
    "requires the model's whole next-token distribution; a server returns log-probabilities of the text's tokens only"
)
REQUIRES_ANNOTATION = "does not declare that log-probabilities are enough; annotate its parameters as LogProbs"


def servable_attacks(attacks: Mapping[str, Choice], *, base: bool) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks that can run on a server's answers, and for each other attack the reason.

    `base` says whether a base model is named. Raises `DataError` if no attack can run.
    """
    return split_attacks(attacks, lambda attack: _reason_not_servable(attack, base=base))


def _reason_not_servable(attack: Choice, *, base: bool) -> str:
    """Return why an attack cannot run on a server's answers; "" if it can."""
    if is_extraction_attack(attack):
        return "measures extraction, which an audit of an endpoint does not support"
    for need in attack.needs:
        if need not in {"texts", "base", *SERVER_OBSERVATIONS}:
            adversary = module_constant(choose("observations", need).function, "ADVERSARY", "")
            return f"requires the observation {need} ({adversary}), which a server's answers do not provide"
    types = {n: annotation_name(attack.function, n) for n in attack.needs if n != "texts"}
    if "TokenStats" in types.values():
        return REQUIRES_DISTRIBUTION
    if any(name not in {"LogProbs", "Generations"} for name in types.values()):
        return REQUIRES_ANNOTATION
    return REQUIRES_BASE if "base" in types and not base else ""
