"""Tables of an audit, and the audit as text, Markdown, HTML and a dictionary."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from byheart.analysis import formats, row_values
from byheart.analysis.labels import attack_label
from byheart.analysis.token_view import masked_text
from byheart.auditing.canaries.table import canary_table
from byheart.auditing.pass_bounds import pass_table
from byheart.auditing.preregistration import preregistration_table
from byheart.auditing.result import BASE_EPOCH, DEFAULT_EXPOSED, FINETUNED_EPOCH, AuditResult
from byheart.core.types import Estimate, Row, Scores, Table
from byheart.stats.leakage_tests import RecordLabels
from byheart.stats.proportions import share_with_interval
from byheart.tables.extraction import extraction


class MeasuredAudit(Protocol):
    """What the table of attacks reads: of an audit in memory, or of a saved one."""

    @property
    def rows(self) -> tuple[Row, ...]: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def record_labels(self) -> RecordLabels: ...  # noqa: D102
    @property
    def scores(self) -> Mapping[int, Mapping[str, Scores]]: ...  # noqa: D102
    @property
    def left_out(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def has_nonmembers(self) -> bool: ...  # noqa: D102


def attack_table(audit: MeasuredAudit) -> Table:
    """Return a line per attack: AUC and TPR on the fine-tuned model, AUC on the base model; median scores without non-members."""
    if not audit.has_nonmembers:
        return _scores_table(audit)
    lines: list[tuple[str, ...]] = []
    tpr = next((r for r in audit.rows if r.metric == "tpr_at_fpr"), None)
    fpr = float(tpr.metric_settings.removeprefix("fpr=") or 0.01) if tpr else 0.0
    ranked = {attack_label(r): r.value for r in audit.rows if r.metric == "auc" and r.epoch == FINETUNED_EPOCH}
    for name in sorted(ranked, key=lambda n: -ranked[n]):
        cells = [_estimate_text(audit, name, "auc", FINETUNED_EPOCH), _estimate_text(audit, name, "auc", BASE_EPOCH)]
        cells[1:1] = [_estimate_text(audit, name, "tpr_at_fpr", FINETUNED_EPOCH)] if tpr else []
        lines.append((name, *cells))
    header = ("attack", "AUC", *([f"TPR at {100 * fpr:g} % FPR"] if tpr else []), "AUC on the base model")
    members = int(audit.record_labels.membership.sum())
    note = f"{members} members against {len(audit.ids) - members} non-members; 95 % confidence intervals in brackets."
    return Table("Attacks", header, tuple(lines), note + _left_out_note(audit))


def _scores_table(audit: MeasuredAudit) -> Table:
    lines = tuple(
        (
            name,
            *(
                f"{np.median(audit.scores[e][name]):.4f}" if e in audit.scores else ""
                for e in (FINETUNED_EPOCH, BASE_EPOCH)
            ),
        )
        for name in audit.scores[FINETUNED_EPOCH]
    )
    note = f"{len(audit.ids)} members, no non-members: AUC and false positive rate are undefined."
    header = ("attack", "median score", "median score on the base model")
    return Table("Attacks", header, lines, note + _left_out_note(audit))


def _left_out_note(audit: MeasuredAudit) -> str:
    return "".join(f" Not run: {name} ({reason})." for name, reason in audit.left_out.items())


def audit_tables(audit: AuditResult) -> tuple[Table, ...]:
    """Return the tables of preregistration, bounds and canaries if there are any, of attacks, and of extraction if such an attack ran."""
    first = [] if audit.preregistration is None else [preregistration_table(audit.preregistration)]
    first += [pass_table(audit.bounds, audit.provenance["settings"]["fpr"])] if audit.bounds else []
    canaries = canary_table(audit.rows)
    first += [] if canaries is None else [canaries]
    if not audit.extractions.get(FINETUNED_EPOCH):
        return (*first, attack_table(audit))
    extracted = extraction(audit.rows, audit.score_set) if audit.has_nonmembers else _extraction_table(audit)
    return (*first, attack_table(audit), extracted)


def _extraction_table(audit: AuditResult) -> Table:
    """Return the share of training texts that each attack extracts, without non-members."""

    def share(epoch: int, name: str) -> str:
        extraction = audit.extractions.get(epoch, {}).get(name)
        return (
            row_values.MISSING
            if extraction is None
            else row_values.format_estimate(
                Estimate(*share_with_interval(extraction.extracted, audit.record_labels.groups))
            )
        )

    lines = tuple(
        (name, share(FINETUNED_EPOCH, name), share(BASE_EPOCH, name)) for name in audit.extractions[FINETUNED_EPOCH]
    )
    note = "Share of the training texts. Non-members would show the share of unseen texts that the model generates."
    return Table("Extracted training texts", ("attack", "model", "base model"), lines, note)


def _estimate_text(audit: MeasuredAudit, attack: str, metric: str, epoch: int) -> str:
    row = next((r for r in audit.rows if (attack_label(r), r.metric, r.epoch) == (attack, metric, epoch)), None)
    return row_values.format_estimate(row and Estimate(row.value, row.low, row.high))


def exposed_table(
    audit: AuditResult, most: int = DEFAULT_EXPOSED, *, show_text: bool = False, show_private: bool = False
) -> Table:
    """Return the most exposed members as a table, with texts if `show_text` and private values if `show_private`."""
    records = zip(audit.texts.ids, audit.texts.scored, audit.private_values, strict=True) if show_text else ()
    text = {i.removeprefix("member/"): s if show_private else masked_text(s, p) for i, s, p in records}
    lines = tuple(
        (
            e.id,
            f"{e.score:.4f}",
            *([] if e.above is None else [f"{100 * e.above:.1f} %"]),
            *([text[e.id]] if show_text else []),
        )
        for e in audit.exposed_members(most)
    )
    side = "above" if audit.ruling.word == "reversed" else "below"
    below = [f"non-members {side}"] if audit.has_nonmembers else []
    header = ("id", f"score ({audit.ranking_attack})", *below, *(["text"] if show_text else []))
    return Table("Most exposed records", header, lines)


def as_markdown(audit: AuditResult) -> str:
    """Return verdict, warnings and attacks as Markdown, without any record."""
    warnings = "".join(f"- {formats.escape_markdown(w)}\n" for w in audit.warnings)
    tables = "\n".join(map(formats.as_markdown, audit_tables(audit)))
    return f"**{formats.escape_markdown(audit.verdict)}**\n\n{warnings}\n{tables}"


def as_text(audit: AuditResult, *, show_text: bool = False, show_private: bool = False) -> str:
    """Return verdict, warnings and attacks for a terminal, with the ids of the most exposed records."""
    warnings = "".join(f"  - {w}\n" for w in audit.warnings)
    tables = [*audit_tables(audit)]
    if audit.ruling.word in {"leaks", "reversed", "uncompared"}:
        tables.append(exposed_table(audit, show_text=show_text, show_private=show_private))
    return "\n".join([f"{audit.verdict}\n{warnings}", *(formats.as_text(t) for t in tables)])


def as_html(audit: AuditResult) -> str:
    """Return verdict, warnings and attacks as an HTML fragment, without any record."""
    warnings = "".join(f"<li>{html.escape(w)}</li>" for w in audit.warnings)
    tables = "".join(map(_table_html, audit_tables(audit)))
    return f"<p><b>{html.escape(audit.verdict)}</b></p><ul>{warnings}</ul>{tables}"


def _table_html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in table.header)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table><p>{html.escape(table.note)}</p>"


def as_dict(audit: AuditResult) -> dict[str, Any]:
    """Return verdict, warnings, rows and ids of the most exposed records, for programs."""
    return {
        "verdict": audit.ruling.word,
        "sentence": audit.verdict,
        "attack": audit.ruling.attack,
        "warnings": list(audit.warnings),
        "gate": audit.gate and audit.gate.verdict,
        "preregistration": audit.preregistration and audit.preregistration._asdict(),
        "bounds": [{**r._asdict(), "bound": str(r.bound)} for r in audit.bounds],
        "not_run": dict(audit.left_out),
        "exposed": [e._asdict() for e in audit.exposed_members()],
        "rows": json.loads(formats.rows_json(audit.rows)),
        "made": json.loads(json.dumps(audit.provenance, default=str)),
    }
