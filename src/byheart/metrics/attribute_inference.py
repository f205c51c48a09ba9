"""Does the model know whose private value is whose? The true one is to be picked among others of its kind.

Nils Lukas, Ahmed Salem, Robert Sim, Shruti Tople, Lukas Wutschitz, Santiago Zanella-Béguelin. Analyzing Leakage of
Personally Identifiable Information in Language Models. IEEE Symposium on Security and Privacy, 2023. arXiv 2302.00539.

    guess = argmin over candidates c of NLL(the whole text with c in place of the attribute),   a sum over its tokens

    top1  share of attributes whose true value is the guess
    mrr   mean of 1 / rank of the true value

Candidates of one likelihood are ranked by chance, and both numbers are what that gives on average: a model to which all
are alike gets what guessing gets.

Being right means little by itself: an e-mail address that holds a name is picked by any model that can read. So each
kind has its controls: the same for non-members, whose values no model was tuned on; the untuned model's on the very same
readings; and the guess of whichever candidate most texts have (`majority`; where no value is shared, it is guessing).
`advantage` is how far the members' top1 exceeds each of these.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.evidence import Candidates, Variants
from byheart.core.types import Estimate
from byheart.metrics._attributes import (
    advantages,
    attributes_by_kind,
    estimate_with_counts,
    share_estimates,
    subset_share,
)
from byheart.stats.proportions import Share


def attribute_inference(
    candidates: Candidates,
    candidate_likelihoods: Variants,
    candidate_likelihoods_base: Variants,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
) -> dict[str, Estimate]:
    """By kind: share of private values told from others of their kind, of members and controls; higher is more leaked.

    `advantage` is that share less each control, above 0: leaked. Counts attributes, not texts.
    """
    tokens = np.diff(candidates.offsets) - candidates.first
    hits, reciprocal = _top1_and_reciprocal_rank(candidate_likelihoods.loglik * tokens, candidates)
    untuned, _ = _top1_and_reciprocal_rank(candidate_likelihoods_base.loglik * tokens, candidates)
    common, _ = _top1_and_reciprocal_rank(candidates.common.astype(np.float64), candidates)
    tuned = not np.array_equal(candidate_likelihoods.loglik, candidate_likelihoods_base.loglik)
    told: dict[str, Estimate] = {}
    for part in attributes_by_kind(candidates, membership, groups):
        at = part.indices
        told |= share_estimates(hits[at], part, "top1") | share_estimates(reciprocal[at], part, "mrr")
        for of, side in part.subset_masks.items():
            # The guess sees no model: what it has of these attributes is known, and has no interval.
            guess = float(common[at][side].mean())
            told[part.label("majority", of=of)] = Estimate(guess)
            if of == "members":
                value, low, high = subset_share(hits[at], part, of)
                lead = Share(value - guess, low - guess, high - guess)
                told[part.label("advantage", over="majority")] = estimate_with_counts(lead, part, of)
        told |= advantages(hits[at], untuned[at] if tuned else None, part)
        told[part.label("left_out")] = Estimate(float(part.left_out))
    return told


def _top1_and_reciprocal_rank(
    reading_scores: Float[np.ndarray, " readings"], candidates: Candidates
) -> tuple[Float[np.ndarray, " attributes"], Float[np.ndarray, " attributes"]]:
    """Chance that the most preferred reading is the true one, and expected 1 / rank of the true one, ties at random."""
    begins = candidates.starts[:-1]
    truth = np.repeat(reading_scores[begins], np.diff(candidates.starts))
    better = np.add.reduceat((reading_scores > truth).astype(np.int64), begins)
    tied = np.add.reduceat((reading_scores == truth).astype(np.int64), begins)  # itself among them
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int((better + tied).max()) + 1))])
    return (better == 0) / tied, (harmonic[better + tied] - harmonic[better]) / tied
