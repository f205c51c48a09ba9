"""Exact memorization (EM): the share of a text's tokens that are the model's most likely next token.

Kushal Tirumala, Aram Markosyan, Luke Zettlemoyer, Armen Aghajanyan. Memorization Without Overfitting: Analyzing the Training
Dynamics of Large Language Models. NeurIPS, 2022. arXiv 2205.10770.

    score(x) = 1/N sum_t [argmax_v p(v | x_<t) = x_t]

N is the number of scored tokens of x: with a prompt, those of the completion. One forward pass, without generation.

Departures:

- The paper reports the share over all contexts of a training set. Here it is a score of each text, as in benchmarks of
  unlearning (OpenUnlearning). The metric `exact_memorization` is its mean over members and over non-members.
- Of equally likely tokens each counts as the most likely one.

Short texts have few possible scores, and tie often.
"""

from __future__ import annotations

import numpy as np

from byheart.core import Scores, TokenStats, ragged


def exact_memorization(target: TokenStats) -> Scores:
    """Share (0 to 1) of the text's tokens that are the target model's most likely token; higher means member."""
    return ragged.means((target.rank == 0).astype(np.float64), target.starts)
