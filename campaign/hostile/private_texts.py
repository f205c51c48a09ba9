"""No file that a command writes without --show-text contains a text of the records, apart from what the store must hold."""

from __future__ import annotations

import json
import random
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from campaign.checks import Check
from campaign.hostile.guard import problem
from campaign.originals import save_tiny_model
from campaign.outcomes import Outcome, typed

STAGES_WITH_TEXT = ("tokens", "evidence")
"""Stages of a store that may hold parts of texts: what was truncated away from a text, and what a model generated."""


def checks(originals: Path) -> list[Check]:
    """Return the checks; a model is written into the folder."""
    model = save_tiny_model(originals / "model")
    return [
        Check("audit", lambda folder, chance: _audit(model, folder, chance), cases=2),
        Check("study", lambda folder, chance: _study(model, folder, chance)),
    ]


def _audit(model: Path, folder: Path, chance: random.Random) -> str:
    words = _written(folder, chance)
    texts = ["--members", folder / "in" / "m.jsonl", "--nonmembers", folder / "in" / "n.jsonl", "--max-tokens", 48]
    command = ["audit", "--model", model, *texts, "--attacks", "loss,min_k,discoverable", "-o", folder / "out"]
    return problem(folder, lambda: typed([*map(str, command)]), ("done",)) or _search(folder, words)


def _study(model: Path, folder: Path, chance: random.Random) -> str:
    words = _written(folder, chance)
    study: dict[str, Any] = {
        "name": "s",
        "models": str(model),
        "datasets": [{"files": {"path": str(folder / "in" / "both.jsonl")}}],
        "data": {"train": 20, "members": 8, "nonmembers": 8, "validation": 4, "known": 8, "max_tokens": 40},
        "methods": ["lora"],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["loss", "recall", "discoverable", "samia", "lowercase"],
        "metrics": ["auc", "extraction_rate", "perplexity"],
    }
    (folder / "in" / "s.yaml").write_text(json.dumps(study))
    store = ["--store", str(folder / "store")]

    def call() -> Outcome | None:
        for command in (
            ["run", str(folder / "in" / "s.yaml"), *store],
            ["report", *store, "-o", str(folder / "page.html"), "--export", str(folder / "exported")],
            ["pack", *store, "-o", str(folder / "pack.tar.xz")],
        ):
            if found := typed(command):
                return found
        return None

    return problem(folder, call, ("done",)) or _search(folder, words)


def _written(folder: Path, chance: random.Random) -> list[str]:
    """Write records of random words, and return the words: no file may contain one by chance."""
    (folder / "in").mkdir()
    words: list[str] = []
    for name in "mn":
        lines: list[str] = []
        for n in range(40):
            drawn = ["".join(chance.choices("bcdfghjklmnpqrstvwxz", k=9)) for _ in range(6)]
            words += drawn
            lines.append(json.dumps({"id": f"{name}{n}", "text": f"The {' '.join(drawn)} of room {n}."}) + "\n")
        (folder / "in" / f"{name}.jsonl").write_text("".join(lines))
        with (folder / "in" / "both.jsonl").open("a") as both:
            both.write("".join(lines))
    return words


def _search(folder: Path, words: list[str]) -> str:
    """Return which file contains a word of the records, in plain or compressed form."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        place = path.relative_to(folder).parts
        if place[0] == "in" or (place[0] == "store" and place[1] in STAGES_WITH_TEXT):
            continue
        for content in _contents(path):
            if found := next((w for w in words if _has(content, w)), ""):
                return f"{'/'.join(place)} contains the word {found} of a record"
    return ""


def _has(content: bytes, word: str) -> bool:
    return any(form in content for form in (word.encode(), word.encode("utf-16-le"), word.encode("utf-32-le")))


def _contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, of an archive's members, of Parquet's columns, and of compressed streams in a PDF."""
    content = path.read_bytes()
    yield content
    if path.name.endswith(".tar.xz"):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                if stream := archive.extractfile(member):
                    yield stream.read()
    elif path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield str(pq.read_table(path).to_pydict()).encode()
    elif path.suffix == ".pdf":
        for part in content.split(b"stream\n")[1:]:
            try:
                yield zlib.decompressobj().decompress(part.lstrip(b"\r\n"))
            except zlib.error:
                continue
