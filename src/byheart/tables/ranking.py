"""Which attacks lead over methods, data sets and base models, and what each costs.

A mean over settings hides an attack that leads in one setting and fails in the others, so the table also shows the mean rank, and in
how many settings no other attack is significantly better: the Holm-corrected paired tests of the table `attack_comparisons`.

The settings share texts and base models, so their numbers are correlated in an unknown way. The interval of a mean is the mean of
the settings' intervals: the standard deviation of a mean is at most the mean standard deviation, whatever the correlation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import AucComparison, LeadColumns, auc_comparisons
from byheart.analysis.pooled_estimates import mean_estimate, pooled_over_splits
from byheart.core.errors import DataError
from byheart.core.row import is_base_row
from byheart.core.types import Estimate, Row, ScoreSet, Table
from byheart.tables._columns import AdversaryColumn, attack_rows

Panel = tuple[tuple[str, ...], str]
"""Data set (and base model), and method: one setting in which attacks are compared."""


def ranking(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    metric: str = "auc",
    epoch: Annotated[int, Ge(0)] | None = None,
) -> Table:
    """Attacks by their mean rank over methods, data sets and base models, with the mean of a metric and the cost in passes.

    `epoch` None is the last epoch; of several settings of the metric, such as false positive rates, the first in reading order is
    used. Raises `DataError` for fewer than two attacks that were measured in the same settings.
    """
    measured = [r for r in attack_rows(rows, None, metric, epoch) if not is_base_row(r)]
    setting = min((r.metric_settings for r in measured), default="")
    measured = [r for r in measured if r.metric_settings == setting]
    adversaries = AdversaryColumn(measured)
    rows_by_attack = labels.attacks(measured).split(measured)
    variants, lead = labels.variants(rows), LeadColumns(rows)
    estimates = {
        name: _by_panel(of_attack, variants, lead, scores, epoch) for name, of_attack in rows_by_attack.items()
    }
    panels = {panel for found in estimates.values() for panel in found}
    complete = {name: found for name, found in estimates.items() if found.keys() == panels}
    if len(complete) < 2:  # noqa: PLR2004 - a comparison
        raise DataError(
            f"table ranking: fewer than two attacks have {metric} for every method and data set. List several attacks, "
            "and run all cells."
        )
    ranks = _mean_ranks(complete)
    leads = _leads(complete, auc_comparisons(rows, scores, epoch) if metric == "auc" else None)
    lines = [
        (
            *adversaries.cell(rows_by_attack[name]),
            name,
            _passes(rows, rows_by_attack[name]),
            row_values.format_estimate(mean_estimate(list(complete[name].values()))),
            row_values.format_number(ranks[name]),
            f"{leads[name]} of {len(panels)}",
        )
        for name in sorted(complete, key=lambda n: (ranks[n], n))
    ]
    leading = "first or tied" if metric == "auc" else "first"
    name = labels.metric_name(metric) + (f" ({setting})" if setting else "")
    header = (*adversaries.header, "attack", "passes", f"mean {name}", "mean rank", leading)
    title = f"Ranking of attacks by {labels.metric_name(metric)}"
    return Table(title, header, tuple(lines), _note(panels, estimates.keys() - complete.keys(), leading))


def _by_panel(
    of_attack: Sequence[Row],
    variants: labels.DisplayNames,
    lead: LeadColumns,
    scores: Callable[[str], ScoreSet],
    epoch: int | None,
) -> dict[Panel, Estimate]:
    """Return an attack's estimate in each setting, pooled over seeds."""
    split_of = {r.cell: r.dataset_settings for r in of_attack}
    pooled = {
        (head, variant): pooled_over_splits(row_values.rows_at_epoch(chosen, epoch), split_of, scores)
        for head, of_lead in lead.split(of_attack).items()
        for variant, chosen in variants.split(of_lead).items()
    }
    return {panel: estimate for panel, estimate in pooled.items() if estimate is not None}


def _mean_ranks(by_attack: Mapping[str, Mapping[Panel, Estimate]]) -> dict[str, float]:
    """Return each attack's mean rank: 1 has the highest value; tied attacks share the mean of their ranks."""
    from scipy.stats import rankdata  # imported late: slow

    panels = next(iter(by_attack.values())).keys()
    values = np.array([[found[p].value for p in panels] for found in by_attack.values()])
    return dict(zip(by_attack, rankdata(-values, axis=0).mean(axis=1).tolist(), strict=True))


def _leads(
    by_attack: Mapping[str, Mapping[Panel, Estimate]], comparisons: Sequence[AucComparison] | None
) -> dict[str, int]:
    """Return in how many settings each attack has the highest value, or (with comparisons) no attack is significantly better."""
    if comparisons is not None:
        better = {
            ((p.lead, p.within), p.second if p.difference.value > 0 else p.first)
            for p in comparisons
            if p.kind == "attack" and p.is_significant
        }
        return {name: sum((panel, name) not in better for panel in found) for name, found in by_attack.items()}
    panels = next(iter(by_attack.values())).keys()
    highest = {p: max(found[p].value for found in by_attack.values()) for p in panels}
    return {name: sum(found[p].value == highest[p] for p in panels) for name, found in by_attack.items()}


def _passes(rows: Sequence[Row], of_attack: Sequence[Row]) -> str:
    attacks = {(r.attack, r.attack_settings) for r in of_attack}
    found = [r.value for r in rows if r.metric == "passes" and r.epoch and (r.attack, r.attack_settings) in attacks]
    return row_values.format_number(float(np.median(found))) if found else row_values.MISSING


def _note(panels: set[Panel], left_out: set[str], lead: str) -> str:
    tied = "no other attack has a significantly higher AUC (paired DeLong, Holm over all pairs)"
    missing = f" Not ranked, because not measured in every setting: {', '.join(sorted(left_out))}." if left_out else ""
    return (
        f"Mean over {row_values.format_count(len(panels), 'setting')} (method, data set, base model), each the mean over its "
        "seeds. In brackets: mean of the settings' 95 % intervals. Rank 1 is the strongest attack. "
        f"{lead.capitalize()}: settings in which {tied if 'tied' in lead else 'the attack has the highest value'}. "
        f"Passes: forward passes over the audited texts.{missing}"
    )
