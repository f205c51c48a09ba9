"""SPV-MIA: is the text a sharper peak among its neighbours than it was before the model was tuned?

Wenjie Fu, Huandong Wang, Chen Gao, Guanghua Liu, Yong Li, Tao Jiang. Membership Inference Attacks against Fine-tuned
Large Language Models via Self-prompt Calibration. NeurIPS, 2024. arXiv 2311.06062.

    p(x) = exp LL(x)        D(x) = 1/n sum over j of p(x~_j) - p(x)        x~_1 ... x~_n: neighbours of x
    score(x) = -(D_target(x) - D_reference(x))

Why the sign: a text that was memorised is a local maximum of p, so that its neighbours, taken from all sides, are less
likely and D is far below zero. The authors call a text a member where D_target - D_reference is below a threshold; in
their code members are class 0 and that difference is class 1's score. p(x) is the geometric mean of the tokens'
probabilities (0 to 1), as in their code, and not the text's probability, which would be zero in float64.

Ours departs from the authors' in two points.

The reference. They let the target write texts from short prompts and tune the base on them, so that the reference knows
the kind of text but not its members. Ours is the untuned base. It costs nothing more and is the same for all cells, but
what the target learned of the kind of text as a whole, which self-prompting takes out, stays in the score: where
fine-tuning made all texts of this kind sharper, members and others are told apart less well. At epoch 0 all score 0.

The neighbours. They let T5 refill 30 % of the words, two at a time, ten times; ours are those of `neighbour_texts`, by one
word or token each. The pairs x + z and x - z of the paper's derivation are in neither: both average over neighbours.

Of a text that has no neighbour but itself, D is 0 under both models, and so is its score.
"""

from __future__ import annotations

import numpy as np

from byheart.core import DataError, LogProbs, Scores, Variants, ragged


def spv(target: LogProbs, base: LogProbs, neighbours: Variants, neighbours_base: Variants) -> Scores:
    """How much more the text's probability per token (-1 to 1) stands out of its neighbours than under the base; higher is member.

    Raises `DataError` where the models did not score the same tokens, or not the same neighbours.
    """
    ragged.check_same_tokens("spv", target.starts, base.starts)
    if len(neighbours.starts) != len(target.starts) or not np.array_equal(neighbours.starts, neighbours_base.starts):
        raise DataError(
            f"spv compares the same neighbours of {len(target)} texts under two models; it got {neighbours.starts[-1]} of "
            f"{len(neighbours.starts) - 1} texts under the target, {neighbours_base.starts[-1]} of "
            f"{len(neighbours_base.starts) - 1} under the base"
        )
    return _probability_above_neighbours(target, neighbours) - _probability_above_neighbours(base, neighbours_base)


def _probability_above_neighbours(logprobs: LogProbs, neighbours: Variants) -> Scores:
    """Probability per token of each text less the mean of its neighbours': -D."""
    return np.exp(ragged.means(logprobs.logp, logprobs.starts)) - ragged.means(
        np.exp(neighbours.loglik), neighbours.starts
    )
