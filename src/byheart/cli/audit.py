"""The command `byheart audit`, and its words. Exit 0: done. 2: the request is wrong. 3: a --fail-above bound is crossed."""

from __future__ import annotations

import json as coded
import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import typer

from byheart.core.errors import SettingError

EXIT_BOUND_CROSSED = 3


class Bits(Enum):
    """How many bits a weight may be loaded in."""

    FOUR = "4"
    EIGHT = "8"


def audit(  # noqa: PLR0913 - a command's options
    *,
    members: Annotated[
        str, typer.Option(metavar="TEXTS", help="Trained on: a file, a folder, or hub:OWNER/NAME:SPLIT.")
    ],
    nonmembers: Annotated[str | None, typer.Option(metavar="TEXTS", help="Texts like them, not trained on.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="The finished model, or a peft adapter's folder.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(metavar="DIR", help="An adapter on --model, which is its base.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="PATH_OR_ID", help="What the model was tuned from.")] = None,
    validation: Annotated[str | None, typer.Option(metavar="TEXTS", help="Other texts, for perplexity.")] = None,
    known_members: Annotated[
        str | None, typer.Option(metavar="TEXTS", help="Trained on too, and known: for attacks such as con_recall.")
    ] = None,
    known_nonmembers: Annotated[
        str | None, typer.Option(metavar="TEXTS", help="Known not to be trained on: for attacks such as recall.")
    ] = None,
    id_field: Annotated[str | None, typer.Option("--id", metavar="FIELD", help="Names a record (id).")] = None,
    group: Annotated[str | None, typer.Option(metavar="FIELD", help="What belongs together (group).")] = None,
    attributes: Annotated[
        str | None, typer.Option(metavar="FIELDS", help="Fields of private values, masked in texts that are shown.")
    ] = None,
    attacks: Annotated[str, typer.Option(metavar="NAMES", help="default, all, or names with commas.")] = "default",
    max_texts: Annotated[int, typer.Option(min=1, help="Texts a side.")] = 1000,
    max_tokens: Annotated[int, typer.Option(min=2, help="Tokens of a text; the rest is not read.")] = 512,
    fpr: Annotated[float, typer.Option(help="False alarms at which members are counted.")] = 0.01,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="An OpenAI-compatible server, in place of --model.")
    ] = None,
    model_name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name at --endpoint.")] = None,
    base_name: Annotated[str | None, typer.Option(metavar="NAME", help="Its base's name there.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="What writes chats for --endpoint's model.")
    ] = None,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Requests to --endpoint, further attempts counted.")
    ] = 10_000,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Of an answer of --endpoint.")] = 600.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    device_map: Annotated[
        Literal["auto"] | None, typer.Option(help="Spread the model over all GPUs and memory.")
    ] = None,
    quantize: Annotated[Bits | None, typer.Option(help="Load weights in 4 or 8 bits (bitsandbytes).")] = None,
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
    show_private: Annotated[
        bool, typer.Option("--show-private", help="With --show-text: leave private values as they are.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Audit a model that somebody else trained: what it knows of its training texts, and which records are exposed."""
    import torch

    from byheart.auditing.from_files import audit_files, audit_files_endpoint
    from byheart.auditing.server.client import Endpoint, RequestLimits
    from byheart.auditing.settings import AuditSettings
    from byheart.auditing.thresholds import crossed_bounds, parse_bounds
    from byheart.lm.placement import Placement

    if show_private and not show_text:
        raise SettingError("--show-private shows private values in texts; write --show-text too")
    limits = parse_bounds(fail_above or [])
    told = {"member": members, "nonmember": nonmembers, "validation": validation}
    told |= {"known_member": known_members, "known_nonmember": known_nonmembers}
    texts = {part: source for part, source in told.items() if source is not None}
    names = attacks if attacks in {"default", "all"} else [n.strip() for n in attacks.split(",") if n.strip()]
    settings = AuditSettings(attacks=names, max_texts=max_texts, max_tokens=max_tokens, fpr=fpr, precision=precision)
    fields = {n: f for n, f in (("id", id_field), ("group", group)) if f}
    private = [n.strip() for n in (attributes or "").split(",") if n.strip()]
    show = {"show_text": show_text, "show_private": show_private}
    if (served := _endpoint_target(model, adapter, base, endpoint, model_name, base_name, tokenizer)) is not None:
        if device_map or quantize or known_members or known_nonmembers:
            raise SettingError(
                "--device-map, --quantize, --known-members and --known-nonmembers are of --model, and --endpoint takes none of them"
            )
        patience = RequestLimits(timeout=timeout, max_requests=max_requests)
        with _request_progress() as shown:
            found = audit_files_endpoint(
                Endpoint(served.url, patience),
                (served.name, base_name),
                texts,
                settings,
                tokenizer_name=tokenizer,
                fields=fields,
                private_fields=private,
                limits=limits,
                output=output,
                on_progress=shown,
            )
    else:
        with _status_display() as tell:
            found = audit_files(
                model or "",
                texts,
                settings,
                on_status=tell,
                adapter=adapter,
                base=base,
                placing=Placement(
                    dtype=getattr(torch, precision),
                    device=device,
                    spread=device_map is not None,
                    bits=cast("Literal[4, 8]", int(quantize.value)) if quantize else None,
                ),
                fields=fields,
                private_fields=private,
                limits=limits,
                output=output,
            )
    if output is not None:
        found.save(output, command=shlex.join(["byheart", *sys.argv[1:]]), **show)
    over, near = crossed_bounds(found, limits)
    if json:
        content: dict[str, Any] = {**found.as_dict(), "crossed": over, "near": near, "output": output and str(output)}
        typer.echo(coded.dumps(content, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        typer.echo(found.text(**show))
        if output is not None:
            typer.echo(f"audit: {(output / 'report.html').absolute()}")
        for line in near:
            typer.echo(f"note: {line}")
    for line in over:
        typer.echo(f"byheart: failed: {line}", err=True)
    raise typer.Exit(EXIT_BOUND_CROSSED if over else 0)


class _EndpointTarget(NamedTuple):
    """A server and the model's name there."""

    url: str
    name: str


def _endpoint_target(
    model: str | None, adapter: str | None, base: str | None, endpoint: str | None, *names: str | None
) -> _EndpointTarget | None:
    """Return what is audited at a server; None for weights. Raises `SettingError` where it is both, or neither."""
    name = names[0]
    if endpoint is None:
        if any(n is not None for n in names):
            raise SettingError("--model-name, --base-name and --tokenizer are of --endpoint; write --endpoint URL too")
        if model is None:
            raise SettingError("nothing is named to be audited; write --model, or --endpoint and --model-name")
        return None
    if model is not None or adapter is not None or base is not None:
        raise SettingError(
            "--endpoint takes the place of weights: leave out --model, --adapter and --base (its base there: --base-name)"
        )
    if not name:
        raise SettingError("--endpoint needs the model's name there; write --model-name NAME")
    return _EndpointTarget(endpoint, name)


@contextmanager
def _status_display() -> Generator[Callable[[str], None]]:
    """Say on the terminal what is being done; nothing where complaints go to a file."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Status("texts: reading", console=console) as status:
        yield status.update


@contextmanager
def _request_progress() -> Generator[Callable[[int, int], None]]:
    """Say on the terminal how far a server is; nothing where complaints go to a file."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("requests", total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
