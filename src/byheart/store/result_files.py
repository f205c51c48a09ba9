"""Files of results and notes: JSON and arrays with checksums, so that a changed byte is found when the file is read.

`recipe.json` has the CRC-32 of each other file of its result (`checksums`). It and every note have the CRC-32 of their own
content (`crc32`). Results and notes of older versions have neither, and are read unchecked. CRC-32 finds damage of disks and
transfers; against edits, `seal.py` has SHA-256.
"""

from __future__ import annotations

import errno
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from byheart.core.atomic_file import atomic_write
from byheart.core.errors import StoreError
from byheart.core.machine_faults import machine_fault_line

Arrays = Mapping[str, np.ndarray]
RECIPE = "recipe.json"
CHECKSUM, CHECKSUMS = "crc32", "checksums"
DAMAGED_ARCHIVE = (
    *(OSError, ValueError, EOFError, LookupError, RuntimeError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What NumPy and zipfile raise for arrays whose bytes were changed, for example a compression or a size that does not exist."""
_BLOCK_BYTES = 1 << 20


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a note or a recipe with its checksum; an existing file is replaced atomically."""
    plain = json.loads(json.dumps({n: v for n, v in content.items() if n != CHECKSUM}))
    with atomic_write(path) as temporary_path:
        temporary_path.write_text(_text({**plain, CHECKSUM: _content_checksum(plain)}))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a result or of a note, without its checksum; raises `StoreError` if it is damaged."""
    try:
        if path.name != RECIPE:
            check_files(path.parent, [path.name])
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or CHECKSUM not in content:
            return content
        plain = cast("dict[str, Any]", content)
        _check_content(plain)
        del plain[CHECKSUM]
    except (OSError, ValueError, RecursionError) as error:
        is_result = path.name == RECIPE or (path.parent / RECIPE).exists()  # a folder; a note is a file
        raise damaged_result_error(path.parent if is_result else path, error) from error
    return plain


def has_changed(content: Mapping[str, Any]) -> bool:
    """Whether a note or a recipe has another checksum than it states; False if it states none."""
    plain = {name: value for name, value in content.items() if name != CHECKSUM}
    return CHECKSUM in content and content[CHECKSUM] != _content_checksum(plain)


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Write arrays by name into a result's folder."""
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a result by name; raises `StoreError` if the file is damaged."""
    path = folder / "arrays.npz"
    try:
        check_files(folder, [path.name])
        with zipfile.ZipFile(path) as archive:
            # `write_arrays` compresses nothing. A compressed file of kilobytes could fill the memory.
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("its arrays are larger than the file")
            for member in archive.infolist():
                _check_array_size(archive, member)  # so that too little memory is no sign of damage
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except DAMAGED_ARCHIVE as error:
        raise damaged_result_error(folder, error) from error


def _check_array_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise `ValueError` for an array whose header states more bytes than its part of the archive has."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError("its arrays are larger than the file")


def checksums(folder: Path) -> dict[str, str]:
    """Return the CRC-32 (8 hex digits) of every file below a folder by its relative name, except of the recipe."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _file_checksum(path) for path in files if path != folder / RECIPE}


def check_files(folder: Path, names: Iterable[str] | None = None) -> None:
    """Raise `ValueError` if files of a result have other checksums than its recipe states; `names` None: all files.

    A folder without a recipe, and a recipe of an older version, state none.
    """
    try:
        content = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    stated = content.get(CHECKSUMS) if isinstance(content, dict) else None
    if not isinstance(stated, dict):
        return
    for name in stated if names is None else names:
        if name not in stated:
            continue
        if Path(name).is_absolute() or ".." in Path(name).parts:  # a downloaded store may name a device that never ends
            raise ValueError(f"its {RECIPE} names a file outside the result: {name}")
        if _file_checksum(folder / name) != stated[name]:
            raise ValueError(f"{name} has another checksum than its {RECIPE} states")


def damaged_result_error(path: Path, error: Exception) -> StoreError:
    """Return the error for a stored result that is truncated or was edited by hand, or that this process cannot read."""
    number = error.errno if isinstance(error, OSError) else None
    line = machine_fault_line(error)
    if line is not None and number != errno.EIO:
        return StoreError(f"store: {path} cannot be read: {line}")
    is_json = isinstance(error, json.JSONDecodeError)
    reason = (
        "its JSON is incomplete or invalid" if is_json else " ".join(str(error).split())[:120] or type(error).__name__
    )
    return StoreError(f"store: {path} is damaged ({reason}). Remove it and run again; all other results are cached.")


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True)


def _content_checksum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(_text(content).encode()):08x}"


def _check_content(content: Mapping[str, Any]) -> None:
    if has_changed(content):
        raise ValueError("its checksum differs")


def _file_checksum(path: Path) -> str:
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"
