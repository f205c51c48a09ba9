"""Texts of each role of a split, and which of the training texts are audited or known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from byheart.core.errors import DataError
from byheart.data.group_sampling import draw_groups, random_subset


class RoleSizes(NamedTuple):
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
        """Number of texts of all roles."""
        return (self.train or self.min_train) + self.nonmembers + self.validation + self.known


class TrainingTexts(NamedTuple):
    """Positions of the training texts in the examples; indices of the audited and the known texts among them."""

    positions: list[int]
    members: tuple[int, ...]
    known: tuple[int, ...]


class RolePositions(NamedTuple):
    """Positions in the examples by role, and the numbers of removed duplicates."""

    training: TrainingTexts
    nonmembers: list[int]
    validation: list[int]
    known: list[int]
    exact_copies: int
    near_copies: int


def too_few_training_texts(sizes: RoleSizes, available: int) -> DataError:
    """Return the error of more audited and known members than training texts."""
    requested = f"members: {sizes.members}" + (f" + known: {sizes.known}" if sizes.known else "")
    return DataError(f"{requested} exceeds the {available} training texts. Write {available} or fewer in total.")


def draw_training_texts(
    groups: list[list[int]], sizes: RoleSizes, rng: np.random.Generator, *, is_grouped: bool
) -> TrainingTexts | None:
    """Draw the training texts from the end of `groups`, and audited and known texts among them; None for too few texts.

    `is_grouped` states that a group of the data set has several texts. Otherwise, members are a random sample of the
    training texts.
    """
    if is_grouped:
        return _draw_by_group(groups, sizes, rng)
    train, _ = draw_groups(groups, sizes.train, rng)
    return None if len(train) < (sizes.train or sizes.min_train) else sample_members(train, sizes, rng)


def sample_members(train: list[int], sizes: RoleSizes, rng: np.random.Generator) -> TrainingTexts:
    """Return the training texts with a random sample of them as audited texts, and one of the others as known texts."""
    members = random_subset(range(len(train)), sizes.members, rng)
    others = sorted(set(range(len(train))) - set(members))
    return TrainingTexts(train, tuple(members), tuple(random_subset(others, sizes.known, rng) if sizes.known else ()))


def _draw_by_group(groups: list[list[int]], sizes: RoleSizes, rng: np.random.Generator) -> TrainingTexts | None:
    """Return the training texts with whole groups of them as members, or None if the groups do not fill every role.

    Members are the first groups of the training texts, which are drawn as the non-members are.
    """
    available = list(groups)
    train, last_left_over = draw_groups(groups, sizes.train, rng)
    if len(train) < (sizes.train or sizes.min_train):
        return None
    drawn = set(train)
    training_groups = [[i for i in group if i in drawn] for group in available[len(groups) :]]
    members, members_left_over = draw_groups(training_groups, sizes.members, rng)
    if not training_groups:
        last_left_over = []  # of an audited group
    known, _ = draw_groups(training_groups, sizes.known, rng)
    if missing := sizes.known - len(known):
        # What is left over of the members' last group is trained on but not known. Texts of other groups replace it.
        others, _ = draw_groups([*groups, last_left_over], missing, rng)
        if len(others) < missing:
            return None
        train = [*(i for i in train if i not in members_left_over[:missing]), *others]
        known += others
    index = {position: i for i, position in enumerate(train)}
    return TrainingTexts(train, *(tuple(sorted(index[i] for i in part)) for part in (members, known)))
