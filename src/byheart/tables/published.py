"""Values that papers print, beside what was measured here.

Published values come as one number each, mostly without an interval and of one seed, so that no test tells whether two
differ. What is said is whether the value lies inside our interval, and everything known to differ in how the two were got.
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
from byheart.core.types import Estimate, Row, Table

RowPredicate = Callable[[Row], bool]
NO_KNOWN_DIFFERENCE = "Of models and data the papers' files say nothing in which ours differ."


class ValueComparison(NamedTuple):
    """A published value, the rows of ours that it stands beside, one a seed, and what these are called."""

    paper: PublishedValue
    rows: list[Row]
    row_labels: tuple[str, ...]


class RowLabels:
    """What rows of ours are called beside a published value: data, base, method, attack, measure, epoch."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._data, self._base, self._method = labels.datasets(rows), labels.bases(rows), labels.variants(rows)
        self._attack = labels.attacks([dataclasses.replace(r, metric_settings="") for r in rows if r.attack])
        named = (self._data, self._base, self._method, self._attack)
        self._order = [[row_values.MISSING, *naming.names.values()] for naming in named]

    def __call__(self, paper: PublishedValue, row: Row) -> tuple[str, ...]:
        """Return a row's names; a count of the data is of no method."""
        return (
            self._data(row),
            self._base(row),
            self._method(row) if paper.method or paper.metric not in DATA_COUNT_METRICS else row_values.MISSING,
            self._attack(dataclasses.replace(row, metric_settings="")) if row.attack else row_values.MISSING,
            _metric_with_settings(row),
            row_values.MISSING if row.epoch is None else str(row.epoch),
        )

    def sort_key(self, called: tuple[str, ...]) -> tuple[Any, ...]:
        """Return where names stand in reading order."""
        return *(order.index(name) for order, name in zip(self._order, called[:4], strict=True)), *called[4:]


def published(rows: Sequence[Row], papers: Sequence[PublishedValue]) -> Table:
    """Values of papers beside ours: the difference, and whether the published value lies inside our interval.

    Where study and paper have one base model each, these stand beside one another even if they are two; else bases pair up
    by name. Raises `DataError` where the study names no published values.
    """
    if not papers:
        raise DataError("no values of papers stand beside these rows; name a file of them: published: FILE.csv")
    found: list[ValueComparison] = []
    lacking: Counter[str] = Counter()
    alone = len({labels.base_name(p.base) for p in papers if p.base}) == 1 == len({r.base for r in rows})
    names = RowLabels(rows)
    for paper in papers:
        there, missing = _matching_rows(rows, paper, any_base=alone)
        if missing:
            lacking[missing] += 1
        split: dict[tuple[str, ...], list[Row]] = {}
        for row in sorted(there, key=lambda r: (r.seed, r.cell)):
            split.setdefault(names(paper, row), []).append(row)
        found += [
            ValueComparison(paper, _distinct_counts(paper, split[called]), called)
            for called in sorted(split, key=names.sort_key)
        ]
    header = ("data", "model", "method", "attack", "measure", "epoch")
    kept = [i for i, name in enumerate(header) if name != "model" or len({b.row_labels[i] for b in found}) > 1]
    lines = tuple((*(b.row_labels[i] for i in kept), *_number_cells(b)) for b in found)
    titles = (*(header[i] for i in kept), "ours", "published", "difference", "published lies")
    return Table("Published values beside ours", titles, lines, _note(rows, found, lacking))


def _matching_rows(rows: Sequence[Row], paper: PublishedValue, *, any_base: bool) -> tuple[list[Row], str]:
    """Return the rows that a published value is of, and where there are none, the first thing that none of ours is."""
    left = list(rows)
    for what, agrees in _conditions(paper, any_base=any_base):
        left, before = [r for r in left if agrees(r)], left
        if before and not left:
            return [], what
    return (left, "") if paper.epoch is not None else (_last_epoch_rows(left), "")


def _conditions(paper: PublishedValue, *, any_base: bool) -> Iterator[tuple[str, RowPredicate]]:
    """Yield what a published value says that it is of, in words and as what a row of ours must fulfil."""
    yield f"data set {labels.dataset_name(paper.dataset)}", lambda r: r.dataset == paper.dataset
    if paper.base and not any_base:
        name = labels.base_name(paper.base)
        yield f"base model {name}", lambda r: labels.base_name(r.base) == name
    if paper.method:
        yield f"method {labels.method_name(paper.method)}", lambda r: r.method == paper.method
    if paper.method_settings:
        told = f"{labels.method_name(paper.method)} {paper.method_settings}"
        yield told, lambda r: _has_settings(paper.method_settings, "methods", r.method, r.method_settings)
    yield (
        f"attack {labels.attack_name(paper.attack)}" if paper.attack else "no attack",
        lambda r: r.attack == paper.attack,
    )
    if paper.attack_settings:
        told = f"{labels.attack_name(paper.attack)} {paper.attack_settings}"
        yield told, lambda r: _has_settings(paper.attack_settings, "attacks", r.attack, r.attack_settings)
    yield f"measure {labels.metric_name(paper.metric)}", lambda r: r.metric == paper.metric
    if paper.metric_settings:
        told = f"{labels.metric_name(paper.metric)} {paper.metric_settings}"
        yield told, lambda r: _has_settings(paper.metric_settings, "metrics", r.metric, r.metric_settings)
    if paper.epoch is not None:
        yield f"epoch {paper.epoch}", lambda r: r.epoch == paper.epoch


