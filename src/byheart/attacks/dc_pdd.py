"""DC-PDD: weights each token's probability by its rarity, because a likely rare token is stronger evidence than a common one.

Weichao Zhang, Ruqing Zhang, Jiafeng Guo, Maarten de Rijke, Yixing Fan, Xueqi Cheng. Pretraining Data Detection for Large
Language Models: A Divergence-based Calibration Method. EMNLP, 2024. arXiv 2409.14781.

    F = {t : x_t occurs for the first time in x}        f = (count + 1) / (reference tokens + vocabulary)
    score(x) = 1/|F| sum over F of min(p(x_t | x_<t) ln(1 / f(x_t)), a)

f is the frequency of a token in reference texts, count its number of occurrences there, and a the setting `ceiling`. The score
is the contribution of the text's own tokens to a cross-entropy between the model and a corpus. As in the authors' code, a
token that occurs only in unscored positions does not count as an occurrence, and a is 0.01. This is low: ln(1/f) is about 5 to
17, so every token with a probability above about one in a thousand counts the same, and the score is about a times the share
of such tokens. The authors choose a for each data set; a larger a gives likely tokens more weight.

Departures from the authors' code:

- They count tokens in gigabytes of C4. Ours counts the known non-members, which are few and estimate the frequencies of rare
  tokens poorly. Name a corpus if you have one (`observations: [{frequencies: {source: ...}}]`).
- Their public code fails with its default setting, because it reads a as a string.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt

from byheart.core import Frequencies, LogProbs, Scores, ragged

VARIANT = (
    "token frequencies from known non-members unless `frequencies: {source: ...}` names a corpus, in place of "
    "gigabytes of C4"
)


def dc_pdd(target: LogProbs, frequencies: Frequencies, *, ceiling: Annotated[float, Gt(0)] = 0.01) -> Scores:
    """Mean of p ln(1/f) (nats), at most `ceiling` each, over each token's first occurrence; higher means member."""
    terms = np.exp(target.logp.astype(np.float64)) * -np.log(frequencies.frequency.astype(np.float64))
    counts = np.add.reduceat(frequencies.first, target.starts[:-1], dtype=np.intp)
    return ragged.means(np.minimum(terms, ceiling)[frequencies.first], np.concatenate(([0], np.cumsum(counts))))
