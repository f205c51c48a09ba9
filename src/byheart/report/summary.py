"""What two pages of a report contain: verdicts, split check, warnings, tables, figures and provenance, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from byheart.analysis.base_model_check import panel_gates
from byheart.analysis.chart import Figure
from byheart.analysis.method_verdict import badge_claim
from byheart.analysis.precisions import precision_warning
from byheart.analysis.verdicts import verdicts
from byheart.core.errors import DataError
from byheart.core.registry import Choice
from byheart.core.types import Table
from byheart.report.exhibits import EXHIBIT_ORDER, ReportContent, make_figures, make_tables

ExhibitType = TypeVar("ExhibitType")
QUESTION = "Can an adversary identify the texts that the models were fine-tuned on?"


class SummaryFinding(NamedTuple):
    """A verdict: its sentence, its word, and the numbers behind it."""

    sentence: str
    word: str
    evidence: str = ""

    @property
    def claim(self) -> str:
        """The claim of the badge."""
        return badge_claim(self.word)


class Summary(NamedTuple):
    """Content of two pages. `gates` are (name, word) of each split check, `provenance` lines by name.

    Figures are before the tables if `is_figure_first`, as on the page of a study.
    """

    title: str
    question: str
    findings: Sequence[SummaryFinding]
    gates: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Figure]
    provenance: Mapping[str, str]
    is_figure_first: bool = False


def study_summary(
    report_content: ReportContent,
    *,
    title: str,
    provenance: Mapping[str, str],
    tables: Sequence[Choice] = (),
    figures: Sequence[Choice] = (),
) -> Summary:
    """Return the summary of a study, from the rows, verdicts, tables and figures of its page.

    Raises `DataError` without rows.
    """
    rows = report_content.rows
    if not rows:
        raise DataError("report: no rows. Run a study first.")
    gates = panel_gates(rows, report_content.scores, report_content.gates)
    by_panel = verdicts(rows, report_content.scores, gates)
    several = len(by_panel) > 1
    findings = [
        SummaryFinding(f"{f'{panel}, ' if several else ''}{v.method}: {v.sentence}.", v.word, v.evidence)
        for panel, panel_verdicts in by_panel.items()
        for v in panel_verdicts
    ]
    warnings = [f"{panel}: {reason}" for panel, gate in gates.items() for reason in gate.reasons]
    warnings += [warning] if (warning := precision_warning(rows)) else []
    return Summary(
        title,
        QUESTION,
        findings or [SummaryFinding("No verdict on leakage: no attack was measured by AUC.", "none")],
        [(panel, gate.verdict) for panel, gate in gates.items()],
        warnings,
        [*in_page_order(make_tables(report_content, tables))],
        [*in_page_order(make_figures(report_content, figures))],
        provenance,
        is_figure_first=True,
    )


def in_page_order(exhibits: Mapping[str, ExhibitType]) -> Iterator[ExhibitType]:
    """Yield tables or figures in the order of the page."""
    known = {name: i for i, name in enumerate(EXHIBIT_ORDER)}
    for name in sorted(exhibits, key=lambda n: (known.get(n.split(" ")[0], len(known)), n)):
        yield exhibits[name]
