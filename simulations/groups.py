"""From a split to the AUC of groups: coverage without leakage, power under a planted shift, and refusals for group sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Literal

import numpy as np

from byheart.core.errors import DataError
from byheart.core.split import Examples, Split
from byheart.core.types import Scores, Texts
from byheart.data.splitting import split
from byheart.metrics.auc import auc
from byheart.metrics.group_auc import group_auc
from simulations.pieces import Piece

POOL = 2000  # texts of a data set, at least
TEXTS = 200  # audited texts of a class
ALIKE = 0.5  # correlation of the logarithms of two scores of a group
SHIFT = 0.3  # added to a member's score, in mean scores
AGGREGATES: tuple[Literal["mean", "max", "sum"], ...] = ("mean", "max", "sum")
METRICS = ("AUC", *(f"group AUC, {aggregate}" for aggregate in AGGREGATES))

SIZES: Mapping[str, Callable[[np.random.Generator], np.ndarray]] = {
    "groups of five": lambda _: np.full(POOL // 5, 5),
    "groups of geometric size, mean 3.3": lambda chance: chance.geometric(0.3, POOL * 2 // 5),
    "one text a group": lambda _: np.ones(POOL, dtype=np.int64),
}


@cache
def texts_of(count: int) -> Texts:
    """Return this number of different texts."""
    ids = tuple(map(str, range(count)))
    return Texts(ids, tuple(f"text {i}" for i in ids))


def drawn_split(sizes: str, chance: np.random.Generator) -> Split:
    """Draw a data set with groups of these sizes, and split it as a study does."""
    counts = SIZES[sizes](chance)
    groups = tuple(f"g{i}" for i, size in enumerate(counts) for _ in range(size))
    examples = Examples(texts_of(len(groups)), ("pool",) * len(groups), groups)
    seed = int(chance.integers(2**31))
    return split(examples, train=1200, members=TEXTS, nonmembers=TEXTS, validation=100, seed=seed, near_duplicate=1.0)


def skewed_scores(groups: tuple[str, ...], alike: float, chance: np.random.Generator) -> Scores:
    """Draw an exponential score for each text; with `alike`, a log-normal one that is correlated within a group."""
    if not alike:
        return chance.exponential(size=len(groups))
    group = np.unique(np.array(groups), return_inverse=True)[1]
    shared, own = chance.normal(size=group.max() + 1)[group], chance.normal(size=len(groups))
    return np.exp(math.sqrt(alike) * shared + math.sqrt(1 - alike) * own - 0.5)


def by_split(sizes: str, alike: float, shift: float, chance: np.random.Generator) -> dict[str, bool]:
    """One study: do the intervals contain 0.5, and are they above it?"""
    study = drawn_split(sizes, chance)
    scores = skewed_scores(study.groups, alike, chance) + shift * study.membership
    labels = (study.membership, study.groups)
    found = dict.fromkeys((*METRICS, *(f"{m} above 0.5" for m in METRICS)), False)
    try:
        estimates = [auc(scores, *labels), *(group_auc(scores, *labels, aggregate=a) for a in AGGREGATES)]
    except DataError:
        return {**found, "refused": True}
    for name, estimate in zip(METRICS, estimates, strict=True):
        low, high = estimate.low or 0.0, 1.0 if estimate.high is None else estimate.high
        found |= {name: low <= 0.5 <= high, f"{name} above 0.5": low > 0.5}
    return {**found, "refused": False}


def by_text(sizes: str, chance: np.random.Generator) -> dict[str, bool]:
    """One study with members sampled by text and non-members by group: is it refused?"""
    study = drawn_split(sizes, chance)
    members = chance.choice(len(study.train), TEXTS, replace=False)
    groups = (*(study.train_groups[i] for i in members), *study.nonmember_groups)
    try:
        group_auc(skewed_scores(groups, 0, chance), study.membership, groups)
    except DataError:
        return {"refused": True}
    return {"refused": False}


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of group AUC."""
    for sizes in SIZES:
        yield Piece("groups", f"{sizes}, independent scores", TEXTS, partial(by_split, sizes, 0.0, 0.0), cost=5)
        shifted = partial(by_split, sizes, 0.0, SHIFT)
        yield Piece("groups shifted", f"{sizes}, members + {SHIFT:g}", TEXTS, shifted, cost=10)
    for sizes in list(SIZES)[:2]:
        alike = partial(by_split, sizes, ALIKE, 0.0)
        yield Piece("groups", f"{sizes}, scores alike in a group", TEXTS, alike, cost=5)
        yield Piece("groups by text", f"{sizes}, members drawn text by text", TEXTS, partial(by_text, sizes), cost=10)
