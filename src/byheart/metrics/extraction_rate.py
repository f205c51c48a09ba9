"""Share of members that an attack extracts: what share of the training texts the model gives away.

Nicholas Carlini, Daphne Ippolito, Matthew Jagielski, Katherine Lee, Florian Tramèr, Chiyuan Zhang. Quantifying
Memorization Across Neural Language Models. ICLR, 2023. arXiv 2202.07646.

    rate = #{members that are extracted} / members

Measured of attacks that extract texts, of each by its own rule. By itself it says little: a suffix may be what anybody would
write. Beside it stand `extraction_rate_nonmembers` and the same rate at epoch 0, that of the untuned model. The interval
is the mid-P one, which also none and all have, and texts of one group count as their effective number.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate
from byheart.stats.proportions import member_and_nonmember_shares


def extraction_rate(
    extracted: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Share of the members that are extracted; 0 is none, 1 all is leaked, and non-members' own share is no leak.

    Raises `DataError` where there are no members, or no non-members.
    """
    return Estimate(
        *member_and_nonmember_shares(extracted, membership, groups)[0], int(membership.sum()), int((~membership).sum())
    )
