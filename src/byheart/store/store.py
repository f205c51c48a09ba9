"""The store: `ROOT/<stage>/<key>/` with a result's files and `recipe.json`. Only this module writes to it.

A result is written to a temporary folder and renamed when complete, so it exists either completely or not at all. If two
processes write the same result, the first one wins. There is no index besides the folders. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from byheart.core.atomic_file import rename_folder, sync
from byheart.core.errors import StoreError
from byheart.core.machine_identity import is_running, machine_identity
from byheart.store.durable import DISK_FULL_ERRNOS, READ_ONLY_ERRNOS
from byheart.store.lease import Holder, holder, lease
from byheart.store.provenance import result_provenance
from byheart.store.result_files import (
    CHECKSUMS,
    RECIPE,
    checksums,
    damaged_result_error,
    has_changed,
    read_json,
    write_json,
)

FORMAT = 1
"""Format version of the store. Raise it when older versions of byheart cannot read what this one writes."""


_SEPARATORS = {os.sep, "/", "\\", "\0"}
"""Characters that no key of a result contains."""


@dataclass(frozen=True)
class Store:
    """A folder of results. Create it with `Store.open`, which refuses a store of a newer byheart."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Store:
        """Return the store in a folder; create it if needed, and remove temporary folders of killed processes.

        Raises `StoreError` for a store that is newer than this byheart, and for a folder that is not writable.
        """
        format_file = root / "store.json"
        try:
            (root / ".making").mkdir(parents=True, exist_ok=True)
            if not format_file.exists():
                sync(root.absolute().parent)
                write_json(format_file, {"format": FORMAT})
            content = json.loads(format_file.read_text())
            store_format = content["format"]
            is_newer = store_format > FORMAT
        except OSError as error:
            raise StoreError(
                f"store {root}: cannot be written ({error.strerror}). Choose another folder with --store."
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(
                f"store {root}: store.json is damaged, or was not written by byheart. Choose another folder with --store."
            ) from error
        if has_changed(content):
            raise damaged_result_error(format_file, ValueError("its checksum differs"))
        if is_newer:
            raise StoreError(
                f"store {root}: has format {store_format}, but this byheart reads up to {FORMAT}. "
                "Update byheart, or choose another folder with --store."
            )
        store = cls(root)
        store._remove_abandoned()
        return store

    def folder(self, stage: str, key: str) -> Path:
        """Return the folder of a result, which may not exist; raises `StoreError` for a key that names another place."""
        if key in {"", ".", ".."} or set(key) & _SEPARATORS:  # a note of a downloaded store may have it
            raise StoreError(f"store {self.root}: {key!r} is no key of a result. Get the original store.")
        return self.root / stage / key

    def has(self, stage: str, key: str) -> bool:
        """Whether a result exists; if so, it is complete."""
        return (self.folder(stage, key) / RECIPE).exists()

    def keys(self, stage: str) -> list[str]:
        """Return the keys of all results of a stage, sorted."""
        return sorted(p.parent.name for p in (self.root / stage).glob(f"*/{RECIPE}"))

    def get_or_make(self, stage: str, key: str, recipe: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of a result; if it does not exist, call `make(folder)`. All caching happens here.

        `recipe` is the identity with all defaults, and is compared with the stored one. Raises `StoreError` if a default has
        changed since, if the disk is full, and if the store is not writable.
        """
        folder = self.folder(stage, key)
        if self.has(stage, key):
            self._check_recipe(folder, recipe)
            return folder
        temporary_folder = self._temporary_folder()
        started = time.monotonic()
        try:
            with self._explain_write_errors():
                temporary_folder.mkdir(parents=True)
                make(temporary_folder)
                provenance = result_provenance(time.monotonic() - started)
                content = {"recipe": recipe, "made": provenance, CHECKSUMS: checksums(temporary_folder)}
                write_json(temporary_folder / RECIPE, content)
                self._make_stage(stage)
                rename_folder(temporary_folder, folder)
        except OSError:
            if not self.has(stage, key):  # otherwise another process was first, and its result is equivalent
                raise
        finally:
            shutil.rmtree(temporary_folder, ignore_errors=True)
        return folder

    def _temporary_folder(self) -> Path:
        return self.root / ".making" / f"{machine_identity()}-{os.getpid()}-{uuid.uuid4().hex}"

    def _make_stage(self, stage: str) -> None:
        """Create the folder of a stage, with its name on the disk: results in a folder without a name are lost with the power."""
        if not (self.root / stage).is_dir():
            (self.root / stage).mkdir(exist_ok=True)
            sync(self.root)

    def recipe(self, stage: str, key: str) -> dict[str, Any]:
        """Return a result's recipe and provenance: {"recipe": ..., "made": ...}."""
        folder = self.folder(stage, key)
        content = read_json(folder / RECIPE)
        if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in ("recipe", "made")):
            raise damaged_result_error(folder, ValueError("recipe.json has no recipe"))
        return content

    def drop(self, stage: str, key: str) -> None:
        """Remove a result atomically: no reader sees a partial result, also after a loss of power."""
        temporary_folder = self._temporary_folder()
        with contextlib.suppress(FileNotFoundError):
            self.folder(stage, key).rename(temporary_folder)
            sync(self.root / stage)
        shutil.rmtree(temporary_folder, ignore_errors=True)

    def note(self, stage: str, name: str, content: Mapping[str, Any]) -> None:
        """Write a small named JSON document (such as a study's list of cells); replaces an existing one atomically."""
        path = self.root / stage / f"{name}.json"
        with self._explain_write_errors():
            self._make_stage(stage)
            write_json(path, content)

    def find_note(self, stage: str, name: str) -> dict[str, Any] | None:
        """Return a note, or None."""
        try:
            return read_json(self.root / stage / f"{name}.json")
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            return None

    def drop_note(self, stage: str, name: str) -> None:
        """Remove a note, if it exists."""
        (self.root / stage / f"{name}.json").unlink(missing_ok=True)

    def notes(self, stage: str) -> dict[str, dict[str, Any]]:
        """Return the notes of a stage by name."""
        notes = {p.stem: self.find_note(stage, p.stem) for p in sorted((self.root / stage).glob("*.json"))}
        return {name: note for name, note in notes.items() if note is not None}  # None: removed meanwhile

    @contextlib.contextmanager
    def claim(self, key: str, *, wait: bool) -> Generator[bool]:
        """Claim a key across processes and hosts, and yield True. If another has it, wait, or yield False unless `wait`.

        The claim ends with its process; on another host it expires without a heartbeat (`lease.py`).
        """
        with contextlib.ExitStack() as stack:
            with self._explain_write_errors():
                is_claimed = stack.enter_context(lease(self.root / "claims" / key, wait=wait))
            yield is_claimed

    def claim_holder(self, key: str) -> Holder | None:
        """Return who holds the claim of a key; None if it is free."""
        return holder(self.root / "claims" / key)

    @contextlib.contextmanager
    def _explain_write_errors(self) -> Generator[None]:
        """Raise a full disk or a read-only folder as a `StoreError`."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            # safetensors reports the operating system's error number only in its message.
            match = re.search(r"os error (\d+)", str(error))
            number = error.errno if isinstance(error, OSError) else int(match[1]) if match else None
            if number in DISK_FULL_ERRNOS:
                raise StoreError(
                    f"store {self.root}: the disk is full. Free some space and run again; complete results are cached."
                ) from error
            if number in READ_ONLY_ERRNOS:
                raise StoreError(
                    f"store {self.root}: cannot be written ({os.strerror(number)}). Choose another folder with --store."
                ) from error
            raise

    def _check_recipe(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        stored_recipe = self.recipe(folder.parent.name, folder.name)["recipe"]
        difference = _first_difference(stored_recipe, json.loads(json.dumps(recipe)))
        if difference:
            raise StoreError(
                f"store {folder.parent.name}/{folder.name}: was made with another default ({difference}). "
                f"Write the stored value into the study, raise the file's REVISION, or remove {folder}."
            )

    def _remove_abandoned(self) -> None:
        """Remove temporary folders of processes of this machine that no longer run."""
        for folder in (self.root / ".making").iterdir():
            host, _, process = folder.name.rpartition("-")[0].rpartition("-")
            if host in {machine_identity(), platform.node()} and process.isdecimal() and not is_running(int(process)):
                shutil.rmtree(folder, ignore_errors=True)


def _first_difference(stored: Any, requested: Any, where: str = "") -> str:
    if isinstance(stored, dict) and isinstance(requested, dict):
        for name in sorted({*stored, *requested}):
            difference = _first_difference(stored.get(name), requested.get(name), f"{where}.{name}".lstrip("."))
            if difference:
                return difference
        return ""
    return "" if stored == requested else f"{where}: stored {stored!r}, requested {requested!r}"
