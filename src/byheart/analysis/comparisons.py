"""All pairwise comparisons of a study: methods under each attack, and attacks on each method, corrected together.

A pair is compared on the same texts (DeLong's paired test, clustered by group). Holm's correction covers all pairs of both
kinds, so the probability of any false mark in a report is at most 5 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from byheart.analysis import labels, row_values
from byheart.core.row import adversary_label, is_base_row
from byheart.core.types import Row, ScoreSet
from byheart.stats.intervals import holm
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import ALPHA, auc_difference_over_seeds, has_same_texts

ScoreLookup = Callable[[str], ScoreSet]
"""Returns the score set of a row's `scores` key."""

_Differences = dict[tuple[tuple[str, str], ...], AucDifference | None]
_DIFFERENCES: WeakKeyDictionary[ScoreLookup, _Differences] = WeakKeyDictionary()

SIGNIFICANCE_MARK = "*"
LEAST_MARK = "\N{DAGGER}"


class AucComparison(NamedTuple):
    """AUC difference of two methods `within` an attack, or of two attacks `within` a method, with Holm's p-value."""

    lead: tuple[str, ...]
    kind: str
    within: str
    first: str
    second: str
    difference: AucDifference
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant after the correction."""
        return self.p_value <= ALPHA


class TablePosition(NamedTuple):
    """Position of an AUC in a table."""

    lead: tuple[str, ...]
    attack: str
    variant: str


def auc_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the AUC rows of attacks."""
    return [r for r in rows if r.attack and r.metric == "auc"]


def auc_rows_by_position(rows: Sequence[Row], epoch: float | None = None) -> dict[TablePosition, list[Row]]:
    """Return the AUC rows with scores at an epoch (None: the last), one row per seed, by table position."""
    measured = auc_rows(rows)
    variants, attacks = labels.variants(rows), labels.attacks(measured)
    by_position = {
        TablePosition(lead, attack, variant): [r for r in row_values.rows_at_epoch(of_variant, epoch) if r.scores]
        for lead, of_lead in LeadColumns(measured).split(measured).items()
        for attack, of_attack in attacks.split(of_lead).items()
        for variant, of_variant in variants.split(of_attack).items()
    }
    return {position: seeds for position, seeds in by_position.items() if seeds}


def auc_comparisons(rows: Sequence[Row], scores: ScoreLookup, epoch: int | None = None) -> list[AucComparison]:
    """Return all pairs of methods under each attack, then all pairs of attacks on each method, corrected together.

    Leaves out pairs of cells that were audited on different texts or have no common seed.
    """
    by_position = auc_rows_by_position(rows, epoch)
    pairs: list[AucComparison] = []
    for kind in ("method", "attack"):
        for (lead, within), rows_by_name in _group_by_kind(kind, by_position).items():
            for (first, first_rows), (second, second_rows) in itertools.combinations(rows_by_name.items(), 2):
                difference = paired_difference(first_rows, second_rows, scores)
                if difference:
                    pairs.append(AucComparison(lead, kind, within, first, second, difference, 1.0))
    corrected = holm(np.array([p.difference.p_value for p in pairs])) if pairs else []
    return [pair._replace(p_value=float(p)) for pair, p in zip(pairs, corrected, strict=True)]


def paired_difference(first: Sequence[Row], second: Sequence[Row], scores: ScoreLookup) -> AucDifference | None:
    """Return the AUC of the first rows minus that of the second, over their common seeds with the same texts; None without one.

    Several tables and verdicts of a report compare the same rows, so differences are kept while `scores` exists.
    """
    second_by_seed = {r.seed: r for r in second}
    keys = tuple((r.scores, second_by_seed[r.seed].scores) for r in first if r.seed in second_by_seed)
    differences = _DIFFERENCES.setdefault(scores, {})
    if keys not in differences:
        score_sets = [(scores(a), scores(b)) for a, b in keys]
        comparable = [(a, b) for a, b in score_sets if has_same_texts(a, b)]
        differences[keys] = auc_difference_over_seeds(comparable) if comparable else None
    return differences[keys]


