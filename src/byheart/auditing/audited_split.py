"""Choose which records an audit compares, and check whether they are comparable."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byheart.auditing.render_texts import render_texts
from byheart.auditing.texts import AuditedText
from byheart.core.errors import DataError
from byheart.core.registry import Choice
from byheart.core.split import Split
from byheart.core.split_check import Gate
from byheart.core.types import NO_TEXTS
from byheart.data.blind_baselines import MIN_GROUPS_FOR_SPLIT_CHECK
from byheart.data.split_check import gate, of_canaries
from byheart.stats.leakage_tests import RecordLabels
from byheart.stats.roc_auc import allowed_false_positives

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def measurable_metrics(
    metrics: Sequence[Choice], nonmembers: int, *, is_limited: bool = False
) -> tuple[tuple[Choice, ...], list[str]]:
    """Return the metrics that this number of non-members can resolve, and a warning for each other metric.

    `is_limited` is whether `max_texts` left non-members out.
    """
    measurable: list[Choice] = []
    doubts: list[str] = []
    for metric in metrics:
        fpr: float = metric.explicit_settings.get("fpr", 1.0)
        try:
            allowed_false_positives(nonmembers, fpr)
            measurable.append(metric)
        except DataError:
            fix = "raise --max-texts (in Python max_texts)" if is_limited else "provide more non-members"
            doubts.append(
                f"TPR at {100 * fpr:g} % FPR is not computed: it requires {math.ceil(1 / fpr - 1e-9)} non-members, and there are "
                f"{nonmembers}; {fix}, or raise the rate (--fpr; in Python fpr=)"
            )
    return tuple(measurable), doubts


MAX_DUPLICATE_CHECK_TEXTS = 20_000
"""Maximum number of training texts that are searched for near duplicates of non-members."""


class AuditComparison(NamedTuple):
    """The compared records, the metrics, the gate of the split check (None: too few groups), and doubts."""

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
    has_texts: bool = True,
) -> AuditComparison:
    """Return the comparison of texts by part ("member", "nonmember", ...), with the split check; no model is needed.

    Without non-members there are no attack metrics and no gate. Without `has_texts`, the records' contents are not their texts, and there
    is no gate. Raises `DataError` as `render_texts` does.
    """
    split, record_labels = split_of_given_parts(texts, tokenizer, max_texts)
    if not len(split.nonmembers):
        return AuditComparison(split, record_labels, (), None, ())
    is_limited = len(split.nonmembers) < len(texts["nonmember"])
    measurable, doubts = measurable_metrics(metrics, len(split.nonmembers), is_limited=is_limited)
    checked = _gate(split, record_labels, texts, tokenizer, max_tokens=max_tokens, fpr=fpr) if has_texts else None
    return AuditComparison(split, record_labels, measurable, checked, tuple(doubts))


def split_of_given_parts(
    texts: Mapping[str, Sequence[AuditedText]], tokenizer: PreTrainedTokenizerBase | None, max_texts: int
) -> tuple[Split, RecordLabels]:
    """Return the split of at most `max_texts` texts per part, and membership and groups of the audited texts."""
    rendered = {part: render_texts(part, part_texts, max_texts, tokenizer) for part, part_texts in texts.items()}
    members, member_groups = rendered["member"]
    nonmembers, nonmember_groups = rendered.get("nonmember", (NO_TEXTS, ()))
    validation, validation_groups = rendered.get("validation", (NO_TEXTS, ()))
    split = Split(
        members,
        tuple(range(len(members))),
        nonmembers,
        validation,
        member_groups,
        nonmember_groups,
        {},
        known_members=rendered.get("known_member", (NO_TEXTS, ()))[0],
        known_nonmembers=rendered.get("known_nonmember", (NO_TEXTS, ()))[0],
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
    """Return the gate of the audited texts, with near duplicates searched among all members; None for too few groups."""
    groups = np.array(record_labels.groups)
    if (
        min(len(set(groups[mask])) for mask in (record_labels.membership, ~record_labels.membership))
        < MIN_GROUPS_FOR_SPLIT_CHECK
    ):
        return None
    train, train_groups = render_texts("member", texts["member"], MAX_DUPLICATE_CHECK_TEXTS, tokenizer)
    positions = {name: i for i, name in enumerate(train.ids)}
    if all(name in positions for name in split.train.ids):
        members = tuple(positions[name] for name in split.train.ids)
        split = dataclasses.replace(split, train=train, members=members, train_groups=train_groups)
    checked = gate(split, max_tokens=max_tokens, fpr=fpr)
    return of_canaries(checked) if are_canaries(texts) else checked


def are_canaries(texts: Mapping[str, Sequence[AuditedText]]) -> bool:
    """Return whether members and non-members are planted canaries, which fair coins assigned."""
    return all(text.is_canary for part in ("member", "nonmember") for text in texts.get(part, ()))
