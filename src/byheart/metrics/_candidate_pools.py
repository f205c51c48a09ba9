"""Pools of candidate values: values that did not occur in training, and values that did.

A pool is a choice of the candidates of each attribute, besides its true value. Two questions need two pools:

    unseen    candidates that did not occur in training: did the true value occur in training?
    trained   candidates that occurred in training, in other texts: does the model know which text has the value?

For a non-member, whose true value did not occur in training, candidates of the pool `trained` would all be preferred by a model that
prefers every value that it was trained on. The members' share would exceed the non-members' share by chance alone, 1 / candidates,
for a model that knows nothing about any text. So the candidates of a non-member in this pool *have the same status as its true
value*: values that did not occur in training, or, if its true value occurred in another training text, values that did. Then such a
model ranks the true value uniformly for members and for non-members, and the difference is 0.

Chance depends on the number of candidates. A non-member's share in the pool `trained` is therefore its mean over the numbers
of candidates that the members of its kind have.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.evidence import Candidates

UNSEEN, TRAINED = "unseen", "trained"


class Pool(NamedTuple):
    """A pool: the chosen other candidates among all readings, the attributes that have any, and numbers of candidates.

    `texts_with_value` is what an adversary who guesses the most frequent value counts: texts with a reading's value, for the pool
    `trained` training texts, which include a member's own.
    `sizes` and `weights` have one row per attribute: numbers of candidates, and the weight of each. Weights sum to 1.
    """

    name: str
    chosen: Bool[np.ndarray, " readings"]
    has_candidates: Bool[np.ndarray, " attributes"]
    texts_with_value: Int[np.ndarray, " readings"]
    sizes: Int[np.ndarray, "attributes sizes"]
    weights: Float[np.ndarray, "attributes sizes"]


def candidate_pools(
    candidates: Candidates, membership: Bool[np.ndarray, " texts"], training_strings: Sequence[str]
) -> tuple[Pool, Pool]:
    """Return the pools `unseen` and `trained` of every attribute's candidates.

    A value occurred in training if a training text contains it as whole words, or if it is an attribute of a member. In the pool
    `unseen`, a non-member whose true value occurred in training has no candidates: it is no control for this question.
    """
    begins, is_member = candidates.starts[:-1], membership[candidates.text]
    is_true = np.zeros(len(candidates.values), dtype=bool)
    is_true[begins] = True
    training_counts = _training_counts(candidates, is_member, training_strings)
    is_trained = training_counts > 0
    own_is_trained = is_trained[begins]
    same_status = ~is_true & (is_trained == np.repeat(own_is_trained, np.diff(candidates.starts)))
    unseen = ~is_true & ~is_trained
    unseen_count, same_count = (np.add.reduceat(chosen.astype(np.int64), begins) for chosen in (unseen, same_status))
    limit = int(candidates.limit)
    unseen_size = np.minimum(unseen_count, limit)[:, None]
    sizes, weights = _matched_sizes(candidates, is_member, np.minimum(same_count, limit), same_count)
    in_control = is_member | ~own_is_trained
    ones = np.ones(unseen_size.shape)
    return (
        Pool(UNSEEN, unseen, (unseen_count > 0) & in_control, candidates.common, unseen_size, ones),
        Pool(TRAINED, same_status, same_count > 0, training_counts, sizes, weights),
    )


def top1_and_reciprocal_rank(
    reading_scores: Float[np.ndarray, " readings"], candidates: Candidates, pool: Pool
) -> tuple[Float[np.ndarray, " attributes"], Float[np.ndarray, " attributes"]]:
    """Return the probability that the true reading is the best of a pool, and its expected 1 / rank, with ties at random.

    The values of attributes without candidates mean nothing.
    """
    begins, counts = candidates.starts[:-1], np.diff(candidates.starts)
    true_scores = np.repeat(reading_scores[begins], counts)
    position = _cumulative_within(pool.chosen, candidates.starts)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(counts.max()) + 2))])
    top1, reciprocal = np.zeros(len(begins)), np.zeros(len(begins))
    for column in range(pool.sizes.shape[1]):
        size = pool.sizes[:, column]
        used = pool.chosen & (position <= np.repeat(size, counts))
        better = np.add.reduceat((used & (reading_scores > true_scores)).astype(np.int64), begins)
        tied = 1 + np.add.reduceat((used & (reading_scores == true_scores)).astype(np.int64), begins)
        weight = pool.weights[:, column]
        top1 += weight * (better == 0) / tied
        reciprocal += weight * (harmonic[better + tied] - harmonic[better]) / tied
    return np.minimum(top1, 1.0), np.minimum(reciprocal, 1.0)  # weights may sum to 1 plus a rounding error


def _matched_sizes(
    candidates: Candidates,
    is_member: Bool[np.ndarray, " attributes"],
    sizes: Int[np.ndarray, " attributes"],
    available: Int[np.ndarray, " attributes"],
) -> tuple[Int[np.ndarray, "attributes sizes"], Float[np.ndarray, "attributes sizes"]]:
    """Return each attribute's numbers of candidates with weights: its own for a member, those of its kind's members otherwise."""
    columns = np.unique(sizes[sizes > 0]) if sizes.any() else np.ones(1, dtype=np.int64)
    weights = (sizes[:, None] == columns).astype(np.float64)
    for kind in range(len(candidates.kinds)):
        members, others = ((candidates.kind == kind) & mask & (sizes > 0) for mask in (is_member, ~is_member))
        if members.any():
            weights[others] = weights[members].mean(0)
    return np.minimum(columns, available[:, None]), weights


def _cumulative_within(
    chosen: Bool[np.ndarray, " readings"], starts: Int[np.ndarray, " ends"]
) -> Int[np.ndarray, " readings"]:
    """Return for each reading how many chosen readings of its attribute there are up to and with it."""
    total = np.cumsum(chosen)
    before = np.concatenate([[0], total])[starts[:-1]]
    return total - np.repeat(before, np.diff(starts))


def _training_counts(
    candidates: Candidates, is_member: Bool[np.ndarray, " attributes"], training_strings: Sequence[str]
) -> Int[np.ndarray, " readings"]:
    """Return the number of training texts with each reading's value; at least 1 for an attribute of a member."""
    kinds = np.repeat(candidates.kind, np.diff(candidates.starts))
    of_members = {(candidates.kind[a], candidates.values[candidates.starts[a]]) for a in np.flatnonzero(is_member)}
    found = _texts_with_values(tuple(dict.fromkeys(candidates.values)), tuple(training_strings))
    return np.array(
        [max(found[v], int((k, v) in of_members)) for k, v in zip(kinds, candidates.values, strict=True)],
        dtype=np.int64,
    )


@functools.lru_cache(maxsize=4)
def _texts_with_values(values: tuple[str, ...], strings: tuple[str, ...]) -> Mapping[str, int]:
    """Return for each value how many of these strings contain it as whole words."""
    joined, ends = "\n".join(strings), np.cumsum([len(s) + 1 for s in strings])
    spans = {v: [m.span() for m in re.finditer(re.escape(v), joined)] for v in values}
    begins = {v: [own[0] for own in found if _is_whole_word(joined, own)] for v, found in spans.items()}
    return {v: len(np.unique(np.searchsorted(ends, found, side="right"))) for v, found in begins.items()}


def _is_whole_word(text: str, span: tuple[int, int]) -> bool:
    """Whether neither end of a span is inside a word."""
    return not any(0 < end < len(text) and text[end - 1].isalnum() and text[end].isalnum() for end in span)
