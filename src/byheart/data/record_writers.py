"""Write records to a file: JSON, JSONL, CSV, TSV, Parquet, or lines of text. The suffix determines the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from byheart.core.atomic_file import atomic_write
from byheart.core.errors import DataError
from byheart.data.canary_records import Record


def check_writable(path: Path) -> None:
    """Raise `DataError` for a file that exists, or whose suffix names no format that records can be written in."""
    if path.suffix not in WRITERS:
        raise DataError(f"{path}: records cannot be written in this format. Write a {', '.join(WRITERS)} file.")
    if path.exists():
        raise DataError(f"{path}: the file already exists. Choose another output, or remove it.")


def write_records(path: Path, records: Sequence[Record], check: Callable[[Path], None] = lambda _: None) -> None:
    """Write records to a new file, completely or not at all; `check` reads the written file before it gets its name.

    Raises `DataError` for records that the format cannot hold, and if writing fails, and what `check` raises.
    """
    check_writable(path)
    content = WRITERS[path.suffix](path, records)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, suffix=path.suffix) as temporary_path:
            temporary_path.write_bytes(content if isinstance(content, bytes) else content.encode())
            check(temporary_path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}). Choose another output.") from error


def json_lines(records: Iterable[Record]) -> str:
    """Return records as JSON, one per line."""
    return "".join(json.dumps(dict(record), ensure_ascii=False, default=str) + "\n" for record in records)


def _jsonl(_: Path, records: Sequence[Record]) -> str:
    return json_lines(records)


def _json(_: Path, records: Sequence[Record]) -> str:
    return json.dumps([dict(record) for record in records], ensure_ascii=False, indent=1, default=str) + "\n"


def _text(path: Path, records: Sequence[Record]) -> str:
    others = dict.fromkeys(str(field) for record in records for field in record if field != "text")
    if others:
        raise DataError(
            f"{path}: records have fields other than text ({', '.join(others)}), which .txt cannot store. Write a .jsonl file."
        )
    lines = [record["text"] for record in records]
    if any("\n" in line for line in lines):
        raise DataError(f"{path}: a text has line breaks, and .txt stores one text per line. Write a .jsonl file.")
    return "".join(f"{line}\n" for line in lines)


def _csv(path: Path, records: Sequence[Record], delimiter: str = ",") -> str:
    header = list(records[0])
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    for number, record in enumerate(records, start=1):
        if list(record) != header or not all(isinstance(value, str) for value in record.values()):
            raise DataError(
                f"{path}: record {number} has other fields than the first, or a value that is not a string, and CSV holds only "
                "such tables. Write a .jsonl file."
            )
        writer.writerow(record.values())
    return stream.getvalue()


def _tsv(path: Path, records: Sequence[Record]) -> str:
    return _csv(path, records, "\t")


def _parquet(path: Path, records: Sequence[Record]) -> bytes:
    # Imported by name, because pyarrow is heavy, used only here, and has no types.
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    sink = pa.BufferOutputStream()
    try:
        parquet.write_table(pa.Table.from_pylist([dict(record) for record in records]), sink)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:  # the base classes of Arrow's errors
        raise DataError(f"{path}: the records do not form one Parquet table ({error}). Write a .jsonl file.") from error
    return sink.getvalue().to_pybytes()


WRITERS: Mapping[str, Callable[[Path, Sequence[Record]], str | bytes]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".tsv": _tsv,
    ".txt": _text,
}
