"""Bounds to pass: false passes of attacks that are exactly at the bound, power at chance, and the path from texts to the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from byheart.auditing.pass_bounds import PassBound, judge_pass_bounds, pass_power, required_texts
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Scores
from byheart.data.split_check import gate
from byheart.stats.leakage_tests import RecordLabels
from simulations.draws import Grouping, Population, alike, layout
from simulations.pieces import Piece
from simulations.verdicts import new_source, split_of

FPR = 0.1
SOUND = Gate(1, 1, (Finding("length, position", "sound", "", "", 0.5),))
NOMINAL = 0.025
COST_OF_PATH = 20  # in studies of a normal piece
PATH_TEXTS = 150


class Case(NamedTuple):
    """Attacks of one model: a population each, and the correlation of their scores on a text."""

    populations: tuple[Population, ...]
    correlation: float = 0.0
    reversed: bool = False

    @property
    def grouping(self) -> Grouping:
        """Which texts come in groups."""
        return self.populations[0].grouping

    def scores(self, texts: int, chance: np.random.Generator) -> dict[str, Scores]:
        """Draw the scores of every attack; a share of each score is common to all attacks."""
        membership, _ = layout(self.grouping, texts)
        common = alike(self.grouping, texts, chance)
        drawn: dict[str, Scores] = {}
        for i, population in enumerate(self.populations):
            own = alike(self.grouping, texts, chance)
            noise = math.sqrt(self.correlation) * common + math.sqrt(1 - self.correlation) * own
            known = membership & (chance.random(2 * texts) < population.known)
            score = noise + population.distance * known
            score = np.round(score / population.step) * population.step if population.step else score
            drawn[f"attack {i}"] = -score if self.reversed else score
        return drawn

    @property
    def bounds(self) -> dict[str, PassBound]:
        """Bounds that the strongest attack reaches exactly."""
        return {
            "AUC": PassBound("auc", max(p.true_auc for p in self.populations)),
            "TPR": PassBound("tpr_at_fpr", max(p.true_tpr(FPR) for p in self.populations)),
        }


WEAK = Population(auc=0.55)
CASES: Mapping[str, Case] = {
    "one attack": Case((WEAK,)),
    "one attack, reversed": Case((WEAK,), reversed=True),
    "one attack, ties": Case((Population(auc=0.55, step=0.5),)),
    "one attack, groups of five": Case((Population(auc=0.55, grouping="both"),)),
    "one attack, members in groups of five": Case((Population(auc=0.55, grouping="members"),)),
    "one attack, finds 1 member in 10": Case((Population(auc=0.9, known=0.1),)),
    "5 attacks at the bound, correlation 0.9": Case((WEAK,) * 5, 0.9),
    "5 attacks at the bound, independent": Case((WEAK,) * 5),
    "5 attacks, one at the bound, correlation 0.5": Case((WEAK, *(Population(),) * 4), 0.5),
}
SIZES = (100, 300, 1000)

POWERS: Mapping[str, tuple[PassBound, int, float]] = {
    "AUC below 0.6, 1 attack": (PassBound("auc", 0.6), 1, 0.0),
    "AUC below 0.55, 5 attacks, correlation 0.5": (PassBound("auc", 0.55), 5, 0.5),
    "AUC below 0.55, 5 attacks, independent": (PassBound("auc", 0.55), 5, 0.0),
    "TPR at 10 % FPR below 0.2, 1 attack": (PassBound("tpr_at_fpr", 0.2), 1, 0.0),
    "TPR at 10 % FPR below 0.15, 5 attacks, correlation 0.5": (PassBound("tpr_at_fpr", 0.15), 5, 0.5),
    "epsilon at 10 % FPR below 0.5, 1 attack": (PassBound("epsilon", 0.5), 1, 0.0),
}
EXACT = ", 1 attack"
"""The told power of one attack is that of the test; of several attacks it is a lower bound."""


def at_bound(case: Case, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """One study in which the strongest attack is exactly at the bound: does the bound pass?"""
    labels = RecordLabels(*layout(case.grouping, texts))
    scores = case.scores(texts, chance)
    results = judge_pass_bounds(tuple(case.bounds.values()), scores, labels, SOUND, fpr=FPR)
    return {name: result.is_shown for name, result in zip(case.bounds, results, strict=True)}


@cache
def told(name: str) -> tuple[int, float]:
    """Return the texts per class that the plan tells, and their told power."""
    bound, attacks, _ = POWERS[name]
    texts = required_texts(bound, fpr=FPR, attacks=attacks)
    assert texts is not None  # noqa: S101 - these bounds are possible
    return texts, pass_power(bound, texts, texts, fpr=FPR, attacks=attacks)


def at_chance(name: str, chance: np.random.Generator) -> dict[str, bool]:
    """One study of attacks at chance, with as many texts as the plan tells: does the bound pass?"""
    bound, attacks, correlation = POWERS[name]
    texts, _ = told(name)
    scores = Case((Population(),) * attacks, correlation).scores(texts, chance)
    (result,) = judge_pass_bounds((bound,), scores, RecordLabels(*layout("alone", texts)), SOUND, fpr=FPR)
    return {"passes": result.is_shown}


def from_texts(kind: str, shift: float, auc: float, chance: np.random.Generator) -> dict[str, bool]:
    """One audit from texts to the result: the split check reads texts, the attack has this AUC, and the bound is 0.6.

    With a shift, members and non-members differ in their words. Is the bound shown, and would it be without the split check?
    """
    source = new_source(chance)
    members, others = (source.texts(PATH_TEXTS, 1, kind, sign * shift, chance) for sign in (1, -1))  # pyright: ignore[reportArgumentType]
    split = split_of(members, others, 1)
    labels = RecordLabels(split.membership, split.groups)
    scores = Case((Population(auc=auc),)).scores(PATH_TEXTS, chance)
    bounds = (PassBound("auc", 0.6),)
    found = {}
    for name, checked in (("passes", gate(split)), ("passes without split check", SOUND)):
        (result,) = judge_pass_bounds(bounds, scores, labels, checked, fpr=FPR)
        found[name] = result.is_shown
    return found


PATHS = {
    "no difference, AUC 0.6": ("none", 0.0, 0.6),
    "no difference, AUC 0.5": ("none", 0.0, 0.5),
    "words differ, a leak of AUC 0.6 hidden by harder members": ("words", 0.15, 0.5),
}


def pieces() -> Iterator[Piece]:
    """Yield every piece of the tables of bounds to pass."""
    for name, case in CASES.items():
        for texts in SIZES:
            yield Piece("pass", name, texts, partial(at_bound, case, texts))
    for name in POWERS:
        yield Piece("pass power", name, told(name)[0], partial(at_chance, name))
    for name, path in PATHS.items():
        yield Piece("pass path", name, PATH_TEXTS, partial(from_texts, *path), cost=COST_OF_PATH)
