"""All torch code: load models, tokenize texts, score them and train.

The revisions are part of every result's key. Raise a revision when its file's numbers change.
"""

from __future__ import annotations

TRAIN_REVISION = 0
FORWARD_REVISION = 0
BFLOAT16_REVISION = 1
"""Revision of forward passes in bfloat16. 1: logits are summed and returned in float32, so they rarely tie."""


def forward_revision(precision: str) -> int:
    """Return the revision of forward passes in this precision, as a study file names it."""
    return FORWARD_REVISION if precision == "float32" else FORWARD_REVISION + BFLOAT16_REVISION
