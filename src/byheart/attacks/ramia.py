"""RaMIA: whether any text in a range was trained on, the range being the audited text and texts that differ by a few words.

Jiashu Tao, Reza Shokri. Range Membership Inference Attacks. IEEE SaTML, 2025. arXiv 2408.05131. The aggregation follows the
authors' code, `modules/ramia/ramia_scores.py` of Privacy Meter (privacytrustlab/ml_privacy_meter).

    range(x) = {x, x~_1, ..., x~_n}        x~: neighbors of x        s(y) = LL_target(y) - LL_base(y)
    score(x) = mean of s over the floor((1 - trim) (n + 1)) texts of the range with the highest s

LL is the mean log-probability per token. Other attacks ask for the exact text. A near copy of a training text (an edited name, an
earlier draft) is a non-member to them, although the model reveals what both contain. Here the range counts as a member. Texts of
the range that are not near a training text dilute the mean, so the lowest scores are trimmed.

Departures from the authors' code:

- They score each text of the range with RMIA or by its loss. Ours is the gain over the base model, which ranks texts as RMIA does
  with the base model as its only reference.
- They replace up to a set number of words with a masked language model. The observation `neighbour_texts` does this for one
  word if a masked model is named there. Otherwise the base model proposes tokens.
- They stop at a range from which no text is left. Ours keeps at least one.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Interval

from byheart.core import DataError, LogProbs, Scores, Variants, ragged

VARIANT = "each text of the range is scored by its gain over the base model; a range has edits of one word or token"


def ramia(
    target: LogProbs,
    base: LogProbs,
    neighbours: Variants,
    neighbours_base: Variants,
    *,
    trim: Annotated[float, Interval(ge=0, lt=1)] = 0.4,
) -> Scores:
    """Mean gain over the base model (nats per token) of the text and its neighbours without the lowest; higher means member.

    `trim` is the share of each range that is left out. Raises `DataError` if the four inputs do not cover the same texts.
    """
    ragged.check_same_tokens("ramia", target.starts, base.starts)
    if not (np.array_equal(neighbours.starts, neighbours_base.starts) and len(neighbours.starts) == len(target.starts)):
        raise DataError(
            f"attacks ramia: {len(target)} texts, but neighbours of {len(neighbours.starts) - 1} texts under the target and of "
            f"{len(neighbours_base.starts) - 1} under the base model. Score the same neighbours of the same texts with both."
        )
    own_gain = ragged.means(target.logp, target.starts) - ragged.means(base.logp, base.starts)
    # Each text stands before its neighbours, so text i begins i places later.
    gains = np.insert(neighbours.loglik - neighbours_base.loglik, neighbours.starts[:-1], own_gain)
    starts = neighbours.starts + np.arange(len(neighbours.starts))
    return -ragged.smallest_means(-gains, starts, share=1 - trim)
