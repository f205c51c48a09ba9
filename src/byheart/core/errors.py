"""The exceptions of byheart.

```
ByheartError             one line: where, what is wrong, how to fix it
├── RequestError         exit 2: the request is wrong, nothing was done
│   ├── UnknownNameError     no such attack, method, data set, setting
│   ├── SettingError         a setting of the wrong type or out of its range
│   ├── StudyError           the study file cannot be read or contradicts itself
│   ├── DataError            texts that are missing, empty, overlapping or unreadable
│   ├── ModelError           a model that is missing, not causal, unsafe to load
│   └── StoreError           a store that is newer, full, or made with other defaults
└── CellError            exit 1: one cell failed, the others continue
    └── TrainingError        a loss that is not finite
```

An error of this tree prints one line and no traceback. Any other error prints its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MAX_SHOWN_NAME = 100
"""Maximum characters of a name that an error shows."""
MAX_SHOWN_CHOICES = 2000
"""Maximum characters of a list of names that an error shows."""


def quoted_name(name: str) -> str:
    """Return a name in quotes as an error shows it: cut, and with escapes for control characters and lone surrogates."""
    return f"{name[:MAX_SHOWN_NAME]!r}..." if len(name) > MAX_SHOWN_NAME else repr(name)


def plain_name(name: str) -> str:
    """Return a name as `quoted_name` does, without quotes."""
    cut = f"{name[:MAX_SHOWN_NAME]}..." if len(name) > MAX_SHOWN_NAME else name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _choices(names: Sequence[str]) -> str:
    """Return names with commas between; of many long names the first ones, and the number of the others."""
    shown, size = list[str](), 0
    for name in map(plain_name, names):
        size += len(name) + 2
        if shown and size > MAX_SHOWN_CHOICES:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown) or "none"


class ByheartError(Exception):
    """Root of byheart's errors; str(error) is the line that the command prints."""


class RequestError(ByheartError):
    """The request is wrong; nothing was done for it."""


class UnknownNameError(RequestError):
    """A name that is on no shelf, or a setting that its function does not have."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(set(known))
        by_word = {c.lower(): c for c in choices}
        near = difflib.get_close_matches(name.lower(), by_word, n=1)
        hint = f" Did you mean {quoted_name(by_word[near[0]])}?" if near else ""
        super().__init__(f"{what} {quoted_name(name)}: unknown name.{hint} Choices: {_choices(choices)}.")
        self._arguments = (what, name, tuple(choices))

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, tuple[str, ...]]]:
        """Rebuild from the arguments, so that the error can be pickled in a worker process."""
        return type(self), self._arguments


class SettingError(RequestError):
    """A setting of the wrong type, or out of its range."""


class StudyError(RequestError):
    """A study file that cannot be read, or that contradicts itself."""


class DataError(RequestError):
    """Texts that are missing, empty, overlapping or unreadable."""


class ModelError(RequestError):
    """A model that cannot be found, is not causal, or is not safe to load."""


class StoreError(RequestError):
    """A store that is newer than this byheart, full, or made with other defaults."""


class CellError(ByheartError):
    """One cell failed; the others continue."""


class TrainingError(CellError):
    """Training that cannot continue: a loss that is not finite."""


class FormerNameWarning(FutureWarning):
    """A study file, an option or a program uses a former name, which the next version will no longer read."""
