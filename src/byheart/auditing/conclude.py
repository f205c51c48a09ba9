"""Build an audit from scores: rows, verdict, doubts and provenance, for local models and for endpoints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from byheart.analysis.token_view import PieceReader
from byheart.auditing.attack_evidence import extraction_metrics
from byheart.auditing.audit import Audit
from byheart.auditing.audited_split import AuditComparison
from byheart.auditing.pass_bounds import judge_pass_bounds, parse_pass_bounds
from byheart.auditing.render_texts import private_values
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.texts import AuditedText
from byheart.auditing.verdict import Ruling, members_only_ruling, ruling
from byheart.core.ragged import slice_texts
from byheart.core.registry import Choice, choose
from byheart.core.row import build_row as row
from byheart.core.split import Split
from byheart.core.types import Estimate, Extraction, LogProbs, Row, Scores, digest
from byheart.stats.leakage_tests import RecordLabels
from byheart.store.provenance import result_provenance

NO_BASE = (
    "without a base model, leakage cannot be distinguished from what the model knew before fine-tuning; pass the base model "
    "(--base; in Python base=)"
)


MEMBERS_BY_TEXT_ONLY = Ruling(
    "uncompared", "no verdict: without non-members, no false positive rate can be measured; add non-members"
)


class AuditedModel(NamedTuple):
    """The audited model: its name, its base model's name, the fine-tuning method, hashes of weights, and doubts."""

    name: str
    base_name: str
    method: str
    weights: Mapping[str, Any]
    doubts: tuple[str, ...] = ()


class AttackResults(NamedTuple):
    """Attacks that ran, reasons for the others, and results by epoch (0: base model, 1: fine-tuned model).

    `stats` is empty if only generated text is known.
    `truncated_texts` counts texts that were read in part. `pieces` returns the tokens of a text by its position.
    """

    attacks: Mapping[str, Choice]
    left_out: Mapping[str, str]
    scores: Mapping[int, Mapping[str, Scores]]
    extractions: Mapping[int, Mapping[str, Extraction]]
    stats: Mapping[int, Mapping[str, LogProbs]]
    truncated_texts: int
    pieces: PieceReader


def build_audit(
    audited_model: AuditedModel,
    comparison: AuditComparison,
    results: AttackResults,
    texts: Mapping[str, Sequence[AuditedText]],
    settings: Mapping[str, Any],
    start_time: float,
) -> Audit:
    """Return the audit of these results; `settings` is its recipe, `start_time` its start on `time.monotonic`."""
    split, record_labels, scores = comparison.split, comparison.record_labels, results.scores
    row_labels = {"base": audited_model.base_name, "dataset": "audited texts", "method": audited_model.method}
    rows = audit_rows(
        row_labels, results.attacks, comparison.metrics, scores, results.extractions, results.stats, split
    )
    missing_base = () if BASE_EPOCH in scores or audited_model.doubts else (NO_BASE,)
    values_by_id = {i: values for part, items in texts.items() for i, values in private_values(part, items).items()}
    doubts = _doubts(texts, record_labels, results.truncated_texts, int(settings["max_tokens"]))
    return Audit(
        rows=rows,
        ruling=_ruling(comparison, results, rows),
        gate=comparison.gate,
        doubts=(*audited_model.doubts, *missing_base, *doubts, *comparison.doubts),
        bounds=judge_pass_bounds(
            parse_pass_bounds(settings.get("pass_below", ()), fpr=settings["fpr"]),
            scores[FINETUNED_EPOCH],
            record_labels,
            comparison.gate,
            fpr=settings["fpr"],
        ),
        left_out=results.left_out,
        ids=split.audited.ids,
        scores=scores,
        extractions=results.extractions,
        record_labels=record_labels,
        texts=split.audited,
        passes={
            epoch: LogProbs(logp=stats["target"].logp, starts=stats["target"].starts)
            for epoch, stats in results.stats.items()
        },
        pieces=results.pieces,
        private_values=tuple(values_by_id.get(i, {}) for i in split.audited.ids),
        provenance={
            "model": audited_model.name,
            "base": audited_model.base_name if BASE_EPOCH in scores else "",
            "method": audited_model.method,
            "weights": dict(audited_model.weights),
            "data": {part: digest([t.content] for t in items) for part, items in texts.items()},
            "settings": dict(settings),
            "texts": {
                "members": int(record_labels.membership.sum()),
                "nonmembers": int((~record_labels.membership).sum()),
                "cut": results.truncated_texts,
            },
            **result_provenance(time.monotonic() - start_time),
        },
    )


