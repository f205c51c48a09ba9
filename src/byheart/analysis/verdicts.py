"""What may be claimed of each method, in words, by the rules of docs/verdicts.md.

Every attack on every method of the study is looked at with intervals that hold all at once, so that telling the best of
them is no selection. Nothing is ever called private or safe: attacks that find nothing show only that these found
nothing. Where the comparison itself is broken, no number is read as leakage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import ScoreLookup, TablePosition, auc_rows, auc_rows_by_position, gain_over_base
from byheart.core.split_check import Gate
from byheart.core.types import Estimate, Row
from byheart.core.verdict import VerdictWord
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import (
    ALPHA,
    AucInterval,
    simultaneous_auc_interval,
    simultaneous_detectable_auc,
    widen_interval,
)

DEFAULT_FPR = "0.01"
"""What `tpr_at_fpr` takes where its settings say nothing."""

CLAIMS: Mapping[VerdictWord, str] = {
    "leaks": "leaks",
    "differs": "not shown to leak",
    "nothing": "no leakage detectable",
    "broken": "not to be read as leakage",
}


class MethodVerdict(NamedTuple):
    """The best attack's result on one method at its last epoch, by an interval that holds for all attacks at once.

    `low` and `high` are the outermost ends of the seeds' intervals, so that no single lucky seed makes a leak. `before`
    is the same attack on the untuned model, `gain` the paired difference; None where that was not measured. `found`
    says what share of the members an attacker finds; "" where no TPR was measured. `smallest` is the smallest AUC that
    so many texts and tests tell from chance. `higher` names an attack with a higher AUC that does not show it.
    """

    method: str
    word: VerdictWord
    attack: str
    epoch: int | None
    auc: AucInterval
    seeds: int
    base_auc: Estimate | None
    gain: AucDifference | None
    identified_share: str
    detectable_auc: float
    perplexity: str
    higher: str = ""

    @property
    def claim(self) -> str:
        """What may be said of the method, in a few words."""
        return CLAIMS[self.word]

    @property
    def sentence(self) -> str:
        """What may be said of the method, as a sentence with its numbers."""
        if self.word == "leaks":
            return f"{self.claim}: {self.identified_share or self._pairwise_sentence}"
        if self.word == "differs":
            return f"{self.claim} beyond what the untuned model shows"
        if self.word == "broken":
            return f"{self.claim}: members and non-members are not comparable"
        return f"{self.claim} by these attacks at this power (smallest AUC told from chance: {self.detectable_auc:.2f})"

    @property
    def evidence(self) -> str:
        """The numbers behind the claim, as a sentence."""
        when = "" if self.epoch is None else f" after epoch {self.epoch}"
        before = (
            "" if self.base_auc is None else f"; on the untuned model {row_values.format_number(self.base_auc.value)}"
        )
        of_seeds = "" if self.seeds == 1 else f"mean of {self.seeds} seeds, "
        ends = f"{row_values.format_number(self.auc.low)} to {row_values.format_number(self.auc.high)}"
        return f"{self.attack} reaches AUC {row_values.format_number(self.auc.value)} ({of_seeds}{ends}){when}{before}.{self.higher}"

    @property
    def _pairwise_sentence(self) -> str:
        shares = (f"{100 * v:.0f}" for v in self.auc)
        return (
            "an attacker who is shown a member and a non-member tells which is which in {} % ({}-{} %) of cases".format(
                *shares
            )
        )


def verdicts(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> dict[str, list[MethodVerdict]]:
    """Return the verdict on each method at its last epoch, by data set (and base model, where there are several).

    `gates` are by the same names; where one is missing, or holds nothing, the comparison counts as not broken.
    """
    variants, panels = labels.variants(rows), labels.panels(rows)
    tests = len(last_epoch_auc_rows(rows))
    found: dict[str, list[MethodVerdict]] = {}
    for panel, there in panels.split(rows).items():
        broken = panel in gates and gates[panel].verdict == "broken"
        by_method: dict[str, list[MethodVerdict]] = {}
        for place, those in last_epoch_auc_rows(there).items():
            judged = _attack_verdict(place, those, there, scores, tests)
            by_method.setdefault(judged.method, []).append(judged._replace(word="broken") if broken else judged)
        utility = variants.split(r for r in there if r.metric == "perplexity" and not r.attack)
        names = {n: variants(r) for n, r in _first_row_by_method(there).items()}
        found[panel] = [
            _best_attack(those)._replace(method=names[n], perplexity=_perplexity_change(utility.get(names[n], [])))
            for n, those in by_method.items()
        ]
    return {panel: told for panel, told in found.items() if told}


def verdict_lines(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> list[str]:
    """Return each method's verdict with its numbers, in a line."""
    return [
        f"{panel}, {v.method}: {v.sentence}; {v.evidence}"
        for panel, found in verdicts(rows, scores, gates).items()
        for v in found
    ]


