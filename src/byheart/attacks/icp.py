"""ICP-MIA: a text that was trained on has little left to gain from a hint in front of it; here, its own masked copy.

Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu. In-Context Probing for
Membership Inference in Fine-Tuned Language Models. NDSS, 2026. arXiv 2512.16292.

    score(x) = LL(x) - max_j LL(x | c_j)        c_j: copies of x, 70 % of their words masked

It is minus what the best probe gains: what a step of training on it would gain, so near zero for a member (it may lie
above zero, where every probe does harm). This is the authors' self-perturbation, which needs nothing but the model; their
other kind of probe is `icp_similar`.

Their code takes the best probe whether it is told to take the maximum or the mean; ours the best. It scores an end token
along with the text and gives 0, which speaks for a member, where no probe fits beside the text; ours cuts the probe.
They use twenty masked copies, ours ten (`after_masked`: `probes`).
"""

from __future__ import annotations

import numpy as np

from byheart.core import DataError, LogProbs, Scores, Variants, ragged


def icp(target: LogProbs, after_masked: Variants) -> Scores:
    """Mean log-probability (nats per token) alone, less that after the best masked copy; higher means member.

    Raises `DataError` where the probes are of other texts.
    """
    if len(after_masked.starts) != len(target.starts):
        raise DataError(
            f"icp compares texts alone and after probes; {len(target)} texts were scored alone, "
            f"{len(after_masked.starts) - 1} after probes: score the same ones"
        )
    return ragged.means(target.logp, target.starts) - np.maximum.reduceat(after_masked.loglik, after_masked.starts[:-1])
