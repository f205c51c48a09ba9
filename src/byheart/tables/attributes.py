"""Private attributes by kind: what the model picks among others or recites, and the same of each control.

A mark needs the members to lead over the non-members and over the untuned model, each by an interval that is widened to
hold together with those of all lines of the table (O. Dunn, Journal of the American Statistical Association 56 (1961)
52-64), in every seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import SIGNIFICANCE_MARK
from byheart.core.types import Row, Table
from byheart.stats.simultaneous import widen_interval
from byheart.tables._attributes import AttributeLine, attribute_lines, lead_header


def attributes(rows: Sequence[Row], *, epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Share of private attributes picked among others of their kind, or recited, and its lead over each control.

    `epoch` None stands for the last one. Raises `DataError` where no attribute was asked for.
    """
    found = list(attribute_lines(rows))
    counts = [r.members for line in found for r in line.measure_rows(line.share_measure, "of=members", epoch=epoch)]
    told = tuple(_cells(line, epoch, 2 * len(found)) for line in found)
    controls = ("non-members", labels.BASE_LABEL, "majority")
    names = (*lead_header(rows), "members", *controls, *(f"over {c}" for c in controls))
    asked = sorted({c for c in counts if c is not None})
    size = "" if not asked else f"{asked[0]:,} to " * (asked[0] < asked[-1]) + f"{asked[-1]:,} attributes a line. "
    note = (
        f"{size}In brackets the {row_values.interval_description([r for line in found for r in line.rows])}. Picked: the true value makes "
        "the likeliest text among candidates that nobody was tuned on; recited: written verbatim after what stands before "
        "it. Untuned: the base model on the members' texts; majority: the candidate that most texts have, or guessing. "
        f"{SIGNIFICANCE_MARK}: the lead over non-members and over the untuned model stands with all {len(found)} lines at once."
    )
    return Table("Private attributes", names, told, note)


def _cells(line: AttributeLine, epoch: int | None, tests: int) -> tuple[str, ...]:
    leads = {
        over: line.measure_rows("advantage", f"over={over}", epoch=epoch)
        for over in ("nonmembers", "untuned", "majority")
    }
    stands = all(
        leads[over] and all(_is_above_zero(r, tests) for r in leads[over]) for over in ("nonmembers", "untuned")
    )
    shares = (
        line.measure_rows(line.share_measure, "of=members", epoch=epoch),
        line.measure_rows(line.share_measure, "of=nonmembers", epoch=epoch),
        line.measure_rows(line.share_measure, "of=members", epoch=0),
        line.measure_rows("majority", "of=members", epoch=epoch),
    )
    value, _, rest = row_values.format_estimate(row_values.pooled_estimate(shares[0])).partition(" ")
    return (
        *line.lead,
        line.variant,
        line.kind,
        line.mode,
        f"{value}{SIGNIFICANCE_MARK if stands else ''} {rest}".strip(),
        *(row_values.format_estimate(row_values.pooled_estimate(those)) for those in shares[1:]),
        *(row_values.format_estimate(row_values.pooled_estimate(those)) for those in leads.values()),
    )


def _is_above_zero(row: Row, tests: int) -> bool:
    """Whether a lead stays above 0 with its interval widened to hold together with so many others."""
    return row.low is not None and row.high is not None and widen_interval(row.value, row.low, row.high, tests)[0] > 0
