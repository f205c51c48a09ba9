"""Who is trained on and who is not: members against non-members, for all attacks at once.

An attack can tell members from non-members only by what training did to them if nothing else sets them apart, so a
text has one role, a group (an article, a triple set, a user) has one role, and no text of one role is a copy or a
near copy of a text of another. Copies are judged before roles are dealt, in the data's own order: taking them out of
the non-members alone would leave repeated texts among the members only, and a blind classifier would see that.

The published split keeps the roles that a data set's authors gave, as most papers do; then groups may be in several
roles (they are counted), and only exact copies of what is trained on are taken out of the other roles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from byheart.core.errors import DataError
from byheart.core.types import Examples, Split
from byheart.data.near_duplicates import DistinctPositions, distinct_positions, normalized_text

SAMPLING_MARGIN = 1.1  # how many more texts than asked for are looked at first, so that copies can be taken out
MAX_SPLIT_ATTEMPTS = 20  # how often groups are dealt anew where an unlucky order wastes too much of a large one


class _RoleSizes(NamedTuple):
    """How many texts each role is to have; train None means all there are."""

    train: int | None
    members: int
    nonmembers: int
    validation: int
    known: int

    @property
    def min_train(self) -> int:
        """Training texts that there must be at least: the audited members, and those that the adversary knows."""
        return self.members + self.known

    @property
    def total(self) -> int:
        return (self.train or self.min_train) + self.nonmembers + self.validation + self.known


class _RolePositions(NamedTuple):
    """Positions in the examples by role, and how many copies were taken out."""

    train: list[int]
    nonmembers: list[int]
    validation: list[int]
    known: list[int]
    exact_copies: int
    near_copies: int


def split(  # noqa: PLR0913 - one name for each setting of a study's data
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
    """Deal texts into training texts (some of them the audited members), non-members and validation texts.

    `known` training texts that are not audited, and as many texts that no one trains on, are what an adversary knows.

    `train: None` takes every text that the other roles leave. By "group", whole groups are dealt in an order drawn
    from `seed`, and texts whose words are the same, or whose five-word shingles overlap by `near_duplicate` (Jaccard)
    or more, are kept in one group only. By "published", roles stay as published and the numbers are drawn from each.
    A completion shorter than five words is compared together with its prompt: many texts may rightly share it.

    Raises `DataError` for an empty role, more members than training texts, and more texts than there are.
    """
    wanted = _RoleSizes(train, members, nonmembers, validation, known)
    _check_sizes(wanted, by, near_duplicate)
    chance = np.random.default_rng(seed)
    grouped = by == "group"
    cast = (
        _split_by_group(examples, wanted, near_duplicate, chance)
        if grouped
        else _split_as_published(examples, wanted, chance)
    )
    if wanted.min_train > len(cast.train):
        raise _too_few_training_texts(wanted, len(cast.train))
    audited = tuple(_random_subset(range(len(cast.train)), members, chance))
    others = sorted(set(range(len(cast.train))) - set(audited))
    return _build_split(examples, cast, audited, _random_subset(others, known, chance) if known else [])


def _check_sizes(sizes: _RoleSizes, by: str, near_duplicate: float) -> None:
    if by not in ("group", "published"):
        raise DataError(f"by: {by} is not known; choices: group, published")
    for role, number in sizes._asdict().items():
        if number is not None and number < (role != "known"):
            raise DataError(f"{role}: {number} texts; write {int(role != 'known')} or more")
    if sizes.train is not None and sizes.min_train > sizes.train:
        raise _too_few_training_texts(sizes, sizes.train)
    if not 0 < near_duplicate <= 1:
        raise DataError(f"near_duplicate: {near_duplicate} is no overlap; write a number above 0, at most 1")


def _too_few_training_texts(sizes: _RoleSizes, available: int) -> DataError:
    if sizes.known:
        return DataError(
            f"members: {sizes.members} and known: {sizes.known} of {available} training texts; write {available} or fewer together"
        )
    return DataError(f"members: {sizes.members} of {available} training texts; write {available} or fewer")


def _build_split(
    examples: Examples, role_positions: _RolePositions, members: tuple[int, ...], known: Sequence[int]
) -> Split:
    groups = examples.groups
    outside = (*role_positions.nonmembers, *role_positions.validation, *role_positions.known)
    return Split(
        train=examples.texts.take(role_positions.train),
        members=members,
        nonmembers=examples.texts.take(role_positions.nonmembers),
        validation=examples.texts.take(role_positions.validation),
        member_groups=tuple(groups[role_positions.train[i]] for i in members),
        nonmember_groups=tuple(groups[i] for i in role_positions.nonmembers),
        known_members=examples.texts.take(role_positions.train[i] for i in known),
        known_nonmembers=examples.texts.take(role_positions.known),
        validation_groups=tuple(groups[i] for i in role_positions.validation),
        train_groups=tuple(groups[i] for i in role_positions.train),
        attributes=tuple(
            examples.attributes[i] for i in (*(role_positions.train[m] for m in members), *role_positions.nonmembers)
        ),
        validation_attributes=tuple(examples.attributes[i] for i in role_positions.validation),
        counts={
            "texts": len(examples.texts),
            "groups": len(set(groups)),
            "exact_duplicates_removed": role_positions.exact_copies,
            "near_duplicates_removed": role_positions.near_copies,
            "shared_groups": len({groups[i] for i in role_positions.train} & {groups[i] for i in outside}),
            "left_over": len(examples.texts)
            - len(role_positions.train)
            - len(outside)
            - role_positions.exact_copies
            - role_positions.near_copies,
        },
    )


def _random_subset(positions: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return so many of the positions, each as likely as another, in their old order."""
    return [positions[i] for i in sorted(rng.choice(len(positions), count, replace=False))]


