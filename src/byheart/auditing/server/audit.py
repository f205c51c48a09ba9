"""Audit a model behind a server: `byheart.audit_endpoint`. Computes the numbers of `byheart.audit` from a server's answers.

Before any scoring, the server must list the model, return log-probabilities of the prompt at the right positions, return the
same log-probabilities for text that it generates and reads, and repeat its answer for the same text. A server without
log-probabilities of the prompt is audited by its generated text.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.analysis.token_view import Piece, text_pieces
from byheart.auditing.audited_split import AuditComparison, audit_comparison
from byheart.auditing.conclude import NO_BASE, AttackResults, AuditedModel, build_audit
from byheart.auditing.pass_bounds import check_pass_bounds
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.server.checks import check_models_listed, probe_models
from byheart.auditing.server.client import Endpoint, RequestLimits
from byheart.auditing.server.evidence import EXTRA_REQUESTS
from byheart.auditing.server.logprobs import NoLogprobsError
from byheart.auditing.server.score import ServerResults, score_models, server_observations
from byheart.auditing.server.self_check import MAX_BEGINNINGS, check_reading
from byheart.auditing.server.servable_attacks import servable_attacks, text_attacks
from byheart.auditing.server.served_model import ChatOnlyError, EndpointModel
from byheart.auditing.settings import AuditSettings
from byheart.auditing.texts import AuditedText, texts_by_part
from byheart.core.errors import SettingError
from byheart.core.registry import Choice
from byheart.core.types import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from byheart.auditing.audit import Audit

CHECK_REQUESTS = 3 + 2 * MAX_BEGINNINGS
"""Number of requests that check one model, if few tokens of its text are comparable; usually 7 suffice."""
TEXT_ONLY = (
    "the server returns no log-probabilities of what it reads, so only attacks on generated text ran; they compare words, not "
    "tokens"
)
CHAT_ONLY = (
    "the server answers chats only, so only attacks on generated text ran; they compare words, not tokens, and the prompt or the "
    "first part of each text was sent as a user's message"
)

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
    pass_below: Mapping[str, float] | Sequence[str] = (),
) -> Audit:
    """Audit a model by its name at an OpenAI-compatible server, by its log-probabilities of prompts or else its generated text.

    Texts have the formats of `audit`; chats require the model's `tokenizer` for the chat template. `base_name` is the base
    model's name at the same server. `pass_below` are bounds as in `audit`. Attacks that a server's answers do not suffice for
    are not run, and the result gives the reasons. An API key is read only from the environment (BYHEART_API_KEY). Raises
    `DataError`, `ModelError`, `SettingError` and `UnknownNameError`, with one line each.
    """
    settings = AuditSettings(
        attacks=attacks, max_texts=max_texts, max_tokens=max_tokens, fpr=fpr, pass_below=pass_below
    )
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
    if settings.end_token:
        raise SettingError(
            "--end-token: a server's answers show no end token. Remove it, or audit the weights with --model."
        )
    with closing(endpoint):
        name, base = names
        if base == name:
            raise SettingError(
                f"--base-name {base}: this is the audited model. Name the base model that it was fine-tuned from, or remove --base-name."
            )
        answered = _answer(endpoint, names, texts, settings, tokenizer, on_progress)
    comparison, scored, doubts = answered.comparison, answered.results, [*answered.doubts]
    readings = scored.readings
    spanning = sum(r.has_spanning_token for r in readings)
    if spanning:
        doubts.append(
            f"in {spanning} of {len(readings)} texts, one token contains the end of the prompt and the beginning of the scored text; "
            "it is not scored"
        )
    if base is None and doubts:
        doubts.append(NO_BASE)
    location = f"behind {endpoint.url}"
    weights = dict.fromkeys([base, name] if base else [name], f"not shown, {location}")
    model = AuditedModel(f"{name} {location}", base or name, "endpoint", weights, tuple(doubts))
    recipe = {n: v for n, v in settings.recipe.items() if n not in {"precision", "token_budget", "end_token"}}
    recipe |= {
        "timeout": endpoint.limits.timeout,
        "max_requests": endpoint.limits.max_requests,
        "requests": endpoint.requests_sent,
    }

    def pieces(i: int) -> list[Piece]:
        # Only called for texts with log-probabilities.
        return text_pieces(readings[i].scored, readings[i].token_starts.tolist())

    truncated = sum(r.is_truncated for r in readings)
    results = AttackResults(
        answered.attacks, answered.left_out, scored.scores, scored.extractions, scored.stats, truncated, pieces
    )
    return build_audit(model, comparison, results, texts, recipe, start_time)


class _Answered(NamedTuple):
    """What a server's answers gave: the comparison, the attacks that ran, reasons for the others, results, and doubts."""

    comparison: AuditComparison
    attacks: Mapping[str, Choice]
    left_out: Mapping[str, str]
    results: ServerResults
    doubts: tuple[str, ...]


