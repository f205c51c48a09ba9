"""Shadow models of a cell: which audited records each is trained on, and the cells that train them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import choose, key_of
from byheart.data.deduplication import deduplicated_texts
from byheart.study.planned_cell import PlannedCell


@functools.lru_cache(maxsize=256)
def shadow_cells(planned: PlannedCell) -> tuple[PlannedCell, ...]:
    """Models tuned as this cell's, each on a half of the audited texts; none where no attack needs them.

    They come in pairs, the second of a pair tuned on the half that the first is not, so that each text is in half of
    them. Whole groups are dealt: a text's group may give it away. What the target is tuned on besides, all are too.
    """
    asking = next((o for o in planned.observations if "shadow_passes" in o.needs), None)
    if asking is None:
        return ()
    observed = [choose("observations", "target")]
    if len(planned.texts["known_nonmembers"]):
        observed.append(choose("observations", "known_nonmembers"))
    number = asking.settings["models"]
    known = asking.settings.get("rest", True)
    members = set(planned.split.members)
    whole = planned.split.parts["train"]  # canaries too, and what deduplication leaves out
    rest = whole.take(i for i in range(len(whole)) if known and i not in members)
    trained = [
        planned.texts["audited"].take(np.flatnonzero(inside).tolist()).joined(rest)
        for inside in shadow_halves(planned, number)
    ]
    return tuple(
        dataclasses.replace(
            planned,
            attacks=(),
            metrics=(),
            observations=tuple(observed),
            texts={**planned.texts, "train": deduplicated_texts(texts, planned.cell.training)},
            shadow_label=f"shadow {i + 1} of {number}",
        )
        for i, texts in enumerate(trained)
    )


def shadow_halves(planned: PlannedCell, number: int) -> list[np.ndarray]:
    """Return which of the audited texts each shadow is tuned on, no two on the same.

    Raises `DataError` where there are too few groups for so many halves.
    """
    groups = np.array(planned.split.groups)
    names = np.unique(groups)
    seed = key_of({"texts": planned.texts["audited"].digest, "seed": planned.cell.seed})
    chance = np.random.default_rng(int(seed, 16))
    halves: dict[bytes, np.ndarray] = {}
    for _ in range(100 * number):
        if len(halves) == number:
            return list(halves.values())
        first = np.isin(groups, chance.permutation(names)[: len(names) // 2])
        halves |= {half.tobytes(): half for half in (first, ~first) if half.tobytes() not in halves}
    raise DataError(
        f"{number} shadows need as many different halves of the audited texts, which are of {len(names)} groups only; "
        "write fewer models for observations shadows, or name data of more groups"
    )
