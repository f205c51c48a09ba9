"""Plant canaries in anybody's records: a fair coin per canary includes it in the data or leaves it out.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019. arXiv 1802.08232:
canaries with a format and a random secret. Thomas Steinke, Milad Nasr, Matthew Jagielski. Privacy Auditing with One (1) Training Run.
NeurIPS 2023. arXiv 2305.08846: one coin per canary in one training.

A real text whose coin leaves it out is removed from the data; all other canaries are additional records.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np

from byheart.core.errors import DataError
from byheart.data.canary_manifest import (
    FAIR_COIN,
    FORMAT,
    Canary,
    PlantedSet,
    fair_coins,
    records_sha256,
    sha256,
)
from byheart.data.canary_records import Record, parsed, scored_field
from byheart.data.plant_settings import WRITTEN_KINDS, PlantSettings
from byheart.data.planted_kinds import CanaryDraw, Writer
from byheart.stats.epsilon_bounds import one_run

ID_FIELDS = ("id", "group")
MAX_HIGHEST_ID = 2**62
"""Ids that are numbers continue the data's own up to this number, and else are the lowest free ones."""


class Planting(NamedTuple):
    """The data with canaries, and the canaries with their manifest."""

    records: list[Record]
    planted: PlantedSet


def plant_records(
    records: Sequence[Record],
    settings: PlantSettings,
    *,
    seed: int,
    field_names: Mapping[str, str] | None = None,
    writer: Writer | None = None,
) -> Planting:
    """Return records with canaries at random positions, and the canaries.

    The order of the data's own records stays. Raises `DataError` for records that cannot be read, for too few of them, and for kinds
    that a model writes if no `writer` is passed.
    """
    names = dict(field_names or {})
    _check_data(records, settings, writer, names)
    data_sha256 = records_sha256(records)
    draw = CanaryDraw(records, settings, names, writer, {"seed": seed, "data": data_sha256})
    kinds = [settings.kinds[i % len(settings.kinds)] for i in range(settings.count)]
    repetitions = [
        settings.repetitions[i // len(settings.kinds) % len(settings.repetitions)] for i in range(settings.count)
    ]
    coins = fair_coins(seed, data_sha256, settings.count)
    samples = {kind: draw.samples(kind, kinds.count(kind)) for kind in settings.kinds}
    remaining = {kind: iter(s.canaries) for kind, s in samples.items()}
    positions: dict[int, int | None] = {}
    canaries: list[Canary] = []
    new_id, prefix = _id_maker(records), _free_prefix(records)
    for i, kind in enumerate(kinds):
        record, positions[i] = next(remaining[kind])
        record = record if kind == "real_texts" else new_id(record, f"{prefix}-{i}")
        canaries.append(Canary(f"{prefix}-{i}", kind, repetitions[i], coins[i], record))
    planted = _planted_records(records, canaries, positions, new_id, draw.generator("places"))
    references = tuple((kind, record) for kind, s in samples.items() for record in s.references)
    content: dict[str, Any] = {
        "seed": seed,
        "settings": {**_plain_settings(settings), "coin": FAIR_COIN},
        "field_names": names,
        "writer": writer.name if writer is not None else "",
        "data": {"records": len(records), "sha256": data_sha256},
        "planted": {"records": len(planted), "sha256": records_sha256(planted)},
        "bits": {kind: s.bits for kind, s in samples.items() if s.bits},
        "epsilon": _planned_guesses(settings, repetitions, len(planted)),
    }
    return Planting(planted, PlantedSet(tuple(canaries), references, _manifest(content, canaries, references)))


def _manifest(
    content: Mapping[str, Any], canaries: Sequence[Canary], references: Sequence[tuple[str, Record]]
) -> dict[str, Any]:
    """Return the manifest with the hash of every canary, and its own."""
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "byheart": metadata.version("byheart"),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **content,
        "references_sha256": records_sha256(record for _, record in references),
        "canaries": [
            {
                **{name: getattr(c, name) for name in ("id", "kind", "repetitions", "included")},
                "sha256": sha256(dict(c.record)),
            }
            for c in canaries
        ],
    }
    return {**manifest, "sha256": sha256(manifest)}


def _plain_settings(settings: PlantSettings) -> dict[str, Any]:
    """Return the settings as values of JSON."""
    return {n: list(v) if isinstance(v, tuple) else v for n, v in dataclasses.asdict(settings).items()}


