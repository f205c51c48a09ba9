"""Pool a metric over training seeds and splits of the data: see `byheart.tables.seeds` for what the intervals cover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from byheart.analysis.row_values import pool_rows
from byheart.core.row import is_base_row
from byheart.core.types import Estimate, Row, ScoreSet
from byheart.stats.seed_pooling import auc_over_seeds


def pooled_over_splits(
    rows: Sequence[Row], split_of: Mapping[str, str], scores: Callable[[str], ScoreSet]
) -> Estimate | None:
    """Mean of the splits' estimates of one metric; `split_of` names each cell's split. None without rows."""
    by_split: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_split.setdefault(split_of[row.cell], {})[row.seed] = row
    pooled = [_pooled_over_seeds(list(of_split.values()), scores) for of_split in by_split.values()]
    return mean_estimate(pooled) if pooled else None


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of values and of ends, which is an interval of the mean whatever the correlation; without ends if one has none."""
    ends = [(e.low, e.high) for e in estimates if e.low is not None and e.high is not None]
    low, high = np.mean(ends, axis=0) if len(ends) == len(estimates) else (None, None)
    return Estimate(float(np.mean([e.value for e in estimates])), low, high)


def _pooled_over_seeds(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> Estimate:
    """Pool one split's seeds. Seeds whose base model is the same have equal rows, which count once."""
    if len({r.value for r in rows}) == 1 and all(is_base_row(r) for r in rows):
        rows = rows[:1]
    if rows[0].metric == "auc" and all(r.scores for r in rows):
        sets = [scores(r.scores) for r in rows]
        first = sets[0]
        if all(s.ids == first.ids for s in sets):
            groups = first.groups or first.ids
            value, (low, high) = auc_over_seeds(np.array([s.scores for s in sets]), first.members, groups)
            return Estimate(value, low, high)
    return pool_rows(rows)
