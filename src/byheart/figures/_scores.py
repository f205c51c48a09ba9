"""What figures draw of scores: the density of each side, and the ROC, for every model, epoch and attack."""

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
from byheart.core.types import Row, Scores, ScoreSet

BINS, DENSITY_POINTS = 256, 64
"""Bins that scores are counted in before they are smoothed, and places at which a density is told."""
SCORE_PERCENTILES = (0.5, 99.5)
"""The percentiles between which scores are drawn: one far text must not flatten all the others."""
DECILES = np.arange(10, 100, 10)
"""The percentiles of each side that stand as numbers under a picture of densities."""
LISTED_FPRS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)
"""The shares of non-members accused for which the share of members found stands as a number under a ROC."""
ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996
ROC_POINTS = 48
"""Numbers of false alarms at which a ROC is told: every one up to about a dozen, then evenly by their logarithm."""


def auc_rows_with_scores(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of AUC that hold scores."""
    return [r for r in rows if r.attack and r.metric == "auc" and r.scores and r.epoch is not None]


def _labeled_rows(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], Point, Row]]:
    """Yield each row of scores with what it is called; `first` marks the lowest seed's, which stands for all."""
    names = chart_names(rows)
    held: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for r in auc_rows_with_scores(rows):
        attack = names.attacks(dataclasses.replace(r, metric_settings=""))
        held[names.panels(r), names.series(r), attack, r.seed].append(r)
    lowest = {key[:3]: min(k[3] for k in held if k[:3] == key[:3]) for key in held}
    for (panel, series, attack, seed), those in sorted(held.items(), key=lambda place: place[0]):
        last = max(r.epoch or 0 for r in those)
        of_seed = {"panel": panel, "series": series, "attack": attack, "seed": str(seed)}
        for r in sorted({r.epoch: r for r in those}.values(), key=lambda r: r.epoch or 0):
            at = {"epoch": r.epoch, "last": last, "first": seed == lowest[panel, series, attack]}
            counts = {"auc": r.value, "low": r.low, "high": r.high, "members": r.members, "nonmembers": r.nonmembers}
            yield (panel, attack), of_seed | at | counts, r


def densities(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> list[Point]:
    """Return the density of each side's scores at `PLACES` scores, on one scale for all models and epochs of an attack.

    The untuned model, which every cell repeats, is told once a data set. Smoothed by a normal kernel of the width of
    D. W. Scott (Multivariate Density Estimation, 1992). `numbers` are the deciles of the scores themselves.
    """
    found: list[Point] = []
    held = functools.cache(scores)
    by_scale: defaultdict[tuple[str, str], list[tuple[Point, Row]]] = defaultdict(list)
    for scale, labelled, r in _labeled_rows(rows):
        by_scale[scale].append((labelled, r))
    for those in by_scale.values():
        seen = [np.percentile(held(r.scores).scores, SCORE_PERCENTILES) for _, r in those]
        low, high = min(s[0] for s in seen), max(s[1] for s in seen)
        margin = 0.1 * (high - low) or 1.0
        edges = np.linspace(low - margin, high + margin, BINS + 1)
        at = np.linspace(low - margin, high + margin, DENSITY_POINTS)
        told = False
        for labelled, r in those:
            if r.epoch == 0:
                if told:
                    continue
                told, labelled["series"], labelled["first"] = True, labels.BASE_LABEL, True
            sides = held(r.scores)
            for side, chosen in (("members", sides.members), ("non-members", ~sides.members)):
                if chosen.any():
                    heights = _density(sides.scores[chosen], edges, at)
                    deciles = _round_values(np.percentile(sides.scores[chosen], DECILES))
                    numbers = {f"{p} % below": v for p, v in zip(DECILES.tolist(), deciles, strict=True)}
                    drawn = {"at": _round_values(at), "height": _round_values(heights)}
                    found.append({**labelled, "side": side, **drawn, "numbers": numbers})
    return found


def _density(scores: Scores, edges: Float[np.ndarray, " edges"], at: Float[np.ndarray, " places"]) -> np.ndarray:
    middle = (edges[1:] + edges[:-1]) / 2
    spread = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    width = max(spread * len(scores) ** -0.2, float(at[1] - at[0]))
    counts = np.histogram(scores, edges)[0] / len(scores)
    kernel = np.exp(-0.5 * ((at[:, None] - middle) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return kernel @ counts


def rocs(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> list[Point]:
    """Return, for numbers of false alarms from 1 up, their rate and the share of members that is found at it.

    As in the metric `tpr_at_fpr`: never interpolated, and tied texts are accused together or not at all. `numbers` are the
    shares found at `RATES`, of which only those that so many non-members can tell.
    """
    found: list[Point] = []
    for _, labelled, r in _labeled_rows(rows):
        held = scores(r.scores)
        members, others = np.sort(held.scores[held.members]), np.sort(held.scores[~held.members])[::-1]
        if not len(members) or not len(others):
            continue
        alarms = np.unique(np.geomspace(1, len(others), ROC_POINTS).round().astype(int))
        tpr = _tpr(members, others, alarms)
        told = {rate: n for rate in LISTED_FPRS if (n := math.floor(rate * len(others) + ROUNDING)) > 0}
        shares = _round_values(_tpr(members, others, np.array(list(told.values()), dtype=int)))
        numbers = {f"found at {100 * rate:g} % accused": v for rate, v in zip(told, shares, strict=True)}
        drawn = {"fpr": _round_values(alarms / len(others)), "tpr": _round_values(tpr), "finest": 1 / len(others)}
        found.append({**labelled, **drawn, "numbers": numbers})
    return found


def _tpr(
    members: Scores, nonmembers: Scores, false_positives: Int[np.ndarray, " rates"]
) -> Float[np.ndarray, " rates"]:
    """Return the share of members above so many non-members; members rise, the others fall."""
    thresholds = np.append(nonmembers, -np.inf)[false_positives]
    return 1 - np.searchsorted(members, thresholds, "right") / len(members)


def _round_values(values: np.ndarray) -> list[float]:
    return [float(f"{v:.4g}") for v in values]
