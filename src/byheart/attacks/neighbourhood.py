"""Neighbourhood: a text that was learned is likelier than texts that differ from it by a word; another is not.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

    score(x) = LL(x) - 1/n sum over j of LL(x~_j)        x~_1 ... x~_n: neighbours of x

The authors call a text a member where its loss less its neighbours' mean loss is below a threshold: the same number
with its sign turned. No reference model is needed to score, which is the attack's point.

How neighbours are made is a matter of the observation `neighbour_texts`: by a masked language model, as in the paper, if
one is named there; else by the base model, from what comes before a token, and then the attack is a variant of the
paper's. A text that has no neighbour but itself scores 0.
"""

from __future__ import annotations

from byheart.core import DataError, LogProbs, Scores, Variants, ragged


def neighbourhood(target: LogProbs, neighbours: Variants) -> Scores:
    """Mean log-probability (nats per token) of the text less that of its neighbours, on average; higher means member.

    Raises `DataError` where the neighbours are not those of these texts.
    """
    if len(neighbours.starts) != len(target.starts):
        raise DataError(
            f"neighbourhood needs neighbours of the {len(target)} texts; it got those of {len(neighbours.starts) - 1}"
        )
    return ragged.means(target.logp, target.starts) - ragged.means(neighbours.loglik, neighbours.starts)
