"""Evaluate the base model and the fine-tuned model of an audit: tokens, evidence, scores and extractions of each.

The base model is evaluated first and freed, so memory contains two models only if the caller loaded both, or if an attack reads
both at once (`reference_model`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from byheart.auditing.attack_evidence import attack_outputs, evidence_in_memory
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.settings import MODEL_EQUALS_BASE, AuditSettings
from byheart.auditing.target import AuditTarget, ModelOpener
from byheart.core.dependencies import INITIAL_INPUTS, TOKEN_INPUTS, required_observations
from byheart.core.errors import ModelError
from byheart.core.registry import Choice
from byheart.core.split import Split
from byheart.core.types import Extraction, Scores
from byheart.lm.contrastive import ReferenceModel
from byheart.lm.displacement_origin import adapter_origin
from byheart.lm.forward import Scorer
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.preserve_state import as_base_model
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import trunk


class TokensDifferError(Exception):
    """The base model tokenizes a number of texts differently: "3 of 40"."""


class ModelResults(NamedTuple):
    """Results of one model: tokens by part, evidence, passes over texts and canaries, scores and extractions."""

    tokens: Mapping[str, Tokens]
    evidence: Mapping[str, Any]
    stats: dict[str, Any]
    scores: dict[str, Scores]
    extractions: dict[str, Extraction]


def evaluate_models(
    target: AuditTarget,
    split: Split,
    attacks: Mapping[str, Choice],
    settings: AuditSettings,
    on_status: Callable[[str], None],
) -> dict[int, ModelResults]:
    """Return the results of the base model, if there is one, and of the fine-tuned model, by epoch."""
    results: dict[int, ModelResults] = {}
    for epoch, open_model in ((BASE_EPOCH, target.open_base), (FINETUNED_EPOCH, target.open_model)):
        if open_model is not None:
            base = results.get(BASE_EPOCH)
            results[epoch] = _evaluate(
                open_model, split, attacks, settings, target=target, base=base, epoch=epoch, on_status=on_status
            )
    return results


def _evaluate(
    open_model: ModelOpener,
    split: Split,
    attacks: Mapping[str, Choice],
    settings: AuditSettings,
    *,
    target: AuditTarget,
    base: ModelResults | None,
    epoch: int,
    on_status: Callable[[str], None],
) -> ModelResults:
    """Open a model, make the evidence and run the attacks; `base` are the base model's results, if it was evaluated.

    Raises `TokensDifferError` if the model tokenizes texts differently from its base model, `ModelError` for identical numbers.
    """
    is_base = epoch == BASE_EPOCH
    name = "base model" if is_base else "fine-tuned model"
    on_status(f"{name}: loading")
    observations = required_observations((n for a in attacks.values() for n in a.needs), "an attack")
    needs_reference = any("reference_model" in o.needs for o in observations)
    with open_model() as model, _reference(target, model, epoch) if needs_reference else nullcontext() as reference:
        trunk(model.module)
        scorer = Scorer(model, settings.token_budget, getattr(torch, settings.precision))
        tokens = _audit_tokens(model, split, settings, base.tokens if base else {})
        token_count = sum(len(t.ids) for t in tokens.values())
        on_status(
            f"{name}: scoring {sum(map(len, tokens.values())):,} texts ({token_count:,} tokens) for {len(attacks)} attacks"
        )
        inputs = {"model": scorer, **{need: tokens[part] for need, part in TOKEN_INPUTS.items() if part in tokens}}
        inputs |= {"base_model": scorer} if is_base else {}
        inputs |= {} if reference is None else {"reference_model": reference}
        inputs |= dict.fromkeys(INITIAL_INPUTS, {} if is_base else adapter_origin(model.module))
        evidence = evidence_in_memory(attacks, inputs, base.evidence if base else {}, is_base=is_base)
        if base and np.array_equal(evidence["target"].logp, base.evidence["target"].logp):
            raise ModelError(MODEL_EQUALS_BASE)
        stats = {"target": evidence["target"]}
        if "validation" in tokens:
            stats["validation"] = evidence.get("validation") or scorer(tokens["validation"])
        stats |= {part: scorer(tokens[part]) for part in ("canaries", "canary_references") if part in tokens}
    outputs = attack_outputs(attacks, {**evidence, "texts": tokens["audited"].texts}, len(split.audited))
    scores = {n: arrays["scores"] for n, arrays in outputs.items() if "extracted" not in arrays}
    extractions = {n: Extraction(**arrays) for n, arrays in outputs.items() if "extracted" in arrays}
    return ModelResults(tokens, evidence, stats, scores, extractions)


@contextmanager
def _reference(target: AuditTarget, model: LanguageModel, epoch: int) -> Generator[ReferenceModel | None]:
    """Open the base model beside an open model: the same module with its adapter disabled, or a second one in memory."""
    if epoch == BASE_EPOCH:
        yield ReferenceModel(model)
    elif target.is_adapter_on_base:
        yield ReferenceModel(model, partial(as_base_model, model.module))
    elif target.open_base is None:
        yield None
    else:
        with target.open_base() as base:
            yield ReferenceModel(base)


def _audit_tokens(
    model: LanguageModel, split: Split, settings: AuditSettings, base_tokens: Mapping[str, Tokens]
) -> dict[str, Tokens]:
    """Return the texts by part as this model's tokens; raises `TokensDifferError` if they differ from the base model's."""
    parts = (part for part in TOKEN_INPUTS.values() if len(split.parts[part]))
    tokens_by_part = {
        part: tokenize_for_model(
            model,
            split.parts[part],
            settings.max_tokens,
            token_format=settings.token_format,
        )
        for part in parts
    }
    pairs = [
        (base.ids[base.starts[i] : base.starts[i + 1]], own.ids[own.starts[i] : own.starts[i + 1]])
        for base, own in ((tokens, tokens_by_part[part]) for part, tokens in base_tokens.items())
        for i in range(len(own))
    ]
    if different := sum(not np.array_equal(*pair) for pair in pairs):
        raise TokensDifferError(f"{different} of {len(pairs)}")
    return tokens_by_part
