"""Write an audit as a folder: report, numbers, exposed records by id, and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from byheart.analysis import formats, labels
from byheart.analysis.base_model_check import unchecked_gate
from byheart.analysis.drawing_space import check_drawing_space
from byheart.analysis.exposed_records import TokenView
from byheart.analysis.token_view import token_view
from byheart.auditing.annex.annex import Annex
from byheart.auditing.model_index import model_index
from byheart.auditing.provenance_lines import provenance_lines
from byheart.auditing.render import as_dict, as_markdown, audit_tables, exposed_table
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH, GIVEN_SCORES, AuditResult
from byheart.core.new_folder import check_new_folder, new_folder
from byheart.core.ragged import slice_texts
from byheart.core.types import Row, Table
from byheart.report.exhibits import ReportContent
from byheart.report.page import VerdictSummary, report
from byheart.store.seal import MANIFEST, sealed_json, sha256

NO_TEXTS = "the split was not checked, because the records have no texts: add their texts"


def check_output_folder(folder: Path) -> None:
    """Raise `StoreError` if no new folder can be created here, and `SettingError` if its report cannot be drawn.

    It is called before an audit is computed.
    """
    check_drawing_space()
    check_new_folder(folder, example="audit")


def write_audit(
    audit: AuditResult, folder: Path, *, command: str, show_text: bool, show_private: bool, annex: Annex | None = None
) -> Path:
    """Write an audit to a temporary folder, rename it into place and return it; raises `StoreError` if it cannot be written."""
    check_drawing_space()
    with new_folder(folder, example="audit") as draft:
        contents = _contents(audit, command=command, show_text=show_text, show_private=show_private, annex=annex)
        for name, content in contents.items():
            (draft / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def _contents(
    audit: AuditResult, *, command: str, show_text: bool, show_private: bool, annex: Annex | None
) -> dict[str, str | bytes]:
    manifest = {**as_dict(audit), "command": command}
    for own_file in ("rows", "exposed"):
        del manifest[own_file]
    members = int(audit.record_labels.membership.sum())
    page = audit_page(audit, command, show_text=show_text, show_private=show_private, annex=annex)
    files: dict[str, str | bytes] = {
        "report.html": page,
        "rows.json": formats.rows_json(audit.rows),
        "rows.parquet": formats.rows_parquet(audit.rows),
        "scores.parquet": _scores_parquet(audit),
        "exposed.csv": formats.as_csv(exposed_table(audit, members, show_text=show_text, show_private=show_private)),
        "model_card.md": model_card(audit, command),
    }
    if index := model_index(audit.rows, audit.provenance):
        files["model_index.yaml"] = index
    if annex is not None:
        files |= {"annex.md": annex.markdown(), "annex.json": annex.json()}
    hashes = {
        name: sha256(content if isinstance(content, bytes) else content.encode()) for name, content in files.items()
    }
    return {**files, MANIFEST: sealed_json({**manifest, "files": hashes})}


def audited_token_view(audit: AuditResult, i: int, *, show_private: bool = False) -> TokenView:
    """Return the token view of the audited text at position `i`."""
    logp = {epoch: slice_texts(passes, slice(i, i + 1)).logp for epoch, passes in audit.passes.items()}
    return token_view(
        audit.pieces(i), logp[FINETUNED_EPOCH], logp.get(BASE_EPOCH), {} if show_private else audit.private_values[i]
    )


def audit_page(
    audit: AuditResult,
    command: str = "",
    *,
    show_text: bool = False,
    show_private: bool = False,
    annex: Annex | None = None,
) -> str:
    """Return the report page with the audit's verdict and warnings first."""

    def texts(_: Row, places: Sequence[int]) -> list[TokenView]:
        return [audited_token_view(audit, i, show_private=show_private) for i in places]

    gate = audit.gate or (unchecked_gate(audit.rows, NO_TEXTS) if audit.provenance["method"] == GIVEN_SCORES else None)
    gates = {} if gate is None else {(audit.rows[0].dataset, ""): gate}
    shown = ReportContent(audit.rows, audit.score_set, gates, texts=texts if show_text and audit.passes else None)
    tables = [_with_display_names(table, audit.rows) for table in audit_tables(audit)]
    spoken = VerdictSummary(audit.ruling.word, audit.verdict, audit.warnings, tables)
    return report(
        shown,
        title=f"Audit of {audit.provenance['model']}",
        provenance=_provenance_lines(audit, command),
        verdict_summary=spoken,
        annex=annex and annex.section(),
    )


def _with_display_names(table: Table, rows: Sequence[Row]) -> Table:
    """Return a table of attacks with the names that the other tables and the figures of the page have."""
    if table.header[0] != "attack":
        return table
    attacks = [row for row in rows if row.attack]
    names = labels.attacks(attacks, of_metrics=False)
    by_label = {labels.attack_label(row): names(row) for row in attacks}
    return replace(table, rows=tuple((by_label.get(line[0], line[0]), *line[1:]) for line in table.rows))


def _provenance_lines(audit: AuditResult, command: str) -> dict[str, str]:
    """Return the provenance section of the page."""
    lines = {"epochs": "0 is the base model, 1 the fine-tuned model, however long it was trained"}
    lines |= {f"not run: {name}": reason for name, reason in audit.left_out.items()}
    if audit.gate is not None:
        lines["split check"] = audit.gate.verdict
        lines |= {f"split check: {f.name}": f"{f.verdict}: {f.found}" for f in audit.gate.findings}
    lines |= provenance_lines(audit.provenance)
    return lines | ({"command": command} if command else {})


def _scores_parquet(audit: AuditResult) -> bytes:
    """Return every text's id, membership, group and scores as Parquet; the base model's scores are named base/ATTACK."""
    # Imported by name, because pyarrow is heavy, used only here, and has no types.
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    columns: dict[str, Any] = {
        "id": audit.ids,
        "member": audit.record_labels.membership,
        "group": audit.record_labels.groups,
    }
    for epoch, membership_scores in sorted(audit.scores.items(), reverse=True):
        extraction_scores = {name: e.scores for name, e in audit.extractions.get(epoch, {}).items()}
        all_scores = {**membership_scores, **extraction_scores}
        columns |= {name if epoch else f"base/{name}": scores for name, scores in all_scores.items()}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({n: pa.array(c) for n, c in columns.items()}), sink)
    return sink.getvalue().to_pybytes()


def model_card(audit: AuditResult, command: str = "") -> str:
    """Return a section for a Hugging Face model card: verdict, warnings, attacks, and the command."""
    texts, versions = audit.provenance["texts"], audit.provenance["versions"]
    code_block = f"\n\n```sh\n{command}\n```" if command else ""
    nonmembers = f" and {texts['nonmembers']} non-members" if audit.has_nonmembers else " without non-members"
    return (
        "## Memorization audit\n\n"
        f"{as_markdown(audit)}\n"
        f"Membership inference on {texts['members']} training texts{nonmembers}, by "
        f"byheart {versions.get('byheart', '')} on {audit.provenance['at'][:10]}. An attack at chance does not show that nothing was "
        f"memorized.{code_block}\n"
    )
