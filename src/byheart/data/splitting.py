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
from byheart.data.near_duplicates import Distinct, compared, distinct

MARGIN = 1.1  # how many more texts than asked for are looked at first, so that copies can be taken out
DEALS = 20  # how often groups are dealt anew where an unlucky order wastes too much of a large one


class _Wanted(NamedTuple):
    """How many texts each role is to have; train None means all there are."""

    train: int | None
    members: int
    nonmembers: int
    validation: int
    known: int

    @property
    def trained(self) -> int:
        """Training texts that there must be at least: the audited members, and those that the adversary knows."""
        return self.members + self.known

    @property
    def total(self) -> int:
        return (self.train or self.trained) + self.nonmembers + self.validation + self.known


class _Cast(NamedTuple):
    """Positions in the examples by role, and how many copies were taken out."""

    train: list[int]
    nonmembers: list[int]
    validation: list[int]
    known: list[int]
    exact: int
    near: int


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
    wanted = _Wanted(train, members, nonmembers, validation, known)
    _check(wanted, by, near_duplicate)
    chance = np.random.default_rng(seed)
    grouped = by == "group"
    cast = _by_group(examples, wanted, near_duplicate, chance) if grouped else _as_published(examples, wanted, chance)
    if wanted.trained > len(cast.train):
        raise _too_few(wanted, len(cast.train))
    audited = tuple(_drawn(range(len(cast.train)), members, chance))
    others = sorted(set(range(len(cast.train))) - set(audited))
    return _split(examples, cast, audited, _drawn(others, known, chance) if known else [])


def _check(wanted: _Wanted, by: str, near_duplicate: float) -> None:
    if by not in ("group", "published"):
        raise DataError(f"by: {by} is not known; choices: group, published")
    for role, number in wanted._asdict().items():
        if number is not None and number < (role != "known"):
            raise DataError(f"{role}: {number} texts; write {int(role != 'known')} or more")
    if wanted.train is not None and wanted.trained > wanted.train:
        raise _too_few(wanted, wanted.train)
    if not 0 < near_duplicate <= 1:
        raise DataError(f"near_duplicate: {near_duplicate} is no overlap; write a number above 0, at most 1")


def _too_few(wanted: _Wanted, there: int) -> DataError:
    if wanted.known:
        return DataError(
            f"members: {wanted.members} and known: {wanted.known} of {there} training texts; write {there} or fewer together"
        )
    return DataError(f"members: {wanted.members} of {there} training texts; write {there} or fewer")


def _split(examples: Examples, cast: _Cast, members: tuple[int, ...], known: Sequence[int]) -> Split:
    groups = examples.groups
    outside = (*cast.nonmembers, *cast.validation, *cast.known)
    return Split(
        train=examples.texts.take(cast.train),
        members=members,
        nonmembers=examples.texts.take(cast.nonmembers),
        validation=examples.texts.take(cast.validation),
        member_groups=tuple(groups[cast.train[i]] for i in members),
        nonmember_groups=tuple(groups[i] for i in cast.nonmembers),
        known_members=examples.texts.take(cast.train[i] for i in known),
        known_nonmembers=examples.texts.take(cast.known),
        validation_groups=tuple(groups[i] for i in cast.validation),
        attributes=tuple(examples.attributes[i] for i in (*(cast.train[m] for m in members), *cast.nonmembers)),
        validation_attributes=tuple(examples.attributes[i] for i in cast.validation),
        counts={
            "texts": len(examples.texts),
            "groups": len(set(groups)),
            "exact_duplicates_removed": cast.exact,
            "near_duplicates_removed": cast.near,
            "shared_groups": len({groups[i] for i in cast.train} & {groups[i] for i in outside}),
            "left_over": len(examples.texts) - len(cast.train) - len(outside) - cast.exact - cast.near,
        },
    )


def _drawn(positions: Sequence[int], number: int, chance: np.random.Generator) -> list[int]:
    """Return so many of the positions, each as likely as another, in their old order."""
    return [positions[i] for i in sorted(chance.choice(len(positions), number, replace=False))]


