"""Audit a fine-tuned model: check, observe, attack, measure, judge. `byheart.audit` does this for objects in memory.

Every check that needs no model runs before a model is loaded.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from byheart.analysis.token_view import Piece, token_pieces
from byheart.auditing.attack_evidence import (
    available_inputs,
    check_known_texts_used,
    runnable_attacks,
)
from byheart.auditing.audit import Audit
from byheart.auditing.audited_split import audit_comparison
from byheart.auditing.canaries.measure import with_canaries
from byheart.auditing.canaries.texts import as_planted_set, canary_texts_by_part, planted_canaries
from byheart.auditing.conclude import AttackResults, AuditedModel, build_audit
from byheart.auditing.evaluate_models import TokensDifferError, evaluate_models
from byheart.auditing.pass_bounds import check_pass_bounds
from byheart.auditing.render_texts import check_chats_end_with_eos
from byheart.auditing.result import FINETUNED_EPOCH
from byheart.auditing.settings import AuditSettings
from byheart.auditing.target import AuditTarget, target_from_memory
from byheart.auditing.texts import AuditedText, ScoredResponse, texts_by_part
from byheart.core.attack_output import is_extraction_attack
from byheart.core.config import Tokenization
from byheart.core.errors import SettingError
from byheart.core.registry import Choice
from byheart.core.split import Split
from byheart.core.types import Texts
from byheart.data.canary_manifest import PlantedSet
from byheart.lm.tokens import texts_with_other_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def audit(  # noqa: PLR0913 - settings come in by keyword
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    members: Texts | Iterable[Any] | None = None,
    nonmembers: Texts | Iterable[Any] | None = None,
    *,
    canaries: PlantedSet | Path | str | None = None,
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
    pass_below: Mapping[str, float] | Sequence[str] = (),
    response: ScoredResponse = "chosen",
) -> Audit:
    """Audit a model in memory: can attacks distinguish `members`, which it was trained on, from `nonmembers`?

    Texts are strings, (prompt, completion) pairs, or records with `text`, `prompt` + `completion`, `messages`, or
    `instruction` + `output`; a record may have an `id` and a `group`. Without `nonmembers` the audit reports scores only:
    no rate and no verdict. `known_members` and `known_nonmembers` are known to the adversary and must not be audited too.
    The base model of a peft model is the model with the adapter disabled; for other models pass `base`. Without a
    base model, attacks that require one do not run, and the result reports this. `end_token` scores the tokenizer's EOS after
    every text that is not truncated, for a model that was trained so. The model is not changed.
    `tokenization` is how a prompt and its completion are tokenized: as one string, as trainers do, or apart.
    `response` is what is scored of preference pairs: "chosen", "rejected", "both" as one group, or "pair" for attacks on pairs.
    `canaries` of `byheart.plant`, or the path of their manifest, add exposure, TPR and a lower bound on epsilon; without
    `members`, the included canaries are the members, and the held-out ones the non-members.
    `pass_below`, such as {"auc": 0.55}, are bounds that all attacks must be shown to stay below (`Audit.is_passed`).
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
        pass_below=pass_below,
    )
    planted = None if canaries is None else as_planted_set(canaries)
    if members is None:
        texts = canary_texts_by_part(planted, nonmembers, validation, known_members, known_nonmembers)
    else:
        parts = (members, nonmembers, validation, known_members, known_nonmembers)
        texts = texts_by_part(*parts, response=response)
    return run_audit(target_from_memory(model, tokenizer, base), texts, settings, canaries=planted)


def _ignore_status(_: str) -> None:
    pass


def run_audit(
    target: AuditTarget,
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    on_status: Callable[[str], None] = _ignore_status,
    canaries: PlantedSet | None = None,
) -> Audit:
    """Return the audit of a target on texts by part ("member", "nonmember", "validation", ...), and on planted canaries.

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
    check_pass_bounds(settings.pass_below, comparison.record_labels, attacks, fpr=settings.fpr)
    if canaries is not None:
        planted = planted_canaries(canaries, target.tokenizer)
        comparison = comparison._replace(split=dataclasses.replace(comparison.split, planted=planted))
    try:
        results = evaluate_models(target, comparison.split, attacks, settings, on_status)
    except TokensDifferError as difference:
        target = _without_base(target, difference)
        attacks, left_out = _select_attacks(target, texts, settings)
        results = evaluate_models(target, comparison.split, attacks, settings, on_status)
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
    audit = build_audit(model, comparison, attack_results, texts, settings.recipe, start_time)
    measured = comparison.split.planted
    if canaries is None or measured is None:
        return audit
    return with_canaries(audit, canaries, measured, results, fpr=settings.fpr)


def _without_base(target: AuditTarget, difference: TokensDifferError) -> AuditTarget:
    """Return the target without its base model, and with the reason."""
    reason = (
        f"the base model tokenizes {difference} of the texts differently, for example because training added tokens"
    )
    doubts = (*target.doubts, f"{reason}, so the audit does not use it")
    return dataclasses.replace(target, open_base=None, doubts=doubts, why_no_base=reason)


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
    text_counts, inputs = available_inputs(
        texts, settings.max_texts, has_base=target.open_base is not None, method=target.method
    )
    attacks, left_out = runnable_attacks(settings.attacks, inputs, text_counts, target.why_no_base)
    check_known_texts_used(settings.attacks, inputs)
    if all(map(is_extraction_attack, attacks.values())):
        raise SettingError(
            f"attacks: {', '.join(attacks)} measure extraction only, and an audit judges membership. Add a membership attack, "
            "such as loss."
        )
    return attacks, left_out
