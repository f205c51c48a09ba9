"""Read an observation's evidence from the store."""

from __future__ import annotations

from typing import Any

from byheart.core.evidence import ShadowPass, evidence_from_arrays
from byheart.core.registry import Choice
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.shadow_models import shadow_cells, shadow_halves


def read_evidence(planned: PlannedCell, store: Store, observation: Choice, state: ModelState) -> Any:
    """Return an observation's stored evidence."""
    return evidence_from_arrays(
        observation.return_type, read_arrays(store.folder("evidence", evidence_key(planned, observation, state)))
    )


def read_shadow_passes(planned: PlannedCell, store: Store, state: ModelState) -> tuple[ShadowPass, ...]:
    """Return each shadow model's stored evidence of the audited texts and of the population."""
    shadows = shadow_cells(planned)
    return tuple(
        ShadowPass(inside, *(read_evidence(s, store, o, s.same_state(state)) for o in s.observations))
        for s, inside in zip(shadows, shadow_halves(planned, len(shadows)), strict=True)
    )
