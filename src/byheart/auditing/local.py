"""Audit a fine-tuned model: check, observe, attack, measure, judge. `byheart.audit` does this for objects in memory.

Every check that needs no model runs before a model is loaded. The base model is evaluated first and freed, so memory
contains two models only if the caller loaded both.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from byheart.analysis.token_view import Piece, token_pieces
from byheart.auditing.attack_evidence import (
    attack_outputs,
    check_known_texts_used,
    evidence_in_memory,
    runnable_attacks,
)
from byheart.auditing.audit import Audit
from byheart.auditing.compare import audit_comparison
from byheart.auditing.conclude import AttackResults, AuditedModel, build_audit
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.settings import MODEL_EQUALS_BASE, AuditSettings
from byheart.auditing.target import AuditTarget, ModelOpener, target_from_memory
from byheart.auditing.texts import AuditedText, check_chats_end_with_eos, texts_by_part
from byheart.core.attack_output import is_extraction_attack
from byheart.core.config import Tokenization
from byheart.core.dependencies import TOKEN_INPUTS
from byheart.core.errors import ModelError, SettingError
from byheart.core.registry import Choice
from byheart.core.split import Split
from byheart.core.types import Extraction, Scores, Texts
from byheart.lm.forward import Scorer
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.tokens import Tokens, texts_with_other_tokens
from byheart.lm.trunk_and_head import trunk

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def audit(  # noqa: PLR0913 - settings come in by keyword
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    members: Texts | Iterable[Any],
    nonmembers: Texts | Iterable[Any] | None = None,
    *,
    base: torch.nn.Module | None = None,
    validation: Texts | Iterable[Any] | None = None,
    known_members: Texts | Iterable[Any] | None = None,
    known_nonmembers: Texts | Iterable[Any] | None = None,
    attacks: str | Sequence[str | Mapping[str, Mapping[str, Any]]] = "default",
    max_texts: int = 1000,
    max_tokens: int = 512,
    fpr: float = 0.01,
    precision: Literal["float32", "bfloat16"] = "float32",
    token_budget: int = 4096,
    end_token: bool = False,
    tokenization: Tokenization = "joined",
) -> Audit:
    """Audit a model in memory: can attacks distinguish `members`, which it was trained on, from `nonmembers`?

    Texts are strings, (prompt, completion) pairs, or records with `text`, `prompt` + `completion`, `messages`, or
    `instruction` + `output`; a record may have an `id` and a `group`. Without `nonmembers` the audit reports scores only:
    no rate and no verdict. `known_members` and `known_nonmembers` are known to the adversary and must not be audited too.
    The base model of a peft model is the model with the adapter disabled; for other models pass `base`. Without a
    base model, attacks that require one do not run, and the result reports this. `end_token` scores the tokenizer's EOS after
    every text that is not truncated, for a model that was trained so. The model is not changed.
    `tokenization` is how a prompt and its completion are tokenized: as one string, as trainers do, or apart.
    Raises `DataError`, `ModelError`, `SettingError` and `UnknownNameError`, with one line each.
    """
    settings = AuditSettings(
        attacks=attacks,
        max_texts=max_texts,
        max_tokens=max_tokens,
        fpr=fpr,
        precision=precision,
        token_budget=token_budget,
        end_token=end_token,
        tokenization=tokenization,
    )
    texts = texts_by_part(members, nonmembers, validation, known_members, known_nonmembers)
    return run_audit(target_from_memory(model, tokenizer, base), texts, settings)


class _TokensDifferError(Exception):
    """The base model tokenizes a number of texts differently: "3 of 40"."""


def _ignore_status(_: str) -> None:
    pass


def run_audit(
    target: AuditTarget,
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    on_status: Callable[[str], None] = _ignore_status,
) -> Audit:
    """Return the audit of a target on texts by part ("member", "nonmember", "validation", ...).

    `on_status` receives a line about each step.
    """
    start_time = time.monotonic()
    if settings.end_token:
        check_chats_end_with_eos(target.tokenizer, texts)
    attacks, left_out = _select_attacks(target, texts, settings)
    comparison = audit_comparison(
        texts,
        target.tokenizer,
        settings.metrics,
        max_texts=settings.max_texts,
        max_tokens=settings.max_tokens,
        fpr=settings.fpr,
    )
    try:
        results = _evaluate_models(target, comparison.split, attacks, settings, on_status)
    except _TokensDifferError as difference:
        target = _without_base(target, difference)
        attacks, left_out = _select_attacks(target, texts, settings)
        results = _evaluate_models(target, comparison.split, attacks, settings, on_status)
    tokens = results[FINETUNED_EPOCH].tokens["audited"]

    def pieces(i: int) -> list[Piece]:
        scored = tokens.ids[tokens.starts[i] + tokens.first[i] : tokens.starts[i + 1]]
        return token_pieces(scored.tolist(), target.tokenizer)

    attack_results = AttackResults(
        attacks,
        left_out,
        {epoch: r.scores for epoch, r in results.items()},
        {epoch: r.extractions for epoch, r in results.items()},
        {epoch: r.stats for epoch, r in results.items()},
        int((tokens.cut > 0).sum()),
        pieces,
    )
    doubts = (*target.doubts, *_tokenization_doubts(target, comparison.split, settings))
    model = AuditedModel(target.name, target.base_name, target.method, dict(target.hashes()), doubts)
    return build_audit(model, comparison, attack_results, texts, settings.recipe, start_time)


def _without_base(target: AuditTarget, difference: _TokensDifferError) -> AuditTarget:
    """Return the target without its base model, and with the reason."""
    reason = (
        f"the base model tokenizes {difference} of the texts differently, for example because training added tokens"
    )
    doubts = (*target.doubts, f"{reason}, so the audit does not use it")
    return dataclasses.replace(target, open_base=None, doubts=doubts, why_no_base=reason)


def _evaluate_models(
    target: AuditTarget,
    split: Split,
    attacks: Mapping[str, Choice],
    settings: AuditSettings,
    on_status: Callable[[str], None],
) -> dict[int, _ModelResults]:
    """Return the results of the base model, if there is one, and of the fine-tuned model, by epoch."""
    results: dict[int, _ModelResults] = {}
    for epoch, open_model in ((BASE_EPOCH, target.open_base), (FINETUNED_EPOCH, target.open_model)):
        if open_model is not None:
            base = results.get(BASE_EPOCH)
            results[epoch] = _evaluate(
                open_model, split, attacks, settings, base=base, epoch=epoch, on_status=on_status
            )
    return results


def _tokenization_doubts(target: AuditTarget, split: Split, settings: AuditSettings) -> tuple[str, ...]:
    """Return a warning if the tokens of prompts and completions depend on `tokenization`."""
    different = texts_with_other_tokens(target.tokenizer, split.audited)
    if not different:
        return ()
    other = "apart" if settings.tokenization == "joined" else "joined"
    doubt = (
        f"{different} of {len(split.audited)} texts have other tokens if prompt and completion are tokenized {other}; the audit "
        f"tokenizes them {settings.tokenization}. If training tokenized them {other}, set tokenization to {other}"
    )
    return (doubt,)


def _select_attacks(
    target: AuditTarget, texts: Mapping[str, Sequence[AuditedText]], settings: AuditSettings
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks that can run, and for each other attack the reason.

    Raises `DataError` if none can run or known texts are unused, `SettingError` if all are extraction attacks.
    """
    text_counts = {f"{part}_tokens": min(len(items), settings.max_texts) for part, items in texts.items()}
    inputs = (
        {"model", "tokens"} | ({"base_model"} if target.open_base else set()) | (text_counts.keys() & set(TOKEN_INPUTS))
    )
    attacks, left_out = runnable_attacks(settings.attacks, inputs, text_counts, target.why_no_base)
    check_known_texts_used(settings.attacks, text_counts)
    if all(map(is_extraction_attack, attacks.values())):
        raise SettingError(
            f"attacks: {', '.join(attacks)} measure extraction only, and an audit judges membership. Add a membership attack, "
            "such as loss."
        )
    return attacks, left_out


