"""What an audit found: numbers as rows, the verdict, the records most exposed, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from byheart.analysis.exposed_records import nonmembers_below
from byheart.analysis.labels import named
from byheart.analysis.token_view import Pieces
from byheart.auditing.verdict import Ruling
from byheart.core.split_check import Gate
from byheart.core.types import Extraction, LogProbs, Row, Scores, ScoreSet, Texts
from byheart.stats.leakage_tests import RecordLabels

BASE_EPOCH, FINETUNED_EPOCH = 0, 1
"""The epochs of an audit's rows: the base, and the finished model, however long it was trained."""
DEFAULT_EXPOSED = 10
"""Exposed records that are shown where nobody says how many."""


class ExposedMember(NamedTuple):
    """A member that an attack finds: its id, its score, the share of non-members that score below it (None without any)."""

    id: str
    attack: str
    score: float
    above: float | None


@dataclass(frozen=True, eq=False)
class AuditResult:
    """A finished model's audit. Shows itself in a notebook; `save` writes all of it into a folder.

    `doubts` are to be read before the numbers; `left_out` says of each attack that was not run why not; `made` is what
    another person needs to repeat it. `scores` are by epoch (0: the base, 1: the finished model) and attack; so are
    `extractions`, of attacks that extract texts, on which no verdict rests. `passes` are by epoch, `private` the named
    private values of each of `texts`.
    """

    rows: tuple[Row, ...]
    ruling: Ruling
    gate: Gate | None
    doubts: tuple[str, ...]
    left_out: Mapping[str, str]
    ids: tuple[str, ...]
    scores: Mapping[int, Mapping[str, Scores]]
    record_labels: RecordLabels
    texts: Texts
    passes: Mapping[int, LogProbs]
    pieces: Pieces
    private_values: tuple[Mapping[str, str], ...]
    provenance: Mapping[str, Any]
    extractions: Mapping[int, Mapping[str, Extraction]] = field(default_factory=dict[int, dict[str, Extraction]])

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return self.ruling.sentence

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything that must be said before the numbers: doubts, then what the data gate found."""
        gate = self.gate
        found = (
            ()
            if gate is None or gate.verdict == "sound"
            else (f"the data are {gate.verdict}: {w}" for w in gate.reasons)
        )
        return (*self.doubts, *found)

    @property
    def has_nonmembers(self) -> bool:
        """Whether there are non-members, so that there are AUCs and false alarms."""
        return not bool(self.record_labels.membership.all())

    @property
    def ranking_attack(self) -> str:
        """The attack that records are ranked by: the verdict's, else the one of the highest AUC, else the gain over the base."""
        if not self.has_nonmembers:
            run = self.scores[FINETUNED_EPOCH]
            return next((n for n in ("reference", "loss") if n in run), next(iter(run)))
        aucs = {named(r): r.value for r in self.rows if r.metric == "auc" and r.epoch == FINETUNED_EPOCH}
        return self.ruling.attack or max(aucs, key=lambda name: aucs[name])

    def score_set(self, key: str) -> ScoreSet:
        """Return the scores that a row was measured from, by its `scores`."""
        epoch, _, attack = key.partition("/")
        if attack in self.extractions.get(int(epoch), {}):
            scores, *extracted = self.extractions[int(epoch)][attack]
            return ScoreSet(self.ids, scores, *self.record_labels, *extracted)
        return ScoreSet(self.ids, self.scores[int(epoch)][attack], *self.record_labels)

    def exposed_members(self, most: int = DEFAULT_EXPOSED) -> list[ExposedMember]:
        """Return the members that `attack` finds most easily, the most exposed first.

        Where the verdict is no leak, their order is chance.
        """
        scores, is_member = self.scores[FINETUNED_EPOCH][self.ranking_attack], self.record_labels.membership
        below = nonmembers_below(scores, scores[~is_member]) / max(1, int((~is_member).sum()))
        order = [int(i) for i in np.argsort(-scores, kind="stable") if is_member[i]][:most]
        return [
            ExposedMember(
                self.ids[i].removeprefix("member/"),
                self.ranking_attack,
                float(scores[i]),
                float(below[i]) if self.has_nonmembers else None,
            )
            for i in order
        ]
