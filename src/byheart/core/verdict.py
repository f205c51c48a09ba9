"""Words of verdicts: one list for studies, audits and training."""

from __future__ import annotations

from typing import Literal

VerdictWord = Literal["leaks", "reversed", "differs", "nothing", "broken", "refused", "uncompared"]
"""What the numbers allow to be claimed (docs/verdicts.md).

leaks: an attack is above chance, above what it reaches on the base model, and above the blind classifiers. reversed: the same
for an attack with its score reversed, so members score below non-members, as after unlearning. differs: above or below chance,
but not shown to exceed the base model or the blind classifiers. nothing: no attack differs from chance. broken: members and
non-members are not comparable. refused: too few records. uncompared: there are no non-members.
"""
