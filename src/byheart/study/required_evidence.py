"""The observations that the attacks and metrics of a study require, and the texts that these observations need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from byheart.core.dependencies import TOKEN_INPUTS, known_records_needed, observation_name, required_observations
from byheart.core.errors import DataError
from byheart.core.registry import Choice, entry_names, module_constant
from byheart.core.split import Split
from byheart.core.types import Texts
from byheart.data.private_attributes import check_has_attributes, check_has_candidates
from byheart.data.prompts import check_has_prompts
from byheart.study.planned_cell import METRIC_CONTEXT, METRIC_INPUTS
from byheart.study.study_file import Study
from byheart.study.text_checks import check_has_canaries, check_has_pairs


def required_study_observations(study: Study, cell_split: Split, parts: Mapping[str, Texts]) -> tuple[Choice, ...]:
    """Return the observations that attacks and metrics require, each once, after the observations that it requires.

    Raises `DataError` for an unknown observation, for texts that the study does not set aside, and for private
    attributes that the data set does not have.
    """
    configured = {observation_name(o): o for o in study.observations}
    required: dict[str, Choice] = {}
    for name, requester, minimum in _requested_observations(study, configured):
        for observation in required_observations((name,), requester, configured):
            if module_constant(observation.function, "NEEDS_PROMPTS", default=False):
                check_has_prompts(parts["validation"], requester)
            for need in observation.needs:
                if need.startswith("canary"):
                    check_has_canaries(requester, need, parts)
                elif need == "rejected_tokens":
                    check_has_pairs(parts["audited"], requester)
                elif need in TOKEN_INPUTS:
                    _check_known_texts(requester, observation, need, len(parts[TOKEN_INPUTS[need]]), minimum)
                elif need == "attributes":
                    check_has_attributes(cell_split.attributes, requester)
                elif need == "validation_attributes":
                    check_has_candidates(cell_split.attributes, cell_split.validation_attributes, requester)
            required.setdefault(observation_name(observation), observation)
    return tuple(required.values())


def _requested_observations(study: Study, configured: Mapping[str, Choice]) -> Iterator[tuple[str, str, int]]:
    """Yield the observations that attacks and metrics name, with the requester and its minimum number of known texts.

    Raises `DataError` for an input that metrics cannot request.
    """
    for attack in study.attacks:
        minimum = int(module_constant(attack.function, "KNOWN", 1))
        yield from ((n, f"attacks {attack.name}", minimum) for n in attack.needs if n != "texts")
    for metric in study.metrics:
        for name in (n for n in metric.needs if n not in METRIC_CONTEXT):
            available = dict.fromkeys((*METRIC_INPUTS, *entry_names("observations"), *configured))
            if name not in available:
                raise DataError(f"metrics {metric.name}: unknown input {name!r}. Choose from {', '.join(available)}.")
            yield "target" if name in {"train", "nonmember"} else name, f"metrics {metric.name}", 1


def _check_known_texts(requester: str, observation: Choice, need: str, available: int, minimum: int) -> None:
    """Raise `DataError` for fewer known texts than the attack or the observation requires."""
    setting = module_constant(observation.function, "KNOWN", 1.0)
    required = known_records_needed(observation, minimum) if need.startswith("known") else 1
    if available >= required:
        return
    number = f"{required} or more" if required > 1 else "about 50"
    alternative = (
        f", or {setting} of observations {observation_name(observation)} to {available}"
        if isinstance(setting, str) and available
        else ""
    )
    raise DataError(
        f"{requester}: requires records with known membership, and the study has {available}. "
        f"Set data.known to {number}{alternative}."
    )
