"""ReCaLL: compares the text's likelihood after known non-members with its likelihood alone; a memorized text loses more.

Roy Xie, Junlin Wang, Ruomin Huang, Minxing Zhang, Rong Ge, Jian Pei, Neil Zhenqiang Gong, Bhuwan Dhingra. ReCaLL:
Membership Inference via Relative Conditional Log-Likelihoods. EMNLP, 2024. arXiv 2406.15968.

    score(x) = LL(x | P) / LL(x)        P: known non-members, one after another

LL is the mean log-probability per token. Both terms are negative, so the score rises with the loss after P and falls with the
loss alone. As in the authors' code, the texts of P (the shots) are not audited, and there are seven (`nonmember_prefix`). The
choice of shots changes the scores; `seed` selects others.

Departures from the authors' code:

- After P they score the text's first token, which is not scored alone, or, with a tokenizer that adds BOS, a second BOS between
  P and the text. Ours scores the same tokens in both.
- They join shots without a separator. Ours adds an empty line (`separator`).
- If not all shots fit, they count from the first but use the last, all shots if none fits, beside a text of mean length. Ours
  uses the shots that fit beside the longest text.
- A mean loss below 1e-6 nats per token counts as 1e-6 in both terms. In theirs a text of probability one has no score.
"""

from __future__ import annotations

from byheart.attacks._losses import losses_by_context
from byheart.core import LogProbs, Scores


def recall(target: LogProbs, nonmember_prefix: LogProbs) -> Scores:
    """Mean log-probability after known non-members divided by that of the text alone (no unit); higher means member.

    Raises `DataError` if other tokens were scored after the prefix.
    """
    alone, after_nonmembers = losses_by_context("recall", target, nonmember_prefix)
    return after_nonmembers / alone
