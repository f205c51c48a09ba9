"""The whole validity gate of what a table or page shows: the data's, as kept, and the attacks' on the untuned model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byheart.analysis import labels
from byheart.analysis.base_model_check import untuned
from byheart.analysis.comparisons import Scored
from byheart.core.types import Row
from byheart.data.split_check import Finding, Gate

Kept = Mapping[tuple[str, str], Gate]
"""Gates of data by data set and its settings, as rows name them."""

UNJUDGED = "the data were never judged; run the study again, which trains nothing anew"


def panel_gates(rows: Sequence[Row], scores: Scored, gates: Kept) -> dict[str, Gate]:
    """Return the gate of each data set (and base model, where there are several), by its name.

    Of several cells the first's untuned scores are asked, since all share the untuned model. Data that were never
    judged are doubtful.
    """
    return {name: _whole(there, scores, gates) for name, there in labels.panels(rows).split(rows).items()}


def _whole(rows: Sequence[Row], scores: Scored, gates: Kept) -> Gate:
    data = gates.get((rows[0].dataset, rows[0].dataset_settings)) or _unjudged(rows)
    measured = [r for r in rows if r.attack and r.metric == "auc" and r.scores]
    before = labels.attacks(measured).split(r for r in measured if r.epoch == 0)
    found = untuned({name: scores(those[0].scores) for name, those in before.items()})
    return Gate(data.members, data.nonmembers, (*data.findings, *found))


def spelled(gates: Mapping[str, Gate]) -> list[str]:
    """Return each verdict with its reasons, in a line."""
    return [f"members against non-members, {name}: {gate.verdict}{_because(gate)}" for name, gate in gates.items()]


def _because(gate: Gate) -> str:
    return f" ({'; '.join(gate.reasons)})" if gate.reasons else ""


def _unjudged(rows: Sequence[Row]) -> Gate:
    counts = next(((r.members, r.nonmembers) for r in rows if r.attack), (0, 0))
    told = Finding("data", "doubtful", "never judged", UNJUDGED, 0.0)
    return Gate(counts[0] or 0, counts[1] or 0, (told,))
