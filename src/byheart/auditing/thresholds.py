"""Bounds that an audit must keep (--fail-above)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from byheart.analysis import row_values
from byheart.analysis.labels import named
from byheart.auditing.audit import Audit
from byheart.auditing.result import FINETUNED_EPOCH
from byheart.core.errors import DataError, SettingError, UnknownNameError
from byheart.stats.leakage_tests import MIN_GROUPS_PER_CLASS

BOUNDABLE_METRICS = ("auc", "tpr_at_fpr")
"""What a bound can be set for."""


class Bound(NamedTuple):
    """A number that no attack may be above: the lower end of its 95 % interval is what counts."""

    metric: str
    maximum: float


def check_bounds(limits: Sequence[Bound], members: int, nonmembers: int, fpr: float) -> None:
    """Raise `DataError` for bounds that so few texts cannot judge: a gate must not open because nobody could look."""
    for bound in limits:
        if min(members, nonmembers) < MIN_GROUPS_PER_CLASS:
            raise DataError(
                f"--fail-above {bound.metric}={bound.maximum:g} cannot be judged by {members} members and {nonmembers} non-members; "
                f"give {MIN_GROUPS_PER_CLASS} or more of each"
            )
        if bound.metric == "tpr_at_fpr" and math.floor(fpr * nonmembers + 1e-9) < 1:
            raise DataError(
                f"--fail-above tpr_at_fpr={bound.maximum:g} cannot be judged: {100 * fpr:g} % false alarms need "
                f"{math.ceil(1 / fpr - 1e-9)} non-members and there are {nonmembers}; give more, or raise --fpr"
            )


def parse_bounds(written: Iterable[str]) -> tuple[Bound, ...]:
    """Return bounds from "metric=value"; raises `SettingError` and `UnknownNameError` for what is no bound."""
    found: list[Bound] = []
    for bound in written:
        metric, _, value = bound.partition("=")
        if metric not in BOUNDABLE_METRICS:
            raise UnknownNameError("--fail-above", metric, BOUNDABLE_METRICS)
        try:
            most = float(value)
        except ValueError:
            most = -1.0
        if not 0 <= most < 1:
            raise SettingError(
                f"--fail-above {bound}: write a number from 0 to below 1, as in --fail-above {metric}=0.05"
            )
        found.append(Bound(metric, most))
    return tuple(found)


def crossed_bounds(audit: Audit, limits: Sequence[Bound]) -> tuple[list[str], list[str]]:
    """Return in words the bounds that are crossed, and those that a value is above while its interval is not.

    Raises `DataError` where the texts are too few to tell: a gate must not open because nobody could look.
    """
    over: list[str] = []
    near: list[str] = []
    for metric, most in limits:
        if audit.ruling.word == "refused":
            raise DataError(f"--fail-above {metric}={most:g} cannot be judged: {audit.verdict}; give more texts")
        rows = [r for r in audit.rows if r.metric == metric and r.epoch == FINETUNED_EPOCH]
        for row in rows:
            ends = f"{row_values.number(row.low or 0)}, {row_values.number(row.high or 1)}"
            told = f"{metric} of {named(row)} is {row_values.number(row.value)} [{ends}]"
            if row.low is not None and row.low > most:
                over.append(f"{told}, above {most:g}")
            elif row.value > most:
                near.append(
                    f"{told}: its value is above {most:g} and its interval's lower end is not; more texts would tell"
                )
    return over, near
