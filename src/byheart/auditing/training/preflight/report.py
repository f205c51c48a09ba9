"""The report of a preflight: how many watched texts are trained on as they should be, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TRAINED = "trained on"
PARTLY_MASKED = "without loss on a part"
MASKED = "without loss (labels masked)"
CUT_BY_PACKING = "cut in two by packing"
TRUNCATED = "truncated"
FEWER_COPIES = "in fewer copies than planted"
ABSENT = "not in the training data"
TOO_SHORT = "too short to find"

SHOULD_BE_TRAINED = ("members", "canaries")


class TextResult(NamedTuple):
    """Result of one text: why it is or is not trained on, and whether its end token receives loss (None: it has no end token)."""

    name: str
    reason: str
    end_token: bool | None = None


class Preflight(NamedTuple):
    """Results by part (members, non-members, canaries, held-out canaries), and the number of rows that were read.

    A sample of the rows cannot show that a text is absent, so `is_complete` false makes no problem of absent texts. `unread` is the
    reason why the data could not be read.
    """

    parts: Mapping[str, Sequence[TextResult]]
    rows: int
    is_complete: bool
    unread: str = ""

    def counts(self, part: str) -> dict[str, int]:
        """Return the number of texts of a part by reason, the most frequent reason first."""
        return dict(Counter(result.reason for result in self.parts[part]).most_common())

    @property
    def problems(self) -> tuple[str, ...]:
        """Texts that should be trained on and are not, and texts that should not be there, one line per part and reason."""
        lines: list[str] = []
        if self.unread:
            return (f"the training data cannot be read: {self.unread}",)
        for part in self.parts:
            accepted = {TRAINED, TOO_SHORT} if part in SHOULD_BE_TRAINED else {ABSENT, TOO_SHORT}
            accepted |= set() if self.is_complete else {ABSENT, FEWER_COPIES}
            for reason, count in self.counts(part).items():
                if reason not in accepted:
                    lines.append(
                        f"{count} of {len(self.parts[part])} {part} are {reason} ({self._example(part, reason)})"
                    )
        return tuple(lines)

    def text(self) -> str:
        """Return the report, one line per part."""
        sample = "" if self.is_complete else ", a sample, which cannot show that a text is absent"
        lines = [f"preflight: {self.rows:,} rows read{sample}"]
        if self.unread:
            return f"preflight: the training data cannot be read: {self.unread}"
        for part, results in self.parts.items():
            counts = ", ".join(f"{count} {reason}" for reason, count in self.counts(part).items())
            lines.append(f"  {part}: {len(results)}: {counts}")
        trained = [r for part in SHOULD_BE_TRAINED for r in self.parts.get(part, ()) if r.reason == TRAINED]
        if trained:
            ended = sum(r.end_token is True for r in trained)
            lines.append(f"  end token: receives loss after {ended} of {len(trained)} trained texts")
        return "\n".join(lines)

    def _example(self, part: str, reason: str) -> str:
        return f"such as {next(r.name for r in self.parts[part] if r.reason == reason)}"
