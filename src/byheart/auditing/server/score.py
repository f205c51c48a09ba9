"""Make the evidence of models behind a server, and run the attacks on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from byheart.auditing.attack_evidence import attack_outputs
from byheart.auditing.audited_split import AuditComparison
from byheart.auditing.result import BASE_EPOCH
from byheart.auditing.server.checks import check_models_differ, check_same_tokens
from byheart.auditing.server.evidence import SERVER_OBSERVATIONS, EndpointTexts, ServerProvider, as_logprobs
from byheart.auditing.server.served_model import EndpointModel, ScoredText
from byheart.core.evidence import GreedyContinuation
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice, choose
from byheart.core.types import Extraction, Scores, Texts


class ServerResults(NamedTuple):
    """Scores, extractions and log-probabilities by epoch, the fine-tuned model's scored texts, and doubts.

    Without log-probabilities of prompts, `stats` and `readings` are empty.
    """

    scores: dict[int, dict[str, Scores]]
    extractions: dict[int, dict[str, Extraction]]
    stats: dict[int, dict[str, Any]]
    readings: list[ScoredText]
    doubts: list[str]


SAME_TEXT = (
    "the model and its base generate the same text after every prefix, so both names may serve the same weights: load the adapter, or "
    "name the base model's own name"
)


def server_observations(attacks: Mapping[str, Choice], *, logprobs: bool) -> set[str]:
    """Return the observations that a server's answers provide for these attacks; `target` always with log-probabilities."""
    return {n for a in attacks.values() for n in a.needs if n in SERVER_OBSERVATIONS} | (
        {"target"} if logprobs else set()
    )


def score_models(
    models: Mapping[int, EndpointModel],
    attacks: Mapping[str, Choice],
    comparison: AuditComparison,
    repeat_difference: float | None,
) -> ServerResults:
    """Return the attacks' results on each model by epoch.

    `repeat_difference` is the mean difference of repeated answers (nats per token), None without log-probabilities. Raises
    `ModelError` if model and base model give the same numbers or different tokens.
    """
    results = ServerResults({}, {}, {}, [], [])
    base_greedy: Any = None
    for epoch, model in models.items():
        evidence, readings = _evidence(model, attacks, comparison, logprobs=repeat_difference is not None)
        if repeat_difference is not None:
            check_same_tokens(results.readings or readings, readings)
            if BASE_EPOCH in results.stats:
                base = results.stats[BASE_EPOCH]["target"]
                check_models_differ(evidence["target"].logp, base.logp, repeat_difference)
                evidence["base"] = base
            results.stats[epoch] = {"target": evidence["target"]}
            evidence.setdefault("base", evidence["target"])
            if len(comparison.split.validation):
                results.stats[epoch]["validation"] = as_logprobs(model.read(comparison.split.validation))
            results.readings[:] = readings
        greedy = evidence.get("greedy_continuation")
        if repeat_difference is None and _is_same_text(base_greedy, greedy):
            results.doubts.append(SAME_TEXT)
        base_greedy = greedy
        outputs = attack_outputs(attacks, evidence, len(comparison.split.audited))
        results.scores[epoch] = {n: o["scores"] for n, o in outputs.items() if "extracted" not in o}
        results.extractions[epoch] = {n: Extraction(**o) for n, o in outputs.items() if "extracted" in o}
    return results


def _is_same_text(base: GreedyContinuation | None, model: GreedyContinuation | None) -> bool:
    """Whether both models generated the same tokens after every prefix; False if one of them generated nothing."""
    if base is None or model is None:
        return False
    return np.array_equal(base.written, model.written) and np.array_equal(base.written_starts, model.written_starts)


def _evidence(
    model: EndpointModel, attacks: Mapping[str, Choice], comparison: AuditComparison, *, logprobs: bool
) -> tuple[dict[str, Any], list[ScoredText]]:
    """Return the evidence that attacks request by name, and the scored texts."""
    audited = comparison.split.audited
    readings = model.read(audited) if logprobs else []
    texts = Texts(audited.ids, tuple(r.scored for r in readings), audited.prompts) if readings else audited
    provider = ServerProvider(model, EndpointTexts(texts, readings))
    observations = sorted(server_observations(attacks, logprobs=logprobs))
    make_evidence([choose("observations", name) for name in observations], provider)
    return {**provider.evidence, "texts": texts}, readings
