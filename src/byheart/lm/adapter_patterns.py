"""Try the regular expressions of an adapter's config on the model's module names, in a process that can be ended.

peft matches them in this process, and Python's `re` can take years for one name: patterns such as `(a+)+b` double their work
with each character.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from byheart.core.errors import ModelError

MAX_PATTERN_SECONDS = 10.0
"""Maximum time for all patterns and names; usual patterns take milliseconds."""
_MATCH = r"""
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    for whole in (pattern, rf"(.*\.)?({pattern})$"):
        try:
            compiled = re.compile(whole)
        except (re.error, OverflowError, RecursionError):
            continue
        for name in names:
            compiled.match(name)
            compiled.fullmatch(name)
"""


def check_patterns(folder: Path, config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise `ModelError` for an adapter whose patterns take too long to match the names of the base model's modules."""
    patterns = sorted({text for text in _strings(config) if set(text) & set("*+{")})
    if not patterns:
        return
    try:
        subprocess.run(  # noqa: S603 - this interpreter, and a constant program
            [sys.executable, "-I", "-S", "-c", _MATCH],
            input=json.dumps([patterns, list(names)]),
            text=True,
            capture_output=True,
            check=False,
            timeout=MAX_PATTERN_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"adapter {folder}: a pattern in its config takes more than {MAX_PATTERN_SECONDS:g} seconds to match the model's modules. "
            "Name the modules in target_modules as a list."
        ) from error


def _strings(content: Any) -> Iterator[str]:
    """Yield the strings of nested JSON, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for name, value in cast("dict[str, Any]", content).items():
            yield name
            yield from _strings(value)
    elif isinstance(content, list):
        for value in cast("list[Any]", content):
            yield from _strings(value)
