"""Neighbourhood, with or without a masked model: compares the text's likelihood with neighbours that differ by one word or token.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

    score(x) = LL(x) - 1/n sum over j of LL(x~_j)        x~_1 ... x~_n: neighbours of x

LL is the mean log-probability per token. A learned text is likelier than its neighbours; another text is not. Scoring needs no
reference model. A text without any neighbour but itself scores 0.

Departures from the authors' code:

- They call a text a member if its loss minus its neighbours' mean loss is below a threshold. Ours is minus that difference.
- The observation `neighbour_texts` generates neighbours with a masked language model, as in the paper, if one is named there.
  Otherwise the base model proposes tokens from the preceding tokens, which is a variant of the paper's attack.
"""

from __future__ import annotations

from byheart.core import DataError, LogProbs, Scores, Variants, ragged

VARIANT = (
    "neighbors proposed by the base model, unless `neighbour_texts: {masked_model: ...}` names a masked language model"
)


def neighbourhood(target: LogProbs, neighbours: Variants) -> Scores:
    """Mean log-probability (nats per token) of the text minus that of its neighbours, on average; higher means member.

    Raises `DataError` if the neighbours are for other texts.
    """
    if len(neighbours.starts) != len(target.starts):
        raise DataError(
            f"attacks neighbourhood: {len(target)} texts, but neighbours of {len(neighbours.starts) - 1} texts. "
            "Score the neighbours of the same texts."
        )
    return ragged.means(target.logp, target.starts) - ragged.means(neighbours.loglik, neighbours.starts)
