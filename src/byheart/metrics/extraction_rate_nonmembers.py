"""Extraction rate of non-members: measures the share of non-members that an attack "extracts" although they were not trained on.

    rate = #{non-members whose suffix the model generates} / non-members

This is the control of `extraction_rate`: the same attack, model and interval.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate
from byheart.stats.proportions import member_and_nonmember_shares

RANGE = (0.0, 1.0)


def extraction_rate_nonmembers(
    extracted: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Share (0 to 1) of the non-members that the same attack extracts; the members' excess over it is leaked.

    Raises `DataError` if there are no members, or no non-members.
    """
    return Estimate(
        *member_and_nonmember_shares(extracted, membership, groups)[1], int(membership.sum()), int((~membership).sum())
    )
