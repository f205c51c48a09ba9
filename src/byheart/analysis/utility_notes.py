"""Notes of tables at equal utility."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from byheart.analysis.utility_curves import NOT_OBSERVED_CLOSELY


def not_closely_note(lines: Iterable[Sequence[str]]) -> str:
    """Explain the cells without a value because a path was not observed closely enough; "" if there are no such cells."""
    if not any(NOT_OBSERVED_CLOSELY in line for line in lines):
        return ""
    return (
        f" \N{LEFT DOUBLE QUOTATION MARK}{NOT_OBSERVED_CLOSELY}\N{RIGHT DOUBLE QUOTATION MARK}: the observed states around "
        "this perplexity differ by more than the half width of the interval, so that no number is known between them. "
        "Observe more states: training.observe."
    )
