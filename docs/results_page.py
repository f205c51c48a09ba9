"""Writes docs/results/README.md from docs/results.jinja: every number comes from a packed study, pooled over its seeds and splits.

The interval of a pooled number covers other texts and other training seeds, as in the table `seeds`.
"""

import csv
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from choose_page import equal_perplexity
from page_numbers import DOCS, METHODS, Number, environment, found_number, packed_store, results, table_cells

from byheart.analysis import row_values
from byheart.analysis.comparisons import SIGNIFICANCE_MARK
from byheart.analysis.method_verdict import MethodVerdict
from byheart.analysis.pooled_estimates import pooled_over_splits
from byheart.analysis.verdicts import verdicts
from byheart.core.row import is_base_row
from byheart.core.split_check import Gate
from byheart.core.types import Row, ScoreSet
from byheart.store.rows import read_gates, score_reader, study_rows

TEMPLATE, PAGE = DOCS / "results.jinja", DOCS / "results" / "README.md"
MINUS = "\N{MINUS SIGN}"
PAPER_TABLES = DOCS.parent / "studies" / "paper"


class Packed(NamedTuple):
    """Rows, scores and split checks of a packed study."""

    rows: list[Row]
    scores: Callable[[str], ScoreSet]
    gates: Mapping[tuple[str, str], Gate]


@cache
def packed(study: str) -> Packed:
    """Return a packed study of docs/results."""
    store = packed_store(study)
    return Packed(study_rows(store), score_reader(store), read_gates(store))


def page(lookup: Callable[[str], Packed] = packed) -> str:
    """Return the page. Raises `ValueError` if the rows do not carry a sentence."""

    def number(study: str, metric: str, *, epoch: float | None = None, **settings: object) -> Number:
        return pooled_number(lookup(study), metric, epoch, settings)

    def base(study: str, metric: str, **settings: object) -> Number:
        return pooled_number(lookup(study), metric, 0, settings, of_base=True)

    def initialized(study: str, metric: str, **settings: object) -> Number:
        return pooled_number(lookup(study), metric, 0, settings, of_initialized=True)

    def fact(study: str, metric: str) -> int:
        (value,) = {r.value for r in lookup(study).rows if r.metric == metric}
        return int(value)

    def rate(study: str, method: str) -> str:
        (value,) = {r.value for r in lookup(study).rows if (r.metric, r.method) == ("learning_rate", method)}
        return f"{value:g}"

    def verdict(study: str, method: str, base: str | None = None) -> MethodVerdict:
        names = {v: k for k, v in METHODS.items()}
        found = lookup(study)
        rows = [row for row in found.rows if base in {None, row.base}]
        (of_panel,) = verdicts(rows, found.scores, found.gates).values()
        (of_method,) = (v for v in of_panel if v.method.startswith(names[method]))
        return of_method

    def gate(study: str) -> Gate:
        (found,) = lookup(study).gates.values()
        return found

    made = environment()
    made.filters |= {"decimals": decimals, "plainly": lambda number: f"{number.value:g}"}
    return made.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        n=number,
        base=base,
        fact=fact,
        rate=rate,
        verdict=verdict,
        gate=gate,
        paper=paper_number,
        seeds=lambda study: len({r.seed for r in lookup(study).rows}),
        finding=lambda study, name: next(f.value for f in gate(study).findings if f.name == name),
        blind=lambda study: max(f.value for f in gate(study).blind_classifiers),
        minus=lambda study, within, first, second: difference(study, within, first, second)[0],
        differ=lambda study, within, first, second: difference(study, within, first, second)[1],
        groups=lambda study: audited_groups(lookup(study)),
        initialized=initialized,
        equal=equal_perplexity,
        earlier=lambda study, metric, **settings: found_number(results(study), study, metric, settings),
    )


def decimals(number: Number) -> str:
    """Return a number above 1 with its interval: "6.35 [5.02, 7.58]"."""
    return f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"


def pooled_number(
    study: Packed,
    metric: str,
    epoch: float | None,
    settings: Mapping[str, object],
    *,
    of_base: bool = False,
    of_initialized: bool = False,
) -> Number:
    """Return a metric's mean over seeds and splits at an epoch (None: the last one), with its interval."""
    wanted = {name: str(value) for name, value in settings.items()}
    found = [
        r
        for r in study.rows
        if r.metric == metric
        and r.initialized == of_initialized
        and all(str(getattr(r, n)) == v for n, v in wanted.items())
    ]
    if of_base:
        found = [r for r in found if is_base_row(r)]
    elif not of_initialized:
        found = row_values.rows_at_epoch(found, epoch)
    methods, kinds = {r.method for r in found}, {(r.attack, r.attack_settings, r.metric_settings) for r in found}
    if not found or len(kinds) > 1 or (len(methods) > 1 and not of_base):
        raise ValueError(f"{len(found)} rows of {metric} with {wanted} at epoch {epoch}. Name one row a seed.")
    estimate = pooled_over_splits(found, {r.cell: r.dataset_settings for r in study.rows}, study.scores)
    if estimate is None:
        raise ValueError(f"{metric} with {wanted} has no value.")
    low, high = (estimate.value if end is None else end for end in (estimate.low, estimate.high))
    return Number(estimate.value, low, high)


def difference(study: str, within: str, first: str, second: str) -> tuple[Number, bool]:
    """Return the AUC of `first` minus that of `second` after the last epoch, and whether it differs significantly.

    Display names, as in the tables of the study: two methods within an attack, or two attacks within a method.
    """
    for table in ("comparisons", "attack_comparisons"):
        header, lines = table_cells(study, table)
        for line in lines:
            for pair, sign in (((first, second), 1), ((second, first), -1)):
                if within in header and f" {MINUS} ".join(pair) in line:
                    cell = line[header.index(within)]
                    value, low, high = (sign * float(x) for x in re.findall(r"-?\d+\.\d+", cell))
                    return Number(value, min(low, high), max(low, high)), SIGNIFICANCE_MARK in cell
    raise ValueError(f"{study}: no comparison of {first} and {second} within {within}.")


def audited_groups(study: Packed) -> int:
    """Return the number of groups of the audited texts."""
    (count,) = {len(set(study.scores(r.scores).groups)) for r in study.rows if r.metric == "auc"}
    return count


def paper_number(dataset: str, method: str, attack: str, *, settings: str = "", table: str = "table_2") -> float:
    """Return an AUC of a table of Hou, Wu, Luo, Zeng, 2025."""
    wanted = (dataset, method, settings, attack, "auc")
    columns = ("dataset", "method", "method_settings", "attack", "metric")
    with (PAPER_TABLES / f"{table}.csv").open(encoding="utf-8") as lines:
        (row,) = (r for r in csv.DictReader(lines) if tuple(r.get(c, "") for c in columns) == wanted)
    return float(row["value"])
