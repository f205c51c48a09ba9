"""Split a data set into training texts, members, non-members, validation texts and known texts, for all attacks at once.

Training must be the only difference between members and non-members. So a text has one role, a group (an article, a triple
set, a user) has one role, and no text of a role is an exact or near duplicate of a text of another role. Duplicates are
removed before roles are assigned, in the data's own order: removing them from the non-members alone would leave repeated
texts among the members only, and a blind classifier would detect that.

The published split uses the roles of a data set's authors, as most papers do. Then a group can have several roles (these
groups are counted), and only exact copies of training texts are removed from the other roles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from byheart.core.errors import DataError
from byheart.core.split import Examples, Split
from byheart.data.near_duplicates import DistinctPositions, distinct_positions, normalized_text

SAMPLING_MARGIN = 1.1  # texts that are sampled first, per required text, because some are duplicates
MAX_SPLIT_ATTEMPTS = 20  # number of random orders to try: an order can waste too much of a large group


class _RoleSizes(NamedTuple):
    """Requested number of texts of each role; `train` None means all remaining texts."""

    train: int | None
    members: int
    nonmembers: int
    validation: int
    known: int

    @property
    def min_train(self) -> int:
        """Minimum number of training texts: the audited members and the known members."""
        return self.members + self.known

    @property
    def total(self) -> int:
        return (self.train or self.min_train) + self.nonmembers + self.validation + self.known


class _RolePositions(NamedTuple):
    """Positions in the examples by role, and the numbers of removed duplicates."""

    train: list[int]
    nonmembers: list[int]
    validation: list[int]
    known: list[int]
    exact_copies: int
    near_copies: int


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

    `train: None` uses all texts that the other roles leave. With "group", whole groups are assigned in an order drawn
    from `seed`. Texts with the same words, or with an overlap of five-word shingles (Jaccard) of at least
    `near_duplicate`, stay in one group only. With "published", each role is sampled from the texts published for it. A
    completion of fewer than five words is compared together with its prompt, because many texts can rightly share it.

    Raises `DataError` for an empty role, more members than training texts, and more texts than the data set has.
    """
    sizes = _RoleSizes(train, members, nonmembers, validation, known)
    _check_sizes(sizes, by, near_duplicate)
    rng = np.random.default_rng(seed)
    role_positions = (
        _split_by_group(examples, sizes, near_duplicate, rng)
        if by == "group"
        else _split_as_published(examples, sizes, rng)
    )
    train_count = len(role_positions.train)
    if sizes.min_train > train_count:
        raise _too_few_training_texts(sizes, train_count)
    audited = tuple(_random_subset(range(train_count), members, rng))
    unaudited = sorted(set(range(train_count)) - set(audited))
    return _build_split(examples, role_positions, audited, _random_subset(unaudited, known, rng) if known else [])


def _check_sizes(sizes: _RoleSizes, by: str, near_duplicate: float) -> None:
    if by not in ("group", "published"):
        raise DataError(f"by: {by!r} is unknown. Choices: group, published.")
    for role, number in sizes._asdict().items():
        if number is not None and number < (role != "known"):
            raise DataError(f"{role}: {number} texts are too few. Write {int(role != 'known')} or more.")
    if sizes.train is not None and sizes.min_train > sizes.train:
        raise _too_few_training_texts(sizes, sizes.train)
    if not 0 < near_duplicate <= 1:
        raise DataError(f"near_duplicate: {near_duplicate} is out of range. Write a number above 0 and at most 1.")


def _too_few_training_texts(sizes: _RoleSizes, available: int) -> DataError:
    requested = f"members: {sizes.members}" + (f" + known: {sizes.known}" if sizes.known else "")
    return DataError(f"{requested} exceeds the {available} training texts. Write {available} or fewer in total.")


def _build_split(
    examples: Examples, role_positions: _RolePositions, members: tuple[int, ...], known: Sequence[int]
) -> Split:
    groups, texts, train = examples.groups, examples.texts, role_positions.train
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


