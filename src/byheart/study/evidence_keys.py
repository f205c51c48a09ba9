"""Keys of evidence: exactly what can change an observation's result."""

from __future__ import annotations

from typing import Any

from byheart import lm
from byheart.core.dependencies import ATTRIBUTE_INPUTS, TOKEN_INPUTS, observation_name
from byheart.core.registry import Choice, choose, key_of, module_constant, stored_name
from byheart.core.types import digest
from byheart.study.planned_cell import PlannedCell
from byheart.study.shadow_models import shadow_cells


def evidence_recipe(planned: PlannedCell, observation: Choice, epoch: int) -> dict[str, Any]:
    """Return an observation's identity, which covers only the inputs that its signature names."""
    same = module_constant(observation.function, "UNTUNED", None)
    if epoch == 0 and same is not None:
        # The untuned base is what the reference attack reads anyway: one pass serves both.
        observation = next(
            (o for o in planned.observations if observation_name(o) == same), choose("observations", same)
        )
    return {
        "observation": observation.recipe,
        "inputs": {stored_name("observations", n): _input_identity(planned, n, epoch) for n in observation.needs},
        "precision": planned.scoring.precision,
        "revision": lm.FORWARD_REVISION,
    }


def evidence_key(planned: PlannedCell, observation: Choice, epoch: int) -> str:
    """Return the key of an observation at an epoch: its recipe without the settings that are defaults."""
    recipe = evidence_recipe(planned, observation, epoch)
    named = {n: v for n, v in recipe["observation"].items() if n != "settings"}
    return key_of({**recipe, "observation": {**named, "settings": observation.non_default_settings}})


def _input_identity(planned: PlannedCell, name: str, epoch: int) -> Any:
    """Return the identity of what an observation asks for by this name."""
    if name == "model":
        return {"base": planned.base_identity} if epoch == 0 else {"cell": planned.key, "epoch": epoch}
    if name == "base_model":
        return {"base": planned.base_identity}
    if name in TOKEN_INPUTS:
        return planned.tokens_recipe(TOKEN_INPUTS[name])
    if name in ATTRIBUTE_INPUTS:
        texts = enumerate(getattr(planned.split, name))
        return digest((str(i), *item) for i, own in texts for item in sorted(own.items()))
    if name == "shadow_passes":
        # The texts too: at epoch 0 all shadows are the base, and evidence would not tell who is tuned on what.
        return [
            [s.texts["train"].digest, *(evidence_key(s, o, epoch) for o in s.observations)]
            for s in shadow_cells(planned)
        ]
    return evidence_key(planned, planned.observation(name), epoch)
