"""LOSS: scores a text by its mean log-probability, which is higher for texts that the model was trained on.

Samuel Yeom, Irene Giacomelli, Matt Fredrikson, Somesh Jha. Privacy Risk in Machine Learning: Analyzing the Connection
to Overfitting. IEEE Computer Security Foundations Symposium, 2018. arXiv 1709.01604.

    score(x) = LL(x) = 1/N sum_t ln p(x_t | x_<t)

N is the number of tokens of x.

Departures from the paper and other implementations:

- The authors decide yes or no from a sample's loss. Here the loss ranks texts, without a threshold, as in later work on
  language models.
- Many implementations return the loss itself, where lower means member. In byheart a higher score always means member.
"""

from __future__ import annotations

from byheart.core import LogProbs, Scores, ragged


def loss(target: LogProbs) -> Scores:
    """Mean log-probability (nats per token) under the target model; higher means member."""
    return ragged.means(target.logp, target.starts)
