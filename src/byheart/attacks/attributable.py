"""Attributable extraction: the model generates the suffix after the text's own prefix, and not after another text's prefix.

Victor Maricato. Leak It: A Probabilistic Approach to Training-Data Extraction from Black-Box Language Models. 2026.
arXiv 2608.00144. The rule follows the author's package, leakit (victormaricato/leakit).

    x = (prefix, suffix)        y: greedy continuation of the prefix        y': of the prefix of another text
    extracted(x) if y = suffix and y' is not, token for token
    score(x) = max(0, c(y) - c(y'))        c: share of the suffix that is matched before the first wrong token

The difference to the rate of `discoverable` is the share of texts whose suffix the model generates in any context. Both conditions
hold for each text by itself, so a single text can be reported; `extraction_excess` compares two rates.

Departures from leakit:

- It samples several continuations and looks for a string of the document. Ours is greedy, and the string is the suffix.
- Its control is one unrelated document that the user names. Ours is the prefix of another audited text.
"""

from __future__ import annotations

import numpy as np

from byheart.attacks.discoverable import discoverable
from byheart.core import DataError, Extraction, GreedyContinuation

VARIANT = "one greedy continuation in place of samples; the control prefix is that of another audited text"


def attributable(greedy_continuation: GreedyContinuation, mismatched_continuation: GreedyContinuation) -> Extraction:
    """Share (0 to 1) of the suffix generated after the own prefix, minus that after another; higher means member.

    A text is extracted if the model generates the whole suffix after its own prefix only. Raises `DataError` if the two inputs do not
    cover the same suffixes.
    """
    if not (
        np.array_equal(greedy_continuation.starts, mismatched_continuation.starts)
        and np.array_equal(greedy_continuation.true, mismatched_continuation.true)
    ):
        raise DataError(
            "attacks attributable: the continuations of own and of other prefixes are for other suffixes. Generate both for the "
            "same texts."
        )
    own, control = discoverable(greedy_continuation), discoverable(mismatched_continuation)
    return Extraction(np.maximum(own.scores - control.scores, 0), own.extracted & ~control.extracted, own.tokens)
