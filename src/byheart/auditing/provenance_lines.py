"""Provenance of an audit as lines of its page and its two-page summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

LINE_NAMES = {"at": "date", "seconds": "run time (seconds)", "dirty": "uncommitted changes"}
TEXT_COUNTS = {"cut": "truncated texts"}
"""Displayed names of keys in an audit's files."""


def provenance_lines(made: Mapping[str, Any], names: Iterable[str] | None = None) -> dict[str, str]:
    """Return the values of these keys (all by default) as text, by displayed name."""
    lines: dict[str, str] = {}
    for name in made if names is None else names:
        if name in made:
            value = made[name]
            if name == "texts":
                value = {TEXT_COUNTS.get(n, n): count for n, count in value.items()}
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            lines[LINE_NAMES.get(name, name)] = text
    return lines