def last_epoch_auc_rows(rows: Sequence[Row]) -> dict[TablePosition, list[Row]]:
    """Return the last epoch's AUC rows of each attack on each method: as many as are tested at once."""
    return {place: there for place, there in auc_rows_by_position(rows).items() if any(r.epoch for r in there)}


def _first_row_by_method(rows: Sequence[Row]) -> dict[str, Row]:
    """Return one row of each method by its name within one panel."""
    return {name: those[0] for name, those in labels.variants(rows).split(auc_rows(rows)).items()}


def _best_attack(found: Sequence[MethodVerdict]) -> MethodVerdict:
    best = max(found, key=lambda v: (v.word == "leaks", v.auc.value))
    top = max(found, key=lambda v: v.auc.value)
    value, low, high = (row_values.format_number(v) for v in top.auc)
    if value == row_values.format_number(best.auc.value):
        return best
    return best._replace(
        higher=f" {top.attack} is higher, AUC {value}, but too uncertain to rest on ({low} to {high})."
    )


def _attack_verdict(
    place: TablePosition, last: list[Row], there: Sequence[Row], scores: ScoreLookup, tests: int
) -> MethodVerdict:
    held = [scores(r.scores) for r in last]
    bounds = [simultaneous_auc_interval(h, tests=tests) for h in held]
    auc = AucInterval(
        sum(b.value for b in bounds) / len(bounds), min(b.low for b in bounds), max(b.high for b in bounds)
    )
    before = [r for r in auc_rows(there) if r.epoch == 0 and _attack_key(r) == _attack_key(last[0])]
    gain = gain_over_base(there, last, scores)
    gained = gain is None or (gain.value > 0 and gain.p_value * tests <= ALPHA)
    base = max((r.high or 0 for r in before), default=0) if is_base_off_chance(before) else row_values.CHANCE_AUC
    word: VerdictWord = (
        "nothing" if auc.low <= row_values.CHANCE_AUC else "leaks" if auc.low > base and gained else "differs"
    )
    smallest = max(simultaneous_detectable_auc(h, tests) for h in held)
    found = _identified_share(last, there, tests)
    epoch, seeds, untuned = last[0].epoch, len(last), row_values.base_estimate(before)
    return MethodVerdict(place.variant, word, place.attack, epoch, auc, seeds, untuned, gain, found, smallest, "")


def _identified_share(last: Sequence[Row], there: Sequence[Row], tests: int) -> str:
    """Say what share of the members is found at the lowest false positive rate measured; "" where none was."""
    rates = [r for r in there if r.metric == "tpr_at_fpr" and _attack_key(r) == _attack_key(last[0])]
    at = {(r.cell, r.epoch) for r in last}
    measured = [r for r in rates if (r.cell, r.epoch) in at and r.low is not None and r.high is not None]
    if not measured:
        return ""
    lowest = min(_fpr(r) for r in measured)
    those = [r for r in measured if _fpr(r) == lowest]
    ends = [widen_interval(r.value, r.low or 0.0, r.high or 0.0, tests) for r in those]
    value = sum(r.value for r in those) / len(those)
    span = f"{100 * min(low for low, _ in ends):.0f}-{100 * max(high for _, high in ends):.0f} %"
    return f"an attacker at {100 * lowest:g} % false alarms finds {100 * value:.0f} % ({span}) of the members"


def _fpr(row: Row) -> float:
    return float(row_values.parse_settings(row.metric_settings).get("fpr", DEFAULT_FPR))


def _attack_key(row: Row) -> tuple[str, str]:
    return row.attack, row.attack_settings


def _perplexity_change(utility: Sequence[Row]) -> str:
    ends = [row_values.pooled_estimate(row_values.rows_at_epoch(utility, epoch)) for epoch in (0, None)]
    return " → ".join(row_values.format_number(e.value) for e in ends if e is not None)


def is_base_off_chance(rows: Sequence[Row]) -> bool:
    """Whether the untuned model's interval leaves out one half, for every seed that has one."""
    known = [r for r in rows if r.low is not None and r.high is not None]
    return bool(known) and all(
        (r.low or 0) > row_values.CHANCE_AUC or (r.high or 0) < row_values.CHANCE_AUC for r in known
    )
