"""Bounds that an audit can pass (--pass-below): all attacks are shown to stay below a bound.

`--fail-above` shows that an attack exceeds a bound; that it does not is no evidence, because few texts exceed nothing. A
bound passes only if it is shown for every attack, and for every attack with its score reversed: an adversary may use an attack
whose AUC is far below 0.5 in reverse. The bound is shown if the upper end of the 95 % interval of each lies below it.

**No correction over attacks is needed.** The null hypothesis is a union: some attack, or its reverse, reaches the bound. Let k
be one that does. All attacks are shown below the bound only if k is, and the interval of k lies below the truth of k with a
probability of at most 2.5 %. So the probability of a false pass is at most 2.5 % for any number of attacks and any dependence
(intersection-union test: R. Berger, Technometrics 24 (1982) 295-300). The same holds for several bounds that must all pass. More
attacks make a pass harder, never easier. Selecting attacks after their results are known is not covered; see
`byheart.auditing.preregistration`.

**Validity.** A difference between the texts can hide leakage: members that are harder than non-members lower every AUC, and so do
non-members that resemble training texts. A bound therefore passes only if no finding of the split check, apart from its power, is
doubtful or broken. Few texts pass nothing, because their intervals are wide.

`epsilon` limits ln(TPR / FPR) at the FPR of the audit, in nats: what these attacks show about epsilon. No audit bounds the
epsilon of a training from above.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from byheart.analysis import row_values
from byheart.core.attack_output import is_extraction_attack
from byheart.core.errors import DataError, SettingError, UnknownNameError, plain_name
from byheart.core.registry import Choice
from byheart.core.setting_values import shown_setting
from byheart.core.split_check import Gate
from byheart.core.types import Scores, Table
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats.equivalence import auc_pass_power, texts_to_pass, tpr_pass_power
from byheart.stats.leakage_tests import MIN_GROUPS_FOR_VERDICT, RecordLabels
from byheart.stats.power import effective_text_count
from byheart.stats.roc_auc import auc_interval

PASS_METRICS = ("auc", "epsilon", "tpr_at_fpr")
POWER_FINDING_PREFIX = "power, "
"""Findings about power do not make a pass invalid: the intervals already contain the number of texts."""
MIN_PASS_POWER = 0.5
"""Smallest probability that a model at chance passes; below it the audit refuses to start."""


class PassBound(NamedTuple):
    """An upper limit of a metric that must be shown: `auc`, `tpr_at_fpr`, or `epsilon` (nats)."""

    metric: str
    maximum: float

    def __str__(self) -> str:
        """Return the bound as it is written on the command line."""
        return f"{self.metric}={self.maximum:g}"

    def tpr(self, fpr: float) -> float:
        """Return the largest TPR that the bound allows; for `tpr_at_fpr` and `epsilon`."""
        return self.maximum if self.metric == "tpr_at_fpr" else fpr * math.exp(self.maximum)


class BoundResult(NamedTuple):
    """Whether a bound is shown, and by the attack that comes closest to it: value and upper end of its 95 % interval.

    `power` is the probability that a model at chance passes. `reason` states why the bound is not shown ("" if it is).
    """

    bound: PassBound
    is_shown: bool
    attack: str
    value: float
    high: float
    power: float
    reason: str = ""


def parse_pass_bounds(written: Mapping[str, float] | Iterable[str], *, fpr: float) -> tuple[PassBound, ...]:
    """Return bounds from "metric=value" or from a mapping.

    Raises `UnknownNameError` for an unknown metric, `SettingError` for a value that chance reaches or that is no limit.
    """
    if isinstance(written, Mapping):
        items = [f"{m}={v}" for m, v in written.items()]
    elif isinstance(written, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - from Python, anything
        items = [written] if isinstance(written, str) else [str(item) for item in written]
    else:
        raise SettingError(
            f"pass_below = {shown_setting(written)}: is not bounds. Write a mapping, such as {{'auc': 0.55}}."
        )
    return tuple(_parse_bound(item, fpr) for item in items)


def _parse_bound(item: str, fpr: float) -> PassBound:
    metric, _, value = item.partition("=")
    if metric not in PASS_METRICS:
        raise UnknownNameError("--pass-below", metric, PASS_METRICS)
    lowest, highest, example = {
        "auc": (0.5, 1.0, 0.55),
        "tpr_at_fpr": (fpr, 1.0, min(3 * fpr, (1 + fpr) / 2)),
        "epsilon": (0.0, -math.log(fpr), min(1.0, -math.log(fpr) / 2)),
    }[metric]
    try:
        maximum = float(value)
    except ValueError:
        maximum = math.nan
    if not lowest < maximum < highest:
        raise SettingError(
            f"--pass-below {plain_name(item)}: must be METRIC=VALUE with a value above {lowest:g}, which chance reaches, and below "
            f"{highest:.3g}. Write, for example, --pass-below {metric}={example:.3g}."
        )
    return PassBound(metric, maximum)


def pass_power(bound: PassBound, members: float, nonmembers: float, *, fpr: float, attacks: int) -> float:
    """Probability (0 to 1) that `attacks` attacks at chance pass a bound; a lower bound if attacks are correlated."""
    if bound.metric == "auc":
        return auc_pass_power(members, nonmembers, bound.maximum, attacks=attacks)
    return tpr_pass_power(members, nonmembers, bound.tpr(fpr), fpr=fpr, attacks=attacks)


def required_texts(bound: PassBound, *, fpr: float, attacks: int) -> int | None:
    """Number of independent texts per class with which a model at chance passes with 80 %; None above 10 million."""

    def power(texts: int) -> float:
        return pass_power(bound, texts, texts, fpr=fpr, attacks=attacks)

    return texts_to_pass(power)


def count_membership_attacks(attacks: Mapping[str, Choice]) -> int:
    """Return the number of attacks that a bound limits; raises `SettingError` for extraction attacks only."""
    count = sum(not is_extraction_attack(attack) for attack in attacks.values())
    if not count:
        raise SettingError(
            f"--pass-below: bounds limit attacks on membership, and {', '.join(attacks)} is none. Add one, such as --attacks loss."
        )
    return count


def check_pass_bounds(
    bounds: Sequence[PassBound], record_labels: RecordLabels, attacks: Mapping[str, Choice], *, fpr: float
) -> None:
    """Raise `DataError` if a model at chance more likely fails than passes; called before a model is loaded."""
    count = count_membership_attacks(attacks) if bounds else 0
    members, nonmembers = _independent_counts(record_labels)
    for bound in bounds:
        power = 0.0
        if nonmembers and record_labels.has_enough_groups:
            power = pass_power(bound, members, nonmembers, fpr=fpr, attacks=count)
        if power < MIN_PASS_POWER:
            needed = required_texts(bound, fpr=fpr, attacks=count)
            fix = "Raise the bound" if needed is None else f"Provide {needed:,} of each, or raise the bound"
            raise DataError(
                f"--pass-below {bound}: {members:.0f} independent members and {nonmembers:.0f} independent non-members are too few; "
                f"a model that leaks nothing would pass with a probability of {100 * power:.0f} %. {fix}."
            )


def judge_pass_bounds(
    bounds: Sequence[PassBound],
    scores: Mapping[str, Scores],
    record_labels: RecordLabels,
    gate: Gate | None,
    *,
    fpr: float,
) -> tuple[BoundResult, ...]:
    """Return the result of each bound on scores by attack; `gate` is the split check (None: too few groups)."""
    return tuple(_judge(bound, scores, record_labels, gate, fpr) for bound in bounds)


def _judge(
    bound: PassBound, scores: Mapping[str, Scores], record_labels: RecordLabels, gate: Gate | None, fpr: float
) -> BoundResult:
    interval = partial(_auc_ends, labels=record_labels)
    if bound.metric != "auc":
        interval = partial(_tpr_ends, labels=record_labels, fpr=fpr, is_epsilon=bound.metric == "epsilon")
    ends = {name: interval(s) for name, s in scores.items()}
    ends |= {f"{name}, reversed": interval(-s) for name, s in scores.items()}
    attack = max(ends, key=lambda name: ends[name][1])
    value, high = ends[attack]
    power = pass_power(bound, *_independent_counts(record_labels), fpr=fpr, attacks=len(scores))
    reason = _invalid_reason(record_labels, gate)
    if not reason and high >= bound.maximum:
        above = "is above" if value > bound.maximum else "is not below"
        reason = f"the upper 95 % end of {attack} {above} {bound.maximum:g}"
    return BoundResult(bound, not reason, attack, value, high, power, reason)


def _invalid_reason(record_labels: RecordLabels, gate: Gate | None) -> str:
    if gate is None or not record_labels.has_enough_groups:
        return f"fewer than {MIN_GROUPS_FOR_VERDICT} independent texts per class"
    findings = [f for f in gate.findings if f.verdict != "sound" and not f.name.startswith(POWER_FINDING_PREFIX)]
    worst = next((f for f in findings if f.verdict == "broken"), findings[0] if findings else None)
    return "" if worst is None else f"the split is {worst.verdict}: {worst.why}"


def _auc_ends(scores: Scores, labels: RecordLabels) -> tuple[float, float]:
    value, (_, high) = auc_interval(scores, *labels)
    return value, high


def _tpr_ends(scores: Scores, labels: RecordLabels, fpr: float, *, is_epsilon: bool) -> tuple[float, float]:
    estimate = tpr_at_fpr(scores, *labels, fpr=fpr)
    value, high = estimate.value, 1.0 if estimate.high is None else estimate.high
    return (max(0.0, math.log(max(value, fpr) / fpr)), math.log(max(high, fpr) / fpr)) if is_epsilon else (value, high)


def _independent_counts(record_labels: RecordLabels) -> tuple[float, float]:
    """Return Kish's effective numbers of members and of non-members (0 without any)."""
    sides = [
        [g for g, m in zip(record_labels.groups, record_labels.membership, strict=True) if m == is_member]
        for is_member in (True, False)
    ]
    members, nonmembers = (effective_text_count(side) if side else 0.0 for side in sides)
    return members, nonmembers


