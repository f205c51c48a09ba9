"""Outcome of the split check: one finding per test, and the gate that combines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["sound", "doubtful", "broken"]


VERDICTS: tuple[Verdict, ...] = ("sound", "doubtful", "broken")
"""From best to worst."""


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
