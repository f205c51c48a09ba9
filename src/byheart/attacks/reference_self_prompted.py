"""Reference with a self-prompted model: how much likelier the text is than under a model tuned on texts that the target generated.

Wenjie Fu, Huandong Wang, Chen Gao, Guanghua Liu, Yong Li, Tao Jiang. Membership Inference Attacks against Fine-tuned
Large Language Models via Self-prompt Calibration. NeurIPS, 2024. arXiv 2311.06062.

    score(x) = LL_target(x) - LL_reference(x)

LL is the mean log-probability per token, and the reference is the base model, fine-tuned like the target on texts that the target
generated (`self_prompted`). In the attack `reference` it is the base model itself: a text of the target's kind then gains, whether
it is a member or not. Here the reference has learned the kind, too. At epoch 0 all texts score 0.

Departure from the paper: it compares probabilities above those of neighbours (`spv_self_prompted`). This is its calibration with the
plain log-likelihood.

Measured once (SmolLM2-135M, LoRA, two epochs, 60 + 60 Wikipedia leads of 40 tokens, 100 generated texts): AUC .95 [.87, .98],
`reference` .95 [.90, .98], paired difference -.00 [-.05, .04]. The additional training gained nothing there.
"""

from __future__ import annotations

from byheart.core import LogProbs, Scores, ragged

VARIANT = "the paper's reference model with the log-likelihood, in place of the probability above that of neighbors"


def reference_self_prompted(target: LogProbs, self_prompted: LogProbs) -> Scores:
    """Gain in mean log-probability (nats per token) over the self-prompted reference model; higher means member.

    Raises `DataError` if the two models did not score the same tokens.
    """
    ragged.check_same_tokens("reference_self_prompted", target.starts, self_prompted.starts)
    return ragged.means(target.logp, target.starts) - ragged.means(self_prompted.logp, self_prompted.starts)
