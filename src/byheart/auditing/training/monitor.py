"""One look at a model that is being trained elsewhere: observe, attack, measure, and leave it as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from peft import PeftModel, PeftType

from byheart.auditing.attack_evidence import (
    attack_outputs,
    evidence_in_memory,
    extraction_metrics,
    parse_attacks,
    runnable_attacks,
)
from byheart.auditing.compare import measurable_metrics
from byheart.auditing.texts import AuditedText, render_texts
from byheart.auditing.training.alarms import Evaluation
from byheart.core.attack_output import is_extraction_attack
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import Choice, choose
from byheart.core.row import build_row
from byheart.core.types import Estimate, Row, Texts
from byheart.lm.finetuned import PEFT_METHOD_NAMES
from byheart.lm.forward import Scorer, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.preserve_state import as_base_model, preserve_training_state
from byheart.lm.tokens import Tokens
from byheart.stats.leakage_tests import MIN_GROUPS_PER_CLASS, RecordLabels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainingArguments

INPUTS = ("model", "base_model", "tokens")
"""What an observation may ask for here."""


@dataclass(frozen=True, eq=False)
class TrainingMonitor:
    """A model in training with what is done at each look. `before` is what the first look observed."""

    scorer: Scorer
    tokens: Tokens
    record_labels: RecordLabels
    validation: Tokens | None
    validation_groups: tuple[str, ...]
    attacks: Mapping[str, Choice]
    metrics: tuple[Choice, ...]
    seed: int
    is_stepwise: bool
    doubts: tuple[str, ...] = ()
    base_evidence: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def module(self) -> torch.nn.Module:
        """The model."""
        return self.scorer.model.module

    def evaluate(self, step: int, epoch: float, *, is_first: bool = False) -> Evaluation:
        """Look at the model; the `first` time at what it was tuned from, an adapter switched off, which is kept.

        Raises `ModelError` or `CellError` where its numbers are not finite.
        """
        with preserve_training_state(self.module), as_base_model(self.module) if is_first else nullcontext():
            given = {"model": self.scorer, "base_model": self.scorer, "tokens": self.tokens}
            observed = evidence_in_memory(self.attacks, given, self.base_evidence, is_base=is_first)
            validation = None if self.validation is None else self.scorer(self.validation)
        if is_first:
            self.base_evidence.update(observed)
        found = attack_outputs(self.attacks, {**observed, "texts": self.tokens.texts}, len(self.tokens.texts))
        rows: list[Row] = []
        if validation is not None:
            metric = choose("metrics", "perplexity")
            rows.append(self._row(step, epoch, metric, metric(validation, self.validation_groups)))
        for name, attack in self.attacks.items():
            rows += [
                self._row(step, epoch, m, m(found[name]["scores"], *self.record_labels), attack) for m in self.metrics
            ]
            for metric in extraction_metrics() if is_extraction_attack(attack) else ():
                rows.append(
                    self._row(step, epoch, metric, metric(found[name]["extracted"], *self.record_labels), attack)
                )
        return Evaluation(step, epoch, {name: given["scores"] for name, given in found.items()}, tuple(rows))

    def _row(self, step: int, epoch: float, metric: Choice, estimate: Estimate, attack: Choice | None = None) -> Row:
        module: Any = self.module
        method = PeftType(module.active_peft_config.peft_type).value if isinstance(module, PeftModel) else "full"
        labels = {
            "base": self.scorer.model.name,
            "dataset": "texts",
            "dataset_settings": "",
            "method": PEFT_METHOD_NAMES.get(method.lower(), method.lower()),
            "method_settings": "",
            # A row has no step: where looks come within an epoch, it is what tells them apart.
            "training_settings": f"step={step}" if self.is_stepwise else "",
            "seed": self.seed,
            "cell": "",
        }
        # The trainer adds up shares of an epoch.
        return build_row(labels, math.floor(epoch + 1e-6), metric, estimate, attack)


def create_monitor(  # noqa: PLR0913 - what a callback was told, and what its trainer holds
    module: torch.nn.Module,
    processing_class: Any,
    parts: Mapping[str, Sequence[AuditedText]],
    *,
    args: TrainingArguments,
    attacks: Mapping[str, Choice],
    metrics: tuple[Choice, ...],
    is_stepwise: bool,
    max_texts: int,
    max_tokens: int,
    token_budget: int,
) -> TrainingMonitor:
    """Return what is to be looked at. `holder` is the tokenizer, or a processor that holds it.

    Raises `ModelError` for a model that cannot be read, `DataError` where there is no tokenizer, or one without the chat
    template that the texts need.
    """
    trunk(module)
    tokenizer, config = text_tokenizer(processing_class), cast("Any", module).config
    model = LanguageModel(module, tokenizer, config.name_or_path or type(module).__name__)
    spelt = {part: render_texts(part, texts, max_texts, tokenizer) for part, texts in parts.items()}
    (ours, our_groups), (theirs, their_groups) = spelt["member"], spelt["nonmember"]
    audited = Texts(ours.ids + theirs.ids, ours.scored + theirs.scored, ours.prompts + theirs.prompts)
    sides = RecordLabels(np.arange(len(audited)) < len(ours), our_groups + their_groups)
    resolved, doubts = measurable_metrics(metrics, len(theirs))
    if not sides.has_enough_groups:
        doubts.append(
            f"fewer than {MIN_GROUPS_PER_CLASS} texts a side, so no verdict, no warning and no stop; numbers are logged with their "
            f"intervals. {MIN_GROUPS_PER_CLASS} a side tell an AUC of 0.76 from chance, 200 one of 0.58"
        )
    tokens = tokenize_for_model(model, audited, max_tokens)
    if cut := int((tokens.cut > 0).sum()):
        doubts.append(
            f"{cut} of {len(audited)} texts are longer than {int(tokens.lengths.max())} tokens; their rest is not read"
        )
    # What training computes in: base and target are then rounded alike, whatever wraps them.
    precision = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
    return TrainingMonitor(
        Scorer(model, token_budget, precision),
        tokens,
        sides,
        tokenize_for_model(model, spelt["validation"][0], max_tokens) if "validation" in spelt else None,
        spelt["validation"][1] if "validation" in spelt else (),
        attacks,
        resolved,
        args.seed,
        is_stepwise,
        tuple(doubts),
    )


def observable_attacks(attacks: Any) -> dict[str, Choice]:
    """Return attacks by their names with what is set of them, from "default", or a list of names and {name: {setting: value}}.

    Raises `SettingError` for one named twice, or one that needs what cannot be observed in the middle of training,
    `UnknownNameError` for one that does not exist.
    """
    found = parse_attacks(attacks)
    left = runnable_attacks(found, set(INPUTS))[1]
    if left:
        name, why = next(iter(left.items()))
        raise SettingError(f"attacks: {name} {why}")
    return found


def text_tokenizer(processing_class: Any) -> PreTrainedTokenizerBase:
    """Return the tokenizer among what a trainer holds: itself, or that of a processor of texts and pictures.

    Raises `DataError` where there is none.
    """
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

    if isinstance(processing_class, ProcessorMixin):
        processing_class = processing_class.__dict__.get("tokenizer")
    if not isinstance(processing_class, PreTrainedTokenizerBase):
        raise DataError("the trainer holds no tokenizer; pass one: MemorizationCallback(..., tokenizer=tokenizer)")
    return processing_class
