"""What each training leaks at least: lower bounds on epsilon, by one run and by many.

One run: Thomas Steinke, Milad Nasr, Matthew Jagielski, arXiv 2305.08846. Many runs: Matthew Jagielski, Jonathan Ullman,
Alina Oprea, arXiv 2006.07709, with Clopper and Pearson's rates. Beside each stands what right guesses all along would have
shown: a bound of 0 says something only where that is large.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.registry import default_settings, load_function
from byheart.core.types import Row, Table
from byheart.stats.epsilon_bounds import many_runs, one_run, one_run_gaussian

DELTA, CONFIDENCE = 1e-5, 0.95
"""What many runs are told at; one run's are the metric's own settings."""


def privacy_bounds(rows: Sequence[Row]) -> Table:
    """Lower bounds on epsilon after the last epoch by method, one run for each seed and many runs over the seeds.

    Raises `DataError` where no bound and no guess was measured.
    """
    measured = [r for r in rows if r.metric in {"epsilon_lower_bound", "canary_guess"}]
    if not measured:
        raise DataError("no row holds a bound; set data.canaries and ask for metrics: [epsilon_lower_bound]")
    lead, variants = LeadColumns(measured), labels.variants(measured)
    lines: list[tuple[str, ...]] = []
    for head, there in lead.split(measured).items():
        for method, own in variants.split(there).items():
            last = max(r.epoch or 0 for r in own)
            for told in sorted({(r.metric, r.metric_settings) for r in own}, reverse=True):
                those = [r for r in own if (r.metric, r.metric_settings) == told and r.epoch in {0, last}]
                found = _one_run_lines if told[0] == "epsilon_lower_bound" else _many_runs_lines
                lines += [(*head, method, *line) for line in found(those, last)]
    header = (
        *lead.header,
        "method",
        "shown by",
        "epsilon at least",
        labels.BASE_LABEL,
        "at most to be shown",
        "settings",
    )
    note = (
        f"After the last epoch. Each bound holds with its confidence ({100 * CONFIDENCE:g} % unless said otherwise) for one model, "
        "one text added or removed (or so many copies of it as it is repeated), and coins that are fair; the largest of "
        "several does not. 0 says that nothing was shown, and never that a training is private. The untuned model, which saw "
        "no canary, must have 0 nearly always."
    )
    return Table("Lower bounds on epsilon", header, tuple(lines), note)


def _settings_with_defaults(row: Row) -> dict[str, str]:
    """Return a metric's settings, its defaults too."""
    defaults = {n: str(v) for n, v in default_settings(load_function("metrics", row.metric)).items()}
    return defaults | row_values.parse_settings(row.metric_settings)


def _one_run_lines(rows: Sequence[Row], last: int) -> list[tuple[str, ...]]:
    """Give a line for each seed: seeds share their coins, and bounds are not averaged."""
    before = {r.seed: r for r in rows if r.epoch == 0}
    lines: list[tuple[str, ...]] = []
    for row in sorted((r for r in rows if r.epoch == last), key=lambda r: r.seed):
        used, canaries = _settings_with_defaults(row), (row.members or 0) + (row.nonmembers or 0)
        guesses = canaries // 2 if used["guesses"] == "None" else int(used["guesses"])
        bound = one_run if used["assume"] == "nothing" else one_run_gaussian
        most = bound(canaries, guesses, guesses, delta=float(used["delta"]), confidence=float(used["confidence"]))
        told = f"one run, seed {row.seed}, {guesses} guesses on {canaries} canaries"
        start = row_values.format_number(before[row.seed].value) if row.seed in before else row_values.MISSING
        lines.append(
            (told, row_values.format_number(row.value), start, row_values.format_number(most), row.metric_settings)
        )
    return lines


def _many_runs_lines(rows: Sequence[Row], last: int) -> list[tuple[str, ...]]:
    """Give one line over all seeds, where there is a run on either side of the coin."""
    values: list[str] = []
    for epoch in (last, 0):
        there = [r for r in rows if r.epoch == epoch]
        inside, outside = ([r.value for r in there if r.members == side] for side in (1, 0))
        if not inside or not outside:
            return []
        counts = (round(sum(inside)), len(inside), round(sum(outside)), len(outside))
        values.append(row_values.format_number(many_runs(*counts, delta=DELTA, confidence=CONFIDENCE)))
        most = many_runs(len(inside), len(inside), 0, len(outside), delta=DELTA, confidence=CONFIDENCE)
    told = f"{len(inside) + len(outside)} runs, one guess each"
    return [(told, *values, row_values.format_number(most), rows[0].metric_settings)]
