"""Rows and scores as one self-contained HTML page: what leaked in plain words, then the evidence, then how it was made.

The page loads nothing: style, scripts and numbers are in it, and a Content-Security-Policy forbids the network and every
script but its own two, told by their hashes. Labels may come from strangers, so jinja2 escapes all of them, and the
scripts write them as text. Without scripts the words, the tables and a still of every figure are there.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

from byheart.analysis import formats, labels
from byheart.analysis.base_model_check import GatesByDataset, panel_gates
from byheart.analysis.chart import Figure
from byheart.analysis.exposed_records import TokenViewReader, exposed_records
from byheart.analysis.paper_values import PublishedValue
from byheart.analysis.verdicts import last_epoch_auc_rows, verdicts
from byheart.core import defaults, registry
from byheart.core.errors import DataError, UnknownNameError
from byheart.core.registry import Choice
from byheart.core.types import Row, ScoreSet, Table, TextLosses
from byheart.report import page_data
from byheart.report.vega_bundle import vega_script

EXHIBIT_ORDER = (
    "frontier",
    "trajectory",
    "heat_map",
    "methods",
    "published",
    "gains",
    "extraction",
    "extraction_curve",
    "matched_utility",
    "comparisons",
    "attack_comparisons",
    "loss_density",
    "roc",
    "perplexity",
    "scale_study",
    "models",
    "lora_placement",
    "cells",
    "costs",
    "data_splits",
)
"""What is shown first; other entries of the shelves follow by name."""


class Exhibit(NamedTuple):
    """One table or figure as the page shows it; of `table` and `figure` one is set. `still` is the figure as an SVG."""

    name: str
    title: str
    caption: str
    table: Table | None = None
    figure: Figure | None = None
    still: str = ""


class VerdictSummary(NamedTuple):
    """A verdict in words: one for programs, a sentence, what is doubtful and to be read first, and its tables."""

    word: str
    sentence: str
    doubts: Sequence[str]
    tables: Sequence[Table]


def _no_losses(_: Row) -> TextLosses | None:
    return None


class ReportContent(NamedTuple):
    """What tables and figures may ask for, by position and by these names.

    `scores` looks scores up by a row's `scores`; `gates` holds the gates of the data by a row's data set and settings;
    `losses` looks up the validation texts' losses behind a row of perplexity. `papers` are values that papers print. `texts`
    gives the texts of records, where the reader asked for them: the page alone reads them.
    """

    rows: Sequence[Row]
    scores: Callable[[str], ScoreSet]
    gates: GatesByDataset = MappingProxyType({})
    losses: Callable[[Row], TextLosses | None] = _no_losses
    papers: Sequence[PublishedValue] = ()
    texts: TokenViewReader | None = None


def report(
    report_content: ReportContent,
    *,
    title: str,
    provenance: Mapping[str, str],
    tables: Sequence[Choice] = (),
    figures: Sequence[Choice] = (),
    verdict_summary: VerdictSummary | None = None,
) -> str:
    """Return the page. `made` says how the numbers came about, by name: settings, versions, command.

    `tables` and `figures` are those to show; without them, all of the shelf that have something to show. `spoken` is a
    verdict that was reached elsewhere, in place of the study's own. Raises `DataError` where there are no rows.
    """
    rows = report_content.rows
    if not rows:
        raise DataError("a report needs rows, and there are none; run a study first")
    import jinja2
    from markupsafe import Markup

    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("byheart.report").joinpath("templates", "report.html.jinja").read_text(encoding="utf-8")
    gates = panel_gates(rows, report_content.scores, report_content.gates)
    told = {} if verdict_summary else verdicts(rows, report_content.scores, gates)
    left = min([0.4, *(math.floor(10 * v.auc.low) / 10 for those in told.values() for v in those)])
    drawn = make_figures(report_content, figures)
    leaking = {(panel, v.method) for panel, those in told.items() for v in those if v.word == "leaks"}
    if verdict_summary and verdict_summary.word == "leaks":
        panels, variants = labels.panels(rows), labels.variants(rows)
        leaking = {(panels(r), variants(r)) for r in rows}
    records = exposed_records(rows, report_content.scores, leaking, report_content.texts)
    given = {f"{c.name} {c.label}".strip(): c.explicit_settings for c in figures}
    slugs = {name: _slug(name, nth) for nth, name in enumerate(drawn)}
    offered = page_data.switches(rows)
    held = page_data.page_content(
        rows,
        offered,
        {slugs[n]: f for n, f in drawn.items()},
        {slugs[n]: g for n, g in given.items() if n in slugs},
        records,
    )
    exhibits = sorted(_exhibits(make_tables(report_content, tables), drawn), key=_exhibit_sort_key)
    first = next((e for e in exhibits if e.figure), None)
    scripts = [vega_script(), page_data.script()] if drawn or records else []
    return page.from_string(source).render(
        title=title,
        made=provenance,
        lines=_table_lines,
        numeric=formats.numeric_columns,
        gates=gates,
        verdicts=told,
        spoken=verdict_summary,
        tests=len(last_epoch_auc_rows(rows)),
        first=first,
        exhibits=[e for e in exhibits if e is not first],
        slugs=slugs,
        switches=offered,
        picked=held["picked"],
        records=len(records),
        policy=" ".join(map(page_data.csp_hash, scripts)) or "'none'",
        scripts=[Markup(s) for s in scripts],  # noqa: S704 - our own files
        style=Markup(page_data.style()),  # noqa: S704 - the same
        data=page_data.compress_json(held),
        # From 0 to 100 on the summary's axis, which starts at a round number below every interval and below guessing.
        place=lambda value: round(100 * (value - left) / (1 - left), 2),
    )


def make_tables(report_content: ReportContent, chosen: Sequence[Choice] = ()) -> dict[str, Table]:
    """Return the chosen tables, or all of the shelf, that these results can fill, by name and settings.

    Unless chosen, one that has a `metric` is made for each.
    """
    if not chosen:
        metrics = sorted(
            {r.metric for r in report_content.rows if r.attack}
            - {"auc", *defaults.COST_METRICS, *defaults.EXTRACTION_METRICS}
        )
        every = [registry.choose("tables", n) for n in registry.entry_names("tables")]
        others = [
            registry.choose("tables", c.name, {"metric": m}) for c in every if "metric" in c.defaults for m in metrics
        ]
        chosen = [*every, *others]
    return _call_entries(chosen, report_content)


def make_figures(report_content: ReportContent, chosen: Sequence[Choice] = ()) -> dict[str, Figure]:
    """Return the chosen figures, or all of the shelf, that these results can fill, by name and settings.

    Unless chosen, one that is of an `attack` is of the first that was measured, where its own default was not.
    """
    return _call_entries(
        chosen
        or [
            _with_measured_attack(registry.choose("figures", n), report_content.rows)
            for n in registry.entry_names("figures")
        ],
        report_content,
    )


def _with_measured_attack(choice: Choice, rows: Sequence[Row]) -> Choice:
    attacks = sorted({r.attack for r in rows if r.attack})
    if not attacks or choice.defaults.get("attack", attacks[0]) in attacks:
        return choice
    return registry.choose(choice.shelf, choice.name, {"attack": attacks[0]})


def _slug(name: str, nth: int) -> str:
    """Return what the page's script calls a figure: settings may hold what no attribute keeps as it is."""
    return name if re.fullmatch(r"[a-z0-9_]+", name) else f"{name.split(' ', maxsplit=1)[0]}-{nth}"


