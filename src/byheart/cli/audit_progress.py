"""Progress of `byheart audit`: the current step, or the share of answered requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import typer

LONG_STEP = 30.0
"""Seconds after which the current step is printed where stderr is no terminal."""


@contextmanager
def status_display() -> Generator[Callable[[str], None]]:
    """Show the current step on a terminal; in a file, print only steps that take long."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True)
    if not console.is_terminal:
        with long_steps() as update:
            yield update
        return
    with Status("reading texts", console=console) as status:
        yield status.update


@contextmanager
def long_steps() -> Generator[Callable[[str], None]]:
    """Print each step to stderr that takes longer than `LONG_STEP` seconds, once."""
    waiting: list[threading.Timer] = []

    def update(text: str) -> None:
        while waiting:
            waiting.pop().cancel()
        timer = threading.Timer(LONG_STEP, lambda: typer.echo(f"byheart: {text} ...", err=True))
        timer.daemon = True
        waiting.append(timer)
        timer.start()

    try:
        update("reading texts")
        yield update
    finally:
        while waiting:
            waiting.pop().cancel()


@contextmanager
def request_progress() -> Generator[Callable[[int, int], None]]:
    """Show the share of answered requests on a terminal; show nothing if stderr is a file."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("requests", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
