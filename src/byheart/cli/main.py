"""The command line. The only place that prints, with the words of `byheart audit` in `cli_audit`.

Exit 0: done. 1: some cells failed, the others are kept (or the reader of the output went away). 2: the request is
wrong. 3: an audit crossed a bound. 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import io
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from byheart.cli.audit import audit
from byheart.core.errors import ByheartError, FormerNameWarning, RequestError, SettingError
from byheart.core.library_warnings import silence_library_warnings

if TYPE_CHECKING:
    from byheart.store.store import Store

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What does a fine-tuned language model know by heart? Fine-tune it, attack every epoch, report what leaked.",
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
StoreFolder = Annotated[Path, typer.Option("--store", metavar="DIR", help="The folder that keeps every result.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set training.epochs=5")
]
StudyName = Annotated[
    str | None, typer.Option("--study", metavar="NAME", help="One study's rows; all studies' without it.")
]
Formats = Literal["table", "csv", "json", "parquet", "markdown", "latex"]
DEFAULT_STORE = Path("store")
EXIT_INTERRUPTED = 130
_UsageError: Any = typer.BadParameter.__base__  # a wrong option or command; Typer has no public name for it


@app.callback(invoke_without_command=True)
def _version(*, version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
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
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that share the cells.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Train, attack and measure every cell of a study; go on where an earlier run stopped."""
    from byheart.analysis.base_model_check import gate_lines, panel_gates
    from byheart.analysis.verdicts import verdict_lines
    from byheart.cli import terminal
    from byheart.cli.progress import progress_display
    from byheart.core.registry import choose
    from byheart.report.page import make_tables
    from byheart.store.store import Store
    from byheart.study import run_study
    from byheart.study.study_file import read_study

    chosen = {n: v for n, v in (("device", device), ("workers", workers)) if v is not None}
    wanted = read_study(study, [*(overrides or []), *(f"machine.{n}={v}" for n, v in chosen.items())])
    # Of several processes that train together, the first speaks.
    quiet = os.environ.get("RANK", "0") != "0"
    stream = sys.stdout if json else sys.stderr
    show = progress_display(io.StringIO() if quiet else stream, as_json=json)
    try:
        kept = Store.open(store)
        results = run_study.run(wanted, store=kept, tell=show.on_event, finished=show.on_cell_end, begun=show.on_plan)
    finally:
        show.close()
    if results.rows and not json and not quiet:
        found = run_study.report_content(kept, wanted.name)
        table = make_tables(found, [choose("tables", "methods")]).get("methods")
        width = terminal.terminal_width(sys.stdout)
        typer.echo("\n" + terminal.fit_table(table, width) if table else "")
        if width is not None and (lines := terminal.trajectories(found.rows, color="NO_COLOR" not in os.environ)):
            typer.echo(lines)
        gates = panel_gates(found.rows, found.scores, found.gates)
        typer.echo("\n".join(gate_lines(gates)))
        typer.echo(
            "\nIntervals of verdicts hold for all attacks and methods at once, and are wider than each one's own above."
        )
        typer.echo("\n".join([*verdict_lines(found.rows, found.scores, gates), ""]))
        where = f"--store {shlex.quote(str(store))} --study {shlex.quote(wanted.name)}"
        typer.echo(f"{len(results.rows)} rows are kept in {store}: byheart rows {where}")
        typer.echo(f"One page with verdicts, records, pictures: byheart report {where} -o report.html")
    raise typer.Exit(1 if results.failed else 0)


@app.command()
def plan(
    study: StudyFile,
    *,
    store: StoreFolder = DEFAULT_STORE,
    overrides: Overrides = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Say what would be trained and observed, what the store holds already, and about how long it takes."""
    import json as coded

    from byheart.analysis.formats import as_text
    from byheart.store.store import Store
    from byheart.study.estimate import cell_estimates, plan_table
    from byheart.study.study_file import read_study

    wanted = read_study(study, overrides or [])
    cells = cell_estimates(wanted, Store.open(store))
    if json:
        minutes = round(sum(c.minutes or 0 for c in cells), 1)
        typer.echo(coded.dumps({"cells": [c._asdict() for c in cells], "minutes": minutes}, indent=1))
    else:
        typer.echo(as_text(plan_table(wanted.name, cells)))


@app.command()
def check(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY.yaml]", help="The study file.")] = None,
    *,
    members: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts trained on, in place of a study.")] = None,
    nonmembers: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts not trained on.")] = None,
    group: Annotated[str | None, typer.Option(metavar="FIELD", help="What belongs together in these files.")] = None,
    store: StoreFolder = DEFAULT_STORE,
    overrides: Overrides = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Judge, without a model, whether members and non-members can be compared: sound, doubtful, or broken (exit 1)."""
    from byheart.study.check import gates_json, gates_text, requested_gates

    gates = requested_gates(study, members, nonmembers, group=group, store=store, overrides=overrides or [])
    typer.echo(gates_json(gates) if json else gates_text(gates))
    raise typer.Exit(1 if any(g.verdict == "broken" for g in gates.values()) else 0)


app.command()(audit)


@app.command()
def rows(
    *,
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Only rows that say so, of one field any, of several all: --where metric=auc --where epoch=3",
        ),
    ] = None,
    format: Annotated[Formats, typer.Option("--format", help="How to print them.")] = "table",  # noqa: A002 - the option's name
) -> None:
    """Print the store's results as tidy rows."""
    from byheart.analysis import formats
    from byheart.cli import terminal
    from byheart.store.rows import filter_rows, study_rows

    found = filter_rows(study_rows(_open_existing_store(store), study), where or [])
    if format == "parquet":
        sys.stdout.buffer.write(formats.rows_parquet(found))
    elif format in {"csv", "json"}:
        typer.echo({"csv": formats.rows_csv, "json": formats.rows_json}[format](found), nl=False)
    else:
        spell = {"markdown": formats.as_markdown, "latex": formats.as_latex}
        table = formats.rows_table(found)
        typer.echo(
            spell[format](table) if format in spell else terminal.fit_table(table, terminal.terminal_width(sys.stdout))
        )


