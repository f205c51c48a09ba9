"""Min-K%++ against the base: how much closer to a local maximum did fine-tuning move the text's weakest tokens?

Jingyang Zhang, Jingwei Sun, Eric Yeats, Yang Ouyang, Martin Kuo, Jianyi Zhang, Hao Frank Yang, Hai Li. Min-K%++:
Improved Baseline for Detecting Pre-Training Data from Large Language Models. ICLR, 2025. arXiv 2404.02936.
Lauren Watson, Chuan Guo, Graham Cormode, Alexandre Sablayrolles. On the Importance of Difficulty Calibration in
Membership Inference Attacks. ICLR, 2022. arXiv 2111.08440.

    score(x) = MinK++_target(x) - MinK++_base(x)

Watson et al. subtract the mean score of models trained without the text; the pre-trained base stands for them here, as
in `reference`. Each model chooses its own lowest tokens: the text's hardest places before fine-tuning are compared with
its hardest after it, which need not be the same.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval

from byheart.attacks.min_k_plus_plus import min_k_plus_plus
from byheart.core import Scores, TokenStats, ragged


def min_k_plus_plus_calibrated(
    target: TokenStats, base: TokenStats, *, k: Annotated[float, Interval(gt=0, le=1)] = 0.2
) -> Scores:
    """Gain in Min-K%++ (standard deviations) over the untuned base, which the adversary owns; higher means member.

    Raises `DataError` where the two models did not score the same tokens.
    """
    ragged.check_same_tokens("min_k_plus_plus_calibrated", target.starts, base.starts)
    return min_k_plus_plus(target, k=k) - min_k_plus_plus(base, k=k)
