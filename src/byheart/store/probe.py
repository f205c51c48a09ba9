"""Whether a worker sees and writes the same store: the run writes a question, and each worker answers it beside it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from byheart.core.errors import StoreError
from byheart.store.store import Store

VISIBLE_WITHIN_SECONDS = 10.0
"""A network file system may show a new file on another host only after some seconds."""


def ask(store: Store) -> str:
    """Write a question for workers and return its name."""
    name = uuid.uuid4().hex
    (store.root / "probes" / name).mkdir(parents=True)
    return name


def answer(root: Path, question: str, worker: str) -> None:
    """Answer a question from a worker; raises `StoreError` if the worker does not see it or cannot write."""
    folder = root / "probes" / question
    if not _appears(folder):
        raise StoreError(
            f"store {root}: worker {worker} does not see this folder, or sees another one of this name. "
            "Choose a folder that all hosts share with --store."
        )
    try:
        (folder / worker).touch()
    except OSError as error:
        raise StoreError(
            f"store {root}: worker {worker} cannot write it ({error.strerror}). Let its user write the folder, or "
            "choose another one with --store."
        ) from error


def check_answers(store: Store, question: str, workers: Iterable[str]) -> None:
    """Remove the question; raises `StoreError` for a worker whose answer is in another folder than this store."""
    folder = store.root / "probes" / question
    missing = [w for w in workers if not _appears(folder / w)]
    withdraw(store, question)
    if missing:
        raise StoreError(
            f"store {store.root}: worker {missing[0]} writes to another folder of this name. "
            "Choose a folder that all hosts share with --store."
        )


def withdraw(store: Store, question: str) -> None:
    """Remove a question and its answers."""
    folder = store.root / "probes" / question
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    folder.rmdir()


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + VISIBLE_WITHIN_SECONDS
    while path.parent.exists() and not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return path.exists()
