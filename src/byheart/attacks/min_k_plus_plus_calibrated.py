"""Calibrated Min-K%++: subtracts the base model's Min-K%++ score from the target model's.

Jingyang Zhang, Jingwei Sun, Eric Yeats, Yang Ouyang, Martin Kuo, Jianyi Zhang, Hao Frank Yang, Hai Li. Min-K%++:
Improved Baseline for Detecting Pre-Training Data from Large Language Models. ICLR, 2025. arXiv 2404.02936.
Lauren Watson, Chuan Guo, Graham Cormode, Alexandre Sablayrolles. On the Importance of Difficulty Calibration in
Membership Inference Attacks. ICLR, 2022. arXiv 2111.08440.

    score(x) = MinK++_target(x) - MinK++_base(x)

MinK++ is the score of `min_k_plus_plus`. Each model selects its own lowest tokens, which need not be the same.

Departure from Watson et al.: they subtract the mean score of models trained without the text. Ours subtracts the score of the
pre-trained base model, as `reference` does.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval

from byheart.attacks.min_k_plus_plus import min_k_plus_plus
from byheart.core import Scores, TokenStats, ragged

VARIANT = "the base model as reference, in place of models trained without the text"


def min_k_plus_plus_calibrated(
    target: TokenStats, base: TokenStats, *, k: Annotated[float, Interval(gt=0, le=1)] = 0.2
) -> Scores:
    """Gain in Min-K%++ (standard deviations) over the base model, which the adversary has; higher means member.

    Raises `DataError` if the two models did not score the same tokens.
    """
    ragged.check_same_tokens("min_k_plus_plus_calibrated", target.starts, base.starts)
    return min_k_plus_plus(target, k=k) - min_k_plus_plus(base, k=k)
