"""False positive rate of each verdict and test without a leak, and power under a leak of known size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
from jaxtyping import Float

from byheart.core.split import Split
from byheart.core.types import Estimate, Texts
from byheart.data.split_check import gate
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats import power
from byheart.stats.intervals import TAIL, holm
from byheart.stats.roc_auc import auc_difference, auc_interval
from byheart.stats.seed_pooling import joint_auc_intervals, pool_seed_estimates
from simulations.draws import Grouping, Population, alike, layout
from simulations.intervals import SIZES
from simulations.pieces import Piece

NOMINAL = {
    "AUC above 0.5": 0.025,
    "TPR at 1 % FPR above 1 %": 0.025,
    "TPR at 10 % FPR above 10 %": 0.025,
    "two attacks differ": 0.05,
    "any of 30 differs (Holm)": 0.05,
    "best of 5 above 0.5, not corrected": 0.025,
    "best of 5 above 0.5, Bonferroni": 0.025,
    "best of 5 above 0.5, jointly": 0.025,
    "every one of 3 seeds above 0.5": 0.025,
    "3 seeds combined above 0.5": 0.025,
    "gate not sound": 0.05,
    "gate broken": 0.05,
}
"""The largest rate of false alarms that each is meant to have."""

FLAWED = "not corrected"
"""What stands in the tables to show why it is not done."""

PREDICTED = {"AUC above 0.5": 0.8, "TPR at 1 % FPR, exact test": 0.8, "TPR at 1 % FPR above 1 %": 0.8}


def related(
    count: int, shared: float, grouping: Grouping, texts: int, chance: np.random.Generator
) -> Float[np.ndarray, "attacks texts"]:
    """Draw correlated scores of this number of attacks on the same texts."""
    common = alike(grouping, texts, chance)
    return math.sqrt(shared) * common + math.sqrt(1 - shared) * chance.normal(size=(count, 2 * texts))


def by_best(shared: float, grouping: Grouping, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """Five attacks at chance, of which the best is reported; three seeds of one attack."""
    membership, groups = layout(grouping, texts)
    scores = related(5, shared, grouping, texts, chance)
    found = [auc_interval(one, membership, groups) for one in scores]
    apart = [auc_interval(one, membership, groups, tail=TAIL / 5)[1][0] for one in scores]
    seeds = [Estimate(value, *ends) for value, ends in found[:3]]
    return {
        "best of 5 above 0.5, not corrected": max(low for _, (low, _) in found) > 0.5,
        "best of 5 above 0.5, Bonferroni": max(apart) > 0.5,
        "best of 5 above 0.5, jointly": max(low for _, (low, _) in joint_auc_intervals(scores, membership, groups))
        > 0.5,
        "every one of 3 seeds above 0.5": min(e.low or 0 for e in seeds) > 0.5,
        "3 seeds combined above 0.5": (pool_seed_estimates(seeds).low or 0) > 0.5,
    }


def by_study(grouping: Grouping, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """Five attacks on six methods, each against the same attack on the base model; all have an AUC of 0.6."""
    membership, groups = layout(grouping, texts)
    distance = Population(0.6).distance * membership
    p_values = [
        auc_difference(one, attack[0], membership, groups).p_value
        for attack in (related(7, 0.8, grouping, texts, chance) + distance for _ in range(5))
        for one in attack[1:]
    ]
    return {
        "two attacks differ": p_values[0] <= 0.05,
        "any of 30 differs (Holm)": holm(np.array(p_values)).min() <= 0.05,
    }


@cache
def planned(texts: int) -> tuple[float, float, int]:
    """The smallest AUC, TPR at 1 % FPR, and number of members above the threshold that are detectable with this number of texts."""
    fewest = power._critical_member_count(texts, texts, texts // 100)
    return power.detectable_auc(float(texts), float(texts)), power.detectable_tpr(texts, texts, 0.01), fewest


def by_power(texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """The leaks that this number of texts detects with a power of 80 %."""
    membership, groups = layout("alone", texts)
    noise = chance.normal(size=2 * texts)
    least, share, fewest = planned(texts)
    one = noise + Population(least).distance * membership
    other = noise + (Population().threshold(0.01) - Population().threshold(share)) * membership
    exceeding = int((other[membership] > np.sort(other[~membership])[-(texts // 100) - 1]).sum())
    return {
        "AUC above 0.5": auc_interval(one, membership, groups)[1][0] > 0.5,
        "TPR at 1 % FPR, exact test": exceeding >= fewest,
        "TPR at 1 % FPR above 1 %": (tpr_at_fpr(other, membership, groups, fpr=0.01).low or 0) > 0.01,
    }


WORDS = np.array([f"{a}{b}{c}" for a in "bdgklmnprst" for b in "aeiou" for c in ("n", "rt", "la", "sk", "st", "ve")])


def by_gate(size: int, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """A fair split of made-up texts; each group has its own topic and length."""
    sides: list[Texts] = []
    for side in "mn":
        scored: list[str] = []
        while len(scored) < texts:
            topic, length = chance.dirichlet(np.full(len(WORDS), 0.1)), int(chance.integers(8, 40))
            scored += [" ".join(chance.choice(WORDS, length, p=topic)) for _ in range(size)]
        sides.append(Texts(tuple(f"{side}{i}" for i in range(texts)), tuple(scored[:texts])))
    groups = [tuple(f"{side}{i // size}" for i in range(texts)) for side in "mn"]
    judged = gate(Split(sides[0], tuple(range(texts)), sides[1], Texts((), ()), *groups, counts={}))
    return {"gate not sound": judged.verdict != "sound", "gate broken": judged.verdict == "broken"}


def pieces() -> Iterator[Piece]:
    """Yield every piece of the tables of false alarms and of power."""
    for texts in SIZES:
        yield Piece("power", "normal scores", texts, partial(by_power, texts))
    for texts in SIZES[:2]:
        for shared in (0.9, 0.5, 0.0):
            yield Piece("best", f"correlation {shared:g}", texts, partial(by_best, shared, "alone", texts), cost=4)
        yield Piece("best", "correlation 0.9, groups of five", texts, partial(by_best, 0.9, "both", texts), cost=4)
        yield Piece("study", "one text a group", texts, partial(by_study, "alone", texts), cost=4)
        yield Piece("study", "groups of five", texts, partial(by_study, "both", texts), cost=4)
    for size, told in ((1, "one text a group"), (3, "groups of three")):
        yield Piece("gate", told, 66, partial(by_gate, size, 66), cost=50)