@app.command()
def report(
    *,
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html", help="The page to write.")] = Path(
        "report.html"
    ),
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write each table (txt, md, tex, csv, json), figure (svg, png, pdf), all as Parquet.",
        ),
    ] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Put exposed records' texts into the page, private values masked.")
    ] = False,
    show_private: Annotated[
        bool, typer.Option("--show-private", help="With --show-text: leave private values as they are.")
    ] = False,
) -> None:
    """Write one self-contained page: what leaked, tables, figures, how it was made."""
    from byheart.study.run_study import export_folder, report_page

    if show_private and not show_text:
        raise SettingError("--show-private shows private values in texts; write --show-text too")
    kept = _open_existing_store(store)
    typer.echo(f"report: {report_page(kept, study, output, show_text=show_text, show_private=show_private).absolute()}")
    if export is not None:
        typer.echo(f"{len(export_folder(kept, study, export))} files: {export.absolute()}")


@app.command()
def pack(
    *,
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.tar.xz", help="The file to write.")] = Path(
        "study.tar.xz"
    ),
) -> None:
    """Write a study's numbers as one file to hand on, without texts or weights; unpacked, it is a store again."""
    from byheart.store.archive import pack as packed

    path = packed(_open_existing_store(store), study, output).absolute()
    typer.echo(f"{path.stat().st_size / 2**10:,.0f} KiB, no text of a record in it, but their ids: {path}")


@app.command()
def shelf(
    name: Annotated[str | None, typer.Argument(metavar="SHELF", help="attacks, methods, datasets, ...")] = None,
    entry: Annotated[str | None, typer.Argument(metavar="NAME", help="One entry, to be explained.")] = None,
) -> None:
    """List a shelf, or explain one entry: what it is, its settings, what it needs, its source."""
    from byheart.cli.describe import entry_text, shelf_text, shelves_text

    if name is None:
        typer.echo(shelves_text())
    else:
        typer.echo(shelf_text(name) if entry is None else entry_text(name, entry))


def _open_existing_store(store: Path) -> Store:
    from byheart.core.errors import StoreError
    from byheart.store.store import Store

    if store.is_file():
        raise StoreError(
            f"store {store} is a file; unpack a packed study first: mkdir FOLDER && tar -xf {store} -C FOLDER"
        )
    if store.is_dir() and any(store.iterdir()) and not (store / "store.json").exists():
        raise StoreError(f"folder {store} is no store of byheart's; name the one that byheart run was given")
    if not (store / "store.json").exists():
        raise StoreError(f"store {store} does not exist; make one with: byheart run STUDY.yaml --store {store}")
    return Store.open(store)


def main() -> None:
    """Run the command line; an error of ours is one line, any other prints everything."""
    silence_library_warnings()
    warnings.simplefilter("always", FormerNameWarning)
    warnings.showwarning = _show_warning(warnings.showwarning)
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="byheart", standalone_mode=False)
    except ByheartError as error:
        raise SystemExit(_print_error(str(error), 2 if isinstance(error, RequestError) else 1)) from None
    except _UsageError as error:
        asked = error.ctx.command_path if error.ctx else "byheart"
        raise SystemExit(_print_error(f"{error.format_message().rstrip('.')}; see {asked} --help", 2)) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise SystemExit(
            _print_error("the disk is full; free some space and run again, whole results are kept", 2)
        ) from None
    # Typer keeps an interruption to itself and returns the exit code of one.
    if code == EXIT_INTERRUPTED:
        # An audit is made in memory, and written whole or not at all.
        left = (
            "nothing was written"
            if sys.argv[1:2] == ["audit"]
            else "whole results are kept, run the same command to go on"
        )
        _print_error(f"stopped; {left}", EXIT_INTERRUPTED)
    raise SystemExit(code or 0)


def _show_warning(default: Callable[..., None]) -> Callable[..., None]:
    """Return a function that prints a warning about a former name in one line, and any other warning as `default` does."""

    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, FormerNameWarning):
            if str(message) not in shown:
                shown.add(str(message))
                _print_error(str(message), 0)
        else:
            default(message, category, *where)

    return show


def _print_error(line: str, code: int) -> int:
    typer.echo(f"byheart: {' '.join(line.split())}", err=True)
    return code
