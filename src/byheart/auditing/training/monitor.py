"""Evaluate a model during training: observe, attack, measure, and leave the model unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import PeftModel, PeftType

from byheart.auditing.attack_evidence import (
    attack_outputs,
    evidence_in_memory,
    extraction_metrics,
    parse_attacks,
    runnable_attacks,
)
from byheart.auditing.audited_split import are_canaries, measurable_metrics, split_of_given_parts
from byheart.auditing.texts import AuditedText
from byheart.auditing.training.alarms import Evaluation
from byheart.auditing.training.canaries import WatchedCanaries, watch_canaries
from byheart.core.attack_output import is_extraction_attack
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import Choice, choose
from byheart.core.row import build_row
from byheart.core.split import Split
from byheart.core.split_check import Gate
from byheart.core.types import Estimate, Row
from byheart.data.canary_manifest import PlantedSet
from byheart.data.split_check import gate, of_canaries
from byheart.lm.finetuned import PEFT_METHOD_NAMES
from byheart.lm.forward import Scorer
from byheart.lm.in_memory import check_causal_module
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.preserve_state import as_base_model, preserve_training_state, why_no_base
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import trunk
from byheart.stats.leakage_tests import MIN_GROUPS_FOR_VERDICT, RecordLabels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainingArguments

INPUTS = ("model", "base_model", "tokens")
"""Inputs that observations may request during training."""


@dataclass(frozen=True, eq=False)
class TrainingMonitor:
    """A model in training with the texts, attacks and metrics of each evaluation.

    `has_canaries_only`: members and non-members are canaries.
    `base_evidence` is the evidence of the first evaluation. Rows name the step if `is_stepwise`: evaluations are inside epochs, or
    the training data have no length.
    """

    scorer: Scorer
    tokens: Tokens
    split: Split
    record_labels: RecordLabels
    validation: Tokens | None
    attacks: Mapping[str, Choice]
    metrics: tuple[Choice, ...]
    seed: int
    is_stepwise: bool
    doubts: tuple[str, ...] = ()
    canaries: WatchedCanaries | None = None
    has_canaries_only: bool = False
    base_evidence: dict[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def gate(self) -> Gate | None:
        """The split check of the audited texts, computed once in a run; None for too few groups for the blind classifiers."""
        if not self.record_labels.has_enough_groups:
            return None
        texts, members = self.tokens.texts, len(self.split.members)  # the texts that the model reads
        train, nonmembers = texts.take(range(members)), texts.take(range(members, len(texts)))
        checked = gate(replace(self.split, train=train, nonmembers=nonmembers))
        return of_canaries(checked) if self.has_canaries_only else checked

    @property
    def module(self) -> torch.nn.Module:
        """The model."""
        return self.scorer.model.module

    def evaluate(self, step: int, epoch: float, *, is_first: bool = False) -> Evaluation:
        """Evaluate the model. The first evaluation is of the base model (an adapter is disabled) and stores its evidence.

        Raises `ModelError` or `CellError` for numbers that are not finite.
        """
        # Before its first step, a model with an adapter like PiSSA's equals its base only with the adapter enabled.
        is_disabled = is_first and not why_no_base(self.module)
        with preserve_training_state(self.module), as_base_model(self.module) if is_disabled else nullcontext():
            inputs = {"model": self.scorer, "base_model": self.scorer, "tokens": self.tokens}
            evidence = evidence_in_memory(self.attacks, inputs, self.base_evidence, is_base=is_first)
            validation = None if self.validation is None else self.scorer(self.validation)
            canary_stats = None if self.canaries is None else self.canaries.score(self.scorer)
        if is_first:
            self.base_evidence.update(evidence)
        outputs = attack_outputs(self.attacks, {**evidence, "texts": self.tokens.texts}, len(self.tokens.texts))
        rows: list[Row] = []
        if validation is not None:
            metric = choose("metrics", "perplexity")
            rows.append(self._row(step, epoch, metric, metric(validation, self.split.validation_groups)))
        if self.canaries is not None and canary_stats is not None:
            measured = self.canaries.measure(canary_stats, is_first=is_first)
            rows += [self._row(step, epoch, metric, estimate) for metric, estimate in measured]
        for name, attack in self.attacks.items():
            rows += [
                self._row(step, epoch, m, m(outputs[name]["scores"], *self.record_labels), attack) for m in self.metrics
            ]
            for metric in extraction_metrics() if is_extraction_attack(attack) else ():
                rows.append(
                    self._row(step, epoch, metric, metric(outputs[name]["extracted"], *self.record_labels), attack)
                )
        return Evaluation(step, epoch, {name: arrays["scores"] for name, arrays in outputs.items()}, tuple(rows))

    def _row(self, step: int, epoch: float, metric: Choice, estimate: Estimate, attack: Choice | None = None) -> Row:
        module: Any = self.module
        method = PeftType(module.active_peft_config.peft_type).value if isinstance(module, PeftModel) else "full"
        labels = {
            "base": self.scorer.model.name,
            "dataset": "texts",
            "dataset_settings": "",
            "method": PEFT_METHOD_NAMES.get(method.lower(), method.lower()),
            "method_settings": "",
            # A row has no step, so this distinguishes evaluations within one epoch, or within a stream without epochs.
            "training_settings": f"step={step}" if self.is_stepwise else "",
            "seed": self.seed,
            "cell": "",
        }
        return build_row(labels, _epoch_label(epoch), metric, estimate, attack)


def _epoch_label(epoch: float) -> float:
    """Return the epoch as an integer where it is whole, up to the rounding of the trainer's sums of fractions."""
    return round(epoch) if math.isclose(epoch, round(epoch), abs_tol=1e-6) else round(epoch, 6)


