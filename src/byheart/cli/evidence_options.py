"""Options of `byheart audit` that make its result evidence: bounds to pass, and preregistration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from byheart.core.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """Evidence."""

    pass_below: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="Exit with code 4 unless every attack is shown to stay below this bound: auc=0.55, tpr_at_fpr=0.03 or epsilon=1.",
        ),
    ] = None
    preregister: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write attacks, bounds, settings and hashes of the texts to this file, with a date and a seal; no model is loaded.",
        ),
    ] = None
    preregistered: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Report whether the audit follows this file of --preregister."),
    ] = None

    def __post_init__(self) -> None:
        """Raise `SettingError` for --preregister with --preregistered."""
        if self.preregister is not None and self.preregistered is not None:
            raise SettingError(
                "--preregister: cannot be combined with --preregistered. Preregister first, and audit with --preregistered."
            )
