"""Read rows of JSON, JSONL, CSV, TSV, Parquet and text files, also compressed with gzip or Zstandard.

Each row has a location ("notes.jsonl line 3") for error messages. A string in a JSON array or on a line of JSONL is a text.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from byheart.core.errors import DataError
from byheart.data.decompression import DECOMPRESSORS, expansion_error, max_content_bytes


class SourceRow(NamedTuple):
    """One row and its location, for error messages."""

    location: str
    fields: Mapping[str, object]


def read_rows(path: Path) -> list[SourceRow]:
    """Return the rows of a file. Its suffix determines the format.

    Raises `DataError` in one line with the file, and with the line or row if known: for a file that is missing, unreadable
    or empty, for another suffix, and for content that is not UTF-8, JSON, CSV or Parquet.
    """
    suffix = format_suffix(path)
    if suffix not in READERS or (suffix == ".parquet" and path.suffix in DECOMPRESSORS):
        raise DataError(f"{path}: unsupported file type. Write the path of a {SUFFIXES} file.")
    try:
        rows = list(READERS[suffix](path))
    except OSError as error:
        reason = error.strerror or first_error_line(error)
        folder = "" if path.is_absolute() else f"; the current folder is {Path.cwd()}"
        raise DataError(f"{path}: cannot be read ({reason}{folder}). Write the path of a {SUFFIXES} file.") from error
    if not rows:
        problem = "contains no records" if path.stat().st_size else "the file is empty"
        raise DataError(f"{path}: {problem}. Name a file with at least one record.")
    return rows


def format_suffix(path: Path) -> str:
    """Return the suffix that determines a file's format, without that of its compression."""
    return Path(path.stem).suffix if path.suffix in DECOMPRESSORS else path.suffix


def file_hash(path: Path) -> str:
    """Return a file's content hash (32 hex digits). Raises `DataError` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Write the path of a {SUFFIXES} file.") from error


def first_error_line(error: Exception) -> str:
    """Return the first line of a library's error message."""
    return (str(error).splitlines() or [""])[0]


