"""The command line.

Exit 0: done. 1: some cells failed and the others are stored (or the reader of the output closed the pipe). 2: invalid
request. 3: an audit exceeds a bound. 4: an audit does not show a bound. 130: interrupted by Ctrl-C. 143: ended by SIGTERM.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from byheart.cli.audit import audit
from byheart.cli.canaries import canaries
from byheart.cli.check import check
from byheart.cli.demo import demo
from byheart.cli.evidence_commands import compare, verify
from byheart.cli.messages import check_words, named_path_line, print_error, print_interruption, show_warning
from byheart.cli.model import model
from byheart.cli.options import (
    DEFAULT_STORE,
    Overrides,
    StoreFolder,
    StudyFile,
    StudyName,
    open_existing_store,
)
from byheart.cli.plan import plan
from byheart.cli.report import report
from byheart.cli.status import status, submit_and_print
from byheart.cli.termination import EXIT_TERMINATED, interrupted_by_sigterm
from byheart.core.config import Executor
from byheart.core.errors import ByheartError, FormerNameWarning, RequestError, SettingError
from byheart.core.library_warnings import silence_library_warnings
from byheart.core.machine_faults import machine_fault_line

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure what a fine-tuned language model memorized: fine-tune it, attack every epoch, report what leaked.",
)

Formats = Literal["table", "csv", "json", "parquet", "markdown", "latex"]
EXIT_INTERRUPTED = 130
_UsageError: Any = typer.BadParameter.__base__  # a wrong option or command; Typer has no public name for it


@app.callback(invoke_without_command=True)
def _version(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if version:
        import byheart

        typer.echo(byheart.__version__)
        raise typer.Exit


@app.command()
def run(
    study: StudyFile,
    *,
    store: StoreFolder = DEFAULT_STORE,
    overrides: Overrides = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:1.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processes that run cells.")] = None,
    executor: Annotated[Executor | None, typer.Option(help="Where the workers run.")] = None,
    ray_address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster, or auto.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Train, attack and measure every cell of a study; reuse the results of earlier runs."""
    from byheart.cli.progress import progress_display
    from byheart.cli.summary import print_summary
    from byheart.store.store import Store
    from byheart.study import run_study
    from byheart.study.study_file import read_study

    machine = {"device": device, "workers": workers, "executor": executor, "ray_address": ray_address}
    changes = [f"machine.{n}={v}" for n, v in machine.items() if v is not None]
    parsed = read_study(study, [*(overrides or []), *changes])
    if ray_address is not None and parsed.machine.executor != "ray":
        raise SettingError(f"--ray-address: the executor is {parsed.machine.executor}. Add --executor ray.")
    if parsed.machine.executor == "slurm":
        submit_and_print(parsed, store, as_json=json)
        return
    # Of several processes that train together, only rank 0 prints.
    is_silent = os.environ.get("RANK", "0") != "0"
    stream = sys.stdout if json else sys.stderr
    display = progress_display(io.StringIO() if is_silent else stream, as_json=json)
    try:
        opened = Store.open(store)
        results = run_study.run(
            parsed, store=opened, tell=display.on_event, finished=display.on_cell_end, begun=display.on_plan
        )
    finally:
        display.close()
    if results.rows and not json and not is_silent:
        print_summary(opened, store, parsed.name, len(results.rows))
    raise typer.Exit(1 if results.failed else 0)


app.command()(plan)
app.command()(status)
app.command()(check)
app.command()(audit)
app.add_typer(canaries, name="canaries")
app.command()(verify)
app.command()(compare)
app.command()(demo)


@app.command()
def rows(
    *,
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Filter rows, as in --where metric=auc --where epoch=3. Same field: OR; different fields: AND.",
        ),
    ] = None,
    format: Annotated[Formats, typer.Option("--format", help="Output format.")] = "table",  # noqa: A002 - the option's name
) -> None:
    """Print the store's results as tidy rows."""
    from byheart.cli.print_rows import print_rows
    from byheart.store.rows import filter_rows, study_rows

    print_rows(filter_rows(study_rows(open_existing_store(store), study), where or []), format)


app.command()(report)
app.command()(model)


@app.command()
def pack(
    *,
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.tar.xz", help="File to write.")] = Path(
        "study.tar.xz"
    ),
) -> None:
    """Write a study's results to one file for sharing, without texts and weights.

    The unpacked file is a store: mkdir FOLDER && tar -xf FILE.tar.xz -C FOLDER, then byheart report --store FOLDER.
    """
    from byheart.store.archive import pack as write_archive

    path = write_archive(open_existing_store(store), study, output).absolute()
    typer.echo(f"{path.stat().st_size / 2**10:,.0f} KiB with record ids, without texts: {path}")


@app.command()
def shelf(
    name: Annotated[str | None, typer.Argument(metavar="SHELF", help="attacks, methods, datasets, ...")] = None,
    entry: Annotated[str | None, typer.Argument(metavar="NAME", help="Entry to describe.")] = None,
) -> None:
    """List a shelf, or describe one entry: definition, settings, required evidence and source."""
    from byheart.cli.describe import entry_text, shelf_text, shelves_text

    if name is None:
        typer.echo(shelves_text())
    else:
        typer.echo(shelf_text(name) if entry is None else entry_text(name, entry))


def _command_path(words: list[str]) -> str:
    """Return the command that is named on the command line, with its group: `byheart canaries plant`."""
    path, command = ["byheart"], typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path.append(word)
    return " ".join(path)


def main() -> None:
    """Run the command line; a `ByheartError` and a fault of the machine print one line, any other exception a traceback."""
    silence_library_warnings()
    warnings.simplefilter("always", FormerNameWarning)
    warnings.showwarning = show_warning(warnings.showwarning)
    try:
        check_words(sys.argv[1:])
        with interrupted_by_sigterm() as received:
            code = app(sys.argv[1:] or ["--help"], prog_name="byheart", standalone_mode=False)
    except ByheartError as error:
        raise SystemExit(print_error(str(error), 2 if isinstance(error, RequestError) else 1)) from None
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else _command_path(sys.argv[1:])
        message = error.format_message().replace("Value error, ", "")  # of the library that checks values
        end = "" if message.endswith((".", "?")) else "."
        raise SystemExit(print_error(f"{message}{end} See {command} --help.", 2)) from None
    except Exception as error:
        line = named_path_line(error, sys.argv[1:]) or machine_fault_line(error)
        if line is None:
            raise
        raise SystemExit(print_error(line, 2)) from None
    if code == EXIT_INTERRUPTED:  # Typer catches the interruption and returns this code
        code = EXIT_TERMINATED if received else code
        print_interruption(code, is_whole=sys.argv[1:2] in (["audit"], ["demo"], ["model"]))
    raise SystemExit(code or 0)
