"""Populations with known true values, and data sets sampled from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr, ndtri

from byheart.core.types import LogProbs, Scores

SIZE = 5  # texts in a group
ALIKE = 0.5  # correlation of the scores of two texts of a group
Grouping = Literal["alone", "both", "members", "across"]


class Drawn(NamedTuple):
    """One data set: the inputs of an attack's metrics."""

    scores: Scores
    membership: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Population:
    """Normal scores with standard deviation 1; those of members are shifted so that the AUC is `auc` before rounding.

    `known`: the share of shifted members; `auc` is then the AUC of these members alone. `step`:
    scores are rounded to multiples of it, 0 for no rounding. `grouping`: the texts in groups of five with correlated scores:
    none, those of both classes separately, members only, or groups with texts of both classes.
    """

    auc: float = 0.5
    known: float = 1.0
    step: float = 0.0
    grouping: Grouping = "alone"

    @property
    def distance(self) -> float:
        """The shift of a member's score."""
        return math.sqrt(2) * float(ndtri(self.auc))

    def above(self, threshold: Float[np.ndarray, " *shape"], *, member: bool) -> Float[np.ndarray, " *shape"]:
        """Share of members, or of non-members, with a score above the threshold."""
        chance = ndtr(-threshold)
        return self.known * ndtr(self.distance - threshold) + (1 - self.known) * chance if member else chance

    @property
    def true_auc(self) -> float:
        """AUC of the population, ties counting half."""
        if not self.step:
            return self.known * self.auc + (1 - self.known) / 2
        edges = self.step * (np.arange(-40, 41) - 0.5)
        members, others = (-np.diff(self.above(edges, member=side)) for side in (True, False))
        return float(members @ (np.cumsum(others) - others / 2))

    def threshold(self, fpr: float) -> float:
        """Lowest threshold that at most the share `fpr` of non-members exceeds."""
        threshold = -float(ndtri(fpr))
        return self.step * (math.ceil(threshold / self.step - 0.5) + 0.5) if self.step else threshold

    def true_tpr(self, fpr: float) -> float:
        """Highest TPR of a threshold whose FPR is at most `fpr`."""
        return float(self.above(np.array(self.threshold(fpr)), member=True))


@cache
def layout(grouping: Grouping, texts: int) -> tuple[Bool[np.ndarray, " texts"], tuple[str, ...]]:
    """Membership and groups of this number of texts per class."""
    place = np.arange(2 * texts)
    membership = place < texts
    grouped = {"alone": place < 0, "both": place >= 0, "members": membership, "across": place >= 0}[grouping]
    if grouping == "across":  # two or three members in each group of five
        return place % SIZE % 2 == np.where(place // SIZE % 2, 0, 1), tuple(f"g{i // SIZE}" for i in place)
    return membership, tuple(f"g{i // SIZE}" if one else f"t{i}" for i, one in zip(place, grouped, strict=True))


def drawn(population: Population, texts: int, chance: np.random.Generator) -> Drawn:
    """Draw this number of members and of non-members."""
    membership, groups = layout(population.grouping, texts)
    scores = alike(population.grouping, texts, chance)
    known = membership if population.known == 1 else membership & (chance.random(2 * texts) < population.known)
    scores = scores + population.distance * known
    return Drawn(
        np.round(scores / population.step) * population.step if population.step else scores, membership, groups
    )


def alike(grouping: Grouping, texts: int, chance: np.random.Generator) -> Float[np.ndarray, " texts"]:
    """Draw a standard normal number for each text of both classes, correlated within groups."""
    own = chance.normal(size=2 * texts)
    if grouping == "alone":
        return own
    shared = np.repeat(chance.normal(size=-(-2 * texts // SIZE)), SIZE)[: 2 * texts]
    mixed = math.sqrt(ALIKE) * shared + math.sqrt(1 - ALIKE) * own
    return np.where(np.arange(2 * texts) < texts, mixed, own) if grouping == "members" else mixed


@dataclass(frozen=True)
class Readings:
    """Texts' mean NLL and lengths. `tail`: standard deviation of ln NLL; 0 for a gamma of shape 16 with longer difficult texts."""

    tail: float = 0.0
    grouped: bool = False
    truth: float = 3.0

    def evidence(self, texts: int, chance: np.random.Generator) -> LogProbs:
        """Draw the log-probabilities of this number of texts; every token has the mean of its text."""
        units = -(-texts // SIZE) if self.grouped else texts
        if self.tail:
            level = self.truth * np.exp(self.tail * chance.normal(size=units) - self.tail**2 / 2)
            lengths = np.ceil(20 * np.exp(self.tail * chance.normal(size=units))).astype(np.int64)
        else:
            lengths = chance.integers(5, 60, units)
            counts = np.arange(5, 60)
            extra = (lengths - (counts**2).sum() / counts.sum()) / 60  # 0 on the average over tokens
            level = chance.gamma(16.0, self.truth / 16, units) + extra
        if self.grouped:
            level, lengths = (np.repeat(x, SIZE)[:texts] for x in (level, lengths))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return LogProbs(logp=-np.repeat(np.maximum(level, 1e-3), lengths), starts=starts)
