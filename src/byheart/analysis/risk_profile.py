"""Four risks of one training, as rows measured them: who was trained on, what is recited, what is known of whom, what is kept.

Each has a number of its own with a level that means nothing leaked, so the four stand beside one another and are not added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.utility_curves import (
    PathPoint,
    estimate_at_level,
    has_reached_level,
    perplexity_by_cell_and_epoch,
    seed_paths,
)
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row

MIN_RISKS = 2
UNSEEN_MEAN_EXPOSURE = 1 / math.log(2)
"""Mean exposure (bits) of canaries that a model never saw: of a rank drawn evenly, log2(N / rank) has this mean."""


class Risk(NamedTuple):
    """A risk: its name, the number that measures it, the level at which nothing leaked, which rows hold it."""

    name: str
    measure: str
    no_leakage_level: float
    matches_row: Callable[[Row], bool]


def measured_risks(rows: Sequence[Row], attack: str, extraction: str) -> list[Risk]:
    """Return those of the four risks that were measured.

    Canaries' is of the ones repeated most often, ranked among sampled references. Raises `DataError` for fewer than two.
    """
    often = max((_repetitions(r) for r in rows if _is_sampled_exposure(r)), default=1)
    extracting = {r.attack_settings for r in rows if r.attack == extraction}
    every = [
        Risk(
            "membership",
            f"AUC of {labels.attack_name(attack)}",
            row_values.CHANCE_AUC,
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
                and {"kind=all", "measure=advantage", "over=nonmembers"}
                <= set(row_values.split_settings(r.metric_settings))
            ),
        ),
        Risk(
            "canaries",
            f"exposure in bits, trained on {row_values.format_times(often)}",
            UNSEEN_MEAN_EXPOSURE,
            lambda r: _is_sampled_exposure(r) and _repetitions(r) == often,
        ),
    ]
    found = [r for r in every if any(map(r.matches_row, rows))]
    if len(found) < MIN_RISKS:
        told = ", ".join(r.name for r in every)
        raise DataError(f"risks are compared where two or more were measured: {told}")
    return found


def _is_sampled_exposure(row: Row) -> bool:
    return row.metric == "exposure" and "estimate=extrapolation" not in row_values.split_settings(row.metric_settings)


def _repetitions(row: Row) -> int:
    return int(row_values.parse_settings(row.metric_settings).get("repeated", "1"))


def risk_paths(rows: Sequence[Row], risk: Risk) -> dict[str, list[list[PathPoint]]]:
    """Return, by method, the path of each seed through epochs at which the risk and the perplexity were both measured."""
    use, variants = perplexity_by_cell_and_epoch(rows), labels.variants(rows)
    found = {m: seed_paths(filter(risk.matches_row, own), use) for m, own in variants.split(rows).items()}
    return {method: seeds for method, seeds in found.items() if seeds}


def merged_paths(found: Iterable[Mapping[str, list[list[PathPoint]]]]) -> dict[str, list[list[PathPoint]]]:
    """Return a path for each method, whichever risk it is of: what levels of perplexity are found on."""
    return {method: seeds for held in reversed(list(found)) for method, seeds in held.items()}


def estimate_at_perplexity(seeds: Sequence[Sequence[PathPoint]], level: float) -> Estimate | None:
    """Return a number at a perplexity, the mean of its seeds; None where a seed does not reach it."""
    if not seeds or not all(has_reached_level(path, level) for path in seeds):
        return None
    value, low, high = (
        float(np.mean(ends)) for ends in zip(*(estimate_at_level(p, level) for p in seeds), strict=True)
    )
    return Estimate(value, low, high)
