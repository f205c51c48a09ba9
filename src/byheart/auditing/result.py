"""Result of an audit: rows, verdict, warnings and the most exposed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from byheart.analysis.exposed_records import nonmembers_below
from byheart.analysis.labels import attack_label
from byheart.analysis.token_view import PieceReader
from byheart.auditing.pass_bounds import BoundResult
from byheart.auditing.preregistration import Preregistration
from byheart.auditing.verdict import Ruling
from byheart.core.split_check import Gate
from byheart.core.types import Extraction, LogProbs, Row, Scores, ScoreSet, Texts
from byheart.stats.leakage_tests import RecordLabels

BASE_EPOCH, FINETUNED_EPOCH = 0, 1
"""Epochs in an audit's rows: 0 for the base model, 1 for the fine-tuned model, however long it was trained."""
GIVEN_SCORES = "given scores"
"""Method in the rows of an audit whose scores another tool computed: how the model was fine-tuned is not known."""
DEFAULT_EXPOSED = 10
"""Default number of exposed records in tables."""


class ExposedMember(NamedTuple):
    """A member's exposure: id, attack, score, and the share of non-members with a lower score (None without non-members).

    If the verdict is "reversed", `above` is the share of non-members with a higher score.
    """

    id: str
    attack: str
    score: float
    above: float | None


@dataclass(frozen=True, eq=False)
class AuditResult:
    """Numbers, verdict and provenance of an audit.

    `doubts` are warnings to read before the numbers. `left_out` maps each attack that did not run to the reason.
    `provenance` has what is needed to repeat the audit. `scores` are by epoch (0: base model, 1: fine-tuned model) and
    attack; `extractions` likewise, for extraction attacks, and never affect the verdict. `passes` are log-probabilities
    by epoch, `private_values` the named private values of each of `texts`. `bounds` are the results of `pass_below`,
    `preregistration` the comparison with a plan (None without one).
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
    pieces: PieceReader
    private_values: tuple[Mapping[str, str], ...]
    provenance: Mapping[str, Any]
    extractions: Mapping[int, Mapping[str, Extraction]] = field(default_factory=dict[int, dict[str, Extraction]])
    bounds: tuple[BoundResult, ...] = ()
    preregistration: Preregistration | None = None

    @property
    def verdict(self) -> str:
        """The verdict as a sentence."""
        return self.ruling.sentence

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings to read before the numbers: doubts, then the findings of the split check."""
        if self.gate is None or self.gate.verdict == "sound":
            return self.doubts
        return (*self.doubts, *(f"the split is {self.gate.verdict}: {reason}" for reason in self.gate.reasons))

    @property
    def is_passed(self) -> bool:
        """Whether all bounds of `pass_below` are shown and none of a preregistration is untested; False without bounds."""
        is_tested = self.preregistration is None or not self.preregistration.untested
        return bool(self.bounds) and is_tested and all(result.is_shown for result in self.bounds)

    @property
    def has_nonmembers(self) -> bool:
        """Whether there are non-members, so that AUC and FPR are defined."""
        return not bool(self.record_labels.membership.all())

    @property
    def ranking_attack(self) -> str:
        """The attack that ranks exposed records: the verdict's, else the one with the highest AUC.

        Without non-members: the gain over the base model (reference), else loss, else the first attack.
        """
        if not self.has_nonmembers:
            scores = self.scores[FINETUNED_EPOCH]
            return next((n for n in ("reference", "loss") if n in scores), next(iter(scores)))
        aucs = {attack_label(r): r.value for r in self.rows if r.metric == "auc" and r.epoch == FINETUNED_EPOCH}
        return self.ruling.attack or max(aucs, key=lambda name: aucs[name])

    def score_set(self, key: str) -> ScoreSet:
        """Return the scores behind a row, by the row's `scores` field."""
        epoch, _, attack = key.partition("/")
        if attack in self.extractions.get(int(epoch), {}):
            scores, *extracted = self.extractions[int(epoch)][attack]
            return ScoreSet(self.ids, scores, *self.record_labels, *extracted)
        return ScoreSet(self.ids, self.scores[int(epoch)][attack], *self.record_labels)

    def exposed_members(self, most: int = DEFAULT_EXPOSED) -> list[ExposedMember]:
        """Return the `most` members with the highest scores of `ranking_attack`, most exposed first.

        If the verdict is "reversed", these are the members with the lowest scores. If it is neither "leaks" nor "reversed", the
        order is random.
        """
        scores, is_member = self.scores[FINETUNED_EPOCH][self.ranking_attack], self.record_labels.membership
        evidence = -scores if self.ruling.word == "reversed" else scores
        below = nonmembers_below(evidence, evidence[~is_member]) / max(1, int((~is_member).sum()))
        order = [int(i) for i in np.argsort(-evidence, kind="stable") if is_member[i]][:most]
        return [
            ExposedMember(
                self.ids[i].removeprefix("member/"),
                self.ranking_attack,
                float(scores[i]),
                float(below[i]) if self.has_nonmembers else None,
            )
            for i in order
        ]
