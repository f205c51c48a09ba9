"""Measure a model on planted canaries: exposure, TPR, and the lower bound on epsilon that the manifest planned.

The bound is one number: for the repetitions, the number of guesses and the delta that the manifest fixed before training. The largest
of several bounds would not hold with its confidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from byheart.auditing.evaluate_models import ModelResults
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH, AuditResult
from byheart.core.errors import ByheartError
from byheart.core.registry import Choice, choose
from byheart.core.row import build_row
from byheart.core.split import PlantedCanaries
from byheart.core.types import LogProbs, Row
from byheart.data.canary_manifest import PlantedSet

PARTS = ("canaries", "canary_references")
ESTIMATES = ("sampling", "extrapolation")
_Result = TypeVar("_Result", bound=AuditResult)


class CanaryMeasurement(NamedTuple):
    """Rows of a model on canaries, and what could not be measured, with the reason."""

    rows: tuple[Row, ...]
    doubts: tuple[str, ...]


def measure_canaries(
    labels: Mapping[str, Any],
    planted: PlantedCanaries,
    stats: Mapping[int, Mapping[str, LogProbs]],
    *,
    epsilon: Mapping[str, Any] | None,
    fpr: float,
) -> CanaryMeasurement:
    """Return the rows of canaries; `labels` are those of `build_row`.

    `stats` has the log-probabilities of `canaries` and `canary_references` by epoch (0: base model, 1: fine-tuned model). `epsilon` has
    the settings of the bound; None if the canaries are too few for one.
    """
    rows: list[Row] = []
    doubts: dict[str, None] = {}
    if epsilon is None:
        doubts["too few canaries are trained on once or not at all to bound epsilon"] = None
    if BASE_EPOCH not in stats:
        doubts["without a base model, neither TPR on canaries nor a bound on epsilon is computed"] = None
    for epoch in sorted(stats):
        inputs = {**stats[epoch], "planted": planted}
        if BASE_EPOCH in stats:
            inputs["canaries_base"] = stats[BASE_EPOCH]["canaries"]
        for metric in canary_metrics(planted, epsilon, fpr):
            if "canaries_base" in metric.needs and (epoch == BASE_EPOCH or BASE_EPOCH not in stats):
                continue
            if "canary_references" in metric.needs and "canary_references" not in inputs:
                continue
            try:
                rows.append(build_row(labels, epoch, metric, metric(*(inputs[name] for name in metric.needs))))
            except ByheartError as error:
                doubts[str(error)] = None
    return CanaryMeasurement(tuple(rows), tuple(doubts))


def canary_metrics(
    planted: PlantedCanaries, epsilon: Mapping[str, Any] | None, fpr: float, *, estimates: Sequence[str] = ESTIMATES
) -> Iterator[Choice]:
    """Yield the metrics of these canaries: of each number of repetitions that a coin included, and of the held-out ones."""
    trained = sorted({r for r, included in zip(planted.repetitions, planted.included, strict=True) if included})
    if planted.bits:
        for estimate in estimates:
            if not all(planted.included):
                yield choose("metrics", "held_out_exposure", {"estimate": estimate})
            for repeated in trained:
                if any(r == repeated and k in planted.bits for r, k in _included(planted)):
                    yield choose("metrics", "exposure", {"repeated": repeated, "estimate": estimate})
    for repeated in trained:
        yield choose("metrics", "canary_tpr", {"repeated": repeated, "fpr": fpr})
    if epsilon is not None:
        yield choose("metrics", "epsilon_lower_bound", dict(epsilon))


def _included(planted: PlantedCanaries) -> Iterator[tuple[int, str]]:
    """Yield repetitions and kind of each included canary."""
    for repeated, kind, included in zip(planted.repetitions, planted.kinds, planted.included, strict=True):
        if included:
            yield repeated, kind


def with_canaries(
    audit: _Result,
    planted: PlantedSet,
    canaries: PlantedCanaries,
    results: Mapping[int, ModelResults],
    *,
    fpr: float,
) -> _Result:
    """Return an audit with the rows of canaries, and with the manifest's hashes and coins in its provenance."""
    labels = {
        **dict.fromkeys(("dataset_settings", "method_settings", "training_settings", "cell"), ""),
        "base": audit.provenance["base"] or audit.provenance["model"],
        "dataset": "audited texts",
        "method": audit.provenance["method"],
        "seed": 0,
    }
    stats = {epoch: {part: r.stats[part] for part in PARTS if part in r.stats} for epoch, r in results.items()}
    manifest = planted.manifest
    measured = measure_canaries(labels, canaries, stats, epsilon=manifest["epsilon"], fpr=fpr)
    doubts = [*audit.doubts, *(f"canaries: {doubt}" for doubt in measured.doubts)]
    if truncated := int((results[FINETUNED_EPOCH].tokens["canaries"].cut > 0).sum()):
        doubts.append(f"canaries: {truncated} of {len(canaries.texts)} are truncated; raise max_tokens")
    hashes = {name: manifest[name] for name in ("sha256", "at", "seed", "settings", "epsilon", "data", "planted")}
    included = sum(canaries.included)
    counts = {"included": included, "held_out": len(canaries.included) - included}
    return dataclasses.replace(
        audit,
        rows=(*audit.rows, *measured.rows),
        doubts=tuple(doubts),
        provenance={**audit.provenance, "canaries": {**hashes, **counts}},
    )
