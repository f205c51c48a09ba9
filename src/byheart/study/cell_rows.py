"""Measure a cell: attack its stored evidence, and turn scores, metrics, counts and costs into rows.

An attack may request the texts and any observation as positional parameters; a metric may request `METRIC_INPUTS` and any
observation. A metric with several numbers returns them by label ("kind=email, of=members").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byheart.core.adversary import adversary
from byheart.core.attack_output import ATTACK_OUTPUT_NAMES, output_arrays
from byheart.core.dependencies import BY_EPOCH, is_by_epoch, observation_name
from byheart.core.errors import DataError
from byheart.core.former_names import stored_name
from byheart.core.ragged import slice_texts
from byheart.core.registry import Choice, key_of
from byheart.core.row import build_row
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, Row
from byheart.store.result_files import read_arrays, read_json, write_arrays
from byheart.store.store import Store
from byheart.study.cell import non_default_settings
from byheart.study.cell_tokens import scored_texts
from byheart.study.checkpoints import training_precision
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.planned_cell import METRIC_CONTEXT, PlannedCell
from byheart.study.remaining_work import (
    attack_cost,
    attack_evidence,
    metric_observations,
    observation_passes,
    observed_states,
)
from byheart.study.searched_rates import search_rows
from byheart.study.shadow_models import shadow_cells
from byheart.study.stored_evidence import read_evidence


def cell_rows(planned: PlannedCell, store: Store) -> Iterator[Row]:
    """Yield all rows of a cell, from its stored training and evidence; computes and stores missing scores."""
    yield from _cell_rows(planned, store)
    yield from _epoch_rows(planned, store)


def _cell_rows(planned: PlannedCell, store: Store) -> Iterator[Row]:
    """Yield the rows of the whole cell: numbers of texts, parameters, truncated texts."""
    labels = _row_labels(planned, store)
    facts = read_json(store.folder("training", planned.key) / "facts.json")
    numbers = {
        "train_texts": len(planned.split.train),
        "member_texts": len(planned.split.members),
        "nonmember_texts": len(planned.split.nonmembers),
        "validation_texts": len(planned.split.validation),
        "max_tokens": planned.cell.data.max_tokens,
        "truncated_texts": facts["truncated_texts"],
        "trained_parameters": facts["trained_parameters"],
        "learning_rate": facts["learning_rate"],
        **planned.split.counts,
        **_canary_counts(planned.split.planted),
        # Fewer than train_texts after deduplication, more with canaries.
        "trained_texts": len(planned.texts["train"]),
        **{n: facts[n] for n in ("noise_multiplier", "delta") if n in facts},
    }
    for metric, value in numbers.items():
        yield build_row(labels, None, metric, Estimate(float(value)))
    yield from search_rows(planned.tried, float(facts["learning_rate"]), labels)
    for epoch, epsilon in enumerate(facts.get("accountant_epsilon", [])):
        yield build_row(labels, epoch, "accountant_epsilon", Estimate(epsilon))
    if planned.spending is not None:
        for epoch in planned.inside_epochs.values():
            yield build_row(labels, epoch, "accountant_epsilon", Estimate(planned.spending.epsilon(epoch)))


def _canary_counts(planted: PlantedCanaries | None) -> dict[str, int]:
    if planted is None:
        return {}
    return {
        "canaries": len(planted.texts),
        "canaries_trained_on": sum(planted.included),
        "canary_copies": len(planted.copies),
        "canary_references": len(planted.references),
    }


def _epoch_rows(planned: PlannedCell, store: Store) -> Iterator[Row]:
    requested = {n.removesuffix(BY_EPOCH) for c in (*planned.attacks, *planned.metrics) for n in c.needs}
    needed = {"target", "validation"} | requested
    observations = [o for o in planned.observations if observation_name(o) in needed]
    for state in planned.states:
        epoch, labels = state.epoch, {**_row_labels(planned, store), "initialized": state.initialized}
        evidence = {observation_name(o): read_evidence(planned, store, o, state) for o in observations}
        texts = scored_texts(planned.split.audited, store.folder("tokens", key_of(planned.tokens_recipe("audited"))))
        metric_inputs = {**evidence, **_metric_inputs(planned, store, evidence)}
        for metric in planned.metrics:
            if not set(metric.needs) & set(ATTACK_OUTPUT_NAMES):
                yield from _metric_rows(labels, epoch, metric, metric_inputs)
        for observation in metric_observations(planned):
            cost = {
                "passes": observation_passes(planned, observation),
                "seconds": _seconds(planned, store, observation, state),
            }
            for name, value in cost.items():
                label = f"observation={observation_name(observation)}"
                yield build_row(labels, epoch, name, Estimate(value), label=label)
        for attack in planned.attacks:
            attack_labels = {**labels, "adversary": adversary(attack, planned.observations).label}
            key = _make_scores(planned, store, attack, state, {**evidence, "texts": texts})
            outputs = read_arrays(store.folder("scores", key))
            inputs = metric_inputs | {n: outputs[n] for n in ATTACK_OUTPUT_NAMES if n in outputs}
            for metric in planned.metrics:
                # Metrics of extraction apply only to attacks that extract.
                if set(metric.needs) & set(ATTACK_OUTPUT_NAMES) and set(metric.needs) <= set(inputs):
                    yield from _metric_rows(attack_labels, epoch, metric, inputs, attack, key)
            for name, value in _cost(planned, store, attack, state).items():
                yield build_row(attack_labels, epoch, name, Estimate(value), attack)


def _metric_rows(
    labels: Mapping[str, Any],
    epoch: float,
    metric: Choice,
    inputs: Mapping[str, Any],
    attack: Choice | None = None,
    scores: str = "",
) -> Iterator[Row]:
    """Yield a metric's rows: one, or one for each of its numbers with the number's label."""
    result = metric(*(inputs[n] for n in metric.needs))
    for label, estimate in result.items() if isinstance(result, Mapping) else [("", result)]:
        yield build_row(labels, epoch, metric, _check_finite(metric, estimate), attack, scores, label)


def _cost(planned: PlannedCell, store: Store, attack: Choice, state: ModelState) -> dict[str, float]:
    """Return the cost of an attack's evidence of a state: passes over the audited texts, and measured seconds."""
    evidence = attack_evidence(planned, attack)
    seconds = sum(_seconds(planned, store, o, s) for o in evidence for s in observed_states(planned, attack, o, state))
    if any("shadow_passes" in o.needs for o in evidence):
        for shadow in shadow_cells(planned):
            epoch_seconds = read_json(store.folder("training", shadow.key) / "facts.json")["seconds"]
            whole = int(state.epoch)
            seconds += sum(epoch_seconds[:whole]) + (state.epoch - whole) * sum(epoch_seconds[whole : whole + 1])
            seconds += sum(_seconds(shadow, store, o, shadow.same_state(state)) for o in shadow.observations)
    # The training of a reference model is in the seconds of the observation that was made first.
    return {"passes": attack_cost(planned, attack, state.epoch), "seconds": seconds}


