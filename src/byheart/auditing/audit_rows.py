"""Every number of an audit as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from byheart.auditing.attack_evidence import rates
from byheart.core.ragged import part
from byheart.core.registry import Choice, choose
from byheart.core.types import Estimate, Extraction, LogProbs, Row, Scores, Split
from byheart.store.rows import measured as row


def measured(
    called: Mapping[str, str],
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
    labels = {**called, **blank, "seed": 0}
    for epoch, found in scores.items():
        for metric, estimate in _of_model(stats[epoch], split):
            rows.append(row(labels, epoch, metric, estimate))
        sides = (split.membership, split.groups)
        for name, scored in found.items():
            rows += [row(labels, epoch, m, m(scored, *sides), attacks[name], f"{epoch}/{name}") for m in metrics]
        for name, extracted in extractions.get(epoch, {}).items():
            rows += [
                row(labels, epoch, m, m(extracted.extracted, *sides), attacks[name], f"{epoch}/{name}")
                for m in (rates() if len(split.nonmembers) else ())
            ]
    return tuple(rows)


def _of_model(stats: Mapping[str, LogProbs], split: Split) -> Iterator[tuple[Choice, Estimate]]:
    """Yield the metrics that need no attack: perplexities, and the gap between members and non-members."""
    members, everyone = len(split.members), len(split.membership)
    known = {
        "train": part(stats["target"], slice(0, members)),
        "nonmember": part(stats["target"], slice(members, everyone)) if members < everyone else None,
        "validation": stats.get("validation"),
        "member_groups": split.member_groups,
        "validation_groups": split.validation_groups,
    }
    for name in ("perplexity", "train_perplexity", "generalisation_gap"):
        metric = choose("metrics", name)
        if all(known.get(n) is not None for n in metric.needs):
            yield metric, metric(*(known[n] for n in metric.needs))
