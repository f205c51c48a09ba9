"""Reference: measures how much likelier fine-tuning made the text, so that easy texts are not mistaken for members.

Nicholas Carlini et al. Extracting Training Data from Large Language Models. USENIX Security, 2021. arXiv 2012.07805.
Fatemehsadat Mireshghallah, Kartik Goyal, Archit Uniyal, Taylor Berg-Kirkpatrick, Reza Shokri. Quantifying Privacy Risks
of Masked Language Models Using Membership Inference Attacks. EMNLP, 2022. arXiv 2203.03929.
Jie Hou, Chuxiong Wu, Lannan Luo, Qiang Zeng. Impact of Fine-Tuning Methods on Memorization in Large Language Models.
2025. arXiv 2507.00258.

    score(x) = LL_target(x) - LL_base(x)

LL is the mean log-probability per token. Both models must score the same tokens. As in Hou et al., the reference is the
pre-trained model that the target was fine-tuned from.

Departures from the other papers:

- Carlini et al. compare two sizes of one model and divide their log-perplexities. A ratio diverges where either model is nearly
  certain of the text.
- Mireshghallah et al. take the logarithm of a likelihood ratio against a model of other data. A sum over tokens grows with the
  text's length; ours is per token.
"""

from __future__ import annotations

import numpy as np

from byheart.core import DataError, LogProbs, Scores, ragged


def reference(target: LogProbs, base: LogProbs) -> Scores:
    """Gain in mean log-probability (nats per token) over the base model, which the adversary has; higher means member.

    Raises `DataError` if the two models did not score the same tokens.
    """
    if not np.array_equal(target.starts, base.starts):
        raise DataError(
            f"attacks reference: the target scored {target.starts[-1]} tokens of {len(target)} texts, the base model "
            f"{base.starts[-1]} tokens of {len(base)} texts. Score the same tokens, with the target's tokenizer for both."
        )
    return ragged.means(target.logp, target.starts) - ragged.means(base.logp, base.starts)
