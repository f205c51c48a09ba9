"""Four privacy risks of a trained model: membership inference, extraction, attribute inference, canary exposure.

Each risk has its own measure and its own level of no leakage, so the four are shown side by side and never added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.utility_curves import (
    NOT_OBSERVED_CLOSELY,
    NOT_REACHED,
    PathPoint,
    estimate_at_level,
    has_reached_level,
    is_observed_closely,
    mean_interpolation,
    perplexity_by_state,
    seed_paths,
)
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row

MIN_RISKS = 2
UNSEEN_MEAN_EXPOSURE = 1 / math.log(2)
"""Mean exposure (bits) of canaries without training: their rank is uniform, and log2(N / rank) has this mean."""


class Risk(NamedTuple):
    """A risk: its name, its measure, the level of no leakage, and the rows that contain it."""

    name: str
    measure: str
    no_leakage_level: float
    matches_row: Callable[[Row], bool]


def measured_risks(rows: Sequence[Row], attack: str, extraction: str) -> list[Risk]:
    """Return the measured risks among the four.

    The risk of canaries is the exposure of those with the most repetitions, ranked among sampled references. Raises
    `DataError` for fewer than two measured risks.
    """
    most_repetitions = max((_repetitions(r) for r in rows if _is_sampled_exposure(r)), default=1)
    pool = _attribute_pool(rows)
    extraction_settings = {r.attack_settings for r in rows if r.attack == extraction}
    risks = [
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
                and r.attack_settings == min(extraction_settings, key=len, default="")
            ),
        ),
        Risk(
            "attributes",
            f"private attributes inferred{pool.values}: members beyond non-members",
            0.0,
            lambda r: r.metric == "attribute_inference" and r.metric_settings == pool.settings,
        ),
        Risk(
            "canaries",
            f"exposure in bits, trained on {row_values.format_times(most_repetitions)}",
            UNSEEN_MEAN_EXPOSURE,
            lambda r: _is_sampled_exposure(r) and _repetitions(r) == most_repetitions,
        ),
    ]
    measured = [r for r in risks if any(map(r.matches_row, rows))]
    if len(measured) < MIN_RISKS:
        names = ", ".join(r.name for r in risks)
        raise DataError(
            f"risks: {len(measured)} of 4 were measured, but a comparison needs {MIN_RISKS} or more. Measure more of: {names}."
        )
    return measured


class _AttributePool(NamedTuple):
    """The rows that contain the risk of attributes: their settings, and what the measure says of the candidate values."""

    settings: str
    values: str


def _attribute_pool(rows: Sequence[Row]) -> _AttributePool:
    """Return the strongest measured claim: whose value it is, else that the value occurred in training.

    Rows without a pool are results of older versions, with values of the validation texts.
    """
    pools = {"pool=trained, ": " among trained values", "pool=unseen, ": " among unseen values", "": ""}
    measured = {r.metric_settings for r in rows if r.metric == "attribute_inference"}
    offered = [_AttributePool(f"kind=all, {p}measure=advantage, over=nonmembers", v) for p, v in pools.items()]
    return next((pool for pool in offered if pool.settings in measured), offered[-1])


def _is_sampled_exposure(row: Row) -> bool:
    return row.metric == "exposure" and "estimate=extrapolation" not in row_values.split_settings(row.metric_settings)


def _repetitions(row: Row) -> int:
    return int(row_values.parse_settings(row.metric_settings).get("repeated", "1"))


def risk_paths(rows: Sequence[Row], risk: Risk) -> dict[str, list[list[PathPoint]]]:
    """Return each seed's path through the states with the risk and perplexity, by method."""
    perplexities, variants = perplexity_by_state(rows), labels.variants(rows)
    paths = {
        method: seed_paths(filter(risk.matches_row, of_method), perplexities)
        for method, of_method in variants.split(rows).items()
    }
    return {method: seeds for method, seeds in paths.items() if seeds}


def merged_paths(paths_by_risk: Iterable[Mapping[str, list[list[PathPoint]]]]) -> dict[str, list[list[PathPoint]]]:
    """Return the paths of each method for the first risk that has them, to choose levels of perplexity on."""
    return {method: seeds for paths in reversed(list(paths_by_risk)) for method, seeds in paths.items()}


def estimate_at_perplexity(seeds: Sequence[Sequence[PathPoint]], level: float) -> Estimate | str:
    """Return an estimate at a perplexity, averaged over seeds, or why it has none: NOT_REACHED, NOT_OBSERVED_CLOSELY."""
    if not seeds or not all(has_reached_level(path, level) for path in seeds):
        return NOT_REACHED
    read = mean_interpolation([estimate_at_level(p, level) for p in seeds])
    return Estimate(read.value, read.low, read.high) if is_observed_closely(read) else NOT_OBSERVED_CLOSELY
