"""Outcome of the split check: one finding per test, and the gate that all of them decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["sound", "doubtful", "broken"]


VERDICTS: tuple[Verdict, ...] = ("sound", "doubtful", "broken")
"""From best to worst."""


BLIND_AUC_LIMIT = 0.6  # a blind AUC above it is as much as many an attack reaches


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was `found`, in short, and `why` it is held against the data ("" if sound).

    `value` is an AUC, a share or a count, `p_value` is corrected for all tests of the data set.
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
    """Everything that was found about one comparison of members with non-members."""

    members: int
    nonmembers: int
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings' verdicts."""
        return VERDICTS[max(VERDICTS.index(f.verdict) for f in self.findings)]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not sound, the worst first."""
        held = sorted((f for f in self.findings if f.why), key=lambda f: -VERDICTS.index(f.verdict))
        return tuple(f.why for f in held)
