"""Remaining work of a cell: missing evidence, and its cost in forward passes."""

from __future__ import annotations

import functools

from byheart.core.dependencies import TOKEN_INPUTS, forward_pass_count, observation_name, required_observations
from byheart.core.registry import Choice, module_constant
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.planned_cell import METRIC_INPUTS, PlannedCell
from byheart.study.shadow_models import shadow_cells


def missing_evidence(planned: PlannedCell, store: Store | None) -> dict[int, tuple[Choice, ...]]:
    """Return, by epoch, the observations that the store does not hold yet, each at the first epoch that needs it.

    None stands for a store that holds nothing, here and below.
    """
    left: dict[int, tuple[Choice, ...]] = {}
    first: dict[str, tuple[int, Choice]] = {}
    for epoch in planned.epochs:
        for observation in planned.observations:
            first.setdefault(evidence_key(planned, observation, epoch), (epoch, observation))
    for key, (epoch, observation) in first.items():
        if store is None or not store.has("evidence", key):
            left[epoch] = (*left.get(epoch, ()), observation)
    return left


def _unclaimed_evidence(
    planned: PlannedCell, store: Store | None, claimed_keys: set[str]
) -> dict[int, tuple[Choice, ...]]:
    """Return what is missing, by epoch, without what is known to be made before; adds this cell's to `known`."""
    left = {
        e: tuple(o for o in wanted if evidence_key(planned, o, e) not in claimed_keys)
        for e, wanted in missing_evidence(planned, store).items()
    }
    claimed_keys |= {evidence_key(planned, o, e) for e, wanted in left.items() for o in wanted}
    return left


def remaining_work(planned: PlannedCell, store: Store | None, claimed_keys: set[str]) -> float:
    """Return what is left to do, in forward passes of one token.

    `known` are keys of evidence that a cell before this one makes; this cell's are added.
    """
    return sum(
        epoch_work(one) * epochs + sum(observation_work(one, o) for o in made)
        for one, epochs, made in remaining_steps(planned, store, claimed_keys)
    )


def remaining_steps(
    planned: PlannedCell, store: Store | None, claimed_keys: set[str]
) -> list[tuple[PlannedCell, int, tuple[Choice, ...]]]:
    """Return what is left to do, this cell's first, then its shadows': epochs to train, and observations to make.

    `known` are keys of evidence that a cell before this one makes; this cell's are added.
    """
    left = _unclaimed_evidence(planned, store, claimed_keys)
    made = tuple(o for wanted in left.values() for o in wanted)
    trained = max((e for e in left if e > 0), default=0)
    if store is None or not store.has("training", planned.key):
        trained = planned.cell.training.epochs
    shadowed = any("shadow_passes" in o.needs for o in made)
    return [
        (planned, trained, made),
        *(t for s in shadow_cells(planned) if shadowed for t in remaining_steps(s, store, claimed_keys)),
    ]


def epoch_work(planned: PlannedCell) -> float:
    """Training of one epoch, in forward passes of one token; a method's file says how many passes a token costs."""
    return module_constant(planned.cell.method.function, "PASSES", 3.0) * _token_counts(planned)["train"]


def attack_evidence(planned: PlannedCell, attack: Choice) -> list[Choice]:
    """Return the observations that an attack rests on, and those that they rest on in turn, each once."""
    return required_observations(
        attack.needs, f"attacks {attack.name}", {observation_name(o): o for o in planned.observations}
    )


def metric_observations(planned: PlannedCell) -> tuple[Choice, ...]:
    """The observations that metrics ask for by name, and those that they rest on in turn, each once."""
    asked = dict.fromkeys(n for m in planned.metrics for n in m.needs if n not in METRIC_INPUTS)
    return tuple(required_observations(asked, "a metric", {observation_name(o): o for o in planned.observations}))


def attack_cost(planned: PlannedCell, attack: Choice, epoch: int) -> float:
    """Return what an attack at an epoch rests on, in forward passes over the audited texts, shadows' training included."""
    evidence = attack_evidence(planned, attack)
    work = sum(observation_work(planned, o) for o in evidence)
    if any("shadow_passes" in o.needs for o in evidence):
        for shadow in shadow_cells(planned):
            work += epoch * epoch_work(shadow) + sum(observation_work(shadow, o) for o in shadow.observations)
    return work / _token_counts(planned)["audited"]


def observation_work(planned: PlannedCell, observation: Choice) -> float:
    """Return one observation's work, in forward passes of one token."""
    part = next((p for n, p in TOKEN_INPUTS.items() if n in observation.needs), "audited")
    attributes = sum(map(len, planned.split.attributes)) / max(len(planned.split.attributes), 1)
    return forward_pass_count(observation, planned.observations, attributes=attributes) * _token_counts(planned)[part]


def observation_passes(planned: PlannedCell, observation: Choice) -> float:
    """Return one observation's work, in forward passes over the audited texts."""
    return observation_work(planned, observation) / _token_counts(planned)["audited"]


@functools.lru_cache(maxsize=256)
def _token_counts(planned: PlannedCell) -> dict[str, float]:
    """About how many tokens each part's texts have: one for four characters, no more a text than are read."""
    most = planned.cell.data.max_tokens
    return {
        part: sum(min((len(s) + len(p)) / 4, most) for s, p in zip(texts.scored, texts.prompts, strict=True))
        for part, texts in planned.texts.items()
    }
