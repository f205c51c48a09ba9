"""Tables and figures of a report: their inputs, the entries that a study's rows can fill, and their order on the page."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from byheart.analysis.base_model_check import GatesByDataset
from byheart.analysis.chart import Figure
from byheart.analysis.exposed_records import TokenViewReader
from byheart.analysis.paper_values import PublishedValue
from byheart.analysis.precisions import precision_warning
from byheart.core import defaults, registry
from byheart.core.errors import DataError, UnknownNameError
from byheart.core.registry import Choice
from byheart.core.types import Row, ScoreSet, Table, TextLosses

EXHIBIT_ORDER = (
    "frontier",
    "choices",
    "trajectory",
    "heat_map",
    "methods",
    "published",
    "seeds",
    "gains",
    "extraction",
    "extraction_curve",
    "matched_utility",
    "comparisons",
    "attack_comparisons",
    "loss_density",
    "roc",
    "perplexity",
    "leakage_by_fit",
    "scale_study",
    "models",
    "lora_placement",
    "cells",
    "costs",
    "data_splits",
)
"""Order of tables and figures on the page; other entries of the shelves follow, sorted by name."""


class Exhibit(NamedTuple):
    """One table or figure of the page; exactly one of `table` and `figure` is set. `still` is the figure as base64 SVG."""

    name: str
    title: str
    caption: str
    table: Table | None = None
    figure: Figure | None = None
    still: str = ""


def _no_losses(_: Row) -> TextLosses | None:
    return None


class ReportContent(NamedTuple):
    """Inputs of tables and figures, which request them by these names as positional parameters.

    `scores` returns the scores of a row's `scores` key. `gates` holds the gates by a row's data set and settings.
    `losses` returns the validation texts' losses behind a perplexity row. `papers` are published values. `texts` returns
    token views of records if the user requested texts; only the page reads it.
    """

    rows: Sequence[Row]
    scores: Callable[[str], ScoreSet]
    gates: GatesByDataset = MappingProxyType({})
    losses: Callable[[Row], TextLosses | None] = _no_losses
    papers: Sequence[PublishedValue] = ()
    texts: TokenViewReader | None = None


def make_tables(report_content: ReportContent, chosen: Sequence[Choice] = ()) -> dict[str, Table]:
    """Return the tables that these rows can fill, by name and settings: the chosen ones, or the whole shelf.

    If none is chosen, a table with a setting `metric` is made once for every metric of the rows. The notes warn of rows of
    models that were trained in different precisions.
    """
    if not chosen:
        metrics = sorted(
            {r.metric for r in report_content.rows if r.attack}
            - {"auc", *defaults.COST_METRICS, *defaults.EXTRACTION_METRICS}
        )
        shelf = [registry.choose("tables", name) for name in registry.entry_names("tables")]
        by_metric = [
            registry.choose("tables", c.name, {"metric": m}) for c in shelf if "metric" in c.defaults for m in metrics
        ]
        chosen = [*shelf, *by_metric]
    tables = _call_entries(chosen, report_content)
    warning = precision_warning(report_content.rows)
    return {n: dataclasses.replace(t, note=f"{t.note} {warning}".strip()) if warning else t for n, t in tables.items()}


def make_figures(report_content: ReportContent, chosen: Sequence[Choice] = ()) -> dict[str, Figure]:
    """Return the figures that these rows can fill, by name and settings: the chosen ones, or the whole shelf.

    If none is chosen, a figure with a setting `attack` shows its default attack, or the first measured one.
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


def _call_entries(chosen: Sequence[Choice], report_content: ReportContent) -> dict[str, Any]:
    """Call the entries with the inputs that they request; skip entries that these rows cannot fill (`DataError`)."""
    inputs = report_content._asdict()
    results: dict[str, Any] = {}
    for choice in chosen:
        for need in choice.needs:
            if need not in inputs:
                raise UnknownNameError(f"{choice.shelf} {choice.name}: input", need, inputs)
        try:
            results[f"{choice.name} {choice.label}".strip()] = choice(*(inputs[need] for need in choice.needs))
        except DataError:
            continue
    return results


def page_exhibits(tables: Mapping[str, Table], figures: Mapping[str, Figure]) -> list[Exhibit]:
    """Return the tables and figures with their captions, in the order of the page."""
    return sorted(_exhibits(tables, figures), key=_exhibit_sort_key)


def _exhibits(tables: Mapping[str, Table], figures: Mapping[str, Figure]) -> Iterator[Exhibit]:
    for name, table in tables.items():
        caption = registry.summary(registry.load_function("tables", name.split(" ")[0]))
        yield Exhibit(name, table.title, caption, table)
    for name, figure in figures.items():
        caption = registry.summary(registry.load_function("figures", name.split(" ")[0]))
        # Without scripts the page shows this image instead of the chart.
        still = base64.b64encode(figure.picture("svg", titled=False)).decode()
        yield Exhibit(name, figure.heading or figure.title, caption, figure=figure, still=still)


def _exhibit_sort_key(exhibit: Exhibit) -> tuple[int, str]:
    first = exhibit.name.split(" ")[0]
    return (EXHIBIT_ORDER.index(first) if first in EXHIBIT_ORDER else len(EXHIBIT_ORDER)), exhibit.name
