"""EZ-MIA: compares the target model's gains with its losses against the base model at the tokens that the target gets wrong.

David Ilić, David Stanojević, Kostadin Cvejoski. Powerful Training-Free Membership Inference Against Autoregressive
Language Models. 2026. arXiv 2601.12104.

    E = {t : the target's most likely token is not x_t}   d_t = ln p_target(x_t | x_<t) - ln p_base(x_t | x_<t)
    P = sum over E of max(d_t, 0)        N = sum over E of max(-d_t, 0)        score(x) = P / (P + N)

Memorization is visible at errors, not where both models are right.

Departures from the authors' code:

- They score P / N. P / (P + N) gives the same ranking wherever N > 0, and is 1 where N = 0.
- They give 0 where E is empty or N is 0, so the best memorized texts rank lowest. Ours gives 1 where E is empty or P + N = 0.

Texts with a score of 1 stay tied. Ranking them by likelihood or gain would be another attack (`loss`, `reference`). At epoch 0,
where target and base are the same model, it would separate texts without any leakage. The metrics count a tie as half a pair,
and a threshold includes tied texts together or not at all. Many short texts with one or two errors have a score of 0 or 1, so
a low false positive rate may not be reachable.
"""

from __future__ import annotations

import numpy as np

from byheart.core import LogProbs, Scores, TokenStats, ragged


def error_zone(target: TokenStats, base: LogProbs) -> Scores:
    """Gains as a share (0 to 1) of all change against the base model, at the tokens the target gets wrong; higher is member.

    1 for a text without errors, or without a change at its errors. Raises `DataError` if the two models did not score the same
    tokens.
    """
    ragged.check_same_tokens("error_zone", target.starts, base.starts)
    change = (target.logp.astype(np.float64) - base.logp) * (target.rank > 0)
    gain, total = ragged.sums(np.maximum(change, 0), target.starts), ragged.sums(np.abs(change), target.starts)
    return np.divide(gain, total, out=np.ones(len(target)), where=total > 0)
