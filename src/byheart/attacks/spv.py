"""SPV-MIA without the self-prompted reference: how far a text's likelihood is above its neighbours', relative to the base model.

Wenjie Fu, Huandong Wang, Chen Gao, Guanghua Liu, Yong Li, Tao Jiang. Membership Inference Attacks against Fine-tuned
Large Language Models via Self-prompt Calibration. NeurIPS, 2024. arXiv 2311.06062.

    p(x) = exp LL(x)        D(x) = 1/n sum over j of p(x~_j) - p(x)        x~_1 ... x~_n: neighbours of x
    score(x) = -(D_target(x) - D_reference(x))

LL is the mean log-probability per token; D_target and D_reference are D under the target and the reference model. A memorized
text is a local maximum of p, so its neighbours are less likely and D is far below zero. The authors call a text a member if
D_target - D_reference is below a threshold; in their code members are class 0 and that difference is class 1's score. As in
their code, p(x) is the geometric mean of the tokens' probabilities (0 to 1); the text's probability would be zero in float64.
A text without any neighbour but itself has D = 0 under both models and scores 0.

Departures from the authors' code:

- Reference model: theirs is the base model, fine-tuned on texts that the target generates from short prompts, so it knows the
  kind of text but not the members (`spv_self_prompted`). Here it is the base model itself, which costs nothing and is the same for
  all cells. What the target learned about this kind of text stays in the score.
- At epoch 0 all texts score 0.
- Neighbours: T5 refills 30 % of the words, two at a time, ten times. Ours are the `neighbour_texts`, which differ by one word
  or token. Neither uses the pairs x + z and x - z of the paper's derivation; both average over neighbours.
"""

from __future__ import annotations

from byheart.attacks._probability import calibrated_variation
from byheart.core import LogProbs, Scores, Variants

VARIANT = (
    "the base model as reference, in place of a model tuned on texts that the target generates; neighbors as in "
    "`neighbourhood`"
)


def spv(target: LogProbs, base: LogProbs, neighbours: Variants, neighbours_base: Variants) -> Scores:
    """Gain over the base model in the probability per token (-1 to 1) of the text above its neighbours; higher means member.

    Raises `DataError` if the models did not score the same tokens, or not the same neighbours.
    """
    return calibrated_variation("spv", target, base, neighbours, neighbours_base)