def _call_entries(chosen: Sequence[Choice], report_content: ReportContent) -> dict[str, Any]:
    """Call entries with the data that they ask for; leave out those to which these results give nothing to show."""
    known = report_content._asdict()
    made: dict[str, Any] = {}
    for choice in chosen:
        for need in choice.needs:
            if need not in known:
                raise UnknownNameError(f"data of {choice.shelf} {choice.name}", need, known)
        try:
            made[f"{choice.name} {choice.label}".strip()] = choice(*(known[n] for n in choice.needs))
        except DataError:
            continue
    return made


def _exhibits(tables: Mapping[str, Table], figures: Mapping[str, Figure]) -> Iterator[Exhibit]:
    for name, table in tables.items():
        caption = registry.summary(registry.load_function("tables", name.split(" ")[0]))
        yield Exhibit(name, table.title, caption, table)
    for name, figure in figures.items():
        caption = registry.summary(registry.load_function("figures", name.split(" ")[0]))
        # Where no script runs, a picture stands in the chart's place.
        still = base64.b64encode(figure.picture("svg", titled=False)).decode()
        yield Exhibit(name, figure.heading or figure.title, caption, figure=figure, still=still)


def _exhibit_sort_key(exhibit: Exhibit) -> tuple[int, str]:
    first = exhibit.name.split(" ")[0]
    return (EXHIBIT_ORDER.index(first) if first in EXHIBIT_ORDER else len(EXHIBIT_ORDER)), exhibit.name


class _Cell(NamedTuple):
    value: str
    interval: str
    again: bool


def _table_lines(table: Table) -> list[tuple[bool, list[_Cell]]]:
    """Return a table's lines for the page: whether a new group starts, and the cells.

    "0.852 [0.840, 0.864]" is parted, so that the interval can be set small. A leading label that only repeats the one
    above it is marked; the last label column tells lines apart and never is.
    """
    labelled = max(formats.numeric_columns(table).index(True) if any(formats.numeric_columns(table)) else 0, 1) - 1
    lines: list[tuple[bool, list[_Cell]]] = []
    above: tuple[str, ...] = ()
    for row in table.rows:
        same = [row[: i + 1] == above[: i + 1] and i < labelled for i in range(len(row))]
        parted = [re.fullmatch(r"(\S+) (\[[^\]]*\])", cell) for cell in row]
        cells = [_Cell(p[1], p[2], s) if p else _Cell(c, "", s) for c, p, s in zip(row, parted, same, strict=True)]
        lines.append((bool(above) and not all(same[:labelled]), cells))
        above = row
    return lines
