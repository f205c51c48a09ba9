"""EZ-MIA: compares increases with decreases of log-probability over the base model, at the tokens that the target predicts wrongly.

David Ilić, David Stanojević, Kostadin Cvejoski. Powerful Training-Free Membership Inference Against Autoregressive
Language Models. 2026. arXiv 2601.12104.

    E = {t : the target's most likely token is not x_t}   d_t = ln p_target(x_t | x_<t) - ln p_base(x_t | x_<t)
    P = sum over E of max(d_t, 0)        N = sum over E of max(-d_t, 0)        score(x) = P / (P + N)

Memorization is visible at errors, not where both models are right.

Departures from the authors' code:

- They score P / N. P / (P + N) gives the same ranking wherever N > 0, and is 1 where N = 0 < P.
- They give 0 to a text with fewer than two errors and to a text without a decrease at its errors, so the best memorized texts
  rank lowest. Ours is 1 without any error, or without a change at its errors, and 1/2 (neither gain nor loss) with at least one
  error but fewer than `min_errors` (2, as theirs): P / (P + N) of one error is 0 or 1, whatever the size of its change.

Texts with a score of 1 stay tied. Ranking them by likelihood or gain would be another attack (`loss`, `reference`). At epoch 0,
where target and base are the same model, it would separate texts without any leakage. The metrics count a tie as half a pair,
and a threshold includes tied texts together or not at all. Many short texts with two or three errors have a score of 0 or 1, so
a low false positive rate may not be reachable.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from byheart.core import LogProbs, Scores, TokenStats, ragged

VARIANT = (
    "gain as a bounded share; texts without errors score highest in place of lowest, and texts with one error are "
    "neutral"
)

REVISION = 1  # a text with one error is neutral
NEUTRAL = 0.5  # neither gain nor loss


def error_zone(target: TokenStats, base: LogProbs, *, min_errors: Annotated[int, Ge(1)] = 2) -> Scores:
    """Gain over the base model as a share (0 to 1) of absolute change, at wrongly predicted tokens; higher means member.

    1 for a text without errors, or without a change at its errors; else 1/2 for a text with fewer than `min_errors` errors. Raises
    `DataError` if the two models did not score the same tokens.
    """
    ragged.check_same_tokens("error_zone", target.starts, base.starts)
    is_error = target.rank > 0
    change = (target.logp.astype(np.float64) - base.logp) * is_error
    gain, total = ragged.sums(np.maximum(change, 0), target.starts), ragged.sums(np.abs(change), target.starts)
    share = np.divide(gain, total, out=np.ones(len(target)), where=total > 0)
    has_too_few = (ragged.sums(is_error.astype(np.float64), target.starts) < min_errors) & (total > 0)
    return np.where(has_too_few, NEUTRAL, share)
