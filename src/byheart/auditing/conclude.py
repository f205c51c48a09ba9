"""The two ends of an audit, whatever its evidence comes from: what is compared, and what is concluded from scores."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from byheart.analysis.token_view import Pieces
from byheart.auditing.attack_evidence import extraction_metrics
from byheart.auditing.audit import Audit
from byheart.auditing.compare import AuditComparison
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.texts import AuditedText, private_values
from byheart.auditing.verdict import Ruling, members_only_ruling, ruling
from byheart.core.ragged import slice_texts
from byheart.core.registry import Choice, choose
from byheart.core.row import build_row as row
from byheart.core.types import Estimate, Extraction, LogProbs, Row, Scores, Split, digest
from byheart.stats.leakage_tests import RecordLabels
from byheart.store.provenance import result_provenance

_NO_BASE = (
    "without its base, what the model knew before it was tuned cannot be told from what it learnt; name it as base"
)


class AuditedModel(NamedTuple):
    """What is audited, in words: the model, what it was tuned from, how, what tells its weights from any other's."""

    name: str
    base_name: str
    method: str
    weights: Mapping[str, Any]
    doubts: tuple[str, ...] = ()


class AttackResults(NamedTuple):
    """What was run and what was not; scores, extractions and passes by epoch (0: the base, 1: the finished model).

    `cut` counts the texts that were read in part, `pieces` gives a text by its position as the model read it.
    """

    attacks: Mapping[str, Choice]
    left_out: Mapping[str, str]
    scores: Mapping[int, Mapping[str, Scores]]
    extractions: Mapping[int, Mapping[str, Extraction]]
    stats: Mapping[int, Mapping[str, LogProbs]]
    truncated_texts: int
    pieces: Pieces


def build_audit(
    audited_model: AuditedModel,
    comparison: AuditComparison,
    results: AttackResults,
    texts: Mapping[str, Sequence[AuditedText]],
    settings: Mapping[str, Any],
    start_time: float,
) -> Audit:
    """Return the audit that scores amount to; `settings` are its recipe, `began` is when it began (`time.monotonic`)."""
    split, sides, scores = comparison.split, comparison.record_labels, results.scores
    called = {"base": audited_model.base_name, "dataset": "audited texts", "method": audited_model.method}
    rows = audit_rows(called, results.attacks, comparison.metrics, scores, results.extractions, results.stats, split)
    final = [r for r in rows if r.epoch == FINETUNED_EPOCH and r.attack]

    def ruled() -> Ruling:
        if not len(split.nonmembers):
            before = results.stats[BASE_EPOCH]["target"] if BASE_EPOCH in results.stats else None
            return members_only_ruling(results.stats[FINETUNED_EPOCH]["target"], before, sides.groups)
        return ruling(scores[FINETUNED_EPOCH], scores.get(BASE_EPOCH, {}), final, sides, comparison.gate)

    alone = () if 0 in scores or audited_model.doubts else (_NO_BASE,)
    named = {i: values for part, those in texts.items() for i, values in private_values(part, those).items()}
    doubts = _doubts(texts, sides, results.truncated_texts, int(settings["max_tokens"]))
    return Audit(
        rows=rows,
        ruling=ruled(),
        gate=comparison.gate,
        doubts=(*audited_model.doubts, *alone, *doubts, *comparison.doubts),
        left_out=results.left_out,
        ids=split.audited.ids,
        scores=scores,
        extractions=results.extractions,
        record_labels=sides,
        texts=split.audited,
        passes={
            epoch: LogProbs(logp=held["target"].logp, starts=held["target"].starts)
            for epoch, held in results.stats.items()
        },
        pieces=results.pieces,
        private_values=tuple(named.get(i, {}) for i in split.audited.ids),
        provenance={
            "model": audited_model.name,
            "base": audited_model.base_name if 0 in scores else "",
            "method": audited_model.method,
            "weights": dict(audited_model.weights),
            "data": {part: digest([t.content] for t in those) for part, those in texts.items()},
            "settings": dict(settings),
            "texts": {
                "members": int(sides.membership.sum()),
                "nonmembers": int((~sides.membership).sum()),
                "cut": results.truncated_texts,
            },
            **result_provenance(time.monotonic() - start_time),
        },
    )


def _doubts(
    texts: Mapping[str, Sequence[AuditedText]], record_labels: RecordLabels, truncated_texts: int, max_tokens: int
) -> Iterable[str]:
    """Yield what a reader must know of the texts before the numbers."""
    for role, those in texts.items():
        if copies := len(those) - len({t.content for t in those}):
            yield f"{copies} of {len(those)} {role} texts are copies of others there; copies count as one group"
    if truncated_texts:
        yield f"{truncated_texts} of {len(record_labels.membership)} texts are longer than {max_tokens} tokens, or the context, and read in part"


def audit_rows(
    row_labels: Mapping[str, str],
    attacks: Mapping[str, Choice],
    metrics: Sequence[Choice],
    scores: Mapping[int, Mapping[str, Scores]],
    extractions: Mapping[int, Mapping[str, Extraction]],
    stats: Mapping[int, Mapping[str, LogProbs]],
    split: Split,
) -> tuple[Row, ...]:
    """Return every number of an audit; `called` are base, data set and method, `stats` the passes over the texts."""
    rows: list[Row] = []
    blank = dict.fromkeys(("dataset_settings", "method_settings", "training_settings", "cell"), "")
    labels = {**row_labels, **blank, "seed": 0}
    for epoch, found in scores.items():
        for metric, estimate in _model_metrics(stats[epoch], split):
            rows.append(row(labels, epoch, metric, estimate))
        sides = (split.membership, split.groups)
        for name, scored in found.items():
            rows += [row(labels, epoch, m, m(scored, *sides), attacks[name], f"{epoch}/{name}") for m in metrics]
        for name, extracted in extractions.get(epoch, {}).items():
            rows += [
                row(labels, epoch, m, m(extracted.extracted, *sides), attacks[name], f"{epoch}/{name}")
                for m in (extraction_metrics() if len(split.nonmembers) else ())
            ]
    return tuple(rows)


def _model_metrics(stats: Mapping[str, LogProbs], split: Split) -> Iterator[tuple[Choice, Estimate]]:
    """Yield the metrics that need no attack: perplexities, and the gap between members and non-members."""
    members, everyone = len(split.members), len(split.membership)
    known = {
        "train": slice_texts(stats["target"], slice(0, members)),
        "nonmember": slice_texts(stats["target"], slice(members, everyone)) if members < everyone else None,
        "validation": stats.get("validation"),
        "member_groups": split.member_groups,
        "validation_groups": split.validation_groups,
    }
    for name in ("perplexity", "train_perplexity", "generalisation_gap"):
        metric = choose("metrics", name)
        if all(known.get(n) is not None for n in metric.needs):
            yield metric, metric(*(known[n] for n in metric.needs))
