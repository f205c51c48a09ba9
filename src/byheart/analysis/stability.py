"""Per-record stability: whether models with other training seeds or splits find the same members.

Jamie Hayes et al. Exploring the limits of strong membership inference attacks on large language models. 2025. arXiv 2505.18773:
an attack with a good AUC can decide about single records as if by a coin, because decisions change between models that differ in
the training seed only. Their flip rate is the probability that two such models decide differently about a record.

A model finds a record whose score is above the model's own threshold: the lowest at which at most the given share of its audited
non-members is above. Two models are compared on the records that are members of both, so splits may differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.types import ScoreSet
from byheart.stats.jackknife import Jackknife, jackknife
from byheart.stats.rank_correlation import rank_correlation
from byheart.stats.simultaneous import groups_or_ids


class Decision(NamedTuple):
    """Scores of one model with what it finds: the records above its threshold."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    members: Bool[np.ndarray, " texts"]
    scores: Float[np.ndarray, " texts"]
    found: Bool[np.ndarray, " texts"]


class Stability(NamedTuple):
    """Agreement of models about the records of one class, members or non-members.

    `records` is the number of records that at least two models have in this class. `found` is the share that a model finds,
    `found_again` the share of a model's found records that another model finds too, `by_chance` the expectation of
    `found_again` if models found records independently. `flips` is the probability that two models decide differently.
    `by_count` has, for k = 0, 1, ..., the number of records with exactly k models that find them; `always` are the records that
    all their models find.
    """

    records: int
    found: float
    found_again: Jackknife | None
    by_chance: float | None
    flips: Jackknife | None
    by_count: tuple[int, ...]
    always: tuple[str, ...]


class _Pairs(NamedTuple):
    """Numbers of each record over all pairs of models: pairs, decisions to find, agreements to find, chance agreements."""

    pairs: Float[np.ndarray, " records"]
    decisions: Float[np.ndarray, " records"]
    both: Float[np.ndarray, " records"]
    chance: Float[np.ndarray, " records"]


def decide(score_set: ScoreSet, fpr: float) -> Decision:
    """Return what a model finds with at most this false positive rate among its audited non-members."""
    nonmember_scores = np.sort(score_set.scores[~score_set.members])[::-1]
    allowed = int(fpr * len(nonmember_scores) + 1e-9)
    found = score_set.scores > nonmember_scores[allowed]
    return Decision(score_set.ids, tuple(groups_or_ids(score_set)), score_set.members, score_set.scores, found)


def stability(decisions: Sequence[Decision], *, members: bool) -> Stability:
    """Return the agreement of at least two models about the records of a class that they share."""
    decided: dict[str, dict[int, bool]] = {}
    group_of: dict[str, str] = {}
    for model, decision in enumerate(decisions):
        for i in np.flatnonzero(decision.members == members):
            decided.setdefault(decision.ids[i], {})[model] = bool(decision.found[i])
            group_of[decision.ids[i]] = decision.groups[i]
    shared = {name: by_model for name, by_model in decided.items() if len(by_model) > 1}
    counts = [sum(by_model.values()) for by_model in shared.values()]
    if not shared:
        return Stability(0, 0.0, None, None, None, (), ())
    numbers = _Pairs(*np.array(list(_pair_numbers(shared, len(decisions)))).T)
    groups = tuple(group_of[name] for name in shared)
    found_any = bool(numbers.decisions.sum())

    def again(chosen: Int[np.ndarray, " chosen"]) -> float:
        return float(2 * numbers.both[chosen].sum() / max(numbers.decisions[chosen].sum(), 1))

    def flipped(chosen: Int[np.ndarray, " chosen"]) -> float:
        different = numbers.decisions[chosen].sum() - 2 * numbers.both[chosen].sum()
        return float(different / max(numbers.pairs[chosen].sum(), 1))

    return Stability(
        len(shared),
        sum(counts) / sum(map(len, shared.values())),
        jackknife(again, groups, low=0.0, high=1.0) if found_any else None,
        float(2 * numbers.chance.sum() / numbers.decisions.sum()) if found_any else None,
        jackknife(flipped, groups, low=0.0, high=1.0),
        tuple(np.bincount(counts, minlength=len(decisions) + 1).tolist()),
        tuple(sorted(name for name, by_model in shared.items() if all(by_model.values()))),
    )


def _pair_numbers(shared: dict[str, dict[int, bool]], models: int) -> Iterator[tuple[float, float, float, float]]:
    """Yield the numbers of `_Pairs` of each record."""
    rates = np.zeros((models, models))
    for first, second in itertools.permutations(range(models), 2):
        found = [r[first] for r in shared.values() if first in r and second in r]
        rates[first, second] = np.mean(found) if found else 0.0
    for by_model in shared.values():
        pairs = list(itertools.combinations(by_model, 2))
        decisions = sum(by_model[a] + by_model[b] for a, b in pairs)
        both = sum(by_model[a] and by_model[b] for a, b in pairs)
        yield len(pairs), decisions, both, sum(rates[a, b] * rates[b, a] for a, b in pairs)


def mean_rank_correlation(decisions: Sequence[Decision], *, members: bool) -> float | None:
    """Return Spearman's correlation of two models' scores of a class's shared records, mean over pairs of models.

    None if no pair of models shares two records with different scores.
    """
    correlations: list[float] = []
    for first, second in itertools.combinations(decisions, 2):
        score_of = [{d.ids[i]: d.scores[i] for i in np.flatnonzero(d.members == members)} for d in (first, second)]
        common = [name for name in score_of[0] if name in score_of[1]]
        correlation = rank_correlation(*(np.array([scores[name] for name in common]) for scores in score_of))
        if correlation is not None:
            correlations.append(correlation)
    return float(np.mean(correlations)) if correlations else None
