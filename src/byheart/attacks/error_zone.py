"""EZ-MIA: where the model errs, does it err less than the base did? Memory shows at errors, not where both are right.

David Ilić, David Stanojević, Kostadin Cvejoski. Powerful Training-Free Membership Inference Against Autoregressive
Language Models. 2026. arXiv 2601.12104.

    E = {t : the target's first choice is not x_t}        d_t = ln p_target(x_t | x_<t) - ln p_base(x_t | x_<t)
    P = sum over E of max(d_t, 0)        N = sum over E of max(-d_t, 0)        score(x) = P / (P + N)

The authors score P / N and give 0 where E is empty or N is 0: the texts that the target predicts without an error, or
at whose errors it gained everywhere, are the best memorised and rank lowest. P / (P + N) ranks as P / N does wherever
N > 0 and is 1 where N = 0. An empty E, and P + N = 0, which speaks of no loss anywhere, count as 1 too.

Texts at 1 stay tied. An order among them would have to come from how likely they are or how much they gained, which is
another attack (`loss`, `reference`), and at epoch 0, where target and base are one model, it would tell texts apart
where there is nothing to tell. The metrics count a tie as half a pair and accuse tied texts together or not at all. Of
short texts with an error or two many are at 0 or 1, so that a low false-positive rate may not be reached.
"""

from __future__ import annotations

import numpy as np

from byheart.core import LogProbs, Scores, TokenStats, ragged


def error_zone(target: TokenStats, base: LogProbs) -> Scores:
    """Gains as a share (0 to 1) of all change against the base, at the tokens the target gets wrong; higher is member.

    1 for a text without an error, or without a change at its errors. Raises `DataError` where the two models did not
    score the same tokens.
    """
    ragged.check_same_tokens("error_zone", target.starts, base.starts)
    change = (target.logp.astype(np.float64) - base.logp) * (target.rank > 0)
    gain, total = ragged.sums(np.maximum(change, 0), target.starts), ragged.sums(np.abs(change), target.starts)
    return np.divide(gain, total, out=np.ones(len(target)), where=total > 0)
