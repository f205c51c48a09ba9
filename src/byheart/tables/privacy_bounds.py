"""Lower bounds on epsilon of each training, from one run and from many runs.

One run: Thomas Steinke, Milad Nasr, Matthew Jagielski, arXiv 2305.08846. Many runs: Matthew Jagielski, Jonathan Ullman,
Alina Oprea, arXiv 2006.07709, with Clopper-Pearson intervals. The column "largest possible bound" is the bound if all
guesses were correct: a bound of 0 is informative only if the largest possible bound is large.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.registry import default_settings, load_function
from byheart.core.row import without_initialized
from byheart.core.types import Row, Table
from byheart.stats.epsilon_bounds import many_runs, one_run, one_run_gaussian

DELTA, CONFIDENCE = 1e-5, 0.95
"""Settings of the bound from many runs; the bound from one run uses the metric's settings."""


def privacy_bounds(rows: Sequence[Row]) -> Table:
    """Lower bounds on epsilon by method after the last epoch: from one run per seed, and from many runs over the seeds.

    Raises `DataError` without rows of bounds or guesses.
    """
    measured = [r for r in without_initialized(rows) if r.metric in {"epsilon_lower_bound", "canary_guess"}]
    if not measured:
        raise DataError(
            "table privacy_bounds: no rows of bounds. Set data.canaries and metrics: [epsilon_lower_bound]."
        )
    lead, variants = LeadColumns(measured), labels.variants(measured)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(measured).items():
        for method, method_rows in variants.split(lead_rows).items():
            last = max(r.epoch or 0 for r in method_rows)
            for metric, settings in sorted({(r.metric, r.metric_settings) for r in method_rows}, reverse=True):
                metric_rows = [
                    r
                    for r in method_rows
                    if (r.metric, r.metric_settings) == (metric, settings) and r.epoch in {0, last}
                ]
                bound_lines = _one_run_lines if metric == "epsilon_lower_bound" else _many_runs_lines
                lines += [(*head, method, *line) for line in bound_lines(metric_rows, last)]
    header = (
        *lead.header,
        "method",
        "estimated from",
        "epsilon lower bound",
        labels.BASE_LABEL,
        "largest possible bound",
        "settings",
    )
    note = (
        f"After the last epoch. Each bound holds with its confidence ({100 * CONFIDENCE:g} % unless its settings name another) "
        "for one model, one added or removed text (with its repetitions), and fair coins; the largest of several bounds "
        "does not hold with this confidence. A bound of 0 means that no privacy loss was shown; it does not prove privacy. "
        "The base model was trained on no canary, so its bound must be 0 nearly always."
    )
    return Table("Lower bounds on epsilon", header, tuple(lines), note)


def _settings_with_defaults(row: Row) -> dict[str, str]:
    """Return a metric's settings, including defaults."""
    defaults = {n: str(v) for n, v in default_settings(load_function("metrics", row.metric)).items()}
    return defaults | row_values.parse_settings(row.metric_settings)


def _one_run_lines(rows: Sequence[Row], last: float) -> list[tuple[str, ...]]:
    """Return a line for each seed: seeds share their coins, and bounds are not averaged."""
    base_rows = {r.seed: r for r in rows if r.epoch == 0}
    lines: list[tuple[str, ...]] = []
    for row in sorted((r for r in rows if r.epoch == last), key=lambda r: r.seed):
        settings, canaries = _settings_with_defaults(row), (row.members or 0) + (row.nonmembers or 0)
        guesses = canaries // 2 if settings["guesses"] == "None" else int(settings["guesses"])
        bound = one_run if settings["assume"] == "nothing" else one_run_gaussian
        largest = bound(
            canaries, guesses, guesses, delta=float(settings["delta"]), confidence=float(settings["confidence"])
        )
        source = f"one run, seed {row.seed}, {guesses} guesses on {canaries} canaries"
        start = row_values.format_number(base_rows[row.seed].value) if row.seed in base_rows else row_values.MISSING
        lines.append(
            (source, row_values.format_number(row.value), start, row_values.format_number(largest), row.metric_settings)
        )
    return lines


def _many_runs_lines(rows: Sequence[Row], last: float) -> list[tuple[str, ...]]:
    """Return one line over all seeds; no line unless runs with and without the canary exist."""
    values: list[str] = []
    for epoch in (last, 0):
        epoch_rows = [r for r in rows if r.epoch == epoch]
        inside, outside = ([r.value for r in epoch_rows if r.members == included] for included in (1, 0))
        if not inside or not outside:
            return []
        counts = (round(sum(inside)), len(inside), round(sum(outside)), len(outside))
        values.append(row_values.format_number(many_runs(*counts, delta=DELTA, confidence=CONFIDENCE)))
        largest = many_runs(len(inside), len(inside), 0, len(outside), delta=DELTA, confidence=CONFIDENCE)
    source = f"{len(inside) + len(outside)} runs, one guess each"
    return [(source, *values, row_values.format_number(largest), rows[0].metric_settings)]
