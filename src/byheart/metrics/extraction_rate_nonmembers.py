"""Share of non-members that an attack "extracts": what it finds where there is nothing to find.

    rate = #{non-members whose suffix the model writes} / non-members

The control of `extraction_rate`, by the same attack, on the same model, with the same interval.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate
from byheart.stats.proportions import member_and_nonmember_shares


def extraction_rate_nonmembers(
    extracted: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Share of the non-members that the same attack extracts; what is more among the members is leaked.

    Raises `DataError` where there are no members, or no non-members.
    """
    return Estimate(
        *member_and_nonmember_shares(extracted, membership, groups)[1], int(membership.sum()), int((~membership).sum())
    )
