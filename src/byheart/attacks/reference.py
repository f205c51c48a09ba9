"""Ref: how much likelier the text became by fine-tuning, so that easy texts are not mistaken for members.

Nicholas Carlini et al. Extracting Training Data from Large Language Models. USENIX Security, 2021. arXiv 2012.07805.
Fatemehsadat Mireshghallah, Kartik Goyal, Archit Uniyal, Taylor Berg-Kirkpatrick, Reza Shokri. Quantifying Privacy Risks
of Masked Language Models Using Membership Inference Attacks. EMNLP, 2022. arXiv 2203.03929.
Jie Hou, Chuxiong Wu, Lannan Luo, Qiang Zeng. Impact of Fine-Tuning Methods on Memorization in Large Language Models.
2025. arXiv 2507.00258.

    score(x) = LL_target(x) - LL_base(x)

Carlini et al. compare two sizes of one model and divide their log-perplexities; Mireshghallah et al. take the logarithm
of a likelihood ratio against a model of other data. Ours is that difference, per token, against the pre-trained model
that the target was tuned from, which is the reference of Hou et al.: a quotient runs away where either model is nearly
certain of the text, and a sum grows with the text's length. Both models must have scored the same tokens.
"""

from __future__ import annotations

import numpy as np

from byheart.core import DataError, LogProbs, Scores, ragged


def reference(target: LogProbs, base: LogProbs) -> Scores:
    """Gain in mean log-probability (nats per token) over the untuned base, which the adversary owns; higher is member.

    Raises `DataError` where the two models did not score the same tokens.
    """
    if not np.array_equal(target.starts, base.starts):
        raise DataError(
            f"reference compares the same tokens under two models; the target scored {target.starts[-1]} tokens of "
            f"{len(target)} texts, the base {base.starts[-1]} of {len(base)}: use the target's own tokenizer for both"
        )
    return ragged.means(target.logp, target.starts) - ragged.means(base.logp, base.starts)
