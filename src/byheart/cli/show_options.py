"""Options that several commands share: JSON output, texts of exposed records, private values."""

from __future__ import annotations

from typing import Annotated

import typer

from byheart.core.errors import SettingError

JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ShowText = Annotated[
    bool, typer.Option("--show-text", help="Show the texts of exposed records, with private values masked.")
]
ShowPrivate = Annotated[bool, typer.Option("--show-private", help="With --show-text: do not mask private values.")]


def check_show_options(*, show_text: bool, show_private: bool) -> None:
    """Raise `SettingError` for --show-private without --show-text."""
    if show_private and not show_text:
        raise SettingError("--show-private: this option requires --show-text. Add --show-text.")