def pass_table(results: Sequence[BoundResult], fpr: float) -> Table:
    """Return the bounds as a table: shown or not, the attack that comes closest, and the power of the test."""
    lines = tuple(
        (
            _bound_label(r.bound, fpr),
            "shown" if r.is_shown else f"not shown: {r.reason}",
            r.attack,
            row_values.format_number(r.value),
            row_values.format_number(r.high),
            f"{100 * r.power:.0f} %",
        )
        for r in results
    )
    header = ("bound", "result", "closest attack", "value", "upper 95 % end", "power at chance")
    note = (
        "Shown: for every attack that ran, and for its reversed score, the upper end is below the bound; the probability of a false "
        "pass is at most 2.5 %. A bound that is shown says nothing about other attacks or other texts. Power: the probability that a "
        "model at chance passes."
    )
    if any(r.bound.metric == "epsilon" for r in results):
        note += " epsilon: ln(TPR / FPR) of an attack, in nats, not the epsilon of the training, which no audit bounds from above."
    return Table("Bounds to pass", header, lines, note)


def _bound_label(bound: PassBound, fpr: float) -> str:
    if bound.metric == "auc":
        return f"AUC below {bound.maximum:g}"
    name = "TPR" if bound.metric == "tpr_at_fpr" else "epsilon"
    return f"{name} at {100 * fpr:g} % FPR below {bound.maximum:g}"