def lowest_or_tied(
    comparisons: Sequence[AucComparison], rows_by_position: Mapping[TablePosition, Sequence[Row]]
) -> set[TablePosition]:
    """Return, for each attack, the method with the lowest AUC and the methods that do not differ from it significantly."""
    positions: set[TablePosition] = set()
    pairs = {(p.lead, p.within, frozenset((p.first, p.second))): p for p in comparisons if p.kind == "method"}
    for (lead, attack), rows_by_method in _group_by_kind("method", rows_by_position).items():
        if len(rows_by_method) == 1:
            continue
        mean_aucs = {method: float(np.mean([r.value for r in seeds])) for method, seeds in rows_by_method.items()}
        lowest = min(mean_aucs, key=mean_aucs.__getitem__)
        for method in rows_by_method:
            pair = pairs.get((lead, attack, frozenset((method, lowest))))
            if method == lowest or (pair is not None and not pair.is_significant):
                positions.add(TablePosition(lead, attack, method))
    return positions


def format_comparison(pair: AucComparison) -> str:
    """Return a difference with its interval as text, marked if it is significant after the correction."""
    value, low, high, _ = pair.difference
    ends = f"[{row_values.format_number(low)}, {row_values.format_number(high)}]"
    return f"{row_values.format_number(value)}{SIGNIFICANCE_MARK if pair.is_significant else ''} {ends}"


def comparison_grid(comparisons: Sequence[AucComparison], kind: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the column names of pairs of a kind (what they are compared within), and one line per pair."""
    chosen = [p for p in comparisons if p.kind == kind]
    columns = tuple(dict.fromkeys(p.within for p in chosen))
    lines = dict.fromkeys((p.lead, p.first, p.second) for p in chosen)
    cells = {(p.lead, p.first, p.second, p.within): format_comparison(p) for p in chosen}
    grid = [
        (
            *lead,
            f"{first} \N{MINUS SIGN} {second}",
            *(cells.get((lead, first, second, c), row_values.MISSING) for c in columns),
        )
        for lead, first, second in lines
    ]
    return columns, grid


def comparison_note(comparisons: Sequence[AucComparison], rows: Sequence[Row]) -> str:
    """Return the note that explains the differences, the brackets and the mark."""
    seeds = {r.seed for r in rows}
    of_seeds = " With several seeds: the mean; a mark requires that every seed differs." if len(seeds) > 1 else ""
    return (
        "Difference of two AUCs on the same texts after the last epoch, with its 95 % interval in brackets (paired DeLong, "
        f"clustered by group). {SIGNIFICANCE_MARK}: differs significantly. The family-wise error of all {len(comparisons)} comparisons is "
        f"5 % (Holm).{of_seeds}"
    )


def _group_by_kind(
    kind: str, rows_by_position: Mapping[TablePosition, Sequence[Row]]
) -> dict[tuple[tuple[str, ...], str], dict[str, Sequence[Row]]]:
    """Return the rows by name of what is compared (method or attack), grouped by what it is compared within."""
    grouped: dict[tuple[tuple[str, ...], str], dict[str, Sequence[Row]]] = {}
    for (lead, attack, variant), seeds in rows_by_position.items():
        within, name = (attack, variant) if kind == "method" else (variant, attack)
        grouped.setdefault((lead, within), {})[name] = seeds
    return grouped


class LeadColumns:
    """The leading columns of a table: the data set, and the base model if there are several."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._datasets, self._bases = labels.datasets(rows), labels.bases(rows)
        self.header = ("data", "model") if len(self._bases.names) > 1 else ("data",)

    def split(self, rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
        """Return the rows under each data set and base model, in reading order."""
        width = len(self.header)
        return {
            (data, base)[:width]: of_base
            for data, of_dataset in self._datasets.split(rows).items()
            for base, of_base in self._bases.split(of_dataset).items()
        }


def gain_over_base(
    rows: Sequence[Row], finetuned_rows: Sequence[Row], scores: Callable[[str], ScoreSet]
) -> AucDifference | None:
    """Return the gain in AUC of an attack's rows, one per seed, over the same attack on the base model."""
    first = finetuned_rows[0]
    base_rows = [
        r
        for r in rows
        if is_base_row(r)
        and r.scores
        and r.metric == "auc"
        and (r.attack, r.attack_settings) == (first.attack, first.attack_settings)
        and adversary_label(r) == adversary_label(first)
        and r.cell in {t.cell for t in finetuned_rows}
    ]
    return paired_difference(finetuned_rows, base_rows, scores)