def _by_group(examples: Examples, wanted: _Wanted, near_duplicate: float, chance: np.random.Generator) -> _Cast:
    # Finding copies is what costs here, so a large pool is sampled first, by whole groups, and only as far as needed.
    order = _hands(examples.groups, range(len(examples.texts)), chance)
    enough = math.inf if wanted.train is None else MARGIN * wanted.total
    sampled: list[int] = []
    while True:
        while order and len(sampled) < enough:
            sampled += order.pop()
        found = distinct(examples, sorted(sampled), near_duplicate)
        for _ in range(1 if order else DEALS):
            if dealt := _dealt(_hands(examples.groups, found.kept, chance), wanted, found, chance):
                return dealt
        if not order:
            raise DataError(_short(wanted, found, len({examples.groups[i] for i in found.kept})))
        enough *= 1.5


def _hands(groups: Sequence[str], positions: Iterable[int], chance: np.random.Generator) -> list[list[int]]:
    """Return the positions of each group, groups in a random order."""
    gathered: dict[str, list[int]] = {}
    for position in positions:
        gathered.setdefault(groups[position], []).append(position)
    hands = list(gathered.values())
    return [hands[i] for i in chance.permutation(len(hands))]


def _dealt(hands: list[list[int]], wanted: _Wanted, found: Distinct, chance: np.random.Generator) -> _Cast | None:
    """Return who has which role, or None where this order of groups does not reach.

    A group that holds more than its role still needs gives a random part of itself; its rest stays unused.
    """
    roles: list[list[int]] = []
    for number in (wanted.nonmembers, wanted.validation, wanted.known, wanted.train):
        taken: list[int] = []
        while hands and (number is None or len(taken) < number):
            group = hands.pop()
            room = len(group) if number is None else number - len(taken)
            taken += group if room >= len(group) else _drawn(group, room, chance)
        if len(taken) < (wanted.trained if number is None else number):
            return None
        roles.append(taken)
    nonmembers, validation, known, train = roles
    return _Cast(train, nonmembers, validation, known, found.exact, found.near)


def _short(wanted: _Wanted, found: Distinct, groups: int) -> str:
    train = wanted.train or f"at least {wanted.trained}"
    there = len(found.kept)
    known = f", {wanted.known} known non-member" if wanted.known else ""
    asked = (
        f"asked for {train} training, {wanted.nonmembers} non-member{known} and {wanted.validation} validation texts"
    )
    held = f"there are {there} in {groups} groups ({found.exact + found.near} copies taken out)"
    mend = f"write at most {there} in all" if there < wanted.total else "that is too few groups: write smaller numbers"
    return f"{asked}, but {held}; {mend}, or name more data"


def _as_published(examples: Examples, wanted: _Wanted, chance: np.random.Generator) -> _Cast:
    trained, tested, validating = (
        [position for position, published in enumerate(examples.roles) if published == role]
        for role in ("train", "nonmember", "validation")
    )
    train = _taken("train", trained, wanted.train or len(trained), 0, chance)
    seen = {compared(examples, i) for i in train}
    fresh = [i for i in tested if compared(examples, i) not in seen]
    nonmembers = _taken("nonmembers", fresh, wanted.nonmembers, len(tested) - len(fresh), chance)
    seen |= {compared(examples, i) for i in nonmembers}
    # Without published validation texts, the test texts that are left over stand in.
    rest = validating or sorted(set(fresh) - set(nonmembers))
    unseen = [i for i in rest if compared(examples, i) not in seen]
    validation = _taken("validation", unseen, wanted.validation, len(rest) - len(unseen), chance)
    copies = len(tested) - len(fresh) + len(rest) - len(unseen)
    if not wanted.known:
        return _Cast(train, nonmembers, validation, [], copies, 0)
    # What an adversary knows not to have been trained on comes from the test texts that are left over.
    seen |= {compared(examples, i) for i in validation}
    left = [i for i in sorted(set(fresh) - set(nonmembers)) if compared(examples, i) not in seen]
    return _Cast(train, nonmembers, validation, _taken("known", left, wanted.known, 0, chance), copies, 0)


def _taken(role: str, positions: list[int], number: int, copies: int, chance: np.random.Generator) -> list[int]:
    if not positions:
        raise DataError(
            f"{role}: the data set publishes no texts for it ({copies} copies taken out); write split: group"
        )
    if number > len(positions):
        there = f"{len(positions)} are published for it ({copies} copies taken out)"
        raise DataError(f"{role}: {number} texts asked for, but {there}; write {len(positions)}, or split: group")
    return _drawn(positions, number, chance)
