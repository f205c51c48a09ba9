"""Curves of scores for figures: the densities of members and non-members, and the ROC, by model, epoch and attack."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from byheart.analysis import labels
from byheart.analysis.chart_points import Point, chart_names
from byheart.core.row import without_initialized
from byheart.core.types import Row, Scores, ScoreSet

BINS, DENSITY_POINTS = 256, 64
"""Histogram bins before smoothing, and points of a density curve."""
SCORE_PERCENTILES = (0.5, 99.5)
"""Percentiles that limit the x axis of densities: one outlier must not flatten all other scores."""
DECILES = np.arange(10, 100, 10)
"""Percentiles of members' and non-members' scores in the table of numbers under a density figure."""
LISTED_FPRS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)
"""False positive rates whose TPR is in the table of numbers under a ROC figure."""
ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996
ROC_POINTS = 48
"""Points of a ROC curve: every number of false positives up to about a dozen, then log-spaced."""


def auc_rows_with_scores(rows: Sequence[Row]) -> list[Row]:
    """Return the AUC rows with stored scores."""
    return [r for r in without_initialized(rows) if r.attack and r.metric == "auc" and r.scores and r.epoch is not None]


def _labeled_rows(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], Point, Row]]:
    """Yield each AUC row with its labels; `first` marks the lowest seed, which is drawn for all seeds."""
    names = chart_names(rows)
    rows_by_series: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for r in auc_rows_with_scores(rows):
        attack = names.attacks(dataclasses.replace(r, metric_settings=""))
        rows_by_series[names.panels(r), names.series(r), attack, r.seed].append(r)
    lowest = {key[:3]: min(k[3] for k in rows_by_series if k[:3] == key[:3]) for key in rows_by_series}
    for (panel, series, attack, seed), series_rows in sorted(rows_by_series.items(), key=lambda item: item[0]):
        last = max(r.epoch or 0 for r in series_rows)
        series_labels = {"panel": panel, "series": series, "attack": attack, "seed": str(seed)}
        for r in sorted({r.epoch: r for r in series_rows}.values(), key=lambda r: r.epoch or 0):
            epoch_labels = {"epoch": r.epoch, "last": last, "first": seed == lowest[panel, series, attack]}
            counts = {"auc": r.value, "low": r.low, "high": r.high, "members": r.members, "nonmembers": r.nonmembers}
            yield (panel, attack), series_labels | epoch_labels | counts, r


def densities(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> list[Point]:
    """Return score densities of members and non-members, on one scale for all models and epochs of an attack.

    The base model, which every cell repeats, occurs once per data set. Smoothed by a normal kernel with the bandwidth of
    D. W. Scott (Multivariate Density Estimation, 1992). `numbers` are the deciles of the scores.
    """
    curves: list[Point] = []
    cached_scores = functools.cache(scores)
    by_scale: defaultdict[tuple[str, str], list[tuple[Point, Row]]] = defaultdict(list)
    for scale, labeled, r in _labeled_rows(rows):
        by_scale[scale].append((labeled, r))
    for labeled_rows in by_scale.values():
        limits = [np.percentile(cached_scores(r.scores).scores, SCORE_PERCENTILES) for _, r in labeled_rows]
        low, high = min(limit[0] for limit in limits), max(limit[1] for limit in limits)
        margin = 0.1 * (high - low) or 1.0
        edges = np.linspace(low - margin, high + margin, BINS + 1)
        at = np.linspace(low - margin, high + margin, DENSITY_POINTS)
        has_base = False
        for labeled, r in labeled_rows:
            if r.epoch == 0:
                if has_base:
                    continue
                has_base, labeled["series"], labeled["first"] = True, labels.BASE_LABEL, True
            score_set = cached_scores(r.scores)
            for side, chosen in (("members", score_set.members), ("non-members", ~score_set.members)):
                if chosen.any():
                    heights = _density(score_set.scores[chosen], edges, at)
                    deciles = _round_values(np.percentile(score_set.scores[chosen], DECILES))
                    numbers = {f"percentile {p}": v for p, v in zip(DECILES.tolist(), deciles, strict=True)}
                    curve = {"at": _round_values(at), "height": _round_values(heights)}
                    curves.append({**labeled, "side": side, **curve, "numbers": numbers})
    return curves


def _density(scores: Scores, edges: Float[np.ndarray, " edges"], at: Float[np.ndarray, " places"]) -> np.ndarray:
    middle = (edges[1:] + edges[:-1]) / 2
    spread = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    width = max(spread * len(scores) ** -0.2, float(at[1] - at[0]))
    counts = np.histogram(scores, edges)[0] / len(scores)
    kernel = np.exp(-0.5 * ((at[:, None] - middle) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return kernel @ counts


def rocs(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> list[Point]:
    """Return ROC curves from one false positive up.

    As in the metric `tpr_at_fpr`, nothing is interpolated and tied texts are flagged together. `numbers` are the TPR at
    `LISTED_FPRS`, without rates below one false positive.
    """
    curves: list[Point] = []
    for _, labeled, r in _labeled_rows(rows):
        score_set = scores(r.scores)
        members = np.sort(score_set.scores[score_set.members])
        others = np.sort(score_set.scores[~score_set.members])[::-1]
        if not len(members) or not len(others):
            continue
        false_positives = np.unique(np.geomspace(1, len(others), ROC_POINTS).round().astype(int))
        tpr = _tpr(members, others, false_positives)
        counts = {rate: n for rate in LISTED_FPRS if (n := math.floor(rate * len(others) + ROUNDING)) > 0}
        shares = _round_values(_tpr(members, others, np.array(list(counts.values()), dtype=int)))
        numbers = {f"TPR at {100 * rate:g} % FPR": v for rate, v in zip(counts, shares, strict=True)}
        curve = {
            "fpr": _round_values(false_positives / len(others)),
            "tpr": _round_values(tpr),
            "finest": 1 / len(others),
        }
        curves.append({**labeled, **curve, "numbers": numbers})
    return curves


def _tpr(
    members: Scores, nonmembers: Scores, false_positives: Int[np.ndarray, " rates"]
) -> Float[np.ndarray, " rates"]:
    """Return the TPR at each number of false positives; `members` are ascending, `nonmembers` descending."""
    thresholds = np.append(nonmembers, -np.inf)[false_positives]
    return 1 - np.searchsorted(members, thresholds, "right") / len(members)


def _round_values(values: np.ndarray) -> list[float]:
    return [float(f"{v:.4g}") for v in values]