def _split_by_group(
    examples: Examples, sizes: _RoleSizes, near_duplicate: float, rng: np.random.Generator
) -> _RolePositions:
    # Finding copies is what costs here, so a large pool is sampled first, by whole groups, and only as far as needed.
    order = _shuffled_groups(examples.groups, range(len(examples.texts)), rng)
    enough = math.inf if sizes.train is None else SAMPLING_MARGIN * sizes.total
    sampled: list[int] = []
    while True:
        while order and len(sampled) < enough:
            sampled += order.pop()
        found = distinct_positions(examples, sorted(sampled), near_duplicate)
        for _ in range(1 if order else MAX_SPLIT_ATTEMPTS):
            if dealt := _assign_roles(_shuffled_groups(examples.groups, found.positions, rng), sizes, found, rng):
                return dealt
        if not order:
            raise DataError(_shortage_message(sizes, found, len({examples.groups[i] for i in found.positions})))
        enough *= 1.5


def _shuffled_groups(groups: Sequence[str], positions: Iterable[int], rng: np.random.Generator) -> list[list[int]]:
    """Return the positions of each group, groups in a random order."""
    gathered: dict[str, list[int]] = {}
    for position in positions:
        gathered.setdefault(groups[position], []).append(position)
    hands = list(gathered.values())
    return [hands[i] for i in rng.permutation(len(hands))]


def _assign_roles(
    groups: list[list[int]], sizes: _RoleSizes, found: DistinctPositions, rng: np.random.Generator
) -> _RolePositions | None:
    """Return who has which role, or None where this order of groups does not reach.

    A group that holds more than its role still needs gives a random part of itself; its rest stays unused.
    """
    roles: list[list[int]] = []
    for number in (sizes.nonmembers, sizes.validation, sizes.known, sizes.train):
        taken: list[int] = []
        while groups and (number is None or len(taken) < number):
            group = groups.pop()
            room = len(group) if number is None else number - len(taken)
            taken += group if room >= len(group) else _random_subset(group, room, rng)
        if len(taken) < (sizes.min_train if number is None else number):
            return None
        roles.append(taken)
    nonmembers, validation, known, train = roles
    return _RolePositions(train, nonmembers, validation, known, found.exact_copies, found.near_copies)


def _shortage_message(sizes: _RoleSizes, found: DistinctPositions, groups: int) -> str:
    train = sizes.train or f"at least {sizes.min_train}"
    there = len(found.positions)
    known = f", {sizes.known} known non-member" if sizes.known else ""
    asked = f"asked for {train} training, {sizes.nonmembers} non-member{known} and {sizes.validation} validation texts"
    held = f"there are {there} in {groups} groups ({found.exact_copies + found.near_copies} copies taken out)"
    mend = f"write at most {there} in all" if there < sizes.total else "that is too few groups: write smaller numbers"
    return f"{asked}, but {held}; {mend}, or name more data"


def _split_as_published(examples: Examples, sizes: _RoleSizes, rng: np.random.Generator) -> _RolePositions:
    trained, tested, validating = (
        [position for position, published in enumerate(examples.roles) if published == role]
        for role in ("train", "nonmember", "validation")
    )
    train = _sample_role("train", trained, sizes.train or len(trained), 0, rng)
    seen = {normalized_text(examples, i) for i in train}
    fresh = [i for i in tested if normalized_text(examples, i) not in seen]
    nonmembers = _sample_role("nonmembers", fresh, sizes.nonmembers, len(tested) - len(fresh), rng)
    seen |= {normalized_text(examples, i) for i in nonmembers}
    # Without published validation texts, the test texts that are left over stand in.
    rest = validating or sorted(set(fresh) - set(nonmembers))
    unseen = [i for i in rest if normalized_text(examples, i) not in seen]
    validation = _sample_role("validation", unseen, sizes.validation, len(rest) - len(unseen), rng)
    copies = len(tested) - len(fresh) + len(rest) - len(unseen)
    if not sizes.known:
        return _RolePositions(train, nonmembers, validation, [], copies, 0)
    # What an adversary knows not to have been trained on comes from the test texts that are left over.
    seen |= {normalized_text(examples, i) for i in validation}
    left = [i for i in sorted(set(fresh) - set(nonmembers)) if normalized_text(examples, i) not in seen]
    return _RolePositions(train, nonmembers, validation, _sample_role("known", left, sizes.known, 0, rng), copies, 0)


def _sample_role(role: str, positions: list[int], count: int, copies: int, rng: np.random.Generator) -> list[int]:
    if not positions:
        raise DataError(
            f"{role}: the data set publishes no texts for it ({copies} copies taken out); write split: group"
        )
    if count > len(positions):
        there = f"{len(positions)} are published for it ({copies} copies taken out)"
        raise DataError(f"{role}: {count} texts asked for, but {there}; write {len(positions)}, or split: group")
    return _random_subset(positions, count, rng)
