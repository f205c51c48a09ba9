"""Types of the fields of a manifest of canaries that byheart reads, as planting writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CanaryEntry:
    """One canary, without its record."""

    id: str
    kind: str
    repetitions: int
    included: bool
    sha256: str


@dataclass(frozen=True)
class DataCounts:
    """Number and hash of the records before or after planting."""

    records: int
    sha256: str


@dataclass(frozen=True)
class EpsilonSettings:
    """Settings of the lower bound on epsilon, fixed before training."""

    guesses: int
    repeated: int
    delta: float


@dataclass(frozen=True)
class ManifestShape:
    """The whole manifest, apart from fields that only document it."""

    format: int
    at: str
    seed: int
    settings: dict[str, Any]
    field_names: dict[str, str]
    data: DataCounts
    planted: DataCounts
    bits: dict[str, float]
    epsilon: EpsilonSettings | None
    references_sha256: str
    canaries: list[CanaryEntry]
    sha256: str
