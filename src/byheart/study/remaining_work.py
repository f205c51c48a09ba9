"""Remaining work of a cell: missing evidence, and its cost in forward passes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from byheart.core.dependencies import (
    BY_EPOCH,
    TOKEN_INPUTS,
    forward_pass_count,
    generated_token_count,
    observation_name,
    required_observations,
)
from byheart.core.registry import Choice, module_constant
from byheart.store.listed_results import ListedResults
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.planned_cell import METRIC_INPUTS, PlannedCell
from byheart.study.reference_models import needs_reference, reference_cell
from byheart.study.shadow_models import shadow_cells


def missing_evidence(planned: PlannedCell, store: Store | ListedResults | None) -> dict[ModelState, tuple[Choice, ...]]:
    """Return, by state, the observations that the store lacks, each at the first state that needs it.

    `store` None stands for an empty store, here and below.
    """
    missing: dict[ModelState, tuple[Choice, ...]] = {}
    first: dict[str, tuple[ModelState, Choice]] = {}
    for state in planned.states:
        for observation in planned.observations:
            first.setdefault(evidence_key(planned, observation, state), (state, observation))
    for key, (state, observation) in first.items():
        if store is None or not store.has("evidence", key):
            missing[state] = (*missing.get(state, ()), observation)
    return missing


def _unclaimed_evidence(
    planned: PlannedCell, store: Store | ListedResults | None, claimed_keys: set[str]
) -> dict[ModelState, tuple[Choice, ...]]:
    """Return the missing observations by state, without those of earlier cells; adds this cell's to `claimed_keys`."""
    unclaimed = {
        state: tuple(o for o in observations if evidence_key(planned, o, state) not in claimed_keys)
        for state, observations in missing_evidence(planned, store).items()
    }
    claimed_keys |= {evidence_key(planned, o, state) for state, observations in unclaimed.items() for o in observations}
    return unclaimed


def remaining_work(planned: PlannedCell, store: Store | ListedResults | None, claimed_keys: set[str]) -> float:
    """Return the remaining work of a cell, in forward passes of one token.

    `claimed_keys` are the keys of evidence that earlier cells make; this cell's are added.
    """
    return sum(
        epoch_work(cell) * epochs + sum(observation_work(cell, o) for o in observations)
        for cell, epochs, observations in remaining_steps(planned, store, claimed_keys)
    )


def remaining_work_by_cell(planned: Sequence[PlannedCell], store: Store | ListedResults | None) -> list[float]:
    """Return the remaining work of each cell; shared work is counted for the first cell that needs it.

    `store` None stands for an empty store: the total work.
    """
    claimed_keys: set[str] = set()
    return [remaining_work(p, store, claimed_keys) for p in planned]


def remaining_steps(
    planned: PlannedCell, store: Store | ListedResults | None, claimed_keys: set[str]
) -> list[tuple[PlannedCell, int, tuple[Choice, ...]]]:
    """Return the epochs to train and the observations to make: of this cell, then of its reference and shadow models.

    The observations of a reference model are those of the cell. `claimed_keys` are the keys of evidence that earlier cells make; this
    cell's are added.
    """
    missing = _unclaimed_evidence(planned, store, claimed_keys)
    observations = tuple(o for state_observations in missing.values() for o in state_observations)
    epochs = math.ceil(max((state.epoch for state in missing), default=0))
    if store is None or not store.has("training", planned.key):
        epochs = planned.cell.training.epochs
    needs_shadows = any("shadow_passes" in o.needs for o in observations)
    # One reference model for each state: each training begins anew.
    reference_epochs = sum(math.ceil(state.epoch) for state, made in missing.items() if any(map(needs_reference, made)))
    reference = reference_cell(planned) if reference_epochs else None
    return [
        (planned, epochs, observations),
        *([] if reference is None else [(reference, reference_epochs, ())]),
        *(
            step
            for shadow in shadow_cells(planned)
            if needs_shadows
            for step in remaining_steps(shadow, store, claimed_keys)
        ),
    ]


def epoch_work(planned: PlannedCell) -> float:
    """Return the work of training one epoch, in forward passes of one token; a method's `PASSES` is its cost per token."""
    counts = _token_counts(planned)
    return module_constant(planned.cell.method.function, "PASSES", 3.0) * (
        counts["train"] + counts.get("train_rejected", 0)
    )


def attack_evidence(planned: PlannedCell, attack: Choice) -> list[Choice]:
    """Return the observations that an attack requires, directly or indirectly, each once."""
    return required_observations(
        attack.needs, f"attacks {attack.name}", {observation_name(o): o for o in planned.observations}
    )


def metric_observations(planned: PlannedCell) -> tuple[Choice, ...]:
    """Return the observations that metrics require, directly or indirectly, each once."""
    requested = dict.fromkeys(n for m in planned.metrics for n in m.needs if n not in METRIC_INPUTS)
    return tuple(required_observations(requested, "a metric", {observation_name(o): o for o in planned.observations}))


def attack_cost(planned: PlannedCell, attack: Choice, epoch: float) -> float:
    """Return an attack's cost at an epoch, in forward passes over the audited texts, with the training of other models."""
    evidence = attack_evidence(planned, attack)
    work = sum(
        observation_work(planned, o) * len(observed_states(planned, attack, o, ModelState(epoch))) for o in evidence
    )
    if any("shadow_passes" in o.needs for o in evidence):
        for shadow in shadow_cells(planned):
            work += epoch * epoch_work(shadow) + sum(observation_work(shadow, o) for o in shadow.observations)
    if any(map(needs_reference, evidence)) and (reference := reference_cell(planned)) is not None:
        work += epoch * epoch_work(reference)
    return work / _token_counts(planned)["audited"]


def observed_states(
    planned: PlannedCell, attack: Choice, observation: Choice, state: ModelState
) -> tuple[ModelState, ...]:
    """Return the states at which an attack on a state reads an observation: the state, or the whole path to it."""
    is_path = f"{observation_name(observation)}{BY_EPOCH}" in attack.needs
    return planned.states_until(state) if is_path else (state,)


def observation_work(planned: PlannedCell, observation: Choice) -> float:
    """Return the work of an observation, in forward passes of one token."""
    part = next((p for n, p in TOKEN_INPUTS.items() if n in observation.needs), "audited")
    attributes = sum(map(len, planned.split.attributes)) / max(len(planned.split.attributes), 1)
    passes = forward_pass_count(observation, planned.observations, attributes=attributes)
    return passes * _token_counts(planned)[part] + generated_token_count(observation)


def observation_passes(planned: PlannedCell, observation: Choice) -> float:
    """Return the work of an observation, in forward passes over the audited texts."""
    return observation_work(planned, observation) / _token_counts(planned)["audited"]


@functools.lru_cache(maxsize=256)
def _token_counts(planned: PlannedCell) -> dict[str, float]:
    """Return the approximate number of tokens of each part: one per four characters, at most `max_tokens` per text."""
    limit = planned.cell.data.max_tokens
    return {
        part: sum(min((len(s) + len(p)) / 4, limit) for s, p in zip(texts.scored, texts.prompts, strict=True))
        for part, texts in planned.texts.items()
    }
