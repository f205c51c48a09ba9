"""Rows of private attributes, by how the model was asked and by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row

ATTRIBUTE_METRICS = {"attribute_inference": ("picked", "top1"), "attribute_extraction": ("recited", "recited")}
"""How each metric asks, and what it calls the share of attributes that leaked."""

ALL_KINDS = "all"


class AttributeLine(NamedTuple):
    """The rows of one kind of attribute, asked for in one way of one trained model; of several seeds all."""

    lead: tuple[str, ...]
    variant: str
    kind: str
    mode: str
    share_measure: str
    rows: tuple[Row, ...]

    def measure_rows(self, measure: str, *told: str, epoch: int | None = None) -> list[Row]:
        """Return the rows of a measure at an epoch (None: the last), a row for each seed; `told` is "of=members" and such."""
        wanted = {f"kind={self.kind}", f"measure={measure}", *told}
        return row_values.rows_at_epoch(
            [r for r in self.rows if set(row_values.split_settings(r.metric_settings)) == wanted], epoch
        )


def attribute_lines(rows: Sequence[Row]) -> Iterator[AttributeLine]:
    """Yield every kind of attribute of every trained model, all kinds together last.

    Raises `DataError` where nothing was asked for.
    """
    known = [r for r in rows if r.metric in ATTRIBUTE_METRICS and not r.attack]
    if not known:
        raise DataError(
            "no row is of private attributes; run a study with metrics: [attribute_inference, attribute_extraction]"
        )
    variants = labels.variants(known)
    for lead, there in LeadColumns(known).split(known).items():
        for variant, those in variants.split(there).items():
            for metric, (asked, share) in ATTRIBUTE_METRICS.items():
                own = tuple(r for r in those if r.metric == metric)
                kinds = {row_values.split_settings(r.metric_settings)[0].removeprefix("kind=") for r in own}
                for kind in sorted(kinds, key=lambda k: (k == ALL_KINDS, k)):
                    yield AttributeLine(lead, variant, kind, asked, share, own)


def lead_header(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the leading columns."""
    return (*LeadColumns([r for r in rows if r.metric in ATTRIBUTE_METRICS]).header, "method", "attribute", "asked")
