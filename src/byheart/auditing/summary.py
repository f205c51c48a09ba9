"""The summary of an audit's folder for the PDF, from its manifest, rows and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from byheart.analysis import row_values
from byheart.analysis.labels import attack_label
from byheart.auditing.canaries.table import canary_table
from byheart.auditing.pass_bounds import BoundResult, parse_pass_bounds, pass_table
from byheart.auditing.preregistration import Preregistration, preregistration_table
from byheart.auditing.provenance_lines import provenance_lines
from byheart.auditing.render import attack_table
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.saved import SavedAudit, read_audit
from byheart.auditing.verify import RECOMPUTED_METRICS
from byheart.core.errors import StoreError
from byheart.core.registry import choose
from byheart.core.types import Estimate, Row, Table
from byheart.report.exhibits import ReportContent, make_figures
from byheart.report.summary import Summary, SummaryFinding, in_page_order
from byheart.store.seal import SEAL, changed_files

QUESTION = "Can an adversary identify the texts that this model was fine-tuned on?"
SHOWN_PROVENANCE = ("model", "base", "method", "at", "texts", "settings", "data", "inputs", "versions")
"""Lines of provenance, in this order."""
RATES = ("extraction_rate", "extraction_rate_nonmembers")


def audit_summary(folder: Path) -> Summary:
    """Return the summary of an audit in a folder.

    Raises `StoreError` for another folder, and if a file differs from the manifest, because the summary would differ from the page.
    """
    audit = read_audit(folder)
    if changed := changed_files(folder, audit.manifest["files"]):
        raise StoreError(f"{folder}: {changed[0]}. Run byheart verify {folder}, and get the original folder.")
    manifest = audit.manifest
    # Rows of other metrics refer to values that the folder does not have, such as extracted texts.
    attacked = [row for row in audit.rows if row.metric in RECOMPUTED_METRICS]
    chosen = [choose("figures", *entry) for entry in _figures(manifest["attack"], attacked)]
    figures = make_figures(ReportContent(attacked, audit.score_set), chosen) if attacked else {}
    sentence = f"{manifest['sentence'][0].upper()}{manifest['sentence'][1:]}."
    return Summary(
        f"Audit of {audit.provenance['model']}",
        QUESTION,
        [SummaryFinding(sentence, manifest["verdict"])],
        [("Split check", manifest["gate"])] if manifest["gate"] else [],
        manifest["warnings"],
        [*_tables(audit)],
        [*in_page_order(figures)],
        _provenance(manifest),
    )


def _figures(attack: str, rows: Sequence[Row]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the figures with their settings: of the attack behind the verdict, else of the first one."""
    labels_by_row = {attack_label(r): r.attack for r in rows}
    name = labels_by_row.get(attack) or next(iter(labels_by_row.values()), "")
    for figure in ("loss_density", "roc"):
        yield figure, {"attack": name}


def _tables(audit: SavedAudit) -> Iterator[Table]:
    """Yield the tables of the page, in its order."""
    if audit.manifest["preregistration"] is not None:
        saved = audit.manifest["preregistration"]
        lists = (tuple(saved["deviations"]), tuple(saved.get("untested", ())))
        yield preregistration_table(Preregistration(saved["seal"], saved["at"], *lists))
    fpr = audit.provenance["settings"]["fpr"]
    if bounds := [_bound_result(b, fpr) for b in audit.manifest["bounds"]]:
        yield pass_table(bounds, fpr)
    if (canaries := canary_table(audit.rows)) is not None:
        yield canaries
    yield attack_table(audit)
    if any(row.metric == RATES[0] for row in audit.rows):
        yield _extraction_table(audit.rows)


def _extraction_table(rows: Sequence[Row]) -> Table:
    """Return the share of texts that each attack extracts: of members, of non-members, and of members from the base model."""
    cells = {
        (attack_label(r), r.metric, r.epoch): row_values.format_estimate(Estimate(r.value, r.low, r.high)) for r in rows
    }
    columns = ((RATES[0], FINETUNED_EPOCH), (RATES[1], FINETUNED_EPOCH), (RATES[0], BASE_EPOCH))
    attacks = dict.fromkeys(attack_label(r) for r in rows if r.metric == RATES[0])
    lines = tuple((a, *(cells.get((a, *column), row_values.MISSING) for column in columns)) for a in attacks)
    return Table("Share of texts that attacks extract", ("attack", "members", "non-members", "base model"), lines)


def _bound_result(saved: Mapping[str, Any], fpr: float) -> BoundResult:
    (bound,) = parse_pass_bounds([saved["bound"]], fpr=fpr)
    return BoundResult(bound, **{name: value for name, value in saved.items() if name != "bound"})


def _provenance(manifest: Mapping[str, Any]) -> dict[str, str]:
    made = manifest["made"]
    command = {"command": manifest["command"]} if manifest["command"] else {}
    return {**command, **provenance_lines(made, SHOWN_PROVENANCE), "seal": manifest[SEAL]}
