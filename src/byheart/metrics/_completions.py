"""Prompts of generated completions: their groups, their references, and the package that scores them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from byheart.core.completions import Completions
from byheart.core.errors import DataError


def written_and_references(completions: Completions) -> Iterator[tuple[str, list[str]]]:
    """Yield each generated completion with the true completions of its prompt."""
    starts = completions.starts.tolist()
    for written, start, end in zip(completions.written, starts[:-1], starts[1:], strict=True):
        yield written, list(completions.references[start:end])


def prompt_groups(completions: Completions, validation_groups: tuple[str, ...]) -> tuple[str, ...]:
    """Return the group of each prompt: that of its first text."""
    return tuple(validation_groups[i] for i in completions.text)


def import_sacrebleu(requester: str) -> Any:
    """Return the package sacrebleu. Raises `DataError` if it is not installed."""
    try:
        import sacrebleu
    except ImportError as error:
        raise DataError(
            f"{requester}: the package sacrebleu is not installed. Run pip install 'byheart[utility]'."
        ) from error
    return sacrebleu
