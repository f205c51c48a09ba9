"""Manifests of planted canaries and their files, edited, with their hash made again or not; read by a check and by an audit's plan."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from byheart.data.canary_manifest import HELD_OUT, INCLUDED, MANIFEST, REFERENCES, records_sha256, sha256
from campaign.edits import edited, edited_bytes
from campaign.originals import write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface


def surface() -> Surface:
    """Return the surface."""
    return Surface("canary manifests", prepare, attempt)


def prepare(folder: Path) -> Path:
    """Return a folder with planted data and their manifest."""
    write_lines(folder / "data.jsonl", 30)
    words = [
        "canaries",
        "plant",
        str(folder / "data.jsonl"),
        "-o",
        str(folder / "planted.jsonl"),
        "--count",
        "12",
        "--references",
        "4",
    ]
    outcome = typed([*words, "--repetitions", "1,2", "--seed", "1"])
    if outcome is not None:
        raise RuntimeError(outcome.words)
    return folder


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Copy the manifest's folder, edit one of its files, and read it."""
    chance = random.Random(case.choice)
    source = next(p.parent for p in Path(prepared).rglob(MANIFEST))
    place = Path(shutil.copytree(source, folder / "canaries"))
    file = place / chance.choice((MANIFEST, MANIFEST, MANIFEST, INCLUDED, HELD_OUT, REFERENCES))
    if chance.random() < 0.2:
        file.write_bytes(edited_bytes(file.read_bytes(), case.edits))
    elif file.name == MANIFEST:
        file.write_text(json.dumps(edited(json.loads(file.read_text()), case.edits)))
    else:
        lines = edited([json.loads(line) for line in file.read_text().splitlines()], case.edits)
        file.write_text("".join(json.dumps(line) + "\n" for line in (lines if isinstance(lines, list) else [lines])))
    if chance.random() < 0.8:
        _hash_again(place)
    manifest, data = str(place / MANIFEST), str(Path(prepared) / "planted.jsonl")
    face = chance.random()
    if face < 0.5:
        return typed(["canaries", "check", manifest, *([data] if face < 0.25 else [])])
    members = ["--members", data] if face < 0.75 else []
    return typed(["audit", "--canaries", manifest, *members, "--preregister", "plan.json"])


def _hash_again(place: Path) -> None:
    """Write the hashes of the canaries as they are now into the manifest, if it can be read."""
    try:
        manifest = json.loads((place / MANIFEST).read_text())
        files = {
            name: [json.loads(line) for line in (place / name).read_text().splitlines()]
            for name in (INCLUDED, HELD_OUT, REFERENCES)
        }
        lines = {True: iter(files[INCLUDED]), False: iter(files[HELD_OUT])}
        for entry in manifest["canaries"]:
            entry["sha256"] = sha256(dict(next(lines[entry["included"]])))
        manifest["references_sha256"] = records_sha256(line["record"] for line in files[REFERENCES])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError):
        pass
    try:
        manifest = {name: value for name, value in manifest.items() if name != "sha256"}
        (place / MANIFEST).write_text(json.dumps({**manifest, "sha256": sha256(manifest)}))
    except (UnboundLocalError, AttributeError, RecursionError, TypeError):
        return
