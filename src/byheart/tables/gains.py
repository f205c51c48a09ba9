"""AUC gain of each attack over two baselines: the same attack on the base model, and the best blind classifier.

Debeshee Das, Jie Zhang, Florian Tramèr, Blind Baselines Beat Membership Inference Attacks for Foundation Models, arXiv
2406.16201: an attack's AUC counts only as far as it exceeds a blind classifier's. The gain over the base model is a paired
difference on the same texts (DeLong, clustered by group). A blind classifier was trained on the texts that it classifies,
so no paired variance is valid for it: the gain's interval runs from the attack's lower end minus the classifier's upper
end to the attack's upper end minus the classifier's lower end. It is valid for any correlation, and wider than necessary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
from byheart.core.split_check import BLIND_PREFIX, Finding, Gate
from byheart.core.types import Row, ScoreSet, Table
from byheart.stats.intervals import holm_by_name
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import ALPHA
from byheart.tables._columns import AdversaryColumn


def gains(rows: Sequence[Row], scores: Callable[[str], ScoreSet], gates: Mapping[tuple[str, str], Gate]) -> Table:
    """AUC of each attack on each method, with its gain over the base model and over the best blind classifier.

    Uses the last epoch; a gain above 0 is due to training. Raises `DataError` without stored scores of the base model.
    """
    tuned_rows = {
        position: position_rows
        for position, position_rows in auc_rows_by_position(rows).items()
        if any(r.epoch for r in position_rows)
    }
    base_gains = {
        position: gain
        for position, position_rows in tuned_rows.items()
        if (gain := gain_over_base(rows, position_rows, scores))
    }
    if not base_gains:
        raise DataError("table gains: no scores at epoch 0 and after it. Run the study with training.epochs 1 or more.")
    corrected = holm_by_name({position: gain.p_value for position, gain in base_gains.items()})
    adversaries = AdversaryColumn([r for position in base_gains for r in tuned_rows[position]])
    by_method: dict[tuple[tuple[str, ...], str], list[TablePosition]] = {}
    for position in base_gains:
        by_method.setdefault((position.lead, position.variant), []).append(position)
    lines: list[tuple[str, ...]] = []
    for (lead, variant), positions in by_method.items():
        for position in positions:
            position_rows = tuned_rows[position]
            blind = best_blind(gates.get((position_rows[0].dataset, position_rows[0].dataset_settings)))
            mark = SIGNIFICANCE_MARK if corrected[position] <= ALPHA else ""
            cells = (
                row_values.format_estimate(row_values.pooled_estimate(position_rows)),
                _format_difference(base_gains[position], mark),
                _gain_over_blind(position_rows, blind),
            )
            lines.append((*lead, variant, *adversaries.cell(position_rows), position.attack, *cells))
    header = (
        *LeadColumns(auc_rows(rows)).header,
        "method",
        *adversaries.header,
        "attack",
        "AUC",
        "gain over the base model",
        "gain over the best blind classifier",
    )
    return Table(
        "AUC gain over the base model and over blind classifiers",
        header,
        tuple(lines),
        _note(len(base_gains), gates) + adversaries.note,
    )


def best_blind(gate: Gate | None) -> Finding | None:
    """Return the blind classifier with the highest AUC; None if the gate has no blind classifier."""
    return max(gate.blind_classifiers if gate else (), key=lambda f: f.value, default=None)


def _gain_over_blind(rows: Sequence[Row], blind: Finding | None) -> str:
    """Format the gain over the best blind classifier, or over chance if the classifier's AUC is below 0.5."""
    estimate = row_values.pooled_estimate(rows)
    if estimate is None or blind is None or blind.low is None or blind.high is None:
        return row_values.MISSING
    value, low, high = (max(row_values.CHANCE_AUC, v) for v in (blind.value, blind.low, blind.high))
    lows, highs = ([r.low for r in rows if r.low is not None], [r.high for r in rows if r.high is not None])
    if len(lows) < len(rows):
        return row_values.format_number(estimate.value - value)
    return _format_difference(AucDifference(estimate.value - value, min(lows) - high, max(highs) - low, 1.0), "")


def _format_difference(gain: AucDifference, mark: str) -> str:
    return f"{row_values.format_number(gain.value)}{mark} [{row_values.format_number(gain.low)}, {row_values.format_number(gain.high)}]"


def _note(tests: int, gates: Mapping[tuple[str, str], Gate]) -> str:
    found = [(labels.dataset_name(data), best) for (data, _), gate in gates.items() if (best := best_blind(gate))]
    classifiers = [
        f"{data} {best.name.removeprefix(BLIND_PREFIX)}, AUC {row_values.format_number(best.value)}"
        for data, best in found
    ]
    blind = (
        f" Best blind classifiers: {'; '.join(classifiers)}." if classifiers else " No blind classifier read the texts."
    )
    if any(best.value < row_values.CHANCE_AUC for _, best in found):
        blind += " An AUC of a classifier below 0.5 counts as 0.5."
    return (
        "After the last epoch. In brackets: 95 % intervals. The gain over the base model is paired on the same texts; the "
        "interval of the gain over the blind classifier is valid for any correlation between attack and classifier. "
        f"{SIGNIFICANCE_MARK}: gain differs from 0 at 5 %, corrected for all {tests} gains (Holm).{blind}"
    )
