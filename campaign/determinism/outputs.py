"""Everything that a study, its page, its pack, an audit and planted canaries write: hashes of files, and scores.

`python -m campaign.determinism.outputs ORIGINALS PLACE NOTE` does it in a process of its own, and writes the hashes to a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from campaign.faults.trial import TINY
from campaign.kills.runs import runs, typed

METHODS = ["lora", "head"]
MOMENT = 1_800_000_000.0
IGNORED = {"claims", ".making", "probes"}
"""Folders of a store that hold no results."""
EVERYTHING = ("study", "page", "pack", "audit", "plant")


def write_originals(folder: Path) -> Path:
    """Write the model, the texts and the study files into a folder and return it."""
    runs(folder, **{**TINY, "methods": METHODS})
    return folder


def stop_clock() -> None:
    """Let every look at the clock of this process give one moment: files state when they were made, and seconds."""
    real_utc, real_local, changed = time.gmtime, time.localtime, time
    frozen: Any = changed
    frozen.time, frozen.monotonic = lambda: MOMENT, lambda: 1000.0
    frozen.gmtime = lambda seconds=None: real_utc(MOMENT if seconds is None else seconds)
    frozen.localtime = lambda seconds=None: real_local(MOMENT if seconds is None else seconds)
    os.environ["SOURCE_DATE_EPOCH"] = str(int(MOMENT))  # matplotlib writes it into PDF files


def write_all(originals: Path, place: Path, names: Sequence[str] = EVERYTHING) -> None:
    """Run the commands in an empty folder, each with a stopped clock."""
    stop_clock()
    store = ("--store", place / "store")
    texts = ("--members", originals / "m.jsonl", "--nonmembers", originals / "n.jsonl")
    settings = ("--count", 8, "--references", 4, "--repetitions", 1, "--seed", 1)
    commands: Mapping[str, tuple[object, ...]] = {
        "study": ("run", originals / "one.yaml", *store),
        "page": ("report", *store, "-o", place / "page.html", "--export", place / "out"),
        "pack": ("pack", *store, "-o", place / "pack.tar.xz"),
        "audit": ("audit", "--model", originals / "model", *texts, "--attacks", "loss,min_k", "-o", place / "audit"),
        "plant": ("canaries", "plant", originals / "m.jsonl", "-o", place / "planted.jsonl", *settings),
    }
    for name in names:
        try:
            typed(*commands[name])
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{name} ends with {ended.code}: {''.join(ended.__notes__)}") from ended


def hashes(place: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its name, without those of claims; of PDF files, whose parts have no fixed order, of none."""
    files = sorted(p for p in place.rglob("*") if p.is_file() and not IGNORED & set(p.relative_to(place).parts))
    contents = {p.relative_to(place).as_posix(): b"" if p.suffix == ".pdf" else p.read_bytes() for p in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def differing(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Return the names of files that only one has, or that differ."""
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def numbers(store_folder: Path) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the scores of a store by key, and the values of its rows except seconds by their labels."""
    from byheart.store.rows import score_reader, study_rows
    from byheart.store.store import Store

    store = Store(store_folder)
    rows = [row for row in study_rows(store) if row.metric != "seconds"]
    read = score_reader(store)
    scores = {row.scores: read(row.scores).scores for row in rows if row.scores}
    return scores, {f"{r.cell} {r.epoch} {r.attack} {r.metric} {r.metric_settings}": r.value for r in rows}


def largest_difference(first: Path, second: Path) -> tuple[float, float]:
    """Return the largest difference of scores of two stores (divided by the score if above 1), and that of rows' values.

    Infinity if one has other scores or rows.
    """
    scores, rows = zip(numbers(first), numbers(second), strict=True)
    if scores[0].keys() != scores[1].keys() or rows[0].keys() != rows[1].keys():
        return float("inf"), float("inf")
    of_scores = [_difference(scores[0][key], scores[1][key]) for key in scores[0]]
    return max(of_scores), max(_difference(np.array(rows[0][key]), np.array(rows[1][key])) for key in rows[0])


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.max(np.abs(first - second) / np.maximum(1.0, np.abs(first)), initial=0.0))


if __name__ == "__main__":
    originals_folder, new_place, hashes_file = map(Path, sys.argv[1:])  # the commands have arguments of their own
    write_all(originals_folder, new_place)
    hashes_file.write_text(json.dumps(hashes(new_place)))
