"""A folder that a command creates: checked before the work, written beside its place, and renamed when complete."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryFile

from byheart.core.atomic_file import draft_of, rename_folder
from byheart.core.errors import StoreError


def check_new_folder(folder: Path, *, example: str) -> None:
    """Raise `StoreError` if no new folder can be created here; `example` is a name for the message."""
    try:
        is_taken = folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir())))
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}). Choose another folder with -o.") from error
    if is_taken:
        raise StoreError(f"{folder}: the path already exists. Choose another folder with -o, or remove it.")
    if folder.absolute() == Path.cwd():
        raise StoreError(f"{folder}: this is the current folder. Choose a new folder, such as -o {example}.")
    parent = next(p for p in folder.absolute().parents if p.exists())
    try:
        # A trial file, because permissions show neither a read-only mount nor what root may write.
        TemporaryFile(dir=parent).close()
    except OSError as error:
        raise StoreError(f"{folder}: {parent} is not writable. Choose another folder with -o.") from error


@contextlib.contextmanager
def new_folder(folder: Path, *, example: str) -> Generator[Path]:
    """Yield an empty temporary folder that becomes `folder` when the block ends, and is removed if the block fails.

    Raises `StoreError` as `check_new_folder` does, and if the folder cannot be written.
    """
    check_new_folder(folder, example=example)
    draft = draft_of(folder.absolute())
    try:
        draft.mkdir(parents=True)
        yield draft
        rename_folder(draft, folder.absolute())
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}). Choose another folder with -o.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