def _read_utf8(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix in DECOMPRESSORS:
        try:
            data = DECOMPRESSORS[path.suffix](data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except Exception as error:
            raise DataError(
                f"{path}: cannot be decompressed ({first_error_line(error)}). Compress the file again."
            ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} line {line}: is not UTF-8. Save the file as UTF-8.") from error


def _nonempty_lines(path: Path) -> Iterator[tuple[str, str]]:
    # Not `splitlines`: a JSON string or a sentence can contain U+2028 and similar characters.
    for number, line in enumerate(_read_utf8(path).split("\n"), start=1):
        if line.strip():
            yield f"{path} line {number}", line.strip()


def _read_text(path: Path) -> Iterator[SourceRow]:
    for location, line in _nonempty_lines(path):
        yield SourceRow(location, {"text": line})


_ONE_OBJECT_PER_LINE = "Write one object per line. A JSON array needs the extension .json."
_LINE_TYPES = 'is not a JSON object or string. Write one object per line, such as {"text": "..."}, or one string.'


def _read_jsonl(path: Path) -> Iterator[SourceRow]:
    for location, line in _nonempty_lines(path):
        try:
            fields: object = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{location}, column {error.colno}: is not JSON ({error.msg}). {_ONE_OBJECT_PER_LINE}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{location}: is not JSON ({first_error_line(error)}). {_ONE_OBJECT_PER_LINE}") from error
        yield SourceRow(location, _json_record(fields, f"{location}: {_LINE_TYPES}"))


def _read_json(path: Path) -> Iterator[SourceRow]:
    text = _read_utf8(path)
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _begins_with_a_record(text):
            yield from _read_jsonl(path)  # `Dataset.to_json` writes lines under any name
            return
        raise DataError(
            f"{path}: is not JSON ({first_error_line(error)}). Write an array of objects, or name a file of lines .jsonl."
        ) from error
    is_array = isinstance(content, list)
    if isinstance(content, dict):
        # Files of datasets and of older tools: one list of records under a name such as "data".
        lists = [v for v in cast("dict[str, object]", content).values() if isinstance(v, list)]
        content = lists[0] if len(lists) == 1 else content
    if not isinstance(content, list):
        raise DataError(f"{path}: is not a JSON array of objects. Write an array with one object per record.")
    for number, fields in enumerate(cast("list[object]", content), start=1):
        location = f"{path} item {number}"
        if isinstance(fields, str) and not is_array:
            # A list of strings within an object can be a field of one record.
            raise DataError(f"{location}: is not a JSON object. Write one object per record, or an array of strings.")
        problem = "is not a JSON object or string. Write one object, or one string, per record."
        yield SourceRow(location, _json_record(fields, f"{location}: {problem}"))


def _json_record(value: object, problem: str) -> Mapping[str, object]:
    """Return an object's fields, or the fields of a string's record. Raises `DataError` with the problem for another type."""
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise DataError(problem)
    return cast("dict[str, object]", value)


def _begins_with_a_record(text: str) -> bool:
    """Whether the first line is a complete JSON object or string, and more follows."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict | str)
    except (ValueError, RecursionError):
        return False


def _read_tsv(path: Path) -> Iterator[SourceRow]:
    yield from _read_csv(path, delimiter="\t")


def _read_csv(path: Path, delimiter: str = ",") -> Iterator[SourceRow]:
    text = _read_utf8(path)
    default_limit = csv.field_size_limit(max(len(text), 131_072))  # a document can exceed Python's default limit
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    header: list[str] | None = None
    line = 1
    try:
        for cells in rows:
            location, line = f"{path} line {line}", rows.line_num + 1
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    raise DataError(f"{location}: duplicate column names ({', '.join(header)}). Rename one of them.")
            elif len(cells) != len(header):
                raise DataError(
                    f"{location}: has {len(cells)} cells, but the header has {len(header)}. Write one cell per column."
                )
            else:
                yield SourceRow(location, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path} line {line}: is not CSV ({error}). Correct this line.") from error
    finally:
        csv.field_size_limit(default_limit)


def _read_parquet(path: Path) -> Iterator[SourceRow]:
    import pyarrow.parquet  # takes 0.1 s, and other files do not need it

    try:
        batches = cast("Any", pyarrow.parquet.ParquetFile(path)).iter_batches(batch_size=1024)
        yield from numbered_rows(str(path), _bounded_rows(batches, max_content_bytes(path.stat().st_size)))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    # The base classes of Arrow's errors except OSError, and what dates and time zones beyond those of Python raise.
    except (ValueError, NotImplementedError, OverflowError, LookupError, TypeError, ImportError) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({first_error_line(error)}). Save the file again."
        ) from error


def _bounded_rows(batches: Iterable[Any], max_bytes: int) -> Iterator[Mapping[str, object]]:
    """Yield the rows of Arrow batches. Raises `DataError` for more characters: a dictionary can repeat one text in every row."""
    total = 0
    for batch in batches:
        for start in range(0, batch.num_rows, 16):
            for fields in batch.slice(start, 16).to_pylist():
                total += _characters(fields)
                if total > max_bytes:
                    raise expansion_error()
                yield fields


def _characters(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict | list):
        parts = cast("Any", value)
        return sum(map(_characters, parts.values() if isinstance(parts, dict) else parts))
    return 8


def numbered_rows(source: str, rows: Iterable[Mapping[str, object]]) -> Iterator[SourceRow]:
    """Yield rows with their locations; row numbers start at 1."""
    for number, fields in enumerate(rows, start=1):
        yield SourceRow(f"{source} row {number}", fields)


READERS: Mapping[str, Callable[[Path], Iterator[SourceRow]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".tsv": _read_tsv,
    ".txt": _read_text,
}
SUFFIXES = f"{', '.join(READERS)} (also .gz, .zst)"
