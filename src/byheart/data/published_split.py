"""Assign roles as the authors of a data set published them, and sample each role from its published texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byheart.core.errors import DataError
from byheart.core.split import Examples
from byheart.data.group_sampling import draw_groups, has_groups, random_subset, shuffled_groups
from byheart.data.near_duplicates import normalized_text
from byheart.data.split_roles import (
    RolePositions,
    RoleSizes,
    TrainingTexts,
    draw_training_texts,
    sample_members,
    too_few_training_texts,
)


def split_as_published(examples: Examples, sizes: RoleSizes, rng: np.random.Generator) -> RolePositions:
    """Return the positions of each role, drawn by whole groups if the data have a group of several texts.

    Exact duplicates of training texts are removed from the other roles. A group may have several published roles; only
    known texts share no group with audited texts. Raises `DataError` for a role with too few published texts.
    """
    published_train, published_test, published_validation = (
        [position for position, published in enumerate(examples.roles) if published == role]
        for role in ("train", "nonmember", "validation")
    )
    groups = examples.groups
    training = _draw_training(groups, published_train, sizes, rng)
    train = training.positions
    known_groups = {groups[train[i]] for i in training.known}
    used_texts = {normalized_text(examples, i) for i in train}
    test = [i for i in published_test if normalized_text(examples, i) not in used_texts]
    test_copies = len(published_test) - len(test)
    not_known = [i for i in test if groups[i] not in known_groups]
    nonmembers = _sample_role("nonmembers", groups, not_known, sizes.nonmembers, test_copies, rng)
    used_texts |= {normalized_text(examples, i) for i in nonmembers}
    unused_test = sorted(set(test) - set(nonmembers))
    # A data set without validation texts uses the remaining test texts.
    candidates = published_validation or unused_test
    distinct = [i for i in candidates if normalized_text(examples, i) not in used_texts]
    validation_copies = len(candidates) - len(distinct)
    validation = _sample_role("validation", groups, distinct, sizes.validation, validation_copies, rng)
    # Known non-members are remaining test texts.
    used_texts |= {normalized_text(examples, i) for i in validation}
    audited_groups = {groups[i] for i in (*(train[m] for m in training.members), *nonmembers)}
    unused = [
        i for i in unused_test if normalized_text(examples, i) not in used_texts and groups[i] not in audited_groups
    ]
    known = _sample_role("known", groups, unused, sizes.known, 0, rng) if sizes.known else []
    if not has_groups(groups):  # last, so that the split is that of older studies
        training = sample_members(train, sizes, rng)
    return RolePositions(training, nonmembers, validation, known, test_copies + validation_copies, 0)


def _draw_training(
    groups: Sequence[str], published: list[int], sizes: RoleSizes, rng: np.random.Generator
) -> TrainingTexts:
    """Return the training texts; without groups of several texts, members are sampled later."""
    count = sizes.train or len(published)
    _check_available("train", published, count, 0)
    if sizes.min_train > count:
        raise too_few_training_texts(sizes, count)
    if not has_groups(groups):
        return TrainingTexts(random_subset(published, count, rng), (), ())
    training = draw_training_texts(shuffled_groups(groups, published, rng), sizes, rng, is_grouped=True)
    if training is None:
        raise DataError(
            f"known: {sizes.members} audited members leave fewer than {sizes.known} published training texts in other groups. "
            "Lower data.members or data.known."
        )
    return _in_order(training)


def _in_order(training: TrainingTexts) -> TrainingTexts:
    """Return the training texts in the data's order."""
    order = sorted(range(len(training.positions)), key=lambda i: training.positions[i])
    place = {i: place for place, i in enumerate(order)}
    members, known = (tuple(sorted(place[i] for i in part)) for part in (training.members, training.known))
    return TrainingTexts([training.positions[i] for i in order], members, known)


def _sample_role(
    role: str, groups: Sequence[str], positions: list[int], count: int, copies: int, rng: np.random.Generator
) -> list[int]:
    """Return `count` of the positions, in the data's order."""
    _check_available(role, positions, count, copies)
    if not has_groups(groups):
        return random_subset(positions, count, rng)
    return sorted(draw_groups(shuffled_groups(groups, positions, rng), count, rng)[0])


def _check_available(role: str, positions: list[int], count: int, copies: int) -> None:
    if not positions:
        raise DataError(
            f"{role}: the data set publishes no texts for this role ({copies} duplicates removed). Write split: group."
        )
    if count > len(positions):
        raise DataError(
            f"{role}: the data set publishes {len(positions)} texts for this role ({copies} duplicates removed), not {count}. "
            f"Write {len(positions)} or fewer, or split: group."
        )
