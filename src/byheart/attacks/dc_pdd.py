"""DC-PDD: a rare token that the model finds likely tells more than a common one.

Weichao Zhang, Ruqing Zhang, Jiafeng Guo, Maarten de Rijke, Yixing Fan, Xueqi Cheng. Pretraining Data Detection for Large
Language Models: A Divergence-based Calibration Method. EMNLP, 2024. arXiv 2409.14781.

    F = {t : x_t occurs for the first time in x}        f = (count + 1) / (reference tokens + vocabulary)
    score(x) = 1/|F| sum over F of min(p(x_t | x_<t) ln(1 / f(x_t)), a)

It is the part of a cross-entropy between the model and a corpus that the text's own tokens have. As in the authors'
code, the natural logarithm is taken, a token that only stands where nothing is scored does not count as an occurrence,
and a is 0.01. That is low: ln(1/f) is about 5 to 17, so that every token likelier than one in a thousand counts the
same, and the score is about a times the share of such tokens. The authors choose a for a data set; a larger one lets
likely tokens count for more.

The authors count tokens in gigabytes of C4. The few texts that an adversary of fine-tuning may know tell rare tokens
apart badly: name a corpus (`observations: [{frequencies: {source: ...}}]`) where there is one. Their public code stops
at its default setting, because it reads a as a string.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt

from byheart.core import Frequencies, LogProbs, Scores, ragged


def dc_pdd(target: LogProbs, frequencies: Frequencies, *, ceiling: Annotated[float, Gt(0)] = 0.01) -> Scores:
    """Mean of p ln(1/f) (nats), at most `ceiling` each, over each token's first occurrence; higher means member."""
    surprise = np.exp(target.logp.astype(np.float64)) * -np.log(frequencies.frequency.astype(np.float64))
    counts = np.add.reduceat(frequencies.first, target.starts[:-1], dtype=np.intp)
    return ragged.means(np.minimum(surprise, ceiling)[frequencies.first], np.concatenate(([0], np.cumsum(counts))))