def _random_subset(positions: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return `count` of the positions, sampled uniformly without replacement, in their original order."""
    return [positions[i] for i in sorted(rng.choice(len(positions), count, replace=False))]


def _split_by_group(
    examples: Examples, sizes: _RoleSizes, near_duplicate: float, rng: np.random.Generator
) -> _RolePositions:
    # Most of the time goes to duplicates, so a large data set is sampled first: whole groups, only as many as needed.
    remaining_groups = _shuffled_groups(examples.groups, range(len(examples.texts)), rng)
    sample_size = math.inf if sizes.train is None else SAMPLING_MARGIN * sizes.total
    sampled: list[int] = []
    while True:
        while remaining_groups and len(sampled) < sample_size:
            sampled += remaining_groups.pop()
        distinct = distinct_positions(examples, sorted(sampled), near_duplicate)
        for _ in range(1 if remaining_groups else MAX_SPLIT_ATTEMPTS):
            groups = _shuffled_groups(examples.groups, distinct.positions, rng)
            if role_positions := _assign_roles(groups, sizes, distinct, rng):
                return role_positions
        if not remaining_groups:
            group_count = len({examples.groups[i] for i in distinct.positions})
            raise DataError(_shortage_message(sizes, distinct, group_count))
        sample_size *= 1.5


def _shuffled_groups(groups: Sequence[str], positions: Iterable[int], rng: np.random.Generator) -> list[list[int]]:
    """Return the positions of each group, with the groups in random order."""
    by_group: dict[str, list[int]] = {}
    for position in positions:
        by_group.setdefault(groups[position], []).append(position)
    ordered = list(by_group.values())
    return [ordered[i] for i in rng.permutation(len(ordered))]


def _assign_roles(
    groups: list[list[int]], sizes: _RoleSizes, distinct: DistinctPositions, rng: np.random.Generator
) -> _RolePositions | None:
    """Return the positions of each role, or None if this order of groups does not fill every role.

    If a group has more texts than its role still needs, a random subset is used and the rest stays unused.
    """
    roles: list[list[int]] = []
    for number in (sizes.nonmembers, sizes.validation, sizes.known, sizes.train):
        positions: list[int] = []
        while groups and (number is None or len(positions) < number):
            group = groups.pop()
            missing = len(group) if number is None else number - len(positions)
            positions += group if missing >= len(group) else _random_subset(group, missing, rng)
        if len(positions) < (sizes.min_train if number is None else number):
            return None
        roles.append(positions)
    nonmembers, validation, known, train = roles
    return _RolePositions(train, nonmembers, validation, known, distinct.exact_copies, distinct.near_copies)


def _shortage_message(sizes: _RoleSizes, distinct: DistinctPositions, group_count: int) -> str:
    train = sizes.train or f"at least {sizes.min_train}"
    known = f", {sizes.known} known non-member" if sizes.known else ""
    available = len(distinct.positions)
    fix = f"Write at most {available} in total" if available < sizes.total else "These are too few groups: write less"
    return (
        f"data: the split requires {train} training, {sizes.nonmembers} non-member{known} and {sizes.validation} validation "
        f"texts, but the data set has {available} in {group_count} groups "
        f"({distinct.exact_copies + distinct.near_copies} copies removed). {fix}, or add data."
    )


def _split_as_published(examples: Examples, sizes: _RoleSizes, rng: np.random.Generator) -> _RolePositions:
    published_train, published_test, published_validation = (
        [position for position, published in enumerate(examples.roles) if published == role]
        for role in ("train", "nonmember", "validation")
    )
    train = _sample_role("train", published_train, sizes.train or len(published_train), 0, rng)
    used_texts = {normalized_text(examples, i) for i in train}
    test = [i for i in published_test if normalized_text(examples, i) not in used_texts]
    test_copies = len(published_test) - len(test)
    nonmembers = _sample_role("nonmembers", test, sizes.nonmembers, test_copies, rng)
    used_texts |= {normalized_text(examples, i) for i in nonmembers}
    unused_test = sorted(set(test) - set(nonmembers))
    # A data set without validation texts uses the remaining test texts.
    candidates = published_validation or unused_test
    distinct = [i for i in candidates if normalized_text(examples, i) not in used_texts]
    validation_copies = len(candidates) - len(distinct)
    validation = _sample_role("validation", distinct, sizes.validation, validation_copies, rng)
    copies = test_copies + validation_copies
    if not sizes.known:
        return _RolePositions(train, nonmembers, validation, [], copies, 0)
    # Known non-members are remaining test texts.
    used_texts |= {normalized_text(examples, i) for i in validation}
    unused = [i for i in unused_test if normalized_text(examples, i) not in used_texts]
    known = _sample_role("known", unused, sizes.known, 0, rng)
    return _RolePositions(train, nonmembers, validation, known, copies, 0)


def _sample_role(role: str, positions: list[int], count: int, copies: int, rng: np.random.Generator) -> list[int]:
    if not positions:
        raise DataError(
            f"{role}: the data set publishes no texts for this role ({copies} copies removed). Write split: group."
        )
    if count > len(positions):
        raise DataError(
            f"{role}: the data set publishes {len(positions)} texts for this role ({copies} copies removed), not {count}. "
            f"Write {len(positions)} or fewer, or split: group."
        )
    return _random_subset(positions, count, rng)
