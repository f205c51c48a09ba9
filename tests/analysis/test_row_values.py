"""Values of rows: means over seeds."""

import math
from dataclasses import replace

import pytest

from byheart.analysis.row_values import pool_rows, possible_values
from testing.made_up import study

ROW = next(r for r in study(datasets=("webnlg",), methods=("full",), seeds=(0,)) if r.metric == "perplexity")


def seeds(metric, values, label="", margin=0.5):
    row = replace(ROW, metric=metric, metric_settings=label)
    return [replace(row, value=v, low=v - margin, high=v + margin, seed=i) for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("metric", "label", "values", "ends"),
    [
        ("exposure", "", (0.4, 1.4), (0, None)),
        ("group_auc", "", (0.6, 0.9), (0, 1)),
        ("attribute_inference", "kind=all, measure=advantage, over=nonmembers", (-0.2, 0.4), (-1, 1)),
        ("attribute_inference", "kind=all, measure=top1, of=members", (0.2, 0.4), (0, 1)),
        ("extraction_strength", "of=members", (0.1, 0.4), (0, 1)),
        ("bleu", "", (50.0, 90.0), (0, 100)),
        ("perplexity", "", (2.0, 3.0), (1, None)),
    ],
)
def test_two_seeds_have_no_interval_beyond_the_possible_values(metric, label, values, ends):
    pooled = pool_rows(seeds(metric, values, label))
    unbounded = pool_rows(seeds("generalisation_gap", values))
    assert (pooled.low, pooled.high) == tuple(
        free if end is None else end for free, end in zip((unbounded.low, unbounded.high), ends, strict=True)
    )
    assert unbounded.low < ends[0]


@pytest.mark.parametrize("metric", ["trained_parameters", "json:dumps", "generalisation_gap"])
def test_counts_and_code_that_is_not_ours_are_unbounded(metric):
    assert possible_values(metric) == (-math.inf, math.inf)
