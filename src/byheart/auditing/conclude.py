"""The two ends of an audit, whatever its evidence comes from: what is compared, and what is concluded from scores."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from byheart.analysis.token_view import Pieces
from byheart.auditing.attack_evidence import rates
from byheart.auditing.audit import Audit
from byheart.auditing.compare import Compared
from byheart.auditing.result import BASE, TUNED
from byheart.auditing.texts import Given, private
from byheart.auditing.verdict import Ruling, ruling, uncompared
from byheart.core.ragged import part
from byheart.core.registry import Choice, choose
from byheart.core.row import measured as row
from byheart.core.types import Estimate, Extraction, LogProbs, Row, Scores, Split, digest
from byheart.stats.leakage_tests import Sides
from byheart.store.provenance import made

_ALONE = "without its base, what the model knew before it was tuned cannot be told from what it learnt; name it as base"


class Who(NamedTuple):
    """What is audited, in words: the model, what it was tuned from, how, what tells its weights from any other's."""

    name: str
    base_name: str
    method: str
    weights: Mapping[str, Any]
    doubts: tuple[str, ...] = ()


class Found(NamedTuple):
    """What was run and what was not; scores, extractions and passes by epoch (0: the base, 1: the finished model).

    `cut` counts the texts that were read in part, `pieces` gives a text by its position as the model read it.
    """

    attacks: Mapping[str, Choice]
    left_out: Mapping[str, str]
    scores: Mapping[int, Mapping[str, Scores]]
    extractions: Mapping[int, Mapping[str, Extraction]]
    stats: Mapping[int, Mapping[str, LogProbs]]
    cut: int
    pieces: Pieces


def concluded(
    who: Who,
    seen: Compared,
    found: Found,
    texts: Mapping[str, Sequence[Given]],
    settings: Mapping[str, Any],
    began: float,
) -> Audit:
    """Return the audit that scores amount to; `settings` are its recipe, `began` is when it began (`time.monotonic`)."""
    split, sides, scores = seen.split, seen.sides, found.scores
    called = {"base": who.base_name, "dataset": "audited texts", "method": who.method}
    rows = measured(called, found.attacks, seen.metrics, scores, found.extractions, found.stats, split)
    final = [r for r in rows if r.epoch == TUNED and r.attack]

    def ruled() -> Ruling:
        if not len(split.nonmembers):
            before = found.stats[BASE]["target"] if BASE in found.stats else None
            return uncompared(found.stats[TUNED]["target"], before, sides.groups)
        return ruling(scores[TUNED], scores.get(BASE, {}), final, sides, seen.gate)

    alone = () if 0 in scores or who.doubts else (_ALONE,)
    named = {i: values for part, those in texts.items() for i, values in private(part, those).items()}
    doubts = _doubts(texts, sides, found.cut, int(settings["max_tokens"]))
    return Audit(
        rows=rows,
        ruling=ruled(),
        gate=seen.gate,
        doubts=(*who.doubts, *alone, *doubts, *seen.doubts),
        left_out=found.left_out,
        ids=split.audited.ids,
        scores=scores,
        extractions=found.extractions,
        sides=sides,
        texts=split.audited,
        passes={
            epoch: LogProbs(logp=held["target"].logp, starts=held["target"].starts)
            for epoch, held in found.stats.items()
        },
        pieces=found.pieces,
        private=tuple(named.get(i, {}) for i in split.audited.ids),
        made={
            "model": who.name,
            "base": who.base_name if 0 in scores else "",
            "method": who.method,
            "weights": dict(who.weights),
            "data": {part: digest([t.content] for t in those) for part, those in texts.items()},
            "settings": dict(settings),
            "texts": {
                "members": int(sides.membership.sum()),
                "nonmembers": int((~sides.membership).sum()),
                "cut": found.cut,
            },
            **made(time.monotonic() - began),
        },
    )


def _doubts(texts: Mapping[str, Sequence[Given]], sides: Sides, cut: int, max_tokens: int) -> Iterable[str]:
    """Yield what a reader must know of the texts before the numbers."""
    for role, those in texts.items():
        if copies := len(those) - len({t.content for t in those}):
            yield f"{copies} of {len(those)} {role} texts are copies of others there; copies count as one group"
    if cut:
        yield f"{cut} of {len(sides.membership)} texts are longer than {max_tokens} tokens, or the context, and read in part"


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
