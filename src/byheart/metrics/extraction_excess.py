"""Extraction excess: subtracts the non-members' extraction rate from the members'.

Robert Newcombe, Interval Estimation for the Difference between Independent Proportions: Comparison of Eleven Methods,
Statistics in Medicine 17 (1998) 873-890.

    excess = extraction_rate - extraction_rate_nonmembers

The interval is Newcombe's square-and-add method with the mid-P intervals of both rates. Texts that share groups count as their
effective number. A group that contains both members and non-members makes the interval wider than necessary. The excess includes
what the base model knew before fine-tuning; the table `extraction` subtracts it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate
from byheart.stats.proportions import member_and_nonmember_shares, share_difference

RANGE = (-1.0, 1.0)


def extraction_excess(
    extracted: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Share of extracted members minus share of extracted non-members (-1 to 1); 0 is no leak, 1 all is leaked.

    Raises `DataError` if there are no members, or no non-members.
    """
    difference = share_difference(*member_and_nonmember_shares(extracted, membership, groups))
    return Estimate(*difference, int(membership.sum()), int((~membership).sum()))
