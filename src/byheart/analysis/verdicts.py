"""Verdict on each method by the rules of docs/verdicts.md, with the sentence that states it.

Intervals are simultaneous over all attacks and methods of the study, so reporting the best attack is not a biased selection.
No verdict states that a method is private or safe: a stronger attack may detect leakage where these attacks do not. If the split
check is broken, no number counts as leakage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import ScoreLookup, TablePosition, auc_rows, auc_rows_by_position, gain_over_base
from byheart.analysis.method_verdict import MethodVerdict, OtherAdversary
from byheart.analysis.verdict_word import verdict_word
from byheart.core.adversary import adversary_order, adversary_phrase
from byheart.core.row import adversary_label, is_base_row
from byheart.core.split_check import Gate
from byheart.core.types import Estimate, Row
from byheart.stats.simultaneous import (
    AucInterval,
    reversed_interval,
    simultaneous_auc_interval,
    simultaneous_detectable_auc,
    widen_interval,
)

DEFAULT_FPR = "0.01"
"""Default of the setting `fpr` of `tpr_at_fpr`."""


def verdicts(
    rows: Sequence[Row],
    scores: ScoreLookup,
    gates: Mapping[str, Gate],
    *,
    epoch: float | None = None,
) -> dict[str, list[MethodVerdict]]:
    """Return the verdict on each method at an epoch (None: its last), by data set (and base model, if there are several).

    `gates` have the same names; without a gate, the split counts as not broken.
    """
    variants, panels = labels.variants(rows), labels.panels(rows)
    tests = len(trained_auc_rows(rows, epoch))
    by_panel: dict[str, list[MethodVerdict]] = {}
    for panel, panel_rows in panels.split(rows).items():
        gate = gates.get(panel)
        by_method: dict[str, list[MethodVerdict]] = {}
        for position, seeds in trained_auc_rows(panel_rows, epoch).items():
            verdict = _attack_verdict(position, seeds, panel_rows, scores, tests, gate)
            by_method.setdefault(verdict.method, []).append(verdict)
        perplexities = variants.split(r for r in panel_rows if r.metric == "perplexity" and not r.attack)
        names = {n: variants(r) for n, r in _first_row_by_method(panel_rows).items()}
        by_panel[panel] = [
            _best_attack(of_method)._replace(
                method=names[n], perplexity=_perplexity_change(perplexities.get(names[n], []), epoch)
            )
            for n, of_method in by_method.items()
        ]
    return {panel: of_panel for panel, of_panel in by_panel.items() if of_panel}


def verdict_lines(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> list[str]:
    """Return one line per method: its verdict and the numbers behind it."""
    return [
        f"{panel}, {v.method}: {v.sentence}; {v.evidence}"
        for panel, of_panel in verdicts(rows, scores, gates).items()
        for v in of_panel
    ]


def trained_auc_rows(rows: Sequence[Row], epoch: float | None = None) -> dict[TablePosition, list[Row]]:
    """Return the AUC rows of each attack on each method at an epoch after training began (None: the last).

    Their number is the number of simultaneous tests of this epoch.
    """
    by_position = auc_rows_by_position(rows, epoch)
    return {position: seeds for position, seeds in by_position.items() if any(r.epoch for r in seeds)}


def _first_row_by_method(rows: Sequence[Row]) -> dict[str, Row]:
    """Return one row of each method by its name within one panel."""
    return {name: of_method[0] for name, of_method in labels.variants(rows).split(auc_rows(rows)).items()}


def _best_attack(attack_verdicts: Sequence[MethodVerdict]) -> MethodVerdict:
    """Return the leaking attack with the highest AUC, else the lowest that leaks in reverse, else the attack with the highest AUC.

    Its `higher` names an attack with a higher AUC, which is not shown to leak, and the condition that fails.
    """
    best = max(attack_verdicts, key=_strength)
    best = best._replace(other_adversaries=_other_adversaries(best, attack_verdicts))
    top = max(attack_verdicts, key=lambda v: v.auc.value)
    is_same = row_values.format_number(top.auc.value) == row_values.format_number(best.auc.value)
    if best.word == "reversed" or is_same or not top.failed_condition:
        return best
    return best._replace(higher=f" {top.attack} has a higher AUC, {top.auc_text}, but {top.failed_condition}.")


def _strength(verdict: MethodVerdict) -> tuple[int, float]:
    if verdict.word == "reversed":
        return 1, -verdict.auc.value
    return 2 * (verdict.word == "leaks"), verdict.auc.value


def _other_adversaries(best: MethodVerdict, attack_verdicts: Sequence[MethodVerdict]) -> tuple[OtherAdversary, ...]:
    """Return the best attack of each other adversary, weakest adversary first.

    Of an attack that leaks in reverse, the AUC is that of its reversed score.
    """
    others = sorted({v.adversary for v in attack_verdicts} - {best.adversary}, key=adversary_order)
    strongest = [max((v for v in attack_verdicts if v.adversary == a), key=_strength) for a in others]
    return tuple(
        OtherAdversary(
            adversary_phrase(v.adversary),
            f"{v.attack}{', score reversed' if v.word == 'reversed' else ''}",
            row_values.format_estimate(Estimate(*(reversed_interval(v.auc) if v.word == "reversed" else v.auc))),
        )
        for v in strongest
    )


def _attack_verdict(
    position: TablePosition,
    last: list[Row],
    panel_rows: Sequence[Row],
    scores: ScoreLookup,
    tests: int,
    gate: Gate | None,
) -> MethodVerdict:
    """Return the verdict of one attack on one method; `last` are its rows of the last epoch, one per seed."""
    score_sets = [scores(r.scores) for r in last]
    intervals = [simultaneous_auc_interval(s, tests=tests) for s in score_sets]
    auc = AucInterval(
        sum(i.value for i in intervals) / len(intervals), min(i.low for i in intervals), max(i.high for i in intervals)
    )
    base_rows = [r for r in auc_rows(panel_rows) if is_base_row(r) and _attack_key(r) == _attack_key(last[0])]
    gain = gain_over_base(panel_rows, last, scores)
    word, blind_match = verdict_word(auc, score_sets, base_rows=base_rows, gain=gain, gate=gate, tests=tests)
    return MethodVerdict(
        method=position.variant,
        word=word,
        attack=position.attack,
        epoch=last[0].epoch,
        auc=auc,
        seeds=len(last),
        base_auc=row_values.base_estimate(base_rows),
        gain=gain,
        identified_share=_identified_share(last, panel_rows, tests),
        detectable_auc=max(simultaneous_detectable_auc(s, tests) for s in score_sets),
        perplexity="",
        matched_by=blind_match,
        adversary=adversary_label(last[0]),
    )


def _identified_share(last: Sequence[Row], panel_rows: Sequence[Row], tests: int) -> str:
    """State the share of members identified at the lowest measured false positive rate.

    "" if no TPR was measured, or if its interval is not above this rate: then guessing identifies as many.
    """
    tpr_rows = [r for r in panel_rows if r.metric == "tpr_at_fpr" and _attack_key(r) == _attack_key(last[0])]
    last_cells = {(r.cell, r.epoch) for r in last}
    measured = [r for r in tpr_rows if (r.cell, r.epoch) in last_cells and r.low is not None and r.high is not None]
    if not measured:
        return ""
    lowest = min(_fpr(r) for r in measured)
    seeds = [r for r in measured if _fpr(r) == lowest]
    ends = [widen_interval(r.value, r.low or 0.0, r.high or 0.0, tests) for r in seeds]
    value = sum(r.value for r in seeds) / len(seeds)
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low <= lowest:
        return ""
    span = f"[{100 * low:.0f} %, {100 * high:.0f} %]"
    return f"at {100 * lowest:g} % FPR, an adversary identifies {100 * value:.0f} % {span} of the members"


def _fpr(row: Row) -> float:
    return float(row_values.parse_settings(row.metric_settings).get("fpr", DEFAULT_FPR))


def _attack_key(row: Row) -> tuple[str, str, str]:
    return row.attack, row.attack_settings, adversary_label(row)


def _perplexity_change(utility: Sequence[Row], epoch: float | None) -> str:
    ends = [row_values.pooled_estimate(row_values.rows_at_epoch(utility, e)) for e in (0, epoch)]
    return " → ".join(row_values.format_number(e.value) for e in ends if e is not None)
