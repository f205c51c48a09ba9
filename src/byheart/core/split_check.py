"""Outcome of the split check: one finding per test, and the gate that combines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["sound", "doubtful", "broken"]


VERDICTS: tuple[Verdict, ...] = ("sound", "doubtful", "broken")
"""From best to worst."""


BLIND_PREFIX = "blind: "
"""The name of a blind classifier's finding begins with it."""
ASSIGNMENT = "assignment"
"""Name of the finding that states who assigned members and non-members; its value is 1 if byheart drew them at random."""


BLIND_AUC_LIMIT = 0.6  # many attacks reach no higher AUC, so a blind classifier above it invalidates them


@dataclass(frozen=True)
class Finding:
    """One test of the split check: its result (`found`) and the reason why the split is not sound (`why`; "" if sound).

    `value` is an AUC, a share or a count. `p_value` is corrected for all tests of the data set.
    """

    name: str
    verdict: Verdict
    found: str
    why: str
    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Gate:
    """All findings about one comparison of members with non-members."""

    members: int
    nonmembers: int
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return VERDICTS[max(VERDICTS.index(f.verdict) for f in self.findings)]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the split is not sound, the worst reason first."""
        findings = sorted((f for f in self.findings if f.why), key=lambda f: -VERDICTS.index(f.verdict))
        return tuple(f.why for f in findings)

    @property
    def blind_classifiers(self) -> tuple[Finding, ...]:
        """Findings of the blind classifiers, each with an interval; empty if none was trained."""
        return tuple(f for f in self.findings if f.name.startswith(BLIND_PREFIX) and f.low is not None)

    @property
    def is_randomized(self) -> bool:
        """Whether byheart drew members and non-members at random from one pool, so that chance alone separates their texts."""
        return any(f.name == ASSIGNMENT and f.value == 1 for f in self.findings)

    @property
    def compared_classifiers(self) -> tuple[Finding, ...]:
        """Blind classifiers whose AUC an attack must exceed to count as a leak.

        All of them, or after a random assignment the classifiers that separate members from non-members nevertheless.
        """
        if not self.is_randomized:
            return self.blind_classifiers
        return tuple(f for f in self.blind_classifiers if f.verdict != "sound")