def _ruling(comparison: AuditComparison, results: AttackResults, rows: Sequence[Row]) -> Ruling:
    split, record_labels = comparison.split, comparison.record_labels
    if not len(split.nonmembers):
        if not results.stats:
            return MEMBERS_BY_TEXT_ONLY
        base_stats = results.stats.get(BASE_EPOCH, {}).get("target")
        return members_only_ruling(results.stats[FINETUNED_EPOCH]["target"], base_stats, record_labels.groups)
    finetuned_rows = [r for r in rows if r.epoch == FINETUNED_EPOCH and r.attack]
    scores = results.scores
    return ruling(scores[FINETUNED_EPOCH], scores.get(BASE_EPOCH, {}), finetuned_rows, record_labels, comparison.gate)


def _doubts(
    texts: Mapping[str, Sequence[AuditedText]], record_labels: RecordLabels, truncated_texts: int, max_tokens: int
) -> Iterable[str]:
    """Yield warnings about duplicates and truncated texts."""
    for part, items in texts.items():
        if duplicates := len(items) - len({t.content for t in items}):
            yield (
                f"{duplicates} of {len(items)} {part} texts are duplicates of other {part} texts; "
                "duplicates count as one group"
            )
    if truncated_texts:
        yield (
            f"{truncated_texts} of {len(record_labels.membership)} texts are longer than {max_tokens} tokens or the model's context; "
            "they are truncated"
        )


def audit_rows(
    row_labels: Mapping[str, str],
    attacks: Mapping[str, Choice],
    metrics: Sequence[Choice],
    scores: Mapping[int, Mapping[str, Scores]],
    extractions: Mapping[int, Mapping[str, Extraction]],
    stats: Mapping[int, Mapping[str, LogProbs]],
    split: Split,
) -> tuple[Row, ...]:
    """Return every number of an audit as rows; `row_labels` are base, data set and method."""
    rows: list[Row] = []
    blank = dict.fromkeys(("dataset_settings", "method_settings", "training_settings", "cell"), "")
    labels = {**row_labels, **blank, "seed": 0}
    for epoch, epoch_scores in scores.items():
        for metric, estimate in _model_metrics(stats[epoch], split) if epoch in stats else ():
            rows.append(row(labels, epoch, metric, estimate))
        record_labels = (split.membership, split.groups)
        for name, attack_scores in epoch_scores.items():
            rows += [
                row(labels, epoch, m, m(attack_scores, *record_labels), attacks[name], f"{epoch}/{name}")
                for m in metrics
            ]
        for name, extraction in extractions.get(epoch, {}).items():
            rows += [
                row(labels, epoch, m, m(extraction.extracted, *record_labels), attacks[name], f"{epoch}/{name}")
                for m in (extraction_metrics() if len(split.nonmembers) else ())
            ]
    return tuple(rows)


def _model_metrics(stats: Mapping[str, LogProbs], split: Split) -> Iterator[tuple[Choice, Estimate]]:
    """Yield the metrics that need no attack, with values: perplexities, and the gap between members and non-members."""
    members, audited = len(split.members), len(split.membership)
    inputs = {
        "train": slice_texts(stats["target"], slice(0, members)),
        "nonmember": slice_texts(stats["target"], slice(members, audited)) if members < audited else None,
        "validation": stats.get("validation"),
        "member_groups": split.member_groups,
        "validation_groups": split.validation_groups,
    }
    for name in ("perplexity", "train_perplexity", "generalisation_gap"):
        metric = choose("metrics", name)
        if all(inputs.get(n) is not None for n in metric.needs):
            yield metric, metric(*(inputs[n] for n in metric.needs))
