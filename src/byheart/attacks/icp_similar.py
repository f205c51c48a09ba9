"""ICP-MIA with texts of the same kind as hints: how much does the text gain from the best of those most like it?

Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu. In-Context Probing for
Membership Inference in Fine-Tuned Language Models. NDSS, 2026. arXiv 2512.16292.

    score(x) = LL(x) - max_j LL(x | c_j)        c_j: the known non-members that are most like x

This is the authors' probing by reference data; `icp` is that by masked copies, and says where ours departs from their
code. Theirs finds ten probes by sentence embeddings among public texts of another data set; ours finds ten by their
words (`after_similar`) among known texts of the same kind, which is the better case for the adversary.
"""

from __future__ import annotations

from byheart.attacks.icp import icp
from byheart.core import LogProbs, Scores, Variants


def icp_similar(target: LogProbs, after_similar: Variants) -> Scores:
    """Mean log-probability (nats per token) alone, less that after the best similar text; higher means member.

    Raises `DataError` where the probes are of other texts.
    """
    return icp(target, after_similar)
