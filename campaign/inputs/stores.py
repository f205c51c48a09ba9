"""Stores and packed studies with edited files, with their seal made again or not; read by rows, report, status, pack and verify."""

from __future__ import annotations

import json
import random
import shutil
import tarfile
from pathlib import Path
from typing import Any

from byheart.store.seal import MANIFEST, file_sha256, sealed_json
from campaign.edits import edited, edited_bytes
from campaign.inputs.study_files import studies
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface

COMMANDS = (
    *(["rows"], ["rows", "--format", "json"], ["rows", "--where", "metric=auc"], ["rows", "--format", "latex"]) * 6,
    *(["status"], ["verify"], ["pack", "-o", "out.tar.xz"]) * 6,
    *(["report", "-o", "out.html"],) * 3,
    ["report", "-o", "out.html", "--export", "exported"],
)


def surface() -> Surface:
    """Return the surface."""
    return Surface("stores", prepare, attempt)


def prepare(folder: Path) -> list[Path]:
    """Return the store of a finished study, and the folder of its unpacked pack."""
    import byheart

    save_tiny_model(folder / "model")
    write_lines(folder / "data.jsonl", 60)
    byheart.run(
        {**studies(folder)[0], "methods": ["head", "lora"], "attacks": ["loss", "reference"]}, store=folder / "store"
    )
    outcome = typed(["pack", "--store", str(folder / "store"), "-o", str(folder / "pack.tar.xz")])
    if outcome is not None:
        raise RuntimeError(outcome.words)
    with tarfile.open(folder / "pack.tar.xz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return [folder / "unpacked", folder / "unpacked", folder / "store"]


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Copy a store, edit one or two of its files, and read it."""
    chance = random.Random(case.choice)
    store = Path(shutil.copytree(chance.choice(prepared), folder / "store"))
    command = chance.choice(COMMANDS)
    files = sorted(
        p for p in store.rglob("*") if p.is_file() and ".making" not in p.parts and p.suffix in {".json", ".npz"}
    )
    read = {"store.json", "studies", "rows", "scores", "gates", MANIFEST, "evidence", "tasks"}
    stages = sorted({p.relative_to(store).parts[0] for p in files})
    stage = chance.choice([s for s in stages if s in read])
    if chance.random() < 0.8:
        forget_checksums(files)
    edit_file(chance.choice([p for p in files if p.relative_to(store).parts[0] == stage]), case, chance)
    if chance.random() < 0.7 and (store / MANIFEST).exists():
        seal_again(store)
    words = [command[0], str(store)] if command[0] in {"verify", "status"} else [command[0], "--store", str(store)]
    return typed([*words, *command[1:]])


def edit_file(file: Path, case: Case, chance: random.Random) -> None:
    """Edit a file as JSON, as bytes, or by removing it."""
    style = chance.random()
    if style < 0.05:
        file.unlink()
    elif style < 0.75 and file.suffix == ".json":
        file.write_text(json.dumps(edited(json.loads(file.read_text()), case.edits)))
    else:
        file.write_bytes(edited_bytes(file.read_bytes(), case.edits))


def forget_checksums(files: list[Path]) -> None:
    """Remove the checksums of results and notes, which would end every edit at the first look."""
    for path in files:
        if path.suffix == ".json" and isinstance(content := json.loads(path.read_text()), dict):
            path.write_text(json.dumps({n: v for n, v in content.items() if n not in {"crc32", "checksums"}}))


def seal_again(folder: Path) -> None:
    """Write the manifest's hashes and its seal for the files as they are now, if it can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = {n: file_sha256(folder / n) for n in manifest["files"] if (folder / n).is_file()}
        (folder / MANIFEST).write_text(sealed_json({**manifest, "files": files}))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
