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
from byheart.stats.proportions import Share, apart, paired, share

ALL = "all"
"""What the kinds are called together."""


class Part(NamedTuple):
    """The attributes of a kind: which they are, the group of each one's text, how many are left out.

    `sides` says which are of "members" and which of "nonmembers"; a side without any is not there.
    """

    kind: str
    chosen: Int[np.ndarray, " attributes"]
    groups: tuple[str, ...]
    sides: dict[str, Bool[np.ndarray, " attributes"]]
    left_out: int

    def label(self, measure: str, **more: str) -> str:
        """Return what tells a number of this kind from the metric's others: "kind=email, measure=top1, of=members"."""
        return ", ".join(f"{name}={value}" for name, value in {"kind": self.kind, "measure": measure, **more}.items())

    def groups_of(self, of: str) -> tuple[str, ...]:
        """Return the groups of one side's attributes."""
        return tuple(g for g, inside in zip(self.groups, self.sides[of], strict=True) if inside)


def parts(
    asked: Candidates | RecitedAttributes, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Iterator[Part]:
    """Yield the attributes of each kind that has any, and where there are several kinds, of all together."""
    wanted = [(name, np.flatnonzero(asked.kind == i), asked.left_out[i]) for i, name in enumerate(asked.kinds)]
    if len(asked.kinds) > 1:
        wanted.append((ALL, np.arange(len(asked.kind)), asked.left_out.sum()))
    for name, chosen, left_out in wanted:
        text = asked.text[chosen]
        sides = {"members": membership[text], "nonmembers": ~membership[text]}
        if len(chosen):
            present = {of: side for of, side in sides.items() if side.any()}
            yield Part(name, chosen, tuple(groups[i] for i in text), present, int(left_out))


def share_of(values: Float[np.ndarray, " attributes"], part: Part, of: str) -> Share:
    """Mean of one side's values, each between 0 and 1, with its interval."""
    return share(values[part.sides[of]], part.groups_of(of))


def counted(found: Share, part: Part, *sides: str) -> Estimate:
    """Return a share with the number of attributes that it is of, on these sides."""
    members, nonmembers = (int(part.sides[of].sum()) if of in sides else None for of in ("members", "nonmembers"))
    return Estimate(*found, members, nonmembers)


def shares(values: Float[np.ndarray, " attributes"], part: Part, measure: str) -> dict[str, Estimate]:
    """Each side's share by its label."""
    return {part.label(measure, of=of): counted(share_of(values, part, of), part, of) for of in part.sides}


def advantages(
    values: Float[np.ndarray, " attributes"], untuned: Float[np.ndarray, " attributes"] | None, part: Part
) -> dict[str, Estimate]:
    """How far the members' share leads over the non-members', and over that of the untuned model (None: it is that)."""
    found: dict[str, Estimate] = {}
    if len(part.sides) > 1:
        members, nonmembers = (share_of(values, part, of) for of in ("members", "nonmembers"))
        found[part.label("advantage", over="nonmembers")] = counted(apart(members, nonmembers), part, *part.sides)
    if "members" in part.sides and untuned is not None:
        inside = part.sides["members"]
        gain = paired(values[inside], untuned[inside], part.groups_of("members"))
        found[part.label("advantage", over="untuned")] = counted(gain, part, "members")
    return found
