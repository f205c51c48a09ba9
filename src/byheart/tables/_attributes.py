"""Select rows of private attributes by attack (inference in a pool of candidates, or extraction) and by kind of attribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row

ATTRIBUTE_METRICS = {
    "attribute_inference": ("inferred", "top1"),
    "attribute_extraction": ("extracted", "recited"),
    "prompt_attribute_inference": ("inferred in prompts", "top1"),
    "prompt_attribute_extraction": ("extracted from prompts", "recited"),
}
"""For each metric: the name of its attack, and its measure of the share of leaked attributes."""

ALL_KINDS = "all"

POOL_NAMES = {"": "", "unseen": " among unseen values", "trained": " among trained values"}
"""For each pool of candidates, what the name of the attack says of it; results of older versions have no pool."""

RANKING_NAMES = {"": "", "completion": " by the completion", "prompt": " by the prompt"}
"""For each ranking of candidates in prompts, what the name of the attack says of it."""


class AttributeLine(NamedTuple):
    """Rows of one kind of attribute under one attack and pool of candidates on one trained model, with all seeds."""

    lead: tuple[str, ...]
    variant: str
    kind: str
    mode: str
    share_measure: str
    rows: tuple[Row, ...]

    def measure_rows(self, measure: str, *labels: str, epoch: float | None = None) -> list[Row]:
        """Return the rows of a measure at an epoch (None: the last), one per seed; `labels` are such as "of=members"."""
        wanted = {f"kind={self.kind}", f"measure={measure}", *labels}
        return row_values.rows_at_epoch([r for r in self.rows if _settings_of_line(r) == wanted], epoch)


def attribute_lines(rows: Sequence[Row]) -> Iterator[AttributeLine]:
    """Yield every kind of attribute of every trained model, by pool of candidates; all kinds together come last.

    Raises `DataError` without rows of private attributes.
    """
    measured = [r for r in rows if r.metric in ATTRIBUTE_METRICS and not r.attack]
    if not measured:
        raise DataError(
            "tables of private attributes: no rows of private attributes. "
            "Run a study with metrics: [attribute_inference, attribute_extraction]."
        )
    variants = labels.variants(measured)
    for lead, lead_rows in LeadColumns(measured).split(measured).items():
        for variant, variant_rows in variants.split(lead_rows).items():
            for metric, (mode, share_measure) in ATTRIBUTE_METRICS.items():
                shares = [r for r in variant_rows if r.metric == metric and "measure=left_out" not in r.metric_settings]
                for (ranking, ranking_name), (pool, pool_name) in product(RANKING_NAMES.items(), POOL_NAMES.items()):
                    own = tuple(r for r in shares if (_setting(r, "ranked_by"), _setting(r, "pool")) == (ranking, pool))
                    for kind in sorted({_setting(r, "kind") for r in own}, key=lambda k: (k == ALL_KINDS, k)):
                        yield AttributeLine(lead, variant, kind, mode + ranking_name + pool_name, share_measure, own)


def _setting(row: Row, name: str) -> str:
    return row_values.parse_settings(row.metric_settings).get(name, "")


def _settings_of_line(row: Row) -> set[str]:
    """Return the settings that differ among the rows of a line."""
    shared = ("pool=", "ranked_by=")
    return {s for s in row_values.split_settings(row.metric_settings) if not s.startswith(shared)}


def lead_header(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the leading columns."""
    return (*LeadColumns([r for r in rows if r.metric in ATTRIBUTE_METRICS]).header, "method", "attribute", "attack")
