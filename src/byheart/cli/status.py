"""`byheart status`, and `byheart run --executor slurm`, which returns before its tasks have run."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byheart.cli.options import DEFAULT_STORE, JsonOutput, open_existing_store

StoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="The same folder, written as in byheart run.")
]

if TYPE_CHECKING:
    from byheart.study.study_file import Study


def status(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder with all results.")] = DEFAULT_STORE,
    *,
    store_option: StoreOption = None,
    json: JsonOutput = False,
) -> None:
    """Show which tasks of a store's studies are done, running (by which worker), failed (with the log) or waiting."""
    from byheart.analysis.formats import as_text
    from byheart.study.status import status_table, task_states

    folder = store_option or store
    states = task_states(open_existing_store(folder))
    if json:
        typer.echo(json_module.dumps({"tasks": [s._asdict() for s in states]}, indent=1))
    elif states:
        typer.echo(as_text(status_table(states)))
    else:
        typer.echo(f"No tasks. byheart run plans them: byheart run STUDY.yaml --store {folder}")


def submit_and_print(study: Study, store: Path, *, as_json: bool) -> None:
    """Submit a study's jobs, and print their ids and the command that shows their state."""
    from byheart.store.store import Store
    from byheart.study.submit import submit

    submission = submit(study, Store.open(store))
    if as_json:
        typer.echo(json_module.dumps({"jobs": submission.jobs, "logs": str(submission.logs)}))
    else:
        typer.echo(f"{len(submission.jobs)} jobs submitted: {', '.join(submission.jobs)}. Logs: {submission.logs}")
        typer.echo(f"State of the tasks: byheart status {store}")
