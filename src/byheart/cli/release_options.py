"""Options of `byheart audit` that name texts which a model generated, and what they cannot be combined with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from byheart.cli.audit_options import AttackOptions, EndpointOptions, ModelOptions
from byheart.cli.text_options import TextOptions
from byheart.core.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """Generated texts instead of a model."""

    generated: Annotated[
        str | None,
        typer.Option(
            metavar="TEXTS",
            help="Texts that the model generated, such as a released synthetic data set, instead of --model.",
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="TEXTS",
            help="Texts of the same kind without the records, such as texts that the base model generated. They calibrate the attacks.",
        ),
    ] = None

    @property
    def sources(self) -> dict[str, str]:
        """The sources of generated and reference texts by part."""
        sources = {"generated": self.generated, "reference": self.reference}
        return {part: source for part, source in sources.items() if source is not None}


def check_release(
    release: ReleaseOptions,
    model: ModelOptions,
    endpoint: EndpointOptions,
    texts: TextOptions,
    attacks: AttackOptions,
) -> None:
    """Raise `SettingError` for options that an audit of generated texts cannot use, and for a reference without generated texts."""
    if release.generated is None:
        if release.reference is not None:
            raise SettingError("--reference: this option requires --generated. Add --generated TEXTS.")
        return
    given = {
        "--model": model.model,
        "--adapter": model.adapter,
        "--base": model.base,
        "--exported-from": model.exported_from,
        "--endpoint": endpoint.endpoint,
        "--model-name": endpoint.model_name,
        "--base-name": endpoint.base_name,
        "--tokenizer": endpoint.tokenizer,
        "--device-map": model.device_map,
        "--quantize": model.quantize,
        "--validation": texts.validation,
        "--known-members": texts.known_members,
        "--known-nonmembers": texts.known_nonmembers,
        "--end-token": attacks.end_token or None,
    }
    if wrong := [option for option, value in given.items() if value is not None]:
        raise SettingError(
            f"--generated: cannot be combined with {', '.join(wrong)}, because no model is read. Remove "
            f"{'it' if len(wrong) == 1 else 'them'}, or --generated."
        )
    if texts.canaries is not None and texts.members is not None:
        raise SettingError(
            "--canaries: cannot be combined with --members and --generated, because generated texts have no exposure. Remove --members to "
            "audit the canaries, or --canaries to audit the members."
        )