def _answer(
    endpoint: Endpoint,
    names: tuple[str, str | None],
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    tokenizer: PreTrainedTokenizerBase | None,
    on_progress: RequestProgressCallback,
) -> _Answered:
    """Check the server and run the attacks on its answers: on log-probabilities of what it reads, or else on generated text."""
    name, base = names
    attacks, left_out = servable_attacks(settings.attacks, base=base is not None)
    comparison = audit_comparison(
        texts,
        tokenizer,
        settings.metrics,
        max_texts=settings.max_texts,
        max_tokens=settings.max_tokens,
        fpr=settings.fpr,
    )
    check_pass_bounds(settings.pass_below, comparison.record_labels, attacks, fpr=settings.fpr)
    names_by_epoch = {BASE_EPOCH: base, FINETUNED_EPOCH: name} if base else {FINETUNED_EPOCH: name}
    requests = _request_count(comparison, server_observations(attacks, logprobs=True), logprobs=True)
    _check_request_limit(endpoint, requests, len(names_by_epoch))
    decode = None if tokenizer is None else lambda i: str(tokenizer.decode([i]))
    models = {e: EndpointModel(endpoint, n, settings.max_tokens, decode=decode) for e, n in names_by_epoch.items() if n}
    doubts = check_models_listed(endpoint, [n for n in (name, base) if n])
    repeat_difference = None
    try:
        probed = probe_models(models.values(), comparison.split.audited)
        doubts += [*probed.doubts, *check_reading(models.values(), comparison.split.audited)]
        repeat_difference = probed.repeat_difference
    except (NoLogprobsError, ChatOnlyError) as error:
        attacks, left_out = text_attacks(settings.attacks, error)
        requests = _request_count(comparison, server_observations(attacks, logprobs=False), logprobs=False)
        _check_request_limit(endpoint, requests, len(names_by_epoch))
        is_chat = isinstance(error, ChatOnlyError)
        models = {e: dataclasses.replace(m, is_chat=is_chat) for e, m in models.items()}
        doubts.append(CHAT_ONLY if is_chat else TEXT_ONLY)
    on_text = _progress_counter(on_progress, requests * len(names_by_epoch))
    models = {e: dataclasses.replace(m, on_text=on_text) for e, m in models.items()}
    results = score_models(models, attacks, comparison, repeat_difference)
    doubts += results.doubts
    if rejected := sorted(set().union(*(m.rejected for m in models.values()))):
        doubts.append(f"the server rejects {', '.join(rejected)}; it generates text with its own settings of these")
    return _Answered(comparison, attacks, left_out, results, tuple(doubts))


def _request_count(comparison: AuditComparison, observations: Iterable[str], *, logprobs: bool) -> int:
    """Return the approximate number of requests for one model's evidence."""
    split = comparison.split
    extra = len(split.audited) * sum(EXTRA_REQUESTS.get(n, 0) for n in observations)
    return extra + (len(split.audited) + len(split.validation) if logprobs else 0)


def _check_request_limit(endpoint: Endpoint, requests: int, models: int) -> None:
    """Raise `SettingError` if the audit requires more requests than allowed; `requests` are one model's."""
    required = models * (requests + CHECK_REQUESTS) + 1
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
