"""A study of several processes that share the weights of each model: the first one runs it, the others follow."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from functools import partial

from byheart.core.config import Machine
from byheart.store.store import Store
from byheart.study.cell_models import processes_of
from byheart.study.train_and_observe import observe_in_step


def follow(store: Store, machine: Machine) -> None:
    """Repeat the first process's trainings and observations until its study ends; it reports their errors."""
    processes = processes_of(machine)
    while (call := processes.receive()) is not None:
        work = partial(observe_in_step, *call, store=store, machine=machine, on_event=_ignore_event)
        with contextlib.suppress(Exception):
            processes.together(work)


@contextlib.contextmanager
def leading(machine: Machine) -> Generator[None]:
    """End the other processes after the study; after a `SystemExit` they have ended, or end themselves."""
    try:
        yield
    except Exception:
        processes_of(machine).send(None)
        raise
    processes_of(machine).send(None)


def _ignore_event(_: object) -> None:
    pass
