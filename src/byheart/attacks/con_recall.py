"""Con-ReCall: how much worse does a text become after non-members than after members, measured by what it was alone?

Cheng Wang, Yiwei Wang, Bryan Hooi, Yujun Cai, Nanyun Peng, Kai-Wei Chang. Con-ReCall: Detecting Pre-training Data in
LLMs via Contrastive Decoding. COLING, 2025. arXiv 2409.03363.

    score(x) = (LL(x | P_non) - gamma LL(x | P_mem)) / LL(x)

The likelihoods are negative: the score rises with the loss after non-members and falls with the loss after members.
With gamma = 0 it is `recall`. The authors' code reports gamma from 0.1 to 1 side by side; a gamma chosen by the labels
that it is then judged by would flatter the attack, so ours has one default, the middle. At gamma = 1 only the difference
of two contexts is left, divided by what for a member is almost nothing.

Members and non-members that serve as shots are taken out of the evaluation (`member_prefix`, `nonmember_prefix`), as in
theirs; what else departs from it stands with `recall`. Whoever uses it must know some of the training texts.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.attacks._losses import losses_by_context
from byheart.core import LogProbs, Scores


def con_recall(
    target: LogProbs, nonmember_prefix: LogProbs, member_prefix: LogProbs, *, gamma: Annotated[float, Ge(0)] = 0.5
) -> Scores:
    """Likelihood after non-members less `gamma` times that after members, by the text's own (no unit); higher is member.

    Raises `DataError` where other tokens were scored after them.
    """
    alone, after, familiar = losses_by_context("con_recall", target, nonmember_prefix, member_prefix)
    return (after - gamma * familiar) / alone
