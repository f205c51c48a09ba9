"""Numbers of packed studies for pages that are written from them, pooled over seeds and splits.

The interval of a pooled number covers other texts and other training seeds, as in the table `seeds`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from page_numbers import DOCS, METHODS, Number, found_number, packed_store, results, table_cells

from byheart.analysis import row_values
from byheart.analysis.comparisons import SIGNIFICANCE_MARK
from byheart.analysis.method_verdict import MethodVerdict
from byheart.analysis.pooled_estimates import pooled_over_splits
from byheart.analysis.verdicts import verdicts
from byheart.core.row import is_base_row
from byheart.core.split_check import Gate
from byheart.core.types import Row, ScoreSet
from byheart.store.rows import read_gates, score_reader, study_rows

RowLookup = Callable[[str], Sequence[Mapping[str, str]]]
MINUS = "\N{MINUS SIGN}"


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


def template_functions(lookup: Callable[[str], Packed], rows: RowLookup = results) -> dict[str, Any]:
    """Return the functions with which a template reads studies; `rows` are those of one-seed studies, as text."""
    lookup, rows = cache(lookup), cache(rows)

    @cache
    def of_metric(study: str, metric: str) -> Packed:
        found = lookup(study)
        return found._replace(rows=[r for r in found.rows if r.metric == metric])

    @cache
    def panel_verdicts(study: str, base: str | None) -> list[MethodVerdict]:
        found = lookup(study)
        (of_panel,) = verdicts(
            [row for row in found.rows if base in {None, row.base}], found.scores, found.gates
        ).values()
        return of_panel

    def number(study: str, metric: str, *, epoch: float | None = None, **settings: object) -> Number:
        return pooled_number(of_metric(study, metric), metric, epoch, settings)

    def base(study: str, metric: str, **settings: object) -> Number:
        return pooled_number(of_metric(study, metric), metric, 0, settings, of_base=True)

    def initialized(study: str, metric: str, **settings: object) -> Number:
        return pooled_number(of_metric(study, metric), metric, 0, settings, of_initialized=True)

    def fact(study: str, metric: str) -> int:
        (value,) = {r.value for r in lookup(study).rows if r.metric == metric}
        return int(value)

    def rate(study: str, method: str) -> str:
        (value,) = {r.value for r in lookup(study).rows if (r.metric, r.method) == ("learning_rate", method)}
        return f"{value:g}"

    def verdict(study: str, method: str, base: str | None = None) -> MethodVerdict:
        names = {v: k for k, v in METHODS.items()}
        (of_method,) = (v for v in panel_verdicts(study, base) if v.method.startswith(names[method]))
        return of_method

    def gate(study: str, dataset: str = "") -> Gate:
        (found,) = (g for names, g in lookup(study).gates.items() if dataset in {"", *names})
        return found

    return {
        "n": number,
        "base": base,
        "initialized": initialized,
        "fact": fact,
        "rate": rate,
        "verdict": verdict,
        "gate": gate,
        "seeds": lambda study: len({r.seed for r in lookup(study).rows}),
        "finding": lambda study, name, data="": next(f.value for f in gate(study, data).findings if f.name == name),
        "blind": lambda study, data="": max(f.value for f in gate(study, data).blind_classifiers),
        "minus": lambda study, within, first, second, data="": difference(study, within, first, second, data)[0],
        "differ": lambda study, within, first, second, data="": difference(study, within, first, second, data)[1],
        "setting": lambda study, name: re.findall(rf"\b{name}=(\w+)", rows(study)[0]["dataset_settings"])[0],
        "groups": lambda study: audited_groups(lookup(study)),
        "equal": equal_perplexity,
        "cell": table_number,
        "earlier": lambda study, metric, **settings: found_number(rows(study), study, metric, settings),
    }


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


def difference(study: str, within: str, first: str, second: str, data: str = "") -> tuple[Number, bool]:
    """Return the AUC of `first` minus that of `second` after the last epoch, and whether it differs significantly.

    Display names, as in the tables of the study: two methods within an attack, or two attacks within a method. `data` names one of
    several data sets.
    """
    tables = (t for t in ("comparisons", "attack_comparisons") if (DOCS / "results" / study / f"{t}.md").exists())
    for table in tables:
        header, lines = table_cells(study, table)
        for line in lines:
            for pair, sign in (((first, second), 1), ((second, first), -1)):
                if within in header and f" {MINUS} ".join(pair) in line and (not data or data in line):
                    cell = line[header.index(within)]
                    value, low, high = (sign * float(x) for x in re.findall(r"-?\d+\.\d+", cell))
                    return Number(value, min(low, high), max(low, high)), SIGNIFICANCE_MARK in cell
    raise ValueError(f"{study}: no comparison of {first} and {second} within {within}.")


def table_number(study: str, table: str, column: str, **where: str) -> Number:
    """Return the number in a column of the one line of an exported table that has these values in other columns."""
    header, lines = table_cells(study, table)
    (line,) = (x for x in (dict(zip(header, cells, strict=True)) for cells in lines) if where.items() <= x.items())
    found = [float(number) for number in re.findall(r"-?\d*\.?\d+", line[column])]
    return Number(*found) if len(found) == len(Number._fields) else Number(found[0], found[0], found[0])


def audited_groups(study: Packed) -> int:
    """Return the number of groups of the audited texts."""
    (count,) = {len(set(study.scores(r.scores).groups)) for r in study.rows if r.metric == "auc"}
    return count


def equal_perplexity(study: str) -> dict[str, dict[str, dict[str, Number | str]]]:
    """Return the AUCs of the table at equal perplexity by level, attack and method, or the words of a cell without one."""
    header, cells = table_cells(study, "matched_utility")
    levels: dict[str, dict[str, dict[str, Number | str]]] = {}
    for row in (dict(zip(header, c, strict=True)) for c in cells):
        if re.fullmatch(r"[\d.]+", row["perplexity"]):
            numbers = {m: [float(x) for x in re.findall(r"-?\d*\.\d+", row[m])] for m in METHODS}
            levels.setdefault(row["perplexity"], {})[row["attack"]] = {
                m: Number(*found) if found else row[m] for m, found in numbers.items()
            }
    return levels