def create_monitor(  # noqa: PLR0913 - settings of a callback and of its trainer
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
    canaries: PlantedSet | None = None,
    fpr: float = 0.01,
) -> TrainingMonitor:
    """Return a monitor of a model; `processing_class` is its tokenizer, or a processor that contains it.

    Raises `ModelError` for an unsupported model, `DataError` without a tokenizer or without a required chat template.
    """
    trunk(module)
    check_causal_module(module)
    tokenizer, config = text_tokenizer(processing_class), cast("Any", module).config
    model = LanguageModel(module, tokenizer, config.name_or_path or type(module).__name__)
    split, record_labels = split_of_given_parts(parts, tokenizer, max_texts)
    measurable, doubts = measurable_metrics(metrics, len(split.nonmembers))
    if not record_labels.has_enough_groups:
        doubts.append(
            f"fewer than {MIN_GROUPS_FOR_VERDICT} independent texts per class: verdict, warnings and early stopping are disabled; numbers "
            f"are logged with their intervals. With {MIN_GROUPS_FOR_VERDICT} per class an AUC of 0.76 is detectable, with 200 one of 0.58"
        )
    tokens = tokenize_for_model(model, split.audited, max_tokens)
    if cut := int((tokens.cut > 0).sum()):
        doubts.append(
            f"{cut} of {len(tokens)} texts are longer than {int(tokens.lengths.max())} tokens; they are truncated"
        )
    # The precision of the training, so that base and target model are rounded alike.
    precision = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
    return TrainingMonitor(
        Scorer(model, token_budget, precision),
        tokens,
        split,
        record_labels,
        tokenize_for_model(model, split.validation, max_tokens) if len(split.validation) else None,
        attacks,
        measurable,
        args.seed,
        is_stepwise,
        tuple(doubts),
        None
        if canaries is None
        else watch_canaries(canaries, model, max_texts=max_texts, max_tokens=max_tokens, fpr=fpr),
        are_canaries(parts),
    )


def observable_attacks(attacks: Any) -> dict[str, Choice]:
    """Return attacks by name with their settings, from "default", or a list of names and {name: {setting: value}}.

    Raises `SettingError` for duplicates and for attacks that cannot run during training, `UnknownNameError` for unknown
    attacks.
    """
    choices = parse_attacks(attacks)
    not_runnable = runnable_attacks(choices, set(INPUTS))[1]
    if not_runnable:
        name, reason = next(iter(not_runnable.items()))
        raise SettingError(f"attacks: {name} cannot run during training: it {reason}. Remove it.")
    return choices


def text_tokenizer(processing_class: Any) -> PreTrainedTokenizerBase:
    """Return a trainer's tokenizer: its `processing_class`, or the tokenizer of a multimodal processor.

    Raises `DataError` without one.
    """
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

    if isinstance(processing_class, ProcessorMixin):
        processing_class = processing_class.__dict__.get("tokenizer")
    if not isinstance(processing_class, PreTrainedTokenizerBase):
        raise DataError(
            "MemorizationCallback: the trainer has no tokenizer. Pass one: MemorizationCallback(..., tokenizer=tokenizer)."
        )
    return processing_class
