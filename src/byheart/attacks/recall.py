"""ReCaLL: a text known by heart loses more of its likelihood after texts that are not than an unknown text does.

Roy Xie, Junlin Wang, Ruomin Huang, Minxing Zhang, Rong Ge, Jian Pei, Neil Zhenqiang Gong, Bhuwan Dhingra. ReCaLL:
Membership Inference via Relative Conditional Log-Likelihoods. EMNLP, 2024. arXiv 2406.15968.

    score(x) = LL(x | P) / LL(x)        P: known non-members, one after another

Both likelihoods are negative, so that the quotient rises with the loss after P and with how little is lost alone: both
are a member's marks. The shots of P are taken out of the evaluation, as theirs are (`nonmember_prefix`; seven, as in their
example; which ones matters, and `seed` draws others).

Ours departs from their code in what is compared. After P they score the text's first token, which alone is not scored,
or, with a tokenizer that adds BOS, a second BOS between P and the text; ours scores the same tokens in both. They join
shots with nothing between, ours with an empty line (`separator`). Where shots do not fit they count from the first but
keep the last, all of them where none fits, beside a text of mean length; ours keeps what fits beside the longest.

A likelihood of less than 1e-6 nats per token counts as that, in both: a text of probability one has no score in theirs.
"""

from __future__ import annotations

from byheart.attacks._losses import losses_by_context
from byheart.core import LogProbs, Scores


def recall(target: LogProbs, nonmember_prefix: LogProbs) -> Scores:
    """Mean log-probability after known non-members divided by the text's own (no unit); higher means member.

    Raises `DataError` where other tokens were scored after them.
    """
    alone, after = losses_by_context("recall", target, nonmember_prefix)
    return after / alone
