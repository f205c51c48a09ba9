"""Deduplication: a text of which there are copies is trained on once.

"Deduplicating Training Data Makes Language Models Better", Lee et al., ACL 2022, arXiv 2107.06499; "Deduplicating Training Data
Mitigates Privacy Risks in Language Models", Kandpal et al., ICML 2022, arXiv 2202.06539. Copies are found as `splitting` finds
them, exactly and not by MinHash. Who is audited does not change, so that with and without compare on the same texts.
"""

from __future__ import annotations

from byheart.core.config import Training
from byheart.core.types import Examples, Texts
from byheart.data.near_duplicates import distinct_positions


def deduplicated_texts(texts: Texts, training: Training) -> Texts:
    """Return the training texts that training reads: of those that overlap by `training.deduplicate` or more, the first."""
    if training.deduplicate is None:
        return texts
    # Each a group of its own: a user who says the same five times is what is meant.
    alone = Examples(texts, ("train",) * len(texts), tuple(map(str, range(len(texts)))))
    return texts.take(distinct_positions(alone, range(len(texts)), training.deduplicate).positions)
