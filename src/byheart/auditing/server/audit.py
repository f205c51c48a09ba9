"""Audit a model behind a server: `byheart.audit_endpoint`. The numbers are those of `byheart.audit`, the evidence a server's answers.

Nothing is written and nothing is scored before the server has shown that it can be read: that it lists the model, gives
log-probabilities of what it reads, in their own places, and says the same of a text twice.
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
from byheart.auditing.server.client import Endpoint, RequestLimits
from byheart.auditing.server.evidence import (
    EXTRA_REQUESTS,
    SERVER_OBSERVATIONS,
    EndpointModel,
    EndpointTexts,
    ScoredText,
    ServerProvider,
    as_logprobs,
    servable_attacks,
)
from byheart.auditing.settings import MODEL_EQUALS_BASE, AuditSettings
from byheart.auditing.texts import AuditedText, texts_by_part
from byheart.core.errors import ModelError, SettingError, UnknownNameError
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice, choose
from byheart.core.types import Scores, Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from byheart.auditing.audit import Audit

MAX_PROBES = 8
"""Beginnings of texts that are sent until one shows that log-probabilities stand in their places."""
MIN_PROBE_CHARACTERS = 20
"""Characters that hold some tokens in any language."""
REPEAT_TOLERANCE = 1e-3
"""Nats a token by which a second answer may differ from the first without a word."""

RequestProgressCallback = Callable[[int, int], None]
"""What is told how many texts were read, of how many."""


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
    """Audit a model by its name at an OpenAI-compatible server that gives log-probabilities of its prompt.

    Texts are what `audit` takes; a chat needs the model's `tokenizer`, which writes it as the model reads it. The base is
    another name at the same server. Attacks for which a server's answers do not suffice are left out, which the result says. A
    key is read from the environment (BYHEART_API_KEY) alone. Raises `DataError`, `ModelError`, `SettingError` and
    `UnknownNameError` in one line each.
    """
    settings = AuditSettings(attacks=attacks, max_texts=max_texts, max_tokens=max_tokens, fpr=fpr)
    given = texts_by_part(members, nonmembers, validation)
    patience = RequestLimits(timeout=timeout, max_requests=max_requests)
    return run_endpoint_audit(Endpoint(url, patience), (model_name, base_name), given, settings, tokenizer=tokenizer)


def run_endpoint_audit(
    endpoint: Endpoint,
    names: tuple[str, str | None],
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    on_progress: RequestProgressCallback = lambda _done, _all: None,
) -> Audit:
    """Return the audit of a model and its base (None without one), by their names at an endpoint, which is closed afterwards."""
    began = time.monotonic()
    with closing(endpoint):
        name, base = names
        if base == name:
            raise SettingError(f"--base-name {base} is the model itself; name what it was tuned from, or leave it out")
        attacks, left_out = servable_attacks(settings.attacks, base=base is not None)
        seen = audit_comparison(
            texts,
            tokenizer,
            settings.metrics,
            max_texts=settings.max_texts,
            max_tokens=settings.max_tokens,
            fpr=settings.fpr,
        )
        wanted = {n for a in attacks.values() for n in a.needs if n in SERVER_OBSERVATIONS} | {"target"}
        models = {0: base, 1: name} if base else {1: name}
        _check_request_limit(endpoint, seen, wanted, len(models))
        tick = _progress_counter(on_progress, _request_count(seen, wanted) * len(models))
        served = {epoch: EndpointModel(endpoint, n, settings.max_tokens, tick) for epoch, n in models.items() if n}
        doubts = [
            *_check_models_listed(endpoint, [n for n in (name, base) if n]),
            *_probe_models(served.values(), seen.split.audited),
        ]
        scores, stats, read = _score_models(served, attacks, wanted, seen)
    spanned = sum(r.has_spanning_token for r in read)
    if spanned:
        doubts.append(
            f"in {spanned} of {len(read)} texts a token reaches from the prompt into what is scored; it is not scored"
        )
    at = f"behind {endpoint.url}"
    who = AuditedModel(
        f"{name} {at}", base or name, "endpoint", dict.fromkeys(models.values(), f"not shown, {at}"), tuple(doubts)
    )
    recipe = {n: v for n, v in settings.recipe.items() if n not in {"precision", "token_budget"}}
    recipe |= {
        "timeout": endpoint.limits.timeout,
        "max_requests": endpoint.limits.max_requests,
        "requests": endpoint.requests_sent,
    }

    def as_read(i: int) -> list[Piece]:
        return text_pieces(read[i].scored, read[i].token_starts.tolist())

    found = AttackResults(attacks, left_out, scores, {}, stats, sum(r.is_truncated for r in read), as_read)
    return build_audit(who, seen, found, texts, recipe, began)


def _score_models(
    models: Mapping[int, EndpointModel],
    attacks: Mapping[str, Choice],
    wanted: Iterable[str],
    comparison: AuditComparison,
) -> tuple[dict[int, dict[str, Scores]], dict[int, dict[str, Any]], list[ScoredText]]:
    """Return scores and passes by epoch, and how the model read the texts; raises `ModelError` where base and model are one."""
    audited, read = comparison.split.audited, list[ScoredText]()
    scores: dict[int, dict[str, Scores]] = {}
    stats: dict[int, dict[str, Any]] = {}
    for epoch, model in models.items():
        before, read = read, model.read(audited)
        _check_same_tokens(read, before or read)
        as_scored = Texts(audited.ids, tuple(r.scored for r in read), audited.prompts)
        provider = ServerProvider(model, EndpointTexts(as_scored, read))
        make_evidence([choose("observations", name) for name in sorted(wanted)], provider)
        made = provider.evidence
        if before and np.array_equal(made["target"].logp, stats[0]["target"].logp):
            raise ModelError(MODEL_EQUALS_BASE)
        base = stats[0]["target"] if before else made["target"]
        found = attack_outputs(attacks, {**made, "base": base, "texts": as_scored}, len(read))
        scores[epoch] = {n: given["scores"] for n, given in found.items()}
        stats[epoch] = {"target": made["target"]}
        if len(comparison.split.validation):
            stats[epoch]["validation"] = as_logprobs(model.read(comparison.split.validation))
    return scores, stats, read


def _request_count(comparison: AuditComparison, wanted: Iterable[str]) -> int:
    """Return how many answers one model's evidence takes."""
    split = comparison.split
    return len(split.audited) * (1 + sum(EXTRA_REQUESTS.get(n, 0) for n in wanted)) + len(split.validation)


