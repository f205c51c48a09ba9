"""Audit a model behind a server: `byheart.audit_endpoint`. Computes the numbers of `byheart.audit` from a server's answers.

Before any scoring, the server must list the model, return log-probabilities of the prompt at the right positions, and
repeat its answer for the same text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from byheart.analysis.token_view import Piece, text_pieces
from byheart.auditing.attack_evidence import attack_outputs
from byheart.auditing.compare import AuditComparison, audit_comparison
from byheart.auditing.conclude import AttackResults, AuditedModel, build_audit
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.server.checks import check_models_listed, check_same_tokens, probe_models
from byheart.auditing.server.client import Endpoint, RequestLimits
from byheart.auditing.server.evidence import (
    EXTRA_REQUESTS,
    SERVER_OBSERVATIONS,
    EndpointModel,
    EndpointTexts,
    ScoredText,
    ServerProvider,
    as_logprobs,
)
from byheart.auditing.server.servable_attacks import servable_attacks
from byheart.auditing.settings import MODEL_EQUALS_BASE, AuditSettings
from byheart.auditing.texts import AuditedText, texts_by_part
from byheart.core.errors import ModelError, SettingError
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice, choose
from byheart.core.types import Scores, Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from byheart.auditing.audit import Audit

RequestProgressCallback = Callable[[int, int], None]
"""Receives the number of answered requests and their expected total."""


def audit_endpoint(  # noqa: PLR0913 - settings come in by keyword
    url: str,
    model_name: str,
    members: Texts | Iterable[Any],
    nonmembers: Texts | Iterable[Any] | None = None,
    *,
    base_name: str | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    validation: Texts | Iterable[Any] | None = None,
    attacks: str | Sequence[str | Mapping[str, Mapping[str, Any]]] = "default",
    max_texts: int = 1000,
    max_tokens: int = 512,
    fpr: float = 0.01,
    max_requests: int = 10_000,
    timeout: float = 600.0,
) -> Audit:
    """Audit a model by its name at an OpenAI-compatible server that returns log-probabilities of the prompt.

    Texts have the formats of `audit`; chats require the model's `tokenizer` for the chat template. `base_name` is the base
    model's name at the same server. Attacks that a server's answers do not suffice for are not run, and the result gives
    the reasons. An API key is read only from the environment (BYHEART_API_KEY). Raises `DataError`, `ModelError`,
    `SettingError` and `UnknownNameError`, with one line each.
    """
    settings = AuditSettings(attacks=attacks, max_texts=max_texts, max_tokens=max_tokens, fpr=fpr)
    texts = texts_by_part(members, nonmembers, validation)
    limits = RequestLimits(timeout=timeout, max_requests=max_requests)
    return run_endpoint_audit(Endpoint(url, limits), (model_name, base_name), texts, settings, tokenizer=tokenizer)


def run_endpoint_audit(
    endpoint: Endpoint,
    names: tuple[str, str | None],
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    on_progress: RequestProgressCallback = lambda _done, _all: None,
) -> Audit:
    """Return the audit of a model and its base model (None: no base model) by their names; closes the endpoint."""
    start_time = time.monotonic()
    with closing(endpoint):
        name, base = names
        if base == name:
            raise SettingError(
                f"--base-name {base}: this is the audited model. Name the base model that it was fine-tuned from, or remove --base-name."
            )
        attacks, left_out = servable_attacks(settings.attacks, base=base is not None)
        comparison = audit_comparison(
            texts,
            tokenizer,
            settings.metrics,
            max_texts=settings.max_texts,
            max_tokens=settings.max_tokens,
            fpr=settings.fpr,
        )
        observations = {n for a in attacks.values() for n in a.needs if n in SERVER_OBSERVATIONS} | {"target"}
        names_by_epoch = {BASE_EPOCH: base, FINETUNED_EPOCH: name} if base else {FINETUNED_EPOCH: name}
        _check_request_limit(endpoint, comparison, observations, len(names_by_epoch))
        on_text = _progress_counter(on_progress, _request_count(comparison, observations) * len(names_by_epoch))
        models = {e: EndpointModel(endpoint, n, settings.max_tokens, on_text) for e, n in names_by_epoch.items() if n}
        doubts = [
            *check_models_listed(endpoint, [n for n in (name, base) if n]),
            *probe_models(models.values(), comparison.split.audited),
        ]
        scores, stats, readings = _score_models(models, attacks, observations, comparison)
    spanning = sum(r.has_spanning_token for r in readings)
    if spanning:
        doubts.append(
            f"in {spanning} of {len(readings)} texts, one token contains the end of the prompt and the beginning of the scored text; "
            "it is not scored"
        )
    location = f"behind {endpoint.url}"
    weights = dict.fromkeys(names_by_epoch.values(), f"not shown, {location}")
    model = AuditedModel(f"{name} {location}", base or name, "endpoint", weights, tuple(doubts))
    recipe = {n: v for n, v in settings.recipe.items() if n not in {"precision", "token_budget"}}
    recipe |= {
        "timeout": endpoint.limits.timeout,
        "max_requests": endpoint.limits.max_requests,
        "requests": endpoint.requests_sent,
    }

    def pieces(i: int) -> list[Piece]:
        return text_pieces(readings[i].scored, readings[i].token_starts.tolist())

    truncated = sum(r.is_truncated for r in readings)
    results = AttackResults(attacks, left_out, scores, {}, stats, truncated, pieces)
    return build_audit(model, comparison, results, texts, recipe, start_time)


def _score_models(
    models: Mapping[int, EndpointModel],
    attacks: Mapping[str, Choice],
    observations: Iterable[str],
    comparison: AuditComparison,
) -> tuple[dict[int, dict[str, Scores]], dict[int, dict[str, Any]], list[ScoredText]]:
    """Return scores and log-probabilities by epoch, and the fine-tuned model's scored texts.

    Raises `ModelError` if model and base model give identical numbers or different tokens.
    """
    audited, readings = comparison.split.audited, list[ScoredText]()
    scores: dict[int, dict[str, Scores]] = {}
    stats: dict[int, dict[str, Any]] = {}
    for epoch, model in models.items():
        base_readings, readings = readings, model.read(audited)
        check_same_tokens(readings, base_readings or readings)
        scored_texts = Texts(audited.ids, tuple(r.scored for r in readings), audited.prompts)
        provider = ServerProvider(model, EndpointTexts(scored_texts, readings))
        make_evidence([choose("observations", name) for name in sorted(observations)], provider)
        evidence = provider.evidence
        if base_readings and np.array_equal(evidence["target"].logp, stats[BASE_EPOCH]["target"].logp):
            raise ModelError(MODEL_EQUALS_BASE)
        base = stats[BASE_EPOCH]["target"] if base_readings else evidence["target"]
        outputs = attack_outputs(attacks, {**evidence, "base": base, "texts": scored_texts}, len(readings))
        scores[epoch] = {n: arrays["scores"] for n, arrays in outputs.items()}
        stats[epoch] = {"target": evidence["target"]}
        if len(comparison.split.validation):
            stats[epoch]["validation"] = as_logprobs(model.read(comparison.split.validation))
    return scores, stats, readings


def _request_count(comparison: AuditComparison, observations: Iterable[str]) -> int:
    """Return the approximate number of requests for one model's evidence."""
    split = comparison.split
    return len(split.audited) * (1 + sum(EXTRA_REQUESTS.get(n, 0) for n in observations)) + len(split.validation)


def _check_request_limit(
    endpoint: Endpoint, comparison: AuditComparison, observations: Iterable[str], models: int
) -> None:
    """Raise `SettingError` before the first request if the audit requires more requests than allowed."""
    required = models * (_request_count(comparison, observations) + 3) + 1
    if required > endpoint.limits.max_requests:
        raise SettingError(
            f"--max-requests {endpoint.limits.max_requests}: this audit requires about {required} requests. Raise --max-requests, or "
            "lower --max-texts."
        )


def _progress_counter(on_progress: RequestProgressCallback, total: int) -> Callable[[], None]:
    done = 0

    def count_text() -> None:
        nonlocal done
        done = min(done + 1, total)
        on_progress(done, total)

    return count_text
