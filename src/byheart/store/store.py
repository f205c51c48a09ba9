"""The store: `ROOT/<stage>/<key>/` with its data and `recipe.json`. The only module that touches it.

A result is made aside under a unique name and renamed when whole, so that it exists entirely or not at all; the
first of two racing writers wins. Folders are the only truth. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from byheart.core.atomic_file import atomic_write
from byheart.core.errors import StoreError
from byheart.store.provenance import result_provenance

FORMAT = 1
"""Raised when an older byheart could not read what this one writes."""

_DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Store:
    """A folder of results. Made by `Store.open`, which refuses a folder that a newer byheart wrote."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Store:
        """Return the store at a folder, made if it is not there; remove what killed writers left aside.

        Raises `StoreError` for a store that is newer than this byheart, or a place that cannot be written.
        """
        label = root / "store.json"
        try:
            (root / ".making").mkdir(parents=True, exist_ok=True)
            if not label.exists():
                _write_json(label, {"format": FORMAT})
            written = json.loads(label.read_text())["format"]
            newer = written > FORMAT
        except OSError as error:
            raise StoreError(
                f"store {root} cannot be written ({error.strerror}); choose another with --store"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"store {root}: store.json is not one of byheart's; choose another folder with --store"
            ) from error
        if newer:
            raise StoreError(
                f"store {root} has format {written}, this byheart reads up to {FORMAT}; update byheart or choose another --store"
            )
        store = cls(root)
        store._remove_abandoned()
        return store

    def folder(self, stage: str, key: str) -> Path:
        """Return where a result lives, whether it is there or not."""
        return self.root / stage / key

    def has(self, stage: str, key: str) -> bool:
        """Return whether a result is there, which means whole."""
        return (self.folder(stage, key) / "recipe.json").exists()

    def get_or_make(self, stage: str, key: str, recipe: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of a result, made by `make(folder)` if it is not there. All caching sits here.

        `recipe` spells out the identity with its defaults and is compared with what is stored: raises `StoreError`
        where a default has changed since, and where the disk is full.
        """
        place = self.folder(stage, key)
        if self.has(stage, key):
            self._check_recipe(place, recipe)
            return place
        aside = self.root / ".making" / f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex}"
        began = time.monotonic()
        try:
            with self._explain_write_errors():
                aside.mkdir(parents=True)
                make(aside)
                _write_json(
                    aside / "recipe.json", {"recipe": recipe, "made": result_provenance(time.monotonic() - began)}
                )
                place.parent.mkdir(exist_ok=True)
                aside.rename(place)
        except OSError:
            if not self.has(stage, key):  # else another process was first, which is as good
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return place

    def recipe(self, stage: str, key: str) -> dict[str, Any]:
        """Return a result's recipe and how it was made: {"recipe": ..., "made": ...}."""
        return read_json(self.folder(stage, key) / "recipe.json")

    def drop(self, stage: str, key: str) -> None:
        """Remove a result; it is gone at once for every reader."""
        aside = self.root / ".making" / f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            self.folder(stage, key).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def note(self, stage: str, name: str, content: Mapping[str, Any]) -> None:
        """Write a small named document, replacing what was there in one step (a study's list of cells)."""
        place = self.root / stage / f"{name}.json"
        with self._explain_write_errors():
            place.parent.mkdir(exist_ok=True)
            _write_json(place, content)

    def notes(self, stage: str) -> dict[str, dict[str, Any]]:
        """Return the small documents of a stage by name."""
        return {p.stem: read_json(p) for p in sorted((self.root / stage).glob("*.json"))}

    @contextlib.contextmanager
    def claim(self, key: str, *, wait: bool) -> Generator[bool]:
        """Hold a name against all other processes; yields False at once where another holds it and `wait` is false.

        The operating system lets go of it when a process dies, however it dies.
        """
        from filelock import FileLock, Timeout

        with self._explain_write_errors():
            (self.root / "claims").mkdir(exist_ok=True)
        lock = FileLock(self.root / "claims" / f"{key}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @contextlib.contextmanager
    def _explain_write_errors(self) -> Generator[None]:
        """Tell a disk that is full, or a folder that may not be written, in one line."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            # safetensors has no number for what the operating system said, only its words.
            told = re.search(r"os error (\d+)", str(error))
            number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
            if number in _DISK_FULL_ERRNOS:
                raise StoreError(
                    f"store {self.root}: the disk is full; free some space and run again, whole results are kept"
                ) from error
            if number in _READ_ONLY_ERRNOS:
                raise StoreError(
                    f"store {self.root} cannot be written ({os.strerror(number)}); choose another with --store"
                ) from error
            raise

    def _check_recipe(self, place: Path, recipe: Mapping[str, Any]) -> None:
        kept = read_json(place / "recipe.json")["recipe"]
        told = _first_difference(kept, json.loads(json.dumps(recipe)))
        if told:
            raise StoreError(
                f"store {place.parent.name}/{place.name} was made with another default: {told}; write the old value into the study, "
                f"raise the file's REVISION, or remove {place}"
            )

    def _remove_abandoned(self) -> None:
        """Remove what writers of this machine left aside that are no longer alive."""
        for left in (self.root / ".making").iterdir():
            host, _, rest = left.name.rpartition("-")[0].rpartition("-")
            if host == platform.node() and rest.isdigit() and not _alive(int(rest)):
                shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _first_difference(kept: Any, wanted: Any, where: str = "") -> str:
    if isinstance(kept, dict) and isinstance(wanted, dict):
        for name in sorted({*kept, *wanted}):
            told = _first_difference(kept.get(name), wanted.get(name), f"{where}.{name}".lstrip("."))
            if told:
                return told
        return ""
    return "" if kept == wanted else f"{where} is {kept!r} there and {wanted!r} here"


def _write_json(place: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(place) as aside:
        aside.write_text(json.dumps(content, indent=1, sort_keys=True))


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Write arrays by name into a result's folder."""
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a result by name; raises `StoreError` where their file is damaged."""
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as held:
            return {n: held[n] for n in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise damaged_result_error(folder, error) from error


def read_json(place: Path) -> Any:
    """Return what a file of a result or a note holds; raises `StoreError` where it is damaged."""
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged_result_error(place if place.parent.name == "studies" else place.parent, error) from error


def damaged_result_error(place: Path, error: Exception) -> StoreError:
    """Return the refusal of a result that was whole once and is not any more: cut short, or edited by hand."""
    told = " ".join(str(error).split())[:120] or type(error).__name__
    return StoreError(f"store: {place} is damaged ({told}); remove it and run again, all else is kept")
