"""ICP-MIA with similar texts: measures how much a text's likelihood gains from the best of the most similar known non-members.

Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu. In-Context Probing for
Membership Inference in Fine-Tuned Language Models. NDSS, 2026. arXiv 2512.16292.

    score(x) = LL(x) - max_j LL(x | c_j)        c_j: the known non-members that are most similar to x

LL is the mean log-probability per token. This is the authors' probing with reference data; `icp` probes with masked copies.

Departures from the authors' code:

- Theirs selects ten probes by sentence embeddings from public texts of another data set. Ours selects ten by their words
  (`after_similar`) from known texts of the same kind, which favors the adversary.
- All departures of `icp` apply.
"""

from __future__ import annotations

from byheart.attacks.icp import icp
from byheart.core import LogProbs, Scores, Variants

VARIANT = "probes by their words from known texts of the same kind, in place of sentence embeddings and public texts"


def icp_similar(target: LogProbs, after_similar: Variants) -> Scores:
    """Mean log-probability (nats per token) alone minus that after the best similar text; higher means member.

    Raises `DataError` if the probes are for other texts.
    """
    return icp(target, after_similar)
