"""Split a data set into training texts, members, non-members, validation texts and known texts, for all attacks at once.

Training must be the only difference between members and non-members. So a text has one role, a group (an article, a triple
set, a user) has one role, and no text of a role is an exact or near duplicate of a text of another role. Duplicates are
removed before roles are assigned, in the data's own order: removing them from the non-members alone would leave repeated
texts among the members only, and a blind classifier would detect that.

Audited members, known members, non-members and known non-members are drawn by whole groups in the same way. So the sizes
of the groups have one distribution among members and non-members, and a score of a group (its maximum, or the variance
of its mean) does not depend on the role. If each text is its own group, members are a random sample of the training texts.

The published split uses the roles of a data set's authors, as most papers do. Then a group can have several roles (these
groups are counted), and only exact duplicates of training texts are removed from the other roles.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from byheart.core.errors import DataError
from byheart.core.split import Examples, Split
from byheart.data.group_sampling import draw_groups, has_groups, shuffled_groups
from byheart.data.near_duplicates import DistinctPositions, distinct_positions
from byheart.data.published_split import split_as_published
from byheart.data.split_roles import RolePositions, RoleSizes, draw_training_texts, too_few_training_texts

GROUPED_REVISION = 1  # of splits of data with a group of several texts: members are drawn by whole groups
SAMPLING_MARGIN = 1.1  # texts that are sampled first, per required text, because some are duplicates
MAX_SPLIT_ATTEMPTS = 20  # number of random orders to try: an order can waste too much of a large group


def split(  # noqa: PLR0913 - one parameter per setting of a study's data
    examples: Examples,
    *,
    train: int | None,
    members: int,
    nonmembers: int,
    validation: int,
    known: int = 0,
    seed: int = 0,
    by: Literal["group", "published"] = "group",
    near_duplicate: float = 0.8,
) -> Split:
    """Split texts into training texts (some of them the audited members), non-members and validation texts.

    `known` training texts that are not audited, and as many texts that are not trained on, are known to the adversary.
    Known texts share no group with audited texts.

    `train: None` uses all texts that the other roles leave. With "group", whole groups are assigned in an order drawn
    from `seed`. Texts with the same words, or with a similarity (`near_duplicates.similarity`) of at least
    `near_duplicate`, stay in one group only. With "published", each role is sampled from the texts published for it. A
    completion of fewer than five words is compared together with its prompt, because many texts can rightly share it.
    Every role is drawn by whole groups; of a role's last group a random subset is used if it has more texts than the role
    still needs. Other texts of the members' last group may stay in training, but they are not audited.

    Raises `DataError` for an empty role, more members than training texts, and more texts than the data set has.
    """
    sizes = RoleSizes(train, members, nonmembers, validation, known)
    _check_sizes(sizes, by, near_duplicate)
    rng = np.random.default_rng(seed)
    role_positions = (
        _split_by_group(examples, sizes, near_duplicate, rng)
        if by == "group"
        else split_as_published(examples, sizes, rng)
    )
    return _build_split(examples, role_positions)


def _check_sizes(sizes: RoleSizes, by: str, near_duplicate: float) -> None:
    if by not in ("group", "published"):
        raise DataError(f"by: {by!r} is unknown. Choices: group, published.")
    for role, number in sizes._asdict().items():
        if number is not None and number < (role != "known"):
            raise DataError(f"{role}: {number} texts are too few. Write {int(role != 'known')} or more.")
    if sizes.train is not None and sizes.min_train > sizes.train:
        raise too_few_training_texts(sizes, sizes.train)
    if not 0 < near_duplicate <= 1:
        raise DataError(f"near_duplicate: {near_duplicate} is out of range. Write a number above 0 and at most 1.")


def _build_split(examples: Examples, role_positions: RolePositions) -> Split:
    groups, texts = examples.groups, examples.texts
    train, members, known = role_positions.training
    outside = (*role_positions.nonmembers, *role_positions.validation, *role_positions.known)
    audited = (*(train[i] for i in members), *role_positions.nonmembers)
    copies = role_positions.exact_copies + role_positions.near_copies
    return Split(
        train=texts.take(train),
        members=members,
        nonmembers=texts.take(role_positions.nonmembers),
        validation=texts.take(role_positions.validation),
        member_groups=tuple(groups[train[i]] for i in members),
        nonmember_groups=tuple(groups[i] for i in role_positions.nonmembers),
        known_members=texts.take(train[i] for i in known),
        known_nonmembers=texts.take(role_positions.known),
        validation_groups=tuple(groups[i] for i in role_positions.validation),
        train_groups=tuple(groups[i] for i in train),
        attributes=tuple(examples.attributes[i] for i in audited),
        validation_attributes=tuple(examples.attributes[i] for i in role_positions.validation),
        counts={
            "texts": len(texts),
            "groups": len(set(groups)),
            "exact_duplicates_removed": role_positions.exact_copies,
            "near_duplicates_removed": role_positions.near_copies,
            "shared_groups": len({groups[i] for i in train} & {groups[i] for i in outside}),
            "left_over": len(texts) - len(train) - len(outside) - copies,
        },
    )


def _split_by_group(
    examples: Examples, sizes: RoleSizes, near_duplicate: float, rng: np.random.Generator
) -> RolePositions:
    # Most of the time goes to duplicates, so a large data set is sampled first: whole groups, only as many as needed.
    is_grouped = has_groups(examples.groups)
    remaining_groups = shuffled_groups(examples.groups, range(len(examples.texts)), rng)
    sample_size = math.inf if sizes.train is None else SAMPLING_MARGIN * sizes.total
    sampled: list[int] = []
    while True:
        while remaining_groups and len(sampled) < sample_size:
            sampled += remaining_groups.pop()
        distinct = distinct_positions(examples, sorted(sampled), near_duplicate)
        for _ in range(1 if remaining_groups else MAX_SPLIT_ATTEMPTS):
            groups = shuffled_groups(examples.groups, distinct.positions, rng)
            if role_positions := _assign_roles(groups, sizes, distinct, rng, is_grouped=is_grouped):
                return role_positions
        if not remaining_groups:
            group_count = len({examples.groups[i] for i in distinct.positions})
            raise DataError(_shortage_message(sizes, distinct, group_count))
        sample_size *= 1.5


def _assign_roles(
    groups: list[list[int]],
    sizes: RoleSizes,
    distinct: DistinctPositions,
    rng: np.random.Generator,
    *,
    is_grouped: bool,
) -> RolePositions | None:
    """Return the positions of each role, or None if this order of groups does not fill every role."""
    counts = (sizes.nonmembers, sizes.validation, sizes.known)
    nonmembers, validation, known = (draw_groups(groups, count, rng)[0] for count in counts)
    if any(len(role) < count for role, count in zip((nonmembers, validation, known), counts, strict=True)):
        return None
    training = draw_training_texts(groups, sizes, rng, is_grouped=is_grouped)
    if training is None:
        return None
    return RolePositions(training, nonmembers, validation, known, distinct.exact_copies, distinct.near_copies)


def _shortage_message(sizes: RoleSizes, distinct: DistinctPositions, group_count: int) -> str:
    train = sizes.train or f"at least {sizes.min_train}"
    known = f", {sizes.known} known non-member" if sizes.known else ""
    available = len(distinct.positions)
    fix = (
        f"Write at most {available} in total"
        if available < sizes.total
        else "Lower the sizes, because there are too few groups"
    )
    template = (
        f" {distinct.near_copies} are near duplicates: raise data.near_duplicate if they are different records of one template."
        if distinct.near_copies
        else ""
    )
    return (
        f"data: the split requires {train} training, {sizes.nonmembers} non-member{known} and {sizes.validation} validation "
        f"texts, but the data set has {available} in {group_count} groups "
        f"({distinct.exact_copies + distinct.near_copies} duplicates removed). {fix}, or add data.{template}"
    )