def _check_request_limit(endpoint: Endpoint, comparison: AuditComparison, wanted: Iterable[str], models: int) -> None:
    """Raise `SettingError` where the limit would end the audit halfway, before anything is sent."""
    needed = models * (_request_count(comparison, wanted) + 3) + 1
    if needed > endpoint.limits.max_requests:
        raise SettingError(
            f"this audit takes about {needed} requests, and {endpoint.limits.max_requests} are allowed; raise --max-requests, or "
            "lower --max-texts"
        )


def _progress_counter(on_progress: RequestProgressCallback, total: int) -> Callable[[], None]:
    done = [0]

    def tick() -> None:
        done[0] = min(done[0] + 1, total)
        on_progress(done[0], total)

    return tick


def _check_models_listed(endpoint: Endpoint, names: Sequence[str]) -> list[str]:
    """Refuse a name that the server does not list (some answer with another model then); say where it lists none."""
    known = endpoint.models()
    if known is None:
        return [f"{endpoint.url} lists no models, so that {', '.join(names)} answered is its word"]
    for name in names:
        if name not in known:
            raise UnknownNameError(f"the model at {endpoint.url}", name, known)
    return []


def _probe_models(models: Iterable[EndpointModel], texts: Texts) -> list[str]:
    """Read a few beginnings by each model, the first twice; return what is doubtful.

    Raises `ModelError` where no answer shows that log-probabilities stand in their places.
    """
    doubts: list[str] = []
    for model in models:
        apart = 0.0
        for i in range(min(MAX_PROBES, len(texts))):
            begun = Texts((texts.ids[i],), (_half(texts.scored[i]),), (texts.prompts[i],))
            first = _read_one(model, begun)
            if i == 0:
                again = _read_one(model, begun)
                _check_same_tokens([first], [again])
                apart = float(np.abs(first.logp - again.logp).max())
            if first.is_alignment_confirmed:
                break
        else:
            raise ModelError(
                f"{model.endpoint.url}: {model.name} wrote nothing after {min(MAX_PROBES, len(texts))} beginnings of texts by which it could "
                "be told whether its log-probabilities stand in their places"
            )
        if apart > REPEAT_TOLERANCE:
            doubts.append(
                f"{model.name} gives the same text other log-probabilities when it is sent again (up to {apart:.2g} nats a token)"
            )
    return doubts


def _half(text: str) -> str:
    """Return the first half of a text: a model that was trained on it often ends after the whole. A short one stays whole."""
    half = text[: len(text) // 2]
    return half if len(half.strip()) >= MIN_PROBE_CHARACTERS else text


def _read_one(model: EndpointModel, text: Texts) -> ScoredText:
    return EndpointModel(model.endpoint, model.name, model.max_tokens).read(text)[0]


def _check_same_tokens(read: Sequence[ScoredText], before: Sequence[ScoredText]) -> None:
    """Raise `ModelError` where a model reads the texts as other tokens than its base."""
    if any(one.tokens != other.tokens for one, other in zip(read, before, strict=True)):
        raise ModelError(
            "model and base read the texts as other tokens, or other parts of them, so they cannot be compared; name the base that it "
            "was tuned from"
        )
