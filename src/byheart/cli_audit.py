"""The command `byheart audit`, and its words. Exit 0: done. 2: the request is wrong. 3: a --fail-above bound is crossed."""

from __future__ import annotations

import json as coded
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

CROSSED = 3


def audit(  # noqa: PLR0913 - a command's options
    *,
    model: Annotated[str, typer.Option(metavar="PATH_OR_ID", help="The finished model, or a peft adapter's folder.")],
    members: Annotated[Path, typer.Option(metavar="FILE", help="Texts trained on: .jsonl, .csv, .parquet, .txt.")],
    nonmembers: Annotated[Path, typer.Option(metavar="FILE", help="Texts like them, not trained on.")],
    adapter: Annotated[
        str | None, typer.Option(metavar="DIR", help="An adapter on --model, which is its base.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="PATH_OR_ID", help="What the model was tuned from.")] = None,
    validation: Annotated[Path | None, typer.Option(metavar="FILE", help="Other texts, for perplexity.")] = None,
    id_field: Annotated[str | None, typer.Option("--id", metavar="FIELD", help="Names a record (id).")] = None,
    group: Annotated[str | None, typer.Option(metavar="FIELD", help="What belongs together (group).")] = None,
    attacks: Annotated[str, typer.Option(metavar="NAMES", help="default, all, or names with commas.")] = "default",
    max_texts: Annotated[int, typer.Option(min=1, help="Texts a side.")] = 1000,
    max_tokens: Annotated[int, typer.Option(min=2, help="Tokens of a text; the rest is not read.")] = 512,
    fpr: Annotated[float, typer.Option(help="False alarms at which members are counted.")] = 0.01,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Of weights and scoring.")] = "float32",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="A new folder for it all.")
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="Exit 3 if an attack's 95 % interval lies above: tpr_at_fpr=0.05, auc=0.6."
        ),
    ] = None,
    show_text: Annotated[bool, typer.Option("--show-text", help="Show exposed records' text, not just ids.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Audit a model that somebody else trained: what it knows of its training texts, and which records are exposed."""
    from byheart.audit_files import audit_files, bounds, crossed
    from byheart.auditing import Asked

    limits = bounds(fail_above or [])
    texts = {"member": members, "nonmember": nonmembers} | ({"validation": validation} if validation else {})
    names = attacks if attacks in {"default", "all"} else [n.strip() for n in attacks.split(",") if n.strip()]
    settings = Asked(attacks=names, max_texts=max_texts, max_tokens=max_tokens, fpr=fpr, precision=precision)
    found = audit_files(
        model,
        texts,
        settings,
        adapter=adapter,
        base=base,
        device=device,
        fields={n: f for n, f in (("id", id_field), ("group", group)) if f},
        limits=limits,
        output=output,
    )
    if output is not None:
        found.save(output, command=shlex.join(["byheart", *sys.argv[1:]]), show_text=show_text)
    over, near = crossed(found, limits)
    if json:
        told: dict[str, Any] = {**found.as_dict(), "crossed": over, "near": near, "output": output and str(output)}
        typer.echo(coded.dumps(told, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        typer.echo(found.spelled(show_text=show_text))
        if output is not None:
            typer.echo(f"audit: {(output / 'report.html').absolute()}")
        for line in near:
            typer.echo(f"note: {line}")
    for line in over:
        typer.echo(f"byheart: failed: {line}", err=True)
    raise typer.Exit(CROSSED if over else 0)
