"""BLEU: measures task utility by the word n-grams that generated completions share with the true ones.

Kishore Papineni, Salim Roukos, Todd Ward, Wei-Jing Zhu. BLEU: a Method for Automatic Evaluation of Machine Translation. ACL, 2002.
Computed by sacrebleu (Matt Post, A Call for Clarity in Reporting BLEU Scores, WMT, 2018, arXiv 1804.08771), with its tokenizer 13a:
one score from the n-gram counts of all prompts, each with all its references.

The interval is a jackknife over groups of prompts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from byheart.core.completions import Completions
from byheart.core.types import Estimate
from byheart.metrics._completions import import_sacrebleu, prompt_groups, written_and_references
from byheart.stats.jackknife import jackknife

RANGE = (0.0, 100.0)
PACKAGE = "sacrebleu"
EXTRA = "utility"


def bleu(completions: Completions, validation_groups: tuple[str, ...]) -> Estimate:
    """Corpus BLEU (0 to 100) of greedy completions of validation prompts; higher is better, 100 is a perfect match.

    Counts prompts as non-members. Raises `DataError` without the package sacrebleu.
    """
    scorer = import_sacrebleu("metrics bleu").metrics.BLEU()
    pairs = written_and_references(completions)
    # Not `sentence_score`, which warns that a sentence's own score needs another setting; only its counts are read.
    scores = [scorer.corpus_score([written], [[reference] for reference in true]) for written, true in pairs]
    counts, totals = (np.array([getattr(s, name) for s in scores]) for name in ("counts", "totals"))
    lengths = np.array([[s.sys_len, s.ref_len] for s in scores])

    def corpus_bleu(chosen: Int[np.ndarray, " chosen"]) -> float:
        written, true = lengths[chosen].sum(0).tolist()
        n_grams = (list(map(int, numbers[chosen].sum(0))) for numbers in (counts, totals))
        return float(scorer.compute_bleu(*n_grams, written, true, smooth_method=scorer.smooth_method).score)

    estimate = jackknife(corpus_bleu, prompt_groups(completions, validation_groups), low=0.0, high=100.0)
    return Estimate(*estimate, members=None, nonmembers=len(scores))
