"""From fair splits to the printed AUC of each blind classifier: coverage of its interval, and how often it is above one half.

Members and non-members are texts of one kind. The texts of a group share a topic and a length. A data set is split as a study
does it; in the last population, two files are audited of which only the non-members are in groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from byheart.core.split import Examples, Split
from byheart.core.split_check import BLIND_PREFIX
from byheart.core.types import Texts
from byheart.data.blind_features import CLASSIFIER_FEATURES
from byheart.data.split_check import gate
from byheart.data.splitting import split
from simulations.pieces import Piece

WORDS = np.array([f"{a}{b}{c}" for a in "bdgklmnprst" for b in "aeiou" for c in ("n", "rt", "la", "sk", "st", "ve")])
CONCENTRATION = 0.1  # of the Dirichlet distribution of a topic: a topic has about a tenth of the words
LENGTH_SPREAD = 3  # words between the texts of a group
SIZES: Mapping[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "one text a group": lambda _, texts: np.ones(texts, dtype=np.int64),
    "groups of five": lambda _, texts: np.full(-(-texts // 5), 5),
    "groups of geometric size, mean 2.5": lambda chance, texts: chance.geometric(0.4, texts),
}
GROUPED_NONMEMBERS = "members alone, non-members in groups of eight"
CLASSIFIERS = tuple(CLASSIFIER_FEATURES)
NOMINAL_ABOVE = 0.025
TEXTS = 80  # of a class: ten groups of eight
COST = 50  # in studies of a normal piece


def drawn_texts(sizes: np.ndarray, count: int, chance: np.random.Generator) -> tuple[list[str], list[int]]:
    """Draw so many texts in groups of these sizes, and return the group of each."""
    texts: list[str] = []
    groups: list[int] = []
    for group, size in enumerate(sizes):
        topic, length = chance.dirichlet(np.full(len(WORDS), CONCENTRATION)), int(chance.integers(8, 40))
        lengths = length + chance.integers(0, LENGTH_SPREAD, size)
        texts += [" ".join(chance.choice(WORDS, n, p=topic)) for n in lengths]
        groups += [group] * int(size)
        if len(texts) >= count:
            break
    return texts[:count], groups[:count]


def study_split(sizes: str, texts: int, chance: np.random.Generator) -> Split:
    """Draw a data set, and split it as a study does."""
    pool = 3 * texts
    drawn, group = drawn_texts(SIZES[sizes](chance, pool), pool, chance)
    examples = Examples(
        Texts(tuple(map(str, range(pool))), tuple(drawn)), ("pool",) * pool, tuple(f"g{g}" for g in group)
    )
    seed = int(chance.integers(2**31))
    return split(examples, train=texts, members=texts, nonmembers=texts, validation=texts // 10, seed=seed)


def files_split(texts: int, chance: np.random.Generator) -> Split:
    """Draw two files of which only that of the non-members has groups."""
    sides: list[Texts] = []
    groups: list[tuple[str, ...]] = []
    for side, size in (("m", 1), ("n", 8)):
        drawn, group = drawn_texts(np.full(texts, size), texts, chance)
        sides.append(Texts(tuple(f"{side}{i}" for i in range(texts)), tuple(drawn)))
        groups.append(tuple(f"{side}{g}" for g in group))
    return Split(sides[0], tuple(range(texts)), sides[1], Texts((), ()), *groups, counts={})


def by_blind_classifier(make: Callable[[np.random.Generator], Split], chance: np.random.Generator) -> dict[str, bool]:
    """One split check: does each classifier's interval contain one half, and is its AUC above?"""
    checked = gate(make(chance))
    held: dict[str, bool] = {"not sound": checked.verdict != "sound"}
    for finding in checked.blind_classifiers:
        name = finding.name.removeprefix(BLIND_PREFIX)
        low, high = finding.low or 0.0, 1.0 if finding.high is None else finding.high
        held |= {
            name: low <= 0.5 <= high,
            f"{name}, interval above": low > 0.5,
            f"{name}, AUC above": finding.value > 0.5,
        }
    return held


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of blind classifiers."""
    for sizes in SIZES:
        made = partial(by_blind_classifier, partial(study_split, sizes, TEXTS))
        yield Piece("blind", sizes, TEXTS, made, cost=COST)
    yield Piece(
        "blind", GROUPED_NONMEMBERS, TEXTS, partial(by_blind_classifier, partial(files_split, TEXTS)), cost=COST
    )
