"""Private attributes by kind: share that an attack infers or extracts, beside each control.

A line is marked if the members' share exceeds the non-members' share and the base model's share in every seed. Each of
these intervals is widened so that all intervals of the table hold simultaneously (O. Dunn, Journal of the American
Statistical Association 56 (1961) 52-64). With unseen candidates a mark shows only that true values occurred in training; with
trained candidates it shows that the model knows whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import SIGNIFICANCE_MARK
from byheart.core.types import Row, Table
from byheart.stats.simultaneous import widen_interval
from byheart.tables._attributes import POOL_NAMES, AttributeLine, attribute_lines, lead_header


def attributes(rows: Sequence[Row], *, epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Share of private attributes that an attack infers or extracts, and its difference to each control.

    `epoch` None is the last epoch. Raises `DataError` without rows of private attributes.
    """
    lines = list(attribute_lines(rows))
    counts = [r.members for line in lines for r in line.measure_rows(line.share_measure, "of=members", epoch=epoch)]
    cells = tuple(_cells(line, epoch, 2 * len(lines)) for line in lines)
    controls = ("non-members", labels.BASE_LABEL, "majority")
    header = (*lead_header(rows), "members", *controls, *(f"over {c}" for c in controls))
    sizes = sorted({c for c in counts if c is not None})
    size = "" if not sizes else f"{sizes[0]:,} to " * (sizes[0] < sizes[-1]) + f"{sizes[-1]:,} attributes per line. "
    note = (
        f"{size}In brackets: {row_values.interval_description([r for line in lines for r in line.rows])}. Inferred: "
        "the true value gives the most likely text among candidate values. Unseen values did not occur in training: a "
        "difference shows that the true value did. Trained values occurred in other training texts: a difference shows that "
        "the model knows which text has the value; non-members have candidates with the status of their true value. "
        "Extracted: the model generates the value verbatim from the text before it. In prompts: values that stand in a prompt and not "
        "in the text after it, ranked by the likelihood of the completion or of the prompt itself. Base model: on the members' texts. "
        'Majority: the share reached by the most frequent candidate, or by guessing. Columns "over ...": members\' share '
        f"minus the control. {SIGNIFICANCE_MARK}: the differences to non-members, to the base model and, with trained "
        f"values, to the majority are above 0, corrected for all {len(lines)} lines."
    )
    return Table("Private attributes", header, cells, note)


def _cells(line: AttributeLine, epoch: int | None, tests: int) -> tuple[str, ...]:
    differences = {
        over: line.measure_rows("advantage", f"over={over}", epoch=epoch)
        for over in ("nonmembers", "untuned", "majority")
    }
    controls = ("nonmembers", "untuned", *(("majority",) if line.mode.endswith(POOL_NAMES["trained"]) else ()))
    is_marked = all(differences[over] and all(_is_above_zero(r, tests) for r in differences[over]) for over in controls)
    shares = (
        line.measure_rows(line.share_measure, "of=members", epoch=epoch),
        line.measure_rows(line.share_measure, "of=nonmembers", epoch=epoch),
        line.measure_rows(line.share_measure, "of=members", epoch=0),
        line.measure_rows("majority", "of=members", epoch=epoch),
    )
    value, _, interval = row_values.format_estimate(row_values.pooled_estimate(shares[0])).partition(" ")
    return (
        *line.lead,
        line.variant,
        line.kind,
        line.mode,
        f"{value}{SIGNIFICANCE_MARK if is_marked else ''} {interval}".strip(),
        *(row_values.format_estimate(row_values.pooled_estimate(share_rows)) for share_rows in shares[1:]),
        *(row_values.format_estimate(row_values.pooled_estimate(over_rows)) for over_rows in differences.values()),
    )


def _is_above_zero(row: Row, tests: int) -> bool:
    """Whether the lower end of a difference is above 0 after widening the interval for this number of tests."""
    return row.low is not None and row.high is not None and widen_interval(row.value, row.low, row.high, tests)[0] > 0
