"""Shares of private attributes, with each attribute of a text as one trial, and differences between shares.

Intervals are those of `byheart.stats.proportions`: mid-P for a share of hits, or for a mean of numbers between 0 and 1, whose
variance is not larger; Newcombe's square-and-add method for differences, paired if the attributes are the same. Texts of a group,
and attributes of one text, count as their effective number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.evidence import Candidates, RecitedAttributes
from byheart.core.types import Estimate
from byheart.stats.proportions import Share, paired_share_difference, share_difference, share_with_interval

ALL_KINDS = "all"
"""Label of all kinds together."""


class KindAttributes(NamedTuple):
    """The attributes of one kind: indices, groups of their texts, and the number left out.

    `subset_masks` marks the attributes of "members" and of "nonmembers"; an empty subset is missing. `pool` names the
    candidates; "" if the metric has no candidates. `ranked_by` names what ranks them, where a metric has several rankings.
    """

    kind: str
    indices: Int[np.ndarray, " attributes"]
    groups: tuple[str, ...]
    subset_masks: dict[str, Bool[np.ndarray, " attributes"]]
    left_out: int
    pool: str = ""
    ranked_by: str = ""

    def label(self, measure: str, **more: str) -> str:
        """Return the label that identifies a number of this metric, such as "kind=email, measure=top1, of=members"."""
        settings = {"kind": self.kind, "ranked_by": self.ranked_by, "pool": self.pool, "measure": measure, **more}
        return ", ".join(f"{name}={value}" for name, value in settings.items() if value)

    def with_pool(self, pool: str, mask: Bool[np.ndarray, " attributes"]) -> KindAttributes | None:
        """Return the attributes at True, labeled with a pool; None if no attribute is at True."""
        if not mask.any():
            return None
        masks = {subset: own[mask] for subset, own in self.subset_masks.items() if own[mask].any()}
        groups = tuple(g for g, inside in zip(self.groups, mask, strict=True) if inside)
        return self._replace(indices=self.indices[mask], groups=groups, subset_masks=masks, pool=pool)

    def subset_groups(self, subset: str) -> tuple[str, ...]:
        """Return the groups of one subset's attributes."""
        return tuple(g for g, inside in zip(self.groups, self.subset_masks[subset], strict=True) if inside)


def attributes_by_kind(
    evidence: Candidates | RecitedAttributes, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Iterator[KindAttributes]:
    """Yield the attributes of each kind that has any, and for several kinds also of all kinds together."""
    selections = [
        (name, np.flatnonzero(evidence.kind == i), evidence.left_out[i]) for i, name in enumerate(evidence.kinds)
    ]
    if len(evidence.kinds) > 1:
        selections.append((ALL_KINDS, np.arange(len(evidence.kind)), evidence.left_out.sum()))
    for name, indices, left_out in selections:
        text_indices = evidence.text[indices]
        masks = {"members": membership[text_indices], "nonmembers": ~membership[text_indices]}
        if len(indices):
            present_masks = {subset: mask for subset, mask in masks.items() if mask.any()}
            yield KindAttributes(name, indices, tuple(groups[i] for i in text_indices), present_masks, int(left_out))


def subset_share(values: Float[np.ndarray, " attributes"], kind_attributes: KindAttributes, subset: str) -> Share:
    """Return the mean of one subset's values, each between 0 and 1, with its interval."""
    return share_with_interval(values[kind_attributes.subset_masks[subset]], kind_attributes.subset_groups(subset))


def estimate_with_counts(share_interval: Share, kind_attributes: KindAttributes, *subsets: str) -> Estimate:
    """Return a share as an estimate with the numbers of attributes in these subsets."""
    members, nonmembers = (
        int(kind_attributes.subset_masks[subset].sum()) if subset in subsets else None
        for subset in ("members", "nonmembers")
    )
    return Estimate(*share_interval, members, nonmembers)


def share_estimates(
    values: Float[np.ndarray, " attributes"], kind_attributes: KindAttributes, measure: str
) -> dict[str, Estimate]:
    """Return each subset's share by its label."""
    return {
        kind_attributes.label(measure, of=of): estimate_with_counts(
            subset_share(values, kind_attributes, of), kind_attributes, of
        )
        for of in kind_attributes.subset_masks
    }


def advantages(
    values: Float[np.ndarray, " attributes"],
    base_values: Float[np.ndarray, " attributes"] | None,
    kind_attributes: KindAttributes,
) -> dict[str, Estimate]:
    """Return how far the members' share exceeds that of the non-members and that of the base model.

    `base_values` None means that the model is the base model itself.
    """
    estimates: dict[str, Estimate] = {}
    if len(kind_attributes.subset_masks) > 1:
        members, nonmembers = (subset_share(values, kind_attributes, of) for of in ("members", "nonmembers"))
        estimates[kind_attributes.label("advantage", over="nonmembers")] = estimate_with_counts(
            share_difference(members, nonmembers), kind_attributes, *kind_attributes.subset_masks
        )
    if "members" in kind_attributes.subset_masks and base_values is not None:
        is_member = kind_attributes.subset_masks["members"]
        gain = paired_share_difference(
            values[is_member], base_values[is_member], kind_attributes.subset_groups("members")
        )
        estimates[kind_attributes.label("advantage", over="untuned")] = estimate_with_counts(
            gain, kind_attributes, "members"
        )
    return estimates
