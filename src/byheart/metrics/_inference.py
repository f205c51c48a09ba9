"""Shares of private values that a model identifies among candidate values, by kind and pool of candidates."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.evidence import Candidates
from byheart.core.types import Estimate, Texts
from byheart.metrics._attributes import (
    KindAttributes,
    advantages,
    attributes_by_kind,
    estimate_with_counts,
    share_estimates,
    subset_share,
)
from byheart.metrics._candidate_pools import candidate_pools, top1_and_reciprocal_rank
from byheart.stats.proportions import Share


def inference_estimates(
    candidates: Candidates,
    scores: Float[np.ndarray, " readings"],
    base_scores: Float[np.ndarray, " readings"],
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    training_texts: Texts,
    *,
    ranked_by: str = "",
) -> dict[str, Estimate]:
    """Return the shares by kind and pool, with their controls, for candidates that are ranked by these scores.

    `ranked_by` names the scores in the labels. Equal scores of both models mean that the model is the base model.
    """
    is_fine_tuned = not np.array_equal(scores, base_scores)
    by_kind = [k._replace(ranked_by=ranked_by) for k in attributes_by_kind(candidates, membership, groups)]
    strings = [p + s for p, s in zip(training_texts.prompts, training_texts.scored, strict=True)]
    estimates: dict[str, Estimate] = {}
    for pool in candidate_pools(candidates, membership, strings):
        hits, reciprocal = top1_and_reciprocal_rank(scores, candidates, pool)
        base_hits, _ = top1_and_reciprocal_rank(base_scores, candidates, pool)
        majority_hits, _ = top1_and_reciprocal_rank(pool.texts_with_value.astype(np.float64), candidates, pool)
        in_pool = (k.with_pool(pool.name, pool.has_candidates[k.indices]) for k in by_kind)
        for kind_attributes in filter(None, in_pool):
            indices = kind_attributes.indices
            estimates |= share_estimates(hits[indices], kind_attributes, "top1")
            estimates |= share_estimates(reciprocal[indices], kind_attributes, "mrr")
            estimates |= _majority_estimates(hits[indices], majority_hits[indices], kind_attributes)
            estimates |= advantages(hits[indices], base_hits[indices] if is_fine_tuned else None, kind_attributes)
    return estimates | {k.label("left_out"): Estimate(float(k.left_out)) for k in by_kind}


def _majority_estimates(
    hits: Float[np.ndarray, " attributes"],
    majority_hits: Float[np.ndarray, " attributes"],
    kind_attributes: KindAttributes,
) -> dict[str, Estimate]:
    """Return the share of the most frequent candidate in each subset, and the members' advantage over it."""
    estimates: dict[str, Estimate] = {}
    for subset, mask in kind_attributes.subset_masks.items():
        # The majority guess uses no model: its share of these attributes is known exactly and has no interval.
        majority_share = float(majority_hits[mask].mean())
        estimates[kind_attributes.label("majority", of=subset)] = Estimate(majority_share)
        if subset == "members":
            value, low, high = subset_share(hits, kind_attributes, subset)
            lead = Share(value - majority_share, low - majority_share, high - majority_share)
            estimates[kind_attributes.label("advantage", over="majority")] = estimate_with_counts(
                lead, kind_attributes, subset
            )
    return estimates
