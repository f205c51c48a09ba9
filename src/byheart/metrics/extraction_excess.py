"""How much more of the members than of the non-members an attack extracts.

    excess = extraction_rate - extraction_rate_nonmembers

Robert Newcombe, Interval Estimation for the Difference between Independent Proportions: Comparison of Eleven Methods,
Statistics in Medicine 17 (1998) 873-890: ends added in squares, here of the mid-P intervals of both sides, whose texts count
as their effective number where they share groups. A group with texts of both sides makes it wider than need be. What the
model knew before it was tuned is not taken off here: the table `extraction` does.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate
from byheart.stats.proportions import member_and_nonmember_shares, share_difference


def extraction_excess(
    extracted: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Share of the members less the share of the non-members that are extracted; 0 is no leak, 1 all is leaked.

    Raises `DataError` where there are no members, or no non-members.
    """
    found = share_difference(*member_and_nonmember_shares(extracted, membership, groups))
    return Estimate(*found, int(membership.sum()), int((~membership).sum()))
