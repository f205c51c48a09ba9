"""The command `byheart model`: the model of one cell of a study as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byheart.cli.options import DEFAULT_STORE, StoreFolder, StudyName, open_existing_store

if TYPE_CHECKING:
    from byheart.study.export_model import ExportedModel


def model(
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New folder for the model.")],
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Select one model by fields of its rows, as in --where method=lora --where method_settings=rank=4 --where seed=0.",
        ),
    ] = None,
    epoch: Annotated[
        float | None, typer.Option(help="Epoch that the study attacked, such as 1; by default the last.")
    ] = None,
) -> None:
    """Write the model of one cell to a folder that transformers or peft loads, after any epoch that was attacked.

    The model of an earlier epoch than the last is trained again. The written model is compared with the one that was attacked.
    """
    from byheart.study.export_model import export_model

    exported = export_model(
        open_existing_store(store),
        output,
        study=study,
        where=where or [],
        epoch=epoch,
        tell=lambda event: typer.echo(f"{event.cell}: {event.text}", err=True),
    )
    typer.echo(_description(exported))


def _description(exported: ExportedModel) -> str:
    kind = "adapter" if exported.adapter_base else "complete model"
    made = "trained again" if exported.is_trained_again else "from the store"
    lines = [f"{kind} of {exported.cell} after epoch {exported.epoch:g}, {made}: {exported.folder}"]
    if exported.adapter_base:
        lines.append(f"its base model: {exported.adapter_base}")
    if exported.difference is None:
        lines.append("not compared with the attacked model: the store has no log-probabilities of this epoch")
    else:
        lines.append(
            f"equals the attacked model: log-probabilities of {exported.compared_texts} audited texts differ by at most "
            f"{exported.difference:.2g} nats per token"
        )
    return "\n".join(lines)
