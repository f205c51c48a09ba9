"""Self-contained HTML page from rows and scores: the verdicts, the evidence, and the settings behind the numbers.

The page loads nothing: style, scripts and numbers are inside it. Its Content-Security-Policy forbids the network and
allows only the page's own two scripts, identified by their hashes. Labels may come from untrusted sources, so jinja2
escapes all of them, and the scripts write them as text. Without scripts the page shows its text, its tables and a static
image of every figure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from byheart.analysis import formats, labels
from byheart.analysis.base_model_check import panel_gates
from byheart.analysis.chart_points import attacks_by_adversary
from byheart.analysis.exposed_records import exposed_records
from byheart.analysis.method_verdict import MethodVerdict, badge_claim
from byheart.analysis.model_choices import choice_summaries
from byheart.analysis.precisions import precision_warning
from byheart.analysis.verdicts import trained_auc_rows, verdicts
from byheart.core.errors import DataError
from byheart.core.registry import Choice
from byheart.core.types import Row, Table
from byheart.report import page_data
from byheart.report.exhibits import ReportContent, make_figures, make_tables, page_exhibits
from byheart.report.vega_bundle import vega_script


class VerdictSummary(NamedTuple):
    """A verdict: one word for programs, a sentence, the doubts that the page shows first, and its tables."""

    word: str
    sentence: str
    doubts: Sequence[str]
    tables: Sequence[Table]

    @property
    def claim(self) -> str:
        """The claim of the badge."""
        return badge_claim(self.word)


class PageSection(NamedTuple):
    """A section of text and tables, with a list of items under its own heading."""

    title: str
    paragraphs: Sequence[str]
    tables: Sequence[Table]
    list_title: str
    entries: Sequence[str]


def report(
    report_content: ReportContent,
    *,
    title: str,
    provenance: Mapping[str, str],
    unfinished: Sequence[str] = (),
    tables: Sequence[Choice] = (),
    figures: Sequence[Choice] = (),
    verdict_summary: VerdictSummary | None = None,
    annex: PageSection | None = None,
) -> str:
    """Return the page as HTML. `provenance` lists how the numbers were made, by name: settings, versions, command.

    `unfinished` are sentences about studies that lack cells. `tables` and `figures` select the exhibits; empty means every shelf
    entry that these rows can fill. `verdict_summary` replaces the study's own verdicts, for an audit; `annex` is a section of an audit.
    Raises `DataError` without rows.
    """
    rows = report_content.rows
    if not rows:
        raise DataError("report: no rows. Run a study first.")
    gates = panel_gates(rows, report_content.scores, report_content.gates)
    method_verdicts = {} if verdict_summary else verdicts(rows, report_content.scores, gates)
    figures_by_name = make_figures(report_content, figures)
    records = _records_of_leaking_methods(report_content, method_verdicts, verdict_summary)
    settings = {f"{c.name} {c.label}".strip(): c.explicit_settings for c in figures}
    slugs = {name: _slug(name, number) for number, name in enumerate(figures_by_name)}
    switch_options = page_data.switches(rows)
    content = page_data.page_content(
        rows,
        switch_options,
        {slugs[name]: figure for name, figure in figures_by_name.items()},
        {slugs[name]: pinned for name, pinned in settings.items() if name in slugs},
        records,
    )
    exhibits = page_exhibits(make_tables(report_content, tables), figures_by_name)
    first = next((e for e in exhibits if e.figure), None)
    scripts = [vega_script(), page_data.script()] if figures_by_name or records else []
    return _template().render(
        title=title,
        provenance=provenance,
        unfinished=unfinished,
        lines=_table_lines,
        numeric=formats.numeric_columns,
        gates=gates,
        verdicts=method_verdicts,
        verdict_summary=verdict_summary,
        choices={} if verdict_summary else choice_summaries(rows, report_content.scores, gates),
        precision_warning=precision_warning(rows),
        epochs=page_data.observed_epochs(rows),
        tests=len(trained_auc_rows(rows)),
        first=first,
        exhibits=[e for e in exhibits if e is not first],
        slugs=slugs,
        switches=switch_options,
        adversaries=attacks_by_adversary(rows),
        picked=content["picked"],
        records=len(records),
        annex=annex,
        **_style_and_scripts(scripts),
        data=page_data.compress_json(content),
        place=_axis_position(method_verdicts),
    )


def _records_of_leaking_methods(
    report_content: ReportContent,
    method_verdicts: Mapping[str, Sequence[MethodVerdict]],
    verdict_summary: VerdictSummary | None,
) -> list[dict[str, Any]]:
    """Return the most exposed records of the methods that leak, in either direction."""
    rows, scores, texts = report_content.rows, report_content.scores, report_content.texts
    leaking, reversed_methods = (
        _methods_with_verdict(word, rows, method_verdicts, verdict_summary) for word in ("leaks", "reversed")
    )
    return exposed_records(rows, scores, leaking, texts, reversed_methods=reversed_methods)


def _style_and_scripts(scripts: Sequence[str]) -> dict[str, Any]:
    """Return the page's style and scripts, and the content security policy that allows only these scripts."""
    from markupsafe import Markup

    return {
        "policy": " ".join(map(page_data.csp_hash, scripts)) or "'none'",
        "scripts": [Markup(s) for s in scripts],  # noqa: S704 - files of this package
        "style": Markup(page_data.style()),  # noqa: S704 - a file of this package
    }


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("byheart.report").joinpath("templates", "report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


def _methods_with_verdict(
    word: str,
    rows: Sequence[Row],
    method_verdicts: Mapping[str, Sequence[MethodVerdict]],
    verdict_summary: VerdictSummary | None,
) -> set[tuple[str, str]]:
    """Return the panel and name of each method with this verdict; all of them if an audit has it."""
    if verdict_summary and verdict_summary.word == word:
        panels, variants = labels.panels(rows), labels.variants(rows)
        return {(panels(r), variants(r)) for r in rows}
    return {(panel, v.method) for panel, verdict in method_verdicts.items() for v in verdict if v.word == word}


def _axis_position(method_verdicts: Mapping[str, Sequence[MethodVerdict]]) -> Callable[[float], float]:
    """Return the function from an AUC to its position (0 to 100) on the axis of the verdicts.

    The axis ends at 1 and starts at a round number below every interval and below chance.
    """
    start = min([0.4, *(math.floor(10 * v.auc.low) / 10 for verdict in method_verdicts.values() for v in verdict)])
    return lambda auc: round(100 * (auc - start) / (1 - start), 2)


def _slug(name: str, number: int) -> str:
    """Return a figure's id in the page's script; settings may contain characters that HTML attributes change."""
    return name if re.fullmatch(r"[a-z0-9_]+", name) else f"{name.split(' ', maxsplit=1)[0]}-{number}"


class _Cell(NamedTuple):
    """A cell of a table: its value, its interval, and whether it repeats the label above it."""

    value: str
    interval: str
    again: bool


def _table_lines(table: Table) -> list[tuple[bool, list[_Cell]]]:
    """Return a table's lines for the page: whether a new group starts, and the cells.

    "0.852 [0.840, 0.864]" is split, so that the page prints the interval smaller. A leading label that repeats the label
    above it is marked, except in the last label column, which distinguishes the lines.
    """
    label_columns = max(formats.numeric_columns(table).index(True) if any(formats.numeric_columns(table)) else 0, 1) - 1
    lines: list[tuple[bool, list[_Cell]]] = []
    previous: tuple[str, ...] = ()
    for row in table.rows:
        repeats = [row[: i + 1] == previous[: i + 1] and i < label_columns for i in range(len(row))]
        estimates = [re.fullmatch(r"(\S+) (\[[^\]]*\])", cell) for cell in row]
        cells = [
            _Cell(estimate[1], estimate[2], repeat) if estimate else _Cell(cell, "", repeat)
            for cell, estimate, repeat in zip(row, estimates, repeats, strict=True)
        ]
        lines.append((bool(previous) and not all(repeats[:label_columns]), cells))
        previous = row
    return lines
