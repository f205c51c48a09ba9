"""Published values of papers beside the values of this study.

A published value is one number, mostly without an interval and from one seed, so no test decides whether two values
differ. The table shows whether the published value lies inside the study's interval, and lists all known differences
between the two experiments.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.paper_values import DATA_COUNT_METRICS, PublishedValue
from byheart.core import registry
from byheart.core.config import Data
from byheart.core.errors import DataError
from byheart.core.row import without_initialized
from byheart.core.types import Estimate, Row, Table

RowPredicate = Callable[[Row], bool]
NO_KNOWN_DIFFERENCE = "The files of published values name no difference in models or data."


class ValueComparison(NamedTuple):
    """A published value, the study's rows for the same quantity (one per seed), and the labels of these rows."""

    paper: PublishedValue
    rows: list[Row]
    row_labels: tuple[str, ...]


class RowLabels:
    """Labels of the study's rows beside a published value: data, base, method, attack, measure, epoch."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._data, self._base, self._method = labels.datasets(rows), labels.bases(rows), labels.variants(rows)
        self._attack = labels.attacks([dataclasses.replace(r, metric_settings="") for r in rows if r.attack])
        named = (self._data, self._base, self._method, self._attack)
        self._order = [[row_values.MISSING, *naming.names.values()] for naming in named]

    def __call__(self, paper: PublishedValue, row: Row) -> tuple[str, ...]:
        """Return a row's labels; a count of the data has no method."""
        return (
            self._data(row),
            self._base(row),
            self._method(row) if paper.method or paper.metric not in DATA_COUNT_METRICS else row_values.MISSING,
            self._attack(dataclasses.replace(row, metric_settings="")) if row.attack else row_values.MISSING,
            _metric_with_settings(row),
            row_values.MISSING if row.epoch is None else str(row.epoch),
        )

    def sort_key(self, row_labels: tuple[str, ...]) -> tuple[Any, ...]:
        """Return the position of labels in reading order."""
        return *(order.index(name) for order, name in zip(self._order, row_labels[:4], strict=True)), *row_labels[4:]


def published(rows: Sequence[Row], papers: Sequence[PublishedValue]) -> Table:
    """Published values of papers beside this study's values: difference, and position relative to the interval.

    If study and paper have one base model each, they are compared even if the models differ; else base models are matched
    by name. Raises `DataError` without published values.
    """
    if not papers:
        raise DataError("table published: no published values. Name a file in the study: published: FILE.csv.")
    comparisons: list[ValueComparison] = []
    unmatched: Counter[str] = Counter()
    any_base = len({labels.base_name(p.base) for p in papers if p.base}) == 1 == len({r.base for r in rows})
    row_labels = RowLabels(rows)
    for paper in papers:
        matching, missing = _matching_rows(rows, paper, any_base=any_base)
        if missing:
            unmatched[missing] += 1
        by_labels: dict[tuple[str, ...], list[Row]] = {}
        for row in sorted(matching, key=lambda r: (r.seed, r.cell)):
            by_labels.setdefault(row_labels(paper, row), []).append(row)
        comparisons += [
            ValueComparison(paper, _distinct_counts(paper, by_labels[key]), key)
            for key in sorted(by_labels, key=row_labels.sort_key)
        ]
    header = ("data", "model", "method", "attack", "measure", "epoch")
    columns = [i for i, name in enumerate(header) if name != "model" or len({c.row_labels[i] for c in comparisons}) > 1]
    lines = tuple((*(c.row_labels[i] for i in columns), *_number_cells(c)) for c in comparisons)
    titles = (*(header[i] for i in columns), "this study", "published", "difference", "published value is")
    return Table("Published values beside this study", titles, lines, _note(rows, comparisons, unmatched))


def _matching_rows(rows: Sequence[Row], paper: PublishedValue, *, any_base: bool) -> tuple[list[Row], str]:
    """Return the rows that match a published value; without any, also the first condition that no row fulfills."""
    matching = without_initialized(rows)
    for condition, agrees in _conditions(paper, any_base=any_base):
        matching, before = [r for r in matching if agrees(r)], matching
        if before and not matching:
            return [], condition
    return (matching, "") if paper.epoch is not None else (_last_epoch_rows(matching), "")


def _conditions(paper: PublishedValue, *, any_base: bool) -> Iterator[tuple[str, RowPredicate]]:
    """Yield the conditions that a row must fulfill to match a published value: each in words and as a predicate."""
    yield f"data set {labels.dataset_name(paper.dataset)}", lambda r: r.dataset == paper.dataset
    if paper.base and not any_base:
        name = labels.base_name(paper.base)
        yield f"base model {name}", lambda r: labels.base_name(r.base) == name
    if paper.method:
        yield f"method {labels.method_name(paper.method)}", lambda r: r.method == paper.method
    if paper.method_settings:
        condition = f"{labels.method_name(paper.method)} {paper.method_settings}"
        yield condition, lambda r: _has_settings(paper.method_settings, "methods", r.method, r.method_settings)
    yield (
        f"attack {labels.attack_name(paper.attack)}" if paper.attack else "no attack",
        lambda r: r.attack == paper.attack,
    )
    if paper.attack_settings:
        condition = f"{labels.attack_name(paper.attack)} {paper.attack_settings}"
        yield condition, lambda r: _has_settings(paper.attack_settings, "attacks", r.attack, r.attack_settings)
    yield f"measure {labels.metric_name(paper.metric)}", lambda r: r.metric == paper.metric
    if paper.metric_settings:
        condition = f"{labels.metric_name(paper.metric)} {paper.metric_settings}"
        yield condition, lambda r: _has_settings(paper.metric_settings, "metrics", r.metric, r.metric_settings)
    if paper.epoch is not None:
        yield f"epoch {paper.epoch}", lambda r: r.epoch == paper.epoch


