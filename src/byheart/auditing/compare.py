"""Choose which records an audit compares, and check whether they are comparable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byheart.auditing.texts import AuditedText, render_texts
from byheart.core.split_check import Gate
from byheart.core.types import NO_TEXTS, Split
from byheart.data.split_check import gate
from byheart.stats.leakage_tests import RecordLabels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

import math
from collections.abc import Sequence

from byheart.core.errors import DataError
from byheart.core.registry import Choice
from byheart.stats.roc_auc import allowed_false_positives


def measurable_metrics(metrics: Sequence[Choice], nonmembers: int) -> tuple[tuple[Choice, ...], list[str]]:
    """Return the metrics that so many non-members can realise, and in words what they cannot."""
    kept: list[Choice] = []
    doubts: list[str] = []
    for metric in metrics:
        fpr: float = metric.explicit_settings.get("fpr", 1.0)
        try:
            allowed_false_positives(nonmembers, fpr)
            kept.append(metric)
        except DataError:
            doubts.append(
                f"TPR at {100 * fpr:g} % FPR needs {math.ceil(1 / fpr - 1e-9)} non-members and there are {nonmembers}: it "
                "is left out; give more, or raise fpr"
            )
    return tuple(kept), doubts


MIN_GATE_GROUPS = 10
"""Groups a side that the data gate needs."""


MAX_DUPLICATE_CHECK_TEXTS = 20_000
"""Training texts among which near copies of non-members are looked for."""


class AuditComparison(NamedTuple):
    """Who is compared with whom, by which metrics, what the data gate says (None: too few), and what is doubtful."""

    split: Split
    record_labels: RecordLabels
    metrics: tuple[Choice, ...]
    gate: Gate | None
    doubts: tuple[str, ...]


def audit_comparison(
    texts: Mapping[str, Sequence[AuditedText]],
    tokenizer: PreTrainedTokenizerBase | None,
    metrics: Sequence[Choice],
    *,
    max_texts: int,
    max_tokens: int,
    fpr: float,
) -> AuditComparison:
    """Return what is compared of texts by their part ("member", "nonmember", ...), judged before any model reads.

    Without non-members nothing is compared: there are no metrics of attacks.

    Raises `DataError` as `given.spelled` does.
    """
    split, sides = _split(texts, tokenizer, max_texts)
    if not len(split.nonmembers):
        return AuditComparison(split, sides, (), None, ())
    kept, doubts = measurable_metrics(metrics, len(split.nonmembers))
    judged = _gate(split, sides, texts, tokenizer, max_tokens=max_tokens, fpr=fpr)
    return AuditComparison(split, sides, kept, judged, tuple(doubts))


def _split(
    texts: Mapping[str, Sequence[AuditedText]], tokenizer: PreTrainedTokenizerBase | None, most: int
) -> tuple[Split, RecordLabels]:
    """Return who plays which part, and the sides that are compared."""
    drawn = {part: render_texts(part, those, most, tokenizer) for part, those in texts.items()}
    (ours, our_groups), (theirs, their_groups) = drawn["member"], drawn.get("nonmember", (NO_TEXTS, ()))
    validation, validation_groups = drawn.get("validation", (NO_TEXTS, ()))
    split = Split(
        ours,
        tuple(range(len(ours))),
        theirs,
        validation,
        our_groups,
        their_groups,
        {},
        known_members=drawn.get("known_member", (NO_TEXTS, ()))[0],
        known_nonmembers=drawn.get("known_nonmember", (NO_TEXTS, ()))[0],
        validation_groups=validation_groups,
    )
    return split, RecordLabels(split.membership, split.groups)


def _gate(
    split: Split,
    record_labels: RecordLabels,
    texts: Mapping[str, Sequence[AuditedText]],
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    max_tokens: int,
    fpr: float,
) -> Gate | None:
    """Judge the audited texts, near copies being looked for among all members; None for too few to be judged."""
    groups = np.array(record_labels.groups)
    if min(len(set(groups[on])) for on in (record_labels.membership, ~record_labels.membership)) < MIN_GATE_GROUPS:
        return None
    whole, train_groups = render_texts("member", texts["member"], MAX_DUPLICATE_CHECK_TEXTS, tokenizer)
    at = {name: i for i, name in enumerate(whole.ids)}
    if all(name in at for name in split.train.ids):
        members = tuple(at[name] for name in split.train.ids)
        split = dataclasses.replace(split, train=whole, members=members, train_groups=train_groups)
        return gate(split, max_tokens=max_tokens, fpr=fpr)
    return gate(split, max_tokens=max_tokens, fpr=fpr)
