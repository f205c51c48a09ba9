"""The manifest of planted canaries: which coins fell how, hashed before any training.

A folder has `manifest.json`, the canaries that the data contain (`included.jsonl`), the canaries that a coin left out (`held_out.jsonl`)
and other samples of their formats (`references.jsonl`). The manifest has the SHA-256 of every canary, of the data before and after
planting, and of itself. Its coins follow from its seed and the data, so that a changed coin is noticed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from byheart.core.atomic_file import draft_of, rename_folder
from byheart.core.errors import DataError
from byheart.core.json_shapes import as_declared
from byheart.core.paths import expanded
from byheart.core.registry import key_of
from byheart.data.canary_records import Record
from byheart.data.manifest_shape import ManifestShape
from byheart.data.record_writers import json_lines

MANIFEST, INCLUDED, HELD_OUT, REFERENCES = "manifest.json", "included.jsonl", "held_out.jsonl", "references.jsonl"
FORMAT = 1
FAIR_COIN = 0.5


def sha256(value: object) -> str:
    """Return the SHA-256 (hex) of a value as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def records_sha256(records: Iterable[Record]) -> str:
    """Return the SHA-256 (hex) of records in their order."""
    content_hash = hashlib.sha256()
    for record in records:
        content_hash.update(bytes.fromhex(sha256(dict(record))))
    return content_hash.hexdigest()


def fair_coins(seed: int, data_sha256: str, count: int) -> tuple[bool, ...]:
    """Return the coins of `count` canaries; they depend on the seed and on the data before planting only."""
    generator = np.random.default_rng(int(key_of({"seed": seed, "data": data_sha256, "what": "coins"}), 16))
    return tuple((generator.random(count) < FAIR_COIN).tolist())


@dataclass(frozen=True)
class Canary:
    """A canary: its id, kind, number of copies if it is included, its coin, and its record in the shape of the data."""

    id: str
    kind: str
    repetitions: int
    included: bool
    record: Record


@dataclass(frozen=True)
class PlantedSet:
    """Canaries with their coins and references, and the manifest that commits to them.

    `manifest` has the settings, hashes and coins. `references` are kinds and records of other samples.
    """

    canaries: tuple[Canary, ...]
    references: tuple[tuple[str, Record], ...]
    manifest: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Raise `DataError` for a manifest that was edited, coins that do not follow from its seed, and edited canaries."""
        content = {name: value for name, value in self.manifest.items() if name != "sha256"}
        if self.manifest.get("sha256") != sha256(content):
            raise DataError(
                "canary manifest: it was edited after planting (its SHA-256 differs). Restore the original."
            )
        if content["settings"]["coin"] != FAIR_COIN or fair_coins(
            content["seed"], content["data"]["sha256"], len(self.canaries)
        ) != tuple(c.included for c in self.canaries):
            raise DataError(
                "canary manifest: the coins do not follow from its seed, so they need not be fair. "
                "Plant canaries again with byheart canaries plant."
            )
        for canary, entry in zip(self.canaries, content["canaries"], strict=True):
            if sha256(dict(canary.record)) != entry["sha256"]:
                raise DataError(
                    f"canary {canary.id}: its record differs from the one that was planted. Restore {INCLUDED} and {HELD_OUT}."
                )
        kinds = [kind for kind, _ in self.references]
        if kinds != _reference_kinds(content, len(kinds)) or (
            records_sha256(record for _, record in self.references) != content["references_sha256"]
        ):
            raise DataError(f"canary references: they differ from those of the manifest. Restore {REFERENCES}.")

    @property
    def field_names(self) -> Mapping[str, str]:
        """The data's names for the fields of a record shape."""
        return self.manifest["field_names"]

    def records(self, *, included: bool) -> list[Record]:
        """Return the records of the included, or of the held-out, canaries."""
        return [c.record for c in self.canaries if c.included == included]

    def check_planted(self, records: Sequence[Record]) -> None:
        """Raise `DataError` unless these records are the data that planting wrote."""
        planted = self.manifest["planted"]
        found = records_sha256(records)
        if found != planted["sha256"]:
            raise DataError(
                f"canary manifest: it belongs to other data ({planted['records']} records with SHA-256 {planted['sha256'][:12]}...; "
                f"these are {len(records)} with {found[:12]}...). Name the file that byheart canaries plant wrote."
            )

    def save(self, folder: Path | str) -> Path:
        """Write manifest, canaries and references into a new folder and return the manifest's path."""
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: the path already exists. Remove it, or choose another output.")
        draft = draft_of(folder.absolute())
        try:
            draft.mkdir(parents=True)
            files = {
                INCLUDED: json_lines(self.records(included=True)),
                HELD_OUT: json_lines(self.records(included=False)),
                REFERENCES: json_lines({"kind": kind, "record": record} for kind, record in self.references),
                MANIFEST: json.dumps(self.manifest, ensure_ascii=False, indent=1, default=str) + "\n",
            }
            for name, content in files.items():
                (draft / name).write_text(content, encoding="utf-8")
            rename_folder(draft, folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}). Choose another output.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder / MANIFEST


