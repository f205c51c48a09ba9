"""WBC: counts the windows of tokens, of many widths, that are likelier under the target model than under the base model.

Yuetian Chen, Yuntao Du, Kaiyuan Zhang, Ashish Kundu, Charles Fleming, Bruno Ribeiro, Ninghui Li. Window-based
Membership Inference Attacks Against Fine-tuned Large Language Models. USENIX Security, 2026. arXiv 2601.02751.

    score(x) = mean over w of  1/(N - w + 1) sum_i [ sum_{t=i}^{i+w-1} loss_base,t > sum_{t=i}^{i+w-1} loss_target,t ]

N is the number of tokens of x, w the width of a window, loss_t = -ln p(x_t | x_<t). Each window has one vote, so no single
passage can dominate the score. The widths are the authors' ten, approximately geometric from 2 to 40. A window with equal sums
votes no, as in the authors' strict comparison, so every text scores 0 if target and base are the same model.

Departure from the authors' code: widths above N are clipped to N, and N then counts once. If each clipped width counted, the
score of a short text would be one vote of the whole text.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import numpy as np
from annotated_types import Ge, MinLen

from byheart.core import LogProbs, Scores, ragged

WINDOWS = (2, 3, 4, 6, 9, 13, 18, 25, 32, 40)


def wbc(
    target: LogProbs, base: LogProbs, *, windows: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = WINDOWS
) -> Scores:
    """Share (0 to 1) of token windows that are likelier than under the base model, mean over widths; higher means member.

    Widths (tokens) above a text's N are clipped to N, and each width counts once. Raises `DataError` if the two models did not score
    the same tokens.
    """
    ragged.check_same_tokens("wbc", target.starts, base.starts)
    gain = target.logp.astype(np.float64) - base.logp
    votes, width_counts = np.zeros(len(target)), np.zeros(len(target))
    for previous_width, width in pairwise((0, *sorted(set(windows)))):
        sums, starts = ragged.window_sums(gain, target.starts, width=width)
        # The first width above N represents all widths that are clipped to N, unless N itself is a width.
        is_counted = previous_width < ragged.lengths(target.starts)
        votes += ragged.means((sums > 0).astype(np.float64), starts) * is_counted
        width_counts += is_counted
    return votes / width_counts
