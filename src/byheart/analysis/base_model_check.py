"""Do attacks tell members from non-members before any fine-tuning? The part of the validity gate that needs a model.

What an attack finds on the untuned model it finds without training, so it is a difference between the two sets of
texts, or an older training of the base on some of them: Shi et al., Detecting Pretraining Data from Large Language
Models, ICLR 2024, arXiv 2310.16789, find such members by the same attacks. The rules stand in docs/validity.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from byheart.analysis import labels
from byheart.analysis.comparisons import ScoreLookup
from byheart.core.split_check import BLIND_AUC_LIMIT, Finding, Gate, Verdict
from byheart.core.types import Row, ScoreSet
from byheart.stats.intervals import TAIL, holm
from byheart.stats.leakage_tests import p_value_auc_above
from byheart.stats.simultaneous import ALPHA, p_value_auc_differs, sides_of, simultaneous_auc_interval


def base_model_findings(score_sets: Mapping[str, ScoreSet]) -> tuple[Finding, ...]:
    """What each attack, by its name, finds on the untuned model; all attacks share an error of 5 % (Holm).

    An AUC as far below one half tells the two sides apart as well.
    """
    if not score_sets:
        return ()
    apart = holm(np.array([p_value_auc_differs(held) for held in score_sets.values()]))
    far = holm(np.array([_p_beyond_bound(held) for held in score_sets.values()]))
    return tuple(
        _finding(name, held, float(p), float(bound))
        for (name, held), p, bound in zip(score_sets.items(), apart, far, strict=True)
    )


def _p_beyond_bound(held: ScoreSet) -> float:
    """One-sided p-value of an AUC within BOUND of one half, for the nearer side."""
    return min(p_value_auc_above(scores, sides_of(held), BLIND_AUC_LIMIT) for scores in (held.scores, -held.scores))


def _finding(name: str, held: ScoreSet, p: float, p_beyond_limit: float) -> Finding:
    value, low, high = simultaneous_auc_interval(held)
    verdict: Verdict = "sound" if p > ALPHA else "broken" if p_beyond_limit <= TAIL else "doubtful"
    found = f"AUC {value:.3f} [{low:.3f}, {high:.3f}], p {p:.3f}"
    beyond = (
        f"its interval above {BLIND_AUC_LIMIT}"
        if value > 1 - BLIND_AUC_LIMIT
        else f"its interval below {1 - BLIND_AUC_LIMIT:g}"
    )
    limit = beyond if verdict == "broken" else "not one half"
    why = f"{name} tells members from non-members on the untuned model already (AUC {value:.2f}, {limit})"
    return Finding(f"untuned: {name}", verdict, found, why if p <= ALPHA else "", value, low, high, p)


GatesByDataset = Mapping[tuple[str, str], Gate]
"""Gates of data by data set and its settings, as rows name them."""


NO_SPLIT_CHECK = "the data were never judged; run the study again, which trains nothing anew"


def panel_gates(rows: Sequence[Row], scores: ScoreLookup, gates: GatesByDataset) -> dict[str, Gate]:
    """Return the gate of each data set (and base model, where there are several), by its name.

    Of several cells the first's untuned scores are asked, since all share the untuned model. Data that were never
    judged are doubtful.
    """
    return {name: _combined_gate(there, scores, gates) for name, there in labels.panels(rows).split(rows).items()}


def _combined_gate(rows: Sequence[Row], scores: ScoreLookup, gates: GatesByDataset) -> Gate:
    data = gates.get((rows[0].dataset, rows[0].dataset_settings)) or _unchecked_gate(rows)
    measured = [r for r in rows if r.attack and r.metric == "auc" and r.scores]
    before = labels.attacks(measured).split(r for r in measured if r.epoch == 0)
    found = base_model_findings({name: scores(those[0].scores) for name, those in before.items()})
    return Gate(data.members, data.nonmembers, (*data.findings, *found))


def gate_lines(gates: Mapping[str, Gate]) -> list[str]:
    """Return each verdict with its reasons, in a line."""
    return [
        f"members against non-members, {name}: {gate.verdict}{_reasons_suffix(gate)}" for name, gate in gates.items()
    ]


def _reasons_suffix(gate: Gate) -> str:
    return f" ({'; '.join(gate.reasons)})" if gate.reasons else ""


def _unchecked_gate(rows: Sequence[Row]) -> Gate:
    counts = next(((r.members, r.nonmembers) for r in rows if r.attack), (0, 0))
    told = Finding("data", "doubtful", "never judged", NO_SPLIT_CHECK, 0.0)
    return Gate(counts[0] or 0, counts[1] or 0, (told,))
