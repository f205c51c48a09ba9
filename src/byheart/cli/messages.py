"""Errors and warnings on the terminal, one line each."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import typer

from byheart.core.errors import FormerNameWarning, SettingError
from byheart.core.machine_faults import MACHINE_ERRNOS

LONGEST_LINE = 1500
"""Maximum characters of an error's line."""


def show_warning(default: Callable[..., None]) -> Callable[..., None]:
    """Return a function that prints a warning about a former name in one line, and any other warning as `default` does."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, FormerNameWarning):
            if str(message) not in shown:
                shown.add(str(message))
                print_error(str(message), 0)
        else:
            default(message, category, *where)

    return show


def check_words(words: Sequence[str]) -> None:
    """Raise `SettingError` for a word that is not Unicode, such as a file name in another encoding: no result can name it."""
    for word in words:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise SettingError(f"{word!a}: is not UTF-8. Rename the file or folder.")


DEFAULT_PATHS = ("store", "report.html", "study.tar.xz")
"""Paths that commands use without being named."""


def named_path_line(error: Exception, words: Sequence[str]) -> str | None:
    """Return the line for an error of the system about a path that the user named: too long, no folder, not permitted, ...

    None for another error, and if another path would not help.
    """
    if not isinstance(error, OSError) or not isinstance(error.filename, str) or error.errno in MACHINE_ERRNOS:
        return None
    named = [part for word in words for part in (word, word.rpartition("=")[2]) if len(part) > 1]
    if not any(path in error.filename for path in (*named, *DEFAULT_PATHS)):
        return None
    return f"{error.filename}: cannot be read or written ({error.strerror}). Name another path."


def print_error(line: str, code: int) -> int:
    """Print an error as one line and return the exit code. Characters that control a terminal or the direction are escaped."""
    shown = "".join(map(_visible, " ".join(line.split())))
    if len(shown) > LONGEST_LINE:  # it quotes a value of the input; the end names the fix
        shown = f"{shown[: LONGEST_LINE * 2 // 3]} ... {shown[-LONGEST_LINE // 3 :]}"
    typer.echo(f"byheart: {shown}", err=True)
    return code


def _visible(character: str) -> str:
    """Return a character, or its escape if a terminal does not print it (Unicode categories Cc, Cf, Cs)."""
    return ascii(character)[1:-1] if unicodedata.category(character) in {"Cc", "Cf", "Cs"} else character


def print_interruption(code: int, *, is_whole: bool) -> None:
    """Report an interruption by Ctrl-C or SIGTERM, and what is stored."""
    # An audit or a model is written completely or not at all.
    stored = "Finished results are stored; run the same command to resume."
    print_error(f"interrupted. {'Nothing was written.' if is_whole else stored}", code)