def _check_data(
    records: Sequence[Record], settings: PlantSettings, writer: Writer | None, field_names: Mapping[str, str]
) -> None:
    for i, record in enumerate(records):
        scored_field(f"record {i + 1}", record, field_names)
        parsed(f"record {i + 1}", record, field_names)
    most = max(settings.repetitions)
    if len(records) < max(2, most):
        raise DataError(
            f"canaries: {most} copies of a canary exceed the {len(records)} records. Write fewer --repetitions, or more records."
        )
    if written := [kind for kind in settings.kinds if kind in WRITTEN_KINDS and writer is None]:
        raise DataError(f"canaries: the base model writes {' and '.join(written)} canaries. Name it with --model.")


def _planned_guesses(settings: PlantSettings, repetitions: Sequence[int], records: int) -> dict[str, Any] | None:
    """Return the settings of the bound on epsilon, fixed before training; None if all-correct guesses would show nothing.

    Raises `DataError` for more guesses than canaries with the fewest repetitions, and for a delta of at least 1 / records.
    """
    fewest = min(settings.repetitions)
    canaries = sum(r == fewest for r in repetitions)
    guesses = settings.guesses or canaries // 2
    if guesses > canaries:
        raise DataError(
            f"canaries: {guesses} guesses, but {canaries} canaries are repeated {fewest} times. Lower --guesses."
        )
    if settings.delta >= 1 / records:
        raise DataError(f"canaries: delta = {settings.delta:g} is not below 1 / {records} records. Lower --delta.")
    if not guesses or not one_run(canaries, guesses, guesses, delta=settings.delta):
        return None
    return {"repeated": fewest, "guesses": guesses, "delta": settings.delta}


class _IdMaker(Protocol):
    def __call__(self, record: Record, name: str) -> dict[str, Any]: ...


def _free_prefix(records: Sequence[Record]) -> str:
    """Return "canary", or with a number if a string id or group of the data begins so (data in which canaries were planted before)."""
    used = {value for r in records for field in ID_FIELDS if isinstance(value := r.get(field), str)}
    prefixes = ("canary" if i == 1 else f"canary{i}" for i in itertools.count(1))
    return next(p for p in prefixes if not any(value.startswith(f"{p}-") for value in used))


def _id_maker(records: Sequence[Record]) -> _IdMaker:
    """Return a function that gives a record its own `id` and `group`, of the type that the data's fields have."""
    following = {field: _free_numbers(records, field) for field in ID_FIELDS}

    def new_id(record: Record, name: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        for field in ID_FIELDS:
            value = record.get(field)
            if isinstance(value, str):
                own[field] = name
            elif _is_number(value):
                own[field] = _of_type(value, next(following[field]))
        return {**record, **own}

    return new_id


def _of_type(value: float | np.number, number: int) -> float | np.number:
    if isinstance(value, np.number):
        return value.dtype.type(number)
    return number if isinstance(value, int) else float(number)


def _free_numbers(records: Sequence[Record], field: str) -> Iterator[int]:
    """Yield the whole numbers that follow the data's own ones in a field."""
    used = {r[field] for r in records if _is_number(r.get(field))}
    highest = int(max(used, default=0))
    # Above a 64-bit hash there may be no 64-bit number left.
    return (i for i in itertools.count(highest + 1 if highest < MAX_HIGHEST_ID else 1) if i not in used)


def _is_number(value: object) -> TypeGuard[float | np.number]:
    """Whether a value is a number, of Python or NumPy; a pandas column with gaps has floats."""
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _planted_records(
    records: Sequence[Record],
    canaries: Sequence[Canary],
    positions: Mapping[int, int | None],
    new_id: _IdMaker,
    generator: np.random.Generator,
) -> list[Record]:
    """Return the data with every copy of each included canary, and without the held-out real texts."""
    own_position = {position: canaries[i] for i, position in positions.items() if position is not None}
    removed = {position for position, canary in own_position.items() if not canary.included}
    kept = [record for i, record in enumerate(records) if i not in removed]
    copies: list[Record] = []
    for canary in (c for c in canaries if c.included):
        added = canary.repetitions - (canary.kind == "real_texts")
        copies += [canary.record if not n else new_id(canary.record, f"{canary.id}-{n}") for n in range(added)]
    places = np.sort(generator.integers(len(kept) + 1, size=len(copies)))
    order = generator.permutation(len(copies))
    planted: list[Record] = []
    next_copy = 0
    for i in range(len(kept) + 1):
        while next_copy < len(copies) and places[next_copy] <= i:
            planted.append(copies[order[next_copy]])
            next_copy += 1
        if i < len(kept):
            planted.append(kept[i])
    return planted
