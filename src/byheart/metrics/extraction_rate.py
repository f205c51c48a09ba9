"""Extraction rate: measures the share of members that an attack extracts.

Nicholas Carlini, Daphne Ippolito, Matthew Jagielski, Katherine Lee, Florian Tramèr, Chiyuan Zhang. Quantifying
Memorization Across Neural Language Models. ICLR, 2023. arXiv 2202.07646.

    rate = #{members that are extracted} / members

Each extraction attack has its own rule for extracted texts. The rate alone is weak evidence: a model may generate a suffix without
memorization. Compare it with `extraction_rate_nonmembers` and with the rate at epoch 0, that of the base model. The interval is the
mid-P interval, which also exists for rates of 0 and 1. Texts of one group count as their effective number.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate
from byheart.stats.proportions import member_and_nonmember_shares

RANGE = (0.0, 1.0)


def extraction_rate(
    extracted: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Share (0 to 1) of the members that are extracted; higher is more leaked, compared with the non-members' share.

    Raises `DataError` if there are no members, or no non-members.
    """
    return Estimate(
        *member_and_nonmember_shares(extracted, membership, groups)[0], int(membership.sum()), int((~membership).sum())
    )
