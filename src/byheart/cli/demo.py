"""The command `byheart demo audit`: a first audit, of a small model that is fine-tuned on this machine."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Literal

import typer


def demo(
    kind: Annotated[Literal["audit"], typer.Argument(help="The demonstration.")] = "audit",  # noqa: ARG001 - the only one
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New folder.")] = Path("demo-audit"),
    base: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="Base model (default: SmolLM2-135M-Instruct).")
    ] = None,
    texts: Annotated[int, typer.Option(min=20, help="Number of members, and of non-members.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the members.")] = 3,
    browser: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Fine-tune a small LoRA on synthetic records, audit it, and write its report: 2.4 minutes on one core."""
    from byheart.auditing.demo import MODEL, REPORT, demo_audit
    from byheart.lm.base_models import default_base

    result = demo_audit(
        output,
        base=base or default_base(),
        texts=texts,
        epochs=epochs,
        command=shlex.join(["byheart", *sys.argv[1:]]),
        on_status=lambda line: typer.echo(f"{line} ...", err=True),
    )
    page = (output / REPORT / "report.html").absolute()
    typer.echo(result.text())
    typer.echo(f"report: {page}\n\nAudit it again, with other attacks:")
    named = {"model": MODEL, "members": "members.jsonl", "nonmembers": "nonmembers.jsonl"}
    files = [word for option, name in named.items() for word in (f"--{option}", str(output / name))]
    again = ["byheart", "audit", *files, "--attacks", "all", "--fpr", "0.1", "-o", str(output / "audit-all")]
    typer.echo(f"  {shlex.join(again)}")
    if browser:
        webbrowser.open(page.as_uri())
