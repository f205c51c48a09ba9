"""chrF: measures task utility by the character n-grams that generated completions share with the true ones.

Maja Popović. chrF: character n-gram F-score for automatic MT evaluation. WMT, 2015. Computed by sacrebleu (Matt Post, A Call for
Clarity in Reporting BLEU Scores, WMT, 2018, arXiv 1804.08771): character n-grams up to 6, beta = 2, of several references the best.
`word_order: 2` gives chrF++, which WebNLG reports.

Departure: the mean of the prompts' own scores, in place of one score from the summed n-grams of all prompts: a mean has an interval
for the sampling of prompts, with prompts of a group together.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from byheart.core.completions import Completions
from byheart.core.types import Estimate
from byheart.metrics._completions import import_sacrebleu, prompt_groups, written_and_references
from byheart.metrics._means import mean_estimate

RANGE = (0.0, 100.0)
PACKAGE = "sacrebleu"
EXTRA = "utility"


def chrf(completions: Completions, validation_groups: tuple[str, ...], *, word_order: Literal[0, 1, 2] = 0) -> Estimate:
    """Mean chrF (0 to 100) of greedy completions of validation prompts; higher is better, 100 is a perfect match.

    Counts prompts as non-members. Raises `DataError` without the package sacrebleu.
    """
    scorer = import_sacrebleu("metrics chrf").metrics.CHRF(word_order=word_order)
    scores = [scorer.sentence_score(written, true).score for written, true in written_and_references(completions)]
    estimate = mean_estimate(
        np.array(scores, dtype=np.float64), prompt_groups(completions, validation_groups), low=0.0, high=100.0
    )
    return estimate._replace(nonmembers=len(scores))
