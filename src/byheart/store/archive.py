"""A study as one file to hand on: its numbers and how they came about, without texts, tokens or weights.

Unpacked, the file is a store like any other: `byheart rows` and `byheart report` read it as they read the first one.
Records' ids and groups are in it, so are the settings as they were given, with the names of files in them.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from byheart.core.atomic_file import atomic_write
from byheart.core.errors import SettingError, StoreError
from byheart.store.rows import study_rows, validation_pass_keys
from byheart.store.store import Store

ARCHIVE_SUFFIX = ".tar.xz"


def pack(store: Store, study: str | None, output: Path) -> Path:
    """Write a study, or all of a store, as a tar.xz archive and return its path; equal studies make equal files.

    It holds the rows, the scores behind them, the validation texts' log-probabilities, the gates of the data, and each
    study's note. Raises as `rows.study_rows` does, `SettingError` for another ending than .tar.xz, and `StoreError` where the
    file cannot be written.
    """
    if not output.name.endswith(ARCHIVE_SUFFIX):
        raise SettingError(f"-o {output}: what is written is a {ARCHIVE_SUFFIX} archive; end its name so")
    held = list(_archived_files(store, study))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # One stream: results repeat their texts' ids, which an archive of single files would keep as often.
        with atomic_write(output) as aside, tarfile.open(aside, "w:xz") as archive:
            for path in held:
                content = path.read_bytes()
                entry = tarfile.TarInfo(path.relative_to(store.root).as_posix())
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise StoreError(f"archive {output} cannot be written ({error.strerror}); choose another with -o") from error
    return output


def _archived_files(store: Store, study: str | None) -> Iterator[Path]:
    """Yield the files of what a study's page is made from."""
    rows = study_rows(store, study)
    noted = {n: s for n, s in store.notes("studies").items() if study in {None, n}}
    yield store.root / "store.json"
    yield from (store.root / "studies" / f"{name}.json" for name in noted)
    gates = [g["key"] for s in noted.values() for g in s.get("gates", [])]
    results = [
        *(("rows", key) for s in noted.values() for key in s["rows"]),
        *(("scores", row.scores) for row in rows if row.scores),
        *(("gates", key) for key in gates),
        *(("evidence", key) for keys in validation_pass_keys(store, study).values() for key in keys),
    ]
    for stage, key in dict.fromkeys(results):
        if store.has(stage, key):
            yield from sorted(store.folder(stage, key).iterdir())