def _seconds(planned: PlannedCell, store: Store, observation: Choice, state: ModelState) -> float:
    return float(store.recipe("evidence", evidence_key(planned, observation, state))["made"]["seconds"])


def _metric_inputs(planned: PlannedCell, store: Store, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of metrics besides scores. Only here are evidence and membership combined."""
    split = planned.split
    of_split = (name for name in METRIC_CONTEXT if name not in (*ATTACK_OUTPUT_NAMES, "trained_parameters"))
    inputs: dict[str, Any] = {name: getattr(split, name) for name in of_split}
    facts = read_json(store.folder("training", planned.key) / "facts.json")
    inputs["trained_parameters"] = int(facts["trained_parameters"])
    if "target" in evidence:
        members, audited = len(split.members), len(split.membership)
        inputs["train"] = slice_texts(evidence["target"], slice(0, members))
        inputs["nonmember"] = slice_texts(evidence["target"], slice(members, audited))
    if "validation" in evidence:
        inputs["validation"] = evidence["validation"]
    return inputs


def _make_scores(
    planned: PlannedCell, store: Store, attack: Choice, state: ModelState, inputs: Mapping[str, Any]
) -> str:
    """Return the key of an attack's scores; compute them if the store lacks them."""
    observations = [o for o in planned.observations if observation_name(o) in attack.needs]
    evidence: dict[str, Any] = {
        stored_name("observations", observation_name(o)): evidence_key(planned, o, state) for o in observations
    }
    paths = [n for n in attack.needs if is_by_epoch(n)]
    states = planned.states_until(state)
    for name in paths:
        observation = planned.observation(name.removesuffix(BY_EPOCH))
        evidence[name] = [evidence_key(planned, observation, s) for s in states]
    groups = np.array(planned.split.groups)
    recipe = {
        "attack": attack.recipe,
        "evidence": evidence,
        "texts": planned.split.audited.digest,
        "groups": key_of({"groups": planned.split.groups}),
    }
    key = key_of({**recipe, "attack": attack.identity})

    def argument(name: str) -> Any:
        if name not in paths:
            return inputs[name]
        observation = planned.observation(name.removesuffix(BY_EPOCH))
        return tuple(read_evidence(planned, store, observation, s) for s in states)

    def make(folder: Path) -> None:
        write_arrays(
            folder,
            {
                **output_arrays(attack, attack(*map(argument, attack.needs)), len(planned.split.membership)),
                "members": planned.split.membership,
                "ids": np.array(planned.split.audited.ids),
                "groups": groups,
            },
        )

    store.get_or_make("scores", key, recipe, make)
    return key


def _check_finite(metric: Choice, estimate: Estimate) -> Estimate:
    """Return a metric's estimate; raises `DataError` if a number is not finite."""
    numbers = (estimate.value, estimate.low, estimate.high)
    if not all(np.isfinite(v) for v in numbers if v is not None):
        raise DataError(
            f"metrics {metric.name}: returned {numbers[0]} [{numbers[1]}, {numbers[2]}]. Return finite numbers."
        )
    return estimate


def _row_labels(planned: PlannedCell, store: Store) -> dict[str, Any]:
    """Return the labels of the cell's rows; no key contains the precision, because a machine may choose it."""
    return {**cell_labels(planned), "precision": training_precision(planned, store)}


def cell_labels(planned: PlannedCell) -> dict[str, Any]:
    """Return the labels of a cell's rows that are part of their key."""
    cell = planned.cell
    return {
        "base": cell.base,
        "dataset": cell.dataset.name,
        "dataset_settings": ", ".join(x for x in (cell.dataset.label, non_default_settings(cell.data)) if x),
        "method": cell.method.name,
        "method_settings": cell.method.label,
        "training_settings": cell.training_label,
        "seed": cell.seed,
        "cell": planned.key,
    }
