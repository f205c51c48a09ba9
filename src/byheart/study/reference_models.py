"""Reference models of a cell: the cell that trains them on texts that the target generates, before these texts exist."""

from __future__ import annotations

import dataclasses
import functools

from byheart.core.dependencies import TOKEN_INPUTS, forward_pass_count, observation_name
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import PromptedTexts
from byheart.core.registry import Choice
from byheart.core.types import Texts
from byheart.study.planned_cell import PlannedCell, training_parts


@functools.lru_cache(maxsize=256)
def reference_cell(planned: PlannedCell) -> PlannedCell | None:
    """Return the cell that trains a cell's reference models; None if no observation requests a reference model.

    Its training texts stand for the generated ones, which do not exist yet: the known texts that the target continues, as often
    as it continues each. Raises `SettingError` for preference tuning, and `DataError` without generated texts.
    """
    observation = next(filter(needs_reference, planned.observations), None)
    if observation is None:
        return None
    if planned.cell.training.objective is not None:
        raise SettingError(
            f"observations {observation_name(observation)}: a reference model is trained on single texts, and training.objective = "
            f"{planned.cell.training.objective!r} requires pairs. Remove the attack that requests it."
        )
    generated = next(
        (o for o in planned.observations if observation_name(o) in observation.needs and _is_generated(o)), None
    )
    if generated is None:
        raise DataError(
            f"observations {observation_name(observation)}: requests reference_trainer without texts to train on. Request an "
            "observation that returns PromptedTexts, such as self_prompted_texts."
        )
    prompts = planned.texts[next(part for name, part in TOKEN_INPUTS.items() if name in generated.needs)]
    copies = round(forward_pass_count(generated, planned.observations))
    return dataclasses.replace(
        planned,
        attacks=(),
        metrics=(),
        observations=(),
        texts={**planned.texts, **training_parts(_repeated(prompts, copies), planned.cell.training)},
        shadow_label="reference model",
    )


def needs_reference(observation: Choice) -> bool:
    """Whether an observation reads a reference model."""
    return "reference_trainer" in observation.needs


def _is_generated(observation: Choice) -> bool:
    return observation.return_type == PromptedTexts.__name__


def _repeated(texts: Texts, copies: int) -> Texts:
    """Return the texts several times, with ids of their own."""
    numbered = (dataclasses.replace(texts, ids=tuple(f"{name}/{copy}" for name in texts.ids)) for copy in range(copies))
    return functools.reduce(Texts.joined, numbered)
