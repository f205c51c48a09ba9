"""LOSS: a text that the model finds likely was probably trained on.

Samuel Yeom, Irene Giacomelli, Matt Fredrikson, Somesh Jha. Privacy Risk in Machine Learning: Analyzing the Connection
to Overfitting. IEEE Computer Security Foundations Symposium, 2018. arXiv 1709.01604.

    score(x) = LL(x) = 1/N sum_t ln p(x_t | x_<t)

The authors decide yes or no from a sample's loss; here, as in later work on language models, the loss ranks the texts
and no threshold is chosen. Many implementations return the loss itself, so that lower means member; every score of
byheart points the other way.
"""

from __future__ import annotations

from byheart.core import LogProbs, Scores, ragged


def loss(target: LogProbs) -> Scores:
    """Mean log-probability (nats per token) under the attacked model; higher means member."""
    return ragged.means(target.logp, target.starts)
