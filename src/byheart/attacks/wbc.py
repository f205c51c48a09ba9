"""WBC: windows of many widths slide over the text and vote: does the target know this passage better than the base?

Yuetian Chen, Yuntao Du, Kaiyuan Zhang, Ashish Kundu, Charles Fleming, Bruno Ribeiro, Ninghui Li. Window-based
Membership Inference Attacks Against Fine-tuned Large Language Models. USENIX Security, 2026. arXiv 2601.02751.

    score(x) = mean over w of  1/(N - w + 1) sum_i [ sum_{t=i}^{i+w-1} loss_base,t > sum_{t=i}^{i+w-1} loss_target,t ]

A vote is a sign: no single passage, however well or badly known, weighs more than its windows. The widths are the
authors' ten, about geometric from 2 to 40.

A text shorter than a window: widths above N are clipped to N, and N then counts once, however many widths were clipped
to it; counted each time, a short text would be one vote on its whole. A window of equal sums votes no, as the authors'
strict sign does, so that target and base being one model gives every text 0.
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
    """Share (0 to 1) of windows of tokens that are likelier than under the base, mean over widths; higher means member.

    Widths (tokens) above a text's N are clipped to N, and each width counts once. Raises `DataError` where the two
    models did not score the same tokens.
    """
    ragged.check_same_tokens("wbc", target.starts, base.starts)
    gain = target.logp.astype(np.float64) - base.logp
    votes, widths = np.zeros(len(target)), np.zeros(len(target))
    for narrower, width in pairwise((0, *sorted(set(windows)))):
        sums, starts = ragged.window_sums(gain, target.starts, width=width)
        # The first width above N stands for all that are clipped to it, unless N itself was a width.
        counted = narrower < ragged.lengths(target.starts)
        votes += ragged.means((sums > 0).astype(np.float64), starts) * counted
        widths += counted
    return votes / widths
