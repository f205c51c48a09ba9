"""Archive of a study for sharing: its numbers and their provenance, without texts, tokens or weights.

The unpacked archive is a store: `byheart rows` and `byheart report` read it like the original. It contains the records' ids
and groups, and the study's settings as written, with file names.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from byheart.core.atomic_file import atomic_write
from byheart.core.errors import SettingError, StoreError
from byheart.store.rows import study_rows, validation_pass_keys
from byheart.store.seal import MANIFEST, sealed_json, sha256
from byheart.store.store import Store

ARCHIVE_SUFFIX = ".tar.xz"


def pack(store: Store, study: str | None, output: Path) -> Path:
    """Write a study, or all studies of a store, as a tar.xz archive and return its path; equal studies make equal files.

    The archive contains rows, their scores, the validation texts' log-probabilities, the gates of the split check, the note of
    each study, and a manifest with the SHA-256 of each file. Raises as `rows.study_rows` does, `SettingError` for a name that
    does not end in .tar.xz, and `StoreError` if the file cannot be written.
    """
    if not output.name.endswith(ARCHIVE_SUFFIX):
        raise SettingError(
            f"-o {output}: the output is a {ARCHIVE_SUFFIX} archive. Write a name that ends in {ARCHIVE_SUFFIX}."
        )
    paths = list(_archived_files(store, study))
    if links := [path for path in paths if _is_link(path, store.root)]:
        raise StoreError(f"store: {links[0]} is a link to another place. Remove it and run again.")
    files = [(path.relative_to(store.root).as_posix(), path.read_bytes()) for path in paths]
    manifest = sealed_json({"files": {name: sha256(content) for name, content in files}})
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # One compressed stream, because every result repeats the texts' ids; compressing single files would store each copy.
        with atomic_write(output) as temporary_path, tarfile.open(temporary_path, "w:xz") as archive:
            for name, content in (*files, (MANIFEST, manifest.encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise StoreError(
            f"archive {output}: cannot be written ({error.strerror}). Choose another path with -o."
        ) from error
    return output


def _is_link(path: Path, root: Path) -> bool:
    """Whether a link below a stage leads to another place, whose content would be published. A stage may be on another disk."""
    stage, *names = path.relative_to(root).parts
    return path.resolve() != (root / stage).resolve().joinpath(*names)


def _archived_files(store: Store, study: str | None) -> Iterator[Path]:
    """Yield the files that the report of a study is made from."""
    rows = study_rows(store, study)
    notes = {name: note for name, note in store.notes("studies").items() if study in {None, name}}
    yield store.root / "store.json"
    yield from (store.root / "studies" / f"{name}.json" for name in notes)
    gates = [gate["key"] for note in notes.values() for gate in note.get("gates", [])]
    results = [
        *(("rows", key) for note in notes.values() for key in note["rows"]),
        *(("scores", row.scores) for row in rows if row.scores),
        *(("gates", key) for key in gates),
        *(("evidence", key) for keys in validation_pass_keys(store, study).values() for key in keys),
    ]
    for stage, key in dict.fromkeys(results):
        if store.has(stage, key):
            yield from sorted(store.folder(stage, key).iterdir())
