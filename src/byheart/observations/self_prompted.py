"""Scores every audited text with the self-prompted reference model: the base model, tuned on texts that the target generated.

Wenjie Fu, Huandong Wang, Chen Gao, Guanghua Liu, Yong Li, Tao Jiang. Membership Inference Attacks against Fine-tuned
Large Language Models via Self-prompt Calibration. NeurIPS, 2024. arXiv 2311.06062.

The reference model is trained by the target's method, with its settings and for as many epochs, on the `self_prompted_texts` of
the target at this epoch. It knows the kind of text, but the members only as far as the target generates them. At epoch 0 it is the
base model. Its steps are as many as the generated texts require: choose `data.known` times `samples` near `data.train` for as many
as the target's.

Departure: in the authors' code the reference has its own settings, fewer epochs at half the target's learning rate (2 in place of 10).

`training.deduplicate` does not apply to the generated texts.

The cost is one more training for each observed epoch, up to that epoch. Observations that read the same reference model share it if
they are made together. Its weights are not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.evidence import PromptedTexts
    from byheart.core.types import TokenStats
    from byheart.lm.forward import ReferenceTrainer
    from byheart.lm.tokens import Tokens

BASE_EQUIVALENT = "base"
ADVERSARY = "the base model, the training settings of the target, and the means to repeat the fine-tuning once"


def self_prompted(
    reference_trainer: ReferenceTrainer, self_prompted_texts: PromptedTexts, tokens: Tokens
) -> TokenStats:
    """Token statistics (nats) of every audited text under the self-prompted reference model; higher is likelier."""
    return reference_trainer(self_prompted_texts)(tokens)
