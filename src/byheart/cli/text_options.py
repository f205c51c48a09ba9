"""Options of `byheart audit` that name the texts and their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from byheart.core.errors import SettingError

SHAPE_FIELDS = ("text", "prompt", "completion", "messages", "tools")
"""Fields of a record that `--fields` can name."""


class Response(Enum):
    """What is scored of a preference pair."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    BOTH = "both"
    PAIR = "pair"


def check_different_sources(members: str | Path | None, nonmembers: str | Path | None) -> None:
    """Raise `SettingError` if both classes are the same texts."""
    if members is not None and str(members) == str(nonmembers):
        raise SettingError(
            f"--nonmembers {nonmembers}: --members names the same texts. Name similar texts that the model was not trained on."
        )


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Texts."""

    members: Annotated[
        str | None,
        typer.Option(
            metavar="TEXTS", help="Texts that the model was trained on: a file, a folder, or hub:OWNER/NAME:SPLIT."
        ),
    ] = None
    nonmembers: Annotated[
        str | None, typer.Option(metavar="TEXTS", help="Similar texts that the model was not trained on.")
    ] = None
    canaries: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST",
            help="Manifest of canaries that byheart canaries plant put in the training data. Without --members, canaries are audited.",
        ),
    ] = None
    validation: Annotated[
        str | None, typer.Option(metavar="TEXTS", help="Other texts that it was not trained on, for perplexity.")
    ] = None
    known_members: Annotated[
        str | None,
        typer.Option(metavar="TEXTS", help="Members that the adversary knows, for attacks such as con_recall."),
    ] = None
    known_nonmembers: Annotated[
        str | None,
        typer.Option(metavar="TEXTS", help="Non-members that the adversary knows, for attacks such as recall."),
    ] = None
    id_field: Annotated[
        str | None, typer.Option("--id", metavar="FIELD", help="Name of the field with a record's id (default: id).")
    ] = None
    group: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Name of the field with a record's group, such as a user (default: group)."),
    ] = None
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names of other fields, such as prompt=question,completion=answer (or text=..., messages=...).",
        ),
    ] = None
    response: Annotated[
        Response,
        typer.Option(
            help="Scored side of preference pairs (prompt, chosen, rejected). pair: the chosen side, and both for attacks on pairs."
        ),
    ] = Response.CHOSEN
    attributes: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS", help="Fields with private values, comma-separated. Shown texts mask these values."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raise `SettingError` without members and canaries, and for non-members without members."""
        if self.members is None and self.canaries is None:
            raise SettingError("--members: there are no texts to audit. Add --members TEXTS, or --canaries MANIFEST.")
        if self.members is None and self.nonmembers is not None:
            raise SettingError(
                "--nonmembers: it requires --members. Add --members, or leave both out to compare included with held-out canaries."
            )
        check_different_sources(self.members, self.nonmembers)

    @property
    def sources(self) -> dict[str, str]:
        """The sources of texts by part."""
        sources = {
            "member": self.members,
            "nonmember": self.nonmembers,
            "validation": self.validation,
            "known_member": self.known_members,
            "known_nonmember": self.known_nonmembers,
        }
        return {part: source for part, source in sources.items() if source is not None}

    @property
    def field_names(self) -> Mapping[str, str]:
        """The files' names for the fields `id`, `group`, and those of a record shape."""
        names = {field: name for field, name in (("id", self.id_field), ("group", self.group)) if name}
        return {**names, **shape_field_names(self.fields)}

    @property
    def private_fields(self) -> list[str]:
        """The names of fields with private values."""
        return comma_separated(self.attributes or "")


def comma_separated(names: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


def shape_field_names(fields: str | None) -> dict[str, str]:
    """Return the data's names for the fields of a record shape. Raises `SettingError` for another field, or one without a name."""
    names: dict[str, str] = {}
    for item in comma_separated(fields or ""):
        standard, _, name = item.partition("=")
        if standard not in SHAPE_FIELDS or not name:
            raise SettingError(
                f"--fields {item}: is not a field and its name. Write {'=..., '.join(SHAPE_FIELDS)}=..., comma-separated."
            )
        names[standard] = name
    return names
