"""ROUGE: measures task utility by the words that generated completions share with the true ones.

Chin-Yew Lin. ROUGE: A Package for Automatic Evaluation of Summaries. Text Summarization Branches Out, 2004.

    precision = matches / words of the completion,  recall = matches / words of the reference,  F1 = their harmonic mean

Matches are common n-grams ("1", "2": each counted as often as it occurs in both) or the longest common subsequence of words
("L"). Words are as in Google's package rouge-score without stemming: lower case, letters a to z and digits. Of several
references the best counts.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import Literal

import numpy as np

from byheart.core.completions import Completions
from byheart.core.types import Estimate
from byheart.metrics._completions import prompt_groups, written_and_references
from byheart.metrics._means import mean_estimate

RANGE = (0.0, 100.0)

Kind = Literal["1", "2", "L"]


def rouge(completions: Completions, validation_groups: tuple[str, ...], *, kind: Kind = "L") -> Estimate:
    """Mean ROUGE F1 (0 to 100) of greedy completions of validation prompts; higher is better, 100 is a perfect match.

    Counts prompts as non-members.
    """
    scores = [
        max(_f1(_words(written), _words(reference), kind) for reference in references)
        for written, references in written_and_references(completions)
    ]
    estimate = mean_estimate(
        100 * np.array(scores, dtype=np.float64), prompt_groups(completions, validation_groups), low=0.0, high=100.0
    )
    return estimate._replace(nonmembers=len(scores))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _f1(written: list[str], reference: list[str], kind: Kind) -> float:
    """Return the F1 (0 to 1) of two lists of words; 0 if either has nothing to compare."""
    if kind == "L":
        from rapidfuzz.distance import LCSseq

        matches, sizes = LCSseq.similarity(written, reference), (len(written), len(reference))
    else:
        counts = [Counter(words if kind == "1" else pairwise(words)) for words in (written, reference)]
        matches, sizes = (counts[0] & counts[1]).total(), (counts[0].total(), counts[1].total())
    return 2 * matches / sum(sizes) if matches else 0.0
