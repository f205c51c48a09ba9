"""What training added: each AUC beside the same attack on the untuned model and beside who never saw a model.

Debeshee Das, Jie Zhang, Florian Tramèr, Blind Baselines Beat Membership Inference Attacks for Foundation Models, arXiv
2406.16201: an attack's AUC counts only as far as it exceeds a blind classifier's. Over the untuned model the difference
is of the same texts in pairs (DeLong, clustered by group). A blind classifier was taught on texts that it judges, so
no paired variance holds for it: the gain's ends are the attack's lower end minus the classifier's upper end, and the
other way round, which holds whatever the two have in common and is wider than need be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import (
    SIGNIFICANCE_MARK,
    LeadColumns,
    TablePosition,
    auc_rows,
    auc_rows_by_position,
    gain_over_base,
)
from byheart.core.errors import DataError
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Row, ScoreSet, Table
from byheart.stats.intervals import holm
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import ALPHA

BLIND_PREFIX = "blind: "


def gains(rows: Sequence[Row], scores: Callable[[str], ScoreSet], gates: Mapping[tuple[str, str], Gate]) -> Table:
    """AUC of each attack on each method, its gain over the untuned model and over the best blind classifier.

    After the last epoch; above 0: training added to it. Raises `DataError` where no scores of the untuned model are kept.
    """
    held = {place: there for place, there in auc_rows_by_position(rows).items() if any(r.epoch for r in there)}
    over = {place: gain for place, there in held.items() if (gain := gain_over_base(rows, there, scores))}
    if not over:
        raise DataError("the table of gains needs scores at epoch 0 and after it; run the study with epochs 1 or more")
    corrected = dict(zip(over, holm(np.array([g.p_value for g in over.values()])), strict=True))
    by_method: dict[tuple[tuple[str, ...], str], list[TablePosition]] = {}
    for place in over:
        by_method.setdefault((place.lead, place.variant), []).append(place)
    lines: list[tuple[str, ...]] = []
    for (lead, variant), places in by_method.items():
        for place in places:
            there = held[place]
            blind = best_blind(gates.get((there[0].dataset, there[0].dataset_settings)))
            mark = SIGNIFICANCE_MARK if corrected[place] <= ALPHA else ""
            cells = (
                row_values.format_estimate(row_values.pooled_estimate(there)),
                _format_difference(over[place], mark),
                _gain_over_blind(there, blind),
            )
            lines.append((*lead, variant, place.attack, *cells))
    header = (
        *LeadColumns(auc_rows(rows)).header,
        "method",
        "attack",
        "AUC",
        "over the untuned model",
        "over the best blind classifier",
    )
    return Table("What training added", header, tuple(lines), _note(len(over), gates))


def best_blind(gate: Gate | None) -> Finding | None:
    """Return the blind classifier of the highest AUC, None where none was tried."""
    tried = [f for f in gate.findings if f.name.startswith(BLIND_PREFIX)] if gate else []
    return max(tried, key=lambda f: f.value, default=None)


def _gain_over_blind(rows: Sequence[Row], blind: Finding | None) -> str:
    """Show the gain over the best blind classifier, or over guessing where that is better."""
    told = row_values.pooled_estimate(rows)
    if told is None or blind is None or blind.low is None or blind.high is None:
        return row_values.MISSING
    value, low, high = (max(row_values.CHANCE_AUC, v) for v in (blind.value, blind.low, blind.high))
    lows, highs = ([r.low for r in rows if r.low is not None], [r.high for r in rows if r.high is not None])
    if len(lows) < len(rows):
        return row_values.format_number(told.value - value)
    return _format_difference(AucDifference(told.value - value, min(lows) - high, max(highs) - low, 1.0), "")


def _format_difference(gain: AucDifference, mark: str) -> str:
    return f"{row_values.format_number(gain.value)}{mark} [{row_values.format_number(gain.low)}, {row_values.format_number(gain.high)}]"


def _note(tests: int, gates: Mapping[tuple[str, str], Gate]) -> str:
    told = [
        f"{labels.dataset_name(data)} {best.name.removeprefix(BLIND_PREFIX)}, AUC {row_values.format_number(best.value)}"
        for (data, _), gate in gates.items()
        if (best := best_blind(gate))
    ]
    blind = (
        f" Best blind classifiers: {'; '.join(told)}."
        if told
        else " No blind classifier was tried: run the study again."
    )
    return (
        "In brackets 95 % intervals; over the untuned model on the same texts in pairs, over the blind classifier as wide as "
        f"any dependence could make it. {SIGNIFICANCE_MARK}: differs from none, all {tests} gains sharing an error of 5 % (Holm).{blind}"
    )
