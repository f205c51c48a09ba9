"""Four risks of one training, as rows measured them: who was trained on, what is recited, what is known of whom, what is kept.

Each has a number of its own with a level that means nothing leaked, so the four stand beside one another and are not added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.utility_curves import Step, along, perplexities, reaches, seed_paths
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row

FEWEST = 2
UNSEEN = 1 / math.log(2)
"""Mean exposure (bits) of canaries that a model never saw: of a rank drawn evenly, log2(N / rank) has this mean."""


class Risk(NamedTuple):
    """A risk: its name, the number that measures it, the level at which nothing leaked, which rows hold it."""

    name: str
    measure: str
    nothing: float
    holds: Callable[[Row], bool]


def risks(rows: Sequence[Row], attack: str, extraction: str) -> list[Risk]:
    """Return those of the four risks that were measured.

    Canaries' is of the ones repeated most often, ranked among sampled references. Raises `DataError` for fewer than two.
    """
    often = max((_repeated(r) for r in rows if _exposed(r)), default=1)
    extracting = {r.attack_settings for r in rows if r.attack == extraction}
    every = [
        Risk(
            "membership",
            f"AUC of {labels.attack_name(attack)}",
            row_values.CHANCE,
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
                and {"kind=all", "measure=advantage", "over=nonmembers"} <= set(row_values.parts(r.metric_settings))
            ),
        ),
        Risk(
            "canaries",
            f"exposure in bits, trained on {row_values.times(often)}",
            UNSEEN,
            lambda r: _exposed(r) and _repeated(r) == often,
        ),
    ]
    found = [r for r in every if any(map(r.holds, rows))]
    if len(found) < FEWEST:
        told = ", ".join(r.name for r in every)
        raise DataError(f"risks are compared where two or more were measured: {told}")
    return found


def _exposed(row: Row) -> bool:
    return row.metric == "exposure" and "estimate=extrapolation" not in row_values.parts(row.metric_settings)


def _repeated(row: Row) -> int:
    return int(row_values.settings(row.metric_settings).get("repeated", "1"))


def paths(rows: Sequence[Row], risk: Risk) -> dict[str, list[list[Step]]]:
    """Return, by method, the path of each seed through epochs at which the risk and the perplexity were both measured."""
    use, variants = perplexities(rows), labels.variants(rows)
    found = {m: seed_paths(filter(risk.holds, own), use) for m, own in variants.split(rows).items()}
    return {method: seeds for method, seeds in found.items() if seeds}


def merged(found: Iterable[Mapping[str, list[list[Step]]]]) -> dict[str, list[list[Step]]]:
    """Return a path for each method, whichever risk it is of: what levels of perplexity are found on."""
    return {method: seeds for held in reversed(list(found)) for method, seeds in held.items()}


def read(seeds: Sequence[Sequence[Step]], level: float) -> Estimate | None:
    """Return a number at a perplexity, the mean of its seeds; None where a seed does not reach it."""
    if not seeds or not all(reaches(path, level) for path in seeds):
        return None
    value, low, high = (float(np.mean(ends)) for ends in zip(*(along(p, level) for p in seeds), strict=True))
    return Estimate(value, low, high)
