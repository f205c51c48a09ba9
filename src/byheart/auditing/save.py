"""An audit as a folder: the page, the numbers, the records by id, and what it takes to repeat it."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from byheart.analysis import formats
from byheart.analysis.exposed_records import TokenView
from byheart.analysis.token_view import token_view
from byheart.auditing.render import as_dict, as_markdown, audit_tables, exposed_table
from byheart.auditing.result import AuditResult
from byheart.core.errors import StoreError
from byheart.core.ragged import slice_texts
from byheart.core.types import Row
from byheart.report.page import ReportContent, VerdictSummary, report


def check_output_folder(folder: Path) -> None:
    """Raise `StoreError` for a place where no new folder can be made; asked before an audit is computed."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is there already; write another -o, or remove it")
    if folder.absolute() == Path.cwd():
        raise StoreError(f"{folder} is the folder that you are in; write a new one, as in -o audit")
    near = next(p for p in folder.absolute().parents if p.exists())
    try:
        # Tried, not asked: a disk may be mounted for reading only, and root may write everywhere by its rights.
        TemporaryFile(dir=near).close()
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {near} cannot be written; write another -o") from error


def write_audit(audit: AuditResult, folder: Path, *, command: str, show_text: bool, show_private: bool) -> Path:
    """Write an audit aside and rename it into place; return its folder. Raises `StoreError` as `refuse_folder` does."""
    check_output_folder(folder)
    aside = folder.absolute().with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        for name, content in _contents(audit, command=command, show_text=show_text, show_private=show_private).items():
            (aside / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        if folder.exists():
            folder.rmdir()  # empty, as was asked above
        aside.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}); write another -o") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _contents(audit: AuditResult, *, command: str, show_text: bool, show_private: bool) -> dict[str, str | bytes]:
    manifest = {**as_dict(audit), "command": command}
    for shown_elsewhere in ("rows", "exposed"):
        del manifest[shown_elsewhere]
    everyone = int(audit.record_labels.membership.sum())
    return {
        "report.html": audit_page(audit, command, show_text=show_text, show_private=show_private),
        "rows.json": formats.rows_json(audit.rows),
        "rows.parquet": formats.rows_parquet(audit.rows),
        "scores.parquet": _scores_parquet(audit),
        "exposed.csv": formats.as_csv(exposed_table(audit, everyone, show_text=show_text, show_private=show_private)),
        "manifest.json": json.dumps(manifest, ensure_ascii=False, indent=1, allow_nan=False) + "\n",
        "model_card.md": model_card(audit, command),
    }


def audited_token_view(audit: AuditResult, i: int, *, show_private: bool = False) -> TokenView:
    """Return an audited text, by its position, as the model read it, beside how its base did."""
    own = {epoch: slice_texts(held, slice(i, i + 1)).logp for epoch, held in audit.passes.items()}
    return token_view(audit.pieces(i), own[1], own.get(0), {} if show_private else audit.private_values[i])


def audit_page(audit: AuditResult, command: str = "", *, show_text: bool = False, show_private: bool = False) -> str:
    """Return the report page with the audit's own verdict: one, by one set of rules, and what is doubtful first."""

    def texts(_: Row, places: Sequence[int]) -> list[TokenView]:
        return [audited_token_view(audit, i, show_private=show_private) for i in places]

    gates = {} if audit.gate is None else {(audit.rows[0].dataset, ""): audit.gate}
    shown = ReportContent(audit.rows, audit.score_set, gates, texts=texts if show_text else None)
    spoken = VerdictSummary(audit.ruling.word, audit.verdict, audit.warnings, audit_tables(audit))
    return report(
        shown,
        title=f"Audit of {audit.provenance['model']}",
        provenance=_provenance_lines(audit, command),
        verdict_summary=spoken,
    )


def _provenance_lines(audit: AuditResult, command: str) -> dict[str, str]:
    """Return what the page says last: how it was made."""
    found = {"epochs": "0 is the base, 1 the finished model, however long it was trained"}
    found |= {f"not run: {name}": why for name, why in audit.left_out.items()}
    if audit.gate is not None:
        found["data gate"] = audit.gate.verdict
        found |= {f"data gate: {f.name}": f"{f.verdict}: {f.found}" for f in audit.gate.findings}
    found |= {n: v if isinstance(v, str) else json.dumps(v, default=str) for n, v in audit.provenance.items()}
    return found | ({"command": command} if command else {})


def _scores_parquet(audit: AuditResult) -> bytes:
    """Return every text's id, side and scores as Parquet; scores of the base are named base/ATTACK."""
    # Imported by name: heavy, needed here only, and without types of its own.
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    columns: dict[str, Any] = {
        "id": audit.ids,
        "member": audit.record_labels.membership,
        "group": audit.record_labels.groups,
    }
    for epoch, found in sorted(audit.scores.items(), reverse=True):
        written = {name: given.scores for name, given in audit.extractions.get(epoch, {}).items()}
        columns |= {name if epoch else f"base/{name}": scores for name, scores in {**found, **written}.items()}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({n: pa.array(c) for n, c in columns.items()}), sink)
    return sink.getvalue().to_pybytes()


def model_card(audit: AuditResult, command: str = "") -> str:
    """Return a section for a Hugging Face model card: verdict, warnings, attacks, and how to repeat it."""
    texts, versions = audit.provenance["texts"], audit.provenance["versions"]
    again = f"\n\n```sh\n{command}\n```" if command else ""
    others = f" and {texts['nonmembers']} texts that were not trained on" if audit.has_nonmembers else " alone"
    return (
        "## Memorization audit\n\n"
        f"{as_markdown(audit)}\n"
        f"Membership inference on {texts['members']} training texts{others}, by "
        f"byheart {versions.get('byheart', '')} on {audit.provenance['at'][:10]}. Attacks bound what is known: an attack at chance does "
        f"not show that nothing was memorized.{again}\n"
    )
