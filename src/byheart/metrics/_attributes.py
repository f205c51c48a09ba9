"""Shares of private attributes, an attribute of a text being one trial, and what two such shares differ by.

Intervals are those of `byheart.stats.shares`: mid-P for a share of hits, or for a mean of numbers between 0 and 1, which spreads
no wider; differences by Newcombe's squares, in pairs where the attributes are the same. Texts of a group, and attributes
of one text, count as their effective number.
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
"""What the kinds are called together."""


class KindAttributes(NamedTuple):
    """The attributes of a kind: which they are, the group of each one's text, how many are left out.

    `sides` says which are of "members" and which of "nonmembers"; a side without any is not there.
    """

    kind: str
    indices: Int[np.ndarray, " attributes"]
    groups: tuple[str, ...]
    subset_masks: dict[str, Bool[np.ndarray, " attributes"]]
    left_out: int

    def label(self, measure: str, **more: str) -> str:
        """Return what tells a number of this kind from the metric's others: "kind=email, measure=top1, of=members"."""
        return ", ".join(f"{name}={value}" for name, value in {"kind": self.kind, "measure": measure, **more}.items())

    def subset_groups(self, subset: str) -> tuple[str, ...]:
        """Return the groups of one side's attributes."""
        return tuple(g for g, inside in zip(self.groups, self.subset_masks[subset], strict=True) if inside)


def attributes_by_kind(
    evidence: Candidates | RecitedAttributes, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Iterator[KindAttributes]:
    """Yield the attributes of each kind that has any, and where there are several kinds, of all together."""
    wanted = [(name, np.flatnonzero(evidence.kind == i), evidence.left_out[i]) for i, name in enumerate(evidence.kinds)]
    if len(evidence.kinds) > 1:
        wanted.append((ALL_KINDS, np.arange(len(evidence.kind)), evidence.left_out.sum()))
    for name, chosen, left_out in wanted:
        text = evidence.text[chosen]
        sides = {"members": membership[text], "nonmembers": ~membership[text]}
        if len(chosen):
            present = {of: side for of, side in sides.items() if side.any()}
            yield KindAttributes(name, chosen, tuple(groups[i] for i in text), present, int(left_out))


def subset_share(values: Float[np.ndarray, " attributes"], kind_attributes: KindAttributes, subset: str) -> Share:
    """Mean of one side's values, each between 0 and 1, with its interval."""
    return share_with_interval(values[kind_attributes.subset_masks[subset]], kind_attributes.subset_groups(subset))


def estimate_with_counts(share_interval: Share, kind_attributes: KindAttributes, *sides: str) -> Estimate:
    """Return a share with the number of attributes that it is of, on these sides."""
    members, nonmembers = (
        int(kind_attributes.subset_masks[of].sum()) if of in sides else None for of in ("members", "nonmembers")
    )
    return Estimate(*share_interval, members, nonmembers)


def share_estimates(
    values: Float[np.ndarray, " attributes"], kind_attributes: KindAttributes, measure: str
) -> dict[str, Estimate]:
    """Each side's share by its label."""
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
    """How far the members' share leads over the non-members', and over that of the untuned model (None: it is that)."""
    found: dict[str, Estimate] = {}
    if len(kind_attributes.subset_masks) > 1:
        members, nonmembers = (subset_share(values, kind_attributes, of) for of in ("members", "nonmembers"))
        found[kind_attributes.label("advantage", over="nonmembers")] = estimate_with_counts(
            share_difference(members, nonmembers), kind_attributes, *kind_attributes.subset_masks
        )
    if "members" in kind_attributes.subset_masks and base_values is not None:
        inside = kind_attributes.subset_masks["members"]
        gain = paired_share_difference(values[inside], base_values[inside], kind_attributes.subset_groups("members"))
        found[kind_attributes.label("advantage", over="untuned")] = estimate_with_counts(
            gain, kind_attributes, "members"
        )
    return found
