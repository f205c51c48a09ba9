"""What repeated looks at a model in training allow to be said: numbers, their rows, and an alarm that looks do not wear out.

Every look attacks the same texts again, so a 95 % interval would leave chance sooner or later on a model that leaks
nothing. An alarm, and a stop, therefore need a p-value that holds over the whole run: at each look the attacks' p-values
are adjusted by S. Holm (Scandinavian Journal of Statistics 6 (1979) 65-70), and the looks by Bonferroni, since the
number of looks is known before the first and nothing need be known of how looks depend on one another. The chance of
any false alarm in the run is then at most `ALPHA`. The intervals that are logged stay the plain 95 % ones.

The p-value of an AUC is one-sided and of the test that its interval is made from: DeLong's variance by group on the logit
scale with Student's t, and Hoeffding's bound where there is no variance (see `inference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Row, Scores
from byheart.stats.roc_auc import auc_difference, auc_p_value, holm

ALPHA = 0.05
"""Chance of any false alarm in a whole run."""
CHANCE = 0.5
PREFIX = "eval_memorization/"
"""What the names of logged numbers begin with: loggers put what begins with eval_ into a section of its own."""
FEWEST = 20
"""Groups a side below which no verdict is given: 20 and 20 texts tell an AUC of 0.76 from chance, at a single look."""


class Look(NamedTuple):
    """One look at the model: after how many optimiser steps and epochs, each attack's scores, and all numbers as rows."""

    step: int
    epoch: float
    scores: Mapping[str, Scores]
    rows: tuple[Row, ...]

    def value(self, metric: str, attack: str = "") -> float | None:
        """Return a number of this look; None where it was not measured."""
        return next((r.value for r in self.rows if r.metric == metric and named(r) == attack), None)


def named(row: Row) -> str:
    """Return a row's attack with its changed settings, as the look's scores name it."""
    return f"{row.attack}({row.attack_settings})" if row.attack_settings else row.attack


class Sides(NamedTuple):
    """Who among the audited texts is a member, and which texts belong together."""

    membership: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether there are enough independent texts a side for a verdict."""
        sides = (self.membership, ~self.membership)
        return min(len({g for g, on in zip(self.groups, side, strict=True) if on}) for side in sides) >= FEWEST


def p_above(scores: Scores, sides: Sides, bound: float) -> float:
    """One-sided p-value of the AUC being at most `bound` (above 0, below 1)."""
    return auc_p_value(scores, *sides, bound)


def p_gain(now: Scores, before: Scores, sides: Sides) -> float:
    """One-sided p-value of the AUC not having risen since, on the same texts (DeLong's paired test)."""
    difference = auc_difference(now, before, *sides)
    return difference.p_value / 2 if difference.value > 0 else 1 - difference.p_value / 2


def beyond_chance(p_values: Mapping[str, float], looks: int) -> tuple[str, ...]:
    """Return the attacks whose p-value holds over all attacks of a look and all looks of a run."""
    adjusted = holm(np.array(list(p_values.values()))) * looks
    return tuple(name for name, p in zip(p_values, adjusted, strict=True) if p <= ALPHA)


def untuned(past: Sequence[Look]) -> Look | None:
    """Return the look at the untuned model; None where a training was resumed that no longer has it."""
    return past[0] if past and past[0].step == 0 else None


def apart(first: Look | None, sides: Sides) -> tuple[str, ...]:
    """Return the attacks that tell members from non-members on the untuned model, at a single look."""
    if first is None:
        return ()
    return beyond_chance({name: p_above(scores, sides, CHANCE) for name, scores in first.scores.items()}, 1)


def leaking(past: Sequence[Look], sides: Sides, looks: int, *, bound: float = CHANCE) -> tuple[str, ...]:
    """Return the attacks whose AUC at the last look is above `bound` beyond chance.

    Where an attack told the sides apart on the untuned model, its AUC must also have risen since.
    """
    now, first = past[-1].scores, untuned(past)
    found = {name: p_above(scores, sides, bound) for name, scores in now.items()}
    for name in apart(first, sides):
        found[name] = max(found[name], p_gain(now[name], past[0].scores[name], sides))
    return beyond_chance(found, looks)


def rising(past: Sequence[Look], sides: Sides, looks: int) -> tuple[str, ...]:
    """Return the attacks whose AUC has risen beyond chance since the look of the best validation perplexity.

    None while the last look is the best: the model still learns more than its training texts.
    """
    useful = [(v, i) for i, look in enumerate(past) if (v := look.value("perplexity")) is not None]
    if not useful:
        return ()
    now, then = past[-1].scores, past[min(useful)[1]].scores
    return beyond_chance({name: p_gain(now[name], then[name], sides) for name in now}, looks)


def stop(past: Sequence[Look], sides: Sides, looks: int, above: float | None, *, rises: bool) -> str:
    """Return why training should stop, in words; "" where it should go on."""
    if above is not None and (names := leaking(past, sides, looks, bound=above)):
        return f"{', '.join(names)} has an AUC above {above:g} beyond chance"
    if rises and (names := rising(past, sides, looks)):
        return f"the validation perplexity no longer improves, and the AUC of {', '.join(names)} has risen since it did"
    return ""


def logged(look: Look, seconds: float) -> dict[str, float]:
    """Return a look's numbers by the names that they are logged under, with the seconds of all looks so far."""
    found: dict[str, float] = {}
    for row in look.rows:
        metric = "tpr" if row.metric == "tpr_at_fpr" else row.metric
        tail = f"/{named(row)}" if row.attack else ""
        found[f"{PREFIX}{metric}{tail}"] = row.value
        if row.metric == "auc" and row.low is not None and row.high is not None:
            found |= {f"{PREFIX}auc_low{tail}": row.low, f"{PREFIX}auc_high{tail}": row.high}
    return {**found, f"{PREFIX}seconds": seconds}
