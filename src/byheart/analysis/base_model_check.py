"""Test whether attacks distinguish members from non-members on the base model: the part of the split check with a model.

A difference on the base model does not come from fine-tuning. Either the two sets of texts differ, or some of them are in
the base model's pre-training data: Shi et al., Detecting Pretraining Data from Large Language Models, ICLR 2024,
arXiv 2310.16789, detect such members with the same attacks. docs/validity.md has the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from byheart.analysis import labels
from byheart.analysis.comparisons import ScoreLookup
from byheart.core.row import is_base_row
from byheart.core.split_check import BLIND_AUC_LIMIT, Finding, Gate, Verdict
from byheart.core.types import Row, ScoreSet
from byheart.stats.intervals import TAIL, holm
from byheart.stats.leakage_tests import p_value_auc_above
from byheart.stats.simultaneous import ALPHA, labels_of, p_value_auc_differs, simultaneous_auc_interval


def base_model_findings(score_sets: Mapping[str, ScoreSet]) -> tuple[Finding, ...]:
    """AUC of each attack on the base model, by attack name, with a verdict; all attacks share an error of 5 % (Holm).

    The test is two-sided, because an AUC below 0.5 also distinguishes members from non-members.
    """
    if not score_sets:
        return ()
    p_values = holm(np.array([p_value_auc_differs(score_set) for score_set in score_sets.values()]))
    p_values_beyond = holm(np.array([_p_beyond_limit(score_set) for score_set in score_sets.values()]))
    return tuple(
        _finding(name, score_set, float(p), float(p_beyond))
        for (name, score_set), p, p_beyond in zip(score_sets.items(), p_values, p_values_beyond, strict=True)
    )


def _p_beyond_limit(score_set: ScoreSet) -> float:
    """One-sided p-value of an AUC within BLIND_AUC_LIMIT: the smaller one of the two directions."""
    record_labels = labels_of(score_set)
    return min(
        p_value_auc_above(scores, record_labels, BLIND_AUC_LIMIT) for scores in (score_set.scores, -score_set.scores)
    )


def _finding(name: str, score_set: ScoreSet, p: float, p_beyond_limit: float) -> Finding:
    value, low, high = simultaneous_auc_interval(score_set)
    verdict: Verdict = "sound" if p > ALPHA else "broken" if p_beyond_limit <= TAIL else "doubtful"
    result = f"AUC {value:.3f} [{low:.3f}, {high:.3f}], p {p:.3f}"
    beyond = (
        f"interval above {BLIND_AUC_LIMIT}"
        if value > 1 - BLIND_AUC_LIMIT
        else f"interval below {1 - BLIND_AUC_LIMIT:g}"
    )
    limit = beyond if verdict == "broken" else "differs from 0.5"
    reason = f"{name} distinguishes members from non-members on the base model (AUC {value:.2f}, {limit})"
    return Finding(f"base model: {name}", verdict, result, reason if p <= ALPHA else "", value, low, high, p)


GatesByDataset = Mapping[tuple[str, str], Gate]
"""Gates of the split checks, by data set and its settings as in rows."""


NO_SPLIT_CHECK = "the split was not checked: run the study again, which reuses all trained models"


def panel_gates(rows: Sequence[Row], scores: ScoreLookup, gates: GatesByDataset) -> dict[str, Gate]:
    """Return the gate of each data set (and base model, if there are several), by panel name.

    All cells share the base model, so the first cell's scores at epoch 0 are used. A split that was not checked is doubtful.
    """
    return {
        name: _combined_gate(panel_rows, scores, gates) for name, panel_rows in labels.panels(rows).split(rows).items()
    }


def _combined_gate(rows: Sequence[Row], scores: ScoreLookup, gates: GatesByDataset) -> Gate:
    split_gate = gates.get((rows[0].dataset, rows[0].dataset_settings)) or unchecked_gate(rows, NO_SPLIT_CHECK)
    measured = [r for r in rows if r.attack and r.metric == "auc" and r.scores]
    base_rows = labels.attacks(measured).split(r for r in measured if is_base_row(r))
    base_findings = base_model_findings({name: scores(of_attack[0].scores) for name, of_attack in base_rows.items()})
    return Gate(split_gate.members, split_gate.nonmembers, (*split_gate.findings, *base_findings))


def gate_lines(gates: Mapping[str, Gate]) -> list[str]:
    """Return one line per gate: its verdict and its reasons."""
    return [f"split check, {name}: {gate.verdict}{_reasons_suffix(gate)}" for name, gate in gates.items()]


def _reasons_suffix(gate: Gate) -> str:
    return f" ({'; '.join(gate.reasons)})" if gate.reasons else ""


def unchecked_gate(rows: Sequence[Row], reason: str) -> Gate:
    """Return the doubtful gate of texts that no split check read, with the reason."""
    counts = next(((r.members, r.nonmembers) for r in rows if r.attack), (0, 0))
    finding = Finding("data", "doubtful", "not checked", reason, 0.0)
    return Gate(counts[0] or 0, counts[1] or 0, (finding,))
