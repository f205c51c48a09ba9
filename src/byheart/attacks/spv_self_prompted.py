"""SPV-MIA: how far a text's likelihood is above its neighbours', relative to a model tuned on texts that the target generated.

Wenjie Fu, Huandong Wang, Chen Gao, Guanghua Liu, Yong Li, Tao Jiang. Membership Inference Attacks against Fine-tuned
Large Language Models via Self-prompt Calibration. NeurIPS, 2024. arXiv 2311.06062.

    p(x) = exp LL(x)        D(x) = 1/n sum over j of p(x~_j) - p(x)        x~_1 ... x~_n: neighbours of x
    score(x) = -(D_target(x) - D_reference(x))

LL is the mean log-probability per token; D_target and D_reference are D under the target and the self-prompted reference model
(`self_prompted`). The attack `spv` has the same formula with the base model as reference; its file compares formula and neighbours
with the authors' code.

Departures from the authors' code:

- Reference model: trained with the target's settings for as many epochs, in place of fewer epochs at half the learning rate, and on
  some hundred generated texts, in place of 10,000.
- At epoch 0 all texts score 0, because both models are the base model.
- Neighbours: T5 refills 30 % of the words, two at a time, ten times. Ours are the `neighbour_texts`, which differ by one word
  or token.

Measured once (SmolLM2-135M, LoRA, two epochs, 60 + 60 Wikipedia leads of 40 tokens, three neighbours, 100 generated texts): AUC .93
[.86, .96], `spv` .83 [.75, .89], paired difference .10 [.04, .15]. `reference` has .95 [.90, .98] without another training.
"""

from __future__ import annotations

from byheart.attacks._probability import calibrated_variation
from byheart.core import LogProbs, Scores, Variants

VARIANT = "the reference has the target's settings, in place of a shorter training of its own; neighbors as in `neighbourhood`"


def spv_self_prompted(
    target: LogProbs, self_prompted: LogProbs, neighbours: Variants, neighbours_self_prompted: Variants
) -> Scores:
    """Gain over the self-prompted model in the probability per token (-1 to 1) above the neighbours; higher means member.

    Raises `DataError` if the models did not score the same tokens, or not the same neighbours.
    """
    return calibrated_variation("spv_self_prompted", target, self_prompted, neighbours, neighbours_self_prompted)
