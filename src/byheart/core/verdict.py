"""Words of verdicts: one list for studies, audits and training."""

from __future__ import annotations

from typing import Literal

VerdictWord = Literal["leaks", "differs", "nothing", "broken", "refused", "uncompared"]
"""What the numbers allow to be claimed (docs/verdicts.md).

leaks: an attack is above chance, above what it reaches on the base model, and above the blind classifiers. differs: above
chance, but not shown to exceed the base model or the blind classifiers. nothing: no attack is above chance. broken: members
and non-members are not comparable. refused: too few records. uncompared: there are no non-members.
"""
