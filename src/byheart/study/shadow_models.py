"""Shadow models of a cell: the audited records that each is trained on, and the cells that train them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import choose, key_of
from byheart.core.types import Texts
from byheart.data.deduplication import deduplicated_texts
from byheart.study.planned_cell import PlannedCell, training_parts


@functools.lru_cache(maxsize=256)
def shadow_cells(planned: PlannedCell) -> tuple[PlannedCell, ...]:
    """Return the cells of the shadow models, each trained on half of the audited texts; () if no attack needs them.

    Shadow models come in pairs that are trained on complementary halves, so that each text is in half of the models.
    Groups stay together, because a text's group may reveal it: training texts that are not audited, in a group of audited
    members, are in the shadow models that are trained on the group. All other training texts of the target are in every
    shadow model.
    """
    shadows = next((o for o in planned.observations if "shadow_passes" in o.needs), None)
    if shadows is None:
        return ()
    observations = [choose("observations", "target")]
    if len(planned.texts["known_nonmembers"]):
        observations.append(choose("observations", "known_nonmembers"))
    number = shadows.settings["models"]
    with_rest = shadows.settings.get("rest", True)
    training_texts = [_shadow_texts(planned, inside, with_rest=with_rest) for inside in shadow_halves(planned, number)]
    return tuple(
        dataclasses.replace(
            planned,
            attacks=(),
            metrics=(),
            observations=tuple(observations),
            texts={
                **planned.texts,
                **training_parts(deduplicated_texts(texts, planned.cell.training), planned.cell.training),
            },
            shadow_label=f"shadow {i + 1} of {number}",
        )
        for i, texts in enumerate(training_texts)
    )


def _shadow_texts(planned: PlannedCell, inside: np.ndarray, *, with_rest: bool) -> Texts:
    """Return the training texts of a shadow model: the audited texts `inside`, and the target's other training texts."""
    split, audited = planned.split, planned.texts["audited"]
    texts = audited.take(np.flatnonzero(inside).tolist())
    train = split.parts["train"]  # with canaries, and before deduplication
    outside_groups = {g for g, is_inside in zip(split.groups, inside, strict=True) if not is_inside}
    # A published split may have a group on both sides. Its training texts are in every model, as they are in the target.
    excluded_groups = (outside_groups & set(split.member_groups)) - set(split.nonmember_groups)
    excluded = {*split.members, *(i for i, group in enumerate(split.train_groups) if group in excluded_groups)}
    return texts.joined(train.take(i for i in range(len(train)) if with_rest and i not in excluded))


def shadow_halves(planned: PlannedCell, number: int) -> list[np.ndarray]:
    """Return, for each shadow model, a mask of the audited texts in its training data; all masks differ.

    Raises `DataError` for too few groups for this number of halves.
    """
    groups = np.array(planned.split.groups)
    names = np.unique(groups)
    seed = key_of({"texts": planned.texts["audited"].digest, "seed": planned.cell.seed})
    rng = np.random.default_rng(int(seed, 16))
    halves: dict[bytes, np.ndarray] = {}
    for _ in range(100 * number):
        if len(halves) == number:
            return list(halves.values())
        first = np.isin(groups, rng.permutation(names)[: len(names) // 2])
        halves |= {half.tobytes(): half for half in (first, ~first) if half.tobytes() not in halves}
    raise DataError(
        f"observations shadows: models = {number} requires {number} different halves of the audited texts, which have "
        f"only {len(names)} groups. Set fewer models, or use data with more groups."
    )
