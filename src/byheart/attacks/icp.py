"""ICP-MIA: measures how much a text's likelihood gains from a masked copy of itself as context; a member gains little.

Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu. In-Context Probing for
Membership Inference in Fine-Tuned Language Models. NDSS, 2026. arXiv 2512.16292.

    score(x) = LL(x) - max_j LL(x | c_j)        c_j: copies of x, 70 % of their words masked

LL is the mean log-probability per token. The score is minus the gain from the best probe c_j, which approximates the gain from
one training step, so it is near zero for a member. It is positive if every probe lowers the likelihood. This is the authors'
self-perturbation, which needs only the model; `icp_similar` uses their other kind of probe.

Departures from the authors' code:

- Theirs takes the best probe for both of its settings, maximum and mean. Ours always takes the best.
- Theirs also scores an end-of-text token. Ours does not.
- Theirs gives 0, which means member, if no probe fits beside the text. Ours truncates the probe.
- Theirs uses twenty masked copies, ours ten (`after_masked`: `probes`).
"""

from __future__ import annotations

import numpy as np

from byheart.core import DataError, LogProbs, Scores, Variants, ragged

VARIANT = "ten masked copies in place of twenty; no end-of-text token unless `data.end_token`"


def icp(target: LogProbs, after_masked: Variants) -> Scores:
    """Mean log-probability (nats per token) alone minus that after the best masked copy; higher means member.

    Raises `DataError` if the probes are for other texts.
    """
    if len(after_masked.starts) != len(target.starts):
        raise DataError(
            f"attacks icp: {len(target)} texts were scored alone, but {len(after_masked.starts) - 1} after probes. "
            "Score the same texts in both."
        )
    return ragged.means(target.logp, target.starts) - np.maximum.reduceat(after_masked.loglik, after_masked.starts[:-1])
