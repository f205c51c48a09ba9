"""Leakage at equal utility: a method may leak little only because it learned little.

Between two epochs AUC and the logarithm of the validation perplexity are taken as linear; nothing is extrapolated. The
interval is a bootstrap over audited texts (whole groups) and validation texts (`byheart.analysis.utility_curves`), never narrower than
the rows' own intervals read along the path. Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 compare methods after equal
epochs, at perplexities that differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Gt

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LEAST_MARK, LeadColumns, auc_rows
from byheart.analysis.matched_utility import (
    BootstrapDraws,
    LeakageAtPerplexity,
    leakage_at_perplexity,
    paths_by_attack_and_method,
)
from byheart.analysis.utility_curves import common_perplexities
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table, TextLosses
from byheart.stats.intervals import holm
from byheart.stats.simultaneous import ALPHA

NOT_REACHED = "not reached"
PARAMETERS = "trained parameters"

LineKey = tuple[tuple[str, ...], float, str]
"""Data set (and base), perplexity, attack."""


def matched_utility(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    losses: Callable[[Row], TextLosses | None],
    *,
    perplexity: Annotated[float, Gt(0)] | None = None,
) -> Table:
    """AUC of each method where it first reaches the same validation perplexity, beside its trained parameters.

    `perplexity` None stands for two: the lowest that every method reaches which improves on the untuned model, and the
    lowest that half of them reach. Raises `DataError` for fewer than two methods with a path through epochs.
    """
    lead, variants = LeadColumns(auc_rows(rows)), labels.variants(rows)
    names = tuple(variants.names.values())
    found: dict[LineKey, dict[str, LeakageAtPerplexity | None]] = {}
    for head, there in lead.split(rows).items():
        draws = BootstrapDraws(scores, losses)
        for attack, held in paths_by_attack_and_method(there).items():
            spelled = {variants(seeds[0][0].leakage): seeds for seeds in held.values()}
            asked = common_perplexities(spelled) if perplexity is None else [perplexity]
            for level in asked:
                found[head, level, attack] = {
                    n: leakage_at_perplexity(seeds, level, draws) for n, seeds in spelled.items()
                }
    if not any(sum(m is not None for m in line.values()) > 1 for line in found.values()):
        raise DataError("matched utility needs two methods that reach one perplexity, with AUC and perplexity by epoch")
    least = _lowest_or_tied(found)
    parts: list[tuple[str, ...]] = []
    for head, there in lead.split(rows).items():
        mine = sorted((line for line in found if line[0] == head), key=lambda line: -line[1])
        parts += [
            (*head, row_values.format_number(line[1]), line[2], *_cells(line, names, found[line], least))
            for line in mine
        ]
        counts = {
            n: [r for r in those if r.metric == "trained_parameters"] for n, those in variants.split(there).items()
        }
        parts.append((*head, row_values.MISSING, PARAMETERS, *(_parameter_count(counts.get(n, [])) for n in names)))
    header = (*lead.header, "perplexity", "attack", *names)
    return Table("Leakage at equal validation perplexity", header, tuple(parts), _note(found, least))


def _cells(
    line: LineKey,
    names: Sequence[str],
    found: Mapping[str, LeakageAtPerplexity | None],
    least: set[tuple[LineKey, str]],
) -> list[str]:
    cells: list[str] = []
    for name in names:
        there = found.get(name)
        if there is None:
            cells.append(NOT_REACHED if name in found else row_values.MISSING)
            continue
        number, _, ends = row_values.format_estimate(there.estimate).partition(" ")
        cells.append(f"{number}{LEAST_MARK if (line, name) in least else ''} {ends}")
    return cells


def _lowest_or_tied(found: Mapping[LineKey, Mapping[str, LeakageAtPerplexity | None]]) -> set[tuple[LineKey, str]]:
    """Return each line's lowest method and those not told from it, all pairs of the table sharing an error of 5 %."""
    from scipy.special import ndtr

    tests: dict[tuple[LineKey, frozenset[str]], float] = {}
    for line, held in found.items():
        there = {n: m for n, m in held.items() if m is not None and len(m.draws)}
        for (first, a), (second, b) in itertools.combinations(there.items(), 2):
            apart = a.draws - b.draws
            error = float(np.std(apart[1:]))
            tests[line, frozenset((first, second))] = 2 * float(ndtr(-abs(apart[0]) / error)) if error else 1.0
    corrected = dict(zip(tests, holm(np.array(list(tests.values()))), strict=True)) if tests else {}
    least: set[tuple[LineKey, str]] = set()
    for line, held in found.items():
        there = {n: m for n, m in held.items() if m is not None and len(m.draws)}
        if len(there) > 1:
            lowest = min(there, key=lambda n: there[n].estimate.value)
            close = {n for n in there if n == lowest or corrected[line, frozenset((n, lowest))] > ALPHA}
            least |= {(line, n) for n in close}
    return least


def _parameter_count(rows: Sequence[Row]) -> str:
    return f"{rows[0].value:,.0f}" if rows else row_values.MISSING


def _note(found: Mapping[LineKey, Mapping[str, LeakageAtPerplexity | None]], least: set[tuple[LineKey, str]]) -> str:
    whole = all(len(m.draws) for line in found.values() for m in line.values() if m is not None)
    interval = (
        "of a bootstrap over audited texts (whole groups) and validation texts"
        if whole
        else "APPROXIMATE where the validation texts' losses are not kept: the neighbouring epochs' intervals, read along the path"
    )
    mark = (
        f" {LEAST_MARK}: the lowest of its line, and those not told from it, all pairs of the table sharing an error of 5 % (Holm)."
        if least
        else ""
    )
    return (
        f"AUC where the method first reaches that perplexity, read between its epochs; in brackets the 95 % interval {interval}. "
        f"\N{LEFT DOUBLE QUOTATION MARK}{NOT_REACHED}\N{RIGHT DOUBLE QUOTATION MARK}: at no epoch; nothing is extrapolated.{mark}"
    )