def _has_settings(required_settings: str, on: str, name: str, row_settings: str) -> bool:
    """Whether settings as rows tell them, which leave defaults out, are those that a paper names."""
    own = {
        n: registry.format_setting(v) for n, v in registry.default_settings(registry.load_function(on, name)).items()
    } | row_values.parse_settings(row_settings)
    return all(own.get(n) == value for n, value in row_values.parse_settings(required_settings).items())


def _last_epoch_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of each model's last epoch; those of a whole cell have none."""
    ends: dict[str, int] = {}
    for r in rows:
        ends[r.cell] = max(ends.get(r.cell, 0), r.epoch or 0)
    return [r for r in rows if r.epoch is None or r.epoch == ends[r.cell]]


def _metric_with_settings(row: Row) -> str:
    """Name a row's metric with its settings, the defaults too: a rate at a rate that is not named says nothing."""
    known = (
        registry.default_settings(registry.load_function("metrics", row.metric))
        if row.metric in registry.entry_names("metrics")
        else {}
    )
    told = row.metric_settings or ", ".join(f"{n}={registry.format_setting(v)}" for n, v in known.items())
    return f"{labels.metric_name(row.metric)} ({told})" if told else labels.metric_name(row.metric)


def _distinct_counts(paper: PublishedValue, rows: list[Row]) -> list[Row]:
    """Return rows of a count, which every cell on the data repeats, once each; any other as they are, one a seed."""
    return list({r.value: r for r in rows}.values()) if paper.metric in DATA_COUNT_METRICS else rows


def _number_cells(beside: ValueComparison) -> tuple[str, ...]:
    ours = row_values.pooled_estimate(beside.rows) or Estimate(math.nan)
    theirs = beside.paper.value
    if beside.paper.metric in DATA_COUNT_METRICS:
        return (
            f"{ours.value:,.0f}",
            f"{theirs:,.0f}",
            f"{ours.value - theirs:,.0f}",
            _position_to_interval(theirs, ours),
        )
    told = beside.paper.printed or f"{theirs:.10g}"
    return (
        row_values.format_estimate(ours),
        told,
        row_values.format_number(ours.value - theirs),
        _position_to_interval(theirs, ours),
    )


def _position_to_interval(value: float, measured: Estimate) -> str:
    """Say where a published value lies, seen from our interval; without one, whether it is the same."""
    if measured.low is None or measured.high is None:
        return "equal" if math.isclose(value, measured.value) else "apart"
    return "below" if value < measured.low else "above" if value > measured.high else "inside"


def _note(rows: Sequence[Row], found: Sequence[ValueComparison], lacking: Mapping[str, int]) -> str:
    sources = "; ".join(dict.fromkeys(b.paper.source for b in found)) or "none"
    sentences = [f"Published: {sources}."] if found else []
    if any(b.rows[0].low is not None or len(b.rows) > 1 for b in found):
        spread = row_values.interval_description([r for b in found for r in b.rows])
        sentences.append(
            f"In brackets the {spread}; the difference is ours less the published value. Published values have chance of "
            "their own, of which papers mostly tell nothing: one outside our interval may still differ by chance alone."
        )
    if found:
        apart = _known_differences(rows, found)
        sentences.append(f"What is known to differ: {apart}." if apart else NO_KNOWN_DIFFERENCE)
    if lacking:
        told = ", ".join(f"{what} ({row_values.format_count(n, 'value')})" for what, n in lacking.items())
        sentences.append(
            f"Nothing of ours stands beside {sum(lacking.values())} published values: not run here: {told}."
        )
    return " ".join(sentences)


def _known_differences(rows: Sequence[Row], found: Sequence[ValueComparison]) -> str:
    """Say, for each data set, in what of data and model ours are known to differ from the paper's."""
    trained = {r.cell: int(r.value) for r in rows if r.metric == "train_texts"}
    data = labels.datasets(rows)
    told: dict[str, dict[str, None]] = {}
    for paper, ours, _ in found:
        row = ours[0]
        here: dict[str, Any] = {
            "base model": labels.base_name(row.base),
            "texts trained on": trained.get(row.cell),
            "members": row.members,
            "non-members": row.nonmembers,
            "split": row_values.parse_settings(row.dataset_settings).get("split", Data().split),
        }
        there = (labels.base_name(paper.base), paper.train_texts, paper.members, paper.nonmembers, paper.split)
        for (what, own), theirs in zip(here.items(), there, strict=True):
            if own is not None and theirs and own != theirs:
                spelled = tuple(f"{v:,}" if isinstance(v, int) else str(v) for v in (own, theirs))
                told.setdefault(data(row), {})[f"{what} {spelled[0]} here, {spelled[1]} there"] = None
    return "; ".join(f"{name}: {', '.join(what)}" for name, what in told.items())
