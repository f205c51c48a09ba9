"""Reward margin: how much preference tuning moved the model toward the chosen response and away from the rejected one.

Rafael Rafailov, Archit Sharma, Eric Mitchell, Stefano Ermon, Christopher D. Manning, Chelsea Finn. Direct Preference Optimization:
Your Language Model is Secretly a Reward Model. NeurIPS, 2023. arXiv 2305.18290.
Qizhang Feng, Siva Rajesh Kasa, Santhosh Kumar Kasa, Hyokun Yun, Choon Hui Teo, Sravan Bodapati. Exposing Privacy Gaps: Membership
Inference Attack on Preference Data for LLM Alignment (PREMIA). AISTATS, 2025. arXiv 2407.06443.

    r(y | x) = ln p_target(y | x) - ln p_base(y | x)        DPO's implicit reward, in units of beta
    score(x, y_chosen, y_rejected) = r(y_chosen | x) - r(y_rejected | x)

ln p sums over the tokens of a response. DPO minimizes -ln sigmoid(beta * score) on the pairs that it trains on, so the score ranks pairs
as their DPO loss does, whatever beta is: it is the LOSS attack (arXiv 1709.01604) on the objective of the training.

PREMIA attacks pairs with a reference model too. We could read its abstract and the introduction, but not its equations, so this
score follows the loss of DPO (as TRL's `DPOTrainer` computes it), not PREMIA's formula. The reference model of the score is the
base model. That of the training may be another model, which the adversary must then have in place of the base model.

`studies/preferences.yaml` (SmolLM2-135M, LoRA, three epochs of DPO on 24 made-up pairs, 24 pairs held out) has AUC .79 [.61, .90], against
.75 [.58, .87] of `reference` and .68 [.51, .81] of `loss` on the chosen responses. With so few pairs the intervals overlap.
"""

from __future__ import annotations

from byheart.core import LogProbs, Scores, ragged

VARIANT = "DPO's own loss as the score; PREMIA's equations could not be read"


def reward_margin(target: LogProbs, base: LogProbs, rejected: LogProbs, rejected_base: LogProbs) -> Scores:
    """Gain in log-probability (nats) of the chosen response, minus that of the rejected one; higher means member.

    A gain is over the base model, summed over the tokens of a response. Requires preference pairs. Raises `DataError` if the two models
    did not score the same tokens.
    """
    ragged.check_same_tokens("reward_margin", target.starts, base.starts)
    ragged.check_same_tokens("reward_margin", rejected.starts, rejected_base.starts)
    chosen_gain = ragged.sums(target.logp, target.starts) - ragged.sums(base.logp, base.starts)
    rejected_gain = ragged.sums(rejected.logp, rejected.starts) - ragged.sums(rejected_base.logp, rejected_base.starts)
    return chosen_gain - rejected_gain
