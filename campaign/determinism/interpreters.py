"""The same commands with other versions of Python and torch: `BYHEART_PYTHONS` names their interpreters, separated by colons."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from campaign.checks import Check
from campaign.determinism.outputs import differing, largest_difference, write_originals
from campaign.determinism.surroundings import outputs

TOLERANCE = 1e-5
"""Largest difference of scores and rows between versions, relative to values above 1: their sums are in another order."""
VERSIONS = "import sys, torch; print('.'.join(map(str, sys.version_info[:2])), torch.__version__.partition('+')[0])"


def checks(originals: Path) -> list[Check]:
    """Return a check for each interpreter; the model, texts and the files of this interpreter are written into the folder."""
    interpreters = [path for path in os.environ.get("BYHEART_PYTHONS", "").split(":") if path]
    if not interpreters:
        return []
    write_originals(originals)
    own = outputs(originals, originals, {}, Path.cwd())
    (originals / "place").rename(originals / "own")
    return [Check(_versions(path), with_interpreter(originals, own, path)) for path in interpreters]


def with_interpreter(originals: Path, own: Mapping[str, str], path: str) -> Callable[[Path, random.Random], str]:
    """Return an attempt: planted canaries are equal, the same files are written, scores and rows are within the tolerance."""

    def attempt(folder: Path, _: random.Random) -> str:
        found = outputs(originals, originals, {}, folder, python=path)
        place = (originals / "place").rename(folder / "place")
        problems = [name for name in differing(own, found) if name.startswith("planted")]
        problems += [f"only with one version: {name}" for name in sorted(own.keys() ^ found.keys())]
        scores, rows = largest_difference(originals / "own" / "store", place / "store")
        if max(scores, rows) > TOLERANCE:
            problems.append(f"scores differ by {scores:.1e}, rows by {rows:.1e}")
        return "; ".join(problems[:8])

    return attempt


def _versions(path: str) -> str:
    """Return the versions of an interpreter's Python and torch."""
    return subprocess.run([path, "-c", VERSIONS], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - own words
