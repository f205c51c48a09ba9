"""What rests on what: attacks and metrics on observations, these on one another and on a closed list of inputs.

All of it is read from signatures: what a function takes by position is what must be there first.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping

from byheart.core.errors import DataError
from byheart.core.registry import Choice, choose, current_name, entry_names, evaluate_expression, module_constant

TOKEN_INPUTS = {
    "tokens": "audited",
    "validation_tokens": "validation",
    "known_member_tokens": "known_members",
    "known_nonmember_tokens": "known_nonmembers",
    "canary_tokens": "canaries",
    "canary_reference_tokens": "canary_references",
}
"""The tokens that an observation may ask for, and the part of the texts that each is of."""

ATTRIBUTE_INPUTS = ("attributes", "validation_attributes")
"""The private attributes, by kind, of each audited text and of each validation text."""

INPUTS = ("model", "base_model", *TOKEN_INPUTS, *ATTRIBUTE_INPUTS, "shadow_passes")
"""All that an observation may ask for besides other observations. `evidence.py` makes each of them."""


def observation_name(observation: Choice) -> str:
    """Return the name by which attacks ask for an observation: its own, without somebody else's module."""
    return current_name("observations", observation.name.rpartition(":")[2])


def required_observations(
    required_names: Iterable[str], requester: str, configured_observations: Mapping[str, Choice] | None = None
) -> list[Choice]:
    """Return the observations of these names and all that they rest on, each once, after those that it asks for itself.

    `given` are observations by name with settings of their own, or from elsewhere than the shelf; `asking` says, for a
    refusal, who asks. Texts are there without an observation. Raises `DataError` for a name that there is not.
    """
    configured_observations = configured_observations or {}

    def behind(name: str, asking: str) -> Iterator[Choice]:
        observation = configured_observations.get(name)
        if observation is None:
            if name not in (known := entry_names("observations")):
                there = ", ".join(dict.fromkeys((*known, *configured_observations)))
                raise DataError(f"{asking} asks for {name!r}; there are texts, {there}")
            observation = choose("observations", name)
        for need in observation.needs:
            if need not in INPUTS:
                yield from behind(need, f"observations {name}")
        yield observation

    return list(
        {observation_name(o): o for name in required_names if name != "texts" for o in behind(name, requester)}.values()
    )


def known_records_needed(observation: Choice, attack_minimum: int = 1) -> int:
    """Return how many known records an observation needs: as its file says (KNOWN), and at least the attack's minimum."""
    return max(
        attack_minimum,
        int(evaluate_expression(module_constant(observation.function, "KNOWN", 1.0), observation.settings)),
    )


def forward_pass_count(observation: Choice, observations: Iterable[Choice], *, attributes: float = 1.0) -> float:
    """Return how often an observation passes its texts through a model; its file says so, one where it says nothing.

    A file may say it by settings, its own or those of an observation that it asks for, found among the `chained`, and by
    `attributes`, how many private ones a text has.
    """
    asked = (o.settings for o in observations if observation_name(o) in observation.needs)
    known = ChainMap(observation.settings, *asked, {"attributes": attributes})
    return evaluate_expression(module_constant(observation.function, "PASSES", 1.0), dict(known))


def depends_on(input_name: str, observation: Choice, observations: Iterable[Choice]) -> bool:
    """Whether an observation asks for this input, itself or through others among the `chained`."""
    known = {observation_name(o): o for o in observations}
    left = [observation]
    while left:
        asking = left.pop()
        if input_name in asking.needs:
            return True
        left += [known[n] for n in asking.needs if n not in INPUTS]
    return False
