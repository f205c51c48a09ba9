"""Bounds of an audit (--fail-above): an attack's metric must not exceed them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from byheart.analysis import row_values
from byheart.analysis.labels import attack_label
from byheart.auditing.audit import Audit
from byheart.auditing.result import FINETUNED_EPOCH
from byheart.core.errors import DataError, SettingError, UnknownNameError
from byheart.core.registry import choose
from byheart.core.types import Estimate, Row
from byheart.stats.leakage_tests import MIN_GROUPS_FOR_VERDICT

BOUNDABLE_METRICS = {"auc": 0.6, "tpr_at_fpr": 0.05}
"""Metrics that a bound can limit, each with an example of a bound."""


class Bound(NamedTuple):
    """The maximum of a metric. An attack exceeds it if the lower end of the attack's 95 % interval lies above it."""

    metric: str
    maximum: float

    def __str__(self) -> str:
        """Return the bound as it is written on the command line."""
        return f"{self.metric}={self.maximum:g}"


def check_bounds(bounds: Sequence[Bound], members: int, nonmembers: int, fpr: float) -> None:
    """Raise `DataError` if there are too few texts to judge a bound: an unjudged bound must not count as passed."""
    for bound in bounds:
        if min(members, nonmembers) < MIN_GROUPS_FOR_VERDICT:
            raise DataError(
                f"--fail-above {bound.metric}={bound.maximum:g}: {members} members and {nonmembers} non-members "
                f"are too few to judge this bound. Provide at least {MIN_GROUPS_FOR_VERDICT} of each."
            )
        if bound.metric == "tpr_at_fpr" and math.floor(fpr * nonmembers + 1e-9) < 1:
            raise DataError(
                f"--fail-above tpr_at_fpr={bound.maximum:g}: {nonmembers} non-members "
                f"are too few to judge TPR at {100 * fpr:g} % FPR. Provide at least {math.ceil(1 / fpr - 1e-9)}, or raise --fpr."
            )


def parse_bounds(written: Iterable[str]) -> tuple[Bound, ...]:
    """Return bounds parsed from "metric=value".

    Raises `UnknownNameError` for an unknown metric, `SettingError` for a value outside [0, 1).
    """
    bounds: list[Bound] = []
    for bound in written:
        metric, _, value = bound.partition("=")
        if metric not in BOUNDABLE_METRICS:
            raise UnknownNameError("--fail-above", metric, BOUNDABLE_METRICS)
        try:
            maximum = float(value)
        except ValueError:
            maximum = -1.0
        if not 0 <= maximum < 1:
            raise SettingError(
                f"--fail-above {bound}: the value is not a number of at least 0 and below 1. Write, for example, "
                f"--fail-above {metric}={BOUNDABLE_METRICS[metric]:g}."
            )
        bounds.append(Bound(metric, maximum))
    return tuple(bounds)


def crossed_bounds(audit: Audit, bounds: Sequence[Bound]) -> tuple[list[str], list[str]]:
    """Return messages for exceeded bounds (interval above), then for undecided bounds (only the point estimate above).

    If the model leaks, in either direction, each attack's reversed score is compared with a bound, too.
    Raises `DataError` if the audit has no verdict: an unjudged bound must not count as passed.
    """
    exceeded: list[str] = []
    undecided: list[str] = []
    for metric, maximum in bounds:
        if audit.ruling.word == "refused":
            raise DataError(
                f"--fail-above {metric}={maximum:g}: the bound cannot be judged ({audit.verdict}). Provide more texts."
            )
        rows = [r for r in audit.rows if r.metric == metric and r.epoch == FINETUNED_EPOCH]
        for row in rows:
            interval = f"{row_values.format_number(row.low or 0)}, {row_values.format_number(row.high or 1)}"
            measured = f"{metric} of {attack_label(row)} is {row_values.format_number(row.value)} [{interval}]"
            sides = [("the value", row.value, row.low)]
            if audit.ruling.word in {"leaks", "reversed"}:
                reversed_score = _reversed_estimate(audit, row)
                name = "that of its reversed score" + (", 1 - AUC," if metric == "auc" else "")
                sides.append((name, reversed_score.value, reversed_score.low))
            above = [name for name, _, low in sides if low is not None and low > maximum]
            near = [name for name, value, _ in sides if value > maximum]
            if above:
                reversed_side = "" if above[0] == "the value" else f" and {above[0]} is"
                exceeded.append(f"{measured},{reversed_side} above {maximum:g}")
            elif near:
                undecided.append(
                    f"{measured}: {near[0]} is above {maximum:g}, but the lower end of its 95 % interval is not. "
                    "Provide more texts to decide."
                )
    return exceeded, undecided


def _reversed_estimate(audit: Audit, row: Row) -> Estimate:
    """Return the metric of an attack's negated scores, by which an adversary may identify members."""
    if row.metric == "auc":
        return Estimate(
            1 - row.value, None if row.high is None else 1 - row.high, None if row.low is None else 1 - row.low
        )
    metric = choose("metrics", row.metric, {"fpr": audit.provenance["settings"]["fpr"]})
    return metric(-audit.scores[FINETUNED_EPOCH][attack_label(row)], *audit.record_labels)
