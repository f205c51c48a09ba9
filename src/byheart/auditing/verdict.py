"""What may be said of one audited model: a rule for each sentence, and never that a model is private.

A model *leaks* only where an attack's AUC is above chance and, where the base is known, above what the same attack has on
the base, both by one-sided p-values adjusted for all attacks that were run (S. Holm, Scandinavian Journal of Statistics 6
(1979) 65-70). The chance of a false "leaks" is 2.5 % at most, and the 95 % interval of every attack that is named lies
above chance. Rates in a sentence carry plain 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from byheart.analysis.labels import named
from byheart.core.ragged import means
from byheart.core.split_check import Gate
from byheart.core.types import LogProbs, Row, Scores
from byheart.core.verdict import VerdictWord
from byheart.stats.intervals import TAIL, clopper_pearson, holm
from byheart.stats.leakage_tests import (
    CHANCE_AUC,
    MIN_GROUPS_PER_CLASS,
    RecordLabels,
    p_value_auc_above,
    p_value_auc_gain,
)
from byheart.stats.power import detectable_auc, effective_text_count

ROUNDS_TO_ONE = 0.995
"""An AUC from which on "above" says nothing: it is written as 1.00."""


class Ruling(NamedTuple):
    """The verdict: one word for programs, a sentence for people, and the attack that both rest on ("" for none)."""

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
    """Return the verdict on scores by attack, `base` those of the untuned model where it was observed.

    `rows` are the finished model's AUC and TPR by attack, which the sentence quotes.
    """
    smallest = smallest_detectable_auc(record_labels, len(scores))
    if not record_labels.has_enough_groups:
        return Ruling(
            "refused",
            f"no verdict: fewer than {MIN_GROUPS_PER_CLASS} independent texts a side; {_power(smallest)}",
        )
    if gate is not None and gate.verdict == "broken":
        return Ruling("broken", f"these numbers cannot be read as leakage: {gate.reasons[0]}")
    chance = holm_adjusted({n: p_value_auc_above(s, record_labels, CHANCE_AUC) for n, s in scores.items()})
    both = holm_adjusted(
        {
            n: max(p_value_auc_above(s, record_labels, CHANCE_AUC), _gain_p_value(s, base.get(n), record_labels))
            for n, s in scores.items()
        }
    )
    aucs = {named(r): r for r in rows if r.metric == "auc"}
    found = [n for n, p in both.items() if p <= TAIL]
    if found:
        best = max(found, key=lambda n: aucs[n].value)
        return Ruling("leaks", f"leaks: {_leak_text(best, rows)}", best)
    already = [n for n, p in chance.items() if p <= TAIL]
    if already:
        best = max(already, key=lambda n: aucs[n].value)
        return Ruling(
            "differs",
            f"not shown to leak beyond what its base shows: members and non-members differ by themselves ({best} tells them "
            f"apart on both, AUC {aucs[best].value:.2f} here)",
            best,
        )
    return Ruling(
        "nothing",
        f"no leakage detectable by these attacks at this power (smallest AUC told from chance: {smallest:.2f})",
    )


def members_only_ruling(now: LogProbs, before: LogProbs | None, groups: Sequence[str]) -> Ruling:
    """Return what can be said of training texts alone: how much likelier the model finds them than its base does.

    A text's likelihood is its mean over tokens; a group counts as one text, by the mean of its texts.
    """
    why = "no verdict: without texts that were not trained on nobody can say how often a score comes by chance"
    if before is None:
        return Ruling("uncompared", f"{why}; give some as non-members, and what the model was tuned from as base")
    gain = means(now.logp, now.starts) - means(before.logp, before.starts)
    own = np.unique(np.array(groups), return_inverse=True)[1]
    risen = np.bincount(own, weights=gain) / np.bincount(own)
    low, high = clopper_pearson(float((risen > 0).sum()), float(len(risen)))
    return Ruling(
        "uncompared",
        f"{why}; the model finds {100 * (risen > 0).mean():.0f} % ({100 * low:.0f}\N{EN DASH}{100 * high:.0f} %) of its training "
        f"texts likelier than its base does, by {np.median(risen):.2f} nats a token at the median, and tuning does so to texts "
        "of their kind that it never saw as well",
    )


def holm_adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p-values by name."""
    return dict(zip(p_values, holm(np.array(list(p_values.values()))).tolist(), strict=True))


def smallest_detectable_auc(record_labels: RecordLabels, attacks: int) -> float:
    """Smallest AUC that one of so many attacks tells from chance four times in five, a group counting as one text."""
    groups = np.array(record_labels.groups)
    ours, theirs = (
        effective_text_count(tuple(groups[on])) for on in (record_labels.membership, ~record_labels.membership)
    )
    return detectable_auc(ours, theirs, tests=attacks)


def _power(smallest: float) -> str:
    if smallest >= ROUNDS_TO_ONE:
        return "so few tell no AUC from chance"
    return f"so few tell only an AUC above {smallest:.2f} from chance"


def _gain_p_value(now: Scores, before: Scores | None, record_labels: RecordLabels) -> float:
    return 0.0 if before is None else p_value_auc_gain(now, before, record_labels)


def _leak_text(attack: str, rows: Sequence[Row]) -> str:
    """Say what an attacker finds: a share of the members where that is above the false alarms, else the AUC."""
    own = {r.metric: r for r in rows if named(r) == attack}
    auc, tpr = own["auc"], own.get("tpr_at_fpr")
    ranked = f"{attack} ranks a member above a non-member {_percent_text(auc)} of the time, and 50 % is chance"
    fpr = 0.01 if tpr is None or not tpr.metric_settings else float(tpr.metric_settings.removeprefix("fpr="))
    if tpr is None or (tpr.low or 0.0) <= fpr:
        return ranked
    return f"an attacker at {100 * fpr:g} % false alarms finds {_percent_text(tpr)} of the members; {ranked}"


def _percent_text(row: Row) -> str:
    ends = "" if row.low is None or row.high is None else f" ({100 * row.low:.0f}\N{EN DASH}{100 * row.high:.0f} %)"
    return f"{100 * row.value:.0f} %{ends}"
