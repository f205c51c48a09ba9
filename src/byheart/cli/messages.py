"""Errors and warnings on the terminal, one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from byheart.core.errors import FormerNameWarning, SettingError


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


def print_error(line: str, code: int) -> int:
    """Print an error as one line and return the exit code."""
    typer.echo(f"byheart: {' '.join(line.split())}", err=True)
    return code


def print_interruption(*, is_audit: bool) -> None:
    """Report an interruption by Ctrl-C, and what is stored."""
    # An audit is computed in memory, and written completely or not at all.
    stored = "Finished results are stored; run the same command to resume."
    print_error(f"interrupted. {'Nothing was written.' if is_audit else stored}", 130)
