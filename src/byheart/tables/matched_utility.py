"""Leakage at equal utility: a method may leak little only because it learned little.

Between two observed states, AUC is interpolated linearly in the logarithm of the validation perplexity; nothing is
extrapolated. The interval is a bootstrap over audited texts (whole groups) and validation texts, and covers the intervals
of both states, because no model between them was observed (`byheart.analysis.utility_curves`). Hou, Wu, Luo, Zeng, 2025,
arXiv 2507.00258 compare methods after equal epochs, at different perplexities.
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
    smallest_difference,
)
from byheart.analysis.utility_curves import NOT_REACHED, common_perplexities
from byheart.analysis.utility_notes import not_closely_note
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table, TextLosses
from byheart.stats.intervals import holm_by_name
from byheart.stats.simultaneous import ALPHA

PARAMETERS = "trained parameters"

LineKey = tuple[tuple[str, ...], float, str]
"""Data set (and base), perplexity, attack."""

Leakage = Mapping[str, LeakageAtPerplexity | str]
"""A line's AUCs by method, or why a method has none."""


def matched_utility(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    losses: Callable[[Row], TextLosses | None],
    *,
    perplexity: Annotated[float, Gt(0)] | None = None,
) -> Table:
    """AUC of each method at the point where it first reaches the same validation perplexity; lower leaks less.

    The last line has the number of trained parameters. `perplexity` None stands for two levels: the lowest that every
    method reaches which improves on where it starts, and the lowest that half of them reach. Raises `DataError` for
    fewer than two methods that reach the same perplexity.
    """
    lead, variants = LeadColumns(auc_rows(rows)), labels.variants(rows)
    names = tuple(variants.names.values())
    leakage: dict[LineKey, Leakage] = {}
    for head, lead_rows in lead.split(rows).items():
        draws = BootstrapDraws(scores, losses)
        for attack, paths in paths_by_attack_and_method(lead_rows).items():
            by_variant = {variants(seeds[0][0].leakage): seeds for seeds in paths.values()}
            levels = common_perplexities(by_variant) if perplexity is None else [perplexity]
            for level in levels:
                leakage[head, level, attack] = {
                    name: leakage_at_perplexity(seeds, level, draws) for name, seeds in by_variant.items()
                }
    if not any(sum(m != NOT_REACHED for m in line.values()) > 1 for line in leakage.values()):
        raise DataError(
            "table matched_utility: fewer than two methods reach the same perplexity. "
            "Add methods or epochs, with the metrics auc and perplexity."
        )
    lowest = _lowest_or_tied(leakage)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(rows).items():
        keys = sorted((line for line in leakage if line[0] == head), key=lambda line: -line[1])
        lines += [
            (*head, row_values.format_number(key[1]), key[2], *_cells(key, names, leakage[key], lowest)) for key in keys
        ]
        counts = {
            name: [r for r in variant_rows if r.metric == "trained_parameters"]
            for name, variant_rows in variants.split(lead_rows).items()
        }
        lines.append(
            (*head, row_values.MISSING, PARAMETERS, *(_parameter_count(counts.get(name, [])) for name in names))
        )
    header = (*lead.header, "perplexity", "attack", *names)
    return Table("Leakage at equal validation perplexity", header, tuple(lines), _note(leakage, lowest, lines))


def _cells(
    line: LineKey,
    names: Sequence[str],
    by_method: Leakage,
    lowest: set[tuple[LineKey, str]],
) -> list[str]:
    cells: list[str] = []
    for name in names:
        leakage = by_method.get(name, row_values.MISSING)
        if isinstance(leakage, str):
            cells.append(leakage)
            continue
        number, _, interval = row_values.format_estimate(leakage.estimate).partition(" ")
        cells.append(f"{number}{LEAST_MARK if (line, name) in lowest else ''} {interval}")
    return cells


def _lowest_or_tied(leakage: Mapping[LineKey, Leakage]) -> set[tuple[LineKey, str]]:
    """Return each line's lowest method and the methods that do not differ from it at 5 % (Holm over the table's pairs).

    A pair is tested with the smallest difference that the observed states allow.
    """
    from scipy.special import ndtr

    tests: dict[tuple[LineKey, frozenset[str]], float] = {}
    for line, by_method in leakage.items():
        drawn = _with_draws(by_method)
        for (first, a), (second, b) in itertools.combinations(drawn.items(), 2):
            error = float(np.std((a.draws - b.draws)[1:]))
            p_value = 2 * float(ndtr(-smallest_difference(a, b) / error)) if error else 1.0
            tests[line, frozenset((first, second))] = p_value
    corrected = holm_by_name(tests)
    tied: set[tuple[LineKey, str]] = set()
    for line, by_method in leakage.items():
        drawn = _with_draws(by_method)
        if len(drawn) > 1:
            lowest = min(drawn, key=lambda n: drawn[n].estimate.value)
            tied |= {(line, n) for n in drawn if n == lowest or corrected[line, frozenset((n, lowest))] > ALPHA}
    return tied


def _with_draws(by_method: Leakage) -> dict[str, LeakageAtPerplexity]:
    return {n: m for n, m in by_method.items() if not isinstance(m, str) and len(m.draws)}


def _parameter_count(rows: Sequence[Row]) -> str:
    return f"{rows[0].value:,.0f}" if rows else row_values.MISSING


def _note(leakage: Mapping[LineKey, Leakage], lowest: set[tuple[LineKey, str]], lines: Sequence[Sequence[str]]) -> str:
    has_draws = all(len(m.draws) for line in leakage.values() for m in line.values() if not isinstance(m, str))
    interval = (
        "of a bootstrap over audited texts (whole groups) and validation texts"
        if has_draws
        else "(APPROXIMATE if the losses of the validation texts are not stored: of the states around the perplexity)"
    )
    mark = (
        f" {LEAST_MARK}: lowest AUC of its line, or not different from the lowest at 5 %, corrected for all pairs of the "
        "table (Holm). A difference is the smallest that the states around the perplexity allow."
        if lowest
        else ""
    )
    return (
        "AUC where the method first reaches this validation perplexity, interpolated between its observed states; in brackets: "
        f"95 % interval {interval}, which covers the intervals of the two states. "
        f"\N{LEFT DOUBLE QUOTATION MARK}{NOT_REACHED}\N{RIGHT DOUBLE QUOTATION MARK}: the path does not cross this "
        "perplexity; nothing is extrapolated. A path starts at the base model, and with virtual tokens at the initialized "
        f"ones.{not_closely_note(lines)}{mark}"
    )
