"""Deduplication of the training texts: of each set of near duplicates, only the first text is trained on.

"Deduplicating Training Data Makes Language Models Better", Lee et al., ACL 2022, arXiv 2107.06499; "Deduplicating Training Data
Mitigates Privacy Risks in Language Models", Kandpal et al., ICML 2022, arXiv 2202.06539. Near duplicates are those of
`near_duplicates.py`, exact and without MinHash, but a text that only contains another one stays: the rest of it teaches
something new. The audited texts do not change, so results with and without deduplication are for the same texts.
"""

from __future__ import annotations

from byheart.core.config import Training
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.near_duplicates import distinct_positions


def deduplicated_texts(texts: Texts, training: Training) -> Texts:
    """Return the training texts without near duplicates of earlier texts: a similarity of at least `training.deduplicate`."""
    if training.deduplicate is None:
        return texts
    # Each text is its own group, so that repetitions within a group (a user) are duplicates, too.
    ungrouped = Examples(texts, ("train",) * len(texts), tuple(map(str, range(len(texts)))))
    found = distinct_positions(ungrouped, range(len(texts)), training.deduplicate, with_containment=False)
    return texts.take(found.positions)
