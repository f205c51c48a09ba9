"""Read published splits of folders and of the Hugging Face Hub, and collect texts as `Examples`.

A published split is the files of a folder or the splits of a Hub repository, named train, test, validation. Code of data
sets is never run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from byheart.core.errors import DataError
from byheart.core.hub_offline import hub_fix
from byheart.core.paths import expanded
from byheart.core.split import Examples, Role
from byheart.core.types import Texts
from byheart.data.formats import READERS, SUFFIXES, SourceRow, first_error_line, format_suffix, numbered_rows, read_rows
from byheart.data.record_fields import nonempty_string_value, string_value

SPLIT_ROLES: Mapping[str, Role] = {"train": "train", "test": "nonmember", "validation": "validation"}
"""Role of the texts of each published split, by the split's name."""

_EXPECTED_FILES = f"{', '.join(SPLIT_ROLES)} files ({SUFFIXES})"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Example(NamedTuple):
    """One text of `Examples`; a text without a group is a group of its own."""

    id: str
    scored: str
    prompt: str = ""
    role: Role = "pool"
    group: str | None = None
    attributes: Mapping[str, str] = {}
    chat: str = ""
    rejected: str = ""


def examples(parts: Iterable[Example]) -> Examples:
    """Return the texts as columns. Raises `DataError` without texts, for an empty text and for duplicate ids."""
    rows = tuple(parts)
    if not rows:
        raise DataError("data set: contains no texts. Relax its settings, or name another source.")
    return Examples(
        Texts(
            tuple(r.id for r in rows),
            tuple(r.scored for r in rows),
            tuple(r.prompt for r in rows),
            tuple(r.chat for r in rows),
            tuple(r.rejected for r in rows),
        ),
        tuple(r.role for r in rows),
        tuple(r.id if r.group is None else r.group for r in rows),
        tuple(r.attributes for r in rows),
    )


def string_field(row: SourceRow, field: str) -> str:
    """Return a field's string, which may be empty.

    Raises `DataError` with the location if the field is missing, not a string, or not Unicode text.
    """
    return string_value(row.location, row.fields, field)


def nonempty_string_field(row: SourceRow, field: str) -> str:
    """Return a field's string. Raises `DataError` as `string_field` does, and for a blank string."""
    return nonempty_string_value(row.location, row.fields, field)


def truncate_text(text: str, characters: int | None) -> str:
    """Return the beginning of the text, cut between words, with at most `characters` characters."""
    if characters is None or len(text) <= characters:
        return text
    head = text[:characters]
    return (head if text[characters].isspace() else re.sub(r"\s\S*$", "", head)).rstrip()


def published_splits(source: str, config: str | None = None) -> dict[str, Iterable[SourceRow]]:
    """Return the rows of each published split, from a folder or the Hub. Raises `DataError` if there are no such splits."""
    path = expanded(source)
    if path.is_dir():
        return _read_folder_splits(path)
    if path.exists() or not _HUB_ID.fullmatch(source):
        raise DataError(
            f"source {source!r}: is neither a folder nor a Hub id. Write source: FOLDER with {_EXPECTED_FILES}, or OWNER/NAME."
        )
    loaded = _load_hub_splits(source, config)
    splits = [split for split in SPLIT_ROLES if split in loaded]
    if not splits:
        raise DataError(
            f"source {source!r}: contains none of the splits {', '.join(SPLIT_ROLES)}; available: {', '.join(loaded) or 'none'}. "
            "Name another data set."
        )
    return {split: numbered_rows(f"{source} {split}", loaded[split]) for split in splits}


def _load_hub_splits(source: str, config: str | None) -> Mapping[str, Iterable[Mapping[str, object]]]:
    import datasets  # takes 0.8 s, and local files do not need it
    from datasets.exceptions import DatasetsError

    load = cast("Callable[..., Mapping[str, Iterable[Mapping[str, object]]]]", datasets.load_dataset)
    try:
        try:
            return load(source, config)
        except RuntimeError:
            # A repository with a loading script. The Hub also stores its splits as Parquet files. They are named one
            # by one, because a search by name would take `challenge_train_sample` for a part of `train`.
            files = {split: f"{config or 'default'}/{split}/*.parquet" for split in SPLIT_ROLES}
            return load(source, data_files=files, revision="refs/convert/parquet")
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise DataError(
            f"source {source!r}: is not a local folder, and the Hub did not return it ({first_error_line(error)}). "
            f"{hub_fix('Check its name and the network')}, or write source: FOLDER with {_EXPECTED_FILES}."
        ) from error


def _read_folder_splits(path: Path) -> dict[str, Iterable[SourceRow]]:
    rows: dict[str, Iterable[SourceRow]] = {}
    for split in SPLIT_ROLES:
        # Large data sets are published in shards: train-00000-of-00002.parquet.
        files = sorted(
            f for f in path.iterdir() if format_suffix(f) in READERS and re.split("[-.]", f.name)[0] == split
        )
        if len({format_suffix(f) for f in files}) > 1:
            raise DataError(
                f"{path}: contains {' and '.join(f.name for f in files)} for one split. Keep the files of one format."
            )
        if files:
            rows[split] = [row for file in files for row in read_rows(file)]
    if not rows:
        names = sorted(f.name for f in path.iterdir())[:10]
        raise DataError(
            f"{path}: contains no {_EXPECTED_FILES}; its files: {', '.join(names) or 'none'}. Write another folder."
        )
    return rows
