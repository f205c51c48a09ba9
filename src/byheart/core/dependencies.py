"""Dependencies of attacks and metrics on observations, and of observations on one another and on a fixed list of inputs.

Dependencies are the positional parameters of a function's signature.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from byheart.core.errors import DataError
from byheart.core.former_names import current_name
from byheart.core.registry import Choice, choose, entry_names, module_constant

TOKEN_INPUTS = {
    "tokens": "audited",
    "rejected_tokens": "audited_rejected",
    "validation_tokens": "validation",
    "known_member_tokens": "known_members",
    "known_nonmember_tokens": "known_nonmembers",
    "canary_tokens": "canaries",
    "canary_reference_tokens": "canary_references",
}
"""The token inputs that an observation may request, and the part of the split that each one covers."""

ATTRIBUTE_INPUTS = ("attributes", "validation_attributes")
"""The private attributes, by kind, of each audited text and of each validation text."""

INITIAL_INPUTS = ("displacement_origin", "initial_weights")
"""Values of the trained parameters by name: from which their displacement is measured, and before training.

They are the same values in a study. An audit measures the displacement of virtual tokens, whose initial values it does not know,
from zero.
"""

INPUTS = (
    "model",
    "base_model",
    "reference_model",
    *INITIAL_INPUTS,
    *TOKEN_INPUTS,
    *ATTRIBUTE_INPUTS,
    "shadow_passes",
    "reference_trainer",
)
"""Everything that an observation may request besides other observations.

`base_model` is observed alone, before training. `reference_model` is the base model in memory beside `model`.
`reference_trainer` fine-tunes the base model like the target until the observed state, on texts that the observation passes to it.
"""


BY_EPOCH = "_by_epoch"
"""Suffix of an attack's input: the evidence of the observation before it at each observed state so far, as a tuple."""


def is_by_epoch(need: str) -> bool:
    """Whether an attack's input is the evidence of several epochs, such as "target_by_epoch"."""
    return need.endswith(BY_EPOCH)


def observation_name(observation: Choice) -> str:
    """Return the name by which attacks request an observation: the function's name, without its module."""
    return current_name("observations", observation.name.rpartition(":")[2])


def required_observations(
    required_names: Iterable[str], requester: str, configured_observations: Mapping[str, Choice] | None = None
) -> list[Choice]:
    """Return the observations of these names and their dependencies, each once, dependencies first.

    A name may have the suffix `BY_EPOCH`.

    `configured_observations` are observations with explicit settings or from outside the shelf, by name. `requester` names
    the requesting function in the error message. "texts" needs no observation. Raises `DataError` for an unknown name.
    """
    configured_observations = configured_observations or {}

    def with_dependencies(name: str, requested_by: str) -> Iterator[Choice]:
        observation = configured_observations.get(name)
        if observation is None:
            if name not in (shelf_names := entry_names("observations")):
                available = ", ".join(dict.fromkeys((*shelf_names, *configured_observations)))
                raise DataError(f"{requested_by}: requires unknown input {name!r}. Available: texts, {available}.")
            observation = choose("observations", name)
        for need in observation.needs:
            if need not in INPUTS:
                yield from with_dependencies(need, f"observations {name}")
        yield observation

    return list(
        {
            observation_name(o): o
            for name in required_names
            if name != "texts"
            for o in with_dependencies(name.removesuffix(BY_EPOCH), requester)
        }.values()
    )


def known_records_needed(observation: Choice, attack_minimum: int = 1) -> int:
    """Return how many known records an observation needs: KNOWN of its file, and at least the attack's minimum."""
    return max(
        attack_minimum,
        int(evaluate_expression(module_constant(observation.function, "KNOWN", 1.0), observation.settings)),
    )


def forward_pass_count(observation: Choice, observations: Iterable[Choice], *, attributes: float = 1.0) -> float:
    """Return the number of forward passes of an observation: PASSES of its file, or 1.

    PASSES may be an expression in the observation's settings, in the settings of the `observations` that it requests, and
    in `attributes`, the number of private attributes per text.
    """
    requested = (o.settings for o in observations if observation_name(o) in observation.needs)
    variables = ChainMap(observation.settings, *requested, {"attributes": attributes})
    return evaluate_expression(module_constant(observation.function, "PASSES", 1.0), dict(variables))


def generated_token_count(observation: Choice) -> float:
    """Return the number of tokens that an observation generates whatever the audited texts are: GENERATED_TOKENS, or 0.

    The constant is a number or an expression in the observation's settings.
    """
    return evaluate_expression(module_constant(observation.function, "GENERATED_TOKENS", 0.0), observation.settings)


def depends_on(input_name: str, observation: Choice, observations: Iterable[Choice]) -> bool:
    """Whether an observation requests this input, directly or through other `observations`."""
    by_name = {observation_name(o): o for o in observations}
    pending = [observation]
    while pending:
        current = pending.pop()
        if input_name in current.needs:
            return True
        pending += [by_name[n] for n in current.needs if n not in INPUTS]
    return False


def evaluate_expression(expression: str | float, settings: Mapping[str, Any]) -> float:
    """Return the value of a number or of an expression in settings: 2, "count", "shots + 1", "2 * probes"."""
    if not isinstance(expression, str):
        return float(expression)
    factors = ((factor.strip() for factor in term.split("*")) for term in expression.split("+"))
    return float(sum(math.prod(float(settings.get(f, f)) for f in term) for term in factors))