def read_planted_set(path: Path | str) -> PlantedSet:
    """Return the canaries of a manifest, or of its folder.

    Raises `DataError` if files are missing or unreadable, if the manifest, a coin or a canary was edited, and for the manifest of
    a newer version.
    """
    file = expanded(path)
    file = file / MANIFEST if file.is_dir() else file
    manifest = _read_json(file)
    if not isinstance(manifest, dict) or "canaries" not in manifest or "sha256" not in manifest:
        raise DataError(f"{file}: is not a manifest of canaries. Name the manifest.json of byheart canaries plant.")
    content = cast("dict[str, Any]", manifest)
    if content.get("format") != FORMAT:
        raise DataError(f"{file}: has format {content.get('format')}, this byheart reads {FORMAT}. Update byheart.")
    try:
        as_declared(ManifestShape, content)
        return _planted_set(file, content)
    # An entry is missing or of another type.
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file}: this folder is not as byheart canaries plant wrote it ({error!r}). Restore its files."
        ) from error


def _planted_set(file: Path, content: Mapping[str, Any]) -> PlantedSet:
    """Return the canaries of a manifest's content with those of the files beside it."""
    records = {
        True: _read_lines(file.with_name(INCLUDED)),
        False: _read_lines(file.with_name(HELD_OUT)),
    }
    counts = {included: sum(entry["included"] == included for entry in content["canaries"]) for included in records}
    for included, name in ((True, INCLUDED), (False, HELD_OUT)):
        if len(records[included]) != counts[included]:
            raise DataError(
                f"{file.with_name(name)}: has {len(records[included])} canaries, and the manifest {counts[included]}. Restore the file."
            )
    remaining = {included: iter(lines) for included, lines in records.items()}
    canaries = tuple(
        Canary(e["id"], e["kind"], e["repetitions"], e["included"], next(remaining[e["included"]]))
        for e in content["canaries"]
    )
    references = tuple((line["kind"], line["record"]) for line in _read_lines(file.with_name(REFERENCES)))
    try:
        return PlantedSet(canaries, references, content)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _reference_kinds(content: Mapping[str, Any], count: int) -> list[str]:
    """Return the kinds of `count` references in their order: as many of each kind, and of the model's texts all that remain."""
    each = int(content["settings"]["references"])
    kinds = [kind for kind in content["settings"]["kinds"] if kind in content["bits"]]
    remaining = {"high_perplexity": count - each * (len(kinds) - 1)}
    # One more than there are shows a wrong number as well as a billion more.
    return [kind for kind in kinds for _ in range(min(remaining.get(kind, each), count + 1))]


def _read_json(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror}). Name the manifest of byheart canaries plant."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is not JSON. Name the manifest.json of byheart canaries plant.") from error


def _read_lines(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        return as_declared(list[dict[str, Any]], [json.loads(line) for line in text.split("\n") if line.strip()])
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). It belongs beside {MANIFEST}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: has a line that is not a JSON object. Restore the file that belongs to {MANIFEST}."
        ) from error
