"""The note of a study in the store: which rows and gates belong to it, and what its file said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from byheart.core.json_shapes import as_declared


@dataclass(frozen=True)
class NotedGate:
    """The gate of a data set."""

    dataset: str
    dataset_settings: str
    key: str


@dataclass(frozen=True)
class NotedEntry:
    """An entry of a shelf."""

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class StudyNote:
    """The fields of a note that are read; notes of older versions have fewer."""

    rows: list[str]
    gates: list[NotedGate] = field(default_factory=list[NotedGate])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    cells: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    attacks: list[NotedEntry] = field(default_factory=list[NotedEntry])
    metrics: list[NotedEntry] = field(default_factory=list[NotedEntry])
    tables: list[NotedEntry] = field(default_factory=list[NotedEntry])
    figures: list[NotedEntry] = field(default_factory=list[NotedEntry])
    scoring: dict[str, Any] = field(default_factory=dict[str, Any])
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    published: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    command: str = ""
    written: str = ""
    at: str = ""


def complete_note(note: Any) -> dict[str, Any]:
    """Return a note with every field that is read; raises `ValueError` for a field of another type."""
    declared = as_declared(StudyNote, note)
    content: Mapping[str, Any] = note
    return {**dataclasses.asdict(declared), **content}
