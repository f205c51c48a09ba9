"""The same commands in new processes that differ in one thing: hash seed, time zone, language, folder, number of threads."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from campaign.checks import Check
from campaign.determinism.outputs import differing, largest_difference, write_originals

ROOT = Path(__file__).parents[2]
PLAIN = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
CHANGES: Mapping[str, Mapping[str, str]] = {
    "the same": {},
    "hash seed": {"PYTHONHASHSEED": "12345"},
    "time zone": {"TZ": "Pacific/Auckland"},
    "language": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "folder": {"PWD": "/"},
    "threads": {"OMP_NUM_THREADS": "2"},
}
"""Environment variables that each process has instead of the plain ones."""
TOLERANCE = 1e-5
"""Largest difference of scores between numbers of threads, relative to scores above 1."""


def checks(originals: Path) -> list[Check]:
    """Return a check for each change; the model, texts and the files of the plain process are written into the folder."""
    write_originals(originals)
    plain = outputs(originals, originals, {}, Path.cwd())
    (originals / "place").rename(originals / "plain")
    return [Check(name, changed(originals, plain, name)) for name in CHANGES]


def changed(originals: Path, plain: Mapping[str, str], name: str) -> Callable[[Path, random.Random], str]:
    """Return an attempt: a changed process writes the same bytes; with other threads, scores within the tolerance."""

    def attempt(folder: Path, _: random.Random) -> str:
        found = outputs(originals, originals, CHANGES[name], Path("/") if name == "folder" else folder)
        place = (originals / "place").rename(folder / "place")
        different = differing(plain, found)
        if name == "threads":
            scores, rows = largest_difference(originals / "plain" / "store", place / "store")
            return f"scores differ by {scores:.1e}, rows by {rows:.1e}" if scores > TOLERANCE else ""
        return f"{len(different)} of {len(plain)} files differ: {different[:8]}" if different else ""

    return attempt


def outputs(
    originals: Path, folder: Path, environment: Mapping[str, str], current: Path, *, python: str = sys.executable
) -> dict[str, str]:
    """Run all commands in a new process, in the folder `place`, and return the hashes of its files."""
    place, note = folder / "place", folder / "hashes.json"
    place.mkdir()
    words = [python, "-m", "campaign.determinism.outputs", str(originals), str(place), str(note)]
    complete = {**os.environ, "PYTHONPATH": str(ROOT), **PLAIN, **environment}
    done = subprocess.run(words, env=complete, cwd=current, capture_output=True, text=True, check=False)  # noqa: S603 - own words
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    return json.loads(note.read_text())