class _ModelResults(NamedTuple):
    """Results of one model: tokens by part, evidence, passes over audited and validation texts, scores and extractions."""

    tokens: Mapping[str, Tokens]
    evidence: Mapping[str, Any]
    stats: dict[str, Any]
    scores: dict[str, Scores]
    extractions: dict[str, Extraction]


def _evaluate(
    open_model: ModelOpener,
    split: Split,
    attacks: Mapping[str, Choice],
    settings: AuditSettings,
    *,
    base: _ModelResults | None,
    epoch: int,
    on_status: Callable[[str], None],
) -> _ModelResults:
    """Open a model, make the evidence and run the attacks; `base` are the base model's results, if it was evaluated.

    Raises `_TokensDifferError` if the model tokenizes texts differently from its base model, `ModelError` for identical numbers.
    """
    is_base = epoch == BASE_EPOCH
    name = "base model" if is_base else "fine-tuned model"
    on_status(f"{name}: loading")
    with open_model() as model:
        trunk(model.module)
        scorer = Scorer(model, settings.token_budget, getattr(torch, settings.precision))
        tokens = _audit_tokens(model, split, settings, base.tokens if base else {})
        token_count = sum(len(t.ids) for t in tokens.values())
        on_status(
            f"{name}: scoring {sum(map(len, tokens.values())):,} texts ({token_count:,} tokens) for {len(attacks)} attacks"
        )
        inputs = {"model": scorer, **{need: tokens[part] for need, part in TOKEN_INPUTS.items() if part in tokens}}
        inputs |= {"base_model": scorer} if is_base else {}
        evidence = evidence_in_memory(attacks, inputs, base.evidence if base else {}, is_base=is_base)
        if base and np.array_equal(evidence["target"].logp, base.evidence["target"].logp):
            raise ModelError(MODEL_EQUALS_BASE)
        stats = {"target": evidence["target"]}
        if "validation" in tokens:
            stats["validation"] = evidence.get("validation") or scorer(tokens["validation"])
    outputs = attack_outputs(attacks, {**evidence, "texts": tokens["audited"].texts}, len(split.audited))
    scores = {n: arrays["scores"] for n, arrays in outputs.items() if "extracted" not in arrays}
    extractions = {n: Extraction(**arrays) for n, arrays in outputs.items() if "extracted" in arrays}
    return _ModelResults(tokens, evidence, stats, scores, extractions)


def _audit_tokens(
    model: LanguageModel, split: Split, settings: AuditSettings, base_tokens: Mapping[str, Tokens]
) -> dict[str, Tokens]:
    """Return the texts by part as this model's tokens; raises `_TokensDifferError` if they differ from the base model's."""
    parts = (part for part in TOKEN_INPUTS.values() if len(split.parts[part]))
    tokens_by_part = {
        part: tokenize_for_model(
            model,
            split.parts[part],
            settings.max_tokens,
            end_token=settings.end_token,
            tokenization=settings.tokenization,
        )
        for part in parts
    }
    pairs = [
        (base.ids[base.starts[i] : base.starts[i + 1]], own.ids[own.starts[i] : own.starts[i + 1]])
        for base, own in ((tokens, tokens_by_part[part]) for part, tokens in base_tokens.items())
        for i in range(len(own))
    ]
    if different := sum(not np.array_equal(*pair) for pair in pairs):
        raise _TokensDifferError(f"{different} of {len(pairs)}")
    return tokens_by_part
