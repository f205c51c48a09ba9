"""What runs on other hosts: answer the probe of a store, and run one task by its key."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from byheart.core.errors import ByheartError, StoreError
from byheart.core.library_warnings import silence_library_warnings
from byheart.store.probe import answer
from byheart.store.store import Store
from byheart.study.tasks import CellOutcome


@dataclass(frozen=True)
class Surroundings:
    """What a worker needs to find what the run finds: store, study, working folder, import paths, byheart's version."""

    store: Path
    study: str
    folder: str
    paths: tuple[str, ...]
    version: str


def surroundings(store: Store, study: str) -> Surroundings:
    """Return the surroundings of this process."""
    return Surroundings(store.root.absolute(), study, str(Path.cwd()), tuple(sys.path), metadata.version("byheart"))


def answer_probe(place: Surroundings, question: str, worker: str) -> str:
    """Answer the probe of the store; return "" or why this worker cannot take part."""
    try:
        check_version(place)
        answer(place.store, question, worker)
    except ByheartError as error:
        return str(error)
    return ""


def run_remote_task(place: Surroundings, key: str, label: str) -> CellOutcome | None:
    """Run a task of the study; None if another worker has claimed it. An error of this host is the task's outcome."""
    from byheart.study.run_task import run_task

    enter(place)
    try:
        return run_task(Store(place.store), key, study=place.study, wait=False)
    except ByheartError as error:
        return CellOutcome(label, "", (), str(error))


def enter(place: Surroundings) -> None:
    """Take over the working folder and the import paths of the run, as far as this host has them."""
    silence_library_warnings()
    if Path(place.folder).is_dir():
        os.chdir(place.folder)
    sys.path.extend(p for p in place.paths if p not in sys.path)


def check_version(place: Surroundings) -> None:
    """Raise `StoreError` if this host has another version of byheart than the run."""
    version = metadata.version("byheart")
    if version != place.version:
        raise StoreError(
            f"store {place.store}: worker {platform.node()} has byheart {version}, the run has {place.version}. "
            "Install the same version on every host."
        )
