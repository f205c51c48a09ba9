"""The commands `byheart verify` and `byheart compare`, which read the folders of finished audits."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from byheart.cli.options import JsonOutput
from byheart.core.errors import SettingError


def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of an audit, an unpacked study, or a store.")
    ],
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="PART=PATH",
            help="Also check a file or folder that the audit read: member=train.jsonl, nonmember=..., model=..., adapter=..., base=...",
        ),
    ] = None,
    seal: Annotated[
        str | None, typer.Option(metavar="HEX", help="Seal that the audit printed and that was noted elsewhere.")
    ] = None,
    json: JsonOutput = False,
) -> None:
    """Check a folder against its manifest: files, inputs, and numbers computed again from the scores. Exit 1: something differs."""
    from byheart.auditing.verify import verify_folder

    result = verify_folder(folder, _paths_by_part(inputs or []), seal=seal)
    if json:
        typer.echo(json_module.dumps(result._asdict(), ensure_ascii=False, indent=1))
    else:
        typer.echo(f"{'differs' if result.differences else 'verified'}: {folder} ({', '.join(result.checked)})")
        for difference in result.differences:
            typer.echo(f"  - {difference}")
        if result.seal and not result.differences:
            typer.echo(f"seal: {result.seal}")
    raise typer.Exit(1 if result.differences else 0)


def compare(
    first: Annotated[Path, typer.Argument(metavar="AUDIT_A", help="Folder of the first audit.")],
    second: Annotated[Path, typer.Argument(metavar="AUDIT_B", help="Folder of the second audit, of the same texts.")],
    *,
    json: JsonOutput = False,
) -> None:
    """Compare two audits of the same texts: which attacks' AUCs differ, and whether the difference is shown."""
    from byheart.analysis.formats import as_text
    from byheart.auditing.audit_differences import compare_folders, differences_json, differences_table

    differences = compare_folders(first, second)
    if json:
        typer.echo(json_module.dumps(differences_json(differences), ensure_ascii=False, indent=1, allow_nan=False))
        return
    typer.echo(differences.sentence)
    for warning in differences.warnings:
        typer.echo(f"  - {warning}")
    typer.echo(f"\n{as_text(differences_table(differences))}")


def _paths_by_part(inputs: list[str]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for written in inputs:
        part, _, path = written.partition("=")
        if not part or not path:
            raise SettingError(
                f"--input {written}: is not a part and its path. Write, for example, --input member=train.jsonl."
            )
        if part in paths:
            raise SettingError(f"--input {written}: {part} is named twice. Name each part once.")
        paths[part] = path
    return paths
