"""Every comparison of a study: methods in pairs under each attack, attacks in pairs on each method, corrected together.

A pair is compared on the same texts (DeLong's paired test, clustered by group), and Holm's correction runs over all
pairs of both kinds, so that the chance of any false mark in a whole report is at most 5 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from byheart.analysis import labels, row_values
from byheart.core.types import Row, ScoreSet
from byheart.stats.intervals import holm
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import ALPHA, auc_difference_over_seeds, has_same_texts

ScoreLookup = Callable[[str], ScoreSet]
"""Looks scores up by a row's `scores`."""

SIGNIFICANCE_MARK = "*"
LEAST_MARK = "\N{DAGGER}"


class AucComparison(NamedTuple):
    """Two things compared `within` a third, with Holm's p-value: methods under an attack, or attacks on a method."""

    lead: tuple[str, ...]
    kind: str
    within: str
    first: str
    second: str
    difference: AucDifference
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference stands after the correction."""
        return self.p_value <= ALPHA


class TablePosition(NamedTuple):
    """Where an AUC stands in a table."""

    lead: tuple[str, ...]
    attack: str
    variant: str


def auc_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the AUCs of attacks among rows."""
    return [r for r in rows if r.attack and r.metric == "auc"]


def auc_rows_by_position(rows: Sequence[Row], epoch: int | None = None) -> dict[TablePosition, list[Row]]:
    """Return the AUC rows that hold scores, at an epoch (None: the last), a row for each seed, by their place."""
    measured = auc_rows(rows)
    variants, attacks = labels.variants(rows), labels.attacks(measured)
    held = {
        TablePosition(lead, attack, variant): [r for r in row_values.rows_at_epoch(those, epoch) if r.scores]
        for lead, there in LeadColumns(measured).split(measured).items()
        for attack, of_attack in attacks.split(there).items()
        for variant, those in variants.split(of_attack).items()
    }
    return {place: there for place, there in held.items() if there}


def auc_comparisons(rows: Sequence[Row], scores: ScoreLookup, epoch: int | None = None) -> list[AucComparison]:
    """Return every pair of methods under an attack, then every pair of attacks on a method, corrected over all.

    Cells that were not audited on the same texts, or have no seed in common, are no pair.
    """
    held = auc_rows_by_position(rows, epoch)
    found: list[AucComparison] = []
    for kind in ("method", "attack"):
        for (lead, within), named in _group_by_kind(kind, held).items():
            for (first, a), (second, b) in itertools.combinations(named.items(), 2):
                same = scores_of_common_seeds(a, b, scores)
                if same:
                    found.append(AucComparison(lead, kind, within, first, second, auc_difference_over_seeds(same), 1.0))
    corrected = holm(np.array([p.difference.p_value for p in found])) if found else []
    return [pair._replace(p_value=float(p)) for pair, p in zip(found, corrected, strict=True)]


def scores_of_common_seeds(
    first: Sequence[Row], second: Sequence[Row], scores: ScoreLookup
) -> list[tuple[ScoreSet, ScoreSet]]:
    """Return the scores of both for each seed that both have, where they are of the same texts."""
    others = {r.seed: r for r in second}
    both = [(scores(r.scores), scores(others[r.seed].scores)) for r in first if r.seed in others]
    return [(a, b) for a, b in both if has_same_texts(a, b)]


def lowest_or_tied(
    comparisons: Sequence[AucComparison], rows_by_position: Mapping[TablePosition, Sequence[Row]]
) -> set[TablePosition]:
    """Return, for each attack, the method of the lowest AUC and those that are not told from it."""
    least: set[TablePosition] = set()
    told = {(p.lead, p.within, frozenset((p.first, p.second))): p for p in comparisons if p.kind == "method"}
    for (lead, attack), named in _group_by_kind("method", rows_by_position).items():
        if len(named) == 1:
            continue
        lowest = min(named, key=lambda n: float(np.mean([r.value for r in named[n]])))
        for name in named:
            pair = told.get((lead, attack, frozenset((name, lowest))))
            if name == lowest or (pair is not None and not pair.is_significant):
                least.add(TablePosition(lead, attack, name))
    return least


def format_comparison(pair: AucComparison) -> str:
    """Show a difference with its interval, marked where it stands after the correction."""
    value, low, high, _ = pair.difference
    ends = f"[{row_values.format_number(low)}, {row_values.format_number(high)}]"
    return f"{row_values.format_number(value)}{SIGNIFICANCE_MARK if pair.is_significant else ''} {ends}"


def comparison_grid(comparisons: Sequence[AucComparison], kind: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return what pairs of a kind are compared within, and a line for each pair, with its lead and name in front."""
    chosen = [p for p in comparisons if p.kind == kind]
    columns = tuple(dict.fromkeys(p.within for p in chosen))
    lines = dict.fromkeys((p.lead, p.first, p.second) for p in chosen)
    cells = {(p.lead, p.first, p.second, p.within): format_comparison(p) for p in chosen}
    told = [
        (
            *lead,
            f"{first} \N{MINUS SIGN} {second}",
            *(cells.get((lead, first, second, c), row_values.MISSING) for c in columns),
        )
        for lead, first, second in lines
    ]
    return columns, told


def comparison_note(comparisons: Sequence[AucComparison], rows: Sequence[Row]) -> str:
    """Say what the differences, the brackets and the mark are."""
    seeds = {r.seed for r in rows}
    of_seeds = " Of several seeds the mean; a mark asks that every seed shows it." if len(seeds) > 1 else ""
    return (
        "Difference of two AUCs on the same texts after the last epoch; in brackets its 95 % interval (paired DeLong, "
        f"clustered by group). {SIGNIFICANCE_MARK}: differs, all {len(comparisons)} comparisons of the study sharing an error of 5 % (Holm)."
        f"{of_seeds}"
    )


def _group_by_kind(
    kind: str, rows_by_position: Mapping[TablePosition, Sequence[Row]]
) -> dict[tuple[tuple[str, ...], str], dict[str, Sequence[Row]]]:
    """Return the rows of what is compared by name, under what it is compared within."""
    parted: dict[tuple[tuple[str, ...], str], dict[str, Sequence[Row]]] = {}
    for (lead, attack, variant), there in rows_by_position.items():
        within, name = (attack, variant) if kind == "method" else (variant, attack)
        parted.setdefault((lead, within), {})[name] = there
    return parted


class LeadColumns:
    """The leading columns: the data set, and the base model too where there are several."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._datasets, self._bases = labels.datasets(rows), labels.bases(rows)
        self.header = ("data", "model") if len(self._bases.names) > 1 else ("data",)

    def split(self, rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
        """Return the rows under each data set and base model, in reading order."""
        width = len(self.header)
        return {
            (data, base)[:width]: those
            for data, there in self._datasets.split(rows).items()
            for base, those in self._bases.split(there).items()
        }


def gain_over_base(
    rows: Sequence[Row], finetuned_rows: Sequence[Row], scores: Callable[[str], ScoreSet]
) -> AucDifference | None:
    """Return the gain of an attack's rows, one for each seed, over the same attack on the untuned model."""
    first = finetuned_rows[0]
    same = [
        r
        for r in rows
        if r.epoch == 0
        and r.scores
        and r.metric == "auc"
        and (r.attack, r.attack_settings) == (first.attack, first.attack_settings)
        and r.cell in {t.cell for t in finetuned_rows}
    ]
    pairs = scores_of_common_seeds(finetuned_rows, same, scores)
    return auc_difference_over_seeds(pairs) if pairs else None
