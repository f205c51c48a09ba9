"""What an audit found: numbers as rows, the verdict, the records most exposed, and how they are shown."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from byheart import formats, labels
from byheart.inspection import rates
from byheart.judged import Ruling
from byheart.looks import Sides, named
from byheart.planned import part
from byheart.rows import measured as row
from byheart.shelf import Choice, choose
from byheart.tables.extraction import extraction
from byheart.types import Estimate, Extraction, LogProbs, Row, Scores, ScoreSet, Split, Table, Texts
from byheart.validity import Gate

BASE, TUNED = 0, 1
"""The epochs of an audit's rows: the base, and the finished model, however long it was trained."""
SHOWN = 10
"""Exposed records that are shown where nobody says how many."""


class Exposed(NamedTuple):
    """A member that an attack finds: its id, its score, and the share of non-members that score below it."""

    id: str
    attack: str
    score: float
    above: float


@dataclass(frozen=True, eq=False)
class Audit:
    """A finished model's audit. Shows itself in a notebook; `save` writes all of it into a folder.

    `doubts` are to be read before the numbers; `left_out` says of each attack that was not run why not; `made` is what
    another person needs to repeat it. `scores` are by epoch (0: the base, 1: the finished model) and attack; so are
    `extractions`, of attacks that extract texts, on which no verdict rests.
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
    def attack(self) -> str:
        """The attack that records are ranked by: the verdict's, else the one of the highest AUC."""
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
                self.ids[i].removeprefix("member/"), self.attack, float(scores[i]), float((others < scores[i]).mean())
            )
            for i in order
        ]

    def table(self) -> Table:
        """Return a line for each attack: AUC and TPR of the finished model, AUC of its base."""
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
        left = "".join(f" Not run: {name} {why}." for name, why in self.left_out.items())
        return Table("Attacks", header, tuple(lines), note + left)

    def tables(self) -> tuple[Table, ...]:
        """Return the table of attacks, and that of what was extracted where any attack did."""
        extracted = [extraction(self.rows, self.score_set)] if self.extractions.get(TUNED) else []
        return self.table(), *extracted

    def _shown(self, attack: str, metric: str, epoch: int) -> str:
        row = next((r for r in self.rows if (named(r), r.metric, r.epoch) == (attack, metric, epoch)), None)
        return labels.shown(row and Estimate(row.value, row.low, row.high))

    def exposed_table(self, most: int = SHOWN, *, show_text: bool = False) -> Table:
        """Return the most exposed members as a table; their text only where it is asked for."""
        text = {i.removeprefix("member/"): s for i, s in zip(self.texts.ids, self.texts.scored, strict=True)}
        lines = tuple(
            (e.id, f"{e.score:.4f}", f"{100 * e.above:.1f} %", *([text[e.id]] if show_text else []))
            for e in self.exposed(most)
        )
        header = ("id", f"score ({self.attack})", "non-members below", *(["text"] if show_text else []))
        return Table("Records most exposed", header, lines)

    def markdown(self) -> str:
        """Return verdict, warnings and attacks as Markdown, without any record."""
        said = "".join(f"- {formats.markdown(w)}\n" for w in self.warnings)
        tables = "\n".join(map(formats.as_markdown, self.tables()))
        return f"**{formats.markdown(self.verdict)}**\n\n{said}\n{tables}"

    def spelled(self, *, show_text: bool = False) -> str:
        """Return the same for a terminal, with the records most exposed by id."""
        said = "".join(f"  - {w}\n" for w in self.warnings)
        tables = [*self.tables()]
        if self.ruling.word == "leaks":
            tables.append(self.exposed_table(show_text=show_text))
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

    def save(self, folder: Path | str, *, command: str = "", show_text: bool = False) -> Path:
        """Write page, rows, scores, exposed records, manifest and model card into a new folder, whole or not at all.

        Raises `StoreError` for a folder that is there already, or cannot be written.
        """
        from byheart.audit_folder import written  # pictures are drawn only there

        return written(self, Path(folder), command=command, show_text=show_text)

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
    for epoch, found in scores.items():
        for metric, estimate in _of_model(stats[epoch], split):
            rows.append(_row(called, epoch, metric, estimate))
        sides = (split.membership, split.groups)
        for name, scored in found.items():
            rows += [_row(called, epoch, m, m(scored, *sides), attacks[name], f"{epoch}/{name}") for m in metrics]
        for name, extracted in extractions.get(epoch, {}).items():
            rows += [
                _row(called, epoch, m, m(extracted.extracted, *sides), attacks[name], f"{epoch}/{name}")
                for m in rates()
            ]
    return tuple(rows)


def _of_model(stats: Mapping[str, LogProbs], split: Split) -> Iterator[tuple[Choice, Estimate]]:
    """Yield the metrics that need no attack: perplexities, and the gap between members and non-members."""
    members, everyone = len(split.members), len(split.membership)
    known = {
        "train": part(stats["target"], slice(0, members)),
        "nonmember": part(stats["target"], slice(members, everyone)),
        "validation": stats.get("validation"),
        "member_groups": split.member_groups,
        "validation_groups": split.validation_groups,
    }
    for name in ("perplexity", "train_perplexity", "generalisation_gap"):
        metric = choose("metrics", name)
        if all(known.get(n) is not None for n in metric.needs):
            yield metric, metric(*(known[n] for n in metric.needs))


def _row(
    called: Mapping[str, str],
    epoch: int,
    metric: Choice,
    estimate: Estimate,
    attack: Choice | None = None,
    scores: str = "",
) -> Row:
    blank = dict.fromkeys(("dataset_settings", "method_settings", "training_settings", "cell"), "")
    return row({**called, **blank, "seed": 0}, epoch, metric, estimate, attack, scores)
