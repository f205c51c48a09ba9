"""The verdict on one audited model. No verdict calls a model private.

A model *leaks* only if an attack's AUC is above chance, above every blind classifier's AUC (`byheart.data.blind_baselines`)
and, with a base model, above the same attack's AUC on the base model. These are one-sided tests with p-values adjusted for
all attacks that ran (S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70). The
probability of a false "leaks" is at most 2.5 % for comparable members and non-members, and the 95 % interval of the attack
in the sentence lies above chance. Rates in a sentence have plain 95 % intervals.

A model leaks in reverse (`reversed`) if the same tests hold for an attack's negated scores: members score below non-members,
as after unlearning, and an adversary who reverses the score identifies them. These tests have an error of their own, 2.5 %, so
a false claim in either direction has a probability of at most 5 %, as for a two-sided 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from byheart.analysis.labels import attack_label
from byheart.core.ragged import means
from byheart.core.split_check import BLIND_PREFIX, Finding, Gate
from byheart.core.types import LogProbs, Row, Scores
from byheart.core.verdict import VerdictWord
from byheart.stats.intervals import TAIL, clopper_pearson, holm_by_name
from byheart.stats.leakage_tests import (
    CHANCE_AUC,
    MIN_GROUPS_FOR_VERDICT,
    BlindComparison,
    RecordLabels,
    compare_with_blind,
    negated,
    p_value_auc_above,
    p_value_auc_gain,
)
from byheart.stats.power import detectable_auc, effective_text_count

ROUNDS_TO_ONE = 0.995
"""Smallest AUC that prints as 1.00 with two decimals; no attack can exceed 1."""


class Ruling(NamedTuple):
    """The verdict: a word for programs, a sentence for people, and the attack behind both ("" if none)."""

    word: VerdictWord
    sentence: str
    attack: str = ""


def ruling(
    scores: Mapping[str, Scores],
    base: Mapping[str, Scores],
    rows: Sequence[Row],
    record_labels: RecordLabels,
    gate: Gate | None,
) -> Ruling:
    """Return the verdict on scores by attack; `base` are the base model's scores, empty without a base model.

    `rows` are the fine-tuned model's AUC and TPR by attack, for the sentence.
    """
    smallest = smallest_detectable_auc(record_labels, len(scores))
    if not record_labels.has_enough_groups:
        return Ruling(
            "refused",
            f"no verdict: fewer than {MIN_GROUPS_FOR_VERDICT} independent texts per class; {_power_text(smallest)}",
        )
    if gate is not None and gate.verdict == "broken":
        return Ruling("broken", f"these numbers cannot be read as leakage: {gate.reasons[0]}")
    classifiers = () if gate is None else gate.compared_classifiers
    upward = _test_direction(scores, base, record_labels, classifiers)
    aucs = {attack_label(r): r for r in rows if r.metric == "auc"}
    if leaking := upward.leaking:
        best = max(leaking, key=lambda n: aucs[n].value)
        return Ruling("leaks", f"leaks: {_leak_text(best, rows)}", best)
    downward = _test_direction(negated(scores), negated(base), record_labels, classifiers)
    if leaking := downward.leaking:
        best = min(leaking, key=lambda n: aucs[n].value)
        return Ruling("reversed", f"leaks in reverse: {_reversed_text(aucs[best])}", best)
    for direction, strongest in ((upward, max), (downward, min)):
        if separating := direction.separating:
            best = strongest(separating, key=lambda n: aucs[n].value)
            return Ruling("differs", _difference_text(aucs[best], direction, best), best)
    return Ruling("nothing", f"no leakage detectable by these attacks at this power ({_power_text(smallest)})")


class _DirectionTests(NamedTuple):
    """One-sided p-values by attack: above chance, above the base model, and the comparison with the blind classifiers."""

    above_chance: Mapping[str, float]
    above_base: Mapping[str, float]
    blind: Mapping[str, BlindComparison]

    @property
    def leaking(self) -> list[str]:
        """The attacks that exceed chance, base model and blind classifiers."""
        above_all = {n: max(p, self.above_base[n], self.blind[n].p_value) for n, p in self.above_chance.items()}
        return [n for n, p in holm_by_name(above_all).items() if p <= TAIL]

    @property
    def separating(self) -> list[str]:
        """The attacks that exceed chance."""
        return [n for n, p in holm_by_name(self.above_chance).items() if p <= TAIL]


def _test_direction(
    scores: Mapping[str, Scores],
    base: Mapping[str, Scores],
    record_labels: RecordLabels,
    classifiers: Sequence[Finding],
) -> _DirectionTests:
    return _DirectionTests(
        {n: p_value_auc_above(s, record_labels, CHANCE_AUC) for n, s in scores.items()},
        {n: _gain_p_value(s, base.get(n), record_labels) for n, s in scores.items()},
        {n: compare_with_blind(s, record_labels, classifiers) for n, s in scores.items()},
    )


def members_only_ruling(now: LogProbs, before: LogProbs | None, groups: Sequence[str]) -> Ruling:
    """Return the ruling without non-members: no verdict, and the gain in log-probability over the base model.

    A text's gain is its mean over tokens (nats). A group counts as one text, with the mean of its texts' gains.
    """
    no_verdict = "no verdict: without non-members, no false positive rate can be measured"
    if before is None:
        return Ruling("uncompared", f"{no_verdict}; add non-members and the base model")
    gains = means(now.logp, now.starts) - means(before.logp, before.starts)
    group_of_text = np.unique(np.array(groups), return_inverse=True)[1]
    group_gains = np.bincount(group_of_text, weights=gains) / np.bincount(group_of_text)
    likelier = group_gains > 0
    low, high = clopper_pearson(float(likelier.sum()), float(len(likelier)))
    return Ruling(
        "uncompared",
        f"{no_verdict}; {100 * likelier.mean():.0f} % ({100 * low:.0f}\N{EN DASH}{100 * high:.0f} %) of the training texts are "
        f"more likely under the fine-tuned model than under the base model (median gain {np.median(group_gains):.2f} nats per "
        "token), but fine-tuning also makes unseen texts of the same kind more likely",
    )


def smallest_detectable_auc(record_labels: RecordLabels, attacks: int) -> float:
    """Smallest AUC that one of `attacks` tests detects with 80 % probability; a group counts as one text."""
    groups = np.array(record_labels.groups)
    members, nonmembers = (
        effective_text_count(tuple(groups[mask])) for mask in (record_labels.membership, ~record_labels.membership)
    )
    return detectable_auc(members, nonmembers, tests=attacks)


def _power_text(smallest: float) -> str:
    if smallest >= ROUNDS_TO_ONE:
        return "no AUC is detectable"
    return f"smallest detectable AUC: {smallest:.2f}"


def _gain_p_value(now: Scores, before: Scores | None, record_labels: RecordLabels) -> float:
    return 0.0 if before is None else p_value_auc_gain(now, before, record_labels)


def _difference_text(auc: Row, tests: _DirectionTests, attack: str) -> str:
    """State why an AUC that differs from chance is no leak: the texts alone, or the base model, separate the classes as well.

    If both tests fail on their own, the sentence names the texts.
    """
    order = "" if auc.value > CHANCE_AUC else " in reverse order"
    separates = f"{attack} separates members from non-members{order} (AUC {auc.value:.2f})"
    classifier, p_value = tests.blind[attack]
    if classifier is None or (p_value <= TAIL and tests.above_base[attack] > TAIL):
        return (
            f"not shown to leak beyond the base model: {separates}, but not significantly better than on the base model"
        )
    name = classifier.name.removeprefix(BLIND_PREFIX)
    return (
        f"not shown to leak beyond the texts: {separates}, but not significantly better than {name} alone, without the model "
        f"(blind AUC {_auc_text(classifier.value, classifier.low, classifier.high)})"
    )


def _auc_text(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _leak_text(attack: str, rows: Sequence[Row]) -> str:
    """Return the attack's AUC as a share of pairs, after its TPR if the TPR's interval lies above the FPR."""
    own = {r.metric: r for r in rows if attack_label(r) == attack}
    auc, tpr = own["auc"], own.get("tpr_at_fpr")
    pairs = f"{attack} ranks a member above a non-member in {_percent_text(auc)} of pairs (chance: 50 %)"
    fpr = 0.01 if tpr is None or not tpr.metric_settings else float(tpr.metric_settings.removeprefix("fpr="))
    if tpr is None or (tpr.low or 0.0) <= fpr:
        return pairs
    return f"at {100 * fpr:g} % false positive rate, {attack} identifies {_percent_text(tpr)} of the members; {pairs}"


def _reversed_text(auc: Row) -> str:
    """Return one minus the attack's AUC, as a share of pairs."""
    low, high = (None, None) if auc.low is None or auc.high is None else (1 - auc.high, 1 - auc.low)
    share = _percent_text(replace(auc, value=1 - auc.value, low=low, high=high))
    return (
        f"{attack_label(auc)} ranks a member below a non-member in {share} of pairs (chance: 50 %), so an adversary who reverses "
        "the score identifies members"
    )


def _percent_text(row: Row) -> str:
    interval = "" if row.low is None or row.high is None else f" ({100 * row.low:.0f}\N{EN DASH}{100 * row.high:.0f} %)"
    return f"{100 * row.value:.0f} %{interval}"
