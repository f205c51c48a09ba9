"""Four risks of one training, as rows measured them: who was trained on, what is recited, what is known of whom, what is kept.

Each has a number of its own with a level that means nothing leaked, so the four stand beside one another and are not added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from byheart import labels
from byheart.matching import Step, along, reaches
from byheart.types import Estimate, Row

UNSEEN = 1 / math.log(2)
"""Mean exposure (bits) of canaries that a model never saw: of a rank drawn evenly, log2(N / rank) has this mean."""


class Risk(NamedTuple):
    """A risk: its name, the number that measures it, the level at which nothing leaked, which rows hold it."""

    name: str
    measure: str
    nothing: float
    holds: Callable[[Row], bool]


def risks(rows: Sequence[Row], attack: str, extraction: str) -> list[Risk]:
    """Return the four risks; those of canaries are of the ones repeated most often, ranked among sampled references."""
    often = max((_repeated(r) for r in rows if _exposed(r)), default=1)
    extracting = {r.attack_settings for r in rows if r.attack == extraction}
    return [
        Risk(
            "membership",
            f"AUC of {labels.attack_name(attack)}",
            labels.CHANCE,
            lambda r: (r.metric, r.attack) == ("auc", attack) and not r.attack_settings,
        ),
        Risk(
            "extraction",
            f"{labels.attack_name(extraction)}: members beyond non-members",
            0.0,
            lambda r: (
                r.metric == "extraction_excess"
                and r.attack == extraction
                and r.attack_settings == min(extracting, key=len, default="")
            ),
        ),
        Risk(
            "attributes",
            "private values picked: members beyond non-members",
            0.0,
            lambda r: (
                r.metric == "attribute_inference"
                and {"kind=all", "measure=advantage", "over=nonmembers"} <= set(labels.parts(r.metric_settings))
            ),
        ),
        Risk(
            "canaries",
            f"exposure in bits, trained on {labels.times(often)}",
            UNSEEN,
            lambda r: _exposed(r) and _repeated(r) == often,
        ),
    ]


def _exposed(row: Row) -> bool:
    return row.metric == "exposure" and "estimate=extrapolation" not in labels.parts(row.metric_settings)


def _repeated(row: Row) -> int:
    return int(labels.settings(row.metric_settings).get("repeated", "1"))


def paths(rows: Sequence[Row], risk: Risk) -> dict[str, list[list[Step]]]:
    """Return, by method, the path of each seed through epochs at which the risk and the perplexity were both measured."""
    use = {(r.cell, r.epoch): r for r in rows if r.metric == "perplexity" and not r.attack}
    found: dict[str, list[list[Step]]] = {}
    for method, own in labels.variants(rows).split(rows).items():
        there = sorted((r for r in own if risk.holds(r)), key=lambda r: (r.seed, r.epoch or 0))
        steps = {s: [Step(r, use[r.cell, r.epoch]) for r in there if r.seed == s and (r.cell, r.epoch) in use] for s in
                 dict.fromkeys(r.seed for r in there)}  # fmt: skip
        whole = [path for path in steps.values() if len(path) > 1]
        if whole:
            found[method] = whole
    return found


def read(seeds: Sequence[Sequence[Step]], level: float) -> Estimate | None:
    """Return a number at a perplexity, the mean of its seeds; None where a seed does not reach it."""
    if not seeds or not all(reaches(path, level) for path in seeds):
        return None
    value, low, high = (float(np.mean(ends)) for ends in zip(*(along(p, level) for p in seeds), strict=True))
    return Estimate(value, low, high)
