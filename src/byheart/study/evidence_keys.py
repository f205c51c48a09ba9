"""Keys of evidence: they cover everything that can change an observation's result, and nothing else."""

from __future__ import annotations

from typing import Any

from byheart import lm
from byheart.core.dependencies import ATTRIBUTE_INPUTS, INITIAL_INPUTS, TOKEN_INPUTS, observation_name
from byheart.core.former_names import stored_name
from byheart.core.registry import Choice, choose, key_of, module_constant
from byheart.core.types import digest
from byheart.study.observed_states import BASE, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.shadow_models import shadow_cells

TRAINED_INPUTS = ("model", "reference_trainer", *INITIAL_INPUTS)
"""Inputs that the training of the cell determines."""


def evidence_recipe(planned: PlannedCell, observation: Choice, state: ModelState) -> dict[str, Any]:
    """Return an observation's recipe, which covers only the inputs that its signature names."""
    base_equivalent = module_constant(observation.function, "BASE_EQUIVALENT", None)
    if state == BASE and base_equivalent is not None:
        # At epoch 0 the target is the base model, so one pass serves both observations.
        observation = next(
            (o for o in planned.observations if observation_name(o) == base_equivalent),
            choose("observations", base_equivalent),
        )
    return {
        "observation": observation.recipe,
        "inputs": {stored_name("observations", n): _input_identity(planned, n, state) for n in observation.needs},
        "precision": planned.scoring.precision,
        "revision": lm.forward_revision(planned.scoring.precision),
    }


def evidence_key(planned: PlannedCell, observation: Choice, state: ModelState) -> str:
    """Return the key of an observation of a state: its recipe without the settings that are defaults."""
    recipe = evidence_recipe(planned, observation, state)
    without_settings = {n: v for n, v in recipe["observation"].items() if n != "settings"}
    return key_of({**recipe, "observation": {**without_settings, "settings": observation.non_default_settings}})


def _input_identity(planned: PlannedCell, name: str, state: ModelState) -> Any:
    """Return the identity of an observation's input of this name."""
    if name in {"base_model", "reference_model"} or (name in TRAINED_INPUTS and state == BASE):
        return planned.base_recipe
    if name in TRAINED_INPUTS:
        # A reference trainer repeats the training of the cell until this state, on texts with an identity of their own.
        moment = {"epoch": state.epoch, **({"initialized": True} if state.initialized else {})}
        return {"cell": planned.key, **({} if name in INITIAL_INPUTS else moment)}
    if name in TOKEN_INPUTS:
        return planned.tokens_recipe(TOKEN_INPUTS[name])
    if name in ATTRIBUTE_INPUTS:
        texts = enumerate(getattr(planned.split, name))
        return digest((str(i), *item) for i, attributes in texts for item in sorted(attributes.items()))
    if name == "shadow_passes":
        # The training texts too: at epoch 0 all shadow models equal the base model, so evidence does not distinguish them.
        return [
            [s.texts["train"].digest, *(evidence_key(s, o, s.same_state(state)) for o in s.observations)]
            for s in shadow_cells(planned)
        ]
    return evidence_key(planned, planned.observation(name), state)
