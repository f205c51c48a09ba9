"""Audit a finished model: check, observe, attack, measure, judge. `byheart.audit` is this on objects in memory.

What can be refused without the model is refused before it is opened; the base is observed first and let go, so that two
models are never in memory unless they were there before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

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
from byheart.auditing.settings import MODEL_EQUALS_BASE, AuditSettings
from byheart.auditing.target import AuditTarget, target_from_memory
from byheart.auditing.texts import AuditedText, texts_by_part
from byheart.core.attack_output import is_extraction_attack
from byheart.core.dependencies import TOKEN_INPUTS
from byheart.core.errors import ModelError, SettingError
from byheart.core.types import Extraction, Scores, Split, Texts
from byheart.lm.forward import Scorer, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.tokens import Tokens

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
) -> Audit:
    """Audit a model in memory: was it trained on `members`, so far as the usual attacks can tell?

    Without `nonmembers` there are scores, beside the base's, and no rate and no verdict.
    Texts are strings, (prompt, completion) pairs, or records with `text`, `prompt` + `completion`, `messages` or Alpaca's
    fields, and may name their `id` and `group`. The known ones are an adversary's, for attacks that need some; none of them
    may be audited too. The base of a peft model is itself with the adapter switched off, of
    another model it is `base`; without one, attacks that need it are left out, which the result says. The model is left
    as it was. Raises `DataError`, `ModelError`, `SettingError` and `UnknownNameError` in one line each.
    """
    settings = AuditSettings(
        attacks=attacks,
        max_texts=max_texts,
        max_tokens=max_tokens,
        fpr=fpr,
        precision=precision,
        token_budget=token_budget,
    )
    texts = texts_by_part(members, nonmembers, validation, known_members, known_nonmembers)
    return run_audit(target_from_memory(model, tokenizer, base), texts, settings)


def _ignore_status(_: str) -> None:
    pass


def run_audit(
    target: AuditTarget,
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    on_status: Callable[[str], None] = _ignore_status,
) -> Audit:
    """Return the audit of a subject on texts by their part ("member", "nonmember", "validation"); `tell` hears what is done."""
    began = time.monotonic()
    inputs = {"model", "tokens"} | ({"base_model"} if target.open_base else set())
    others = {f"{part}_tokens": min(len(those), settings.max_texts) for part, those in texts.items()}
    attacks, left_out = runnable_attacks(settings.attacks, inputs | (others.keys() & set(TOKEN_INPUTS)), others)
    check_known_texts_used(settings.attacks, others)
    if all(map(is_extraction_attack, attacks.values())):
        raise SettingError(
            f"attacks: {', '.join(attacks)} tell what a model writes of its texts and not whether it was trained on them, which "
            "is what an audit judges; name one more, such as loss"
        )
    seen = audit_comparison(
        texts,
        target.tokenizer,
        settings.metrics,
        max_texts=settings.max_texts,
        max_tokens=settings.max_tokens,
        fpr=settings.fpr,
    )
    split = seen.split
    scores: dict[int, dict[str, Scores]] = {}
    extractions: dict[int, dict[str, Extraction]] = {}
    known: dict[str, Any] = {}
    stats: dict[int, dict[str, Any]] = {}
    read: dict[str, Tokens] = {}
    for epoch, opening in ((0, target.open_base), (1, target.open_model)):
        if opening is None:
            continue
        which = "model" if epoch else "base"
        on_status(f"{which}: loading")
        with opening() as model:
            trunk(model.module)
            scorer = Scorer(model, settings.token_budget, getattr(torch, settings.precision))
            read = _audit_tokens(model, split, settings, read)
            words = sum(len(t.ids) for t in read.values())
            on_status(
                f"{which}: reading {sum(map(len, read.values())):,} texts, {words:,} tokens, for {len(attacks)} attacks"
            )
            given = {"model": scorer, **{need: read[part] for need, part in TOKEN_INPUTS.items() if part in read}}
            given |= {"base_model": scorer} if epoch == 0 else {}
            observed = evidence_in_memory(attacks, given, known, is_base=epoch == 0)
            if epoch and known and np.array_equal(observed["target"].logp, known["target"].logp):
                raise ModelError(MODEL_EQUALS_BASE)
            stats[epoch] = {"target": observed["target"]}
            if "validation" in read:
                stats[epoch]["validation"] = observed.get("validation") or scorer(read["validation"])
        known = observed
        gave = attack_outputs(attacks, {**observed, "texts": read["audited"].texts}, len(split.audited))
        scores[epoch] = {n: one["scores"] for n, one in gave.items() if "extracted" not in one}
        extractions[epoch] = {n: Extraction(**one) for n, one in gave.items() if "extracted" in one}
    who = AuditedModel(target.name, target.base_name, target.method, dict(target.hashes()), target.doubts)
    tokens = read["audited"]

    def as_read(i: int) -> list[Piece]:
        return token_pieces(
            tokens.ids[tokens.starts[i] + tokens.first[i] : tokens.starts[i + 1]].tolist(), target.tokenizer
        )

    cut = int((tokens.cut > 0).sum())
    found = AttackResults(attacks, left_out, scores, extractions, stats, cut, as_read)
    return build_audit(who, seen, found, texts, settings.recipe, began)


def _audit_tokens(
    model: LanguageModel, split: Split, settings: AuditSettings, base_tokens: Mapping[str, Tokens]
) -> dict[str, Tokens]:
    """Return the texts as this model's tokens; raises `ModelError` where its base, `before`, reads others."""
    kinds = (part for part in TOKEN_INPUTS.values() if len(split.parts[part]))
    read = {part: tokenize_for_model(model, split.parts[part], settings.max_tokens) for part in kinds}
    for part, tokens in base_tokens.items():
        if not np.array_equal(tokens.ids, read[part].ids):
            raise ModelError(
                "model and base read the texts as other tokens, so they cannot be compared; name the base that it was tuned from"
            )
    return read
