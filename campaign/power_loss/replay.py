"""Write what may be on the disk after a loss of power into a folder."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from campaign.power_loss.recorder import ROOT, Entry, State

Kind = Literal["names", "flushed", "mixed"]
KINDS: tuple[Kind, ...] = ("names", "flushed", "mixed")


def write_lost(state: State, place: Path, kind: Kind, chance: random.Random) -> None:
    """Write the folder of a state as it may be after a loss of power.

    "names": all names, as of a file system that writes its journal at once. "flushed": only names that were flushed, also of files
    that were removed since, of which any may be gone. "mixed": of each folder the one or the other. Data that was not flushed is
    missing, zeros, or an older content.
    """
    by_number = {entry.number: entry for entry in state.entries.values()}
    current: dict[int, dict[str, int]] = {ROOT: {}}
    for name, entry in state.entries.items():
        parent, _, own = name.rpartition("/")
        current.setdefault(state.entries[parent].number if parent else ROOT, {})[own] = entry.number

    def names_of(number: int) -> Mapping[str, int]:
        flushed, now = state.names.get(number, {}), current.get(number, {})
        if kind == "mixed" and (number == ROOT or number in by_number):
            return now if chance.random() < 0.5 else flushed
        return now if kind == "names" else flushed

    def write(number: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name, child in sorted(names_of(number).items()):
            entry = by_number.get(child)
            is_replaced = name in current.get(number, {})  # at once: the old or the new one is there
            if entry is None and not is_replaced and chance.random() < 0.5:
                continue  # its removal is on the disk
            if child in state.names or (entry and entry.is_folder):
                write(child, folder / name)
            else:
                (folder / name).write_bytes(_content(state, child, entry, is_zeros=chance.random() < 0.5))

    write(ROOT, place)


def _content(state: State, number: int, entry: Entry | None, *, is_zeros: bool) -> bytes:
    lost = b"\0" * entry.size if entry and is_zeros else b""
    return state.data.get(number, lost)