def _has_settings(required_settings: str, shelf: str, name: str, row_settings: str) -> bool:
    """Whether a row's settings (without defaults) agree with the settings that a published value names."""
    settings = {
        n: registry.format_setting(v) for n, v in registry.default_settings(registry.load_function(shelf, name)).items()
    } | row_values.parse_settings(row_settings)
    return all(settings.get(n) == value for n, value in row_values.parse_settings(required_settings).items())


def _last_epoch_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of each model's last epoch, and the rows of whole cells, which have no epoch."""
    last_epochs: dict[str, float] = {}
    for r in rows:
        last_epochs[r.cell] = max(last_epochs.get(r.cell, 0), r.epoch or 0)
    return [r for r in rows if r.epoch is None or r.epoch == last_epochs[r.cell]]


def _metric_with_settings(row: Row) -> str:
    """Return a row's metric with its settings, including defaults: a TPR without its FPR is meaningless."""
    defaults = (
        registry.default_settings(registry.load_function("metrics", row.metric))
        if row.metric in registry.entry_names("metrics")
        else {}
    )
    settings = row.metric_settings or ", ".join(f"{n}={registry.format_setting(v)}" for n, v in defaults.items())
    return f"{labels.metric_name(row.metric)} ({settings})" if settings else labels.metric_name(row.metric)


def _distinct_counts(paper: PublishedValue, rows: list[Row]) -> list[Row]:
    """Return rows of a count without the repetitions over cells; return other rows unchanged, one per seed."""
    return list({r.value: r for r in rows}.values()) if paper.metric in DATA_COUNT_METRICS else rows


def _number_cells(comparison: ValueComparison) -> tuple[str, ...]:
    measured = row_values.pooled_estimate(comparison.rows) or Estimate(math.nan)
    published_value = comparison.paper.value
    position = _position_to_interval(published_value, measured)
    if comparison.paper.metric in DATA_COUNT_METRICS:
        return (
            f"{measured.value:,.0f}",
            f"{published_value:,.0f}",
            f"{measured.value - published_value:,.0f}",
            position,
        )
    return (
        row_values.format_estimate(measured),
        comparison.paper.printed or f"{published_value:.10g}",
        row_values.format_number(measured.value - published_value),
        position,
    )


def _position_to_interval(value: float, measured: Estimate) -> str:
    """Return the position of a published value relative to the interval; without an interval, whether they are equal."""
    if measured.low is None or measured.high is None:
        return "equal" if math.isclose(value, measured.value) else "apart"
    return "below" if value < measured.low else "above" if value > measured.high else "inside"


def _note(rows: Sequence[Row], comparisons: Sequence[ValueComparison], unmatched: Mapping[str, int]) -> str:
    sources = "; ".join(dict.fromkeys(c.paper.source for c in comparisons)) or "none"
    sentences = [f"Published: {sources}."] if comparisons else []
    if any(c.rows[0].low is not None or len(c.rows) > 1 for c in comparisons):
        brackets = row_values.interval_description([r for c in comparisons for r in c.rows])
        sentences.append(
            f"In brackets: {brackets}. Difference: this study minus the published value. Published values vary by chance "
            "too, and papers rarely report how much: a value outside the interval may differ by chance alone."
        )
    if comparisons:
        differences = _known_differences(rows, comparisons)
        sentences.append(f"Known differences: {differences}." if differences else NO_KNOWN_DIFFERENCE)
    if unmatched:
        reasons = ", ".join(f"{reason} ({row_values.format_count(n, 'value')})" for reason, n in unmatched.items())
        sentences.append(
            f"{row_values.format_count(sum(unmatched.values()), 'published value')} without a match in this study; "
            f"missing here: {reasons}."
        )
    return " ".join(sentences)


def _known_differences(rows: Sequence[Row], comparisons: Sequence[ValueComparison]) -> str:
    """Describe, for each data set, the known differences in data and model between this study and the paper."""
    trained = {r.cell: int(r.value) for r in rows if r.metric == "train_texts"}
    data = labels.datasets(rows)
    differences: dict[str, dict[str, None]] = {}
    for paper, matching, _ in comparisons:
        row = matching[0]
        here: dict[str, Any] = {
            "base model": labels.base_name(row.base),
            "texts trained on": trained.get(row.cell),
            "members": row.members,
            "non-members": row.nonmembers,
            "split": row_values.parse_settings(row.dataset_settings).get("split", Data().split),
        }
        in_paper = (labels.base_name(paper.base), paper.train_texts, paper.members, paper.nonmembers, paper.split)
        for (fact, study_value), paper_value in zip(here.items(), in_paper, strict=True):
            if study_value is not None and paper_value and study_value != paper_value:
                study_text, paper_text = (
                    f"{value:,}" if isinstance(value, int) else str(value) for value in (study_value, paper_value)
                )
                differences.setdefault(data(row), {})[f"{fact} {study_text} here, {paper_text} in the paper"] = None
    return "; ".join(f"{name}: {', '.join(facts)}" for name, facts in differences.items())
