"""The two ends of an audit, whatever its evidence comes from: what is compared, and what is concluded from scores."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byheart.analysis.token_view import Pieces
from byheart.auditing.audit_rows import measured
from byheart.auditing.result import BASE, TUNED, Audit
from byheart.auditing.texts import Given, private, spelled
from byheart.auditing.training.alarms import Sides
from byheart.auditing.training.monitor import realisable
from byheart.auditing.verdict import Ruling, ruling, uncompared
from byheart.core.registry import Choice
from byheart.core.types import NO_TEXTS, Extraction, LogProbs, Scores, Split, digest
from byheart.data.split_check import Gate, gate
from byheart.store.provenance import made

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

JUDGED = 10
"""Groups a side that the data gate needs."""
LOOKED_AT = 20_000
"""Training texts among which near copies of non-members are looked for."""

_ALONE = "without its base, what the model knew before it was tuned cannot be told from what it learnt; name it as base"


class Compared(NamedTuple):
    """Who is compared with whom, by which metrics, what the data gate says (None: too few), and what is doubtful."""

    split: Split
    sides: Sides
    metrics: tuple[Choice, ...]
    gate: Gate | None
    doubts: tuple[str, ...]


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


def compared(
    texts: Mapping[str, Sequence[Given]],
    tokenizer: PreTrainedTokenizerBase | None,
    metrics: Sequence[Choice],
    *,
    max_texts: int,
    max_tokens: int,
    fpr: float,
) -> Compared:
    """Return what is compared of texts by their part ("member", "nonmember", ...), judged before any model reads.

    Without non-members nothing is compared: there are no metrics of attacks.

    Raises `DataError` as `given.spelled` does.
    """
    split, sides = _split(texts, tokenizer, max_texts)
    if not len(split.nonmembers):
        return Compared(split, sides, (), None, ())
    kept, doubts = realisable(metrics, len(split.nonmembers))
    judged = _gate(split, sides, texts, tokenizer, max_tokens=max_tokens, fpr=fpr)
    return Compared(split, sides, kept, judged, tuple(doubts))


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


def _split(
    texts: Mapping[str, Sequence[Given]], tokenizer: PreTrainedTokenizerBase | None, most: int
) -> tuple[Split, Sides]:
    """Return who plays which part, and the sides that are compared."""
    drawn = {part: spelled(part, those, most, tokenizer) for part, those in texts.items()}
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
    return split, Sides(split.membership, split.groups)


def _gate(
    split: Split,
    sides: Sides,
    texts: Mapping[str, Sequence[Given]],
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    max_tokens: int,
    fpr: float,
) -> Gate | None:
    """Judge the audited texts, near copies being looked for among all members; None for too few to be judged."""
    groups = np.array(sides.groups)
    if min(len(set(groups[on])) for on in (sides.membership, ~sides.membership)) < JUDGED:
        return None
    whole, train_groups = spelled("member", texts["member"], LOOKED_AT, tokenizer)
    at = {name: i for i, name in enumerate(whole.ids)}
    if all(name in at for name in split.train.ids):
        members = tuple(at[name] for name in split.train.ids)
        split = dataclasses.replace(split, train=whole, members=members)
        return gate(split, train_groups=train_groups, max_tokens=max_tokens, fpr=fpr)
    return gate(split, max_tokens=max_tokens, fpr=fpr)


def _doubts(texts: Mapping[str, Sequence[Given]], sides: Sides, cut: int, max_tokens: int) -> Iterable[str]:
    """Yield what a reader must know of the texts before the numbers."""
    for part, those in texts.items():
        if copies := len(those) - len({t.content for t in those}):
            yield f"{copies} of {len(those)} {part} texts are copies of others there; copies count as one group"
    if cut:
        yield f"{cut} of {len(sides.membership)} texts are longer than {max_tokens} tokens, or the context, and read in part"
