"""Con-ReCall: compares the text's loss after non-members with its loss after members, relative to its loss alone.

Cheng Wang, Yiwei Wang, Bryan Hooi, Yujun Cai, Nanyun Peng, Kai-Wei Chang. Con-ReCall: Detecting Pre-training Data in
LLMs via Contrastive Decoding. COLING, 2025. arXiv 2409.03363.

    score(x) = (LL(x | P_non) - gamma LL(x | P_mem)) / LL(x)

LL is the mean log-probability per token, P_non a prefix of known non-members, P_mem a prefix of known members. The
log-likelihoods are negative, so the score rises with the loss after non-members and falls with the loss after members. With
gamma = 0 it is `recall`. With gamma = 1 only the difference between two contexts remains, divided by a number that is almost
zero for a member.

Members and non-members in the prefixes are not audited (`member_prefix`, `nonmember_prefix`), as in the authors' code.

Departures from the authors' code:

- Theirs reports gamma from 0.1 to 1 side by side. Ours has one default, the middle, because a gamma chosen on the evaluated
  labels overstates the attack.
- All departures of `recall` apply.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.attacks._losses import losses_by_context
from byheart.core import LogProbs, Scores


def con_recall(
    target: LogProbs, nonmember_prefix: LogProbs, member_prefix: LogProbs, *, gamma: Annotated[float, Ge(0)] = 0.5
) -> Scores:
    """Log-likelihood (after non-members - `gamma` x after members) divided by that of the text alone (no unit); higher means member.

    Raises `DataError` if other tokens were scored after a prefix.
    """
    alone, after_nonmembers, after_members = losses_by_context("con_recall", target, nonmember_prefix, member_prefix)
    return (after_nonmembers - gamma * after_members) / alone
