"""Table of a model's canaries: exposure and TPR by number of repetitions, and the lower bound on epsilon."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import row_values
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.core.types import Estimate, Row, Table

METRICS = frozenset({"exposure", "held_out_exposure", "canary_tpr", "epsilon_lower_bound"})
HELD_OUT = 0


def canary_table(rows: Sequence[Row]) -> Table | None:
    """Return a line per number of repetitions, the held-out canaries first; None without rows of canaries."""
    measured = [r for r in rows if r.metric in METRICS]
    if not measured:
        return None
    repetitions = sorted({_repetitions(r) for r in measured if r.metric != "epsilon_lower_bound"} | {HELD_OUT})
    lines = tuple(
        (
            row_values.format_times(n) if n else "held out",
            _count(measured, n),
            *(_exposure(measured, n, epoch) for epoch in (FINETUNED_EPOCH, BASE_EPOCH)),
            _text(_find(measured, "canary_tpr", n, FINETUNED_EPOCH)),
        )
        for n in repetitions
    )
    rates = [
        row_values.parse_settings(r.metric_settings).get("fpr", "0.01") for r in measured if r.metric == "canary_tpr"
    ]
    tpr = f"TPR at {100 * float(rates[0]):g} % FPR" if rates else "TPR"
    header = ("trained on", "canaries", "exposure (bits)", "exposure on the base model", tpr)
    note = (
        "Exposure of canaries that were never trained on: 1.44 bits on average. Mean exposure among sampled references; 95 % "
        "confidence intervals in brackets."
    )
    bound = next((r for r in measured if r.metric == "epsilon_lower_bound"), None)
    return Table("Canaries", header, lines, note + (_bound_note(bound) if bound else ""))


def _bound_note(row: Row) -> str:
    settings = row_values.parse_settings(row.metric_settings)
    canaries = (row.members or 0) + (row.nonmembers or 0)
    copies = settings.get("repeated", "1")
    return (
        f" Lower bound on epsilon for one record{'' if copies == '1' else f' in {copies} copies'}: {row_values.format_number(row.value)} "
        f"(95 % confidence, delta {float(settings.get('delta', '1e-5')):g}, {settings['guesses']} guesses, {canaries} canaries). "
        "A bound of 0 does not show privacy."
    )


def _repetitions(row: Row) -> int:
    """Return how often a row's canaries were trained on; 0 for held-out canaries."""
    if row.metric == "held_out_exposure":
        return HELD_OUT
    return int(row_values.parse_settings(row.metric_settings).get("repeated", "1"))


def _find(rows: Sequence[Row], metric: str, repetitions: int, epoch: int) -> Row | None:
    found = (r for r in rows if r.metric == metric and r.epoch == epoch and _repetitions(r) == repetitions)
    return next(
        (r for r in found if "estimate=extrapolation" not in row_values.split_settings(r.metric_settings)), None
    )


def _exposure(rows: Sequence[Row], repetitions: int, epoch: int) -> str:
    return _text(_find(rows, "exposure" if repetitions else "held_out_exposure", repetitions, epoch))


def _count(rows: Sequence[Row], repetitions: int) -> str:
    """Return the number of canaries: of all kinds if TPR was measured, else of the kinds with an exposure."""
    tpr = [r for r in rows if r.metric == "canary_tpr"]
    if tpr and not repetitions:
        return str(tpr[0].nonmembers)
    row = next((r for r in tpr if _repetitions(r) == repetitions), None)
    row = row or _find(rows, "exposure" if repetitions else "held_out_exposure", repetitions, FINETUNED_EPOCH)
    return row_values.MISSING if row is None else str(row.members if repetitions else row.nonmembers)


def _text(row: Row | None) -> str:
    return row_values.format_estimate(row and Estimate(row.value, row.low, row.high))
