"""Hashes that show whether a folder of results was changed: SHA-256 of every file, in a manifest with a seal of its own.

A manifest is a JSON object whose field `files` has the SHA-256 of each other file, and whose last field `seal` is the SHA-256
of the manifest without it. The seal is the folder's fingerprint: whoever can write the folder can also make a new manifest, so
only a seal that is noted elsewhere, or a signature of the manifest file, shows that this did not happen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from byheart.core.errors import StoreError

MANIFEST = "manifest.json"
SEAL = "seal"
_BLOCK_BYTES = 2**20


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def hashes_of(paths: Iterable[Path], folder: Path) -> dict[str, str]:
    """Return the SHA-256 of files by their names relative to a folder."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(paths)}


def sealed_json(content: Mapping[str, Any]) -> str:
    """Return JSON text of an object with its seal as the last field."""
    plain = {name: value for name, value in content.items() if name != SEAL}
    return _json({**plain, SEAL: sha256(_json(plain).encode())})


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the object in a sealed JSON file; raises `StoreError` for a file that is missing or that was changed."""
    try:
        # A checkout may end lines with CRLF; JSON has no line end inside a value, so the content is the same.
        text = path.read_bytes().decode().replace("\r\n", "\n")
        content = json.loads(text)
        written_again = sealed_json(cast("dict[str, Any]", content)) if isinstance(content, dict) else ""
    except FileNotFoundError as error:
        raise StoreError(f"{path}: the file does not exist. Name the file of byheart audit --preregister.") from error
    except IsADirectoryError as error:
        raise StoreError(f"{path}: is a folder. Name the file that byheart wrote.") from error
    except (OSError, ValueError, RecursionError) as error:
        # ValueError: also NaN and half a surrogate pair, which no sealed file has.
        raise StoreError(
            f"{path}: is not JSON that byheart wrote ({error}). Name a file of byheart audit --preregister, or a {MANIFEST}."
        ) from error
    if not isinstance(content, dict) or SEAL not in content:
        raise StoreError(f"{path}: has no seal. Write it again with this version of byheart.")
    if written_again != text:
        raise StoreError(f"{path}: was changed after it was written (its seal does not match). Get the original file.")
    return cast("dict[str, Any]", content)


def missing_manifest(folder: Path) -> str:
    """Return in words why a path has no manifest: it does not exist, is a file, or is another folder."""
    if not folder.exists():
        return "the folder does not exist"
    return f"has no {MANIFEST}" if folder.is_dir() else "is a file, not a folder"


def sealed_folder_of(path: Path) -> Path | None:
    """Return the folder with a manifest of its files in which a path lies, or None."""
    for folder in (path.absolute(), *path.absolute().parents):
        try:
            content = json.loads((folder / MANIFEST).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and SEAL in content and "files" in content:
            return folder
    return None


def changed_files(folder: Path, files: Mapping[str, str], *, ignored: Iterable[str] = ()) -> list[str]:
    """Return a message per file of a folder that differs from its hash, is missing, or is in no manifest.

    The manifest itself, detached signatures of it (`manifest.json.*`), and folders named in `ignored` are left out.
    """
    left_out = set(ignored)
    present = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in left_out
    }
    messages: list[str] = []
    for name, expected in files.items():
        if name not in present:
            messages.append(f"{name}: missing")
        elif (found := file_sha256(present[name])) != expected:
            messages.append(f"{name}: changed (SHA-256 is {found[:16]}, the manifest has {expected[:16]})")
    extra = [n for n in present if n not in files and n != MANIFEST and not n.startswith(f"{MANIFEST}.")]
    return messages + [f"{name}: not in the manifest" for name in extra]


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
