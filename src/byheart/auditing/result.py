"""What an audit found: numbers as rows, the verdict, the records most exposed, and how they are shown."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from byheart.analysis import formats, row_values
from byheart.analysis.labels import named
from byheart.analysis.token_view import Pieces, masked_text
from byheart.auditing.verdict import Ruling
from byheart.core.split_check import Gate
from byheart.core.types import Estimate, Extraction, LogProbs, Row, Scores, ScoreSet, Table, Texts
from byheart.stats.leakage_tests import Sides
from byheart.stats.proportions import share
from byheart.tables.extraction import extraction

BASE, TUNED = 0, 1
"""The epochs of an audit's rows: the base, and the finished model, however long it was trained."""
SHOWN = 10
"""Exposed records that are shown where nobody says how many."""


class Exposed(NamedTuple):
    """A member that an attack finds: its id, its score, the share of non-members that score below it (None without any)."""

    id: str
    attack: str
    score: float
    above: float | None


@dataclass(frozen=True, eq=False)
class Audit:
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
    sides: Sides
    texts: Texts
    passes: Mapping[int, LogProbs]
    pieces: Pieces
    private: tuple[Mapping[str, str], ...]
    made: Mapping[str, Any]
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
    def compared(self) -> bool:
        """Whether there are non-members, so that there are AUCs and false alarms."""
        return not bool(self.sides.membership.all())

    @property
    def attack(self) -> str:
        """The attack that records are ranked by: the verdict's, else the one of the highest AUC, else the gain over the base."""
        if not self.compared:
            run = self.scores[TUNED]
            return next((n for n in ("reference", "loss") if n in run), next(iter(run)))
        aucs = {named(r): r.value for r in self.rows if r.metric == "auc" and r.epoch == TUNED}
        return self.ruling.attack or max(aucs, key=lambda name: aucs[name])

    def score_set(self, key: str) -> ScoreSet:
        """Return the scores that a row was measured from, by its `scores`."""
        epoch, _, attack = key.partition("/")
        if attack in self.extractions.get(int(epoch), {}):
            scores, *extracted = self.extractions[int(epoch)][attack]
            return ScoreSet(self.ids, scores, *self.sides, *extracted)
        return ScoreSet(self.ids, self.scores[int(epoch)][attack], *self.sides)

    def exposed(self, most: int = SHOWN) -> list[Exposed]:
        """Return the members that `attack` finds most easily, the most exposed first.

        Where the verdict is no leak, their order is chance.
        """
        scores, on = self.scores[TUNED][self.attack], self.sides.membership
        others = np.sort(scores[~on])
        order = [int(i) for i in np.argsort(-scores, kind="stable") if on[i]][:most]
        return [
            Exposed(
                self.ids[i].removeprefix("member/"),
                self.attack,
                float(scores[i]),
                float((others < scores[i]).mean()) if self.compared else None,
            )
            for i in order
        ]

    def table(self) -> Table:
        """Return a line for each attack: AUC and TPR of the finished model, AUC of its base; without non-members scores."""
        if not self.compared:
            return self._alone()
        lines: list[tuple[str, ...]] = []
        tpr = next((r for r in self.rows if r.metric == "tpr_at_fpr"), None)
        fpr = float(tpr.metric_settings.removeprefix("fpr=") or 0.01) if tpr else 0.0
        ranked = {named(r): r.value for r in self.rows if r.metric == "auc" and r.epoch == TUNED}
        for name in sorted(ranked, key=lambda n: -ranked[n]):
            cells = [self._shown(name, "auc", TUNED), self._shown(name, "auc", BASE)]
            cells[1:1] = [self._shown(name, "tpr_at_fpr", TUNED)] if tpr else []
            lines.append((name, *cells))
        header = ("attack", "AUC", *([f"TPR at {100 * fpr:g} % FPR"] if tpr else []), "AUC of the base")
        members = int(self.sides.membership.sum())
        note = f"{members} members against {len(self.ids) - members} non-members; in brackets the 95 % interval."
        return Table("Attacks", header, tuple(lines), note + self._left)

    def _alone(self) -> Table:
        lines = tuple(
            (name, *(f"{np.median(self.scores[e][name]):.4f}" if e in self.scores else "" for e in (TUNED, BASE)))
            for name in self.scores[TUNED]
        )
        note = f"{len(self.ids)} texts, all of them trained on: no AUC, no false alarms."
        return Table("Attacks", ("attack", "median score", "median score of the base"), lines, note + self._left)

    @property
    def _left(self) -> str:
        return "".join(f" Not run: {name} {why}." for name, why in self.left_out.items())

    def tables(self) -> tuple[Table, ...]:
        """Return the table of attacks, and that of what was extracted where any attack did."""
        if not self.extractions.get(TUNED):
            return (self.table(),)
        return self.table(), extraction(self.rows, self.score_set) if self.compared else self._extracted()

    def _extracted(self) -> Table:
        """Return what share of the training texts each attack extracts, where nothing is compared."""

        def told(epoch: int, name: str) -> str:
            found = self.extractions.get(epoch, {}).get(name)
            return (
                row_values.MISSING
                if found is None
                else row_values.shown(Estimate(*share(found.extracted, self.sides.groups)))
            )

        lines = tuple((name, told(TUNED, name), told(BASE, name)) for name in self.extractions[TUNED])
        note = "Share of the training texts; without non-members nobody can say how much of it the model would write of any text."
        return Table("What can be extracted", ("attack", "model", "base"), lines, note)

    def _shown(self, attack: str, metric: str, epoch: int) -> str:
        row = next((r for r in self.rows if (named(r), r.metric, r.epoch) == (attack, metric, epoch)), None)
        return row_values.shown(row and Estimate(row.value, row.low, row.high))

    def exposed_table(self, most: int = SHOWN, *, show_text: bool = False, show_private: bool = False) -> Table:
        """Return the most exposed members as a table; text only where it is asked for, private values where they are too."""
        asked = zip(self.texts.ids, self.texts.scored, self.private, strict=True) if show_text else ()
        text = {i.removeprefix("member/"): s if show_private else masked_text(s, p) for i, s, p in asked}
        lines = tuple(
            (
                e.id,
                f"{e.score:.4f}",
                *([] if e.above is None else [f"{100 * e.above:.1f} %"]),
                *([text[e.id]] if show_text else []),
            )
            for e in self.exposed(most)
        )
        below = ["non-members below"] if self.compared else []
        header = ("id", f"score ({self.attack})", *below, *(["text"] if show_text else []))
        return Table("Records most exposed", header, lines)

    def markdown(self) -> str:
        """Return verdict, warnings and attacks as Markdown, without any record."""
        said = "".join(f"- {formats.markdown(w)}\n" for w in self.warnings)
        tables = "\n".join(map(formats.as_markdown, self.tables()))
        return f"**{formats.markdown(self.verdict)}**\n\n{said}\n{tables}"

    def spelled(self, *, show_text: bool = False, show_private: bool = False) -> str:
        """Return the same for a terminal, with the records most exposed by id."""
        said = "".join(f"  - {w}\n" for w in self.warnings)
        tables = [*self.tables()]
        if self.ruling.word in {"leaks", "uncompared"}:
            tables.append(self.exposed_table(show_text=show_text, show_private=show_private))
        return "\n".join([f"{self.verdict}\n{said}", *(formats.as_text(t) for t in tables)])

    def as_dict(self) -> dict[str, Any]:
        """Return verdict, warnings, rows and ids of the records most exposed, for programs."""
        return {
            "verdict": self.ruling.word,
            "sentence": self.verdict,
            "attack": self.ruling.attack,
            "warnings": list(self.warnings),
            "gate": self.gate and self.gate.verdict,
            "not_run": dict(self.left_out),
            "exposed": [e._asdict() for e in self.exposed()],
            "rows": json.loads(formats.rows_json(self.rows)),
            "made": json.loads(json.dumps(self.made, default=str)),
        }

    def save(
        self, folder: Path | str, *, command: str = "", show_text: bool = False, show_private: bool = False
    ) -> Path:
        """Write page, rows, scores, exposed records, manifest and model card into a new folder, whole or not at all.

        `show_text` adds exposed records' texts, with the private values that they name masked unless `show_private` says so.
        Raises `StoreError` for a folder that is there already, or cannot be written.
        """
        from byheart.auditing.save import written  # pictures are drawn only there

        return written(self, Path(folder), command=command, show_text=show_text, show_private=show_private)

    def __repr__(self) -> str:
        """Say the verdict: rows would fill a screen."""
        return f"Audit({self.verdict})"

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """Return verdict, warnings and attacks as a piece of HTML, without any record."""
        said = "".join(f"<li>{html.escape(w)}</li>" for w in self.warnings)
        tables = "".join(map(_html, self.tables()))
        return f"<p><b>{html.escape(self.verdict)}</b></p><ul>{said}</ul>{tables}"


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in table.header)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table><p>{html.escape(table.note)}</p>"
